/* The service's threads over the memory and the segment store, and over one whose appends the test decides. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/memory.h"
#include "common/base/sync.h"
#include "tests/support/temp_directory.h"
#include "wal-service/key_hash.h"
#include "wal-service/run_codec.h"
#include "wal-service/wal.h"

#define PATIENCE (20 * MICROS_PER_SECOND)

/* ---- a store whose appends can be held and made to fail ------------------------------------------ */

struct staged_store {
    struct log_store base;
    struct log_store *inner;
    struct mutex lock; /* rank 41 */
    struct condition changed;
    bool held;                  /* under lock: appends wait */
    size_t appends, vouches;    /* under lock: begun */
    enum append_outcome answer; /* under lock: COMMITTED asks the inner store */
    bool vouch_fails;           /* under lock */
};

static struct staged_store *staged(struct log_store *store)
{
    return (struct staged_store *)store;
}

static enum append_outcome staged_append(struct log_store *store, const struct frame *frames, size_t n, struct error *err)
{
    struct staged_store *s = staged(store);
    mutex_lock(&s->lock);
    s->appends++;
    condition_broadcast(&s->changed);
    while (s->held)
        condition_wait(&s->changed, &s->lock);
    enum append_outcome answer = s->answer;
    mutex_unlock(&s->lock);
    if (answer == APPEND_COMMITTED)
        return log_store_append(s->inner, frames, n, err);
    error_set(err, answer == APPEND_REFUSED ? ERROR_RESOURCE_EXHAUSTED : ERROR_UNAVAILABLE, "staged");
    return answer;
}

static bool staged_vouch(struct log_store *store, struct error *err)
{
    struct staged_store *s = staged(store);
    mutex_lock(&s->lock);
    s->vouches++;
    bool fails = s->vouch_fails;
    condition_broadcast(&s->changed);
    mutex_unlock(&s->lock);
    return !fails || error_set(err, ERROR_UNAVAILABLE, "staged");
}

static void staged_head(struct log_store *store, struct bytes project, struct log_head *head)
{
    log_store_head(staged(store)->inner, project, head);
}

static uint64_t staged_branch_head(struct log_store *store, struct bytes project, struct bytes branch_id)
{
    return log_store_branch_head(staged(store)->inner, project, branch_id);
}

static uint64_t staged_batch_end(struct log_store *store, struct bytes project, uint64_t lsn)
{
    return log_store_batch_end(staged(store)->inner, project, lsn);
}

static void staged_find_time(struct log_store *store, struct bytes project, uint64_t micros, struct log_head *found)
{
    log_store_find_time(staged(store)->inner, project, micros, found);
}

static bool staged_list_branches(struct log_store *store, struct bytes project, struct bytes after, size_t max, struct arena *arena,
                                 struct log_branch *branches, size_t *n, struct error *err)
{
    return log_store_list_branches(staged(store)->inner, project, after, max, arena, branches, n, err);
}

static bool staged_scan(struct log_store *store, const struct log_range *range, frame_visit_fn *visit, void *ctx, struct error *err)
{
    return log_store_scan(staged(store)->inner, range, visit, ctx, err);
}

static void staged_incarnation(struct log_store *store, uint8_t out[INCARNATION_BYTES])
{
    log_store_incarnation(staged(store)->inner, out);
}

static uint64_t staged_known_through(struct log_store *store, struct bytes project, const uint8_t incarnation[INCARNATION_BYTES])
{
    return log_store_known_through(staged(store)->inner, project, incarnation);
}

static void staged_stats(struct log_store *store, struct log_store_stats *stats)
{
    log_store_stats(staged(store)->inner, stats);
}

static void staged_close(struct log_store *store)
{
    struct staged_store *s = staged(store);
    log_store_close(s->inner);
    condition_destroy(&s->changed);
    mutex_destroy(&s->lock);
    free(s);
}

static struct log_store *staged_store_new(struct log_store *inner)
{
    static const struct log_store_ops ops = {
        staged_append,        staged_vouch, staged_head,        staged_branch_head,   staged_batch_end, staged_find_time,
        staged_list_branches, staged_scan,  staged_incarnation, staged_known_through, staged_stats,     staged_close,
    };
    struct staged_store *s = mem_zalloc(sizeof *s);
    s->base.ops = &ops;
    s->inner = inner;
    mutex_init(&s->lock, 41);
    condition_init(&s->changed);
    return &s->base;
}

static void hold_appends(struct log_store *store, bool held)
{
    mutex_lock(&staged(store)->lock);
    staged(store)->held = held;
    condition_broadcast(&staged(store)->changed);
    mutex_unlock(&staged(store)->lock);
}

static void answer_appends(struct log_store *store, enum append_outcome answer)
{
    mutex_lock(&staged(store)->lock);
    staged(store)->answer = answer;
    mutex_unlock(&staged(store)->lock);
}

static void wait_for_count(struct log_store *store, const size_t *count, size_t n)
{
    struct staged_store *s = staged(store);
    int64_t deadline = clock_monotonic_micros() + PATIENCE;
    mutex_lock(&s->lock);
    while (*count < n)
        assert_true(condition_wait_until(&s->changed, &s->lock, deadline));
    mutex_unlock(&s->lock);
}

/* ---- fixture ------------------------------------------------------------------------------------- */

struct fixture {
    struct wal *wal;
    struct log_store *store;
    struct mutex lock; /* rank 10 */
    struct condition changed;
    size_t failures;                 /* under lock */
    struct temp_directory directory; /* path empty: none */
};

static void on_failed(void *ctx)
{
    struct fixture *f = ctx;
    mutex_lock(&f->lock);
    f->failures++;
    condition_broadcast(&f->changed);
    mutex_unlock(&f->lock);
}

static struct wal_options options_of(struct fixture *f)
{
    return (struct wal_options) {
        .conflict_window_bytes = 1 << 20, .request_window_bytes = 1 << 20, .queue_bytes = 100000, .failed = on_failed, .ctx = f
    };
}

static void open_segments(struct fixture *f)
{
    struct wal_options options = options_of(f);
    struct segment_store_options where = { .directory = f->directory.path, .segment_bytes = 1 << 20 };
    struct segment_recovery report;
    struct error err = { 0 };
    f->wal = wal_new(&options);
    if (!segment_store_open(&where, wal_recover, f->wal, &report, &f->store, &err))
        fail_msg("%s", err.message);
    wal_start(f->wal, f->store);
}

static void stop(struct fixture *f)
{
    if (f->wal)
        wal_stop(f->wal);
    wal_free(f->wal);
    log_store_close(f->store);
    f->wal = NULL;
    f->store = NULL;
}

static int set_up_plain(void **state)
{
    struct fixture *f = mem_zalloc(sizeof *f);
    mutex_init(&f->lock, 10);
    condition_init(&f->changed);
    *state = f;
    return 0;
}

static int set_up_staged(void **state)
{
    set_up_plain(state);
    struct fixture *f = *state;
    struct wal_options options = options_of(f);
    f->store = staged_store_new(memory_store_new(NULL, NULL));
    f->wal = wal_new(&options);
    wal_start(f->wal, f->store);
    return 0;
}

static int set_up_segments(void **state)
{
    set_up_plain(state);
    struct fixture *f = *state;
    temp_directory_make(&f->directory);
    open_segments(f);
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    stop(f);
    if (*f->directory.path)
        temp_directory_remove(&f->directory);
    condition_destroy(&f->changed);
    mutex_destroy(&f->lock);
    free(f);
    return 0;
}

/* ---- appends that can be waited for -------------------------------------------------------------- */

struct pending {
    struct wal_append append;
    struct append_batch batch;
    struct frame_run run;
    uint64_t touched;
    struct arena arena;
    struct mutex lock; /* rank 11 */
    struct condition changed;
    bool done; /* under lock */
};

static void on_done(struct wal_append *append)
{
    struct pending *p = append->ctx;
    mutex_lock(&p->lock);
    p->done = true;
    condition_broadcast(&p->changed);
    mutex_unlock(&p->lock);
}

struct wanted {
    const char *id;
    uint64_t read_lsn;
    const char *request, *hash, *answer;
    uint64_t since_lsn;
    size_t bytes; /* 0: 1000 */
};

static struct pending *prepare(struct wanted wanted)
{
    struct pending *p = mem_zalloc(sizeof *p);
    struct run_header header = { .branch_id = bytes_of_string("b"), .collection = bytes_of_string("c") };
    arena_init(&p->arena, 0);
    mutex_init(&p->lock, 11);
    condition_init(&p->changed);
    struct run_entry entry = { .operation = 1,
                               .document_id = bytes_of_string(arena_strdup(&p->arena, wanted.id)),
                               .document = bytes_of("\5\0\0\0\0", 5) };
    size_t size = run_entry_size(&entry), encoded_size = run_encoded_size(&header, size);
    uint8_t *encoded = arena_alloc(&p->arena, encoded_size);
    run_end(run_put_entry(run_begin(encoded, &header, size), &entry));
    p->run = (struct frame_run) { header.branch_id, header.collection, 1, bytes_of(encoded, encoded_size) };
    p->touched = key_hash(key_space_hash(header.branch_id, header.collection), entry.document_id);
    p->batch = (struct append_batch) {
        .project = bytes_of_string("p"),
        .runs = &p->run,
        .n_runs = 1,
        .entries = 1,
        .bytes = encoded_size,
        .touched = &p->touched,
        .read_lsn = wanted.read_lsn,
        .since_lsn = wanted.since_lsn,
        .arena = &p->arena,
    };
    if (wanted.request)
        p->batch.request = (struct request_step) {
            .id = bytes_of_string(wanted.request),
            .hash = bytes_of_string(wanted.hash ? wanted.hash : "hash"),
            .last = true,
            .answer = bytes_of_string(wanted.answer ? wanted.answer : ""),
        };
    p->append = (struct wal_append) {
        .batches = &p->batch, .n_batches = 1, .bytes = wanted.bytes ? wanted.bytes : 1000, .done = on_done, .ctx = p
    };
    return p;
}

static struct pending *start(struct fixture *f, struct wanted wanted)
{
    struct pending *p = prepare(wanted);
    struct error err;
    assert_true(wal_append(f->wal, &p->append, &err));
    return p;
}

static void wait_done(struct pending *p)
{
    int64_t deadline = clock_monotonic_micros() + PATIENCE;
    mutex_lock(&p->lock);
    while (!p->done)
        assert_true(condition_wait_until(&p->changed, &p->lock, deadline));
    mutex_unlock(&p->lock);
}

static void release(struct pending *p)
{
    condition_destroy(&p->changed);
    mutex_destroy(&p->lock);
    arena_destroy(&p->arena);
    free(p);
}

static struct append_result append_and_release(struct fixture *f, struct wanted wanted)
{
    struct pending *p = start(f, wanted);
    wait_done(p);
    struct append_result result = p->batch.result;
    result.earlier = NULL;
    result.conflicts = NULL;
    release(p);
    return result;
}

/* ---- head queries -------------------------------------------------------------------------------- */

struct head_waiter {
    struct wal_head_query query;
    struct arena arena;
    struct mutex lock; /* rank 12 */
    struct condition changed;
    bool done; /* under lock */
    struct error failure;
};

static void on_head(struct wal_head_query *query, const struct error *failure)
{
    struct head_waiter *w = query->ctx;
    mutex_lock(&w->lock);
    if (failure)
        w->failure = *failure;
    w->done = true;
    condition_broadcast(&w->changed);
    mutex_unlock(&w->lock);
}

static struct head_waiter *ask_head(struct fixture *f, const char *request, const char *hash)
{
    struct head_waiter *w = mem_zalloc(sizeof *w);
    arena_init(&w->arena, 0);
    mutex_init(&w->lock, 12);
    condition_init(&w->changed);
    w->query = (struct wal_head_query) {
        .project = bytes_of_string("p"),
        .request_id = bytes_of_string(request),
        .request_hash = bytes_of_string(hash),
        .arena = &w->arena,
        .done = on_head,
        .ctx = w,
    };
    wal_get_head(f->wal, &w->query);
    int64_t deadline = clock_monotonic_micros() + PATIENCE;
    mutex_lock(&w->lock);
    while (!w->done)
        assert_true(condition_wait_until(&w->changed, &w->lock, deadline));
    mutex_unlock(&w->lock);
    assert_int_equal(w->failure.code, ERROR_OK);
    return w;
}

static void release_head(struct head_waiter *w)
{
    condition_destroy(&w->changed);
    mutex_destroy(&w->lock);
    arena_destroy(&w->arena);
    free(w);
}

/* ---- tests --------------------------------------------------------------------------------------- */

static void batches_that_gather_make_one_group(void **state)
{
    struct fixture *f = *state;
    struct pending *p[20];
    char id[16];
    hold_appends(f->store, true);
    p[0] = start(f, (struct wanted) { .id = "first" });
    wait_for_count(f->store, &staged(f->store)->appends, 1);
    for (int i = 1; i < 20; i++) {
        snprintf(id, sizeof id, "%d", i);
        p[i] = start(f, (struct wanted) { .id = id });
    }
    hold_appends(f->store, false);
    for (uint64_t i = 0; i < 20; i++) {
        wait_done(p[i]);
        assert_int_equal(p[i]->batch.result.error.code, ERROR_OK);
        assert_int_equal(p[i]->batch.result.first_lsn, i + 1);
        assert_int_equal(p[i]->append.commit_lsn, i ? 20 : 1);
        release(p[i]);
    }
    mutex_lock(&staged(f->store)->lock);
    assert_int_equal(staged(f->store)->appends, 2);
    mutex_unlock(&staged(f->store)->lock);
}

static void head_is_published_before_the_answer_and_not_before_the_disk(void **state)
{
    struct fixture *f = *state;
    hold_appends(f->store, true);
    struct pending *p = start(f, (struct wanted) { .id = "1", .request = "r", .answer = "42" });
    wait_for_count(f->store, &staged(f->store)->appends, 1);
    struct head_waiter *w = ask_head(f, "r", "hash");
    assert_int_equal(w->query.commit_lsn, 0);
    assert_null(w->query.request);
    assert_false(w->query.request_outcome_unknown);
    release_head(w);
    hold_appends(f->store, false);
    wait_done(p);
    w = ask_head(f, "r", "hash");
    assert_int_equal(w->query.commit_lsn, 1);
    assert_int_equal(w->query.last_timestamp, p->batch.result.timestamp);
    assert_non_null(w->query.request);
    assert_int_equal(w->query.request->last_lsn, 1);
    assert_true(bytes_equal(w->query.request->step.answer, bytes_of_string("42")));
    assert_false(w->query.request_hash_differs);
    release_head(w);
    w = ask_head(f, "r", "other");
    assert_true(w->query.request_hash_differs);
    release_head(w);
    release(p);
}

static void repeated_request_gets_the_first_answer(void **state)
{
    struct fixture *f = *state;
    struct wanted wanted = { .id = "1", .request = "r", .answer = "first" };
    struct append_result first = append_and_release(f, wanted);
    wanted.answer = "second";
    struct pending *p = start(f, wanted);
    wait_done(p);
    assert_int_equal(p->batch.result.error.code, ERROR_OK);
    assert_int_equal(p->batch.result.first_lsn, first.first_lsn);
    assert_int_equal(p->batch.result.timestamp, first.timestamp);
    assert_non_null(p->batch.result.earlier);
    assert_true(bytes_equal(p->batch.result.earlier->step.answer, bytes_of_string("first")));
    assert_int_equal(p->append.commit_lsn, 1);
    release(p);
}

static void full_queue_refuses(void **state)
{
    struct fixture *f = *state;
    struct error err;
    hold_appends(f->store, true);
    struct pending *large = start(f, (struct wanted) { .id = "1", .bytes = 1000000 }); /* alone it is taken, whatever its size */
    struct pending *refused = prepare((struct wanted) { .id = "2" });
    assert_false(wal_append(f->wal, &refused->append, &err));
    assert_int_equal(err.code, ERROR_RESOURCE_EXHAUSTED);
    assert_int_equal(err.outcome, OUTCOME_NOT_APPLIED);
    hold_appends(f->store, false);
    wait_done(large);
    /* and there is room again */
    assert_true(wal_append(f->wal, &refused->append, &err));
    wait_done(refused);
    assert_int_equal(refused->batch.result.error.code, ERROR_OK);
    release(large);
    release(refused);
}

static void full_disk_refuses_and_recovers(void **state)
{
    struct fixture *f = *state;
    log_set_level(LOG_ERROR);
    answer_appends(f->store, APPEND_REFUSED);
    struct append_result result = append_and_release(f, (struct wanted) { .id = "1" });
    assert_int_equal(result.error.code, ERROR_RESOURCE_EXHAUSTED);
    assert_int_equal(result.error.outcome, OUTCOME_NOT_APPLIED);
    answer_appends(f->store, APPEND_COMMITTED);
    assert_int_equal(append_and_release(f, (struct wanted) { .id = "1" }).first_lsn, 1);
    log_set_level(LOG_INFO);
}

static void wait_for_failure(struct fixture *f)
{
    int64_t deadline = clock_monotonic_micros() + PATIENCE;
    mutex_lock(&f->lock);
    while (!f->failures)
        assert_true(condition_wait_until(&f->changed, &f->lock, deadline));
    assert_int_equal(f->failures, 1);
    mutex_unlock(&f->lock);
    assert_true(wal_has_failed(f->wal));
    struct error err;
    struct pending *later = prepare((struct wanted) { .id = "later" });
    assert_false(wal_append(f->wal, &later->append, &err));
    assert_int_equal(err.code, ERROR_UNAVAILABLE);
    assert_int_equal(err.outcome, OUTCOME_NOT_APPLIED);
    release(later);
}

static void failed_log_answers_everybody_and_takes_no_more(void **state)
{
    struct fixture *f = *state;
    log_set_level(LOG_ERROR + 1);
    assert_int_equal(append_and_release(f, (struct wanted) { .id = "0" }).first_lsn, 1);
    hold_appends(f->store, true);
    answer_appends(f->store, APPEND_UNKNOWN);
    struct pending *member = start(f, (struct wanted) { .id = "1", .request = "r" });
    wait_for_count(f->store, &staged(f->store)->appends, 2);
    struct pending *waiting = start(f, (struct wanted) { .id = "2" });
    struct pending *repeated = start(f, (struct wanted) { .id = "1", .request = "r" });
    hold_appends(f->store, false);
    wait_for_failure(f);
    wait_done(member);
    wait_done(waiting);
    wait_done(repeated);
    assert_int_equal(member->batch.result.error.code, ERROR_UNAVAILABLE);
    assert_int_equal(member->batch.result.error.outcome, OUTCOME_UNKNOWN);
    assert_int_equal(waiting->batch.result.error.code, ERROR_UNAVAILABLE);
    assert_int_equal(waiting->batch.result.error.outcome, OUTCOME_NOT_APPLIED);
    assert_int_equal(repeated->batch.result.error.outcome, OUTCOME_UNKNOWN);
    /* a copy that comes later: the first may be in the log */
    struct pending *late = prepare((struct wanted) { .id = "1", .request = "r" }), *other = prepare((struct wanted) { .id = "3" });
    struct error err;
    assert_false(wal_append(f->wal, &late->append, &err));
    assert_int_equal(err.code, ERROR_UNAVAILABLE);
    assert_int_equal(err.outcome, OUTCOME_UNKNOWN);
    assert_false(wal_append(f->wal, &other->append, &err));
    assert_int_equal(err.outcome, OUTCOME_NOT_APPLIED);
    release(late);
    release(other);
    struct head_waiter *w = ask_head(f, "r", "hash");
    assert_int_equal(w->query.commit_lsn, 1); /* what was durable is still told */
    assert_null(w->query.request);
    release_head(w);
    release(member);
    release(waiting);
    release(repeated);
    log_set_level(LOG_INFO);
}

static void moved_head_without_news_is_a_failure(void **state)
{
    struct fixture *f = *state;
    log_set_level(LOG_ERROR + 1);
    answer_appends(f->store, APPEND_HEAD_MOVED);
    struct append_result result = append_and_release(f, (struct wanted) { .id = "1" });
    assert_int_equal(result.error.code, ERROR_UNAVAILABLE);
    assert_int_equal(result.error.outcome, OUTCOME_NOT_APPLIED);
    wait_for_failure(f);
    log_set_level(LOG_INFO);
}

static void idle_log_is_vouched_for(void **state)
{
    struct fixture *f = *state;
    const size_t *vouches = &staged(f->store)->vouches;
    append_and_release(f, (struct wanted) { .id = "1" });
    wait_for_count(f->store, vouches, 1);
    append_and_release(f, (struct wanted) { .id = "2" });
    wait_for_count(f->store, vouches, 2);
    wal_stop(f->wal); /* once a pause: the last group has been vouched for */
    assert_int_equal(*vouches, 2);
    wal_free(f->wal);
    f->wal = NULL;
}

static void failed_vouch_is_a_failed_log(void **state)
{
    struct fixture *f = *state;
    log_set_level(LOG_ERROR + 1);
    mutex_lock(&staged(f->store)->lock);
    staged(f->store)->vouch_fails = true;
    mutex_unlock(&staged(f->store)->lock);
    assert_int_equal(append_and_release(f, (struct wanted) { .id = "1" }).error.code, ERROR_OK);
    wait_for_failure(f);
    log_set_level(LOG_INFO);
}

static void stop_answers_what_waits(void **state)
{
    struct fixture *f = *state;
    hold_appends(f->store, true);
    struct pending *first = start(f, (struct wanted) { .id = "1" });
    wait_for_count(f->store, &staged(f->store)->appends, 1);
    struct pending *second = start(f, (struct wanted) { .id = "2" });
    hold_appends(f->store, false);
    wal_stop(f->wal);
    assert_true(first->done && second->done);
    assert_int_equal(second->batch.result.last_lsn, 2);
    struct error err;
    struct pending *late = prepare((struct wanted) { .id = "3" });
    assert_false(wal_append(f->wal, &late->append, &err));
    assert_int_equal(err.outcome, OUTCOME_NOT_APPLIED);
    release(first);
    release(second);
    release(late);
    wal_free(f->wal);
    f->wal = NULL;
}

/* The second writer of the same log writes document 1 just before our first append of it. */
static void write_first(void *ctx, struct log_store *store)
{
    bool *written = ctx;
    if (*written)
        return;
    *written = true;
    struct pending *p = prepare((struct wanted) { .id = "1" });
    struct error err;
    frame_stamp_run((uint8_t *)p->run.encoded.data, p->run.encoded.len, 1, 5);
    struct frame frame = { .project = p->batch.project, .first_lsn = 1, .entries = 1, .timestamp = 5, .runs = &p->run, .n_runs = 1 };
    assert_int_equal(log_store_append(store, &frame, 1, &err), APPEND_COMMITTED);
    release(p);
}

static void second_writer_is_read_before_the_checks_run_again(void **state)
{
    struct fixture *f = *state;
    bool written = false;
    struct wal_options options = options_of(f);
    f->store = memory_store_new(write_first, &written);
    f->wal = wal_new(&options);
    wal_start(f->wal, f->store);
    struct append_result lost = append_and_release(f, (struct wanted) { .id = "1" });
    assert_int_equal(lost.error.code, ERROR_ABORTED);
    assert_int_equal(lost.error.outcome, OUTCOME_NOT_APPLIED);
    assert_int_equal(lost.n_conflicts, 1);
    assert_int_equal(append_and_release(f, (struct wanted) { .id = "1", .read_lsn = 1 }).first_lsn, 2);
}

static void restart_remembers_requests_and_not_keys(void **state)
{
    struct fixture *f = *state;
    append_and_release(f, (struct wanted) { .id = "1", .request = "r", .answer = "before" });
    append_and_release(f, (struct wanted) { .id = "2" });
    uint8_t before[INCARNATION_BYTES];
    log_store_incarnation(f->store, before);
    stop(f);
    open_segments(f);
    struct head_waiter *w = ask_head(f, "r", "hash");
    assert_int_equal(w->query.commit_lsn, 2);
    assert_non_null(w->query.request);
    assert_true(bytes_equal(w->query.request->step.answer, bytes_of_string("before")));
    release_head(w);
    struct append_result repeated = append_and_release(f, (struct wanted) { .id = "1", .request = "r" });
    assert_int_equal(repeated.error.code, ERROR_OK);
    assert_int_equal(repeated.last_lsn, 1);
    assert_true(append_and_release(f, (struct wanted) { .id = "3", .read_lsn = 1 }).stale);
    assert_int_equal(append_and_release(f, (struct wanted) { .id = "3", .read_lsn = 2 }).first_lsn, 3);
}

enum { WRITERS = 16, WRITES = 60 };

struct writer {
    struct fixture *f;
    int number;
    uint64_t lsns[WRITES];
};

/* Each write is acknowledged only when the log has it. */
static void *write_many(void *ctx)
{
    struct writer *writer = ctx;
    char id[32];
    for (int i = 0; i < WRITES; i++) {
        snprintf(id, sizeof id, "%d/%d", writer->number, i);
        struct pending *p = start(writer->f, (struct wanted) { .id = id });
        wait_done(p);
        struct log_head head;
        log_store_head(writer->f->store, bytes_of_string("p"), &head);
        if (p->batch.result.error.code == ERROR_OK && head.lsn >= p->batch.result.last_lsn)
            writer->lsns[i] = p->batch.result.last_lsn;
        release(p);
    }
    return NULL;
}

struct seen_ids {
    char ids[WRITERS * WRITES + 1][32];
};

static bool see_id(void *ctx, const struct frame *frame, struct error *err)
{
    struct seen_ids *seen = ctx;
    struct run_reader reader;
    struct run_entry entry;
    if (!run_reader_init(&reader, frame->runs[0].encoded, err) || !run_reader_next(&reader, &entry, err))
        return false;
    if (reader.first_lsn != frame->first_lsn || frame->first_lsn > WRITERS * WRITES)
        return error_set(err, ERROR_DATA_LOSS, "a stamp is wrong");
    snprintf(seen->ids[frame->first_lsn], sizeof seen->ids[0], "%.*s", (int)entry.document_id.len, (const char *)entry.document_id.data);
    return true;
}

static void every_acknowledged_write_is_in_the_log(void **state)
{
    struct fixture *f = *state;
    static struct writer writers[WRITERS];
    static struct seen_ids seen;
    pthread_t threads[WRITERS];
    for (int i = 0; i < WRITERS; i++) {
        writers[i] = (struct writer) { .f = f, .number = i };
        threads[i] = thread_start("writer", write_many, &writers[i]);
    }
    for (int i = 0; i < WRITERS; i++)
        pthread_join(threads[i], NULL);
    stop(f);
    open_segments(f);

    struct error err = { 0 };
    struct log_range range = { .project = bytes_of_string("p"), .through = UINT64_MAX };
    if (!log_store_scan(f->store, &range, see_id, &seen, &err))
        fail_msg("%s", err.message);
    bool taken[WRITERS * WRITES + 1] = { false };
    for (int i = 0; i < WRITERS; i++) {
        for (int k = 0; k < WRITES; k++) {
            char id[32];
            uint64_t lsn = writers[i].lsns[k];
            assert_in_range(lsn, 1, WRITERS * WRITES);
            assert_false(taken[lsn]);
            taken[lsn] = true;
            snprintf(id, sizeof id, "%d/%d", i, k);
            assert_string_equal(seen.ids[lsn], id);
        }
    }
}

int main(void)
{
#define STAGED(name)   cmocka_unit_test_setup_teardown(name, set_up_staged, tear_down)
#define SEGMENTS(name) cmocka_unit_test_setup_teardown(name, set_up_segments, tear_down)
    const struct CMUnitTest tests[] = {
        STAGED(batches_that_gather_make_one_group),
        STAGED(head_is_published_before_the_answer_and_not_before_the_disk),
        STAGED(repeated_request_gets_the_first_answer),
        STAGED(full_queue_refuses),
        STAGED(full_disk_refuses_and_recovers),
        STAGED(failed_log_answers_everybody_and_takes_no_more),
        STAGED(moved_head_without_news_is_a_failure),
        STAGED(idle_log_is_vouched_for),
        STAGED(failed_vouch_is_a_failed_log),
        STAGED(stop_answers_what_waits),
        cmocka_unit_test_setup_teardown(second_writer_is_read_before_the_checks_run_again, set_up_plain, tear_down),
        SEGMENTS(restart_remembers_requests_and_not_keys),
        SEGMENTS(every_acknowledged_write_is_in_the_log),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
