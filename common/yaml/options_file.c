#include "common/yaml/options_file.h"

#include <string.h>

#include "common/yaml/yaml_file.h"

static bool load(const char *path, struct arena *arena, struct config_file *file, struct error *err)
{
    struct yaml_value root;
    if (!yaml_file_load(path, arena, &root, err))
        return false;
    if (root.kind != YAML_VALUE_MAPPING)
        return error_set(err, ERROR_INVALID_ARGUMENT, "%s:%u: expected lines of the form 'option: value'", path, root.line);
    struct config_file_entry *entries = arena_alloc(arena, (root.n_items + 1) * sizeof *entries);
    if (!entries)
        return error_out_of_memory(err);
    for (size_t i = 0; i < root.n_items; i++) {
        const struct yaml_value *item = &root.items[i];
        if (strcmp(item->key, "config") == 0)
            return error_set(err, ERROR_INVALID_ARGUMENT, "%s:%u: config: a file of options names no other one", path, item->line);
        if (item->kind != YAML_VALUE_TEXT)
            return error_set(err, ERROR_INVALID_ARGUMENT, "%s:%u: %s: expected one value", path, item->line, item->key);
        entries[i] = (struct config_file_entry) { .key = item->key, .value = item->text, .line = item->line };
    }
    *file = (struct config_file) { .path = path, .entries = entries, .n = root.n_items };
    return true;
}

bool options_file_parse(const struct config_table *tables, size_t n_tables, int argc, char **argv, const char **place, struct arena *arena,
                        struct config_origin *origins, struct error *err)
{
    struct config_file file;
    if (!config_parse_with_file(tables, n_tables, argc, argv, NULL, origins, err))
        return false;
    if (!(*place)[0])
        return true;
    return load(*place, arena, &file, err) && config_parse_with_file(tables, n_tables, argc, argv, &file, origins, err);
}
