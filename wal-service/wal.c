#include "wal-service/wal.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/limits.h"
#include "common/base/log.h"
#include "common/base/memory.h"
#include "common/base/random.h"
#include "common/base/sync.h"
#include "common/bson/iso_date.h"
#include "wal-service/commit.h"
#include "wal-service/wal_counters.h"

/* A group that nothing followed for so long is vouched for. */
#define IDLE_MICROS (MICROS_PER_SECOND / 10)

struct wal {
    struct wal_options options;
    struct log_store *store;

    struct mutex lock;     /* rank 20: what commit.h puts under the driver's lock, and: */
    struct condition work; /* something was submitted, or stopping */
    size_t queued;         /* appends without an answer */
    size_t queued_bytes;   /* of these */
    uint64_t published;    /* entries */
    uint64_t conflicts;    /* batches refused as ABORTED */
    bool stopping;
    bool failed;

    struct follow_registry *followers;

    pthread_t commit_thread;
    struct commit *commit;
    bool vouched;   /* the commit thread's: nothing was appended since the last vouch */
    bool disk_full; /* the commit thread's: logged already */

    struct mutex lookup_lock; /* rank 21 */
    struct condition lookup_work;
    struct wal_lookup *lookups, **lookups_end; /* under lookup_lock */
    bool lookups_stopping;                     /* under lookup_lock */
    pthread_t lookup_thread;
};

static uint64_t now(const struct wal *wal)
{
    return wal->options.clock ? wal->options.clock(wal->options.ctx) : clock_wall_micros();
}

/* ---- the lookup thread --------------------------------------------------------------------------- */

static void submit_lookup(struct wal *wal, struct wal_lookup *lookup)
{
    lookup->next = NULL;
    mutex_lock(&wal->lookup_lock);
    *wal->lookups_end = lookup;
    wal->lookups_end = &lookup->next;
    condition_signal(&wal->lookup_work);
    mutex_unlock(&wal->lookup_lock);
}

static void *run_lookups(void *ctx)
{
    struct wal *wal = ctx;
    for (;;) {
        mutex_lock(&wal->lookup_lock);
        while (!wal->lookups && !wal->lookups_stopping)
            condition_wait(&wal->lookup_work, &wal->lookup_lock);
        struct wal_lookup *lookup = wal->lookups;
        wal->lookups = NULL;
        wal->lookups_end = &wal->lookups;
        mutex_unlock(&wal->lookup_lock);
        if (!lookup)
            return NULL;
        for (struct wal_lookup *next; lookup; lookup = next) {
            next = lookup->next; /* run ends the lookup's life */
            lookup->run(wal, lookup);
        }
    }
}

struct outcome_reader {
    struct arena *arena;
    struct request_outcome *outcome;
};

static bool copy_bytes(struct arena *arena, struct bytes from, struct bytes *to)
{
    const void *copy = arena_copy(arena, from.data, from.len);
    *to = bytes_of(copy, from.len);
    return copy != NULL;
}

static bool copy_outcome(void *ctx, const struct frame *frame, struct error *err)
{
    struct outcome_reader *reader = ctx;
    struct request_outcome *outcome = arena_alloc(reader->arena, sizeof *outcome);
    if (!outcome)
        goto exhausted;
    *outcome = (struct request_outcome) {
        .step = frame->request,
        .first_lsn = frame->first_lsn,
        .last_lsn = frame_last_lsn(frame),
        .timestamp = frame->timestamp,
    };
    if (!copy_bytes(reader->arena, frame->request.id, &outcome->step.id) ||
        !copy_bytes(reader->arena, frame->request.hash, &outcome->step.hash) ||
        !copy_bytes(reader->arena, frame->request.last_document_id, &outcome->step.last_document_id) ||
        !copy_bytes(reader->arena, frame->request.answer, &outcome->step.answer))
        goto exhausted;
    reader->outcome = outcome;
    return true;
exhausted:
    return error_set(err, ERROR_RESOURCE_EXHAUSTED, "no memory for the earlier outcome of a request");
}

/* The request in the frame that ends at lsn, which the window says is the one with this id. */
static bool read_outcome(struct wal *wal, struct bytes project, uint64_t lsn, struct bytes id, struct arena *arena,
                         const struct request_outcome **outcome, struct error *err)
{
    struct outcome_reader reader = { .arena = arena };
    struct log_range range = { .project = project, .after = lsn - 1, .through = lsn };
    if (!log_store_scan(wal->store, &range, copy_outcome, &reader, err))
        return error_wrap(err, "reading the request at LSN %" PRIu64, lsn);
    if (!reader.outcome || !bytes_equal(reader.outcome->step.id, id))
        return error_set(err, ERROR_INTERNAL, "the batch at LSN %" PRIu64 " does not carry the request that is remembered there", lsn);
    *outcome = reader.outcome;
    return true;
}

/* ---- appending ----------------------------------------------------------------------------------- */

static void complete_earlier(struct wal *wal, struct append_batch *batch)
{
    struct append_result *result = &batch->result;
    struct error err = { 0 };
    if (!read_outcome(wal, batch->project, result->earlier_lsn, batch->request.id, batch->arena, &result->earlier, &err)) {
        result->error = err; /* the request is committed, only its record cannot be read: outcome unknown */
        return;
    }
    /* The window compares a part of the hash only. */
    if (!bytes_equal(result->earlier->step.hash, batch->request.hash)) {
        result->earlier = NULL;
        error_set(&result->error, ERROR_INVALID_ARGUMENT, "the request_id was used before for another request");
        result->error.outcome = OUTCOME_NOT_APPLIED;
        return;
    }
    if (result->error.code == ERROR_OK) {
        result->first_lsn = result->earlier->first_lsn;
        result->last_lsn = result->earlier->last_lsn;
        result->timestamp = result->earlier->timestamp;
    }
}

static void run_append_lookup(struct wal *wal, struct wal_lookup *lookup)
{
    struct wal_append *append = (struct wal_append *)((char *)lookup - offsetof(struct wal_append, lookup));
    for (size_t i = 0; i < append->n_batches; i++)
        if (append->batches[i].result.earlier_lsn)
            complete_earlier(wal, &append->batches[i]);
    append->done(append);
}

bool wal_append(struct wal *wal, struct wal_append *append, struct error *err)
{
    struct error refused = { .code = ERROR_OK };
    bool may_be_in_log = false;
    assert(append->n_batches);
    append->unfinished = append->n_batches;
    append->lookup.run = run_append_lookup;
    mutex_lock(&wal->lock);
    if (wal->failed || wal->stopping) {
        error_set(&refused, ERROR_UNAVAILABLE, wal->failed ? "the log has failed" : "the service is stopping");
        for (size_t i = 0; wal->failed && i < append->n_batches; i++)
            may_be_in_log |= commit_may_hold(wal->commit, &append->batches[i]);
    } else if (wal->queued_bytes && wal->queued_bytes + append->bytes > wal->options.queue_bytes) {
        error_set(&refused, ERROR_RESOURCE_EXHAUSTED, "the queue of appends is full: %zu bytes wait", wal->queued_bytes);
        counter_add(&wal_counters.queue_refused, 1);
    } else {
        wal->queued++;
        wal->queued_bytes += append->bytes;
        for (size_t i = 0; i < append->n_batches; i++) {
            append->batches[i].owner = append;
            commit_submit(wal->commit, &append->batches[i]);
        }
        condition_signal(&wal->work);
    }
    mutex_unlock(&wal->lock);
    if (refused.code == ERROR_OK)
        return true;
    refused.outcome = may_be_in_log ? OUTCOME_UNKNOWN : OUTCOME_NOT_APPLIED;
    *err = refused;
    return false;
}

/* Answers the appends all of whose batches have a result now. */
static void deliver(struct wal *wal)
{
    struct wal_lookup *complete = NULL, **end = &complete;
    size_t bytes = 0, answered = 0, conflicts = 0, stale = 0, repeats = 0;
    for (struct append_batch *batch = commit_take_finished(wal->commit); batch; batch = batch->next) {
        struct wal_append *append = batch->owner;
        conflicts += batch->result.error.code == ERROR_ABORTED;
        stale += batch->result.error.code == ERROR_ABORTED && batch->result.stale;
        repeats += batch->result.error.code == ERROR_OK && batch->result.earlier_lsn;
        append->commit_lsn = commit_batch_head(batch);
        if (--append->unfinished)
            continue;
        bytes += append->bytes;
        answered++;
        *end = &append->lookup;
        end = &append->lookup.next;
    }
    *end = NULL;
    counter_add(&wal_counters.conflicts, conflicts - stale);
    counter_add(&wal_counters.stale_reads, stale);
    counter_add(&wal_counters.repeats, repeats);
    if (!complete && !conflicts)
        return;
    mutex_lock(&wal->lock);
    wal->queued -= answered;
    wal->queued_bytes -= bytes;
    wal->conflicts += conflicts;
    mutex_unlock(&wal->lock);
    for (struct wal_lookup *lookup = complete, *next; lookup; lookup = next) {
        next = lookup->next;
        struct wal_append *append = (struct wal_append *)((char *)lookup - offsetof(struct wal_append, lookup));
        bool earlier = false;
        for (size_t i = 0; i < append->n_batches; i++)
            earlier |= append->batches[i].result.earlier_lsn != 0;
        if (earlier)
            submit_lookup(wal, lookup);
        else
            append->done(append);
    }
}

/* ---- times --------------------------------------------------------------------------------------- */

static void run_time_lookup(struct wal *wal, struct wal_lookup *lookup)
{
    struct wal_time_query *query = (struct wal_time_query *)((char *)lookup - offsetof(struct wal_time_query, lookup));
    log_store_find_time(wal->store, query->project, query->micros, &query->found);
    query->done(query, NULL);
}

static void answer_times(struct wal *wal, struct time_promise *kept)
{
    for (struct time_promise *next; kept; kept = next) {
        next = kept->next;
        struct wal_time_query *query = (struct wal_time_query *)((char *)kept - offsetof(struct wal_time_query, promise));
        submit_lookup(wal, &query->lookup);
    }
}

static const char *time_text(uint64_t micros, char text[ISO_DATE_SIZE])
{
    int64_t millis = (int64_t)(micros / 1000);
    if (iso_date_has_text(millis))
        iso_date_format(millis, text);
    else
        snprintf(text, ISO_DATE_SIZE, "%" PRId64 " ms", millis);
    return text;
}

void wal_find_time(struct wal *wal, struct wal_time_query *query)
{
    struct commit_head head;
    struct log_head published;
    struct error err = { 0 };
    query->promise = (struct time_promise) { .project = query->project, .micros = query->micros };
    query->lookup.run = run_time_lookup;
    log_store_head(wal->store, query->project, &published);
    mutex_lock(&wal->lock);
    commit_get_head(wal->commit, query->project, &head);
    uint64_t reached = now(wal);
    if (head.timestamp > reached)
        reached = head.timestamp;
    if (published.timestamp > reached) /* of a group that readers see, and that the commit thread has not finished with */
        reached = published.timestamp;
    if (wal->failed || wal->stopping) {
        error_set(&err, ERROR_UNAVAILABLE, wal->failed ? "the log has failed" : "the service is stopping");
    } else if (query->micros > reached) {
        char asked[ISO_DATE_SIZE], clock[ISO_DATE_SIZE];
        error_set(&err, ERROR_OUT_OF_RANGE, "the time %s has not come: the clock is at %s", time_text(query->micros, asked),
                  time_text(reached, clock));
    } else {
        commit_promise(wal->commit, &query->promise);
        condition_signal(&wal->work);
    }
    mutex_unlock(&wal->lock);
    if (err.code != ERROR_OK)
        query->done(query, &err);
}

/* ---- the commit thread --------------------------------------------------------------------------- */

static void fail_log(struct wal *wal, const struct error *why)
{
    log_error("wal.failed", KV_ERR(why));
    mutex_lock(&wal->lock);
    wal->failed = true;
    commit_abandon(wal->commit, why);
    struct time_promise *promises = commit_take_promises(wal->commit);
    mutex_unlock(&wal->lock);
    /* the lost group may be in the log when it is opened again */
    for (struct time_promise *next; promises; promises = next) {
        struct wal_time_query *query = (struct wal_time_query *)((char *)promises - offsetof(struct wal_time_query, promise));
        next = promises->next;
        query->done(query, why);
    }
    deliver(wal);
    if (wal->options.failed)
        wal->options.failed(wal->options.ctx);
}

/* False: stopping and nothing waits, or the log has failed (err is set). */
static bool wait_for_batches(struct wal *wal, struct error *err)
{
    int64_t idle_at = clock_monotonic_micros() + IDLE_MICROS;
    bool waiting, vouch = false;
    mutex_lock(&wal->lock);
    for (;;) {
        waiting = commit_gather(wal->commit);
        struct time_promise *kept = commit_take_promises(wal->commit);
        if (kept) {
            mutex_unlock(&wal->lock);
            answer_times(wal, kept);
            mutex_lock(&wal->lock);
            continue;
        }
        if (waiting || wal->stopping || vouch)
            break;
        if (wal->vouched)
            condition_wait(&wal->work, &wal->lock);
        else
            vouch = !condition_wait_until(&wal->work, &wal->lock, idle_at);
    }
    mutex_unlock(&wal->lock);
    if (!vouch || waiting)
        return waiting;
    wal->vouched = true;
    return log_store_vouch(wal->store, err) && wait_for_batches(wal, err);
}

struct folding {
    struct wal *wal;
    size_t folded;
};

static bool fold_frame(void *ctx, const struct frame *frame, struct error *err)
{
    struct folding *folding = ctx;
    mutex_lock(&folding->wal->lock);
    bool folded = commit_fold(folding->wal->commit, frame, err);
    if (folded)
        folding->wal->published += frame_last_lsn(frame) - frame->first_lsn + 1;
    mutex_unlock(&folding->wal->lock);
    folding->folded += folded;
    return folded;
}

/* Reads what others have appended to the projects of the group. */
static bool catch_up(struct wal *wal, struct error *err)
{
    struct folding folding = { .wal = wal };
    struct log_range range = { 0 };
    for (size_t i = 0; commit_behind(wal->commit, i, &range.project, &range.after); i++) {
        struct log_head head;
        log_store_head(wal->store, range.project, &head);
        range.through = head.lsn;
        if (!log_store_scan(wal->store, &range, fold_frame, &folding, err))
            return error_wrap(err, "project '%.*s'", (int)range.project.len, (const char *)range.project.data);
        follow_moved(wal->followers, range.project);
    }
    return folding.folded || error_set(err, ERROR_INTERNAL, "the log says that its head moved, but has nothing new");
}

/* The group's frames and names are there until its batches are answered. */
static void wake_followers(struct wal *wal, const struct commit_group *group)
{
    for (size_t i = 0; i < group->n; i++)
        if (i == 0 || !bytes_equal(group->frames[i].project, group->frames[i - 1].project))
            follow_moved(wal->followers, group->frames[i].project);
}

static uint64_t measure_group(const struct commit_group *group)
{
    uint64_t entries = 0;
    for (size_t i = 0; i < group->n; i++)
        entries += frame_last_lsn(&group->frames[i]) - group->frames[i].first_lsn + 1;
    counter_add(&wal_counters.batches, group->n);
    histogram_number(&wal_counters.group_batches, group->n);
    histogram_number(&wal_counters.group_entries, entries);
    return entries;
}

/* False: the log has failed. */
static bool commit_one_group(struct wal *wal, struct error *err)
{
    struct commit_group group;
    struct error why = { 0 };
    uint64_t entries;
    commit_take_group(wal->commit, now(wal), &group);
    deliver(wal);
    if (!group.n)
        return true;
    enum append_outcome outcome = log_store_append(wal->store, group.frames, group.n, &why);
    commit_group_done(wal->commit, outcome, &why);
    wal->vouched = false;
    switch (outcome) {
    case APPEND_COMMITTED:
        entries = measure_group(&group);
        mutex_lock(&wal->lock);
        commit_publish(wal->commit);
        wal->published += entries;
        mutex_unlock(&wal->lock);
        wake_followers(wal, &group);
        wal->disk_full = false;
        break;
    case APPEND_HEAD_MOVED:
        return catch_up(wal, err);
    case APPEND_REFUSED:
        counter_add(&wal_counters.disk_refused, 1);
        if (!wal->disk_full)
            log_warn("wal.append_refused", KV_ERR(&why));
        wal->disk_full = true;
        break;
    case APPEND_UNKNOWN:
        *err = why;
        return false;
    }
    deliver(wal);
    return true;
}

static void *run_commits(void *ctx)
{
    struct wal *wal = ctx;
    struct error err = { 0 };
    while (wait_for_batches(wal, &err))
        if (!commit_one_group(wal, &err))
            break;
    if (err.code != ERROR_OK)
        fail_log(wal, &err);
    return NULL;
}

/* ---- lookups ------------------------------------------------------------------------------------- */

static void run_head_lookup(struct wal *wal, struct wal_lookup *lookup)
{
    struct wal_head_query *query = (struct wal_head_query *)((char *)lookup - offsetof(struct wal_head_query, lookup));
    struct error err = { 0 };
    if (!read_outcome(wal, query->project, query->request_lsn, query->request_id, query->arena, &query->request, &err)) {
        query->done(query, &err);
        return;
    }
    query->request_hash_differs = !bytes_equal(query->request->step.hash, query->request_hash);
    query->done(query, NULL);
}

void wal_get_head(struct wal *wal, struct wal_head_query *query)
{
    struct commit_head head;
    bool asked = query->request_id.len > 0;
    mutex_lock(&wal->lock);
    commit_get_head(wal->commit, query->project, &head);
    query->request_lsn = asked ? commit_find_request(wal->commit, query->project, query->request_id) : 0;
    mutex_unlock(&wal->lock);

    query->commit_lsn = head.lsn;
    query->last_timestamp = head.timestamp;
    query->request_horizon = head.request_horizon;
    query->request = NULL;
    query->request_hash_differs = false;
    query->request_outcome_unknown = asked && !query->request_lsn && query->since_lsn < head.request_horizon;
    query->known_through = 0;
    if (query->known_incarnation.len == INCARNATION_BYTES) {
        query->known_through = log_store_known_through(wal->store, query->project, query->known_incarnation.data);
        if (query->known_through > head.lsn) /* the store is ahead until a group is published */
            query->known_through = head.lsn;
    }
    if (query->request_lsn) {
        counter_add(&wal_counters.repeats, 1);
        query->lookup.run = run_head_lookup;
        submit_lookup(wal, &query->lookup);
    } else {
        query->done(query, NULL);
    }
}

void wal_get_stats(struct wal *wal, struct wal_stats *stats)
{
    struct commit_stats commit;
    mutex_lock(&wal->lock);
    commit_get_stats(wal->commit, &commit);
    stats->queued = wal->queued;
    stats->queued_bytes = wal->queued_bytes;
    stats->published = wal->published;
    stats->conflicts = wal->conflicts;
    mutex_unlock(&wal->lock);
    log_store_stats(wal->store, &stats->store);
    stats->follow_streams = follow_count(wal->followers);
    stats->requests_remembered = commit.requests_remembered;
    stats->memory_bytes = stats->store.memory_bytes + commit.memory_bytes + stats->queued_bytes;
    stats->queue_limit = wal->options.queue_bytes;
    stats->follow_limit = wal->options.max_follows;
}

struct follow_registry *wal_followers(struct wal *wal)
{
    return wal->followers;
}

bool wal_has_failed(struct wal *wal)
{
    mutex_lock(&wal->lock);
    bool failed = wal->failed;
    mutex_unlock(&wal->lock);
    return failed;
}

/* ---- life ---------------------------------------------------------------------------------------- */

struct wal *wal_new(const struct wal_options *options)
{
    struct wal *wal = mem_zalloc(sizeof *wal);
    wal->options = *options;
    mutex_init(&wal->lock, 20);
    condition_init(&wal->work);
    mutex_init(&wal->lookup_lock, 21);
    condition_init(&wal->lookup_work);
    wal->lookups_end = &wal->lookups;
    wal->followers = follow_registry_new(options->max_follows);
    wal->vouched = true; /* the store's own start vouches for what it found */
    wal->commit = commit_new(&(struct commit_options) {
        .conflict_window_bytes = options->conflict_window_bytes,
        .request_window_bytes = options->request_window_bytes,
        .hash_seed = random_u64(),
    });
    return wal;
}

bool wal_recover(void *ctx, const struct frame *frame, struct error *err)
{
    struct wal *wal = ctx;
    wal->published += frame_last_lsn(frame) - frame->first_lsn + 1;
    return commit_recover(wal->commit, frame, err);
}

void wal_start(struct wal *wal, struct log_store *store)
{
    uint8_t incarnation[INCARNATION_BYTES];
    wal->store = store;
    log_store_incarnation(store, incarnation);
    commit_set_incarnation(wal->commit, incarnation);
    wal->commit_thread = thread_start("wal-commit", run_commits, wal);
    wal->lookup_thread = thread_start("wal-lookup", run_lookups, wal);
}

void wal_stop(struct wal *wal)
{
    mutex_lock(&wal->lock);
    wal->stopping = true;
    condition_signal(&wal->work);
    mutex_unlock(&wal->lock);
    pthread_join(wal->commit_thread, NULL);

    /* The commit thread was the last to leave appends here. */
    mutex_lock(&wal->lookup_lock);
    wal->lookups_stopping = true;
    condition_signal(&wal->lookup_work);
    mutex_unlock(&wal->lookup_lock);
    pthread_join(wal->lookup_thread, NULL);
}

void wal_free(struct wal *wal)
{
    if (!wal)
        return;
    commit_free(wal->commit);
    follow_registry_free(wal->followers);
    condition_destroy(&wal->work);
    mutex_destroy(&wal->lock);
    condition_destroy(&wal->lookup_work);
    mutex_destroy(&wal->lookup_lock);
    free(wal);
}
