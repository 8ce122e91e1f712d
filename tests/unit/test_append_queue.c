#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "branch-service/log/append_queue.h"
#include "common/base/clock.h"
#include "common/base/sync.h"

/* ---- a log that answers when it is told to ---------------------------------------------------------- */

enum { MAX_SENT = 16 };

struct fake_log {
    struct append_queue *queue;
    struct mutex lock;
    struct condition changed;
    struct append_group *sent[MAX_SENT];
    size_t n_sent;
    size_t released;
};

static void fake_send(void *ctx, struct append_group *group)
{
    struct fake_log *fake = ctx;
    mutex_lock(&fake->lock);
    assert_true(fake->n_sent < MAX_SENT);
    fake->sent[fake->n_sent++] = group;
    condition_broadcast(&fake->changed);
    mutex_unlock(&fake->lock);
}

static struct append_group *wait_sent(struct fake_log *fake, size_t n)
{
    mutex_lock(&fake->lock);
    while (fake->n_sent < n)
        condition_wait(&fake->changed, &fake->lock);
    struct append_group *group = fake->sent[n - 1];
    mutex_unlock(&fake->lock);
    return group;
}

static size_t count_sent(struct fake_log *fake)
{
    mutex_lock(&fake->lock);
    size_t n = fake->n_sent;
    mutex_unlock(&fake->lock);
    return n;
}

struct kept {
    struct fake_log *fake;
    struct append_answer answers[MAX_GROUP_BATCHES];
};

static void release(void *ctx)
{
    struct kept *kept = ctx;
    mutex_lock(&kept->fake->lock);
    kept->fake->released++;
    mutex_unlock(&kept->fake->lock);
    free(kept);
}

/* Each batch is at its read_lsn + 1000. One that read 13 has a conflict, one that read 14 was there before. */
static void answer(struct fake_log *fake, struct append_group *group)
{
    static struct log_key conflict = { "branch", "collection", { (const uint8_t *)"key", 3 } };
    struct kept *kept = calloc(1, sizeof *kept);
    kept->fake = fake;
    for (size_t i = 0; i < append_group_size(group); i++) {
        struct append_answer *one = &kept->answers[i];
        uint64_t read_lsn = append_group_batch(group, i)->read_lsn;
        one->ok = read_lsn != 13;
        if (one->ok) {
            one->result.first_lsn = one->result.last_lsn = read_lsn + 1000;
        } else {
            error_set(&one->err, ERROR_ABORTED, "conflict");
            one->err.outcome = OUTCOME_NOT_APPLIED;
            one->result.conflicts = &conflict;
            one->result.n_conflicts = 1;
        }
        if (read_lsn == 14) {
            one->result.repeated = true;
            one->result.earlier.step.answer = bytes_of_string("earlier");
        }
    }
    append_group_done(group, kept->answers, NULL, release, kept);
}

static void fake_init(struct fake_log *fake)
{
    memset(fake, 0, sizeof *fake);
    mutex_init(&fake->lock, 60);
    condition_init(&fake->changed);
    fake->queue = append_queue_new(fake_send, fake);
}

static void fake_destroy(struct fake_log *fake)
{
    append_queue_free(fake->queue);
    condition_destroy(&fake->changed);
    mutex_destroy(&fake->lock);
}

/* ---- writers ---------------------------------------------------------------------------------------- */

struct writer {
    struct fake_log *fake;
    const char *project;
    struct log_incarnation incarnation;
    uint64_t read_lsn;
    size_t bytes;
    int64_t deadline;
    pthread_t thread;
    struct arena arena;
    bool ok;
    struct log_append_result result;
    struct error err;
};

static void *run_writer(void *ctx)
{
    struct writer *writer = ctx;
    struct log_entry entry = { .operation = LOG_INSERT, .document = bytes_of(NULL, writer->bytes) };
    struct log_run run = { .branch_id = "main", .collection = "c", .entries = &entry, .n_entries = 1 };
    const struct log_batch batch = { .runs = &run, .n_runs = 1, .read_lsn = writer->read_lsn };
    arena_init(&writer->arena, 0);
    writer->ok = append_queue_submit(writer->fake->queue, writer->project ? writer->project : "p", &writer->incarnation, &batch,
                                     writer->deadline ? writer->deadline : NO_DEADLINE, &writer->arena, &writer->result, &writer->err);
    return NULL;
}

static void writer_start(struct writer *writer, struct fake_log *fake)
{
    writer->fake = fake;
    writer->thread = thread_start("writer", run_writer, writer);
}

static void writer_join(struct writer *writer)
{
    pthread_join(writer->thread, NULL);
    arena_destroy(&writer->arena);
}

static void in_the_past(struct writer *writer)
{
    writer->deadline = clock_monotonic_micros() - 1;
}

/* ---- tests ------------------------------------------------------------------------------------------ */

static void a_lone_batch_goes_at_once(void **state)
{
    (void)state;
    struct fake_log fake;
    struct writer writer = { .read_lsn = 1 };
    fake_init(&fake);
    writer_start(&writer, &fake);
    struct append_group *group = wait_sent(&fake, 1);
    assert_int_equal(append_group_size(group), 1);
    assert_string_equal(append_group_project(group), "p");
    answer(&fake, group);
    writer_join(&writer);
    assert_true(writer.ok);
    assert_int_equal(writer.result.first_lsn, 1001);
    assert_int_equal(fake.released, 1);
    fake_destroy(&fake);
}

static void start_all(struct fake_log *fake, struct writer *writers, size_t n)
{
    for (size_t i = 0; i < n; i++)
        writer_start(&writers[i], fake);
}

/* Answers groups until so many batches have been answered; how many groups that took. */
static size_t answer_all(struct fake_log *fake, size_t already_sent, size_t batches)
{
    size_t groups = 0;
    for (size_t answered = 0; answered < batches; groups++) {
        struct append_group *group = wait_sent(fake, already_sent + groups + 1);
        answered += append_group_size(group);
        answer(fake, group);
    }
    return groups;
}

static void each_keeps_its_own_result(void **state)
{
    (void)state;
    struct fake_log fake;
    struct writer first = { .read_lsn = 1 },
                  others[5] = { { .read_lsn = 11 }, { .read_lsn = 12 }, { .read_lsn = 13 }, { .read_lsn = 14 }, { .read_lsn = 15 } };
    fake_init(&fake);
    writer_start(&first, &fake);
    struct append_group *group = wait_sent(&fake, 1);
    start_all(&fake, others, ARRAY_LEN(others));
    assert_int_equal(count_sent(&fake), 1);
    answer(&fake, group);
    size_t groups = answer_all(&fake, 1, ARRAY_LEN(others));
    assert_in_range(groups, 1, ARRAY_LEN(others));
    pthread_join(first.thread, NULL);
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        pthread_join(others[i].thread, NULL);
    /* all groups have been released: what is looked at here is the writers' own */
    assert_int_equal(fake.released, groups + 1);
    assert_true(others[0].ok && others[1].ok && others[3].ok && others[4].ok);
    assert_int_equal(others[1].result.first_lsn, 1012);
    assert_int_equal(others[4].result.first_lsn, 1015);
    assert_false(others[2].ok);
    assert_int_equal(others[2].err.code, ERROR_ABORTED);
    assert_int_equal(others[2].err.outcome, OUTCOME_NOT_APPLIED);
    assert_int_equal(others[2].result.n_conflicts, 1);
    assert_string_equal(others[2].result.conflicts[0].collection, "collection");
    assert_true(others[3].result.repeated);
    assert_memory_equal(others[3].result.earlier.step.answer.data, "earlier", 7);
    arena_destroy(&first.arena);
    for (size_t i = 0; i < ARRAY_LEN(others); i++)
        arena_destroy(&others[i].arena);
    fake_destroy(&fake);
}

static void a_failed_call_fails_all_of_them(void **state)
{
    (void)state;
    struct fake_log fake;
    struct writer writer = { .read_lsn = 1 };
    struct error failure;
    fake_init(&fake);
    writer_start(&writer, &fake);
    error_set(&failure, ERROR_UNAVAILABLE, "gone");
    append_group_done(wait_sent(&fake, 1), NULL, &failure, NULL, NULL);
    writer_join(&writer);
    assert_false(writer.ok);
    assert_int_equal(writer.err.code, ERROR_UNAVAILABLE);
    assert_int_equal(writer.err.outcome, OUTCOME_UNKNOWN);
    fake_destroy(&fake);
}

static void who_leaves_before_it_is_sent_has_done_nothing(void **state)
{
    (void)state;
    struct fake_log fake;
    struct writer first = { .read_lsn = 1 }, late = { .read_lsn = 2 };
    fake_init(&fake);
    writer_start(&first, &fake);
    struct append_group *group = wait_sent(&fake, 1);
    in_the_past(&late);
    writer_start(&late, &fake);
    writer_join(&late);
    assert_int_equal(late.err.code, ERROR_DEADLINE_EXCEEDED);
    assert_int_equal(late.err.outcome, OUTCOME_NOT_APPLIED);
    answer(&fake, group);
    writer_join(&first);
    assert_int_equal(count_sent(&fake), 1);
    fake_destroy(&fake);
}

static void who_leaves_after_it_was_sent_does_not_know(void **state)
{
    (void)state;
    struct fake_log fake;
    struct writer writer = { .read_lsn = 1 }, next = { .read_lsn = 2 };
    fake_init(&fake);
    in_the_past(&writer);
    writer_start(&writer, &fake);
    struct append_group *group = wait_sent(&fake, 1);
    writer_join(&writer);
    assert_int_equal(writer.err.code, ERROR_DEADLINE_EXCEEDED);
    assert_int_equal(writer.err.outcome, OUTCOME_UNKNOWN);
    writer_start(&next, &fake);
    struct append_answer unused[1] = { { .ok = true } };
    append_group_done(group, unused, NULL, NULL, NULL); /* its batch is gone by now */
    answer(&fake, wait_sent(&fake, 2));
    writer_join(&next);
    assert_true(next.ok);
    fake_destroy(&fake);
}

static void batches_of_another_incarnation_or_project_go_apart(void **state)
{
    (void)state;
    struct fake_log fake;
    struct writer first = { .read_lsn = 1 }, other_project = { .read_lsn = 2, .project = "q" };
    struct writer incarnations[2] = { { .read_lsn = 3 }, { .read_lsn = 4, .incarnation = { { 1 } } } };
    fake_init(&fake);
    writer_start(&first, &fake);
    struct append_group *group = wait_sent(&fake, 1);
    writer_start(&other_project, &fake); /* does not wait for p */
    struct append_group *of_q = wait_sent(&fake, 2);
    assert_string_equal(append_group_project(of_q), "q");
    start_all(&fake, incarnations, 2);
    answer(&fake, group);
    answer(&fake, of_q);
    for (size_t i = 0; i < 2; i++) {
        group = wait_sent(&fake, 3 + i);
        assert_int_equal(append_group_size(group), 1);
        bool second = append_group_batch(group, 0)->read_lsn == 4;
        assert_int_equal(append_group_incarnation(group)->bytes[0], second);
        answer(&fake, group);
    }
    writer_join(&first);
    writer_join(&other_project);
    writer_join(&incarnations[0]);
    writer_join(&incarnations[1]);
    fake_destroy(&fake);
}

static void nobody_waits_behind_a_large_batch(void **state)
{
    (void)state;
    struct fake_log fake;
    struct writer large = { .read_lsn = 1, .bytes = 2 * MAX_GROUP_BYTES }, small = { .read_lsn = 2 };
    fake_init(&fake);
    writer_start(&large, &fake);
    struct append_group *first = wait_sent(&fake, 1);
    writer_start(&small, &fake);
    answer(&fake, wait_sent(&fake, 2));
    writer_join(&small);
    assert_true(small.ok);
    answer(&fake, first);
    writer_join(&large);
    fake_destroy(&fake);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_lone_batch_goes_at_once),
        cmocka_unit_test(each_keeps_its_own_result),
        cmocka_unit_test(a_failed_call_fails_all_of_them),
        cmocka_unit_test(who_leaves_before_it_is_sent_has_done_nothing),
        cmocka_unit_test(who_leaves_after_it_was_sent_does_not_know),
        cmocka_unit_test(batches_of_another_incarnation_or_project_go_apart),
        cmocka_unit_test(nobody_waits_behind_a_large_batch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
