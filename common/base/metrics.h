/* What a service measures, and how Prometheus reads it (text format 0.0.4).
 *
 * Each metric is one row: the page that a scrape gets, docs/metrics.md and the values all come from it. A row's value lies in
 * a sample, a struct that is filled for each scrape; counters that are raised on the way lie in globals, and cost one relaxed
 * addition.
 *
 *     static const struct metric rows[] = {
 *         { "argon_wal_segments", METRIC_GAUGE, METRIC_NUMBER, "segment files", offsetof(struct sample, segments) },
 *     };
 *
 * Threads    counters and histograms: any. Writing a page: any, with a buffer of one's own.
 */
#ifndef ARGON_BASE_METRICS_H
#define ARGON_BASE_METRICS_H

#include <stdatomic.h>
#include <stdio.h>

#include "common/base/bytes.h"

/* ---- counting --------------------------------------------------------------------------------------- */

struct metric_counter {
    _Atomic uint64_t value;
};

static inline void counter_add(struct metric_counter *counter, uint64_t n)
{
    atomic_fetch_add_explicit(&counter->value, n, memory_order_relaxed);
}

static inline uint64_t counter_read(const struct metric_counter *counter)
{
    return atomic_load_explicit(&counter->value, memory_order_relaxed);
}

/* Fixed upper bounds, of microseconds (METRIC_MICROS) or of numbers (METRIC_NUMBER); above the last one: +Inf. */
enum { HISTOGRAM_BOUNDS = 16 };
struct histogram {
    struct metric_counter buckets[HISTOGRAM_BOUNDS + 1];
    struct metric_counter sum;
};

void histogram_micros(struct histogram *histogram, int64_t micros);
void histogram_number(struct histogram *histogram, uint64_t number);
uint64_t histogram_count(const struct histogram *histogram);

/* ---- rows ------------------------------------------------------------------------------------------- */

enum metric_type { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };
enum metric_unit { METRIC_NUMBER, METRIC_MICROS /* shown in seconds */ };

struct metric {
    const char *name;
    enum metric_type type;
    enum metric_unit unit;
    const char *help;
    size_t offset; /* in the sample: a uint64_t, or of a histogram a pointer to it */
    /* For a metric with labels: writes all its lines. */
    const char *labels; /* "service, method" */
    void (*write)(struct buffer *out, const struct metric *metric, const void *sample);
};

struct metric_table {
    const struct metric *rows;
    size_t n;
};

/* ---- pages ------------------------------------------------------------------------------------------ */

/* HELP, TYPE and the values of every row. */
void metrics_write(struct buffer *out, const struct metric_table *table, const void *sample);
/* For rows with labels: "service=\"a\",method=\"b\"", or "". Values that labels are made of are ours: nothing is escaped. */
void metrics_write_value(struct buffer *out, const struct metric *metric, const char *labels, uint64_t value);
void metrics_write_histogram(struct buffer *out, const struct metric *metric, const char *labels, const struct histogram *histogram);

/* The reference, in Markdown. */
void metrics_print_markdown(FILE *out, const struct metric_table *const *tables, size_t n);

#endif
