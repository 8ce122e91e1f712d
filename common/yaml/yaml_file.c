#include "common/yaml/yaml_file.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <yaml.h>

#include "common/base/bytes.h"

enum { MAX_DEPTH = 16, MAX_BYTES = 1 << 20 };

struct reader {
    const char *path;
    struct arena *arena;
    yaml_parser_t parser;
};

static bool wrong(const struct reader *reader, size_t line, const char *problem, struct error *err)
{
    return error_set(err, ERROR_INVALID_ARGUMENT, "%s:%zu: %s", reader->path, line + 1, problem);
}

/* The caller deletes the event. */
static bool next_event(struct reader *reader, yaml_event_t *event, struct error *err)
{
    if (yaml_parser_parse(&reader->parser, event))
        return true;
    const yaml_parser_t *parser = &reader->parser;
    if (parser->error == YAML_MEMORY_ERROR)
        return error_out_of_memory(err);
    /* the reader's own errors (bytes that are not UTF-8) say where by an offset only */
    size_t line = parser->error == YAML_READER_ERROR ? parser->mark.line : parser->problem_mark.line;
    return wrong(reader, line, parser->problem ? parser->problem : "this is not YAML", err);
}

static bool copy_text(struct reader *reader, const yaml_event_t *event, const char **text, struct error *err)
{
    const char *value = (const char *)event->data.scalar.value;
    if (memchr(value, '\0', event->data.scalar.length))
        return wrong(reader, event->start_mark.line, "a text holds a NUL character", err);
    *text = arena_strndup(reader->arena, value, event->data.scalar.length);
    return *text || error_out_of_memory(err);
}

static bool refuse_extras(struct reader *reader, const yaml_event_t *event, struct error *err)
{
    const yaml_char_t *anchor = NULL, *tag = NULL;
    if (event->type == YAML_SCALAR_EVENT) {
        anchor = event->data.scalar.anchor;
        tag = event->data.scalar.tag;
    } else if (event->type == YAML_MAPPING_START_EVENT) {
        anchor = event->data.mapping_start.anchor;
        tag = event->data.mapping_start.tag;
    } else if (event->type == YAML_SEQUENCE_START_EVENT) {
        anchor = event->data.sequence_start.anchor;
        tag = event->data.sequence_start.tag;
    }
    if (anchor || tag || event->type == YAML_ALIAS_EVENT)
        return wrong(reader, event->start_mark.line, "anchors, aliases and tags are not understood here", err);
    return true;
}

static bool add_item(struct reader *reader, struct yaml_value *parent, size_t *capacity, const struct yaml_value *item, struct error *err)
{
    if (parent->n_items == *capacity) {
        size_t grown = *capacity ? 2 * *capacity : 8;
        struct yaml_value *larger = arena_alloc(reader->arena, grown * sizeof *larger);
        if (!larger)
            return error_out_of_memory(err);
        if (parent->n_items)
            memcpy(larger, parent->items, parent->n_items * sizeof *larger);
        parent->items = larger;
        *capacity = grown;
    }
    parent->items[parent->n_items++] = *item;
    return true;
}

static bool read_items(struct reader *reader, struct yaml_value *parent, size_t depth, struct error *err);

/* The value that begins with this event. */
static bool read_value(struct reader *reader, const yaml_event_t *event, size_t depth, struct yaml_value *value, struct error *err)
{
    value->line = (unsigned)event->start_mark.line + 1;
    if (!refuse_extras(reader, event, err))
        return false;
    switch (event->type) {
    case YAML_SCALAR_EVENT:
        value->kind = YAML_VALUE_TEXT;
        return copy_text(reader, event, &value->text, err);
    case YAML_MAPPING_START_EVENT:
        value->kind = YAML_VALUE_MAPPING;
        break;
    case YAML_SEQUENCE_START_EVENT:
        value->kind = YAML_VALUE_LIST;
        break;
    default:
        return wrong(reader, event->start_mark.line, "a value is missing", err);
    }
    if (depth == MAX_DEPTH)
        return wrong(reader, event->start_mark.line, "this is nested too deeply", err);
    return read_items(reader, value, depth + 1, err);
}

static bool read_key(struct reader *reader, const yaml_event_t *event, const struct yaml_value *parent, const char **key, struct error *err)
{
    if (event->type != YAML_SCALAR_EVENT)
        return wrong(reader, event->start_mark.line, "a key must be a text", err);
    if (!refuse_extras(reader, event, err) || !copy_text(reader, event, key, err))
        return false;
    const struct yaml_value *first = yaml_value_find(parent, *key);
    if (first)
        return error_set(err, ERROR_INVALID_ARGUMENT, "%s:%zu: the key '%s' is there already, in line %u", reader->path,
                         event->start_mark.line + 1, *key, first->line);
    return true;
}

static bool read_items(struct reader *reader, struct yaml_value *parent, size_t depth, struct error *err)
{
    size_t capacity = 0;
    for (;;) {
        struct yaml_value item = { 0 };
        yaml_event_t event;
        if (!next_event(reader, &event, err))
            return false;
        bool end = event.type == YAML_MAPPING_END_EVENT || event.type == YAML_SEQUENCE_END_EVENT;
        bool ok = true;
        if (!end && parent->kind == YAML_VALUE_MAPPING) {
            ok = read_key(reader, &event, parent, &item.key, err);
            yaml_event_delete(&event);
            if (!ok || !next_event(reader, &event, err))
                return false;
        }
        if (!end)
            ok = read_value(reader, &event, depth, &item, err) && add_item(reader, parent, &capacity, &item, err);
        yaml_event_delete(&event);
        if (end || !ok)
            return ok;
    }
}

static bool read_stream(struct reader *reader, struct yaml_value *root, struct error *err)
{
    size_t documents = 0;
    bool ok = true;
    *root = (struct yaml_value) { .kind = YAML_VALUE_MAPPING, .line = 1 };
    for (bool end = false; ok && !end;) {
        yaml_event_t event;
        if (!next_event(reader, &event, err))
            return false;
        switch (event.type) {
        case YAML_STREAM_END_EVENT:
            end = true;
            break;
        case YAML_STREAM_START_EVENT:
        case YAML_DOCUMENT_END_EVENT:
            break;
        case YAML_DOCUMENT_START_EVENT:
            if (documents++ > 0)
                ok = wrong(reader, event.start_mark.line, "a second document begins; there can be one", err);
            break;
        default:
            ok = read_value(reader, &event, 0, root, err);
        }
        yaml_event_delete(&event);
    }
    return ok;
}

/* Whole, before it is parsed: it may be a pipe. */
static bool read_whole(const char *path, struct arena *arena, struct bytes *content, struct error *err)
{
    FILE *file = fopen(path, "rbe");
    if (!file)
        return error_set_errno(err, error_code_of_file(errno), errno, "%s", path);
    char *data = arena_alloc(arena, MAX_BYTES + 1);
    size_t len = data ? fread(data, 1, MAX_BYTES + 1, file) : 0;
    int failed = ferror(file) ? errno : 0;
    fclose(file);
    if (!data)
        return error_out_of_memory(err);
    if (failed)
        return error_set_errno(err, ERROR_INVALID_ARGUMENT, failed, "%s", path);
    if (len > MAX_BYTES)
        return error_set(err, ERROR_INVALID_ARGUMENT, "%s: more than %d bytes; this is no configuration", path, MAX_BYTES);
    *content = bytes_of(data, len);
    return true;
}

bool yaml_file_load(const char *path, struct arena *arena, struct yaml_value *root, struct error *err)
{
    struct reader reader = { .path = path, .arena = arena };
    struct bytes content;
    struct yaml_value loaded;
    if (!read_whole(path, arena, &content, err))
        return false;
    if (!yaml_parser_initialize(&reader.parser))
        return error_out_of_memory(err);
    yaml_parser_set_input_string(&reader.parser, content.data, content.len);
    bool ok = read_stream(&reader, &loaded, err);
    yaml_parser_delete(&reader.parser);
    if (ok)
        *root = loaded;
    return ok;
}

const struct yaml_value *yaml_value_find(const struct yaml_value *mapping, const char *key)
{
    for (size_t i = 0; i < mapping->n_items; i++)
        if (strcmp(mapping->items[i].key, key) == 0)
            return &mapping->items[i];
    return NULL;
}
