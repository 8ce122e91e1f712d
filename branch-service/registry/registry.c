#include "branch-service/registry/registry.h"

#include <stdio.h>
#include <stdlib.h>
#include <uthash.h>

#include "branch-service/branches/warm.h"
#include "branch-service/catalog/names.h"
#include "branch-service/collection/mongo_base.h"
#include "branch-service/migration/standstill.h"
#include "branch-service/project/project_follow.h"
#include "common/base/clock.h"
#include "common/base/memory.h"
#include "common/base/random.h"
#include "common/base/sync.h"

struct known_project {
    UT_hash_handle hh;
    struct project *project;
};

struct registry {
    struct log_source *log;
    struct view_cache *cache;
    struct project *system;
    struct write_queue *queue;
    struct follower *follower; /* NULL: nothing is followed */
    struct features features;  /* of this process alone */
    struct warmer *warmer;
    struct mongo *mongo;    /* NULL: no traditional branches */
    struct mongo_base base; /* over it */
    char *mongo_database;
    char *mongo_endpoint;
    struct standstill *standstill;
    struct mutex lock; /* rank 10; covers what is below */
    struct known_project *projects;
    bool system_fresh;    /* has been refreshed once */
    int64_t system_as_of; /* when the last refresh began: what was committed before is known */
};

struct registry *registry_new(struct log_source *log, uint64_t memory_limit_bytes)
{
    struct registry *made = mem_zalloc(sizeof *made);
    made->log = log;
    made->cache = view_cache_new(memory_limit_bytes);
    made->system = project_new(SYSTEM_PROJECT, SYSTEM_PROJECT, 0, log, made->cache);
    made->queue = write_queue_new();
    features_init(&made->features, false);
    mutex_init(&made->lock, 10);
    return made;
}

void registry_follow(struct registry *registry, const struct follower_options *options)
{
    registry->follower = follower_new(options);
    project_on_release(registry->system, follower_released, registry->follower);
}

void registry_use_features(struct registry *registry, const struct features *features)
{
    registry->features = *features;
}

const struct features *registry_own_features(struct registry *registry)
{
    return &registry->features;
}

void registry_warm(struct registry *registry, size_t n_threads)
{
    registry->warmer = warmer_new(n_threads);
}

struct warmer *registry_warmer(struct registry *registry)
{
    return registry->warmer;
}

void registry_use_mongo(struct registry *registry, struct mongo *mongo, const char *database, const char *endpoint)
{
    registry->mongo = mongo;
    mongo_base_init(&registry->base, mongo);
    registry->mongo_database = mem_strdup(database);
    registry->mongo_endpoint = mem_strdup(endpoint);
    registry->standstill = standstill_new(registry);
}

struct standstill *registry_standstill(struct registry *registry)
{
    return registry->standstill;
}

struct mongo *registry_mongo(struct registry *registry)
{
    return registry->mongo;
}

const char *registry_mongo_database(struct registry *registry)
{
    return registry->mongo_database;
}

const char *registry_mongo_endpoint(struct registry *registry)
{
    return registry->mongo_endpoint;
}

void registry_free(struct registry *registry)
{
    if (!registry)
        return;
    standstill_free(registry->standstill);
    warmer_free(registry->warmer);
    follower_free(registry->follower);
    struct known_project *known, *next;
    HASH_ITER(hh, registry->projects, known, next)
    {
        HASH_DEL(registry->projects, known);
        project_free(known->project);
        free(known);
    }
    project_free(registry->system);
    view_cache_free(registry->cache);
    write_queue_free(registry->queue);
    free(registry->mongo_database);
    free(registry->mongo_endpoint);
    mutex_destroy(&registry->lock);
    free(registry);
}

struct log_source *registry_log(struct registry *registry)
{
    return registry->log;
}

struct view_cache *registry_cache(struct registry *registry)
{
    return registry->cache;
}

struct project *registry_system(struct registry *registry)
{
    return registry->system;
}

struct write_queue *registry_queue(struct registry *registry)
{
    return registry->queue;
}

uint64_t registry_project_count(struct registry *registry)
{
    mutex_lock(&registry->lock);
    uint64_t n = HASH_COUNT(registry->projects);
    mutex_unlock(&registry->lock);
    return n;
}

uint64_t registry_follow_count(struct registry *registry)
{
    return registry->follower ? follower_count(registry->follower) : 0;
}

void registry_stats(struct registry *registry, struct project_stats *stats)
{
    struct known_project *known, *next;
    *stats = (struct project_stats) { 0 };
    project_add_stats(registry->system, stats);
    mutex_lock(&registry->lock);
    HASH_ITER(hh, registry->projects, known, next)
    project_add_stats(known->project, stats);
    mutex_unlock(&registry->lock);
}

static void note_use(struct registry *registry, struct project *project)
{
    if (registry->follower)
        follower_use(registry->follower, project);
}

/* A project_held_fn. */
static void note_held(void *ctx, struct project *project, const char *branch)
{
    standstill_note(ctx, project_name(project), branch);
}

static struct project *intern(struct registry *registry, const struct project_record *record)
{
    struct known_project *known;
    mutex_lock(&registry->lock);
    HASH_FIND_STR(registry->projects, record->id, known);
    if (!known) {
        known = mem_zalloc(sizeof *known);
        known->project = project_new(record->id, record->name, record->created_at, registry->log, registry->cache);
        if (registry->mongo) {
            project_use_base_source(known->project, &registry->base.source);
            project_on_held(known->project, note_held, registry->standstill);
        }
        if (registry->follower)
            project_on_release(known->project, follower_released, registry->follower);
        const char *id = project_id(known->project);
        HASH_ADD_KEYPTR(hh, registry->projects, id, strlen(id), known);
    }
    mutex_unlock(&registry->lock);
    return known->project;
}

static bool refresh_system(struct registry *registry, int64_t deadline, struct error *err)
{
    const int64_t begun = clock_monotonic_micros();
    if (!project_refresh(registry->system, deadline, err))
        return false;
    mutex_lock(&registry->lock);
    registry->system_fresh = true;
    if (registry->system_as_of < begun)
        registry->system_as_of = begun;
    mutex_unlock(&registry->lock);
    note_use(registry, registry->system);
    return true;
}

bool registry_refresh_system(struct registry *registry, int64_t max_age_micros, int64_t deadline, struct error *err)
{
    mutex_lock(&registry->lock);
    bool recent = registry->system_fresh && clock_monotonic_micros() - registry->system_as_of < max_age_micros;
    mutex_unlock(&registry->lock);
    return recent || refresh_system(registry, deadline, err);
}

/* *project = NULL: no such name in what has been read of `_system`. */
static bool find_name(const struct project_catalog *catalog, const char *name, struct arena *arena, struct bytes *key, bool *found,
                      struct project_record *record, struct error *err)
{
    struct tree_item item;
    if (!catalog_key(name, arena, key, err))
        return false;
    *found = tree_get(catalog->projects, *key, &item);
    return !*found || catalog_decode_project(item.document, record, err);
}

/* *as_of: of the `_system` that was looked into. */
static bool lookup(struct registry *registry, const char *name, struct project **project, struct log_incarnation *as_of, struct error *err)
{
    struct arena arena;
    struct project_catalog catalog;
    struct project_record record;
    struct bytes key;
    bool found;
    arena_init(&arena, 0);
    project_catalog(registry->system, &catalog);
    bool ok = find_name(&catalog, name, &arena, &key, &found, &record, err);
    if (ok)
        *project = found ? intern(registry, &record) : NULL;
    *as_of = catalog.incarnation;
    project_catalog_destroy(&catalog);
    arena_destroy(&arena);
    return ok;
}

/* name_is_older: since the name was looked up the log has begun a new incarnation. It may be a copy of an earlier
 * time, in which the name means something else. What `_system` is now says nothing: it may have been read anew since. */
static void inspect(struct registry *registry, struct project *project, const struct log_incarnation *as_of, uint64_t *begun, bool *deleted,
                    bool *name_is_older)
{
    struct log_incarnation incarnation;
    project_peek(project, &incarnation, begun, deleted);
    *name_is_older = memcmp(as_of, &incarnation, sizeof incarnation) != 0;
    note_use(registry, registry->system);
    note_use(registry, project);
}

/* ---- writes to `_system` ---------------------------------------------------------------------------- */

struct name_change {
    struct registry *registry;
    const char *name;
    const char *id; /* remove: only if the name still means this project; NULL: whatever it means */
    bool missing_is_error;
};

static bool single_entry(struct arena *arena, const char *collection, enum log_operation operation, struct bytes key, struct bytes document,
                         const struct project_catalog *catalog, struct write_plan *plan, struct error *err)
{
    struct log_entry *entry = arena_alloc(arena, sizeof *entry);
    struct log_run *run = arena_zalloc(arena, sizeof *run);
    if (!entry || !run)
        return error_out_of_memory(err);
    *entry = (struct log_entry) { .operation = operation, .document_id = key, .document = document };
    *run = (struct log_run) { .branch_id = CATALOG_BRANCH, .collection = collection, .entries = entry, .n_entries = 1 };
    plan->read_lsn = catalog->lsn;
    plan->incarnation = catalog->incarnation;
    plan->runs = run;
    plan->n_runs = 1;
    return true;
}

static bool evaluate_create(void *ctx, struct arena *arena, struct write_plan *plan, struct error *err)
{
    const struct name_change *change = ctx;
    struct project_catalog catalog;
    struct project_record record;
    struct bytes key, document;
    bool found;
    project_catalog(change->registry->system, &catalog);
    bool ok = find_name(&catalog, change->name, arena, &key, &found, &record, err);
    if (ok && found)
        ok = error_set(err, ERROR_ALREADY_EXISTS, "project '%s' exists", change->name);
    if (ok) {
        char id[ID_SIZE];
        random_id(id);
        record = (struct project_record) { .name = change->name, .id = id, .created_at = clock_wall_micros() };
        ok = catalog_encode_project(&record, arena, &document, err) &&
             single_entry(arena, PROJECTS_COLLECTION, LOG_INSERT, key, document, &catalog, plan, err);
    }
    project_catalog_destroy(&catalog);
    return ok;
}

static bool evaluate_remove(void *ctx, struct arena *arena, struct write_plan *plan, struct error *err)
{
    const struct name_change *change = ctx;
    struct project_catalog catalog;
    struct project_record record;
    struct bytes key;
    bool found;
    project_catalog(change->registry->system, &catalog);
    bool ok = find_name(&catalog, change->name, arena, &key, &found, &record, err);
    found = ok && found && change->id && strcmp(record.id, change->id) == 0;
    if (ok && !found && change->missing_is_error)
        ok = error_set(err, ERROR_NOT_FOUND, "project '%s' does not exist", change->name);
    plan->read_lsn = catalog.lsn;
    if (ok && found)
        ok = single_entry(arena, PROJECTS_COLLECTION, LOG_DELETE, key, (struct bytes) { 0 }, &catalog, plan, err);
    project_catalog_destroy(&catalog);
    return ok;
}

struct deletion {
    struct project *project;
    const struct write_request *request;
};

static void fill_tombstone(struct project_tombstone *tombstone, const struct write_request *request)
{
    *tombstone = (struct project_tombstone) { .deleted_at = clock_wall_micros(), .since_lsn = request->since_lsn };
    snprintf(tombstone->request_id, sizeof tombstone->request_id, "%s", request->request_id);
    tombstone->request_hash_len = request->hash.len;
    if (request->hash.len)
        memcpy(tombstone->request_hash, request->hash.data, request->hash.len);
}

static bool evaluate_tombstone(void *ctx, struct arena *arena, struct write_plan *plan, struct error *err)
{
    const struct deletion *deletion = ctx;
    struct project_catalog catalog;
    struct project_tombstone tombstone;
    struct bytes key, document;
    fill_tombstone(&tombstone, deletion->request);
    project_catalog(deletion->project, &catalog);
    plan->read_lsn = catalog.lsn;
    bool ok =
        catalog.deleted || (catalog_key(PROJECT_RECORD, arena, &key, err) && catalog_encode_tombstone(&tombstone, arena, &document, err) &&
                            single_entry(arena, PROJECT_COLLECTION, LOG_INSERT, key, document, &catalog, plan, err));
    project_catalog_destroy(&catalog);
    return ok;
}

static bool execute(struct project *project, const struct write_request *request, write_evaluate_fn *evaluate, void *ctx, struct error *err)
{
    struct write_result result;
    if (!write_execute(project, request, evaluate, ctx, &result, err))
        return false;
    write_result_destroy(&result);
    return true;
}

/* The request was answered in another way, or forgotten: the name has to go without it. */
static bool request_is_spent(const struct error *err)
{
    return err->code == ERROR_NOT_FOUND || err->code == ERROR_INVALID_ARGUMENT || err->code == ERROR_OUT_OF_RANGE;
}

/* Removes the name of a project that carries the tombstone, under the request that put it there. */
static bool complete_deletion(struct registry *registry, const char *name, struct project *project, int64_t deadline, struct error *err)
{
    struct name_change change = { .registry = registry, .name = name, .id = project_id(project) };
    struct project_catalog catalog;
    project_catalog(project, &catalog);
    const struct project_tombstone tombstone = catalog.tombstone;
    project_catalog_destroy(&catalog);
    const struct write_request theirs = {
        .request_id = tombstone.request_id,
        .since_lsn = tombstone.since_lsn,
        .actor = "",
        .hash = bytes_of(tombstone.request_hash, tombstone.request_hash_len),
        .deadline = deadline,
    };
    const struct write_request nobodys = { .request_id = "", .actor = "", .deadline = deadline };
    if (!refresh_system(registry, deadline, err))
        return false;
    if (tombstone.request_id[0]) {
        if (!execute(registry->system, &theirs, evaluate_remove, &change, err) && !request_is_spent(err))
            return false;
        if (!refresh_system(registry, deadline, err))
            return false;
    }
    return execute(registry->system, &nobodys, evaluate_remove, &change, err) && refresh_system(registry, deadline, err);
}

/* ---- names ------------------------------------------------------------------------------------------ */

/* *project = NULL: there is no such project now. */
static bool resolve(struct registry *registry, const char *name, int64_t deadline, struct project **project, uint64_t *begun,
                    struct error *err)
{
    mutex_lock(&registry->lock);
    bool known = registry->system_fresh, fresh = false;
    mutex_unlock(&registry->lock);
    for (;;) {
        if (!known) {
            if (!refresh_system(registry, deadline, err))
                return false;
            known = fresh = true;
        }
        struct log_incarnation as_of;
        if (!lookup(registry, name, project, &as_of, err))
            return false;
        if (*project) {
            if (!project_refresh(*project, deadline, err))
                return false;
            bool deleted, name_is_older;
            inspect(registry, *project, &as_of, begun, &deleted, &name_is_older);
            if (name_is_older)
                known = false;
            else if (!deleted)
                return true;
            else if (!complete_deletion(registry, name, *project, deadline, err))
                return false;
            continue; /* it may have been created anew */
        }
        if (fresh)
            return true;
        known = false;
    }
}

bool registry_find_begun(struct registry *registry, const char *name, int64_t deadline, struct project **project, uint64_t *begun,
                         struct error *err)
{
    struct project *found;
    if (!name_check("project", name, err) || !resolve(registry, name, deadline, &found, begun, err))
        return false;
    if (!found)
        return error_set(err, ERROR_NOT_FOUND, "project '%s' does not exist", name);
    *project = found;
    return true;
}

bool registry_find(struct registry *registry, const char *name, int64_t deadline, struct project **project, struct error *err)
{
    uint64_t begun;
    return registry_find_begun(registry, name, deadline, project, &begun, err);
}

bool registry_is_current(struct registry *registry, struct project *project, const struct log_incarnation *as_of)
{
    uint64_t begun;
    bool deleted, name_is_older;
    inspect(registry, project, as_of, &begun, &deleted, &name_is_older);
    return !deleted && !name_is_older;
}

struct project *registry_peek(struct registry *registry, const char *name, struct log_incarnation *as_of)
{
    struct project *found = NULL;
    struct error err;
    mutex_lock(&registry->lock);
    bool known = registry->system_fresh;
    mutex_unlock(&registry->lock);
    bool ok = known && name_check("project", name, &err) && lookup(registry, name, &found, as_of, &err) && found &&
              project_is_known(found) && registry_is_current(registry, found, as_of);
    return ok ? found : NULL;
}

bool registry_find_known(struct registry *registry, const char *name, int64_t deadline, struct project **project, struct error *err)
{
    struct log_incarnation as_of;
    struct project *found = registry_peek(registry, name, &as_of);
    if (!found)
        return registry_find(registry, name, deadline, project, err);
    *project = found;
    return true;
}

bool registry_create(struct registry *registry, const char *name, const struct write_request *request, struct project **project,
                     struct error *err)
{
    struct name_change change = { .registry = registry, .name = name };
    struct write_result result;
    struct project *existing;
    struct project_record record;
    uint64_t begun;
    if (!name_check("project", name, err) || !write_request_check(request, err) ||
        !resolve(registry, name, request->deadline, &existing, &begun, err) || !refresh_system(registry, request->deadline, err))
        return write_refuse(request, err);
    if (!write_execute(registry->system, request, evaluate_create, &change, &result, err))
        return false;
    const struct log_run *run = write_result_run(&result, CATALOG_BRANCH, PROJECTS_COLLECTION);
    bool ok = run && run->n_entries == 1 ? catalog_decode_project(run->entries[0].document, &record, err)
                                         : error_set(err, ERROR_DATA_LOSS, "the log holds no project record where one was written");
    if (ok) {
        *project = intern(registry, &record);
        ok = project_refresh(*project, request->deadline, err);
    }
    write_result_destroy(&result);
    return ok || write_keep_unknown(err);
}

/* The request was carried out before: whoever has the name now is somebody else. */
static bool was_answered(struct registry *registry, const struct write_request *request, bool *known, struct error *err)
{
    *known = false;
    if (!request->request_id[0])
        return true;
    struct arena arena;
    struct log_head head;
    arena_init(&arena, 0);
    const struct log_head_query query = {
        .request_id = bytes_of_string(request->request_id),
        .request_hash = request->hash,
        .since_lsn = request->since_lsn,
    };
    bool ok = log_source_head(registry->log, SYSTEM_PROJECT, &query, request->deadline, &arena, &head, err);
    if (ok)
        *known = head.request_known;
    arena_destroy(&arena);
    return ok;
}

bool registry_delete(struct registry *registry, const char *name, const struct write_request *request, struct error *err)
{
    struct name_change change = { .registry = registry, .name = name, .missing_is_error = true };
    struct project *project = NULL;
    uint64_t begun;
    bool known, applied = false;
    if (!name_check("project", name, err) || !write_request_check(request, err) || !was_answered(registry, request, &known, err) ||
        (!known && !resolve(registry, name, request->deadline, &project, &begun, err)))
        return write_refuse(request, err);
    if (project) {
        const struct write_request tombstone = { .request_id = "", .actor = request->actor, .deadline = request->deadline };
        struct deletion deletion = { .project = project, .request = request };
        struct write_result result;
        change.id = project_id(project);
        if (!write_execute_begun(project, begun, &tombstone, evaluate_tombstone, &deletion, &result, err))
            return false;
        applied = result.n_runs > 0;
        write_result_destroy(&result);
        /* ours: somebody who met the name may remove it before we do */
        change.missing_is_error = !applied;
        /* not ours: it is removed for whoever deleted the project, which may be a copy of this request */
        if (!applied && !complete_deletion(registry, name, project, request->deadline, err))
            return write_refuse(request, err);
    }
    if (!refresh_system(registry, request->deadline, err))
        return applied ? write_keep_unknown(err) : write_refuse(request, err);
    /* from the tombstone on the project is gone, whether or not its name can be removed now */
    return execute(registry->system, request, evaluate_remove, &change, err) || (applied && write_keep_unknown(err));
}

bool registry_list(struct registry *registry, const char *after, size_t n, int64_t deadline, struct arena *arena,
                   struct project_record *records, size_t *n_records, bool *more, uint64_t *lsn, struct error *err)
{
    struct project_catalog catalog;
    struct tree_cursor cursor;
    struct tree_item item;
    struct bytes key;
    size_t found = 0;
    bool ok = true;
    *more = false;
    if (!refresh_system(registry, deadline, err) || !catalog_key(after, arena, &key, err))
        return false;
    project_catalog(registry->system, &catalog);
    tree_cursor_seek_behind(&cursor, catalog.projects, key);
    while (ok && !*more && tree_cursor_next(&cursor, &item)) {
        if (found == n) {
            *more = true;
            break;
        }
        struct project_record record;
        ok = catalog_decode_project(item.document, &record, err);
        if (!ok)
            break;
        records[found] = (struct project_record) {
            .name = arena_strdup(arena, record.name),
            .id = arena_strdup(arena, record.id),
            .created_at = record.created_at,
        };
        ok = (records[found].name && records[found].id) || error_out_of_memory(err);
        found++;
    }
    *lsn = catalog.lsn;
    project_catalog_destroy(&catalog);
    if (ok)
        *n_records = found;
    return ok;
}
