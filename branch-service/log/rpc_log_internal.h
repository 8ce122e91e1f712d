/* What the files of the RPC log source share. */
#ifndef ARGON_BRANCH_LOG_RPC_LOG_INTERNAL_H
#define ARGON_BRANCH_LOG_RPC_LOG_INTERNAL_H

#include <argon/wal/v1/wal.pb-c.h>

#include "branch-service/log/log_source.h"
#include "common/rpc/rpc.h"

#define LOG_READ_METHOD "/argon.wal.v1.Wal/Read"

struct log_source {
    struct rpc_client *client;
    char *target;
};

/* NULL: none. */
ProtobufCBinaryData log_borrow_incarnation(const struct log_incarnation *incarnation);

/* Shows the runs of one message; they live in the arena. */
CHECKED bool log_show_runs(const Argon__Wal__V1__ReadResponse *response, struct arena *arena, log_run_fn *visit, void *ctx,
                           struct error *err);

#endif
