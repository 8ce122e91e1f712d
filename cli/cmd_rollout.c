/* Goes from stage to stage of a rollout. The stage that was applied last is a value of the service's config beside the flags,
 * written with them in one batch: so it is known where a rollout is, also when somebody has changed a flag by hand since. */
#include <string.h>

#include "cli/command.h"
#include "cli/config_calls.h"
#include "cli/rollout_file.h"

static struct {
    const char *file;
    bool force;
} options;

struct state {
    struct rollout rollout;
    const char *stage;                  /* "": none has been applied */
    size_t at;                          /* its number; rollout.n: it is not in the file, or there is none */
    const char *values[ROLLOUT_VALUES]; /* as the service goes by them */
    const char *sources[ROLLOUT_VALUES];
};

static bool take_values(const Argon__Branch__V1__ListConfigResponse *response, struct state *state, struct error *err)
{
    for (size_t i = 0; i < response->n_values; i++) {
        const Argon__Branch__V1__ConfigValue *value = response->values[i];
        if (strcmp(value->key, ROLLOUT_STAGE_KEY) == 0)
            state->stage = value->value;
        for (size_t k = 0; k < ROLLOUT_VALUES; k++)
            if (strcmp(value->key, rollout_keys[k]) == 0) {
                state->values[k] = value->value;
                state->sources[k] = config_source_name(value->source);
            }
    }
    for (size_t k = 0; k < ROLLOUT_VALUES; k++)
        if (!state->values[k])
            return error_set(err, ERROR_INTERNAL, "the service does not know %s", rollout_keys[k]);
    return true;
}

static size_t find_stage(const struct rollout *rollout, const char *name)
{
    size_t i = 0;
    while (i < rollout->n && strcmp(rollout->stages[i].name, name) != 0)
        i++;
    return i;
}

static bool learn_state(struct cli *cli, struct state *state, struct error *err)
{
    const Argon__Branch__V1__ListConfigResponse *response;
    *state = (struct state) { .stage = "" };
    if (!options.file[0])
        return error_set(err, ERROR_INVALID_ARGUMENT, "which stages? Say -f FILE");
    if (!rollout_load(options.file, &cli->arena, &state->rollout, err) || !config_list(cli, &cli->connection, &response, err) ||
        !take_values(response, state, err))
        return false;
    state->at = state->stage[0] ? find_stage(&state->rollout, state->stage) : state->rollout.n;
    return true;
}

static bool find_named(const struct state *state, const char *name, size_t *stage, struct error *err)
{
    size_t found = find_stage(&state->rollout, name);
    if (found == state->rollout.n)
        return error_set(err, ERROR_NOT_FOUND, "%s has no stage '%s'", options.file, name);
    *stage = found;
    return true;
}

/* Somebody applied another file's stage: which one comes before or after it is not known. */
static bool check_known(const struct state *state, struct error *err)
{
    if (state->stage[0] && state->at == state->rollout.n)
        return error_set(err, ERROR_FAILED_PRECONDITION, "the config is at the stage '%s', which %s does not have", state->stage,
                         options.file);
    return true;
}

static bool find_next(const struct state *state, size_t *next, struct error *err)
{
    if (!check_known(state, err))
        return false;
    size_t found = state->stage[0] ? state->at + 1 : 0;
    if (found == state->rollout.n)
        return error_set(err, ERROR_FAILED_PRECONDITION, "'%s' is the last stage", state->stage);
    *next = found;
    return true;
}

static bool plan(struct cli *cli, struct error *err)
{
    struct state state;
    size_t to;
    if (!learn_state(cli, &state, err) || !(cli->n_args ? find_named(&state, cli->args[0], &to, err) : find_next(&state, &to, err)))
        return false;
    const struct rollout_stage *stage = &state.rollout.stages[to];
    output_list_begin(&cli->out);
    for (size_t k = 0; k < ROLLOUT_VALUES; k++) {
        const struct field fields[] = {
            FIELD_STRING("stage", stage->name),     FIELD_STRING("key", rollout_keys[k]),
            FIELD_STRING("now", state.values[k]),   FIELD_STRING("source", state.sources[k]),
            FIELD_STRING("then", stage->values[k]), FIELD_BOOL("changes", strcmp(state.values[k], stage->values[k]) != 0),
        };
        output_list_row(&cli->out, fields, ARRAY_LEN(fields));
    }
    output_list_end(&cli->out);
    return true;
}

static bool go_to(struct cli *cli, const struct state *state, size_t to, const char *what, struct error *err)
{
    const struct rollout_stage *stage = &state->rollout.stages[to];
    struct config_pair pairs[ROLLOUT_VALUES + 1] = { { ROLLOUT_STAGE_KEY, stage->name } };
    for (size_t k = 0; k < ROLLOUT_VALUES; k++)
        pairs[1 + k] = (struct config_pair) { rollout_keys[k], stage->values[k] };
    if (!config_set(cli, pairs, ARRAY_LEN(pairs), err))
        return false;
    const struct field fields[] = { FIELD_STRING("stage", stage->name), FIELD_OPTIONAL("previous", state->stage),
                                    FIELD_U64("number", to + 1), FIELD_U64("stages", state->rollout.n) };
    char sentence[256];
    snprintf(sentence, sizeof sentence, "%s stage %s (%zu of %zu); all replicas go by it within a second.", what, stage->name, to + 1,
             state->rollout.n);
    output_result(&cli->out, sentence, fields, ARRAY_LEN(fields));
    return true;
}

static bool apply(struct cli *cli, struct error *err)
{
    struct state state;
    size_t to, next;
    if (!learn_state(cli, &state, err) || !find_named(&state, cli->args[0], &to, err))
        return false;
    bool is_here = state.stage[0] && to == state.at; /* once more: puts right what was changed by hand */
    if (!options.force && !is_here) {
        if (!find_next(&state, &next, err))
            return error_wrap(err, "stage '%s' does not follow (--force applies it all the same)", cli->args[0]);
        if (to != next)
            return error_set(err, ERROR_FAILED_PRECONDITION,
                             "stage '%s' does not follow: the next one is '%s' (--force applies it all the same)", cli->args[0],
                             state.rollout.stages[next].name);
    }
    return go_to(cli, &state, to, "Applied", err);
}

static bool rollback(struct cli *cli, struct error *err)
{
    struct state state;
    if (!learn_state(cli, &state, err) || !check_known(&state, err))
        return false;
    if (!state.stage[0])
        return error_set(err, ERROR_FAILED_PRECONDITION, "no stage has been applied yet");
    if (state.at == 0)
        return error_set(err, ERROR_FAILED_PRECONDITION, "'%s' is the first stage", state.stage);
    return go_to(cli, &state, state.at - 1, "Went back to", err);
}

/* What differs between the stage and the flags: "wal.rollout_percent is 50, not 25 (catalog)". */
static const char *describe_drift(struct cli *cli, const struct state *state)
{
    char text[512];
    size_t len = 0;
    if (state->at == state->rollout.n)
        return "";
    text[0] = '\0';
    const struct rollout_stage *stage = &state->rollout.stages[state->at];
    for (size_t k = 0; k < ROLLOUT_VALUES && len < sizeof text; k++)
        if (strcmp(state->values[k], stage->values[k]) != 0)
            len += (size_t)snprintf(text + len, sizeof text - len, "%s%s is %s, not %s (%s)", len ? "; " : "", rollout_keys[k],
                                    state->values[k], stage->values[k], state->sources[k]);
    return arena_strdup(&cli->arena, text);
}

static bool status(struct cli *cli, struct error *err)
{
    struct state state;
    size_t next = 0;
    if (!learn_state(cli, &state, err))
        return false;
    const char *drift = describe_drift(cli, &state);
    if (!drift)
        return error_out_of_memory(err);
    bool known = state.at < state.rollout.n, has_next = find_next(&state, &next, NULL);
    const struct field fields[] = {
        FIELD_OPTIONAL("stage", state.stage),
        FIELD_BOOL("in_file", known),
        FIELD_U64("number", known ? state.at + 1 : 0),
        FIELD_U64("stages", state.rollout.n),
        FIELD_OPTIONAL("next", has_next ? state.rollout.stages[next].name : ""),
        FIELD_OPTIONAL("drift", drift),
    };
    output_object(&cli->out, fields, ARRAY_LEN(fields));
    return true;
}

#define FILE_ROW                                                                                                                           \
    {                                                                                                                                      \
        "file", 'f', CONFIG_STRING, &options.file, NULL, NULL, 0, 0, "FILE", "the stages, in YAML"                                         \
    }

static const struct config_option file_row[] = { FILE_ROW };
static const struct config_option apply_rows[] = {
    FILE_ROW,
    { "force", 0, CONFIG_BOOL, &options.force, NULL, NULL, 0, 0, NULL, "also a stage that is not the next one" },
};

static const struct command commands[] = {
    { "plan", "[STAGE] -f FILE", "Show what a stage would change; the next one unless named", "argon rollout plan -f examples/rollout.yaml",
      0, 1, plan, file_row, ARRAY_LEN(file_row), NULL },
    { "apply", "STAGE -f FILE [--force]", "Set the flags as a stage says, all at once; the next stage, or the present one once more",
      "argon rollout apply canary -f examples/rollout.yaml", 1, 1, apply, apply_rows, ARRAY_LEN(apply_rows), NULL },
    { "status", "-f FILE", "Show which stage was applied last, and where the flags differ from it",
      "argon rollout status -f examples/rollout.yaml -o json", 0, 0, status, file_row, ARRAY_LEN(file_row), NULL },
    { "rollback", "-f FILE", "Go back to the stage before", "argon rollout rollback -f examples/rollout.yaml", 0, 0, rollback, file_row,
      ARRAY_LEN(file_row), NULL },
};

const struct command_group rollout_group = { "rollout", "Go to WAL branches and back in stages", commands, ARRAY_LEN(commands),
                                             GROUP_REMOTE };
