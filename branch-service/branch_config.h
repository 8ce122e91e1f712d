/* Options of the branch service. */
#ifndef ARGON_BRANCH_BRANCH_CONFIG_H
#define ARGON_BRANCH_BRANCH_CONFIG_H

#include "branch-service/catalog/features.h"
#include "common/service/service_options.h"

struct branch_config {
    struct service_options service;
    const char *wal;
    const char *mongodb; /* empty: there are no traditional branches */
    uint64_t memory;
    uint64_t request_memory;
    uint64_t workers;
    uint64_t max_calls;
    uint64_t follow_idle; /* microseconds */
    uint64_t max_follows;
    uint64_t wal_away; /* microseconds */
    struct features features;
};

/* service_start: false, and the program is to exit with *status, or config is filled. again: see struct service_program. Strings are
 * borrowed from the command line and the environment, or live in the arena. */
bool branch_config_start(struct branch_config *config, int argc, char **argv, bool again, struct arena *arena, int *status);

#endif
