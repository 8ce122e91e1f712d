/* An answer for a time stays true: in the commit core, and in the service, on a clock of the test's own. */
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/memory.h"
#include "common/base/sync.h"
#include "wal-service/commit.h"
#include "wal-service/key_hash.h"
#include "wal-service/run_codec.h"
#include "wal-service/wal.h"

struct fixture {
    struct commit *commit;
    struct wal *wal;
    struct log_store *store;
    struct arena arena;
    atomic_uint_least64_t now;
    struct mutex lock; /* rank 10 */
    struct condition changed;
    unsigned done; /* under lock */
};

static uint64_t test_clock(void *ctx)
{
    return atomic_load(&((struct fixture *)ctx)->now);
}

static int set_up(void **state)
{
    struct fixture *f = mem_zalloc(sizeof *f);
    arena_init(&f->arena, 0);
    mutex_init(&f->lock, 10);
    condition_init(&f->changed);
    f->commit = commit_new(&(struct commit_options) { .conflict_window_bytes = 1 << 20, .request_window_bytes = 1 << 20 });
    f->wal = wal_new(&(struct wal_options) {
        .conflict_window_bytes = 1 << 20, .request_window_bytes = 1 << 20, .queue_bytes = 1 << 20, .clock = test_clock, .ctx = f });
    f->store = memory_store_new(NULL, NULL);
    wal_start(f->wal, f->store);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    commit_free(f->commit);
    wal_stop(f->wal);
    wal_free(f->wal);
    log_store_close(f->store);
    condition_destroy(&f->changed);
    mutex_destroy(&f->lock);
    arena_destroy(&f->arena);
    free(f);
    return 0;
}

static struct append_batch *batch_of(struct fixture *f, const char *project)
{
    struct run_header header = { .branch_id = bytes_of_string("b"), .collection = bytes_of_string("c") };
    struct run_entry entry = { .operation = 1, .document_id = bytes_of_string("a"), .document = bytes_of("\5\0\0\0\0", 5) };
    size_t size = run_entry_size(&entry), encoded_size = run_encoded_size(&header, size);
    uint8_t *encoded = arena_alloc(&f->arena, encoded_size);
    struct frame_run *run = arena_alloc(&f->arena, sizeof *run);
    uint64_t *touched = arena_alloc(&f->arena, sizeof *touched);
    struct append_batch *batch = arena_zalloc(&f->arena, sizeof *batch);
    run_end(run_put_entry(run_begin(encoded, &header, size), &entry));
    *run = (struct frame_run) { header.branch_id, header.collection, 1, bytes_of(encoded, encoded_size) };
    *touched = key_hash(key_space_hash(header.branch_id, header.collection), entry.document_id);
    *batch = (struct append_batch) {
        .project = bytes_of_string(project),
        .runs = run,
        .n_runs = 1,
        .entries = 1,
        .bytes = encoded_size,
        .touched = touched,
        .unconditional = true,
        .arena = &f->arena,
    };
    return batch;
}

/* ---- the commit core ----------------------------------------------------------------------------- */

static void form(struct fixture *f, struct append_batch *batch, uint64_t now)
{
    struct commit_group group;
    commit_submit(f->commit, batch);
    assert_true(commit_gather(f->commit));
    commit_take_group(f->commit, now, &group);
    assert_int_equal(group.n, 1);
}

static void finish(struct fixture *f)
{
    commit_group_done(f->commit, APPEND_COMMITTED, NULL);
    commit_publish(f->commit);
    assert_non_null(commit_take_finished(f->commit));
}

static uint64_t commit_at(struct fixture *f, const char *project, uint64_t now)
{
    struct append_batch *batch = batch_of(f, project);
    form(f, batch, now);
    finish(f);
    assert_int_equal(batch->result.error.code, ERROR_OK);
    return batch->result.timestamp;
}

static void promise_at(struct fixture *f, const char *project, uint64_t micros)
{
    struct time_promise promise = { .project = bytes_of_string(project), .micros = micros };
    commit_promise(f->commit, &promise);
    assert_null(commit_take_promises(f->commit)); /* not yet */
    commit_gather(f->commit);
    assert_ptr_equal(commit_take_promises(f->commit), &promise);
    assert_null(promise.next);
}

static void batches_after_an_answer_are_later(void **state)
{
    struct fixture *f = *state;
    assert_int_equal(commit_at(f, "p", 1000), 1000);
    promise_at(f, "p", 1000);
    assert_int_equal(commit_at(f, "p", 1000), 1001); /* the same microsecond */
    promise_at(f, "p", 5000);
    promise_at(f, "p", 2000);                        /* an older one takes nothing back */
    assert_int_equal(commit_at(f, "p", 3000), 5001); /* the clock was set back */
    assert_int_equal(commit_at(f, "p", 9000), 9000);
    assert_int_equal(commit_at(f, "q", 3000), 3000); /* nobody asked about this one */
}

static void answer_about_a_project_without_entries_holds_too(void **state)
{
    struct fixture *f = *state;
    promise_at(f, "later", 1000);
    assert_int_equal(commit_at(f, "later", 700), 1001);
}

static void answer_waits_for_the_group_in_flight(void **state)
{
    struct fixture *f = *state;
    struct append_batch *batch = batch_of(f, "p");
    struct time_promise promise = { .project = bytes_of_string("p"), .micros = 1000 };
    form(f, batch, 1000); /* may become the last batch at 1000, and is not visible yet */
    commit_promise(f->commit, &promise);
    assert_null(commit_take_promises(f->commit));
    commit_group_done(f->commit, APPEND_COMMITTED, NULL);
    assert_null(commit_take_promises(f->commit));
    commit_publish(f->commit);
    assert_ptr_equal(commit_take_finished(f->commit), batch);
    assert_false(commit_gather(f->commit));
    assert_ptr_equal(commit_take_promises(f->commit), &promise);
    assert_int_equal(commit_at(f, "p", 1000), 1001);
}

static void group_that_met_another_writer_is_formed_later_than_the_answer(void **state)
{
    struct fixture *f = *state;
    struct append_batch *batch = batch_of(f, "p");
    struct commit_group group;
    form(f, batch, 1000);
    assert_int_equal(batch->result.timestamp, 1000);
    struct time_promise promise = { .project = bytes_of_string("p"), .micros = 1000 };
    commit_promise(f->commit, &promise);
    commit_group_done(f->commit, APPEND_HEAD_MOVED, NULL);
    assert_true(commit_gather(f->commit));
    assert_ptr_equal(commit_take_promises(f->commit), &promise);
    commit_take_group(f->commit, 1000, &group);
    finish(f);
    assert_int_equal(batch->result.timestamp, 1001);
}

/* ---- the service --------------------------------------------------------------------------------- */

static void note_done(struct fixture *f)
{
    mutex_lock(&f->lock);
    f->done++;
    condition_broadcast(&f->changed);
    mutex_unlock(&f->lock);
}

static void wait_done(struct fixture *f, unsigned n)
{
    mutex_lock(&f->lock);
    while (f->done < n)
        condition_wait(&f->changed, &f->lock);
    f->done = 0;
    mutex_unlock(&f->lock);
}

static void on_appended(struct wal_append *append)
{
    note_done(append->ctx);
}

static uint64_t append(struct fixture *f)
{
    struct error err;
    struct append_batch *batch = batch_of(f, "p");
    struct wal_append call = { .batches = batch, .n_batches = 1, .bytes = 100, .done = on_appended, .ctx = f };
    assert_true(wal_append(f->wal, &call, &err));
    wait_done(f, 1);
    assert_int_equal(batch->result.error.code, ERROR_OK);
    return batch->result.timestamp;
}

struct asked {
    struct wal_time_query query;
    struct fixture *f;
    struct error failure;
    bool done; /* under the fixture's lock */
};

static void on_found(struct wal_time_query *query, const struct error *failure)
{
    struct asked *asked = query->ctx;
    if (failure)
        asked->failure = *failure;
    mutex_lock(&asked->f->lock);
    asked->done = true;
    condition_broadcast(&asked->f->changed);
    mutex_unlock(&asked->f->lock);
}

static void ask(struct fixture *f, struct asked *asked, uint64_t micros)
{
    *asked = (struct asked) { .f = f };
    asked->query = (struct wal_time_query) { .project = bytes_of_string("p"), .micros = micros, .done = on_found, .ctx = asked };
    wal_find_time(f->wal, &asked->query);
    mutex_lock(&f->lock);
    while (!asked->done)
        condition_wait(&f->changed, &f->lock);
    mutex_unlock(&f->lock);
}

static uint64_t find(struct fixture *f, uint64_t micros)
{
    struct asked asked;
    ask(f, &asked, micros);
    assert_int_equal(asked.failure.code, ERROR_OK);
    return asked.query.found.lsn;
}

static void answers_stay_true_whatever_the_clock_does(void **state)
{
    struct fixture *f = *state;
    atomic_store(&f->now, 1000);
    assert_int_equal(find(f, 1000), 0);
    assert_int_equal(append(f), 1001);
    assert_int_equal(find(f, 1000), 0);
    assert_int_equal(find(f, 1001), 1); /* as late as the last batch, though the clock is behind that */
    atomic_store(&f->now, 500);
    assert_int_equal(append(f), 1002);
    assert_int_equal(find(f, 1001), 1);
    atomic_store(&f->now, 4000);
    assert_int_equal(find(f, 3000), 2);
    atomic_store(&f->now, 2000);
    assert_int_equal(append(f), 3001);
    assert_int_equal(find(f, 3000), 2);
}

static void time_that_has_not_come_is_refused_with_both(void **state)
{
    struct fixture *f = *state;
    struct asked asked;
    atomic_store(&f->now, 10000);
    ask(f, &asked, 12340);
    assert_int_equal(asked.failure.code, ERROR_OUT_OF_RANGE);
    assert_non_null(strstr(asked.failure.message, "the time 1970-01-01T00:00:00.012Z"));
    assert_non_null(strstr(asked.failure.message, "the clock is at 1970-01-01T00:00:00.010Z"));
    assert_int_equal(append(f), 10000); /* and promises nothing */
}

struct writer {
    struct fixture *f;
    atomic_bool stop;
    atomic_uint_least64_t written;
};

static void *write_on(void *ctx)
{
    struct writer *w = ctx;
    while (!atomic_load(&w->stop)) {
        (void)append(w->f);
        atomic_fetch_add(&w->written, 1);
    }
    return NULL;
}

/* The clock stands still, so that every batch would have the timestamp that was asked for. */
static void answers_hold_beside_writers(void **state)
{
    struct fixture *f = *state;
    struct writer w = { .f = f };
    struct asked asked[300];
    atomic_store(&f->now, 1000);
    pthread_t thread = thread_start("writer", write_on, &w);
    while (!atomic_load(&w.written))
        sched_yield();
    for (size_t i = 0; i < ARRAY_LEN(asked); i++) {
        struct log_head head;
        log_store_head(f->store, bytes_of_string("p"), &head);
        ask(f, &asked[i], head.timestamp);
    }
    atomic_store(&w.stop, true);
    pthread_join(thread, NULL);
    for (size_t i = 0; i < ARRAY_LEN(asked); i++) {
        assert_int_equal(asked[i].failure.code, ERROR_OK);
        assert_true(asked[i].query.found.lsn > 0);
        assert_int_equal(find(f, asked[i].query.micros), asked[i].query.found.lsn);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(batches_after_an_answer_are_later, set_up, tear_down),
        cmocka_unit_test_setup_teardown(answer_about_a_project_without_entries_holds_too, set_up, tear_down),
        cmocka_unit_test_setup_teardown(answer_waits_for_the_group_in_flight, set_up, tear_down),
        cmocka_unit_test_setup_teardown(group_that_met_another_writer_is_formed_later_than_the_answer, set_up, tear_down),
        cmocka_unit_test_setup_teardown(answers_stay_true_whatever_the_clock_does, set_up, tear_down),
        cmocka_unit_test_setup_teardown(time_that_has_not_come_is_refused_with_both, set_up, tear_down),
        cmocka_unit_test_setup_teardown(answers_hold_beside_writers, set_up, tear_down),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
