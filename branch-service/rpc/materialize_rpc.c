/* Branches.Materialize: a stream in steps; the warmer's threads build, and wake it when something has moved. */
#include <stdlib.h>

#include "branch-service/branches/warm.h"
#include "branch-service/rpc/convert.h"
#include "branch-service/rpc/services.h"
#include "common/base/memory.h"

static void on_ready(void *ctx)
{
    rpc_stream_wake(ctx);
}

static enum rpc_step end_stream(struct rpc_call *call, struct warm *warm, const struct error *failure)
{
    warm_close(warm); /* before the call ends: it wakes the call */
    if (failure)
        rpc_fail(call, failure);
    else
        rpc_finish(call);
    return RPC_STEP_OVER;
}

static bool send_progress(struct rpc_call *call, const struct warm_part *part, struct arena *arena, struct error *err)
{
    Argon__Branch__V1__MaterializeResponse response = ARGON__BRANCH__V1__MATERIALIZE_RESPONSE__INIT;
    Argon__Branch__V1__MaterializeProgress *progress = arena_alloc(arena, (part->n + 1) * sizeof *progress);
    response.progress = arena_alloc(arena, (part->n + 1) * sizeof(void *));
    if (!progress || !response.progress)
        return error_out_of_memory(err);
    for (size_t i = 0; i < part->n; i++) {
        const struct warm_progress *from = &part->progress[i];
        progress[i] = (Argon__Branch__V1__MaterializeProgress)ARGON__BRANCH__V1__MATERIALIZE_PROGRESS__INIT;
        progress[i].collection = (char *)from->collection;
        progress[i].entries = from->entries;
        progress[i].documents = from->documents;
        progress[i].bytes = from->bytes;
        progress[i].done = from->done;
        response.progress[i] = &progress[i];
    }
    response.n_progress = part->n;
    response.lsn = part->lsn;
    bool alive = rpc_stream_send(call, &response.base);
    (void)alive; /* the next step sees that the call is over */
    return true;
}

static enum rpc_step materialize_step(struct rpc_call *call, void *ctx)
{
    struct warm *warm = ctx;
    struct warm_part part;
    struct arena arena;
    struct error err;
    if (rpc_call_cancelled(call))
        return end_stream(call, warm, NULL);
    arena_init(&arena, 0);
    bool ok = warm_take(warm, &arena, &part, &err);
    bool tell = ok && (part.n > 0 || part.over);
    ok = ok && (!tell || send_progress(call, &part, &arena, &err));
    arena_destroy(&arena);
    if (!ok)
        return end_stream(call, warm, &err);
    if (part.over)
        return end_stream(call, warm, NULL);
    return tell ? RPC_STEP_MORE : RPC_STEP_WAIT;
}

void materialize_rpc_on_materialize(void *service, struct rpc_call *call, const ProtobufCMessage *message)
{
    const Argon__Branch__V1__MaterializeRequest *request = (const Argon__Branch__V1__MaterializeRequest *)message;
    const struct warm_options options = {
        .project = request->project,
        .branch = request->branch[0] ? request->branch : MAIN_BRANCH,
        .collections = (const char *const *)request->collections,
        .n_collections = request->n_collections,
        .read = convert_read(call, request->read),
        .deadline = rpc_call_deadline(call), /* none given: it may take long, and tells how far it is */
    };
    struct warm *warm;
    struct error err;
    if (warm_open(service, &options, on_ready, call, &warm, &err))
        rpc_stream_run(call, materialize_step, NULL, warm);
    else
        rpc_fail(call, &err);
}
