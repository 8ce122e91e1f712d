/* One call on the server, from the request posted for it to its last tag; see struct rpc_call. */
#include <assert.h>
#include <stdlib.h>

#include "common/base/caller.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/memory.h"
#include "common/rpc/rpc_internal.h"

/* A request of n bytes may take so many times that in memory, with everything its handler takes. */
enum { ARENA_PER_MESSAGE = 4 };

/* The server whose queue this thread polls: a call that ends here needs no wake-up. */
static _Thread_local const struct rpc_server *polled_here;

static void on_arrived(struct rpc_tag *tag, bool ok);
static void on_woken(struct rpc_tag *tag, bool ok);
static void on_poked(struct rpc_tag *tag, bool ok);
static void on_closed(struct rpc_tag *tag, bool ok);
static void on_finished(struct rpc_tag *tag, bool ok);

void call_poller_enter(struct rpc_server *server)
{
    polled_here = server;
}

void call_ref(struct rpc_call *call)
{
    atomic_fetch_add_explicit(&call->references, 1, memory_order_relaxed);
}

static void release_request(struct rpc_call *call)
{
    arena_destroy(&call->arena);
    call->request = NULL;
    if (call->payload)
        grpc_byte_buffer_destroy(call->payload);
    call->payload = NULL;
    if (call->charged)
        server_uncharge(call->server, call->charged);
    call->charged = 0;
}

void call_unref(struct rpc_call *call)
{
    if (atomic_fetch_sub_explicit(&call->references, 1, memory_order_acq_rel) != 1)
        return;
    struct rpc_server *server = call->server;
    bool admitted = call->admitted;
    if (call->events)
        call->events->freed(call->events_ctx);
    release_request(call);
    if (call->call)
        grpc_call_unref(call->call);
    grpc_call_details_destroy(&call->details);
    grpc_metadata_array_destroy(&call->metadata);
    grpc_slice_unref(call->status_text);
    if (call->response)
        grpc_byte_buffer_destroy(call->response);
    metadata_release(call->trailers, call->n_trailers);
    if (call->incoming)
        grpc_byte_buffer_destroy(call->incoming);
    if (call->is_stream) {
        mutex_destroy(&call->lock);
        condition_destroy(&call->changed);
    }
    free(call);
    server_call_freed(server, admitted); /* last: the server may go once its counters are zero */
}

bool call_post(struct rpc_server *server, const struct method_slot *slot)
{
    struct rpc_call *call = mem_zalloc(sizeof *call);
    call->server = server;
    call->slot = slot;
    atomic_init(&call->references, 1);
    grpc_call_details_init(&call->details);
    grpc_metadata_array_init(&call->metadata);
    arena_init(&call->arena, ARENA_PER_MESSAGE * server->options.max_message_bytes);
    call->status_text = grpc_empty_slice();
    call->is_stream = slot && slot->method->kind != RPC_KIND_UNARY;
    call->is_bidi = slot && slot->method->kind == RPC_KIND_BIDI_STREAM;
    if (call->is_stream) {
        mutex_init(&call->lock, RANK_RPC_CALL);
        condition_init(&call->changed);
    }
    atomic_fetch_add(&server->live, 1);
    tag_arm(&call->arrived, on_arrived);
    grpc_call_error error = slot
                                ? grpc_server_request_registered_call(server->server, slot->handle, &call->call, &call->grpc_deadline,
                                                                      &call->metadata, slot->reads || call->is_bidi ? NULL : &call->payload,
                                                                      server->queue, server->queue, &call->arrived)
                                : grpc_server_request_call(server->server, &call->call, &call->details, &call->metadata, server->queue,
                                                           server->queue, &call->arrived);
    if (error != GRPC_CALL_OK)
        call_unref(call);
    return error == GRPC_CALL_OK;
}

static void on_arrived(struct rpc_tag *tag, bool ok)
{
    struct rpc_call *call = CONTAINER_OF(tag, struct rpc_call, arrived);
    if (!ok) { /* the server shuts down: there is no call, and nothing to post again */
        call_unref(call);
        return;
    }
    (void)call_post(call->server, call->slot);
    call->deadline = deadline_from_timespec(call->slot ? call->grpc_deadline : call->details.deadline);
    call->arrived_at = clock_monotonic_micros();
    const grpc_metadata *trace = metadata_find(&call->metadata, RPC_TRACE_HEADER);
    if (trace)
        trace_parse(&call->trace, (const char *)GRPC_SLICE_START_PTR(trace->value), GRPC_SLICE_LENGTH(trace->value));
    call_arrived(call); /* the handler's reference: gone with the end of the call */
}

bool call_unpack(struct rpc_call *call, struct error *err)
{
    grpc_byte_buffer *payload = call->payload;
    call->payload = NULL;
    if (!codec_unpack_take(payload, call->slot->request_type, &call->arena, &call->request, err))
        return false;
    if (call->arena.total > call->charged && !call->slot->exempt) {
        /* what is held now is the message in memory */
        size_t grown = call->arena.total - call->charged;
        if (!server_charge(call->server, grown))
            return error_set(err, ERROR_RESOURCE_EXHAUSTED, "the requests in flight are at the limit of %zu bytes",
                             call->server->options.max_request_bytes);
        call->charged += grown;
    }
    return true;
}

void call_watch_close(struct rpc_call *call)
{
    call->close_requested = true;
    call_ref(call);
    grpc_op op = { .op = GRPC_OP_RECV_CLOSE_ON_SERVER };
    op.data.recv_close_on_server.cancelled = &call->close_cancelled;
    tag_arm(&call->closed, on_closed);
    if (grpc_call_start_batch(call->call, &op, 1, &call->closed, NULL) != GRPC_CALL_OK)
        abort();
}

static void mark_cancelled(struct rpc_call *call)
{
    atomic_store(&call->cancelled, true);
    if (call->is_stream)
        stream_over(call);
}

static void on_closed(struct rpc_tag *tag, bool ok)
{
    (void)ok;
    struct rpc_call *call = CONTAINER_OF(tag, struct rpc_call, closed);
    if (call->close_cancelled) {
        mark_cancelled(call);
        if (call->events)
            call->events->closed(call);
    }
    call_unref(call);
}

/* ---- the end ---------------------------------------------------------------------------------------- */

static void finish(struct rpc_call *call)
{
    grpc_op ops[4] = { 0 };
    size_t n = 0;
    if (!call->initial_sent)
        ops[n++] = (grpc_op) { .op = GRPC_OP_SEND_INITIAL_METADATA };
    if (call->response) {
        ops[n].op = GRPC_OP_SEND_MESSAGE;
        ops[n++].data.send_message.send_message = call->response;
    }
    if (!call->close_requested) {
        call->close_requested = true;
        ops[n].op = GRPC_OP_RECV_CLOSE_ON_SERVER;
        ops[n++].data.recv_close_on_server.cancelled = &call->close_cancelled;
    }
    ops[n].op = GRPC_OP_SEND_STATUS_FROM_SERVER;
    ops[n].data.send_status_from_server.status = (grpc_status_code)call->status;
    ops[n].data.send_status_from_server.status_details = &call->status_text;
    ops[n].data.send_status_from_server.trailing_metadata = call->trailers; /* lives until the tag */
    ops[n].data.send_status_from_server.trailing_metadata_count = call->n_trailers;
    n++;
    call->finishing = true;
    call_ref(call);
    tag_arm(&call->finished, on_finished);
    if (grpc_call_start_batch(call->call, ops, n, &call->finished, NULL) != GRPC_CALL_OK)
        abort(); /* the operations of a batch are ours alone: this is a bug, and going on would leak the call */
}

/* The status goes out behind the last message, once the transport has taken that. */
void call_finish_when_idle(struct rpc_call *call)
{
    if (!call->end_seen || call->finishing)
        return;
    bool sending = false;
    if (call->is_stream) {
        mutex_lock(&call->lock);
        sending = call->sending;
        mutex_unlock(&call->lock);
    }
    if (!sending)
        finish(call);
}

static void see_end(struct rpc_call *call)
{
    call->end_seen = true;
    call_measure(call);
    call_finish_when_idle(call);
    call_unref(call); /* the handler's */
}

/* A call that ends elsewhere goes on a list, and wakes the poller when that was empty: a group that ends together
 * costs one event. Only that event takes the list, so the call that carries it is still there. */
static void hand_over(struct rpc_call *call)
{
    struct rpc_server *server = call->server;
    struct rpc_call *before = atomic_load_explicit(&server->ended, memory_order_relaxed);
    do
        call->next = before;
    while (!atomic_compare_exchange_weak_explicit(&server->ended, &before, call, memory_order_release, memory_order_relaxed));
    if (before)
        return;
    tag_arm(&call->woken, on_woken);
    if (grpc_call_start_batch(call->call, NULL, 0, &call->woken, NULL) != GRPC_CALL_OK)
        abort();
}

static void on_woken(struct rpc_tag *tag, bool ok)
{
    (void)ok;
    struct rpc_server *server = CONTAINER_OF(tag, struct rpc_call, woken)->server;
    struct rpc_call *newest = atomic_exchange_explicit(&server->ended, NULL, memory_order_acquire), *ended = NULL;
    for (struct rpc_call *next; newest; newest = next) { /* who came first is answered first */
        next = newest->next;
        newest->next = ended;
        ended = newest;
    }
    for (struct rpc_call *next; ended; ended = next) {
        next = ended->next;
        see_end(ended);
    }
}

static void on_finished(struct rpc_tag *tag, bool ok)
{
    (void)ok;
    struct rpc_call *call = CONTAINER_OF(tag, struct rpc_call, finished);
    struct rpc_server *server = call->server;
    reads_go_on(server); /* before the call is counted off: the server is there as long */
    call_unref(call);
}

static void end(struct rpc_call *call)
{
    release_request(call);
    caller_set(NULL); /* who waited has his answer, and the call can go */
    bool before = atomic_exchange_explicit(&call->ended, true, memory_order_acq_rel);
    assert(!before && "a call ends once");
    (void)before;
    if (polled_here == call->server)
        see_end(call);
    else
        hand_over(call);
}

void rpc_reply(struct rpc_call *call, const ProtobufCMessage *response)
{
    struct error err;
    grpc_slice encoded;
    if (!codec_pack(response, &encoded, &err)) {
        rpc_fail(call, &err); /* outcome unknown, as it must be: the work is done */
        return;
    }
    call->response = codec_buffer_take(encoded);
    call->status = ERROR_OK;
    end(call);
}

static void add_trailer(struct rpc_call *call, grpc_metadata trailer)
{
    call->trailers = mem_realloc(call->trailers, (call->n_trailers + 1) * sizeof *call->trailers);
    call->trailers[call->n_trailers++] = trailer;
}

/* On whatever thread has the call, which may work for others as well. The text of UNKNOWN is of another server, which may
 * quote a document. */
static void log_failure(const struct rpc_call *call, const struct error *err)
{
    const char *method = call->slot ? call->slot->path : "";
    const struct trace before = *trace_current();
    trace_set(&call->trace);
    if (err->code == ERROR_UNKNOWN)
        log_warn("rpc.failed", KV_STR("method", method), KV_STR("code", error_code_name(err->code)));
    else
        log_warn("rpc.failed", KV_STR("method", method), KV_ERR(err));
    trace_set(&before);
}

/* A call that is over at its deadline is so for that, also when its client has not looked at the clock yet. */
static enum error_code status_of(const struct rpc_call *call, const struct error *err)
{
    if (err->code == ERROR_CANCELLED && call->deadline != NO_DEADLINE && clock_monotonic_micros() >= call->deadline - CALLER_SLACK_MICROS)
        return ERROR_DEADLINE_EXCEEDED;
    return err->code == ERROR_OK ? ERROR_INTERNAL : err->code;
}

void rpc_fail(struct rpc_call *call, const struct error *err)
{
    assert(err->code != ERROR_OK);
    call->status = status_of(call, err);
    call->status_text = grpc_slice_from_copied_string(err->message);
    if (err->outcome == OUTCOME_NOT_APPLIED)
        rpc_call_add_trailer(call, RPC_OUTCOME_TRAILER, RPC_OUTCOME_NOT_APPLIED);
    add_trailer(call, details_encode(call->status, err));
    if (call->status == ERROR_INTERNAL || call->status == ERROR_UNKNOWN || call->status == ERROR_DATA_LOSS)
        log_failure(call, err);
    end(call);
}

void rpc_finish(struct rpc_call *call)
{
    struct error broken = call->broken;
    if (call->is_stream && stream_is_stopped(call))
        error_set(&broken, ERROR_UNAVAILABLE, "the server is stopping");
    /* it may have stopped half-way for that: an OK could still get through, and say that this was all */
    else if (call->is_stream && broken.code == ERROR_OK && rpc_call_cancelled(call))
        error_set(&broken, ERROR_CANCELLED, "the call is over");
    if (broken.code != ERROR_OK) {
        rpc_fail(call, &broken);
        return;
    }
    call->status = ERROR_OK;
    end(call);
}

/* ---- events of a call that the poller drives --------------------------------------------------------- */

void call_poke(struct rpc_call *call)
{
    call_ref(call);
    tag_arm(&call->poked, on_poked);
    if (grpc_call_start_batch(call->call, NULL, 0, &call->poked, NULL) != GRPC_CALL_OK)
        abort();
}

static void on_poked(struct rpc_tag *tag, bool ok)
{
    (void)ok;
    struct rpc_call *call = CONTAINER_OF(tag, struct rpc_call, poked);
    call->events->poked(call);
    call_unref(call);
}

/* ---- what a handler asks ---------------------------------------------------------------------------- */

struct arena *rpc_call_arena(struct rpc_call *call)
{
    return &call->arena;
}

int64_t rpc_call_deadline(const struct rpc_call *call)
{
    return call->deadline;
}

bool rpc_call_cancelled(const struct rpc_call *call)
{
    return atomic_load(&call->cancelled) || (call->deadline != NO_DEADLINE && clock_monotonic_micros() >= call->deadline);
}

bool rpc_call_is_over(void *call)
{
    return rpc_call_cancelled(call);
}

const char *rpc_call_metadata(const struct rpc_call *call, const char *key)
{
    const grpc_metadata *found = metadata_find(&call->metadata, key);
    if (!found)
        return NULL;
    /* the arena is the call's scratch memory; asking does not change the call otherwise */
    struct arena *arena = &((struct rpc_call *)call)->arena;
    return arena_strndup(arena, (const char *)GRPC_SLICE_START_PTR(found->value), GRPC_SLICE_LENGTH(found->value));
}

void rpc_call_add_trailer(struct rpc_call *call, const char *key, const char *value)
{
    assert(grpc_header_key_is_legal(grpc_slice_from_static_string(key)) && "a lower-case header name");
    add_trailer(call, metadata_copy(key, value));
}
