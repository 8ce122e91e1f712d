/* Messages of a stream on the server, and streams that hold no thread.
 *
 * Steps. A stream runs when it wants to and is neither busy (queued for a worker, or running) nor sending:
 *
 *   PARKED --wake, end--> QUEUED --worker--> RUNNING --MORE--> taken? QUEUED again : SENDING --taken--> QUEUED
 *     ^                                         |------WAIT, not woken meanwhile--> PARKED
 *     '-- (a wake while it sends: it runs once the message is taken)      OVER --> freed
 *
 * LATER is WAIT with a wish for the end of the pauses, which the poller sees to: for all at once.
 *
 * `want` collects the wishes: a wake, MORE, the end of the pauses, the end of the call. Whoever makes "want, not busy, not sending" true,
 * under the call's lock, sets busy and pushes the call, after it has released the lock: while busy is set nobody
 * else runs it or pushes it, and the reference of the steps keeps it until the last one has returned.
 *
 * Parkable streams (in steps, or bidirectional ones, which wait for their client) are on a list of the server.
 * When the server stops, those that wait for something other than their reader are ended: UNAVAILABLE. A stream
 * that is parked later sees `draining` itself: it is set before the list is read. */
#include <assert.h>
#include <stdlib.h>

#include "common/base/clock.h"
#include "common/base/memory.h"
#include "common/rpc/rpc_internal.h"

/* ---- the list --------------------------------------------------------------------------------------- */

static void list(struct rpc_call *call)
{
    struct rpc_server *server = call->server;
    mutex_lock(&server->lock);
    call->other = server->parkable;
    call->link = &server->parkable;
    if (call->other)
        call->other->link = &call->other;
    server->parkable = call;
    mutex_unlock(&server->lock);
}

static void unlist(struct rpc_call *call)
{
    mutex_lock(&call->server->lock);
    *call->link = call->other;
    if (call->other)
        call->other->link = call->link;
    call->link = NULL;
    mutex_unlock(&call->server->lock);
}

/* ---- steps ------------------------------------------------------------------------------------------ */

/* True: the caller pushes the call once it has released the lock. */
static bool take_turn_locked(struct rpc_call *call)
{
    if (!call->steps.run || !call->steps.want || call->steps.busy || call->sending)
        return false;
    call->steps.busy = true;
    return true;
}

static void push_if(bool turn, struct rpc_call *call)
{
    if (turn)
        workers_push(&call->server->workers, call);
}

/* The poller, which has a look at its next deadline then. */
static void on_paused(struct rpc_tag *tag, bool ok)
{
    (void)ok;
    struct rpc_call *call = CONTAINER_OF(tag, struct rpc_call, paused);
    if (call->server->pauses_end == NO_DEADLINE)
        call->server->pauses_end = clock_monotonic_micros() + RPC_STEP_PAUSE_MICROS;
    mutex_lock(&call->lock);
    call->steps.telling = false;
    mutex_unlock(&call->lock);
    call_unref(call);
}

static void pause_locked(struct rpc_call *call)
{
    call->steps.later = true;
    if (call->steps.telling)
        return; /* the pause begins when that has arrived */
    call->steps.telling = true;
    call_ref(call);
    tag_arm(&call->paused, on_paused);
    if (grpc_call_start_batch(call->call, NULL, 0, &call->paused, NULL) != GRPC_CALL_OK)
        abort();
}

/* One that waits for something to send, while the server stops, waits in vain. */
static void stop_if_waiting_locked(struct rpc_call *call)
{
    if (!atomic_load(&call->server->draining) || call->steps.want)
        return;
    call->stopped = true;
    atomic_store(&call->cancelled, true);
    call->steps.want = true;
}

void stream_step(struct rpc_call *call)
{
    mutex_lock(&call->lock);
    call->steps.want = false;
    mutex_unlock(&call->lock);
    enum rpc_step next = call->steps.run(call, call->steps.ctx);
    if (next == RPC_STEP_OVER) {
        unlist(call);
        if (call->steps.freed)
            call->steps.freed(call->steps.ctx);
        call_unref(call);
        return;
    }
    mutex_lock(&call->lock);
    call->steps.busy = false;
    if (next == RPC_STEP_MORE)
        call->steps.want = true;
    if (next == RPC_STEP_LATER)
        pause_locked(call);
    stop_if_waiting_locked(call);
    bool turn = take_turn_locked(call);
    mutex_unlock(&call->lock);
    push_if(turn, call);
}

void rpc_stream_run(struct rpc_call *call, rpc_step_fn *step, void (*freed)(void *ctx), void *ctx)
{
    assert(call->is_stream && !call->steps.run);
    call_ref(call);
    list(call);
    mutex_lock(&call->lock);
    call->steps.run = step;
    call->steps.freed = freed;
    call->steps.ctx = ctx;
    if (call->sending) /* the handler's own message */
        atomic_store(&call->sending_since, clock_monotonic_micros());
    call->steps.want = true;
    bool turn = take_turn_locked(call);
    mutex_unlock(&call->lock);
    push_if(turn, call);
}

void rpc_stream_wake(struct rpc_call *call)
{
    mutex_lock(&call->lock);
    call->steps.want = true;
    bool turn = take_turn_locked(call);
    mutex_unlock(&call->lock);
    push_if(turn, call);
}

void stream_over(struct rpc_call *call)
{
    mutex_lock(&call->lock);
    call->steps.want = true;
    bool turn = take_turn_locked(call);
    condition_broadcast(&call->changed);
    mutex_unlock(&call->lock);
    push_if(turn, call);
}

bool stream_is_stopped(struct rpc_call *call)
{
    mutex_lock(&call->lock);
    bool stopped = call->stopped;
    mutex_unlock(&call->lock);
    return stopped;
}

/* The calls that are on the list now, each with a reference. */
static struct rpc_call **parkable(struct rpc_server *server, size_t *n)
{
    mutex_lock(&server->lock);
    *n = 0;
    for (struct rpc_call *call = server->parkable; call; call = call->other)
        ++*n;
    struct rpc_call **calls = mem_alloc(*n * sizeof(struct rpc_call *));
    size_t i = 0;
    for (struct rpc_call *call = server->parkable; call; call = call->other) {
        call_ref(call);
        calls[i++] = call;
    }
    mutex_unlock(&server->lock);
    return calls;
}

void streams_end_pauses(struct rpc_server *server)
{
    size_t n;
    struct rpc_call **calls = parkable(server, &n);
    for (size_t i = 0; i < n; i++) {
        mutex_lock(&calls[i]->lock);
        calls[i]->steps.want = calls[i]->steps.want || calls[i]->steps.later;
        calls[i]->steps.later = false;
        bool turn = take_turn_locked(calls[i]);
        mutex_unlock(&calls[i]->lock);
        push_if(turn, calls[i]);
        call_unref(calls[i]);
    }
    free(calls);
}

void streams_stop_parked(struct rpc_server *server)
{
    size_t n;
    struct rpc_call **calls = parkable(server, &n);
    for (size_t i = 0; i < n; i++) {
        mutex_lock(&calls[i]->lock);
        if (calls[i]->steps.run && !calls[i]->steps.busy)
            stop_if_waiting_locked(calls[i]);
        bool turn = take_turn_locked(calls[i]);
        condition_broadcast(&calls[i]->changed); /* for those that receive */
        mutex_unlock(&calls[i]->lock);
        push_if(turn, calls[i]);
        call_unref(calls[i]);
    }
    free(calls);
}

/* ---- sending ---------------------------------------------------------------------------------------- */

/* A reader that takes nothing holds a worker, or memory; at some point others are worth more. The reset comes back
 * as a cancellation, like any other end of the call. */
static void cut_off(struct rpc_call *call, const char *why)
{
    (void)grpc_call_cancel_with_status(call->call, GRPC_STATUS_RESOURCE_EXHAUSTED, why, NULL);
}

static const char took_nothing[] = "the reader took no message for too long";

void streams_cut_stalled(struct rpc_server *server)
{
    int64_t since = clock_monotonic_micros() - server->options.stall_micros;
    mutex_lock(&server->lock);
    for (struct rpc_call *call = server->parkable; call; call = call->other) {
        int64_t sending_since = atomic_load(&call->sending_since);
        if (sending_since && sending_since <= since && atomic_compare_exchange_strong(&call->sending_since, &sending_since, 0))
            cut_off(call, took_nothing);
    }
    mutex_unlock(&server->lock);
}

static void on_sent(struct rpc_tag *tag, bool ok)
{
    struct rpc_call *call = CONTAINER_OF(tag, struct rpc_call, sent);
    mutex_lock(&call->lock);
    grpc_byte_buffer_destroy(call->message);
    call->message = NULL;
    call->sending = false;
    atomic_store(&call->sending_since, 0);
    if (!ok) {
        atomic_store(&call->cancelled, true);
        call->steps.want = true;
    }
    bool turn = take_turn_locked(call);
    condition_broadcast(&call->changed);
    mutex_unlock(&call->lock);
    push_if(turn, call);
    if (call->events)
        call->events->sent(call, ok);
    call_finish_when_idle(call);
    call_unref(call);
}

static void start_send(struct rpc_call *call)
{
    grpc_op ops[2] = { 0 };
    size_t n = 0;
    if (!call->initial_sent)
        ops[n++].op = GRPC_OP_SEND_INITIAL_METADATA;
    call->initial_sent = true;
    ops[n].op = GRPC_OP_SEND_MESSAGE;
    ops[n++].data.send_message.send_message = call->message;
    call_ref(call);
    tag_arm(&call->sent, on_sent);
    if (grpc_call_start_batch(call->call, ops, n, &call->sent, NULL) != GRPC_CALL_OK)
        abort();
}

static bool send_take(struct rpc_call *call, grpc_slice encoded)
{
    const int64_t patience = call->server->options.stall_micros;
    int64_t until = patience ? clock_monotonic_micros() + patience : NO_DEADLINE;
    mutex_lock(&call->lock);
    while (call->sending && !rpc_call_cancelled(call))
        if (!condition_wait_until(&call->changed, &call->lock, until < call->deadline ? until : call->deadline) &&
            clock_monotonic_micros() >= until) {
            cut_off(call, took_nothing);
            until = NO_DEADLINE;
        }
    if (rpc_call_cancelled(call)) {
        mutex_unlock(&call->lock);
        grpc_slice_unref(encoded);
        return error_set(&call->broken, ERROR_CANCELLED, "the call is over");
    }
    call->sending = true;
    if (call->steps.run)
        atomic_store(&call->sending_since, clock_monotonic_micros());
    call->message = codec_buffer_take(encoded);
    mutex_unlock(&call->lock);
    start_send(call);
    return true;
}

bool rpc_stream_send(struct rpc_call *call, const ProtobufCMessage *message)
{
    grpc_slice encoded;
    return codec_pack(message, &encoded, &call->broken) && send_take(call, encoded);
}

bool rpc_stream_send_encoded(struct rpc_call *call, const struct bytes *parts, size_t n)
{
    grpc_slice encoded;
    return codec_join(parts, n, &encoded, &call->broken) && send_take(call, encoded);
}

void call_send_async_take(struct rpc_call *call, grpc_slice encoded)
{
    mutex_lock(&call->lock);
    assert(!call->sending);
    call->sending = true;
    call->message = codec_buffer_take(encoded);
    mutex_unlock(&call->lock);
    start_send(call);
}

/* ---- receiving -------------------------------------------------------------------------------------- */

static void on_received(struct rpc_tag *tag, bool ok)
{
    struct rpc_call *call = CONTAINER_OF(tag, struct rpc_call, received);
    mutex_lock(&call->lock);
    call->receiving = false;
    call->incoming = call->target;
    call->target = NULL;
    call->no_more = !ok || !call->incoming;
    condition_broadcast(&call->changed);
    mutex_unlock(&call->lock);
    call_unref(call);
}

static void start_receive_locked(struct rpc_call *call)
{
    call->receiving = true;
    grpc_op op = { .op = GRPC_OP_RECV_MESSAGE };
    op.data.recv_message.recv_message = &call->target;
    call_ref(call);
    tag_arm(&call->received, on_received);
    if (grpc_call_start_batch(call->call, &op, 1, &call->received, NULL) != GRPC_CALL_OK)
        abort();
}

/* False when the call is over, or the server stops. */
static bool wait_for_message_locked(struct rpc_call *call)
{
    const int64_t patience = call->server->options.stall_micros;
    int64_t until = patience ? clock_monotonic_micros() + patience : NO_DEADLINE;
    while (call->receiving && !rpc_call_cancelled(call) && !call->stopped) {
        if (atomic_load(&call->server->draining))
            call->stopped = true;
        else if (!condition_wait_until(&call->changed, &call->lock, until < call->deadline ? until : call->deadline) &&
                 clock_monotonic_micros() >= until) {
            cut_off(call, "the client sent nothing for too long");
            until = NO_DEADLINE;
        }
    }
    return !call->receiving && !rpc_call_cancelled(call);
}

bool rpc_stream_receive(struct rpc_call *call, struct arena *arena, ProtobufCMessage **message, struct error *err)
{
    assert(call->is_bidi);
    list(call); /* for as long as it waits */
    mutex_lock(&call->lock);
    if (!call->incoming && !call->no_more && !call->receiving)
        start_receive_locked(call);
    bool ok = wait_for_message_locked(call);
    bool stopped = call->stopped;
    grpc_byte_buffer *buffer = ok ? call->incoming : NULL;
    if (ok)
        call->incoming = NULL;
    mutex_unlock(&call->lock);
    unlist(call);
    if (stopped)
        return error_set(err, ERROR_UNAVAILABLE, "the server is stopping");
    if (!ok) {
        error_set(&call->broken, ERROR_CANCELLED, "the call is over");
        return error_set(err, ERROR_CANCELLED, "the call is over");
    }
    if (!buffer) {
        *message = NULL;
        return true;
    }
    return codec_unpack_take(buffer, call->slot->request_type, arena, message, err);
}
