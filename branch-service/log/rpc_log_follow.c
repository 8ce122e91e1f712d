/* A tail of the log: a Read with follow, taken message by message. */
#include <stdlib.h>

#include "branch-service/log/rpc_log_internal.h"
#include "common/base/clock.h"
#include "common/base/memory.h"

struct log_follow {
    struct rpc_client_stream *stream;
    uint64_t through;
};

bool log_follow_open(struct log_source *source, const struct log_read_range *range, const struct log_incarnation *incarnation,
                     void (*ready)(void *ctx), void *ctx, struct log_follow **follow, struct error *err)
{
    Argon__Wal__V1__ReadRequest request = ARGON__WAL__V1__READ_REQUEST__INIT;
    request.project_id = (char *)range->project;
    request.after_lsn = range->after;
    if (range->branch_id)
        request.branch_id = (char *)range->branch_id;
    if (range->collection)
        request.collection = (char *)range->collection;
    request.incarnation = log_borrow_incarnation(incarnation);
    request.follow = true;
    const struct rpc_call_options options = { .deadline = NO_DEADLINE };
    struct rpc_client_stream *stream;
    if (!rpc_client_stream_open(source->client, LOG_READ_METHOD, &request.base, &argon__wal__v1__read_response__descriptor, &options,
                                &stream, err))
        return false;
    struct log_follow *made = mem_zalloc(sizeof *made);
    made->stream = stream;
    made->through = range->after;
    *follow = made;
    rpc_client_stream_notify(stream, ready, ctx);
    return true;
}

bool log_follow_take(struct log_follow *follow, log_run_fn *visit, void *visit_ctx, uint64_t *through, bool *more, struct error *err)
{
    struct arena arena;
    ProtobufCMessage *message;
    bool arrived;
    arena_init(&arena, 0);
    bool ok = rpc_client_stream_try_next(follow->stream, &arena, &arrived, &message, err);
    *more = ok && arrived;
    if (*more && !message)
        ok = error_set(err, ERROR_UNAVAILABLE, "the WAL service ended a read that follows the log");
    if (*more && ok) {
        const Argon__Wal__V1__ReadResponse *response = (const Argon__Wal__V1__ReadResponse *)message;
        ok = log_show_runs(response, &arena, visit, visit_ctx, err);
        if (ok && response->complete_through > follow->through)
            follow->through = response->complete_through;
    }
    arena_destroy(&arena);
    *through = follow->through;
    return ok;
}

void log_follow_close(struct log_follow *follow)
{
    if (!follow)
        return;
    rpc_client_stream_close(follow->stream);
    free(follow);
}
