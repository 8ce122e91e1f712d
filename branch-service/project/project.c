#include "branch-service/project/project.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <uthash.h>

#include "branch-service/catalog/lineage.h"
#include "branch-service/project/project_internal.h"
#include "branch-service/reasons.h"
#include "common/base/clock.h"
#include "common/base/memory.h"

struct project *project_new(const char *id, const char *name, uint64_t created_at, struct log_source *log, struct view_cache *cache)
{
    struct project *project = mem_zalloc(sizeof *project);
    project->id = mem_strdup(id);
    project->name = mem_strdup(name);
    project->created_at = created_at;
    project->log = log;
    project->cache = cache;
    mutex_init(&project->lock, 20);
    condition_init(&project->changed);
    return project;
}

void project_use_base_source(struct project *project, const struct base_source *source)
{
    project->source = source;
}

void project_on_held(struct project *project, project_held_fn *held, void *ctx)
{
    project->on_held = held;
    project->on_held_ctx = ctx;
}

void project_free(struct project *project)
{
    if (!project)
        return;
    mutex_lock(&project->lock);
    while (project->checking)
        condition_wait(&project->changed, &project->lock);
    mutex_unlock(&project->lock);
    project_free_noted(project);
    tree_unref(project->names);
    tree_unref(project->branches);
    tree_unref(project->projects);
    tree_unref(project->config);
    project_free_cuts(project);
    condition_destroy(&project->changed);
    mutex_destroy(&project->lock);
    free(project->id);
    free(project->name);
    free(project);
}

const char *project_id(const struct project *project)
{
    return project->id;
}

const char *project_name(const struct project *project)
{
    return project->name;
}

uint64_t project_created_at(const struct project *project)
{
    return project->created_at;
}

struct log_source *project_log(const struct project *project)
{
    return project->log;
}

void project_add_stats(struct project *project, struct project_stats *stats)
{
    mutex_lock(&project->lock);
    stats->head_checks += project->stats.head_checks;
    stats->log_reads += project->stats.log_reads;
    mutex_unlock(&project->lock);
}

uint64_t project_position(struct project *project)
{
    mutex_lock(&project->lock);
    uint64_t position = project->position;
    mutex_unlock(&project->lock);
    return position;
}

void project_peek(struct project *project, struct log_incarnation *incarnation, uint64_t *begun, bool *deleted)
{
    mutex_lock(&project->lock);
    assert(project->attached);
    *incarnation = project->incarnation;
    *begun = project->begun;
    *deleted = project->deleted;
    mutex_unlock(&project->lock);
}

/* ---- the catalog ------------------------------------------------------------------------------------ */

void project_catalog(struct project *project, struct project_catalog *catalog)
{
    mutex_lock(&project->lock);
    assert(project->attached);
    *catalog = (struct project_catalog) {
        .lsn = project->position,
        .incarnation = project->incarnation,
        .begun = project->begun,
        .deleted = project->deleted,
        .tombstone = project->tombstone,
        .names = tree_ref(project->names),
        .branches = tree_ref(project->branches),
        .projects = tree_ref(project->projects),
        .config = tree_ref(project->config),
    };
    mutex_unlock(&project->lock);
}

void project_catalog_destroy(struct project_catalog *catalog)
{
    tree_unref(catalog->names);
    tree_unref(catalog->branches);
    tree_unref(catalog->projects);
    tree_unref(catalog->config);
    *catalog = (struct project_catalog) { 0 };
}

/* Borrows from the tree; main is there without a record. */
static bool find_branch_id(const struct tree *names, const char *name, const char **branch_id, struct error *err)
{
    if (strcmp(name, MAIN_BRANCH) == 0) {
        *branch_id = MAIN_BRANCH;
        return true;
    }
    struct arena arena;
    arena_init(&arena, 0);
    struct bytes key;
    struct tree_item item;
    bool ok = catalog_key(name, &arena, &key, err);
    if (ok && !tree_get(names, key, &item))
        ok = error_set(err, ERROR_NOT_FOUND, "branch '%s' does not exist", name);
    arena_destroy(&arena);
    return ok && catalog_decode_name(item.document, branch_id, err);
}

bool project_find_branch(const struct project_catalog *catalog, const char *name, struct arena *arena, struct branch_record *record,
                         struct error *err)
{
    const char *id;
    struct branch_record found;
    if (!find_branch_id(catalog->names, name, &id, err) || !lineage_find_record(catalog->branches, id, &found, err))
        return false;
    return branch_record_copy(&found, arena, record) || error_out_of_memory(err);
}

bool project_refuse_traditional(const struct branch_record *record, const char *name, struct error *err)
{
    if (record->kind == BRANCH_WAL)
        return true;
    if (record->state == BRANCH_DELETING)
        return error_set(err, ERROR_NOT_FOUND, "branch '%s' does not exist", name);
    error_set(err, ERROR_FAILED_PRECONDITION, "branch '%s' is traditional: this needs a WAL branch", name);
    error_set_reason(err, REASON_NEEDS_WAL_BRANCH);
    return false;
}

/* Nearly always of a WAL branch, so the record is decoded only when there is something to say. */
static bool refuse_traditional_id(const struct tree *branches, const char *branch_id, const char *name, bool *held, struct error *err)
{
    struct branch_record record;
    bool ordinary;
    *held = false;
    if (!lineage_is_ordinary(branches, branch_id, &ordinary, err))
        return false;
    if (ordinary)
        return true;
    if (!lineage_find_record(branches, branch_id, &record, err) || !project_refuse_traditional(&record, name, err))
        return false;
    *held = record.held;
    return true;
}

bool project_branch_kind(struct project *project, const char *name, enum branch_kind *kind)
{
    const char *branch_id;
    struct error err;
    *kind = BRANCH_WAL;
    if (!project->has_traditional)
        return true;
    mutex_lock(&project->lock);
    bool ok = project->attached && !project->deleted && find_branch_id(project->names, name, &branch_id, &err) &&
              lineage_find_kind(project->branches, branch_id, kind, &err);
    mutex_unlock(&project->lock);
    return ok;
}

/* ---- views ------------------------------------------------------------------------------------------ */

/* One build a view at a time: who comes second waits and finds it in the cache. */
struct build {
    UT_hash_handle hh;
    const struct replay_observer *observer; /* of who builds; NULL: none */
    _Atomic uint64_t entries;               /* replayed so far, for those who wait */
    char name[];
};

static bool is_wanted(const struct replay_observer *observer, uint64_t entries, struct error *err)
{
    return !observer || observer->observe(observer->ctx, entries) || error_set(err, ERROR_CANCELLED, "the view is not wanted any more");
}

/* A wait until the deadline goes in such slices, between which the observer is told. */
static int64_t slice(const struct replay_observer *observer, int64_t deadline)
{
    int64_t next = clock_monotonic_micros() + LOG_WANTED_MICROS;
    return observer && next < deadline ? next : deadline;
}

static struct build *build_enter(struct project *project, const char *branch_id, const char *collection, int64_t deadline,
                                 const struct replay_observer *observer, struct error *err)
{
    int len = snprintf(NULL, 0, "%s\n%s", branch_id, collection);
    struct build *mine = mem_zalloc(sizeof *mine + (size_t)len + 1), *other;
    snprintf(mine->name, (size_t)len + 1, "%s\n%s", branch_id, collection);
    mine->observer = observer;
    mutex_lock(&project->lock);
    for (int64_t until = slice(observer, deadline);;) {
        HASH_FIND(hh, project->builds, mine->name, (size_t)len, other);
        if (!other)
            break;
        if (condition_wait_until(&project->changed, &project->lock, until))
            continue;
        HASH_FIND(hh, project->builds, mine->name, (size_t)len, other);
        uint64_t entries = other ? atomic_load(&other->entries) : 0;
        mutex_unlock(&project->lock);
        bool wait = until < deadline ? is_wanted(observer, entries, err)
                                     : error_set(err, ERROR_DEADLINE_EXCEEDED, "deadline passed while another call replays the collection");
        if (!wait) {
            free(mine);
            return NULL;
        }
        until = slice(observer, deadline);
        mutex_lock(&project->lock);
    }
    HASH_ADD(hh, project->builds, name, (size_t)len, mine);
    mutex_unlock(&project->lock);
    return mine;
}

static void build_leave(struct project *project, struct build *mine)
{
    mutex_lock(&project->lock);
    HASH_DEL(project->builds, mine);
    condition_broadcast(&project->changed);
    mutex_unlock(&project->lock);
    free(mine);
}

static bool on_replayed(void *ctx, uint64_t entries)
{
    struct build *build = ctx;
    atomic_store(&build->entries, entries);
    return is_wanted(build->observer, entries, NULL);
}

static bool hold(struct project *project, int64_t deadline, struct replay_observer *observer, struct error *err)
{
    for (;;) {
        int64_t until = slice(observer, deadline);
        if (project_hold(project, until))
            return true;
        if (until == deadline)
            return error_set(err, ERROR_DEADLINE_EXCEEDED, "deadline passed while waiting for the project's log");
        if (!is_wanted(observer, observer->entries, err))
            return false;
    }
}

/* A view at `lsn` becomes the head view: replay what came since without holding anybody up, then the rest
 * while the position stands still. */
static bool become_head(struct project *project, const struct view_key *key, bool patient, const struct log_incarnation *incarnation,
                        uint64_t lsn, struct tree **tree, uint64_t *changed, int64_t deadline, struct replay_observer *observer,
                        struct error *err)
{
    mutex_lock(&project->lock);
    uint64_t position = project->position;
    mutex_unlock(&project->lock);
    if (!materialize_delta(project->log, project->cache, patient, project->id, incarnation, key->branch_id, key->collection, lsn, position,
                           deadline, observer, tree, changed, err) ||
        !hold(project, deadline, observer, err))
        return false;
    /* while it is held nobody else writes position and incarnation */
    bool ok = is_incarnation(&project->incarnation, incarnation) && project->position >= position
                  ? materialize_delta(project->log, project->cache, patient, project->id, incarnation, key->branch_id, key->collection,
                                      position, project->position, deadline, observer, tree, changed, err)
                  : error_set(err, ERROR_ABORTED, "the log was replaced while it was read");
    if (ok)
        view_cache_put(project->cache, key, *tree, *changed, VIEW_AT_HEAD);
    project_release(project);
    return ok;
}

static bool build_view_once(struct project *project, const struct view_key *key, bool patient, uint64_t lsn, bool head, int64_t deadline,
                            struct replay_observer *observer, struct tree **tree, struct error *err)
{
    struct project_catalog catalog;
    struct arena arena;
    struct lineage lineage;
    uint64_t changed = 0;
    struct tree *built = NULL;
    arena_init(&arena, 0);
    project_catalog(project, &catalog);
    if (head)
        lsn = catalog.lsn;
    bool ok = lsn <= catalog.lsn ? lineage_resolve(catalog.branches, key->branch_id, lsn, &arena, &lineage, err)
                                 : error_set(err, ERROR_ABORTED, "the log was replaced while it was read");
    struct base_root base = { project, catalog.branches, &catalog.incarnation, NULL, key->collection, deadline, observer };
    const struct materialize_root root = { base_root_build, &base };
    bool elsewhere = ok && lineage.incomplete_base && strcmp(key->collection, COLLECTIONS_COLLECTION) != 0;
    if (elsewhere)
        base.segment = &lineage.segments[lineage.n - 1];
    ok = ok && materialize(project->log, project->cache, patient, project->id, &catalog.incarnation, key->collection, &lineage,
                           elsewhere ? &root : NULL, deadline, observer, &built, &changed, err);
    if (ok && head)
        ok = become_head(project, key, patient, &catalog.incarnation, lsn, &built, &changed, deadline, observer, err);
    else if (ok)
        project_keep_past_view(project, &catalog.incarnation, key, built, changed, lsn);
    if (ok)
        *tree = built;
    else
        tree_unref(built);
    project_catalog_destroy(&catalog);
    arena_destroy(&arena);
    return ok;
}

static bool build_view(struct project *project, const struct view_key *key, uint64_t lsn, bool head, int64_t deadline,
                       struct replay_observer *observer, struct tree **tree, struct error *err)
{
    view_cache_note_miss(project->cache);
    for (bool alone = false;; alone = true) {
        struct view_build build;
        if (!view_cache_build_begin(project->cache, &build, alone, deadline))
            return error_set(err, ERROR_DEADLINE_EXCEEDED, "deadline passed while another collection is replayed");
        bool ok = build_view_once(project, key, alone, lsn, head, deadline, observer, tree, err);
        bool beside_others = view_cache_build_end(project->cache, &build);
        if (ok || err->code != ERROR_RESOURCE_EXHAUSTED || alone || !beside_others)
            return ok;
    }
}

/* head: whatever the position is when the view is done, lsn is not used. */
static bool get_view(struct project *project, const char *branch_id, const char *collection, uint64_t lsn, bool head, int64_t deadline,
                     const struct replay_observer *observer, struct tree **tree, struct error *err)
{
    const struct view_key key = { project->id, branch_id, collection };
    struct build *build = build_enter(project, branch_id, collection, deadline, observer, err);
    if (!build)
        return false;
    struct replay_observer counted = { .observe = on_replayed, .ctx = build };
    struct tree *found = view_cache_get(project->cache, &key, head ? VIEW_AT_HEAD : lsn, NULL);
    bool ok = found || build_view(project, &key, lsn, head, deadline, &counted, &found, err);
    build_leave(project, build);
    if (ok)
        *tree = found;
    return ok;
}

bool project_view(struct project *project, const char *branch_id, const char *collection, uint64_t lsn, int64_t deadline,
                  struct tree **tree, struct error *err)
{
    return get_view(project, branch_id, collection, lsn, false, deadline, NULL, tree, err);
}

/* ---- targets ---------------------------------------------------------------------------------------- */

void target_destroy(struct target *target)
{
    tree_unref(target->collections);
    tree_unref(target->documents);
    target->collections = target->documents = NULL;
}

/* Which view is missing, if one is. */
struct missing_view {
    char collection[64];
};

static bool find_collection_id(const struct tree *collections, const char *name, char id[64], struct error *err)
{
    struct arena arena;
    arena_init(&arena, 0);
    struct bytes key;
    struct tree_item item;
    struct collection_record record;
    id[0] = '\0';
    bool ok = catalog_key(name, &arena, &key, err);
    if (ok && tree_get(collections, key, &item)) {
        ok = catalog_decode_collection(item.document, &record, err);
        if (ok)
            snprintf(id, 64, "%s", record.id);
    }
    arena_destroy(&arena);
    return ok;
}

/* With what is cached, at one position; *missing names the view to build first. */
static bool open_target_locked(struct project *project, const char *branch, const char *collection, uint64_t as_of, struct target *target,
                               struct missing_view *missing, struct error *err)
{
    const char *branch_id;
    if (project->deleted)
        return error_set(err, ERROR_NOT_FOUND, "project '%s' does not exist", project->name);
    if (as_of > project->position)
        return error_set(err, ERROR_ABORTED, "the log was replaced while it was read");
    if (!find_branch_id(project->names, branch, &branch_id, err) ||
        (project->has_traditional && !refuse_traditional_id(project->branches, branch_id, branch, &target->held, err)))
        return false;
    target->lsn = as_of ? as_of : project->position;
    target->incarnation = project->incarnation;
    snprintf(target->branch_id, sizeof target->branch_id, "%s", branch_id);

    uint64_t at = as_of ? as_of : VIEW_AT_HEAD;
    const struct view_key catalog_key_ = { project->id, target->branch_id, COLLECTIONS_COLLECTION };
    target->collections = view_cache_get(project->cache, &catalog_key_, at, NULL);
    if (!target->collections) {
        snprintf(missing->collection, sizeof missing->collection, "%s", COLLECTIONS_COLLECTION);
        return true;
    }
    if (!collection)
        return true;
    if (!find_collection_id(target->collections, collection, target->collection_id, err))
        return false;
    if (!target->collection_id[0])
        return true;
    const struct view_key documents_key = { project->id, target->branch_id, target->collection_id };
    target->documents = view_cache_get(project->cache, &documents_key, at, NULL);
    if (!target->documents)
        snprintf(missing->collection, sizeof missing->collection, "%s", target->collection_id);
    return true;
}

bool project_open_observed(struct project *project, const char *branch, const char *collection, uint64_t as_of, int64_t deadline,
                           const struct replay_observer *observer, struct target *target, struct error *err)
{
    bool built_one = false;
    for (;;) {
        struct target found = { 0 };
        struct missing_view missing = { "" };
        mutex_lock(&project->lock);
        bool ok = open_target_locked(project, branch, collection, as_of, &found, &missing, err);
        mutex_unlock(&project->lock);
        if (ok && !missing.collection[0]) {
            if (found.documents && !built_one)
                view_cache_note_hit(project->cache);
            if (found.held && project->on_held)
                project->on_held(project->on_held_ctx, project, branch);
            *target = found;
            return true;
        }
        target_destroy(&found);
        built_one = ok;
        struct tree *built;
        if (!ok || !get_view(project, found.branch_id, missing.collection, as_of, as_of == 0, deadline, observer, &built, err)) {
            /* people know the collection by its name */
            if (ok && err->code == ERROR_RESOURCE_EXHAUSTED && collection)
                error_wrap(err, "collection '%s'", collection);
            return false;
        }
        tree_unref(built);
        if (deadline != NO_DEADLINE && clock_monotonic_micros() > deadline)
            return error_set(err, ERROR_DEADLINE_EXCEEDED, "deadline passed while the collection was replayed");
    }
}

bool project_open_target(struct project *project, const char *branch, const char *collection, uint64_t as_of, int64_t deadline,
                         struct target *target, struct error *err)
{
    return project_open_observed(project, branch, collection, as_of, deadline, NULL, target, err);
}

bool project_open_cached(struct project *project, const char *branch, const char *collection, struct target *target)
{
    struct target found = { 0 };
    struct missing_view missing = { "" };
    struct error err;
    mutex_lock(&project->lock);
    bool ok = open_target_locked(project, branch, collection, 0, &found, &missing, &err) && !missing.collection[0];
    mutex_unlock(&project->lock);
    if (!ok) {
        target_destroy(&found);
        return false;
    }
    if (found.documents)
        view_cache_note_hit(project->cache);
    *target = found;
    return true;
}

bool project_batch_end(struct project *project, uint64_t lsn, int64_t deadline, uint64_t *end, struct error *err)
{
    mutex_lock(&project->lock);
    uint64_t position = project->position;
    struct log_incarnation incarnation = project->incarnation;
    mutex_unlock(&project->lock);
    if (lsn > position)
        return error_set(err, ERROR_OUT_OF_RANGE, "LSN %llu is beyond the head: the project has 0..%llu", (unsigned long long)lsn,
                         (unsigned long long)position);
    return log_source_batch_end(project->log, project->id, lsn, &incarnation, deadline, end, err);
}
