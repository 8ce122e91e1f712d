#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "wal-service/conflict_window.h"
#include "wal-service/key_hash.h"

/* Spread like hashes; never the same for two numbers. */
static uint64_t key(uint64_t i)
{
    return i * UINT64_C(0x9E3779B97F4A7C15);
}

static void last_write_counts(void **state)
{
    (void)state;
    struct conflict_window window;
    struct conflict_space space;
    conflict_window_init(&window, 1 << 20);
    conflict_space_init(&space, &window);
    assert_int_equal(conflict_space_written(&space, key(1)), 0);
    conflict_space_write(&space, key(1), 5);
    conflict_space_write(&space, key(2), 6);
    conflict_space_write(&space, key(1), 9);
    assert_int_equal(conflict_space_written(&space, key(1)), 9);
    assert_int_equal(conflict_space_written(&space, key(2)), 6);
    assert_int_equal(conflict_space_written(&space, key(3)), 0);
    assert_int_equal(conflict_space_floor(&space), 0);
    conflict_space_destroy(&space);
    assert_int_equal(window.pool.bytes, 0);
}

/* What is above the floor is known exactly; what is not, is at or below it. */
static void forgetting_raises_the_floor(void **state)
{
    (void)state;
    enum { WRITES = 20000, BUDGET = 64 * 1024 };
    struct conflict_window window;
    struct conflict_space space;
    conflict_window_init(&window, BUDGET);
    conflict_space_init(&space, &window);
    for (uint64_t lsn = 1; lsn <= WRITES; lsn++) {
        conflict_space_write(&space, key(lsn), lsn);
        assert_true(window.pool.bytes <= BUDGET);
    }
    uint64_t floor = conflict_space_floor(&space);
    assert_true(floor > 0 && floor < WRITES - 1000);
    for (uint64_t lsn = 1; lsn <= WRITES; lsn++)
        assert_int_equal(conflict_space_written(&space, key(lsn)), lsn > floor ? lsn : 0);
    conflict_space_destroy(&space);
}

static void one_project_cannot_empty_another(void **state)
{
    (void)state;
    enum { BUDGET = 256 * 1024, QUIET = 1000 };
    struct conflict_window window;
    struct conflict_space quiet, loud, idle;
    conflict_window_init(&window, BUDGET);
    conflict_space_init(&idle, &window);
    conflict_space_init(&quiet, &window);
    conflict_space_init(&loud, &window);
    for (uint64_t lsn = 1; lsn <= QUIET; lsn++) /* about 24 KiB: below its third */
        conflict_space_write(&quiet, key(lsn), lsn);
    for (uint64_t lsn = 1; lsn <= 100000; lsn++)
        conflict_space_write(&loud, key(lsn), lsn);
    assert_true(window.pool.bytes <= BUDGET);
    assert_int_equal(conflict_space_floor(&quiet), 0);
    for (uint64_t lsn = 1; lsn <= QUIET; lsn++)
        assert_int_equal(conflict_space_written(&quiet, key(lsn)), lsn);
    assert_true(conflict_space_floor(&loud) > 0);

    /* and the loud one gives way when the quiet one grows */
    uint64_t before = conflict_space_floor(&loud);
    for (uint64_t lsn = QUIET + 1; lsn <= 3000; lsn++)
        conflict_space_write(&quiet, key(lsn), lsn);
    assert_int_equal(conflict_space_floor(&quiet), 0);
    assert_true(conflict_space_floor(&loud) > before);
    conflict_space_destroy(&quiet);
    conflict_space_destroy(&loud);
    conflict_space_destroy(&idle);
}

static void hot_keys_take_room_once(void **state)
{
    (void)state;
    struct conflict_window window;
    struct conflict_space space;
    conflict_window_init(&window, 64 * 1024);
    conflict_space_init(&space, &window);
    conflict_space_write(&space, key(0), 1);
    for (uint64_t lsn = 2; lsn <= 200000; lsn++)
        conflict_space_write(&space, key(1 + lsn % 10), lsn);
    assert_int_equal(conflict_space_floor(&space), 0);
    assert_int_equal(conflict_space_written(&space, key(0)), 1);
    for (uint64_t i = 0; i < 10; i++)
        assert_int_equal(conflict_space_written(&space, key(1 + (199991 + i) % 10)), 199991 + i);
    assert_true(window.pool.bytes < 16 * 1024);
    conflict_space_destroy(&space);
}

/* Against a plain array, with keys whose homes collide and the record numbers crossing their 32 bits. */
static void agrees_with_a_model(void **state)
{
    (void)state;
    enum { KEYS = 3000, WRITES = 60000 };
    static uint64_t model[KEYS];
    struct conflict_window window;
    struct conflict_space space;
    uint64_t random = 1;
    conflict_window_init(&window, 48 * 1024);
    conflict_space_init(&space, &window);
    space.map.begin = space.map.end = (UINT32_MAX - 20000) / 64 * UINT64_C(64);
    for (uint64_t lsn = 1; lsn <= WRITES; lsn++) {
        random = random * UINT64_C(6364136223846793005) + 1442695040888963407;
        uint64_t i = (random >> 33) % KEYS;
        /* eight keys share each home slot */
        conflict_space_write(&space, (i / 8) | i << 32, lsn);
        model[i] = lsn;
        if (lsn % 997 != 0 && lsn != WRITES)
            continue;
        uint64_t floor = conflict_space_floor(&space);
        for (uint64_t k = 0; k < KEYS; k++) {
            uint64_t written = conflict_space_written(&space, (k / 8) | k << 32);
            if (model[k] > floor)
                assert_int_equal(written, model[k]);
            else
                assert_true(written == 0 || written == model[k]);
        }
    }
    assert_true(conflict_space_floor(&space) > 0);
    assert_true(space.map.begin > UINT32_MAX);
    conflict_space_destroy(&space);
}

static void overlay_is_absorbed_whole(void **state)
{
    (void)state;
    struct conflict_window window;
    struct conflict_space space, overlay;
    conflict_window_init(&window, 1 << 20);
    conflict_space_init(&space, &window);
    conflict_space_init(&overlay, NULL);
    conflict_space_write(&space, key(1), 1);
    for (int round = 0; round < 3; round++) {
        for (uint64_t i = 0; i < 500; i++)
            conflict_space_write(&overlay, key(i), 10 + 500u * (unsigned)round + i);
        conflict_space_absorb(&space, &overlay);
        assert_int_equal(conflict_space_written(&overlay, key(1)), 0);
    }
    for (uint64_t i = 0; i < 500; i++)
        assert_int_equal(conflict_space_written(&space, key(i)), 1010 + i);
    conflict_space_destroy(&space);
    conflict_space_destroy(&overlay);
}

/* Stored in frames: these values are part of the format of the log. */
static void key_hashes_never_change(void **state)
{
    (void)state;
    uint64_t space = key_space_hash(bytes_of_string("main"), bytes_of_string("users"));
    assert_int_equal(key_hash(space, bytes_of_string("id")), UINT64_C(0xc5c873cae40432d0));
    assert_int_equal(key_hash(key_space_hash(bytes_of_string(""), bytes_of_string("")), bytes_of_string("")), UINT64_C(0xd4836a9a13b262e6));
    /* what belongs to one part cannot pass for another's */
    assert_int_not_equal(key_space_hash(bytes_of_string("ab"), bytes_of_string("c")),
                         key_space_hash(bytes_of_string("a"), bytes_of_string("bc")));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(last_write_counts),
        cmocka_unit_test(forgetting_raises_the_floor),
        cmocka_unit_test(one_project_cannot_empty_another),
        cmocka_unit_test(hot_keys_take_room_once),
        cmocka_unit_test(agrees_with_a_model),
        cmocka_unit_test(overlay_is_absorbed_whole),
        cmocka_unit_test(key_hashes_never_change),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
