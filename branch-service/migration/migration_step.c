#include "branch-service/migration/migration_internal.h"

#include <assert.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "branch-service/catalog/lineage.h"
#include "branch-service/collection/traditional.h"
#include "branch-service/reasons.h"
#include "branch-service/registry/registry_config.h"
#include "common/base/clock.h"

enum { TELL_MICROS = MICROS_PER_SECOND / 2, PULSE_MICROS = 2 * MICROS_PER_SECOND };

#ifdef ARGON_TEST_POINTS
void migration_test_point(const char *name)
{
    static atomic_flag stopped = ATOMIC_FLAG_INIT;
    const char *wanted = getenv("ARGON_TEST_MIGRATION");
    if (!wanted || strlen(wanted) < 5 || strcmp(wanted + 5, name) != 0)
        return;
    if (strncmp(wanted, "kill:", 5) == 0)
        raise(SIGKILL);
    if (strncmp(wanted, "stop:", 5) == 0 && !atomic_flag_test_and_set(&stopped))
        raise(SIGSTOP);
}
#endif

/* ---- telling ---------------------------------------------------------------------------------------- */

static bool is_heard(struct migration_run *run, const struct migration_progress *progress, struct error *err)
{
    bool heard = run->call->tell(run->call->ctx, progress);
    return heard || run->stubborn || error_set(err, ERROR_CANCELLED, "nobody listens any more: the migration waits for the next call");
}

bool migration_tell(struct migration_run *run, const char *message, struct error *err)
{
    const struct migration_progress progress = { .state = run->record.state, .collection = "", .message = message };
    return is_heard(run, &progress, err);
}

bool migration_wait(struct migration_run *run, int64_t micros, const char *message, struct error *err)
{
    /* the boot-time clock: the replicas' limits are told by that */
    const int64_t end = clock_boot_micros() + micros;
    for (;;) {
        if (!migration_tell(run, message, err))
            return false;
        int64_t left = end - clock_boot_micros();
        if (left < 0)
            return true;
        if (left >= TELL_MICROS)
            left = TELL_MICROS - 1;
        nanosleep(&(struct timespec) { .tv_nsec = (left + 1) * 1000 }, NULL);
    }
}

/* ---- the record ------------------------------------------------------------------------------------- */

static bool taken_over(struct error *err)
{
    error_set(err, ERROR_FAILED_PRECONDITION, "somebody else has taken the migration over");
    error_set_reason(err, REASON_MIGRATION_STATE);
    return false;
}

static bool check_project(const struct project *project, const struct project_catalog *catalog, struct error *err)
{
    return !catalog->deleted || error_set(err, ERROR_NOT_FOUND, "project '%s' does not exist", project_name(project));
}

static bool is_mine(const struct migration_run *run, const struct project_catalog *catalog, struct branch_record *record, struct error *err)
{
    if (!check_project(run->project, catalog, err) || !lineage_find_record(catalog->branches, run->record.id, record, err))
        return false;
    return (!record->deleted && record->epoch == run->record.epoch && record->state == run->record.state) || taken_over(err);
}

bool migration_check_mine(struct migration_run *run, struct error *err)
{
    struct project_catalog catalog;
    struct branch_record record;
    if (!project_refresh(run->project, base_step_deadline(run->call->deadline), err))
        return false;
    project_catalog(run->project, &catalog);
    bool ok = is_mine(run, &catalog, &record, err);
    project_catalog_destroy(&catalog);
    return ok;
}

/* ---- the pulse -------------------------------------------------------------------------------------- */

static bool plan_beat(const struct migration_pulse *pulse, const struct project_catalog *catalog, struct arena *arena,
                      struct write_plan *plan, struct error *err)
{
    struct branch_record record;
    struct migration migration;
    struct batch batch;
    struct bytes document;
    if (!check_project(pulse->project, catalog, err) || !lineage_find_record(catalog->branches, pulse->branch_id, &record, err))
        return false;
    if (record.deleted || record.epoch != pulse->epoch)
        return taken_over(err);
    plan->read_lsn = catalog->lsn;
    plan->incarnation = catalog->incarnation;
    if (!migration_holds(record.state))
        return true; /* a step has come first */
    if (!migration_decode(record.migration, arena, &migration, err))
        return false;
    migration.beats++;
    return migration_encode(&migration, arena, &record.migration, err) && catalog_encode_branch(&record, arena, &document, err) &&
           batch_begin(&batch, arena, pulse->branch_id, err) &&
           batch_add_record(&batch, CATALOG_BRANCH, BRANCHES_COLLECTION, LOG_UPDATE, pulse->branch_id, document, err) &&
           batch_finish(&batch, catalog->lsn, &catalog->incarnation, plan, err);
}

static bool evaluate_beat(void *ctx, struct arena *arena, struct write_plan *plan, struct error *err)
{
    const struct migration_pulse *pulse = ctx;
    struct project_catalog catalog;
    project_catalog(pulse->project, &catalog);
    bool ok = plan_beat(pulse, &catalog, arena, plan, err);
    project_catalog_destroy(&catalog);
    return ok;
}

static bool beat(struct migration_pulse *pulse, struct error *err)
{
    const struct write_request request = { .request_id = "", .actor = "", .deadline = base_step_deadline(pulse->deadline) };
    struct write_result result;
    if (!project_refresh(pulse->project, request.deadline, err) ||
        !write_execute(pulse->project, &request, evaluate_beat, pulse, &result, err))
        return false;
    write_result_destroy(&result);
    return true;
}

static void *run_pulse(void *ctx)
{
    struct migration_pulse *pulse = ctx;
    struct error err;
    mutex_lock(&pulse->lock);
    while (!pulse->stopping) {
        if (!pulse->needed || pulse->taken) {
            condition_wait(&pulse->changed, &pulse->lock);
            continue;
        }
        int64_t next = clock_monotonic_micros() + PULSE_MICROS;
        while (!pulse->stopping && condition_wait_until(&pulse->changed, &pulse->lock, next))
            continue;
        if (pulse->stopping || !pulse->needed)
            continue;
        mutex_unlock(&pulse->lock);
        /* when the log is away, that may be over in two seconds */
        bool taken = !beat(pulse, &err) && err.code == ERROR_FAILED_PRECONDITION;
        mutex_lock(&pulse->lock);
        pulse->taken = taken;
    }
    mutex_unlock(&pulse->lock);
    return NULL;
}

static void pulse_begin(struct migration_run *run)
{
    struct migration_pulse *pulse = &run->pulse;
    *pulse = (struct migration_pulse) {
        .project = run->project, .branch_id = run->record.id, .epoch = run->record.epoch, .deadline = run->call->deadline
    };
    pulse->needed = migration_holds(run->record.state);
    mutex_init(&pulse->lock, 30);
    condition_init(&pulse->changed);
    pulse->thread = thread_start("migration", run_pulse, pulse);
}

static void pulse_note_step(struct migration_run *run)
{
    struct migration_pulse *pulse = &run->pulse;
    mutex_lock(&pulse->lock);
    pulse->needed = migration_holds(run->record.state);
    condition_broadcast(&pulse->changed);
    mutex_unlock(&pulse->lock);
}

static void pulse_end(struct migration_pulse *pulse)
{
    mutex_lock(&pulse->lock);
    pulse->stopping = true;
    condition_broadcast(&pulse->changed);
    mutex_unlock(&pulse->lock);
    pthread_join(pulse->thread, NULL);
    condition_destroy(&pulse->changed);
    mutex_destroy(&pulse->lock);
}

bool migration_check_pulse(struct migration_run *run, struct error *err)
{
    mutex_lock(&run->pulse.lock);
    bool taken = run->pulse.taken;
    mutex_unlock(&run->pulse.lock);
    return !taken || taken_over(err);
}

/* ---- steps ------------------------------------------------------------------------------------------ */

struct evaluation {
    struct migration_run *run;
    struct migration_change *change;
    /* what the batch makes of them; copied to the run when it is committed */
    struct branch_record record;
    struct migration migration;
    bool claim;
    enum migration_verb verb;
    const char *branch;                  /* name, of a claim */
    const struct migration_status *seen; /* NULL: whatever it is; else a claim of this alone */
};

static bool finish_batch(struct evaluation *evaluation, const struct project_catalog *catalog, struct batch *batch, struct arena *arena,
                         struct write_plan *plan, struct error *err)
{
    struct branch_record *record = &evaluation->record;
    const struct migration_change *change = evaluation->change;
    struct bytes document;
    record->migration = (struct bytes) { 0 };
    if (record->state != BRANCH_READY && !migration_encode(&evaluation->migration, &evaluation->run->arena, &record->migration, err))
        return false;
    return catalog_encode_branch(record, arena, &document, err) &&
           batch_add_record(batch, CATALOG_BRANCH, BRANCHES_COLLECTION, LOG_UPDATE, record->id, document, err) &&
           (!change || !change->last_id ||
            batch_add_record(batch, CATALOG_BRANCH, BRANCHES_COLLECTION, LOG_INSERT, change->last_id, change->last, err)) &&
           batch_finish(batch, catalog->lsn, &catalog->incarnation, plan, err);
}

static bool copy_record(struct evaluation *evaluation, const struct branch_record *found, struct error *err)
{
    struct arena *arena = &evaluation->run->arena;
    if (!branch_record_copy(found, arena, &evaluation->record))
        return error_out_of_memory(err);
    evaluation->migration = (struct migration) { 0 };
    return found->migration.len == 0 || migration_decode(evaluation->record.migration, arena, &evaluation->migration, err);
}

static bool plan_step(struct evaluation *evaluation, const struct project_catalog *catalog, struct arena *arena, struct write_plan *plan,
                      struct error *err)
{
    struct migration_run *run = evaluation->run;
    struct migration_change *change = evaluation->change;
    struct branch_record found;
    struct batch batch;
    if (!is_mine(run, catalog, &found, err) || !copy_record(evaluation, &found, err) || !batch_begin(&batch, arena, run->record.id, err))
        return false;
    assert(migration_is_step(found.state, change->to));
    evaluation->record.state = change->to;
    return (!change->apply || change->apply(run, change, catalog, &evaluation->record, &evaluation->migration, &batch, err)) &&
           finish_batch(evaluation, catalog, &batch, arena, plan, err);
}

/* A WAL branch that is held goes on while somebody else begins the rollback anew. */
static bool release_branch(const struct project_catalog *catalog, const char *branch_id, struct batch *batch, struct error *err)
{
    struct branch_record branch;
    struct bytes document;
    if (!lineage_find_record(catalog->branches, branch_id, &branch, err))
        return false;
    if (!branch.held)
        return true;
    branch.held = false;
    return catalog_encode_branch(&branch, batch->arena, &document, err) &&
           batch_add_record(batch, CATALOG_BRANCH, BRANCHES_COLLECTION, LOG_UPDATE, branch.id, document, err);
}

static bool find_claimed(struct evaluation *evaluation, const struct project_catalog *catalog, struct error *err)
{
    struct arena *arena = &evaluation->run->arena;
    struct branch_record branch, traditional;
    struct migration migration;
    bool found;
    if (!project_find_branch(catalog, evaluation->branch, arena, &branch, err))
        return false;
    if (branch.kind == BRANCH_TRADITIONAL)
        return (branch_is_migrating(&branch) || traditional_check_state(&branch, err)) && copy_record(evaluation, &branch, err);
    if (!migration_find(catalog->branches, &branch, arena, &traditional, &migration, &found, err))
        return false;
    if (found)
        return copy_record(evaluation, &traditional, err);
    error_set(err, ERROR_FAILED_PRECONDITION, "branch '%s' is a WAL branch, and was never anything else", evaluation->branch);
    error_set_reason(err, REASON_MIGRATION_STATE);
    return false;
}

static bool check_seen(const struct evaluation *evaluation, struct error *err)
{
    const struct migration_status *seen = evaluation->seen;
    const struct branch_record *record = &evaluation->record;
    return !seen ||
           (record->state == seen->state && record->epoch == seen->epoch && strcmp(record->id, seen->traditional_id) == 0 &&
            evaluation->migration.beats == seen->beats) ||
           taken_over(err);
}

static bool plan_claim(struct evaluation *evaluation, const struct project_catalog *catalog, struct arena *arena, struct write_plan *plan,
                       struct error *err)
{
    struct branch_record *record = &evaluation->record;
    struct batch batch;
    enum branch_state state;
    if (!check_project(evaluation->run->project, catalog, err) || !find_claimed(evaluation, catalog, err) || !check_seen(evaluation, err) ||
        !migration_claim_state(record->state, evaluation->verb, &state, err) || !batch_begin(&batch, arena, record->id, err))
        return false;
    record->epoch++;
    if (record->state == BRANCH_READY)
        evaluation->migration = (struct migration) { .started_at = clock_wall_micros(), .first = record->epoch };
    record->state = state;
    if (state == BRANCH_ROLLING_BACK && !release_branch(catalog, evaluation->migration.branch, &batch, err))
        return false;
    return finish_batch(evaluation, catalog, &batch, arena, plan, err);
}

static bool evaluate(void *ctx, struct arena *arena, struct write_plan *plan, struct error *err)
{
    struct evaluation *evaluation = ctx;
    struct project_catalog catalog;
    project_catalog(evaluation->run->project, &catalog);
    bool ok = (evaluation->claim ? plan_claim : plan_step)(evaluation, &catalog, arena, plan, err);
    project_catalog_destroy(&catalog);
    return ok;
}

static bool commit(struct evaluation *evaluation, uint64_t *lsn, struct error *err)
{
    struct migration_run *run = evaluation->run;
    const struct write_request request = { .request_id = "", .actor = "", .deadline = base_step_deadline(run->call->deadline) };
    struct write_result result;
    /* its own last step may not be folded in here yet */
    if (!project_refresh(run->project, request.deadline, err) || !write_execute(run->project, &request, evaluate, evaluation, &result, err))
        return false;
    *lsn = result.lsn;
    write_result_destroy(&result);
    run->record = evaluation->record;
    run->migration = evaluation->migration;
    return true;
}

bool migration_step(struct migration_run *run, struct migration_change *change, struct error *err)
{
    struct evaluation evaluation = { .run = run, .change = change };
    char point[64];
    snprintf(point, sizeof point, "before-%s", branch_state_name(change->to));
    migration_test_point(point);
    if (!commit(&evaluation, &change->lsn, err))
        return false;
    pulse_note_step(run);
    migration_test_point(branch_state_name(change->to));
    return true;
}

/* ---- beginning -------------------------------------------------------------------------------------- */

static bool check_enabled(struct registry *registry, int64_t deadline, struct error *err)
{
    struct features features;
    if (!registry_features(registry, deadline, &features, err))
        return false;
    if (features.enabled)
        return true;
    error_set(err, ERROR_FAILED_PRECONDITION, "WAL branches are switched off: set wal.enabled to true");
    error_set_reason(err, REASON_WAL_BRANCHES_OFF);
    return false;
}

bool migration_run_begin(struct migration_run *run, const struct migration_call *call, enum migration_verb verb,
                         const struct migration_status *seen, struct error *err)
{
    const int64_t deadline = base_step_deadline(call->deadline);
    struct evaluation evaluation = { .run = run, .claim = true, .verb = verb, .branch = call->branch, .seen = seen };
    uint64_t lsn;
    *run = (struct migration_run) { .call = call, .registry = call->registry };
    if (!traditional_mongo(call->registry, &run->mongo, err) ||
        (verb == MIGRATION_START && !check_enabled(call->registry, deadline, err)) ||
        !registry_find(call->registry, call->project, deadline, &run->project, err))
        return false;
    arena_init(&run->arena, 0);
    if (commit(&evaluation, &lsn, err)) {
        pulse_begin(run);
        migration_test_point("claimed");
        return true;
    }
    arena_destroy(&run->arena);
    return false;
}

void migration_run_end(struct migration_run *run)
{
    pulse_end(&run->pulse);
    arena_destroy(&run->arena);
}

/* ---- the base --------------------------------------------------------------------------------------- */

static bool tell_copy(void *ctx, const struct copy_progress *copied)
{
    struct migration_run *run = ctx;
    const struct migration_progress progress = { .state = run->record.state,
                                                 .collection = copied->collection,
                                                 .documents = copied->documents,
                                                 .bytes = copied->bytes,
                                                 .message = copied->done ? "copied" : "copying" };
    migration_test_point("copying");
    return run->call->tell(run->call->ctx, &progress) || run->stubborn;
}

static bool guard(void *ctx, const struct project_catalog *catalog, struct batch *batch, struct error *err)
{
    struct migration_run *run = ctx;
    struct branch_record record;
    return is_mine(run, catalog, &record, err) && batch_read_branch(batch, run->record.id, err);
}

static bool find_complete(const struct migration_run *run, bool *complete, struct error *err)
{
    struct project_catalog catalog;
    struct branch_record base;
    project_catalog(run->project, &catalog);
    bool ok = lineage_find_record(catalog.branches, run->migration.base, &base, err);
    if (ok)
        *complete = base.complete > 0;
    project_catalog_destroy(&catalog);
    return ok;
}

bool migration_copy_base(struct migration_run *run, struct error *err)
{
    const struct migration *migration = &run->migration;
    struct collection_record *collections = arena_alloc(&run->arena, (migration->n + 1) * sizeof *collections);
    bool complete;
    if (!collections)
        return error_out_of_memory(err);
    if (!project_refresh(run->project, base_step_deadline(run->call->deadline), err) || !find_complete(run, &complete, err))
        return false;
    for (size_t i = 0; i < migration->n; i++)
        collections[i] = (struct collection_record) { .name = migration->collections[i].name, .id = migration->collections[i].id };
    const struct base_copy copy = {
        .project = run->project,
        .mongo = run->mongo,
        .base_id = migration->base,
        .collections = collections,
        .n = migration->n,
        .guard = guard,
        .tell = tell_copy,
        .ctx = run,
        .deadline = run->call->deadline,
    };
    return complete || (base_copy_documents(&copy, err) &&
                        /* the end of the copy is an LSN that this replica has seen */
                        project_refresh(run->project, base_step_deadline(run->call->deadline), err));
}
