#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "argon/wal/v1/wal.pb-c.h"
#include "common/base/clock.h"
#include "common/base/limits.h"
#include "common/base/log.h"
#include "common/base/sync.h"
#include "common/rpc/rpc.h"
#include "common/rpc/rpc_internal.h"
#include "grpc/health/v1/health.pb-c.h"

#define APPEND     "/argon.wal.v1.Wal/Append"
#define READ       "/argon.wal.v1.Wal/Read"
#define GET_HEAD   "/argon.wal.v1.Wal/GetHead"
#define GET_HEADS  "/argon.wal.v1.Wal/GetHeads"
#define GET_STATUS "/argon.wal.v1.Wal/GetStatus"

#define SERVING     GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING
#define NOT_SERVING GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__NOT_SERVING
#define UNKNOWN     GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVICE_UNKNOWN

/* ARRIVED: after so long a call has reached the server, on a busy machine too. */
enum { SECOND = MICROS_PER_SECOND, PATIENCE = 20 * SECOND, ARRIVED = 3 * SECOND };

/* ---- a toy log ---------------------------------------------------------------------------------------
 *
 * What a handler does is asked for by the project's name. */

struct toy {
    struct mutex lock;
    struct condition changed;
    bool open;        /* calls of project "gate" wait for this */
    unsigned waiting; /* at the gate */
    struct rpc_call *deferred[64];
    size_t n_deferred;
    bool stopping;
    pthread_t replier;
    atomic_uint appends;
    atomic_uint sent;        /* messages of streams */
    atomic_uint cut;         /* streams whose client went away */
    struct rpc_call *parked; /* the stream of project "parked" */
    unsigned news;           /* messages that it may still send; under lock */
    bool in_step;            /* steps never overlap */
    atomic_uint steps_freed;
    atomic_uint echoes;       /* that have ended */
    atomic_uint parked_n;     /* streams that have stood still at least once */
    atomic_uint cancelled;    /* calls that saw their end while they worked */
    _Atomic int64_t deadline; /* of the last Append */
};

static bool named(const char *project, const char *name)
{
    return strcmp(project, name) == 0;
}

static void wait_for_cancel(struct rpc_call *call)
{
    while (!rpc_call_cancelled(call))
        sched_yield();
}

static void on_append(void *service, struct rpc_call *call, const ProtobufCMessage *message)
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

static void tell(struct toy *toy, unsigned news)
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

static const struct rpc_method toy_methods[] = {
    RPC_UNARY("Append", on_append),      RPC_STREAM("Read", on_read),       RPC_UNARY_INLINE("GetHead", on_get_head),
    RPC_UNARY("GetHeads", on_get_heads), RPC_UNARY("FindLsn", on_find_lsn), RPC_UNARY_INLINE("GetStatus", on_get_status),
};

static const struct rpc_method echo_methods[] = {
    RPC_UNARY("Append", on_append),      RPC_BIDI("Read", on_echo),         RPC_UNARY_INLINE("GetHead", on_get_head),
    RPC_UNARY("GetHeads", on_get_heads), RPC_UNARY("FindLsn", on_find_lsn), RPC_UNARY_INLINE("GetStatus", on_get_status),
};

static void hold(void *service, struct rpc_call *call, const ProtobufCMessage *message)
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

static void set_gate(struct toy *toy, bool open)
{
    mutex_lock(&toy->lock);
    toy->open = open;
    condition_broadcast(&toy->changed);
    mutex_unlock(&toy->lock);
}

static void wait_at_gate(struct toy *toy, unsigned n)
{
    int64_t until = clock_monotonic_micros() + PATIENCE;
    mutex_lock(&toy->lock);
    while (toy->waiting < n && condition_wait_until(&toy->changed, &toy->lock, until))
        ;
    assert_int_equal(toy->waiting, n);
    mutex_unlock(&toy->lock);
}

static void wait_for_count(atomic_uint *counter, unsigned n)
{
    int64_t until = clock_monotonic_micros() + PATIENCE;
    while (atomic_load(counter) < n && clock_monotonic_micros() < until)
        sched_yield();
    assert_true(atomic_load(counter) >= n);
}

/* ---- fixture ----------------------------------------------------------------------------------------- */

struct fixture {
    struct toy toy;
    struct rpc_server *server;
    struct rpc_client *client;
    char address[64];
    struct arena arena;
    struct error err;
};

static const struct rpc_server_options default_options = {
    .listen = "127.0.0.1:0",
    .max_message_bytes = 1 * MIB,
    .max_calls = 100,
    .max_request_bytes = 8 * MIB,
    .worker_threads = 4,
};

static void toy_start(struct toy *toy)
{
    memset(toy, 0, sizeof *toy);
    mutex_init(&toy->lock, 1);
    condition_init(&toy->changed);
    toy->replier = thread_start("replier", run_replier, toy);
}

static void toy_stop(struct toy *toy)
{
    mutex_lock(&toy->lock);
    toy->stopping = true;
    condition_broadcast(&toy->changed);
    mutex_unlock(&toy->lock);
    pthread_join(toy->replier, NULL);
    mutex_destroy(&toy->lock);
    condition_destroy(&toy->changed);
}

static struct rpc_server *start_server(struct toy *toy, struct rpc_server_options options)
{
    struct error err;
    struct rpc_server *server;
    assert_true(rpc_server_new(&options, &server, &err));
    assert_true(rpc_server_add(server, &argon__wal__v1__wal__descriptor, toy_methods, ARRAY_LEN(toy_methods), toy, &err));
    if (!rpc_server_start(server, &err))
        fail_msg("%s", err.message);
    return server;
}

static struct rpc_client *open_client(const char *address)
{
    struct error err;
    struct rpc_client *client;
    assert_true(rpc_client_open(&(struct rpc_client_options) { .target = address, .max_message_bytes = MAX_MESSAGE_BYTES }, &client, &err));
    return client;
}

static void start_with(struct fixture *f, struct rpc_server_options options)
{
    toy_start(&f->toy);
    f->server = start_server(&f->toy, options);
    snprintf(f->address, sizeof f->address, "127.0.0.1:%d", rpc_server_port(f->server));
    f->client = open_client(f->address);
    arena_init(&f->arena, 0);
}

static void stop(struct fixture *f)
{
    set_gate(&f->toy, true);
    rpc_client_close(f->client);
    rpc_server_drain(f->server, PATIENCE);
    rpc_server_free(f->server);
    toy_stop(&f->toy);
    arena_destroy(&f->arena);
}

static int set_up(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    start_with(f, default_options);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    stop(*state);
    free(*state);
    return 0;
}

static struct rpc_call_options within(int64_t micros)
{
    return (struct rpc_call_options) { .deadline = clock_monotonic_micros() + micros };
}

static bool append_with(struct fixture *f, struct rpc_client *client, const char *project, struct bytes incarnation,
                        struct rpc_call_options options, Argon__Wal__V1__AppendResponse **response)
{
    Argon__Wal__V1__AppendRequest request = ARGON__WAL__V1__APPEND_REQUEST__INIT;
    request.project_id = (char *)project;
    request.incarnation = (ProtobufCBinaryData) { incarnation.len, (uint8_t *)incarnation.data };
    memset(&f->err, 0, sizeof f->err);
    return rpc_client_call(client, APPEND, &request.base, &argon__wal__v1__append_response__descriptor, &options, &f->arena,
                           (ProtobufCMessage **)response, &f->err);
}

static bool append(struct fixture *f, const char *project)
{
    Argon__Wal__V1__AppendResponse *response;
    return append_with(f, f->client, project, bytes_of(NULL, 0), within(PATIENCE), &response);
}

/* A call that is made while the test goes on. */
struct pending {
    struct mutex lock;
    struct condition changed;
    unsigned started, ended, failed;
    struct error last;
    struct bytes encoded;
    uint8_t bytes[64];
};

static void pending_init(struct pending *pending)
{
    memset(pending, 0, sizeof *pending);
    mutex_init(&pending->lock, 2);
    condition_init(&pending->changed);
}

static void pending_done(void *ctx, const struct error *failure, struct bytes encoded)
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

static void pending_append(struct pending *pending, struct rpc_client *client, const char *project, int64_t patience)
{
    Argon__Wal__V1__AppendRequest request = ARGON__WAL__V1__APPEND_REQUEST__INIT;
    request.project_id = (char *)project;
    struct rpc_call_options options = within(patience);
    pending->started++;
    rpc_client_start(client, APPEND, &request.base, &options, pending_done, pending);
}

static void pending_wait(struct pending *pending)
{
    mutex_lock(&pending->lock);
    while (pending->ended < pending->started)
        condition_wait(&pending->changed, &pending->lock);
    mutex_unlock(&pending->lock);
    mutex_destroy(&pending->lock);
    condition_destroy(&pending->changed);
}

/* ---- unary ------------------------------------------------------------------------------------------- */

static void unary_calls_are_answered(void **state)
{
    struct fixture *f = *state;
    Argon__Wal__V1__AppendResponse *response;
    for (int i = 0; i < 100; i++) {
        struct bytes text = bytes_of(&i, sizeof i);
        if (!append_with(f, f->client, "p", text, within(PATIENCE), &response))
            fail_msg("%s", f->err.message);
        assert_true(bytes_equal(text, bytes_of(response->incarnation.data, response->incarnation.len)));
    }
    Argon__Wal__V1__GetHeadsRequest request = ARGON__WAL__V1__GET_HEADS_REQUEST__INIT;
    request.project_id = (char *)"p";
    request.branch_ids = (char *[]) { (char *)"a", (char *)"", (char *)"abc" };
    request.n_branch_ids = 3;
    struct rpc_call_options options = { .deadline = NO_DEADLINE };
    Argon__Wal__V1__GetHeadsResponse *heads;
    assert_true(rpc_client_call(f->client, GET_HEADS, &request.base, &argon__wal__v1__get_heads_response__descriptor, &options, &f->arena,
                                (ProtobufCMessage **)&heads, &f->err));
    assert_int_equal(heads->n_last_lsns, 3);
    assert_int_equal(heads->last_lsns[2], 3);
}

static void an_empty_request_and_an_inline_answer(void **state)
{
    struct fixture *f = *state;
    Argon__Wal__V1__GetStatusRequest request = ARGON__WAL__V1__GET_STATUS_REQUEST__INIT;
    struct rpc_call_options options = within(PATIENCE);
    for (int i = 0; i < 100; i++) {
        Argon__Wal__V1__GetStatusResponse *status;
        assert_true(rpc_client_call(f->client, GET_STATUS, &request.base, &argon__wal__v1__get_status_response__descriptor, &options,
                                    &f->arena, (ProtobufCMessage **)&status, &f->err));
        assert_string_equal(status->version, "1");
    }
}

static void a_deferred_call_is_answered_from_another_thread(void **state)
{
    struct fixture *f = *state;
    Argon__Wal__V1__GetHeadRequest request = ARGON__WAL__V1__GET_HEAD_REQUEST__INIT;
    struct rpc_call_options options = within(PATIENCE);
    for (int i = 0; i < 200; i++) {
        Argon__Wal__V1__GetHeadResponse *head;
        assert_true(rpc_client_call(f->client, GET_HEAD, &request.base, &argon__wal__v1__get_head_response__descriptor, &options, &f->arena,
                                    (ProtobufCMessage **)&head, &f->err));
        assert_int_equal(head->commit_lsn, 42);
    }
}

static void a_deferred_call_learns_on_its_worker_that_it_is_over(void **state)
{
    struct fixture *f = *state;
    Argon__Wal__V1__GetHeadRequest request = ARGON__WAL__V1__GET_HEAD_REQUEST__INIT;
    struct rpc_call_options options = { .deadline = NO_DEADLINE };
    options.metadata = &(struct rpc_metadata) { "argon-hold", "1" };
    options.n_metadata = 1;
    struct pending pending;
    pending_init(&pending);
    pending.started++;
    rpc_client_start(f->client, GET_HEAD, &request.base, &options, pending_done, &pending);
    wait_at_gate(&f->toy, 1);
    rpc_server_drain(f->server, SECOND / 10);
    pending_wait(&pending);
    assert_int_equal(pending.last.code, ERROR_UNAVAILABLE);
    assert_int_equal(pending.last.outcome, OUTCOME_UNKNOWN);
    assert_int_equal(atomic_load(&f->toy.cancelled), 1);
}

/* They end together, on one thread: the poller is woken once for as many as there are, and forgets none. */
static void calls_that_end_together_are_all_answered(void **state)
{
    struct fixture *f = *state;
    Argon__Wal__V1__GetHeadRequest request = ARGON__WAL__V1__GET_HEAD_REQUEST__INIT;
    struct rpc_call_options options = within(PATIENCE);
    for (int round = 0; round < 50; round++) {
        struct pending pending;
        pending_init(&pending);
        for (pending.started = 0; pending.started < ARRAY_LEN(f->toy.deferred); pending.started++)
            rpc_client_start(f->client, GET_HEAD, &request.base, &options, pending_done, &pending);
        pending_wait(&pending);
        assert_int_equal(pending.failed, 0);
    }
}

static void many_calls_run_at_once(void **state)
{
    struct fixture *f = *state;
    struct pending pending;
    pending_init(&pending);
    for (int i = 0; i < 90; i++)
        pending_append(&pending, f->client, "p", PATIENCE);
    pending_wait(&pending);
    assert_int_equal(pending.failed, 0);
    assert_int_equal(atomic_load(&f->toy.appends), 90);
    assert_int_equal(pending.encoded.len, 0); /* all fields at their defaults */
}

static void large_messages_arrive_whole(void **state)
{
    struct fixture *f = *state;
    size_t size = MIB - 100;
    uint8_t *data = malloc(size);
    for (size_t i = 0; i < size; i++)
        data[i] = (uint8_t)(i * 7 + i / 251);
    Argon__Wal__V1__AppendResponse *response;
    assert_true(append_with(f, f->client, "p", bytes_of(data, size), within(PATIENCE), &response));
    assert_true(bytes_equal(bytes_of(data, size), bytes_of(response->incarnation.data, response->incarnation.len)));
    free(data);
}

/* ---- errors ------------------------------------------------------------------------------------------ */

static void failures_carry_code_message_and_outcome(void **state)
{
    struct fixture *f = *state;
    assert_false(append(f, "refused"));
    assert_int_equal(f->err.code, ERROR_ABORTED);
    assert_int_equal(f->err.outcome, OUTCOME_NOT_APPLIED);
    assert_string_equal(f->err.message, "somebody else was faster");
    assert_string_equal(f->err.reason, "WRITE_CONFLICT");
    assert_string_equal(f->err.keys, "users/{\"_id\":1}\ncaf\xc3\xa9?"); /* what is no UTF-8 cannot travel */
    assert_int_equal(f->err.mongo_code, 112);
    assert_false(append(f, "unknown"));
    assert_int_equal(f->err.mongo_code, 0);
    assert_null(f->err.reason); /* the code says it all */
    assert_string_equal(f->err.keys, "");
    assert_int_equal(f->err.code, ERROR_ABORTED);
    assert_int_equal(f->err.outcome, OUTCOME_UNKNOWN);
    assert_string_equal(f->err.message, "who knows: 100 % \xc3\xa4");
}

static void only_repeatable_calls_are_sent_again(void **state)
{
    struct fixture *f = *state;
    Argon__Wal__V1__AppendResponse *response;
    assert_false(append(f, "flaky"));
    assert_int_equal(f->err.code, ERROR_UNAVAILABLE);
    assert_string_equal(f->err.message, "not yet");
    assert_int_equal(f->err.outcome, OUTCOME_UNKNOWN);
    assert_int_equal(atomic_load(&f->toy.appends), 1);
    struct rpc_call_options options = within(PATIENCE);
    options.repeatable = true;
    assert_true(append_with(f, f->client, "flaky", bytes_of(NULL, 0), options, &response));
    assert_int_equal(atomic_load(&f->toy.appends), 4);
}

static void the_deadline_ends_a_call_and_reaches_the_handler(void **state)
{
    struct fixture *f = *state;
    Argon__Wal__V1__AppendResponse *response;
    struct rpc_call_options options = within(PATIENCE);
    assert_true(append_with(f, f->client, "p", bytes_of(NULL, 0), options, &response));
    int64_t difference = f->toy.deadline - options.deadline;
    assert_true(difference > -SECOND && difference < SECOND);
    options.deadline = NO_DEADLINE;
    assert_true(append_with(f, f->client, "p", bytes_of(NULL, 0), options, &response));
    assert_true(f->toy.deadline == NO_DEADLINE);

    assert_false(append_with(f, f->client, "patience", bytes_of(NULL, 0), within(SECOND / 10), &response));
    assert_int_equal(f->err.code, ERROR_DEADLINE_EXCEEDED);
    assert_int_equal(f->err.outcome, OUTCOME_UNKNOWN);
    wait_for_count(&f->toy.cancelled, 1);

    unsigned appends = atomic_load(&f->toy.appends);
    assert_false(append_with(f, f->client, "p", bytes_of(NULL, 0), within(-1), &response));
    assert_int_equal(f->err.code, ERROR_DEADLINE_EXCEEDED);
    assert_int_equal(f->err.outcome, OUTCOME_NOT_APPLIED); /* never sent */
    assert_int_equal(atomic_load(&f->toy.appends), appends);
}

static void an_unknown_method_is_unimplemented_at_once(void **state)
{
    struct fixture *f = *state;
    Argon__Wal__V1__GetHeadRequest request = ARGON__WAL__V1__GET_HEAD_REQUEST__INIT;
    struct rpc_call_options options = within(PATIENCE);
    ProtobufCMessage *response;
    int64_t began = clock_monotonic_micros();
    for (int i = 0; i < 20; i++) { /* more than are posted */
        assert_false(rpc_client_call(f->client, "/argon.wal.v1.Wal/Nothing", &request.base, &argon__wal__v1__get_head_response__descriptor,
                                     &options, &f->arena, &response, &f->err));
        assert_int_equal(f->err.code, ERROR_UNIMPLEMENTED);
        assert_int_equal(f->err.outcome, OUTCOME_NOT_APPLIED);
        assert_non_null(strstr(f->err.message, "/argon.wal.v1.Wal/Nothing"));
    }
    assert_true(clock_monotonic_micros() - began < PATIENCE / 2);
}

static void a_message_over_the_limit_is_refused(void **state)
{
    struct fixture *f = *state;
    size_t size = 2 * MIB;
    uint8_t *data = calloc(1, size);
    Argon__Wal__V1__AppendResponse *response;
    assert_false(append_with(f, f->client, "p", bytes_of(data, size), within(PATIENCE), &response));
    assert_int_equal(f->err.code, ERROR_RESOURCE_EXHAUSTED);
    assert_int_equal(atomic_load(&f->toy.appends), 0);
    free(data);
    assert_true(append(f, "p"));
}

static void malformed_bytes_are_an_invalid_argument(void **state)
{
    struct fixture *f = *state;
    Argon__Wal__V1__GetHeadResponse request = ARGON__WAL__V1__GET_HEAD_RESPONSE__INIT;
    request.commit_lsn = 7; /* a number where the project's name belongs */
    struct rpc_call_options options = within(PATIENCE);
    ProtobufCMessage *response;
    static const char *const methods[] = { APPEND, GET_HEAD };
    for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
        assert_false(rpc_client_call(f->client, methods[i], &request.base, &argon__wal__v1__append_response__descriptor, &options,
                                     &f->arena, &response, &f->err));
        assert_int_equal(f->err.code, ERROR_INVALID_ARGUMENT);
        assert_int_equal(f->err.outcome, OUTCOME_NOT_APPLIED);
        assert_non_null(strstr(f->err.message, "argon.wal.v1."));
    }
    struct rpc_client_stream *stream;
    assert_true(
        rpc_client_stream_open(f->client, READ, &request.base, &argon__wal__v1__read_response__descriptor, &options, &stream, &f->err));
    assert_false(rpc_client_stream_next(stream, &f->arena, &response, &f->err));
    assert_int_equal(f->err.code, ERROR_INVALID_ARGUMENT);
    rpc_client_stream_close(stream);
}

static void an_answer_of_another_type_is_the_servers_fault(void **state)
{
    struct fixture *f = *state;
    Argon__Wal__V1__GetStatusRequest request = ARGON__WAL__V1__GET_STATUS_REQUEST__INIT;
    struct rpc_call_options options = within(PATIENCE);
    ProtobufCMessage *response = NULL;
    assert_false(rpc_client_call(f->client, GET_STATUS, &request.base, &argon__wal__v1__get_head_response__descriptor, &options, &f->arena,
                                 &response, &f->err));
    assert_int_equal(f->err.code, ERROR_INTERNAL);
    assert_int_equal(f->err.outcome, OUTCOME_UNKNOWN);
    assert_null(response);
}

static void an_answer_over_the_clients_limit_is_an_error(void **state)
{
    struct fixture *f = *state;
    struct rpc_client *small;
    assert_true(rpc_client_open(&(struct rpc_client_options) { .target = f->address, .max_message_bytes = 1000 }, &small, &f->err));
    uint8_t data[2000] = { 0 };
    Argon__Wal__V1__AppendResponse *response;
    assert_false(append_with(f, small, "p", bytes_of(data, sizeof data), within(PATIENCE), &response));
    assert_int_equal(f->err.code, ERROR_RESOURCE_EXHAUSTED);
    assert_int_equal(f->err.outcome, OUTCOME_UNKNOWN); /* it was applied */
    rpc_client_close(small);
}

static void metadata_and_trailers_travel(void **state)
{
    struct fixture *f = *state;
    Argon__Wal__V1__AppendRequest request = ARGON__WAL__V1__APPEND_REQUEST__INIT;
    grpc_slice encoded;
    assert_true(codec_pack(&request.base, &encoded, &f->err));
    struct rpc_call_options options = within(PATIENCE);
    options.metadata = &(struct rpc_metadata) { "argon-tag", "blue" };
    options.n_metadata = 1;
    struct client_exchange exchange;
    /* the same channel with a queue that is looked at here, because the API does not show trailers */
    struct rpc_client client = { .channel = f->client->channel, .queue = grpc_completion_queue_create_for_next(NULL) };
    exchange_init_take(&exchange, &client, APPEND, encoded, &options);
    grpc_op ops[6];
    ops[0] = exchange_headers_op(&exchange, true);
    size_t n = 1 + exchange_request_ops(&exchange, &ops[1]);
    ops[n++] = exchange_status_op(&exchange); /* comes only when the message has been read */
    grpc_byte_buffer *response = NULL;
    ops[n] = (grpc_op) { .op = GRPC_OP_RECV_MESSAGE };
    ops[n++].data.recv_message.recv_message = &response;
    assert_int_equal(grpc_call_start_batch(exchange.call, ops, n, &exchange, NULL), GRPC_CALL_OK);
    grpc_event event = grpc_completion_queue_next(client.queue, deadline_to_timespec(options.deadline), NULL);
    assert_ptr_equal(event.tag, &exchange);
    const grpc_metadata *tag = metadata_find(&exchange.trailing, "argon-tag-back");
    const grpc_metadata *odd = metadata_find(&exchange.trailing, "argon-odd");
    assert_non_null(tag);
    assert_non_null(odd);
    assert_int_equal(grpc_slice_str_cmp(tag->value, "blue"), 0);
    assert_int_equal(grpc_slice_str_cmp(odd->value, "a?b?"), 0);
    assert_null(metadata_find(&exchange.trailing, RPC_OUTCOME_TRAILER));
    grpc_byte_buffer_destroy(response);
    exchange_destroy(&exchange);
    grpc_completion_queue_shutdown(client.queue);
    while (grpc_completion_queue_next(client.queue, deadline_to_timespec(NO_DEADLINE), NULL).type != GRPC_QUEUE_SHUTDOWN)
        ;
    grpc_completion_queue_destroy(client.queue);
}

/* ---- limits ------------------------------------------------------------------------------------------ */

static void calls_over_the_limit_are_refused_as_not_applied(void **state)
{
    (void)state;
    struct fixture f = { 0 };
    struct rpc_server_options options = default_options;
    options.max_calls = 3;
    options.worker_threads = 2;
    start_with(&f, options);
    struct pending pending;
    pending_init(&pending);
    for (int i = 0; i < 2; i++)
        pending_append(&pending, f.client, "gate", PATIENCE);
    wait_at_gate(&f.toy, 2);
    pending_append(&pending, f.client, "gate", PATIENCE); /* waits for a worker */
    int64_t until = clock_monotonic_micros() + PATIENCE;
    while (atomic_load(&f.server->calls) < 3 && clock_monotonic_micros() < until)
        sched_yield();

    for (int i = 0; i < 20; i++) {
        assert_false(append(&f, "p"));
        assert_int_equal(f.err.code, ERROR_RESOURCE_EXHAUSTED);
        assert_int_equal(f.err.outcome, OUTCOME_NOT_APPLIED);
    }
    Grpc__Health__V1__HealthCheckRequest check = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
    Grpc__Health__V1__HealthCheckResponse *health;
    struct rpc_call_options soon = within(PATIENCE);
    assert_true(rpc_client_call(f.client, "/grpc.health.v1.Health/Check", &check.base, &grpc__health__v1__health_check_response__descriptor,
                                &soon, &f.arena, (ProtobufCMessage **)&health, &f.err));
    assert_int_equal(health->status, SERVING);

    set_gate(&f.toy, true);
    pending_wait(&pending);
    assert_int_equal(pending.failed, 0);
    while (atomic_load(&f.server->calls) > 0 && clock_monotonic_micros() < until) /* the answers' tags */
        sched_yield();
    assert_true(append(&f, "p"));
    stop(&f);
}

static void request_bytes_over_the_budget_are_refused_as_not_applied(void **state)
{
    (void)state;
    struct fixture f = { 0 };
    struct rpc_server_options options = default_options;
    options.max_request_bytes = 6 * MIB;
    options.worker_threads = 8;
    start_with(&f, options);
    size_t size = MIB - MIB / 8;
    uint8_t *data = calloc(1, size);
    Argon__Wal__V1__AppendRequest request = ARGON__WAL__V1__APPEND_REQUEST__INIT;
    request.project_id = (char *)"gate";
    request.incarnation = (ProtobufCBinaryData) { size, data };
    struct pending pending;
    pending_init(&pending);
    for (unsigned i = 0; i < 6; i++) {
        struct rpc_call_options patient = within(PATIENCE);
        pending.started++;
        rpc_client_start(f.client, APPEND, &request.base, &patient, pending_done, &pending);
        wait_at_gate(&f.toy, i + 1);
    }
    Argon__Wal__V1__AppendResponse *response;
    assert_false(append_with(&f, f.client, "p", bytes_of(data, size), within(PATIENCE), &response));
    assert_int_equal(f.err.code, ERROR_RESOURCE_EXHAUSTED);
    assert_int_equal(f.err.outcome, OUTCOME_NOT_APPLIED);
    assert_true(append(&f, "p")); /* a small one still fits */
    set_gate(&f.toy, true);
    pending_wait(&pending);
    assert_int_equal(pending.failed, 0);
    assert_true(append_with(&f, f.client, "p", bytes_of(data, size), within(PATIENCE), &response));
    free(data);
    stop(&f);
    struct error err;
    options.max_request_bytes = RPC_LARGEST_REQUESTS * options.max_message_bytes - 1; /* the largest message could wait for ever */
    assert_false(rpc_server_new(&options, &f.server, &err));
    assert_int_equal(err.code, ERROR_INVALID_ARGUMENT);
}

static void a_request_that_unpacks_beyond_the_arena_is_refused(void **state)
{
    struct fixture *f = *state;
    /* two bytes a batch on the wire, over a hundred in memory */
    size_t n = MIB / 2 - 100;
    Argon__Wal__V1__Batch batch = ARGON__WAL__V1__BATCH__INIT;
    Argon__Wal__V1__Batch **batches = malloc(n * sizeof(Argon__Wal__V1__Batch *));
    for (size_t i = 0; i < n; i++)
        batches[i] = &batch;
    Argon__Wal__V1__AppendRequest request = ARGON__WAL__V1__APPEND_REQUEST__INIT;
    request.batches = batches;
    request.n_batches = n;
    struct rpc_call_options options = within(PATIENCE);
    ProtobufCMessage *response;
    assert_false(rpc_client_call(f->client, APPEND, &request.base, &argon__wal__v1__append_response__descriptor, &options, &f->arena,
                                 &response, &f->err));
    assert_int_equal(f->err.code, ERROR_RESOURCE_EXHAUSTED);
    assert_int_equal(f->err.outcome, OUTCOME_NOT_APPLIED);
    free(batches);
}

/* ---- streams ----------------------------------------------------------------------------------------- */

static struct rpc_client_stream *open_read(struct fixture *f, const char *project, uint64_t messages, uint64_t size, int64_t deadline)
{
    Argon__Wal__V1__ReadRequest request = ARGON__WAL__V1__READ_REQUEST__INIT;
    request.project_id = (char *)project;
    request.after_lsn = messages;
    request.through_lsn = size;
    struct rpc_call_options options = { .deadline = deadline };
    struct rpc_client_stream *stream;
    assert_true(
        rpc_client_stream_open(f->client, READ, &request.base, &argon__wal__v1__read_response__descriptor, &options, &stream, &f->err));
    return stream;
}

static uint64_t read_all(struct fixture *f, struct rpc_client_stream *stream, bool *ok)
{
    uint64_t n = 0;
    for (;;) {
        struct arena arena;
        arena_init(&arena, 0);
        Argon__Wal__V1__ReadResponse *response;
        *ok = rpc_client_stream_next(stream, &arena, (ProtobufCMessage **)&response, &f->err);
        if (*ok && response)
            assert_int_equal(response->complete_through, ++n);
        bool end = !*ok || !response;
        arena_destroy(&arena);
        if (end)
            return n;
    }
}

static void streams_deliver_every_message_in_order(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *project;
        uint64_t messages, size;
    } cases[] = { { "p", 5000, 10 }, { "p", 30, 700000 }, { "p", 0, 0 }, { "encoded", 1000, 20 } };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct rpc_client_stream *stream =
            open_read(f, cases[i].project, cases[i].messages, cases[i].size, clock_monotonic_micros() + PATIENCE);
        bool ok;
        assert_int_equal(read_all(f, stream, &ok), cases[i].messages);
        assert_true(ok);
        rpc_client_stream_close(stream);
    }
}

static void a_stream_that_fails_delivers_what_came_before(void **state)
{
    struct fixture *f = *state;
    struct rpc_client_stream *stream = open_read(f, "fails", 7, 10, NO_DEADLINE);
    bool ok;
    assert_int_equal(read_all(f, stream, &ok), 7);
    assert_false(ok);
    assert_int_equal(f->err.code, ERROR_OUT_OF_RANGE);
    assert_string_equal(f->err.message, "no further");
    ProtobufCMessage *message;
    assert_false(rpc_client_stream_next(stream, &f->arena, &message, &f->err)); /* and says so again */
    assert_int_equal(f->err.code, ERROR_OUT_OF_RANGE);
    rpc_client_stream_close(stream);
}

/* Waits until the sender has stood still for a while; how many messages it got rid of. */
static unsigned wait_for_standstill(struct toy *toy)
{
    unsigned sent = atomic_load(&toy->sent);
    for (int quiet = 0; quiet < 20;) {
        poll(NULL, 0, 10);
        unsigned now = atomic_load(&toy->sent);
        quiet = now == sent && now > 0 ? quiet + 1 : 0;
        sent = now;
    }
    return sent;
}

static void a_slow_reader_blocks_the_sender(void **state)
{
    struct fixture *f = *state;
    struct rpc_client_stream *stream = open_read(f, "p", 1000, 256 * 1024, NO_DEADLINE);
    /* 250 MiB are asked for and nobody reads: what flow control lets through is far below that */
    assert_in_range(wait_for_standstill(&f->toy), 1, 64);
    bool ok;
    assert_int_equal(read_all(f, stream, &ok), 1000);
    assert_true(ok);
    rpc_client_stream_close(stream);
}

static void a_client_that_leaves_frees_the_blocked_sender(void **state)
{
    struct fixture *f = *state;
    struct rpc_client_stream *stream = open_read(f, "endless", 0, 256 * 1024, NO_DEADLINE);
    ProtobufCMessage *message;
    assert_true(rpc_client_stream_next(stream, &f->arena, &message, &f->err));
    (void)wait_for_standstill(&f->toy);
    assert_int_equal(atomic_load(&f->toy.cut), 0);
    rpc_client_stream_close(stream);
    wait_for_count(&f->toy.cut, 1);
}

static void the_deadline_frees_the_blocked_sender(void **state)
{
    struct fixture *f = *state;
    struct rpc_client_stream *stream = open_read(f, "endless", 0, 256 * 1024, clock_monotonic_micros() + ARRIVED);
    wait_for_count(&f->toy.cut, 1);
    bool ok;
    (void)read_all(f, stream, &ok);
    assert_false(ok);
    assert_int_equal(f->err.code, ERROR_DEADLINE_EXCEEDED);
    rpc_client_stream_close(stream);
}

static void a_lost_connection_frees_the_blocked_sender(void **state)
{
    struct fixture *f = *state;
    struct rpc_client_stream *stream = open_read(f, "endless", 0, 256 * 1024, NO_DEADLINE);
    (void)wait_for_standstill(&f->toy);
    rpc_server_drain(f->server, 0);
    assert_int_equal(atomic_load(&f->toy.cut), 1);
    bool ok;
    (void)read_all(f, stream, &ok);
    assert_false(ok);
    assert_int_equal(f->err.code, ERROR_UNAVAILABLE);
    rpc_client_stream_close(stream);
}

static void slow_readers_leave_workers_for_unary_calls(void **state)
{
    struct fixture *f = *state;
    struct rpc_client_stream *streams[6]; /* more than there are workers */
    for (size_t i = 0; i < ARRAY_LEN(streams); i++)
        streams[i] = open_read(f, "endless", 0, 256 * 1024, NO_DEADLINE);
    (void)wait_for_standstill(&f->toy);
    assert_true(append(f, "p"));
    for (size_t i = 0; i < ARRAY_LEN(streams); i++)
        rpc_client_stream_close(streams[i]);
}

static void a_reader_that_takes_nothing_is_cut_off(void **state)
{
    (void)state;
    struct fixture f = { 0 };
    struct rpc_server_options options = default_options;
    options.stall_micros = SECOND / 5;
    start_with(&f, options);
    struct rpc_client_stream *stream = open_read(&f, "endless", 0, 256 * 1024, NO_DEADLINE);
    wait_for_count(&f.toy.cut, 1);
    bool ok;
    (void)read_all(&f, stream, &ok);
    assert_false(ok);
    rpc_client_stream_close(stream);
    stop(&f);
}

static void find_free_address(char *address, size_t size)
{
    struct toy toy;
    toy_start(&toy);
    struct rpc_server *server = start_server(&toy, default_options);
    snprintf(address, size, "127.0.0.1:%d", rpc_server_port(server));
    rpc_server_free(server);
    toy_stop(&toy);
}

/* ---- streams that hold no thread --------------------------------------------------------------------- */

static struct rpc_client_stream *open_follow(struct fixture *f, const char *project, uint64_t size, int64_t deadline)
{
    Argon__Wal__V1__ReadRequest request = ARGON__WAL__V1__READ_REQUEST__INIT;
    request.project_id = (char *)project;
    request.through_lsn = size;
    request.follow = true;
    struct rpc_call_options options = { .deadline = deadline };
    struct rpc_client_stream *stream;
    assert_true(
        rpc_client_stream_open(f->client, READ, &request.base, &argon__wal__v1__read_response__descriptor, &options, &stream, &f->err));
    return stream;
}

static void expect_next(struct fixture *f, struct rpc_client_stream *stream, uint64_t number)
{
    Argon__Wal__V1__ReadResponse *response;
    assert_true(rpc_client_stream_next(stream, &f->arena, (ProtobufCMessage **)&response, &f->err));
    assert_non_null(response);
    assert_int_equal(response->complete_through, number);
}

static void parked_streams_hold_no_thread(void **state)
{
    struct fixture *f = *state;
    struct rpc_client_stream *streams[40]; /* ten for each worker */
    for (size_t i = 0; i < ARRAY_LEN(streams); i++)
        streams[i] = open_follow(f, "many", 0, NO_DEADLINE);
    wait_for_count(&f->toy.parked_n, ARRAY_LEN(streams));
    struct rpc_client_stream *one = open_follow(f, "parked", 10, NO_DEADLINE);
    wait_for_count(&f->toy.parked_n, ARRAY_LEN(streams) + 1);
    tell(&f->toy, 3);
    for (uint64_t i = 1; i <= 3; i++)
        expect_next(f, one, i);
    assert_true(append(f, "p"));
    assert_int_equal(atomic_load(&f->toy.steps_freed), 0);
    for (size_t i = 0; i < ARRAY_LEN(streams); i++)
        rpc_client_stream_close(streams[i]);
    rpc_client_stream_close(one);
    wait_for_count(&f->toy.steps_freed, ARRAY_LEN(streams) + 1);
}

enum { TELLERS = 3, TOLD_EACH = 2000 };

static void *run_teller(void *ctx)
{
    for (unsigned i = 0; i < TOLD_EACH; i++)
        tell(ctx, 1);
    return NULL;
}

static void no_wake_is_lost(void **state)
{
    struct fixture *f = *state;
    struct rpc_client_stream *stream = open_follow(f, "parked", 10, clock_monotonic_micros() + PATIENCE);
    wait_for_count(&f->toy.parked_n, 1);
    pthread_t tellers[TELLERS];
    for (size_t i = 0; i < TELLERS; i++)
        tellers[i] = thread_start("teller", run_teller, &f->toy);
    for (uint64_t i = 1; i <= TELLERS * TOLD_EACH; i++)
        expect_next(f, stream, i);
    for (size_t i = 0; i < TELLERS; i++)
        pthread_join(tellers[i], NULL);
    rpc_client_stream_close(stream);
    wait_for_count(&f->toy.steps_freed, 1);
}

static void the_deadline_ends_a_parked_stream(void **state)
{
    struct fixture *f = *state;
    struct rpc_client_stream *stream = open_follow(f, "parked", 10, clock_monotonic_micros() + ARRIVED);
    bool ok;
    assert_int_equal(read_all(f, stream, &ok), 0);
    assert_false(ok);
    assert_int_equal(f->err.code, ERROR_DEADLINE_EXCEEDED);
    rpc_client_stream_close(stream);
    wait_for_count(&f->toy.steps_freed, 1);
}

static void draining_ends_parked_streams_at_once(void **state)
{
    struct fixture *f = *state;
    struct rpc_client_stream *stream = open_follow(f, "parked", 10, NO_DEADLINE);
    wait_for_count(&f->toy.parked_n, 1);
    int64_t before = clock_monotonic_micros();
    rpc_server_drain(f->server, PATIENCE);
    assert_true(clock_monotonic_micros() - before < PATIENCE / 2);
    bool ok;
    assert_int_equal(read_all(f, stream, &ok), 0);
    assert_false(ok);
    assert_int_equal(f->err.code, ERROR_UNAVAILABLE);
    assert_string_equal(f->err.message, "the server is stopping");
    rpc_client_stream_close(stream);
    assert_int_equal(atomic_load(&f->toy.steps_freed), 1);
}

static void a_stalled_reader_of_a_parked_stream_is_cut_off(void **state)
{
    (void)state;
    struct fixture f = { .server = NULL };
    struct rpc_server_options options = default_options;
    options.stall_micros = SECOND / 5;
    start_with(&f, options);
    struct rpc_client_stream *stream = open_follow(&f, "parked", 256 * 1024, NO_DEADLINE);
    wait_for_count(&f.toy.parked_n, 1);
    tell(&f.toy, 1000);
    wait_for_count(&f.toy.steps_freed, 1); /* the stream is never read */
    assert_true(atomic_load(&f.toy.sent) < 1000);
    rpc_client_stream_close(stream);
    stop(&f);
}

static void an_old_connection_goes_and_calls_go_on(void **state)
{
    (void)state;
    struct fixture f = { .server = NULL };
    struct rpc_server_options options = default_options;
    options.connection_age_micros = SECOND / 5;
    options.connection_grace_micros = SECOND / 5;
    start_with(&f, options);
    struct rpc_client_stream *stream = open_follow(&f, "parked", 10, clock_monotonic_micros() + PATIENCE);
    bool ok;
    assert_int_equal(read_all(&f, stream, &ok), 0);
    assert_false(ok);
    assert_int_equal(f.err.code, ERROR_UNAVAILABLE);
    assert_true(append(&f, "p")); /* on the next connection */
    rpc_client_stream_close(stream);
    wait_for_count(&f.toy.steps_freed, 1);
    stop(&f);
}

static void a_connection_carries_so_many_calls_at_a_time(void **state)
{
    (void)state;
    struct fixture f = { .server = NULL };
    struct rpc_server_options options = default_options;
    options.max_connection_streams = 2;
    start_with(&f, options);
    assert_true(append(&f, "p")); /* the server's settings have arrived */
    struct pending pending;
    pending_init(&pending);
    for (int i = 0; i < 3; i++)
        pending_append(&pending, f.client, "gate", PATIENCE);
    wait_at_gate(&f.toy, 2);
    struct rpc_client *other = open_client(f.address); /* has room of its own, and shows that the third was held back */
    Argon__Wal__V1__AppendResponse *response;
    assert_true(append_with(&f, other, "p", bytes_of(NULL, 0), within(PATIENCE), &response));
    assert_int_equal(atomic_load(&f.toy.appends), 4);
    set_gate(&f.toy, true);
    pending_wait(&pending);
    assert_int_equal(pending.failed, 0);
    rpc_client_close(other);
    stop(&f);
}

static void several_addresses_are_served_in_order_or_in_turn(void **state)
{
    struct fixture *f = *state;
    struct toy other;
    toy_start(&other);
    struct rpc_server *second = start_server(&other, default_options);
    char free_address[64], target[256];
    find_free_address(free_address, sizeof free_address);
    for (enum rpc_balance balance = RPC_PICK_FIRST; balance <= RPC_ROUND_ROBIN; balance++) {
        /* names are resolved, and an address where nobody is does no harm */
        snprintf(target, sizeof target, "%s,localhost:%d,127.0.0.1:%d", free_address, rpc_server_port(f->server), rpc_server_port(second));
        struct rpc_client_options options = { .target = target, .balance = balance, .max_message_bytes = MAX_MESSAGE_BYTES };
        struct rpc_client *client;
        assert_true(rpc_client_open(&options, &client, &f->err));
        unsigned before = atomic_load(&f->toy.appends), other_before = atomic_load(&other.appends);
        int64_t until = clock_monotonic_micros() + PATIENCE;
        unsigned n = 0;
        Argon__Wal__V1__AppendResponse *response;
        do { /* round robin begins with those that are connected already */
            assert_true(append_with(f, client, "p", bytes_of(NULL, 0), within(PATIENCE), &response));
            n++;
        } while (n < 40 || (balance == RPC_ROUND_ROBIN && clock_monotonic_micros() < until &&
                            (atomic_load(&f->toy.appends) == before || atomic_load(&other.appends) == other_before)));
        if (balance == RPC_PICK_FIRST)
            assert_int_equal(atomic_load(&f->toy.appends), before + n);
        else
            assert_true(atomic_load(&f->toy.appends) > before && atomic_load(&other.appends) > other_before);
        rpc_client_close(client);
    }
    struct rpc_client *client;
    assert_false(
        rpc_client_open(&(struct rpc_client_options) { .target = "127.0.0.1:1,nonsense", .max_message_bytes = MIB }, &client, &f->err));
    assert_int_equal(f->err.code, ERROR_INVALID_ARGUMENT);
    rpc_server_drain(second, PATIENCE);
    rpc_server_free(second);
    toy_stop(&other);
}

/* ---- reading without waiting ------------------------------------------------------------------------- */

struct bell {
    struct mutex lock;
    struct condition changed;
    unsigned rung, heard; /* heard: the test's */
};

static void ring(void *ctx)
{
    struct bell *bell = ctx;
    mutex_lock(&bell->lock);
    bell->rung++;
    condition_broadcast(&bell->changed);
    mutex_unlock(&bell->lock);
}

static void wait_for_ring(struct bell *bell)
{
    int64_t until = clock_monotonic_micros() + PATIENCE;
    mutex_lock(&bell->lock);
    while (bell->rung == bell->heard)
        assert_true(condition_wait_until(&bell->changed, &bell->lock, until));
    bell->heard = bell->rung;
    mutex_unlock(&bell->lock);
}

static void a_notified_reader_sees_every_message_and_the_end(void **state)
{
    struct fixture *f = *state;
    static const struct {
        const char *project;
        bool ok, late;
    } cases[] = { { "p", true, false }, { "p", true, true }, { "fails", false, false } };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct bell bell = { .rung = 0 };
        mutex_init(&bell.lock, 3);
        condition_init(&bell.changed);
        struct rpc_client_stream *stream = open_read(f, cases[i].project, 500, 10, NO_DEADLINE);
        bool arrived = false, ok = true;
        ProtobufCMessage *message = NULL;
        uint64_t n = 0;
        if (cases[i].late) { /* the first has arrived before anybody asks to hear of it, and no more is read ahead */
            expect_next(f, stream, ++n);
            wait_for_count(&f->toy.sent, 2);
        }
        rpc_client_stream_notify(stream, ring, &bell);
        for (;;) {
            ok = rpc_client_stream_try_next(stream, &f->arena, &arrived, &message, &f->err);
            if (!ok || (arrived && !message))
                break;
            if (arrived)
                assert_int_equal(((Argon__Wal__V1__ReadResponse *)message)->complete_through, ++n);
            else
                wait_for_ring(&bell);
        }
        assert_int_equal(n, 500);
        assert_int_equal(ok, cases[i].ok);
        rpc_client_stream_close(stream);
        mutex_destroy(&bell.lock);
        condition_destroy(&bell.changed);
    }
}

/* ---- both directions --------------------------------------------------------------------------------- */

static void start_echo(struct fixture *f)
{
    toy_start(&f->toy);
    struct error err;
    assert_true(rpc_server_new(&default_options, &f->server, &err));
    assert_true(rpc_server_add(f->server, &argon__wal__v1__wal__descriptor, echo_methods, ARRAY_LEN(echo_methods), &f->toy, &err));
    assert_true(rpc_server_start(f->server, &err));
    snprintf(f->address, sizeof f->address, "127.0.0.1:%d", rpc_server_port(f->server));
    f->client = open_client(f->address);
    arena_init(&f->arena, 0);
}

static struct rpc_client_stream *open_echo(struct fixture *f)
{
    struct rpc_client_stream *stream;
    struct rpc_call_options options = within(PATIENCE);
    assert_true(rpc_client_bidi_open(f->client, READ, &argon__wal__v1__read_response__descriptor, &options, &stream, &f->err));
    return stream;
}

static bool say(struct fixture *f, struct rpc_client_stream *stream, uint64_t number)
{
    Argon__Wal__V1__ReadRequest request = ARGON__WAL__V1__READ_REQUEST__INIT;
    request.after_lsn = number;
    return rpc_client_stream_send(stream, &request.base, &f->err);
}

static void both_sides_of_a_stream_talk(void **state)
{
    (void)state;
    struct fixture f = { .server = NULL };
    start_echo(&f);
    struct rpc_client_stream *stream = open_echo(&f);
    for (uint64_t i = 1; i <= 300; i++) {
        assert_true(say(&f, stream, i));
        expect_next(&f, stream, i);
    }
    rpc_client_stream_send_end(stream);
    bool ok;
    assert_int_equal(read_all(&f, stream, &ok), 0);
    assert_true(ok);
    rpc_client_stream_close(stream);

    stream = open_echo(&f); /* one that leaves frees the handler that waits for it */
    assert_true(say(&f, stream, 7));
    expect_next(&f, stream, 7);
    rpc_client_stream_close(stream);
    wait_for_count(&f.toy.echoes, 2);
    stop(&f);
}

static void draining_ends_a_receiver_at_once(void **state)
{
    (void)state;
    struct fixture f = { .server = NULL };
    start_echo(&f);
    struct rpc_client_stream *stream = open_echo(&f);
    assert_true(say(&f, stream, 1));
    expect_next(&f, stream, 1);
    int64_t before = clock_monotonic_micros();
    rpc_server_drain(f.server, PATIENCE);
    assert_true(clock_monotonic_micros() - before < PATIENCE / 2);
    bool ok;
    assert_int_equal(read_all(&f, stream, &ok), 0);
    assert_false(ok);
    assert_int_equal(f.err.code, ERROR_UNAVAILABLE);
    assert_string_equal(f.err.message, "the server is stopping");
    assert_false(say(&f, stream, 2));
    rpc_client_stream_close(stream);
    stop(&f);
}

/* ---- connections ------------------------------------------------------------------------------------- */

static void a_second_server_on_the_port_is_refused(void **state)
{
    struct fixture *f = *state;
    struct rpc_server_options options = default_options;
    options.listen = f->address;
    struct rpc_server *second;
    assert_true(rpc_server_new(&options, &second, &f->err));
    assert_true(rpc_server_add(second, &argon__wal__v1__wal__descriptor, toy_methods, ARRAY_LEN(toy_methods), &f->toy, &f->err));
    assert_false(rpc_server_start(second, &f->err));
    assert_int_equal(f->err.code, ERROR_UNAVAILABLE);
    assert_non_null(strstr(f->err.message, f->address));
    assert_non_null(strstr(f->err.message, "Address already in use"));
    rpc_server_free(second);
    assert_true(append(f, "p"));
}

static void every_method_needs_its_row(void **state)
{
    struct fixture *f = *state;
    struct rpc_server *server;
    assert_true(rpc_server_new(&default_options, &server, &f->err));
    assert_false(rpc_server_add(server, &argon__wal__v1__wal__descriptor, toy_methods, ARRAY_LEN(toy_methods) - 1, NULL, &f->err));
    assert_non_null(strstr(f->err.message, "GetStatus"));
    const struct rpc_method strange[] = { RPC_UNARY("Strange", on_append) };
    assert_false(rpc_server_add(server, &argon__wal__v1__wal__descriptor, strange, 1, NULL, &f->err));
    rpc_server_free(server); /* never started */
}

/* A port that nobody listens on. */
static void without_a_server_the_reason_is_told(void **state)
{
    (void)state;
    struct fixture f = { 0 };
    char address[64];
    find_free_address(address, sizeof address);
    char spelled[80];
    snprintf(spelled, sizeof spelled, "ipv4:%s", address);
    const char *targets[] = { address, spelled };
    for (size_t i = 0; i < ARRAY_LEN(targets); i++) {
        struct rpc_client *client = open_client(targets[i]);
        for (int repeatable = 0; repeatable < 2; repeatable++) {
            struct rpc_call_options options = within(SECOND / 2);
            options.repeatable = repeatable;
            Argon__Wal__V1__AppendResponse *response;
            assert_false(append_with(&f, client, "p", bytes_of(NULL, 0), options, &response));
            assert_int_equal(f.err.code, ERROR_UNAVAILABLE);
            assert_int_equal(f.err.outcome, OUTCOME_NOT_APPLIED);
            assert_non_null(strstr(f.err.message, "Connection refused"));
            assert_non_null(strstr(f.err.message, address));
            assert_true(clock_monotonic_micros() >= options.deadline - SECOND / 100); /* it did wait */
        }
        struct pending pending;
        pending_init(&pending);
        pending_append(&pending, client, "p", SECOND / 10);
        pending_wait(&pending);
        assert_int_equal(pending.last.code, ERROR_UNAVAILABLE);
        assert_int_equal(pending.last.outcome, OUTCOME_NOT_APPLIED);
        assert_non_null(strstr(pending.last.message, address));
        rpc_client_close(client);
    }
}

struct late_server {
    struct toy *toy;
    const char *address;
    struct rpc_server *server;
};

static void *start_late(void *ctx)
{
    struct late_server *late = ctx;
    poll(NULL, 0, 300); /* not synchronisation: the point is that the client has to wait */
    struct rpc_server_options options = default_options;
    options.listen = late->address;
    late->server = start_server(late->toy, options);
    return NULL;
}

static void calls_wait_for_the_server_to_come_up(void **state)
{
    (void)state;
    for (int repeatable = 0; repeatable < 2; repeatable++) {
        struct fixture f = { 0 };
        find_free_address(f.address, sizeof f.address);
        toy_start(&f.toy);
        f.client = open_client(f.address);
        struct late_server late = { .toy = &f.toy, .address = f.address };
        pthread_t starter = thread_start("late", start_late, &late);
        struct pending pending;
        pending_init(&pending);
        pending_append(&pending, f.client, "p", PATIENCE);
        struct rpc_call_options options = within(PATIENCE);
        options.repeatable = repeatable;
        Argon__Wal__V1__AppendResponse *response;
        if (!append_with(&f, f.client, "p", bytes_of(NULL, 0), options, &response))
            fail_msg("%s", f.err.message);
        pending_wait(&pending);
        assert_int_equal(pending.failed, 0);
        pthread_join(starter, NULL);
        f.server = late.server;
        stop(&f);
    }
}

/* ---- draining ---------------------------------------------------------------------------------------- */

struct drainer {
    struct rpc_server *server;
    int64_t grace;
    int64_t took;
    atomic_uint done;
};

static void *run_drain(void *ctx)
{
    struct drainer *drainer = ctx;
    int64_t began = clock_monotonic_micros();
    rpc_server_drain(drainer->server, drainer->grace);
    drainer->took = clock_monotonic_micros() - began;
    atomic_store(&drainer->done, 1);
    return NULL;
}

static struct rpc_client_stream *open_watch(struct fixture *f, const char *service)
{
    Grpc__Health__V1__HealthCheckRequest request = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
    request.service = (char *)service;
    struct rpc_call_options options = { .deadline = NO_DEADLINE };
    struct rpc_client_stream *stream;
    assert_true(rpc_client_stream_open(f->client, "/grpc.health.v1.Health/Watch", &request.base,
                                       &grpc__health__v1__health_check_response__descriptor, &options, &stream, &f->err));
    return stream;
}

static int next_health(struct fixture *f, struct rpc_client_stream *stream)
{
    Grpc__Health__V1__HealthCheckResponse *response;
    if (!rpc_client_stream_next(stream, &f->arena, (ProtobufCMessage **)&response, &f->err))
        return -(int)f->err.code;
    return response ? (int)response->status : 0;
}

static int check_health(struct fixture *f, const char *service)
{
    Grpc__Health__V1__HealthCheckRequest request = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
    request.service = (char *)service;
    struct rpc_call_options options = within(PATIENCE);
    Grpc__Health__V1__HealthCheckResponse *response;
    if (!rpc_client_call(f->client, "/grpc.health.v1.Health/Check", &request.base, &grpc__health__v1__health_check_response__descriptor,
                         &options, &f->arena, (ProtobufCMessage **)&response, &f->err))
        return -(int)f->err.code;
    return (int)response->status;
}

static void health_follows_the_services(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(check_health(f, ""), SERVING);
    assert_int_equal(check_health(f, "argon.wal.v1.Wal"), SERVING);
    assert_int_equal(check_health(f, "grpc.health.v1.Health"), SERVING);
    assert_int_equal(check_health(f, "nobody"), -ERROR_NOT_FOUND);
    struct rpc_client_stream *wal = open_watch(f, "argon.wal.v1.Wal"), *nobody = open_watch(f, "nobody");
    assert_int_equal(next_health(f, wal), SERVING);
    assert_int_equal(next_health(f, nobody), UNKNOWN);
    rpc_server_set_serving(f->server, "argon.wal.v1.Wal", false);
    assert_int_equal(next_health(f, wal), NOT_SERVING);
    assert_int_equal(check_health(f, "argon.wal.v1.Wal"), NOT_SERVING);
    assert_int_equal(check_health(f, ""), SERVING);
    rpc_server_set_serving(f->server, "argon.wal.v1.Wal", true);
    assert_int_equal(next_health(f, wal), SERVING);
    rpc_server_set_serving(f->server, "nobody", true);
    assert_int_equal(next_health(f, nobody), SERVING);
    rpc_client_stream_close(nobody);
    rpc_server_set_serving(f->server, "nobody", false);
    for (int i = 0; i < 1000; i++) /* changes collapse, the last one always arrives */
        rpc_server_set_serving(f->server, "argon.wal.v1.Wal", i % 2);
    rpc_server_set_serving(f->server, "argon.wal.v1.Wal", false);
    rpc_server_set_serving(f->server, "", false);
    while (next_health(f, wal) != NOT_SERVING || check_health(f, "") != NOT_SERVING)
        ;
    rpc_client_stream_close(wal);
}

static void draining_finishes_what_runs_and_refuses_what_comes(void **state)
{
    struct fixture *f = *state;
    struct pending pending;
    pending_init(&pending);
    pending_append(&pending, f->client, "gate", PATIENCE);
    wait_at_gate(&f->toy, 1);
    struct rpc_client_stream *watch = open_watch(f, "");
    assert_int_equal(next_health(f, watch), SERVING);

    struct drainer drainer = { .server = f->server, .grace = PATIENCE };
    pthread_t thread = thread_start("drain", run_drain, &drainer);
    assert_int_equal(next_health(f, watch), NOT_SERVING);
    assert_int_equal(check_health(f, "argon.wal.v1.Wal"), NOT_SERVING);
    for (int i = 0; i < 5; i++) {
        assert_false(append(f, "p"));
        assert_int_equal(f->err.code, ERROR_UNAVAILABLE);
        assert_int_equal(f->err.outcome, OUTCOME_NOT_APPLIED);
    }
    assert_int_equal(atomic_load(&drainer.done), 0); /* one call is still at the gate */
    set_gate(&f->toy, true);
    pthread_join(thread, NULL);
    pending_wait(&pending);
    assert_int_equal(pending.failed, 0);
    assert_int_equal(next_health(f, watch), -ERROR_UNAVAILABLE);
    rpc_client_stream_close(watch);
    assert_true(drainer.took < PATIENCE);
}

static void draining_cancels_what_outlasts_the_grace(void **state)
{
    struct fixture *f = *state;
    struct pending pending;
    pending_init(&pending);
    for (int i = 0; i < 10; i++) /* some run, some wait for a worker */
        pending_append(&pending, f->client, "gate", PATIENCE);
    wait_at_gate(&f->toy, 4);
    rpc_server_drain(f->server, SECOND / 10);
    pending_wait(&pending);
    assert_int_equal(pending.failed, 10);
    assert_int_equal(pending.last.code, ERROR_UNAVAILABLE);
    assert_in_range(atomic_load(&f->toy.cancelled), 4, 10); /* the others may be over before a worker takes them */
}

/* Callers that never stop, while the server goes away under them. */
struct hammer {
    struct fixture *f;
    atomic_bool stop;
    unsigned ok, unavailable, other;
    struct error worst;
};

static void *run_hammer(void *ctx)
{
    struct hammer *hammer = ctx;
    struct fixture own = { 0 };
    arena_init(&own.arena, 0);
    while (!atomic_load(&hammer->stop)) {
        Argon__Wal__V1__AppendResponse *response;
        if (append_with(&own, hammer->f->client, "p", bytes_of(NULL, 0), within(2 * SECOND), &response)) {
            hammer->ok++;
        } else if (own.err.code == ERROR_UNAVAILABLE) {
            hammer->unavailable++;
        } else {
            hammer->other++;
            hammer->worst = own.err;
        }
        arena_destroy(&own.arena);
    }
    return NULL;
}

static void stopping_under_load_leaves_callers_with_unavailable(void **state)
{
    struct fixture *f = *state;
    struct hammer hammers[4];
    pthread_t threads[ARRAY_LEN(hammers)];
    for (size_t i = 0; i < ARRAY_LEN(hammers); i++) {
        hammers[i] = (struct hammer) { .f = f };
        threads[i] = thread_start("hammer", run_hammer, &hammers[i]);
    }
    wait_for_count(&f->toy.appends, 200);
    rpc_server_drain(f->server, PATIENCE);
    for (size_t i = 0; i < ARRAY_LEN(hammers); i++) {
        atomic_store(&hammers[i].stop, true);
        pthread_join(threads[i], NULL);
        assert_true(hammers[i].ok > 0);
        if (hammers[i].other)
            fail_msg("%u calls ended in %s: %s", hammers[i].other, error_code_name(hammers[i].worst.code), hammers[i].worst.message);
    }
}

/* ---- the process ------------------------------------------------------------------------------------- */

static void *send_signal(void *ctx)
{
    kill(getpid(), *(int *)ctx);
    return NULL;
}

static void *stop_waiting(void *ctx)
{
    (void)ctx;
    rpc_stop_waiting();
    return NULL;
}

static void signals_and_stops_end_the_wait(void **state)
{
    (void)state;
    int signals[] = { SIGTERM, SIGINT };
    for (size_t i = 0; i < ARRAY_LEN(signals); i++) {
        pthread_t thread = thread_start("signal", send_signal, &signals[i]);
        assert_int_equal(rpc_wait_for_signal(NO_DEADLINE), signals[i]);
        pthread_join(thread, NULL);
    }
    pthread_t thread = thread_start("stop", stop_waiting, NULL);
    assert_int_equal(rpc_wait_for_signal(NO_DEADLINE), 0);
    pthread_join(thread, NULL);
    rpc_stop_waiting(); /* before the wait counts too */
    assert_int_equal(rpc_wait_for_signal(NO_DEADLINE), 0);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    rpc_init();
#define WITH_SERVER(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        WITH_SERVER(unary_calls_are_answered),
        WITH_SERVER(an_empty_request_and_an_inline_answer),
        WITH_SERVER(a_deferred_call_is_answered_from_another_thread),
        WITH_SERVER(a_deferred_call_learns_on_its_worker_that_it_is_over),
        WITH_SERVER(calls_that_end_together_are_all_answered),
        WITH_SERVER(many_calls_run_at_once),
        WITH_SERVER(large_messages_arrive_whole),
        WITH_SERVER(failures_carry_code_message_and_outcome),
        WITH_SERVER(only_repeatable_calls_are_sent_again),
        WITH_SERVER(the_deadline_ends_a_call_and_reaches_the_handler),
        WITH_SERVER(an_unknown_method_is_unimplemented_at_once),
        WITH_SERVER(a_message_over_the_limit_is_refused),
        WITH_SERVER(malformed_bytes_are_an_invalid_argument),
        WITH_SERVER(an_answer_of_another_type_is_the_servers_fault),
        WITH_SERVER(an_answer_over_the_clients_limit_is_an_error),
        WITH_SERVER(metadata_and_trailers_travel),
        cmocka_unit_test(calls_over_the_limit_are_refused_as_not_applied),
        cmocka_unit_test(request_bytes_over_the_budget_are_refused_as_not_applied),
        WITH_SERVER(a_request_that_unpacks_beyond_the_arena_is_refused),
        WITH_SERVER(streams_deliver_every_message_in_order),
        WITH_SERVER(a_stream_that_fails_delivers_what_came_before),
        WITH_SERVER(a_slow_reader_blocks_the_sender),
        WITH_SERVER(a_client_that_leaves_frees_the_blocked_sender),
        WITH_SERVER(the_deadline_frees_the_blocked_sender),
        WITH_SERVER(a_lost_connection_frees_the_blocked_sender),
        WITH_SERVER(slow_readers_leave_workers_for_unary_calls),
        cmocka_unit_test(a_reader_that_takes_nothing_is_cut_off),
        WITH_SERVER(parked_streams_hold_no_thread),
        WITH_SERVER(no_wake_is_lost),
        WITH_SERVER(the_deadline_ends_a_parked_stream),
        WITH_SERVER(draining_ends_parked_streams_at_once),
        cmocka_unit_test(a_stalled_reader_of_a_parked_stream_is_cut_off),
        cmocka_unit_test(an_old_connection_goes_and_calls_go_on),
        cmocka_unit_test(a_connection_carries_so_many_calls_at_a_time),
        WITH_SERVER(several_addresses_are_served_in_order_or_in_turn),
        WITH_SERVER(a_notified_reader_sees_every_message_and_the_end),
        cmocka_unit_test(both_sides_of_a_stream_talk),
        cmocka_unit_test(draining_ends_a_receiver_at_once),
        WITH_SERVER(a_second_server_on_the_port_is_refused),
        WITH_SERVER(every_method_needs_its_row),
        cmocka_unit_test(without_a_server_the_reason_is_told),
        cmocka_unit_test(calls_wait_for_the_server_to_come_up),
        WITH_SERVER(health_follows_the_services),
        WITH_SERVER(draining_finishes_what_runs_and_refuses_what_comes),
        WITH_SERVER(draining_cancels_what_outlasts_the_grace),
        WITH_SERVER(stopping_under_load_leaves_callers_with_unavailable),
        cmocka_unit_test(signals_and_stops_end_the_wait),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    rpc_shutdown();
    return failed;
}
