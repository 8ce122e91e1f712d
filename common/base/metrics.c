#include "common/base/metrics.h"

#include <inttypes.h>
#include <stdarg.h>

#include "common/base/error.h"

static const uint64_t micros_bounds[HISTOGRAM_BOUNDS] = { 100,   250,    500,    1000,   2500,    5000,    10000,   25000,
                                                          50000, 100000, 250000, 500000, 1000000, 2500000, 5000000, 10000000 };
static const uint64_t number_bounds[HISTOGRAM_BOUNDS] = { 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768 };

static void observe(struct histogram *histogram, const uint64_t *bounds, uint64_t value)
{
    size_t i = 0;
    while (i < HISTOGRAM_BOUNDS && value > bounds[i])
        i++;
    counter_add(&histogram->buckets[i], 1);
    counter_add(&histogram->sum, value);
}

void histogram_micros(struct histogram *histogram, int64_t micros)
{
    observe(histogram, micros_bounds, micros > 0 ? (uint64_t)micros : 0);
}

void histogram_number(struct histogram *histogram, uint64_t number)
{
    observe(histogram, number_bounds, number);
}

uint64_t histogram_count(const struct histogram *histogram)
{
    uint64_t count = 0;
    for (size_t i = 0; i <= HISTOGRAM_BOUNDS; i++)
        count += counter_read(&histogram->buckets[i]);
    return count;
}

/* ---- pages ------------------------------------------------------------------------------------------ */

static const char *const type_names[] = { "counter", "gauge", "histogram" };

__attribute__((format(printf, 2, 3))) static void append(struct buffer *out, const char *format, ...)
{
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    int len = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    buffer_append(out, text, len < (int)sizeof text ? (size_t)len : sizeof text - 1);
}

static void append_number(struct buffer *out, enum metric_unit unit, uint64_t value)
{
    if (unit == METRIC_MICROS)
        append(out, "%" PRIu64 ".%06u", value / 1000000, (unsigned)(value % 1000000));
    else
        append(out, "%" PRIu64, value);
}

void metrics_write_value(struct buffer *out, const struct metric *metric, const char *labels, uint64_t value)
{
    append(out, *labels ? "%s{%s} " : "%s%s ", metric->name, labels);
    append_number(out, metric->unit, value);
    append(out, "\n");
}

void metrics_write_histogram(struct buffer *out, const struct metric *metric, const char *labels, const struct histogram *histogram)
{
    const uint64_t *bounds = metric->unit == METRIC_MICROS ? micros_bounds : number_bounds;
    uint64_t count = 0;
    for (size_t i = 0; i <= HISTOGRAM_BOUNDS; i++) {
        count += counter_read(&histogram->buckets[i]);
        append(out, "%s_bucket{%s%sle=\"", metric->name, labels, *labels ? "," : "");
        if (i == HISTOGRAM_BOUNDS)
            append(out, "+Inf");
        else if (metric->unit == METRIC_MICROS)
            append(out, "%g", (double)bounds[i] / 1e6);
        else
            append(out, "%" PRIu64, bounds[i]);
        append(out, "\"} %" PRIu64 "\n", count);
    }
    append(out, *labels ? "%s_sum{%s} " : "%s_sum%s ", metric->name, labels);
    append_number(out, metric->unit, counter_read(&histogram->sum));
    append(out, *labels ? "\n%s_count{%s} " : "\n%s_count%s ", metric->name, labels);
    append(out, "%" PRIu64 "\n", count);
}

static void write_row(struct buffer *out, const struct metric *metric, const void *sample)
{
    const char *place = (const char *)sample + metric->offset;
    append(out, "# HELP %s %s\n# TYPE %s %s\n", metric->name, metric->help, metric->name, type_names[metric->type]);
    if (metric->write) {
        metric->write(out, metric, sample);
    } else if (metric->type == METRIC_HISTOGRAM) {
        const struct histogram *histogram;
        memcpy(&histogram, place, sizeof histogram);
        metrics_write_histogram(out, metric, "", histogram);
    } else {
        uint64_t value;
        memcpy(&value, place, sizeof value);
        metrics_write_value(out, metric, "", value);
    }
}

void metrics_write(struct buffer *out, const struct metric_table *table, const void *sample)
{
    for (size_t i = 0; i < table->n; i++)
        write_row(out, &table->rows[i], sample);
}

void metrics_print_markdown(FILE *out, const struct metric_table *const *tables, size_t n)
{
    fputs("| metric | type | labels | what it is |\n|---|---|---|---|\n", out);
    for (size_t t = 0; t < n; t++)
        for (size_t i = 0; i < tables[t]->n; i++) {
            const struct metric *metric = &tables[t]->rows[i];
            fprintf(out, "| `%s` | %s | %s | %s |\n", metric->name, type_names[metric->type], metric->labels ? metric->labels : "",
                    metric->help);
        }
}
