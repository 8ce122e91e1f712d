/* tests/corpus/update (see tests/support/corpus.h):
 * {"docs", "filter", "update", "options": {"multi"}, "expect": {"docs", "n", "nModified"}} */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "branch-service/query/filter.h"
#include "branch-service/query/update.h"
#include "common/bson/bson_check.h"
#include "tests/support/bson_support.h"
#include "tests/support/corpus.h"

struct outcome {
    int n_matched, n_modified;
};

/* expected.data NULL: the case expects a refusal. */
static void check_document(struct corpus_case *c, const struct update *update, struct bytes document, struct bytes expected,
                           struct outcome *outcome)
{
    bson_t result;
    bool changed;
    struct error err;
    struct bytes after = document;
    outcome->n_matched++;
    if (!update_apply(update, document, &result, &changed, &err)) {
        corpus_refuse(c, &err);
        return;
    }
    outcome->n_modified += changed;
    if (changed)
        after = bytes_of_bson(&result);
    if (!bson_check(after, &err))
        corpus_fail(c, "makes broken BSON", err.message);
    else if (expected.data && !corpus_equal(after, expected))
        corpus_fail_document(c, "makes another document", after);
    if (changed)
        bson_destroy(&result);
}

static void run_compiled(struct corpus_case *c, const struct filter *filter, const struct update *update, bool multi)
{
    struct element docs, expect = { 0 }, expected_docs, e;
    struct bytes documents[CORPUS_MAX_DOCS], expected[CORPUS_MAX_DOCS] = { { 0 } };
    struct outcome outcome = { 0 };
    struct error err;
    if (!corpus_field(c->root, "docs", &docs)) {
        corpus_fail(c, "has no docs", "");
        return;
    }
    size_t n = corpus_documents(docs.value, documents);
    bool has_expect = corpus_field(c->root, "expect", &expect) && corpus_field(expect.value, "docs", &expected_docs);
    if (has_expect && corpus_documents(expected_docs.value, expected) != n)
        corpus_fail(c, "expects another number of documents", "");
    for (size_t i = 0; i < n && !c->refused && !c->failure; i++) {
        bool matches = false;
        if (!filter_matches(filter, documents[i], &matches, &err))
            corpus_refuse(c, &err);
        else if (matches && (multi || outcome.n_matched == 0))
            check_document(c, update, documents[i], expected[i], &outcome);
        else if (has_expect && !corpus_equal(documents[i], expected[i]))
            corpus_fail_document(c, "leaves alone", documents[i]);
    }
    if (has_expect && corpus_field(expect.value, "n", &e) && element_int32(&e) != outcome.n_matched)
        corpus_fail(c, "has another n", "");
    if (has_expect && corpus_field(expect.value, "nModified", &e) && element_int32(&e) != outcome.n_modified)
        corpus_fail(c, "has another nModified", "");
}

static void run(struct corpus_case *c)
{
    struct element spec, options, e;
    struct filter *filter = NULL;
    struct update *update = NULL;
    struct error err;
    c->ignores_code = true; /* updates carry none yet */
    struct bytes filter_spec = corpus_field(c->root, "filter", &spec) ? spec.value : bytes_of(NULL, 0);
    bool multi = corpus_field(c->root, "options", &options) && corpus_field(options.value, "multi", &e) && *e.value.data;
    if (!corpus_field(c->root, "update", &spec))
        corpus_fail(c, "has no update", "");
    else if (!filter_compile(filter_spec, &filter, &err) || !update_compile(spec.value, &update, &err))
        corpus_refuse(c, &err);
    else
        run_compiled(c, filter, update, multi);
    filter_free(filter);
    update_free(update);
}

static void updates_change_as_in_mongodb(void **state)
{
    (void)state;
    corpus_run("update", run);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(updates_change_as_in_mongodb),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
