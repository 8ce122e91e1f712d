#include "branch-service/branches/bases.h"

#include <stdio.h>

#include "branch-service/catalog/lineage.h"
#include "branch-service/catalog/migration_record.h"
#include "branch-service/catalog/names.h"
#include "branch-service/collection/traditional.h"
#include "branch-service/collection/traditional_indexes.h"
#include "branch-service/reasons.h"
#include "branch-service/registry/write_named.h"
#include "common/base/clock.h"
#include "common/base/random.h"

/* How long a failed copy may take to delete its base. */
enum { DISCARD_MICROS = 5 * MICROS_PER_SECOND };

struct making {
    struct project *project;
    struct mongo *mongo;
    struct branch_record source; /* as it was in the beginning */
    struct new_base base;
    uint64_t snapshot;
    bool begun; /* the base has a record */
    struct collection_record *collections;
    size_t n, capacity;
    copy_tell_fn *tell;
    void *ctx;
    struct arena arena;
    bool complete; /* the batch that is the last */
};

/* ---- one copy --------------------------------------------------------------------------------------- */

static bool changed(const char *name, struct error *err)
{
    error_set(err, ERROR_FAILED_PRECONDITION, "branch '%s' changed while it was copied", name);
    error_set_reason(err, REASON_MIGRATION_STATE);
    return false;
}

/* What is copied is the branch only while its record is what it was. */
static bool guard(void *ctx, const struct project_catalog *catalog, struct batch *batch, struct error *err)
{
    const struct making *making = ctx;
    const struct branch_record *was = &making->source;
    struct branch_record is;
    if (catalog->deleted)
        return error_set(err, ERROR_NOT_FOUND, "project '%s' does not exist", project_name(making->project));
    if (!lineage_find_record(catalog->branches, was->id, &is, err))
        return false;
    struct branch_record base;
    if (making->begun && (!lineage_find_record(catalog->branches, making->base.id, &base, err) || base.deleted))
        return error_set(err, ERROR_FAILED_PRECONDITION, "base '%s' was deleted while it was copied", making->base.id);
    if (is.deleted || is.state != BRANCH_READY || is.epoch != was->epoch || strcmp(is.prefix, was->prefix) != 0)
        return changed(was->name, err);
    return batch_read_branch(batch, was->id, err);
}

static bool tell(void *ctx, const struct copy_progress *progress)
{
    struct making *making = ctx;
    struct copy_progress told = *progress;
    told.base_id = making->base.id;
    return making->tell(making->ctx, &told);
}

static bool add_collection(void *ctx, const struct mongo_collection_info *info, struct error *err)
{
    struct making *making = ctx;
    const char *name = info->name + strlen(making->source.prefix);
    struct error why;
    if (strcmp(info->type, "collection") != 0)
        return true;
    if (!name_check_collection(name, &why))
        return error_set(err, ERROR_FAILED_PRECONDITION, "collection '%s' cannot go to a WAL branch: %s", info->name, why.message);
    if (making->n == making->capacity) {
        size_t capacity = making->capacity ? 2 * making->capacity : 64;
        struct collection_record *larger = arena_alloc(&making->arena, capacity * sizeof *larger);
        if (!larger)
            return error_out_of_memory(err);
        if (making->n)
            memcpy(larger, making->collections, making->n * sizeof *larger);
        making->collections = larger;
        making->capacity = capacity;
    }
    char id[ID_SIZE];
    random_id(id);
    struct collection_record *collection = &making->collections[making->n++];
    *collection = (struct collection_record) { .name = arena_strdup(&making->arena, name),
                                               .id = arena_strdup(&making->arena, id),
                                               .created_at = clock_wall_micros() };
    return (collection->name && collection->id) || error_out_of_memory(err);
}

static bool plan_batch(struct making *making, const struct project_catalog *catalog, struct arena *arena, struct write_plan *plan,
                       struct error *err)
{
    const struct branch_record base = {
        .id = making->base.id,
        .name = making->source.name,
        .cut = CUT_AT_RECORD,
        .kind = BRANCH_BASE,
        .source = making->source.id,
        .database = making->source.database,
        .prefix = making->source.prefix,
    };
    struct batch batch;
    struct bytes document;
    if (!batch_begin(&batch, arena, base.id, err) || !guard(making, catalog, &batch, err))
        return false;
    if (making->complete)
        return base_add_complete(&batch, catalog, base.id, making->base.isolated, err) &&
               batch_finish(&batch, catalog->lsn, &catalog->incarnation, plan, err);
    return base_add_catalog(&batch, base.id, making->collections, making->n, err) && catalog_encode_branch(&base, arena, &document, err) &&
           batch_add_record(&batch, CATALOG_BRANCH, BRANCHES_COLLECTION, LOG_INSERT, base.id, document, err) &&
           batch_finish(&batch, catalog->lsn, &catalog->incarnation, plan, err);
}

static bool evaluate(void *ctx, struct arena *arena, struct write_plan *plan, struct error *err)
{
    struct making *making = ctx;
    struct project_catalog catalog;
    project_catalog(making->project, &catalog);
    bool ok = plan_batch(making, &catalog, arena, plan, err);
    project_catalog_destroy(&catalog);
    return ok;
}

static bool commit(struct making *making, int64_t deadline, struct error *err)
{
    const struct write_request request = { .request_id = "", .actor = "", .deadline = base_step_deadline(deadline) };
    struct write_result result;
    if (!project_refresh(making->project, request.deadline, err) ||
        !write_execute(making->project, &request, evaluate, making, &result, err))
        return false;
    write_result_destroy(&result);
    return true;
}

static bool find_source(struct making *making, const char *branch_id, struct error *err)
{
    struct project_catalog catalog;
    struct branch_record found;
    project_catalog(making->project, &catalog);
    bool ok = lineage_find_record(catalog.branches, branch_id, &found, err);
    if (ok && found.kind != BRANCH_TRADITIONAL)
        ok = error_set(err, ERROR_FAILED_PRECONDITION, "branch '%s' is not traditional: WAL branches of it need no base", found.name);
    ok = ok && traditional_check_state(&found, err) &&
         (branch_record_copy(&found, &making->arena, &making->source) || error_out_of_memory(err));
    project_catalog_destroy(&catalog);
    return ok;
}

static bool read_indexes(struct making *making, struct collection_record *collection, int64_t deadline, struct error *err)
{
    const char *prefix = making->source.prefix;
    size_t len = strlen(prefix) + strlen(collection->name) + 1;
    char *name = arena_alloc(&making->arena, len);
    if (!name)
        return error_out_of_memory(err);
    snprintf(name, len, "%s%s", prefix, collection->name);
    const struct indexed_collection there = { .mongo = making->mongo,
                                              .database = making->source.database,
                                              .name = name,
                                              .arena = &making->arena,
                                              .deadline = base_step_deadline(deadline) };
    return indexes_read(&there, &collection->indexes, err) || error_wrap(err, "indexes of collection '%s'", collection->name);
}

static bool make(struct making *making, int64_t deadline, struct error *err)
{
    if (!mongo_list_collections(making->mongo, making->source.database, making->source.prefix, base_step_deadline(deadline), add_collection,
                                making, err))
        return false;
    for (size_t i = 0; i < making->n; i++)
        if (!read_indexes(making, &making->collections[i], deadline, err))
            return false;
    if (!commit(making, deadline, err))
        return false;
    making->begun = true;
    const struct base_copy copy = {
        .project = making->project,
        .mongo = making->mongo,
        .base_id = making->base.id,
        .collections = making->collections,
        .n = making->n,
        .snapshot = making->snapshot,
        .guard = guard,
        .tell = tell,
        .ctx = making,
        .deadline = deadline,
    };
    if (!base_copy_documents(&copy, err))
        return false;
    making->complete = true;
    making->base.isolated = making->snapshot != 0;
    return commit(making, deadline, err);
}

/* ---- deleting --------------------------------------------------------------------------------------- */

struct deletion {
    struct project *project;
    const char *base_id;
};

static bool no_base(const char *base_id, struct error *err)
{
    return error_set(err, ERROR_NOT_FOUND, "base '%s' does not exist", base_id);
}

static bool refuse_migrations(const struct project_catalog *catalog, const struct branch_record *base, struct arena *arena,
                              struct error *err)
{
    struct branch_record source;
    struct migration migration = { 0 };
    if (!lineage_find_record(catalog->branches, base->source, &source, err) ||
        (source.migration.len && !migration_decode(source.migration, arena, &migration, err)))
        return false;
    if (!migration.base || strcmp(migration.base, base->id) != 0)
        return true;
    error_set(err, ERROR_FAILED_PRECONDITION, "base '%s' is part of the migration of branch '%s'", base->id, source.name);
    error_set_reason(err, REASON_MIGRATION_STATE);
    return false;
}

static bool plan_delete(const struct deletion *deletion, const struct project_catalog *catalog, struct arena *arena,
                        struct write_plan *plan, struct error *err)
{
    struct branch_record base;
    struct batch batch;
    struct bytes document;
    if (catalog->deleted)
        return error_set(err, ERROR_NOT_FOUND, "project '%s' does not exist", project_name(deletion->project));
    if (!lineage_find_record(catalog->branches, deletion->base_id, &base, err) || base.kind != BRANCH_BASE || base.deleted)
        return no_base(deletion->base_id, err);
    if (!refuse_migrations(catalog, &base, arena, err))
        return false;
    base.deleted = true; /* the tombstone: branches go on reading through it, and a copy that is under way ends */
    return catalog_encode_branch(&base, arena, &document, err) && batch_begin(&batch, arena, base.id, err) &&
           batch_add_record(&batch, CATALOG_BRANCH, BRANCHES_COLLECTION, LOG_UPDATE, base.id, document, err) &&
           batch_finish(&batch, catalog->lsn, &catalog->incarnation, plan, err);
}

static bool evaluate_delete(void *ctx, struct arena *arena, struct write_plan *plan, struct error *err)
{
    struct deletion *deletion = ctx;
    struct project_catalog catalog;
    project_catalog(deletion->project, &catalog);
    bool ok = plan_delete(deletion, &catalog, arena, plan, err);
    project_catalog_destroy(&catalog);
    return ok;
}

bool bases_delete(struct registry *registry, const char *project, const char *base_id, const struct write_request *request, uint64_t *lsn,
                  struct error *err)
{
    struct deletion deletion = { .base_id = base_id };
    struct write_result result;
    if (!base_id[0]) {
        error_fill(err, ERROR_INVALID_ARGUMENT, "base_id is empty");
        return write_refuse(request, err);
    }
    if (!write_request_check(request, err))
        return write_refuse(request, err);
    if (!write_named(registry, project, request, evaluate_delete, &deletion, &deletion.project, &result, err))
        return false;
    *lsn = result.lsn;
    write_result_destroy(&result);
    return true;
}

void bases_discard(struct project *project, const char *base_id)
{
    struct deletion deletion = { .project = project, .base_id = base_id };
    const struct write_request request = { .request_id = "", .actor = "", .deadline = clock_monotonic_micros() + DISCARD_MICROS };
    struct write_result result;
    struct error ignored;
    if (write_execute(project, &request, evaluate_delete, &deletion, &result, &ignored))
        write_result_destroy(&result);
}

/* ---- copying, and what becomes of it ---------------------------------------------------------------- */

/* Leaves no base behind when it fails. */
static bool make_or_discard(struct making *making, int64_t deadline, struct error *err)
{
    random_id(making->base.id);
    making->n = 0;
    making->begun = making->complete = false;
    if (make(making, deadline, err))
        return true;
    bases_discard(making->project, making->base.id);
    return false;
}

static bool copy_isolated_or_not(struct making *making, int64_t deadline, struct error *err)
{
    struct mongo_snapshot snapshot;
    if (!mongo_begin_snapshot(making->mongo, making->source.database, base_step_deadline(deadline), &snapshot, err))
        return false;
    making->snapshot = snapshot.time;
    snprintf(making->base.why_not, sizeof making->base.why_not, "%s", snapshot.why_not);
    if (make_or_discard(making, deadline, err))
        return true;
    if (!making->snapshot || !err->reason || strcmp(err->reason, MONGO_SNAPSHOT_GONE) != 0)
        return false;
    making->snapshot = 0;
    snprintf(making->base.why_not, sizeof making->base.why_not, "the server did not keep the snapshot until the end");
    return make_or_discard(making, deadline, err);
}

bool bases_copy(struct registry *registry, struct project *project, const char *branch_id, copy_tell_fn *tell_fn, void *ctx,
                int64_t deadline, struct new_base *base, struct error *err)
{
    struct making making = { .project = project, .tell = tell_fn, .ctx = ctx };
    if (!traditional_mongo(registry, &making.mongo, err))
        return false;
    arena_init(&making.arena, 0);
    bool ok = find_source(&making, branch_id, err) && copy_isolated_or_not(&making, deadline, err);
    arena_destroy(&making.arena);
    if (ok)
        *base = making.base;
    return ok;
}

bool bases_copy_named(struct registry *registry, const char *project_name, const char *branch, copy_tell_fn *tell_fn, void *ctx,
                      int64_t deadline, struct new_base *base, struct error *err)
{
    struct project *project;
    struct project_catalog catalog;
    struct branch_record record;
    struct arena arena;
    if (!name_check("branch", branch, err) || !registry_find(registry, project_name, base_step_deadline(deadline), &project, err))
        return false;
    arena_init(&arena, 0);
    project_catalog(project, &catalog);
    bool ok = project_find_branch(&catalog, branch, &arena, &record, err);
    project_catalog_destroy(&catalog);
    ok = ok && bases_copy(registry, project, record.id, tell_fn, ctx, deadline, base, err);
    arena_destroy(&arena);
    return ok;
}

/* ---- those that there are --------------------------------------------------------------------------- */

bool bases_list(struct registry *registry, const char *project_name, const char *after, size_t n, int64_t deadline, struct arena *arena,
                struct branch_record *bases, size_t *n_bases, bool *more, struct error *err)
{
    struct project *project;
    struct project_catalog catalog;
    struct tree_cursor cursor;
    struct tree_item item;
    struct bytes key;
    size_t found = 0;
    bool ok = true;
    *more = false;
    if (!registry_find(registry, project_name, deadline, &project, err) || !catalog_key(after, arena, &key, err))
        return false;
    project_catalog(project, &catalog);
    tree_cursor_seek_behind(&cursor, catalog.branches, key);
    while (ok && !*more && tree_cursor_next(&cursor, &item)) {
        struct branch_record record;
        if (!catalog_has_kind(item.document))
            continue;
        ok = catalog_decode_branch(item.document, &record, err);
        if (!ok || record.kind != BRANCH_BASE || record.deleted)
            continue;
        *more = found == n;
        if (!*more)
            ok = branch_record_copy(&record, arena, &bases[found++]) || error_out_of_memory(err);
    }
    project_catalog_destroy(&catalog);
    if (ok)
        *n_bases = found;
    return ok;
}

bool bases_check(const struct tree *branches, const char *base_id, const struct branch_record *traditional, struct error *err)
{
    struct branch_record base;
    if (!lineage_find_record(branches, base_id, &base, err) || base.kind != BRANCH_BASE || base.deleted)
        return no_base(base_id, err);
    if (strcmp(base.source, traditional->id) != 0)
        return error_set(err, ERROR_FAILED_PRECONDITION, "base '%s' is of another branch than '%s'", base_id, traditional->name);
    return base.complete || error_set(err, ERROR_FAILED_PRECONDITION, "base '%s' is not complete", base_id);
}
