/* Read: whole frames, as they lie in the log, gathered into messages of about a mebibyte. */
#include <inttypes.h>

#include "common/base/limits.h"
#include "wal-service/wal_rpc_internal.h"

#define READ_MESSAGE_BYTES ((size_t)1024 * 1024)

/* ReadResponse.complete_through and .incarnation, behind runs that are encoded already. */
enum { TAG_COMPLETE_THROUGH = 0x10, TAG_INCARNATION = 0x1A };

struct read_stream {
    struct wal_rpc *rpc;
    struct rpc_call *call;
    const struct bytes *branch_id, *collection; /* NULL: all */
    struct buffer runs;
    uint64_t complete_through; /* last LSN of the last frame in the buffer */
    bool over;                 /* the client has gone */
};

static bool send_runs(struct read_stream *stream)
{
    uint8_t fixed[10 + 2 + INCARNATION_BYTES + 1];
    struct buffer tail = { .data = fixed, .capacity = sizeof fixed };
    if (stream->complete_through) {
        buffer_append_u8(&tail, TAG_COMPLETE_THROUGH);
        buffer_append_varint(&tail, stream->complete_through);
    }
    buffer_append_u8(&tail, TAG_INCARNATION);
    buffer_append_varint(&tail, INCARNATION_BYTES);
    buffer_append(&tail, stream->rpc->incarnation, INCARNATION_BYTES);

    struct bytes parts[] = { buffer_bytes(&stream->runs), buffer_bytes(&tail) };
    stream->over = !rpc_stream_send_encoded(stream->call, parts, ARRAY_LEN(parts));
    if (stream->runs.capacity > 4 * READ_MESSAGE_BYTES) /* one large frame: its memory is not kept */
        buffer_destroy(&stream->runs);
    buffer_clear(&stream->runs);
    return !stream->over;
}

static bool is_wanted(const struct read_stream *stream, const struct frame_run *run)
{
    return (!stream->branch_id || bytes_equal(*stream->branch_id, run->branch_id)) &&
           (!stream->collection || bytes_equal(*stream->collection, run->collection));
}

static bool add_frame(void *ctx, const struct frame *frame, struct error *err)
{
    struct read_stream *stream = ctx;
    size_t bytes = 0;
    for (size_t i = 0; i < frame->n_runs; i++)
        bytes += is_wanted(stream, &frame->runs[i]) ? frame->runs[i].encoded.len : 0;
    /* a large batch goes alone: behind others it could pass the limit of a message */
    if (stream->runs.len && stream->runs.len + bytes > 2 * READ_MESSAGE_BYTES && !send_runs(stream))
        return false;
    for (size_t i = 0; i < frame->n_runs; i++)
        if (is_wanted(stream, &frame->runs[i]))
            buffer_append(&stream->runs, frame->runs[i].encoded.data, frame->runs[i].encoded.len);
    if (stream->runs.failed)
        return error_set(err, ERROR_RESOURCE_EXHAUSTED, "no memory for a batch of the log");
    stream->complete_through = frame_last_lsn(frame);
    if (stream->runs.len >= READ_MESSAGE_BYTES)
        return send_runs(stream);
    stream->over = rpc_call_cancelled(stream->call);
    return !stream->over;
}

/* Checks the request against the log; *through is the LSN to read to. */
static bool check_read(const struct wal_rpc *rpc, const Argon__Wal__V1__ReadRequest *request, uint64_t *through, struct error *err)
{
    struct log_head head;
    if (!wal_rpc_check_id("project_id", request->project_id, MAX_PROJECT_ID_BYTES, false, err) ||
        !wal_rpc_check_id("branch_id", request->branch_id, MAX_BRANCH_ID_BYTES, true, err) ||
        !wal_rpc_check_id("collection", request->collection, MAX_COLLECTION_ID_BYTES, true, err))
        return false;
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
    struct bytes branch_id = bytes_of_string(request->branch_id), collection = bytes_of_string(request->collection);
    struct read_stream stream = {
        .rpc = service,
        .call = call,
        .branch_id = branch_id.len ? &branch_id : NULL,
        .collection = collection.len ? &collection : NULL,
    };
    struct log_range range = {
        .project = bytes_of_string(request->project_id),
        .after = request->after_lsn,
        .branch_id = stream.branch_id,
        .collection = stream.collection,
    };
    struct error err = { 0 };
    if (!check_read(stream.rpc, request, &range.through, &err))
        goto fail;
    /* Only batches that end at or before `through` exist for this call, whatever is committed meanwhile. */
    uint64_t complete_through = log_store_batch_end(stream.rpc->store, range.project, range.through);
    if (range.after < range.through && !log_store_scan(stream.rpc->store, &range, add_frame, &stream, &err))
        goto fail;
    stream.complete_through = complete_through;
    if (!stream.over)
        send_runs(&stream);
    rpc_finish(call);
    buffer_destroy(&stream.runs);
    return;
fail:
    rpc_fail(call, &err);
    buffer_destroy(&stream.runs);
}
