/* What --help prints at each level. */
#ifndef ARGON_CLI_HELP_H
#define ARGON_CLI_HELP_H

#include <stdio.h>

#include "cli/command.h"

struct help {
    const struct command_group *const *groups;
    size_t n_groups;
    const struct config_table *global;
};

void help_print_program(FILE *out, const struct help *help);
void help_print_group(FILE *out, const struct command_group *group);
void help_print_command(FILE *out, const struct help *help, const struct command_group *group, const struct command *command);
/* The usage line alone, and where the rest is. */
void help_print_usage(FILE *out, const struct command_group *group, const struct command *command);

#endif
