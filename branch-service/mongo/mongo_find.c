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
    mongoc_client_session_t *session; /* of a cursor at a snapshot */
    mongoc_cursor_t *cursor;
};

bool mongo_append_options(bson_t *opts, struct bytes options, struct error *err)
{
    bson_t more;
    if (options.len == 0)
        return true;
    return mongo_view(options, "options", &more, err) && (bson_concat(opts, &more) || error_out_of_memory(err));
}

static struct mongo_cursor *new_cursor(struct mongo *mongo, mongoc_client_t *client, const char *database, const char *collection)
{
    struct mongo_cursor *made = mem_zalloc(sizeof *made);
    made->mongo = mongo;
    made->client = client;
    made->collection = mongoc_client_get_collection(client, database, collection);
    return made;
}

/* ---- at a snapshot ---------------------------------------------------------------------------------- */

struct snapshot_run {
    struct mongo *mongo;
    int64_t deadline;
};

static bool run_snapshot_command(void *ctx, const char *database, const bson_t *command, bson_t *reply, const char *what, struct error *err)
{
    const struct snapshot_run *run = ctx;
    return mongo_run(run->mongo, database, MONGO_COMMAND_PLAIN, command, run->deadline, reply, err) || error_wrap(err, "%s", what);
}

bool mongo_begin_snapshot(struct mongo *mongo, const char *database, int64_t deadline, struct mongo_snapshot *snapshot, struct error *err)
{
    struct snapshot_run run = { mongo, deadline };
    return mongo_snapshot_begin(run_snapshot_command, &run, database, snapshot, err);
}

static void set_failure(struct mongo_cursor *cursor, const bson_error_t *failure, int64_t deadline, struct error *err)
{
    struct error why;
    mongo_error_set(&why, failure, NULL, deadline, MONGO_CHANGES_NOTHING);
    mongo_note_failure(cursor->mongo, &why);
    if (cursor->session && mongo_snapshot_is_gone(failure->code))
        error_set_reason(&why, MONGO_SNAPSHOT_GONE);
    if (err)
        *err = why;
}

/* The driver's own find knows no cluster time: the command is run, and its reply made a cursor, on one server and in one session. */
static bool find_at_snapshot(struct mongo_cursor *cursor, const char *database, const char *collection, const bson_t *filter,
                             uint64_t snapshot, int64_t deadline, struct error *err)
{
    bson_error_t failure = { 0 };
    bson_t command = BSON_INITIALIZER, opts = BSON_INITIALIZER, reply;
    mongoc_session_opt_t *session = mongoc_session_opts_new();
    mongoc_session_opts_set_causal_consistency(session, false); /* it has no place beside a cluster time */
    cursor->session = mongoc_client_start_session(cursor->client, session, &failure);
    mongoc_session_opts_destroy(session);
    mongoc_server_description_t *server = mongoc_client_select_server(cursor->client, false, NULL, &failure);
    bool ok = cursor->session && server && mongoc_client_session_append(cursor->session, &opts, &failure);
    if (ok) {
        BSON_APPEND_INT32(&opts, "serverId", (int32_t)mongoc_server_description_id(server));
        BSON_APPEND_UTF8(&command, "find", collection);
        BSON_APPEND_DOCUMENT(&command, "filter", filter);
        mongo_snapshot_append_concern(&command, snapshot);
        mongo_append_max_time(&command, deadline);
        ok = mongoc_client_command_with_opts(cursor->client, database, &command, NULL, &opts, &reply, &failure);
        if (ok)
            cursor->cursor = mongoc_cursor_new_from_command_reply_with_opts(cursor->client, &reply, &opts); /* takes the reply */
        else
            bson_destroy(&reply);
    }
    if (server)
        mongoc_server_description_destroy(server);
    bson_destroy(&command);
    bson_destroy(&opts);
    if (!ok)
        set_failure(cursor, &failure, deadline, err);
    return ok;
}

static bool open_at_snapshot(struct mongo *mongo, const char *database, const char *collection, const bson_t *filter, uint64_t snapshot,
                             int64_t deadline, struct mongo_cursor **out, struct error *err)
{
    mongoc_client_t *client = mongo_begin(mongo, deadline, err);
    if (!client)
        return false;
    struct mongo_cursor *made = new_cursor(mongo, client, database, collection);
    bool ok = find_at_snapshot(made, database, collection, filter, snapshot, deadline, err);
    mongo_stream_set_deadline(NO_DEADLINE);
    if (ok)
        *out = made;
    else
        mongo_cursor_close(made);
    return ok;
}

/* ---- finding ---------------------------------------------------------------------------------------- */

bool mongo_append_find(bson_t *opts, const struct mongo_find *find, struct error *err)
{
    if (find->skip < 0 || find->limit < 0)
        return error_set(err, ERROR_INVALID_ARGUMENT, "skip and limit are not negative");
    if (!mongo_append_options(opts, find->options, err))
        return false;
    if (find->skip)
        BSON_APPEND_INT64(opts, "skip", find->skip);
    if (find->limit)
        BSON_APPEND_INT64(opts, "limit", find->limit);
    if (find->id_order) {
        bson_t sort;
        BSON_APPEND_DOCUMENT_BEGIN(opts, "sort", &sort);
        BSON_APPEND_INT32(&sort, "_id", find->id_order < 0 ? -1 : 1);
        bson_append_document_end(opts, &sort);
    }
    return true;
}

bool mongo_find(struct mongo *mongo, const char *database, const char *collection, const struct mongo_find *find, int64_t deadline,
                struct mongo_cursor **out, struct error *err)
{
    static const uint8_t everything[] = { 5, 0, 0, 0, 0 };
    bson_t filter, opts;
    if (!mongo_view(find->filter.len ? find->filter : bytes_of(everything, sizeof everything), "filter", &filter, err))
        return false;
    if (find->snapshot)
        return open_at_snapshot(mongo, database, collection, &filter, find->snapshot, deadline, out, err);
    bson_init(&opts);
    mongoc_client_t *client = mongo_append_find(&opts, find, err) ? mongo_begin(mongo, deadline, err) : NULL;
    if (!client) {
        bson_destroy(&opts);
        return false;
    }
    mongo_append_max_time(&opts, deadline);
    struct mongo_cursor *made = new_cursor(mongo, client, database, collection);
    made->cursor = mongoc_collection_find_with_opts(made->collection, &filter, &opts, NULL);
    bson_destroy(&opts);
    mongo_stream_set_deadline(NO_DEADLINE);
    *out = made;
    return true;
}

bool mongo_aggregate(struct mongo *mongo, const char *database, const char *collection, struct bytes pipeline, struct bytes options,
                     int64_t deadline, struct mongo_cursor **out, struct error *err)
{
    bson_t stages, opts;
    if (!mongo_view(pipeline, "pipeline", &stages, err))
        return false;
    bson_init(&opts);
    mongoc_client_t *client = mongo_append_options(&opts, options, err) ? mongo_begin(mongo, deadline, err) : NULL;
    if (!client) {
        bson_destroy(&opts);
        return false;
    }
    mongo_append_max_time(&opts, deadline);
    struct mongo_cursor *made = new_cursor(mongo, client, database, collection);
    made->cursor = mongoc_collection_aggregate(made->collection, MONGOC_QUERY_NONE, &stages, &opts, NULL);
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
    set_failure(cursor, &failure, deadline, err);
    return MONGO_NEXT_FAILED;
}

void mongo_cursor_close(struct mongo_cursor *cursor)
{
    if (!cursor)
        return;
    int64_t before = mongo_stream_set_deadline(clock_monotonic_micros() + CLOSE_MICROS);
    if (cursor->cursor)
        mongoc_cursor_destroy(cursor->cursor);
    if (cursor->session)
        mongoc_client_session_destroy(cursor->session);
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

/* n < 0: it failed. */
static bool end_count(struct mongo *mongo, int64_t n, const bson_error_t *failure, const bson_t *reply, int64_t deadline, int64_t *out,
                      struct error *err)
{
    struct error why;
    if (n >= 0) {
        *out = n;
        return true;
    }
    mongo_error_set(&why, failure, reply, deadline, MONGO_CHANGES_NOTHING);
    mongo_note_failure(mongo, &why);
    if (err)
        *err = why;
    return false;
}

bool mongo_count(struct mongo *mongo, const char *database, const char *collection, struct bytes filter, struct bytes options,
                 int64_t deadline, int64_t *out, struct error *err)
{
    bson_t which, opts, reply;
    if (!mongo_view(filter, "filter", &which, err))
        return false;
    bson_init(&opts);
    mongoc_client_t *client = mongo_append_options(&opts, options, err) ? mongo_begin(mongo, deadline, err) : NULL;
    if (!client) {
        bson_destroy(&opts);
        return false;
    }
    mongo_append_max_time(&opts, deadline);
    mongoc_collection_t *counted = mongoc_client_get_collection(client, database, collection);
    bson_error_t failure = { 0 };
    int64_t n = mongoc_collection_count_documents(counted, &which, &opts, NULL, &reply, &failure);
    mongoc_collection_destroy(counted);
    mongo_end(mongo, client);
    bool ok = end_count(mongo, n, &failure, &reply, deadline, out, err);
    bson_destroy(&reply);
    bson_destroy(&opts);
    return ok;
}

bool mongo_estimated_count(struct mongo *mongo, const char *database, const char *collection, int64_t deadline, int64_t *out,
                           struct error *err)
{
    bson_t opts, reply;
    mongoc_client_t *client = mongo_begin(mongo, deadline, err);
    if (!client)
        return false;
    bson_init(&opts);
    mongo_append_max_time(&opts, deadline);
    mongoc_collection_t *counted = mongoc_client_get_collection(client, database, collection);
    bson_error_t failure = { 0 };
    int64_t n = mongoc_collection_estimated_document_count(counted, &opts, NULL, &reply, &failure);
    mongoc_collection_destroy(counted);
    mongo_end(mongo, client);
    bool ok = end_count(mongo, n, &failure, &reply, deadline, out, err);
    bson_destroy(&reply);
    bson_destroy(&opts);
    return ok;
}

bool mongo_distinct(struct mongo *mongo, const char *database, const char *collection, const char *field, struct bytes filter,
                    struct bytes options, int64_t deadline, struct buffer *out, struct error *err)
{
    bson_t which, command, reply;
    bson_iter_t values;
    bson_t answer;
    if (!mongo_view(filter, "filter", &which, err))
        return false;
    bson_init(&command);
    BSON_APPEND_UTF8(&command, "distinct", collection);
    BSON_APPEND_UTF8(&command, "key", field);
    BSON_APPEND_DOCUMENT(&command, "query", &which);
    bool ok = mongo_append_options(&command, options, err);
    if (!ok) {
        bson_destroy(&command);
        return false;
    }
    ok = mongo_run(mongo, database, MONGO_COMMAND_READ, &command, deadline, &reply, err);
    if (ok && bson_iter_init_find(&values, &reply, "values") && BSON_ITER_HOLDS_ARRAY(&values)) {
        bson_init(&answer);
        bson_append_iter(&answer, "values", -1, &values);
        buffer_append(out, bson_get_data(&answer), answer.len);
        bson_destroy(&answer);
        ok = !out->failed || error_out_of_memory(err);
    } else if (ok) {
        ok = error_set(err, ERROR_INTERNAL, "the server's answer to distinct holds no values");
    }
    bson_destroy(&reply);
    bson_destroy(&command);
    return ok;
}
