/* Documents: find, aggregate, count. */
#include <stdlib.h>

#include "client/client_internal.h"
#include "common/base/limits.h"
#include "common/base/memory.h"

struct argon_cursor {
    struct client_stream *stream;
    enum argon_format format;
    struct arena arena;                              /* of the message in hand */
    const Argon__Branch__V1__FindResponse *response; /* NULL: the end */
    size_t next;
    uint64_t lsn;
    struct argon_error end; /* how it ended: each further next says so again */
};

static const struct argon_query everything;

/* What the messages of a query point to. */
struct query_parts {
    Argon__Branch__V1__Target target;
    Argon__Branch__V1__ReadOptions read;
    Argon__Branch__V1__QueryOptions options;
    Argon__Branch__V1__Document filter, projection, sort, let;
};

/* One without data is not there: NULL in the message. */
static bool convert_part(const struct argon_document *document, struct arena *arena, Argon__Branch__V1__Document *part,
                         Argon__Branch__V1__Document **place, struct argon_error *error)
{
    *place = document->data ? part : NULL;
    return !document->data || client_document(document, arena, part, error);
}

static bool convert_query(const struct argon_target *target, const struct argon_query *query, struct arena *arena,
                          struct query_parts *parts, struct argon_error *error)
{
    parts->options = (Argon__Branch__V1__QueryOptions)ARGON__BRANCH__V1__QUERY_OPTIONS__INIT;
    client_read(&query->read, &parts->read);
    return client_target(target, &parts->target, error) && convert_part(&query->let, arena, &parts->let, &parts->options.let, error);
}

static Argon__Branch__V1__QueryOptions *options_of(struct query_parts *parts)
{
    return parts->options.let ? &parts->options : NULL;
}

/* NULL: error says why. */
static struct argon_cursor *open_cursor(struct argon_client *client, const struct client_call *call, enum argon_format format,
                                        struct argon_error *error)
{
    struct argon_cursor *cursor = mem_zalloc(sizeof *cursor);
    ProtobufCMessage *first;
    struct error err;
    arena_init(&cursor->arena, 0);
    cursor->stream = client_stream_open(client, call, &cursor->arena, &first, &err);
    if (!cursor->stream) {
        client_fail(error, &err);
        argon_cursor_close(cursor);
        return NULL;
    }
    cursor->format = format;
    cursor->response = (const Argon__Branch__V1__FindResponse *)first;
    cursor->lsn = first ? cursor->response->lsn : 0;
    client_succeed(error);
    return cursor;
}

struct argon_cursor *argon_find(struct argon_client *client, const struct argon_target *target, const struct argon_query *query,
                                struct argon_error *error)
{
    Argon__Branch__V1__FindRequest request = ARGON__BRANCH__V1__FIND_REQUEST__INIT;
    struct query_parts parts;
    struct argon_cursor *cursor = NULL;
    struct arena arena;
    arena_init(&arena, 0);
    query = query ? query : &everything;
    if (convert_query(target, query, &arena, &parts, error) &&
        convert_part(&query->filter, &arena, &parts.filter, &request.filter, error) &&
        convert_part(&query->projection, &arena, &parts.projection, &request.projection, error) &&
        convert_part(&query->sort, &arena, &parts.sort, &request.sort, error)) {
        request.target = &parts.target;
        request.skip = query->skip;
        request.limit = query->limit;
        request.read = &parts.read;
        request.options = options_of(&parts);
        request.format = client_format(query->format);
        const struct client_call call = { BRANCH_CALL("Documents", "Find", find), .request = &request.base };
        cursor = open_cursor(client, &call, query->format, error);
    }
    arena_destroy(&arena);
    return cursor;
}

static bool convert_stages(const struct argon_document *stages, size_t n, struct arena *arena, Argon__Branch__V1__AggregateRequest *request,
                           struct argon_error *error)
{
    if (n > MAX_BATCH_ENTRIES) /* before they are counted in memory */
        return client_refuse(error, "more stages than a pipeline holds");
    Argon__Branch__V1__Document *messages = arena_zalloc(arena, (n + 1) * sizeof *messages);
    request->pipeline = arena_zalloc(arena, (n + 1) * sizeof *request->pipeline);
    if (!messages || !request->pipeline)
        return client_refuse(error, "no memory for the stages");
    request->n_pipeline = n;
    for (size_t i = 0; i < n; i++) {
        request->pipeline[i] = &messages[i];
        if (!client_document(stages ? &stages[i] : NULL, arena, &messages[i], error))
            return false;
    }
    return true;
}

struct argon_cursor *argon_aggregate(struct argon_client *client, const struct argon_target *target, const struct argon_document *stages,
                                     size_t n, const struct argon_query *query, struct argon_error *error)
{
    Argon__Branch__V1__AggregateRequest request = ARGON__BRANCH__V1__AGGREGATE_REQUEST__INIT;
    struct query_parts parts;
    struct argon_cursor *cursor = NULL;
    struct arena arena;
    arena_init(&arena, 0);
    query = query ? query : &everything;
    if (convert_query(target, query, &arena, &parts, error) && convert_stages(stages, n, &arena, &request, error)) {
        request.target = &parts.target;
        request.read = &parts.read;
        request.options = options_of(&parts);
        request.format = client_format(query->format);
        const struct client_call call = { BRANCH_METHOD("Documents", "Aggregate"), &argon__branch__v1__find_response__descriptor,
                                          .request = &request.base };
        cursor = open_cursor(client, &call, query->format, error);
    }
    arena_destroy(&arena);
    return cursor;
}

static void next_message(struct argon_cursor *cursor)
{
    ProtobufCMessage *message = NULL;
    struct error err;
    arena_destroy(&cursor->arena);
    arena_init(&cursor->arena, 0);
    if (!client_stream_next(cursor->stream, &cursor->arena, &message, &err))
        client_fail(&cursor->end, &err);
    cursor->response = (const Argon__Branch__V1__FindResponse *)message;
    cursor->next = 0;
}

bool argon_cursor_next(struct argon_cursor *cursor, struct argon_document *document, struct argon_error *error)
{
    while (cursor->response && cursor->next == cursor->response->n_documents)
        next_message(cursor);
    *error = cursor->end;
    if (!cursor->response)
        return false;
    *document = client_shown(cursor->response->documents[cursor->next++], cursor->format);
    return true;
}

uint64_t argon_cursor_lsn(const struct argon_cursor *cursor)
{
    return cursor->lsn;
}

void argon_cursor_close(struct argon_cursor *cursor)
{
    if (!cursor)
        return;
    client_stream_close(cursor->stream);
    arena_destroy(&cursor->arena);
    free(cursor);
}

static uint64_t show_count(const ProtobufCMessage *message, void *count)
{
    *(uint64_t *)count = ((const Argon__Branch__V1__CountResponse *)message)->count;
    return 0;
}

bool argon_count(struct argon_client *client, const struct argon_target *target, const struct argon_query *query, uint64_t *count,
                 struct argon_error *error)
{
    Argon__Branch__V1__CountRequest request = ARGON__BRANCH__V1__COUNT_REQUEST__INIT;
    struct query_parts parts;
    struct arena arena;
    arena_init(&arena, 0);
    query = query ? query : &everything;
    bool ok =
        convert_query(target, query, &arena, &parts, error) && convert_part(&query->filter, &arena, &parts.filter, &request.filter, error);
    if (ok) {
        request.target = &parts.target;
        request.skip = query->skip;
        request.limit = query->limit;
        request.read = &parts.read;
        request.options = options_of(&parts);
        const struct client_call call = { BRANCH_CALL("Documents", "Count", count), &request.base, .show = show_count, .out = count };
        ok = client_call(client, &call, error);
    }
    arena_destroy(&arena);
    return ok;
}
