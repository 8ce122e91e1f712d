/* A stream, read message by message; a bidirectional one is written, too.
 *
 * At most one message is read ahead of the caller: a read is started when the message before it is taken.
 * Three tags run beside the reads: for the headers, whose failure means that nothing was sent, for the
 * request, and for the status, which comes last.
 *
 * `ready` runs before its tag is counted as done, which is what close waits for: none runs after close. */
#include <assert.h>
#include <stdlib.h>

#include "common/base/clock.h"
#include "common/base/memory.h"
#include "common/rpc/rpc_internal.h"

struct rpc_client_stream {
    struct client_exchange exchange;
    const ProtobufCMessageDescriptor *type;
    struct rpc_tag headers, opened, read, ended, poked, sent;

    struct mutex lock; /* rank 935 */
    struct condition changed;
    unsigned outstanding; /* tags; under lock, as the rest */
    bool reading;
    bool headers_done;
    bool has_status;
    bool no_more;              /* the last message has been read */
    grpc_byte_buffer *arrived; /* read and not taken yet */

    void (*ready)(void *ctx); /* NULL: nobody wants to know */
    void *ready_ctx;
    bool poking;

    bool sending; /* bidirectional */
    bool send_failed;
    bool send_ended;
    grpc_byte_buffer *message; /* in flight while sending */

    grpc_byte_buffer *target; /* gRPC's, while reading */
    struct error broken;      /* the reader's: why nothing more can be read */
};

static bool at_end_locked(const struct rpc_client_stream *stream)
{
    return stream->no_more && stream->has_status && stream->headers_done;
}

/* Takes the lock, which its caller has taken, from it. */
static void tag_done_unlock(struct rpc_client_stream *stream)
{
    void (*ready)(void *ctx) = stream->arrived || at_end_locked(stream) ? stream->ready : NULL;
    void *ctx = stream->ready_ctx;
    condition_broadcast(&stream->changed);
    if (ready) {
        mutex_unlock(&stream->lock);
        ready(ctx);
        mutex_lock(&stream->lock);
    }
    stream->outstanding--;
    condition_broadcast(&stream->changed);
    mutex_unlock(&stream->lock);
}

static void on_headers(struct rpc_tag *tag, bool ok)
{
    struct rpc_client_stream *stream = CONTAINER_OF(tag, struct rpc_client_stream, headers);
    mutex_lock(&stream->lock);
    stream->exchange.never_sent = !ok;
    stream->headers_done = true;
    tag_done_unlock(stream);
}

static void on_opened(struct rpc_tag *tag, bool ok)
{
    (void)ok; /* the status tells */
    struct rpc_client_stream *stream = CONTAINER_OF(tag, struct rpc_client_stream, opened);
    mutex_lock(&stream->lock);
    tag_done_unlock(stream);
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
    tag_done_unlock(stream);
}

static void on_ended(struct rpc_tag *tag, bool ok)
{
    (void)ok;
    struct rpc_client_stream *stream = CONTAINER_OF(tag, struct rpc_client_stream, ended);
    mutex_lock(&stream->lock);
    stream->has_status = true;
    tag_done_unlock(stream);
}

static void on_poked(struct rpc_tag *tag, bool ok)
{
    (void)ok;
    struct rpc_client_stream *stream = CONTAINER_OF(tag, struct rpc_client_stream, poked);
    mutex_lock(&stream->lock);
    stream->poking = false;
    tag_done_unlock(stream);
}

static void on_sent(struct rpc_tag *tag, bool ok)
{
    struct rpc_client_stream *stream = CONTAINER_OF(tag, struct rpc_client_stream, sent);
    mutex_lock(&stream->lock);
    stream->sending = false;
    if (stream->message)
        grpc_byte_buffer_destroy(stream->message);
    stream->message = NULL;
    stream->send_failed = stream->send_failed || !ok;
    tag_done_unlock(stream);
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
    struct rpc_client_stream *made = stream_new_take(client, method, encoded, response_type, options);
    grpc_op ops[3];
    size_t n = exchange_request_ops(&made->exchange, ops);
    start(made, ops, n);
    *stream = made;
    return true;
}

bool rpc_client_bidi_open(struct rpc_client *client, const char *method, const ProtobufCMessageDescriptor *response_type,
                          const struct rpc_call_options *options, struct rpc_client_stream **stream, struct error *err)
{
    (void)err; /* what fails, fails when it is read */
    struct rpc_client_stream *made = stream_new_take(client, method, grpc_empty_slice(), response_type, options);
    grpc_op op = { .op = GRPC_OP_RECV_INITIAL_METADATA };
    op.data.recv_initial_metadata.recv_initial_metadata = &made->exchange.initial;
    start(made, &op, 1);
    *stream = made;
    return true;
}

bool rpc_client_stream_send(struct rpc_client_stream *stream, const ProtobufCMessage *message, struct error *err)
{
    grpc_slice encoded;
    if (!codec_pack(message, &encoded, err))
        return false;
    mutex_lock(&stream->lock);
    assert(!stream->send_ended && !stream->sending);
    bool ok = !stream->send_failed && !stream->has_status;
    if (ok) {
        stream->sending = true;
        stream->message = codec_buffer_take(encoded);
        grpc_op op = { .op = GRPC_OP_SEND_MESSAGE };
        op.data.send_message.send_message = stream->message;
        start_locked(stream, &op, 1, &stream->sent, on_sent);
        while (stream->sending)
            condition_wait(&stream->changed, &stream->lock);
        ok = !stream->send_failed;
    } else {
        grpc_slice_unref(encoded);
    }
    mutex_unlock(&stream->lock);
    return ok || error_set(err, ERROR_CANCELLED, "the stream is over; reading it tells why");
}

void rpc_client_stream_send_end(struct rpc_client_stream *stream)
{
    mutex_lock(&stream->lock);
    if (!stream->send_ended) {
        stream->send_ended = true;
        grpc_op op = { .op = GRPC_OP_SEND_CLOSE_FROM_CLIENT };
        start_locked(stream, &op, 1, &stream->sent, on_sent);
    }
    mutex_unlock(&stream->lock);
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

static bool take(struct rpc_client_stream *stream, int64_t until, struct arena *arena, bool *arrived, ProtobufCMessage **message,
                 struct error *err)
{
    *arrived = false;
    if (stream->broken.code != ERROR_OK) {
        if (err)
            *err = stream->broken;
        return false;
    }
    mutex_lock(&stream->lock);
    for (bool in_time = until > 0; in_time && !stream->arrived && !at_end_locked(stream);)
        in_time = condition_wait_until(&stream->changed, &stream->lock, until);
    grpc_byte_buffer *buffer = stream->arrived;
    *arrived = buffer || at_end_locked(stream);
    stream->arrived = NULL;
    if (buffer && !stream->no_more)
        start_read_locked(stream);
    mutex_unlock(&stream->lock);
    if (!buffer)
        return !*arrived || end_of_stream(stream, message, err);
    bool ok = codec_unpack_take(buffer, stream->type, arena, message, &stream->broken);
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
    return take(stream, NO_DEADLINE, arena, &arrived, message, err);
}

bool rpc_client_stream_next_until(struct rpc_client_stream *stream, int64_t until, struct arena *arena, bool *arrived,
                                  ProtobufCMessage **message, struct error *err)
{
    return take(stream, until, arena, arrived, message, err);
}

bool rpc_client_stream_try_next(struct rpc_client_stream *stream, struct arena *arena, bool *arrived, ProtobufCMessage **message,
                                struct error *err)
{
    return take(stream, 0, arena, arrived, message, err);
}

void rpc_client_stream_notify(struct rpc_client_stream *stream, void (*ready)(void *ctx), void *ctx)
{
    mutex_lock(&stream->lock);
    stream->ready = ready;
    stream->ready_ctx = ctx;
    if (!stream->poking && (stream->arrived || at_end_locked(stream))) {
        stream->poking = true;
        start_locked(stream, NULL, 0, &stream->poked, on_poked);
    }
    mutex_unlock(&stream->lock);
}

void rpc_client_stream_close(struct rpc_client_stream *stream)
{
    if (!stream)
        return;
    grpc_call_cancel(stream->exchange.call, NULL); /* does nothing to a call that has ended */
    mutex_lock(&stream->lock);
    stream->ready = NULL;
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
