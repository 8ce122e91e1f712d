/* Hostile specs and documents: refused, or done within bounds of time and memory. Each runs in a process of its own, whose
 * memory is looked at in the end. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "branch-service/query/filter.h"
#include "branch-service/query/pipeline.h"
#include "branch-service/query/projection.h"
#include "branch-service/query/query_error.h"
#include "branch-service/query/update.h"
#include "common/base/clock.h"
#include "common/base/limits.h"
#include "common/bson/bson_check.h"
#include "tests/support/bson_support.h"

enum {
#ifdef __SANITIZE_ADDRESS__
    MAX_RESIDENT_MIB = 2048, /* freed memory is kept for a while, and everything has a shadow */
    MAX_SECONDS = 60,
#else
    MAX_RESIDENT_MIB = 640,
    MAX_SECONDS = 20,
#endif
};

/* What it says is checked in the parent, whose assertions are cmocka's. */
struct outcome {
    int64_t micros;
    int code;          /* MongoDB's; 0: it went well */
    char message[160]; /* the error's, or what went wrong in the test */
};

typedef bool attempt_fn(struct error *err);

static struct outcome run_apart(attempt_fn *attempt)
{
    struct outcome outcome = { 0 };
    struct rusage usage;
    int pipes[2], status;
    assert_int_equal(pipe(pipes), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        struct error err = { 0 };
        int64_t began = clock_monotonic_micros();
        bool ok = attempt(&err);
        outcome.micros = clock_monotonic_micros() - began;
        outcome.code = ok ? 0 : query_error_code(&err);
        snprintf(outcome.message, sizeof outcome.message, "%.150s", ok ? "" : err.message);
        _exit(write(pipes[1], &outcome, sizeof outcome) != sizeof outcome);
    }
    close(pipes[1]);
    bool told = read(pipes[0], &outcome, sizeof outcome) == sizeof outcome;
    close(pipes[0]);
    assert_int_equal(wait4(pid, &status, 0, &usage), pid);
    assert_true(told && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    assert_in_range(usage.ru_maxrss / 1024, 1, MAX_RESIDENT_MIB);
    assert_in_range(outcome.micros, 0, (int64_t)MAX_SECONDS * MICROS_PER_SECOND);
    return outcome;
}

static void goes_well(attempt_fn *attempt)
{
    struct outcome outcome = run_apart(attempt);
    if (outcome.message[0])
        fail_msg("%s", outcome.message);
}

static void is_refused(attempt_fn *attempt, int code)
{
    struct outcome outcome = run_apart(attempt);
    if (outcome.code != code)
        fail_msg("expected code %d, got %d: %s", code, outcome.code, outcome.message);
}

/* The same document or array n levels down: {name: {name: ... {}}}; raw, as no parser lets it through. */
static void nest(struct buffer *out, uint8_t type, const char *name, int levels)
{
    size_t each = 4 + 1 + strlen(name) + 1;
    size_t size = (size_t)levels * (each + 1) + 5;
    for (int i = 0; i < levels; i++, size -= each + 1) {
        put_u32(buffer_append_zeros(out, 4), (uint32_t)size);
        buffer_append_u8(out, type);
        buffer_append(out, name, strlen(name) + 1);
    }
    put_u32(buffer_append_zeros(out, 4), 5);
    buffer_append_zeros(out, 1 + (size_t)levels);
}

/* ---- filters ---- */

static bool match_a_million(struct error *err)
{
    bson_t spec = BSON_INITIALIZER, inner;
    struct filter *filter;
    bool matches, ok = true;
    bson_append_document_begin(&spec, "a", 1, &inner);
    append_numbers(&inner, "$in", 1000000);
    bson_append_document_end(&spec, &inner);
    if (!filter_compile(bytes_of_bson(&spec), &filter, err))
        return false;
    for (int i = 0; ok && i < 100000; i++) {
        bson_t document = BSON_INITIALIZER;
        bson_append_int32(&document, "a", 1, i * 20);
        ok = filter_matches(filter, bytes_of_bson(&document), &matches, err) &&
             (matches == (i * 20 < 1000000) || error_set(err, ERROR_INTERNAL, "%d: %d", i * 20, matches));
        bson_destroy(&document);
    }
    return ok;
}

/* A list of a million is searched, not gone through. */
static void a_long_list_is_matched_fast(void **state)
{
    (void)state;
    goes_well(match_a_million);
}

static bool check_deep(struct error *err)
{
    struct buffer spec = { 0 };
    nest(&spec, BSON_TYPE_DOCUMENT, "a", 10000);
    return bson_check(buffer_bytes(&spec), err);
}

/* Every spec goes through bson_check in front of what compiles it. */
static void ten_thousand_levels_are_refused(void **state)
{
    (void)state;
    struct outcome outcome = run_apart(check_deep);
    assert_non_null(strstr(outcome.message, "nest"));
}

/* ---- expressions ---- */

static bool evaluate_with(const char *text, const bson_t *document, struct error *err)
{
    bson_t *spec = bson_of_text(text);
    struct filter *filter;
    bool matches;
    return filter_compile(bytes_of_bson(spec), &filter, err) && filter_matches(filter, bytes_of_bson(document), &matches, err);
}

static bool evaluate(const char *text, struct error *err)
{
    bson_t *document = bson_of_text("{\"a\": [1, 2, 3]}");
    return evaluate_with(text, document, err);
}

static bool double_a_string(struct error *err)
{
    return evaluate("{\"$expr\": {\"$reduce\": {\"input\": {\"$range\": [0, 60]}, \"initialValue\": \"x\","
                    " \"in\": {\"$concat\": [\"$$value\", \"$$value\"]}}}}",
                    err);
}

static bool double_an_array(struct error *err)
{
    return evaluate("{\"$expr\": {\"$reduce\": {\"input\": {\"$range\": [0, 60]}, \"initialValue\": \"$a\","
                    " \"in\": {\"$concatArrays\": [\"$$value\", \"$$value\"]}}}}",
                    err);
}

static bool wrap_a_value(struct error *err)
{
    return evaluate("{\"$expr\": {\"$reduce\": {\"input\": {\"$range\": [0, 60]}, \"initialValue\": \"$a\","
                    " \"in\": {\"x\": \"$$value\", \"y\": \"$$value\"}}}}",
                    err);
}

static bool long_range(struct error *err)
{
    return evaluate("{\"$expr\": {\"$range\": [0, 2147483647]}}", err);
}

static bool ranges_in_ranges(struct error *err)
{
    return evaluate(
        "{\"$expr\": {\"$map\": {\"input\": {\"$range\": [0, 100000]}, \"in\": {\"$map\": {\"input\": {\"$range\": [0, 100000]},"
        " \"in\": \"$$this\"}}}}}",
        err);
}

static bool replace_all(struct error *err)
{
    return evaluate("{\"$expr\": {\"$reduce\": {\"input\": {\"$range\": [0, 60]}, \"initialValue\": \"xx\", \"in\": {\"$replaceAll\":"
                    " {\"input\": \"$$value\", \"find\": \"x\", \"replacement\": \"$$value\"}}}}}",
                    err);
}

static void what_grows_in_loops_ends_at_a_limit(void **state)
{
    (void)state;
    attempt_fn *const attempts[] = { double_a_string, double_an_array, wrap_a_value, long_range, ranges_in_ranges, replace_all };
    for (size_t i = 0; i < ARRAY_LEN(attempts); i++)
        is_refused(attempts[i], MONGO_EXCEEDED_MEMORY_LIMIT);
}

/* Takes no memory, and would take a hundred years. */
static bool loops_in_loops(struct error *err)
{
    bson_t document = BSON_INITIALIZER;
    append_numbers(&document, "a", 100000);
    return evaluate_with("{\"$expr\": {\"$reduce\": {\"input\": \"$a\", \"initialValue\": 0, \"in\": {\"$reduce\": {\"input\": \"$a\","
                         " \"initialValue\": 0, \"in\": {\"$reduce\": {\"input\": \"$a\", \"initialValue\": 0, \"in\": \"$$this\"}}}}}}}",
                         &document, err);
}

static void loops_in_loops_end(void **state)
{
    (void)state;
    is_refused(loops_in_loops, MONGO_MAX_TIME_EXPIRED);
}

static bool hostile_find(struct error *err)
{
    char text[6000] = "{\"a\": \"";
    size_t len = strlen(text);
    memset(text + len, 'a', 5000);
    memcpy(text + len + 5000, "!\"}", 4);
    bson_t *document = bson_of_text(text);
    return evaluate_with("{\"$expr\": {\"$regexFindAll\": {\"input\": \"$a\", \"regex\": \"(a+)+$\"}}}", document, err);
}

static void hostile_patterns_are_given_up(void **state)
{
    (void)state;
    is_refused(hostile_find, 51156);
}

/* ---- compiling ---- */

/* A text of so many MiB in arrays in arrays. */
static bson_t *deep_constant(int mib, int levels)
{
    bson_t *inner = bson_new();
    char *text = malloc((size_t)mib * MIB);
    memset(text, 'x', (size_t)mib * MIB);
    bson_append_utf8(inner, "0", 1, text, mib * (int)MIB);
    free(text);
    for (int i = 0; i < levels; i++) {
        bson_t *outer = bson_new();
        bson_append_array(outer, "0", 1, inner);
        bson_destroy(inner);
        inner = outer;
    }
    return inner;
}

static bool compile_deep_projection(struct error *err)
{
    bson_t *constant = deep_constant(12, 80), spec = BSON_INITIALIZER;
    struct projection *projection;
    bson_append_array(&spec, "a", 1, constant);
    return projection_compile(bytes_of_bson(&spec), PROJECTION_ADD_FIELDS, NULL, &projection, err);
}

static bool compile_deep_stage(struct error *err)
{
    bson_t *constant = deep_constant(12, 80), stages = BSON_INITIALIZER, stage, root;
    struct pipeline *pipeline;
    bson_append_document_begin(&stages, "0", 1, &stage);
    bson_append_document_begin(&stage, "$replaceWith", -1, &root);
    bson_append_array(&root, "a", 1, constant);
    bson_append_document_end(&stage, &root);
    bson_append_document_end(&stages, &stage);
    return pipeline_compile(bytes_of_bson(&stages), NULL, &pipeline, err);
}

static bool compile_deep_update(struct error *err)
{
    bson_t *constant = deep_constant(12, 80), stages = BSON_INITIALIZER, stage, root;
    struct update_options options = { .is_pipeline = true };
    struct update *update;
    bson_append_document_begin(&stages, "0", 1, &stage);
    bson_append_document_begin(&stage, "$replaceWith", -1, &root);
    bson_append_array(&root, "a", 1, constant);
    bson_append_document_end(&stage, &root);
    bson_append_document_end(&stages, &stage);
    return update_compile(bytes_of_bson(&stages), &options, &update, err);
}

/* Constants are evaluated when they are compiled, level by level: each level is a copy. */
static void constants_within_constants_are_bounded(void **state)
{
    (void)state;
    attempt_fn *const attempts[] = { compile_deep_projection, compile_deep_stage, compile_deep_update };
    for (size_t i = 0; i < ARRAY_LEN(attempts); i++) {
        struct outcome outcome = run_apart(attempts[i]);
        assert_true(outcome.message[0]);
    }
}

/* ---- projections, updates ---- */

static bool project_much(struct error *err)
{
    bson_t *spec = bson_of_text("{\"b\": {\"$reduce\": {\"input\": {\"$range\": [0, 60]}, \"initialValue\": \"$a\","
                                " \"in\": {\"$concatArrays\": [\"$$value\", \"$$value\"]}}}}"),
           *document = bson_of_text("{\"a\": [1, 2, 3]}");
    struct projection *projection;
    struct bytes result;
    struct arena arena;
    arena_init(&arena, 64 * MIB);
    struct evaluation evaluation = { .arena = &arena, .document = bytes_of_bson(document) };
    return projection_compile(bytes_of_bson(spec), PROJECTION_FIND, NULL, &projection, err) &&
           projection_apply(projection, &evaluation, NULL, &result, err);
}

static bool update_to(const char *text, bool is_pipeline, const bson_t *document, struct error *err)
{
    bson_t *spec = bson_of_text(text), out;
    struct bytes bytes = bytes_of_bson(spec);
    struct update_options options = { .is_pipeline = is_pipeline };
    struct update *update;
    struct element stages;
    bool changed;
    if (is_pipeline && element_find(bytes, "p", 1, &stages))
        bytes = stages.value;
    return update_compile(bytes, &options, &update, err) && update_apply(update, bytes_of_bson(document), &out, &changed, err);
}

static bool update_much(struct error *err)
{
    bson_t *document = bson_of_text("{\"_id\": 1, \"a\": [1, 2, 3]}");
    return update_to("{\"p\": [{\"$set\": {\"a\": {\"$reduce\": {\"input\": {\"$range\": [0, 60]}, \"initialValue\": \"$a\","
                     " \"in\": {\"$concatArrays\": [\"$$value\", \"$$value\"]}}}}}]}",
                     true, document, err);
}

/* Each stage doubles what the one before it left. */
static bool double_stage_by_stage(struct error *err)
{
    struct buffer text = { 0 };
    static const char stage[] = "{\"$set\": {\"a\": {\"$concatArrays\": [\"$a\", \"$a\"]}}}";
    buffer_append(&text, "{\"p\": [", 7);
    for (int i = 0; i < 40; i++) {
        if (i)
            buffer_append(&text, ",", 1);
        buffer_append(&text, stage, sizeof stage - 1);
    }
    buffer_append(&text, "]}", 3);
    bson_t *document = bson_of_text("{\"_id\": 1, \"a\": [1, 2, 3]}");
    return update_to((const char *)text.data, true, document, err);
}

static void computed_fields_end_at_a_limit(void **state)
{
    (void)state;
    is_refused(project_much, MONGO_EXCEEDED_MEMORY_LIMIT);
    is_refused(update_much, MONGO_EXCEEDED_MEMORY_LIMIT);
    struct outcome outcome = run_apart(double_stage_by_stage);
    assert_true(outcome.code == MONGO_EXCEEDED_MEMORY_LIMIT || outcome.code == MONGO_BSON_OBJECT_TOO_LARGE);
}

static bool fill_with_nulls(struct error *err)
{
    bson_t *document = bson_of_text("{\"_id\": 1, \"a\": [1]}");
    return update_to("{\"$set\": {\"a.1500001\": 1}}", false, document, err);
}

static bool fill_with_more_nulls(struct error *err)
{
    bson_t *document = bson_of_text("{\"_id\": 1, \"a\": [1]}");
    return update_to("{\"$set\": {\"a.1500002\": 1}}", false, document, err);
}

static void an_array_is_filled_up_to_a_limit(void **state)
{
    (void)state;
    goes_well(fill_with_nulls);
    is_refused(fill_with_more_nulls, MONGO_CANNOT_BACKFILL_ARRAY);
}

/* ---- pipelines ---- */

static bool next_same(void *ctx, struct bytes *document, bool *found, struct error *err)
{
    (void)err;
    *document = bytes_of_bson(ctx);
    *found = true;
    return true;
}

/* Over documents that never end. */
static bool aggregate(const char *text, struct error *err)
{
    char value[1001] = "";
    bson_t *spec = bson_of_text(text), document = BSON_INITIALIZER;
    struct pipeline_environment environment = { .memory_bytes = 32 * MIB };
    struct element stages;
    struct pipeline *pipeline;
    struct pipeline_run *run;
    struct bytes result;
    bool found = true, ok;
    memset(value, 'x', sizeof value - 1);
    bson_append_utf8(&document, "a", 1, value, -1);
    append_numbers(&document, "n", 100);
    if (!element_find(bytes_of_bson(spec), "p", 1, &stages) || !pipeline_compile(stages.value, NULL, &pipeline, err) ||
        !pipeline_start(pipeline, (struct document_iterator) { .next = next_same, .ctx = &document }, &environment, &run, err))
        return false;
    while ((ok = pipeline_next(run, &result, &found, err)) && found)
        ;
    return ok;
}

#define GROUP(name, accumulator)                                                                                                           \
    static bool name(struct error *err)                                                                                                    \
    {                                                                                                                                      \
        return aggregate("{\"p\": [{\"$group\": {\"_id\": null, \"r\": " accumulator "}}]}", err);                                         \
    }

GROUP(push, "{\"$push\": \"$$ROOT\"}")
GROUP(first_n, "{\"$firstN\": {\"input\": \"$n\", \"n\": {\"$numberLong\": \"9223372036854775807\"}}}")
GROUP(top_n, "{\"$topN\": {\"output\": \"$a\", \"sortBy\": {\"n\": 1}, \"n\": 1000000000}}")
GROUP(median, "{\"$median\": {\"input\": 1, \"method\": \"approximate\"}}")

#undef GROUP

static bool facet(struct error *err)
{
    return aggregate("{\"p\": [{\"$facet\": {\"x\": []}}]}", err);
}

static bool bucket_auto(struct error *err)
{
    return aggregate("{\"p\": [{\"$bucketAuto\": {\"groupBy\": \"$a\", \"buckets\": 3}}]}", err);
}

static bool sort(struct error *err)
{
    return aggregate("{\"p\": [{\"$sort\": {\"a\": 1}}]}", err);
}

static bool windows(struct error *err)
{
    return aggregate("{\"p\": [{\"$setWindowFields\": {\"output\": {\"r\": {\"$sum\": 1}}}}]}", err);
}

static bool unwound_groups(struct error *err)
{
    return aggregate("{\"p\": [{\"$unwind\": \"$n\"}, {\"$group\": {\"_id\": {\"$rand\": {}}}}]}", err);
}

static void gathering_ends_at_a_limit(void **state)
{
    (void)state;
    attempt_fn *const attempts[] = { push, first_n, top_n, median, facet, bucket_auto, sort, windows, unwound_groups };
    for (size_t i = 0; i < ARRAY_LEN(attempts); i++) {
        struct outcome outcome = run_apart(attempts[i]);
        if (outcome.code != MONGO_QUERY_EXCEEDED_MEMORY_LIMIT && outcome.code != MONGO_EXCEEDED_MEMORY_LIMIT)
            fail_msg("%zu: %d %s", i, outcome.code, outcome.message);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_long_list_is_matched_fast),         cmocka_unit_test(ten_thousand_levels_are_refused),
        cmocka_unit_test(what_grows_in_loops_ends_at_a_limit), cmocka_unit_test(loops_in_loops_end),
        cmocka_unit_test(hostile_patterns_are_given_up),       cmocka_unit_test(constants_within_constants_are_bounded),
        cmocka_unit_test(computed_fields_end_at_a_limit),      cmocka_unit_test(an_array_is_filled_up_to_a_limit),
        cmocka_unit_test(gathering_ends_at_a_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
