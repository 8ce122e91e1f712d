/* tests/corpus/aggregate (see tests/support/corpus.h): {"docs", "pipeline", "let"?, "collections": {name: [docs]}?,
 * "expect": [document, ...]} in order; "memory" bounds the gathering stages. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <stdio.h>

#include "branch-service/query/pipeline.h"
#include "common/base/limits.h"
#include "common/bson/bson_check.h"
#include "tests/support/bson_support.h"
#include "tests/support/corpus.h"

static const int64_t now = INT64_C(1714979289010);

static bool next_of_array(void *ctx, struct bytes *document, bool *found, struct error *err)
{
    struct element e;
    (void)err;
    *found = element_next(ctx, &e);
    if (*found)
        *document = e.value;
    return true;
}

/* Each document is in memory of its own that is gone with the next: who keeps one has to copy it. */
struct collection {
    struct element_reader reader;
    void *last;
};

static bool next_of_collection(void *ctx, struct bytes *document, bool *found, struct error *err)
{
    struct collection *collection = ctx;
    free(collection->last);
    collection->last = NULL;
    if (!next_of_array(&collection->reader, document, found, err) || !*found)
        return true;
    collection->last = malloc(document->len);
    memcpy(collection->last, document->data, document->len);
    document->data = collection->last;
    return true;
}

static void close_collection(void *ctx)
{
    struct collection *collection = ctx;
    free(collection->last);
    free(collection);
}

static struct document_iterator documents_of(struct bytes array)
{
    struct collection *collection = calloc(1, sizeof *collection);
    element_reader_init(&collection->reader, array);
    return (struct document_iterator) { .next = next_of_collection, .close = close_collection, .ctx = collection };
}

static bool open_collection(void *ctx, struct bytes name, const struct filter *filter, struct document_iterator *iterator,
                            struct error *err)
{
    struct corpus_case *c = ctx;
    struct element collections, array = { 0 };
    (void)filter;
    (void)err;
    bool found =
        corpus_field(c->root, "collections", &collections) && element_find(collections.value, (const char *)name.data, name.len, &array);
    *iterator = documents_of(found ? array.value : bytes_of(NULL, 0));
    return true;
}

static void compare(struct corpus_case *c, struct pipeline_run *run, const struct element *expect)
{
    struct element_reader reader;
    struct element expected;
    struct bytes document;
    struct error err;
    bool found;
    element_reader_init(&reader, expect->name ? expect->value : bytes_of(NULL, 0));
    for (;;) {
        if (!pipeline_next(run, &document, &found, &err)) {
            corpus_refuse(c, &err);
            return;
        }
        if (!found)
            break;
        if (!bson_check(document, &err))
            corpus_fail(c, "makes broken BSON", err.message);
        else if (!expect->name)
            continue;
        else if (!element_next(&reader, &expected))
            corpus_fail_document(c, "has too many documents", document);
        else if (!corpus_equal(document, expected.value))
            corpus_fail_document(c, "has another document", document);
    }
    if (element_next(&reader, &expected))
        corpus_fail_document(c, "has no such document", expected.value);
}

static void run_in(struct corpus_case *c, struct arena *arena)
{
    struct element docs, stages, let, memory, expect = { .name = NULL };
    struct pipeline_environment environment = { .open = open_collection, .ctx = c, .now = now, .memory_bytes = MIB };
    struct pipeline *pipeline;
    struct pipeline_run *run;
    struct error err;
    if (!corpus_field(c->root, "docs", &docs) || !corpus_field(c->root, "pipeline", &stages)) {
        corpus_fail(c, "has no docs or no pipeline", "");
        return;
    }
    (void)corpus_field(c->root, "expect", &expect);
    if (corpus_field(c->root, "memory", &memory))
        environment.memory_bytes = (size_t)element_int32(&memory);
    if ((corpus_field(c->root, "let", &let) && !expression_let(let.value, NULL, now, arena, &environment.variables, &err)) ||
        !pipeline_compile(stages.value, environment.variables.scope, &pipeline, &err)) {
        corpus_refuse(c, &err);
        return;
    }
    if (pipeline_start(pipeline, documents_of(docs.value), &environment, &run, &err)) {
        compare(c, run, &expect);
        pipeline_stop(run);
    } else {
        corpus_refuse(c, &err);
    }
    pipeline_free(pipeline);
}

static void run_case(struct corpus_case *c)
{
    struct arena arena;
    arena_init(&arena, MIB);
    run_in(c, &arena);
    arena_destroy(&arena);
}

static void pipelines_are_as_in_mongodb(void **state)
{
    (void)state;
    corpus_run("aggregate", run_case);
}

static void every_stage_has_cases(void **state)
{
    (void)state;
    const char *name;
    for (size_t i = 0; (name = pipeline_stage_name(i)); i++)
        corpus_has_file("aggregate", name);
    for (size_t i = 0; (name = pipeline_accumulator_name(i)); i++) {
        char file[64];
        snprintf(file, sizeof file, "group-%s", name + 1);
        corpus_has_file("aggregate", file);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pipelines_are_as_in_mongodb),
        cmocka_unit_test(every_stage_has_cases),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
