#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "cli/command.h"
#include "cli/exit_code.h"
#include "cli/help.h"
#include "cli/program.h"
#include "common/rpc/rpc.h"

/* Does the argument name an option whose value is the next one? */
static bool takes_value(const char *argument, const struct config_table *table)
{
    bool is_long = argument[1] == '-';
    for (size_t o = 0; o < table->n; o++) {
        const struct config_option *option = &table->options[o];
        bool alone = is_long ? strcmp(argument + 2, option->name) == 0 : argument[1] == option->letter && argument[2] == '\0';
        if (alone && option->kind != CONFIG_BOOL)
            return true;
    }
    return false;
}

/* The first word that is neither a global option nor its value, or one of these; 0 when there is none. The options of a
 * command are known only after its name, and stand behind it. */
static int find_word(int argc, char **argv, const struct config_table *more)
{
    for (int i = 1; i < argc; i++) {
        if (argv[i][0] != '-' || argv[i][1] == '\0')
            return i;
        if (takes_value(argv[i], &program_options_table) || takes_value(argv[i], more))
            i++;
    }
    return 0;
}

static const char *take_word(int *argc, char **argv, int at)
{
    if (at == 0)
        return NULL;
    const char *word = argv[at];
    memmove(argv + at, argv + at + 1, (size_t)(*argc - at) * sizeof *argv); /* with the NULL behind them */
    *argc -= 1;
    return word;
}

static const struct command *find_command(const struct command_group *group, int *argc, char **argv)
{
    const struct command *nameless = group->commands[0].name ? NULL : &group->commands[0];
    const struct config_table own = { nameless ? nameless->options : NULL, nameless ? nameless->n_options : 0, false };
    int at = find_word(*argc, argv, &own);
    for (size_t i = nameless ? 1 : 0; at > 0 && i < group->n_commands; i++)
        if (strcmp(group->commands[i].name, argv[at]) == 0) {
            take_word(argc, argv, at);
            return &group->commands[i];
        }
    return nameless;
}

static enum cli_exit usage_error(const struct command_group *group, const struct command *command, const char *message)
{
    fprintf(stderr, "argon: INVALID_ARGUMENT: %s\n", message);
    help_print_usage(stderr, group, command);
    return CLI_EXIT_USAGE;
}

static void report(const struct connection *connection, const struct error *err)
{
    connection_report(connection, err);
    /* where the endpoint comes from explains a service that nobody has heard of, and not what a MongoDB says */
    if (err->code == ERROR_UNAVAILABLE ? connection->asked && !connection->reached : connection->asked)
        program_explain(stderr, err->code);
}

static enum cli_exit run_command(const struct command_group *group, const struct command *command, struct cli *cli)
{
    struct error err = { 0 };
    if (group->kind == GROUP_REMOTE && !connection_open(&cli->connection, cli->options, &err)) {
        report(&cli->connection, &err);
        return cli_exit_of(err.code);
    }
    /* what was printed before a failure is let out too, but the first failure is the one that counts */
    bool ok = command->run(cli, &err);
    struct error output_err = { 0 };
    if (!output_finish(&cli->out, &output_err) && ok) {
        err = output_err;
        ok = false;
    }
    if (!ok)
        report(&cli->connection, &err);
    connection_close(&cli->connection);
    return ok ? CLI_EXIT_OK : cli_exit_of(err.code);
}

static enum cli_exit parse_and_run(const struct command_group *group, const struct command *command, int argc, char **argv)
{
    struct error err = { 0 };
    struct config_table tables[] = { program_options_table, { command->options, command->n_options, false }, { NULL, 0, false } };
    if (command->shared)
        tables[2] = *command->shared;
    const char **args = calloc((size_t)argc + 1, sizeof *args);
    struct cli cli = { .options = &program_options, .args = args };
    struct context context = { 0 };
    enum cli_exit result = CLI_EXIT_FAILURE;
    if (!args)
        return result;
    arena_init(&cli.arena, 0);
    if (group->kind != GROUP_HIDDEN && !context_load(&context, &err)) {
        connection_report(&cli.connection, &err);
        result = cli_exit_of(err.code);
        goto out;
    }
    program_use_context(&context);
    if (!config_parse(tables, ARRAY_LEN(tables), argc, argv, args, &cli.n_args, &err) ||
        !output_init(&cli.out, stdout, program_options.output, program_options.canonical, &err))
        result = usage_error(group, command, err.message);
    else if (cli.n_args < command->min_args)
        result = usage_error(group, command, "an argument is missing");
    else if (cli.n_args > command->max_args)
        result = usage_error(group, command, "there are too many arguments");
    else
        result = run_command(group, command, &cli);
out:
    output_destroy(&cli.out);
    arena_destroy(&cli.arena);
    context_destroy(&context);
    free(args);
    return result;
}

static enum cli_exit dispatch(int argc, char **argv)
{
    bool wants_help = config_wants_help(argc, argv);
    const char *word = take_word(&argc, argv, find_word(argc, argv, &(struct config_table) { 0 }));
    if (word && strcmp(word, help_group.name) == 0 && find_word(argc, argv, &(struct config_table) { 0 })) {
        wants_help = true; /* argon help docs find */
        word = take_word(&argc, argv, find_word(argc, argv, &(struct config_table) { 0 }));
    }
    const struct command_group *group = word ? program_find_group(word) : NULL;
    if (!group) {
        if (wants_help && !word) {
            help_print_program(stdout);
            return CLI_EXIT_OK;
        }
        for (int i = 1; i < argc && !word; i++)
            if (strcmp(argv[i], "--version") == 0) {
                printf("argon %s\n", ARGON_VERSION);
                return CLI_EXIT_OK;
            }
        if (word)
            fprintf(stderr, "argon: INVALID_ARGUMENT: there is no command '%s'\nSee: argon --help\n", word);
        else
            help_print_program(stderr);
        return CLI_EXIT_USAGE;
    }
    const struct command *command = find_command(group, &argc, argv);
    int unknown = command ? 0 : find_word(argc, argv, &(struct config_table) { 0 });
    if (unknown) {
        fprintf(stderr, "argon: INVALID_ARGUMENT: there is no command '%s %s'\nSee: argon %s --help\n", group->name, argv[unknown],
                group->name);
        return CLI_EXIT_USAGE;
    }
    if (wants_help) {
        if (command)
            help_print_command(stdout, group, command);
        else
            help_print_group(stdout, group);
        return CLI_EXIT_OK;
    }
    if (!command) {
        fprintf(stderr, "argon: INVALID_ARGUMENT: which of the %s commands?\n", group->name);
        help_print_group(stderr, group);
        return CLI_EXIT_USAGE;
    }
    return parse_and_run(group, command, argc, argv);
}

int main(int argc, char **argv)
{
    /* what gRPC has to say about a connection is in the error that we print */
    setenv("GRPC_VERBOSITY", "NONE", 0);
    rpc_init();
    sigset_t interrupts; /* rpc_init keeps them for services that drain; here they end the program */
    sigemptyset(&interrupts);
    sigaddset(&interrupts, SIGINT);
    sigaddset(&interrupts, SIGTERM);
    pthread_sigmask(SIG_UNBLOCK, &interrupts, NULL);

    enum cli_exit result = dispatch(argc, argv);
    rpc_shutdown();
    if (fclose(stdout) != 0 && result == CLI_EXIT_OK) {
        fprintf(stderr, "argon: INTERNAL: cannot write the output\n");
        result = CLI_EXIT_FAILURE;
    }
    return result;
}
