/* What --help prints at each level. */
#ifndef ARGON_CLI_HELP_H
#define ARGON_CLI_HELP_H

#include <stdio.h>

#include "cli/command.h"

void help_print_program(FILE *out);
void help_print_group(FILE *out, const struct command_group *group);
void help_print_command(FILE *out, const struct command_group *group, const struct command *command);
/* The usage line alone, and where the rest is. */
void help_print_usage(FILE *out, const struct command_group *group, const struct command *command);

extern const char help_summary[];
extern const char help_example[];
/* What follows from each exit code. */
struct help_exit_code {
    int code;
    const char *meaning;
};
enum { HELP_EXIT_CODES = 11 };
extern const struct help_exit_code help_exit_codes[HELP_EXIT_CODES];

#endif
