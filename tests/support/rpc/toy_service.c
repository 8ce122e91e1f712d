#include "tests/support/rpc/toy_service.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static bool named(const char *project, const char *name)
{
    return strcmp(project, name) == 0;
}

static void wait_for_cancel(struct rpc_call *call)
{
    while (!rpc_call_cancelled(call))
        sched_yield();
}

void on_append(void *service, struct rpc_call *call, const ProtobufCMessage *message)
{
    struct toy *toy = service;
    const Argon__Wal__V1__AppendRequest *request = (const Argon__Wal__V1__AppendRequest *)message;
    struct error err;
    atomic_fetch_add(&toy->appends, 1);
    if (named(request->project_id, "refused")) {
        error_set(&err, ERROR_ABORTED, "somebody else was faster");
        err.outcome = OUTCOME_NOT_APPLIED;
        error_set_reason(&err, "WRITE_CONFLICT");
        error_add_key(&err, "users/{\"_id\":1}");
        error_add_key(&err, "caf\xc3\xa9\xff");
        err.mongo_code = 112;
        rpc_fail(call, &err);
        return;
    }
    if (named(request->project_id, "flaky") && atomic_load(&toy->appends) <= 3) {
        error_set(&err, ERROR_UNAVAILABLE, "not yet");
        rpc_fail(call, &err);
        return;
    }
    if (named(request->project_id, "unknown")) {
        error_set(&err, ERROR_ABORTED, "who knows: 100 %% \xc3\xa4");
        rpc_fail(call, &err);
        return;
    }
    if (named(request->project_id, "patience")) {
        wait_for_cancel(call);
        atomic_fetch_add(&toy->cancelled, 1);
        error_set(&err, ERROR_DEADLINE_EXCEEDED, "too late");
        rpc_fail(call, &err);
        return;
    }
    if (named(request->project_id, "gate")) {
        mutex_lock(&toy->lock);
        toy->waiting++;
        condition_broadcast(&toy->changed);
        while (!toy->open && !rpc_call_cancelled(call))
            (void)condition_wait_until(&toy->changed, &toy->lock, clock_monotonic_micros() + SECOND / 100);
        toy->waiting--;
        mutex_unlock(&toy->lock);
        if (rpc_call_cancelled(call))
            atomic_fetch_add(&toy->cancelled, 1);
    }
    toy->deadline = rpc_call_deadline(call);
    Argon__Wal__V1__AppendResponse response = ARGON__WAL__V1__APPEND_RESPONSE__INIT;
    response.commit_lsn = request->n_batches;
    response.incarnation = request->incarnation;
    const char *tag = rpc_call_metadata(call, "argon-tag");
    if (tag) {
        rpc_call_add_trailer(call, "argon-tag-back", tag);
        rpc_call_add_trailer(call, "argon-odd", "a\nb\xff");
    }
    rpc_reply(call, &response.base);
}

struct follower {
    struct toy *toy;
    uint64_t sent, size;
    bool stood;
};

static void follower_freed(void *ctx)
{
    struct follower *follower = ctx;
    atomic_fetch_add(&follower->toy->steps_freed, 1);
    free(follower);
}

static void leave(struct toy *toy, struct rpc_call *call)
{
    mutex_lock(&toy->lock);
    if (toy->parked == call)
        toy->parked = NULL;
    toy->in_step = false;
    mutex_unlock(&toy->lock);
    rpc_finish(call);
}

/* One message for each piece of news. */
static enum rpc_step follow(struct rpc_call *call, void *ctx)
{
    struct follower *follower = ctx;
    struct toy *toy = follower->toy;
    mutex_lock(&toy->lock);
    if (toy->parked == call) {
        assert_false(toy->in_step);
        toy->in_step = true;
    }
    bool mine = toy->parked == call;
    bool news = mine && toy->news > 0;
    toy->news -= news;
    mutex_unlock(&toy->lock);
    if (rpc_call_cancelled(call)) {
        leave(toy, call);
        return RPC_STEP_OVER;
    }
    enum rpc_step next = RPC_STEP_WAIT;
    if (news) {
        Argon__Wal__V1__ReadResponse response = ARGON__WAL__V1__READ_RESPONSE__INIT;
        response.complete_through = ++follower->sent;
        uint8_t *filling = calloc(1, follower->size + 1);
        response.incarnation = (ProtobufCBinaryData) { follower->size, filling };
        bool ok = rpc_stream_send(call, &response.base);
        free(filling);
        if (!ok) {
            leave(toy, call);
            return RPC_STEP_OVER;
        }
        atomic_fetch_add(&toy->sent, 1);
        next = RPC_STEP_MORE;
    } else if (!follower->stood) {
        follower->stood = true;
        atomic_fetch_add(&toy->parked_n, 1);
    }
    mutex_lock(&toy->lock);
    if (mine)
        toy->in_step = false;
    mutex_unlock(&toy->lock);
    return next;
}

void tell(struct toy *toy, unsigned news)
{
    mutex_lock(&toy->lock);
    toy->news += news;
    if (toy->parked)
        rpc_stream_wake(toy->parked);
    mutex_unlock(&toy->lock);
}

/* after_lsn messages of through_lsn bytes each, or without end. */
static void on_read(void *service, struct rpc_call *call, const ProtobufCMessage *message)
{
    struct toy *toy = service;
    const Argon__Wal__V1__ReadRequest *request = (const Argon__Wal__V1__ReadRequest *)message;
    uint8_t *filling = rpc_call_arena(call) ? arena_zalloc(rpc_call_arena(call), request->through_lsn) : NULL;
    assert_true(filling || request->through_lsn == 0);
    if (request->follow) {
        struct follower *follower = calloc(1, sizeof *follower);
        *follower = (struct follower) { .toy = toy, .size = request->through_lsn };
        if (named(request->project_id, "parked")) {
            mutex_lock(&toy->lock);
            toy->parked = call;
            mutex_unlock(&toy->lock);
        }
        rpc_stream_run(call, follow, follower_freed, follower);
        return;
    }
    bool endless = named(request->project_id, "endless");
    for (uint64_t i = 1; endless || i <= request->after_lsn; i++) {
        Argon__Wal__V1__ReadResponse response = ARGON__WAL__V1__READ_RESPONSE__INIT;
        response.complete_through = i;
        response.incarnation = (ProtobufCBinaryData) { request->through_lsn, filling };
        bool ok;
        if (named(request->project_id, "encoded")) {
            uint8_t packed[64];
            size_t n = argon__wal__v1__read_response__pack(&response, packed);
            ok = rpc_stream_send_encoded(call, (struct bytes[]) { { packed, 1 }, { NULL, 0 }, { packed + 1, n - 1 } }, 3);
        } else {
            ok = rpc_stream_send(call, &response.base);
        }
        if (!ok) {
            atomic_fetch_add(&toy->cut, 1);
            rpc_finish(call);
            return;
        }
        atomic_fetch_add(&toy->sent, 1);
    }
    if (named(request->project_id, "fails")) {
        struct error err;
        error_set(&err, ERROR_OUT_OF_RANGE, "no further");
        rpc_fail(call, &err);
        return;
    }
    rpc_finish(call);
}

/* Answered by the replier's thread. */
static void on_get_head(void *service, struct rpc_call *call, const ProtobufCMessage *message)
{
    (void)message;
    struct toy *toy = service;
    mutex_lock(&toy->lock);
    assert_true(toy->n_deferred < ARRAY_LEN(toy->deferred));
    toy->deferred[toy->n_deferred++] = call;
    condition_broadcast(&toy->changed);
    mutex_unlock(&toy->lock);
}

static void on_get_heads(void *service, struct rpc_call *call, const ProtobufCMessage *message)
{
    (void)service;
    const Argon__Wal__V1__GetHeadsRequest *request = (const Argon__Wal__V1__GetHeadsRequest *)message;
    struct arena *arena = rpc_call_arena(call);
    Argon__Wal__V1__GetHeadsResponse response = ARGON__WAL__V1__GET_HEADS_RESPONSE__INIT;
    response.n_last_lsns = request->n_branch_ids;
    response.last_lsns = arena_alloc(arena, request->n_branch_ids * sizeof *response.last_lsns);
    for (size_t i = 0; i < request->n_branch_ids; i++)
        response.last_lsns[i] = strlen(request->branch_ids[i]);
    rpc_reply(call, &response.base);
}

static void on_get_status(void *service, struct rpc_call *call, const ProtobufCMessage *message)
{
    (void)service;
    (void)message;
    Argon__Wal__V1__GetStatusResponse response = ARGON__WAL__V1__GET_STATUS_RESPONSE__INIT;
    response.version = (char *)"1";
    rpc_reply(call, &response.base);
}

static void on_find_lsn(void *service, struct rpc_call *call, const ProtobufCMessage *message)
{
    (void)service;
    (void)message;
    Argon__Wal__V1__FindLsnResponse response = ARGON__WAL__V1__FIND_LSN_RESPONSE__INIT;
    rpc_reply(call, &response.base);
}

/* Sends back what it receives; the head is the LSN asked for. In tests of bidirectional streams only. */
static void on_echo(void *service, struct rpc_call *call, const ProtobufCMessage *message)
{
    struct toy *toy = service;
    assert_null(message);
    struct error err;
    for (;;) {
        struct arena arena;
        arena_init(&arena, 0);
        ProtobufCMessage *received;
        bool ok = rpc_stream_receive(call, &arena, &received, &err);
        if (ok && received) {
            Argon__Wal__V1__ReadResponse response = ARGON__WAL__V1__READ_RESPONSE__INIT;
            response.complete_through = ((Argon__Wal__V1__ReadRequest *)received)->after_lsn;
            if (!rpc_stream_send(call, &response.base))
                ok = error_set(&err, ERROR_CANCELLED, "gone");
        }
        bool end = ok && !received;
        arena_destroy(&arena);
        if (end) {
            atomic_fetch_add(&toy->echoes, 1);
            rpc_finish(call);
            return;
        }
        if (!ok) {
            atomic_fetch_add(&toy->echoes, 1);
            rpc_fail(call, &err);
            return;
        }
    }
}

const struct rpc_method toy_methods[TOY_METHODS] = {
    RPC_UNARY("Append", on_append),      RPC_STREAM("Read", on_read),       RPC_UNARY_INLINE("GetHead", on_get_head),
    RPC_UNARY("GetHeads", on_get_heads), RPC_UNARY("FindLsn", on_find_lsn), RPC_UNARY_INLINE("GetStatus", on_get_status),
};

const struct rpc_method echo_methods[TOY_METHODS] = {
    RPC_UNARY("Append", on_append),      RPC_BIDI("Read", on_echo),         RPC_UNARY_INLINE("GetHead", on_get_head),
    RPC_UNARY("GetHeads", on_get_heads), RPC_UNARY("FindLsn", on_find_lsn), RPC_UNARY_INLINE("GetStatus", on_get_status),
};

void hold(void *service, struct rpc_call *call, const ProtobufCMessage *message)
{
    struct toy *toy = service;
    (void)message;
    struct error err;
    mutex_lock(&toy->lock);
    toy->waiting++;
    condition_broadcast(&toy->changed);
    mutex_unlock(&toy->lock);
    wait_for_cancel(call);
    atomic_fetch_add(&toy->cancelled, 1);
    error_set(&err, ERROR_DEADLINE_EXCEEDED, "too late");
    rpc_fail(call, &err);
}

/* Answers the deferred calls; those with the header argon-hold go on on a worker, until they are over. */
static void *run_replier(void *ctx)
{
    struct toy *toy = ctx;
    mutex_lock(&toy->lock);
    while (!toy->stopping || toy->n_deferred > 0) {
        if (toy->n_deferred == 0) {
            condition_wait(&toy->changed, &toy->lock);
            continue;
        }
        struct rpc_call *call = toy->deferred[--toy->n_deferred];
        mutex_unlock(&toy->lock);
        if (rpc_call_metadata(call, "argon-hold")) {
            rpc_call_defer(call, hold);
        } else {
            Argon__Wal__V1__GetHeadResponse response = ARGON__WAL__V1__GET_HEAD_RESPONSE__INIT;
            response.commit_lsn = 42;
            rpc_reply(call, &response.base);
        }
        mutex_lock(&toy->lock);
    }
    mutex_unlock(&toy->lock);
    return NULL;
}

void set_gate(struct toy *toy, bool open)
{
    mutex_lock(&toy->lock);
    toy->open = open;
    condition_broadcast(&toy->changed);
    mutex_unlock(&toy->lock);
}

void wait_at_gate(struct toy *toy, unsigned n)
{
    int64_t until = clock_monotonic_micros() + PATIENCE;
    mutex_lock(&toy->lock);
    while (toy->waiting < n && condition_wait_until(&toy->changed, &toy->lock, until))
        ;
    assert_int_equal(toy->waiting, n);
    mutex_unlock(&toy->lock);
}

void wait_for_count(atomic_uint *counter, unsigned n)
{
    int64_t until = clock_monotonic_micros() + PATIENCE;
    while (atomic_load(counter) < n && clock_monotonic_micros() < until)
        sched_yield();
    assert_true(atomic_load(counter) >= n);
}

/* ---- fixture ----------------------------------------------------------------------------------------- */

const struct rpc_server_options default_options = {
    .listen = "127.0.0.1:0",
    .max_message_bytes = 1 * MIB,
    .max_calls = 100,
    .max_request_bytes = 8 * MIB,
    .worker_threads = 4,
};

void toy_start(struct toy *toy)
{
    memset(toy, 0, sizeof *toy);
    mutex_init(&toy->lock, 1);
    condition_init(&toy->changed);
    toy->replier = thread_start("replier", run_replier, toy);
}

void toy_stop(struct toy *toy)
{
    mutex_lock(&toy->lock);
    toy->stopping = true;
    condition_broadcast(&toy->changed);
    mutex_unlock(&toy->lock);
    pthread_join(toy->replier, NULL);
    mutex_destroy(&toy->lock);
    condition_destroy(&toy->changed);
}

struct rpc_server *start_server(struct toy *toy, struct rpc_server_options options)
{
    struct error err;
    struct rpc_server *server;
    assert_true(rpc_server_new(&options, &server, &err));
    assert_true(rpc_server_add(server, &argon__wal__v1__wal__descriptor, toy_methods, ARRAY_LEN(toy_methods), toy, &err));
    if (!rpc_server_start(server, &err))
        fail_msg("%s", err.message);
    return server;
}

struct rpc_client *open_client(const char *address)
{
    struct error err;
    struct rpc_client *client;
    assert_true(rpc_client_open(&(struct rpc_client_options) { .target = address, .max_message_bytes = MAX_MESSAGE_BYTES }, &client, &err));
    return client;
}

void start_with(struct fixture *f, struct rpc_server_options options)
{
    toy_start(&f->toy);
    f->server = start_server(&f->toy, options);
    snprintf(f->address, sizeof f->address, "127.0.0.1:%d", rpc_server_port(f->server));
    f->client = open_client(f->address);
    arena_init(&f->arena, 0);
}

void stop(struct fixture *f)
{
    set_gate(&f->toy, true);
    rpc_client_close(f->client);
    rpc_server_drain(f->server, PATIENCE);
    rpc_server_free(f->server);
    toy_stop(&f->toy);
    arena_destroy(&f->arena);
}

int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    start_with(f, default_options);
    *state = f;
    return 0;
}

int tear_down(void **state)
{
    stop(*state);
    free(*state);
    return 0;
}

struct rpc_call_options within(int64_t micros)
{
    return (struct rpc_call_options) { .deadline = clock_monotonic_micros() + micros };
}

bool append_with(struct fixture *f, struct rpc_client *client, const char *project, struct bytes incarnation,
                 struct rpc_call_options options, Argon__Wal__V1__AppendResponse **response)
{
    Argon__Wal__V1__AppendRequest request = ARGON__WAL__V1__APPEND_REQUEST__INIT;
    request.project_id = (char *)project;
    request.incarnation = (ProtobufCBinaryData) { incarnation.len, (uint8_t *)incarnation.data };
    memset(&f->err, 0, sizeof f->err);
    return rpc_client_call(client, APPEND, &request.base, &argon__wal__v1__append_response__descriptor, &options, &f->arena,
                           (ProtobufCMessage **)response, &f->err);
}

bool append(struct fixture *f, const char *project)
{
    Argon__Wal__V1__AppendResponse *response;
    return append_with(f, f->client, project, bytes_of(NULL, 0), within(PATIENCE), &response);
}

void pending_init(struct pending *pending)
{
    memset(pending, 0, sizeof *pending);
    mutex_init(&pending->lock, 2);
    condition_init(&pending->changed);
}

void pending_done(void *ctx, const struct error *failure, struct bytes encoded)
{
    struct pending *pending = ctx;
    mutex_lock(&pending->lock);
    pending->ended++;
    if (failure) {
        pending->failed++;
        pending->last = *failure;
        assert_int_equal(encoded.len, 0);
    } else if (encoded.len <= sizeof pending->bytes) {
        if (encoded.len)
            memcpy(pending->bytes, encoded.data, encoded.len);
        pending->encoded = bytes_of(pending->bytes, encoded.len);
    }
    condition_broadcast(&pending->changed);
    mutex_unlock(&pending->lock);
}

void pending_append(struct pending *pending, struct rpc_client *client, const char *project, int64_t patience)
{
    Argon__Wal__V1__AppendRequest request = ARGON__WAL__V1__APPEND_REQUEST__INIT;
    request.project_id = (char *)project;
    struct rpc_call_options options = within(patience);
    pending->started++;
    rpc_client_start(client, APPEND, &request.base, &options, pending_done, pending);
}

void pending_wait(struct pending *pending)
{
    mutex_lock(&pending->lock);
    while (pending->ended < pending->started)
        condition_wait(&pending->changed, &pending->lock);
    mutex_unlock(&pending->lock);
    mutex_destroy(&pending->lock);
    condition_destroy(&pending->changed);
}

void find_free_address(char *address, size_t size)
{
    struct toy toy;
    toy_start(&toy);
    struct rpc_server *server = start_server(&toy, default_options);
    snprintf(address, size, "127.0.0.1:%d", rpc_server_port(server));
    rpc_server_free(server);
    toy_stop(&toy);
}

int toy_main(int argc, char **argv, const struct CMUnitTest *tests, size_t n)
{
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    rpc_init();
    int failed = _cmocka_run_group_tests("tests", tests, n, NULL, NULL);
    rpc_shutdown();
    return failed;
}
