/* What stands behind `argon import` beside files of documents: a row of the group's table each. */
#ifndef ARGON_CLI_CMD_IMPORT_H
#define ARGON_CLI_CMD_IMPORT_H

#include "cli/command.h"

CHECKED bool import_mongodb_run(struct cli *cli, struct error *err);
extern const struct config_table import_mongodb_options;

CHECKED bool import_mongodump_run(struct cli *cli, struct error *err);
extern const struct config_table import_mongodump_options;

#endif
