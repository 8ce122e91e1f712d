#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "branch-service/catalog/lineage.h"

struct fixture {
    struct arena arena;
    struct memory_budget budget;
    struct tree *branches;
};

static void put(struct fixture *fixture, const struct branch_record *record, uint64_t lsn)
{
    struct bytes document, key;
    struct tree_edit *edit;
    struct error err;
    assert_true(catalog_encode_branch(record, &fixture->arena, &document, &err));
    assert_true(catalog_complete_branch(document, lsn, 77, &fixture->arena, &document, &err));
    assert_true(catalog_key(record->id, &fixture->arena, &key, &err));
    assert_true(tree_edit_begin(fixture->branches, &edit, &err));
    assert_true(tree_edit_put(edit, key, document, &err));
    tree_unref(fixture->branches);
    fixture->branches = tree_edit_end(edit);
}

static void add(struct fixture *fixture, const char *id, const char *parent, uint64_t cut, uint64_t lsn)
{
    put(fixture, &(struct branch_record) { .id = id, .name = id, .parent = parent, .cut = cut }, lsn);
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

/* The copy of a base comes after the branches that begin with it. */
static void a_branch_begins_with_its_base_as_a_whole(void **state)
{
    struct fixture *fixture = *state;
    struct branch_record base = { .id = "base", .name = "old", .kind = BRANCH_BASE, .source = "old", .database = "d", .prefix = "p_" };
    struct lineage lineage;
    struct error err;
    base.cut = CUT_AT_RECORD;
    put(fixture, &base, 39);
    add(fixture, "w", "base", CUT_AT_RECORD, 40);
    add(fixture, "fork", "w", CUT_AT_RECORD, 50);
    /* not complete: what is on the log is its catalog, and that came with the branch */
    check(state, "w", 45, (struct lineage_segment[]) { { "w", 40, 45 }, { "base", 0, 40 } }, 2);
    assert_true(lineage_resolve(fixture->branches, "fork", 60, &fixture->arena, &lineage, &err));
    assert_true(lineage.from_base && lineage.incomplete_base);
    base.complete = 90;
    put(fixture, &base, 91);
    check(state, "w", 45, (struct lineage_segment[]) { { "w", 40, 45 }, { "base", 0, 90 } }, 2);
    check(state, "w", 40, (struct lineage_segment[]) { { "w", 40, 40 }, { "base", 0, 90 } }, 2);
    check(state, "fork", 45, (struct lineage_segment[]) { { "fork", 45, 45 }, { "w", 40, 45 }, { "base", 0, 90 } }, 3);
    assert_true(lineage_resolve(fixture->branches, "fork", 60, &fixture->arena, &lineage, &err));
    assert_true(lineage.from_base && !lineage.incomplete_base);
    assert_true(lineage_resolve(fixture->branches, "a", 60, &fixture->arena, &lineage, &err));
    assert_false(lineage.from_base || lineage.incomplete_base);
}

static void below_its_record_a_branch_with_a_base_has_no_states(void **state)
{
    struct fixture *fixture = *state;
    const struct branch_record base = { .id = "base",
                                        .name = "old",
                                        .cut = CUT_AT_RECORD,
                                        .kind = BRANCH_BASE,
                                        .source = "old",
                                        .database = "d",
                                        .prefix = "p_",
                                        .complete = 90 };
    put(fixture, &base, 39);
    add(fixture, "w", "base", CUT_AT_RECORD, 40);
    add(fixture, "fork", "w", CUT_AT_RECORD, 50);
    static const char *const ids[] = { "w", "fork" };
    for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
        struct lineage lineage;
        struct error err;
        assert_false(lineage_resolve(fixture->branches, ids[i], 39, &fixture->arena, &lineage, &err));
        assert_int_equal(err.code, ERROR_OUT_OF_RANGE);
        assert_non_null(strstr(err.message, "before LSN 40"));
    }
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
        cmocka_unit_test_setup_teardown(a_branch_begins_with_its_base_as_a_whole, set_up, tear_down),
        cmocka_unit_test_setup_teardown(below_its_record_a_branch_with_a_base_has_no_states, set_up, tear_down),
        cmocka_unit_test_setup_teardown(an_unknown_id_is_not_found, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_record_is_completed_once, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("lineage", tests, NULL, NULL);
}
