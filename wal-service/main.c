/* Exit codes: 0 stopped by a signal, 1 a failure (of --verify: damage), 2 a wrong command line. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/limits.h"
#include "common/base/listen.h"
#include "common/base/log.h"
#include "common/rpc/rpc.h"
#include "common/service/metrics_server.h"
#include "proto/descriptors.h"
#include "wal-service/verify_command.h"
#include "wal-service/wal_config.h"
#include "wal-service/wal_metrics.h"
#include "wal-service/wal_rpc.h"

enum { EXIT_CLEAN = 0, EXIT_FAILED = 1 };

#define WAL_SERVICE_NAME    "argon.wal.v1.Wal"
#define FAILED_GRACE_MICROS 1000000 /* for answers that are on their way when the log has failed */

static void set_serving(struct rpc_server *server, bool serving)
{
    rpc_server_set_serving(server, "", serving);
    rpc_server_set_serving(server, WAL_SERVICE_NAME, serving);
}

static void on_log_failed(void *ctx)
{
    struct rpc_server **server = ctx;
    set_serving(*server, false);
    rpc_stop_waiting();
}

static void on_background_failed(void *ctx, const struct error *err)
{
    (void)ctx;
    log_warn("wal.segment_upkeep_failed", KV_ERR(err));
}

static void log_start(const struct wal_config *config, const struct wal_rpc *rpc, int port, const struct segment_recovery *report)
{
    char incarnation[2 * INCARNATION_BYTES + 1];
    for (size_t i = 0; i < INCARNATION_BYTES; i++)
        snprintf(incarnation + 2 * i, 3, "%02x", rpc->incarnation[i]);
    if (report->dropped_bytes)
        log_warn("wal.torn_tail_dropped", KV_STR("file", report->dropped_file), KV_U64("dropped_bytes", report->dropped_bytes));
    if (report->footers_bad)
        log_warn("wal.bad_footers_replaced", KV_U64("footers", report->footers_bad), KV_STR("file", report->bad_footer));
    log_info("wal.started", KV_STR("listen", config->service.listen), KV_I64("port", port), KV_STR("data", config->data),
             KV_STR("incarnation", incarnation), KV_U64("segments", report->segments), KV_U64("groups", report->groups),
             KV_U64("batches", report->frames), KV_U64("entries", report->entries), KV_U64("dropped_bytes", report->dropped_bytes));
}

struct life {
    int argc;
    char **argv;
    const struct wal_config *config;
    struct wal *wal;
};

static void reload(void *ctx)
{
    const struct life *life = ctx;
    struct wal_config config;
    struct arena arena;
    int status;
    arena_init(&arena, 0);
    (void)wal_config_start(&config, life->argc, life->argv, true, &arena, &status);
    arena_destroy(&arena);
}

static void write_metrics(void *ctx, struct buffer *out)
{
    const struct life *life = ctx;
    wal_metrics_write(life->wal, life->config->data, out);
}

static bool serve(struct life *life, struct error *err)
{
    const struct wal_config *config = life->config;
    const struct service_options *service = &config->service;
    struct metrics_server *metrics = NULL;
    struct rpc_server *server = NULL;
    struct log_store *store = NULL;
    struct segment_recovery report = { 0 };
    struct wal_rpc rpc;
    bool started = false, served = false;
    struct wal *wal = wal_new(&(struct wal_options) {
        .conflict_window_bytes = config->conflict_window_bytes,
        .request_window_bytes = config->request_window_bytes,
        .queue_bytes = config->queue_bytes,
        .max_follows = config->max_follows,
        .failed = on_log_failed,
        .ctx = &server,
    });
    life->wal = wal;
    struct segment_store_options store_options = {
        .directory = config->data,
        .segment_bytes = config->segment_bytes,
        .compress_after = config->compress_after,
        .background_failed = on_background_failed,
    };
    if (!segment_store_open(&store_options, wal_recover, wal, &report, &store, err))
        goto out;
    wal_rpc_init(&rpc, wal, store, "segment", config->data);

    struct rpc_server_options server_options = {
        .listen = service->listen,
        .max_message_bytes = MAX_MESSAGE_BYTES,
        .max_calls = config->max_calls,
        .max_request_bytes = config->memory,
        .request_wait_micros = 60 * (int64_t)MICROS_PER_SECOND,
        .worker_threads = config->workers,
        .stall_micros = 60 * (int64_t)MICROS_PER_SECOND, /* readers are services: they read, or they are gone */
        .connection_age_micros = (int64_t)service->connection_age,
        .connection_grace_micros = 60 * (int64_t)MICROS_PER_SECOND,
        .keepalive_micros = (int64_t)service->keepalive,
        .max_connection_streams = service->max_connection_streams,
        .reflection = &argon_reflection,
    };
    if (!rpc_server_new(&server_options, &server, err) || !wal_rpc_add(&rpc, server, err))
        goto out;
    wal_start(wal, store);
    started = true;
    if (!rpc_server_start(server, err))
        goto out;
    if (!metrics_server_start(
            &(struct metrics_server_options) {
                .address = service->metrics_address, .service = "wal-service", .server = server, .write = write_metrics, .ctx = life },
            &metrics, err))
        goto drain;
    if (metrics)
        log_info("metrics.started", KV_STR("listen", service->metrics_address), KV_I64("port", metrics_server_port(metrics)));
    if (!listen_write_port_file(service->port_file, rpc_server_port(server), err))
        goto drain;
    log_start(config, &rpc, rpc_server_port(server), &report);

    int signal = service_wait(server, service, reload, life);
    log_info("wal.stopping", KV_I64("signal", signal));
    served = !wal_has_failed(wal) || error_set(err, ERROR_UNAVAILABLE, "the log has failed");
drain:
    rpc_server_drain(server, served ? (int64_t)service->grace : FAILED_GRACE_MICROS);
out:
    /* The commit thread answers calls, so it ends before the server does, and the store is the last. */
    if (started)
        wal_stop(wal);
    if (served && wal_has_failed(wal)) /* while it drained, or in the last group */
        served = error_set(err, ERROR_UNAVAILABLE, "the log has failed");
    metrics_server_stop(metrics);
    rpc_server_free(server);
    wal_free(wal);
    log_store_close(store);
    return served;
}

static int run(struct life *life)
{
    const struct wal_config *config = life->config;
    struct error err = { 0 };
    if (*config->verify) {
        bool whole = verify_command(config->verify, strcmp(config->output, "json") == 0, stdout, &err);
        if (err.code != ERROR_OK)
            fprintf(stderr, "wal-service: %s\n", err.message);
        return whole ? EXIT_CLEAN : EXIT_FAILED;
    }
    log_set_service("wal-service");
    rpc_init();
    bool served = serve(life, &err);
    rpc_shutdown();
    if (!served) {
        fprintf(stderr, "wal-service: %s\n", err.message);
        return EXIT_FAILED;
    }
    log_info("wal.stopped");
    return EXIT_CLEAN;
}

int main(int argc, char **argv)
{
    struct wal_config config;
    struct life life = { .argc = argc, .argv = argv, .config = &config };
    struct arena arena; /* strings of the file of options */
    int status;
    arena_init(&arena, 0);
    if (wal_config_start(&config, argc, argv, false, &arena, &status))
        status = run(&life);
    arena_destroy(&arena);
    return status;
}
