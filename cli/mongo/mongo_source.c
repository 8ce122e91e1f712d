#include "cli/mongo/mongo_source.h"

#include <stdlib.h>
#include <string.h>

#include "cli/mongo/mongo_internal.h"
#include "common/base/backoff.h"
#include "common/base/clock.h"
#include "common/bson/element.h"

enum { FIRST_BATCH = 1000, MAX_INDEXES_READ = 1000 };

/* ---- snapshots --------------------------------------------------------------------------------------------- */

static bool run(void *ctx, const char *database, const bson_t *command, bson_t *reply, const char *what, struct error *err)
{
    return mongo_server_run(ctx, database, command, reply, what, err);
}

bool mongo_source_begin_snapshot(struct mongo_source *source, char why[200], struct error *err)
{
    struct mongo_snapshot snapshot;
    if (!mongo_snapshot_begin(run, source->server, source->database, &snapshot, err))
        return false;
    if (snapshot.left_over[0])
        fprintf(stderr, "argon: the collection '%s' of database '%s' is left over\n", snapshot.left_over, source->database);
    source->snapshot = snapshot.time;
    snprintf(why, 200, "%s", snapshot.why_not);
    return true;
}

/* ---- collections ------------------------------------------------------------------------------------------ */

static bool read_indexes(struct mongo_source *source, struct arena *arena, struct dump_collection *collection, struct error *err)
{
    mongoc_collection_t *of = mongoc_client_get_collection(source->server->client, source->database, collection->name);
    mongoc_cursor_t *cursor = mongoc_collection_find_indexes_with_opts(of, NULL);
    struct bytes *indexes = arena_alloc(arena, MAX_INDEXES_READ * sizeof *indexes);
    const bson_t *found;
    bson_error_t error;
    bool ok = indexes || error_out_of_memory(err);
    while (ok && mongoc_cursor_next(cursor, &found)) {
        bson_t definition = BSON_INITIALIZER;
        bson_copy_to_excluding_noinit(found, &definition, "ns", NULL); /* older servers name the collection in it */
        if (collection->n_indexes == MAX_INDEXES_READ)
            ok = error_set(err, ERROR_RESOURCE_EXHAUSTED, "collection '%s' has more than %d indexes", collection->name, MAX_INDEXES_READ);
        else
            indexes[collection->n_indexes] = bytes_of(arena_copy(arena, bson_get_data(&definition), definition.len), definition.len);
        ok = ok && (indexes[collection->n_indexes].data || error_out_of_memory(err));
        collection->n_indexes += ok;
        bson_destroy(&definition);
    }
    collection->indexes = indexes;
    if (ok && mongoc_cursor_error(cursor, &error))
        ok = mongo_server_fail(err, &error, NULL, "reading the indexes");
    mongoc_cursor_destroy(cursor);
    mongoc_collection_destroy(of);
    return ok;
}

static bool describe(const bson_t *found, struct arena *arena, struct dump_collection *collection, struct error *err)
{
    bson_iter_t iter;
    *collection = (struct dump_collection) { .options = "" };
    if (!bson_iter_init_find(&iter, found, "name") || !BSON_ITER_HOLDS_UTF8(&iter))
        return error_set(err, ERROR_INTERNAL, "MongoDB: a collection without a name is listed");
    collection->name = arena_strdup(arena, bson_iter_utf8(&iter, NULL));
    if (!collection->name)
        return error_out_of_memory(err);
    if (bson_iter_init_find(&iter, found, "options") && BSON_ITER_HOLDS_DOCUMENT(&iter)) {
        const uint8_t *data;
        uint32_t len;
        bson_iter_document(&iter, &len, &data);
        if (!metadata_judge_options(bytes_of(data, len), arena, collection, err))
            return false;
    }
    const char *type = bson_iter_init_find(&iter, found, "type") && BSON_ITER_HOLDS_UTF8(&iter) ? bson_iter_utf8(&iter, NULL) : "";
    if (strcmp(type, "view") == 0)
        collection->not_taken = "a view";
    if (strcmp(type, "timeseries") == 0)
        collection->not_taken = "a time series";
    if (strncmp(collection->name, MONGO_SNAPSHOT_CHECK_PREFIX, sizeof MONGO_SNAPSHOT_CHECK_PREFIX - 1) == 0)
        collection->not_taken = "left over from a check of snapshots";
    metadata_judge_name(collection);
    return true;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct dump_collection *)a)->name, ((const struct dump_collection *)b)->name);
}

bool mongo_source_collections(struct mongo_source *source, struct arena *arena, struct dump_collection **collections, size_t *n,
                              struct error *err)
{
    mongoc_database_t *database = mongoc_client_get_database(source->server->client, source->database);
    mongoc_cursor_t *cursor = mongoc_database_find_collections_with_opts(database, NULL);
    struct dump_collection *list = NULL;
    size_t count = 0, capacity = 0;
    const bson_t *found;
    bson_error_t error;
    bool ok = true;
    while (ok && mongoc_cursor_next(cursor, &found)) {
        if (count == capacity) {
            size_t grown = capacity ? 2 * capacity : 64;
            struct dump_collection *larger = arena_alloc(arena, grown * sizeof *larger);
            if (!larger) {
                ok = error_out_of_memory(err);
                break;
            }
            if (count)
                memcpy(larger, list, count * sizeof *list);
            list = larger;
            capacity = grown;
        }
        ok = describe(found, arena, &list[count], err);
        if (ok)
            list[count++].database = source->database;
    }
    if (ok && mongoc_cursor_error(cursor, &error))
        ok = mongo_server_fail(err, &error, NULL, "listing the collections");
    mongoc_cursor_destroy(cursor);
    mongoc_database_destroy(database);
    for (size_t i = 0; ok && i < count; i++)
        ok = list[i].not_taken || read_indexes(source, arena, &list[i], err);
    if (!ok)
        return false;
    if (count > 1)
        qsort(list, count, sizeof *list, by_name);
    *collections = list;
    *n = count;
    return true;
}

/* ---- documents --------------------------------------------------------------------------------------------- */

/* {$gt: ["$_id", {$literal: ID}]}: in an expression the bounds go across types, which those of a filter don't. */
static void append_bound(bson_t *all, const char *key, const char *operator, struct bytes id_document)
{
    struct element id;
    bson_t bound, operands, literal;
    bson_iter_t iter;
    bson_t document;
    if (!element_find(id_document, "_id", 3, &id) || !bson_init_static(&document, id_document.data, id_document.len) ||
        !bson_iter_init_find(&iter, &document, "_id"))
        return;
    bson_append_document_begin(all, key, -1, &bound);
    bson_append_array_begin(&bound, operator, - 1, &operands);
    BSON_APPEND_UTF8(&operands, "0", "$_id");
    bson_append_document_begin(&operands, "1", 1, &literal);
    bson_append_iter(&literal, "$literal", -1, &iter);
    bson_append_document_end(&operands, &literal);
    bson_append_array_end(&bound, &operands);
    bson_append_document_end(all, &bound);
}

static void append_filter(bson_t *command, struct bytes after, struct bytes through)
{
    bson_t filter, expression, all;
    bson_append_document_begin(command, "filter", -1, &filter);
    if (after.len || through.len) {
        bson_append_document_begin(&filter, "$expr", -1, &expression);
        bson_append_array_begin(&expression, "$and", -1, &all);
        if (after.len)
            append_bound(&all, "0", "$gt", after);
        if (through.len)
            append_bound(&all, after.len ? "1" : "0", "$lte", through);
        bson_append_array_end(&expression, &all);
        bson_append_document_end(&filter, &expression);
    }
    bson_append_document_end(command, &filter);
}

/* A command whose reply begins a cursor: on one server, in one session. */
struct query {
    mongoc_client_session_t *session;
    mongoc_cursor_t *cursor;
};

static void query_close(struct query *query)
{
    if (query->cursor)
        mongoc_cursor_destroy(query->cursor);
    if (query->session)
        mongoc_client_session_destroy(query->session);
    *query = (struct query) { 0 };
}

static bool query_open(struct mongo_source *source, const bson_t *command, struct query *query, struct error *err)
{
    mongoc_client_t *client = source->server->client;
    bson_error_t error;
    *query = (struct query) { 0 };
    const mongoc_read_prefs_t *prefs = mongoc_client_get_read_prefs(client);
    mongoc_server_description_t *server = mongoc_client_select_server(client, false, prefs, &error);
    if (!server)
        return mongo_server_fail(err, &error, NULL, "reading");
    mongoc_session_opt_t *session_options = mongoc_session_opts_new();
    mongoc_session_opts_set_causal_consistency(session_options, false);
    query->session = mongoc_client_start_session(client, session_options, &error);
    mongoc_session_opts_destroy(session_options);
    bson_t options = BSON_INITIALIZER, reply;
    BSON_APPEND_INT32(&options, "serverId", (int32_t)mongoc_server_description_id(server));
    mongoc_server_description_destroy(server);
    bool ok = query->session && mongoc_client_session_append(query->session, &options, &error);
    if (!ok) {
        bson_destroy(&options);
        query_close(query);
        return mongo_server_fail(err, &error, NULL, "reading");
    }
    if (mongoc_client_read_command_with_opts(client, source->database, command, prefs, &options, &reply, &error)) {
        query->cursor = mongoc_cursor_new_from_command_reply_with_opts(client, &reply, &options); /* takes the reply */
    } else {
        ok = mongo_server_fail(err, &error, &reply, "reading");
        bson_destroy(&reply);
        query_close(query);
    }
    bson_destroy(&options);
    return ok;
}

struct reading {
    mongo_visit_fn *visit;
    void *ctx;
    struct buffer last; /* {_id: of the last document} */
    uint64_t documents;
    bool stopped; /* by the visitor */
};

static bool remember_id(struct reading *reading, struct bytes document, struct error *err)
{
    struct element id;
    if (!element_find(document, "_id", 3, &id))
        return error_set(err, ERROR_INTERNAL, "MongoDB: a document without _id came");
    struct bytes field = element_bytes(&id);
    uint8_t len[4];
    put_u32(len, (uint32_t)(field.len + 5));
    buffer_clear(&reading->last);
    buffer_append(&reading->last, len, sizeof len);
    buffer_append(&reading->last, field.data, field.len);
    buffer_append_u8(&reading->last, 0);
    return !reading->last.failed || error_out_of_memory(err);
}

static bool read_once(struct mongo_source *source, const char *collection, struct bytes through, struct reading *reading, struct error *err)
{
    bson_t command = BSON_INITIALIZER, sort;
    struct query query;
    const bson_t *document;
    bson_error_t error;
    const bson_t *reply;
    BSON_APPEND_UTF8(&command, "find", collection);
    append_filter(&command, buffer_bytes(&reading->last), through);
    bson_append_document_begin(&command, "sort", -1, &sort);
    BSON_APPEND_INT32(&sort, "_id", 1);
    bson_append_document_end(&command, &sort);
    BSON_APPEND_INT32(&command, "batchSize", FIRST_BATCH);
    mongo_snapshot_append_concern(&command, source->snapshot);
    bool ok = query_open(source, &command, &query, err);
    bson_destroy(&command);
    while (ok && mongoc_cursor_next(query.cursor, &document)) {
        struct bytes bytes = bytes_of(bson_get_data(document), document->len);
        reading->stopped = !reading->visit(reading->ctx, bytes, err);
        ok = !reading->stopped && remember_id(reading, bytes, err);
        reading->documents += ok;
    }
    if (ok && mongoc_cursor_error_document(query.cursor, &error, &reply))
        ok = mongo_server_fail(err, &error, reply, "reading");
    query_close(&query);
    return ok;
}

bool mongo_source_read(struct mongo_source *source, const char *collection, struct bytes after, struct bytes through, mongo_visit_fn *visit,
                       void *ctx, struct error *err)
{
    struct reading reading = { .visit = visit, .ctx = ctx };
    struct backoff backoff = { 0 };
    int64_t deadline = 0;
    buffer_append(&reading.last, after.data, after.len);
    bool ok;
    for (;;) {
        uint64_t before = reading.documents;
        ok = read_once(source, collection, through, &reading, err);
        if (ok || reading.stopped || err->code != ERROR_UNAVAILABLE)
            break;
        if (reading.documents > before || !deadline) {
            deadline = clock_monotonic_micros() + source->patience;
            backoff = (struct backoff) { 0 };
        }
        if (!backoff_wait(&backoff, deadline))
            break;
    }
    buffer_destroy(&reading.last);
    return ok;
}

static bool count_once(struct mongo_source *source, const char *collection, uint64_t *n, struct error *err)
{
    bson_t command = BSON_INITIALIZER, pipeline, stage, cursor;
    struct query query;
    const bson_t *found;
    bson_error_t error;
    bson_iter_t iter;
    BSON_APPEND_UTF8(&command, "aggregate", collection);
    bson_append_array_begin(&command, "pipeline", -1, &pipeline);
    bson_append_document_begin(&pipeline, "0", 1, &stage);
    BSON_APPEND_UTF8(&stage, "$count", "n");
    bson_append_document_end(&pipeline, &stage);
    bson_append_array_end(&command, &pipeline);
    bson_append_document_begin(&command, "cursor", -1, &cursor);
    bson_append_document_end(&command, &cursor);
    mongo_snapshot_append_concern(&command, source->snapshot);
    *n = 0; /* of nothing there is no answer */
    bool ok = query_open(source, &command, &query, err);
    bson_destroy(&command);
    while (ok && mongoc_cursor_next(query.cursor, &found))
        *n = bson_iter_init_find(&iter, found, "n") ? (uint64_t)bson_iter_as_int64(&iter) : 0;
    if (ok && mongoc_cursor_error(query.cursor, &error))
        ok = mongo_server_fail(err, &error, NULL, "counting");
    query_close(&query);
    return ok;
}

static bool count_roughly(struct mongo_source *source, const char *collection, uint64_t *n, struct error *err)
{
    bson_t *command = BCON_NEW("count", BCON_UTF8(collection)), reply;
    bson_iter_t iter;
    bool ok = mongo_server_run(source->server, source->database, command, &reply, "counting", err);
    if (ok)
        *n = bson_iter_init_find(&iter, &reply, "n") ? (uint64_t)bson_iter_as_int64(&iter) : 0;
    bson_destroy(&reply);
    bson_destroy(command);
    return ok;
}

bool mongo_source_count(struct mongo_source *source, const char *collection, bool exact, uint64_t *n, struct error *err)
{
    struct backoff backoff = { 0 };
    int64_t deadline = clock_monotonic_micros() + source->patience;
    while (!(exact || source->snapshot ? count_once(source, collection, n, err) : count_roughly(source, collection, n, err)))
        if (err->code != ERROR_UNAVAILABLE || !backoff_wait(&backoff, deadline))
            return false;
    return true;
}
