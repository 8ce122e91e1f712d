/* What is held for a caller is told his meter, whatever holds it, and all of it is given back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "branch-service/documents/query_memory.h"
#include "branch-service/query/distinct.h"
#include "branch-service/query/pipeline.h"
#include "branch-service/query/projection.h"
#include "branch-service/query/update.h"
#include "common/base/caller.h"
#include "common/base/limits.h"
#include "common/bson/ejson.h"

enum { DOCUMENTS = 2000, DOCUMENT_BYTES = 4000 };

struct surroundings {
    int next; /* they come by their _id, upwards */
    char text[DOCUMENT_BYTES + 64];
    bson_t document; /* of the source, when next > 0 */
    int64_t held, most, limit;
};

static bool next_document(void *ctx, struct bytes *document, bool *found, struct error *err)
{
    struct surroundings *s = ctx;
    if (s->next > 0)
        bson_destroy(&s->document);
    *found = s->next < DOCUMENTS;
    if (!*found) {
        s->next = 0;
        return true;
    }
    snprintf(s->text, sizeof s->text, "{\"_id\":%d,\"s\":\"%0*d\"}", s->next, DOCUMENT_BYTES, s->next);
    assert_true(ejson_parse(bytes_of_string(s->text), &s->document, err));
    s->next++;
    *document = bytes_of(bson_get_data(&s->document), s->document.len);
    return true;
}

static void close_source(void *ctx)
{
    struct surroundings *s = ctx;
    if (s->next > 0)
        bson_destroy(&s->document);
}

static bool take(void *ctx, size_t bytes, struct error *err)
{
    struct surroundings *s = ctx;
    int64_t held = s->held + (int64_t)bytes;
    if (s->limit && held > s->limit)
        return error_set(err, ERROR_RESOURCE_EXHAUSTED, "no room");
    s->held = held;
    s->most = held > s->most ? held : s->most;
    return true;
}

static void give(void *ctx, size_t bytes)
{
    ((struct surroundings *)ctx)->held -= (int64_t)bytes;
}

/* Work of this thread is for one whom the meter counts; NULL: for nobody. */
static void work_for(struct surroundings *s)
{
    static struct meter meter;
    static const struct caller caller = { .meter = &meter };
    if (s)
        meter = (struct meter) { .take = take, .give = give, .ctx = s };
    caller_set(s ? &caller : NULL);
}

/* Runs to the end, or until it is refused memory. */
static bool run(struct surroundings *s, const char *stages)
{
    char text[512];
    bson_t spec;
    struct error err;
    struct element array;
    struct pipeline *pipeline;
    struct pipeline_run *running;
    struct bytes document;
    bool found = true, ok = true;
    snprintf(text, sizeof text, "{\"p\":%s}", stages);
    work_for(s);
    assert_true(ejson_parse(bytes_of_string(text), &spec, &err));
    assert_true(element_find(bytes_of(bson_get_data(&spec), spec.len), "p", 1, &array));
    if (!pipeline_compile(array.value, NULL, &pipeline, &err))
        fail_msg("%s: %s", stages, err.message);
    const struct pipeline_environment environment = { .memory_bytes = 100 * MIB };
    const struct document_iterator source = { next_document, close_source, s, 1 };
    assert_true(pipeline_start(pipeline, source, &environment, &running, &err));
    while (ok && found)
        ok = pipeline_next(running, &document, &found, &err);
    if (!ok && (err.code != ERROR_RESOURCE_EXHAUSTED || !strstr(err.message, "no room")))
        fail_msg("%s: %s", stages, err.message);
    work_for(NULL); /* whoever frees may work for another */
    pipeline_stop(running);
    pipeline_free(pipeline);
    bson_destroy(&spec);
    return ok;
}

static const char *const gathering[] = {
    "[{\"$sort\":{\"s\":-1}}]",
    "[{\"$sort\":{\"_id\":-1}}]",
    "[{\"$sort\":{\"_id\":1,\"s\":1}}]",
    "[{\"$addFields\":{\"_id\":{\"$multiply\":[\"$_id\",-1]}}},{\"$sort\":{\"_id\":1}}]",
    "[{\"$sample\":{\"size\":100000}}]",
    "[{\"$group\":{\"_id\":\"$_id\",\"all\":{\"$push\":\"$$ROOT\"}}}]",
    "[{\"$bucketAuto\":{\"groupBy\":\"$_id\",\"buckets\":100}}]",
    "[{\"$facet\":{\"first\":[{\"$limit\":1}]}}]",
    "[{\"$setWindowFields\":{\"sortBy\":{\"_id\":1},\"output\":{\"n\":{\"$sum\":1,\"window\":{\"documents\":[\"unbounded\",\"current\"]}}}}"
    "}]",
};

static void stages_that_gather_tell_what_they_hold(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(gathering); i++) {
        struct surroundings s = { 0 };
        assert_true(run(&s, gathering[i]));
        if (s.most < DOCUMENTS * DOCUMENT_BYTES * 8LL / 10)
            fail_msg("%s tells of %lld bytes only", gathering[i], (long long)s.most);
        assert_int_equal(s.held, 0);
    }
}

static void a_run_ends_where_it_is_refused_memory(void **state)
{
    (void)state;
    for (size_t i = 0; i < ARRAY_LEN(gathering); i++) {
        struct surroundings s = { .limit = 4 * MIB };
        assert_false(run(&s, gathering[i]));
        assert_int_equal(s.held, 0);
    }
}

static void stages_that_stream_hold_little(void **state)
{
    (void)state;
    static const char *const streaming[] = {
        "[]",
        "[{\"$match\":{\"_id\":{\"$gt\":5}}},{\"$addFields\":{\"t\":\"$s\"}},{\"$skip\":3},{\"$limit\":1500},{\"$unset\":\"s\"}]",
        "[{\"$unwind\":\"$s\"},{\"$replaceWith\":{\"s\":\"$s\"}},{\"$project\":{\"s\":1}}]",
        "[{\"$sort\":{\"_id\":-1}},{\"$limit\":5}]",
        "[{\"$match\":{\"s\":{\"$gt\":\"\"}}},{\"$sort\":{\"_id\":1}}]", /* the order of the source */
    };
    for (size_t i = 0; i < ARRAY_LEN(streaming); i++) {
        struct surroundings s = { 0 };
        assert_true(run(&s, streaming[i]));
        assert_true(s.most < 2 * MIB);
        assert_int_equal(s.held, 0);
    }
}

/* ---- one document ---------------------------------------------------------------------------------- */

/* Some 12 MiB while it is evaluated, and what it needs known only then. */
#define BUILT    "{\"$size\":{\"$range\":[0,{\"$add\":[100000,\"$_id\"]}]}}"
#define CONSTANT "{\"$size\":{\"$range\":[0,100000]}}"

static bool project(struct bytes spec, struct bytes document, struct error *err)
{
    struct projection *projection;
    struct arena arena;
    struct bytes result;
    if (!projection_compile(spec, PROJECTION_FIND, NULL, &projection, err))
        return false;
    arena_init_metered(&arena, EXPRESSION_MAX_MEMORY);
    const struct evaluation evaluation = { .arena = &arena, .document = document };
    bool ok = projection_apply(projection, &evaluation, NULL, &result, err);
    arena_destroy(&arena);
    projection_free(projection);
    return ok;
}

static bool match(struct bytes spec, struct bytes document, struct error *err)
{
    struct filter *filter;
    bool matches;
    if (!filter_compile(spec, &filter, err))
        return false;
    bool ok = filter_matches(filter, document, &matches, err);
    filter_free(filter);
    return ok;
}

static bool list(struct bytes spec, struct bytes document, struct error *err)
{
    struct distinct *distinct = distinct_new("a");
    (void)spec;
    bool ok = distinct_add(distinct, document, err);
    distinct_free(distinct);
    return ok;
}

static bool change(struct bytes spec, struct bytes document, struct error *err)
{
    struct update_options options = { 0 };
    struct update *update;
    struct element stages;
    bson_t out;
    bool changed = false;
    options.is_pipeline = element_find(spec, "p", 1, &stages);
    if (!update_compile(options.is_pipeline ? stages.value : spec, &options, &update, err))
        return false;
    bool ok = update_apply(update, document, &out, &changed, err);
    if (ok && changed)
        bson_destroy(&out);
    update_free(update);
    return ok;
}

static const struct {
    bool (*evaluate)(struct bytes spec, struct bytes document, struct error *err);
    const char *spec;
} evaluations[] = {
    { project, "{\"n\":" BUILT "}" },
    { project, "{\"n\":" CONSTANT "}" },
    { match, "{\"$expr\":{\"$lt\":[" BUILT ",0]}}" },
    { match, "{\"$nor\":[{\"$expr\":{\"$lt\":[" BUILT ",0]}}]}" },
    { match, "{\"$expr\":{\"$lt\":[\"$_id\"," CONSTANT "]}}" },
    { match, "{\"$jsonSchema\":{\"properties\":{\"a\":{\"uniqueItems\":true}}}}" },
    { list, "{}" },
    { change, "{\"$push\":{\"a\":{\"$each\":[-1],\"$sort\":1}}}" },
    { change, "{\"p\":[{\"$set\":{\"n\":" BUILT "}}]}" },
    { change, "{\"p\":[{\"$replaceWith\":{\"n\":" CONSTANT "}}]}" },
};

static void what_one_document_takes_is_told_at_once(void **state)
{
    (void)state;
    enum { SURELY = 5 * MIB };
    bson_t document = BSON_INITIALIZER, array = BSON_INITIALIZER, spec;
    struct error err;
    for (int i = 0; i < 200000; i++) {
        char name[16];
        snprintf(name, sizeof name, "%d", i);
        bson_append_int32(&array, name, -1, i);
    }
    bson_append_int32(&document, "_id", 3, 1);
    bson_append_array(&document, "a", 1, &array);
    bson_destroy(&array);
    for (size_t i = 0; i < ARRAY_LEN(evaluations); i++) {
        assert_true(ejson_parse(bytes_of_string(evaluations[i].spec), &spec, &err));
        for (int limited = 0; limited < 2; limited++) {
            struct surroundings s = { .limit = limited ? SURELY : 0 };
            work_for(&s);
            bool ok =
                evaluations[i].evaluate(bytes_of(bson_get_data(&spec), spec.len), bytes_of(bson_get_data(&document), document.len), &err);
            work_for(NULL);
            if (!limited && (!ok || s.most < SURELY))
                fail_msg("%s tells of %lld bytes: %s", evaluations[i].spec, (long long)s.most, ok ? "" : err.message);
            if (limited && (ok || err.code != ERROR_RESOURCE_EXHAUSTED || !strstr(err.message, "no room")))
                fail_msg("%s: %s", evaluations[i].spec, ok ? "was not refused" : err.message);
            assert_int_equal(s.held, 0);
        }
        bson_destroy(&spec);
    }
    bson_destroy(&document);
}

static void an_arena_tells_in_steps(void **state)
{
    (void)state;
    struct surroundings s = { .limit = 8 * MIB };
    struct error err;
    struct arena arena;
    work_for(&s);
    arena_init_metered(&arena, 0);
    for (int i = 0; i < 100; i++)
        assert_non_null(arena_alloc(&arena, 4000));
    assert_int_equal(s.held, 0); /* what is small costs nobody a look */
    assert_non_null(arena_alloc(&arena, 4 * MIB));
    assert_true(s.held >= 4 * MIB && (size_t)s.held == arena.total);
    assert_null(arena_alloc(&arena, 4 * MIB));
    assert_true(meter_refused(&err));
    assert_string_equal(err.message, "no room");
    assert_true((size_t)s.held == arena.total);
    assert_non_null(arena_alloc(&arena, 2 * MIB)); /* there is room for that */
    assert_false(meter_refused(&err));
    error_out_of_memory(&err);
    assert_string_equal(err.message, "out of memory");
    arena_clear(&arena);
    assert_true(s.held <= METER_STEP + (int64_t)arena.total);
    assert_non_null(arena_alloc(&arena, 4 * MIB));
    arena_destroy(&arena);
    assert_int_equal(s.held, 0);
    assert_non_null(arena_alloc(&arena, 4 * MIB)); /* it is usable, and counts on */
    assert_true(s.held >= 4 * MIB);
    arena_destroy(&arena);
    assert_int_equal(s.held, 0);
    work_for(NULL);
}

/* ---- the budget of the views ------------------------------------------------------------------------ */

static struct tree *new_tree(struct view_cache *cache, size_t bytes)
{
    struct tree *empty, *tree;
    struct tree_edit *edit;
    struct error err;
    uint8_t *document = calloc(1, bytes);
    assert_true(tree_new(view_cache_budget(cache), &empty, &err));
    assert_true(tree_edit_begin(empty, &edit, &err));
    assert_true(tree_edit_put(edit, bytes_of_string("k"), bytes_of(document, bytes), &err));
    tree = tree_edit_end(edit);
    tree_unref(empty);
    free(document);
    return tree;
}

static void views_that_nobody_reads_make_room(void **state)
{
    (void)state;
    static const struct view_key idle = { "p", "main", "idle" }, read = { "p", "main", "read" };
    struct view_cache *cache = view_cache_new(16 * MIB);
    struct memory_budget *budget = view_cache_budget(cache);
    struct meter meter = query_memory_meter(cache);
    struct tree *unread = new_tree(cache, 6 * MIB), *in_use = new_tree(cache, 6 * MIB);
    struct error err = { 0 };
    view_cache_put(cache, &idle, unread, 1, VIEW_AT_HEAD);
    view_cache_put(cache, &read, in_use, 1, VIEW_AT_HEAD);
    tree_unref(unread);
    assert_true(meter.take(meter.ctx, 8 * MIB, &err)); /* in the place of one that nobody reads */
    assert_null(view_cache_get(cache, &idle, VIEW_AT_HEAD, NULL));
    struct tree *there = view_cache_get(cache, &read, VIEW_AT_HEAD, NULL);
    assert_ptr_equal(there, in_use);
    tree_unref(there);
    uint64_t used = budget->used;
    assert_true(used > 14 * MIB && used <= budget->limit);
    assert_false(meter.take(meter.ctx, 4 * MIB, &err)); /* who reads the other one keeps it */
    assert_int_equal(err.code, ERROR_RESOURCE_EXHAUSTED);
    assert_non_null(strstr(err.message, "16777216 bytes are the budget"));
    assert_int_equal(budget->used, used);
    meter.give(meter.ctx, 8 * MIB);
    tree_unref(in_use);
    assert_int_equal(budget->used, 0);
    assert_true(meter.take(meter.ctx, 16 * MIB, &err));
    meter.give(meter.ctx, 16 * MIB);
    view_cache_free(cache);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stages_that_gather_tell_what_they_hold),
        cmocka_unit_test(a_run_ends_where_it_is_refused_memory),
        cmocka_unit_test(stages_that_stream_hold_little),
        cmocka_unit_test(what_one_document_takes_is_told_at_once),
        cmocka_unit_test(an_arena_tells_in_steps),
        cmocka_unit_test(views_that_nobody_reads_make_room),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
