/* States of the commit core:
 *
 *              take_group            take_group (group is empty)
 *            +------------> FORMED   IDLE ------> IDLE
 *            |                |
 *      IDLE -+                +- group_done(COMMITTED) --> DURABLE -- publish --> IDLE      members: OK
 *        ^                    |
 *        |                    +- group_done(REFUSED) ----> IDLE                             members: not applied
 *        |                    |
 *        |                    +- group_done(HEAD_MOVED) -> BEHIND                           all: back into the queue
 *        |                    |                             |  fold, fold, ...
 *        +--------------------|----- take_group ------------+  (forms the next group: FORMED or IDLE)
 *                             |
 *                             +- group_done(UNKNOWN) ----> DEAD -- abandon --> DEAD         members: unknown
 *
 * A batch is checked against the committed state and against the batches ahead of it in the group. Refused for what is
 * committed, it is finished at once. Refused for what is only in the group, it waits for the group, since its result
 * would name an LSN that may never exist:
 *
 *                      refused by the group (conflict, hash, step)    repeats a step in the group
 *      COMMITTED       as found                                       OK, earlier
 *      REFUSED, MOVED  checked again                                  checked again
 *      UNKNOWN         UNAVAILABLE, not applied: never was stored     UNAVAILABLE, unknown: the step may be in the log
 *
 * Order of the checks: request id, incarnation, read_lsn, keys. So a repeated request gets its first answer even when
 * the log has restarted or moved on since.
 *
 * Invariants  windows hold committed batches only; those of the group lie in overlays that are dropped with it.
 *             In a project LSNs have no gaps: first_lsn = group_head + 1, and group_head = head when there is no group.
 */
#include "wal-service/commit.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "common/base/memory.h"
#include "wal-service/batch_conflicts.h"
#include "wal-service/conflict_window.h"
#include "wal-service/key_hash.h"
#include "wal-service/request_window.h"
#include "wal-service/run_codec.h"

enum commit_state { COMMIT_IDLE, COMMIT_FORMED, COMMIT_DURABLE, COMMIT_BEHIND, COMMIT_DEAD };

struct batch_list {
    struct append_batch *first, *last;
};

struct commit_project {
    UT_hash_handle hh;
    char *id;
    size_t id_len;

    /* Published: written by the commit thread under the driver's lock. */
    uint64_t head, timestamp;
    struct request_space requests;

    /* The commit thread's. */
    struct conflict_space written;
    uint64_t answered; /* batches are later than this time: somebody was told what there is up to it */
    bool in_group;
    uint64_t group_head, group_timestamp;
    struct conflict_space group_written;
    struct request_space group_requests;
};

struct commit {
    /* Under the driver's lock. */
    struct commit_project *projects; /* uthash, by id */
    struct request_window request_window;
    struct batch_list incoming;
    struct time_promise *promised; /* not kept yet */
    size_t conflict_bytes;         /* of conflict_window, as of the last publish */

    /* The commit thread's. */
    enum commit_state state;
    uint8_t incarnation[INCARNATION_BYTES];
    struct conflict_window conflict_window;
    struct batch_list queue, group, finished;
    struct time_promise *kept;
    uint64_t answered_of_unknown; /* as answered, for the projects that nobody has written to yet */
    struct frame *frames;
    size_t n_frames, frames_capacity;
    size_t group_bytes;
    struct commit_project **group_projects; /* those with a member in the group, or in the one that met HEAD_MOVED */
    size_t n_group_projects, group_projects_capacity;
};

/* ---- lists, projects, keys ----------------------------------------------------------------------- */

static void list_append(struct batch_list *list, struct append_batch *batch)
{
    batch->next = NULL;
    *(list->last ? &list->last->next : &list->first) = batch;
    list->last = batch;
}

static struct append_batch *list_take_first(struct batch_list *list)
{
    struct append_batch *batch = list->first;
    list->first = batch->next;
    if (!list->first)
        list->last = NULL;
    batch->next = NULL;
    return batch;
}

/* Moves all of `from` behind `to`. */
static void list_join(struct batch_list *to, struct batch_list *from)
{
    if (!from->first)
        return;
    *(to->last ? &to->last->next : &to->first) = from->first;
    to->last = from->last;
    *from = (struct batch_list) { 0 };
}

static void finish(struct commit *commit, struct append_batch *batch)
{
    list_append(&commit->finished, batch);
}

static struct commit_project *find_project(const struct commit *commit, struct bytes id)
{
    struct commit_project *project;
    HASH_FIND(hh, commit->projects, id.data, id.len, project);
    return project;
}

static struct commit_project *need_project(struct commit *commit, struct bytes id)
{
    struct commit_project *project = find_project(commit, id);
    if (project)
        return project;
    project = mem_zalloc(sizeof *project);
    project->id = mem_strndup((const char *)id.data, id.len);
    project->id_len = id.len;
    project->answered = commit->answered_of_unknown;
    request_space_init(&project->requests, &commit->request_window, true);
    request_space_init(&project->group_requests, &commit->request_window, false);
    conflict_space_init(&project->written, &commit->conflict_window);
    conflict_space_init(&project->group_written, NULL);
    HASH_ADD_KEYPTR(hh, commit->projects, project->id, project->id_len, project);
    return project;
}

static void free_project(struct commit_project *project)
{
    request_space_destroy(&project->requests);
    request_space_destroy(&project->group_requests);
    conflict_space_destroy(&project->written);
    conflict_space_destroy(&project->group_written);
    free(project->id);
    free(project);
}

struct commit *commit_new(const struct commit_options *options)
{
    struct commit *commit = mem_zalloc(sizeof *commit);
    conflict_window_init(&commit->conflict_window, options->conflict_window_bytes);
    request_window_init(&commit->request_window, options->request_window_bytes, options->hash_seed);
    return commit;
}

void commit_free(struct commit *commit)
{
    if (!commit)
        return;
    assert(!commit->incoming.first && !commit->queue.first && !commit->group.first && !commit->finished.first);
    struct commit_project *project, *next;
    HASH_ITER(hh, commit->projects, project, next)
    {
        HASH_DEL(commit->projects, project);
        free_project(project);
    }
    free(commit->frames);
    free(commit->group_projects);
    free(commit);
}

void commit_set_incarnation(struct commit *commit, const uint8_t incarnation[INCARNATION_BYTES])
{
    memcpy(commit->incarnation, incarnation, INCARNATION_BYTES);
}

/* ---- frames that are in the log already ---------------------------------------------------------- */

static bool follow_head(struct commit_project *project, const struct frame *frame, struct error *err)
{
    if (frame->first_lsn != project->head + 1 || !frame->entries || frame->request.step > MAX_REQUEST_STEP)
        return error_set(err, ERROR_DATA_LOSS,
                         "project '%.*s': a batch at LSN %" PRIu64 " with %" PRIu32 " entries does not follow %" PRIu64,
                         (int)project->id_len, project->id, frame->first_lsn, frame->entries, project->head);
    return true;
}

static void advance_head(struct commit_project *project, const struct frame *frame)
{
    project->head = frame_last_lsn(frame);
    if (frame->timestamp > project->timestamp)
        project->timestamp = frame->timestamp;
    if (frame->request.id.len)
        request_space_add(&project->requests, &frame->request, project->head);
    project->group_head = project->head;
    project->group_timestamp = project->timestamp;
}

bool commit_recover(struct commit *commit, const struct frame *frame, struct error *err)
{
    struct commit_project *project = need_project(commit, frame->project);
    if (!follow_head(project, frame, err))
        return false;
    advance_head(project, frame);
    conflict_space_raise_floor(&project->written, project->head);
    return true;
}

bool commit_fold(struct commit *commit, const struct frame *frame, struct error *err)
{
    assert(commit->state == COMMIT_BEHIND);
    struct commit_project *project = need_project(commit, frame->project);
    if (!follow_head(project, frame, err))
        return false;
    uint64_t lsn = frame_last_lsn(frame);
    for (size_t i = 0; i < frame->n_runs; i++) {
        const struct frame_run *run = &frame->runs[i];
        uint64_t space = key_space_hash(run->branch_id, run->collection);
        struct run_reader reader;
        struct run_entry entry;
        if (!run_reader_init(&reader, run->encoded, err))
            return false;
        while (run_reader_more(&reader)) {
            if (!run_reader_next(&reader, &entry, err))
                return false;
            conflict_space_write(&project->written, key_hash(space, entry.document_id), lsn);
        }
    }
    for (size_t i = 0; i < frame->n_write_keys; i++)
        conflict_space_write(&project->written, frame->write_keys[i], lsn);
    advance_head(project, frame);
    return true;
}

bool commit_behind(const struct commit *commit, size_t i, struct bytes *project, uint64_t *head_lsn)
{
    assert(commit->state == COMMIT_BEHIND);
    if (i >= commit->n_group_projects)
        return false;
    *project = bytes_of(commit->group_projects[i]->id, commit->group_projects[i]->id_len);
    *head_lsn = commit->group_projects[i]->head;
    return true;
}

/* ---- checks -------------------------------------------------------------------------------------- */

enum verdict {
    ADMIT,
    REFUSED,          /* by what is committed: the result is final */
    REFUSED_BY_GROUP, /* by a batch ahead in the group */
    REPEATS_GROUP,
};

static enum verdict refuse(struct append_batch *batch, enum verdict verdict)
{
    batch->result.error.outcome = OUTCOME_NOT_APPLIED;
    return verdict;
}

static enum verdict check_request(struct append_batch *batch)
{
    const struct commit_project *project = batch->log;
    const struct request_step *step = &batch->request;
    struct append_result *result = &batch->result;
    if (!step->id.len)
        return ADMIT;

    const struct request_mark *mark = request_space_find(&project->group_requests, step->id);
    bool in_group = mark != NULL;
    if (!mark)
        mark = request_space_find(&project->requests, step->id);
    if (!mark) {
        if (batch->since_lsn < request_space_horizon(&project->requests)) {
            error_set(&result->error, ERROR_OUT_OF_RANGE,
                      "outcome unknown: requests up to LSN %" PRIu64 " may have been forgotten, this one is from after %" PRIu64,
                      request_space_horizon(&project->requests), batch->since_lsn);
            return REFUSED; /* its outcome stays unknown */
        }
        if (step->step) {
            error_set(&result->error, ERROR_FAILED_PRECONDITION, "step %" PRIu32 " of a request of which no step is committed", step->step);
            return refuse(batch, REFUSED);
        }
        return ADMIT;
    }
    if (!request_mark_has_hash(&project->requests, mark, step->hash)) {
        error_set(&result->error, ERROR_INVALID_ARGUMENT, "the request_id was used before for another request");
        return refuse(batch, in_group ? REFUSED_BY_GROUP : REFUSED);
    }
    if (mark->last || step->step <= mark->step) {
        result->earlier_lsn = mark->lsn;
        return in_group ? REPEATS_GROUP : REFUSED;
    }
    if (step->step != mark->step + 1u) {
        result->earlier_lsn = mark->lsn;
        error_set(&result->error, ERROR_FAILED_PRECONDITION,
                  "step %" PRIu32 " does not follow step %" PRIu32 ", the last that is committed", step->step, (uint32_t)mark->step);
        return refuse(batch, in_group ? REFUSED_BY_GROUP : REFUSED);
    }
    return ADMIT;
}

static enum verdict check_stale(const struct commit *commit, struct append_batch *batch)
{
    const struct commit_project *project = batch->log;
    uint64_t floor = conflict_space_floor(&project->written);
    bool conditional = !batch->unconditional || batch->n_reads;
    struct error *error = &batch->result.error;
    if (batch->incarnation.len && !bytes_equal(batch->incarnation, bytes_of(commit->incarnation, INCARNATION_BYTES)))
        error_set(error, ERROR_ABORTED, "stale: the log has a new incarnation");
    else if (batch->read_lsn > project->head)
        error_set(error, ERROR_ABORTED, "stale: read_lsn %" PRIu64 " lies beyond the commit LSN %" PRIu64, batch->read_lsn, project->head);
    else if (conditional && batch->read_lsn < floor)
        error_set(error, ERROR_ABORTED, "stale: conflicts are known from LSN %" PRIu64 " on, read_lsn is %" PRIu64, floor, batch->read_lsn);
    else
        return ADMIT;
    batch->result.stale = true;
    return refuse(batch, REFUSED);
}

static enum verdict check(const struct commit *commit, struct append_batch *batch)
{
    batch->result = (struct append_result) { 0 };
    enum verdict verdict = check_request(batch);
    if (verdict == ADMIT)
        verdict = check_stale(commit, batch);
    if (verdict != ADMIT)
        return verdict;
    if (batch_find_conflicts(batch, &batch->log->written))
        return refuse(batch, REFUSED);
    if (batch->log->in_group && batch_find_conflicts(batch, &batch->log->group_written))
        return refuse(batch, REFUSED_BY_GROUP);
    return ADMIT;
}

/* ---- forming a group ----------------------------------------------------------------------------- */

void commit_submit(struct commit *commit, struct append_batch *batch)
{
    batch->role = BATCH_QUEUED;
    list_append(&commit->incoming, batch);
}

/* Between groups: every batch of the log is published, so those up to the time are all visible. */
static void keep_promises(struct commit *commit)
{
    while (commit->promised) {
        struct time_promise *promise = commit->promised;
        struct commit_project *project = find_project(commit, promise->project);
        uint64_t *answered = project ? &project->answered : &commit->answered_of_unknown;
        if (promise->micros > *answered)
            *answered = promise->micros;
        commit->promised = promise->next;
        promise->next = commit->kept;
        commit->kept = promise;
    }
}

void commit_promise(struct commit *commit, struct time_promise *promise)
{
    promise->next = commit->promised;
    commit->promised = promise;
}

struct time_promise *commit_take_promises(struct commit *commit)
{
    struct time_promise *first = commit->kept;
    commit->kept = NULL;
    return first;
}

bool commit_gather(struct commit *commit)
{
    assert(commit->state != COMMIT_FORMED && commit->state != COMMIT_DURABLE);
    keep_promises(commit);
    for (struct append_batch *batch = commit->incoming.first; batch; batch = batch->next)
        batch->log = need_project(commit, batch->project);
    list_join(&commit->queue, &commit->incoming);
    return commit->queue.first != NULL;
}

static struct frame *add_frame(struct commit *commit)
{
    if (commit->n_frames == commit->frames_capacity) {
        commit->frames_capacity = commit->frames_capacity ? 2 * commit->frames_capacity : 64;
        commit->frames = mem_realloc(commit->frames, commit->frames_capacity * sizeof *commit->frames);
    }
    return &commit->frames[commit->n_frames++];
}

static void join_group(struct commit *commit, struct commit_project *project)
{
    if (project->in_group)
        return;
    project->in_group = true;
    if (commit->n_group_projects == commit->group_projects_capacity) {
        commit->group_projects_capacity = commit->group_projects_capacity ? 2 * commit->group_projects_capacity : 16;
        commit->group_projects = mem_realloc(commit->group_projects, commit->group_projects_capacity * sizeof *commit->group_projects);
    }
    commit->group_projects[commit->n_group_projects++] = project;
}

static void admit(struct commit *commit, struct append_batch *batch, uint64_t now)
{
    struct commit_project *project = batch->log;
    struct append_result *result = &batch->result;
    join_group(commit, project);
    if (now > project->group_timestamp)
        project->group_timestamp = now;
    if (project->group_timestamp <= project->answered)
        project->group_timestamp = project->answered + 1;
    result->first_lsn = project->group_head + 1;
    result->last_lsn = project->group_head + batch->entries;
    result->timestamp = project->group_timestamp;
    project->group_head = result->last_lsn;

    uint64_t lsn = result->first_lsn;
    for (size_t i = 0; i < batch->n_runs; i++) {
        frame_stamp_run((uint8_t *)batch->runs[i].encoded.data, batch->runs[i].encoded.len, lsn, result->timestamp);
        lsn += batch->runs[i].entries;
    }
    assert(lsn == result->last_lsn + 1);

    /* A write counts for its whole batch: states exist at batch ends only. */
    for (size_t i = 0; i < batch->entries; i++)
        conflict_space_write(&project->group_written, batch->touched[i], result->last_lsn);
    for (size_t i = 0; i < batch->n_writes; i++)
        conflict_space_write(&project->group_written, batch->write_hashes[i], result->last_lsn);
    if (batch->request.id.len)
        request_space_add(&project->group_requests, &batch->request, result->last_lsn);

    *add_frame(commit) = (struct frame) {
        .project = batch->project,
        .first_lsn = result->first_lsn,
        .entries = batch->entries,
        .timestamp = result->timestamp,
        .request = batch->request,
        .write_keys = batch->write_hashes,
        .n_write_keys = batch->n_writes,
        .runs = batch->runs,
        .n_runs = batch->n_runs,
    };
    commit->group_bytes += batch->bytes;
}

/* Ends the group that was: what only it has written is nowhere. */
static void drop_overlays(struct commit *commit)
{
    for (size_t i = 0; i < commit->n_group_projects; i++) {
        struct commit_project *project = commit->group_projects[i];
        recent_map_clear(&project->group_written.map);
        recent_map_clear(&project->group_requests.map);
        project->group_head = project->head;
        project->group_timestamp = project->timestamp;
        project->in_group = false;
    }
}

static void forget_group(struct commit *commit)
{
    commit->n_frames = 0;
    commit->n_group_projects = 0;
    commit->group_bytes = 0;
}

void commit_take_group(struct commit *commit, uint64_t now_micros, struct commit_group *group)
{
    assert(commit->state == COMMIT_IDLE || commit->state == COMMIT_BEHIND);
    assert(!commit->group.first);
    forget_group(commit);
    while (commit->queue.first) {
        struct append_batch *batch = commit->queue.first;
        if (commit->n_frames && commit->group_bytes + batch->bytes > MAX_GROUP_BYTES)
            break;
        list_take_first(&commit->queue);
        switch (check(commit, batch)) {
        case ADMIT:
            admit(commit, batch, now_micros);
            batch->role = BATCH_MEMBER;
            break;
        case REFUSED:
            finish(commit, batch);
            continue;
        case REFUSED_BY_GROUP:
            batch->role = BATCH_REFUSED_BY_GROUP;
            break;
        case REPEATS_GROUP:
            batch->role = BATCH_REPEATS_GROUP;
            break;
        }
        list_append(&commit->group, batch);
    }
    commit->state = commit->n_frames ? COMMIT_FORMED : COMMIT_IDLE;
    *group = (struct commit_group) { commit->frames, commit->n_frames };
}

/* ---- how the group ended ------------------------------------------------------------------------- */

static void fail(struct append_batch *batch, enum error_code code, enum error_outcome outcome, const struct error *why)
{
    batch->result = (struct append_result) { 0 };
    error_set(&batch->result.error, code, "%s", why->message);
    batch->result.error.outcome = outcome;
}

static void refuse_group(struct commit *commit, const struct error *err)
{
    struct batch_list again = { 0 };
    while (commit->group.first) {
        struct append_batch *batch = list_take_first(&commit->group);
        if (batch->role == BATCH_MEMBER) {
            fail(batch, err->code, OUTCOME_NOT_APPLIED, err);
            finish(commit, batch);
        } else {
            batch->role = BATCH_QUEUED;
            list_append(&again, batch);
        }
    }
    list_join(&again, &commit->queue);
    commit->queue = again;
}

static void requeue_group(struct commit *commit)
{
    for (struct append_batch *batch = commit->group.first; batch; batch = batch->next)
        batch->role = BATCH_QUEUED;
    list_join(&commit->group, &commit->queue);
    commit->queue = commit->group;
    commit->group = (struct batch_list) { 0 };
}

static void lose_group(struct commit *commit, const struct error *err)
{
    while (commit->group.first) {
        struct append_batch *batch = list_take_first(&commit->group);
        bool stored_nothing = batch->role == BATCH_REFUSED_BY_GROUP;
        fail(batch, ERROR_UNAVAILABLE, stored_nothing ? OUTCOME_NOT_APPLIED : OUTCOME_UNKNOWN, err);
        finish(commit, batch);
    }
}

void commit_group_done(struct commit *commit, enum append_outcome outcome, const struct error *err)
{
    assert(commit->state == COMMIT_FORMED);
    switch (outcome) {
    case APPEND_COMMITTED:
        for (size_t i = 0; i < commit->n_group_projects; i++)
            conflict_space_absorb(&commit->group_projects[i]->written, &commit->group_projects[i]->group_written);
        commit->state = COMMIT_DURABLE;
        break;
    case APPEND_HEAD_MOVED:
        drop_overlays(commit);
        requeue_group(commit);
        commit->state = COMMIT_BEHIND;
        break;
    case APPEND_REFUSED:
        drop_overlays(commit);
        refuse_group(commit, err);
        commit->state = COMMIT_IDLE;
        break;
    case APPEND_UNKNOWN:
        lose_group(commit, err); /* the overlays stay: may_hold asks them */
        commit->state = COMMIT_DEAD;
        break;
    }
}

void commit_publish(struct commit *commit)
{
    assert(commit->state == COMMIT_DURABLE);
    for (size_t i = 0; i < commit->n_group_projects; i++) {
        struct commit_project *project = commit->group_projects[i];
        project->head = project->group_head;
        project->timestamp = project->group_timestamp;
        request_space_absorb(&project->requests, &project->group_requests);
        project->in_group = false;
    }
    commit->conflict_bytes = commit->conflict_window.pool.bytes;
    list_join(&commit->finished, &commit->group);
    forget_group(commit);
    commit->state = COMMIT_IDLE;
}

bool commit_may_hold(const struct commit *commit, const struct append_batch *batch)
{
    assert(commit->state == COMMIT_DEAD);
    const struct commit_project *project = find_project(commit, batch->project);
    return project && batch->request.id.len && request_space_find(&project->group_requests, batch->request.id);
}

void commit_abandon(struct commit *commit, const struct error *why)
{
    assert(commit->state != COMMIT_FORMED && commit->state != COMMIT_DURABLE);
    commit->state = COMMIT_DEAD;
    commit_gather(commit);
    while (commit->queue.first) {
        struct append_batch *batch = list_take_first(&commit->queue);
        fail(batch, ERROR_UNAVAILABLE, commit_may_hold(commit, batch) ? OUTCOME_UNKNOWN : OUTCOME_NOT_APPLIED, why);
        finish(commit, batch);
    }
}

struct append_batch *commit_take_finished(struct commit *commit)
{
    struct append_batch *first = commit->finished.first;
    commit->finished = (struct batch_list) { 0 };
    return first;
}

uint64_t commit_batch_head(const struct append_batch *batch)
{
    return batch->log->head;
}

/* ---- lookups ------------------------------------------------------------------------------------- */

void commit_get_head(const struct commit *commit, struct bytes project_id, struct commit_head *head)
{
    const struct commit_project *project = find_project(commit, project_id);
    *head = (struct commit_head) { 0 };
    if (project)
        *head = (struct commit_head) { project->head, project->timestamp, request_space_horizon(&project->requests) };
}

uint64_t commit_find_request(const struct commit *commit, struct bytes project_id, struct bytes request_id)
{
    const struct commit_project *project = find_project(commit, project_id);
    const struct request_mark *mark = project ? request_space_find(&project->requests, request_id) : NULL;
    return mark ? mark->lsn : 0;
}

void commit_get_stats(const struct commit *commit, struct commit_stats *stats)
{
    *stats = (struct commit_stats) {
        .requests_remembered = commit->request_window.pool.records,
        .memory_bytes = commit->request_window.pool.bytes + commit->conflict_bytes,
    };
}
