#include "wal-service/wal_rpc.h"

#include "common/base/clock.h"
#include "common/base/limits.h"
#include "wal-service/wal_rpc_internal.h"

bool wal_rpc_check_id(const char *what, const char *id, size_t max, bool may_be_empty, struct error *err)
{
    size_t len = strlen(id);
    if (!len && !may_be_empty)
        return error_set(err, ERROR_INVALID_ARGUMENT, "%s is missing", what);
    if (len > max)
        return error_set(err, ERROR_INVALID_ARGUMENT, "%s has %zu characters, at most %zu are allowed", what, len, max);
    for (size_t i = 0; i < len; i++)
        if (id[i] < ' ' || id[i] > '~')
            return error_set(err, ERROR_INVALID_ARGUMENT, "%s has a character at %zu that is not printable ASCII", what, i);
    return true;
}

void wal_rpc_fill_outcome(struct outcome_message *message, const struct request_outcome *outcome)
{
    argon__wal__v1__request_outcome__init(&message->outcome);
    argon__wal__v1__request_step__init(&message->step);
    message->step.request_id = bytes_to_message(outcome->step.id);
    message->step.request_hash = bytes_to_message(outcome->step.hash);
    message->step.step = outcome->step.step;
    message->step.last = outcome->step.last;
    message->step.last_document_id = bytes_to_message(outcome->step.last_document_id);
    message->step.answer = bytes_to_message(outcome->step.answer);
    message->outcome.step = &message->step;
    message->outcome.first_lsn = outcome->first_lsn;
    message->outcome.last_lsn = outcome->last_lsn;
    message->outcome.timestamp = outcome->timestamp;
}

static void fail_exhausted(struct rpc_call *call)
{
    struct error err;
    error_set(&err, ERROR_RESOURCE_EXHAUSTED, "no memory for the call");
    rpc_fail(call, &err);
}

/* ---- GetHead ------------------------------------------------------------------------------------- */

struct head_call {
    struct wal_head_query query;
    struct wal_rpc *rpc;
    struct rpc_call *call;
};

static void on_head_found(struct wal_head_query *query, const struct error *failure)
{
    struct head_call *head = query->ctx;
    Argon__Wal__V1__GetHeadResponse response = ARGON__WAL__V1__GET_HEAD_RESPONSE__INIT;
    struct outcome_message outcome;
    if (failure) {
        rpc_fail(head->call, failure);
        return;
    }
    response.commit_lsn = query->commit_lsn;
    response.incarnation = bytes_to_message(bytes_of(head->rpc->incarnation, INCARNATION_BYTES));
    response.request_horizon = query->request_horizon;
    response.request_outcome_unknown = query->request_outcome_unknown;
    response.request_hash_differs = query->request_hash_differs;
    response.known_through = query->known_through;
    response.last_timestamp = query->last_timestamp;
    if (query->request) {
        wal_rpc_fill_outcome(&outcome, query->request);
        response.request = &outcome.outcome;
    }
    rpc_reply(head->call, &response.base);
}

static void on_get_head(void *service, struct rpc_call *call, const ProtobufCMessage *message)
{
    const Argon__Wal__V1__GetHeadRequest *request = (const Argon__Wal__V1__GetHeadRequest *)message;
    struct error err;
    if (!wal_rpc_check_id("project_id", request->project_id, MAX_PROJECT_ID_BYTES, false, &err)) {
        rpc_fail(call, &err);
        return;
    }
    struct head_call *head = arena_zalloc(rpc_call_arena(call), sizeof *head);
    if (!head) {
        fail_exhausted(call);
        return;
    }
    head->rpc = service;
    head->call = call;
    head->query = (struct wal_head_query) {
        .project = bytes_of_string(request->project_id),
        .request_id = bytes_of_message(&request->request_id),
        .request_hash = bytes_of_message(&request->request_hash),
        .since_lsn = request->since_lsn,
        .known_incarnation = bytes_of_message(&request->known_incarnation),
        .arena = rpc_call_arena(call),
        .done = on_head_found,
        .ctx = head,
    };
    wal_get_head(head->rpc->wal, &head->query);
}

/* ---- GetStatus ------------------------------------------------------------------------- */

static void on_get_status(void *service, struct rpc_call *call, const ProtobufCMessage *message)
{
    const Argon__Wal__V1__GetStatusRequest *request = (const Argon__Wal__V1__GetStatusRequest *)message;
    struct wal_rpc *rpc = service;
    struct error err;
    if (!wal_rpc_check_id("project_id", request->project_id, MAX_PROJECT_ID_BYTES, true, &err)) {
        rpc_fail(call, &err);
        return;
    }
    Argon__Wal__V1__GetStatusResponse response = ARGON__WAL__V1__GET_STATUS_RESPONSE__INIT;
    struct wal_stats stats;
    wal_get_stats(rpc->wal, &stats);
    response.version = (char *)ARGON_VERSION;
    response.uptime_seconds = (uint64_t)((clock_monotonic_micros() - rpc->started) / MICROS_PER_SECOND);
    response.store = (char *)rpc->store_name;
    response.data_directory = (char *)rpc->data_directory;
    response.incarnation = bytes_to_message(bytes_of(rpc->incarnation, INCARNATION_BYTES));
    response.projects = stats.store.projects;
    response.segments = stats.store.segments;
    response.disk_bytes = stats.store.disk_bytes;
    response.groups = stats.store.groups;
    response.entries = stats.store.entries;
    response.requests_remembered = stats.requests_remembered;
    response.memory_bytes = stats.memory_bytes;
    response.disk_full = stats.store.disk_full;
    response.sealed_segments = stats.store.sealed_segments;
    response.compressed_segments = stats.store.compressed_segments;
    response.uncompressed_bytes = stats.store.uncompressed_bytes;
    response.conflicts = stats.conflicts;
    response.follow_streams = stats.follow_streams;
    if (*request->project_id) {
        struct log_head head;
        log_store_head(rpc->store, bytes_of_string(request->project_id), &head);
        response.commit_lsn = head.lsn;
        response.last_timestamp = head.timestamp;
    }
    rpc_reply(call, &response.base);
}

/* ---- FindLsn ------------------------------------------------------------------------------------- */

struct time_call {
    struct wal_time_query query;
    struct wal_rpc *rpc;
    struct rpc_call *call;
};

static void on_time_found(struct wal_time_query *query, const struct error *failure)
{
    struct time_call *time = query->ctx;
    Argon__Wal__V1__FindLsnResponse response = ARGON__WAL__V1__FIND_LSN_RESPONSE__INIT;
    if (failure) {
        rpc_fail(time->call, failure);
        return;
    }
    response.lsn = query->found.lsn;
    response.timestamp = query->found.timestamp;
    response.incarnation = bytes_to_message(bytes_of(time->rpc->incarnation, INCARNATION_BYTES));
    rpc_reply(time->call, &response.base);
}

static void on_find_lsn(void *service, struct rpc_call *call, const ProtobufCMessage *message)
{
    const Argon__Wal__V1__FindLsnRequest *request = (const Argon__Wal__V1__FindLsnRequest *)message;
    struct error err;
    if (!wal_rpc_check_id("project_id", request->project_id, MAX_PROJECT_ID_BYTES, false, &err)) {
        rpc_fail(call, &err);
        return;
    }
    struct time_call *time = arena_zalloc(rpc_call_arena(call), sizeof *time);
    if (!time) {
        fail_exhausted(call);
        return;
    }
    time->rpc = service;
    time->call = call;
    time->query = (struct wal_time_query) {
        .project = bytes_of_string(request->project_id),
        .micros = request->timestamp,
        .done = on_time_found,
        .ctx = time,
    };
    wal_find_time(time->rpc->wal, &time->query);
}

/* ---- the service --------------------------------------------------------------------------------- */

static const struct rpc_method wal_methods[] = {
    RPC_LARGE_UNARY_INLINE("Append", wal_rpc_on_append), RPC_STREAM("Read", wal_rpc_on_read),      RPC_UNARY_INLINE("GetHead", on_get_head),
    RPC_UNARY("GetHeads", wal_rpc_on_get_heads),         RPC_UNARY_INLINE("FindLsn", on_find_lsn), RPC_UNARY("GetStatus", on_get_status),
};

void wal_rpc_init(struct wal_rpc *rpc, struct wal *wal, struct log_store *store, const char *store_name, const char *data_directory)
{
    *rpc = (struct wal_rpc) {
        .wal = wal,
        .store = store,
        .followers = wal_followers(wal),
        .store_name = store_name,
        .data_directory = data_directory,
        .started = clock_monotonic_micros(),
    };
    log_store_incarnation(store, rpc->incarnation);
}

bool wal_rpc_add(struct wal_rpc *rpc, struct rpc_server *server, struct error *err)
{
    return rpc_server_add(server, &argon__wal__v1__wal__descriptor, wal_methods, ARRAY_LEN(wal_methods), rpc, err);
}
