/* One contract for every log store. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/base/memory.h"
#include "common/base/sync.h"
#include "tests/support/sample_frames.h"
#include "tests/support/temp_directory.h"
#include "wal-service/store/log_store.h"

struct backend {
    struct log_store *(*open)(struct temp_directory *directory);
};

struct fixture {
    struct temp_directory directory;
    struct log_store *store;
};

static struct log_store *open_memory(struct temp_directory *directory)
{
    (void)directory;
    return memory_store_new(NULL, NULL);
}

static struct log_store *open_segment(struct temp_directory *directory)
{
    struct segment_store_options options = { .directory = directory->path, .segment_bytes = 64 << 10, .compress_after = 1 };
    struct segment_recovery report;
    struct log_store *store;
    struct error err = { 0 };
    if (!segment_store_open(&options, NULL, NULL, &report, &store, &err))
        fail_msg("%s", err.message);
    return store;
}

static const struct backend memory_backend = { open_memory };
static const struct backend segment_backend = { open_segment };

static int setup(void **state)
{
    const struct backend *backend = *state;
    struct fixture *fixture = mem_zalloc(sizeof *fixture);
    temp_directory_make(&fixture->directory);
    fixture->store = backend->open(&fixture->directory);
    *state = fixture;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *fixture = *state;
    log_store_close(fixture->store);
    temp_directory_remove(&fixture->directory);
    free(fixture);
    return 0;
}

static struct log_store *store_of(void **state)
{
    return ((struct fixture *)*state)->store;
}

static uint64_t head_of(struct log_store *store, const char *project)
{
    struct log_head head;
    log_store_head(store, bytes_of_string(project), &head);
    return head.lsn;
}

/* Appends a batch of its own group; returns its last LSN. */
static uint64_t append(struct log_store *store, const char *project, size_t size)
{
    struct sample sample;
    struct error err = { 0 };
    sample_init(&sample, project, head_of(store, project) + 1, size);
    enum append_outcome outcome = log_store_append(store, &sample.frame, 1, &err);
    if (outcome != APPEND_COMMITTED)
        fail_msg("%s", err.message);
    uint64_t last = frame_last_lsn(&sample.frame);
    sample_destroy(&sample);
    return last;
}

struct seen {
    uint64_t lsns[4096]; /* last LSN of each frame */
    size_t n, stop_after;
    bool all_match, fail;
};

static bool see(void *ctx, const struct frame *frame, struct error *err)
{
    struct seen *seen = ctx;
    assert_true(seen->n < ARRAY_LEN(seen->lsns));
    assert_true(sample_matches(frame));
    seen->lsns[seen->n++] = frame_last_lsn(frame);
    if (seen->n != seen->stop_after)
        return true;
    return seen->fail ? error_set(err, ERROR_CANCELLED, "enough") : false;
}

static void scan(struct log_store *store, struct log_range range, struct seen *seen)
{
    struct error err = { 0 };
    memset(seen, 0, sizeof *seen);
    if (!log_store_scan(store, &range, see, seen, &err))
        fail_msg("%s", err.message);
}

static void a_new_store_is_empty(void **state)
{
    struct log_store *store = store_of(state);
    struct log_head head = { 9, 9 };
    struct log_store_stats stats;
    struct seen *seen = mem_alloc(sizeof *seen);
    log_store_head(store, bytes_of_string("nobody"), &head);
    assert_int_equal(head.lsn, 0);
    assert_int_equal(head.timestamp, 0);
    assert_int_equal(log_store_branch_head(store, bytes_of_string("nobody"), bytes_of_string("main")), 0);
    assert_int_equal(log_store_batch_end(store, bytes_of_string("nobody"), 100), 0);
    scan(store, (struct log_range) { .project = bytes_of_string("nobody"), .through = UINT64_MAX }, seen);
    assert_int_equal(seen->n, 0);
    log_store_stats(store, &stats);
    assert_int_equal(stats.projects, 0);
    assert_int_equal(stats.entries, 0);
    assert_int_equal(stats.groups, 0);
    struct error err = { 0 };
    assert_true(log_store_vouch(store, &err));
    assert_int_equal(log_store_append(store, NULL, 0, &err), APPEND_COMMITTED);
    free(seen);
}

static void appended_batches_are_read_back(void **state)
{
    struct log_store *store = store_of(state);
    struct seen *seen = mem_alloc(sizeof *seen);
    uint64_t ends[300];
    for (size_t i = 0; i < ARRAY_LEN(ends); i++)
        ends[i] = append(store, "shop", 20 + i);
    struct log_head head;
    log_store_head(store, bytes_of_string("shop"), &head);
    assert_int_equal(head.lsn, ends[299]);
    assert_int_equal(head.timestamp, 1000000 + ends[298] + 1);
    scan(store, (struct log_range) { .project = bytes_of_string("shop"), .through = UINT64_MAX }, seen);
    assert_int_equal(seen->n, ARRAY_LEN(ends));
    assert_memory_equal(seen->lsns, ends, sizeof ends);
    free(seen);
}

static void a_range_holds_the_batches_that_end_in_it(void **state)
{
    struct log_store *store = store_of(state);
    struct seen *seen = mem_alloc(sizeof *seen);
    uint64_t ends[40];
    for (size_t i = 0; i < ARRAY_LEN(ends); i++)
        ends[i] = append(store, "shop", 30);
    for (uint64_t after = 0; after <= ends[39] + 1; after++) {
        for (uint64_t through = after; through <= ends[39] + 1; through += 3) {
            scan(store, (struct log_range) { .project = bytes_of_string("shop"), .after = after, .through = through }, seen);
            size_t n = 0;
            for (size_t i = 0; i < ARRAY_LEN(ends); i++)
                if (ends[i] > after && ends[i] <= through)
                    assert_int_equal(seen->lsns[n++], ends[i]);
            assert_int_equal(seen->n, n);
        }
    }
    free(seen);
}

static void batch_ends_round_down(void **state)
{
    struct log_store *store = store_of(state);
    uint64_t ends[600], lsn = 0;
    for (size_t i = 0; i < ARRAY_LEN(ends); i++)
        ends[i] = append(store, "shop", 20);
    for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
        for (; lsn < ends[i]; lsn++)
            assert_int_equal(log_store_batch_end(store, bytes_of_string("shop"), lsn), i ? ends[i - 1] : 0);
        assert_int_equal(log_store_batch_end(store, bytes_of_string("shop"), lsn), ends[i]);
    }
    assert_int_equal(log_store_batch_end(store, bytes_of_string("shop"), UINT64_MAX), ends[599]);
}

static struct log_head time_of(struct log_store *store, const char *project, uint64_t micros)
{
    struct log_head found = { 77, 77 };
    log_store_find_time(store, bytes_of_string(project), micros, &found);
    return found;
}

static void a_time_finds_the_last_batch_at_or_before_it(void **state)
{
    struct log_store *store = store_of(state);
    struct error err = { 0 };
    struct log_head heads[900];
    uint64_t lsn = 0, timestamp = 500;
    assert_int_equal(time_of(store, "shop", UINT64_MAX).lsn, 0);
    for (size_t i = 0; i < ARRAY_LEN(heads); i++) {
        struct sample sample;
        sample_init(&sample, "shop", lsn + 1, 200);
        timestamp += i % 7 < 3 ? 0 : i % 5; /* several batches share one */
        sample.frame.timestamp = timestamp;
        assert_int_equal(log_store_append(store, &sample.frame, 1, &err), APPEND_COMMITTED);
        lsn = frame_last_lsn(&sample.frame);
        heads[i] = (struct log_head) { lsn, timestamp };
        sample_destroy(&sample);
    }
    assert_int_equal(time_of(store, "shop", 0).lsn, 0);
    assert_int_equal(time_of(store, "shop", 499).timestamp, 0);
    assert_int_equal(time_of(store, "other", timestamp).lsn, 0);
    size_t i = 0;
    for (uint64_t micros = 500; micros <= timestamp + 1; micros++) {
        while (i + 1 < ARRAY_LEN(heads) && heads[i + 1].timestamp <= micros)
            i++;
        struct log_head found = time_of(store, "shop", micros);
        assert_int_equal(found.lsn, heads[i].lsn);
        assert_int_equal(found.timestamp, heads[i].timestamp);
    }
    assert_int_equal(time_of(store, "shop", UINT64_MAX).lsn, lsn);
}

/* One entry of a branch; returns its LSN. */
static uint64_t append_to_branch(struct log_store *store, const char *project, struct bytes branch)
{
    struct sample sample;
    struct error err = { 0 };
    uint64_t lsn = head_of(store, project) + 1;
    sample_init(&sample, project, lsn, 30);
    sample.runs[1].branch_id = branch;
    sample.frame.runs = &sample.runs[1];
    sample.frame.n_runs = 1;
    sample.frame.entries = 1;
    assert_int_equal(log_store_append(store, &sample.frame, 1, &err), APPEND_COMMITTED);
    sample_destroy(&sample);
    return lsn;
}

static void branches_are_listed_in_the_order_of_their_ids(void **state)
{
    struct log_store *store = store_of(state);
    struct error err = { 0 };
    static const char *const names[] = { "b", "a", "ab", "\xff", "\x01", "aa", "main" };
    static const size_t order[] = { 4, 1, 5, 2, 0, 6, 3 };
    uint64_t last[ARRAY_LEN(names)];
    struct log_branch branches[ARRAY_LEN(names) + 1];
    size_t n = 99;
    struct arena arena, tight;
    arena_init(&arena, 0);
    assert_true(log_store_list_branches(store, bytes_of_string("shop"), bytes_of(NULL, 0), 8, &arena, branches, &n, &err));
    assert_int_equal(n, 0);
    append_to_branch(store, "other", bytes_of_string("zebra"));
    for (int round = 0; round < 2; round++) {
        for (size_t i = 0; i < ARRAY_LEN(names); i++) {
            last[i] = append_to_branch(store, "shop", bytes_of_string(names[i]));
            /* listed in between, so that new ones meet a list that is sorted */
            assert_true(log_store_list_branches(store, bytes_of_string("shop"), bytes_of(NULL, 0), 8, &arena, branches, &n, &err));
            assert_int_equal(n, round ? ARRAY_LEN(names) : i + 1);
        }
    }
    for (size_t page = 1; page <= ARRAY_LEN(branches); page++) {
        struct bytes after = { 0 };
        size_t seen = 0;
        do {
            assert_true(log_store_list_branches(store, bytes_of_string("shop"), after, page, &arena, branches, &n, &err));
            assert_true(n <= page);
            for (size_t i = 0; i < n; i++, seen++) {
                assert_true(bytes_equal(branches[i].id, bytes_of_string(names[order[seen]])));
                assert_int_equal(branches[i].last_lsn, last[order[seen]]);
            }
            after = n ? branches[n - 1].id : after;
        } while (n == page);
        assert_int_equal(seen, ARRAY_LEN(names));
    }
    assert_true(log_store_list_branches(store, bytes_of_string("shop"), bytes_of_string("ac"), 1, &arena, branches, &n, &err));
    assert_true(n == 1 && bytes_equal(branches[0].id, bytes_of_string("b")));
    arena_init(&tight, 1);
    assert_false(log_store_list_branches(store, bytes_of_string("shop"), bytes_of(NULL, 0), 8, &tight, branches, &n, &err));
    assert_int_equal(err.code, ERROR_RESOURCE_EXHAUSTED);
    assert_int_equal(n, 1);
    arena_destroy(&tight);
    arena_destroy(&arena);
}

static void a_group_is_visible_as_a_whole(void **state)
{
    struct log_store *store = store_of(state);
    struct seen *seen = mem_alloc(sizeof *seen);
    struct sample samples[20];
    struct frame frames[20];
    struct error err = { 0 };
    uint64_t lsns[2] = { 0, 0 };
    for (unsigned i = 0; i < ARRAY_LEN(samples); i++) { /* two projects in turn */
        sample_init(&samples[i], i % 2 ? "odd" : "even", lsns[i % 2] + 1, 33);
        frames[i] = samples[i].frame;
        lsns[i % 2] = frame_last_lsn(&frames[i]);
    }
    assert_int_equal(log_store_append(store, frames, ARRAY_LEN(frames), &err), APPEND_COMMITTED);
    assert_int_equal(head_of(store, "even"), lsns[0]);
    assert_int_equal(head_of(store, "odd"), lsns[1]);
    scan(store, (struct log_range) { .project = bytes_of_string("odd"), .through = UINT64_MAX }, seen);
    assert_int_equal(seen->n, 10);
    struct log_store_stats stats;
    log_store_stats(store, &stats);
    assert_int_equal(stats.projects, 2);
    assert_int_equal(stats.groups, 1);
    assert_int_equal(stats.entries, lsns[0] + lsns[1]);
    assert_true(stats.memory_bytes > 20 * 32);
    for (unsigned i = 0; i < ARRAY_LEN(samples); i++)
        sample_destroy(&samples[i]);
    free(seen);
}

static void filters_choose_by_branch_and_collection(void **state)
{
    struct log_store *store = store_of(state);
    struct seen *seen = mem_alloc(sizeof *seen);
    struct sample sample;
    struct error err = { 0 };
    uint64_t last_of_branch[3] = { 0 };
    for (unsigned i = 0; i < 700; i++)
        append(store, "shop", 25);
    append(store, "other", 25);
    static const char *const branches[] = { NULL, "b0", "b1", "b2", "b9" };
    static const char *const collections[] = { NULL, "users", "c0", "c4", "c9", "" };
    for (size_t b = 0; b < ARRAY_LEN(branches); b++) {
        for (size_t c = 0; c < ARRAY_LEN(collections); c++) {
            struct bytes branch = branches[b] ? bytes_of_string(branches[b]) : bytes_of(NULL, 0);
            struct bytes collection = collections[c] ? bytes_of_string(collections[c]) : bytes_of(NULL, 0);
            struct log_range range = { .project = bytes_of_string("shop"),
                                       .after = 11,
                                       .through = 1500,
                                       .branch_id = branches[b] ? &branch : NULL,
                                       .collection = collections[c] ? &collection : NULL };
            scan(store, range, seen);
            size_t n = 0;
            for (uint64_t lsn = 1; lsn <= head_of(store, "shop");) {
                sample_init(&sample, "shop", lsn, 25);
                uint64_t last = frame_last_lsn(&sample.frame), run_end = lsn - 1;
                bool wanted = false;
                for (size_t r = 0; r < SAMPLE_RUNS; r++) {
                    run_end += sample.runs[r].entries;
                    last_of_branch[sample.branches[r][1] - '0'] = run_end;
                    wanted |= (!branches[b] || bytes_equal(branch, sample.runs[r].branch_id)) &&
                              (!collections[c] || bytes_equal(collection, sample.runs[r].collection));
                }
                if (wanted && last > 11 && last <= 1500)
                    assert_int_equal(seen->lsns[n++], last);
                sample_destroy(&sample);
                lsn = last + 1;
            }
            assert_int_equal(seen->n, n);
        }
    }
    for (unsigned i = 0; i < 3; i++) {
        char branch[] = { 'b', (char)('0' + i), 0 };
        assert_int_equal(log_store_branch_head(store, bytes_of_string("shop"), bytes_of_string(branch)), last_of_branch[i]);
    }
    assert_int_equal(log_store_branch_head(store, bytes_of_string("shop"), bytes_of_string("users")), 0);
    assert_int_equal(log_store_branch_head(store, bytes_of_string("nobody"), bytes_of_string("b0")), 0);
    assert_int_equal(err.code, ERROR_OK);
    free(seen);
}

static void a_moved_head_appends_nothing(void **state)
{
    struct log_store *store = store_of(state);
    struct sample samples[3];
    struct error err = { 0 };
    uint64_t last = append(store, "shop", 30);
    sample_init(&samples[0], "shop", last + 1, 30);
    sample_init(&samples[1], "new", 1, 30);
    for (uint64_t wrong = 0; wrong <= last + 9; wrong++) {
        if (wrong == frame_last_lsn(&samples[0].frame) + 1 || wrong == 0)
            continue;
        sample_init(&samples[2], "shop", wrong, 30);
        struct frame frames[] = { samples[0].frame, samples[1].frame, samples[2].frame };
        assert_int_equal(log_store_append(store, frames, 3, &err), APPEND_HEAD_MOVED);
        sample_destroy(&samples[2]);
    }
    assert_int_equal(err.code, ERROR_OK);
    assert_int_equal(head_of(store, "shop"), last);
    assert_int_equal(head_of(store, "new"), 0);
    struct log_store_stats stats;
    log_store_stats(store, &stats);
    assert_int_equal(stats.projects, 1);
    assert_int_equal(stats.groups, 1);
    assert_true(append(store, "shop", 30) > last);
    sample_destroy(&samples[0]);
    sample_destroy(&samples[1]);
}

static void a_frame_that_cannot_be_stored_is_refused_and_the_store_goes_on(void **state)
{
    struct log_store *store = store_of(state);
    struct sample sample;
    struct error err = { 0 };
    sample_init(&sample, "shop", 1, 30);
    sample.runs[0].entries++;
    assert_int_equal(log_store_append(store, &sample.frame, 1, &err), APPEND_REFUSED);
    assert_int_equal(err.code, ERROR_INVALID_ARGUMENT);
    sample_destroy(&sample);
    assert_int_equal(head_of(store, "shop"), 0);
    append(store, "shop", 30);
}

static void a_visitor_may_stop_or_fail(void **state)
{
    struct log_store *store = store_of(state);
    struct seen *seen = mem_zalloc(sizeof *seen);
    struct error err = { 0 };
    struct log_range range = { .project = bytes_of_string("shop"), .through = UINT64_MAX };
    for (unsigned i = 0; i < 10; i++)
        append(store, "shop", 30);
    seen->stop_after = 4;
    assert_true(log_store_scan(store, &range, see, seen, &err));
    assert_int_equal(seen->n, 4);
    assert_int_equal(err.code, ERROR_OK);
    *seen = (struct seen) { .stop_after = 3, .fail = true };
    assert_false(log_store_scan(store, &range, see, seen, &err));
    assert_int_equal(seen->n, 3);
    assert_int_equal(err.code, ERROR_CANCELLED);
    assert_string_equal(err.message, "enough");
    free(seen);
}

static bool append_while_scanning(void *ctx, const struct frame *frame, struct error *err)
{
    struct fixture *fixture = ctx;
    (void)frame;
    (void)err;
    append(fixture->store, "shop", 30);
    return true;
}

static void a_scan_ends_at_the_head_it_found(void **state)
{
    struct fixture *fixture = *state;
    struct log_range range = { .project = bytes_of_string("shop"), .through = UINT64_MAX };
    struct error err = { 0 };
    struct log_store_stats stats;
    for (unsigned i = 0; i < 300; i++)
        append(fixture->store, "shop", 30);
    /* each frame seen appends one more: a scan that followed the head would not end */
    assert_true(log_store_scan(fixture->store, &range, append_while_scanning, fixture, &err));
    log_store_stats(fixture->store, &stats);
    assert_int_equal(stats.groups, 600);
}

static void many_projects_are_kept_apart(void **state)
{
    struct log_store *store = store_of(state);
    struct seen *seen = mem_alloc(sizeof *seen);
    char name[16];
    for (unsigned round = 0; round < 3; round++) {
        for (unsigned i = 0; i < 200; i++) {
            snprintf(name, sizeof name, "p%u", i);
            if (i % (round + 1) == 0)
                append(store, name, 20);
        }
    }
    for (unsigned i = 0; i < 200; i++) {
        snprintf(name, sizeof name, "p%u", i);
        scan(store, (struct log_range) { .project = bytes_of_string(name), .through = UINT64_MAX }, seen);
        assert_int_equal(seen->n, 1u + (i % 2 == 0) + (i % 3 == 0));
        assert_int_equal(seen->lsns[seen->n - 1], head_of(store, name));
    }
    struct log_store_stats stats;
    log_store_stats(store, &stats);
    assert_int_equal(stats.projects, 200);
    free(seen);
}

static void large_batches_pass(void **state)
{
    struct log_store *store = store_of(state);
    struct seen *seen = mem_alloc(sizeof *seen);
    static const size_t sizes[] = { 100, 20000, 3000000, 40, 65536, 9000, 5000000, 64 };
    for (size_t i = 0; i < ARRAY_LEN(sizes); i++)
        append(store, "shop", sizes[i]);
    scan(store, (struct log_range) { .project = bytes_of_string("shop"), .through = UINT64_MAX }, seen);
    assert_int_equal(seen->n, ARRAY_LEN(sizes));
    free(seen);
}

static void the_incarnation_is_known_and_others_are_not(void **state)
{
    struct log_store *store = store_of(state);
    uint8_t incarnation[INCARNATION_BYTES], zeros[INCARNATION_BYTES] = { 0 };
    log_store_incarnation(store, incarnation);
    assert_memory_not_equal(incarnation, zeros, sizeof zeros);
    assert_int_equal(log_store_known_through(store, bytes_of_string("shop"), incarnation), 0);
    uint64_t last = append(store, "shop", 30);
    assert_int_equal(log_store_known_through(store, bytes_of_string("shop"), incarnation), last);
    last = append(store, "shop", 30);
    assert_int_equal(log_store_known_through(store, bytes_of_string("shop"), incarnation), last);
    assert_int_equal(log_store_known_through(store, bytes_of_string("other"), incarnation), 0);
    incarnation[3] ^= 1;
    assert_int_equal(log_store_known_through(store, bytes_of_string("shop"), incarnation), 0);
}

/* ---- readers beside the writer -------------------------------------------------------------------- */

struct reader_state {
    struct log_store *store;
    struct mutex lock; /* rank 1 */
    bool stop;
    uint64_t scans;
};

struct follower {
    uint64_t head;
    bool right;
};

static bool follow(void *ctx, const struct frame *frame, struct error *err)
{
    struct follower *follower = ctx;
    (void)err;
    follower->right = follower->right && frame->first_lsn == follower->head + 1 && sample_matches(frame);
    follower->head = frame_last_lsn(frame);
    return true;
}

static void *read_beside(void *ctx)
{
    struct reader_state *reader = ctx;
    bool stop = false;
    while (!stop) {
        mutex_lock(&reader->lock);
        stop = reader->stop;
        mutex_unlock(&reader->lock);
        struct log_head head;
        struct error err = { 0 };
        log_store_head(reader->store, bytes_of_string("shop"), &head);
        struct follower follower = { .right = true };
        struct log_range range = { .project = bytes_of_string("shop"), .through = UINT64_MAX };
        if (!log_store_scan(reader->store, &range, follow, &follower, &err) || !follower.right || follower.head < head.lsn) {
            fprintf(stderr, "scan beside append: %s, head %llu, seen %llu\n", err.message, (unsigned long long)head.lsn,
                    (unsigned long long)follower.head);
            abort();
        }
        reader->scans++;
    }
    return NULL;
}

static void readers_beside_the_writer_see_whole_prefixes(void **state)
{
    struct reader_state readers[2];
    pthread_t threads[2];
    for (int i = 0; i < 2; i++) {
        readers[i] = (struct reader_state) { .store = store_of(state) };
        mutex_init(&readers[i].lock, 1);
        threads[i] = thread_start("reader", read_beside, &readers[i]);
    }
    for (unsigned i = 0; i < 400; i++)
        append(store_of(state), "shop", i % 50 == 49 ? 70000 : 300);
    for (int i = 0; i < 2; i++) {
        mutex_lock(&readers[i].lock);
        readers[i].stop = true;
        mutex_unlock(&readers[i].lock);
        pthread_join(threads[i], NULL);
        mutex_destroy(&readers[i].lock);
        assert_true(readers[i].scans > 0);
    }
}

/* ---- the second writer of the memory store --------------------------------------------------------- */

struct second_writer {
    unsigned calls, intrude_at;
};

static void intrude(void *ctx, struct log_store *store)
{
    struct second_writer *writer = ctx;
    if (++writer->calls == writer->intrude_at)
        append(store, "shop", 30);
}

static void a_second_writer_moves_the_head(void **state)
{
    (void)state;
    struct second_writer writer = { .intrude_at = 2 };
    struct log_store *store = memory_store_new(intrude, &writer);
    struct sample sample;
    struct error err = { 0 };
    uint64_t last = append(store, "shop", 30);
    sample_init(&sample, "shop", last + 1, 30);
    assert_int_equal(log_store_append(store, &sample.frame, 1, &err), APPEND_HEAD_MOVED);
    sample_destroy(&sample);
    assert_true(head_of(store, "shop") > last); /* the intruder's */
    uint64_t second = append(store, "shop", 30);
    assert_int_equal(head_of(store, "shop"), second);
    assert_int_equal(writer.calls, 3); /* not for the append from inside the hook */
    log_store_close(store);
}

#define CONTRACT(test)                                                                                                                     \
    { #test " (memory)", test, setup, teardown, (void *)&memory_backend },                                                                 \
    {                                                                                                                                      \
#test " (segment)", test, setup, teardown, (void *)&segment_backend                                                                \
    }

int main(void)
{
    const struct CMUnitTest tests[] = {
        CONTRACT(a_new_store_is_empty),
        CONTRACT(appended_batches_are_read_back),
        CONTRACT(a_range_holds_the_batches_that_end_in_it),
        CONTRACT(batch_ends_round_down),
        CONTRACT(a_time_finds_the_last_batch_at_or_before_it),
        CONTRACT(branches_are_listed_in_the_order_of_their_ids),
        CONTRACT(a_group_is_visible_as_a_whole),
        CONTRACT(filters_choose_by_branch_and_collection),
        CONTRACT(a_moved_head_appends_nothing),
        CONTRACT(a_frame_that_cannot_be_stored_is_refused_and_the_store_goes_on),
        CONTRACT(a_visitor_may_stop_or_fail),
        CONTRACT(a_scan_ends_at_the_head_it_found),
        CONTRACT(many_projects_are_kept_apart),
        CONTRACT(large_batches_pass),
        CONTRACT(the_incarnation_is_known_and_others_are_not),
        CONTRACT(readers_beside_the_writer_see_whole_prefixes),
        cmocka_unit_test(a_second_writer_moves_the_head),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
