#include "branch-service/write.h"

#include <stdio.h>

#include "branch-service/catalog.h"
#include "branch-service/write_answer.h"
#include "common/base/backoff.h"
#include "common/base/clock.h"
#include "common/base/limits.h"
#include "common/base/random.h"

/* Two writers that met retry almost at once: the winner has committed already. */
enum { CONFLICT_BACKOFF_MICROS = 500 };

enum try_outcome {
    TRY_DONE,
    TRY_REFUSED, /* the error is the answer, and the log has it */
    TRY_FAILED,
    TRY_AGAIN,
};

struct write {
    struct project *project;
    const struct write_request *request;
    write_evaluate_fn *evaluate;
    void *ctx;
    struct log_request step;
    char generated_id[ID_SIZE];
    uint64_t since_lsn;
    unsigned tries;
    uint64_t begun;     /* of the project, at the first try */
    bool unasked;       /* the user's id has not been looked for yet: an earlier copy may have been applied */
    bool repeatable;    /* somebody may send it again: an outcome without effect is committed too */
    bool maybe_applied; /* an append's outcome is not known */
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

static enum try_outcome rebuild_answer(struct write *write, const struct log_request_outcome *earlier, struct write_result *result,
                                       struct error *err)
{
    struct write_answer answer;
    write->maybe_applied = true; /* until the answer has been read */
    if (!write_answer_decode(earlier->step.answer, &answer, err))
        return TRY_FAILED;
    if (answer.failure.code != ERROR_OK) {
        *err = answer.failure;
        return TRY_REFUSED;
    }
    struct collector collector = { .arena = &result->arena };
    const struct log_read_range range = { .project = project_id(write->project),
                                          .after = earlier->first_lsn - 1,
                                          .through = earlier->last_lsn };
    uint64_t complete;
    if (!log_source_read(project_log(write->project), &range, NULL, write->request->deadline, collect_run, &collector, &complete, err))
        return TRY_FAILED;
    result->counts = answer.counts;
    result->first_lsn = earlier->first_lsn;
    result->lsn = answer.lsn ? answer.lsn : earlier->last_lsn;
    result->timestamp = earlier->timestamp;
    result->runs = collector.runs;
    result->n_runs = collector.n_runs;
    return TRY_DONE;
}

/* ---- one try ---------------------------------------------------------------------------------------- */

/* An error that is the answer: the same request would get it again from the same state. */
static bool is_definite(enum error_code code)
{
    return code == ERROR_INVALID_ARGUMENT || code == ERROR_NOT_FOUND || code == ERROR_ALREADY_EXISTS || code == ERROR_FAILED_PRECONDITION ||
           code == ERROR_OUT_OF_RANGE;
}

/* What commits an outcome without effect. */
static bool plan_record_only(struct write *write, struct arena *arena, const struct project_catalog *catalog, struct write_plan *plan,
                             struct error *err)
{
    struct log_entry *entry = arena_zalloc(arena, sizeof *entry);
    struct log_run *run = arena_zalloc(arena, sizeof *run);
    if (!entry || !run)
        return error_out_of_memory(err);
    entry->operation = LOG_INSERT;
    if (!catalog_encode_request(write->step.id, arena, &entry->document_id, &entry->document, err))
        return false;
    *run = (struct log_run) { .branch_id = CATALOG_BRANCH, .collection = REQUESTS_COLLECTION, .entries = entry, .n_entries = 1 };
    plan->read_lsn = catalog->lsn;
    plan->incarnation = catalog->incarnation;
    plan->runs = run;
    plan->n_runs = 1;
    return true;
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
    for (size_t i = 0; i < plan->n_runs; i++)
        plan->runs[i].actor = write->request->actor;
    struct log_append_result appended;
    if (!write_answer_encode(answer, &result->arena, &batch.request.answer, err)) {
        err->outcome = OUTCOME_NOT_APPLIED;
        return TRY_FAILED;
    }
    if (!log_source_append(project_log(write->project), project_id(write->project), &plan->incarnation, &batch, write->request->deadline,
                           &result->arena, &appended, err)) {
        if (err->outcome == OUTCOME_NOT_APPLIED)
            return err->code == ERROR_ABORTED || err->code == ERROR_UNAVAILABLE ? TRY_AGAIN : TRY_FAILED;
        write->maybe_applied = write->repeatable = true;
        return err->code == ERROR_OUT_OF_RANGE ? TRY_FAILED : TRY_AGAIN; /* forgotten: nobody can tell any more */
    }
    if (appended.repeated)
        return rebuild_answer(write, &appended.earlier, result, err);
    if (answer->failure.code != ERROR_OK) {
        *err = answer->failure;
        return TRY_REFUSED;
    }
    uint64_t lsn = appended.first_lsn;
    for (size_t i = 0; i < plan->n_runs; i++) {
        plan->runs[i].first_lsn = lsn;
        plan->runs[i].timestamp = appended.timestamp;
        lsn += plan->runs[i].n_entries;
    }
    result->counts = plan->counts;
    result->first_lsn = appended.first_lsn;
    result->lsn = answer->lsn ? answer->lsn : appended.last_lsn;
    result->timestamp = appended.timestamp;
    result->runs = plan->runs;
    result->n_runs = plan->n_runs;
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
    if (!log_source_head(project_log(write->project), project_id(write->project), &query, write->request->deadline, arena, head, err)) {
        if (err->code == ERROR_INVALID_ARGUMENT) /* the id is another request's */
            write->unasked = false;
        return false;
    }
    if (!head->request_known && is_beyond_head(write, head->commit_lsn))
        return error_set(err, ERROR_OUT_OF_RANGE,
                         "outcome unknown: since_lsn %llu is beyond the head: it is of another project, or the log was replaced",
                         (unsigned long long)write->since_lsn);
    write->unasked = false;
    return true;
}

static enum try_outcome try_once(struct write *write, struct write_result *result, struct error *err)
{
    if (write->repeatable) {
        struct log_head head;
        if (!look_for_request(write, &result->arena, &head, err)) {
            if (err->code == ERROR_OUT_OF_RANGE)
                write->maybe_applied = true;
            return err->code == ERROR_UNAVAILABLE ? TRY_AGAIN : TRY_FAILED;
        }
        if (head.request_known)
            return rebuild_answer(write, &head.request, result, err);
    }
    if (write->tries++ > 0 && !project_refresh(write->project, write->request->deadline, err))
        return err->code == ERROR_UNAVAILABLE || err->code == ERROR_ABORTED ? TRY_AGAIN : TRY_FAILED;

    struct project_catalog catalog;
    project_catalog(write->project, &catalog);
    if (write->tries == 1)
        write->begun = catalog.begun;
    if (write->begun != catalog.begun) {
        /* the name was resolved in the log before: the project may not exist in this one */
        project_catalog_destroy(&catalog);
        error_set(err, ERROR_ABORTED, "the log was replaced while the request was carried out");
        return TRY_FAILED;
    }
    if (!write->repeatable && write->since_lsn == 0)
        write->since_lsn = catalog.lsn;

    struct write_plan plan = { 0 };
    struct write_answer answer = { 0 };
    enum try_outcome outcome = TRY_FAILED;
    bool evaluated = write->evaluate(write->ctx, &result->arena, &plan, err);
    if (!evaluated && !is_definite(err->code)) {
        outcome = err->code == ERROR_ABORTED || err->code == ERROR_UNAVAILABLE ? TRY_AGAIN : TRY_FAILED;
        goto out;
    }
    if (!evaluated)
        answer.failure = *err;
    answer.counts = plan.counts;
    if (!evaluated || plan.n_runs == 0) {
        /* the state that was seen is at least this one */
        answer.lsn = evaluated ? plan.read_lsn : catalog.lsn;
        if (!write->repeatable) {
            if (!evaluated)
                goto out;
            result->counts = plan.counts;
            result->lsn = plan.read_lsn;
            outcome = TRY_DONE;
            goto out;
        }
        if (!plan_record_only(write, &result->arena, &catalog, &plan, err))
            goto out;
    }
    outcome = append(write, &plan, &answer, result, err);
out:
    project_catalog_destroy(&catalog);
    return outcome;
}

bool write_execute(struct project *project, const struct write_request *request, write_evaluate_fn *evaluate, void *ctx,
                   struct write_result *result, struct error *err)
{
    struct write write = { .project = project, .request = request, .evaluate = evaluate, .ctx = ctx, .since_lsn = request->since_lsn };
    write.repeatable = request->request_id[0] != '\0';
    write.unasked = write.repeatable;
    write.step.hash = request->hash;
    write.step.last = true;
    write.step.id = bytes_of_string(request->request_id);
    if (!write.repeatable) {
        random_id(write.generated_id);
        write.step.id = bytes_of_string(write.generated_id);
        write.since_lsn = 0;
    }
    struct backoff backoff = { .first_micros = CONFLICT_BACKOFF_MICROS };
    enum try_outcome outcome;
    do {
        struct write_result attempt = { 0 };
        arena_init(&attempt.arena, 0);
        *err = (struct error) { 0 };
        outcome = try_once(&write, &attempt, err);
        if (outcome == TRY_DONE) {
            *result = attempt;
            return true;
        }
        arena_destroy(&attempt.arena);
    } while (outcome == TRY_AGAIN && backoff_wait(&backoff, request->deadline));
    if (outcome == TRY_REFUSED || !(write.maybe_applied || write.unasked)) {
        err->outcome = OUTCOME_NOT_APPLIED;
    } else {
        err->outcome = OUTCOME_UNKNOWN;
        error_wrap(err, "outcome unknown (request_id %.*s)", (int)write.step.id.len, (const char *)write.step.id.data);
    }
    return false;
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
