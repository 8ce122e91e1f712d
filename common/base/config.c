#include "common/base/config.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static bool parse_scaled(const char *text, const char *const *units, const uint64_t *scales, size_t n, uint64_t *value)
{
    if (*text < '0' || *text > '9')
        return false;
    char *end;
    errno = 0;
    unsigned long long number = strtoull(text, &end, 10);
    if (errno)
        return false;
    for (size_t i = 0; i < n; i++)
        if (strcmp(end, units[i]) == 0)
            return !__builtin_mul_overflow((uint64_t)number, scales[i], value);
    return false;
}

bool config_parse_bytes(const char *text, uint64_t *bytes, struct error *err)
{
    static const char *const units[] = { "", "K", "KiB", "M", "MiB", "G", "GiB" };
    static const uint64_t scales[] = { 1, 1 << 10, 1 << 10, 1 << 20, 1 << 20, 1 << 30, 1 << 30 };
    if (!parse_scaled(text, units, scales, ARRAY_LEN(units), bytes))
        return error_set(err, ERROR_INVALID_ARGUMENT, "'%s' is not a size such as 65536, 512K, 64M or 1G", text);
    return true;
}

bool config_parse_duration(const char *text, uint64_t *micros, struct error *err)
{
    static const char *const units[] = { "us", "ms", "s", "m", "h" };
    static const uint64_t scales[] = { 1, 1000, 1000000, 60000000, 3600000000 };
    if (!parse_scaled(text, units, scales, ARRAY_LEN(units), micros))
        return error_set(err, ERROR_INVALID_ARGUMENT, "'%s' is not a duration such as 250ms, 10s or 5m", text);
    return true;
}

static bool set_value(const struct config_option *option, const char *text, struct error *err)
{
    static const char *const no_unit[] = { "" };
    static const uint64_t one[] = { 1 };
    switch (option->kind) {
    case CONFIG_STRING:
    case CONFIG_URI:
        *(const char **)option->target = text;
        return true;
    case CONFIG_BOOL:
        if (strcmp(text, "true") != 0 && strcmp(text, "false") != 0)
            return error_set(err, ERROR_INVALID_ARGUMENT, "'%s' is neither true nor false", text);
        *(bool *)option->target = text[0] == 't';
        return true;
    case CONFIG_UINT:
    case CONFIG_BYTES:
    case CONFIG_DURATION:
        break;
    }
    uint64_t value;
    if (option->kind == CONFIG_BYTES) {
        if (!config_parse_bytes(text, &value, err))
            return false;
    } else if (option->kind == CONFIG_DURATION) {
        if (!config_parse_duration(text, &value, err))
            return false;
    } else if (!parse_scaled(text, no_unit, one, 1, &value)) {
        return error_set(err, ERROR_INVALID_ARGUMENT, "'%s' is not a whole number", text);
    }
    if (value < option->min || (option->max && value > option->max))
        return error_set(err, ERROR_INVALID_ARGUMENT, "%s is outside %llu..%llu", text, (unsigned long long)option->min,
                         (unsigned long long)(option->max ? option->max : UINT64_MAX));
    *(uint64_t *)option->target = value;
    return true;
}

bool config_wrap_origin(const struct config_option *option, const struct config_origin *origin, struct error *err)
{
    switch (origin->source) {
    case CONFIG_FROM_FLAG:
        return error_wrap(err, "option --%s", option->name);
    case CONFIG_FROM_ENVIRONMENT:
        return error_wrap(err, "environment variable %s", option->variable);
    case CONFIG_FROM_FILE:
        return error_wrap(err, "%s:%u: %s", origin->path, origin->line, option->name);
    case CONFIG_FROM_DEFAULT:
        break;
    }
    return error_wrap(err, "default of --%s", option->name);
}

static const struct config_file_entry *find_entry(const struct config_file *file, const char *name)
{
    for (size_t i = 0; file && i < file->n; i++)
        if (strcmp(file->entries[i].key, name) == 0)
            return &file->entries[i];
    return NULL;
}

/* What holds when the command line does not name the option. Values of lower precedence are checked, too: a mistake in the file
 * shows at once and not on the day when the environment no longer hides it. */
static bool set_default(const struct config_option *option, const struct config_file *file, struct config_origin *origin, struct error *err)
{
    const char *variable = option->variable ? getenv(option->variable) : NULL;
    const struct config_file_entry *entry = find_entry(file, option->name);
    *origin = (struct config_origin) { .source = CONFIG_FROM_DEFAULT };
    if (option->kind == CONFIG_BOOL)
        *(bool *)option->target = false;
    else if (option->kind == CONFIG_STRING || option->kind == CONFIG_URI)
        *(const char **)option->target = "";
    else
        *(uint64_t *)option->target = 0;
    if (option->fallback && !set_value(option, option->fallback, err))
        return config_wrap_origin(option, origin, err);
    if (entry) {
        *origin = (struct config_origin) { .source = CONFIG_FROM_FILE, .path = file->path, .line = entry->line };
        if (!set_value(option, entry->value, err))
            return config_wrap_origin(option, origin, err);
    }
    if (variable) {
        *origin = (struct config_origin) { .source = CONFIG_FROM_ENVIRONMENT };
        if (!set_value(option, variable, err))
            return config_wrap_origin(option, origin, err);
    }
    return true;
}

/* *index: counted through all tables. */
static const struct config_option *find_option(const struct config_table *tables, size_t n_tables, const char *name, size_t len,
                                               char letter, size_t *index)
{
    *index = 0;
    for (size_t t = 0; t < n_tables; t++)
        for (size_t i = 0; i < tables[t].n; i++, ++*index) {
            const struct config_option *option = &tables[t].options[i];
            if (name ? strlen(option->name) == len && memcmp(option->name, name, len) == 0 : option->letter && option->letter == letter)
                return option;
        }
    return NULL;
}

bool config_wrap_named(const struct config_table *tables, size_t n_tables, const struct config_origin *origins, const char *name,
                       struct error *err)
{
    size_t index;
    const struct config_option *option = find_option(tables, n_tables, name, strlen(name), 0, &index);
    return config_wrap_origin(option, &origins[index], err);
}

static bool is_action(const struct config_table *tables, size_t index)
{
    for (; index >= tables->n; tables++)
        index -= tables->n;
    return tables->actions;
}

static bool check_keys(const struct config_table *tables, size_t n_tables, const struct config_file *file, struct error *err)
{
    size_t index;
    for (size_t i = 0; file && i < file->n; i++) {
        const struct config_file_entry *entry = &file->entries[i];
        if (!find_option(tables, n_tables, entry->key, strlen(entry->key), 0, &index))
            return error_set(err, ERROR_INVALID_ARGUMENT, "%s:%u: there is no option '%s'", file->path, entry->line, entry->key);
        if (is_action(tables, index))
            return error_set(err, ERROR_INVALID_ARGUMENT, "%s:%u: '%s' is for the command line only", file->path, entry->line, entry->key);
    }
    return true;
}

static bool parse(const struct config_table *tables, size_t n_tables, int argc, char **argv, const struct config_file *file,
                  struct config_origin *origins, const char **positionals, size_t *n_positionals, struct error *err)
{
    struct config_origin origin;
    size_t index = 0;
    if (!check_keys(tables, n_tables, file, err))
        return false;
    for (size_t t = 0; t < n_tables; t++)
        for (size_t i = 0; i < tables[t].n; i++, index++)
            if (!set_default(&tables[t].options[i], file, origins ? &origins[index] : &origin, err))
                return false;

    size_t n = 0;
    bool options_end = false;
    for (int i = 1; i < argc; i++) {
        const char *argument = argv[i];
        if (!options_end && strcmp(argument, "--") == 0) {
            options_end = true;
            continue;
        }
        if (options_end || argument[0] != '-' || argument[1] == '\0') {
            if (!positionals)
                return error_set(err, ERROR_INVALID_ARGUMENT, "unexpected argument '%s'", argument);
            positionals[n++] = argument;
            continue;
        }
        bool is_long = argument[1] == '-';
        const char *name = argument + (is_long ? 2 : 1);
        const char *equals = is_long ? strchr(name, '=') : NULL;
        size_t len = equals ? (size_t)(equals - name) : strlen(name);
        const struct config_option *option = find_option(tables, n_tables, is_long ? name : NULL, len, *name, &index);
        const char *value = equals ? equals + 1 : NULL;
        if (!option && is_long && !equals && strncmp(name, "no-", 3) == 0) {
            option = find_option(tables, n_tables, name + 3, len - 3, 0, &index);
            if (option && option->kind != CONFIG_BOOL)
                option = NULL;
            value = "false";
        }
        if (!option || (!is_long && option->kind == CONFIG_BOOL && name[1]))
            return error_set(err, ERROR_INVALID_ARGUMENT, "unknown option '%s'", argument);
        if (!is_long && name[1])
            value = name + 1; /* -oVALUE */
        if (!value && option->kind == CONFIG_BOOL)
            value = "true";
        if (!value) {
            if (i + 1 >= argc)
                return error_set(err, ERROR_INVALID_ARGUMENT, "option '%s' needs a value (%s)", argument,
                                 option->argument ? option->argument : "VALUE");
            value = argv[++i];
        }
        origin = (struct config_origin) { .source = CONFIG_FROM_FLAG };
        if (!set_value(option, value, err))
            return config_wrap_origin(option, &origin, err);
        if (origins)
            origins[index] = origin;
    }
    if (n_positionals)
        *n_positionals = n;
    return true;
}

bool config_parse(const struct config_table *tables, size_t n_tables, int argc, char **argv, const char **positionals,
                  size_t *n_positionals, struct error *err)
{
    return parse(tables, n_tables, argc, argv, NULL, NULL, positionals, n_positionals, err);
}

bool config_parse_with_file(const struct config_table *tables, size_t n_tables, int argc, char **argv, const struct config_file *file,
                            struct config_origin *origins, struct error *err)
{
    return parse(tables, n_tables, argc, argv, file, origins, NULL, NULL, err);
}

bool config_wants_help(int argc, char **argv)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0; i++)
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0)
            return true;
    return false;
}
