/* Streams that hold no thread, on the server and in the client, and bidirectional ones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <argon/wal/v1/wal.pb-c.h>
#include <cmocka.h>
#include <sched.h>
#include <stdatomic.h>

#include "common/base/clock.h"
#include "common/base/limits.h"
#include "common/base/memory.h"
#include "common/base/sync.h"
#include "common/rpc/rpc.h"

#define PATIENCE (20 * (int64_t)1000000)
enum { FEW_WORKERS = 2, MANY_STREAMS = 50 };

/* ---- a service whose Read tells of a number that rises, from after_lsn on, in messages of through_lsn bytes ---- */

struct counter {
    struct mutex lock; /* rank 1 */
    uint64_t value;
    struct follower *followers;
    atomic_uint running, steps, live;
};

struct follower {
    struct counter *counter;
    struct rpc_call *call;
    struct follower *next, **link;
    uint64_t told;
    size_t filling;
    bool pauses; /* and looks again, instead of waiting to be woken */
};

static void unlink_follower(struct follower *follower)
{
    mutex_lock(&follower->counter->lock);
    if (follower->link) {
        *follower->link = follower->next;
        if (follower->next)
            follower->next->link = follower->link;
    }
    mutex_unlock(&follower->counter->lock);
}

static enum rpc_step follow_step(struct rpc_call *call, void *ctx)
{
    struct follower *follower = ctx;
    struct counter *counter = follower->counter;
    atomic_fetch_add(&counter->steps, 1);
    mutex_lock(&counter->lock);
    if (!follower->link) {
        follower->next = counter->followers;
        follower->link = &counter->followers;
        if (follower->next)
            follower->next->link = &follower->next;
        counter->followers = follower;
    }
    uint64_t value = counter->value;
    mutex_unlock(&counter->lock);
    if (rpc_call_cancelled(call)) {
        unlink_follower(follower);
        atomic_fetch_sub(&counter->live, 1);
        free(follower);
        rpc_finish(call);
        return RPC_STEP_OVER;
    }
    if (follower->told == value)
        return follower->pauses ? RPC_STEP_LATER : RPC_STEP_WAIT;
    Argon__Wal__V1__ReadResponse response = ARGON__WAL__V1__READ_RESPONSE__INIT;
    response.complete_through = ++follower->told;
    response.incarnation = (ProtobufCBinaryData) { follower->filling, mem_zalloc(follower->filling + 1) };
    bool ignored = rpc_stream_send(call, &response.base);
    (void)ignored;
    free(response.incarnation.data);
    return RPC_STEP_MORE;
}

static void on_read(void *service, struct rpc_call *call, const ProtobufCMessage *message)
{
    const Argon__Wal__V1__ReadRequest *request = (const Argon__Wal__V1__ReadRequest *)message;
    struct follower *follower = mem_zalloc(sizeof *follower);
    follower->counter = service;
    follower->call = call;
    follower->told = request->after_lsn;
    follower->filling = request->through_lsn;
    follower->pauses = request->follow;
    atomic_fetch_add(&follower->counter->live, 1);
    rpc_stream_run(call, follow_step, NULL, follower);
}

/* Answers each message with its project id's length. */
static void on_talk(void *service, struct rpc_call *call, const ProtobufCMessage *message)
{
    (void)service;
    assert_null(message);
    for (;;) {
        struct arena arena;
        struct error err;
        ProtobufCMessage *received;
        arena_init(&arena, 0);
        if (!rpc_stream_receive(call, &arena, &received, &err)) {
            arena_destroy(&arena);
            rpc_fail(call, &err);
            return;
        }
        if (!received) {
            arena_destroy(&arena);
            rpc_finish(call);
            return;
        }
        Argon__Wal__V1__ReadResponse response = ARGON__WAL__V1__READ_RESPONSE__INIT;
        response.complete_through = strlen(((Argon__Wal__V1__ReadRequest *)received)->project_id);
        bool ignored = rpc_stream_send(call, &response.base);
        (void)ignored;
        arena_destroy(&arena);
    }
}

static void on_status(void *service, struct rpc_call *call, const ProtobufCMessage *message)
{
    (void)service;
    (void)message;
    Argon__Wal__V1__GetStatusResponse response = ARGON__WAL__V1__GET_STATUS_RESPONSE__INIT;
    rpc_reply(call, &response.base);
}

#define OTHERS                                                                                                                             \
    RPC_UNARY("Append", on_status), RPC_UNARY("GetHead", on_status), RPC_UNARY("GetHeads", on_status), RPC_UNARY("FindLsn", on_status),    \
        RPC_UNARY("GetStatus", on_status)
static const struct rpc_method stepping[] = { RPC_STREAM("Read", on_read), OTHERS };
static const struct rpc_method talking[] = { RPC_BIDI("Read", on_talk), OTHERS };

static void count_to(struct counter *counter, uint64_t value)
{
    mutex_lock(&counter->lock);
    counter->value = value;
    for (struct follower *follower = counter->followers; follower; follower = follower->next)
        rpc_stream_wake(follower->call);
    mutex_unlock(&counter->lock);
}

/* ---- fixture ---------------------------------------------------------------------------------------- */

struct fixture {
    struct counter counter;
    struct rpc_server *server;
    struct rpc_client *client;
};

static void start_fixture(struct fixture *f, const struct rpc_method *methods, int64_t stall_micros)
{
    struct error err;
    char address[64];
    const struct rpc_server_options options = {
        .listen = "127.0.0.1:0",
        .max_message_bytes = MIB,
        .max_calls = 200,
        .max_request_bytes = 8 * MIB,
        .worker_threads = FEW_WORKERS,
        .stall_micros = stall_micros,
    };
    memset(f, 0, sizeof *f);
    mutex_init(&f->counter.lock, 1);
    assert_true(rpc_server_new(&options, &f->server, &err));
    assert_true(rpc_server_add(f->server, &argon__wal__v1__wal__descriptor, methods, ARRAY_LEN(stepping), &f->counter, &err));
    assert_true(rpc_server_start(f->server, &err));
    snprintf(address, sizeof address, "127.0.0.1:%d", rpc_server_port(f->server));
    assert_true(
        rpc_client_open(&(struct rpc_client_options) { .target = address, .max_message_bytes = MAX_MESSAGE_BYTES }, &f->client, &err));
}

static void stop_fixture(struct fixture *f)
{
    rpc_client_close(f->client);
    rpc_server_drain(f->server, PATIENCE);
    rpc_server_free(f->server);
    assert_int_equal(atomic_load(&f->counter.live), 0);
    mutex_destroy(&f->counter.lock);
}

static struct rpc_client_stream *open_read(struct fixture *f, uint64_t after, size_t filling)
{
    struct error err;
    struct rpc_client_stream *stream;
    Argon__Wal__V1__ReadRequest request = ARGON__WAL__V1__READ_REQUEST__INIT;
    request.after_lsn = after;
    request.through_lsn = filling;
    assert_true(rpc_client_stream_open(f->client, "/argon.wal.v1.Wal/Read", &request.base, &argon__wal__v1__read_response__descriptor,
                                       &(struct rpc_call_options) { .deadline = NO_DEADLINE }, &stream, &err));
    return stream;
}

static uint64_t value_of(const ProtobufCMessage *message)
{
    return ((const Argon__Wal__V1__ReadResponse *)message)->complete_through;
}

static void expect_values(struct rpc_client_stream *stream, uint64_t from, uint64_t to)
{
    for (uint64_t value = from; value <= to; value++) {
        struct arena arena;
        struct error err;
        ProtobufCMessage *message;
        arena_init(&arena, 0);
        if (!rpc_client_stream_next(stream, &arena, &message, &err))
            fail_msg("%s", err.message);
        assert_non_null(message);
        assert_int_equal(value_of(message), value);
        arena_destroy(&arena);
    }
}

static void call_status(struct fixture *f)
{
    struct arena arena;
    struct error err;
    ProtobufCMessage *message;
    Argon__Wal__V1__GetStatusRequest request = ARGON__WAL__V1__GET_STATUS_REQUEST__INIT;
    arena_init(&arena, 0);
    const struct rpc_call_options options = { .deadline = clock_monotonic_micros() + PATIENCE };
    if (!rpc_client_call(f->client, "/argon.wal.v1.Wal/GetStatus", &request.base, &argon__wal__v1__get_status_response__descriptor,
                         &options, &arena, &message, &err))
        fail_msg("%s", err.message);
    arena_destroy(&arena);
}

static void wait_for_live(struct fixture *f, unsigned n)
{
    int64_t until = clock_monotonic_micros() + PATIENCE;
    while (atomic_load(&f->counter.live) != n && clock_monotonic_micros() < until)
        sched_yield();
    assert_int_equal(atomic_load(&f->counter.live), n);
}

/* ---- tests ------------------------------------------------------------------------------------------ */

static void waiting_streams_hold_no_thread(void **state)
{
    (void)state;
    struct fixture f;
    struct rpc_client_stream *streams[MANY_STREAMS];
    start_fixture(&f, stepping, 0);
    for (size_t i = 0; i < MANY_STREAMS; i++)
        streams[i] = open_read(&f, i % 3, 10);
    count_to(&f.counter, 4);
    for (size_t i = 0; i < MANY_STREAMS; i++)
        expect_values(streams[i], i % 3 + 1, 4);
    call_status(&f);
    for (uint64_t value = 5; value < 200; value++) {
        count_to(&f.counter, value);
        for (size_t i = 0; i < MANY_STREAMS; i++)
            expect_values(streams[i], value, value);
    }
    for (size_t i = 0; i < MANY_STREAMS; i++)
        rpc_client_stream_close(streams[i]);
    wait_for_live(&f, 0);
    stop_fixture(&f);
}

static void readers_that_take_nothing_hold_no_thread(void **state)
{
    (void)state;
    struct fixture f;
    struct rpc_client_stream *streams[10];
    start_fixture(&f, stepping, 0);
    for (size_t i = 0; i < ARRAY_LEN(streams); i++)
        streams[i] = open_read(&f, 0, 500000);
    count_to(&f.counter, 100);
    for (size_t i = 0; i < 50; i++)
        call_status(&f);
    assert_true(atomic_load(&f.counter.steps) < 500); /* the transport took a few messages, not all */
    for (size_t i = 0; i < ARRAY_LEN(streams); i++) {
        expect_values(streams[i], 1, 100);
        rpc_client_stream_close(streams[i]);
    }
    stop_fixture(&f);
}

static void a_reader_that_takes_nothing_is_cut_off(void **state)
{
    (void)state;
    struct fixture f;
    start_fixture(&f, stepping, 200000);
    struct rpc_client_stream *stream = open_read(&f, 0, 500000), *waiting = open_read(&f, 1000, 1);
    wait_for_live(&f, 2);
    count_to(&f.counter, 1000);
    wait_for_live(&f, 1); /* the one that waits has nothing to take */
    rpc_client_stream_close(stream);
    rpc_client_stream_close(waiting);
    stop_fixture(&f);
}

static void draining_ends_streams_that_wait(void **state)
{
    (void)state;
    struct fixture f;
    struct arena arena;
    struct error err;
    ProtobufCMessage *message;
    start_fixture(&f, stepping, 0);
    struct rpc_client_stream *stream = open_read(&f, 0, 1);
    count_to(&f.counter, 3);
    expect_values(stream, 1, 3);
    int64_t begin = clock_monotonic_micros();
    rpc_server_drain(f.server, PATIENCE);
    assert_true(clock_monotonic_micros() - begin < PATIENCE / 2);
    arena_init(&arena, 0);
    assert_false(rpc_client_stream_next(stream, &arena, &message, &err));
    assert_int_equal(err.code, ERROR_UNAVAILABLE);
    assert_string_equal(err.message, "the server is stopping");
    arena_destroy(&arena);
    rpc_client_stream_close(stream);
    stop_fixture(&f);
}

static void readied(void *ctx)
{
    atomic_fetch_add((atomic_uint *)ctx, 1);
}

static void the_client_is_told_when_there_is_something_to_take(void **state)
{
    (void)state;
    struct fixture f;
    struct arena arena;
    struct error err;
    ProtobufCMessage *message;
    bool arrived;
    atomic_uint told = 0;
    start_fixture(&f, stepping, 0);
    arena_init(&arena, 0);
    struct rpc_client_stream *stream = open_read(&f, 0, 1);
    assert_true(rpc_client_stream_try_next(stream, &arena, &arrived, &message, &err));
    assert_false(arrived);
    rpc_client_stream_notify(stream, readied, &told);
    wait_for_live(&f, 1);
    assert_int_equal(atomic_load(&told), 0);
    for (uint64_t value = 1; value <= 20; value++) {
        unsigned before = atomic_load(&told);
        count_to(&f.counter, value);
        while (atomic_load(&told) == before)
            sched_yield();
        assert_true(rpc_client_stream_try_next(stream, &arena, &arrived, &message, &err));
        assert_true(arrived);
        assert_int_equal(value_of(message), value);
    }
    unsigned before = atomic_load(&told);
    rpc_server_drain(f.server, PATIENCE);
    while (atomic_load(&told) == before)
        sched_yield();
    assert_false(rpc_client_stream_try_next(stream, &arena, &arrived, &message, &err));
    assert_int_equal(err.code, ERROR_UNAVAILABLE);
    rpc_client_stream_close(stream);
    arena_destroy(&arena);
    stop_fixture(&f);
}

static void both_sides_of_a_bidirectional_stream_talk_in_turn(void **state)
{
    (void)state;
    struct fixture f;
    struct arena arena;
    struct error err;
    ProtobufCMessage *message;
    struct rpc_client_stream *stream;
    start_fixture(&f, talking, 0);
    arena_init(&arena, 0);
    const struct rpc_call_options options = { .deadline = clock_monotonic_micros() + PATIENCE };
    assert_true(
        rpc_client_bidi_open(f.client, "/argon.wal.v1.Wal/Read", &argon__wal__v1__read_response__descriptor, &options, &stream, &err));
    char text[101] = "";
    for (size_t i = 0; i < 100; i++) {
        Argon__Wal__V1__ReadRequest request = ARGON__WAL__V1__READ_REQUEST__INIT;
        request.project_id = text;
        assert_true(rpc_client_stream_send(stream, &request.base, &err));
        assert_true(rpc_client_stream_next(stream, &arena, &message, &err));
        assert_int_equal(value_of(message), i);
        text[i] = 'x';
    }
    rpc_client_stream_send_end(stream);
    assert_true(rpc_client_stream_next(stream, &arena, &message, &err));
    assert_null(message);
    rpc_client_stream_close(stream);

    /* one that the client abandons ends too */
    assert_true(
        rpc_client_bidi_open(f.client, "/argon.wal.v1.Wal/Read", &argon__wal__v1__read_response__descriptor, &options, &stream, &err));
    rpc_client_stream_close(stream);
    arena_destroy(&arena);
    stop_fixture(&f);
}

static int init(void **state)
{
    (void)state;
    rpc_init();
    return 0;
}

static int end(void **state)
{
    (void)state;
    rpc_shutdown();
    return 0;
}

/* Nobody wakes them: they look again by themselves, and not as fast as they can. */
static void steps_that_pause_go_on_by_themselves(void **state)
{
    (void)state;
    struct fixture fixture, *f = &fixture;
    struct rpc_client_stream *streams[MANY_STREAMS];
    struct error err;
    start_fixture(f, stepping, 0);
    for (size_t i = 0; i < MANY_STREAMS; i++) {
        Argon__Wal__V1__ReadRequest request = ARGON__WAL__V1__READ_REQUEST__INIT;
        request.follow = true;
        assert_true(rpc_client_stream_open(f->client, "/argon.wal.v1.Wal/Read", &request.base, &argon__wal__v1__read_response__descriptor,
                                           &(struct rpc_call_options) { .deadline = NO_DEADLINE }, &streams[i], &err));
    }
    int64_t begin = clock_monotonic_micros();
    for (uint64_t value = 1; value <= 4; value++) {
        mutex_lock(&f->counter.lock);
        f->counter.value = value;
        mutex_unlock(&f->counter.lock);
        for (size_t i = 0; i < MANY_STREAMS; i++)
            expect_values(streams[i], value, value);
    }
    int64_t pauses = (clock_monotonic_micros() - begin) / RPC_STEP_PAUSE_MICROS;
    assert_true(atomic_load(&f->counter.steps) <= (unsigned)(MANY_STREAMS * (2 * 4 + 2 + pauses)));
    for (size_t i = 0; i < MANY_STREAMS; i++)
        rpc_client_stream_close(streams[i]);
    stop_fixture(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(waiting_streams_hold_no_thread),
        cmocka_unit_test(readers_that_take_nothing_hold_no_thread),
        cmocka_unit_test(a_reader_that_takes_nothing_is_cut_off),
        cmocka_unit_test(steps_that_pause_go_on_by_themselves),
        cmocka_unit_test(draining_ends_streams_that_wait),
        cmocka_unit_test(the_client_is_told_when_there_is_something_to_take),
        cmocka_unit_test(both_sides_of_a_bidirectional_stream_talk_in_turn),
    };
    return cmocka_run_group_tests(tests, init, end);
}
