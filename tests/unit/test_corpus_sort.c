/* tests/corpus/sort (see tests/support/corpus.h): {"docs", "sort", "filter"?, "options": {"skip", "limit"}?,
 * "expect": [_id, ...]} in order. Sorted twice: whole, and with no more memory than the limit needs. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "branch-service/query/filter.h"
#include "branch-service/query/sort.h"
#include "common/bson/value_compare.h"
#include "tests/support/bson_support.h"
#include "tests/support/corpus.h"

static int64_t option(const struct corpus_case *c, const char *name)
{
    struct element options, e;
    return corpus_field(c->root, "options", &options) && corpus_field(options.value, name, &e) ? element_integer(&e) : 0;
}

static bool fill(struct corpus_case *c, const struct filter *filter, struct sorter *sorter)
{
    struct element docs;
    struct bytes documents[CORPUS_MAX_DOCS];
    struct error err;
    size_t n = corpus_field(c->root, "docs", &docs) ? corpus_documents(docs.value, documents) : 0;
    for (size_t i = 0; i < n; i++) {
        bool matches = true;
        if ((filter && !filter_matches(filter, documents[i], &matches, &err)) || (matches && !sorter_add(sorter, documents[i], &err))) {
            corpus_refuse(c, &err);
            return false;
        }
    }
    return true;
}

static void compare(struct corpus_case *c, struct sorter *sorter)
{
    struct element expect, wanted, id;
    struct element_reader reader;
    struct bytes document;
    int64_t skip = option(c, "skip"), limit = option(c, "limit");
    if (!corpus_field(c->root, "expect", &expect))
        return;
    for (; skip > 0; skip--)
        (void)sorter_next(sorter, &document);
    element_reader_init(&reader, expect.value);
    for (int64_t n = 0; element_next(&reader, &wanted); n++) {
        if ((limit && n == limit) || !sorter_next(sorter, &document))
            corpus_fail(c, "expects more documents", "");
        else if (!corpus_field(document, "_id", &id) || value_compare_elements(&id, &wanted) != 0)
            corpus_fail_document(c, "has another next", document);
        if (c->failure)
            return;
    }
    if (!limit && sorter_next(sorter, &document))
        corpus_fail(c, "expects fewer documents", "");
}

static void sort_with(struct corpus_case *c, const struct filter *filter, const struct sort *sort, size_t limit)
{
    struct sorter *sorter = sorter_new(sort, limit, 1 << 20);
    if (fill(c, filter, sorter))
        compare(c, sorter);
    sorter_free(sorter);
}

static void run(struct corpus_case *c)
{
    struct element spec;
    struct filter *filter = NULL;
    struct sort *sort = NULL;
    struct error err;
    if (corpus_field(c->root, "filter", &spec) && !filter_compile(spec.value, &filter, &err)) {
        corpus_refuse(c, &err);
    } else if (!corpus_field(c->root, "sort", &spec)) {
        corpus_fail(c, "has no sort", "");
    } else if (!sort_compile(spec.value, &sort, &err)) {
        corpus_refuse(c, &err);
    } else {
        sort_with(c, filter, sort, 0);
        if (option(c, "limit"))
            sort_with(c, filter, sort, (size_t)(option(c, "limit") + option(c, "skip")));
    }
    sort_free(sort);
    filter_free(filter);
}

static void sorts_order_as_in_mongodb(void **state)
{
    (void)state;
    corpus_run("sort", run);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sorts_order_as_in_mongodb),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
