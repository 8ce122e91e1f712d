/* Which state a command reads: the options that all reading commands have. */
#ifndef ARGON_CLI_READ_STATE_H
#define ARGON_CLI_READ_STATE_H

#include "argon/branch/v1/branch.pb-c.h"
#include "cli/command.h"

/* --at-lsn, --at-time, --stale-ok */
extern const struct config_table read_state_options;

/* From these and --min-lsn. INVALID_ARGUMENT when they contradict each other. */
CHECKED bool read_state_fill(const struct cli *cli, Argon__Branch__V1__ReadOptions *read, struct error *err);

#endif
