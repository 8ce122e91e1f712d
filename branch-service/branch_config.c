#include "branch-service/branch_config.h"

#include <string.h>

#include "branch-service/branch_metrics.h"
#include "branch-service/collection/traditional_branch.h"
#include "branch-service/mongo/mongo_client.h"
#include "common/base/clock.h"
#include "common/base/limits.h"
#include "common/rpc/rpc.h"
#include "common/service/process_metrics.h"

enum { N_OPTIONS = 9 };

static void describe_options(struct branch_config *config, struct config_option options[N_OPTIONS])
{
    const struct config_option all[] = {
        { .name = "wal",
          .kind = CONFIG_STRING,
          .target = &config->wal,
          .fallback = "127.0.0.1:7700",
          .variable = "ARGON_WAL",
          .argument = "HOST:PORT[,...]",
          .help = "the WAL service; of several addresses the first that can be reached" },
        { .name = "mongodb",
          .kind = CONFIG_URI,
          .target = &config->mongodb,
          .variable = "ARGON_MONGODB",
          .argument = "URI",
          .help = "the MongoDB of traditional branches, mongodb://HOST:PORT/DATABASE; without one there are none" },
        { .name = "memory",
          .kind = CONFIG_BYTES,
          .target = &config->memory,
          .fallback = "1G",
          .min = MIB,
          .variable = "ARGON_BRANCH_MEMORY",
          .argument = "BYTES",
          .help = "budget for materialized collections, and for what queries and writes hold" },
        { .name = "request-memory",
          .kind = CONFIG_BYTES,
          .target = &config->request_memory,
          .fallback = "512M",
          .min = MIN_REQUEST_MEMORY,
          .variable = "ARGON_BRANCH_REQUEST_MEMORY",
          .argument = "BYTES",
          .help = "budget for requests in flight" },
        { .name = "workers",
          .kind = CONFIG_UINT,
          .target = &config->workers,
          .fallback = "64",
          .min = 1,
          .max = 1024,
          .variable = "ARGON_BRANCH_WORKERS",
          .argument = "N",
          .help = "threads that serve calls" },
        { .name = "max-calls",
          .kind = CONFIG_UINT,
          .target = &config->max_calls,
          .fallback = "1024",
          .min = 1,
          .max = 100000,
          .variable = "ARGON_BRANCH_MAX_CALLS",
          .argument = "N",
          .help = "calls in flight; more are refused" },
        { .name = "follow-idle",
          .kind = CONFIG_DURATION,
          .target = &config->follow_idle,
          .fallback = "10m",
          .variable = "ARGON_BRANCH_FOLLOW_IDLE",
          .argument = "DURATION",
          .help = "follow the log of a project so long after its last use" },
        { .name = "max-follows",
          .kind = CONFIG_UINT,
          .target = &config->max_follows,
          .fallback = "256",
          .max = 100000,
          .variable = "ARGON_BRANCH_MAX_FOLLOWS",
          .argument = "N",
          .help = "projects whose log is followed at a time; 0: none" },
        { .name = "wal-away",
          .kind = CONFIG_DURATION,
          .target = &config->wal_away,
          .fallback = "10s",
          .min = MICROS_PER_SECOND,
          .max = UINT64_C(3600) * MICROS_PER_SECOND,
          .variable = "ARGON_BRANCH_WAL_AWAY",
          .argument = "DURATION",
          .help = "health says no when the WAL service has not answered for so long" },
    };
    _Static_assert(ARRAY_LEN(all) == N_OPTIONS, "one row an option");
    memcpy(options, all, sizeof all);
}

struct parsing {
    struct branch_config *config;
    struct feature_options flags;
    const struct config_option *flag_rows;
};

static bool check_mongodb(const char *uri, struct error *err)
{
    struct mongo *mongo;
    if (!uri[0])
        return true;
    if (!mongo_open(&(struct mongo_options) { .uri = uri }, &mongo, err)) /* connects to nobody */
        return false;
    const char *database = mongo_uri_database(mongo);
    bool ok = !database[0] || traditional_check_database(database, err);
    mongo_close(mongo);
    return ok;
}

static bool check(const struct service_program *program, struct error *err)
{
    struct parsing *parsing = program->ctx;
    struct branch_config *config = parsing->config;
    features_init(&config->features, config->mongodb[0]);
    if (!features_use_options(&config->features, &parsing->flags, parsing->flag_rows, program->origins + N_OPTIONS, err))
        return false;
    parsing->flags.enabled = config->features.enabled; /* for --print-config: the default depends on --mongodb */
    if (!rpc_check_target(config->wal, err))
        return service_wrap_option(program, "wal", err);
    return check_mongodb(config->mongodb, err) || service_wrap_option(program, "mongodb", err);
}

bool branch_config_start(struct branch_config *config, int argc, char **argv, bool again, struct arena *arena, int *status)
{
    static const struct metric_table *const metrics[] = { &branch_metrics, &rpc_metrics, &process_metrics };
    struct config_option options[N_OPTIONS], flags[N_FEATURE_OPTIONS], shared[N_SERVICE_SETTINGS], actions[N_SERVICE_ACTIONS];
    struct config_origin origins[N_OPTIONS + N_FEATURE_OPTIONS + N_SERVICE_SETTINGS + N_SERVICE_ACTIONS];
    const struct config_table tables[] = { { options, N_OPTIONS, false },
                                           { flags, N_FEATURE_OPTIONS, false },
                                           { shared, N_SERVICE_SETTINGS, false },
                                           { actions, N_SERVICE_ACTIONS, true } };
    struct parsing parsing = { .config = config, .flag_rows = flags };
    describe_options(config, options);
    features_describe_options(&parsing.flags, flags);
    service_describe_options(&config->service, "ARGON_BRANCH_", "127.0.0.1:7800", shared, actions);
    const struct service_program program = {
        .name = "branch-service",
        .usage = "Usage: branch-service [--listen HOST:PORT] [--wal HOST:PORT] [OPTIONS]\n\n"
                 "Serves projects, branches and documents from the log of a WAL service.\n\n"
                 "Example: branch-service --listen 127.0.0.1:7800 --wal 127.0.0.1:7700\n\nOptions:\n",
        .tables = tables,
        .n_tables = ARRAY_LEN(tables),
        .options = &config->service,
        .origins = origins,
        .check = check,
        .ctx = &parsing,
        .metrics = metrics,
        .n_metrics = ARRAY_LEN(metrics),
        .again = again,
    };
    return service_start(&program, argc, argv, arena, status);
}
