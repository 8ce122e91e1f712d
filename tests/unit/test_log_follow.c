/* Following the log and asking it for a time, over a real WAL service in this process. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include <bson/bson.h>

#include "branch-service/log/log_source.h"
#include "common/base/clock.h"
#include "common/base/memory.h"
#include "common/base/sync.h"
#include "common/rpc/rpc.h"
#include "tests/support/wal_server.h"

#define PATIENCE (60 * (int64_t)MICROS_PER_SECOND)

struct fixture {
    struct wal_server *server;
    struct log_source *log;
    struct log_incarnation incarnation;

    struct mutex lock; /* rank 5 */
    struct condition changed;
    unsigned calls; /* of `ready` */

    uint64_t seen[64]; /* first LSNs */
    size_t n_seen;
};

static int64_t soon(void)
{
    return clock_monotonic_micros() + PATIENCE;
}

static int set_up(void **state)
{
    struct fixture *f = mem_zalloc(sizeof *f);
    struct error err;
    char target[32];
    f->server = wal_server_start();
    snprintf(target, sizeof target, "127.0.0.1:%d", wal_server_port(f->server));
    assert_true(log_source_open(target, &f->log, &err));
    memcpy(f->incarnation.bytes, wal_server_incarnation(f->server), sizeof f->incarnation.bytes);
    mutex_init(&f->lock, 5);
    condition_init(&f->changed);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    log_source_close(f->log);
    if (f->server)
        wal_server_stop(f->server);
    condition_destroy(&f->changed);
    mutex_destroy(&f->lock);
    free(f);
    return 0;
}

/* Its LSN, and the time that it got. */
static uint64_t append(struct fixture *f, const char *branch, uint64_t *timestamp)
{
    struct arena arena;
    struct error err;
    struct log_append_result result;
    bson_t bson = BSON_INITIALIZER;
    arena_init(&arena, 0);
    BSON_APPEND_INT32(&bson, "_id", 1);
    struct log_entry entry = { .operation = LOG_INSERT,
                               .document_id = bytes_of_string("k"),
                               .document = bytes_of(bson_get_data(&bson), bson.len) };
    struct log_run run = { .branch_id = branch, .collection = "c", .entries = &entry, .n_entries = 1 };
    struct log_head head;
    assert_true(log_source_head(f->log, "p", &(struct log_head_query) { 0 }, soon(), &arena, &head, &err));
    const struct log_batch batch = { .runs = &run, .n_runs = 1, .read_lsn = head.commit_lsn };
    if (!log_source_append(f->log, "p", &f->incarnation, &batch, soon(), &arena, &result, &err))
        fail_msg("%s", err.message);
    if (timestamp)
        *timestamp = result.timestamp;
    bson_destroy(&bson);
    arena_destroy(&arena);
    return result.last_lsn;
}

static void ready(void *ctx)
{
    struct fixture *f = ctx;
    mutex_lock(&f->lock);
    f->calls++;
    condition_signal(&f->changed);
    mutex_unlock(&f->lock);
}

static bool see(void *ctx, const struct log_run *run, struct error *err)
{
    struct fixture *f = ctx;
    (void)err;
    assert_true(f->n_seen < 64);
    f->seen[f->n_seen++] = run->first_lsn;
    return true;
}

static struct log_follow *follow_from(struct fixture *f, uint64_t after, const char *branch)
{
    const struct log_read_range range = { .project = "p", .after = after, .branch_id = branch };
    struct log_follow *follow;
    struct error err;
    assert_true(log_follow_open(f->log, &range, &f->incarnation, ready, f, &follow, &err));
    return follow;
}

/* Takes, whenever `ready` says so, until `through` is reached or the follow has failed. */
static bool take_through(struct fixture *f, struct log_follow *follow, uint64_t through, struct error *err)
{
    unsigned calls = 0;
    uint64_t reached = 0, before = 0;
    for (;;) {
        bool more = true;
        while (more) {
            if (!log_follow_take(follow, see, f, &reached, &more, err))
                return false;
            assert_true(reached >= before);
            before = reached;
        }
        if (reached >= through)
            return true;
        mutex_lock(&f->lock);
        while (f->calls == calls)
            assert_true(condition_wait_until(&f->changed, &f->lock, soon()));
        calls = f->calls;
        mutex_unlock(&f->lock);
    }
}

static void a_follow_shows_what_is_there_and_what_comes(void **state)
{
    struct fixture *f = *state;
    struct error err;
    for (int i = 0; i < 3; i++)
        append(f, "main", NULL);
    struct log_follow *follow = follow_from(f, 1, NULL);
    assert_true(take_through(f, follow, 3, &err));
    for (uint64_t lsn = 4; lsn < 20; lsn++) {
        assert_int_equal(append(f, "main", NULL), lsn);
        assert_true(take_through(f, follow, lsn, &err));
    }
    assert_int_equal(f->n_seen, 18);
    for (size_t i = 0; i < f->n_seen; i++)
        assert_int_equal(f->seen[i], i + 2);
    log_follow_close(follow);
}

static void a_filter_hides_runs_and_not_how_far_the_log_is(void **state)
{
    struct fixture *f = *state;
    struct error err;
    append(f, "main", NULL);
    struct log_follow *follow = follow_from(f, 0, "other");
    append(f, "other", NULL);
    append(f, "main", NULL);
    assert_true(take_through(f, follow, 3, &err));
    assert_int_equal(f->n_seen, 1);
    assert_int_equal(f->seen[0], 2);
    log_follow_close(follow);
}

static void another_incarnation_is_aborted(void **state)
{
    struct fixture *f = *state;
    struct error err;
    append(f, "main", NULL);
    f->incarnation.bytes[0] ^= 1;
    struct log_follow *follow = follow_from(f, 0, NULL);
    assert_false(take_through(f, follow, 1, &err));
    assert_int_equal(err.code, ERROR_ABORTED);
    log_follow_close(follow);
}

static void a_service_that_stops_is_unavailable(void **state)
{
    struct fixture *f = *state;
    struct error err;
    append(f, "main", NULL);
    struct log_follow *follow = follow_from(f, 0, NULL);
    assert_true(take_through(f, follow, 1, &err));
    wal_server_stop(f->server);
    f->server = NULL;
    assert_false(take_through(f, follow, 2, &err));
    assert_int_equal(err.code, ERROR_UNAVAILABLE);
    log_follow_close(follow);
}

static void a_follow_can_be_given_up_at_any_time(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 50; i++) {
        struct log_follow *follow = follow_from(f, 0, NULL);
        if (i % 2)
            append(f, "main", NULL);
        log_follow_close(follow);
    }
    log_follow_close(NULL);
}

static void a_time_is_the_last_batch_before_it(void **state)
{
    struct fixture *f = *state;
    struct error err;
    uint64_t times[5], lsn;
    for (int i = 0; i < 5; i++)
        assert_int_equal(append(f, "main", &times[i]), i + 1);
    for (int i = 0; i < 5; i++) {
        uint64_t last = (uint64_t)i + 1;
        while (last < 5 && times[last] == times[i]) /* a clock may stand still */
            last++;
        assert_true(log_source_find_lsn(f->log, "p", times[i], soon(), &lsn, &err));
        assert_int_equal(lsn, last);
    }
    assert_true(log_source_find_lsn(f->log, "p", times[0] - 1, soon(), &lsn, &err));
    assert_int_equal(lsn, 0);
    assert_false(log_source_find_lsn(f->log, "p", clock_wall_micros() + 3600 * (uint64_t)MICROS_PER_SECOND, soon(), &lsn, &err));
    assert_int_equal(err.code, ERROR_OUT_OF_RANGE);
}

int main(void)
{
#define FOLLOW_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        FOLLOW_TEST(a_follow_shows_what_is_there_and_what_comes),
        FOLLOW_TEST(a_filter_hides_runs_and_not_how_far_the_log_is),
        FOLLOW_TEST(another_incarnation_is_aborted),
        FOLLOW_TEST(a_service_that_stops_is_unavailable),
        FOLLOW_TEST(a_follow_can_be_given_up_at_any_time),
        FOLLOW_TEST(a_time_is_the_last_batch_before_it),
    };
    rpc_init();
    int failed = cmocka_run_group_tests_name("log_follow", tests, NULL, NULL);
    rpc_shutdown();
    return failed;
}
