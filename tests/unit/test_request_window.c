#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "wal-service/request_window.h"

static struct request_step step_of(const char *id, const char *hash, uint32_t step, bool last)
{
    return (struct request_step) { .id = bytes_of_string(id), .hash = bytes_of_string(hash), .step = step, .last = last };
}

static void add(struct request_space *space, const char *id, const char *hash, uint32_t step, bool last, uint64_t lsn)
{
    struct request_step s = step_of(id, hash, step, last);
    request_space_add(space, &s, lsn);
}

static void last_step_is_remembered(void **state)
{
    (void)state;
    struct request_window window;
    struct request_space space;
    request_window_init(&window, 1 << 20, 7);
    request_space_init(&space, &window, true);
    assert_null(request_space_find(&space, bytes_of_string("r")));
    add(&space, "r", "hash", 0, false, 10);
    add(&space, "other", "hash", 0, true, 11);
    add(&space, "r", "hash", 1, false, 12);
    add(&space, "r", "hash", 2, true, 15);

    const struct request_mark *mark = request_space_find(&space, bytes_of_string("r"));
    assert_non_null(mark);
    assert_int_equal(mark->lsn, 15);
    assert_int_equal(mark->step, 2);
    assert_true(mark->last);
    assert_true(request_mark_has_hash(&space, mark, bytes_of_string("hash")));
    assert_false(request_mark_has_hash(&space, mark, bytes_of_string("Hash")));
    assert_false(request_mark_has_hash(&space, mark, bytes_of(NULL, 0)));
    assert_int_equal(window.pool.records, 2);
    assert_null(request_space_find(&space, bytes_of_string("R")));
    request_space_destroy(&space);
    assert_int_equal(window.pool.records, 0);
}

static void largest_step_fits(void **state)
{
    (void)state;
    struct request_window window;
    struct request_space space;
    request_window_init(&window, 1 << 20, 7);
    request_space_init(&space, &window, true);
    add(&space, "r", "", MAX_REQUEST_STEP, false, 1);
    assert_int_equal(request_space_find(&space, bytes_of_string("r"))->step, MAX_REQUEST_STEP);
    assert_false(request_space_find(&space, bytes_of_string("r"))->last);
    request_space_destroy(&space);
}

/* A request from after the horizon is never missed. */
static void horizon_is_the_newest_forgotten(void **state)
{
    (void)state;
    enum { REQUESTS = 20000, BUDGET = 128 * 1024 };
    struct request_window window;
    struct request_space space;
    char id[32];
    request_window_init(&window, BUDGET, 7);
    request_space_init(&space, &window, true);
    for (uint64_t i = 1; i <= REQUESTS; i++) {
        snprintf(id, sizeof id, "request %llu", (unsigned long long)i);
        add(&space, id, "hash", 0, true, 3 * i);
        assert_true(window.pool.bytes <= BUDGET);
    }
    uint64_t horizon = request_space_horizon(&space);
    assert_true(horizon > 0 && horizon < 3 * (REQUESTS - 1000));
    for (uint64_t i = 1; i <= REQUESTS; i++) {
        snprintf(id, sizeof id, "request %llu", (unsigned long long)i);
        const struct request_mark *mark = request_space_find(&space, bytes_of_string(id));
        if (3 * i > horizon) {
            assert_non_null(mark);
            assert_int_equal(mark->lsn, 3 * i);
        } else {
            assert_null(mark);
        }
    }
    request_space_destroy(&space);
}

/* A request that goes on is as young as its last step. */
static void long_request_outlives_its_first_step(void **state)
{
    (void)state;
    struct request_window window;
    struct request_space space;
    char id[32];
    uint64_t lsn = 0;
    request_window_init(&window, 64 * 1024, 7);
    request_space_init(&space, &window, true);
    for (uint32_t step = 0; step < 50; step++) {
        add(&space, "long", "hash", step, false, ++lsn);
        for (int i = 0; i < 200; i++) {
            snprintf(id, sizeof id, "%u/%d", step, i);
            add(&space, id, "hash", 0, true, ++lsn);
        }
        const struct request_mark *mark = request_space_find(&space, bytes_of_string("long"));
        assert_non_null(mark);
        assert_int_equal(mark->step, step);
    }
    assert_true(request_space_horizon(&space) > 1);
    request_space_destroy(&space);
}

static void projects_have_ids_of_their_own(void **state)
{
    (void)state;
    struct request_window window;
    struct request_space one, two, forming;
    request_window_init(&window, 1 << 20, 7);
    request_space_init(&one, &window, true);
    request_space_init(&two, &window, true);
    request_space_init(&forming, &window, false);
    add(&forming, "r", "hash", 0, true, 4);
    assert_int_equal(window.pool.records, 0);
    request_space_absorb(&one, &forming);
    assert_null(request_space_find(&forming, bytes_of_string("r")));
    assert_int_equal(request_space_find(&one, bytes_of_string("r"))->lsn, 4);
    assert_null(request_space_find(&two, bytes_of_string("r")));
    request_space_destroy(&one);
    request_space_destroy(&two);
    request_space_destroy(&forming);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(last_step_is_remembered),         cmocka_unit_test(largest_step_fits),
        cmocka_unit_test(horizon_is_the_newest_forgotten), cmocka_unit_test(long_request_outlives_its_first_step),
        cmocka_unit_test(projects_have_ids_of_their_own),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
