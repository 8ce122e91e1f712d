/* Read: whole frames, as they lie in the log, in messages of about a mebibyte; with follow it goes on at the head.
 *
 * A stream is a position in the log. Each step gathers one message from there, so that a slow reader holds one message
 * and no thread, and gets what it missed from the log: catching up and following are the same.
 *
 *     STEP --behind--> STEP, as soon as the reader has taken the message
 *          --at the head, follow--> waits until the project moves
 *          --at the end--> the call ends
 *
 * What a filter does not let through moves the position only. A follower hears of that at most every tick, and only
 * when it has taken the message before.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "common/base/clock.h"
#include "common/base/limits.h"
#include "common/base/memory.h"
#include "wal-service/follow.h"
#include "wal-service/log_reader.h"
#include "wal-service/wal_rpc_internal.h"

/* ReadResponse.complete_through and .incarnation, behind runs that are encoded already. */
enum { TAG_COMPLETE_THROUGH = 0x10, TAG_INCARNATION = 0x1A };

struct read_stream {
    struct wal_rpc *rpc;
    struct rpc_call *call;
    struct bytes branch_id, collection; /* the request's, which lives as long as the call */
    struct log_reader reader;
    uint64_t through; /* a batch end; not with follow */
    bool follow;
    struct follower follower;
    bool told_any;   /* a message was sent */
    uint64_t told;   /* the last complete_through that was sent */
    int64_t told_at; /* monotonic microseconds */
};

static bool send_message(struct read_stream *stream, uint64_t complete_through)
{
    uint8_t fixed[10 + 2 + INCARNATION_BYTES + 1];
    struct buffer tail = { .data = fixed, .capacity = sizeof fixed };
    if (complete_through) {
        buffer_append_u8(&tail, TAG_COMPLETE_THROUGH);
        buffer_append_varint(&tail, complete_through);
    }
    buffer_append_u8(&tail, TAG_INCARNATION);
    buffer_append_varint(&tail, INCARNATION_BYTES);
    buffer_append(&tail, stream->rpc->incarnation, INCARNATION_BYTES);

    struct bytes parts[] = { buffer_bytes(&stream->reader.runs), buffer_bytes(&tail) };
    stream->told_any = true;
    stream->told = complete_through;
    stream->told_at = clock_monotonic_micros();
    return rpc_stream_send_encoded(stream->call, parts, ARRAY_LEN(parts));
}

static void free_stream(struct read_stream *stream)
{
    if (stream->follow)
        follow_remove(stream->rpc->followers, &stream->follower);
    log_reader_clear(&stream->reader);
    free(stream);
}

static enum rpc_step finish(struct read_stream *stream)
{
    struct rpc_call *call = stream->call;
    free_stream(stream);
    rpc_finish(call); /* says why, when it was over before */
    return RPC_STEP_OVER;
}

static enum rpc_step fail(struct read_stream *stream, const struct error *err)
{
    struct rpc_call *call = stream->call;
    free_stream(stream);
    rpc_fail(call, err);
    return RPC_STEP_OVER;
}

static uint64_t head_of(const struct read_stream *stream)
{
    struct log_head head;
    log_store_head(stream->rpc->store, stream->reader.range.project, &head);
    return head.lsn;
}

/* Everything up to `through` has been gathered. */
static bool has_reached(const struct read_stream *stream, uint64_t through)
{
    return stream->reader.range.after >= through;
}

static enum rpc_step read_step(struct rpc_call *call, void *ctx)
{
    struct read_stream *stream = ctx;
    uint64_t through = stream->follow ? head_of(stream) : stream->through;
    struct error err = { 0 };
    bool sent = false;
    if (rpc_call_cancelled(call))
        return finish(stream);
    if (!log_reader_step(&stream->reader, through, &err))
        return fail(stream, &err);
    bool at_end = !stream->follow && has_reached(stream, through);
    bool news = !stream->told_any || stream->reader.range.after > stream->told;
    bool due = !stream->told_any || clock_monotonic_micros() - stream->told_at >= FOLLOW_TICK_MICROS;
    if (at_end || stream->reader.runs.len || (news && due)) {
        sent = true;
        /* after_lsn may lie inside a batch, and behind `through` */
        if (!send_message(stream, at_end ? through : stream->reader.range.after))
            return finish(stream);
    }
    log_reader_clear(&stream->reader);
    if (at_end)
        return finish(stream);
    if (!has_reached(stream, through))
        return RPC_STEP_MORE;
    /* Ask first, look then: what is published in between is seen or wakes us. */
    follow_wait(stream->rpc->followers, &stream->follower, news && !sent);
    return has_reached(stream, head_of(stream)) ? RPC_STEP_WAIT : RPC_STEP_MORE;
}

static void wake_stream(void *ctx)
{
    struct read_stream *stream = ctx;
    rpc_stream_wake(stream->call);
}

static bool is_abandoned(void *ctx)
{
    struct read_stream *stream = ctx;
    return rpc_call_cancelled(stream->call);
}

/* Checks the request against the log; *through is the LSN to read to. */
static bool check_read(const struct wal_rpc *rpc, const Argon__Wal__V1__ReadRequest *request, uint64_t *through, struct error *err)
{
    struct log_head head;
    if (!wal_rpc_check_id("project_id", request->project_id, MAX_PROJECT_ID_BYTES, false, err) ||
        !wal_rpc_check_id("branch_id", request->branch_id, MAX_BRANCH_ID_BYTES, true, err) ||
        !wal_rpc_check_id("collection", request->collection, MAX_COLLECTION_ID_BYTES, true, err))
        return false;
    if (request->follow && request->through_lsn)
        return error_set(err, ERROR_INVALID_ARGUMENT, "through_lsn is not for a read that follows");
    if (request->incarnation.len && !bytes_equal(bytes_of_message(&request->incarnation), bytes_of(rpc->incarnation, INCARNATION_BYTES)))
        return error_set(err, ERROR_ABORTED, "the log has a new incarnation");
    log_store_head(rpc->store, bytes_of_string(request->project_id), &head);
    if (request->after_lsn > head.lsn || request->through_lsn > head.lsn)
        return error_set(err, ERROR_OUT_OF_RANGE, "(%" PRIu64 ", %" PRIu64 "] is not in the log: its commit LSN is %" PRIu64,
                         request->after_lsn, request->through_lsn, head.lsn);
    *through = request->through_lsn ? request->through_lsn : head.lsn;
    return true;
}

void wal_rpc_on_read(void *service, struct rpc_call *call, const ProtobufCMessage *message)
{
    const Argon__Wal__V1__ReadRequest *request = (const Argon__Wal__V1__ReadRequest *)message;
    struct wal_rpc *rpc = service;
    struct bytes project = bytes_of_string(request->project_id);
    struct error err = { 0 };
    uint64_t through;
    if (!check_read(rpc, request, &through, &err)) {
        rpc_fail(call, &err);
        return;
    }
    struct read_stream *stream = mem_zalloc(sizeof *stream);
    stream->rpc = rpc;
    stream->call = call;
    stream->branch_id = bytes_of_string(request->branch_id);
    stream->collection = bytes_of_string(request->collection);
    stream->reader = (struct log_reader) {
        .store = rpc->store,
        .range = {
            .project = project,
            .after = request->after_lsn,
            .branch_id = stream->branch_id.len ? &stream->branch_id : NULL,
            .collection = stream->collection.len ? &stream->collection : NULL,
        },
        .stop = is_abandoned,
        .ctx = stream,
    };
    /* Only batches that end at or before `through` exist for a call that does not follow, whatever is committed meanwhile. */
    stream->through = log_store_batch_end(rpc->store, project, through);
    stream->follower = (struct follower) { .wake = wake_stream, .ctx = stream };
    if (request->follow && !follow_add(rpc->followers, &stream->follower, project, &err)) {
        free_stream(stream);
        rpc_fail(call, &err);
        return;
    }
    stream->follow = request->follow;
    rpc_stream_run(call, read_step, NULL, stream);
}
