/* What a server measures of its calls. The poller writes it, and whoever is asked for metrics reads it. */
#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/rpc/rpc_internal.h"

static _Atomic int64_t slow_micros;

void rpc_log_slow_calls(int64_t micros)
{
    slow_micros = micros;
}

/* A stream that its client keeps open is not slow. */
static bool lasts_as_it_likes(const struct rpc_call *call)
{
    return !call->slot || call->slot->exempt || call->is_bidi || call->steps.run;
}

void call_measure(struct rpc_call *call)
{
    struct method_metrics *metrics = call->slot ? call->slot->metrics : &call->server->unknown;
    int64_t duration = clock_monotonic_micros() - call->arrived_at;
    counter_add(&metrics->handled[(int)call->status < N_STATUS_CODES ? call->status : ERROR_UNKNOWN], 1);
    histogram_micros(&metrics->duration, duration);
    int64_t limit = atomic_load_explicit(&slow_micros, memory_order_relaxed);
    if (limit == 0 || duration < limit || lasts_as_it_likes(call))
        return;
    trace_set(&call->trace);
    log_warn("rpc.slow", KV_STR("method", call->slot->path), KV_STR("code", error_code_name(call->status)),
             KV_I64("duration_ms", duration / 1000));
    trace_set(NULL);
}

/* ---- the page --------------------------------------------------------------------------------------- */

struct sample {
    struct rpc_server *server;
    uint64_t in_flight, in_flight_limit, request_bytes, request_limit, waiting, busy, workers, serving;
};

/* service="argon.wal.v1.Wal",method="Append" */
static void label_method(const struct method_slot *slot, char *labels, size_t size)
{
    const char *service = slot ? slot->path + 1 : "unknown";
    const char *method = slot ? strrchr(slot->path, '/') + 1 : "unknown";
    int len = slot ? (int)(method - 1 - service) : (int)strlen(service);
    snprintf(labels, size, "service=\"%.*s\",method=\"%s\"", len, service, method);
}

/* OK is there from the start, so that a rate begins at the first call. */
static void write_codes(struct buffer *out, const struct metric *metric, const struct method_slot *slot, const struct method_metrics *from)
{
    char labels[256], with_code[320];
    label_method(slot, labels, sizeof labels);
    for (int code = 0; code < N_STATUS_CODES; code++) {
        uint64_t n = counter_read(&from->handled[code]);
        if (n == 0 && (code != ERROR_OK || !slot))
            continue;
        snprintf(with_code, sizeof with_code, "%s,code=\"%s\"", labels, error_code_name((enum error_code)code));
        metrics_write_value(out, metric, with_code, n);
    }
}

static void write_handled(struct buffer *out, const struct metric *metric, const void *ctx)
{
    const struct rpc_server *server = ((const struct sample *)ctx)->server;
    for (size_t i = 0; i < server->n_slots; i++)
        write_codes(out, metric, &server->slots[i], server->slots[i].metrics);
    write_codes(out, metric, NULL, &server->unknown);
}

/* Of methods that were called: there are some fifty, with a score of lines each. */
static void write_durations(struct buffer *out, const struct metric *metric, const void *ctx)
{
    const struct rpc_server *server = ((const struct sample *)ctx)->server;
    char labels[256];
    for (size_t i = 0; i < server->n_slots; i++) {
        if (histogram_count(&server->slots[i].metrics->duration) == 0)
            continue;
        label_method(&server->slots[i], labels, sizeof labels);
        metrics_write_histogram(out, metric, labels, &server->slots[i].metrics->duration);
    }
}

#define GAUGE(name, field, help)                                                                                                           \
    {                                                                                                                                      \
        (name), METRIC_GAUGE, METRIC_NUMBER, (help), offsetof(struct sample, field), NULL, NULL                                            \
    }

static const struct metric rows[] = {
    { "argon_rpc_handled_total", METRIC_COUNTER, METRIC_NUMBER, "calls that have ended", 0, "service, method, code", write_handled },
    { "argon_rpc_duration_seconds", METRIC_HISTOGRAM, METRIC_MICROS,
      "from the arrival of a call to its end; streams last as their clients like", 0, "service, method", write_durations },
    GAUGE("argon_rpc_in_flight", in_flight, "calls that have arrived and not ended"),
    GAUGE("argon_rpc_in_flight_limit", in_flight_limit, "more than these are refused (--max-calls)"),
    GAUGE("argon_rpc_request_bytes", request_bytes, "memory of requests in flight"),
    GAUGE("argon_rpc_request_bytes_limit", request_limit, "the budget for it"),
    GAUGE("argon_rpc_worker_queue", waiting, "calls that wait for a thread"),
    GAUGE("argon_rpc_workers_busy", busy, "threads that work on a call"),
    GAUGE("argon_rpc_workers", workers, "threads that serve calls (--workers)"),
    GAUGE("argon_serving", serving, "1: ready, as gRPC health and /readyz say; 0: not"),
};
const struct metric_table rpc_metrics = { rows, ARRAY_LEN(rows) };

void rpc_server_write_metrics(struct rpc_server *server, struct buffer *out)
{
    struct sample sample = {
        .server = server,
        .in_flight = atomic_load(&server->calls),
        .in_flight_limit = server->options.max_calls,
        .request_bytes = atomic_load(&server->bytes),
        .request_limit = server->options.max_request_bytes,
        .workers = server->workers.n_threads,
        .serving = rpc_server_is_serving(server),
    };
    mutex_lock(&server->workers.lock);
    sample.waiting = server->workers.waiting;
    sample.busy = server->workers.busy;
    mutex_unlock(&server->workers.lock);
    metrics_write(out, &rpc_metrics, &sample);
}
