#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/limits.h"
#include "common/rpc/rpc.h"

static struct rpc_server *start_server(char listen[64])
{
    struct error err;
    struct rpc_server *server;
    const struct rpc_server_options options = {
        .listen = "0.0.0.0:0",
        .max_message_bytes = 1 * MIB,
        .max_calls = 16,
        .max_request_bytes = 8 * MIB,
        .worker_threads = 1,
    };
    if (!rpc_server_new(&options, &server, &err) || !rpc_server_start(server, &err))
        fail_msg("%s", err.message);
    snprintf(listen, 64, "0.0.0.0:%d", rpc_server_port(server));
    return server;
}

static void a_server_that_serves_is_healthy(void **state)
{
    (void)state;
    struct error err = { 0 };
    char listen[64];
    struct rpc_server *server = start_server(listen);
    assert_true(rpc_health_probe(listen, &err));

    rpc_server_set_serving(server, "", false);
    assert_false(rpc_health_probe(listen, &err));
    assert_int_equal(err.code, ERROR_UNAVAILABLE);
    assert_non_null(strstr(err.message, "does not serve"));

    rpc_server_drain(server, 0);
    rpc_server_free(server);
}

static void nobody_is_not_healthy(void **state)
{
    (void)state;
    struct error err = { 0 };
    char listen[64];
    struct rpc_server *server = start_server(listen);
    rpc_server_drain(server, 0);
    rpc_server_free(server);
    int64_t begun = clock_monotonic_micros();
    assert_false(rpc_health_probe(listen, &err));
    assert_true(err.code == ERROR_UNAVAILABLE || err.code == ERROR_DEADLINE_EXCEEDED);
    assert_true(clock_monotonic_micros() - begun < 20 * (int64_t)MICROS_PER_SECOND);
}

int main(void)
{
    rpc_init();
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_server_that_serves_is_healthy),
        cmocka_unit_test(nobody_is_not_healthy),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    rpc_shutdown();
    return failed;
}
