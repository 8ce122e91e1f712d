#include "cli/context.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "cli/user_path.h"
#include "cli/whole_file.h"
#include "common/base/memory.h"

const char *const context_keys[CONTEXT_KEYS] = { "endpoint", "project", "branch", "actor", "output" };

static bool find_key(const char *key, size_t *index)
{
    for (size_t i = 0; i < CONTEXT_KEYS; i++)
        if (strcmp(context_keys[i], key) == 0) {
            *index = i;
            return true;
        }
    return false;
}

const char *context_get(const struct context *context, const char *key)
{
    size_t index;
    return find_key(key, &index) ? context->values[index] : NULL;
}

bool context_set(struct context *context, const char *key, const char *value, struct error *err)
{
    size_t index;
    if (!find_key(key, &index))
        return error_set(err, ERROR_INVALID_ARGUMENT, "'%s' is none of endpoint, project, branch, actor, output", key);
    if (value && !value[0])
        return error_set(err, ERROR_INVALID_ARGUMENT, "the value of '%s' is empty", key);
    for (const char *c = value; c && *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            return error_set(err, ERROR_INVALID_ARGUMENT, "the value of '%s' has a control character in it", key);
    if (value && strcmp(key, "output") == 0 && strcmp(value, "table") != 0 && strcmp(value, "json") != 0 && strcmp(value, "ndjson") != 0)
        return error_set(err, ERROR_INVALID_ARGUMENT, "output '%s' is none of table, json, ndjson", value);
    free(context->values[index]);
    context->values[index] = value ? mem_strdup(value) : NULL;
    return true;
}

/* Both ends without white space; the text is cut. */
static char *trim(char *text)
{
    while (isspace((unsigned char)*text))
        text++;
    char *end = text + strlen(text);
    while (end > text && isspace((unsigned char)end[-1]))
        end--;
    *end = '\0';
    return text;
}

static bool read_line(struct context *context, char *line, struct error *err)
{
    char *key = trim(line);
    if (!key[0] || key[0] == '#')
        return true;
    char *equals = strchr(key, '=');
    if (!equals)
        return error_set(err, ERROR_INVALID_ARGUMENT, "'%s' is not of the form key = value", key);
    *equals = '\0';
    key = trim(key);
    if (context_get(context, key))
        return error_set(err, ERROR_INVALID_ARGUMENT, "'%s' is there twice", key);
    return context_set(context, key, trim(equals + 1), err);
}

bool context_load(struct context *context, struct error *err)
{
    struct context loaded = { .path = user_path("XDG_CONFIG_HOME", ".config", "config") };
    FILE *file = loaded.path ? fopen(loaded.path, "re") : NULL;
    bool ok = true;
    if (!file && loaded.path && errno != ENOENT && errno != ENOTDIR)
        ok = error_set_errno(err, error_code_of_file(errno), errno, "cannot read the context, '%s'", loaded.path);
    if (file) {
        char *line = NULL;
        size_t size = 0;
        for (unsigned number = 1; ok && getline(&line, &size, file) >= 0; number++)
            if (!read_line(&loaded, line, err))
                ok = error_wrap(err, "the context, %s, line %u", loaded.path, number);
        if (ok && ferror(file))
            ok = error_set_errno(err, error_code_of_file(errno), errno, "cannot read the context, '%s'", loaded.path);
        free(line);
        fclose(file);
    }
    if (ok)
        *context = loaded;
    else
        context_destroy(&loaded);
    return ok;
}

void context_destroy(struct context *context)
{
    for (size_t i = 0; i < CONTEXT_KEYS; i++)
        free(context->values[i]);
    free(context->path);
    *context = (struct context) { 0 };
}

bool context_store(const struct context *context, struct error *err)
{
    struct whole_file file;
    if (!context->path)
        return error_set(err, ERROR_FAILED_PRECONDITION, "where is the context? Neither XDG_CONFIG_HOME nor HOME names a folder");
    if (!user_path_make_folders(context->path, err) || !whole_file_open(&file, context->path, true, err))
        return false;
    for (size_t i = 0; i < CONTEXT_KEYS; i++)
        if (context->values[i])
            fprintf(file.stream, "%s = %s\n", context_keys[i], context->values[i]);
    return whole_file_commit(&file, err);
}
