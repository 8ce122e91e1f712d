#include "branch-service/write/write.h"

#include <stdio.h>

#include "branch-service/branch_counters.h"
#include "branch-service/reasons.h"
#include "branch-service/write/write_conflict.h"
#include "branch-service/write/write_internal.h"
#include "branch-service/write/write_record.h"
#include "common/base/backoff.h"
#include "common/base/clock.h"

/* Two writers that met retry almost at once: the winner has committed already. */
enum { CONFLICT_BACKOFF_MICROS = 500 };

/* Tries end so long before the deadline, that the client hears why and not only that its time is over. */
enum { ANSWER_MARGIN_MICROS = 100 * 1000 };

enum try_outcome {
    TRY_DONE,
    TRY_STEPPED, /* a step is committed, by us or by a copy of this request; there is more to do */
    TRY_REFUSED, /* the error is the answer, and the log has it */
    TRY_FAILED,
    TRY_AGAIN,
};

bool write_request_check(const struct write_request *request, struct error *err)
{
    if (strlen(request->request_id) > MAX_REQUEST_ID_BYTES)
        return error_set(err, ERROR_INVALID_ARGUMENT, "request_id has %zu bytes; at most %d are allowed", strlen(request->request_id),
                         MAX_REQUEST_ID_BYTES);
    if (request->actor && strlen(request->actor) > MAX_ACTOR_BYTES)
        return error_set(err, ERROR_INVALID_ARGUMENT, "actor has %zu bytes; at most %d are allowed", strlen(request->actor),
                         MAX_ACTOR_BYTES);
    return true;
}

bool write_refuse(const struct write_request *request, struct error *err)
{
    bool follows = err->code == ERROR_INVALID_ARGUMENT || err->code == ERROR_FAILED_PRECONDITION;
    err->outcome = follows || !request->request_id[0] ? OUTCOME_NOT_APPLIED : OUTCOME_UNKNOWN;
    return false;
}

bool write_keep_unknown(struct error *err)
{
    err->outcome = OUTCOME_UNKNOWN;
    return false;
}

/* ---- the answer of an earlier time ------------------------------------------------------------------ */

struct collector {
    struct arena *arena;
    struct log_run *runs;
    size_t n_runs, capacity;
};

static bool copy_bytes(struct arena *arena, struct bytes *bytes)
{
    void *copy = arena_copy(arena, bytes->data, bytes->len);
    *bytes = bytes_of(copy, bytes->len);
    return copy != NULL;
}

static bool collect_run(void *ctx, const struct log_run *run, struct error *err)
{
    struct collector *collector = ctx;
    if (collector->n_runs == collector->capacity) {
        size_t grown = collector->capacity ? 2 * collector->capacity : 4;
        struct log_run *larger = arena_alloc(collector->arena, grown * sizeof *larger);
        if (!larger)
            return error_out_of_memory(err);
        if (collector->n_runs)
            memcpy(larger, collector->runs, collector->n_runs * sizeof *larger);
        collector->runs = larger;
        collector->capacity = grown;
    }
    struct log_run copy = *run;
    copy.branch_id = arena_strdup(collector->arena, run->branch_id);
    copy.collection = arena_strdup(collector->arena, run->collection);
    copy.actor = arena_strdup(collector->arena, run->actor);
    copy.entries = arena_copy(collector->arena, run->entries, run->n_entries * sizeof *run->entries);
    if (!copy.branch_id || !copy.collection || !copy.actor || !copy.entries)
        return error_out_of_memory(err);
    for (size_t i = 0; i < run->n_entries; i++)
        if (!copy_bytes(collector->arena, &copy.entries[i].document_id) || !copy_bytes(collector->arena, &copy.entries[i].document))
            return error_out_of_memory(err);
    collector->runs[collector->n_runs++] = copy;
    return true;
}

static enum try_outcome rebuild_answer(struct write *write, const struct log_request_outcome *earlier, const struct write_answer *answer,
                                       struct write_result *result, struct error *err)
{
    if (answer->failure.code != ERROR_OK) {
        *err = answer->failure;
        write->progress.step = earlier->step.step; /* whether steps before it had an effect */
        return TRY_REFUSED;
    }
    struct collector collector = { .arena = &result->arena };
    const struct log_read_range range = { .project = project_id(write->project),
                                          .after = earlier->first_lsn - 1,
                                          .through = earlier->last_lsn };
    uint64_t complete;
    if (!log_source_read(project_log(write->project), &range, NULL, write->request->deadline, collect_run, &collector, &complete, err))
        return TRY_FAILED;
    result->counts = answer->counts;
    result->first_lsn = earlier->first_lsn;
    result->lsn = answer->lsn ? answer->lsn : earlier->last_lsn;
    result->timestamp = earlier->timestamp;
    result->runs = collector.runs;
    result->n_runs = collector.n_runs;
    result->rebuilt = true;
    result->record_lsn = answer->recorded ? earlier->last_lsn : answer->record_lsn;
    return TRY_DONE;
}

/* ---- steps ------------------------------------------------------------------------------------------ */

/* The next one begins behind what this one has covered. */
static enum try_outcome step_forward(struct write *write, uint32_t step, struct bytes covered, uint64_t last_lsn,
                                     const struct write_answer *answer, struct error *err)
{
    if ((covered.len == 0 && answer->operation == 0) || covered.len > sizeof write->after) {
        error_set(err, ERROR_DATA_LOSS, "the log keeps a step that does not say how far it went");
        return TRY_FAILED;
    }
    struct write_progress *progress = &write->progress;
    if (covered.len)
        memmove(write->after, covered.data, covered.len);
    snprintf(write->branch_id, sizeof write->branch_id, "%s", answer->branch_id);
    snprintf(write->collection_id, sizeof write->collection_id, "%s", answer->collection_id);
    write->counts = answer->counts;
    write->record_lsn = answer->recorded ? last_lsn : answer->record_lsn;
    progress->step = step + 1;
    progress->operation = (uint32_t)answer->operation;
    progress->after = bytes_of(write->after, covered.len);
    progress->max_documents = progress->max_documents < MAX_STEP_DOCUMENTS / 2 ? 2 * progress->max_documents : MAX_STEP_DOCUMENTS;
    write->lost = 0;
    write->conflict = (struct error) { 0 };
    write->look = false; /* the log refuses what is not the successor of this step */
    write->maybe_applied = write->unasked = false;
    return TRY_STEPPED;
}

/* The step that this try goes on behind anyway. */
static bool is_known_step(const struct write *write, const struct log_request *step)
{
    return !step->last && write->progress.step > 0 && step->step == write->progress.step - 1;
}

/* The log knows the request: an earlier copy, or one that runs on another replica, has come this far. */
static enum try_outcome follow_earlier(struct write *write, const struct log_request_outcome *earlier, struct write_result *result,
                                       struct error *err)
{
    counter_add(&branch_counters.write_repeats, 1);
    struct write_answer answer;
    write->maybe_applied = true; /* until the answer has been read */
    if (!write_answer_decode(earlier->step.answer, &answer, err))
        return TRY_FAILED;
    if (earlier->step.last)
        return rebuild_answer(write, earlier, &answer, result, err);
    write->tries++; /* the next one looks at the log first: what this replica has may be older than that step */
    return step_forward(write, earlier->step.step, earlier->step.last_document_id, earlier->last_lsn, &answer, err);
}

/* A step that keeps losing is made smaller, so that in the end only the document itself is in the way. */
static void note_conflict(struct write *write)
{
    if (write->lost++ > 0 && write->progress.max_documents > 1)
        write->progress.max_documents /= 2;
}

static uint64_t documents_done(const struct write_counts *counts)
{
    return counts->inserted + counts->modified + counts->upserted + counts->deleted;
}

/* ---- one try ---------------------------------------------------------------------------------------- */

/* An error that is the answer: the same request would get it again from the same state. */
static bool is_definite(enum error_code code)
{
    return code == ERROR_INVALID_ARGUMENT || code == ERROR_NOT_FOUND || code == ERROR_ALREADY_EXISTS || code == ERROR_FAILED_PRECONDITION ||
           code == ERROR_OUT_OF_RANGE;
}

/* Puts the step's record behind what the plan writes: the last entry of the batch. */
static bool add_record(const struct write *write, struct arena *arena, struct write_plan *plan, struct error *err)
{
    struct log_entry *entry = arena_zalloc(arena, sizeof *entry);
    struct log_run *runs = arena_alloc(arena, (plan->n_runs + 1) * sizeof *runs);
    if (!entry || !runs)
        return error_out_of_memory(err);
    entry->operation = LOG_INSERT;
    if (!write_record_encode(write->step.id, write->progress.step, write->record_lsn, plan->record, arena, entry, err))
        return false;
    if (plan->n_runs)
        memcpy(runs, plan->runs, plan->n_runs * sizeof *runs);
    runs[plan->n_runs] =
        (struct log_run) { .branch_id = CATALOG_BRANCH, .collection = REQUESTS_COLLECTION, .entries = entry, .n_entries = 1 };
    plan->runs = runs;
    plan->n_runs++;
    return true;
}

static enum try_outcome commit_failed(struct write *write, const struct write_plan *plan, const struct log_append_result *appended,
                                      struct error *err)
{
    if (err->outcome != OUTCOME_NOT_APPLIED) {
        write->maybe_applied = write->repeatable = write->look = true;
        if (err->code != ERROR_OUT_OF_RANGE)
            return TRY_AGAIN;
        error_set_reason(err, REASON_REQUEST_FORGOTTEN); /* nobody can tell any more */
        return TRY_FAILED;
    }
    switch (err->code) {
    case ERROR_ABORTED:
        counter_add(&branch_counters.write_conflicts, 1);
        note_conflict(write);
        write_name_conflicts(plan, appended->conflicts, appended->n_conflicts, err);
        write->conflict = *err;
        return TRY_AGAIN;
    case ERROR_UNAVAILABLE:
        return TRY_AGAIN;
    case ERROR_FAILED_PRECONDITION: /* not the successor of the last committed step: a copy of the request is further */
        write->look = true;
        return TRY_AGAIN;
    default:
        return TRY_FAILED;
    }
}

static enum try_outcome append(struct write *write, struct write_plan *plan, const struct write_answer *answer, struct write_result *result,
                               struct error *err)
{
    struct log_batch batch = {
        .runs = plan->runs,
        .n_runs = plan->n_runs,
        .read_lsn = plan->read_lsn,
        .read_keys = plan->read_keys,
        .n_read_keys = plan->n_read_keys,
        .write_keys = plan->write_keys,
        .n_write_keys = plan->n_write_keys,
        .request = write->step,
        .since_lsn = write->since_lsn,
    };
    batch.request.step = write->progress.step;
    batch.request.last = !plan->more;
    if (plan->more)
        batch.request.last_document_id = plan->last_document_id;
    for (size_t i = 0; i < plan->n_runs; i++)
        plan->runs[i].actor = write->request->actor;
    struct log_append_result appended = { 0 };
    if (!caller_waits(&write->request->caller, err) || !write_answer_encode(answer, &result->arena, &batch.request.answer, err)) {
        err->outcome = OUTCOME_NOT_APPLIED;
        return TRY_FAILED;
    }
    if (!log_source_append(project_log(write->project), project_id(write->project), &plan->incarnation, &batch, write->request->deadline,
                           &result->arena, &appended, err))
        return commit_failed(write, plan, &appended, err);
    if (appended.repeated)
        return follow_earlier(write, &appended.earlier, result, err);
    counter_add(&branch_counters.writes, 1);
    uint64_t lsn = appended.first_lsn;
    for (size_t i = 0; i < plan->n_runs; i++) {
        plan->runs[i].first_lsn = lsn;
        plan->runs[i].timestamp = appended.timestamp;
        lsn += plan->runs[i].n_entries;
    }
    project_note_append(write->project, &plan->incarnation, plan->runs, plan->n_runs, appended.first_lsn, appended.last_lsn);
    if (answer->failure.code != ERROR_OK) {
        *err = answer->failure;
        return TRY_REFUSED;
    }
    if (plan->more)
        return step_forward(write, write->progress.step, plan->last_document_id, appended.last_lsn, answer, err);
    result->counts = plan->counts;
    result->first_lsn = appended.first_lsn;
    result->lsn = answer->lsn ? answer->lsn : appended.last_lsn;
    result->timestamp = appended.timestamp;
    result->runs = plan->runs;
    result->n_runs = plan->n_runs;
    result->record_lsn = answer->recorded ? appended.last_lsn : answer->record_lsn;
    return TRY_DONE;
}

/* The client knew of more than there is: this is not the log that it wrote to. */
static bool is_beyond_head(const struct write *write, uint64_t commit_lsn)
{
    /* what clients know of `_system` they know from answers of other projects */
    if (strcmp(project_id(write->project), SYSTEM_PROJECT) == 0 || write->since_lsn <= commit_lsn)
        return false;
    /* reads see a batch a moment before the head is published */
    struct project_catalog catalog;
    project_catalog(write->project, &catalog);
    uint64_t position = catalog.lsn;
    project_catalog_destroy(&catalog);
    return write->since_lsn > position;
}

static bool look_for_request(struct write *write, struct arena *arena, struct log_head *head, struct error *err)
{
    const struct log_head_query query = {
        .request_id = write->step.id,
        .request_hash = write->step.hash,
        .since_lsn = write->since_lsn,
    };
    if (!log_source_head(project_log(write->project), project_id(write->project), &query, write->last_try, arena, head, err)) {
        if (err->code == ERROR_INVALID_ARGUMENT) { /* the id is another request's */
            write->unasked = false;
            error_set_reason(err, REASON_REQUEST_ID_REUSED);
        }
        if (err->code == ERROR_OUT_OF_RANGE)
            error_set_reason(err, REASON_REQUEST_FORGOTTEN);
        return false;
    }
    if (!head->request_known && is_beyond_head(write, head->commit_lsn)) {
        error_set(err, ERROR_OUT_OF_RANGE,
                  "outcome unknown: since_lsn %llu is beyond the head: it is of another project, or the log was replaced",
                  (unsigned long long)write->since_lsn);
        error_set_reason(err, REASON_OTHER_LOG);
        return false;
    }
    write->unasked = false;
    return true;
}

/* Evaluates the next step on what the replica has now, and appends it. `known`: that may be old; *settled = false then
 * means that nothing was appended. */
static enum try_outcome evaluate_step(struct write *write, const struct project_catalog *catalog, bool known, bool *settled,
                                      struct write_result *result, struct error *err)
{
    struct write_plan plan = { .from = &write->progress, .counts = write->counts };
    struct write_answer answer = { 0 };
    *settled = false;
    bool evaluated = write->evaluate(write->ctx, &result->arena, &plan, err);
    if (known && (!evaluated || plan.n_runs == 0 || plan.unguarded))
        return TRY_AGAIN;
    *settled = true;
    if (!evaluated && !is_definite(err->code))
        return err->code == ERROR_ABORTED || err->code == ERROR_UNAVAILABLE ? TRY_AGAIN : TRY_FAILED;
    answer.counts = evaluated ? plan.counts : write->counts;
    if (!evaluated) {
        if (write->progress.step > 0) {
            error_wrap(err, "stopped after %llu documents", (unsigned long long)documents_done(&write->counts));
            error_set_reason(err, REASON_PARTIALLY_APPLIED);
        }
        answer.failure = *err;
    }
    if (!evaluated || (plan.n_runs == 0 && !plan.more)) {
        /* the state that was seen is at least this one */
        answer.lsn = evaluated ? plan.read_lsn : catalog->lsn;
        if (!write->repeatable) {
            if (!evaluated)
                return TRY_REFUSED; /* nobody will ask the log for it */
            result->counts = plan.counts;
            result->lsn = plan.read_lsn;
            result->record = plan.record;
            result->record_lsn = write->record_lsn;
            return TRY_DONE;
        }
        plan = (struct write_plan) { .from = &write->progress,
                                     .counts = plan.counts,
                                     .record = evaluated ? plan.record : (struct bytes) { 0 } };
        plan.read_lsn = catalog->lsn;
        plan.incarnation = catalog->incarnation;
    }
    answer.record_lsn = write->record_lsn;
    answer.recorded = plan.record.len > 0;
    if ((answer.recorded || plan.n_runs == 0) && !add_record(write, &result->arena, &plan, err))
        return TRY_FAILED;
    if (plan.more) {
        answer.operation = plan.operation;
        snprintf(answer.branch_id, sizeof answer.branch_id, "%s", plan.branch_id);
        snprintf(answer.collection_id, sizeof answer.collection_id, "%s", plan.collection_id);
    }
    return append(write, &plan, &answer, result, err);
}

static enum try_outcome try_once(struct write *write, struct write_result *result, struct error *err)
{
    if (write->look) {
        struct log_head head;
        if (!look_for_request(write, &result->arena, &head, err)) {
            if (err->code == ERROR_OUT_OF_RANGE)
                write->maybe_applied = true;
            return err->code == ERROR_UNAVAILABLE ? TRY_AGAIN : TRY_FAILED;
        }
        if (head.request_known && !is_known_step(write, &head.request.step))
            return follow_earlier(write, &head.request, result, err);
    }
    if (write->tries++ > 0 && !project_refresh(write->project, write->last_try, err))
        return err->code == ERROR_UNAVAILABLE || err->code == ERROR_ABORTED ? TRY_AGAIN : TRY_FAILED;

    struct project_catalog catalog;
    project_catalog(write->project, &catalog);
    enum try_outcome outcome = TRY_FAILED;
    if (write->begun != catalog.begun) {
        /* the name was resolved in the log before: the project may not exist in this one */
        error_set(err, ERROR_ABORTED, "the log was replaced while the request was carried out");
    } else {
        bool settled;
        if (!write->repeatable && write->since_lsn == 0)
            write->since_lsn = catalog.lsn;
        outcome = evaluate_step(write, &catalog, false, &settled, result, err);
    }
    project_catalog_destroy(&catalog);
    /* whatever was in the way may be a copy of this request */
    if (outcome == TRY_AGAIN && write->repeatable)
        write->look = true;
    return outcome;
}

/* ---- the whole -------------------------------------------------------------------------------------- */

void write_begin(struct write *write, const struct write_request *request, write_evaluate_fn *evaluate, void *ctx)
{
    *write = (struct write) { .request = request, .evaluate = evaluate, .ctx = ctx, .since_lsn = request->since_lsn };
    write->repeatable = request->request_id[0] != '\0';
    write->look = write->unasked = write->repeatable;
    write->step.hash = request->hash;
    write->step.id = bytes_of_string(request->request_id);
    if (!write->repeatable) {
        random_id(write->generated_id);
        write->step.id = bytes_of_string(write->generated_id);
        write->since_lsn = 0;
    }
    int64_t left = request->deadline == NO_DEADLINE ? 0 : request->deadline - clock_monotonic_micros();
    write->last_try = request->deadline - (left / 10 < ANSWER_MARGIN_MICROS ? left / 10 : ANSWER_MARGIN_MICROS);
    write->progress = (struct write_progress) { .branch_id = write->branch_id,
                                                .collection_id = write->collection_id,
                                                .max_documents = MAX_STEP_DOCUMENTS };
}

bool write_give_up(const struct write *write, struct error *err)
{
    const int len = (int)write->step.id.len;
    const char *id = (const char *)write->step.id.data;
    err->outcome = OUTCOME_UNKNOWN;
    if (write->progress.step > 0) {
        error_wrap(err, "%s%llu documents are done; the request goes on when it is sent again with request_id %.*s",
                   write->maybe_applied ? "at least " : "", (unsigned long long)documents_done(&write->counts), len, id);
        error_set_reason(err, REASON_INCOMPLETE);
    } else if (write->maybe_applied || write->unasked) {
        error_wrap(err, "outcome unknown (request_id %.*s)", len, id);
    } else {
        err->outcome = OUTCOME_NOT_APPLIED;
    }
    return false;
}

static void begin_attempt(struct write_result *attempt, struct error *err)
{
    *attempt = (struct write_result) { 0 };
    arena_init(&attempt->arena, 0);
    *err = (struct error) { 0 };
}

bool write_try_known(struct write *write, struct project *project, const struct log_incarnation *as_of, struct write_result *result,
                     struct error *err)
{
    struct write_result attempt;
    struct project_catalog catalog;
    enum try_outcome outcome = TRY_AGAIN;
    bool settled = false;
    begin_attempt(&attempt, err);
    write->project = project;
    project_catalog(project, &catalog);
    /* one who knows of more than this replica does is better served by a fresh look */
    if (!catalog.deleted && write->since_lsn <= catalog.lsn && memcmp(as_of, &catalog.incarnation, sizeof *as_of) == 0) {
        if (!write->repeatable)
            write->since_lsn = catalog.lsn;
        outcome = evaluate_step(write, &catalog, true, &settled, &attempt, err);
    }
    write->begun = catalog.begun;
    project_catalog_destroy(&catalog);
    write->lost = 0;
    if (outcome == TRY_DONE) {
        *result = attempt;
        return true;
    }
    arena_destroy(&attempt.arena);
    return false;
}

bool write_finish(struct write *write, struct project *project, uint64_t begun, struct write_result *result, struct error *err)
{
    struct backoff backoff = { .first_micros = CONFLICT_BACKOFF_MICROS };
    enum try_outcome outcome;
    bool go_on;
    if (write->maybe_applied && write->project != project) {
        error_set(err, ERROR_ABORTED, "the project was replaced while the request was carried out");
        return write_give_up(write, err);
    }
    write->project = project;
    if (!write->maybe_applied) /* else the ordinary way has to find the same log */
        write->begun = begun;
    do {
        struct write_result attempt;
        begin_attempt(&attempt, err);
        outcome = try_once(write, &attempt, err);
        if (outcome == TRY_DONE) {
            *result = attempt;
            return true;
        }
        arena_destroy(&attempt.arena);
        go_on = outcome == TRY_AGAIN && backoff_wait(&backoff, write->last_try);
        if (outcome == TRY_STEPPED) {
            backoff.tries = 0;
            go_on = clock_monotonic_micros() < write->request->deadline ||
                    error_set(err, ERROR_DEADLINE_EXCEEDED, "deadline passed between two steps");
        }
        go_on = go_on && caller_waits(&write->request->caller, err);
    } while (go_on);
    if (outcome == TRY_REFUSED) {
        err->outcome = write->progress.step > 0 ? OUTCOME_UNKNOWN : OUTCOME_NOT_APPLIED;
        return false;
    }
    /* what kept it from being done says more than that the time is over */
    if (err->code == ERROR_DEADLINE_EXCEEDED && write->conflict.code != ERROR_OK)
        *err = write->conflict;
    return write_give_up(write, err);
}

bool write_execute_begun(struct project *project, uint64_t begun, const struct write_request *request, write_evaluate_fn *evaluate,
                         void *ctx, struct write_result *result, struct error *err)
{
    struct write write;
    write_begin(&write, request, evaluate, ctx);
    return write_finish(&write, project, begun, result, err);
}

bool write_execute(struct project *project, const struct write_request *request, write_evaluate_fn *evaluate, void *ctx,
                   struct write_result *result, struct error *err)
{
    struct log_incarnation incarnation;
    uint64_t begun;
    bool deleted;
    project_peek(project, &incarnation, &begun, &deleted);
    return write_execute_begun(project, begun, request, evaluate, ctx, result, err);
}

void write_result_destroy(struct write_result *result)
{
    arena_destroy(&result->arena);
}

const struct log_run *write_result_run(const struct write_result *result, const char *branch_id, const char *collection)
{
    for (size_t i = 0; i < result->n_runs; i++)
        if (strcmp(result->runs[i].branch_id, branch_id) == 0 && (!collection || strcmp(result->runs[i].collection, collection) == 0))
            return &result->runs[i];
    return NULL;
}
