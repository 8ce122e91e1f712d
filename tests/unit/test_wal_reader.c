/* Reading the log in steps, the heads of its branches as of one LSN, and who is woken when it moves. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/base/clock.h"
#include "common/base/memory.h"
#include "common/base/sync.h"
#include "tests/support/sample_frames.h"
#include "wal-service/branch_heads.h"
#include "wal-service/follow.h"
#include "wal-service/log_reader.h"

struct fixture {
    struct log_store *store;
    struct arena arena;
    uint64_t head;
    size_t size; /* of what grow appends */
};

static struct bytes project(void)
{
    return bytes_of_string("p");
}

static void grow(struct fixture *f)
{
    struct sample sample;
    struct error err;
    sample_init(&sample, "p", f->head + 1, f->size);
    assert_int_equal(log_store_append(f->store, &sample.frame, 1, &err), APPEND_COMMITTED);
    f->head = frame_last_lsn(&sample.frame);
    sample_destroy(&sample);
}

static int set_up(void **state)
{
    struct fixture *f = mem_zalloc(sizeof *f);
    f->store = memory_store_new(NULL, NULL);
    f->size = 100;
    arena_init(&f->arena, 0);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    log_store_close(f->store);
    arena_destroy(&f->arena);
    free(f);
    return 0;
}

/* ---- steps --------------------------------------------------------------------------------------- */

static bool add_runs(void *ctx, const struct frame *frame, struct error *err)
{
    (void)err;
    for (size_t i = 0; i < frame->n_runs; i++)
        buffer_append(ctx, frame->runs[i].encoded.data, frame->runs[i].encoded.len);
    return true;
}

/* Are these the runs of the batches in (after, through], as the store has them? */
static void assert_runs(struct fixture *f, struct bytes runs, uint64_t after, uint64_t through)
{
    struct buffer expected = { 0 };
    struct log_range range = { .project = project(), .after = after, .through = through };
    struct error err;
    assert_true(log_store_scan(f->store, &range, add_runs, &expected, &err));
    assert_true(expected.len > 0);
    assert_true(bytes_equal(runs, buffer_bytes(&expected)));
    buffer_destroy(&expected);
}

static struct log_reader reader_of(struct fixture *f, uint64_t after)
{
    return (struct log_reader) { .store = f->store, .range = { .project = project(), .after = after } };
}

static void must_step(struct log_reader *reader, uint64_t through)
{
    struct error err;
    if (!log_reader_step(reader, through, &err))
        fail_msg("%s", err.message);
}

static void steps_show_every_entry_once_in_bounded_messages(void **state)
{
    struct fixture *f = *state;
    f->size = 100000;
    for (int i = 0; i < 60; i++)
        grow(f);
    struct log_reader reader = reader_of(f, 0);
    uint64_t steps = 0;
    while (reader.range.after < f->head) {
        uint64_t before = reader.range.after;
        must_step(&reader, f->head);
        assert_true(reader.range.after > before);
        assert_int_equal(reader.range.after, log_store_batch_end(f->store, project(), reader.range.after));
        assert_in_range(reader.runs.len, 1, 2 * LOG_READER_BYTES);
        assert_runs(f, buffer_bytes(&reader.runs), before, reader.range.after);
        steps++;
    }
    assert_int_equal(reader.range.after, f->head);
    assert_true(steps > 5);
    log_reader_clear(&reader);
}

static void batch_larger_than_a_message_goes_alone(void **state)
{
    struct fixture *f = *state;
    grow(f);
    uint64_t small = f->head;
    f->size = 2 * LOG_READER_BYTES;
    grow(f);
    struct log_reader reader = reader_of(f, 0);
    must_step(&reader, f->head);
    assert_int_equal(reader.range.after, small);
    must_step(&reader, f->head);
    assert_int_equal(reader.range.after, f->head);
    assert_runs(f, buffer_bytes(&reader.runs), small, f->head);
    log_reader_clear(&reader);
}

static void what_a_filter_keeps_back_moves_the_position(void **state)
{
    struct fixture *f = *state;
    struct bytes nowhere = bytes_of_string("nowhere");
    for (int i = 0; i < 10; i++)
        grow(f);
    struct log_reader reader = reader_of(f, 0);
    reader.range.branch_id = &nowhere;
    must_step(&reader, f->head);
    assert_int_equal(reader.runs.len, 0);
    assert_int_equal(reader.range.after, f->head);
    must_step(&reader, f->head); /* at the end: nothing more, and no error */
    assert_int_equal(reader.range.after, f->head);
}

static void position_inside_a_batch_begins_with_that_batch(void **state)
{
    struct fixture *f = *state;
    grow(f);
    grow(f);
    struct log_reader reader = reader_of(f, f->head - 1);
    uint64_t begin = log_store_batch_end(f->store, project(), f->head - 1);
    must_step(&reader, f->head);
    assert_runs(f, buffer_bytes(&reader.runs), begin, f->head);
    log_reader_clear(&reader);
}

/* ---- heads of branches --------------------------------------------------------------------------- */

static void pages_of_branches_are_in_order_and_whole(void **state)
{
    struct fixture *f = *state;
    struct branch_page page;
    struct error err;
    for (int i = 0; i < 9; i++)
        grow(f);
    assert_true(branch_heads_page(f->store, project(), (struct bytes) { 0 }, 1, &f->arena, &page, &err));
    assert_int_equal(page.n, 1);
    assert_true(page.more);
    assert_int_equal(page.commit_lsn, f->head);
    assert_int_equal(page.branches[0].last_lsn, log_store_branch_head(f->store, project(), page.branches[0].id));
    struct bytes last = page.branches[0].id;
    assert_true(branch_heads_page(f->store, project(), last, 1, &f->arena, &page, &err));
    assert_int_equal(page.n, 1);
    assert_false(page.more);
    assert_true(bytes_compare(last, page.branches[0].id) < 0);
    assert_true(branch_heads_page(f->store, bytes_of_string("unknown"), last, 2, &f->arena, &page, &err));
    assert_int_equal(page.n, 0);
    assert_int_equal(page.commit_lsn, 0);
}

/* A store that grows whenever somebody has been told something. */
struct growing_store {
    struct log_store base;
    struct log_store_ops ops;
    struct fixture *f;
};

static uint64_t grow_behind_branch_head(struct log_store *store, struct bytes id, struct bytes branch)
{
    struct growing_store *growing = (struct growing_store *)store;
    uint64_t lsn = log_store_branch_head(growing->f->store, id, branch);
    grow(growing->f);
    return lsn;
}

static void head_of_inner(struct log_store *store, struct bytes id, struct log_head *head)
{
    log_store_head(((struct growing_store *)store)->f->store, id, head);
}

static bool scan_inner(struct log_store *store, const struct log_range *range, frame_visit_fn *visit, void *ctx, struct error *err)
{
    return log_store_scan(((struct growing_store *)store)->f->store, range, visit, ctx, err);
}

static void heads_are_those_of_one_lsn_while_the_log_grows(void **state)
{
    struct fixture *f = *state;
    struct growing_store growing = { .ops = { .head = head_of_inner, .branch_head = grow_behind_branch_head, .scan = scan_inner }, .f = f };
    growing.base.ops = &growing.ops;
    struct bytes ids[] = { bytes_of_string("b1"), bytes_of_string("b0"), bytes_of_string("b2"), bytes_of_string("b1") };
    uint64_t heads[4], commit_lsn;
    struct error err;
    for (int i = 0; i < 3; i++)
        grow(f);
    assert_true(branch_heads_of(&growing.base, project(), ids, 4, &f->arena, heads, &commit_lsn, &err));
    assert_int_equal(commit_lsn, f->head);
    for (int i = 0; i < 4; i++)
        assert_int_equal(heads[i], log_store_branch_head(f->store, project(), ids[i])); /* nothing has grown since */
    assert_true(heads[0] == f->head || heads[1] == f->head || heads[2] == f->head);
}

/* ---- followers ----------------------------------------------------------------------------------- */

struct listener {
    struct follower follower;
    struct mutex lock; /* rank 30 */
    struct condition woken;
    unsigned wakes; /* under lock */
};

static void on_wake(void *ctx)
{
    struct listener *l = ctx;
    mutex_lock(&l->lock);
    l->wakes++;
    condition_signal(&l->woken);
    mutex_unlock(&l->lock);
}

static void listen_to(struct follow_registry *registry, struct listener *l, const char *id)
{
    struct error err;
    *l = (struct listener) { .follower = { .wake = on_wake, .ctx = l } };
    mutex_init(&l->lock, 30);
    condition_init(&l->woken);
    assert_true(follow_add(registry, &l->follower, bytes_of_string(id), &err));
}

static void stop_listening(struct follow_registry *registry, struct listener *l)
{
    follow_remove(registry, &l->follower);
    mutex_destroy(&l->lock);
    condition_destroy(&l->woken);
}

static void wait_wakes(struct listener *l, unsigned n)
{
    int64_t until = clock_monotonic_micros() + 20 * (int64_t)MICROS_PER_SECOND;
    mutex_lock(&l->lock);
    while (l->wakes < n)
        assert_true(condition_wait_until(&l->woken, &l->lock, until));
    assert_int_equal(l->wakes, n);
    mutex_unlock(&l->lock);
}

static void only_those_who_wait_for_the_project_are_woken(void **state)
{
    (void)state;
    struct follow_registry *registry = follow_registry_new(10);
    struct listener p, q, running;
    listen_to(registry, &p, "p");
    listen_to(registry, &q, "q");
    listen_to(registry, &running, "p");
    follow_wait(registry, &p.follower, false);
    follow_wait(registry, &p.follower, false);
    follow_wait(registry, &q.follower, false);
    follow_moved(registry, bytes_of_string("p"));
    wait_wakes(&p, 1);
    follow_moved(registry, bytes_of_string("p")); /* nobody has asked again */
    follow_moved(registry, bytes_of_string("nobody's"));
    follow_moved(registry, bytes_of_string("q"));
    wait_wakes(&q, 1);
    follow_wait(registry, &p.follower, false);
    follow_moved(registry, bytes_of_string("p"));
    wait_wakes(&p, 2);
    wait_wakes(&q, 1);
    wait_wakes(&running, 0);
    stop_listening(registry, &p);
    stop_listening(registry, &q);
    stop_listening(registry, &running);
    assert_int_equal(follow_count(registry), 0);
    follow_registry_free(registry);
}

static void a_tick_wakes_who_wants_it(void **state)
{
    (void)state;
    struct follow_registry *registry = follow_registry_new(10);
    struct listener p, q;
    listen_to(registry, &p, "p");
    listen_to(registry, &q, "q");
    follow_wait(registry, &q.follower, false);
    follow_wait(registry, &p.follower, true);
    wait_wakes(&p, 1);
    follow_wait(registry, &p.follower, true);
    wait_wakes(&p, 2);
    wait_wakes(&q, 0);
    stop_listening(registry, &p);
    stop_listening(registry, &q);
    follow_registry_free(registry);
}

static void places_are_bounded(void **state)
{
    (void)state;
    struct follow_registry *registry = follow_registry_new(1);
    struct listener one;
    struct follower other = { .wake = on_wake };
    struct error err;
    listen_to(registry, &one, "p");
    assert_false(follow_add(registry, &other, project(), &err));
    assert_int_equal(err.code, ERROR_RESOURCE_EXHAUSTED);
    stop_listening(registry, &one);
    assert_true(follow_add(registry, &other, project(), &err));
    follow_remove(registry, &other);
    follow_registry_free(registry);
}

struct mover {
    struct follow_registry *registry;
    struct mutex lock; /* rank 31 */
    struct condition moved;
    unsigned head; /* under lock */
};

static void *move_often(void *ctx)
{
    struct mover *m = ctx;
    for (int i = 0; i < 3000; i++) {
        mutex_lock(&m->lock);
        m->head++;
        mutex_unlock(&m->lock);
        follow_moved(m->registry, project());
    }
    return NULL;
}

/* As a stream does it: ask, look, and sleep only when there is nothing. */
static void nobody_sleeps_through_the_last_move(void **state)
{
    (void)state;
    struct mover m = { .registry = follow_registry_new(10) };
    struct listener l[3];
    unsigned seen[3] = { 0 };
    mutex_init(&m.lock, 31);
    for (int i = 0; i < 3; i++)
        listen_to(m.registry, &l[i], "p");
    pthread_t thread = thread_start("mover", move_often, &m);
    int64_t until = clock_monotonic_micros() + 60 * (int64_t)MICROS_PER_SECOND;
    for (int i = 0; seen[0] < 3000 || seen[1] < 3000 || seen[2] < 3000; i = (i + 1) % 3) {
        if (seen[i] == 3000)
            continue;
        mutex_lock(&l[i].lock);
        unsigned wakes = l[i].wakes;
        mutex_unlock(&l[i].lock);
        follow_wait(m.registry, &l[i].follower, false);
        mutex_lock(&m.lock);
        bool news = m.head > seen[i];
        seen[i] = m.head;
        mutex_unlock(&m.lock);
        mutex_lock(&l[i].lock);
        while (!news && l[i].wakes == wakes)
            assert_true(condition_wait_until(&l[i].woken, &l[i].lock, until));
        mutex_unlock(&l[i].lock);
    }
    pthread_join(thread, NULL);
    for (int i = 0; i < 3; i++)
        stop_listening(m.registry, &l[i]);
    mutex_destroy(&m.lock);
    follow_registry_free(m.registry);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(steps_show_every_entry_once_in_bounded_messages, set_up, tear_down),
        cmocka_unit_test_setup_teardown(batch_larger_than_a_message_goes_alone, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_a_filter_keeps_back_moves_the_position, set_up, tear_down),
        cmocka_unit_test_setup_teardown(position_inside_a_batch_begins_with_that_batch, set_up, tear_down),
        cmocka_unit_test_setup_teardown(pages_of_branches_are_in_order_and_whole, set_up, tear_down),
        cmocka_unit_test_setup_teardown(heads_are_those_of_one_lsn_while_the_log_grows, set_up, tear_down),
        cmocka_unit_test(only_those_who_wait_for_the_project_are_woken),
        cmocka_unit_test(a_tick_wakes_who_wants_it),
        cmocka_unit_test(places_are_bounded),
        cmocka_unit_test(nobody_sleeps_through_the_last_move),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
