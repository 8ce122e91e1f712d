/* The calls for the flags of a branch service, as `argon config` and `argon rollout` make them. */
#ifndef ARGON_CLI_CONFIG_CALLS_H
#define ARGON_CLI_CONFIG_CALLS_H

#include "cli/command.h"

/* All flags as the replica behind the connection goes by them; lives in the command's arena. */
CHECKED bool config_list(struct cli *cli, struct connection *connection, const Argon__Branch__V1__ListConfigResponse **response,
                         struct error *err);

struct config_pair {
    const char *key, *value;
};
/* Together, exactly once. */
CHECKED bool config_set(struct cli *cli, const struct config_pair *pairs, size_t n, struct error *err);

/* "catalog", "flag", "environment", "file" or "default" */
const char *config_source_name(Argon__Branch__V1__ConfigSource source);

#endif
