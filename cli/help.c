#include "cli/help.h"

#include <string.h>

#include "cli/exit_code.h"
#include "cli/program.h"

const char help_summary[] = "Branches, past states and documents of an Argon branch service.";
const char help_example[] = "argon projects create shop\n"
                            "argon branches create dev -p shop\n"
                            "argon docs insert users '{\"name\": \"Ada\"}' -p shop -b dev\n"
                            "argon docs find users '{\"name\": \"Ada\"}' -p shop -b dev\n";
const struct help_exit_code help_exit_codes[HELP_EXIT_CODES] = {
    { CLI_EXIT_OK, "it worked" },
    { CLI_EXIT_FAILURE, "any other failure" },
    { CLI_EXIT_USAGE, "usage, INVALID_ARGUMENT, OUT_OF_RANGE, PERMISSION_DENIED, UNAUTHENTICATED" },
    { CLI_EXIT_NOT_FOUND, "NOT_FOUND" },
    { CLI_EXIT_EXISTS, "ALREADY_EXISTS" },
    { CLI_EXIT_CONFLICT, "ABORTED, FAILED_PRECONDITION" },
    { CLI_EXIT_UNAVAILABLE, "UNAVAILABLE, DEADLINE_EXCEEDED" },
    { CLI_EXIT_EXHAUSTED, "RESOURCE_EXHAUSTED" },
    { CLI_EXIT_DATA_LOSS, "DATA_LOSS" },
    { CLI_EXIT_INTERRUPTED, "watch, log --follow or an export to a file ended by Ctrl-C (SIGINT)" },
    { CLI_EXIT_TERMINATED, "the same by SIGTERM" },
};

static void print_name(FILE *out, const struct command_group *group, const struct command *command)
{
    fprintf(out, "argon %s%s%s", group->name, command->name ? " " : "", command->name ? command->name : "");
}

/* Each line of a text, two blanks before it. */
static void print_indented(FILE *out, const char *text)
{
    for (bool begins = true; *text; text++) {
        if (begins)
            fputs("  ", out);
        fputc(*text, out);
        begins = *text == '\n';
    }
}

void help_print_program(FILE *out)
{
    fprintf(out, "%s\n\nUsage: argon COMMAND [ARGUMENTS] [OPTIONS]\n\nCommands (argon COMMAND --help tells more):\n", help_summary);
    for (size_t i = 0; i < program_n_groups; i++)
        if (program_groups[i]->kind != GROUP_HIDDEN)
            fprintf(out, "  %-12s %s\n", program_groups[i]->name, program_groups[i]->summary);
    fputs("\nOptions of every command:\n", out);
    config_print_help(out, program_options_table.options, program_options_table.n);
    fputs("\nDocuments, filters and updates are written as Extended JSON v2. What is given neither as an option nor in the environment\n"
          "comes from the context (argon context --help), then from the default.\n"
          "\nExit codes:\n",
          out);
    for (size_t i = 0; i < HELP_EXIT_CODES; i++)
        fprintf(out, "  %-3d  %s\n", help_exit_codes[i].code, help_exit_codes[i].meaning);
    fputs("A write whose outcome is unknown says so on stderr, with the options that repeat it exactly once.\n\nExample:\n", out);
    print_indented(out, help_example);
}

void help_print_group(FILE *out, const struct command_group *group)
{
    fprintf(out, "%s\n\nUsage: argon %s COMMAND [ARGUMENTS] [OPTIONS]\n\nCommands:\n", group->summary, group->name);
    int width = 0;
    for (size_t i = 0; i < group->n_commands; i++)
        if ((int)strlen(group->commands[i].name) > width)
            width = (int)strlen(group->commands[i].name);
    for (size_t i = 0; i < group->n_commands; i++) {
        const struct command *command = &group->commands[i];
        const char *options = command->n_options || command->shared ? " [OPTIONS]" : "";
        fprintf(out, "  %-*s  %s\n", width, command->name, command->summary);
        if (command->usage[0])
            fprintf(out, "  %-*s  %s%s\n", width, "", command->usage, options);
    }
    fprintf(out, "\nExample:\n  %s\n", group->commands[0].example);
}

void help_print_command(FILE *out, const struct command_group *group, const struct command *command)
{
    fprintf(out, "%s\n\nUsage: ", command->summary);
    print_name(out, group, command);
    fprintf(out, "%s%s\n", command->usage[0] ? " " : "", command->usage);
    if (command->n_options || command->shared)
        fputs("\nOptions:\n", out);
    config_print_help(out, command->options, command->n_options);
    if (command->shared)
        config_print_help(out, command->shared->options, command->shared->n);
    fputs("\nOptions of every command:\n", out);
    config_print_help(out, program_options_table.options, program_options_table.n);
    fprintf(out, "\nExample:\n  %s\n", command->example);
    if (command->name || group->n_commands == 1)
        return;
    fprintf(out, "\nMore (argon %s COMMAND --help):\n", group->name);
    for (size_t i = 1; i < group->n_commands; i++)
        fprintf(out, "  %-10s %s\n", group->commands[i].name, group->commands[i].summary);
}

void help_print_usage(FILE *out, const struct command_group *group, const struct command *command)
{
    fputs("Usage: ", out);
    print_name(out, group, command);
    fprintf(out, "%s%s\n", command->usage[0] ? " " : "", command->usage);
    fputs("See: ", out);
    print_name(out, group, command);
    fputs(" --help\n", out);
}
