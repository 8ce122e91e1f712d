#include <stdlib.h>
#include <string.h>

#include "branch-service/mongo/mongo_collection.h"
#include "branch-service/mongo/mongo_internal.h"
#include "common/base/memory.h"

/* Runs through a cursor that the driver made; takes it. */
static bool visit_all(struct mongo *mongo, mongoc_cursor_t *cursor, int64_t deadline, mongo_document_fn *visit, void *ctx,
                      struct error *err)
{
    const bson_t *document;
    bson_error_t failure;
    bool ok = true;
    while (ok && mongoc_cursor_next(cursor, &document))
        ok = visit(ctx, bytes_of(bson_get_data(document), document->len), err);
    if (ok && mongoc_cursor_error(cursor, &failure)) {
        struct error why;
        mongo_error_set(&why, &failure, NULL, deadline, MONGO_CHANGES_NOTHING);
        mongo_note_failure(mongo, &why);
        if (err)
            *err = why;
        ok = false;
    }
    mongoc_cursor_destroy(cursor);
    return ok;
}

struct listing {
    const char *prefix;
    mongo_collection_fn *visit;
    void *ctx;
};

static bool on_listed(void *ctx, struct bytes document, struct error *err)
{
    const struct listing *listing = ctx;
    struct mongo_collection_info info = { .type = "collection" };
    bson_t listed;
    bson_iter_t at, fields, uuid;
    if (!mongo_view(document, "listed collection", &listed, err))
        return false;
    if (!bson_iter_init_find(&at, &listed, "name") || !BSON_ITER_HOLDS_UTF8(&at))
        return error_set(err, ERROR_INTERNAL, "MongoDB lists a collection without a name");
    info.name = bson_iter_utf8(&at, NULL);
    if (strncmp(info.name, listing->prefix, strlen(listing->prefix)) != 0)
        return true;
    if (bson_iter_init_find(&at, &listed, "type") && BSON_ITER_HOLDS_UTF8(&at))
        info.type = bson_iter_utf8(&at, NULL);
    if (bson_iter_init_find(&at, &listed, "options") && BSON_ITER_HOLDS_DOCUMENT(&at)) {
        uint32_t len;
        const uint8_t *data;
        bson_iter_document(&at, &len, &data);
        info.options = bytes_of(data, len);
    }
    if (bson_iter_init_find(&at, &listed, "info") && bson_iter_recurse(&at, &fields) && bson_iter_find_descendant(&fields, "uuid", &uuid) &&
        BSON_ITER_HOLDS_BINARY(&uuid)) {
        uint32_t len;
        const uint8_t *data;
        bson_iter_binary(&uuid, NULL, &len, &data);
        if (len == sizeof info.uuid) {
            memcpy(info.uuid, data, len);
            info.has_uuid = true;
        }
    }
    return listing->visit(listing->ctx, &info, err);
}

/* The server narrows by the order of names, the visitor decides by their bytes: no pattern, so nothing that a
 * name could hold has a meaning. */
static void append_prefix_filter(bson_t *opts, const char *prefix)
{
    size_t len = strlen(prefix);
    bson_t filter, range;
    if (!len)
        return;
    BSON_APPEND_DOCUMENT_BEGIN(opts, "filter", &filter);
    BSON_APPEND_DOCUMENT_BEGIN(&filter, "name", &range);
    BSON_APPEND_UTF8(&range, "$gte", prefix);
    if ((unsigned char)prefix[len - 1] < 0x7f) {
        char *end = mem_strdup(prefix);
        end[len - 1]++;
        BSON_APPEND_UTF8(&range, "$lt", end);
        free(end);
    }
    bson_append_document_end(&filter, &range);
    bson_append_document_end(opts, &filter);
}

bool mongo_list_collections(struct mongo *mongo, const char *database, const char *prefix, int64_t deadline, mongo_collection_fn *visit,
                            void *ctx, struct error *err)
{
    mongoc_client_t *client = mongo_begin(mongo, deadline, err);
    if (!client)
        return false;
    bson_t opts;
    bson_init(&opts);
    append_prefix_filter(&opts, prefix);
    struct listing listing = { prefix, visit, ctx };
    mongoc_database_t *listed = mongoc_client_get_database(client, database);
    bool ok = visit_all(mongo, mongoc_database_find_collections_with_opts(listed, &opts), deadline, on_listed, &listing, err);
    mongoc_database_destroy(listed);
    bson_destroy(&opts);
    mongo_end(mongo, client);
    return ok;
}

bool mongo_create_collection(struct mongo *mongo, const char *database, const char *collection, struct bytes options, int64_t deadline,
                             struct error *err)
{
    bson_t command, view;
    if (options.len && !mongo_view(options, "set of options", &view, err))
        return false;
    bson_init(&command);
    BSON_APPEND_UTF8(&command, "create", collection);
    if (options.len)
        bson_concat(&command, &view);
    bool ok = mongo_run(mongo, database, MONGO_COMMAND_WRITE, &command, deadline, NULL, err);
    bson_destroy(&command);
    return ok;
}

static char *full_name(const char *database, const char *collection)
{
    return bson_strdup_printf("%s.%s", database, collection);
}

bool mongo_rename_collection(struct mongo *mongo, const char *database, const char *from, const char *to, int64_t deadline,
                             struct error *err)
{
    char *source = full_name(database, from), *target = full_name(database, to);
    bson_t command;
    bson_init(&command);
    BSON_APPEND_UTF8(&command, "renameCollection", source);
    BSON_APPEND_UTF8(&command, "to", target);
    bool ok = mongo_run(mongo, "admin", MONGO_COMMAND_WRITE, &command, deadline, NULL, err);
    bson_destroy(&command);
    bson_free(source);
    bson_free(target);
    return ok;
}

/* What is not there is dropped already. */
static bool run_drop(struct mongo *mongo, const char *database, const bson_t *command, int64_t deadline, struct error *err)
{
    struct error why;
    if (mongo_run(mongo, database, MONGO_COMMAND_WRITE, command, deadline, NULL, &why) || why.code == ERROR_NOT_FOUND)
        return true;
    if (err)
        *err = why;
    return false;
}

bool mongo_drop_collection(struct mongo *mongo, const char *database, const char *collection, int64_t deadline, struct error *err)
{
    bson_t command;
    bson_init(&command);
    BSON_APPEND_UTF8(&command, "drop", collection);
    bool ok = run_drop(mongo, database, &command, deadline, err);
    bson_destroy(&command);
    return ok;
}

bool mongo_list_indexes(struct mongo *mongo, const char *database, const char *collection, int64_t deadline, mongo_document_fn *visit,
                        void *ctx, struct error *err)
{
    mongoc_client_t *client = mongo_begin(mongo, deadline, err);
    if (!client)
        return false;
    mongoc_collection_t *listed = mongoc_client_get_collection(client, database, collection);
    bool ok = visit_all(mongo, mongoc_collection_find_indexes_with_opts(listed, NULL), deadline, visit, ctx, err);
    mongoc_collection_destroy(listed);
    mongo_end(mongo, client);
    return ok;
}

static bool is_id_index(const bson_t *definition)
{
    bson_iter_t at, fields;
    if (bson_iter_init_find(&at, definition, "clustered"))
        return true;
    return bson_iter_init_find(&at, definition, "key") && bson_iter_recurse(&at, &fields) && bson_iter_next(&fields) &&
           strcmp(bson_iter_key(&fields), "_id") == 0 && BSON_ITER_HOLDS_NUMBER(&fields) && !bson_iter_next(&fields);
}

bool mongo_create_indexes(struct mongo *mongo, const char *database, const char *collection, const struct bytes *definitions, size_t n,
                          int64_t deadline, struct error *err)
{
    bson_t command, indexes;
    bool ok = true;
    uint32_t wanted = 0;
    bson_init(&command);
    BSON_APPEND_UTF8(&command, "createIndexes", collection);
    BSON_APPEND_ARRAY_BEGIN(&command, "indexes", &indexes);
    for (size_t i = 0; ok && i < n; i++) {
        bson_t listed, definition;
        ok = mongo_view(definitions[i], "index definition", &listed, err);
        if (!ok || is_id_index(&listed))
            continue;
        char text[16];
        const char *key;
        bson_uint32_to_string(wanted++, &key, text, sizeof text);
        BSON_APPEND_DOCUMENT_BEGIN(&indexes, key, &definition);
        /* before 4.4 a definition names its collection, and may not when it is handed in */
        bson_copy_to_excluding_noinit(&listed, &definition, "ns", NULL);
        bson_append_document_end(&indexes, &definition);
    }
    bson_append_array_end(&command, &indexes);
    if (ok && wanted)
        ok = mongo_run(mongo, database, MONGO_COMMAND_WRITE, &command, deadline, NULL, err);
    bson_destroy(&command);
    return ok;
}

bool mongo_drop_index(struct mongo *mongo, const char *database, const char *collection, const char *index, int64_t deadline,
                      struct error *err)
{
    bson_t command;
    bson_init(&command);
    BSON_APPEND_UTF8(&command, "dropIndexes", collection);
    BSON_APPEND_UTF8(&command, "index", index);
    bool ok = run_drop(mongo, database, &command, deadline, err);
    bson_destroy(&command);
    return ok;
}

bool mongo_set_validator(struct mongo *mongo, const char *database, const char *collection, struct bytes validator, int64_t deadline,
                         struct error *err)
{
    bson_t command, view;
    if (!mongo_view(validator, "validator", &view, err))
        return false;
    bson_init(&command);
    BSON_APPEND_UTF8(&command, "collMod", collection);
    BSON_APPEND_DOCUMENT(&command, "validator", &view);
    BSON_APPEND_UTF8(&command, "validationLevel", "strict");
    BSON_APPEND_UTF8(&command, "validationAction", "error");
    bool ok = mongo_run(mongo, database, MONGO_COMMAND_WRITE, &command, deadline, NULL, err);
    bson_destroy(&command);
    return ok;
}
