/* The client: one channel, one completion queue and one thread; unary calls.
 *
 * Waiting and retrying. The first try of a blocking call fails at once when there is no connection, which
 * yields the precise reason. What surely never left this process is tried again whatever the caller said
 * (it is the same one try), and now waits for the connection, whose own backoff sets the pace. What was sent
 * and came back UNAVAILABLE is tried again only when it is repeatable. When the deadline ends the waiting,
 * the caller gets the last reason instead of a bare DEADLINE_EXCEEDED.
 *
 * Never sent. The headers go out in a batch of their own whenever the channel is not ready: that batch fails
 * only when nothing of the call has reached a connection. On a ready channel all goes out in one batch, which
 * is faster, and a failure counts as sent.
 */
#include <assert.h>
#include <grpc/compression.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/backoff.h"
#include "common/base/clock.h"
#include "common/base/memory.h"
#include "common/rpc/rpc_internal.h"

enum {
    FIRST_RECONNECT_MS = 50,
    LAST_RECONNECT_MS = 1000,
    CONNECT_TIMEOUT_MS = 5000, /* then the next address has its turn */
    NAME_AGE_MS = 1000,        /* a name is resolved again after that; 30 s unless said, in which a new address stays unknown */
    KEEPALIVE_MS = 30000,      /* servers permit much shorter ones (rpc_server.c) */
    KEEPALIVE_TIMEOUT_MS = 10000,
};

#define PICK_FIRST  "{\"loadBalancingConfig\":[{\"pick_first\":{}}]}"
#define ROUND_ROBIN "{\"loadBalancingConfig\":[{\"round_robin\":{}}]}"

/* ---- the client itself ------------------------------------------------------------------------------ */

static void *run_client(void *ctx)
{
    struct rpc_client *client = ctx;
    for (;;) {
        grpc_event event = grpc_completion_queue_next(client->queue, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
        if (event.type == GRPC_QUEUE_SHUTDOWN)
            return NULL;
        tag_run(event);
    }
}

bool rpc_client_open(const struct rpc_client_options *options, struct rpc_client **client, struct error *err)
{
    if (options->max_message_bytes == 0 || options->max_message_bytes > INT32_MAX)
        return error_set(err, ERROR_INVALID_ARGUMENT, "a message limit of %zu bytes is not possible", options->max_message_bytes);
    char *target;
    if (!target_resolve(options->target, &target, err))
        return false;
    const char *policy = options->balance == RPC_ROUND_ROBIN ? ROUND_ROBIN : PICK_FIRST;
#define INTEGER(name, number) ((grpc_arg) { .type = GRPC_ARG_INTEGER, .key = (char *)(name), .value.integer = (int)(number) })
    grpc_arg args[] = {
        INTEGER(GRPC_ARG_MAX_RECEIVE_MESSAGE_LENGTH, options->max_message_bytes),
        INTEGER(GRPC_ARG_MAX_SEND_MESSAGE_LENGTH, -1),
        INTEGER(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, FIRST_RECONNECT_MS),
        INTEGER(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, CONNECT_TIMEOUT_MS), /* the time that one attempt gets, despite its name */
        INTEGER(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, LAST_RECONNECT_MS),
        INTEGER(GRPC_ARG_KEEPALIVE_TIME_MS, KEEPALIVE_MS),
        INTEGER(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, KEEPALIVE_TIMEOUT_MS),
        INTEGER(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1),
        INTEGER(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0),
        INTEGER(GRPC_ARG_ENABLE_HTTP_PROXY, 0),
        INTEGER(GRPC_ARG_HTTP2_BDP_PROBE, 0), /* it widens the window of streams that nobody reads, up to megabytes each */
        INTEGER(GRPC_ARG_DNS_MIN_TIME_BETWEEN_RESOLUTIONS_MS, NAME_AGE_MS),
        INTEGER(GRPC_ARG_SERVICE_CONFIG_DISABLE_RESOLUTION, 1), /* no retries that somebody put into DNS */
        INTEGER(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1),         /* a connection of its own, and its own backoff */
        { .type = GRPC_ARG_STRING, .key = (char *)GRPC_ARG_SERVICE_CONFIG, .value.string = (char *)policy },
        INTEGER(GRPC_COMPRESSION_CHANNEL_ENABLED_ALGORITHMS_BITSET, 1 << GRPC_COMPRESS_NONE),
    };
#undef INTEGER
    grpc_channel_credentials *credentials = grpc_insecure_credentials_create();
    grpc_channel *channel = grpc_channel_create(target, credentials, &(grpc_channel_args) { ARRAY_LEN(args), args });
    grpc_channel_credentials_release(credentials);
    free(target);
    if (!channel)
        return error_set(err, ERROR_INVALID_ARGUMENT, "'%s' is no address to connect to", options->target);
    struct rpc_client *made = mem_zalloc(sizeof *made);
    made->target = mem_strdup(options->target);
    made->name = options->name ? mem_strdup(options->name) : NULL;
    made->channel = channel;
    made->queue = grpc_completion_queue_create_for_next(NULL);
    made->thread = thread_start("rpc-client", run_client, made);
    *client = made;
    return true;
}

void rpc_client_close(struct rpc_client *client)
{
    if (!client)
        return;
    grpc_completion_queue_shutdown(client->queue);
    pthread_join(client->thread, NULL); /* lets the last `done` return first */
    assert(atomic_load(&client->calls) == 0 && "a client outlives its calls");
    grpc_channel_destroy(client->channel);
    grpc_completion_queue_destroy(client->queue);
    free(client->target);
    free(client->name);
    free(client);
}

/* ---- what every call does --------------------------------------------------------------------------- */

void exchange_init_take(struct client_exchange *exchange, struct rpc_client *client, const char *method, grpc_slice encoded,
                        const struct rpc_call_options *options)
{
    *exchange = (struct client_exchange) { .client = client, .deadline = options->deadline, .details = grpc_empty_slice() };
    grpc_metadata_array_init(&exchange->initial);
    grpc_metadata_array_init(&exchange->trailing);
    exchange->request = codec_buffer_take(encoded);
    bool large = grpc_byte_buffer_length(exchange->request) > RPC_SMALL_REQUEST;
    const struct trace *trace = trace_current();
    exchange->n_metadata = options->n_metadata;
    exchange->metadata = mem_alloc((options->n_metadata + 2) * sizeof *exchange->metadata);
    if (large)
        exchange->metadata[exchange->n_metadata++] = metadata_copy(RPC_LARGE_HEADER, "1");
    if (trace->parent[0])
        exchange->metadata[exchange->n_metadata++] = metadata_copy(RPC_TRACE_HEADER, trace->parent);
    for (size_t i = 0; i < options->n_metadata; i++) {
        assert(grpc_header_key_is_legal(grpc_slice_from_static_string(options->metadata[i].key)) && "a lower-case header name");
        exchange->metadata[i] = metadata_copy(options->metadata[i].key, options->metadata[i].value);
    }
    grpc_slice path = grpc_slice_from_copied_string(method);
    exchange->call = grpc_channel_create_call(client->channel, NULL, GRPC_PROPAGATE_DEFAULTS, client->queue, path, NULL,
                                              deadline_to_timespec(options->deadline), NULL);
    grpc_slice_unref(path);
    atomic_fetch_add(&client->calls, 1);
}

void exchange_destroy(struct client_exchange *exchange)
{
    grpc_call_unref(exchange->call);
    grpc_byte_buffer_destroy(exchange->request);
    metadata_release(exchange->metadata, exchange->n_metadata);
    grpc_metadata_array_destroy(&exchange->initial);
    grpc_metadata_array_destroy(&exchange->trailing);
    grpc_slice_unref(exchange->details);
    atomic_fetch_sub(&exchange->client->calls, 1);
}

grpc_op exchange_headers_op(struct client_exchange *exchange, bool wait_for_ready)
{
    grpc_op op = { .op = GRPC_OP_SEND_INITIAL_METADATA };
    op.flags = GRPC_INITIAL_METADATA_WAIT_FOR_READY_EXPLICITLY_SET | (wait_for_ready ? GRPC_INITIAL_METADATA_WAIT_FOR_READY : 0);
    op.data.send_initial_metadata.metadata = exchange->metadata;
    op.data.send_initial_metadata.count = exchange->n_metadata;
    return op;
}

size_t exchange_request_ops(struct client_exchange *exchange, grpc_op *ops)
{
    memset(ops, 0, 3 * sizeof *ops);
    ops[0].op = GRPC_OP_SEND_MESSAGE;
    ops[0].data.send_message.send_message = exchange->request;
    ops[1].op = GRPC_OP_SEND_CLOSE_FROM_CLIENT;
    ops[2].op = GRPC_OP_RECV_INITIAL_METADATA;
    ops[2].data.recv_initial_metadata.recv_initial_metadata = &exchange->initial;
    return 3;
}

grpc_op exchange_status_op(struct client_exchange *exchange)
{
    grpc_op op = { .op = GRPC_OP_RECV_STATUS_ON_CLIENT };
    op.data.recv_status_on_client.trailing_metadata = &exchange->trailing;
    op.data.recv_status_on_client.status = &exchange->status;
    op.data.recv_status_on_client.status_details = &exchange->details;
    return op;
}

bool rpc_client_is_connected(const struct rpc_client *client)
{
    return grpc_channel_check_connectivity_state(client->channel, 0) == GRPC_CHANNEL_READY;
}

static void take_failure(struct client_exchange *exchange, struct error *err)
{
    status_to_error(exchange->status, exchange->details, &exchange->trailing, err);
    if (err->code == ERROR_CANCELLED && strcmp(err->message, "CANCELLED") == 0) {
        /* nobody here gave up: what is known to come of it is a server that stopped while the call arrived */
        enum error_outcome outcome = err->outcome;
        error_set(err, ERROR_UNAVAILABLE, "%s dropped the call; it may be stopping", exchange->client->target);
        err->outcome = outcome;
    }
    if (!exchange->never_sent)
        return;
    if (err->code == ERROR_DEADLINE_EXCEEDED && !rpc_client_is_connected(exchange->client))
        error_set(err, ERROR_UNAVAILABLE, "no connection to %s before the deadline", exchange->client->target);
    err->outcome = OUTCOME_NOT_APPLIED;
}

bool exchange_result(struct client_exchange *exchange, struct error *err)
{
    if (exchange->status == GRPC_STATUS_OK)
        return true;
    take_failure(exchange, err);
    bool away = err->code == ERROR_UNAVAILABLE || err->code == ERROR_DEADLINE_EXCEEDED;
    return away && exchange->client->name ? error_wrap(err, "%s", exchange->client->name) : false;
}

/* ---- one try of a unary call ------------------------------------------------------------------------ */

struct unary_try {
    struct client_exchange exchange;
    struct rpc_tag headers, finished;
    unsigned outstanding; /* tags; the client's thread only, once started */
    grpc_byte_buffer *response;
    void (*done)(struct unary_try *try, const struct error *failure);
    void *ctx;
};

static void try_tag_done(struct unary_try *try)
{
    if (--try->outstanding > 0)
        return;
    struct error err;
    bool succeeded = exchange_result(&try->exchange, &err);
    if (succeeded && !try->response)
        succeeded = error_set(&err, ERROR_INTERNAL, "the server answered OK without a message");
    try->done(try, succeeded ? NULL : &err);
    if (try->response)
        grpc_byte_buffer_destroy(try->response);
    exchange_destroy(&try->exchange);
    free(try);
}

static void on_headers(struct rpc_tag *tag, bool ok)
{
    struct unary_try *try = CONTAINER_OF(tag, struct unary_try, headers);
    try->exchange.never_sent = !ok;
    try_tag_done(try);
}

static void on_finished(struct rpc_tag *tag, bool ok)
{
    (void)ok; /* the status tells */
    struct unary_try *try = CONTAINER_OF(tag, struct unary_try, finished);
    try_tag_done(try);
}

static struct unary_try *try_new_take(struct rpc_client *client, const char *method, grpc_slice encoded,
                                      const struct rpc_call_options *options)
{
    struct unary_try *try = mem_zalloc(sizeof *try);
    exchange_init_take(&try->exchange, client, method, encoded, options);
    return try;
}

/* The try may be gone when this returns. */
static void try_start(struct unary_try *try, bool wait_for_ready)
{
    grpc_op ops[6];
    bool apart = !rpc_client_is_connected(try->exchange.client);
    try->outstanding = 1 + apart;
    ops[0] = exchange_headers_op(&try->exchange, wait_for_ready);
    size_t n = 1 + exchange_request_ops(&try->exchange, &ops[1]);
    ops[n++] = exchange_status_op(&try->exchange);
    ops[n] = (grpc_op) { .op = GRPC_OP_RECV_MESSAGE };
    ops[n++].data.recv_message.recv_message = &try->response;
    grpc_call *call = try->exchange.call;
    struct rpc_tag *headers = &try->headers, *finished = &try->finished;
    tag_arm(headers, on_headers);
    tag_arm(finished, on_finished);
    /* the first tag alone does not end the try: `finished` is still to come */
    if (apart && grpc_call_start_batch(call, ops, 1, headers, NULL) != GRPC_CALL_OK)
        abort(); /* the operations are ours alone */
    if (grpc_call_start_batch(call, ops + apart, n - apart, finished, NULL) != GRPC_CALL_OK)
        abort();
}

/* ---- without waiting -------------------------------------------------------------------------------- */

struct started_call {
    rpc_done_fn *done;
    void *ctx;
};

static void deliver(struct unary_try *try, const struct error *failure)
{
    struct started_call *started = try->ctx;
    struct error err;
    struct codec_view view = { { NULL, 0 }, NULL };
    if (!failure && !codec_view_open(try->response, &view, &err))
        failure = &err;
    started->done(started->ctx, failure, failure ? bytes_of(NULL, 0) : view.bytes);
    codec_view_close(&view);
    free(started);
}

/* A failure before anything was started is delivered like any other: on the client's thread. */
struct refused_call {
    struct rpc_tag tag;
    struct client_exchange exchange;
    struct error err;
    rpc_done_fn *done;
    void *ctx;
};

static void on_refused(struct rpc_tag *tag, bool ok)
{
    (void)ok;
    struct refused_call *refused = CONTAINER_OF(tag, struct refused_call, tag);
    refused->done(refused->ctx, &refused->err, bytes_of(NULL, 0));
    exchange_destroy(&refused->exchange);
    free(refused);
}

static void refuse(struct rpc_client *client, const char *method, const struct error *err, rpc_done_fn *done, void *ctx)
{
    struct refused_call *refused = mem_zalloc(sizeof *refused);
    exchange_init_take(&refused->exchange, client, method, grpc_empty_slice(), &(struct rpc_call_options) { .deadline = NO_DEADLINE });
    refused->err = *err;
    refused->err.outcome = OUTCOME_NOT_APPLIED;
    refused->done = done;
    refused->ctx = ctx;
    grpc_call *call = refused->exchange.call;
    struct rpc_tag *tag = &refused->tag;
    tag_arm(tag, on_refused);
    if (grpc_call_start_batch(call, NULL, 0, tag, NULL) != GRPC_CALL_OK)
        abort();
}

static bool deadline_passed(const struct rpc_call_options *options, struct error *err)
{
    if (options->deadline == NO_DEADLINE || clock_monotonic_micros() < options->deadline)
        return false;
    error_set(err, ERROR_DEADLINE_EXCEEDED, "the deadline had passed before the call");
    return true;
}

void rpc_client_start(struct rpc_client *client, const char *method, const ProtobufCMessage *request,
                      const struct rpc_call_options *options, rpc_done_fn *done, void *ctx)
{
    struct error err;
    grpc_slice encoded;
    if (deadline_passed(options, &err) || !codec_pack(request, &encoded, &err)) {
        refuse(client, method, &err, done, ctx);
        return;
    }
    struct started_call *started = mem_alloc(sizeof *started);
    *started = (struct started_call) { done, ctx };
    struct unary_try *try = try_new_take(client, method, encoded, options);
    try->done = deliver;
    try->ctx = started;
    try_start(try, true);
}

/* ---- waiting ---------------------------------------------------------------------------------------- */

struct waiter {
    struct mutex lock; /* rank 930 */
    struct condition changed;
    bool done;
    bool ok;
    bool never_sent;
    struct error err;
    grpc_byte_buffer *response;
};

static void wake(struct unary_try *try, const struct error *failure)
{
    struct waiter *waiter = try->ctx;
    mutex_lock(&waiter->lock);
    waiter->done = true;
    waiter->ok = !failure;
    waiter->never_sent = try->exchange.never_sent;
    if (failure) {
        waiter->err = *failure;
    } else {
        waiter->response = try->response;
        try->response = NULL;
    }
    condition_signal(&waiter->changed);
    mutex_unlock(&waiter->lock);
}

static void try_and_wait(struct waiter *waiter, struct rpc_client *client, const char *method, grpc_slice encoded,
                         const struct rpc_call_options *options, bool wait_for_ready)
{
    waiter->done = false;
    struct unary_try *try = try_new_take(client, method, grpc_slice_ref(encoded), options);
    try->done = wake;
    try->ctx = waiter;
    try_start(try, wait_for_ready);
    mutex_lock(&waiter->lock);
    while (!waiter->done)
        condition_wait(&waiter->changed, &waiter->lock);
    mutex_unlock(&waiter->lock);
}

static bool call_until_answered(struct waiter *waiter, struct rpc_client *client, const char *method, grpc_slice encoded,
                                const struct rpc_call_options *options, struct error *err)
{
    struct error last = { .code = ERROR_OK }; /* of the try before */
    struct backoff backoff = { 0 };
    for (unsigned tries = 0;; tries++) {
        try_and_wait(waiter, client, method, encoded, options, tries > 0);
        if (waiter->ok)
            return true;
        *err = waiter->err;
        if (last.code != ERROR_OK) {
            if (waiter->never_sent && clock_monotonic_micros() >= options->deadline)
                *err = last; /* the wait for a connection ended: why there was none is known from before */
            else if (last.outcome == OUTCOME_UNKNOWN)
                err->outcome = OUTCOME_UNKNOWN; /* an earlier try leaves the whole in doubt */
            if (err->code == ERROR_DEADLINE_EXCEEDED) {
                size_t len = strlen(err->message); /* which says no more than that; why it took so long is known from before */
                snprintf(err->message + len, sizeof err->message - len, "; before that: %s", last.message);
            }
        }
        if (err->code != ERROR_UNAVAILABLE || !(waiter->never_sent || options->repeatable))
            return false;
        last = *err;
        if (waiter->never_sent && tries == 0)
            continue; /* the next one waits for the connection */
        if (!backoff_wait(&backoff, options->deadline))
            return false;
    }
}

bool rpc_client_call(struct rpc_client *client, const char *method, const ProtobufCMessage *request,
                     const ProtobufCMessageDescriptor *response_type, const struct rpc_call_options *options, struct arena *arena,
                     ProtobufCMessage **response, struct error *err)
{
    struct error failure;
    grpc_slice encoded;
    if (deadline_passed(options, &failure) || !codec_pack(request, &encoded, &failure)) {
        failure.outcome = OUTCOME_NOT_APPLIED;
        goto fail;
    }
    struct waiter waiter = { .response = NULL };
    mutex_init(&waiter.lock, RANK_RPC_CLIENT_CALL);
    condition_init(&waiter.changed);
    bool ok = call_until_answered(&waiter, client, method, encoded, options, &failure);
    if (ok) {
        ok = codec_unpack_take(waiter.response, response_type, arena, response, &failure);
        if (!ok && failure.code == ERROR_INVALID_ARGUMENT) /* not the caller's fault */
            failure.code = ERROR_INTERNAL;
    }
    mutex_destroy(&waiter.lock);
    condition_destroy(&waiter.changed);
    grpc_slice_unref(encoded);
    if (ok)
        return true;
fail:
    if (err)
        *err = failure;
    return false;
}
