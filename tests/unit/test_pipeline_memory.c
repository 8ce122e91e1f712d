/* A pipeline tells its surroundings what it holds, whatever the stage that gathers, and gives all of it back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "branch-service/query/pipeline.h"
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

static bool goes_on(void *ctx, int64_t bytes, struct error *err)
{
    struct surroundings *s = ctx;
    s->held += bytes;
    s->most = s->held > s->most ? s->held : s->most;
    return !s->limit || s->held <= s->limit || error_set(err, ERROR_RESOURCE_EXHAUSTED, "no room");
}

static void returned(void *ctx, size_t bytes)
{
    ((struct surroundings *)ctx)->held -= (int64_t)bytes;
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
    assert_true(ejson_parse(bytes_of_string(text), &spec, &err));
    assert_true(element_find(bytes_of(bson_get_data(&spec), spec.len), "p", 1, &array));
    if (!pipeline_compile(array.value, NULL, &pipeline, &err))
        fail_msg("%s: %s", stages, err.message);
    const struct pipeline_environment environment = { .goes_on = goes_on, .returned = returned, .ctx = s, .memory_bytes = 100 * MIB };
    const struct document_iterator source = { next_document, close_source, s, 1 };
    assert_true(pipeline_start(pipeline, source, &environment, &running, &err));
    while (ok && found)
        ok = pipeline_next(running, &document, &found, &err);
    if (!ok)
        assert_string_equal(err.message, "no room");
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(stages_that_gather_tell_what_they_hold),
        cmocka_unit_test(a_run_ends_where_it_is_refused_memory),
        cmocka_unit_test(stages_that_stream_hold_little),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
