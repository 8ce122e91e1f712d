#include "cli/bulk_file.h"

#include <inttypes.h>
#include <string.h>

#include "cli/input.h"
#include "common/base/limits.h"
#include "common/bson/ejson.h"
#include "common/bson/element.h"

typedef Argon__Branch__V1__Document document;

static document *new_document(struct arena *arena, struct bytes bson)
{
    document *made = arena_alloc(arena, sizeof *made);
    if (made) {
        *made = (document)ARGON__BRANCH__V1__DOCUMENT__INIT;
        made->bson.data = (uint8_t *)bson.data;
        made->bson.len = bson.len;
    }
    return made;
}

/* ---- fields of an operation ------------------------------------------------------------------------- */

static bool read_document(struct arena *arena, const struct element *field, document **out, struct error *err)
{
    if (field->type != BSON_TYPE_DOCUMENT)
        return error_set(err, ERROR_INVALID_ARGUMENT, "'%s' is no document", field->name);
    *out = new_document(arena, field->value);
    return *out || error_out_of_memory(err);
}

static bool read_documents(struct arena *arena, const struct element *field, document ***out, size_t *n, struct error *err)
{
    struct element_reader reader;
    struct element e;
    size_t count = 0;
    if (field->type != BSON_TYPE_ARRAY)
        return error_set(err, ERROR_INVALID_ARGUMENT, "'%s' is no array", field->name);
    for (element_reader_init(&reader, field->value); element_next(&reader, &e);)
        count++;
    *out = arena_alloc(arena, count * sizeof **out);
    if (!*out)
        return error_out_of_memory(err);
    *n = 0;
    for (element_reader_init(&reader, field->value); element_next(&reader, &e); (*n)++)
        if (!read_document(arena, &e, &(*out)[*n], err))
            return false;
    return true;
}

static bool read_bool(const struct element *field, protobuf_c_boolean *out, struct error *err)
{
    if (field->type != BSON_TYPE_BOOL)
        return error_set(err, ERROR_INVALID_ARGUMENT, "'%s' is neither true nor false", field->name);
    *out = field->value.data[0];
    return true;
}

/* Where the fields of an operation go; NULL: it has no such field. */
struct places {
    document **document, **filter, **update, **replacement, **sort;
    document ***pipeline, ***array_filters;
    size_t *n_pipeline, *n_array_filters;
    protobuf_c_boolean *upsert;
};

static bool read_field(struct arena *arena, const struct places *places, const struct element *field, struct error *err)
{
    const struct {
        const char *name;
        document **place;
    } documents[] = { { "document", places->document },
                      { "filter", places->filter },
                      { "update", places->update },
                      { "replacement", places->replacement },
                      { "sort", places->sort } };
    if (places->pipeline && element_is_named(field, "update", 6) && field->type == BSON_TYPE_ARRAY)
        return read_documents(arena, field, places->pipeline, places->n_pipeline, err);
    for (size_t i = 0; i < ARRAY_LEN(documents); i++)
        if (documents[i].place && element_is_named(field, documents[i].name, strlen(documents[i].name)))
            return read_document(arena, field, documents[i].place, err);
    if (places->array_filters && element_is_named(field, "arrayFilters", 12))
        return read_documents(arena, field, places->array_filters, places->n_array_filters, err);
    if (places->upsert && element_is_named(field, "upsert", 6))
        return read_bool(field, places->upsert, err);
    return error_set(err, ERROR_INVALID_ARGUMENT, "it has a field '%.80s', which is none of its own", field->name);
}

static bool read_fields(struct arena *arena, const struct places *places, struct bytes fields, struct error *err)
{
    /* a filter that was forgotten is not one for all documents */
    const struct {
        const char *name;
        document **place;
    } needed[] = {
        { "document", places->document }, { "filter", places->filter }, { "update", places->update }, { "replacement", places->replacement }
    };
    struct element_reader reader;
    struct element field;
    for (element_reader_init(&reader, fields); element_next(&reader, &field);)
        if (!read_field(arena, places, &field, err))
            return false;
    for (size_t i = 0; i < ARRAY_LEN(needed); i++)
        if (needed[i].place && !element_find(fields, needed[i].name, strlen(needed[i].name), &field))
            return error_set(err, ERROR_INVALID_ARGUMENT, "it has no field '%s'", needed[i].name);
    if (!places->update || cli_check_update(*places->update, !*places->update, *places->n_pipeline, "replaceOne", err))
        return true;
    return error_wrap(err, "'update'");
}

/* ---- operations ------------------------------------------------------------------------------------- */

typedef Argon__Branch__V1__BulkOperation bulk_operation;

static bool read_insert(struct arena *arena, bulk_operation *out, struct bytes fields, struct error *err)
{
    Argon__Branch__V1__BulkInsert *insert = arena_alloc(arena, sizeof *insert);
    if (!insert)
        return error_out_of_memory(err);
    *insert = (Argon__Branch__V1__BulkInsert)ARGON__BRANCH__V1__BULK_INSERT__INIT;
    out->insert_one = insert;
    const struct places places = { .document = &insert->document };
    return read_fields(arena, &places, fields, err);
}

static bool read_update(struct arena *arena, bulk_operation *out, struct bytes fields, struct error *err)
{
    Argon__Branch__V1__BulkUpdate *update = arena_alloc(arena, sizeof *update);
    if (!update)
        return error_out_of_memory(err);
    *update = (Argon__Branch__V1__BulkUpdate)ARGON__BRANCH__V1__BULK_UPDATE__INIT;
    out->update_one = update; /* update_many is the same place */
    const struct places places = { .filter = &update->filter,
                                   .update = &update->update,
                                   .sort = &update->sort,
                                   .pipeline = &update->pipeline,
                                   .n_pipeline = &update->n_pipeline,
                                   .array_filters = &update->array_filters,
                                   .n_array_filters = &update->n_array_filters,
                                   .upsert = &update->upsert };
    return read_fields(arena, &places, fields, err);
}

static bool read_replace(struct arena *arena, bulk_operation *out, struct bytes fields, struct error *err)
{
    Argon__Branch__V1__BulkReplace *replace = arena_alloc(arena, sizeof *replace);
    if (!replace)
        return error_out_of_memory(err);
    *replace = (Argon__Branch__V1__BulkReplace)ARGON__BRANCH__V1__BULK_REPLACE__INIT;
    out->replace_one = replace;
    const struct places places = {
        .filter = &replace->filter, .replacement = &replace->replacement, .sort = &replace->sort, .upsert = &replace->upsert
    };
    return read_fields(arena, &places, fields, err);
}

static bool read_delete(struct arena *arena, bulk_operation *out, struct bytes fields, struct error *err)
{
    Argon__Branch__V1__BulkDelete *remove = arena_alloc(arena, sizeof *remove);
    if (!remove)
        return error_out_of_memory(err);
    *remove = (Argon__Branch__V1__BulkDelete)ARGON__BRANCH__V1__BULK_DELETE__INIT;
    out->delete_one = remove; /* delete_many is the same place */
    const struct places places = { .filter = &remove->filter };
    return read_fields(arena, &places, fields, err);
}

static const struct {
    const char *name;
    Argon__Branch__V1__BulkOperation__OperationCase which;
    bool (*read)(struct arena *arena, bulk_operation *out, struct bytes fields, struct error *err);
} kinds[] = {
    { "insertOne", ARGON__BRANCH__V1__BULK_OPERATION__OPERATION_INSERT_ONE, read_insert },
    { "updateOne", ARGON__BRANCH__V1__BULK_OPERATION__OPERATION_UPDATE_ONE, read_update },
    { "updateMany", ARGON__BRANCH__V1__BULK_OPERATION__OPERATION_UPDATE_MANY, read_update },
    { "replaceOne", ARGON__BRANCH__V1__BULK_OPERATION__OPERATION_REPLACE_ONE, read_replace },
    { "deleteOne", ARGON__BRANCH__V1__BULK_OPERATION__OPERATION_DELETE_ONE, read_delete },
    { "deleteMany", ARGON__BRANCH__V1__BULK_OPERATION__OPERATION_DELETE_MANY, read_delete },
};

static bool read_operation(struct arena *arena, struct bytes whole, bulk_operation **out, struct error *err)
{
    struct element_reader reader;
    struct element first, second;
    bulk_operation *made = arena_alloc(arena, sizeof *made);
    if (!made)
        return error_out_of_memory(err);
    *made = (bulk_operation)ARGON__BRANCH__V1__BULK_OPERATION__INIT;
    element_reader_init(&reader, whole);
    if (!element_next(&reader, &first) || element_next(&reader, &second) || first.type != BSON_TYPE_DOCUMENT)
        return error_set(err, ERROR_INVALID_ARGUMENT, "an operation is an object with one field, whose value is an object");
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        if (!element_is_named(&first, kinds[i].name, strlen(kinds[i].name)))
            continue;
        made->operation_case = kinds[i].which;
        *out = made;
        return kinds[i].read(arena, made, first.value, err) || error_wrap(err, "%s", kinds[i].name);
    }
    return error_set(err, ERROR_INVALID_ARGUMENT,
                     "'%.80s' is no operation: insertOne, updateOne, updateMany, replaceOne, deleteOne and deleteMany are", first.name);
}

static bool parse(struct arena *arena, struct bytes text, bulk_operation **out, struct error *err)
{
    bson_t bson;
    if (!ejson_parse(text, &bson, err))
        return false;
    struct bytes whole = bytes_of(arena_copy(arena, bson_get_data(&bson), bson.len), bson.len);
    bson_destroy(&bson);
    return whole.data ? read_operation(arena, whole, out, err) : error_out_of_memory(err);
}

static bool grow(struct arena *arena, bulk_operation ***operations, size_t n, size_t *capacity)
{
    if (n < *capacity)
        return true;
    size_t larger = *capacity ? 2 * *capacity : 64;
    bulk_operation **moved = arena_alloc(arena, larger * sizeof *moved);
    if (moved && n)
        memcpy(moved, *operations, n * sizeof *moved);
    *operations = moved;
    *capacity = larger;
    return moved != NULL;
}

bool bulk_file_read(struct cli *cli, const char *path, Argon__Branch__V1__BulkOperation ***operations, size_t *n, struct error *err)
{
    struct input *input;
    struct input_place place;
    struct bytes text;
    size_t count = 0, capacity = 0, bytes = 0;
    if (!input_open(path, &input, err))
        return false;
    bool ok;
    while ((ok = input_next(input, &text, &place, err)) && text.data) {
        bytes += text.len;
        if (bytes > MAX_MESSAGE_BYTES)
            ok = error_set(err, ERROR_INVALID_ARGUMENT, "one bulk write takes at most %u bytes", MAX_MESSAGE_BYTES);
        else
            ok = grow(&cli->arena, operations, count, &capacity) ? parse(&cli->arena, text, &(*operations)[count], err)
                                                                 : error_out_of_memory(err);
        if (!ok) {
            (void)error_wrap(err, "line %" PRIu64, place.line);
            break;
        }
        count++;
    }
    input_close(input);
    *n = count;
    return ok;
}
