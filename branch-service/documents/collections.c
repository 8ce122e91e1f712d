#include "branch-service/documents/collections.h"

#include "branch-service/catalog/index_definitions.h"
#include "branch-service/catalog/names.h"
#include "branch-service/registry/write_named.h"
#include "branch-service/write/batch.h"
#include "common/base/backoff.h"
#include "common/base/clock.h"
#include "common/base/random.h"

/* ---- reading ---------------------------------------------------------------------------------------- */

/* A strong read has seen every acknowledged write already: only a replica of another log is behind min_lsn. */
static bool wait_for(struct project *project, uint64_t min_lsn, int64_t deadline, struct error *err)
{
    struct backoff backoff = { 0 };
    for (;;) {
        struct project_catalog catalog;
        project_catalog(project, &catalog);
        uint64_t lsn = catalog.lsn;
        project_catalog_destroy(&catalog);
        if (lsn >= min_lsn)
            return true;
        if (!backoff_wait(&backoff, deadline))
            return error_set(err, ERROR_UNAVAILABLE, "min_lsn %llu is not visible yet: the project is at %llu", (unsigned long long)min_lsn,
                             (unsigned long long)lsn);
        if (!project_refresh(project, deadline, err))
            return false;
    }
}

static bool check_options(const struct read_options *read, struct error *err)
{
    const struct {
        bool set;
        const char *name;
    } states[] = { { read->as_of_lsn > 0, "as_of_lsn" }, { read->as_of_time > 0, "as_of_time" }, { read->stale_ok, "stale_ok" } };
    const char *first = NULL;
    for (size_t i = 0; i < ARRAY_LEN(states); i++) {
        if (!states[i].set)
            continue;
        if (first)
            return error_set(err, ERROR_INVALID_ARGUMENT, "%s and %s are both set: a read has one state", first, states[i].name);
        first = states[i].name;
    }
    return true;
}

/* The branch must be known even where nothing is to be seen: before the first batch. */
static bool open_nothing(struct project *project, const char *branch, struct target *target, struct error *err)
{
    struct project_catalog catalog;
    struct branch_record record;
    struct arena arena;
    arena_init(&arena, 0);
    project_catalog(project, &catalog);
    bool ok = project_find_branch(&catalog, branch, &arena, &record, err) && project_refuse_traditional(&record, branch, err);
    project_catalog_destroy(&catalog);
    arena_destroy(&arena);
    if (ok)
        *target = (struct target) { 0 };
    return ok;
}

bool collections_find_time(struct project *project, uint64_t time_micros, int64_t deadline, uint64_t *lsn, struct error *err)
{
    struct backoff backoff = { 0 };
    for (;;) {
        struct project_catalog catalog;
        uint64_t found;
        project_catalog(project, &catalog);
        uint64_t begun = catalog.begun;
        project_catalog_destroy(&catalog);
        if (!log_source_find_lsn(project_log(project), project_id(project), time_micros, deadline, &found, err))
            return false;
        /* what was appended after we looked for the head may be at or before the time that is asked for */
        if (found > project_position(project) && !project_refresh(project, deadline, err))
            return false;
        project_catalog(project, &catalog);
        bool same_log = catalog.begun == begun && found <= catalog.lsn;
        project_catalog_destroy(&catalog);
        if (same_log) {
            *lsn = found;
            return true;
        }
        if (!backoff_wait(&backoff, deadline))
            return error_set(err, ERROR_ABORTED, "the log was replaced while it was read");
    }
}

/* *nothing: the state before the first batch. */
static bool find_state(struct project *project, const struct read_options *read, uint64_t *as_of, bool *nothing, struct error *err)
{
    uint64_t lsn = read->as_of_lsn;
    *as_of = 0;
    *nothing = false;
    if (read->as_of_time && !collections_find_time(project, read->as_of_time, read->deadline, &lsn, err))
        return false;
    if (lsn && !project_batch_end(project, lsn, read->deadline, as_of, err))
        return false;
    *nothing = (read->as_of_lsn || read->as_of_time) && *as_of == 0;
    return true;
}

bool collections_open(struct registry *registry, const char *project_name, const char *branch, const char *collection,
                      const struct read_options *read, struct target *target, struct error *err)
{
    struct project *project;
    if (!check_options(read, err) || !name_check("branch", branch, err) || (collection && !name_check_collection(collection, err)))
        return false;
    bool found = read->stale_ok ? registry_find_known(registry, project_name, read->deadline, &project, err)
                                : registry_find(registry, project_name, read->deadline, &project, err);
    if (!found || !wait_for(project, read->min_lsn, read->deadline, err))
        return false;
    struct backoff backoff = { 0 };
    for (;;) {
        uint64_t as_of;
        bool nothing;
        if (find_state(project, read, &as_of, &nothing, err)) {
            if (nothing)
                return open_nothing(project, branch, target, err);
            if (project_open_target(project, branch, collection, as_of, read->deadline, target, err))
                return true;
        }
        /* the log was replaced while we read: look again */
        if (err->code != ERROR_ABORTED || !backoff_wait(&backoff, read->deadline) || !project_refresh(project, read->deadline, err))
            return false;
    }
}

/* The record as it stands in a tree, which goes before the arena does. */
static bool copy_record(const struct collection_record *record, struct arena *arena, struct collection_record *copy, struct error *err)
{
    *copy = *record;
    copy->name = arena_strdup(arena, record->name);
    copy->id = arena_strdup(arena, record->id);
    copy->indexes.data = record->indexes.len ? arena_copy(arena, record->indexes.data, record->indexes.len) : NULL;
    return (copy->name && copy->id && (copy->indexes.data || !record->indexes.len)) || error_out_of_memory(err);
}

bool collections_list(struct registry *registry, const char *project, const char *branch, const struct read_options *read,
                      const char *after, size_t n, struct arena *arena, struct collection_record *collections, size_t *n_collections,
                      bool *more, uint64_t *lsn, struct error *err)
{
    struct target target;
    struct tree_cursor cursor;
    struct tree_item item;
    struct bytes key;
    size_t found = 0, index_bytes = 0;
    bool ok = true;
    *more = false;
    if (!catalog_key(after, arena, &key, err) || !collections_open(registry, project, branch, NULL, read, &target, err))
        return false;
    if (target.collections)
        tree_cursor_seek_behind(&cursor, target.collections, key);
    while (ok && target.collections && tree_cursor_next(&cursor, &item)) {
        if (found == n || index_bytes >= MAX_INDEX_DEFINITION_BYTES) {
            *more = true;
            break;
        }
        struct collection_record record;
        ok = catalog_decode_collection(item.document, &record, err) && copy_record(&record, arena, &collections[found], err);
        index_bytes += ok ? record.indexes.len : 0;
        found++;
    }
    *lsn = target.lsn;
    target_destroy(&target);
    if (ok)
        *n_collections = found;
    return ok;
}

/* ---- changing --------------------------------------------------------------------------------------- */

struct change;
typedef bool plan_fn(const struct change *, const struct target *, struct batch *, struct error *);

struct change {
    plan_fn *plan;
    struct project *project;
    const char *branch;
    const char *collection;
    const char *new_name;
    struct bytes indexes;
    int64_t deadline;
};

static bool find_record(const struct target *target, const char *name, struct arena *arena, struct collection_record *record, bool *found,
                        struct error *err)
{
    struct bytes key;
    struct tree_item item;
    if (!catalog_key(name, arena, &key, err))
        return false;
    *found = tree_get(target->collections, key, &item);
    if (!*found)
        return true;
    struct collection_record stored;
    return catalog_decode_collection(item.document, &stored, err) && copy_record(&stored, arena, record, err);
}

static bool plan_create(const struct change *change, const struct target *target, struct batch *batch, struct error *err)
{
    struct collection_record record;
    struct bytes document;
    bool found;
    char id[ID_SIZE];
    if (!find_record(target, change->collection, batch->arena, &record, &found, err))
        return false;
    if (found)
        return error_set(err, ERROR_ALREADY_EXISTS, "collection '%s' exists on branch '%s'", change->collection, change->branch);
    random_id(id);
    record = (struct collection_record) { .name = change->collection, .id = id, .created_at = clock_wall_micros() };
    return catalog_encode_collection(&record, batch->arena, &document, err) &&
           batch_add_record(batch, target->branch_id, COLLECTIONS_COLLECTION, LOG_INSERT, change->collection, document, err);
}

static bool missing(const struct change *change, struct error *err)
{
    return error_set(err, ERROR_NOT_FOUND, "collection '%s' does not exist on branch '%s'", change->collection, change->branch);
}

static bool plan_rename(const struct change *change, const struct target *target, struct batch *batch, struct error *err)
{
    struct collection_record record, other;
    struct bytes document;
    bool found, taken;
    if (!find_record(target, change->collection, batch->arena, &record, &found, err) ||
        !find_record(target, change->new_name, batch->arena, &other, &taken, err))
        return false;
    if (!found)
        return missing(change, err);
    if (taken)
        return error_set(err, ERROR_ALREADY_EXISTS, "collection '%s' exists on branch '%s'", change->new_name, change->branch);
    record.name = change->new_name;
    return catalog_encode_collection(&record, batch->arena, &document, err) &&
           batch_add_record(batch, target->branch_id, COLLECTIONS_COLLECTION, LOG_DELETE, change->collection, (struct bytes) { 0 }, err) &&
           batch_add_record(batch, target->branch_id, COLLECTIONS_COLLECTION, LOG_INSERT, change->new_name, document, err);
}

static bool plan_set_indexes(const struct change *change, const struct target *target, struct batch *batch, struct error *err)
{
    struct collection_record record;
    struct bytes document;
    bool found;
    char id[ID_SIZE];
    if (!find_record(target, change->collection, batch->arena, &record, &found, err))
        return false;
    if (!found) {
        random_id(id);
        record = (struct collection_record) { .name = change->collection, .id = id, .created_at = clock_wall_micros() };
    }
    record.indexes = change->indexes;
    return catalog_encode_collection(&record, batch->arena, &document, err) &&
           batch_add_record(batch, target->branch_id, COLLECTIONS_COLLECTION, found ? LOG_UPDATE : LOG_INSERT, change->collection, document,
                            err);
}

static bool plan_drop(const struct change *change, const struct target *target, struct batch *batch, struct error *err)
{
    struct collection_record record;
    bool found;
    if (!find_record(target, change->collection, batch->arena, &record, &found, err))
        return false;
    if (!found)
        return missing(change, err);
    return batch_add_record(batch, target->branch_id, COLLECTIONS_COLLECTION, LOG_DELETE, change->collection, (struct bytes) { 0 }, err);
}

static bool evaluate(void *ctx, struct arena *arena, struct write_plan *plan, struct error *err)
{
    const struct change *change = ctx;
    struct target target;
    struct batch batch;
    if (!project_open_target(change->project, change->branch, NULL, 0, change->deadline, &target, err))
        return false;
    bool ok = batch_begin_on(&batch, arena, &target, err) && change->plan(change, &target, &batch, err) &&
              batch_finish(&batch, target.lsn, &target.incarnation, plan, err);
    target_destroy(&target);
    return ok;
}

static bool execute(struct registry *registry, const char *project, struct change *change, const struct write_request *request,
                    struct write_result *result, struct error *err)
{
    change->deadline = request->deadline;
    if (!name_check("branch", change->branch, err) || !name_check_collection(change->collection, err) ||
        (change->new_name && !name_check_collection(change->new_name, err)) || !write_request_check(request, err))
        return write_refuse(request, err);
    return write_named(registry, project, request, evaluate, change, &change->project, result, err);
}

bool collections_create(struct registry *registry, const struct collection_path *path, const struct write_request *request,
                        struct arena *arena, struct collection_record *collection, uint64_t *lsn, struct error *err)
{
    struct change change = { .plan = plan_create, .branch = path->branch, .collection = path->collection };
    struct write_result result;
    if (!execute(registry, path->project, &change, request, &result, err))
        return false;
    struct collection_record record;
    bool ok = result.n_runs == 1 && result.runs[0].n_entries == 1
                  ? catalog_decode_collection(result.runs[0].entries[0].document, &record, err)
                  : error_set(err, ERROR_DATA_LOSS, "the log holds no collection record where one was written");
    ok = ok && copy_record(&record, arena, collection, err);
    *lsn = result.lsn;
    write_result_destroy(&result);
    return ok;
}

static bool execute_for_lsn(struct registry *registry, const char *project, struct change *change, const struct write_request *request,
                            uint64_t *lsn, struct error *err)
{
    struct write_result result;
    if (!execute(registry, project, change, request, &result, err))
        return false;
    *lsn = result.lsn;
    write_result_destroy(&result);
    return true;
}

bool collections_rename(struct registry *registry, const struct collection_path *path, const char *new_name,
                        const struct write_request *request, uint64_t *lsn, struct error *err)
{
    struct change change = { .plan = plan_rename, .branch = path->branch, .collection = path->collection, .new_name = new_name };
    return execute_for_lsn(registry, path->project, &change, request, lsn, err);
}

bool collections_set_indexes(struct registry *registry, const struct collection_path *path, struct bytes indexes,
                             const struct write_request *request, uint64_t *lsn, struct error *err)
{
    struct change change = { .plan = plan_set_indexes, .branch = path->branch, .collection = path->collection, .indexes = indexes };
    return execute_for_lsn(registry, path->project, &change, request, lsn, err);
}

bool collections_drop(struct registry *registry, const struct collection_path *path, const struct write_request *request, uint64_t *lsn,
                      struct error *err)
{
    struct change change = { .plan = plan_drop, .branch = path->branch, .collection = path->collection };
    return execute_for_lsn(registry, path->project, &change, request, lsn, err);
}
