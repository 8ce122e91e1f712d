#include "branch-service/collection/traditional_branch.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>

#include "branch-service/catalog/lineage.h"
#include "branch-service/catalog/migration_record.h"
#include "branch-service/collection/traditional.h"
#include "branch-service/collection/traditional_copy.h"
#include "branch-service/write/batch.h"
#include "common/base/backoff.h"
#include "common/base/clock.h"
#include "common/base/random.h"

/* For dropping what nobody needs any more. */
enum { TIDY_MICROS = 5 * MICROS_PER_SECOND };

/* ---- prefixes --------------------------------------------------------------------------------------- */

void traditional_make_prefix(const char *branch_id, uint64_t epoch, char prefix[TRADITIONAL_PREFIX_SIZE])
{
    if (epoch)
        snprintf(prefix, TRADITIONAL_PREFIX_SIZE, "b_%s_%" PRIu64 "_", branch_id, epoch);
    else
        snprintf(prefix, TRADITIONAL_PREFIX_SIZE, "b_%s_", branch_id);
}

bool traditional_prefixes_overlap(const char *a, const char *b)
{
    size_t a_len = strlen(a), b_len = strlen(b);
    return memcmp(a, b, a_len < b_len ? a_len : b_len) == 0;
}

/* b_<24 hex digits>_<digits>_, or m_, or as much of that as the text has. */
static bool could_be_made_here(const char *prefix)
{
    const size_t two = strlen(prefix) < 2 ? strlen(prefix) : 2;
    if (strncmp(prefix, "b_", two) != 0 && strncmp(prefix, "m_", two) != 0)
        return false;
    if (strlen(prefix) <= 2)
        return true;
    const char *at = prefix + 2;
    for (int i = 0; i < ID_LENGTH && *at; i++, at++)
        if (!isdigit((unsigned char)*at) && (*at < 'a' || *at > 'f'))
            return false;
    if (*at && *at++ != '_')
        return false;
    at += strspn(at, "0123456789");
    return *at == '\0' || *at == '_';
}

bool traditional_check_prefix(const char *prefix, struct error *err)
{
    size_t len = strlen(prefix);
    if (len == 0)
        return error_set(err, ERROR_INVALID_ARGUMENT, "the prefix is empty");
    if (len > MAX_PREFIX_BYTES)
        return error_set(err, ERROR_INVALID_ARGUMENT, "the prefix has %zu bytes; at most %d are allowed", len, MAX_PREFIX_BYTES);
    if (strchr(prefix, '$') || prefix[0] == '.' || strncmp(prefix, "system.", 7) == 0)
        return error_set(err, ERROR_INVALID_ARGUMENT, "no collection's name begins with '%s'", prefix);
    if (could_be_made_here(prefix))
        return error_set(err, ERROR_INVALID_ARGUMENT, "prefix '%s' could cover the collections of branches that are made here", prefix);
    return true;
}

bool traditional_check_database(const char *database, struct error *err)
{
    size_t len = strlen(database);
    if (len == 0 || len > MAX_DATABASE_BYTES || strpbrk(database, "/\\. \"$"))
        return error_set(err, ERROR_INVALID_ARGUMENT, "'%.80s' is no name of a database", database);
    return true;
}

static bool note_any(void *ctx, const struct mongo_collection_info *info, struct error *err)
{
    (void)info;
    (void)err;
    *(bool *)ctx = true;
    return true;
}

bool traditional_has_collections(struct mongo *mongo, const char *database, const char *prefix, int64_t deadline, bool *any,
                                 struct error *err)
{
    *any = false;
    return mongo_list_collections(mongo, database, prefix, deadline, note_any, any, err);
}

/* ---- changing the record ---------------------------------------------------------------------------- */

struct change;
/* *write = false: it is as it should be, or not ours to change. */
typedef bool change_fn(struct change *change, const struct project_catalog *catalog, struct branch_record *record, bool *write,
                       struct error *err);

struct change {
    struct project *project;
    const char *branch_id;
    change_fn *apply;
    struct arena *arena;         /* of the caller */
    struct branch_record record; /* as it was found, or changed */
    const struct branch_record *parent;
    char prefix[TRADITIONAL_PREFIX_SIZE];
};

static bool plan_change(struct change *change, const struct project_catalog *catalog, struct arena *arena, struct write_plan *plan,
                        struct error *err)
{
    struct branch_record record;
    struct batch batch;
    struct bytes document;
    bool write = false;
    if (!lineage_find_record(catalog->branches, change->branch_id, &record, err) || !change->apply(change, catalog, &record, &write, err) ||
        (!branch_record_copy(&record, change->arena, &change->record) && !error_out_of_memory(err)))
        return false;
    plan->read_lsn = catalog->lsn;
    plan->incarnation = catalog->incarnation;
    if (!write)
        return true;
    return catalog_encode_branch(&record, arena, &document, err) && batch_begin(&batch, arena, record.id, err) &&
           (!record.parent || batch_read_branch(&batch, record.parent, err)) &&
           batch_add_record(&batch, CATALOG_BRANCH, BRANCHES_COLLECTION, LOG_UPDATE, record.id, document, err) &&
           batch_finish(&batch, catalog->lsn, &catalog->incarnation, plan, err);
}

static bool evaluate(void *ctx, struct arena *arena, struct write_plan *plan, struct error *err)
{
    struct change *change = ctx;
    struct project_catalog catalog;
    project_catalog(change->project, &catalog);
    bool ok = catalog.deleted ? error_set(err, ERROR_NOT_FOUND, "project '%s' does not exist", project_name(change->project))
                              : plan_change(change, &catalog, arena, plan, err);
    project_catalog_destroy(&catalog);
    return ok;
}

static bool change_record(struct change *change, change_fn *apply, int64_t deadline, struct error *err)
{
    const struct write_request request = { .request_id = "", .actor = "", .deadline = deadline };
    struct write_result result;
    change->apply = apply;
    /* what this replica wrote last may not be folded in yet, and an older record is somebody else's */
    if (!project_refresh(change->project, deadline, err) || !write_execute(change->project, &request, evaluate, change, &result, err))
        return false;
    write_result_destroy(&result);
    return true;
}

static bool refuse_unknown(const struct branch_record *record, struct error *err)
{
    return record->state != BRANCH_STATE_UNKNOWN ||
           error_set(err, ERROR_FAILED_PRECONDITION, "branch '%s' is in a state that this version does not know", record->name);
}

/* ---- creation --------------------------------------------------------------------------------------- */

static bool claim(struct change *change, const struct project_catalog *catalog, struct branch_record *record, bool *write,
                  struct error *err)
{
    (void)catalog;
    (void)err;
    if (record->deleted || record->state != BRANCH_CREATING)
        return true;
    record->epoch++;
    traditional_make_prefix(record->id, record->epoch, change->prefix);
    record->prefix = change->prefix;
    *write = true;
    return true;
}

/* What is copied is the parent's only while its record is what it was. */
static bool check_parent(const struct change *change, const struct project_catalog *catalog, struct error *err)
{
    struct branch_record parent;
    if (change->parent->kind == BRANCH_WAL)
        return true; /* its state at the cut stays what it is */
    if (!lineage_find_record(catalog->branches, change->parent->id, &parent, err))
        return false;
    if (!parent.deleted && parent.state == BRANCH_READY && strcmp(parent.prefix, change->parent->prefix) == 0)
        return true;
    return error_set(err, ERROR_FAILED_PRECONDITION,
                     "the parent '%s' changed or was deleted while it was copied: delete the unfinished branch, and begin anew",
                     change->parent->name);
}

static bool finish(struct change *change, const struct project_catalog *catalog, struct branch_record *record, bool *write,
                   struct error *err)
{
    if (record->deleted || record->state != BRANCH_CREATING || strcmp(record->prefix, change->prefix) != 0)
        return true;
    if (!check_parent(change, catalog, err))
        return false;
    record->state = BRANCH_READY;
    *write = true;
    return true;
}

static bool find_parent(struct project *project, const struct branch_record *record, struct arena *arena, struct branch_record *parent,
                        struct error *err)
{
    struct project_catalog catalog;
    struct branch_record found;
    project_catalog(project, &catalog);
    bool ok = lineage_find_record(catalog.branches, record->parent, &found, err) &&
              (branch_record_copy(&found, arena, parent) || error_out_of_memory(err));
    project_catalog_destroy(&catalog);
    return ok;
}

/* Somebody else has claimed it. */
static bool wait_for_other(struct change *change, int64_t deadline, struct error *err)
{
    struct backoff backoff = { 0 };
    struct project_catalog catalog;
    struct branch_record record;
    for (;;) {
        if (!project_refresh(change->project, deadline, err))
            return false;
        project_catalog(change->project, &catalog);
        bool ok = lineage_find_record(catalog.branches, change->branch_id, &record, err) &&
                  (branch_record_copy(&record, change->arena, &change->record) || error_out_of_memory(err));
        project_catalog_destroy(&catalog);
        if (!ok)
            return false;
        if (change->record.deleted || change->record.state != BRANCH_CREATING)
            return true;
        if (!backoff_wait(&backoff, deadline))
            return error_set(err, ERROR_DEADLINE_EXCEEDED, "another copy of the request is still copying the parent's collections");
    }
}

/* What is left behind is read by nobody, so a failure is none. `keep` NULL: none is kept. */
static void drop_quietly(struct mongo *mongo, const char *database, const char *prefix, const char *keep)
{
    struct error ignored;
    if (!traditional_drop_prefix(mongo, database, prefix, keep, clock_monotonic_micros() + TIDY_MICROS, &ignored))
        return;
}

static bool copy_and_finish(struct registry *registry, struct mongo *mongo, struct change *change, int64_t deadline, struct error *err)
{
    struct branch_record parent;
    const struct branch_record mine = change->record;
    char all[TRADITIONAL_PREFIX_SIZE];
    if (!find_parent(change->project, &mine, change->arena, &parent, err))
        return false;
    change->parent = &parent;
    bool ok =
        traditional_copy_parent(registry, change->project, &mine, &parent, deadline, err) && change_record(change, finish, deadline, err);
    if (!ok) {
        /* who comes next copies under a prefix of his own */
        if (err->code != ERROR_UNAVAILABLE)
            drop_quietly(mongo, mine.database, mine.prefix, NULL);
        return false;
    }
    if (change->record.state == BRANCH_READY && !change->record.deleted && strcmp(change->record.prefix, mine.prefix) == 0) {
        traditional_make_prefix(mine.id, 0, all);
        drop_quietly(mongo, mine.database, all, mine.prefix);
        return true;
    }
    drop_quietly(mongo, mine.database, mine.prefix, NULL);
    return wait_for_other(change, deadline, err);
}

bool traditional_finish_creation(struct registry *registry, struct project *project, const char *branch_id, int64_t deadline,
                                 struct arena *arena, struct branch_record *record, struct error *err)
{
    struct change change = { .project = project, .branch_id = branch_id, .arena = arena };
    struct mongo *mongo;
    bool ok = change_record(&change, claim, deadline, err);
    if (ok && change.record.state == BRANCH_CREATING && !change.record.deleted)
        ok = traditional_mongo(registry, &mongo, err) && copy_and_finish(registry, mongo, &change, deadline, err);
    if (!ok)
        return false;
    *record = change.record;
    return true;
}

/* ---- deletion --------------------------------------------------------------------------------------- */

static bool mark_deleting(struct change *change, const struct project_catalog *catalog, struct branch_record *record, bool *write,
                          struct error *err)
{
    (void)change;
    (void)catalog;
    if (record->deleted || record->state == BRANCH_DELETING)
        return true;
    if (!refuse_unknown(record, err) || (branch_is_migrating(record) && !traditional_check_state(record, err)))
        return false;
    record->state = BRANCH_DELETING;
    *write = true;
    return true;
}

bool traditional_drop_collections(struct registry *registry, struct project *project, const char *branch_id, int64_t deadline,
                                  struct error *err)
{
    struct arena arena;
    struct mongo *mongo;
    struct change change = { .project = project, .branch_id = branch_id, .arena = &arena };
    char all[TRADITIONAL_PREFIX_SIZE], moved[MIGRATION_PREFIX_SIZE];
    if (!traditional_mongo(registry, &mongo, err))
        return false;
    arena_init(&arena, 0);
    bool ok = change_record(&change, mark_deleting, deadline, err);
    /* of all epochs: an unfinished creation may have left some, or a migration that was rolled back */
    traditional_make_prefix(branch_id, 0, all);
    migration_make_prefix(branch_id, 0, moved);
    ok = ok &&
         (change.record.deleted || (traditional_drop_prefix(mongo, change.record.database, change.record.prefix, NULL, deadline, err) &&
                                    traditional_drop_prefix(mongo, change.record.database, all, NULL, deadline, err) &&
                                    traditional_drop_prefix(mongo, change.record.database, moved, NULL, deadline, err)));
    arena_destroy(&arena);
    return ok;
}
