#include "tests/support/wal_server.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/base/clock.h"
#include "common/base/limits.h"
#include "common/base/memory.h"
#include "wal-service/wal_rpc.h"

struct wal_server {
    struct log_store *store;
    struct wal *wal;
    struct wal_rpc rpc;
    struct rpc_server *server;
};

struct wal_server *wal_server_start(void)
{
    struct wal_server *made = mem_zalloc(sizeof *made);
    struct error err;
    const struct wal_options options = {
        .conflict_window_bytes = 1 << 20,
        .request_window_bytes = 1 << 20,
        .queue_bytes = 256 << 20,
        .max_follows = 8,
    };
    const struct rpc_server_options server_options = {
        .listen = "127.0.0.1:0",
        .max_message_bytes = MAX_MESSAGE_BYTES,
        .max_calls = 1000,
        .max_request_bytes = (size_t)512 << 20,
        .worker_threads = 4,
    };
    made->wal = wal_new(&options);
    made->store = memory_store_new(NULL, NULL);
    wal_rpc_init(&made->rpc, made->wal, made->store, "memory", "");
    if (!rpc_server_new(&server_options, &made->server, &err) || !wal_rpc_add(&made->rpc, made->server, &err)) {
        fprintf(stderr, "%s\n", err.message);
        abort();
    }
    wal_start(made->wal, made->store);
    if (!rpc_server_start(made->server, &err)) {
        fprintf(stderr, "%s\n", err.message);
        abort();
    }
    return made;
}

void wal_server_stop(struct wal_server *server)
{
    rpc_server_drain(server->server, MICROS_PER_SECOND);
    wal_stop(server->wal);
    rpc_server_free(server->server);
    wal_free(server->wal);
    log_store_close(server->store);
    free(server);
}

int wal_server_port(const struct wal_server *server)
{
    return rpc_server_port(server->server);
}

const uint8_t *wal_server_incarnation(const struct wal_server *server)
{
    return server->rpc.incarnation;
}
