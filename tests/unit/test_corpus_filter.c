/* tests/corpus/filter (see tests/support/corpus.h): {"docs", "filter", "expect": [_id, ...]}, the _ids as a set. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "branch-service/query/filter.h"
#include "branch-service/query/filter_ops.h"
#include "common/bson/key_encoding.h"
#include "common/bson/value_compare.h"
#include "tests/support/bson_support.h"
#include "tests/support/corpus.h"

static bool is_expected(const struct element *ids, const struct element *id)
{
    struct element_reader reader;
    struct element wanted;
    element_reader_init(&reader, ids->value);
    while (element_next(&reader, &wanted)) {
        if (value_compare_elements(id, &wanted) == 0)
            return true;
    }
    return false;
}

/* What the filter says of _ids must hold for every document that matches. */
static bool is_within_bounds(const struct filter *filter, struct bytes document)
{
    const struct id_range *ranges;
    size_t n;
    struct buffer key = { 0 };
    struct bytes single;
    struct error err;
    if (!key_encode_document_id(document, &key, &err))
        return false;
    struct bytes id = buffer_bytes(&key);
    bool within = !filter_id_bounds(filter, &ranges, &n);
    for (size_t i = 0; !within && i < n; i++)
        within = bytes_compare(ranges[i].from, id) <= 0 && (ranges[i].to.len == 0 || bytes_compare(id, ranges[i].to) < 0);
    if (filter_single_id(filter, &single))
        within &= bytes_equal(single, id);
    buffer_destroy(&key);
    return within;
}

static void check_document(struct corpus_case *c, const struct filter *filter, struct bytes document, const struct element *expected)
{
    struct element id;
    struct error err;
    bool matches;
    if (!corpus_field(document, "_id", &id)) {
        corpus_fail(c, "has a document without _id", "");
    } else if (!filter_matches(filter, document, &matches, &err)) {
        corpus_refuse(c, &err);
    } else if (!expected->name) {
        return;
    } else if (matches != is_expected(expected, &id)) {
        corpus_fail_document(c, matches ? "matches" : "does not match", document);
    } else if (matches && !is_within_bounds(filter, document)) {
        corpus_fail_document(c, "has bounds of _id without", document);
    }
}

static void run(struct corpus_case *c)
{
    struct element docs, spec, expected = { .name = NULL };
    struct bytes documents[CORPUS_MAX_DOCS];
    struct filter *filter;
    struct error err;
    if (!corpus_field(c->root, "docs", &docs) || !corpus_field(c->root, "filter", &spec)) {
        corpus_fail(c, "has no docs or no filter", "");
        return;
    }
    (void)corpus_field(c->root, "expect", &expected);
    if (!filter_compile(spec.value, &filter, &err)) {
        corpus_refuse(c, &err);
        return;
    }
    size_t n = corpus_documents(docs.value, documents);
    for (size_t i = 0; i < n && !c->refused; i++)
        check_document(c, filter, documents[i], &expected);
    filter_free(filter);
}

static void filters_match_as_in_mongodb(void **state)
{
    (void)state;
    corpus_run("filter", run);
}

static void every_operator_has_cases(void **state)
{
    (void)state;
    const char *name;
    for (size_t i = 0; (name = filter_operator_name(i)); i++)
        corpus_has_file("filter", name);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(filters_match_as_in_mongodb),
        cmocka_unit_test(every_operator_has_cases),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
