/* Large requests, read when there is memory for them.
 *
 * gRPC reads the request of a call by itself, and keeps it, however many come. For a method with large requests
 * (rpc.h) it leaves that to us: until such a call is read, its connection takes 64 KiB of it, and the client waits.
 * So the budget of the server bounds how many are read and worked on at a time:
 *
 *   arrived --> WAITING --> READING, charged the largest message --> READ, charged its n bytes
 *                                                                 --> handler, charged RPC_REQUEST_COPIES * n
 *
 * The copies are the message itself, the unpacked one and what the handler makes of it. How large a request is shows
 * when it is there, and reading cannot be taken back; so calls are READING or READ only as far as one of them can still
 * go on to its handler when nothing else runs.
 *
 * Small calls pass by large ones. A client that knows better says that its request is large (RPC_LARGE_HEADER), and
 * waits behind those that did not. The last place to read is for such a one that has just arrived: what a client sent
 * in one piece is there at once, so a small call gives its place back at once. Of those that wait the newest goes first.
 *
 * Whoever waits longer than request_wait_micros is refused, not applied; and so is, while calls wait, whose request
 * takes longer than that to arrive.
 *
 * Threads  the poller only. Memory is given back by any thread, before the poller sees the end of the call. */
#include <assert.h>
#include <stdlib.h>

#include "common/base/clock.h"
#include "common/rpc/rpc_internal.h"

/* ---- lists: newest first ---------------------------------------------------------------------------- */

static void push(struct rpc_call **list, struct rpc_call *call)
{
    call->other = *list;
    call->link = list;
    if (call->other)
        call->other->link = &call->other;
    *list = call;
}

static void unlink_call(struct rpc_call *call)
{
    *call->link = call->other;
    if (call->other)
        call->other->link = call->link;
    call->link = NULL;
}

/* ---- room ------------------------------------------------------------------------------------------- */

static bool fits(struct rpc_server *server, size_t more)
{
    size_t bytes = atomic_load(&server->bytes), limit = server->options.max_request_bytes;
    return bytes <= limit && more <= limit - bytes;
}

/* `places` of the largest message are free to read into. */
static bool may_read(struct rpc_server *server, size_t places)
{
    size_t largest = server->options.max_message_bytes, limit = server->options.max_request_bytes;
    return server->reads.held + (places + RPC_REQUEST_COPIES) * largest <= limit && fits(server, places * largest);
}

/* A large one leaves room for a small one to arrive. */
static bool may_work(struct rpc_server *server, size_t bytes)
{
    return fits(server, (RPC_REQUEST_COPIES - 1) * bytes + (bytes > RPC_SMALL_REQUEST ? server->options.max_message_bytes : 0));
}

static void charge(struct rpc_call *call, size_t bytes)
{
    /* unsigned, so that less is added too */
    atomic_fetch_add(&call->server->bytes, bytes - call->charged);
    call->charged = bytes;
}

static void hold(struct rpc_call *call, size_t bytes)
{
    call->server->reads.held += bytes - call->charged;
    charge(call, bytes);
}

/* ---- the way of a call ------------------------------------------------------------------------------ */

static void refuse(struct rpc_call *call, enum error_code code, const char *why)
{
    struct error err;
    error_set(&err, code, "%s", why);
    err.outcome = OUTCOME_NOT_APPLIED;
    rpc_fail(call, &err);
}

static void on_read(struct rpc_tag *tag, bool ok)
{
    struct rpc_call *call = CONTAINER_OF(tag, struct rpc_call, received);
    struct rpc_server *server = call->server;
    if (!atomic_load(&call->ended)) { /* else it was refused while it was read */
        bool came = ok && call->payload;
        unlink_call(call);
        hold(call, came ? grpc_byte_buffer_length(call->payload) : 0);
        if (came)
            push(&server->reads.read, call);
        else
            refuse(call, ERROR_INVALID_ARGUMENT, "the call has no request");
    }
    call_unref(call);
    reads_go_on(server);
}

static void start_read(struct rpc_call *call)
{
    struct reads *reads = &call->server->reads;
    hold(call, call->server->options.max_message_bytes);
    call->waits_since = reads->now;
    push(&reads->reading, call);
    grpc_op op = { .op = GRPC_OP_RECV_MESSAGE };
    op.data.recv_message.recv_message = &call->payload;
    call_ref(call);
    tag_arm(&call->received, on_read);
    if (grpc_call_start_batch(call->call, &op, 1, &call->received, NULL) != GRPC_CALL_OK)
        abort();
}

void reads_go_on(struct rpc_server *server)
{
    struct reads *reads = &server->reads;
    while (reads->read && may_work(server, reads->read->charged)) {
        struct rpc_call *call = reads->read;
        unlink_call(call);
        reads->held -= call->charged;
        charge(call, RPC_REQUEST_COPIES * call->charged);
        call_dispatch(call);
    }
    for (struct rpc_call *call; (call = reads->waiting ? reads->waiting : reads->waiting_large) && may_read(server, 2);) {
        unlink_call(call);
        start_read(call);
    }
}

void reads_enter(struct rpc_call *call)
{
    struct reads *reads = &call->server->reads;
    bool large = metadata_find(&call->metadata, RPC_LARGE_HEADER);
    call->waits_since = reads->now;
    if (may_read(call->server, large ? 2 : 1))
        start_read(call);
    else
        push(large ? &reads->waiting_large : &reads->waiting, call);
}

/* ---- patience --------------------------------------------------------------------------------------- */

static void refuse_old(struct rpc_call *list, int64_t since, const char *why)
{
    for (struct rpc_call *call = list, *next; call; call = next) {
        next = call->other;
        if (call->waits_since > since)
            continue;
        unlink_call(call);
        call->server->reads.held -= call->charged;
        refuse(call, ERROR_RESOURCE_EXHAUSTED, why);
    }
}

void reads_tick(struct rpc_server *server)
{
    struct reads *reads = &server->reads;
    reads->now = clock_monotonic_micros();
    int64_t since = reads->now - server->options.request_wait_micros;
    static const char no_room[] = "the requests in flight left no room for this one";
    if (reads->waiting || reads->waiting_large)
        refuse_old(reads->reading, since, "the request took too long to arrive while others waited");
    refuse_old(reads->read, since, no_room);
    refuse_old(reads->waiting, since, no_room);
    refuse_old(reads->waiting_large, since, no_room);
    reads_go_on(server);
}
