/* Sorters beyond single facts: many documents, and the memory they take. */
#include "branch-service/query/sort.h"

#include <stdio.h>

#include "branch-service/query/query_error.h"
#include "tests/support/bson_support.h"

static struct sort *sort_of(const char *text)
{
    struct error err;
    struct sort *sort;
    bson_t *spec = bson_of_text(text);
    assert_true(sort_compile(bytes_of_bson(spec), &sort, &err));
    bson_destroy(spec);
    return sort;
}

static bool add(struct sorter *sorter, int id, int a, struct error *err)
{
    bson_t *document = BCON_NEW("_id", BCON_INT32(id), "a", BCON_INT32(a));
    bool ok = sorter_add(sorter, bytes_of_bson(document), err);
    bson_destroy(document);
    return ok;
}

static int next_id(struct sorter *sorter)
{
    struct bytes document;
    struct element id;
    assert_true(sorter_next(sorter, &document) && element_find(document, "_id", 3, &id));
    return element_int32(&id);
}

static void the_first_of_many_are_those_of_a_whole_sort(void **state)
{
    (void)state;
    struct error err;
    struct sort *sort = sort_of("{\"a\": -1}");
    struct sorter *whole = sorter_new(sort, 0, SORT_MEMORY_BYTES), *top = sorter_new(sort, 100, SORT_MEMORY_BYTES);
    unsigned random = 7;
    for (int i = 0; i < 10000; i++) {
        random = random * 1103515245 + 12345;
        assert_true(add(whole, i, (int)(random >> 16) % 500, &err) && add(top, i, (int)(random >> 16) % 500, &err));
    }
    for (int i = 0; i < 100; i++)
        assert_int_equal(next_id(top), next_id(whole));
    struct bytes document;
    assert_false(sorter_next(top, &document));
    sorter_free(whole);
    sorter_free(top);
    sort_free(sort);
}

static void memory_is_bounded(void **state)
{
    (void)state;
    struct error err;
    struct sort *sort = sort_of("{\"a\": 1}");
    struct sorter *whole = sorter_new(sort, 0, 64 * 1024), *top = sorter_new(sort, 10, 64 * 1024);
    bool ok = true;
    for (int i = 0; i < 10000; i++) {
        ok = ok && add(whole, i, i, &err);
        assert_true(add(top, i, -i, &(struct error) { 0 })); /* each replaces one that is kept */
    }
    assert_false(ok);
    assert_int_equal(query_error_code(&err), MONGO_QUERY_EXCEEDED_MEMORY_LIMIT);
    assert_int_equal(err.code, ERROR_RESOURCE_EXHAUSTED);
    assert_int_equal(next_id(top), 9999);
    sorter_free(whole);
    sorter_free(top);
    sort_free(sort);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_of_many_are_those_of_a_whole_sort),
        cmocka_unit_test(memory_is_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
