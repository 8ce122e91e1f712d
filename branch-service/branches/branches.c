#include "branch-service/branches/branches.h"

#include <stdio.h>

#include "branch-service/branches/bases.h"
#include "branch-service/catalog/lineage.h"
#include "branch-service/catalog/migration_record.h"
#include "branch-service/catalog/names.h"
#include "branch-service/collection/traditional.h"
#include "branch-service/collection/traditional_branch.h"
#include "branch-service/documents/collections.h"
#include "branch-service/registry/registry_config.h"
#include "branch-service/registry/write_named.h"
#include "branch-service/write/batch.h"
#include "common/base/clock.h"
#include "common/base/random.h"

/* ---- describing ------------------------------------------------------------------------------------- */

/* All but head_lsn. */
static bool describe(const struct project *project, const struct project_catalog *catalog, const struct branch_record *record,
                     struct arena *arena, struct branch_description *out, struct error *err)
{
    struct branch_description made = {
        .id = arena_strdup(arena, record->id),
        .name = arena_strdup(arena, record->name),
        .base_lsn = record->base,
        .cut_lsn = record->cut,
        .created_at = strcmp(record->id, MAIN_BRANCH) == 0 ? project_created_at(project) : record->created_at,
        .kind = record->kind,
        .state = record->state,
        .database = arena_strdup(arena, record->database ? record->database : ""),
        .prefix = arena_strdup(arena, record->prefix ? record->prefix : ""),
        .base_id = "",
    };
    if (record->parent) {
        struct branch_record parent;
        if (!lineage_find_record(catalog->branches, record->parent, &parent, err))
            return false;
        /* what the base was made of is what people know */
        if (parent.kind == BRANCH_BASE) {
            made.base_id = arena_strdup(arena, parent.id);
            made.base_isolated = parent.isolated;
            if (!made.base_id)
                return error_out_of_memory(err);
            if (!lineage_find_record(catalog->branches, parent.source, &parent, err))
                return false;
            parent.deleted = parent.deleted || parent.state >= BRANCH_STARTED; /* it has no name */
        }
        made.parent_id = arena_strdup(arena, parent.id);
        made.parent_name = arena_strdup(arena, parent.deleted ? parent.id : parent.name);
        if (!made.parent_id || !made.parent_name)
            return error_out_of_memory(err);
    }
    if (!made.id || !made.name || !made.database || !made.prefix)
        return error_out_of_memory(err);
    *out = made;
    return true;
}

static bool fill_heads(struct project *project, int64_t deadline, struct arena *arena, struct branch_description *branches, size_t n,
                       struct error *err)
{
    const char **ids = arena_alloc(arena, n * sizeof *ids);
    uint64_t *heads = arena_alloc(arena, n * sizeof *heads);
    if (!ids || !heads)
        return error_out_of_memory(err);
    for (size_t i = 0; i < n; i++)
        ids[i] = branches[i].id;
    if (!log_source_branch_heads(project_log(project), project_id(project), ids, n, deadline, heads, err))
        return false;
    for (size_t i = 0; i < n; i++)
        branches[i].head_lsn = heads[i] > branches[i].base_lsn ? heads[i] : branches[i].base_lsn;
    return true;
}

bool branches_get(struct registry *registry, const char *project_name, const char *name, int64_t deadline, struct arena *arena,
                  struct branch_description *branch, struct error *err)
{
    struct project *project;
    struct project_catalog catalog;
    struct branch_record record;
    struct branch_description found;
    if (!registry_find(registry, project_name, deadline, &project, err) || !name_check("branch", name, err))
        return false;
    project_catalog(project, &catalog);
    bool ok = project_find_branch(&catalog, name, arena, &record, err) && describe(project, &catalog, &record, arena, &found, err) &&
              fill_heads(project, deadline, arena, &found, 1, err);
    project_catalog_destroy(&catalog);
    if (ok)
        *branch = found;
    return ok;
}

bool branches_list(struct registry *registry, const char *project_name, const char *after, size_t n, int64_t deadline, struct arena *arena,
                   struct branch_description *branches, size_t *n_branches, bool *more, struct error *err)
{
    struct project *project;
    struct project_catalog catalog;
    struct tree_cursor cursor;
    struct tree_item item;
    struct bytes key;
    size_t found = 0;
    bool ok = true;
    /* main has no record: it is put in where its name belongs */
    bool main_listed = strcmp(after, MAIN_BRANCH) >= 0;
    if (!registry_find(registry, project_name, deadline, &project, err) || !catalog_key(after, arena, &key, err))
        return false;
    project_catalog(project, &catalog);
    tree_cursor_seek_behind(&cursor, catalog.names, key);
    *more = false;
    bool has_item = tree_cursor_next(&cursor, &item);
    while (ok && (has_item || !main_listed)) {
        if (found == n) {
            *more = true;
            break;
        }
        struct branch_record record;
        const char *id = MAIN_BRANCH;
        if (has_item)
            ok = catalog_decode_name(item.document, &id, err);
        if (ok)
            ok = lineage_find_record(catalog.branches, id, &record, err);
        if (ok && !main_listed && (!has_item || strcmp(record.name, MAIN_BRANCH) > 0)) {
            ok = lineage_find_record(catalog.branches, MAIN_BRANCH, &record, err);
            main_listed = true;
        } else if (ok) {
            has_item = tree_cursor_next(&cursor, &item);
        }
        ok = ok && describe(project, &catalog, &record, arena, &branches[found++], err);
    }
    ok = ok && (found == 0 || fill_heads(project, deadline, arena, branches, found, err));
    project_catalog_destroy(&catalog);
    if (ok)
        *n_branches = found;
    return ok;
}

/* ---- changing --------------------------------------------------------------------------------------- */

struct change;
typedef bool plan_fn(struct change *, const struct project_catalog *, struct arena *, struct write_plan *, struct error *);

struct change {
    plan_fn *plan;
    struct registry *registry;
    struct project *project;
    const char *name;
    const struct branch_origin *origin;
    char id[ID_SIZE]; /* of a new branch; once a request: each id is another throw of the dice */
    const char *new_name;
    int64_t deadline;
    /* Of an adoption: */
    const char *prefix;
    const char *database;
    bool empty; /* no collection has the prefix */
    /* Of a deletion: the branch whose collections are gone, and one whose collections are in the way. */
    char dropped[ID_SIZE];
    char to_drop[ID_SIZE];
    /* Of a WAL branch of a traditional parent: the base that it begins with; and the parent, of which one is to be made. */
    const char *base_id;
    char to_copy[ID_SIZE];
};

static bool refuse_taken(const struct project_catalog *catalog, const char *name, struct arena *arena, struct error *err)
{
    struct bytes key;
    struct tree_item item;
    if (!catalog_key(name, arena, &key, err))
        return false;
    if (strcmp(name, MAIN_BRANCH) == 0 || tree_get(catalog->names, key, &item))
        return error_set(err, ERROR_ALREADY_EXISTS, "branch '%s' exists", name);
    return true;
}

static bool refuse_deleted(const struct change *change, const struct project_catalog *catalog, struct error *err)
{
    if (catalog->deleted)
        return error_set(err, ERROR_NOT_FOUND, "project '%s' does not exist", project_name(change->project));
    return true;
}

/* Not definite, when there is no base yet: it is made, and then the request is carried out. */
static bool choose_base(struct change *change, const struct project_catalog *catalog, const struct branch_record *parent,
                        struct branch_record *record, struct error *err)
{
    if (change->base_id[0]) {
        record->parent = change->base_id;
        return bases_check(catalog->branches, change->base_id, parent, err);
    }
    snprintf(change->to_copy, sizeof change->to_copy, "%s", parent->id);
    return error_set(err, ERROR_INTERNAL, "there is no copy of branch '%s' yet", parent->name);
}

/* The kind of the new branch, with what a traditional one has in its record. Here and not before, so that a repeated request gets
 * the answer that it got, whatever the flags say now. */
static bool choose_kind(struct change *change, const struct project_catalog *catalog, const struct branch_record *parent,
                        struct branch_record *record, char *prefix, struct error *err)
{
    const struct branch_origin *origin = change->origin;
    const bool of_traditional = parent->kind == BRANCH_TRADITIONAL;
    const struct new_branch branch = { .id = change->id, .parent_is_traditional = of_traditional, .now = clock_wall_micros() };
    struct features features;
    bool use_wal;
    if (of_traditional && origin->at_lsn)
        return traditional_refuse_option(parent->name, "at_lsn", err);
    if (of_traditional && origin->at_time)
        return traditional_refuse_option(parent->name, "at_time", err);
    if (!registry_features(change->registry, change->deadline, &features, err) ||
        !branch_choose_kind(&features, origin->kind, &branch, registry_mongo(change->registry) != NULL, &use_wal, err))
        return false;
    record->parent = parent->id;
    if (use_wal && of_traditional)
        return choose_base(change, catalog, parent, record, err);
    if (origin->base_id[0])
        return error_set(err, ERROR_FAILED_PRECONDITION, "base_id is for a WAL branch of a traditional parent");
    if (use_wal)
        return true;
    record->kind = BRANCH_TRADITIONAL;
    record->state = BRANCH_CREATING;
    /* a copy inside the server stays in its database */
    record->database = of_traditional ? parent->database : registry_mongo_database(change->registry);
    traditional_make_prefix(record->id, 0, prefix);
    record->prefix = prefix;
    return true;
}

static bool find_cut(const struct change *change, const struct project_catalog *catalog, const struct branch_record *parent,
                     struct arena *arena, uint64_t *cut, struct error *err)
{
    struct lineage lineage;
    uint64_t at = change->origin->at_lsn;
    *cut = CUT_AT_RECORD;
    /* after the catalog was taken: an append under an older incarnation is refused */
    if (change->origin->at_time && !collections_find_time(change->project, change->origin->at_time, change->deadline, &at, err))
        return false;
    if (change->origin->at_time && at == 0)
        *cut = 0;
    if (at && !project_batch_end(change->project, at, change->deadline, cut, err))
        return false;
    /* the parent may have no states that old */
    return *cut == CUT_AT_RECORD || lineage_resolve(catalog->branches, parent->id, *cut, arena, &lineage, err);
}

static bool plan_create(struct change *change, const struct project_catalog *catalog, struct arena *arena, struct write_plan *plan,
                        struct error *err)
{
    struct branch_record parent;
    struct bytes name_document, document;
    struct batch batch;
    const char *id = change->id;
    char prefix[TRADITIONAL_PREFIX_SIZE];
    struct branch_record record = { .id = id, .name = change->name };
    if (!project_find_branch(catalog, change->origin->from, arena, &parent, err) || !refuse_taken(catalog, change->name, arena, err) ||
        !traditional_check_state(&parent, err) || !choose_kind(change, catalog, &parent, &record, prefix, err) ||
        !find_cut(change, catalog, &parent, arena, &record.cut, err))
        return false;
    return catalog_encode_name(change->name, id, arena, &name_document, err) && catalog_encode_branch(&record, arena, &document, err) &&
           batch_begin(&batch, arena, parent.id, err) && batch_read_branch(&batch, record.parent, err) &&
           batch_write_references(&batch, record.parent, err) &&
           batch_add_record(&batch, CATALOG_BRANCH, NAMES_COLLECTION, LOG_INSERT, change->name, name_document, err) &&
           /* the branch's record ends the batch: its LSN is the base */
           batch_add_record(&batch, CATALOG_BRANCH, BRANCHES_COLLECTION, LOG_INSERT, id, document, err) &&
           batch_finish(&batch, catalog->lsn, &catalog->incarnation, plan, err);
}

/* Prefixes of the other branches of the project; those of the projects beside it are not known here. */
static bool refuse_overlap(const struct change *change, const struct project_catalog *catalog, struct error *err)
{
    struct tree_cursor cursor;
    struct tree_item item;
    tree_cursor_first(&cursor, catalog->branches);
    while (tree_cursor_next(&cursor, &item)) {
        struct branch_record other;
        if (!catalog_has_kind(item.document))
            continue;
        if (!catalog_decode_branch(item.document, &other, err))
            return false;
        if (other.kind == BRANCH_TRADITIONAL && !other.deleted && other.state != BRANCH_STATE_UNKNOWN &&
            strcmp(other.database, change->database) == 0 && traditional_prefixes_overlap(other.prefix, change->prefix))
            return error_set(err, ERROR_ALREADY_EXISTS, "branch '%s' has the collections with prefix '%s'", other.name, other.prefix);
    }
    return true;
}

static bool plan_adopt(struct change *change, const struct project_catalog *catalog, struct arena *arena, struct write_plan *plan,
                       struct error *err)
{
    struct bytes name_document, document;
    struct batch batch;
    char id[ID_SIZE];
    random_id(id);
    const struct branch_record record = { .id = id,
                                          .name = change->name,
                                          .cut = CUT_AT_RECORD,
                                          .kind = BRANCH_TRADITIONAL,
                                          .database = change->database,
                                          .prefix = change->prefix };
    if (!refuse_taken(catalog, change->name, arena, err) || !refuse_overlap(change, catalog, err))
        return false;
    if (change->empty)
        return error_set(err, ERROR_NOT_FOUND, "no collection of database '%s' has the prefix '%s'", change->database, change->prefix);
    return catalog_encode_name(change->name, id, arena, &name_document, err) && catalog_encode_branch(&record, arena, &document, err) &&
           batch_begin(&batch, arena, id, err) && batch_claim_prefixes(&batch, change->database, err) &&
           batch_add_record(&batch, CATALOG_BRANCH, NAMES_COLLECTION, LOG_INSERT, change->name, name_document, err) &&
           batch_add_record(&batch, CATALOG_BRANCH, BRANCHES_COLLECTION, LOG_INSERT, id, document, err) &&
           batch_finish(&batch, catalog->lsn, &catalog->incarnation, plan, err);
}

static bool check_renamable(const struct branch_record *record, struct error *err)
{
    return record->state == BRANCH_CREATING || traditional_check_state(record, err);
}

static bool plan_rename(struct change *change, const struct project_catalog *catalog, struct arena *arena, struct write_plan *plan,
                        struct error *err)
{
    struct branch_record record;
    struct bytes name_document, document;
    struct batch batch;
    if (!project_find_branch(catalog, change->name, arena, &record, err) || !refuse_taken(catalog, change->new_name, arena, err) ||
        !check_renamable(&record, err))
        return false;
    record.name = change->new_name;
    return catalog_encode_name(change->new_name, record.id, arena, &name_document, err) &&
           catalog_encode_branch(&record, arena, &document, err) && batch_begin(&batch, arena, record.id, err) &&
           batch_add_record(&batch, CATALOG_BRANCH, NAMES_COLLECTION, LOG_DELETE, change->name, (struct bytes) { 0 }, err) &&
           batch_add_record(&batch, CATALOG_BRANCH, NAMES_COLLECTION, LOG_INSERT, change->new_name, name_document, err) &&
           batch_add_record(&batch, CATALOG_BRANCH, BRANCHES_COLLECTION, LOG_UPDATE, record.id, document, err) &&
           batch_finish(&batch, catalog->lsn, &catalog->incarnation, plan, err);
}

/* Not definite: the collections go first, and then the request is carried out. That it has not been carried out before is
 * known by then, so a late copy of it drops nothing of a newer branch of that name. */
static bool check_dropped(struct change *change, const struct project_catalog *catalog, const struct branch_record *record,
                          struct error *err)
{
    if (!migration_check_settled(catalog->branches, record, err))
        return false;
    if (record->kind == BRANCH_WAL || (record->state == BRANCH_DELETING && strcmp(record->id, change->dropped) == 0))
        return true;
    if (record->state == BRANCH_STATE_UNKNOWN)
        return traditional_check_state(record, err);
    snprintf(change->to_drop, sizeof change->to_drop, "%s", record->id);
    return error_set(err, ERROR_INTERNAL, "the collections of branch '%s' are still there", record->name);
}

static bool plan_delete(struct change *change, const struct project_catalog *catalog, struct arena *arena, struct write_plan *plan,
                        struct error *err)
{
    struct branch_record record;
    struct bytes document;
    struct batch batch;
    if (!project_find_branch(catalog, change->name, arena, &record, err) || !check_dropped(change, catalog, &record, err))
        return false;
    record.deleted = true; /* the tombstone: forks go on reading through it */
    return catalog_encode_branch(&record, arena, &document, err) && batch_begin(&batch, arena, record.id, err) &&
           batch_add_record(&batch, CATALOG_BRANCH, NAMES_COLLECTION, LOG_DELETE, change->name, (struct bytes) { 0 }, err) &&
           batch_add_record(&batch, CATALOG_BRANCH, BRANCHES_COLLECTION, LOG_UPDATE, record.id, document, err) &&
           batch_finish(&batch, catalog->lsn, &catalog->incarnation, plan, err);
}

static bool evaluate(void *ctx, struct arena *arena, struct write_plan *plan, struct error *err)
{
    struct change *change = ctx;
    struct project_catalog catalog;
    project_catalog(change->project, &catalog);
    bool ok = refuse_deleted(change, &catalog, err) && change->plan(change, &catalog, arena, plan, err);
    project_catalog_destroy(&catalog);
    return ok;
}

/* The branch as the committed batch left it. */
static bool describe_result(struct project *project, const struct write_result *result, int64_t deadline, struct arena *arena,
                            struct branch_description *branch, struct error *err)
{
    const struct log_run *run = write_result_run(result, CATALOG_BRANCH, BRANCHES_COLLECTION);
    struct project_catalog catalog;
    struct bytes document;
    struct branch_record record;
    if (!run || run->n_entries != 1)
        return error_set(err, ERROR_DATA_LOSS, "the log holds no branch record where one was written");
    if (!catalog_complete_branch(run->entries[0].document, run->first_lsn, run->timestamp, arena, &document, err) ||
        !catalog_decode_branch(document, &record, err))
        return false;
    project_catalog(project, &catalog);
    bool ok = describe(project, &catalog, &record, arena, branch, err);
    project_catalog_destroy(&catalog);
    if (!ok)
        return false;
    /* nothing is written on a branch before it is there */
    branch->head_lsn = branch->base_lsn;
    return run->entries[0].operation == LOG_INSERT || fill_heads(project, deadline, arena, branch, 1, err);
}

static bool execute(struct registry *registry, const char *project, struct change *change, const struct write_request *request,
                    struct write_result *result, struct error *err)
{
    change->registry = registry;
    change->deadline = request->deadline;
    change->to_drop[0] = change->to_copy[0] = '\0';
    if (!write_request_check(request, err))
        return write_refuse(request, err);
    return write_named(registry, project, request, evaluate, change, &change->project, result, err);
}

static bool execute_and_describe(struct registry *registry, const char *project, struct change *change, const struct write_request *request,
                                 struct arena *arena, struct branch_description *branch, uint64_t *lsn, struct error *err)
{
    struct write_result result;
    if (!execute(registry, project, change, request, &result, err))
        return false;
    bool ok = describe_result(change->project, &result, request->deadline, arena, branch, err) || write_keep_unknown(err);
    *lsn = result.lsn;
    write_result_destroy(&result);
    return ok;
}

/* What is left to do for a branch that is being created. Its record keeps the name meanwhile. */
static bool finish_creation(struct change *change, const struct write_request *request, struct arena *arena,
                            struct branch_description *branch, struct error *err)
{
    struct branch_record record;
    struct project_catalog catalog;
    if (branch->kind == BRANCH_WAL || branch->state != BRANCH_CREATING)
        return true;
    if (!traditional_finish_creation(change->registry, change->project, branch->id, request->deadline, arena, &record, err)) {
        err->outcome = OUTCOME_UNKNOWN;
        if (request->request_id[0])
            return error_wrap(err, "branch '%s' is not finished; the request goes on when it is sent again with request_id %s",
                              change->name, request->request_id);
        return error_wrap(err, "branch '%s' is not finished; delete it, and begin anew", change->name);
    }
    project_catalog(change->project, &catalog);
    bool ok = describe(change->project, &catalog, &record, arena, branch, err) || write_keep_unknown(err);
    branch->head_lsn = branch->base_lsn;
    project_catalog_destroy(&catalog);
    return ok;
}

static bool tell_nobody(void *ctx, const struct copy_progress *progress)
{
    (void)ctx, (void)progress;
    return true;
}

bool branches_create(struct registry *registry, const char *project, const char *name, const struct branch_origin *origin,
                     const struct write_request *request, struct arena *arena, struct branch_description *branch, uint64_t *lsn,
                     struct error *err)
{
    struct branch_origin from = *origin;
    struct change change = { .plan = plan_create, .name = name, .origin = &from };
    random_id(change.id);
    if (!from.from[0])
        from.from = MAIN_BRANCH;
    if (from.at_lsn && from.at_time) {
        error_fill(err, ERROR_INVALID_ARGUMENT, "at_lsn and at_time are both set: a branch begins at one state");
        return write_refuse(request, err);
    }
    if (!name_check("branch", name, err) || !name_check("branch", from.from, err))
        return write_refuse(request, err);
    struct new_base base = { .id = "" }; /* that was made for this request */
    change.base_id = from.base_id;
    while (!execute_and_describe(registry, project, &change, request, arena, branch, lsn, err)) {
        if (err->code != ERROR_INTERNAL || !change.to_copy[0]) {
            if (base.id[0] && err->outcome == OUTCOME_NOT_APPLIED)
                bases_discard(change.project, base.id);
            return false;
        }
        if (!bases_copy(registry, change.project, change.to_copy, tell_nobody, NULL, request->deadline, &base, err))
            return write_refuse(request, err);
        change.base_id = base.id;
    }
    return finish_creation(&change, request, arena, branch, err);
}

bool branches_adopt(struct registry *registry, const char *project, const char *name, const char *prefix, const char *database,
                    const struct write_request *request, struct arena *arena, struct branch_description *branch, uint64_t *lsn,
                    struct error *err)
{
    struct change change = { .plan = plan_adopt, .name = name, .prefix = prefix, .database = database };
    struct mongo *mongo;
    bool any;
    if (!name_check("branch", name, err) || !traditional_check_prefix(prefix, err) || !traditional_mongo(registry, &mongo, err))
        return write_refuse(request, err);
    if (!database[0])
        change.database = registry_mongo_database(registry);
    if (!traditional_check_database(change.database, err) ||
        !traditional_has_collections(mongo, change.database, prefix, request->deadline, &any, err))
        return write_refuse(request, err);
    change.empty = !any;
    return execute_and_describe(registry, project, &change, request, arena, branch, lsn, err);
}

static bool refuse_main(const char *name, const char *what, struct error *err)
{
    return strcmp(name, MAIN_BRANCH) != 0 || error_set(err, ERROR_FAILED_PRECONDITION, "branch 'main' cannot be %s", what);
}

bool branches_rename(struct registry *registry, const char *project, const char *name, const char *new_name,
                     const struct write_request *request, struct arena *arena, struct branch_description *branch, uint64_t *lsn,
                     struct error *err)
{
    struct change change = { .plan = plan_rename, .name = name, .new_name = new_name };
    if (!name_check("branch", name, err) || !name_check("branch", new_name, err) || !refuse_main(name, "renamed", err))
        return write_refuse(request, err);
    return execute_and_describe(registry, project, &change, request, arena, branch, lsn, err);
}

bool branches_delete(struct registry *registry, const char *project, const char *name, const struct write_request *request, uint64_t *lsn,
                     struct error *err)
{
    struct change change = { .plan = plan_delete, .name = name };
    struct write_result result;
    if (!name_check("branch", name, err) || !refuse_main(name, "deleted", err))
        return write_refuse(request, err);
    while (!execute(registry, project, &change, request, &result, err)) {
        if (err->code != ERROR_INTERNAL || !change.to_drop[0])
            return false;
        if (!traditional_drop_collections(registry, change.project, change.to_drop, request->deadline, err)) {
            err->outcome = OUTCOME_UNKNOWN;
            return error_wrap(err, "branch '%s' is deleted in part: delete it again", name);
        }
        memcpy(change.dropped, change.to_drop, sizeof change.dropped);
        change.to_drop[0] = '\0';
    }
    *lsn = result.lsn;
    write_result_destroy(&result);
    return true;
}
