#include <stdlib.h>
#include <string.h>

#include "cli/command.h"
#include "cli/context.h"
#include "cli/program.h"
#include "common/base/memory.h"

static bool print_stored(struct cli *cli, const struct context *context, struct error *err)
{
    if (!context_store(context, err))
        return false;
    struct field fields[CONTEXT_KEYS + 1] = { FIELD_STRING("file", context->path) };
    for (size_t i = 0; i < CONTEXT_KEYS; i++)
        fields[1 + i] = FIELD_OPTIONAL(context_keys[i], context->values[i] ? context->values[i] : "");
    output_object(&cli->out, fields, ARRAY_LEN(fields));
    return true;
}

static bool set_pair(struct context *context, const char *pair, struct error *err)
{
    const char *equals = strchr(pair, '=');
    if (!equals)
        return error_set(err, ERROR_INVALID_ARGUMENT, "'%s' is not of the form KEY=VALUE", pair);
    char *key = mem_strndup(pair, (size_t)(equals - pair));
    bool ok = context_set(context, key, equals + 1, err);
    free(key);
    return ok;
}

static bool context_set_pairs(struct cli *cli, struct error *err)
{
    struct context context;
    if (!context_load(&context, err))
        return false;
    bool ok = true;
    for (size_t i = 0; ok && i < cli->n_args; i++)
        ok = set_pair(&context, cli->args[i], err);
    ok = ok && print_stored(cli, &context, err);
    context_destroy(&context);
    return ok;
}

static bool context_unset(struct cli *cli, struct error *err)
{
    struct context context;
    if (!context_load(&context, err))
        return false;
    bool ok = true;
    for (size_t i = 0; ok && i < cli->n_args; i++)
        ok = context_set(&context, cli->args[i], NULL, err);
    ok = ok && print_stored(cli, &context, err);
    context_destroy(&context);
    return ok;
}

static bool context_show(struct cli *cli, struct error *err)
{
    (void)err;
    output_list_begin(&cli->out);
    for (size_t i = 0; i < CONTEXT_KEYS; i++) {
        const struct config_option *option = program_find_option(context_keys[i]);
        const struct field fields[] = { FIELD_STRING("key", option->name), FIELD_OPTIONAL("value", *(const char *const *)option->target),
                                        FIELD_STRING("source", program_source(option)) };
        output_list_row(&cli->out, fields, ARRAY_LEN(fields));
    }
    output_list_end(&cli->out);
    return true;
}

static const struct command commands[] = {
    { "set", "KEY=VALUE...", "Remember endpoint, project, branch, actor or output for later commands",
      "argon context set endpoint=127.0.0.1:7800 project=shop branch=dev", 1, ANY_NUMBER_OF_ARGS, context_set_pairs, NULL, 0, NULL },
    { "show", "", "Show what commands here would use, and where each value comes from", "argon context show -o json", 0, 0, context_show,
      NULL, 0, NULL },
    { "unset", "KEY...", "Forget a value", "argon context unset branch", 1, ANY_NUMBER_OF_ARGS, context_unset, NULL, 0, NULL },
};

const struct command_group context_group = { "context", "Remember endpoint, project and branch", commands, ARRAY_LEN(commands),
                                             GROUP_LOCAL };
