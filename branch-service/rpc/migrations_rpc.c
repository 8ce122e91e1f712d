#include "branch-service/migration/migration.h"
#include "branch-service/rpc/convert.h"
#include "branch-service/rpc/services.h"

static const Argon__Branch__V1__MigrationState states[] = {
    [BRANCH_PREPARING] = ARGON__BRANCH__V1__MIGRATION_STATE__MIGRATION_STATE_PREPARING,
    [BRANCH_FROZEN] = ARGON__BRANCH__V1__MIGRATION_STATE__MIGRATION_STATE_FROZEN,
    [BRANCH_RENAMED] = ARGON__BRANCH__V1__MIGRATION_STATE__MIGRATION_STATE_RENAMED,
    [BRANCH_STARTED] = ARGON__BRANCH__V1__MIGRATION_STATE__MIGRATION_STATE_STARTED,
    [BRANCH_COPIED] = ARGON__BRANCH__V1__MIGRATION_STATE__MIGRATION_STATE_COPIED,
    [BRANCH_VERIFIED] = ARGON__BRANCH__V1__MIGRATION_STATE__MIGRATION_STATE_VERIFIED,
    [BRANCH_CONFIRMING] = ARGON__BRANCH__V1__MIGRATION_STATE__MIGRATION_STATE_CONFIRMING,
    [BRANCH_CONFIRMED] = ARGON__BRANCH__V1__MIGRATION_STATE__MIGRATION_STATE_CONFIRMED,
    [BRANCH_ROLLING_BACK] = ARGON__BRANCH__V1__MIGRATION_STATE__MIGRATION_STATE_ROLLING_BACK,
    [BRANCH_HANDING_BACK] = ARGON__BRANCH__V1__MIGRATION_STATE__MIGRATION_STATE_HANDING_BACK,
    [BRANCH_STATE_UNKNOWN] = ARGON__BRANCH__V1__MIGRATION_STATE__MIGRATION_STATE_NONE,
};

static bool send_progress(void *ctx, const struct migration_progress *progress)
{
    struct rpc_call *call = ctx;
    Argon__Branch__V1__MigrationProgress out = ARGON__BRANCH__V1__MIGRATION_PROGRESS__INIT;
    out.state = states[progress->state];
    out.collection = (char *)progress->collection;
    out.documents = progress->documents;
    out.bytes = progress->bytes;
    out.message = (char *)progress->message;
    return !rpc_call_cancelled(call) && rpc_stream_send(call, &out.base);
}

static void carry_out(struct registry *registry, struct rpc_call *call, const char *project, const char *branch,
                      bool (*migrate)(const struct migration_call *call, struct error *err))
{
    const struct migration_call migration = {
        .registry = registry,
        .project = project,
        .branch = branch,
        .tell = send_progress,
        .ctx = call,
        .deadline = rpc_call_deadline(call),
    };
    struct error err;
    if (migrate(&migration, &err)) {
        rpc_finish(call);
        return;
    }
    err.outcome = OUTCOME_UNKNOWN; /* some steps may be done: the next call goes on */
    rpc_fail(call, &err);
}

static void on_start(void *service, struct rpc_call *call, const ProtobufCMessage *message)
{
    const Argon__Branch__V1__StartMigrationRequest *request = (const void *)message;
    carry_out(service, call, request->project, request->branch, migration_start);
}

static void on_confirm(void *service, struct rpc_call *call, const ProtobufCMessage *message)
{
    const Argon__Branch__V1__ConfirmMigrationRequest *request = (const void *)message;
    carry_out(service, call, request->project, request->branch, migration_confirm);
}

static void on_rollback(void *service, struct rpc_call *call, const ProtobufCMessage *message)
{
    const Argon__Branch__V1__RollbackMigrationRequest *request = (const void *)message;
    carry_out(service, call, request->project, request->branch, migration_rollback);
}

static void on_get(void *service, struct rpc_call *call, const ProtobufCMessage *message)
{
    const Argon__Branch__V1__GetMigrationRequest *request = (const void *)message;
    Argon__Branch__V1__GetMigrationResponse response = ARGON__BRANCH__V1__GET_MIGRATION_RESPONSE__INIT;
    struct migration_status status;
    struct error err;
    if (!migration_get_status(service, request->project, request->branch, convert_deadline(call), rpc_call_arena(call), &status, &err)) {
        rpc_fail(call, &err);
        return;
    }
    response.state = states[status.state];
    response.branch = (char *)status.branch;
    response.traditional_id = (char *)status.traditional_id;
    response.wal_id = (char *)status.wal_id;
    response.base_id = (char *)status.base_id;
    response.database = (char *)status.database;
    response.prefix = (char *)status.prefix;
    response.epoch = status.epoch;
    response.started_at = status.started_at;
    response.collections = status.collections;
    response.copied_collections = status.copied;
    rpc_reply(call, &response.base);
}

static const struct rpc_method methods[] = {
    RPC_STREAM("StartMigration", on_start),
    RPC_UNARY("GetMigration", on_get),
    RPC_STREAM("ConfirmMigration", on_confirm),
    RPC_STREAM("RollbackMigration", on_rollback),
};

bool migrations_rpc_add(struct rpc_server *server, struct registry *registry, struct error *err)
{
    return rpc_server_add(server, &argon__branch__v1__migrations__descriptor, methods, ARRAY_LEN(methods), registry, err);
}
