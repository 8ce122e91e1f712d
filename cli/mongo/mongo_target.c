#include "cli/mongo/mongo_target.h"

#include <stdlib.h>
#include <string.h>

#include "cli/mongo/mongo_internal.h"
#include "common/base/backoff.h"
#include "common/base/clock.h"

enum { CODE_DUPLICATE_KEY = 11000, CODE_NAMESPACE_EXISTS = 48, CODE_NAMESPACE_NOT_FOUND = 26 };

/* ---- the mark ------------------------------------------------------------------------------------------------ */

static const char *get_text(const bson_t *document, const char *name, struct arena *arena)
{
    bson_iter_t iter;
    bool is_there = bson_iter_init_find(&iter, document, name) && BSON_ITER_HOLDS_UTF8(&iter);
    return arena_strdup(arena, is_there ? bson_iter_utf8(&iter, NULL) : "");
}

static bool read_mark(const bson_t *document, struct arena *arena, struct mongo_mark *mark, struct error *err)
{
    bson_iter_t iter;
    *mark = (struct mongo_mark) {
        .project = get_text(document, "project", arena),
        .branch = get_text(document, "branch", arena),
        .project_id = get_text(document, "project_id", arena),
        .branch_id = get_text(document, "branch_id", arena),
        .lsn = bson_iter_init_find(&iter, document, "lsn") ? (uint64_t)bson_iter_as_int64(&iter) : 0,
        .complete = bson_iter_init_find(&iter, document, "complete") && bson_iter_as_bool(&iter),
    };
    return (mark->project && mark->branch && mark->project_id && mark->branch_id) || error_out_of_memory(err);
}

static bool find_mark(struct mongo_server *server, const char *database, struct arena *arena, struct mongo_mark *mark, bool *found,
                      struct error *err)
{
    mongoc_collection_t *collection = mongoc_client_get_collection(server->client, database, MONGO_MARK_COLLECTION);
    bson_t *filter = BCON_NEW("_id", BCON_UTF8("checkout"));
    mongoc_cursor_t *cursor = mongoc_collection_find_with_opts(collection, filter, NULL, NULL);
    const bson_t *document;
    bson_error_t error;
    bool ok = true;
    *found = mongoc_cursor_next(cursor, &document);
    if (*found)
        ok = read_mark(document, arena, mark, err);
    else if (mongoc_cursor_error(cursor, &error))
        ok = mongo_server_fail(err, &error, NULL, "looking for the mark of a checkout");
    mongoc_cursor_destroy(cursor);
    mongoc_collection_destroy(collection);
    bson_destroy(filter);
    return ok;
}

static char **list_names(struct mongo_server *server, const char *name, struct error *err)
{
    mongoc_database_t *database = mongoc_client_get_database(server->client, name);
    bson_error_t error;
    char **names = mongoc_database_get_collection_names_with_opts(database, NULL, &error);
    mongoc_database_destroy(database);
    if (!names)
        mongo_server_fail(err, &error, NULL, "listing the collections");
    return names;
}

bool mongo_target_look(struct mongo_server *server, const char *database, struct arena *arena, struct mongo_mark *mark, bool *found,
                       bool *empty, struct error *err)
{
    char **names = list_names(server, database, err);
    if (!names)
        return false;
    *empty = !names[0];
    *found = false;
    bson_strfreev(names);
    return *empty || find_mark(server, database, arena, mark, found, err);
}

bool mongo_target_mark(struct mongo_server *server, const char *database, const struct mongo_mark *mark, struct error *err)
{
    bson_t command = BSON_INITIALIZER, updates, update, query, change, part, concern, reply;
    BSON_APPEND_UTF8(&command, "update", MONGO_MARK_COLLECTION);
    bson_append_array_begin(&command, "updates", -1, &updates);
    bson_append_document_begin(&updates, "0", 1, &update);
    bson_append_document_begin(&update, "q", 1, &query);
    BSON_APPEND_UTF8(&query, "_id", "checkout");
    bson_append_document_end(&update, &query);
    bson_append_document_begin(&update, "u", 1, &change);
    bson_append_document_begin(&change, "$setOnInsert", -1, &part);
    BSON_APPEND_DATE_TIME(&part, "started", (int64_t)(clock_wall_micros() / 1000));
    bson_append_document_end(&change, &part);
    bson_append_document_begin(&change, "$set", -1, &part);
    BSON_APPEND_UTF8(&part, "project", mark->project);
    BSON_APPEND_UTF8(&part, "branch", mark->branch);
    BSON_APPEND_UTF8(&part, "project_id", mark->project_id);
    BSON_APPEND_UTF8(&part, "branch_id", mark->branch_id);
    BSON_APPEND_INT64(&part, "lsn", (int64_t)mark->lsn);
    BSON_APPEND_BOOL(&part, "complete", mark->complete);
    if (mark->complete)
        BSON_APPEND_DATE_TIME(&part, "finished", (int64_t)(clock_wall_micros() / 1000));
    bson_append_document_end(&change, &part);
    bson_append_document_end(&update, &change);
    BSON_APPEND_BOOL(&update, "upsert", true);
    bson_append_document_end(&updates, &update);
    bson_append_array_end(&command, &updates);
    bson_append_document_begin(&command, "writeConcern", -1, &concern);
    BSON_APPEND_UTF8(&concern, "w", "majority");
    bson_append_document_end(&command, &concern);
    bool ok = mongo_server_run(server, database, &command, &reply, "marking the database as a checkout", err);
    bson_destroy(&reply);
    bson_destroy(&command);
    return ok;
}

/* ---- collections --------------------------------------------------------------------------------------------- */

static int32_t code_of(const bson_t *reply)
{
    bson_iter_t iter;
    return bson_iter_init_find(&iter, reply, "code") ? (int32_t)bson_iter_as_int64(&iter) : 0;
}

bool mongo_target_create(struct mongo_server *server, const char *database, const char *collection, struct error *err)
{
    bson_t *command = BCON_NEW("create", BCON_UTF8(collection)), reply;
    bool ok = mongo_server_run(server, database, command, &reply, "creating a collection", err) || code_of(&reply) == CODE_NAMESPACE_EXISTS;
    bson_destroy(&reply);
    bson_destroy(command);
    return ok;
}

/* Of an unordered insert, everything that went wrong is that documents are there already. */
static bool only_duplicates(const bson_t *reply)
{
    bson_iter_t iter, errors, field;
    if (bson_iter_init_find(&iter, reply, "writeConcernErrors") && BSON_ITER_HOLDS_ARRAY(&iter) && bson_iter_recurse(&iter, &errors) &&
        bson_iter_next(&errors))
        return false;
    size_t n = 0;
    if (!bson_iter_init_find(&iter, reply, "writeErrors") || !BSON_ITER_HOLDS_ARRAY(&iter) || !bson_iter_recurse(&iter, &errors))
        return false;
    for (; bson_iter_next(&errors); n++)
        if (!bson_iter_recurse(&errors, &field) || !bson_iter_find(&field, "code") || bson_iter_as_int64(&field) != CODE_DUPLICATE_KEY)
            return false;
    return n > 0;
}

static bool insert_once(mongoc_collection_t *collection, const bson_t **documents, size_t n, const bson_t *options, struct error *err)
{
    bson_error_t error;
    bson_t reply;
    bool ok = mongoc_collection_insert_many(collection, documents, n, options, &reply, &error) ||
              (error.code == CODE_DUPLICATE_KEY && only_duplicates(&reply)) || mongo_server_fail(err, &error, &reply, "inserting");
    bson_destroy(&reply);
    return ok;
}

bool mongo_target_insert(struct mongo_server *server, const char *database, const char *name, struct bytes bytes, size_t n,
                         int64_t patience, struct error *err)
{
    bson_t *documents = bson_malloc(n * sizeof *documents);
    const bson_t **pointers = bson_malloc(n * sizeof *pointers);
    mongoc_collection_t *collection = mongoc_client_get_collection(server->client, database, name);
    /* not validated: what a branch holds a MongoDB held, or could */
    bson_t *options = BCON_NEW("ordered", BCON_BOOL(false), "validate", BCON_BOOL(false));
    bool ok = true;
    const uint8_t *at = bytes.data;
    for (size_t i = 0; ok && i < n; i++) {
        uint32_t len = get_u32(at);
        ok = bson_init_static(&documents[i], at, len) || error_set(err, ERROR_INTERNAL, "a document of '%s' is damaged", name);
        pointers[i] = &documents[i];
        at += len;
    }
    if (!mongoc_uri_get_write_concern(server->uri) || mongoc_write_concern_is_default(mongoc_uri_get_write_concern(server->uri))) {
        mongoc_write_concern_t *concern = mongoc_write_concern_new();
        mongoc_write_concern_set_w(concern, MONGOC_WRITE_CONCERN_W_MAJORITY);
        mongoc_collection_set_write_concern(collection, concern);
        mongoc_write_concern_destroy(concern);
    }
    struct backoff backoff = { 0 };
    int64_t deadline = clock_monotonic_micros() + patience;
    while (ok && !insert_once(collection, pointers, n, options, err))
        ok = err->code == ERROR_UNAVAILABLE && backoff_wait(&backoff, deadline);
    bson_destroy(options);
    mongoc_collection_destroy(collection);
    bson_free(pointers);
    bson_free(documents);
    return ok;
}

bool mongo_target_index(struct mongo_server *server, const char *database, const char *collection, struct bytes definition,
                        struct error *err)
{
    bson_t command = BSON_INITIALIZER, indexes, stored, copy = BSON_INITIALIZER, reply;
    if (!bson_init_static(&stored, definition.data, definition.len))
        return error_set(err, ERROR_INTERNAL, "an index definition of '%s' is damaged", collection);
    bson_copy_to_excluding_noinit(&stored, &copy, "ns", NULL);
    BSON_APPEND_UTF8(&command, "createIndexes", collection);
    bson_append_array_begin(&command, "indexes", -1, &indexes);
    BSON_APPEND_DOCUMENT(&indexes, "0", &copy);
    bson_append_array_end(&command, &indexes);
    bson_iter_t iter;
    const char *name = bson_iter_init_find(&iter, &stored, "name") && BSON_ITER_HOLDS_UTF8(&iter) ? bson_iter_utf8(&iter, NULL) : "?";
    struct error wrong = { 0 };
    bool ok = mongo_server_run(server, database, &command, &reply, "creating an index", &wrong);
    if (!ok) {
        bool away = wrong.code == ERROR_UNAVAILABLE || wrong.code == ERROR_PERMISSION_DENIED || wrong.code == ERROR_UNAUTHENTICATED;
        error_set(err, away ? wrong.code : ERROR_FAILED_PRECONDITION, "index '%.60s' of '%.60s': %.100s", name, collection, wrong.message);
    }
    bson_destroy(&reply);
    bson_destroy(&command);
    bson_destroy(&copy);
    return ok;
}

/* ---- dropping ------------------------------------------------------------------------------------------------ */

bool mongo_target_drop(struct mongo_server *server, const char *database, struct error *err)
{
    char **names = list_names(server, database, err);
    bool ok = names;
    for (size_t i = 0; ok && names[i]; i++) {
        if (strcmp(names[i], MONGO_MARK_COLLECTION) == 0 || strncmp(names[i], "system.", 7) == 0)
            continue;
        bson_t *command = BCON_NEW("drop", BCON_UTF8(names[i])), reply;
        ok = mongo_server_run(server, database, command, &reply, "dropping", err) || code_of(&reply) == CODE_NAMESPACE_NOT_FOUND;
        bson_destroy(&reply);
        bson_destroy(command);
    }
    bson_strfreev(names);
    if (!ok)
        return false;
    bson_t *command = BCON_NEW("dropDatabase", BCON_INT32(1)), reply;
    ok = mongo_server_run(server, database, command, &reply, "dropping", err);
    bson_destroy(&reply);
    bson_destroy(command);
    return ok;
}
