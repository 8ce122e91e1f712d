/* The program as tables: its groups of commands and the options of every command. What parses arguments, prints
 * help, writes documents and completion scripts reads these. */
#ifndef ARGON_CLI_PROGRAM_H
#define ARGON_CLI_PROGRAM_H

#include "cli/command.h"
#include "cli/context.h"

extern const struct command_group *const program_groups[];
extern const size_t program_n_groups;
extern const struct config_table program_options_table;
/* Its targets; valid after config_parse. */
extern struct global_options program_options;

/* NULL when there is none of that name. */
const struct command_group *program_find_group(const char *name);
const struct config_option *program_find_option(const char *name);

/* What the context says takes the place of the defaults. The context is borrowed from then on. Before config_parse. */
void program_use_context(const struct context *context);

/* Of an option of the context, after config_parse: "flag", "ARGON_PROJECT", "context" or "default". */
const char *program_source(const struct config_option *option);
/* After a failure: where the names came from that were not on the command line, if it may be their fault. */
void program_explain(FILE *out, enum error_code code);

#endif
