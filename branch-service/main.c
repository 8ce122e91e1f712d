/* branch-service: branches, documents and materialization over the log of a WAL service. Holds no durable
 * state; any number of them serve the same projects. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "branch-service/branch_config.h"
#include "branch-service/branch_metrics.h"
#include "branch-service/documents/query_memory.h"
#include "branch-service/mongo/mongo_client.h"
#include "branch-service/rpc/services.h"
#include "branch-service/wal_watch.h"
#include "common/base/clock.h"
#include "common/base/limits.h"
#include "common/base/listen.h"
#include "common/base/log.h"
#include "common/service/metrics_server.h"
#include "proto/descriptors.h"

#define DEFAULT_DATABASE "argon"

/* More views at a time would compete for the same cores and memory. */
enum { FOLLOWER_THREADS = 2, MOST_WARM_THREADS = 8 };

struct life {
    int argc;
    char **argv;
    const struct branch_config *config;
    struct rpc_server *server;
    struct registry *registry;
    struct wal_watch *watch;
    struct metrics_server *metrics;
};

static bool add_services(struct rpc_server *server, struct registry *registry, struct error *err)
{
    return projects_rpc_add(server, registry, err) && branches_rpc_add(server, registry, err) &&
           collections_rpc_add(server, registry, err) && documents_rpc_add(server, registry, err) &&
           migrations_rpc_add(server, registry, err) && admin_rpc_add(server, registry, err);
}

/* MongoDB need not be there yet. */
static bool use_mongodb(const char *uri, struct registry *registry, struct mongo **mongo, struct error *err)
{
    if (!uri[0])
        return true;
    if (!mongo_open(&(struct mongo_options) { .uri = uri, .app_name = "argon" }, mongo, err))
        return error_wrap(err, "--mongodb");
    const char *database = mongo_uri_database(*mongo);
    if (!database[0])
        database = DEFAULT_DATABASE;
    char *endpoint = mongo_redact_uri(uri);
    registry_use_mongo(registry, *mongo, database, endpoint);
    log_info("branch.mongodb", KV_STR("endpoint", endpoint), KV_STR("database", database));
    free(endpoint);
    return true;
}

static void on_wal_changed(void *ctx, bool there)
{
    const struct life *life = ctx;
    rpc_server_set_all_serving(life->server, there);
}

static void reload(void *ctx)
{
    const struct life *life = ctx;
    struct branch_config config;
    struct arena arena;
    int status;
    arena_init(&arena, 0);
    (void)branch_config_start(&config, life->argc, life->argv, true, &arena, &status);
    arena_destroy(&arena);
}

static void write_metrics(void *ctx, struct buffer *out)
{
    const struct life *life = ctx;
    branch_metrics_write(life->registry, life->watch, life->config->max_follows, out);
}

/* From here on the service is seen; the port file comes last. */
static bool announce(struct life *life, struct error *err)
{
    const struct branch_config *config = life->config;
    life->watch = wal_watch_start(&(struct wal_watch_options) {
        .log = registry_log(life->registry), .away_micros = (int64_t)config->wal_away, .changed = on_wal_changed, .ctx = life });
    if (!metrics_server_start(&(struct metrics_server_options) { .address = config->service.metrics_address,
                                                                 .service = "branch-service",
                                                                 .server = life->server,
                                                                 .write = write_metrics,
                                                                 .ctx = life },
                              &life->metrics, err))
        return false;
    if (life->metrics)
        log_info("metrics.started", KV_STR("listen", config->service.metrics_address), KV_I64("port", metrics_server_port(life->metrics)));
    return listen_write_port_file(config->service.port_file, rpc_server_port(life->server), err);
}

static int serve(struct life *life)
{
    const struct branch_config *config = life->config;
    const struct service_options *service = &config->service;
    struct error err = { 0 };
    struct log_source *log = NULL;
    struct mongo *mongo = NULL;
    int status = EXIT_FAILURE;
    struct meter meter;
    const struct rpc_server_options server_options = {
        .listen = service->listen,
        .max_message_bytes = MAX_MESSAGE_BYTES,
        .max_calls = config->max_calls,
        .max_request_bytes = config->request_memory,
        .request_wait_micros = 60 * (int64_t)MICROS_PER_SECOND,
        .worker_threads = config->workers,
        .meter = &meter,
        .stall_micros = 600 * (int64_t)MICROS_PER_SECOND, /* people page through what they find */
        .connection_age_micros = (int64_t)service->connection_age,
        .connection_grace_micros = 600 * (int64_t)MICROS_PER_SECOND,
        .keepalive_micros = (int64_t)service->keepalive,
        .max_connection_streams = service->max_connection_streams,
        .reflection = &argon_reflection,
    };
    rpc_init();
    if (!log_source_open(config->wal, &log, &err))
        goto out;
    struct registry *registry = life->registry = registry_new(log, config->memory);
    meter = query_memory_meter(registry_cache(registry));
    registry_use_features(registry, &config->features);
    if (!use_mongodb(config->mongodb, registry, &mongo, &err))
        goto out;
    if (config->max_follows > 0)
        registry_follow(registry, &(struct follower_options) { .idle_micros = (int64_t)config->follow_idle,
                                                               .max_follows = config->max_follows,
                                                               .threads = FOLLOWER_THREADS });
    registry_warm(registry, config->workers < MOST_WARM_THREADS ? config->workers : MOST_WARM_THREADS);
    if (!rpc_server_new(&server_options, &life->server, &err) || !add_services(life->server, registry, &err) ||
        !rpc_server_start(life->server, &err) || !announce(life, &err))
        goto out;
    log_info("branch.started", KV_STR("listen", service->listen), KV_U64("port", (uint64_t)rpc_server_port(life->server)),
             KV_STR("wal", config->wal), KV_U64("memory_bytes", config->memory));
    int signal = service_wait(life->server, service, reload, life);
    log_info("branch.draining", KV_I64("signal", signal));
    rpc_server_drain(life->server, (int64_t)service->grace);
    log_info("branch.stopped");
    status = EXIT_SUCCESS;
out:
    if (status != EXIT_SUCCESS) {
        fprintf(stderr, "branch-service: %s: %s\n", error_code_name(err.code), err.message);
        if (life->server)
            rpc_server_drain(life->server, 0);
    }
    metrics_server_stop(life->metrics);
    wal_watch_stop(life->watch);
    rpc_server_free(life->server);
    registry_free(life->registry);
    mongo_close(mongo);
    log_source_close(log);
    rpc_shutdown();
    return status;
}

int main(int argc, char **argv)
{
    struct branch_config config;
    struct life life = { .argc = argc, .argv = argv, .config = &config };
    struct arena arena; /* strings of the file of options */
    int status;
    arena_init(&arena, 0);
    if (branch_config_start(&config, argc, argv, false, &arena, &status)) {
        log_set_service("branch");
        status = serve(&life);
    }
    arena_destroy(&arena);
    return status;
}
