/* Counters, histograms and the page that a scrape gets; traces. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/error.h"
#include "common/base/metrics.h"
#include "common/base/sync.h"
#include "common/base/trace.h"

struct sample {
    uint64_t files;
    uint64_t micros;
    const struct histogram *sizes;
    const struct histogram *times;
};

static void write_labels(struct buffer *out, const struct metric *metric, const void *sample)
{
    (void)sample;
    metrics_write_value(out, metric, "kind=\"a\"", 1);
    metrics_write_value(out, metric, "kind=\"b\"", 2);
}

static const struct metric rows[] = {
    { "files", METRIC_GAUGE, METRIC_NUMBER, "files | open", offsetof(struct sample, files), NULL, NULL },
    { "spent_seconds_total", METRIC_COUNTER, METRIC_MICROS, "time spent", offsetof(struct sample, micros), NULL, NULL },
    { "kinds", METRIC_GAUGE, METRIC_NUMBER, "by kind", 0, "kind", write_labels },
    { "size", METRIC_HISTOGRAM, METRIC_NUMBER, "sizes", offsetof(struct sample, sizes), NULL, NULL },
    { "time_seconds", METRIC_HISTOGRAM, METRIC_MICROS, "times", offsetof(struct sample, times), NULL, NULL },
};
static const struct metric_table table = { rows, ARRAY_LEN(rows) };

static char *page_of(const struct sample *sample)
{
    struct buffer out = { 0 };
    metrics_write(&out, &table, sample);
    buffer_append_u8(&out, 0);
    assert_false(out.failed);
    return (char *)out.data;
}

static void assert_has(const char *page, const char *line)
{
    if (!strstr(page, line))
        fail_msg("'%s' is missing in\n%s", line, page);
}

static void a_page_has_every_row_with_its_help_and_type(void **state)
{
    (void)state;
    static struct histogram sizes, times;
    char *page = page_of(&(struct sample) { .files = 18446744073709551615u, .micros = 1234567, .sizes = &sizes, .times = &times });
    assert_has(page, "# HELP files files | open\n# TYPE files gauge\nfiles 18446744073709551615\n");
    assert_has(page, "# TYPE spent_seconds_total counter\nspent_seconds_total 1.234567\n");
    assert_has(page, "# TYPE kinds gauge\nkinds{kind=\"a\"} 1\nkinds{kind=\"b\"} 2\n");
    assert_has(page, "# TYPE size histogram\nsize_bucket{le=\"1\"} 0\n");
    assert_has(page, "size_bucket{le=\"+Inf\"} 0\nsize_sum 0\nsize_count 0\n");
    free(page);
}

static void a_value_at_a_bound_is_within_it(void **state)
{
    (void)state;
    static struct histogram sizes, times;
    const uint64_t numbers[] = { 0, 1, 2, 3, 32768, 32769 };
    const int64_t micros[] = { -5, 100, 101, 10000000, 10000001 };
    for (size_t i = 0; i < ARRAY_LEN(numbers); i++)
        histogram_number(&sizes, numbers[i]);
    for (size_t i = 0; i < ARRAY_LEN(micros); i++)
        histogram_micros(&times, micros[i]);
    char *page = page_of(&(struct sample) { .sizes = &sizes, .times = &times });
    assert_has(page, "size_bucket{le=\"1\"} 2\nsize_bucket{le=\"2\"} 3\nsize_bucket{le=\"4\"} 4\n");
    assert_has(page, "size_bucket{le=\"32768\"} 5\nsize_bucket{le=\"+Inf\"} 6\nsize_sum 65543\nsize_count 6\n");
    assert_has(page, "time_seconds_bucket{le=\"0.0001\"} 2\ntime_seconds_bucket{le=\"0.00025\"} 3\n");
    assert_has(page, "time_seconds_bucket{le=\"10\"} 4\ntime_seconds_bucket{le=\"+Inf\"} 5\ntime_seconds_sum 20.000202\n");
    free(page);
}

enum { THREADS = 4, ROUNDS = 20000 };
static struct metric_counter shared_counter;
static struct histogram shared_histogram;

static void *count(void *ctx)
{
    (void)ctx;
    for (int i = 0; i < ROUNDS; i++) {
        counter_add(&shared_counter, 2);
        histogram_number(&shared_histogram, (uint64_t)i);
    }
    return NULL;
}

static void nothing_is_lost_between_threads(void **state)
{
    (void)state;
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        threads[i] = thread_start("count", count, NULL);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(counter_read(&shared_counter), 2 * THREADS * ROUNDS);
    assert_int_equal(histogram_count(&shared_histogram), THREADS * ROUNDS);
    assert_int_equal(counter_read(&shared_histogram.sum), (uint64_t)THREADS * ROUNDS * (ROUNDS - 1) / 2);
}

static void a_trace_is_of_its_thread_and_must_be_one(void **state)
{
    (void)state;
    static const char parent[] = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    struct trace trace;
    char id[TRACE_ID_SIZE];
    trace_parse(&trace, parent, strlen(parent));
    assert_true(trace_id(&trace, id));
    assert_string_equal(id, "4bf92f3577b34da6a3ce929d0e0e4736");
    trace_set(&trace);
    trace = (struct trace) { "" }; /* a copy was taken */
    assert_true(trace_id(trace_current(), id));
    trace_set(NULL);
    assert_false(trace_id(trace_current(), id));
    for (size_t i = 0; i < strlen(parent); i++) { /* any byte wrong, or the end missing */
        char wrong[sizeof parent];
        memcpy(wrong, parent, sizeof wrong);
        wrong[i] = 'x';
        trace_parse(&trace, wrong, strlen(wrong));
        assert_false(trace_id(&trace, id));
        trace_parse(&trace, parent, i);
        assert_false(trace_id(&trace, id));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_page_has_every_row_with_its_help_and_type),
        cmocka_unit_test(a_value_at_a_bound_is_within_it),
        cmocka_unit_test(nothing_is_lost_between_threads),
        cmocka_unit_test(a_trace_is_of_its_thread_and_must_be_one),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
