#include <stdlib.h>

#include "branch-service/mongo/mongo_collection.h"
#include "branch-service/mongo/mongo_internal.h"
#include "common/base/clock.h"
#include "common/base/memory.h"

/* How long closing may take: a cursor that is not at its end is one message to the server. */
#define CLOSE_MICROS MICROS_PER_SECOND

struct mongo_cursor {
    struct mongo *mongo;
    mongoc_client_t *client;
    mongoc_collection_t *collection;
    mongoc_cursor_t *cursor;
};

bool mongo_find(struct mongo *mongo, const char *database, const char *collection, const struct mongo_find *find, int64_t deadline,
                struct mongo_cursor **out, struct error *err)
{
    static const uint8_t everything[] = { 5, 0, 0, 0, 0 };
    bson_t filter, opts;
    if (!mongo_view(find->filter.len ? find->filter : bytes_of(everything, sizeof everything), "filter", &filter, err))
        return false;
    if (find->skip < 0 || find->limit < 0)
        return error_set(err, ERROR_INVALID_ARGUMENT, "skip and limit are not negative");
    mongoc_client_t *client = mongo_begin(mongo, deadline, err);
    if (!client)
        return false;
    bson_init(&opts);
    if (find->skip)
        BSON_APPEND_INT64(&opts, "skip", find->skip);
    if (find->limit)
        BSON_APPEND_INT64(&opts, "limit", find->limit);
    if (find->id_order) {
        bson_t sort;
        BSON_APPEND_DOCUMENT_BEGIN(&opts, "sort", &sort);
        BSON_APPEND_INT32(&sort, "_id", find->id_order < 0 ? -1 : 1);
        bson_append_document_end(&opts, &sort);
    }
    mongo_append_max_time(&opts, deadline);
    struct mongo_cursor *made = mem_zalloc(sizeof *made);
    made->mongo = mongo;
    made->client = client;
    made->collection = mongoc_client_get_collection(client, database, collection);
    made->cursor = mongoc_collection_find_with_opts(made->collection, &filter, &opts, NULL);
    bson_destroy(&opts);
    mongo_stream_set_deadline(NO_DEADLINE);
    *out = made;
    return true;
}

enum mongo_next mongo_cursor_next(struct mongo_cursor *cursor, int64_t deadline, struct bytes *document, struct error *err)
{
    const bson_t *found;
    int64_t before = mongo_stream_set_deadline(deadline);
    bool more = mongoc_cursor_next(cursor->cursor, &found);
    mongo_stream_set_deadline(before);
    if (more) {
        *document = bytes_of(bson_get_data(found), found->len);
        return MONGO_NEXT_DOCUMENT;
    }
    bson_error_t failure;
    if (!mongoc_cursor_error(cursor->cursor, &failure))
        return MONGO_NEXT_END;
    struct error why;
    mongo_error_set(&why, &failure, NULL, deadline, MONGO_CHANGES_NOTHING);
    mongo_note_failure(cursor->mongo, &why);
    if (err)
        *err = why;
    return MONGO_NEXT_FAILED;
}

void mongo_cursor_close(struct mongo_cursor *cursor)
{
    if (!cursor)
        return;
    int64_t before = mongo_stream_set_deadline(clock_monotonic_micros() + CLOSE_MICROS);
    mongoc_cursor_destroy(cursor->cursor);
    mongoc_collection_destroy(cursor->collection);
    mongo_end(cursor->mongo, cursor->client);
    mongo_stream_set_deadline(before);
    free(cursor);
}

bool mongo_find_one(struct mongo *mongo, const char *database, const char *collection, struct bytes filter, int64_t deadline, bool *found,
                    struct buffer *out, struct error *err)
{
    struct mongo_cursor *cursor;
    const struct mongo_find find = { .filter = filter, .limit = 1 };
    struct bytes document;
    if (!mongo_find(mongo, database, collection, &find, deadline, &cursor, err))
        return false;
    enum mongo_next next = mongo_cursor_next(cursor, deadline, &document, err);
    if (next != MONGO_NEXT_FAILED)
        *found = next == MONGO_NEXT_DOCUMENT;
    if (next == MONGO_NEXT_DOCUMENT)
        buffer_append(out, document.data, document.len);
    mongo_cursor_close(cursor);
    if (next == MONGO_NEXT_DOCUMENT && out->failed)
        return error_out_of_memory(err);
    return next != MONGO_NEXT_FAILED;
}

bool mongo_count(struct mongo *mongo, const char *database, const char *collection, struct bytes filter, int64_t deadline, int64_t *out,
                 struct error *err)
{
    bson_t which, opts, reply;
    if (!mongo_view(filter, "filter", &which, err))
        return false;
    mongoc_client_t *client = mongo_begin(mongo, deadline, err);
    if (!client)
        return false;
    bson_init(&opts);
    mongo_append_max_time(&opts, deadline);
    mongoc_collection_t *counted = mongoc_client_get_collection(client, database, collection);
    bson_error_t failure = { 0 };
    int64_t n = mongoc_collection_count_documents(counted, &which, &opts, NULL, &reply, &failure);
    mongoc_collection_destroy(counted);
    mongo_end(mongo, client);
    if (n < 0) {
        struct error why;
        mongo_error_set(&why, &failure, &reply, deadline, MONGO_CHANGES_NOTHING);
        mongo_note_failure(mongo, &why);
        if (err)
            *err = why;
    } else {
        *out = n;
    }
    bson_destroy(&reply);
    bson_destroy(&opts);
    return n >= 0;
}
