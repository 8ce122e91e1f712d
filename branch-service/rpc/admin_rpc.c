#include "branch-service/branches/warm.h"
#include "branch-service/mongo/mongo_client.h"
#include "branch-service/rpc/convert.h"
#include "branch-service/rpc/services.h"
#include "common/base/clock.h"

static int64_t started_at;

/* Of the project that was asked for; a project that is not known here, or not at all, has none. */
static bool fill_project(struct registry *registry, const char *name, int64_t deadline, struct arena *arena,
                         Argon__Branch__V1__GetStatusResponse *response, struct error *err)
{
    struct project *project;
    struct log_head head;
    if (!registry_find_known(registry, name, deadline, &project, err))
        return false;
    response->replica_lsn = project_position(project);
    const struct log_head_query query = { 0 };
    if (!log_source_head(registry_log(registry), project_id(project), &query, deadline, arena, &head, err))
        return err->code == ERROR_UNAVAILABLE || err->code == ERROR_DEADLINE_EXCEEDED; /* wal_reachable tells */
    response->commit_lsn = head.commit_lsn;
    return true;
}

static void fill_mongo(struct registry *registry, int64_t deadline, struct arena *arena, Argon__Branch__V1__GetStatusResponse *response)
{
    struct mongo *mongo = registry_mongo(registry);
    struct mongo_server_facts facts;
    struct error err;
    char *text;
    if (!mongo)
        return;
    response->mongodb_configured = true;
    response->mongodb_endpoint = (char *)registry_mongo_endpoint(registry);
    response->mongodb_reachable = mongo_ping(mongo, deadline, &err) && mongo_server_facts(mongo, deadline, &facts, &err);
    text = arena_strdup(arena, response->mongodb_reachable ? facts.version : err.message);
    if (text)
        *(response->mongodb_reachable ? &response->mongodb_version : &response->mongodb_error) = text;
}

static void on_get_status(void *service, struct rpc_call *call, const ProtobufCMessage *message)
{
    struct registry *registry = service;
    Argon__Branch__V1__GetStatusResponse response = ARGON__BRANCH__V1__GET_STATUS_RESPONSE__INIT;
    struct view_cache *cache = registry_cache(registry);
    const Argon__Branch__V1__GetStatusRequest *request = (const Argon__Branch__V1__GetStatusRequest *)message;
    struct project_stats stats;
    struct log_status status;
    struct error err;
    response.version = ARGON_VERSION;
    response.uptime_seconds = (uint64_t)((clock_monotonic_micros() - started_at) / MICROS_PER_SECOND);
    response.wal_endpoint = (char *)log_source_target(registry_log(registry));
    response.memory_budget_bytes = view_cache_budget(cache)->limit;
    response.memory_used_bytes = view_cache_budget(cache)->used;
    response.views = view_cache_count(cache);
    response.views_building = warmer_building(registry_warmer(registry));
    response.projects_open = registry_project_count(registry);
    response.projects_followed = registry_follow_count(registry);
    response.view_hits = view_cache_hits(cache);
    response.view_misses = view_cache_misses(cache);
    registry_stats(registry, &stats);
    response.head_checks = stats.head_checks;
    response.log_reads = stats.log_reads;
    /* the status of a service whose WAL service is away is still worth having, and soon */
    int64_t deadline = clock_monotonic_micros() + 2 * MICROS_PER_SECOND;
    if (convert_deadline(call) < deadline)
        deadline = convert_deadline(call);
    if (log_source_status(registry_log(registry), deadline, rpc_call_arena(call), &status, &err)) {
        response.wal_reachable = true;
        response.wal_version = (char *)status.version;
        response.wal_uptime_seconds = status.uptime_seconds;
        response.wal_data_directory = (char *)status.data_directory;
        response.wal_disk_bytes = status.disk_bytes;
        response.wal_segments = status.segments;
        response.wal_memory_bytes = status.memory_bytes;
        response.wal_entries = status.entries;
        response.wal_disk_full = status.disk_full;
        response.wal_sealed_segments = status.sealed_segments;
        response.wal_compressed_segments = status.compressed_segments;
        response.wal_follow_streams = status.follow_streams;
    }
    fill_mongo(registry, deadline, rpc_call_arena(call), &response);
    if (request->project[0] && !fill_project(registry, request->project, deadline, rpc_call_arena(call), &response, &err)) {
        rpc_fail(call, &err);
        return;
    }
    rpc_reply(call, &response.base);
}

static const struct rpc_method methods[] = {
    RPC_UNARY("GetStatus", on_get_status),     RPC_UNARY("GetConfig", config_rpc_on_get),     RPC_UNARY("ListConfig", config_rpc_on_list),
    RPC_UNARY("SetConfig", config_rpc_on_set), RPC_UNARY("UnsetConfig", config_rpc_on_unset),
};

bool admin_rpc_add(struct rpc_server *server, struct registry *registry, struct error *err)
{
    started_at = clock_monotonic_micros();
    return rpc_server_add(server, &argon__branch__v1__admin__descriptor, methods, ARRAY_LEN(methods), registry, err);
}
