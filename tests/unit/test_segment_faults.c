/* The segment store on a disk that fails: at every step, in every way, nothing acknowledged is lost. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "tests/support/faulty_disk.h"
#include "tests/support/segment_fixture.h"
#include "tests/support/thinning.h"

static const char *const PROJECTS[2] = { "shop", "blog" };

/* What was promised of the two projects' heads: at least acknowledged; with a group whose outcome is unknown,
 * that or exactly where the group would take them. */
struct promise {
    uint64_t acknowledged[2];
    uint64_t possible[2];
};

static void check_promise(struct log_store *store, struct promise *promise)
{
    uint64_t heads[2];
    struct error err = { 0 };
    for (int i = 0; i < 2; i++) {
        heads[i] = driver_head(store, PROJECTS[i]);
        if (!driver_check(store, PROJECTS[i], &err))
            fail_msg("%s", err.message);
    }
    if (memcmp(heads, promise->acknowledged, sizeof heads) != 0 && memcmp(heads, promise->possible, sizeof heads) != 0)
        fail_msg("heads %llu %llu; acknowledged %llu %llu, possible %llu %llu", (unsigned long long)heads[0], (unsigned long long)heads[1],
                 (unsigned long long)promise->acknowledged[0], (unsigned long long)promise->acknowledged[1],
                 (unsigned long long)promise->possible[0], (unsigned long long)promise->possible[1]);
    /* what a store shows is durable: from here on it is promised */
    memcpy(promise->acknowledged, heads, sizeof heads);
    memcpy(promise->possible, heads, sizeof heads);
}

/* Opens, checks, appends, closes. False when the fault struck. */
static bool run_session(struct disk *disk, const char *path, struct promise *promise)
{
    static const size_t sizes[] = { 60, 2500, 200, 3000, 9000, 100, 1500, 1500 }; /* small, rotating, longer than a segment */
    struct log_store *store;
    struct segment_recovery report;
    struct error err = { 0 };
    bool whole = true;
    if (!driver_open(disk, path, 1, &report, &store, &err)) {
        if (err.code != ERROR_UNAVAILABLE)
            fail_msg("open: %s %s", error_code_name(err.code), err.message);
        return false;
    }
    check_promise(store, promise);
    for (size_t i = 0; i < ARRAY_LEN(sizes) && whole; i++) {
        const char *const both[2] = { PROJECTS[0], i % 3 ? PROJECTS[1] : NULL };
        uint64_t heads[2] = { promise->acknowledged[0], promise->acknowledged[1] };
        enum append_outcome outcome = driver_append(store, both, sizes[i], heads, &err);
        memcpy(promise->possible, heads, sizeof heads);
        if (outcome == APPEND_COMMITTED) {
            memcpy(promise->acknowledged, heads, sizeof heads);
        } else {
            assert_int_equal(outcome, APPEND_UNKNOWN);
            assert_int_equal(err.code, ERROR_UNAVAILABLE);
            /* dead for good, but what was committed can be read */
            uint64_t ignored[2];
            assert_int_equal(driver_append(store, both, 50, ignored, &err), APPEND_UNKNOWN);
            assert_false(log_store_vouch(store, &err));
            for (int p = 0; p < 2; p++) {
                assert_int_equal(driver_head(store, PROJECTS[p]), promise->acknowledged[p]);
                if (!driver_check(store, PROJECTS[p], &err))
                    fail_msg("%s", err.message);
            }
            whole = false;
        }
        if (i == 2 && whole)
            whole = log_store_vouch(store, &err);
    }
    log_store_close(store);
    return whole;
}

static void expect_sessions(const char *path, struct promise *promise, unsigned sessions)
{
    for (unsigned i = 0; i < sessions; i++)
        assert_true(run_session(&system_disk, path, promise));
}

/* Two sessions, one fault, power cut or not, and two more sessions on a good disk. Returns whether the log's
 * life was long enough for that step. */
static bool live_through(const struct temp_directory *directory, enum fault fault, uint64_t step, unsigned lost)
{
    struct promise promise = { 0 };
    struct faulty_disk disk;
    temp_directory_empty(directory);
    faulty_disk_init(&disk, fault, step);
    for (unsigned i = 0; i < 2; i++)
        if (!run_session(&disk.disk, directory->path, &promise) && fault == FAULT_KILL)
            break;
    bool struck = disk.struck;
    if (lost > 0)
        faulty_disk_cut_power(&disk, lost, step);
    faulty_disk_destroy(&disk);
    expect_sessions(directory->path, &promise, lost == 128 ? 2 : 1);
    return struck;
}

static void at_every_step(void **state, enum fault fault, unsigned lost)
{
    uint64_t step = 1;
    while (live_through(*state, fault, step, lost))
        step += TRY_ONE_IN;
    assert_true(step > 60); /* the fault did meet a life worth the name */
}

static void killed_at_every_step_nothing_acknowledged_is_lost(void **state)
{
    at_every_step(state, FAULT_KILL, 0);
}

static void power_cut_at_every_step_nothing_acknowledged_is_lost(void **state)
{
    at_every_step(state, FAULT_KILL, 128);
    at_every_step(state, FAULT_KILL, 256);
}

static void a_failed_call_at_every_step_loses_nothing_acknowledged(void **state)
{
    at_every_step(state, FAULT_EIO, 0);
}

/* The second session has read pages that the failed sync of the first left in the cache only. */
static void pages_that_a_failed_sync_dropped_are_not_relied_on(void **state)
{
    at_every_step(state, FAULT_EIO, 128);
    at_every_step(state, FAULT_EIO, 256);
}

/* Recovery itself is killed, at every step, then once more at every fifth, over an unclean log. */
static void recovery_can_be_killed_at_every_step(void **state)
{
    const struct temp_directory *directory = *state;
    struct directory_image image;
    struct promise before = { 0 };
    struct faulty_disk disk;
    /* a log whose last group nothing vouches for, with a torn one behind it */
    bool whole = true;
    for (uint64_t step = 44; whole; step++) { /* the first at which a commit fails, not something in the background */
        temp_directory_empty(directory);
        before = (struct promise) { 0 };
        faulty_disk_init(&disk, FAULT_EIO, step);
        whole = run_session(&disk.disk, directory->path, &before);
        faulty_disk_destroy(&disk);
    }
    directory_image_load(&image, directory->path);
    bool struck = true;
    for (uint64_t step = 1; struck; step += TRY_ONE_IN) {
        for (unsigned lost = 0; lost <= 256; lost += 128) {
            struct promise promise = before;
            directory_image_store(&image, directory);
            for (uint64_t again = step; again > 0; again = again > 5 ? again - 5 : 0) {
                struct log_store *store;
                struct segment_recovery report;
                struct error err = { 0 };
                faulty_disk_init(&disk, FAULT_KILL, again);
                if (driver_open(&disk.disk, directory->path, 1, &report, &store, &err)) {
                    check_promise(store, &promise);
                    log_store_close(store);
                }
                if (again == step)
                    struck = disk.struck;
                faulty_disk_cut_power(&disk, lost, step);
                faulty_disk_destroy(&disk);
            }
            expect_sessions(directory->path, &promise, 1);
        }
    }
    directory_image_destroy(&image);
}

static void a_full_disk_refuses_appends_and_passes(void **state)
{
    const struct temp_directory *directory = *state;
    struct faulty_disk disk;
    struct log_store *store;
    struct segment_recovery report;
    struct log_store_stats stats;
    struct error err = { 0 };
    const char *const one[2] = { PROJECTS[0], NULL };
    uint64_t heads[2];
    faulty_disk_init(&disk, FAULT_NONE, 0);
    assert_true(driver_open(&disk.disk, directory->path, 1, &report, &store, &err));
    faulty_disk_set_room(&disk, 0);
    enum append_outcome outcome;
    unsigned committed = 0;
    while ((outcome = driver_append(store, one, 1000, heads, &err)) == APPEND_COMMITTED)
        committed++;
    assert_in_range(committed, 4, 6); /* what was left of the segment */
    assert_int_equal(outcome, APPEND_REFUSED);
    assert_int_equal(err.code, ERROR_RESOURCE_EXHAUSTED);
    assert_non_null(strstr(err.message, "disk full"));
    log_store_stats(store, &stats);
    assert_true(stats.disk_full);
    uint64_t head = driver_head(store, PROJECTS[0]);
    assert_true(driver_check(store, PROJECTS[0], &err));                             /* reads go on */
    assert_int_equal(driver_append(store, one, 40000, heads, &err), APPEND_REFUSED); /* a longer segment: made on the spot */
    assert_int_equal(driver_append(store, one, 1000, heads, &err), APPEND_REFUSED);
    assert_true(log_store_vouch(store, &err));

    faulty_disk_set_room(&disk, UINT64_MAX);
    assert_int_equal(driver_append(store, one, 1000, heads, &err), APPEND_COMMITTED);
    assert_true(driver_head(store, PROJECTS[0]) > head);
    log_store_stats(store, &stats);
    assert_false(stats.disk_full);
    assert_int_equal(driver_append(store, one, 40000, heads, &err), APPEND_COMMITTED);
    assert_true(driver_check(store, PROJECTS[0], &err));
    head = driver_head(store, PROJECTS[0]);
    log_store_close(store);

    assert_true(driver_open(&disk.disk, directory->path, 1, &report, &store, &err));
    assert_int_equal(driver_head(store, PROJECTS[0]), head);
    assert_true(driver_check(store, PROJECTS[0], &err));
    log_store_close(store);
    faulty_disk_destroy(&disk);
}

static void a_log_on_a_full_disk_opens_for_reading(void **state)
{
    const struct temp_directory *directory = *state;
    struct faulty_disk disk;
    struct log_store *store;
    struct segment_recovery report;
    struct log_store_stats stats;
    struct error err = { 0 };
    const char *const one[2] = { PROJECTS[0], NULL };
    uint64_t heads[2];
    faulty_disk_init(&disk, FAULT_NONE, 0);
    assert_true(driver_open(&disk.disk, directory->path, 1, &report, &store, &err));
    assert_int_equal(driver_append(store, one, 1000, heads, &err), APPEND_COMMITTED);
    log_store_close(store);

    faulty_disk_set_room(&disk, 0);
    assert_false(driver_open(&disk.disk, directory->path, 1, &report, &store, &err));
    assert_int_equal(err.code, ERROR_RESOURCE_EXHAUSTED);

    faulty_disk_set_room(&disk, 8192); /* for a segment without groups */
    assert_true(driver_open(&disk.disk, directory->path, 1, &report, &store, &err));
    log_store_stats(store, &stats);
    assert_true(stats.disk_full);
    assert_int_equal(driver_head(store, PROJECTS[0]), heads[0]);
    assert_true(driver_check(store, PROJECTS[0], &err));
    uint64_t wanted[2];
    assert_int_equal(driver_append(store, one, 3000, wanted, &err), APPEND_REFUSED);
    faulty_disk_set_room(&disk, UINT64_MAX);
    assert_int_equal(driver_append(store, one, 3000, wanted, &err), APPEND_COMMITTED);
    log_store_stats(store, &stats);
    assert_false(stats.disk_full);
    log_store_close(store);

    assert_true(driver_open(&disk.disk, directory->path, 1, &report, &store, &err));
    assert_int_equal(driver_head(store, PROJECTS[0]), wanted[0]);
    assert_true(driver_check(store, PROJECTS[0], &err));
    log_store_close(store);
    faulty_disk_destroy(&disk);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(killed_at_every_step_nothing_acknowledged_is_lost),
        TEST(power_cut_at_every_step_nothing_acknowledged_is_lost),
        TEST(a_failed_call_at_every_step_loses_nothing_acknowledged),
        TEST(pages_that_a_failed_sync_dropped_are_not_relied_on),
        TEST(recovery_can_be_killed_at_every_step),
        TEST(a_full_disk_refuses_appends_and_passes),
        TEST(a_log_on_a_full_disk_opens_for_reading),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
