#include "cli/program.h"

#include <stdlib.h>
#include <string.h>

struct global_options program_options;

static struct config_option option_rows[] = {
    { "project", 'p', CONFIG_STRING, &program_options.project, NULL, "ARGON_PROJECT", 0, 0, "PROJECT", "project to work in" },
    { "branch", 'b', CONFIG_STRING, &program_options.branch, "main", "ARGON_BRANCH", 0, 0, "BRANCH", "branch to work on" },
    { "endpoint", 0, CONFIG_STRING, &program_options.endpoint, "127.0.0.1:7800", "ARGON_ENDPOINT", 0, 0, "HOST:PORT[,...]",
      "the branch service; of several replicas each is asked in turn" },
    { "output", 'o', CONFIG_STRING, &program_options.output, "table", NULL, 0, 0, "table|json|ndjson", "how results are printed" },
    { "canonical", 0, CONFIG_BOOL, &program_options.canonical, NULL, NULL, 0, 0, NULL,
      "documents as canonical Extended JSON, not relaxed" },
    { "timeout", 0, CONFIG_DURATION, &program_options.timeout, NULL, NULL, 1, 0, "DURATION",
      "for each request (default 30s; find, export, materialize, log and watch: none)" },
    { "min-lsn", 0, CONFIG_UINT, &program_options.min_lsn, NULL, NULL, 0, 0, "LSN",
      "reads wait until this LSN is visible, no longer than --timeout or 30s" },
    { "request-id", 0, CONFIG_STRING, &program_options.request_id, NULL, NULL, 0, 0, "ID", "of a write, to repeat it exactly once" },
    { "since-lsn", 0, CONFIG_UINT, &program_options.since_lsn, NULL, NULL, 0, 0, "LSN", "an LSN known before the id was first sent" },
    { "actor", 0, CONFIG_STRING, &program_options.actor, NULL, "ARGON_ACTOR", 0, 0, "NAME", "who writes; kept in the log" },
    { "yes", 'y', CONFIG_BOOL, &program_options.yes, NULL, NULL, 0, 0, NULL,
      "delete without asking; needed where standard input is no terminal" },
};
const struct config_table program_options_table = { option_rows, ARRAY_LEN(option_rows), false };

const struct command_group *const program_groups[] = {
    &projects_group, &branches_group, &collections_group, &docs_group,    &log_group,         &watch_group,
    &import_group,   &export_group,   &checkout_group,    &release_group, &materialize_group, &status_group,
    &config_group,   &rollout_group,  &migrate_group,     &context_group, &completion_group,  &help_group,
};
const size_t program_n_groups = ARRAY_LEN(program_groups);

static const struct context *used_context;

const struct command_group *program_find_group(const char *name)
{
    for (size_t i = 0; i < program_n_groups; i++)
        if (strcmp(program_groups[i]->name, name) == 0)
            return program_groups[i];
    return NULL;
}

const struct config_option *program_find_option(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(option_rows); i++)
        if (strcmp(option_rows[i].name, name) == 0)
            return &option_rows[i];
    return NULL;
}

void program_use_context(const struct context *context)
{
    used_context = context;
    for (size_t i = 0; i < ARRAY_LEN(option_rows); i++) {
        const char *value = context_get(context, option_rows[i].name);
        if (value)
            option_rows[i].fallback = value;
    }
}

/* config_parse copies no string: the value is the very one of its source. */
const char *program_source(const struct config_option *option)
{
    const char *value = *(const char *const *)option->target;
    if (option->variable && value == getenv(option->variable))
        return option->variable;
    if (used_context && value == context_get(used_context, option->name))
        return "context";
    return value == option->fallback || (!value[0] && !option->fallback) ? "default" : "flag";
}

void program_explain(FILE *out, enum error_code code)
{
    static const struct {
        enum error_code code;
        const char *option;
    } suspects[] = { { ERROR_UNAVAILABLE, "endpoint" }, { ERROR_NOT_FOUND, "project" }, { ERROR_NOT_FOUND, "branch" } };
    for (size_t i = 0; i < ARRAY_LEN(suspects); i++) {
        const struct config_option *option = program_find_option(suspects[i].option);
        const char *source = program_source(option), *value = *(const char *const *)option->target;
        if (suspects[i].code != code || strcmp(source, "flag") == 0 || strcmp(source, "default") == 0)
            continue;
        if (strcmp(source, "context") == 0)
            fprintf(out, "argon: %s '%s' is from the context, %s\n", option->name, value, used_context->path);
        else
            fprintf(out, "argon: %s '%s' is from the environment, %s\n", option->name, value, source);
    }
}
