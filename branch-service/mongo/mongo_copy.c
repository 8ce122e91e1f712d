#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "branch-service/mongo/mongo_collection.h"
#include "branch-service/mongo/mongo_internal.h"
#include "common/base/memory.h"

#define BATCH_DOCUMENTS 1000
#define BATCH_BYTES     ((size_t)16 << 20)

struct names {
    struct mongo *mongo;
    const char *database, *from, *to;
    int64_t deadline;
};

/* What the listing says of a collection. */
struct described {
    const char *name;
    bool found;
    char type[16];
    struct buffer options;
};

static bool on_described(void *ctx, const struct mongo_collection_info *info, struct error *err)
{
    (void)err;
    struct described *described = ctx;
    if (strcmp(info->name, described->name) != 0)
        return true;
    described->found = true;
    snprintf(described->type, sizeof described->type, "%s", info->type);
    buffer_append(&described->options, info->options.data, info->options.len);
    return true;
}

static bool describe(const struct names *names, const char *name, struct described *out, struct error *err)
{
    *out = (struct described) { .name = name };
    if (!mongo_list_collections(names->mongo, names->database, name, names->deadline, on_described, out, err))
        return false;
    return !out->options.failed || error_out_of_memory(err);
}

static bool create_target(const struct names *names, const struct described *source, struct error *err)
{
    return mongo_create_collection(names->mongo, names->database, names->to, buffer_bytes(&source->options), names->deadline, err);
}

/* The documents replace the empty target at one blow. They were valid once or were put past the validator, so
 * it is not asked again. */
static bool copy_by_server(const struct names *names, struct error *err)
{
    bson_t command, pipeline, stage, inner;
    bson_init(&command);
    BSON_APPEND_UTF8(&command, "aggregate", names->from);
    BSON_APPEND_ARRAY_BEGIN(&command, "pipeline", &pipeline);
    BSON_APPEND_DOCUMENT_BEGIN(&pipeline, "0", &stage);
    BSON_APPEND_DOCUMENT_BEGIN(&stage, "$match", &inner);
    bson_append_document_end(&stage, &inner);
    bson_append_document_end(&pipeline, &stage);
    BSON_APPEND_DOCUMENT_BEGIN(&pipeline, "1", &stage);
    BSON_APPEND_UTF8(&stage, "$out", names->to);
    bson_append_document_end(&pipeline, &stage);
    bson_append_array_end(&command, &pipeline);
    BSON_APPEND_DOCUMENT_BEGIN(&command, "cursor", &inner);
    bson_append_document_end(&command, &inner);
    BSON_APPEND_BOOL(&command, "bypassDocumentValidation", true);
    bool ok = mongo_run(names->mongo, names->database, MONGO_COMMAND_READ_WRITE, &command, names->deadline, NULL, err);
    bson_destroy(&command);
    return ok;
}

struct batch {
    struct buffer bytes;
    size_t lens[BATCH_DOCUMENTS];
    struct bytes documents[BATCH_DOCUMENTS];
    uint8_t items[BATCH_DOCUMENTS];
    size_t n;
    struct error refused;
};

static void on_refused(void *ctx, size_t index, const struct error *why)
{
    (void)index;
    ((struct batch *)ctx)->refused = *why;
}

static bool flush_batch(const struct names *names, struct batch *batch, struct error *err)
{
    if (batch->bytes.failed)
        return error_out_of_memory(err);
    const uint8_t *at = batch->bytes.data;
    for (size_t i = 0; i < batch->n; at += batch->lens[i], i++)
        batch->documents[i] = bytes_of(at, batch->lens[i]);
    const struct mongo_insert insert = {
        .documents = batch->documents,
        .n = batch->n,
        .bypass_validation = true,
        .items = batch->items,
        .refused = on_refused,
        .ctx = batch,
    };
    if (!mongo_insert_many(names->mongo, names->database, names->to, &insert, names->deadline, err))
        return false;
    for (size_t i = 0; i < batch->n; i++) {
        if (batch->items[i] != MONGO_ITEM_INSERTED) {
            if (err)
                *err = batch->refused;
            return error_wrap(err, "copying a document");
        }
    }
    buffer_clear(&batch->bytes);
    batch->n = 0;
    return true;
}

static bool copy_through_here(const struct names *names, struct error *err)
{
    struct mongo_cursor *cursor;
    const struct mongo_find everything = { 0 };
    if (!mongo_find(names->mongo, names->database, names->from, &everything, names->deadline, &cursor, err))
        return false;
    struct batch *batch = mem_zalloc(sizeof *batch);
    struct bytes document;
    enum mongo_next next;
    bool ok = true;
    while (ok && (next = mongo_cursor_next(cursor, names->deadline, &document, err)) != MONGO_NEXT_END) {
        if (next == MONGO_NEXT_FAILED) {
            ok = false;
            break;
        }
        if (batch->n == BATCH_DOCUMENTS || (batch->n && batch->bytes.len + document.len > BATCH_BYTES))
            ok = flush_batch(names, batch, err);
        if (!ok)
            break;
        batch->lens[batch->n++] = document.len;
        buffer_append(&batch->bytes, document.data, document.len);
    }
    if (ok && batch->n)
        ok = flush_batch(names, batch, err);
    mongo_cursor_close(cursor);
    buffer_destroy(&batch->bytes);
    free(batch);
    return ok;
}

/* A server that does not do $out, or not here, says so at once; anything else would fail the same way again. */
static bool is_refusal(const struct error *why)
{
    switch (why->code) {
    case ERROR_INVALID_ARGUMENT:
    case ERROR_FAILED_PRECONDITION:
    case ERROR_UNIMPLEMENTED:
    case ERROR_UNKNOWN:
        return true;
    default:
        return false;
    }
}

#define MAX_INDEXES 64 /* of a collection, MongoDB's limit */

struct index_list {
    struct buffer bytes;
    size_t lens[MAX_INDEXES];
    size_t n;
};

static bool on_index(void *ctx, struct bytes definition, struct error *err)
{
    struct index_list *list = ctx;
    if (list->n == MAX_INDEXES)
        return error_set(err, ERROR_RESOURCE_EXHAUSTED, "more than %d indexes", MAX_INDEXES);
    list->lens[list->n++] = definition.len;
    buffer_append(&list->bytes, definition.data, definition.len);
    return true;
}

/* Behind the documents: an index over what is there is built faster than one that follows every insert. */
static bool copy_indexes(const struct names *names, struct error *err)
{
    struct index_list list = { .n = 0 };
    struct bytes definitions[MAX_INDEXES];
    bool ok = mongo_list_indexes(names->mongo, names->database, names->from, names->deadline, on_index, &list, err);
    if (ok && list.bytes.failed)
        ok = error_out_of_memory(err);
    const uint8_t *at = list.bytes.data;
    for (size_t i = 0; ok && i < list.n; at += list.lens[i], i++)
        definitions[i] = bytes_of(at, list.lens[i]);
    if (ok)
        ok = mongo_create_indexes(names->mongo, names->database, names->to, definitions, list.n, names->deadline, err);
    buffer_destroy(&list.bytes);
    return ok;
}

static bool copy_documents(const struct names *names, const struct described *source, bool *by_server, struct error *err)
{
    struct described target = { .found = false };
    struct error why;
    *by_server = false;
    if (!create_target(names, source, err))
        return false;
    if (!copy_by_server(names, &why)) {
        if (is_refusal(&why))
            return copy_through_here(names, err);
        if (err)
            *err = why;
        return false;
    }
    /* MongoDB keeps the options of a collection that $out replaces, not everything that speaks its protocol does */
    bool ok = describe(names, names->to, &target, err);
    *by_server = ok && bytes_equal(buffer_bytes(&target.options), buffer_bytes(&source->options));
    if (ok && !*by_server)
        ok = mongo_drop_collection(names->mongo, names->database, names->to, names->deadline, err) && create_target(names, source, err) &&
             copy_through_here(names, err);
    buffer_destroy(&target.options);
    return ok;
}

bool mongo_copy_collection(struct mongo *mongo, const char *database, const char *from, const char *to, int64_t deadline,
                           struct mongo_copy_result *out, struct error *err)
{
    static const uint8_t everything[] = { 5, 0, 0, 0, 0 };
    const struct names names = { mongo, database, from, to, deadline };
    struct mongo_copy_result made = { 0 };
    struct described source = { .found = false }, target = { .found = false };
    /* $out replaces what is there, and MongoDB 7 takes a second create with the same options for done, so the
     * target is looked for first */
    bool ok = describe(&names, from, &source, err) && describe(&names, to, &target, err);
    if (ok && !source.found)
        ok = error_set(err, ERROR_NOT_FOUND, "collection '%s.%s' does not exist", database, from);
    if (ok && strcmp(source.type, "collection") != 0)
        ok = error_set(err, ERROR_FAILED_PRECONDITION, "'%s.%s' is no collection but a %s", database, from, source.type);
    if (ok && target.found)
        ok = error_set(err, ERROR_ALREADY_EXISTS, "collection '%s.%s' exists already", database, to);
    ok = ok && copy_documents(&names, &source, &made.by_server, err) && copy_indexes(&names, err) &&
         mongo_count(mongo, database, to, bytes_of(everything, sizeof everything), bytes_of(NULL, 0), deadline, &made.documents, err);
    buffer_destroy(&source.options);
    buffer_destroy(&target.options);
    if (ok)
        *out = made;
    return ok;
}
