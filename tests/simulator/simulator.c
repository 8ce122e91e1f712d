/* Drives the commit core on the segment store with a simulated disk and clock, one event at a time, and kills it.
 *
 * Each seed is a history: writers submit batches (several projects and branches, conflicts, requests that repeat), the
 * process dies at some call of the disk or a call fails, the machine may lose its power, the log opens again. After
 * each answer and each start the log is compared with a model of it (model.h):
 *   - what was acknowledged is there once, in its place, byte for byte; what was refused is not
 *   - of a group whose outcome was never learned there is all or nothing
 *   - LSNs have no gaps and timestamps do not decrease, whatever the clock does
 *   - a committed batch had no key that it touched or read written after its read_lsn
 *   - no step of a request is committed twice, and a remembered request has its first answer
 *   - each start is a new incarnation, and what was learned under an earlier one holds as far as it does
 *
 *   simulator --seed N [--verbose]       one history, with its events
 *   simulator --seeds A..B               many
 *   --defect NAME                        on a store that is wrong: sync-skipped, sync-late, directory-sync-skipped,
 *                                        sync-failure-ignored
 *   --expect-violation                   succeeds if a seed finds one
 */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <fcntl.h>
#include <unistd.h>

#include "common/base/memory.h"
#include "tests/simulator/model.h"
#include "tests/simulator/simulated_disk.h"
#include "tests/support/temp_directory.h"
#include "wal-service/commit.h"
#include "wal-service/key_hash.h"
#include "wal-service/run_codec.h"
#include "wal-service/store/segment_store_internal.h"

enum { EVENTS = 60, MAX_SUBMITTED = 8, MAX_STARTS = 200, SEGMENT_BYTES = 16 << 10 };

static const char *const PROJECT_IDS[PROJECTS] = { "p0", "p1", "p2" };
static const char *const BRANCH_IDS[BRANCHES] = { "main", "b1" };

/* What a writer knows of a request that it sent. */
struct request {
    int project;
    uint32_t steps, next;
    uint64_t since_lsn;
    char id[16];
};

struct submitted {
    struct append_batch batch;
    struct model_batch as_sent; /* keys and request */
    int project;
    uint32_t reads;
    bool stale_incarnation;
};

struct start {
    uint8_t incarnation[INCARNATION_BYTES];
    uint64_t ended[PROJECTS]; /* head when the next one was shown */
};

struct simulation {
    uint64_t seed;
    bool verbose;
    struct prng prng;
    struct temp_directory directory;
    int directory_fd;
    struct simulated_disk disk;
    struct model model;
    struct commit *commit;
    struct log_store *store;
    bool small_windows;
    uint64_t clock;
    uint64_t serial;
    struct arena arena;
    struct submitted submitted[MAX_SUBMITTED];
    size_t n_submitted;
    struct submitted *unknown[MAX_SUBMITTED]; /* of the group whose outcome nobody knows */
    size_t n_unknown;
    struct request requests[REQUESTS];
    int n_requests;
    struct start starts[MAX_STARTS];
    size_t n_starts;
    uint64_t crashes, power_cuts, committed, refused, unknowns;
    char violation[512];
};

static void say(const struct simulation *sim, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void say(const struct simulation *sim, const char *format, ...)
{
    va_list args;
    if (!sim->verbose)
        return;
    printf("%6" PRIu64 "  ", sim->disk.steps);
    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    putchar('\n');
}

static bool violate(struct simulation *sim, const char *format, ...) __attribute__((format(printf, 2, 3)));
static bool violate(struct simulation *sim, const char *format, ...)
{
    va_list args;
    if (sim->violation[0])
        return false;
    va_start(args, format);
    vsnprintf(sim->violation, sizeof sim->violation, format, args);
    va_end(args);
    return false;
}

static bool violated(const struct simulation *sim)
{
    return sim->violation[0] != '\0';
}

/* ---- the log against the model ------------------------------------------------------------------- */

struct comparison {
    struct simulation *sim;
    int project; /* -1: as the frame says */
    size_t seen[PROJECTS];
    uint64_t last_lsn[PROJECTS], timestamp[PROJECTS];
    struct commit *recovering;
};

static int project_number(struct bytes id)
{
    for (int i = 0; i < PROJECTS; i++)
        if (bytes_equal(id, bytes_of_string(PROJECT_IDS[i])))
            return i;
    return -1;
}

/* Adds the group of unknown outcome to the model: its first batch was met. */
static void learn_unknown(struct simulation *sim)
{
    for (size_t i = 0; i < sim->n_unknown; i++)
        model_add(&sim->model, sim->unknown[i]->project, &sim->unknown[i]->as_sent);
    say(sim, "the last group is in the log: %zu batches", sim->n_unknown);
    sim->n_unknown = 0;
}

static bool compare_frame(void *ctx, const struct frame *frame, struct error *err)
{
    struct comparison *comparison = ctx;
    struct simulation *sim = comparison->sim;
    int p = project_number(frame->project);
    if (p < 0 || (comparison->project >= 0 && p != comparison->project))
        return violate(sim, "a batch of project '%.*s'", (int)frame->project.len, (const char *)frame->project.data);
    size_t i = comparison->seen[p]++;
    if (i == sim->model.projects[p].n && sim->n_unknown)
        learn_unknown(sim);
    if (i >= sim->model.projects[p].n)
        return violate(sim, "project %d has a batch at LSN %" PRIu64 " that nobody was told of", p, frame->first_lsn);
    const struct model_batch *expected = &sim->model.projects[p].batches[i];
    if (frame->first_lsn != comparison->last_lsn[p] + 1 || frame->timestamp < comparison->timestamp[p])
        return violate(sim, "project %d, LSN %" PRIu64 ": it does not follow LSN %" PRIu64 " in order and time", p, frame->first_lsn,
                       comparison->last_lsn[p]);
    if (frame->first_lsn != expected->first_lsn || frame_digest(frame) != expected->digest)
        return violate(sim, "project %d, LSN %" PRIu64 ": not the batch that was written there", p, frame->first_lsn);
    comparison->last_lsn[p] = frame_last_lsn(frame);
    comparison->timestamp[p] = frame->timestamp;
    return !comparison->recovering || commit_recover(comparison->recovering, frame, err);
}

static bool complete(struct simulation *sim, const struct comparison *comparison, int p)
{
    if (comparison->seen[p] != sim->model.projects[p].n)
        return violate(sim, "project %d ends at LSN %" PRIu64 "; LSN %" PRIu64 " was acknowledged", p, comparison->last_lsn[p],
                       model_head(&sim->model, p));
    return true;
}

/* Reads every project through the store, and asks for its heads. */
static void check_reads(struct simulation *sim)
{
    for (int p = 0; p < PROJECTS && !violated(sim); p++) {
        struct comparison comparison = { .sim = sim, .project = p };
        struct log_range range = { .project = bytes_of_string(PROJECT_IDS[p]), .through = UINT64_MAX };
        struct error err = { 0 };
        struct log_head head;
        struct commit_head published;
        if (!log_store_scan(sim->store, &range, compare_frame, &comparison, &err))
            violate(sim, "a read failed: %s", err.message);
        else if (!violated(sim) && !complete(sim, &comparison, p))
            return;
        log_store_head(sim->store, range.project, &head);
        commit_get_head(sim->commit, range.project, &published);
        if (head.lsn != model_head(&sim->model, p) || published.lsn != head.lsn)
            violate(sim, "project %d: the head is %" PRIu64 " and %" PRIu64 ", not %" PRIu64, p, head.lsn, published.lsn,
                    model_head(&sim->model, p));
        for (size_t i = 0; i + 1 < sim->n_starts && !violated(sim); i++) {
            uint64_t through = log_store_known_through(sim->store, range.project, sim->starts[i].incarnation);
            if (through != sim->starts[i].ended[p])
                violate(sim, "project %d: incarnation %zu holds through %" PRIu64 ", not %" PRIu64, p, i, through, sim->starts[i].ended[p]);
        }
    }
}

/* Is each request known by its last step, as far as the window goes? */
static void check_requests(struct simulation *sim)
{
    for (int i = 0; i < sim->n_requests && !violated(sim); i++) {
        const struct request *request = &sim->requests[i];
        struct bytes project = bytes_of_string(PROJECT_IDS[request->project]);
        const struct model_batch *known = model_request(&sim->model, request->project, i);
        uint64_t lsn = commit_find_request(sim->commit, project, bytes_of_string(request->id)), expected = known ? known->last_lsn : 0;
        struct commit_head head;
        commit_get_head(sim->commit, project, &head);
        if (lsn != expected && !(lsn == 0 && expected <= head.request_horizon))
            violate(sim, "request %s: known at LSN %" PRIu64 ", committed at %" PRIu64, request->id, lsn, expected);
    }
}

/* ---- starts -------------------------------------------------------------------------------------- */

static void stop(struct simulation *sim)
{
    log_store_close(sim->store);
    commit_free(sim->commit);
    sim->store = NULL;
    sim->commit = NULL;
    sim->n_submitted = 0;
}

static bool try_open(struct simulation *sim)
{
    struct comparison comparison = { .sim = sim, .project = -1 };
    struct segment_store_options options = {
        .directory = sim->directory.path, .segment_bytes = SEGMENT_BYTES, .compress_after = 1, .keep_when_settled = true
    };
    struct segment_recovery report;
    struct error err = { 0 };
    comparison.recovering = sim->commit = commit_new(&(struct commit_options) {
        .conflict_window_bytes = sim->small_windows ? 4096 : 1 << 20,
        .request_window_bytes = sim->small_windows ? 4096 : 1 << 20,
        .hash_seed = prng_next(&sim->prng),
    });
    size_t had_unknown = sim->n_unknown;
    bool ok = segment_store_open_on(&sim->disk.disk, &options, compare_frame, &comparison, &report, &sim->store, &err);
    if (violated(sim))
        return false;
    if (!ok) {
        say(sim, "the log does not open: %s", err.message);
        bool excused = sim->disk.dead || sim->disk.faulted || (sim->disk.full && err.code == ERROR_RESOURCE_EXHAUSTED);
        if (err.code == ERROR_DATA_LOSS || !excused)
            violate(sim, "the log does not open: %s", err.message);
        /* what recovery read was shown to nobody: a power cut may still take it */
        if (had_unknown && !sim->n_unknown) {
            sim->n_unknown = had_unknown;
            for (size_t i = 0; i < had_unknown; i++)
                sim->model.projects[sim->unknown[i]->project].n--;
        }
        commit_free(sim->commit);
        sim->commit = NULL;
        sim->store = NULL;
        return false;
    }
    segment_store_settle(sim->store);
    sim->n_unknown = 0; /* if it was not met, it is gone for ever */
    for (int p = 0; p < PROJECTS; p++)
        if (complete(sim, &comparison, p)) {
            sim->model.projects[p].recovered_head = model_head(&sim->model, p);
            if (sim->n_starts)
                sim->starts[sim->n_starts - 1].ended[p] = model_head(&sim->model, p);
        }
    struct start *start = &sim->starts[sim->n_starts++];
    log_store_incarnation(sim->store, start->incarnation);
    commit_set_incarnation(sim->commit, start->incarnation);
    for (struct start *other = sim->starts; other < start; other++)
        if (memcmp(other->incarnation, start->incarnation, INCARNATION_BYTES) == 0)
            violate(sim, "two starts have one incarnation");
    say(sim, "start %zu: %" PRIu64 " batches in %" PRIu64 " segments, %" PRIu64 " bytes dropped", sim->n_starts, report.frames,
        report.segments, report.dropped_bytes);
    return true;
}

/* Chooses what will go wrong, now or later. */
static void plan_trouble(struct simulation *sim)
{
    struct simulated_disk *disk = &sim->disk;
    if (prng_one_in(&sim->prng, 2) && !disk->die_at)
        disk->die_at = disk->steps + 1 + prng_below(&sim->prng, prng_one_in(&sim->prng, 3) ? 6 : 60);
    else if (prng_one_in(&sim->prng, 3) && !disk->fault_at)
        disk->fault_at = disk->steps + 1 + prng_below(&sim->prng, 40);
    disk->full = prng_one_in(&sim->prng, 12);
}

/* After a death, or a stop: the log as the next start finds it. */
static void restart(struct simulation *sim)
{
    for (int tries = 0; !violated(sim) && !sim->store && sim->n_starts < MAX_STARTS; tries++) {
        if (prng_one_in(&sim->prng, 2)) {
            sim->power_cuts++;
            say(sim, "the power is cut");
            simulated_disk_cut_power(&sim->disk);
        } else {
            simulated_disk_restart(&sim->disk);
        }
        if (tries < 4 && prng_one_in(&sim->prng, 3))
            plan_trouble(sim);
        if (try_open(sim) && !sim->disk.dead && !sim->disk.faulted) {
            check_reads(sim);
            check_requests(sim);
        }
    }
}

/* ---- writers ------------------------------------------------------------------------------------- */

static struct batch_key key_of(int key, bool document)
{
    static const char letters[] = "abcdefghijklmnop";
    return (struct batch_key) { bytes_of_string(BRANCH_IDS[key / DOCUMENTS]), bytes_of_string(document ? "docs" : "_keys"),
                                bytes_of(letters + key, 1) };
}

static uint64_t hash_of(struct batch_key key)
{
    return key_hash(key_space_hash(key.branch_id, key.collection), key.document_id);
}

/* Bits 0..: documents, bits KEYS..: further keys. */
static size_t hash_keys(struct simulation *sim, uint32_t bits, struct batch_key **keys, uint64_t **hashes)
{
    size_t n = 0;
    *keys = arena_alloc(&sim->arena, 32 * sizeof **keys);
    *hashes = arena_alloc(&sim->arena, 32 * sizeof **hashes);
    for (int i = 0; i < 2 * KEYS; i++)
        if (bits >> i & 1) {
            (*keys)[n] = key_of(i % KEYS, i < KEYS);
            (*hashes)[n] = hash_of((*keys)[n]);
            n++;
        }
    return n;
}

static uint32_t random_keys(struct simulation *sim, size_t at_most)
{
    uint32_t bits = 0;
    for (size_t n = prng_below(&sim->prng, at_most + 1); n > 0; n--)
        bits |= UINT32_C(1) << prng_below(&sim->prng, KEYS);
    return bits;
}

/* The documents of one branch as a run. */
static void encode_run(struct simulation *sim, struct frame_run *run, const struct batch_key *keys, size_t n, size_t size)
{
    struct run_header header = { .branch_id = keys[0].branch_id, .collection = keys[0].collection };
    uint8_t *document = arena_zalloc(&sim->arena, size);
    struct run_entry entry = { .operation = 1, .document = bytes_of(document, size) };
    size_t bytes = 0;
    put_u64(document, ++sim->serial);
    for (size_t i = 8; i < size; i++)
        document[i] = (uint8_t)prng_next(&sim->prng);
    for (size_t i = 0; i < n; i++) {
        entry.document_id = keys[i].document_id;
        bytes += run_entry_size(&entry);
    }
    uint8_t *encoded = arena_alloc(&sim->arena, run_encoded_size(&header, bytes)), *at = run_begin(encoded, &header, bytes);
    for (size_t i = 0; i < n; i++) {
        entry.document_id = keys[i].document_id;
        at = run_put_entry(at, &entry);
    }
    at = run_end(at);
    *run = (struct frame_run) { header.branch_id, header.collection, (uint32_t)n, bytes_of(encoded, (size_t)(at - encoded)) };
}

static void choose_request(struct simulation *sim, struct submitted *sent)
{
    struct append_batch *batch = &sent->batch;
    struct request *request = NULL;
    sent->as_sent.request = -1;
    if (prng_one_in(&sim->prng, 3))
        return;
    if (sim->n_requests && prng_one_in(&sim->prng, 2)) /* again, or its next step */
        request = &sim->requests[prng_below(&sim->prng, (uint64_t)sim->n_requests)];
    if (request && request->project != sent->project)
        request = NULL;
    if (!request && sim->n_requests < REQUESTS) {
        request = &sim->requests[sim->n_requests++];
        *request = (struct request) { .project = sent->project, .steps = 1 + (uint32_t)prng_below(&sim->prng, 3) };
        request->since_lsn = model_head(&sim->model, sent->project);
        snprintf(request->id, sizeof request->id, "r%d", sim->n_requests);
    }
    if (!request)
        return;
    uint32_t step = request->next;
    if (step == request->steps || (step && prng_one_in(&sim->prng, 4)))
        step = (uint32_t)prng_below(&sim->prng, request->steps);
    sent->as_sent.other_hash = prng_one_in(&sim->prng, 20);
    sent->as_sent.request = (int)(request - sim->requests);
    sent->as_sent.step = step;
    sent->as_sent.last = step + 1 == request->steps;
    batch->since_lsn = request->since_lsn;
    batch->request = (struct request_step) {
        .id = bytes_of_string(request->id),
        .hash = bytes_of_string(sent->as_sent.other_hash ? "another" : "hash"),
        .step = step,
        .last = sent->as_sent.last,
        .answer = bytes_of_string("answer"),
    };
}

static void submit(struct simulation *sim)
{
    struct submitted *sent = &sim->submitted[sim->n_submitted++];
    struct append_batch *batch = &sent->batch;
    *sent = (struct submitted) { .project = (int)prng_below(&sim->prng, PROJECTS) };
    if (prng_one_in(&sim->prng, 2))
        sent->project = 0;
    uint32_t touched = random_keys(sim, MAX_ENTRIES - 1) | UINT32_C(1) << prng_below(&sim->prng, KEYS);
    uint32_t written = prng_one_in(&sim->prng, 4) ? random_keys(sim, 2) << KEYS : 0;
    uint32_t reads = prng_one_in(&sim->prng, 3) ? random_keys(sim, 2) << KEYS | random_keys(sim, 1) : 0;
    struct batch_key *keys, *write_keys, *read_keys;
    uint64_t *hashes, *write_hashes, *read_hashes;
    size_t n = hash_keys(sim, touched, &keys, &hashes), on_main = 0;
    struct frame_run *runs = arena_alloc(&sim->arena, BRANCHES * sizeof *runs);
    size_t size = 8 + prng_below(&sim->prng, prng_one_in(&sim->prng, 30) ? 5000 : 300);
    while (on_main < n && bytes_equal(keys[on_main].branch_id, bytes_of_string(BRANCH_IDS[0])))
        on_main++;
    if (on_main)
        encode_run(sim, &runs[batch->n_runs++], keys, on_main, size);
    if (on_main < n)
        encode_run(sim, &runs[batch->n_runs++], keys + on_main, n - on_main, size);
    sent->as_sent.touched = touched;
    sent->as_sent.written = written;
    sent->reads = reads;
    choose_request(sim, sent);

    uint64_t head = model_head(&sim->model, sent->project), back = prng_one_in(&sim->prng, 2) ? 0 : prng_below(&sim->prng, 12);
    batch->project = bytes_of_string(PROJECT_IDS[sent->project]);
    sent->stale_incarnation = sim->n_starts > 1 && prng_one_in(&sim->prng, 25);
    if (sent->stale_incarnation || prng_one_in(&sim->prng, 2))
        batch->incarnation = bytes_of(sim->starts[sim->n_starts - (sent->stale_incarnation ? 2 : 1)].incarnation, INCARNATION_BYTES);
    batch->runs = runs;
    batch->entries = (uint32_t)n;
    batch->touched = hashes;
    batch->n_reads = hash_keys(sim, reads, &read_keys, &read_hashes);
    batch->read_keys = read_keys;
    batch->read_hashes = read_hashes;
    batch->n_writes = hash_keys(sim, written, &write_keys, &write_hashes);
    batch->write_hashes = write_hashes;
    batch->read_lsn = prng_one_in(&sim->prng, 30) ? head + 1 : head - (back < head ? back : head);
    batch->unconditional = prng_one_in(&sim->prng, 10);
    batch->arena = &sim->arena;
    batch->bytes = 100 + n * size;
    commit_submit(sim->commit, batch);
}

/* ---- answers ------------------------------------------------------------------------------------- */

static struct submitted *sent_of(struct append_batch *batch)
{
    return (struct submitted *)((char *)batch - offsetof(struct submitted, batch));
}

/* A batch that takes its place in the log: may it? */
static void check_admission(struct simulation *sim, const struct submitted *sent)
{
    const struct append_batch *batch = &sent->batch;
    const struct model_batch *place = &sent->as_sent;
    int p = sent->project;
    uint32_t keys = (batch->unconditional ? 0 : place->touched) | sent->reads;
    uint64_t written = model_written(&sim->model, p, keys);
    if (place->first_lsn != model_head(&sim->model, p) + 1)
        violate(sim, "project %d: LSN %" PRIu64 " does not follow %" PRIu64, p, place->first_lsn, model_head(&sim->model, p));
    if (written > batch->read_lsn)
        violate(sim, "project %d, LSN %" PRIu64 ": a key was written at %" PRIu64 ", after read_lsn %" PRIu64, p, place->first_lsn, written,
                batch->read_lsn);
    if (sent->stale_incarnation || batch->read_lsn > model_head(&sim->model, p))
        violate(sim, "project %d, LSN %" PRIu64 ": a stale batch was admitted", p, place->first_lsn);
    const struct model_batch *before = place->request < 0 ? NULL : model_request(&sim->model, p, place->request);
    if (before && before->other_hash != place->other_hash)
        violate(sim, "project %d, LSN %" PRIu64 ": request %d is committed as two different ones", p, place->first_lsn, place->request);
    if (before && (before->last || place->step != before->step + 1))
        violate(sim, "project %d, LSN %" PRIu64 ": step %u of request %d is committed after step %u", p, place->first_lsn, place->step,
                place->request, before->step);
}

static void place_batch(struct submitted *sent, const struct frame *frame)
{
    sent->as_sent.first_lsn = frame->first_lsn;
    sent->as_sent.last_lsn = frame_last_lsn(frame);
    sent->as_sent.timestamp = frame->timestamp;
    sent->as_sent.digest = frame_digest(frame);
}

static void check_refusal(struct simulation *sim, const struct submitted *sent)
{
    const struct append_batch *batch = &sent->batch;
    const struct append_result *result = &batch->result;
    const struct model_project *project = &sim->model.projects[sent->project];
    uint32_t keys = (batch->unconditional ? 0 : sent->as_sent.touched) | sent->reads;
    if (result->error.code == ERROR_ABORTED && !result->stale && model_written(&sim->model, sent->project, keys) <= batch->read_lsn)
        violate(sim, "a batch was refused for a conflict that is none");
    if (result->stale && !sim->small_windows && !sent->stale_incarnation && batch->read_lsn >= project->recovered_head &&
        batch->read_lsn <= model_head(&sim->model, sent->project))
        violate(sim, "a batch was refused as stale that is not");
    if (result->error.code == ERROR_OUT_OF_RANGE && !sim->small_windows)
        violate(sim, "a request was called forgotten that is not");
}

/* The answers that the writers get now. */
static void take_answers(struct simulation *sim)
{
    struct append_batch *next;
    for (struct append_batch *batch = commit_take_finished(sim->commit); batch; batch = next) {
        const struct submitted *sent = sent_of(batch);
        const struct append_result *result = &batch->result;
        next = batch->next;
        if (result->error.code == ERROR_OK && result->earlier_lsn) {
            const struct model_batch *first = NULL;
            const struct model_project *project = &sim->model.projects[sent->project];
            for (size_t i = 0; i < project->n; i++)
                if (project->batches[i].last_lsn == result->earlier_lsn)
                    first = &project->batches[i];
            if (!first || first->request != sent->as_sent.request || (!first->last && first->step < sent->as_sent.step))
                violate(sim, "a repeated request is told of LSN %" PRIu64 ", which is another's", result->earlier_lsn);
        } else if (result->error.code == ERROR_OK) {
            sim->committed++;
            const struct model_batch *mine = NULL;
            const struct model_project *project = &sim->model.projects[sent->project];
            for (size_t i = project->n; i > 0 && !mine; i--)
                if (project->batches[i - 1].first_lsn == result->first_lsn)
                    mine = &project->batches[i - 1];
            if (!mine || mine->last_lsn != result->last_lsn || mine->digest != sent->as_sent.digest)
                violate(sim, "a batch is acknowledged at LSN %" PRIu64 ", where it is not", result->first_lsn);
        } else if (result->error.outcome == OUTCOME_NOT_APPLIED) {
            sim->refused++;
            check_refusal(sim, sent);
        } else {
            sim->unknowns++;
        }
        if (sent->as_sent.request >= 0 && result->error.code == ERROR_OK) {
            struct request *request = &sim->requests[sent->as_sent.request];
            if (sent->as_sent.step >= request->next)
                request->next = sent->as_sent.step + 1;
        }
    }
}

/* Submits, forms groups, appends until nothing waits. */
static void write_batches(struct simulation *sim)
{
    sim->n_submitted = 0;
    arena_destroy(&sim->arena);
    arena_init(&sim->arena, 0);
    for (uint64_t n = 1 + prng_below(&sim->prng, MAX_SUBMITTED); n > 0; n--)
        submit(sim);
    sim->clock += prng_below(&sim->prng, 1000);
    if (prng_one_in(&sim->prng, 10))
        sim->clock -= prng_below(&sim->prng, 100000); /* someone sets the clock */
    while (commit_gather(sim->commit) && !violated(sim)) {
        struct commit_group group;
        struct error err = { 0 };
        struct submitted *members[MAX_SUBMITTED];
        size_t counts[PROJECTS];
        commit_take_group(sim->commit, sim->clock, &group);
        take_answers(sim);
        if (!group.n)
            continue;
        for (int p = 0; p < PROJECTS; p++)
            counts[p] = sim->model.projects[p].n;
        for (size_t i = 0; i < group.n && !violated(sim); i++) {
            size_t j = 0;
            while (sim->submitted[j].batch.runs != group.frames[i].runs)
                j++;
            members[i] = &sim->submitted[j];
            place_batch(members[i], &group.frames[i]);
            check_admission(sim, members[i]);
            model_add(&sim->model, members[i]->project, &members[i]->as_sent);
        }
        enum append_outcome outcome = log_store_append(sim->store, group.frames, group.n, &err);
        segment_store_settle(sim->store);
        say(sim, "a group of %zu batches: %s", group.n, outcome == APPEND_COMMITTED ? "committed" : err.message);
        /* in the model while the rest is checked; refused ones leave it, unknown ones until the log tells */
        if (outcome != APPEND_COMMITTED)
            for (int p = 0; p < PROJECTS; p++)
                sim->model.projects[p].n = counts[p];
        commit_group_done(sim->commit, outcome, &err);
        if (outcome == APPEND_COMMITTED)
            commit_publish(sim->commit);
        if (outcome == APPEND_HEAD_MOVED)
            violate(sim, "the head moved, but nobody else writes");
        if (outcome == APPEND_REFUSED && !sim->disk.full && !sim->disk.faulted)
            violate(sim, "refused without a reason: %s", err.message);
        if (outcome == APPEND_UNKNOWN) {
            if (!sim->disk.dead && !sim->disk.faulted)
                violate(sim, "the log failed without a reason: %s", err.message);
            memcpy(sim->unknown, members, group.n * sizeof members[0]);
            sim->n_unknown = group.n;
            commit_abandon(sim->commit, &err);
            take_answers(sim);
            return;
        }
        take_answers(sim);
    }
}

/* ---- a history ----------------------------------------------------------------------------------- */

static void one_event(struct simulation *sim)
{
    struct error err = { 0 };
    bool stops = prng_one_in(&sim->prng, 40), alive = true;
    if (prng_one_in(&sim->prng, 4))
        plan_trouble(sim);
    switch (prng_below(&sim->prng, 10)) {
    case 0:
        alive = log_store_vouch(sim->store, &err);
        break;
    case 1:
        if (!sim->disk.dead && !sim->disk.faulted)
            check_reads(sim);
        break;
    default:
        write_batches(sim);
        alive = sim->n_unknown == 0;
    }
    if (!alive || sim->disk.dead || stops) {
        say(sim, stops ? "a clean stop" : "the process dies");
        sim->crashes++;
        stop(sim);
        restart(sim);
    }
}

static bool simulate(struct simulation *sim, uint64_t seed, enum defect defect, bool verbose, uint64_t *digest)
{
    *sim = (struct simulation) { .seed = seed, .verbose = verbose, .prng = { seed * 3 + 1 }, .clock = UINT64_C(1700000000000000) };
    program_prng.state = seed * 5 + 2;
    temp_directory_make(&sim->directory);
    sim->directory_fd = open(sim->directory.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    simulated_disk_init(&sim->disk, seed * 7 + 3, defect, sim->directory_fd);
    sim->small_windows = prng_one_in(&sim->prng, 4);
    arena_init(&sim->arena, 0);
    restart(sim);
    for (int i = 0; i < EVENTS && sim->store && !violated(sim); i++)
        one_event(sim);
    if (sim->store) {
        stop(sim);
        restart(sim);
    }
    if (sim->store)
        stop(sim);
    *digest = sim->disk.digest;
    bool ok = !violated(sim);
    if (!ok)
        printf("seed %" PRIu64 ", step %" PRIu64 ": %s\n", seed, sim->disk.steps, sim->violation);
    say(sim,
        "%" PRIu64 " committed, %" PRIu64 " refused, %" PRIu64 " unknown; %" PRIu64 " crashes, %" PRIu64 " power cuts; digest %016" PRIx64,
        sim->committed, sim->refused, sim->unknowns, sim->crashes, sim->power_cuts, *digest);
    simulated_disk_destroy(&sim->disk);
    model_destroy(&sim->model);
    arena_destroy(&sim->arena);
    commit_free(sim->commit);
    close(sim->directory_fd);
    temp_directory_remove(&sim->directory);
    return ok;
}

static enum defect defect_named(const char *name)
{
    static const char *const names[] = { "none", "sync-skipped", "sync-late", "directory-sync-skipped", "sync-failure-ignored" };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(name, names[i]) == 0)
            return (enum defect)i;
    fprintf(stderr, "no defect '%s'\n", name);
    exit(2);
}

int main(int argc, char **argv)
{
    static struct simulation sim;
    uint64_t first = 1, last = 100, found = 0, committed = 0, crashes = 0, digest, again;
    bool verbose = false, expect = false;
    enum defect defect = DEFECT_NONE;
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--verbose") == 0)
            verbose = true;
        else if (strcmp(argv[i], "--expect-violation") == 0)
            expect = true;
        else if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc)
            first = last = strtoull(argv[++i], NULL, 10);
        else if (strcmp(argv[i], "--defect") == 0 && i + 1 < argc)
            defect = defect_named(argv[++i]);
        else if (strcmp(argv[i], "--seeds") == 0 && i + 1 < argc && sscanf(argv[i + 1], "%" SCNu64 "..%" SCNu64, &first, &last) == 2)
            i++;
        else
            return fprintf(stderr, "usage: simulator --seed N | --seeds A..B [--verbose] [--defect NAME] [--expect-violation]\n"), 2;
    }
    for (uint64_t seed = first; seed <= last && !(expect && found); seed++) {
        found += !simulate(&sim, seed, defect, verbose, &digest);
        committed += sim.committed;
        crashes += sim.crashes;
        /* the same seed is the same history: otherwise what it finds cannot be looked at */
        if (seed % 50 == 0 && (simulate(&sim, seed, defect, false, &again), again != digest))
            return printf("seed %" PRIu64 " does not repeat itself\n", seed), 1;
    }
    printf("%" PRIu64 " seeds, %" PRIu64 " violations; %" PRIu64 " batches committed, %" PRIu64 " ends of the process\n", last - first + 1,
           found, committed, crashes);
    if (expect)
        return found ? 0 : 1;
    return found ? 1 : 0;
}
