#include "branch-service/migration/migration.h"

#include <stdio.h>

#include "branch-service/catalog/lineage.h"
#include "branch-service/collection/traditional.h"
#include "branch-service/collection/traditional_branch.h"
#include "branch-service/collection/traditional_copy.h"
#include "branch-service/migration/migration_internal.h"
#include "common/base/clock.h"
#include "common/base/random.h"

/* ---- until the log counts --------------------------------------------------------------------------- */

static bool prepare(struct migration_run *run, struct error *err)
{
    struct migration found = { 0 };
    struct migration_change freeze = { .to = BRANCH_FROZEN };
    /* what cannot be migrated is better known before anybody waits */
    return migration_list_collections(run, &found, err) &&
           migration_wait(run, TRADITIONAL_LIMIT_MICROS, "waiting for operations that are under way", err) &&
           migration_step(run, &freeze, err);
}

static bool set_list(struct migration_run *run, struct migration_change *change, const struct project_catalog *catalog,
                     struct branch_record *record, struct migration *migration, struct batch *batch, struct error *err)
{
    const struct migration *list = change->ctx;
    (void)run, (void)catalog, (void)record, (void)batch, (void)err;
    migration->listed = true;
    migration->collections = list->collections;
    migration->n = list->n;
    return true;
}

/* Those who wait go on with the branch as it was. */
static void thaw(struct migration_run *run)
{
    struct migration_change change = { .to = BRANCH_READY };
    struct error ignored;
    if (!migration_step(run, &change, &ignored))
        return; /* the next call finds the branch frozen */
}

static bool take_list(struct migration_run *run, struct error *err)
{
    struct migration found = { 0 };
    struct migration_change change = { .to = BRANCH_FROZEN, .apply = set_list, .ctx = &found };
    if (!migration_wait(run, TRADITIONAL_PREPARING_MICROS, "the branch stands still", err))
        return false;
    if (migration_list_collections(run, &found, err))
        return migration_step(run, &change, err);
    if (err->code == ERROR_FAILED_PRECONDITION) /* nothing has been renamed yet */
        thaw(run);
    return false;
}

static bool set_frozen_prefix(struct migration_run *run, struct migration_change *change, const struct project_catalog *catalog,
                              struct branch_record *record, struct migration *migration, struct batch *batch, struct error *err)
{
    (void)run, (void)catalog, (void)record, (void)batch, (void)err;
    migration->frozen = change->ctx;
    return true;
}

static bool rename_all(struct migration_run *run, struct error *err)
{
    const char *prefix;
    struct migration_change change = { .to = BRANCH_RENAMED, .apply = set_frozen_prefix };
    if (!migration_move_collections(run, &prefix, err))
        return false;
    migration_test_point("moved");
    change.ctx = (void *)prefix;
    return migration_put_placeholders(run, err) && migration_step(run, &change, err);
}

/* ---- the log counts --------------------------------------------------------------------------------- */

struct beginning {
    char base_id[ID_SIZE];
    char wal_id[ID_SIZE];
};

static bool add_beginning(struct migration_run *run, struct migration_change *change, const struct project_catalog *catalog,
                          struct branch_record *record, struct migration *migration, struct batch *batch, struct error *err)
{
    const struct beginning *beginning = change->ctx;
    struct collection_record *collections = arena_alloc(batch->arena, (migration->n + 1) * sizeof *collections);
    struct bytes document, name;
    const struct branch_record base = {
        .id = beginning->base_id,
        .name = record->name,
        .cut = CUT_AT_RECORD,
        .kind = BRANCH_BASE,
        .source = record->id,
        .database = record->database,
        .prefix = migration->frozen,
        .isolated = true, /* nobody writes there */
    };
    (void)run, (void)catalog;
    if (!collections)
        return error_out_of_memory(err);
    for (size_t i = 0; i < migration->n; i++)
        collections[i] = (struct collection_record) { .name = migration->collections[i].name,
                                                      .id = migration->collections[i].id,
                                                      .created_at = migration->started_at,
                                                      .indexes = migration->collections[i].indexes };
    migration->base = beginning->base_id;
    migration->branch = beginning->wal_id;
    return catalog_encode_name(record->name, beginning->wal_id, batch->arena, &name, err) &&
           catalog_encode_branch(&base, batch->arena, &document, err) && base_add_catalog(batch, base.id, collections, migration->n, err) &&
           batch_add_record(batch, CATALOG_BRANCH, NAMES_COLLECTION, LOG_UPDATE, record->name, name, err) &&
           batch_add_record(batch, CATALOG_BRANCH, BRANCHES_COLLECTION, LOG_INSERT, base.id, document, err);
}

static bool begin_on_log(struct migration_run *run, struct error *err)
{
    struct beginning *beginning = arena_zalloc(&run->arena, sizeof *beginning);
    struct migration_change change = { .to = BRANCH_STARTED, .apply = add_beginning, .ctx = beginning };
    if (!beginning)
        return error_out_of_memory(err);
    random_id(beginning->base_id);
    random_id(beginning->wal_id);
    const struct branch_record branch = {
        .id = beginning->wal_id, .name = run->record.name, .parent = beginning->base_id, .cut = CUT_AT_RECORD
    };
    change.last_id = beginning->wal_id;
    return catalog_encode_branch(&branch, &run->arena, &change.last, err) && migration_step(run, &change, err);
}

static bool add_complete(struct migration_run *run, struct migration_change *change, const struct project_catalog *catalog,
                         struct branch_record *record, struct migration *migration, struct batch *batch, struct error *err)
{
    (void)run, (void)change, (void)record;
    return base_add_complete(batch, catalog, migration->base, true, err);
}

static bool copy(struct migration_run *run, struct error *err)
{
    struct migration_change change = { .to = BRANCH_COPIED, .apply = add_complete };
    return migration_copy_base(run, err) && migration_step(run, &change, err);
}

static bool find_complete(struct migration_run *run, uint64_t *complete, struct error *err)
{
    struct project_catalog catalog;
    struct branch_record base;
    if (!project_refresh(run->project, base_step_deadline(run->call->deadline), err))
        return false;
    project_catalog(run->project, &catalog);
    bool ok = lineage_find_record(catalog.branches, run->migration.base, &base, err);
    if (ok)
        *complete = base.complete;
    project_catalog_destroy(&catalog);
    return ok;
}

static bool verify_collection(struct migration_run *run, const struct migration_collection *collection, uint64_t complete,
                              struct error *err)
{
    struct base_digest there, here;
    const char *from;
    if (!migration_join(run, run->migration.frozen, collection->name, &from, err) ||
        !base_digest_mongo(run->mongo, run->record.database, from, run->call->deadline, &there, err) ||
        !base_digest_log(run->project, run->migration.base, collection->id, complete, run->call->deadline, &here, err))
        return false;
    if (!base_digest_equal(&there, &here))
        return error_set(err, ERROR_DATA_LOSS,
                         "the copy is not what it was made of: %llu documents of %llu bytes in MongoDB, %llu of %llu "
                         "on the log. Roll the migration back",
                         (unsigned long long)there.documents, (unsigned long long)there.bytes, (unsigned long long)here.documents,
                         (unsigned long long)here.bytes);
    const struct migration_progress progress = {
        .state = run->record.state, .collection = collection->name, .documents = here.documents, .bytes = here.bytes, .message = "verified"
    };
    return run->call->tell(run->call->ctx, &progress) || error_set(err, ERROR_CANCELLED, "nobody listens any more");
}

static bool verify(struct migration_run *run, struct error *err)
{
    struct migration_change change = { .to = BRANCH_VERIFIED };
    uint64_t complete;
    if (!find_complete(run, &complete, err))
        return false;
    for (size_t i = 0; i < run->migration.n; i++)
        if (!verify_collection(run, &run->migration.collections[i], complete, err))
            return error_wrap(err, "collection '%s'", run->migration.collections[i].name);
    return migration_step(run, &change, err);
}

static bool go_on(struct migration_run *run, struct error *err)
{
    switch (run->record.state) {
    case BRANCH_PREPARING:
        return prepare(run, err);
    case BRANCH_FROZEN:
        return run->migration.listed ? rename_all(run, err) : take_list(run, err);
    case BRANCH_RENAMED:
        return begin_on_log(run, err);
    case BRANCH_STARTED:
        return copy(run, err);
    default:
        return verify(run, err);
    }
}

bool migration_start(const struct migration_call *call, struct error *err)
{
    struct migration_run run;
    if (!migration_run_begin(&run, call, MIGRATION_START, NULL, err))
        return false;
    bool ok = migration_tell(&run, "begins", err);
    while (ok && run.record.state != BRANCH_VERIFIED) {
        /* while others wait for it, it does not stop because its caller has gone */
        run.stubborn = run.record.state == BRANCH_FROZEN || run.record.state == BRANCH_RENAMED;
        ok = go_on(&run, err) && migration_tell(&run, "goes on", err);
    }
    ok = ok && migration_tell(&run, "done: confirm it, or roll it back", err);
    migration_run_end(&run);
    return ok;
}

/* ---- the end ---------------------------------------------------------------------------------------- */

static bool bury(struct migration_run *run, struct migration_change *change, const struct project_catalog *catalog,
                 struct branch_record *record, struct migration *migration, struct batch *batch, struct error *err)
{
    (void)run, (void)change, (void)catalog, (void)migration, (void)batch, (void)err;
    record->deleted = true;
    return true;
}

bool migration_confirm(const struct migration_call *call, struct error *err)
{
    struct migration_run run;
    struct migration_change change = { .to = BRANCH_CONFIRMED, .apply = bury };
    char all[MIGRATION_PREFIX_SIZE], made[TRADITIONAL_PREFIX_SIZE];
    if (!migration_run_begin(&run, call, MIGRATION_CONFIRM, NULL, err))
        return false;
    migration_test_point("confirming");
    run.stubborn = true;
    migration_make_prefix(run.record.id, 0, all);
    traditional_make_prefix(run.record.id, 0, made); /* what rollbacks before this have not tidied */
    bool ok = migration_tell(&run, "drops the collections", err) &&
              traditional_drop_prefix(run.mongo, run.record.database, all, NULL, base_step_deadline(call->deadline), err) &&
              traditional_drop_prefix(run.mongo, run.record.database, made, NULL, base_step_deadline(call->deadline), err) &&
              migration_drop_placeholders(&run, run.record.prefix, err) && migration_step(&run, &change, err) &&
              migration_tell(&run, "done", err);
    migration_run_end(&run);
    return ok;
}

/* ---- status ----------------------------------------------------------------------------------------- */

static bool fill_status(const struct project_catalog *catalog, const struct branch_record *branch, struct arena *arena,
                        struct migration_status *status, struct error *err)
{
    struct branch_record traditional = { 0 }, base;
    struct migration migration;
    bool found;
    *status =
        (struct migration_status) { .state = BRANCH_READY, .branch = branch->name, .traditional_id = "", .wal_id = "", .base_id = "" };
    status->database = status->prefix = "";
    if (!migration_find(catalog->branches, branch, arena, &traditional, &migration, &found, err))
        return false;
    if (!found && branch->kind == BRANCH_TRADITIONAL) {
        status->traditional_id = branch->id;
        status->database = branch->database;
        status->prefix = branch->prefix;
    }
    if (!found)
        return true;
    status->state = traditional.state;
    status->traditional_id = traditional.id;
    status->database = traditional.database;
    status->prefix = migration.frozen ? migration.frozen : traditional.prefix;
    status->epoch = traditional.epoch;
    status->beats = migration.beats;
    status->started_at = migration.started_at;
    status->collections = migration.n;
    status->wal_id = migration.branch ? migration.branch : "";
    if (!migration.base)
        return true;
    status->base_id = migration.base;
    if (!lineage_find_record(catalog->branches, migration.base, &base, err))
        return false;
    status->copied = base.copied;
    return true;
}

bool migration_get_status(struct registry *registry, const char *project_name, const char *branch, int64_t deadline, struct arena *arena,
                          struct migration_status *status, struct error *err)
{
    struct project *project;
    struct project_catalog catalog;
    struct branch_record record;
    if (!registry_find(registry, project_name, deadline, &project, err))
        return false;
    project_catalog(project, &catalog);
    bool ok = project_find_branch(&catalog, branch, arena, &record, err) && fill_status(&catalog, &record, arena, status, err);
    project_catalog_destroy(&catalog);
    return ok;
}
