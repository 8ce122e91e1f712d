#include "wal-service/wal_config.h"

#include <string.h>

#include "common/base/limits.h"
#include "common/rpc/rpc.h"
#include "common/service/process_metrics.h"
#include "wal-service/wal_metrics.h"

enum { N_SETTINGS = 10, N_ACTIONS = 2 };

/* Queue and memory hold the largest request at least. */
static void describe_options(struct wal_config *config, struct config_option settings[N_SETTINGS], struct config_option actions[N_ACTIONS])
{
    const struct config_option all[] = {
        { .name = "data",
          .kind = CONFIG_STRING,
          .target = &config->data,
          .variable = "ARGON_WAL_DATA",
          .argument = "DIR",
          .help = "directory of the log, made if it does not exist (required)" },
        { .name = "segment-bytes",
          .kind = CONFIG_BYTES,
          .target = &config->segment_bytes,
          .fallback = "64M",
          .variable = "ARGON_WAL_SEGMENT_BYTES",
          .min = MIB,
          .max = (uint64_t)1 << 30,
          .argument = "BYTES",
          .help = "length of a segment file" },
        { .name = "compress-after",
          .kind = CONFIG_UINT,
          .target = &config->compress_after,
          .fallback = "2",
          .variable = "ARGON_WAL_COMPRESS_AFTER",
          .max = 1000000000,
          .argument = "N",
          .help = "compress segments that are no longer written, in the background, all but the newest N; 0: none" },
        { .name = "conflict-window-bytes",
          .kind = CONFIG_BYTES,
          .target = &config->conflict_window_bytes,
          .fallback = "64M",
          .variable = "ARGON_WAL_CONFLICT_WINDOW_BYTES",
          .min = MIB,
          .max = (uint64_t)1 << 40,
          .argument = "BYTES",
          .help = "memory for the keys that were written lately" },
        { .name = "request-window-bytes",
          .kind = CONFIG_BYTES,
          .target = &config->request_window_bytes,
          .fallback = "256M",
          .variable = "ARGON_WAL_REQUEST_WINDOW_BYTES",
          .min = 4096,
          .max = (uint64_t)1 << 40,
          .argument = "BYTES",
          .help = "memory for the requests that are recognized when they are repeated" },
        { .name = "queue-bytes",
          .kind = CONFIG_BYTES,
          .target = &config->queue_bytes,
          .fallback = "512M",
          .variable = "ARGON_WAL_QUEUE_BYTES",
          .min = MAX_MESSAGE_BYTES,
          .max = (uint64_t)1 << 40,
          .argument = "BYTES",
          .help = "memory of appends that wait for the disk; beyond it they are refused" },
        { .name = "memory",
          .kind = CONFIG_BYTES,
          .target = &config->memory,
          .fallback = "512M",
          .variable = "ARGON_WAL_MEMORY",
          .min = MIN_REQUEST_MEMORY,
          .max = (uint64_t)1 << 40,
          .argument = "BYTES",
          .help = "memory of all requests in flight" },
        { .name = "max-calls",
          .kind = CONFIG_UINT,
          .target = &config->max_calls,
          .fallback = "4096",
          .variable = "ARGON_WAL_MAX_CALLS",
          .min = 16,
          .max = 1000000,
          .argument = "N",
          .help = "calls in flight; beyond it they are refused" },
        { .name = "max-follows",
          .kind = CONFIG_UINT,
          .target = &config->max_follows,
          .fallback = "1024",
          .variable = "ARGON_WAL_MAX_FOLLOWS",
          .max = 1000000,
          .argument = "N",
          .help = "streams that follow the log; beyond it they are refused" },
        { .name = "workers",
          .kind = CONFIG_UINT,
          .target = &config->workers,
          .fallback = "16",
          .variable = "ARGON_WAL_WORKERS",
          .min = 1,
          .max = 1024,
          .argument = "N",
          .help = "threads for reads; a reader holds one while its next message is read from the log" },
    };
    const struct config_option all_actions[] = {
        { .name = "verify",
          .kind = CONFIG_STRING,
          .target = &config->verify,
          .argument = "DIR",
          .help = "check the log in a directory that no service has open, change nothing, and exit: 0 whole, 1 damaged" },
        { .name = "output",
          .letter = 'o',
          .kind = CONFIG_STRING,
          .target = &config->output,
          .fallback = "text",
          .argument = "text|json",
          .help = "of --verify" },
    };
    _Static_assert(ARRAY_LEN(all) == N_SETTINGS && ARRAY_LEN(all_actions) == N_ACTIONS, "one row an option");
    memcpy(settings, all, sizeof all);
    memcpy(actions, all_actions, sizeof all_actions);
}

static bool check(const struct service_program *program, struct error *err)
{
    const struct wal_config *config = program->ctx;
    if (strcmp(config->output, "text") != 0 && strcmp(config->output, "json") != 0)
        return error_set(err, ERROR_INVALID_ARGUMENT, "-o: text or json, not '%s'", config->output);
    return *config->verify || *config->data || error_set(err, ERROR_INVALID_ARGUMENT, "--data DIR is required: the directory of the log");
}

bool wal_config_start(struct wal_config *config, int argc, char **argv, bool again, struct arena *arena, int *status)
{
    static const struct metric_table *const metrics[] = { &wal_metrics, &rpc_metrics, &process_metrics };
    struct config_option own[N_SETTINGS], shared[N_SERVICE_SETTINGS], own_actions[N_ACTIONS], shared_actions[N_SERVICE_ACTIONS];
    struct config_origin origins[N_SETTINGS + N_SERVICE_SETTINGS + N_ACTIONS + N_SERVICE_ACTIONS];
    const struct config_table tables[] = { { own, N_SETTINGS, false },
                                           { shared, N_SERVICE_SETTINGS, false },
                                           { own_actions, N_ACTIONS, true },
                                           { shared_actions, N_SERVICE_ACTIONS, true } };
    describe_options(config, own, own_actions);
    service_describe_options(&config->service, "ARGON_WAL_", "127.0.0.1:7700", shared, shared_actions);
    const struct service_program program = {
        .name = "wal-service",
        .usage = "usage: wal-service --data DIR [options]\n\nThe durable log behind Argon.\n\n",
        .tables = tables,
        .n_tables = ARRAY_LEN(tables),
        .options = &config->service,
        .origins = origins,
        .check = check,
        .ctx = config,
        .metrics = metrics,
        .n_metrics = ARRAY_LEN(metrics),
        .again = again,
    };
    return service_start(&program, argc, argv, arena, status);
}
