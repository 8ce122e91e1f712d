#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "branch-service/lineage.h"

struct fixture {
    struct arena arena;
    struct memory_budget budget;
    struct tree *branches;
};

static void add(struct fixture *fixture, const char *id, const char *parent, uint64_t cut, uint64_t lsn)
{
    const struct branch_record record = { .id = id, .name = id, .parent = parent, .cut = cut };
    struct bytes document, key;
    struct tree_edit *edit;
    struct error err;
    assert_true(catalog_encode_branch(&record, &fixture->arena, &document, &err));
    assert_true(catalog_complete_branch(document, lsn, 77, &fixture->arena, &document, &err));
    assert_true(catalog_key(id, &fixture->arena, &key, &err));
    assert_true(tree_edit_begin(fixture->branches, &edit, &err));
    assert_true(tree_edit_put(edit, key, document, &err));
    tree_unref(fixture->branches);
    fixture->branches = tree_edit_end(edit);
}

static int set_up(void **state)
{
    static struct fixture fixture;
    struct error err;
    fixture = (struct fixture) { 0 };
    arena_init(&fixture.arena, 0);
    assert_true(tree_new(&fixture.budget, &fixture.branches, &err));
    add(&fixture, "a", MAIN_BRANCH, CUT_AT_RECORD, 10); /* from main's head */
    add(&fixture, "b", "a", CUT_AT_RECORD, 20);
    add(&fixture, "old", "a", 5, 30); /* from a's past, before a was made */
    *state = &fixture;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *fixture = *state;
    tree_unref(fixture->branches);
    arena_destroy(&fixture->arena);
    assert_int_equal(fixture->budget.used, 0);
    return 0;
}

static void check(void **state, const char *id, uint64_t lsn, const struct lineage_segment *expected, size_t n)
{
    struct fixture *fixture = *state;
    struct lineage lineage;
    struct error err;
    assert_true(lineage_resolve(fixture->branches, id, lsn, &fixture->arena, &lineage, &err));
    assert_int_equal(lineage.n, n);
    for (size_t i = 0; i < n; i++) {
        assert_string_equal(lineage.segments[i].branch_id, expected[i].branch_id);
        assert_int_equal(lineage.segments[i].after, expected[i].after);
        assert_int_equal(lineage.segments[i].through, expected[i].through);
    }
}

static void a_branch_stands_on_its_ancestors_up_to_the_cuts(void **state)
{
    check(state, "b", 100, (struct lineage_segment[]) { { "b", 20, 100 }, { "a", 10, 20 }, { "main", 0, 10 } }, 3);
    check(state, MAIN_BRANCH, 100, (struct lineage_segment[]) { { "main", 0, 100 } }, 1);
}

static void a_past_state_ends_there_on_every_level(void **state)
{
    check(state, "b", 25, (struct lineage_segment[]) { { "b", 20, 25 }, { "a", 10, 20 }, { "main", 0, 10 } }, 3);
    /* before b was made its state is a's */
    check(state, "b", 15, (struct lineage_segment[]) { { "b", 15, 15 }, { "a", 10, 15 }, { "main", 0, 10 } }, 3);
    check(state, "b", 7, (struct lineage_segment[]) { { "b", 7, 7 }, { "a", 7, 7 }, { "main", 0, 7 } }, 3);
}

static void a_fork_of_the_past_ends_at_its_cut(void **state)
{
    check(state, "old", 100, (struct lineage_segment[]) { { "old", 30, 100 }, { "a", 5, 5 }, { "main", 0, 5 } }, 3);
}

static void an_unknown_id_is_not_found(void **state)
{
    struct fixture *fixture = *state;
    struct lineage lineage;
    struct error err;
    assert_false(lineage_resolve(fixture->branches, "nope", 1, &fixture->arena, &lineage, &err));
    assert_int_equal(err.code, ERROR_NOT_FOUND);
}

static void a_record_is_completed_once(void **state)
{
    struct fixture *fixture = *state;
    struct branch_record record;
    struct bytes document;
    struct error err;
    assert_true(lineage_find_record(fixture->branches, "a", &record, &err));
    assert_int_equal(record.base, 10);
    assert_int_equal(record.cut, 10);
    assert_int_equal(record.created_at, 77);
    /* written again by a rename, at another LSN: it stays what it was */
    record.name = "renamed";
    assert_true(catalog_encode_branch(&record, &fixture->arena, &document, &err));
    assert_true(catalog_complete_branch(document, 99, 99, &fixture->arena, &document, &err));
    assert_true(catalog_decode_branch(document, &record, &err));
    assert_int_equal(record.base, 10);
    assert_int_equal(record.cut, 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_branch_stands_on_its_ancestors_up_to_the_cuts, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_past_state_ends_there_on_every_level, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_fork_of_the_past_ends_at_its_cut, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_unknown_id_is_not_found, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_record_is_completed_once, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("lineage", tests, NULL, NULL);
}
