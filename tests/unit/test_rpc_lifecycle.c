/* Connections, draining, and the end of a process. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

#include "tests/support/rpc/toy_service.h"

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

    options.listen = "192.0.2.1:7700"; /* of TEST-NET-1: no machine has it */
    assert_true(rpc_server_new(&options, &second, &f->err));
    assert_true(rpc_server_add(second, &argon__wal__v1__wal__descriptor, toy_methods, ARRAY_LEN(toy_methods), &f->toy, &f->err));
    assert_false(rpc_server_start(second, &f->err));
    assert_string_equal(f->err.message, "cannot listen on '192.0.2.1:7700': Cannot assign requested address");
    rpc_server_free(second);
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
    const struct CMUnitTest tests[] = {
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
    return toy_main(argc, argv, tests, ARRAY_LEN(tests));
}
