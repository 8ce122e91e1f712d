#include "cli/help.h"

static void print_name(FILE *out, const struct command_group *group, const struct command *command)
{
    fprintf(out, "argon %s%s%s", group->name, command->name ? " " : "", command->name ? command->name : "");
}

void help_print_program(FILE *out, const struct help *help)
{
    fputs("Branches, past states and documents of an Argon branch service.\n\n"
          "Usage: argon COMMAND [ARGUMENTS] [OPTIONS]\n\n"
          "Commands (argon COMMAND --help tells more):\n",
          out);
    for (size_t i = 0; i < help->n_groups; i++)
        fprintf(out, "  %-12s %s\n", help->groups[i]->name, help->groups[i]->summary);
    fputs("\nOptions of every command:\n", out);
    config_print_help(out, help->global->options, help->global->n);
    fputs("\nDocuments, filters and updates are written as Extended JSON v2.\n"
          "\nExit codes:\n"
          "  0  it worked\n"
          "  1  any other failure\n"
          "  2  usage, INVALID_ARGUMENT, OUT_OF_RANGE\n"
          "  3  NOT_FOUND\n"
          "  4  ALREADY_EXISTS\n"
          "  5  ABORTED, FAILED_PRECONDITION\n"
          "  6  UNAVAILABLE, DEADLINE_EXCEEDED\n"
          "  7  RESOURCE_EXHAUSTED\n"
          "  8  DATA_LOSS\n"
          "A write whose outcome is unknown says so on stderr, with the options that repeat it exactly once.\n"
          "\nExample:\n"
          "  argon projects create shop\n"
          "  argon branches create dev -p shop\n"
          "  argon docs insert users '{\"name\": \"Ada\"}' -p shop -b dev\n"
          "  argon docs find users '{\"name\": \"Ada\"}' -p shop -b dev\n",
          out);
}

void help_print_group(FILE *out, const struct command_group *group)
{
    fprintf(out, "%s\n\nUsage: argon %s COMMAND [ARGUMENTS] [OPTIONS]\n\nCommands:\n", group->summary, group->name);
    for (size_t i = 0; i < group->n_commands; i++) {
        const struct command *command = &group->commands[i];
        fprintf(out, "  %-8s %s\n           %s%s\n", command->name, command->summary, command->usage,
                command->n_options ? " [OPTIONS]" : "");
    }
    fprintf(out, "\nExample:\n  %s\n", group->commands[0].example);
}

void help_print_command(FILE *out, const struct help *help, const struct command_group *group, const struct command *command)
{
    fprintf(out, "%s\n\nUsage: ", command->summary);
    print_name(out, group, command);
    fprintf(out, "%s%s\n", command->usage[0] ? " " : "", command->usage);
    if (command->n_options) {
        fputs("\nOptions:\n", out);
        config_print_help(out, command->options, command->n_options);
    }
    fputs("\nOptions of every command:\n", out);
    config_print_help(out, help->global->options, help->global->n);
    fprintf(out, "\nExample:\n  %s\n", command->example);
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
