#include "cli/rollout_file.h"

#include <stdio.h>
#include <string.h>

#include "cli/when.h"
#include "common/base/clock.h"
#include "common/bson/iso_date.h"
#include "common/yaml/yaml_file.h"

enum { MAX_STAGE_NAME = 64 };

/* A stage's value in the form that the service gives it; NULL: it is none. */
typedef const char *read_value_fn(const char *text, struct arena *arena);

static const char *read_bool(const char *text, struct arena *arena)
{
    (void)arena;
    return strcmp(text, "true") == 0 ? "true" : strcmp(text, "false") == 0 ? "false" : NULL;
}

static const char *read_percent(const char *text, struct arena *arena)
{
    size_t len = strlen(text);
    unsigned percent = 101;
    char out[16];
    if (len > 0 && len <= 3 && strspn(text, "0123456789") == len)
        sscanf(text, "%u", &percent);
    snprintf(out, sizeof out, "%u", percent);
    return percent <= 100 ? arena_strdup(arena, out) : NULL;
}

static const char *read_cutoff(const char *text, struct arena *arena)
{
    char out[ISO_DATE_SIZE];
    uint64_t micros;
    if (strcmp(text, "none") == 0)
        return "none";
    /* a file says the same whenever it is read: "10m ago" is none of it */
    if (strlen(text) < strlen("2027-01-01") || text[4] != '-' || !when_parse(text, clock_wall_micros(), &micros, NULL) || micros < 1000)
        return NULL;
    iso_date_format((int64_t)(micros / 1000), out);
    return arena_strdup(arena, out);
}

static const struct stage_field {
    const char *name;
    const char *expected;
    read_value_fn *read;
    const char *fallback; /* NULL: it must be there */
} fields[ROLLOUT_VALUES] = {
    /* in the order of rollout_keys */
    { "enabled", "true or false", read_bool, NULL },
    { "percent", "a whole number from 0 to 100", read_percent, "100" },
    { "new_branches_only", "true or false", read_bool, "true" },
    { "cutoff", "a time such as 2027-01-01 or 2027-01-01T12:00:00Z, or none", read_cutoff, "none" },
};

const char *const rollout_keys[ROLLOUT_VALUES] = { "wal.enabled", "wal.rollout_percent", "wal.new_branches_only", "wal.cutoff" };

static bool wrong(const char *path, unsigned line, const char *key, const char *expected, struct error *err)
{
    return error_set(err, ERROR_INVALID_ARGUMENT, "%s:%u: %s: expected %s", path, line, key, expected);
}

static bool read_name(const char *path, const struct yaml_value *item, struct rollout_stage *stage, struct error *err)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-";
    size_t len = item->kind == YAML_VALUE_TEXT ? strlen(item->text) : 0;
    if (len == 0 || len > MAX_STAGE_NAME || strspn(item->text, allowed) != len)
        return wrong(path, item->line, item->key, "a name of at most 64 letters, digits and . _ -", err);
    stage->name = item->text;
    return true;
}

static bool read_field(const char *path, const struct yaml_value *item, struct arena *arena, struct rollout_stage *stage, struct error *err)
{
    if (strcmp(item->key, "name") == 0)
        return read_name(path, item, stage, err);
    for (size_t i = 0; i < ROLLOUT_VALUES; i++) {
        if (strcmp(item->key, fields[i].name) != 0)
            continue;
        stage->values[i] = item->kind == YAML_VALUE_TEXT ? fields[i].read(item->text, arena) : NULL;
        return stage->values[i] || wrong(path, item->line, item->key, fields[i].expected, err);
    }
    return wrong(path, item->line, item->key, "name, enabled, percent, new_branches_only or cutoff", err);
}

static bool read_stage(const char *path, const struct yaml_value *value, struct arena *arena, struct rollout_stage *stage,
                       struct error *err)
{
    *stage = (struct rollout_stage) { 0 };
    if (value->kind != YAML_VALUE_MAPPING)
        return wrong(path, value->line, "stages", "a mapping with name, enabled, ...", err);
    for (size_t i = 0; i < value->n_items; i++)
        if (!read_field(path, &value->items[i], arena, stage, err))
            return false;
    if (!stage->name)
        return error_set(err, ERROR_INVALID_ARGUMENT, "%s:%u: a stage has no name", path, value->line);
    for (size_t i = 0; i < ROLLOUT_VALUES; i++) {
        if (!stage->values[i])
            stage->values[i] = fields[i].fallback;
        if (!stage->values[i])
            return error_set(err, ERROR_INVALID_ARGUMENT, "%s:%u: stage '%s' does not say %s", path, value->line, stage->name,
                             fields[i].name);
    }
    return true;
}

bool rollout_load(const char *path, struct arena *arena, struct rollout *rollout, struct error *err)
{
    struct yaml_value root;
    if (!yaml_file_load(path, arena, &root, err))
        return false;
    const struct yaml_value *list = root.kind == YAML_VALUE_MAPPING ? yaml_value_find(&root, "stages") : NULL;
    if (!list || list->kind != YAML_VALUE_LIST || list->n_items == 0)
        return wrong(path, list ? list->line : 1, "stages", "a list of stages", err);
    for (size_t i = 0; i < root.n_items; i++)
        if (&root.items[i] != list)
            return wrong(path, root.items[i].line, root.items[i].key, "nothing beside stages", err);
    struct rollout_stage *stages = arena_alloc(arena, list->n_items * sizeof *stages);
    if (!stages)
        return error_out_of_memory(err);
    for (size_t i = 0; i < list->n_items; i++) {
        if (!read_stage(path, &list->items[i], arena, &stages[i], err))
            return false;
        for (size_t earlier = 0; earlier < i; earlier++)
            if (strcmp(stages[earlier].name, stages[i].name) == 0)
                return error_set(err, ERROR_INVALID_ARGUMENT, "%s:%u: there is a stage '%s' already", path, list->items[i].line,
                                 stages[i].name);
    }
    *rollout = (struct rollout) { .stages = stages, .n = list->n_items };
    return true;
}
