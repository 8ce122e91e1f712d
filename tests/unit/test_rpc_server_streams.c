/* Streams of a server: those that hold a thread, those that do not, and those in both directions. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <poll.h>
#include <stdatomic.h>
#include <stdio.h>

#include "tests/support/rpc/toy_service.h"

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

static void an_address_has_a_host_and_a_port(void **state)
{
    struct fixture *f = *state;
    static const char *const wrong[] = { "",          "nowhere",   "127.0.0.1",       "127.0.0.1:",      "127.0.0.1:0",
                                         ":7700",     "host:http", "127.0.0.1:65536", "127.0.0.1:99999", "http://127.0.0.1:7700",
                                         "host:7700/" };
    static const char *const right[] = { "wal:7700",         "127.0.0.1:65535",   "[::1]:7700",         "dns:///wal:7700",
                                         "ipv4:127.0.0.1:1", "unix:/tmp/nothing", "127.0.0.1:1,[::1]:2" };
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        struct rpc_client *client;
        assert_false(rpc_client_open(&(struct rpc_client_options) { .target = wrong[i], .max_message_bytes = MIB }, &client, &f->err));
        assert_int_equal(f->err.code, ERROR_INVALID_ARGUMENT);
        assert_non_null(strstr(f->err.message, "is not HOST:PORT"));
    }
    for (size_t i = 0; i < ARRAY_LEN(right); i++)
        assert_true(rpc_check_target(right[i], &f->err));
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

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
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
        WITH_SERVER(an_address_has_a_host_and_a_port),
        WITH_SERVER(several_addresses_are_served_in_order_or_in_turn),
        WITH_SERVER(a_notified_reader_sees_every_message_and_the_end),
        cmocka_unit_test(both_sides_of_a_stream_talk),
        cmocka_unit_test(draining_ends_a_receiver_at_once),
    };
    return toy_main(argc, argv, tests, ARRAY_LEN(tests));
}
