/* argon.wal.v1.Wal over RPC: converts messages and calls the service. Generated types are seen here only.
 *
 * Threads    handlers run where common/rpc says; they keep nothing from call to call.
 */
#ifndef ARGON_WAL_WAL_RPC_H
#define ARGON_WAL_WAL_RPC_H

#include "common/rpc/rpc.h"
#include "wal-service/wal.h"

struct wal_rpc {
    struct wal *wal;
    struct log_store *store;
    struct follow_registry *followers;
    const char *store_name;
    const char *data_directory; /* "" if there is none */
    int64_t started;            /* monotonic microseconds */
    uint8_t incarnation[INCARNATION_BYTES];
};

/* Borrows the service and the store; they must outlive the server. */
void wal_rpc_init(struct wal_rpc *rpc, struct wal *wal, struct log_store *store, const char *store_name, const char *data_directory);
/* rpc must outlive the server. */
CHECKED bool wal_rpc_add(struct wal_rpc *rpc, struct rpc_server *server, struct error *err);

#endif
