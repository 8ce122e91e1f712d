/* A server stream, read message by message.
 *
 * At most one message is read ahead of the caller: a read is started when the message before it is taken.
 * Three tags run beside the reads: for the headers, whose failure means that nothing was sent, for the
 * request, and for the status, which comes last. */
#include <assert.h>
#include <stdlib.h>

#include "common/base/memory.h"
#include "common/rpc/rpc_internal.h"

struct rpc_client_stream {
    struct client_exchange exchange;
    const ProtobufCMessageDescriptor *type;
    struct rpc_tag headers, opened, read, ended;

    struct mutex lock; /* rank 935 */
    struct condition changed;
    unsigned outstanding; /* tags; under lock, as the rest */
    bool reading;
    bool headers_done;
    bool has_status;
    bool no_more;              /* the last message has been read */
    grpc_byte_buffer *arrived; /* read and not taken yet */

    grpc_byte_buffer *target; /* gRPC's, while reading */
    struct error broken;      /* the reader's: why nothing more can be read */
};

static void tag_done_locked(struct rpc_client_stream *stream)
{
    stream->outstanding--;
    condition_broadcast(&stream->changed);
}

static void on_headers(struct rpc_tag *tag, bool ok)
{
    struct rpc_client_stream *stream = CONTAINER_OF(tag, struct rpc_client_stream, headers);
    mutex_lock(&stream->lock);
    stream->exchange.never_sent = !ok;
    stream->headers_done = true;
    tag_done_locked(stream);
    mutex_unlock(&stream->lock);
}

static void on_opened(struct rpc_tag *tag, bool ok)
{
    (void)ok; /* the status tells */
    struct rpc_client_stream *stream = CONTAINER_OF(tag, struct rpc_client_stream, opened);
    mutex_lock(&stream->lock);
    tag_done_locked(stream);
    mutex_unlock(&stream->lock);
}

static void on_read(struct rpc_tag *tag, bool ok)
{
    struct rpc_client_stream *stream = CONTAINER_OF(tag, struct rpc_client_stream, read);
    mutex_lock(&stream->lock);
    stream->reading = false;
    stream->arrived = stream->target;
    stream->target = NULL;
    if (!ok || !stream->arrived)
        stream->no_more = true;
    tag_done_locked(stream);
    mutex_unlock(&stream->lock);
}

static void on_ended(struct rpc_tag *tag, bool ok)
{
    (void)ok;
    struct rpc_client_stream *stream = CONTAINER_OF(tag, struct rpc_client_stream, ended);
    mutex_lock(&stream->lock);
    stream->has_status = true;
    tag_done_locked(stream);
    mutex_unlock(&stream->lock);
}

static void start_locked(struct rpc_client_stream *stream, const grpc_op *ops, size_t n, struct rpc_tag *tag,
                         void (*done)(struct rpc_tag *tag, bool ok))
{
    stream->outstanding++;
    tag_arm(tag, done);
    if (grpc_call_start_batch(stream->exchange.call, ops, n, tag, NULL) != GRPC_CALL_OK)
        abort(); /* the operations are ours alone */
}

static void start_read_locked(struct rpc_client_stream *stream)
{
    stream->reading = true;
    grpc_op op = { .op = GRPC_OP_RECV_MESSAGE };
    op.data.recv_message.recv_message = &stream->target;
    start_locked(stream, &op, 1, &stream->read, on_read);
}

bool rpc_client_stream_open(struct rpc_client *client, const char *method, const ProtobufCMessage *request,
                            const ProtobufCMessageDescriptor *response_type, const struct rpc_call_options *options,
                            struct rpc_client_stream **stream, struct error *err)
{
    grpc_slice encoded;
    if (!codec_pack(request, &encoded, err)) {
        if (err)
            err->outcome = OUTCOME_NOT_APPLIED;
        return false;
    }
    struct rpc_client_stream *made = mem_zalloc(sizeof *made);
    made->type = response_type;
    mutex_init(&made->lock, RANK_RPC_CLIENT_STREAM);
    condition_init(&made->changed);
    exchange_init_take(&made->exchange, client, method, encoded, options);

    grpc_op headers = exchange_headers_op(&made->exchange, true);
    grpc_op ops[3];
    size_t n = exchange_request_ops(&made->exchange, ops);
    grpc_op status = exchange_status_op(&made->exchange);
    mutex_lock(&made->lock);
    start_locked(made, &status, 1, &made->ended, on_ended);
    start_locked(made, &headers, 1, &made->headers, on_headers);
    start_locked(made, ops, n, &made->opened, on_opened);
    start_read_locked(made);
    mutex_unlock(&made->lock);
    *stream = made;
    return true;
}

static bool end_of_stream(struct rpc_client_stream *stream, ProtobufCMessage **message, struct error *err)
{
    struct error failure;
    if (!exchange_result(&stream->exchange, &failure)) {
        if (err)
            *err = failure;
        return false;
    }
    *message = NULL;
    return true;
}

bool rpc_client_stream_next(struct rpc_client_stream *stream, struct arena *arena, ProtobufCMessage **message, struct error *err)
{
    if (stream->broken.code != ERROR_OK) {
        if (err)
            *err = stream->broken;
        return false;
    }
    mutex_lock(&stream->lock);
    while (!stream->arrived && !(stream->no_more && stream->has_status && stream->headers_done))
        condition_wait(&stream->changed, &stream->lock);
    grpc_byte_buffer *buffer = stream->arrived;
    stream->arrived = NULL;
    if (buffer && !stream->no_more)
        start_read_locked(stream);
    mutex_unlock(&stream->lock);
    if (!buffer)
        return end_of_stream(stream, message, err);
    bool ok = codec_unpack(buffer, stream->type, arena, message, &stream->broken);
    grpc_byte_buffer_destroy(buffer);
    if (ok)
        return true;
    if (stream->broken.code == ERROR_INVALID_ARGUMENT) /* not the caller's fault */
        stream->broken.code = ERROR_INTERNAL;
    if (err)
        *err = stream->broken;
    return false;
}

void rpc_client_stream_close(struct rpc_client_stream *stream)
{
    if (!stream)
        return;
    grpc_call_cancel(stream->exchange.call, NULL); /* does nothing to a call that has ended */
    mutex_lock(&stream->lock);
    while (stream->outstanding > 0)
        condition_wait(&stream->changed, &stream->lock);
    mutex_unlock(&stream->lock);
    if (stream->arrived)
        grpc_byte_buffer_destroy(stream->arrived);
    exchange_destroy(&stream->exchange);
    mutex_destroy(&stream->lock);
    condition_destroy(&stream->changed);
    free(stream);
}
