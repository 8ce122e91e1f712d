/* Not shown among the commands: what docs/cli.md is made of. */
#include "cli/command.h"
#include "cli/help.h"
#include "cli/program.h"

static struct {
    bool markdown;
} options;

static void print_options(FILE *out, const struct config_option *rows, size_t n)
{
    if (n == 0)
        return;
    fputs("\n| option | meaning |\n|---|---|\n", out);
    for (size_t i = 0; i < n; i++) {
        fputs("| `", out);
        if (rows[i].letter)
            fprintf(out, "-%c`, `", rows[i].letter);
        fprintf(out, "--%s", rows[i].name);
        if (rows[i].kind != CONFIG_BOOL) {
            fputc(' ', out);
            for (const char *c = rows[i].argument ? rows[i].argument : "VALUE"; *c; c++) {
                if (*c == '|') /* a cell ends there, even between backquotes */
                    fputc('\\', out);
                fputc(*c, out);
            }
        }
        fprintf(out, "` | %s", rows[i].help);
        if (rows[i].fallback && rows[i].fallback[0])
            fprintf(out, " (default `%s`)", rows[i].fallback);
        if (rows[i].variable)
            fprintf(out, " (environment `%s`)", rows[i].variable);
        fputs(" |\n", out);
    }
}

static void print_command(FILE *out, const struct command_group *group, const struct command *command)
{
    if (command->name)
        fprintf(out, "\n### argon %s %s\n\n%s.\n", group->name, command->name, command->summary);
    else
        fprintf(out, "\n%s.\n", command->summary);
    fprintf(out, "\nUsage: `argon %s%s%s%s%s`\n", group->name, command->name ? " " : "", command->name ? command->name : "",
            command->usage[0] ? " " : "", command->usage);
    print_options(out, command->options, command->n_options);
    if (command->shared)
        print_options(out, command->shared->options, command->shared->n);
    fprintf(out, "\n```sh\n%s\n```\n", command->example);
}

static void print_markdown(FILE *out)
{
    fprintf(out,
            "# argon, the command line\n\n"
            "<!-- Written by scripts/write-docs.sh; change the tables of the commands in cli/ instead. -->\n\n"
            "%s\n\nUsage: `argon COMMAND [ARGUMENTS] [OPTIONS]`\n\n",
            help_summary);
    fputs("Documents, filters and updates are written as Extended JSON v2. Values come from an option or, where there is none, from the\n"
          "environment, then from the context (`argon context`), then from the default.\n",
          out);
    fprintf(out, "\n```sh\n%s```\n", help_example);
    fputs("\n## Options of every command\n", out);
    print_options(out, program_options_table.options, program_options_table.n);
    fputs("\n## Exit codes\n\n| code | when |\n|---|---|\n", out);
    for (size_t i = 0; i < HELP_EXIT_CODES; i++)
        fprintf(out, "| %d | %s |\n", help_exit_codes[i].code, help_exit_codes[i].meaning);
    fputs("\nA write whose outcome is unknown says so on stderr, with the options that repeat it exactly once.\n", out);
    for (size_t i = 0; i < program_n_groups; i++) {
        const struct command_group *group = program_groups[i];
        if (group->kind == GROUP_HIDDEN)
            continue;
        fprintf(out, "\n## argon %s\n", group->name);
        if (group->commands[0].name)
            fprintf(out, "\n%s.\n", group->summary);
        for (size_t c = 0; c < group->n_commands; c++)
            print_command(out, group, &group->commands[c]);
    }
}

static bool help(struct cli *cli, struct error *err)
{
    (void)err;
    if (options.markdown)
        print_markdown(cli->out.file);
    else
        help_print_program(cli->out.file);
    return true;
}

static const struct config_option help_options[] = {
    { "markdown", 0, CONFIG_BOOL, &options.markdown, NULL, NULL, 0, 0, NULL, "all of it, as docs/cli.md" },
};

static const struct command commands[] = {
    { NULL, "", "Print this", "argon help --markdown > docs/cli.md", 0, 0, help, help_options, ARRAY_LEN(help_options), NULL },
};

const struct command_group help_group = { "help", "Print help", commands, ARRAY_LEN(commands), GROUP_HIDDEN };
