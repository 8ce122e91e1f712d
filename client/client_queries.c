/* Documents: find, aggregate, count, distinct, explain. */
#include <stdlib.h>

#include "client/client_internal.h"
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
};

static bool convert_query(const struct argon_target *target, const struct argon_query *query, struct arena *arena,
                          struct query_parts *parts, struct argon_error *error)
{
    parts->options = (Argon__Branch__V1__QueryOptions)ARGON__BRANCH__V1__QUERY_OPTIONS__INIT;
    parts->options.hint = query->hint ? (char *)query->hint : "";
    client_read(&query->read, &parts->read);
    return client_target(target, &parts->target, error) && client_part(&query->let, arena, &parts->options.let, error);
}

static Argon__Branch__V1__QueryOptions *options_of(struct query_parts *parts)
{
    return parts->options.let || parts->options.hint[0] ? &parts->options : NULL;
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

static bool fill_find(const struct argon_target *target, const struct argon_query *query, struct arena *arena, struct query_parts *parts,
                      Argon__Branch__V1__FindRequest *request, struct argon_error *error)
{
    *request = (Argon__Branch__V1__FindRequest)ARGON__BRANCH__V1__FIND_REQUEST__INIT;
    if (!convert_query(target, query, arena, parts, error) || !client_part(&query->filter, arena, &request->filter, error) ||
        !client_part(&query->projection, arena, &request->projection, error) || !client_part(&query->sort, arena, &request->sort, error))
        return false;
    request->target = &parts->target;
    request->skip = query->skip;
    request->limit = query->limit;
    request->read = &parts->read;
    request->options = options_of(parts);
    request->format = client_format(query->format);
    return true;
}

static bool fill_aggregate(const struct argon_target *target, const struct argon_document *stages, size_t n,
                           const struct argon_query *query, struct arena *arena, struct query_parts *parts,
                           Argon__Branch__V1__AggregateRequest *request, struct argon_error *error)
{
    *request = (Argon__Branch__V1__AggregateRequest)ARGON__BRANCH__V1__AGGREGATE_REQUEST__INIT;
    if (!convert_query(target, query, arena, parts, error) || !client_list(stages, n, arena, &request->pipeline, error))
        return false;
    request->target = &parts->target;
    request->n_pipeline = n;
    request->read = &parts->read;
    request->options = options_of(parts);
    request->format = client_format(query->format);
    return true;
}

struct argon_cursor *argon_find(struct argon_client *client, const struct argon_target *target, const struct argon_query *query,
                                struct argon_error *error)
{
    Argon__Branch__V1__FindRequest request;
    struct query_parts parts;
    struct argon_cursor *cursor = NULL;
    struct arena arena;
    arena_init(&arena, 0);
    query = query ? query : &everything;
    const struct client_call call = { BRANCH_CALL("Documents", "Find", find), .request = &request.base };
    if (fill_find(target, query, &arena, &parts, &request, error))
        cursor = open_cursor(client, &call, query->format, error);
    arena_destroy(&arena);
    return cursor;
}

struct argon_cursor *argon_aggregate(struct argon_client *client, const struct argon_target *target, const struct argon_document *stages,
                                     size_t n, const struct argon_query *query, struct argon_error *error)
{
    Argon__Branch__V1__AggregateRequest request;
    struct query_parts parts;
    struct argon_cursor *cursor = NULL;
    struct arena arena;
    arena_init(&arena, 0);
    query = query ? query : &everything;
    const struct client_call call = { BRANCH_METHOD("Documents", "Aggregate"), &argon__branch__v1__find_response__descriptor,
                                      .request = &request.base };
    if (fill_aggregate(target, stages, n, query, &arena, &parts, &request, error))
        cursor = open_cursor(client, &call, query->format, error);
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

/* ---- answers of one message ------------------------------------------------------------------------- */

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
    bool ok = convert_query(target, query, &arena, &parts, error) && client_part(&query->filter, &arena, &request.filter, error);
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

bool argon_estimated_count(struct argon_client *client, const struct argon_target *target, const struct argon_read *read, uint64_t *count,
                           struct argon_error *error)
{
    Argon__Branch__V1__EstimatedCountRequest request = ARGON__BRANCH__V1__ESTIMATED_COUNT_REQUEST__INIT;
    Argon__Branch__V1__Target to;
    Argon__Branch__V1__ReadOptions state;
    client_read(read ? read : &everything.read, &state);
    request.target = &to;
    request.read = &state;
    const struct client_call call = { BRANCH_METHOD("Documents", "EstimatedCount"), &argon__branch__v1__count_response__descriptor,
                                      &request.base, .show = show_count, .out = count };
    return client_target(target, &to, error) && client_call(client, &call, error);
}

struct argon_answer *argon_distinct(struct argon_client *client, const struct argon_target *target, const char *field,
                                    const struct argon_query *query, struct argon_error *error)
{
    Argon__Branch__V1__DistinctRequest request = ARGON__BRANCH__V1__DISTINCT_REQUEST__INIT;
    Argon__Branch__V1__Target to;
    Argon__Branch__V1__ReadOptions read;
    struct argon_answer *answer = NULL;
    struct arena arena;
    arena_init(&arena, 0);
    query = query ? query : &everything;
    client_read(&query->read, &read);
    request.target = &to;
    request.field = field ? (char *)field : "";
    request.read = &read;
    request.format = client_format(query->format);
    struct client_call call = { BRANCH_CALL("Documents", "Distinct", distinct), .request = &request.base };
    if (client_target(target, &to, error) && client_part(&query->filter, &arena, &request.filter, error))
        answer = client_answer(client, &call, query->format, error);
    arena_destroy(&arena);
    return answer;
}

static uint64_t show_plan(const ProtobufCMessage *message, void *out)
{
    const Argon__Branch__V1__ExplainResponse *response = (const void *)message;
    *(struct argon_plan *)out = (struct argon_plan) {
        .access = (enum argon_access)response->access, /* the numbers are the same */
        .order = (enum argon_order)response->order,
        .ranges = response->ranges,
        .examined = response->examined,
        .returned = response->returned,
        .lsn = response->lsn,
    };
    struct argon_plan *plan = out;
    snprintf(plan->indexes, sizeof plan->indexes, "%s", response->indexes);
    return 0;
}

bool argon_explain(struct argon_client *client, const struct argon_target *target, const struct argon_document *stages, size_t n,
                   const struct argon_query *query, struct argon_plan *plan, struct argon_error *error)
{
    Argon__Branch__V1__ExplainRequest request = ARGON__BRANCH__V1__EXPLAIN_REQUEST__INIT;
    Argon__Branch__V1__FindRequest find;
    Argon__Branch__V1__AggregateRequest aggregate;
    struct query_parts parts;
    struct arena arena;
    arena_init(&arena, 0);
    query = query ? query : &everything;
    if (n == 0)
        request.find = &find;
    else
        request.aggregate = &aggregate;
    const struct client_call call = { BRANCH_CALL("Documents", "Explain", explain), &request.base, .show = show_plan, .out = plan };
    bool ok = (n == 0 ? fill_find(target, query, &arena, &parts, &find, error)
                      : fill_aggregate(target, stages, n, query, &arena, &parts, &aggregate, error)) &&
              client_call(client, &call, error);
    arena_destroy(&arena);
    return ok;
}
