/* Branches.Watch: a stream in steps, which holds no thread while nothing happens. */
#include <stdlib.h>

#include "branch-service/branches/watch.h"
#include "branch-service/rpc/convert.h"
#include "branch-service/rpc/services.h"
#include "common/base/memory.h"

/* A message closes behind so much of documents; a larger part of the log comes in several. */
enum { MESSAGE_BYTES = 1024 * 1024 };

struct watch_stream {
    struct rpc_call *call;
    struct watch *watch;
    Argon__Branch__V1__Format format;
    bool has_part;
    struct watch_part part;
    size_t next;      /* of its changes */
    uint64_t through; /* as told */
};

static void on_ready(void *ctx)
{
    rpc_stream_wake(ctx);
}

static enum rpc_step end_stream(struct watch_stream *stream, const struct error *failure)
{
    struct rpc_call *call = stream->call;
    watch_close(stream->watch); /* before the call ends: it wakes the call */
    if (stream->has_part)
        watch_part_destroy(&stream->part);
    free(stream);
    if (failure)
        rpc_fail(call, failure);
    else
        rpc_finish(call);
    return RPC_STEP_OVER;
}

static bool fill_document(struct bytes from, Argon__Branch__V1__Format format, struct arena *arena, Argon__Branch__V1__Document **to,
                          struct error *err)
{
    *to = NULL;
    if (!from.len)
        return true;
    *to = arena_alloc(arena, sizeof **to);
    return *to ? convert_document_out(from, format, arena, *to, err) : error_out_of_memory(err);
}

static bool fill_change(const struct watch_change *from, Argon__Branch__V1__Format format, struct arena *arena,
                        Argon__Branch__V1__Change *to, struct error *err)
{
    *to = (Argon__Branch__V1__Change)ARGON__BRANCH__V1__CHANGE__INIT;
    to->kind = (Argon__Branch__V1__ChangeKind)from->kind;
    to->lsn = from->lsn;
    to->timestamp = from->timestamp;
    to->collection = (char *)from->collection;
    to->new_collection = (char *)(from->new_collection ? from->new_collection : "");
    to->actor = (char *)from->actor;
    to->branch_id = (char *)from->branch_id;
    return fill_document(from->document_id, format, arena, &to->document_id, err) &&
           fill_document(from->document, format, arena, &to->document, err);
}

/* Sends the next changes of the part; *last: there are no more in it. */
static bool send_changes(struct watch_stream *stream, bool *last, struct error *err)
{
    Argon__Branch__V1__WatchResponse response = ARGON__BRANCH__V1__WATCH_RESPONSE__INIT;
    struct watch_part *part = &stream->part;
    size_t left = part->n - stream->next, bytes = 0, n = 0;
    struct arena arena;
    arena_init(&arena, 0);
    Argon__Branch__V1__Change *changes = arena_alloc(&arena, (left + 1) * sizeof *changes);
    response.changes = arena_alloc(&arena, (left + 1) * sizeof(void *));
    bool ok = (changes && response.changes) || error_out_of_memory(err);
    for (; ok && n < left && bytes < MESSAGE_BYTES; n++) {
        const struct watch_change *change = &part->changes[stream->next + n];
        ok = fill_change(change, stream->format, &arena, &changes[n], err);
        response.changes[n] = &changes[n];
        bytes += change->document.len + 200;
    }
    if (ok) {
        stream->next += n;
        *last = stream->next == part->n;
        response.n_changes = n;
        response.through_lsn = *last ? part->through : stream->through;
        if (*last) {
            response.end = (Argon__Branch__V1__WatchEnd)part->end;
            response.restart_lsn = part->restart_lsn;
            stream->through = part->through;
        }
        bool alive = rpc_stream_send(stream->call, &response.base);
        (void)alive; /* the next step sees that the call is over */
    }
    arena_destroy(&arena);
    return ok;
}

static enum rpc_step watch_step(struct rpc_call *call, void *ctx)
{
    struct watch_stream *stream = ctx;
    struct error err;
    bool last;
    if (rpc_call_cancelled(call))
        return end_stream(stream, NULL);
    if (!stream->has_part) {
        if (!watch_take(stream->watch, &stream->part, &err))
            return end_stream(stream, &err);
        stream->has_part = true;
        stream->next = 0;
        if (!stream->part.n && !stream->part.end && stream->part.through == stream->through) {
            enum rpc_step next = stream->part.more ? RPC_STEP_MORE : stream->part.later ? RPC_STEP_LATER : RPC_STEP_WAIT;
            watch_part_destroy(&stream->part);
            stream->has_part = false;
            return next;
        }
    }
    if (!send_changes(stream, &last, &err))
        return end_stream(stream, &err);
    if (!last)
        return RPC_STEP_MORE;
    if (stream->part.end)
        return end_stream(stream, NULL);
    watch_part_destroy(&stream->part);
    stream->has_part = false;
    return RPC_STEP_MORE;
}

void watch_rpc_on_watch(void *service, struct rpc_call *call, const ProtobufCMessage *message)
{
    const Argon__Branch__V1__WatchRequest *request = (const Argon__Branch__V1__WatchRequest *)message;
    const struct watch_options options = {
        .project = request->project,
        .branch = request->branch,
        .collection = request->collection,
        .after_lsn = request->after_lsn,
        .from_head = request->from_head,
        .stop_at_head = request->stop_at_head,
        .omit_documents = request->omit_documents,
    };
    struct error err;
    struct watch_stream *stream = mem_zalloc(sizeof *stream);
    stream->call = call;
    stream->format = request->format;
    if (!convert_format(request->format, &err) ||
        !watch_open(service, &options, convert_deadline(call), on_ready, call, &stream->watch, &stream->through, &err)) {
        free(stream);
        rpc_fail(call, &err);
        return;
    }
    /* the first message says where the watch begins, so that it can be resumed before anything has happened */
    stream->part.through = stream->through;
    arena_init(&stream->part.arena, 0);
    stream->has_part = true;
    rpc_stream_run(call, watch_step, NULL, stream);
}
