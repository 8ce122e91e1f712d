/* tests/corpus/projection (see tests/support/corpus.h): {"docs", "projection", "filter"?, "expect": [document, ...]}. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "branch-service/query/projection.h"
#include "common/base/limits.h"
#include "common/bson/bson_check.h"
#include "tests/support/bson_support.h"
#include "tests/support/corpus.h"

static void check(struct corpus_case *c, struct bytes got, const struct element *expected)
{
    struct error err;
    if (!bson_check(got, &err))
        corpus_fail(c, "makes broken BSON", err.message);
    else if (!corpus_equal(got, expected->value))
        corpus_fail_document(c, "is another document", got);
}

static void project_all(struct corpus_case *c, const struct filter *filter, const struct projection *projection, struct arena *arena)
{
    struct element docs, expect = { .name = NULL }, expected;
    struct bytes documents[CORPUS_MAX_DOCS], result;
    struct element_reader reader;
    struct error err;
    (void)corpus_field(c->root, "expect", &expect);
    element_reader_init(&reader, expect.name ? expect.value : bytes_of(NULL, 0));
    size_t n = corpus_field(c->root, "docs", &docs) ? corpus_documents(docs.value, documents) : 0;
    for (size_t i = 0; i < n; i++) {
        struct evaluation evaluation = { .arena = arena, .document = documents[i] };
        bool matches = true;
        if (filter && !filter_matches(filter, documents[i], &matches, &err)) {
            corpus_refuse(c, &err);
            return;
        }
        if (!matches)
            continue;
        if (!projection_apply(projection, &evaluation, filter, &result, &err)) {
            corpus_refuse(c, &err);
            return;
        }
        if (!expect.name)
            continue;
        if (!element_next(&reader, &expected))
            corpus_fail(c, "expects too few documents", "");
        else
            check(c, result, &expected);
    }
    if (expect.name && element_next(&reader, &expected))
        corpus_fail(c, "expects too many documents", "");
}

static void run(struct corpus_case *c)
{
    struct element spec;
    struct filter *filter = NULL;
    struct projection *projection = NULL;
    struct arena arena;
    struct error err;
    arena_init(&arena, 64 * MIB);
    if (corpus_field(c->root, "filter", &spec) && !filter_compile(spec.value, &filter, &err))
        corpus_refuse(c, &err);
    else if (!corpus_field(c->root, "projection", &spec))
        corpus_fail(c, "has no projection", "");
    else if (!projection_compile(spec.value, PROJECTION_FIND, NULL, &projection, &err))
        corpus_refuse(c, &err);
    else
        project_all(c, filter, projection, &arena);
    projection_free(projection);
    filter_free(filter);
    arena_destroy(&arena);
}

static void projections_are_as_in_mongodb(void **state)
{
    (void)state;
    corpus_run("projection", run);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(projections_are_as_in_mongodb),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
