#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "branch-service/view/view_cache.h"
#include "common/base/clock.h"

static const struct view_key key = { "p", "main", "c" };
static const struct view_key other = { "q", "main", "c" };

static struct tree *make_tree(struct view_cache *cache, const char *value)
{
    struct tree *empty, *tree;
    struct tree_edit *edit;
    struct error err;
    assert_true(tree_new(view_cache_budget(cache), &empty, &err));
    assert_true(tree_edit_begin(empty, &edit, &err));
    assert_true(tree_edit_put(edit, bytes_of_string("k"), bytes_of_string(value), &err));
    tree = tree_edit_end(edit);
    tree_unref(empty);
    return tree;
}

static void expect_view(struct view_cache *cache, const struct view_key *at, uint64_t lsn, const char *value)
{
    struct tree_item item;
    struct tree *tree = view_cache_get(cache, at, lsn, NULL);
    if (!value) {
        assert_null(tree);
        return;
    }
    assert_non_null(tree);
    assert_true(tree_get(tree, bytes_of_string("k"), &item));
    assert_true(bytes_equal(item.document, bytes_of_string(value)));
    tree_unref(tree);
}

static void put(struct view_cache *cache, const struct view_key *at, const char *value, uint64_t changed, uint64_t through)
{
    struct tree *tree = make_tree(cache, value);
    view_cache_put(cache, at, tree, changed, through);
    tree_unref(tree);
}

static void a_view_answers_for_the_lsns_it_is_valid_at(void **state)
{
    (void)state;
    struct view_cache *cache = view_cache_new(0);
    put(cache, &key, "past", 5, 9);
    put(cache, &key, "head", 10, VIEW_AT_HEAD);
    expect_view(cache, &key, 4, NULL);
    expect_view(cache, &key, 5, "past");
    expect_view(cache, &key, 9, "past");
    expect_view(cache, &key, 10, "head");
    expect_view(cache, &key, 1000, "head");
    expect_view(cache, &key, VIEW_AT_HEAD, "head");
    expect_view(cache, &other, VIEW_AT_HEAD, NULL);
    view_cache_free(cache);
}

static void the_head_moves_unless_it_was_evicted(void **state)
{
    (void)state;
    struct view_cache *cache = view_cache_new(0);
    put(cache, &key, "one", 1, VIEW_AT_HEAD);
    struct tree *one = view_cache_get(cache, &key, VIEW_AT_HEAD, NULL), *two = make_tree(cache, "two"), *three = make_tree(cache, "three");
    view_cache_advance(cache, &key, one, two, 2);
    expect_view(cache, &key, VIEW_AT_HEAD, "two");
    /* the same state again, as a view of the past: the head stays what it is */
    view_cache_put(cache, &key, three, 2, 5);
    expect_view(cache, &key, VIEW_AT_HEAD, "two");
    view_cache_advance(cache, &key, two, NULL, 0);
    expect_view(cache, &key, VIEW_AT_HEAD, NULL);
    assert_int_equal(view_cache_count(cache), 0);
    view_cache_advance(cache, &key, two, three, 3); /* evicted: it does not come back */
    expect_view(cache, &key, VIEW_AT_HEAD, NULL);
    tree_unref(one);
    tree_unref(two);
    tree_unref(three);
    view_cache_free(cache);
}

static void the_least_recently_used_goes_first(void **state)
{
    (void)state;
    struct view_cache *cache = view_cache_new(0);
    put(cache, &key, "a", 1, VIEW_AT_HEAD);
    put(cache, &other, "b", 1, VIEW_AT_HEAD);
    expect_view(cache, &key, VIEW_AT_HEAD, "a"); /* used */
    assert_true(view_cache_evict(cache));
    expect_view(cache, &other, VIEW_AT_HEAD, NULL);
    expect_view(cache, &key, VIEW_AT_HEAD, "a");
    assert_true(view_cache_evict(cache));
    assert_false(view_cache_evict(cache));
    assert_int_equal(view_cache_budget(cache)->used, 0);
    view_cache_free(cache);
}

static void a_project_is_dropped_alone(void **state)
{
    (void)state;
    const struct view_key longer = { "pp", "main", "c" };
    struct view_cache *cache = view_cache_new(0);
    put(cache, &key, "a", 1, 3);
    put(cache, &key, "b", 4, VIEW_AT_HEAD);
    put(cache, &longer, "c", 1, VIEW_AT_HEAD);
    assert_int_equal(view_cache_count_of(cache, "p"), 2);
    view_cache_drop_project(cache, "p");
    assert_int_equal(view_cache_count_of(cache, "p"), 0);
    assert_int_equal(view_cache_count(cache), 1);
    expect_view(cache, &longer, VIEW_AT_HEAD, "c");
    view_cache_free(cache);
}

static void a_build_knows_whether_others_were_beside_it(void **state)
{
    (void)state;
    struct view_cache *cache = view_cache_new(0);
    struct view_build first, second, third;
    assert_true(view_cache_build_begin(cache, &first, false, NO_DEADLINE));
    assert_false(view_cache_build_end(cache, &first));
    assert_true(view_cache_build_begin(cache, &first, false, NO_DEADLINE));
    assert_true(view_cache_build_begin(cache, &second, false, NO_DEADLINE));
    assert_true(view_cache_build_end(cache, &first));
    assert_true(view_cache_build_end(cache, &second));
    assert_true(view_cache_build_begin(cache, &third, false, NO_DEADLINE));
    assert_false(view_cache_build_end(cache, &third));
    view_cache_free(cache);
}

static void a_build_alone_has_nobody_beside_it(void **state)
{
    (void)state;
    struct view_cache *cache = view_cache_new(0);
    struct view_build first, alone;
    const int64_t soon = clock_monotonic_micros() + 20000;
    assert_true(view_cache_build_begin(cache, &first, false, NO_DEADLINE));
    assert_false(view_cache_build_begin(cache, &alone, true, soon));
    view_cache_build_end(cache, &first);
    assert_true(view_cache_build_begin(cache, &alone, true, NO_DEADLINE)); /* who gave up left nothing behind */
    assert_false(view_cache_build_begin(cache, &first, false, soon));
    assert_false(view_cache_build_end(cache, &alone));
    assert_true(view_cache_build_begin(cache, &first, false, NO_DEADLINE));
    view_cache_build_end(cache, &first);
    view_cache_free(cache);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_view_answers_for_the_lsns_it_is_valid_at),  cmocka_unit_test(the_head_moves_unless_it_was_evicted),
        cmocka_unit_test(the_least_recently_used_goes_first),          cmocka_unit_test(a_project_is_dropped_alone),
        cmocka_unit_test(a_build_knows_whether_others_were_beside_it), cmocka_unit_test(a_build_alone_has_nobody_beside_it),
    };
    return cmocka_run_group_tests_name("view_cache", tests, NULL, NULL);
}
