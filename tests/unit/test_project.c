/* A replica's picture of a project, over a real WAL service in this process: what it reads, what it follows, what it
 * has appended itself, and that all of these come to the same state. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <cmocka.h>

#include <bson/bson.h>

#include "branch-service/project/follower.h"
#include "branch-service/project/project_follow.h"
#include "branch-service/project/project_internal.h"
#include "branch-service/write/batch.h"
#include "common/base/clock.h"
#include "common/base/limits.h"
#include "common/base/memory.h"
#include "common/base/sync.h"
#include "common/rpc/rpc.h"
#include "tests/support/wal_server.h"

#define PATIENCE (60 * (int64_t)MICROS_PER_SECOND)
#define PROJECT  "0123456789abcdef01234567"

struct fixture {
    struct wal_server *server;
    struct log_source *log;
    struct view_cache *cache;
    struct project *project;
    struct follower *follower; /* NULL: nothing is followed */
    uint64_t lsn;              /* the last one appended */
    struct log_incarnation incarnation;
    unsigned ids;
};

static int64_t soon(void)
{
    return clock_monotonic_micros() + PATIENCE;
}

#define must(call)                                                                                                                         \
    do {                                                                                                                                   \
        struct error must_err = { 0 }, *err = &must_err;                                                                                   \
        if (!(call))                                                                                                                       \
            fail_msg("%s: %s", #call, must_err.message);                                                                                   \
    } while (0)

static int set_up(void **state)
{
    struct fixture *f = mem_zalloc(sizeof *f);
    char target[32];
    f->server = wal_server_start();
    snprintf(target, sizeof target, "127.0.0.1:%d", wal_server_port(f->server));
    must(log_source_open(target, &f->log, err));
    f->cache = view_cache_new(0);
    f->project = project_new(PROJECT, "p", 0, f->log, f->cache);
    memcpy(f->incarnation.bytes, wal_server_incarnation(f->server), sizeof f->incarnation.bytes);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    follower_free(f->follower);
    project_free(f->project);
    view_cache_free(f->cache);
    log_source_close(f->log);
    wal_server_stop(f->server);
    free(f);
    return 0;
}

/* ---- writing ---------------------------------------------------------------------------------------- */

struct written {
    struct arena arena;
    struct batch batch;
    uint64_t first_lsn, last_lsn;
};

static struct written *begin(void)
{
    struct written *written = mem_zalloc(sizeof *written);
    arena_init(&written->arena, 0);
    written->batch.arena = &written->arena;
    return written;
}

static void append(struct fixture *f, struct written *written, uint64_t read_lsn)
{
    struct log_append_result result;
    const struct log_batch batch = { .runs = written->batch.runs, .n_runs = written->batch.n_runs, .read_lsn = read_lsn };
    must(log_source_append(f->log, PROJECT, &f->incarnation, &batch, soon(), &written->arena, &result, err));
    written->first_lsn = result.first_lsn;
    written->last_lsn = result.last_lsn;
    for (size_t i = 0, lsn = result.first_lsn; i < written->batch.n_runs; i++) {
        written->batch.runs[i].first_lsn = lsn;
        written->batch.runs[i].timestamp = result.timestamp;
        lsn += written->batch.runs[i].n_entries;
    }
}

static void end(struct fixture *f, struct written *written)
{
    append(f, written, f->lsn);
    f->lsn = written->last_lsn;
}

static void written_free(struct written *written)
{
    arena_destroy(&written->arena);
    free(written);
}

static void note(struct fixture *f, const struct written *written)
{
    project_note_append(f->project, &f->incarnation, written->batch.runs, written->batch.n_runs, written->first_lsn, written->last_lsn);
}

static struct bytes document(struct arena *arena, const char *id, int value)
{
    bson_t bson = BSON_INITIALIZER;
    BSON_APPEND_UTF8(&bson, "_id", id);
    BSON_APPEND_INT32(&bson, "v", value);
    struct bytes out = bytes_of(arena_copy(arena, bson_get_data(&bson), bson.len), bson.len);
    bson_destroy(&bson);
    return out;
}

static struct written *put(struct fixture *f, const char *branch, const char *collection, int id, int value)
{
    struct written *written = begin();
    char name[32];
    snprintf(name, sizeof name, "k%d", id);
    struct bytes image = value < 0 ? (struct bytes) { 0 } : document(&written->arena, name, value);
    must(batch_add_record(&written->batch, branch, collection, value < 0 ? LOG_DELETE : LOG_INSERT, name, image, err));
    end(f, written);
    return written;
}

static struct written *create_collection(struct fixture *f, const char *branch, const char *name)
{
    struct written *written = begin();
    struct bytes record;
    char id[32];
    snprintf(id, sizeof id, "id-%s", name);
    must(catalog_encode_collection(&(struct collection_record) { .name = name, .id = id, .created_at = 1 }, &written->arena, &record, err));
    must(batch_add_record(&written->batch, branch, COLLECTIONS_COLLECTION, LOG_INSERT, name, record, err));
    end(f, written);
    return written;
}

static struct written *fork_branch(struct fixture *f, const char *parent, const char *name)
{
    struct written *written = begin();
    struct bytes record;
    const struct branch_record branch = { .id = name, .name = name, .parent = parent, .cut = CUT_AT_RECORD };
    must(catalog_encode_name(name, name, &written->arena, &record, err));
    must(batch_add_record(&written->batch, CATALOG_BRANCH, NAMES_COLLECTION, LOG_INSERT, name, record, err));
    must(catalog_encode_branch(&branch, &written->arena, &record, err));
    must(batch_add_record(&written->batch, CATALOG_BRANCH, BRANCHES_COLLECTION, LOG_INSERT, name, record, err));
    end(f, written);
    return written;
}

/* ---- looking ---------------------------------------------------------------------------------------- */

static struct project_stats stats_of(struct project *project)
{
    struct project_stats stats = { 0 };
    project_add_stats(project, &stats);
    return stats;
}

/* v of a document in the head view of a collection; -1: there is none. */
static int value_of(struct fixture *f, const char *branch, const char *collection, const char *id)
{
    struct target target;
    struct tree_item item;
    struct arena arena;
    struct bytes key;
    int value = -1;
    arena_init(&arena, 0);
    must(catalog_key(id, &arena, &key, err));
    must(project_open_target(f->project, branch, collection, 0, soon(), &target, err));
    if (target.documents && tree_get(target.documents, key, &item)) {
        bson_t bson;
        bson_iter_t iter;
        assert_true(bson_init_static(&bson, item.document.data, item.document.len) && bson_iter_init_find(&iter, &bson, "v"));
        value = bson_iter_int32(&iter);
    }
    target_destroy(&target);
    arena_destroy(&arena);
    return value;
}

static void expect_same_tree(const struct tree *a, const struct tree *b)
{
    struct tree_cursor left, right;
    struct tree_item item, other;
    assert_int_equal(a != NULL, b != NULL);
    if (!a)
        return;
    assert_int_equal(tree_count(a), tree_count(b));
    tree_cursor_first(&left, a);
    tree_cursor_first(&right, b);
    while (tree_cursor_next(&left, &item)) {
        assert_true(tree_cursor_next(&right, &other));
        assert_true(bytes_equal(item.key, other.key));
        assert_true(bytes_equal(item.document, other.document));
    }
}

static void expect_same_state(struct project *one, struct project *other, const char *branch, const char *collection, uint64_t lsn)
{
    struct target a, b;
    must(project_open_target(one, branch, collection, lsn, soon(), &a, err));
    must(project_open_target(other, branch, collection, lsn, soon(), &b, err));
    assert_int_equal(a.lsn, b.lsn);
    assert_string_equal(a.collection_id, b.collection_id);
    expect_same_tree(a.collections, b.collections);
    expect_same_tree(a.documents, b.documents);
    target_destroy(&a);
    target_destroy(&b);
}

/* ---- own batches ------------------------------------------------------------------------------------ */

static void a_writer_sees_its_batch_without_reading_the_log(void **state)
{
    struct fixture *f = *state;
    written_free(create_collection(f, "main", "c"));
    must(project_refresh(f->project, soon(), err));
    assert_int_equal(value_of(f, "main", "c", "k1"), -1);
    const struct project_stats before = stats_of(f->project);
    for (int i = 0; i < 10; i++) {
        struct written *written = put(f, "main", "id-c", 1, i);
        note(f, written);
        written_free(written);
        assert_int_equal(project_position(f->project), f->lsn);
        assert_int_equal(value_of(f, "main", "c", "k1"), i);
        must(project_refresh(f->project, soon(), err));
    }
    assert_int_equal(stats_of(f->project).log_reads, before.log_reads);
    assert_int_equal(stats_of(f->project).head_checks, before.head_checks + 10);
}

static void batches_that_are_acknowledged_out_of_order_wait_for_each_other(void **state)
{
    struct fixture *f = *state;
    written_free(create_collection(f, "main", "c"));
    must(project_refresh(f->project, soon(), err));
    const uint64_t start = f->lsn;
    const struct project_stats before = stats_of(f->project);
    assert_int_equal(value_of(f, "main", "c", "k1"), -1);
    struct written *written[6];
    for (int i = 0; i < 6; i++)
        written[i] = put(f, "main", "id-c", 1, i);
    static const int order[] = { 3, 1, 5, 2, 3, 4 };
    for (int i = 0; i < 6; i++) {
        note(f, written[order[i]]);
        assert_int_equal(project_position(f->project), start);
    }
    note(f, written[0]);
    assert_int_equal(project_position(f->project), f->lsn);
    assert_int_equal(value_of(f, "main", "c", "k1"), 5);
    note(f, written[2]); /* again, and late */
    assert_int_equal(value_of(f, "main", "c", "k1"), 5);
    assert_int_equal(f->project->n_noted, 0);
    assert_int_equal(f->project->noted_bytes, 0);
    assert_int_equal(stats_of(f->project).log_reads, before.log_reads);
    for (int i = 0; i < 6; i++)
        written_free(written[i]);
}

static void a_gap_that_a_read_closes_lets_parked_batches_in_or_go(void **state)
{
    struct fixture *f = *state;
    written_free(create_collection(f, "main", "c"));
    must(project_refresh(f->project, soon(), err));
    assert_int_equal(value_of(f, "main", "c", "k1"), -1);
    struct written *others = put(f, "main", "id-c", 1, 1), *mine = put(f, "main", "id-c", 1, 2);
    note(f, mine);
    assert_int_equal(f->project->n_noted, 1);
    assert_int_equal(value_of(f, "main", "c", "k1"), -1);
    must(project_refresh(f->project, soon(), err));
    assert_int_equal(f->project->n_noted, 0);
    assert_int_equal(value_of(f, "main", "c", "k1"), 2);
    written_free(others);
    written_free(mine);
}

static void a_batch_of_a_project_that_is_held_is_folded_in_at_its_release(void **state)
{
    struct fixture *f = *state;
    written_free(create_collection(f, "main", "c"));
    must(project_refresh(f->project, soon(), err));
    assert_int_equal(value_of(f, "main", "c", "k1"), -1);
    assert_true(project_hold(f->project, soon()));
    struct written *first = put(f, "main", "id-c", 1, 1), *second = put(f, "main", "id-c", 1, 2);
    note(f, second);
    note(f, first);
    assert_int_equal(value_of(f, "main", "c", "k1"), -1);
    project_release(f->project);
    assert_int_equal(value_of(f, "main", "c", "k1"), 2);
    assert_int_equal(project_position(f->project), f->lsn);
    written_free(first);
    written_free(second);
}

static void a_batch_of_another_incarnation_is_never_folded_in(void **state)
{
    struct fixture *f = *state;
    written_free(create_collection(f, "main", "c"));
    must(project_refresh(f->project, soon(), err));
    const uint64_t start = f->lsn;
    struct written *first = put(f, "main", "id-c", 1, 1), *second = put(f, "main", "id-c", 1, 2);
    const struct log_incarnation lost = { "lost" };
    project_note_append(f->project, &lost, first->batch.runs, first->batch.n_runs, first->first_lsn, first->last_lsn);
    assert_int_equal(project_position(f->project), start);
    /* parked while its incarnation was the project's, which then changes */
    note(f, second);
    assert_int_equal(f->project->n_noted, 1);
    const struct log_incarnation theirs = f->incarnation;
    assert_true(project_hold(f->project, soon()));
    f->project->incarnation = lost;
    project_release(f->project);
    assert_int_equal(f->project->n_noted, 0);
    assert_true(project_hold(f->project, soon()));
    f->project->incarnation = theirs;
    project_release(f->project);
    note(f, first);
    assert_int_equal(project_position(f->project), first->last_lsn);
    assert_int_equal(value_of(f, "main", "c", "k1"), 1);
    must(project_refresh(f->project, soon(), err));
    assert_int_equal(value_of(f, "main", "c", "k1"), 2);
    written_free(first);
    written_free(second);
}

static void parked_batches_are_bounded(void **state)
{
    struct fixture *f = *state;
    written_free(create_collection(f, "main", "c"));
    must(project_refresh(f->project, soon(), err));
    written_free(put(f, "main", "id-c", 0, 0)); /* never noted: nothing can follow */
    struct written *written = begin();
    struct log_run *run;
    must(batch_add_run(&written->batch, "main", "id-c", 1, &run, err));
    must(catalog_key("large", &written->arena, &run->entries[0].document_id, err));
    run->entries[0].operation = LOG_INSERT;
    run->entries[0].document = bytes_of(arena_zalloc(&written->arena, 1 << 20), 1 << 20);
    for (uint64_t i = 0; i < 40; i++) {
        run->first_lsn = written->first_lsn = written->last_lsn = f->lsn + 1 + i;
        note(f, written);
        assert_true(f->project->noted_bytes <= 16 << 20);
    }
    assert_in_range(f->project->n_noted, 1, 16);
    written_free(written);
}

/* ---- following -------------------------------------------------------------------------------------- */

static void follow(struct fixture *f)
{
    f->follower = follower_new(&(struct follower_options) { .idle_micros = PATIENCE, .max_follows = 4, .threads = 2 });
    project_on_release(f->project, follower_released, f->follower);
    follower_use(f->follower, f->project);
}

static void pause_briefly(void)
{
    nanosleep(&(struct timespec) { .tv_nsec = 200 * 1000 }, NULL);
}

static void wait_for_position(struct fixture *f)
{
    int64_t deadline = soon();
    while (project_position(f->project) != f->lsn) {
        assert_true(clock_monotonic_micros() < deadline);
        pause_briefly();
    }
}

static void a_follower_brings_what_others_write(void **state)
{
    struct fixture *f = *state;
    written_free(create_collection(f, "main", "c"));
    must(project_refresh(f->project, soon(), err));
    follow(f);
    written_free(put(f, "main", "id-c", 1, 1));
    wait_for_position(f); /* by a follow of the catalog: there is no view */
    assert_int_equal(value_of(f, "main", "c", "k1"), 1);
    const struct project_stats before = stats_of(f->project);
    for (int i = 2; i < 20; i++) {
        written_free(put(f, "main", "id-c", 1, i));
        wait_for_position(f);
        must(project_refresh(f->project, soon(), err));
        assert_int_equal(value_of(f, "main", "c", "k1"), i);
    }
    assert_int_equal(stats_of(f->project).log_reads, before.log_reads);
    assert_int_equal(follower_count(f->follower), 1);
}

static void a_project_that_nobody_uses_is_no_longer_followed(void **state)
{
    struct fixture *f = *state;
    written_free(create_collection(f, "main", "c"));
    must(project_refresh(f->project, soon(), err));
    f->follower = follower_new(&(struct follower_options) { .idle_micros = 50 * 1000, .max_follows = 4, .threads = 1 });
    follower_use(f->follower, f->project);
    int64_t deadline = soon();
    bool was_followed = false;
    while (!was_followed || follower_count(f->follower) > 0) {
        was_followed = was_followed || follower_count(f->follower) == 1;
        assert_true(clock_monotonic_micros() < deadline);
        pause_briefly();
    }
    follower_use(f->follower, f->project); /* again from where it is */
    written_free(put(f, "main", "id-c", 1, 1));
    while (project_position(f->project) != f->lsn) {
        follower_use(f->follower, f->project);
        assert_true(clock_monotonic_micros() < deadline);
        pause_briefly();
    }
}

/* ---- one state, whoever brings it ------------------------------------------------------------------- */

enum { BRANCHES = 12, COLLECTIONS = 3, LATE = 8 };
static const char *const collection_names[COLLECTIONS] = { "a", "b", "never" };

struct random_run {
    struct fixture *f;
    unsigned seed;
    char branches[BRANCHES][16];
    unsigned n_branches;
    struct written *late[LATE]; /* appended, not noted yet */
};

static unsigned pick(struct random_run *run, unsigned n)
{
    return (unsigned)rand_r(&run->seed) % n;
}

static struct written *write_something(struct random_run *run)
{
    struct fixture *f = run->f;
    const char *branch = run->branches[pick(run, run->n_branches)];
    if (run->n_branches < BRANCHES && pick(run, 20) == 0) {
        char *name = run->branches[run->n_branches++];
        snprintf(name, sizeof run->branches[0], "f%u", run->n_branches);
        return fork_branch(f, branch, name);
    }
    char collection[16];
    snprintf(collection, sizeof collection, "id-%s", collection_names[pick(run, COLLECTIONS - 1)]);
    return put(f, branch, collection, (int)pick(run, 30), pick(run, 5) == 0 ? -1 : (int)pick(run, 1000));
}

static void note_or_keep(struct random_run *run, struct written *written)
{
    struct written **place = &run->late[pick(run, LATE)];
    if (pick(run, 3) > 0) {
        struct written *other = *place;
        *place = written;
        written = other;
    }
    if (written) {
        if (pick(run, 8) > 0) /* somebody else's, now and then */
            note(run->f, written);
        written_free(written);
    }
}

static void run_at_random(struct fixture *f, unsigned seed)
{
    struct random_run run = { .f = f, .seed = seed, .branches = { "main" }, .n_branches = 1 };
    for (unsigned i = 0; i < COLLECTIONS - 1; i++)
        written_free(create_collection(f, "main", collection_names[i]));
    must(project_refresh(f->project, soon(), err));
    for (unsigned i = 0; i < 600; i++) {
        note_or_keep(&run, write_something(&run));
        if (pick(&run, 4) == 0) {
            const uint64_t acknowledged = f->lsn;
            struct target target;
            must(project_refresh(f->project, soon(), err));
            assert_true(project_position(f->project) >= acknowledged);
            must(project_open_target(f->project, run.branches[pick(&run, run.n_branches)], collection_names[pick(&run, COLLECTIONS)], 0,
                                     soon(), &target, err));
            assert_true(target.lsn >= acknowledged);
            target_destroy(&target);
        }
        if (pick(&run, 40) == 0)
            (void)view_cache_evict(f->cache);
    }
    must(project_refresh(f->project, soon(), err));
    struct view_cache *cache = view_cache_new(0);
    struct project *fresh = project_new(PROJECT, "p", 0, f->log, cache);
    must(project_refresh(fresh, soon(), err));
    assert_int_equal(project_position(fresh), f->lsn);
    for (unsigned branch = 0; branch < run.n_branches; branch++)
        for (unsigned c = 0; c < COLLECTIONS; c++)
            expect_same_state(f->project, fresh, run.branches[branch], collection_names[c], 0);
    for (unsigned i = 0; i < 50; i++) {
        uint64_t lsn;
        must(project_batch_end(fresh, 1 + pick(&run, (unsigned)f->lsn), soon(), &lsn, err));
        expect_same_state(f->project, fresh, "main", collection_names[pick(&run, COLLECTIONS)], lsn);
    }
    project_free(fresh);
    view_cache_free(cache);
    for (unsigned i = 0; i < LATE; i++)
        if (run.late[i])
            written_free(run.late[i]);
}

static void what_is_noted_and_read_is_what_a_fresh_replica_reads(void **state)
{
    run_at_random(*state, 1);
}

static void what_is_noted_and_followed_is_what_a_fresh_replica_reads(void **state)
{
    struct fixture *f = *state;
    must(project_refresh(f->project, soon(), err));
    follow(f);
    run_at_random(f, 2);
}

struct reader {
    struct fixture *f;
    bool ok;
};

static void *read_strongly(void *ctx)
{
    struct reader *reader = ctx;
    struct error err;
    reader->ok = true;
    for (int i = 0; i < 200 && reader->ok; i++)
        reader->ok = project_refresh(reader->f->project, soon(), &err);
    return NULL;
}

static void many_readers_share_questions(void **state)
{
    enum { READERS = 16 };
    struct fixture *f = *state;
    struct reader readers[READERS];
    pthread_t threads[READERS];
    must(project_refresh(f->project, soon(), err));
    for (int i = 0; i < READERS; i++) {
        readers[i] = (struct reader) { .f = f };
        threads[i] = thread_start("reader", read_strongly, &readers[i]);
    }
    for (int i = 0; i < READERS; i++) {
        pthread_join(threads[i], NULL);
        assert_true(readers[i].ok);
    }
    assert_true(stats_of(f->project).head_checks < READERS * 200 / 2);
}

/* ---- threads ---------------------------------------------------------------------------------------- */

struct writer {
    struct fixture *f;
    int number;
    uint64_t last_lsn;
};

/* Each has a document of its own, and always sees what it wrote last. */
static void *write_and_read(void *ctx)
{
    struct writer *writer = ctx;
    struct fixture *f = writer->f;
    char name[32];
    snprintf(name, sizeof name, "k%d", writer->number);
    for (int i = 0; i < 150; i++) {
        struct written *written = begin();
        must(batch_add_record(&written->batch, "main", "id-c", LOG_INSERT, name, document(&written->arena, name, i), err));
        append(f, written, project_position(f->project));
        if (i % 7 != 3) /* now and then it has to come another way */
            note(f, written);
        writer->last_lsn = written->last_lsn;
        written_free(written);
        must(project_refresh(f->project, soon(), err));
        assert_true(project_position(f->project) >= writer->last_lsn);
        assert_int_equal(value_of(f, "main", "c", name), i);
        if (i % 31 == writer->number)
            (void)view_cache_evict(f->cache);
    }
    return NULL;
}

static void writers_see_their_own_whoever_brings_it(void **state)
{
    enum { WRITERS = 6 };
    struct fixture *f = *state;
    struct writer writers[WRITERS];
    pthread_t threads[WRITERS];
    written_free(create_collection(f, "main", "c"));
    must(project_refresh(f->project, soon(), err));
    follow(f);
    for (int i = 0; i < WRITERS; i++) {
        writers[i] = (struct writer) { .f = f, .number = i };
        threads[i] = thread_start("writer", write_and_read, &writers[i]);
    }
    for (int i = 0; i < WRITERS; i++) {
        pthread_join(threads[i], NULL);
        f->lsn = writers[i].last_lsn > f->lsn ? writers[i].last_lsn : f->lsn;
    }
    must(project_refresh(f->project, soon(), err));
    struct view_cache *cache = view_cache_new(0);
    struct project *fresh = project_new(PROJECT, "p", 0, f->log, cache);
    must(project_refresh(fresh, soon(), err));
    assert_int_equal(project_position(fresh), f->lsn);
    expect_same_state(f->project, fresh, "main", "c", 0);
    project_free(fresh);
    view_cache_free(cache);
}

/* ---- failures --------------------------------------------------------------------------------------- */

static void short_deadlines_come_to_the_end_of_a_large_delta(void **state)
{
    enum { LARGE = 1 << 20, BATCHES = 64 };
    static uint8_t filling[LARGE];
    struct fixture *f = *state;
    written_free(create_collection(f, "main", "c"));
    must(project_refresh(f->project, soon(), err));
    assert_int_equal(value_of(f, "main", "c", "k1"), -1); /* a view, so that all of it is read */
    const uint64_t start = f->lsn;
    for (int i = 0; i < BATCHES; i++) {
        struct written *written = begin();
        bson_t bson = BSON_INITIALIZER;
        BSON_APPEND_UTF8(&bson, "_id", "large");
        BSON_APPEND_BINARY(&bson, "filling", BSON_SUBTYPE_BINARY, filling, LARGE);
        struct bytes image = bytes_of(bson_get_data(&bson), bson.len);
        must(batch_add_record(&written->batch, "main", "id-c", LOG_INSERT, "large", image, err));
        end(f, written);
        written_free(written);
        bson_destroy(&bson);
    }
    bool went_on = false;
    int64_t deadline = soon();
    for (int64_t patience = 4000;; patience += 1000) {
        struct error refusal;
        assert_true(clock_monotonic_micros() < deadline);
        bool ok = project_refresh(f->project, clock_monotonic_micros() + patience, &refusal);
        uint64_t position = project_position(f->project);
        if (ok)
            break;
        went_on = went_on || (start < position && position < f->lsn);
    }
    assert_true(went_on);
    assert_int_equal(project_position(f->project), f->lsn);
}

static void a_check_that_is_given_up_leaves_nothing_behind(void **state)
{
    struct fixture *f = *state;
    struct error refusal = { 0 };
    must(project_refresh(f->project, soon(), err));
    assert_false(project_refresh(f->project, clock_monotonic_micros() - 1, &refusal));
    assert_int_equal(refusal.code, ERROR_DEADLINE_EXCEEDED);
    must(project_refresh(f->project, soon(), err));
}

int main(void)
{
#define PROJECT_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        PROJECT_TEST(a_writer_sees_its_batch_without_reading_the_log),
        PROJECT_TEST(batches_that_are_acknowledged_out_of_order_wait_for_each_other),
        PROJECT_TEST(a_gap_that_a_read_closes_lets_parked_batches_in_or_go),
        PROJECT_TEST(a_batch_of_a_project_that_is_held_is_folded_in_at_its_release),
        PROJECT_TEST(a_batch_of_another_incarnation_is_never_folded_in),
        PROJECT_TEST(parked_batches_are_bounded),
        PROJECT_TEST(a_follower_brings_what_others_write),
        PROJECT_TEST(a_project_that_nobody_uses_is_no_longer_followed),
        PROJECT_TEST(what_is_noted_and_read_is_what_a_fresh_replica_reads),
        PROJECT_TEST(what_is_noted_and_followed_is_what_a_fresh_replica_reads),
        PROJECT_TEST(many_readers_share_questions),
        PROJECT_TEST(writers_see_their_own_whoever_brings_it),
        PROJECT_TEST(short_deadlines_come_to_the_end_of_a_large_delta),
        PROJECT_TEST(a_check_that_is_given_up_leaves_nothing_behind),
    };
    rpc_init();
    int failed = cmocka_run_group_tests_name("project", tests, NULL, NULL);
    rpc_shutdown();
    return failed;
}
