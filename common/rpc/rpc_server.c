/* The server: method table, poller, admission, draining.
 *
 * One completion queue and one poller thread; each method has POSTED_AHEAD requests waiting for calls, and
 * a few wait for methods that nobody registered, which otherwise would hang until their deadline.
 *
 * Bounds. A call that has arrived is admitted or refused at once; requests are always posted again. (Not posting
 * would bound nothing: gRPC keeps what comes without limit.) A call is admitted when
 *
 *   - fewer than max_calls are in flight, from arrival until the last byte of the answer is taken, and
 *   - its bytes fit into max_request_bytes; they are charged until the call ends, as received at first,
 *     as unpacked when its handler starts, when the growth must fit too. A method with large requests is admitted
 *     without its bytes: those are read when there is room, and until then stay with the client (rpc_reads.c).
 *
 * Refusal is RESOURCE_EXHAUSTED with the outcome "not applied", so that whoever can wait comes back later.
 * A call that is not read costs up to 64 KiB of flow control window. What gRPC itself holds, above all requests of the
 * other methods that have arrived in part, counts against a resource quota of twice max_request_bytes and some: near
 * it gRPC narrows the flow control windows, above it streams are reset. Requests are not decompressed: a small one
 * could not be bounded. Health is exempt from these limits; watches have a limit of their own.
 *
 * Stopping. SERVING --drain--> REFUSING (health says so, new calls get UNAVAILABLE, not applied, streams that wait
 * for something to send end)
 * --no calls, or grace over--> SHUT (listeners closed, GOAWAY) --or cancelled--> no calls --> stopped.
 */
#include <assert.h>
#include <errno.h>
#include <grpc/compression.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/limits.h"
#include "common/base/memory.h"
#include "common/rpc/rpc_internal.h"

enum {
    POSTED_AHEAD = 16,
    POSTED_UNKNOWN = 4,
    MIN_PING_INTERVAL_MS = 5000, /* clients ping every 30 s (rpc_client.c); others may be more eager */
    KEEPALIVE_TIMEOUT_MS = 20000,
    STREAMS_BEYOND_CALLS = 128, /* a connection's room for calls that are being refused, and for health */
    EVENTS_PER_LOOK = 256,      /* a busy poller asks the clock so seldom */
    CLOSE_GRACE_MS = 500,       /* for idle connections to close in good order */
};

/* ---- counters --------------------------------------------------------------------------------------- */

bool server_charge(struct rpc_server *server, size_t bytes)
{
    size_t before = atomic_fetch_add(&server->bytes, bytes);
    if (before <= server->options.max_request_bytes && bytes <= server->options.max_request_bytes - before)
        return true;
    atomic_fetch_sub(&server->bytes, bytes);
    return false;
}

void server_uncharge(struct rpc_server *server, size_t bytes)
{
    atomic_fetch_sub(&server->bytes, bytes);
}

/* On the poller, which drain joins before the server can go. Counters fall before `draining` is read, and
 * drain sets it before it reads them: one of the two notices. */
void server_call_freed(struct rpc_server *server, bool admitted)
{
    if (admitted)
        atomic_fetch_sub(&server->calls, 1);
    atomic_fetch_sub(&server->live, 1);
    if (!atomic_load(&server->draining))
        return;
    mutex_lock(&server->lock);
    condition_broadcast(&server->emptied);
    mutex_unlock(&server->lock);
}

/* ---- admission -------------------------------------------------------------------------------------- */

/* Counts the call first and looks at `draining` then, so that drain cannot miss a call that is let in. */
static bool enter(struct rpc_call *call, struct error *err)
{
    struct rpc_server *server = call->server;
    call->admitted = true;
    size_t in_flight = atomic_fetch_add(&server->calls, 1);
    if (atomic_load(&server->draining))
        return error_set(err, ERROR_UNAVAILABLE, "the server is shutting down");
    size_t bytes = call->payload ? grpc_byte_buffer_length(call->payload) : 0;
    if (in_flight >= server->options.max_calls)
        error_set(err, ERROR_RESOURCE_EXHAUSTED, "%zu calls are in flight, which is the limit", server->options.max_calls);
    else if (!server_charge(server, bytes))
        error_set(err, ERROR_RESOURCE_EXHAUSTED, "the requests in flight are at the limit of %zu bytes", server->options.max_request_bytes);
    else {
        call->charged = bytes;
        return true;
    }
    /* refusals take no place: else a flood of them would keep the next call out */
    call->admitted = false;
    atomic_fetch_sub(&server->calls, 1);
    return false;
}

static bool admit(struct rpc_call *call, struct error *err)
{
    if (!call->slot)
        return error_set(err, ERROR_UNIMPLEMENTED, "there is no method %.*s here", (int)GRPC_SLICE_LENGTH(call->details.method),
                         (const char *)GRPC_SLICE_START_PTR(call->details.method));
    if (!call->slot->exempt && !enter(call, err))
        return false;
    return call->payload || call->is_bidi || call->slot->reads || error_set(err, ERROR_INVALID_ARGUMENT, "the call has no request");
}

void call_dispatch(struct rpc_call *call)
{
    if (call->slot->method->dispatch == RPC_DISPATCH_WORKER) {
        call_watch_close(call);
        workers_push(&call->server->workers, call);
        return;
    }
    struct error err;
    if (call_unpack(call, &err)) {
        trace_set(&call->trace);
        call->slot->method->handle(call->slot->context, call, call->request);
        trace_set(NULL);
        return;
    }
    err.outcome = OUTCOME_NOT_APPLIED;
    rpc_fail(call, &err);
}

void call_arrived(struct rpc_call *call)
{
    struct error err;
    if (!admit(call, &err)) {
        err.outcome = OUTCOME_NOT_APPLIED;
        rpc_fail(call, &err);
    } else if (call->slot->reads) {
        reads_enter(call);
    } else {
        call_dispatch(call);
    }
}

/* How often the poller looks for those who have no patience left: late by a quarter of it at most. */
static int64_t tick_period(const struct rpc_server_options *options)
{
    int64_t period = MICROS_PER_SECOND;
    for (int i = 0; i < 2; i++) {
        int64_t patience = i ? options->stall_micros : options->request_wait_micros;
        if (patience && (patience + 3) / 4 < period)
            period = (patience + 3) / 4;
    }
    return period;
}

static void *run_poller(void *ctx)
{
    struct rpc_server *server = ctx;
    call_poller_enter(server);
    const int64_t period = tick_period(&server->options);
    int64_t tick = clock_monotonic_micros() + period;
    server->reads.now = tick - period;
    server->pauses_end = NO_DEADLINE;
    for (unsigned n = 0;; n++) {
        int64_t until = tick < server->pauses_end ? tick : server->pauses_end;
        grpc_event event = grpc_completion_queue_next(server->queue, deadline_to_timespec(until), NULL);
        if (event.type == GRPC_QUEUE_SHUTDOWN)
            return NULL;
        if (event.type == GRPC_OP_COMPLETE)
            tag_run(event);
        if (server->pauses_end != NO_DEADLINE && clock_monotonic_micros() >= server->pauses_end) {
            server->pauses_end = NO_DEADLINE;
            streams_end_pauses(server);
        }
        if ((event.type == GRPC_QUEUE_TIMEOUT || n % EVENTS_PER_LOOK == 0) && clock_monotonic_micros() >= tick) {
            if (server->options.stall_micros)
                streams_cut_stalled(server);
            if (server->options.request_wait_micros)
                reads_tick(server);
            tick = clock_monotonic_micros() + period;
        }
    }
}

/* ---- setting up ------------------------------------------------------------------------------------- */

bool rpc_server_new(const struct rpc_server_options *options, struct rpc_server **server, struct error *err)
{
    if (options->max_message_bytes == 0 || options->max_message_bytes > INT32_MAX)
        return error_set(err, ERROR_INVALID_ARGUMENT, "a message limit of %zu bytes is not possible", options->max_message_bytes);
    if (options->max_request_bytes / RPC_LARGEST_REQUESTS < options->max_message_bytes)
        return error_set(err, ERROR_INVALID_ARGUMENT, "the budget of %zu request bytes is below %d times the limit of a message, %zu bytes",
                         options->max_request_bytes, RPC_LARGEST_REQUESTS, options->max_message_bytes);
    if (options->max_calls == 0 || options->max_calls > INT32_MAX - STREAMS_BEYOND_CALLS)
        return error_set(err, ERROR_INVALID_ARGUMENT, "a limit of %zu calls in flight is not possible", options->max_calls);
    if (options->max_connection_streams > INT32_MAX)
        return error_set(err, ERROR_INVALID_ARGUMENT, "a limit of %zu calls on a connection is not possible",
                         options->max_connection_streams);
    struct rpc_server *made = mem_zalloc(sizeof *made);
    made->options = *options;
    made->listen = mem_strdup(options->listen);
    mutex_init(&made->lock, RANK_RPC_SERVER);
    condition_init(&made->emptied);
    if (!health_add_to(made, err) || (options->reflection && !reflection_add_to(made, err))) {
        rpc_server_free(made);
        return false;
    }
    *server = made;
    return true;
}

static const ProtobufCMethodDescriptor *find_descriptor(const ProtobufCServiceDescriptor *service, const char *name)
{
    for (unsigned i = 0; i < service->n_methods; i++) {
        if (strcmp(service->methods[i].name, name) == 0)
            return &service->methods[i];
    }
    return NULL;
}

bool server_add_slots(struct rpc_server *server, const ProtobufCServiceDescriptor *service, const struct rpc_method *methods,
                      size_t n_methods, void *context, bool exempt, struct error *err)
{
    for (unsigned i = 0; i < service->n_methods; i++) {
        size_t rows = 0;
        for (size_t j = 0; j < n_methods; j++)
            rows += strcmp(methods[j].name, service->methods[i].name) == 0;
        if (rows != 1)
            return error_set(err, ERROR_INTERNAL, "method %s of %s has %zu rows in the table", service->methods[i].name, service->name,
                             rows);
    }
    for (size_t i = 0; i < n_methods; i++) {
        if (!find_descriptor(service, methods[i].name))
            return error_set(err, ERROR_INTERNAL, "%s has no method %s", service->name, methods[i].name);
    }
    server->slots = mem_realloc(server->slots, (server->n_slots + n_methods) * sizeof *server->slots);
    for (size_t i = 0; i < n_methods; i++) {
        char *path;
        if (asprintf(&path, "/%s/%s", service->name, methods[i].name) < 0)
            abort();
        server->slots[server->n_slots++] = (struct method_slot) {
            .method = &methods[i],
            .request_type = find_descriptor(service, methods[i].name)->input,
            .context = context,
            .path = path,
            .exempt = exempt,
            .reads = methods[i].large,
            .metrics = mem_zalloc(sizeof(struct method_metrics)),
        };
    }
    health_set(server->health, service->name, true);
    return true;
}

bool rpc_server_add(struct rpc_server *server, const ProtobufCServiceDescriptor *service, const struct rpc_method *methods,
                    size_t n_methods, void *context, struct error *err)
{
    assert(!server->started);
    return server_add_slots(server, service, methods, n_methods, context, false, err);
}

/* For gRPC's arguments, in which INT_MAX is never. */
static int milliseconds(int64_t micros)
{
    if (micros <= 0 || micros / 1000 >= INT_MAX)
        return INT_MAX;
    return micros < 1000 ? 1 : (int)(micros / 1000);
}

static grpc_server *create_server(const struct rpc_server_options *options)
{
    grpc_resource_quota *quota = grpc_resource_quota_create("requests");
    grpc_resource_quota_resize(quota, 2 * options->max_request_bytes + 64 * (size_t)MIB);
#define INTEGER(name, number) ((grpc_arg) { .type = GRPC_ARG_INTEGER, .key = (char *)(name), .value.integer = (int)(number) })
    grpc_arg args[] = {
        INTEGER(GRPC_ARG_ALLOW_REUSEPORT, 0), /* else a second server shares the port in silence */
        INTEGER(GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, options->max_message_bytes),
        INTEGER(GRPC_ARG_MAX_SEND_MESSAGE_LENGTH, -1),
        INTEGER(GRPC_ARG_MAX_CONCURRENT_STREAMS,
                options->max_connection_streams ? options->max_connection_streams : options->max_calls + STREAMS_BEYOND_CALLS),
        INTEGER(GRPC_ARG_MAX_CONNECTION_AGE_MS, milliseconds(options->connection_age_micros)),
        INTEGER(GRPC_ARG_MAX_CONNECTION_AGE_GRACE_MS, milliseconds(options->connection_grace_micros)),
        INTEGER(GRPC_COMPRESSION_CHANNEL_ENABLED_ALGORITHMS_BITSET, 1 << GRPC_COMPRESS_NONE),
        INTEGER(GRPC_ARG_HTTP2_BDP_PROBE, 0), /* else what a connection takes ahead of a read grows to mebibytes a call */
        INTEGER(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS, MIN_PING_INTERVAL_MS),
        INTEGER(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1),
        INTEGER(GRPC_ARG_KEEPALIVE_TIME_MS, milliseconds(options->keepalive_micros)),
        INTEGER(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, KEEPALIVE_TIMEOUT_MS),
        { .type = GRPC_ARG_POINTER,
          .key = (char *)GRPC_ARG_RESOURCE_QUOTA,
          .value.pointer = { .p = quota, .vtable = grpc_resource_quota_arg_vtable() } },
    };
#undef INTEGER
    grpc_server *server = grpc_server_create(&(grpc_channel_args) { ARRAY_LEN(args), args }, NULL);
    grpc_resource_quota_unref(quota); /* the server holds its own */
    return server;
}

static bool bind_port(struct rpc_server *server, struct error *err)
{
    char report[1024];
    grpc_server_credentials *credentials = grpc_insecure_server_credentials_create();
    grpc_messages_capture(report, sizeof report);
    server->port = grpc_server_add_http2_port(server->server, server->listen, credentials);
    grpc_messages_release();
    grpc_server_credentials_release(credentials);
    if (server->port > 0)
        return true;
    static const int reasons[] = { EADDRINUSE, EACCES, EADDRNOTAVAIL };
    const char *reason = report;
    for (size_t i = 0; i < ARRAY_LEN(reasons); i++)
        if (strstr(report, strerror(reasons[i])))
            reason = strerror(reasons[i]);
    return error_set(err, ERROR_UNAVAILABLE, "cannot listen on '%s': %s", server->listen, reason);
}

bool rpc_server_start(struct rpc_server *server, struct error *err)
{
    assert(!server->server);
    server->server = create_server(&server->options);
    server->queue = grpc_completion_queue_create_for_next(NULL);
    grpc_completion_queue_attributes attributes = { .version = 1,
                                                    .cq_completion_type = GRPC_CQ_NEXT,
                                                    .cq_polling_type = GRPC_CQ_NON_POLLING };
    server->shutdown_queue = grpc_completion_queue_create(grpc_completion_queue_factory_lookup(&attributes), &attributes, NULL);
    grpc_server_register_completion_queue(server->server, server->queue, NULL);
    for (size_t i = 0; i < server->n_slots; i++)
        server->slots[i].handle = grpc_server_register_method(
            server->server, server->slots[i].path, NULL,
            server->slots[i].reads || server->slots[i].method->kind == RPC_KIND_BIDI_STREAM ? GRPC_SRM_PAYLOAD_NONE
                                                                                            : GRPC_SRM_PAYLOAD_READ_INITIAL_BYTE_BUFFER,
            0);
    if (!bind_port(server, err))
        return false;
    server->started = true;
    grpc_server_start(server->server);
    workers_start(&server->workers, server->options.worker_threads);
    bool posted = true;
    for (size_t i = 0; i < server->n_slots; i++) {
        for (int n = 0; n < POSTED_AHEAD; n++)
            posted = posted && call_post(server, &server->slots[i]);
    }
    for (int n = 0; n < POSTED_UNKNOWN; n++)
        posted = posted && call_post(server, NULL);
    assert(posted);
    (void)posted;
    server->poller = thread_start("rpc-poller", run_poller, server);
    return true;
}

int rpc_server_port(const struct rpc_server *server)
{
    return server->port;
}

void rpc_server_set_serving(struct rpc_server *server, const char *service, bool serving)
{
    health_set(server->health, service, serving);
}

void rpc_server_set_all_serving(struct rpc_server *server, bool serving)
{
    health_set_all(server->health, serving);
}

void rpc_server_announce_drain(struct rpc_server *server)
{
    health_drain(server->health);
}

bool rpc_server_is_serving(struct rpc_server *server)
{
    return health_is_serving(server->health, "");
}

/* ---- stopping --------------------------------------------------------------------------------------- */

static void wait_until_zero(struct rpc_server *server, atomic_size_t *counter, int64_t deadline)
{
    mutex_lock(&server->lock);
    while (atomic_load(counter) > 0 && condition_wait_until(&server->emptied, &server->lock, deadline))
        ;
    mutex_unlock(&server->lock);
}

static bool wait_for_shutdown(struct rpc_server *server, int64_t deadline)
{
    return grpc_completion_queue_next(server->shutdown_queue, deadline_to_timespec(deadline), NULL).type == GRPC_OP_COMPLETE;
}

static void close_queue(grpc_completion_queue *queue)
{
    grpc_completion_queue_shutdown(queue);
    while (grpc_completion_queue_next(queue, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL).type != GRPC_QUEUE_SHUTDOWN)
        ;
    grpc_completion_queue_destroy(queue);
}

void rpc_server_drain(struct rpc_server *server, int64_t grace_micros)
{
    if (!server->started || server->drained)
        return;
    server->drained = true;
    int64_t now = clock_monotonic_micros();
    int64_t deadline = grace_micros > INT64_MAX - now ? NO_DEADLINE : now + grace_micros;
    atomic_store(&server->draining, true);
    health_drain(server->health);
    streams_stop_parked(server);
    wait_until_zero(server, &server->calls, deadline);

    health_end_watches(server->health);
    grpc_server_shutdown_and_notify(server->server, server->shutdown_queue, NULL);
    int64_t close_by = atomic_load(&server->calls) ? 0 : clock_monotonic_micros() + CLOSE_GRACE_MS * 1000;
    if (!wait_for_shutdown(server, close_by)) {
        grpc_server_cancel_all_calls(server->server);
        (void)wait_for_shutdown(server, NO_DEADLINE);
    }
    wait_until_zero(server, &server->live, NO_DEADLINE); /* posted requests have come back too */
    workers_stop(&server->workers);
    grpc_completion_queue_shutdown(server->queue);
    pthread_join(server->poller, NULL);
}

void rpc_server_free(struct rpc_server *server)
{
    if (!server)
        return;
    rpc_server_drain(server, 0);
    if (server->server)
        grpc_server_destroy(server->server);
    if (server->started)
        grpc_completion_queue_destroy(server->queue);
    else if (server->queue)
        close_queue(server->queue);
    if (server->shutdown_queue)
        close_queue(server->shutdown_queue);
    health_free(server->health);
    reflection_free(server->reflection);
    for (size_t i = 0; i < server->n_slots; i++) {
        free(server->slots[i].path);
        free(server->slots[i].metrics);
    }
    free(server->slots);
    mutex_destroy(&server->lock);
    condition_destroy(&server->emptied);
    free(server->listen);
    free(server);
}
