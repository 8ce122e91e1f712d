/* Asking a service of this machine whether it serves: what health checks of container engines run. */
#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/limits.h"
#include "common/rpc/rpc.h"
#include "grpc/health/v1/health.pb-c.h"

enum { PATIENCE_MICROS = 2 * MICROS_PER_SECOND, MAX_TARGET = 300 };

/* Where a service that listens everywhere is reached from here. */
static void target_of(const char *listen, char target[MAX_TARGET])
{
    static const char *const everywhere[][2] = { { "0.0.0.0:", "127.0.0.1:" }, { "[::]:", "[::1]:" } };
    for (size_t i = 0; i < ARRAY_LEN(everywhere); i++) {
        size_t len = strlen(everywhere[i][0]);
        if (strncmp(listen, everywhere[i][0], len) == 0) {
            snprintf(target, MAX_TARGET, "%s%s", everywhere[i][1], listen + len);
            return;
        }
    }
    snprintf(target, MAX_TARGET, "%s", listen);
}

bool rpc_health_probe(const char *listen, struct error *err)
{
    char target[MAX_TARGET];
    struct rpc_client *client;
    struct arena arena;
    Grpc__Health__V1__HealthCheckRequest request = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
    const struct rpc_call_options options = { .deadline = clock_monotonic_micros() + PATIENCE_MICROS };
    ProtobufCMessage *message;
    target_of(listen, target);
    if (!rpc_client_open(&(struct rpc_client_options) { .target = target, .max_message_bytes = MIB }, &client, err))
        return false;
    arena_init(&arena, 0);
    bool serving = rpc_client_call(client, "/grpc.health.v1.Health/Check", &request.base,
                                   &grpc__health__v1__health_check_response__descriptor, &options, &arena, &message, err);
    if (serving) {
        serving = ((const Grpc__Health__V1__HealthCheckResponse *)message)->status ==
                  GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING;
        if (!serving)
            error_set(err, ERROR_UNAVAILABLE, "%s does not serve", target);
    }
    arena_destroy(&arena);
    rpc_client_close(client);
    return serving;
}
