#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <bson/bson.h>
#include <cmocka.h>

#include "branch-service/catalog/catalog.h"

static struct arena arena;

static int set_up(void **state)
{
    (void)state;
    arena_init(&arena, 0);
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    arena_destroy(&arena);
    return 0;
}

static struct branch_record round_trip(const struct branch_record *record)
{
    struct branch_record found;
    struct bytes document;
    struct error err;
    assert_true(catalog_encode_branch(record, &arena, &document, &err));
    assert_int_equal(catalog_has_kind(document), record->kind != BRANCH_WAL || record->held);
    assert_true(catalog_decode_branch(document, &found, &err));
    return found;
}

static void a_wal_branch_has_no_kind(void **state)
{
    (void)state;
    const struct branch_record record = { .id = "1", .name = "dev", .parent = MAIN_BRANCH, .cut = 7, .base = 8, .created_at = 9 };
    const struct branch_record found = round_trip(&record);
    assert_int_equal(found.kind, BRANCH_WAL);
    assert_null(found.prefix);
    assert_int_equal(found.cut, 7);
    assert_int_equal(found.base, 8);
}

static void a_traditional_branch_keeps_where_its_collections_are(void **state)
{
    (void)state;
    const enum branch_state states[] = { BRANCH_READY,     BRANCH_CREATING, BRANCH_DELETING,
                                         BRANCH_PREPARING, BRANCH_VERIFIED, BRANCH_HANDING_BACK };
    for (size_t i = 0; i < ARRAY_LEN(states); i++) {
        const struct branch_record record = { .id = "1",
                                              .name = "dev",
                                              .parent = MAIN_BRANCH,
                                              .cut = 7,
                                              .kind = BRANCH_TRADITIONAL,
                                              .state = states[i],
                                              .database = "argon",
                                              .prefix = "b_1_2_",
                                              .epoch = 2 };
        const struct branch_record found = round_trip(&record);
        assert_int_equal(found.kind, BRANCH_TRADITIONAL);
        assert_int_equal(found.state, states[i]);
        assert_string_equal(found.database, "argon");
        assert_string_equal(found.prefix, "b_1_2_");
        assert_int_equal(found.epoch, 2);
    }
}

static void a_base_keeps_where_it_comes_from_and_how_far_it_is(void **state)
{
    (void)state;
    struct branch_record record = { .id = "1", .name = "dev", .cut = CUT_AT_RECORD, .kind = BRANCH_BASE, .source = "2", .database = "d" };
    record.prefix = "m_2_3_";
    record.copied = 4;
    record.complete = 77;
    record.isolated = true;
    const struct branch_record found = round_trip(&record);
    assert_int_equal(found.kind, BRANCH_BASE);
    assert_null(found.parent);
    assert_string_equal(found.source, "2");
    assert_string_equal(found.prefix, "m_2_3_");
    assert_int_equal(found.copied, 4);
    assert_int_equal(found.complete, 77);
    assert_true(found.isolated);
}

static void a_wal_branch_may_be_held(void **state)
{
    (void)state;
    struct branch_record record = { .id = "1", .name = "dev", .parent = "base", .cut = 7, .base = 8, .held = true };
    const struct branch_record found = round_trip(&record);
    assert_int_equal(found.kind, BRANCH_WAL);
    assert_true(found.held);
}

static void a_migration_is_kept_as_it_is(void **state)
{
    (void)state;
    bson_t *migration = BCON_NEW("first", BCON_INT64(5), "what a newer version says", "x");
    struct branch_record copy;
    const struct branch_record record = { .id = "1",
                                          .name = "dev",
                                          .cut = 7,
                                          .kind = BRANCH_TRADITIONAL,
                                          .state = BRANCH_FROZEN,
                                          .database = "d",
                                          .prefix = "p",
                                          .migration = bytes_of(bson_get_data(migration), migration->len) };
    const struct branch_record found = round_trip(&record);
    assert_true(branch_is_migrating(&found));
    assert_true(bytes_equal(found.migration, record.migration));
    assert_true(branch_record_copy(&found, &arena, &copy));
    assert_true(bytes_equal(copy.migration, record.migration));
    assert_ptr_not_equal(copy.migration.data, found.migration.data);
    bson_destroy(migration);
}

static struct bytes written(bson_t *record)
{
    struct bytes document = bytes_of(arena_copy(&arena, bson_get_data(record), record->len), record->len);
    bson_destroy(record);
    return document;
}

static void what_a_newer_version_says_is_left_alone(void **state)
{
    (void)state;
    struct branch_record found;
    struct error err;
    struct bytes other_state = written(
        BCON_NEW("_id", "1", "name", "dev", "parent", "main", "kind", "traditional", "database", "d", "prefix", "p", "state", "folding"));
    struct bytes other_kind = written(BCON_NEW("_id", "1", "name", "dev", "parent", "main", "kind", "mirrored"));
    assert_true(catalog_decode_branch(other_state, &found, &err));
    assert_int_equal(found.state, BRANCH_STATE_UNKNOWN);
    assert_true(catalog_decode_branch(other_kind, &found, &err));
    assert_int_equal(found.kind, BRANCH_TRADITIONAL);
    assert_int_equal(found.state, BRANCH_STATE_UNKNOWN);
}

static void a_traditional_record_without_a_prefix_is_damaged(void **state)
{
    (void)state;
    struct branch_record found;
    struct error err;
    struct bytes document = written(BCON_NEW("_id", "1", "name", "dev", "parent", "main", "kind", "traditional", "database", "d"));
    assert_false(catalog_decode_branch(document, &found, &err));
    assert_int_equal(err.code, ERROR_DATA_LOSS);
}

static void a_completed_record_keeps_fields_that_are_not_known_here(void **state)
{
    (void)state;
    struct branch_record found;
    struct bytes completed;
    struct error err;
    bson_t bson;
    bson_iter_t iter;
    struct bytes document = written(BCON_NEW("_id", "1", "name", "dev", "parent", "main", "kind", "mirrored", "extra", BCON_INT64(5)));
    assert_true(catalog_complete_branch(document, 12, 34, &arena, &completed, &err));
    assert_true(catalog_decode_branch(completed, &found, &err));
    assert_int_equal(found.base, 12);
    assert_int_equal(found.cut, 12);
    assert_int_equal(found.created_at, 34);
    assert_true(bson_init_static(&bson, completed.data, completed.len));
    assert_true(bson_iter_init_find(&iter, &bson, "extra"));
    /* one that has its base is complete */
    assert_true(catalog_complete_branch(completed, 99, 99, &arena, &document, &err));
    assert_true(bytes_equal(completed, document));
}

static void a_copy_has_strings_of_its_own(void **state)
{
    (void)state;
    char prefix[] = "old_";
    struct branch_record copy;
    const struct branch_record record = { .id = "1", .name = "dev", .kind = BRANCH_TRADITIONAL, .database = "d", .prefix = prefix };
    assert_true(branch_record_copy(&record, &arena, &copy));
    prefix[0] = 'x';
    assert_string_equal(copy.prefix, "old_");
    assert_null(copy.parent);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_wal_branch_has_no_kind, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_traditional_branch_keeps_where_its_collections_are, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_base_keeps_where_it_comes_from_and_how_far_it_is, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_wal_branch_may_be_held, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_migration_is_kept_as_it_is, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_a_newer_version_says_is_left_alone, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_traditional_record_without_a_prefix_is_damaged, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_completed_record_keeps_fields_that_are_not_known_here, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_copy_has_strings_of_its_own, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
