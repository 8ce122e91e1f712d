#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "branch-service/catalog/migration_record.h"
#include "branch-service/reasons.h"

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

#define NONE BRANCH_STATE_UNKNOWN

/* What each verb makes of each state. */
static const struct {
    enum branch_state state, start, confirm, rollback, release;
} claims[] = {
    { BRANCH_READY, BRANCH_PREPARING, NONE, NONE, NONE },
    { BRANCH_CREATING, NONE, NONE, NONE, NONE },
    { BRANCH_DELETING, NONE, NONE, NONE, NONE },
    { BRANCH_PREPARING, BRANCH_PREPARING, NONE, BRANCH_PREPARING, NONE },
    { BRANCH_FROZEN, BRANCH_FROZEN, NONE, BRANCH_FROZEN, BRANCH_FROZEN },
    { BRANCH_RENAMED, BRANCH_RENAMED, NONE, BRANCH_RENAMED, BRANCH_RENAMED },
    { BRANCH_STARTED, BRANCH_STARTED, NONE, BRANCH_ROLLING_BACK, NONE },
    { BRANCH_COPIED, BRANCH_COPIED, NONE, BRANCH_ROLLING_BACK, NONE },
    { BRANCH_VERIFIED, BRANCH_VERIFIED, BRANCH_CONFIRMING, BRANCH_ROLLING_BACK, NONE },
    { BRANCH_CONFIRMING, NONE, BRANCH_CONFIRMING, NONE, NONE },
    { BRANCH_CONFIRMED, NONE, NONE, NONE, NONE },
    { BRANCH_ROLLING_BACK, NONE, NONE, BRANCH_ROLLING_BACK, NONE },
    { BRANCH_HANDING_BACK, NONE, NONE, BRANCH_ROLLING_BACK, BRANCH_ROLLING_BACK },
    { BRANCH_STATE_UNKNOWN, NONE, NONE, NONE, NONE },
};

static void a_call_takes_up_what_it_can_go_on_with(void **state)
{
    (void)state;
    assert_int_equal(ARRAY_LEN(claims), BRANCH_STATE_UNKNOWN + 1);
    for (size_t i = 0; i < ARRAY_LEN(claims); i++) {
        const enum branch_state expected[] = { claims[i].start, claims[i].confirm, claims[i].rollback, claims[i].release };
        assert_int_equal(claims[i].state, i);
        for (enum migration_verb verb = MIGRATION_START; verb <= MIGRATION_RELEASE; verb++) {
            enum branch_state claimed = NONE;
            struct error err = { 0 };
            assert_int_equal(migration_claim_state(claims[i].state, verb, &claimed, &err), expected[verb] != NONE);
            assert_int_equal(claimed, expected[verb]);
            if (expected[verb] != NONE)
                continue;
            assert_int_equal(err.code, ERROR_FAILED_PRECONDITION);
            assert_string_equal(err.reason, REASON_MIGRATION_STATE);
        }
    }
}

static void there_are_these_steps_and_no_others(void **state)
{
    (void)state;
    static const bool steps[BRANCH_STATE_UNKNOWN][BRANCH_STATE_UNKNOWN] = {
        [BRANCH_READY] = { [BRANCH_PREPARING] = true },
        [BRANCH_PREPARING] = { [BRANCH_FROZEN] = true, [BRANCH_READY] = true },
        [BRANCH_FROZEN] = { [BRANCH_FROZEN] = true, [BRANCH_RENAMED] = true, [BRANCH_READY] = true },
        [BRANCH_RENAMED] = { [BRANCH_RENAMED] = true, [BRANCH_STARTED] = true, [BRANCH_READY] = true },
        [BRANCH_STARTED] = { [BRANCH_COPIED] = true },
        [BRANCH_COPIED] = { [BRANCH_VERIFIED] = true },
        [BRANCH_CONFIRMING] = { [BRANCH_CONFIRMED] = true },
        [BRANCH_ROLLING_BACK] = { [BRANCH_ROLLING_BACK] = true, [BRANCH_HANDING_BACK] = true },
        [BRANCH_HANDING_BACK] = { [BRANCH_HANDING_BACK] = true, [BRANCH_ROLLING_BACK] = true, [BRANCH_READY] = true },
    };
    for (enum branch_state from = BRANCH_READY; from < BRANCH_STATE_UNKNOWN; from++)
        for (enum branch_state to = BRANCH_READY; to < BRANCH_STATE_UNKNOWN; to++)
            assert_int_equal(migration_is_step(from, to), steps[from][to]);
}

static struct migration round_trip(const struct migration *migration)
{
    struct migration found;
    struct bytes document;
    struct error err;
    assert_true(migration_encode(migration, &arena, &document, &err));
    assert_true(migration_decode(document, &arena, &found, &err));
    return found;
}

static void a_migration_keeps_what_it_knows(void **state)
{
    (void)state;
    static const uint8_t indexes[] = "\x0d\0\0\0\3"
                                     "0\0\5\0\0\0\0";
    struct migration_collection collections[] = { { .name = "a", .id = "1", .has_uuid = true, .uuid = { 9, 8, 7 } },
                                                  { .name = "b", .id = "2" } };
    struct migration migration = { .started_at = 5, .first = 3 };
    struct migration found = round_trip(&migration);
    assert_int_equal(found.started_at, 5);
    assert_int_equal(found.first, 3);
    assert_false(found.listed);
    assert_null(found.frozen);
    assert_null(found.base);
    migration.listed = true; /* a branch without collections has a list, too */
    found = round_trip(&migration);
    assert_true(found.listed);
    assert_int_equal(found.n, 0);
    collections[1].indexes = bytes_of(indexes, sizeof indexes);
    migration.beats = 17;
    migration.collections = collections;
    migration.n = 2;
    migration.frozen = "m_x_3_";
    migration.base = "base";
    migration.branch = "wal";
    found = round_trip(&migration);
    assert_int_equal(found.n, 2);
    assert_string_equal(found.collections[0].name, "a");
    assert_memory_equal(found.collections[0].uuid, collections[0].uuid, 16);
    assert_true(found.collections[0].has_uuid);
    assert_string_equal(found.collections[1].id, "2");
    assert_false(found.collections[1].has_uuid);
    assert_int_equal(found.collections[0].indexes.len, 0);
    assert_true(bytes_equal(found.collections[1].indexes, collections[1].indexes));
    assert_int_equal(found.beats, 17);
    assert_string_equal(found.frozen, "m_x_3_");
    assert_string_equal(found.base, "base");
    assert_string_equal(found.branch, "wal");
}

static void a_damaged_migration_is_data_loss(void **state)
{
    (void)state;
    static const uint8_t without_a_name[] = "\x2d\0\0\0\4collections\0\x1b\0\0\0\3"
                                            "0\0\x13\0\0\0\2id\0\6\0\0\0"
                                            "12345\0\0\0";
    struct migration found;
    struct error err;
    assert_false(migration_decode((struct bytes) { 0 }, &arena, &found, &err));
    assert_int_equal(err.code, ERROR_DATA_LOSS);
    assert_false(migration_decode(bytes_of(without_a_name, sizeof without_a_name - 1), &arena, &found, &err));
    assert_int_equal(err.code, ERROR_DATA_LOSS);
}

static void names_of_moved_collections_say_whose_and_when(void **state)
{
    (void)state;
    char prefix[MIGRATION_PREFIX_SIZE];
    uint64_t epoch;
    const char *rest;
    migration_make_prefix("0123456789abcdef01234567", 12, prefix);
    assert_string_equal(prefix, "m_0123456789abcdef01234567_12_");
    assert_true(migration_parse_name("m_0123456789abcdef01234567_12_x_1_y", "0123456789abcdef01234567", &epoch, &rest));
    assert_int_equal(epoch, 12);
    assert_string_equal(rest, "x_1_y");
    static const char *const others[] = { "m_0123456789abcdef01234568_12_x", "m_0123456789abcdef01234567_x",
                                          "m_0123456789abcdef01234567_12~x", "m_0123456789abcdef01234567_0_x",
                                          "b_0123456789abcdef01234567_12_x", "" };
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        assert_false(migration_parse_name(others[i], "0123456789abcdef01234567", &epoch, &rest));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_call_takes_up_what_it_can_go_on_with, set_up, tear_down),
        cmocka_unit_test_setup_teardown(there_are_these_steps_and_no_others, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_migration_keeps_what_it_knows, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_damaged_migration_is_data_loss, set_up, tear_down),
        cmocka_unit_test_setup_teardown(names_of_moved_collections_say_whose_and_when, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("migration_record", tests, NULL, NULL);
}
