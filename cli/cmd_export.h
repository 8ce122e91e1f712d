/* What stands behind `argon export` beside a file of documents. */
#ifndef ARGON_CLI_CMD_EXPORT_H
#define ARGON_CLI_CMD_EXPORT_H

#include "cli/command.h"

enum { EXPORT_MONGODUMP_OPTIONS = 4 };

CHECKED bool export_mongodump_run(struct cli *cli, struct error *err);
extern const struct config_option export_mongodump_options[EXPORT_MONGODUMP_OPTIONS];

#endif
