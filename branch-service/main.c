/* branch-service: branches, documents and materialization over the log of a WAL service. Holds no durable
 * state; any number of them serve the same projects. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "branch-service/collection/traditional_branch.h"
#include "branch-service/features.h"
#include "branch-service/mongo/mongo_client.h"
#include "branch-service/rpc/services.h"
#include "common/base/clock.h"
#include "common/base/config.h"
#include "common/base/limits.h"
#include "common/base/listen.h"
#include "common/base/log.h"
#include "common/yaml/options_file.h"
#include "proto/descriptors.h"

#define DEFAULT_DATABASE "argon"

/* More views at a time would compete for the same cores and memory. */
enum { EXIT_USAGE = 2, FOLLOWER_THREADS = 2, MOST_WARM_THREADS = 8 };

struct options {
    const char *config;
    const char *listen;
    const char *wal;
    const char *mongodb;
    const char *port_file;
    uint64_t memory;
    uint64_t workers;
    uint64_t max_calls;
    uint64_t request_memory;
    uint64_t grace;
    uint64_t follow_idle;
    uint64_t max_follows;
    uint64_t connection_age;
    uint64_t keepalive;
    uint64_t max_connection_streams;
    bool insecure;
    bool version;
    struct features features;
};

static void print_usage(FILE *out, const struct config_table *tables, size_t n)
{
    fprintf(out, "Usage: branch-service [--listen HOST:PORT] [--wal HOST:PORT] [OPTIONS]\n\n"
                 "Serves projects, branches and documents from the log of a WAL service.\n\n"
                 "Example: branch-service --listen 127.0.0.1:7800 --wal 127.0.0.1:7700\n\nOptions:\n");
    for (size_t i = 0; i < n; i++)
        config_print_help(out, tables[i].options, tables[i].n);
}

static bool add_services(struct rpc_server *server, struct registry *registry, struct error *err)
{
    return projects_rpc_add(server, registry, err) && branches_rpc_add(server, registry, err) &&
           collections_rpc_add(server, registry, err) && documents_rpc_add(server, registry, err) && admin_rpc_add(server, registry, err);
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
    if (!traditional_check_database(database, err))
        return error_wrap(err, "--mongodb");
    char *endpoint = mongo_redact_uri(uri);
    registry_use_mongo(registry, *mongo, database, endpoint);
    log_info("branch.mongodb", KV_STR("endpoint", endpoint), KV_STR("database", database));
    free(endpoint);
    return true;
}

static int serve(const struct options *options)
{
    struct error err = { 0 };
    struct log_source *log = NULL;
    struct registry *registry = NULL;
    struct rpc_server *server = NULL;
    struct mongo *mongo = NULL;
    int status = EXIT_FAILURE;
    const struct rpc_server_options server_options = {
        .listen = options->listen,
        .max_message_bytes = MAX_MESSAGE_BYTES,
        .max_calls = options->max_calls,
        .max_request_bytes = options->request_memory,
        .request_wait_micros = 60 * (int64_t)MICROS_PER_SECOND,
        .worker_threads = options->workers,
        .stall_micros = 600 * (int64_t)MICROS_PER_SECOND, /* people page through what they find */
        .connection_age_micros = (int64_t)options->connection_age,
        .connection_grace_micros = 600 * (int64_t)MICROS_PER_SECOND,
        .keepalive_micros = (int64_t)options->keepalive,
        .max_connection_streams = options->max_connection_streams,
        .reflection = &argon_reflection,
    };
    rpc_init();
    if (!listen_check(options->listen, options->insecure, &err) || !log_source_open(options->wal, &log, &err))
        goto out;
    registry = registry_new(log, options->memory);
    registry_use_features(registry, &options->features);
    if (!use_mongodb(options->mongodb, registry, &mongo, &err))
        goto out;
    if (options->max_follows > 0)
        registry_follow(registry, &(struct follower_options) { .idle_micros = (int64_t)options->follow_idle,
                                                               .max_follows = options->max_follows,
                                                               .threads = FOLLOWER_THREADS });
    registry_warm(registry, options->workers < MOST_WARM_THREADS ? options->workers : MOST_WARM_THREADS);
    if (!rpc_server_new(&server_options, &server, &err) || !add_services(server, registry, &err) || !rpc_server_start(server, &err) ||
        !listen_write_port_file(options->port_file, rpc_server_port(server), &err))
        goto out;
    log_info("branch.started", KV_STR("listen", options->listen), KV_U64("port", (uint64_t)rpc_server_port(server)),
             KV_STR("wal", options->wal), KV_U64("memory_bytes", options->memory));
    int signal = rpc_wait_for_signal();
    log_info("branch.draining", KV_I64("signal", signal));
    rpc_server_drain(server, (int64_t)options->grace);
    log_info("branch.stopped");
    status = EXIT_SUCCESS;
out:
    if (status != EXIT_SUCCESS) {
        fprintf(stderr, "branch-service: %s: %s\n", error_code_name(err.code), err.message);
        if (server)
            rpc_server_drain(server, 0);
    }
    rpc_server_free(server);
    registry_free(registry);
    mongo_close(mongo);
    log_source_close(log);
    rpc_shutdown();
    return status;
}

int main(int argc, char **argv)
{
    struct options options;
    const struct config_option table[] = {
        OPTIONS_FILE_ROW(&options.config, "ARGON_BRANCH_CONFIG"),
        { .name = "listen",
          .kind = CONFIG_STRING,
          .target = &options.listen,
          .fallback = "127.0.0.1:7800",
          .variable = "ARGON_BRANCH_LISTEN",
          .argument = "HOST:PORT",
          .help = "address to serve on; port 0 takes a free one" },
        { .name = "wal",
          .kind = CONFIG_STRING,
          .target = &options.wal,
          .fallback = "127.0.0.1:7700",
          .variable = "ARGON_WAL",
          .argument = "HOST:PORT[,...]",
          .help = "the WAL service; of several addresses the first that can be reached" },
        { .name = "mongodb",
          .kind = CONFIG_STRING,
          .target = &options.mongodb,
          .variable = "ARGON_MONGODB",
          .argument = "URI",
          .help = "the MongoDB of traditional branches, mongodb://HOST:PORT/DATABASE; without one there are none" },
        { .name = "memory",
          .kind = CONFIG_BYTES,
          .target = &options.memory,
          .fallback = "1G",
          .min = MIB,
          .variable = "ARGON_BRANCH_MEMORY",
          .argument = "BYTES",
          .help = "budget for materialized collections" },
        { .name = "request-memory",
          .kind = CONFIG_BYTES,
          .target = &options.request_memory,
          .fallback = "512M",
          .min = MIN_REQUEST_MEMORY,
          .argument = "BYTES",
          .help = "budget for requests in flight" },
        { .name = "workers",
          .kind = CONFIG_UINT,
          .target = &options.workers,
          .fallback = "64",
          .min = 1,
          .max = 1024,
          .argument = "N",
          .help = "threads that serve calls" },
        { .name = "max-calls",
          .kind = CONFIG_UINT,
          .target = &options.max_calls,
          .fallback = "1024",
          .min = 1,
          .max = 100000,
          .argument = "N",
          .help = "calls in flight; more are refused" },
        { .name = "grace",
          .kind = CONFIG_DURATION,
          .target = &options.grace,
          .fallback = "10s",
          .argument = "DURATION",
          .help = "time that calls in flight get at SIGTERM" },
        { .name = "follow-idle",
          .kind = CONFIG_DURATION,
          .target = &options.follow_idle,
          .fallback = "10m",
          .argument = "DURATION",
          .help = "follow the log of a project so long after its last use" },
        { .name = "max-follows",
          .kind = CONFIG_UINT,
          .target = &options.max_follows,
          .fallback = "256",
          .max = 100000,
          .argument = "N",
          .help = "projects whose log is followed at a time; 0: none" },
        { .name = "connection-age",
          .kind = CONFIG_DURATION,
          .target = &options.connection_age,
          .fallback = "5m",
          .argument = "DURATION",
          .help = "a connection is asked to go after so long, so that clients find new replicas; 0: never" },
        { .name = "keepalive",
          .kind = CONFIG_DURATION,
          .target = &options.keepalive,
          .fallback = "30s",
          .argument = "DURATION",
          .help = "a silent connection is tested after so long; 0: never" },
        { .name = "max-connection-streams",
          .kind = CONFIG_UINT,
          .target = &options.max_connection_streams,
          .fallback = "0",
          .max = 1000000,
          .argument = "N",
          .help = "calls at a time on one connection; 0: bounded by max-calls" },
        { .name = "insecure",
          .kind = CONFIG_BOOL,
          .target = &options.insecure,
          .help = "allow an address that is not loopback, without TLS and authentication" },
        { .name = "port-file",
          .kind = CONFIG_STRING,
          .target = &options.port_file,
          .argument = "FILE",
          .help = "write the port here once it is bound" },
        { .name = "version", .kind = CONFIG_BOOL, .target = &options.version, .help = "print the version" },
    };
    struct feature_options flags;
    struct config_option flag_table[N_FEATURE_OPTIONS];
    struct config_origin origins[ARRAY_LEN(table) + N_FEATURE_OPTIONS];
    const struct config_table tables[] = { { table, ARRAY_LEN(table) }, { flag_table, N_FEATURE_OPTIONS } };
    struct arena arena; /* strings of the file of options */
    struct error err;
    int status = EXIT_USAGE;
    features_describe_options(&flags, flag_table);
    if (config_wants_help(argc, argv)) {
        print_usage(stdout, tables, ARRAY_LEN(tables));
        return EXIT_SUCCESS;
    }
    arena_init(&arena, 0);
    bool parsed = options_file_parse(tables, ARRAY_LEN(tables), argc, argv, &options.config, &arena, origins, &err);
    features_init(&options.features, parsed && options.mongodb[0]);
    if (!parsed || !features_use_options(&options.features, &flags, flag_table, origins + ARRAY_LEN(table), &err)) {
        fprintf(stderr, "branch-service: %s (see --help)\n", err.message);
    } else if (options.version) {
        printf("branch-service %s\n", ARGON_VERSION);
        status = EXIT_SUCCESS;
    } else {
        log_set_service("branch");
        status = serve(&options);
    }
    arena_destroy(&arena);
    return status;
}
