/* A stream, read message by message; a bidirectional one is also written so.
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
    struct rpc_tag headers, opened, read, ended, sent;

    struct mutex lock; /* rank 935 */
    struct condition changed;
    unsigned outstanding; /* tags; under lock, as the rest */
    bool reading;
    bool headers_done;
    bool has_status;
    bool no_more;              /* the last message has been read */
    grpc_byte_buffer *arrived; /* read and not taken yet */
    bool sending, send_failed;
    void (*ready)(void *ctx);
    void *ready_ctx;

    grpc_byte_buffer *target; /* gRPC's, while reading */
    struct error broken;      /* the reader's: why nothing more can be read */
};

static bool has_ended_locked(const struct rpc_client_stream *stream)
{
    return stream->no_more && stream->has_status && stream->headers_done;
}

/* The tag's own flags are set already. `ready` runs before the tag counts as done, so that close waits for it. */
static void tag_done_locked(struct rpc_client_stream *stream)
{
    void (*ready)(void *ctx) = stream->arrived || has_ended_locked(stream) ? stream->ready : NULL;
    if (ready) {
        mutex_unlock(&stream->lock);
        ready(stream->ready_ctx);
        mutex_lock(&stream->lock);
    }
    stream->outstanding--;
    condition_broadcast(&stream->changed);
}

static void on_headers(struct rpc_tag *tag, bool ok)
{
    struct rpc_client_stream *stream = CONTAINER_OF(tag, struct rpc_client_stream, headers);
    mutex_lock(&stream->lock);
    stream->exchange.never_sent = !ok;
    stream->headers_done = true;
    condition_broadcast(&stream->changed);
    tag_done_locked(stream);
    mutex_unlock(&stream->lock);
}

static void on_opened(struct rpc_tag *tag, bool ok)
{
    (void)ok; /* the status tells */
    struct rpc_client_stream *stream = CONTAINER_OF(tag, struct rpc_client_stream, opened);
    mutex_lock(&stream->lock);
    stream->outstanding--;
    condition_broadcast(&stream->changed);
    mutex_unlock(&stream->lock);
}

static void on_sent(struct rpc_tag *tag, bool ok)
{
    struct rpc_client_stream *stream = CONTAINER_OF(tag, struct rpc_client_stream, sent);
    mutex_lock(&stream->lock);
    stream->sending = false;
    stream->send_failed = !ok;
    stream->outstanding--;
    condition_broadcast(&stream->changed);
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
    condition_broadcast(&stream->changed);
    tag_done_locked(stream);
    mutex_unlock(&stream->lock);
}

static void on_ended(struct rpc_tag *tag, bool ok)
{
    (void)ok;
    struct rpc_client_stream *stream = CONTAINER_OF(tag, struct rpc_client_stream, ended);
    mutex_lock(&stream->lock);
    stream->has_status = true;
    condition_broadcast(&stream->changed);
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

static struct rpc_client_stream *stream_new_take(struct rpc_client *client, const char *method, grpc_slice encoded,
                                                 const ProtobufCMessageDescriptor *response_type, const struct rpc_call_options *options)
{
    struct rpc_client_stream *made = mem_zalloc(sizeof *made);
    made->type = response_type;
    mutex_init(&made->lock, RANK_RPC_CLIENT_STREAM);
    condition_init(&made->changed);
    exchange_init_take(&made->exchange, client, method, encoded, options);
    return made;
}

/* ops: what goes with the headers. */
static void start(struct rpc_client_stream *stream, const grpc_op *ops, size_t n)
{
    grpc_op headers = exchange_headers_op(&stream->exchange, true);
    grpc_op status = exchange_status_op(&stream->exchange);
    mutex_lock(&stream->lock);
    start_locked(stream, &status, 1, &stream->ended, on_ended);
    start_locked(stream, &headers, 1, &stream->headers, on_headers);
    start_locked(stream, ops, n, &stream->opened, on_opened);
    start_read_locked(stream);
    mutex_unlock(&stream->lock);
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
    grpc_op ops[3];
    *stream = stream_new_take(client, method, encoded, response_type, options);
    start(*stream, ops, exchange_request_ops(&(*stream)->exchange, ops));
    return true;
}

bool rpc_client_bidi_open(struct rpc_client *client, const char *method, const ProtobufCMessageDescriptor *response_type,
                          const struct rpc_call_options *options, struct rpc_client_stream **stream, struct error *err)
{
    (void)err; /* as the other, which can fail */
    grpc_op ops[3];
    *stream = stream_new_take(client, method, grpc_empty_slice(), response_type, options);
    size_t n = exchange_request_ops(&(*stream)->exchange, ops);
    start(*stream, &ops[n - 1], 1); /* the server's headers; messages and the end are sent later */
    return true;
}

static bool send_op(struct rpc_client_stream *stream, const grpc_op *op)
{
    mutex_lock(&stream->lock);
    bool ok = !stream->send_failed;
    if (ok) {
        stream->sending = true;
        start_locked(stream, op, 1, &stream->sent, on_sent);
    }
    while (stream->sending)
        condition_wait(&stream->changed, &stream->lock);
    ok = ok && !stream->send_failed;
    mutex_unlock(&stream->lock);
    return ok;
}

bool rpc_client_stream_send(struct rpc_client_stream *stream, const ProtobufCMessage *message, struct error *err)
{
    grpc_slice encoded;
    if (!codec_pack(message, &encoded, err))
        return false;
    grpc_byte_buffer *buffer = codec_buffer_take(encoded);
    grpc_op op = { .op = GRPC_OP_SEND_MESSAGE };
    op.data.send_message.send_message = buffer;
    bool ok = send_op(stream, &op);
    grpc_byte_buffer_destroy(buffer);
    return ok || error_set(err, ERROR_UNAVAILABLE, "the stream is over: its status is behind the last message");
}

void rpc_client_stream_send_end(struct rpc_client_stream *stream)
{
    grpc_op op = { .op = GRPC_OP_SEND_CLOSE_FROM_CLIENT };
    (void)send_op(stream, &op); /* when it fails the stream is over, which next tells */
}

void rpc_client_stream_notify(struct rpc_client_stream *stream, void (*ready)(void *ctx), void *ctx)
{
    mutex_lock(&stream->lock);
    stream->ready = ready;
    stream->ready_ctx = ctx;
    bool now = stream->arrived || has_ended_locked(stream);
    mutex_unlock(&stream->lock);
    if (now)
        ready(ctx);
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

static bool take_next(struct rpc_client_stream *stream, bool wait, struct arena *arena, bool *arrived, ProtobufCMessage **message,
                      struct error *err)
{
    if (stream->broken.code != ERROR_OK) {
        if (err)
            *err = stream->broken;
        return false;
    }
    mutex_lock(&stream->lock);
    while (wait && !stream->arrived && !has_ended_locked(stream))
        condition_wait(&stream->changed, &stream->lock);
    grpc_byte_buffer *buffer = stream->arrived;
    *arrived = buffer || has_ended_locked(stream);
    stream->arrived = NULL;
    if (buffer && !stream->no_more)
        start_read_locked(stream);
    mutex_unlock(&stream->lock);
    if (!*arrived)
        return true;
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

bool rpc_client_stream_next(struct rpc_client_stream *stream, struct arena *arena, ProtobufCMessage **message, struct error *err)
{
    bool arrived;
    return take_next(stream, true, arena, &arrived, message, err);
}

bool rpc_client_stream_try_next(struct rpc_client_stream *stream, struct arena *arena, bool *arrived, ProtobufCMessage **message,
                                struct error *err)
{
    return take_next(stream, false, arena, arrived, message, err);
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
