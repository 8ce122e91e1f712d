/* Requests of methods that take large ones: read as there is memory for them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <argon/wal/v1/wal.pb-c.h>
#include <cmocka.h>
#include <stdatomic.h>

#include "common/base/clock.h"
#include "common/base/limits.h"
#include "common/base/sync.h"
#include "common/rpc/rpc.h"

#define APPEND   "/argon.wal.v1.Wal/Append"
#define PATIENCE (20 * (int64_t)MICROS_PER_SECOND)
enum { LARGE = 900 * 1024, SMALL = 100, MANY = 20 };

/* ---- a service whose Append waits at a gate when its request is large -------------------------------- */

struct gate {
    struct mutex lock; /* rank 1 */
    struct condition changed;
    bool open;
    unsigned inside, most;
};

static void on_append(void *service, struct rpc_call *call, const ProtobufCMessage *message)
{
    struct gate *gate = service;
    const Argon__Wal__V1__AppendRequest *request = (const Argon__Wal__V1__AppendRequest *)message;
    Argon__Wal__V1__AppendResponse response = ARGON__WAL__V1__APPEND_RESPONSE__INIT;
    response.commit_lsn = request->incarnation.len;
    if (request->incarnation.len == LARGE) {
        mutex_lock(&gate->lock);
        if (++gate->inside > gate->most)
            gate->most = gate->inside;
        condition_broadcast(&gate->changed);
        while (!gate->open && !rpc_call_cancelled(call))
            (void)condition_wait_until(&gate->changed, &gate->lock, clock_monotonic_micros() + MICROS_PER_SECOND / 100);
        gate->inside--;
        mutex_unlock(&gate->lock);
    }
    rpc_reply(call, &response.base);
}

static void on_other(void *service, struct rpc_call *call, const ProtobufCMessage *message)
{
    (void)service;
    (void)message;
    Argon__Wal__V1__GetStatusResponse response = ARGON__WAL__V1__GET_STATUS_RESPONSE__INIT;
    rpc_reply(call, &response.base);
}

static const struct rpc_method methods[] = {
    RPC_LARGE_UNARY("Append", on_append), RPC_STREAM("Read", on_other),   RPC_UNARY("GetHead", on_other),
    RPC_UNARY("GetHeads", on_other),      RPC_UNARY("FindLsn", on_other), RPC_UNARY("GetStatus", on_other),
};

static void wait_inside(struct gate *gate)
{
    int64_t until = clock_monotonic_micros() + PATIENCE;
    mutex_lock(&gate->lock);
    while (gate->inside == 0 && condition_wait_until(&gate->changed, &gate->lock, until))
        ;
    assert_int_equal(gate->inside, 1);
    mutex_unlock(&gate->lock);
}

static void open_gate(struct gate *gate)
{
    mutex_lock(&gate->lock);
    gate->open = true;
    condition_broadcast(&gate->changed);
    mutex_unlock(&gate->lock);
}

/* ---- fixture: room for one large request at work and one that has been read -------------------------- */

struct fixture {
    struct gate gate;
    struct rpc_server *server;
    struct rpc_client *client;
    uint8_t *bytes;
};

static void start(struct fixture *f, int64_t request_wait_micros)
{
    struct error err;
    char address[64];
    const struct rpc_server_options options = {
        .listen = "127.0.0.1:0",
        .max_message_bytes = MIB,
        .max_calls = 100,
        .max_request_bytes = (size_t)RPC_LARGEST_REQUESTS * MIB,
        .request_wait_micros = request_wait_micros,
        .worker_threads = 8,
    };
    *f = (struct fixture) { .bytes = calloc(1, 2 * MIB) };
    mutex_init(&f->gate.lock, 1);
    condition_init(&f->gate.changed);
    assert_true(rpc_server_new(&options, &f->server, &err));
    assert_true(rpc_server_add(f->server, &argon__wal__v1__wal__descriptor, methods, ARRAY_LEN(methods), &f->gate, &err));
    assert_true(rpc_server_start(f->server, &err));
    snprintf(address, sizeof address, "127.0.0.1:%d", rpc_server_port(f->server));
    assert_true(rpc_client_open(&(struct rpc_client_options) { .target = address, .max_message_bytes = MIB }, &f->client, &err));
}

static void stop(struct fixture *f)
{
    open_gate(&f->gate);
    rpc_client_close(f->client);
    rpc_server_drain(f->server, PATIENCE);
    rpc_server_free(f->server);
    mutex_destroy(&f->gate.lock);
    condition_destroy(&f->gate.changed);
    free(f->bytes);
}

static Argon__Wal__V1__AppendRequest request_of(struct fixture *f, size_t size)
{
    Argon__Wal__V1__AppendRequest request = ARGON__WAL__V1__APPEND_REQUEST__INIT;
    request.incarnation = (ProtobufCBinaryData) { size, f->bytes };
    return request;
}

static bool append(struct fixture *f, size_t size, struct error *err)
{
    struct arena arena;
    ProtobufCMessage *response;
    Argon__Wal__V1__AppendRequest request = request_of(f, size);
    const struct rpc_call_options options = { .deadline = clock_monotonic_micros() + PATIENCE };
    arena_init(&arena, 0);
    bool ok =
        rpc_client_call(f->client, APPEND, &request.base, &argon__wal__v1__append_response__descriptor, &options, &arena, &response, err);
    if (ok)
        assert_int_equal(((Argon__Wal__V1__AppendResponse *)response)->commit_lsn, size);
    arena_destroy(&arena);
    return ok;
}

/* Calls that are made while the test goes on. */
struct pending {
    struct mutex lock; /* rank 2 */
    struct condition changed;
    unsigned started, ended, refused;
    struct error last;
};

static void pending_done(void *ctx, const struct error *failure, struct bytes encoded)
{
    struct pending *pending = ctx;
    (void)encoded;
    mutex_lock(&pending->lock);
    pending->ended++;
    if (failure) {
        pending->last = *failure;
        pending->refused += failure->code == ERROR_RESOURCE_EXHAUSTED && failure->outcome == OUTCOME_NOT_APPLIED;
    }
    condition_broadcast(&pending->changed);
    mutex_unlock(&pending->lock);
}

static void pending_start(struct pending *pending, struct fixture *f, unsigned n)
{
    memset(pending, 0, sizeof *pending);
    mutex_init(&pending->lock, 2);
    condition_init(&pending->changed);
    Argon__Wal__V1__AppendRequest request = request_of(f, LARGE);
    const struct rpc_call_options options = { .deadline = NO_DEADLINE };
    for (pending->started = 0; pending->started < n; pending->started++)
        rpc_client_start(f->client, APPEND, &request.base, &options, pending_done, pending);
}

/* All but `but`. */
static void pending_wait(struct pending *pending, unsigned but)
{
    int64_t until = clock_monotonic_micros() + PATIENCE;
    mutex_lock(&pending->lock);
    while (pending->ended + but < pending->started && condition_wait_until(&pending->changed, &pending->lock, until))
        ;
    assert_int_equal(pending->ended, pending->started - but);
    mutex_unlock(&pending->lock);
}

static void pending_end(struct pending *pending)
{
    pending_wait(pending, 0);
    mutex_destroy(&pending->lock);
    condition_destroy(&pending->changed);
}

/* ---- tests ------------------------------------------------------------------------------------------- */

static void large_requests_wait_and_are_all_answered(void **state)
{
    (void)state;
    struct fixture f;
    struct pending pending;
    start(&f, 0);
    pending_start(&pending, &f, MANY);
    wait_inside(&f.gate);
    open_gate(&f.gate);
    pending_end(&pending);
    assert_int_equal(pending.last.code, ERROR_OK);
    assert_int_equal(f.gate.most, 1); /* what fits the budget, though there are eight workers */
    stop(&f);
}

static void small_ones_pass_by_large_ones(void **state)
{
    (void)state;
    struct fixture f;
    struct pending pending;
    struct error err;
    start(&f, 0);
    pending_start(&pending, &f, MANY);
    wait_inside(&f.gate);
    for (int i = 0; i < 200; i++)
        if (!append(&f, SMALL, &err))
            fail_msg("%s", err.message);
    assert_int_equal(pending.ended, 0);
    open_gate(&f.gate);
    pending_end(&pending);
    assert_int_equal(pending.last.code, ERROR_OK);
    stop(&f);
}

static void who_waits_too_long_is_refused(void **state)
{
    (void)state;
    struct fixture f;
    struct pending pending;
    start(&f, MICROS_PER_SECOND / 5);
    pending_start(&pending, &f, MANY);
    pending_wait(&pending, 1); /* the one at work */
    assert_int_equal(pending.refused, MANY - 1);
    open_gate(&f.gate);
    pending_end(&pending);
    assert_int_equal(pending.refused, MANY - 1);
    struct error err;
    assert_true(append(&f, LARGE, &err)); /* all that they were charged has been given back */
    stop(&f);
}

static struct rpc_client_stream *begin_without_request(struct fixture *f)
{
    struct error err;
    struct rpc_client_stream *stream;
    assert_true(rpc_client_bidi_open(f->client, APPEND, &argon__wal__v1__append_response__descriptor,
                                     &(struct rpc_call_options) { .deadline = NO_DEADLINE }, &stream, &err));
    return stream;
}

static void expect_end(struct rpc_client_stream *stream, enum error_code code)
{
    struct arena arena;
    struct error err;
    ProtobufCMessage *message;
    arena_init(&arena, 0);
    assert_false(rpc_client_stream_next(stream, &arena, &message, &err));
    assert_int_equal(err.code, code);
    assert_int_equal(err.outcome, OUTCOME_NOT_APPLIED);
    arena_destroy(&arena);
    rpc_client_stream_close(stream);
}

static void a_request_that_does_not_come_is_refused_when_others_wait(void **state)
{
    (void)state;
    struct fixture f;
    struct pending pending;
    struct error err;
    start(&f, MICROS_PER_SECOND / 5);
    struct rpc_client_stream *silent = begin_without_request(&f);
    assert_true(append(&f, SMALL, &err)); /* the silent one has its place to read now */
    pending_start(&pending, &f, 1);
    expect_end(silent, ERROR_RESOURCE_EXHAUSTED);
    open_gate(&f.gate);
    pending_end(&pending);
    stop(&f);
}

static void no_request_and_too_large_ones_are_told(void **state)
{
    (void)state;
    struct fixture f;
    struct error err;
    start(&f, 0);
    struct rpc_client_stream *empty = begin_without_request(&f);
    rpc_client_stream_send_end(empty);
    expect_end(empty, ERROR_INVALID_ARGUMENT);
    assert_false(append(&f, MIB + 1, &err));
    assert_int_equal(err.code, ERROR_RESOURCE_EXHAUSTED);
    assert_true(append(&f, SMALL, &err));
    stop(&f);
}

static void draining_ends_those_that_wait_too(void **state)
{
    (void)state;
    struct fixture f;
    struct pending pending;
    start(&f, 0);
    pending_start(&pending, &f, MANY);
    wait_inside(&f.gate);
    rpc_server_drain(f.server, MICROS_PER_SECOND / 10);
    pending_end(&pending);
    assert_int_equal(pending.last.code, ERROR_UNAVAILABLE);
    stop(&f);
}

int main(int argc, char **argv)
{
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    rpc_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(large_requests_wait_and_are_all_answered),
        cmocka_unit_test(small_ones_pass_by_large_ones),
        cmocka_unit_test(who_waits_too_long_is_refused),
        cmocka_unit_test(a_request_that_does_not_come_is_refused_when_others_wait),
        cmocka_unit_test(no_request_and_too_large_ones_are_told),
        cmocka_unit_test(draining_ends_those_that_wait_too),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    rpc_shutdown();
    return failed;
}
