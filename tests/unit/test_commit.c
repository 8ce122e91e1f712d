/* The commit core without threads or disk: the test is the driver. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "wal-service/commit.h"
#include "wal-service/key_hash.h"
#include "wal-service/run_codec.h"

struct fixture {
    struct commit *commit;
    struct arena arena;
    uint64_t now;
    struct commit_group group;
};

static const uint8_t incarnation[INCARNATION_BYTES] = "this incarnation";

static void new_core(struct fixture *f)
{
    f->commit =
        commit_new(&(struct commit_options) { .conflict_window_bytes = 1 << 20, .request_window_bytes = 64 * 1024, .hash_seed = 99 });
    commit_set_incarnation(f->commit, incarnation);
}

static int set_up(void **state)
{
    static struct fixture f;
    f = (struct fixture) { .now = 1000 };
    arena_init(&f.arena, 0);
    new_core(&f);
    *state = &f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    commit_free(f->commit);
    arena_destroy(&f->arena);
    return 0;
}

/* ---- batches ------------------------------------------------------------------------------------- */

/* Documents are named by their ids, separated by spaces, in collection c of branch b. */
struct wanted {
    const char *project; /* NULL: "p" */
    const char *documents;
    uint64_t read_lsn;
    bool unconditional;
    const char *reads, *writes;
    const char *request, *hash;
    uint32_t step;
    bool last;
    uint64_t since_lsn;
    struct bytes incarnation;
    size_t bytes; /* 0: small */
};

static size_t split(struct fixture *f, const char *words, struct bytes **out)
{
    size_t n = 0;
    *out = arena_alloc(&f->arena, 200 * sizeof **out);
    for (const char *at = words ? words : ""; *at; at += strspn(at, " ")) {
        size_t len = strcspn(at, " ");
        assert_true(n < 200);
        (*out)[n++] = bytes_of(at, len);
        at += len;
    }
    return n;
}

static uint64_t hash_of(struct bytes id)
{
    return key_hash(key_space_hash(bytes_of_string("b"), bytes_of_string("c")), id);
}

static struct frame_run *encode_run(struct fixture *f, const struct bytes *ids, size_t n)
{
    struct run_header header = { .branch_id = bytes_of_string("b"), .collection = bytes_of_string("c") };
    struct frame_run *run = arena_alloc(&f->arena, sizeof *run);
    struct run_entry entry = { .operation = 1, .document = bytes_of("\5\0\0\0\0", 5) };
    size_t size = 0;
    for (size_t i = 0; i < n; i++) {
        entry.document_id = ids[i];
        size += run_entry_size(&entry);
    }
    uint8_t *encoded = arena_alloc(&f->arena, run_encoded_size(&header, size)), *at = run_begin(encoded, &header, size);
    for (size_t i = 0; i < n; i++) {
        entry.document_id = ids[i];
        at = run_put_entry(at, &entry);
    }
    at = run_end(at);
    *run = (struct frame_run) { header.branch_id, header.collection, (uint32_t)n, bytes_of(encoded, (size_t)(at - encoded)) };
    return run;
}

static struct append_batch *make(struct fixture *f, struct wanted wanted)
{
    struct append_batch *batch = arena_zalloc(&f->arena, sizeof *batch);
    struct bytes *ids, *reads, *writes;
    size_t n = split(f, wanted.documents, &ids);
    uint64_t *touched = arena_alloc(&f->arena, n * sizeof *touched);
    for (size_t i = 0; i < n; i++)
        touched[i] = hash_of(ids[i]);
    batch->project = bytes_of_string(wanted.project ? wanted.project : "p");
    batch->incarnation = wanted.incarnation;
    batch->runs = encode_run(f, ids, n);
    batch->n_runs = 1;
    batch->entries = (uint32_t)n;
    batch->bytes = wanted.bytes ? wanted.bytes : 100;
    batch->touched = touched;

    batch->n_reads = split(f, wanted.reads, &reads);
    struct batch_key *keys = arena_alloc(&f->arena, batch->n_reads * sizeof *keys);
    uint64_t *read_hashes = arena_alloc(&f->arena, batch->n_reads * sizeof *read_hashes);
    for (size_t i = 0; i < batch->n_reads; i++) {
        keys[i] = (struct batch_key) { bytes_of_string("b"), bytes_of_string("c"), reads[i] };
        read_hashes[i] = hash_of(reads[i]);
    }
    batch->read_keys = keys;
    batch->read_hashes = read_hashes;
    batch->n_writes = split(f, wanted.writes, &writes);
    uint64_t *write_hashes = arena_alloc(&f->arena, batch->n_writes * sizeof *write_hashes);
    for (size_t i = 0; i < batch->n_writes; i++)
        write_hashes[i] = hash_of(writes[i]);
    batch->write_hashes = write_hashes;

    batch->read_lsn = wanted.read_lsn;
    batch->unconditional = wanted.unconditional;
    batch->since_lsn = wanted.since_lsn;
    batch->arena = &f->arena;
    if (wanted.request)
        batch->request = (struct request_step) {
            .id = bytes_of_string(wanted.request),
            .hash = bytes_of_string(wanted.hash ? wanted.hash : "h"),
            .step = wanted.step,
            .last = wanted.last,
        };
    return batch;
}

static struct append_batch *submit(struct fixture *f, struct wanted wanted)
{
    struct append_batch *batch = make(f, wanted);
    batch->result.error.code = ERROR_UNKNOWN; /* until it is finished */
    batch->owner = NULL;
    commit_submit(f->commit, batch);
    return batch;
}

/* ---- driving ------------------------------------------------------------------------------------- */

/* Marks what is finished by its owner. */
static size_t collect(struct fixture *f)
{
    size_t n = 0;
    for (struct append_batch *batch = commit_take_finished(f->commit); batch; batch = batch->next, n++) {
        assert_null(batch->owner);
        batch->owner = batch;
    }
    return n;
}

static bool finished(const struct append_batch *batch)
{
    return batch->owner != NULL;
}

static size_t form(struct fixture *f)
{
    assert_true(commit_gather(f->commit));
    commit_take_group(f->commit, f->now, &f->group);
    collect(f);
    return f->group.n;
}

static void end_group(struct fixture *f, enum append_outcome outcome)
{
    struct error why;
    error_set(&why, outcome == APPEND_REFUSED ? ERROR_RESOURCE_EXHAUSTED : ERROR_UNAVAILABLE, "the disk says no");
    commit_group_done(f->commit, outcome, &why);
    if (outcome == APPEND_COMMITTED)
        commit_publish(f->commit);
    collect(f);
}

static struct append_batch *commit_one(struct fixture *f, struct wanted wanted)
{
    struct append_batch *batch = submit(f, wanted);
    if (form(f))
        end_group(f, APPEND_COMMITTED);
    assert_true(finished(batch));
    return batch;
}

static uint64_t head_of(struct fixture *f, const char *project)
{
    struct commit_head head;
    commit_get_head(f->commit, bytes_of_string(project), &head);
    return head.lsn;
}

static void assert_committed(const struct append_batch *batch, uint64_t first, uint64_t last)
{
    assert_true(finished(batch));
    assert_int_equal(batch->result.error.code, ERROR_OK);
    assert_int_equal(batch->result.first_lsn, first);
    assert_int_equal(batch->result.last_lsn, last);
    assert_int_equal(batch->result.earlier_lsn, 0);
}

static void assert_refused(const struct append_batch *batch, enum error_code code, enum error_outcome outcome)
{
    assert_true(finished(batch));
    assert_int_equal(batch->result.error.code, code);
    assert_int_equal(batch->result.error.outcome, outcome);
}

static void assert_conflict(const struct append_batch *batch, const char *key, uint64_t lsn)
{
    assert_refused(batch, ERROR_ABORTED, OUTCOME_NOT_APPLIED);
    assert_false(batch->result.stale);
    assert_int_equal(batch->result.n_conflicts, 1);
    assert_true(bytes_equal(batch->result.conflicts[0].key.document_id, bytes_of_string(key)));
    assert_true(bytes_equal(batch->result.conflicts[0].key.collection, bytes_of_string("c")));
    assert_true(bytes_equal(batch->result.conflicts[0].key.branch_id, bytes_of_string("b")));
    assert_int_equal(batch->result.conflicts[0].written_lsn, lsn);
}

static void assert_stale(const struct append_batch *batch)
{
    assert_refused(batch, ERROR_ABORTED, OUTCOME_NOT_APPLIED);
    assert_true(batch->result.stale);
    assert_int_equal(batch->result.n_conflicts, 0);
}

/* ---- LSNs and groups ----------------------------------------------------------------------------- */

static void lsns_have_no_gaps_and_count_by_project(void **state)
{
    struct fixture *f = *state;
    struct append_batch *a = submit(f, (struct wanted) { .documents = "1 2 3" });
    struct append_batch *b = submit(f, (struct wanted) { .documents = "1 2", .project = "q" });
    struct append_batch *c = submit(f, (struct wanted) { .documents = "4" });
    assert_int_equal(form(f), 3);
    assert_int_equal(f->group.frames[2].first_lsn, 4);
    assert_false(finished(a));
    assert_int_equal(head_of(f, "p"), 0); /* nothing is visible before it is durable */
    end_group(f, APPEND_COMMITTED);
    assert_committed(a, 1, 3);
    assert_committed(b, 1, 2);
    assert_committed(c, 4, 4);
    assert_int_equal(head_of(f, "p"), 4);
    assert_int_equal(head_of(f, "q"), 2);
    assert_int_equal(head_of(f, "unknown"), 0);
    assert_committed(commit_one(f, (struct wanted) { .documents = "5", .read_lsn = 4 }), 5, 5);
}

static void runs_are_stamped(void **state)
{
    struct fixture *f = *state;
    f->now = 777;
    struct append_batch *batch = make(f, (struct wanted) { .documents = "1 2" });
    struct frame_run *second = encode_run(f, &(struct bytes) { (const uint8_t *)"3", 1 }, 1);
    struct frame_run runs[] = { batch->runs[0], *second };
    uint64_t touched[] = { batch->touched[0], batch->touched[1], hash_of(bytes_of_string("3")) };
    batch->runs = runs;
    batch->n_runs = 2;
    batch->touched = touched;
    batch->entries = 3;
    commit_one(f, (struct wanted) { .documents = "0" });
    commit_submit(f->commit, batch);
    assert_int_equal(form(f), 1);
    struct run_reader reader;
    assert_true(run_reader_init(&reader, runs[0].encoded, NULL));
    assert_int_equal(reader.first_lsn, 2);
    assert_int_equal(reader.timestamp, 777);
    assert_true(run_reader_init(&reader, runs[1].encoded, NULL));
    assert_int_equal(reader.first_lsn, 4);
    end_group(f, APPEND_COMMITTED);
}

static void time_never_goes_back(void **state)
{
    struct fixture *f = *state;
    f->now = 5000;
    assert_int_equal(commit_one(f, (struct wanted) { .documents = "1" })->result.timestamp, 5000);
    f->now = 4000; /* the clock was set */
    assert_int_equal(commit_one(f, (struct wanted) { .documents = "2", .read_lsn = 1 })->result.timestamp, 5000);
    assert_int_equal(commit_one(f, (struct wanted) { .documents = "1", .project = "q" })->result.timestamp, 4000);
    f->now = 6000;
    assert_int_equal(commit_one(f, (struct wanted) { .documents = "3", .read_lsn = 2 })->result.timestamp, 6000);
}

static void groups_are_bounded_but_take_one_large_batch(void **state)
{
    struct fixture *f = *state;
    submit(f, (struct wanted) { .documents = "1", .bytes = 20 << 20 });
    submit(f, (struct wanted) { .documents = "2", .bytes = 5 << 20 });
    submit(f, (struct wanted) { .documents = "3", .bytes = 3 << 20 });
    submit(f, (struct wanted) { .documents = "4", .bytes = 1 });
    assert_int_equal(form(f), 1);
    end_group(f, APPEND_COMMITTED);
    assert_int_equal(form(f), 2);
    end_group(f, APPEND_COMMITTED);
    assert_int_equal(form(f), 1);
    end_group(f, APPEND_COMMITTED);
    assert_int_equal(head_of(f, "p"), 4);
    assert_false(commit_gather(f->commit));
}

/* ---- conflicts ----------------------------------------------------------------------------------- */

static void committed_write_conflicts_at_once(void **state)
{
    struct fixture *f = *state;
    commit_one(f, (struct wanted) { .documents = "1 2" });
    struct append_batch *other = submit(f, (struct wanted) { .documents = "3", .read_lsn = 0 });
    struct append_batch *late = submit(f, (struct wanted) { .documents = "4 2 5", .read_lsn = 1 });
    struct append_batch *fresh = submit(f, (struct wanted) { .documents = "2", .read_lsn = 2 });
    assert_int_equal(form(f), 2);
    assert_conflict(late, "2", 2); /* answered before the group is written */
    end_group(f, APPEND_COMMITTED);
    assert_committed(other, 3, 3);
    assert_committed(fresh, 4, 4);
}

static void writers_in_one_group_cannot_both_win(void **state)
{
    struct fixture *f = *state;
    struct append_batch *first = submit(f, (struct wanted) { .documents = "1" });
    struct append_batch *second = submit(f, (struct wanted) { .documents = "1" });
    assert_int_equal(form(f), 1);
    assert_false(finished(second)); /* whether there is a conflict is known when the first is durable */
    end_group(f, APPEND_COMMITTED);
    assert_committed(first, 1, 1);
    assert_conflict(second, "1", 1);
    /* in another project it is another document */
    assert_committed(commit_one(f, (struct wanted) { .documents = "1", .project = "q" }), 1, 1);
}

static void refused_batch_is_checked_again_when_the_group_was_refused(void **state)
{
    struct fixture *f = *state;
    struct append_batch *first = submit(f, (struct wanted) { .documents = "1" });
    struct append_batch *second = submit(f, (struct wanted) { .documents = "1" });
    form(f);
    end_group(f, APPEND_REFUSED);
    assert_refused(first, ERROR_RESOURCE_EXHAUSTED, OUTCOME_NOT_APPLIED);
    assert_false(finished(second));
    assert_int_equal(form(f), 1);
    end_group(f, APPEND_COMMITTED);
    assert_committed(second, 1, 1);
}

static void read_and_written_keys_conflict(void **state)
{
    struct fixture *f = *state;
    commit_one(f, (struct wanted) { .documents = "1", .writes = "catalog" });
    assert_conflict(commit_one(f, (struct wanted) { .documents = "2", .reads = "x catalog" }), "catalog", 1);
    assert_conflict(commit_one(f, (struct wanted) { .documents = "2", .reads = "1" }), "1", 1);
    assert_committed(commit_one(f, (struct wanted) { .documents = "2", .reads = "catalog", .read_lsn = 1 }), 2, 2);
    /* reading is no write, and a written key needs no condition */
    assert_committed(commit_one(f, (struct wanted) { .documents = "3", .reads = "catalog", .writes = "2", .read_lsn = 1 }), 3, 3);
    /* in the same group */
    submit(f, (struct wanted) { .documents = "4", .writes = "catalog", .read_lsn = 3 });
    struct append_batch *reader = submit(f, (struct wanted) { .documents = "5", .reads = "catalog", .read_lsn = 3 });
    form(f);
    end_group(f, APPEND_COMMITTED);
    assert_conflict(reader, "catalog", 4);
}

static void unconditional_drops_document_conditions_only(void **state)
{
    struct fixture *f = *state;
    commit_one(f, (struct wanted) { .documents = "1", .writes = "catalog" });
    assert_committed(commit_one(f, (struct wanted) { .documents = "1", .unconditional = true }), 2, 2);
    assert_conflict(commit_one(f, (struct wanted) { .documents = "1", .unconditional = true, .reads = "catalog" }), "catalog", 1);
    /* it still counts as a write for others */
    assert_conflict(commit_one(f, (struct wanted) { .documents = "1", .read_lsn = 1 }), "1", 2);
}

static void at_most_64_conflicts_are_named(void **state)
{
    struct fixture *f = *state;
    char documents[1000] = "";
    for (int i = 0, at = 0; i < 100; i++)
        at += snprintf(documents + at, sizeof documents - (size_t)at, "d%d ", i);
    commit_one(f, (struct wanted) { .documents = documents });
    struct append_batch *batch = commit_one(f, (struct wanted) { .documents = documents, .read_lsn = 50 });
    assert_refused(batch, ERROR_ABORTED, OUTCOME_NOT_APPLIED);
    assert_int_equal(batch->result.n_conflicts, MAX_CONFLICTS_NAMED);
    assert_true(bytes_equal(batch->result.conflicts[63].key.document_id, bytes_of_string("d63")));
    assert_int_equal(batch->result.conflicts[63].written_lsn, 100); /* the end of the batch that wrote it */
    assert_non_null(strstr(batch->result.error.message, "100 keys"));
}

static void stale_writers_are_told(void **state)
{
    struct fixture *f = *state;
    commit_one(f, (struct wanted) { .documents = "1" });
    assert_stale(commit_one(f, (struct wanted) { .documents = "2", .read_lsn = 2 }));
    assert_stale(commit_one(f, (struct wanted) { .documents = "2", .read_lsn = 1, .incarnation = bytes_of("other incarnat..", 16) }));
    assert_stale(commit_one(f, (struct wanted) { .documents = "2", .read_lsn = 1, .incarnation = bytes_of("this", 4) }));
    assert_committed(commit_one(f, (struct wanted) { .documents = "2", .read_lsn = 1, .incarnation = bytes_of(incarnation, 16) }), 2, 2);
}

static struct frame frame_of(const struct append_batch *batch, uint64_t first_lsn, uint64_t timestamp)
{
    return (struct frame) {
        .project = batch->project,
        .first_lsn = first_lsn,
        .entries = batch->entries,
        .timestamp = timestamp,
        .request = batch->request,
        .write_keys = batch->write_hashes,
        .n_write_keys = batch->n_writes,
        .runs = batch->runs,
        .n_runs = batch->n_runs,
    };
}

static void recover(struct fixture *f, struct wanted wanted, uint64_t first_lsn, uint64_t timestamp)
{
    struct frame frame = frame_of(make(f, wanted), first_lsn, timestamp);
    struct error err;
    assert_true(commit_recover(f->commit, &frame, &err));
}

static void after_a_restart_the_window_begins_at_the_head(void **state)
{
    struct fixture *f = *state;
    recover(f, (struct wanted) { .documents = "1 2" }, 1, 9000);
    recover(f, (struct wanted) { .documents = "3" }, 3, 9001);
    assert_int_equal(head_of(f, "p"), 3);
    assert_stale(commit_one(f, (struct wanted) { .documents = "9", .read_lsn = 2 }));
    assert_stale(commit_one(f, (struct wanted) { .documents = "9", .read_lsn = 2, .unconditional = true, .reads = "x" }));
    struct append_batch *import = commit_one(f, (struct wanted) { .documents = "9", .unconditional = true });
    assert_committed(import, 4, 4);
    assert_int_equal(import->result.timestamp, 9001);
    assert_committed(commit_one(f, (struct wanted) { .documents = "1", .read_lsn = 3 }), 5, 5);
    assert_committed(commit_one(f, (struct wanted) { .documents = "1", .project = "new" }), 1, 1);
}

static void gap_in_the_log_is_data_loss(void **state)
{
    struct fixture *f = *state;
    recover(f, (struct wanted) { .documents = "1 2" }, 1, 1);
    struct frame frame = frame_of(make(f, (struct wanted) { .documents = "3" }), 4, 1);
    struct error err;
    assert_false(commit_recover(f->commit, &frame, &err));
    assert_int_equal(err.code, ERROR_DATA_LOSS);
    assert_int_equal(head_of(f, "p"), 2);
}

/* ---- requests ------------------------------------------------------------------------------------ */

static void assert_earlier(const struct append_batch *batch, uint64_t lsn)
{
    assert_true(finished(batch));
    assert_int_equal(batch->result.error.code, ERROR_OK);
    assert_int_equal(batch->result.earlier_lsn, lsn);
}

static uint64_t find_request(struct fixture *f, const char *id)
{
    return commit_find_request(f->commit, bytes_of_string("p"), bytes_of_string(id));
}

static void repeated_request_has_one_effect(void **state)
{
    struct fixture *f = *state;
    struct wanted wanted = { .documents = "1 2", .request = "r", .last = true };
    assert_committed(commit_one(f, wanted), 1, 2);
    assert_int_equal(find_request(f, "r"), 2);
    assert_int_equal(find_request(f, "s"), 0);
    assert_earlier(commit_one(f, wanted), 2);
    /* stale or not: the first answer counts */
    wanted.read_lsn = 100;
    wanted.incarnation = bytes_of("other incarnat..", 16);
    assert_earlier(commit_one(f, wanted), 2);
    assert_int_equal(head_of(f, "p"), 2);
    /* elsewhere it is another request */
    assert_committed(commit_one(f, (struct wanted) { .documents = "1", .request = "r", .last = true, .project = "q" }), 1, 1);
}

static void repeated_in_one_group_waits_for_it(void **state)
{
    struct fixture *f = *state;
    struct wanted wanted = { .documents = "1", .request = "r", .last = true };
    struct append_batch *first = submit(f, wanted), *second = submit(f, wanted);
    wanted.hash = "other";
    struct append_batch *third = submit(f, wanted);
    assert_int_equal(form(f), 1);
    assert_int_equal(find_request(f, "r"), 0);
    assert_false(finished(second));
    assert_false(finished(third));
    end_group(f, APPEND_COMMITTED);
    assert_committed(first, 1, 1);
    assert_earlier(second, 1);
    assert_refused(third, ERROR_INVALID_ARGUMENT, OUTCOME_NOT_APPLIED);
    assert_int_equal(head_of(f, "p"), 1);
}

static void repeated_in_a_refused_group_takes_its_turn(void **state)
{
    struct fixture *f = *state;
    struct wanted wanted = { .documents = "1", .request = "r", .last = true };
    struct append_batch *first = submit(f, wanted), *second = submit(f, wanted);
    form(f);
    end_group(f, APPEND_REFUSED);
    assert_refused(first, ERROR_RESOURCE_EXHAUSTED, OUTCOME_NOT_APPLIED);
    form(f);
    end_group(f, APPEND_COMMITTED);
    assert_committed(second, 1, 1);
}

static void other_hash_is_another_request(void **state)
{
    struct fixture *f = *state;
    commit_one(f, (struct wanted) { .documents = "1", .request = "r", .hash = "one", .last = true });
    struct append_batch *other = commit_one(f, (struct wanted) { .documents = "2", .request = "r", .hash = "two", .last = true });
    assert_refused(other, ERROR_INVALID_ARGUMENT, OUTCOME_NOT_APPLIED);
    assert_int_equal(other->result.earlier_lsn, 0);
}

static void steps_follow_each_other(void **state)
{
    struct fixture *f = *state;
    struct append_batch *early = commit_one(f, (struct wanted) { .documents = "1", .request = "r", .step = 1 });
    assert_refused(early, ERROR_FAILED_PRECONDITION, OUTCOME_NOT_APPLIED);
    assert_int_equal(early->result.earlier_lsn, 0);

    assert_committed(commit_one(f, (struct wanted) { .documents = "1", .request = "r" }), 1, 1);
    struct append_batch *skipping = commit_one(f, (struct wanted) { .documents = "3", .request = "r", .step = 2 });
    assert_refused(skipping, ERROR_FAILED_PRECONDITION, OUTCOME_NOT_APPLIED);
    assert_int_equal(skipping->result.earlier_lsn, 1);

    /* two steps in one group, then a repetition of each, and one beyond the last */
    struct append_batch *second = submit(f, (struct wanted) { .documents = "2", .request = "r", .step = 1 });
    struct append_batch *third = submit(f, (struct wanted) { .documents = "3", .request = "r", .step = 2, .last = true });
    struct append_batch *again = submit(f, (struct wanted) { .documents = "2", .request = "r", .step = 1 });
    assert_int_equal(form(f), 2);
    end_group(f, APPEND_COMMITTED);
    assert_committed(second, 2, 2);
    assert_committed(third, 3, 3);
    assert_earlier(again, 3);
    assert_earlier(commit_one(f, (struct wanted) { .documents = "1", .request = "r" }), 3);
    assert_earlier(commit_one(f, (struct wanted) { .documents = "9", .request = "r", .step = 3 }), 3);
    assert_int_equal(head_of(f, "p"), 3);
}

static void requests_survive_a_restart(void **state)
{
    struct fixture *f = *state;
    recover(f, (struct wanted) { .documents = "1", .request = "r", .last = false }, 1, 1);
    recover(f, (struct wanted) { .documents = "2", .request = "s", .last = true }, 2, 1);
    recover(f, (struct wanted) { .documents = "3", .request = "r", .step = 1, .last = false }, 3, 1);
    assert_int_equal(find_request(f, "r"), 3);
    assert_earlier(commit_one(f, (struct wanted) { .documents = "2", .request = "s", .last = true }), 2);
    assert_earlier(commit_one(f, (struct wanted) { .documents = "3", .request = "r", .step = 1 }), 3);
    assert_committed(commit_one(f, (struct wanted) { .documents = "4", .request = "r", .step = 2, .last = true, .read_lsn = 3 }), 4, 4);
}

static void forgotten_request_is_never_done_twice(void **state)
{
    struct fixture *f = *state;
    char id[32];
    struct commit_head head;
    uint64_t lsn = 0;
    do {
        snprintf(id, sizeof id, "request %llu", (unsigned long long)++lsn);
        recover(f, (struct wanted) { .documents = "1", .request = id, .last = true }, lsn, 1);
        commit_get_head(f->commit, bytes_of_string("p"), &head);
        assert_true(lsn < 100000);
    } while (head.request_horizon == 0);
    struct wanted wanted = { .documents = "x", .request = "request 1", .last = true, .read_lsn = head.lsn };
    struct append_batch *forgotten = commit_one(f, wanted);
    assert_refused(forgotten, ERROR_OUT_OF_RANGE, OUTCOME_UNKNOWN);
    wanted.request = "never seen";
    wanted.since_lsn = head.request_horizon - 1;
    assert_refused(commit_one(f, wanted), ERROR_OUT_OF_RANGE, OUTCOME_UNKNOWN);
    wanted.since_lsn = head.request_horizon;
    assert_committed(commit_one(f, wanted), head.lsn + 1, head.lsn + 1);
    assert_int_equal(head_of(f, "p"), head.lsn + 1);
}

/* ---- other ends ---------------------------------------------------------------------------------- */

static void fold(struct fixture *f, struct wanted wanted, uint64_t first_lsn)
{
    struct frame frame = frame_of(make(f, wanted), first_lsn, 123456);
    struct error err;
    assert_true(commit_fold(f->commit, &frame, &err));
}

static void moved_head_makes_the_checks_run_again(void **state)
{
    struct fixture *f = *state;
    commit_one(f, (struct wanted) { .documents = "0" });
    struct append_batch *conflicting = submit(f, (struct wanted) { .documents = "1", .read_lsn = 1 });
    struct append_batch *reading = submit(f, (struct wanted) { .documents = "2", .reads = "catalog", .read_lsn = 1 });
    struct append_batch *repeated = submit(f, (struct wanted) { .documents = "3", .request = "r", .last = true, .read_lsn = 1 });
    struct append_batch *elsewhere = submit(f, (struct wanted) { .documents = "1", .project = "q" });
    struct append_batch *free = submit(f, (struct wanted) { .documents = "4", .read_lsn = 1 });
    assert_int_equal(form(f), 5);
    struct append_batch *behind = submit(f, (struct wanted) { .documents = "4", .read_lsn = 1 });
    end_group(f, APPEND_HEAD_MOVED);
    assert_false(finished(conflicting));

    struct bytes project;
    uint64_t head;
    assert_true(commit_behind(f->commit, 0, &project, &head));
    assert_true(bytes_equal(project, bytes_of_string("p")));
    assert_int_equal(head, 1);
    assert_true(commit_behind(f->commit, 1, &project, &head));
    assert_true(bytes_equal(project, bytes_of_string("q")));
    assert_false(commit_behind(f->commit, 2, &project, &head));
    fold(f, (struct wanted) { .documents = "1 7", .writes = "catalog" }, 2);
    fold(f, (struct wanted) { .documents = "8", .request = "r", .last = true }, 4);
    assert_int_equal(head_of(f, "p"), 4);

    assert_int_equal(form(f), 2);
    assert_conflict(conflicting, "1", 3);
    assert_conflict(reading, "catalog", 3);
    assert_earlier(repeated, 4);
    end_group(f, APPEND_COMMITTED);
    assert_committed(elsewhere, 1, 1);
    assert_committed(free, 5, 5);
    assert_int_equal(free->result.timestamp, 123456);
    assert_conflict(behind, "4", 5);
}

static void unknown_outcome_is_told_apart_from_none(void **state)
{
    struct fixture *f = *state;
    struct append_batch *member = submit(f, (struct wanted) { .documents = "1", .request = "r", .last = true });
    struct append_batch *repeats = submit(f, (struct wanted) { .documents = "1", .request = "r", .last = true });
    struct append_batch *conflicts = submit(f, (struct wanted) { .documents = "1" });
    form(f);
    struct append_batch *waits = submit(f, (struct wanted) { .documents = "2" });
    struct append_batch *repeats_later = submit(f, (struct wanted) { .documents = "1", .request = "r", .last = true });
    end_group(f, APPEND_UNKNOWN);
    assert_refused(member, ERROR_UNAVAILABLE, OUTCOME_UNKNOWN);
    assert_refused(repeats, ERROR_UNAVAILABLE, OUTCOME_UNKNOWN);
    assert_int_equal(repeats->result.earlier_lsn, 0);
    assert_refused(conflicts, ERROR_UNAVAILABLE, OUTCOME_NOT_APPLIED);
    assert_int_equal(conflicts->result.n_conflicts, 0);
    assert_int_equal(head_of(f, "p"), 0);

    struct error why;
    error_set(&why, ERROR_UNAVAILABLE, "the disk says no");
    commit_abandon(f->commit, &why);
    collect(f);
    assert_refused(waits, ERROR_UNAVAILABLE, OUTCOME_NOT_APPLIED);
    assert_refused(repeats_later, ERROR_UNAVAILABLE, OUTCOME_UNKNOWN);
    assert_string_equal(waits->result.error.message, "the disk says no");
}

static void refused_group_leaves_no_trace(void **state)
{
    struct fixture *f = *state;
    struct append_batch *batch = submit(f, (struct wanted) { .documents = "1", .writes = "k", .request = "r", .last = true });
    f->now = 9999;
    form(f);
    end_group(f, APPEND_REFUSED);
    assert_refused(batch, ERROR_RESOURCE_EXHAUSTED, OUTCOME_NOT_APPLIED);
    assert_int_equal(head_of(f, "p"), 0);
    assert_int_equal(find_request(f, "r"), 0);
    f->now = 10;
    struct append_batch *next = commit_one(f, (struct wanted) { .documents = "1", .reads = "k", .request = "r", .last = true });
    assert_committed(next, 1, 1);
    assert_int_equal(next->result.timestamp, 10);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(lsns_have_no_gaps_and_count_by_project),
        TEST(runs_are_stamped),
        TEST(time_never_goes_back),
        TEST(groups_are_bounded_but_take_one_large_batch),
        TEST(committed_write_conflicts_at_once),
        TEST(writers_in_one_group_cannot_both_win),
        TEST(refused_batch_is_checked_again_when_the_group_was_refused),
        TEST(read_and_written_keys_conflict),
        TEST(unconditional_drops_document_conditions_only),
        TEST(at_most_64_conflicts_are_named),
        TEST(stale_writers_are_told),
        TEST(after_a_restart_the_window_begins_at_the_head),
        TEST(gap_in_the_log_is_data_loss),
        TEST(repeated_request_has_one_effect),
        TEST(repeated_in_one_group_waits_for_it),
        TEST(repeated_in_a_refused_group_takes_its_turn),
        TEST(other_hash_is_another_request),
        TEST(steps_follow_each_other),
        TEST(requests_survive_a_restart),
        TEST(forgotten_request_is_never_done_twice),
        TEST(moved_head_makes_the_checks_run_again),
        TEST(unknown_outcome_is_told_apart_from_none),
        TEST(refused_group_leaves_no_trace),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
