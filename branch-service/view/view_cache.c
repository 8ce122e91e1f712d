#include "branch-service/view/view_cache.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <uthash.h>
#include <utlist.h>

#include "branch-service/branch_counters.h"
#include "common/base/clock.h"
#include "common/base/memory.h"
#include "common/base/sync.h"

/* A view itself costs little, but it is not charged to the budget. */
enum { MAX_VIEWS = 65536 };

enum { ROOM_MICROS = 1000000, ROOM_POLL_NANOS = 2000000 };

/* All views of one collection on one branch. */
struct view_slot {
    UT_hash_handle hh;
    struct project_views *project;
    struct view *views; /* few: the head and what readers of the past asked for */
    char name[];        /* project \n branch \n collection: ids have no newline */
};

struct view {
    struct view *prev, *next;         /* in its slot */
    struct view *lru_prev, *lru_next; /* least recently used first */
    struct view_slot *slot;
    struct tree *tree;
    uint64_t changed;
    uint64_t through;
};

struct project_views {
    UT_hash_handle hh;
    uint64_t views;
    uint64_t slots;
    char name[];
};

struct view_cache {
    struct memory_budget budget;
    _Atomic uint64_t hits, misses;
    struct mutex lock;       /* rank 30; covers everything below */
    struct condition builds; /* one has ended */
    uint64_t building;       /* under way */
    uint64_t overlaps;       /* of those that began, how many did beside others */
    bool alone;              /* one is under way alone, or waits to be */
    struct view_slot *slots;
    struct project_views *projects;
    struct view *lru;
    uint64_t views;
};

struct view_cache *view_cache_new(uint64_t memory_limit_bytes)
{
    struct view_cache *cache = mem_zalloc(sizeof *cache);
    cache->budget.limit = memory_limit_bytes;
    mutex_init(&cache->lock, 30);
    condition_init(&cache->builds);
    return cache;
}

struct memory_budget *view_cache_budget(struct view_cache *cache)
{
    return &cache->budget;
}

static char *slot_name(const struct view_key *key, size_t *len)
{
    int n = snprintf(NULL, 0, "%s\n%s\n%s", key->project, key->branch_id, key->collection);
    char *name = mem_alloc((size_t)n + 1);
    snprintf(name, (size_t)n + 1, "%s\n%s\n%s", key->project, key->branch_id, key->collection);
    *len = (size_t)n;
    return name;
}

static struct view_slot *find_slot_locked(struct view_cache *cache, const struct view_key *key)
{
    size_t len;
    char *name = slot_name(key, &len);
    struct view_slot *slot;
    HASH_FIND(hh, cache->slots, name, len, slot);
    free(name);
    return slot;
}

static struct project_views *project_locked(struct view_cache *cache, const char *name)
{
    struct project_views *project;
    size_t len = strlen(name);
    HASH_FIND(hh, cache->projects, name, len, project);
    if (project)
        return project;
    project = mem_zalloc(sizeof *project + len + 1);
    memcpy(project->name, name, len + 1);
    HASH_ADD(hh, cache->projects, name, len, project);
    return project;
}

static struct view_slot *add_slot_locked(struct view_cache *cache, const struct view_key *key)
{
    struct view_slot *slot = find_slot_locked(cache, key);
    if (slot)
        return slot;
    size_t len;
    char *name = slot_name(key, &len);
    slot = mem_zalloc(sizeof *slot + len + 1);
    memcpy(slot->name, name, len + 1);
    free(name);
    slot->project = project_locked(cache, key->project);
    slot->project->slots++;
    HASH_ADD(hh, cache->slots, name, len, slot);
    return slot;
}

/* Takes the view out of everything; its tree is the caller's, to be dropped outside the lock. */
static struct tree *remove_view_locked(struct view_cache *cache, struct view *view)
{
    struct view_slot *slot = view->slot;
    struct project_views *project = slot->project;
    struct tree *tree = view->tree;
    DL_DELETE(slot->views, view);
    DL_DELETE2(cache->lru, view, lru_prev, lru_next);
    free(view);
    cache->views--;
    project->views--;
    if (!slot->views) {
        HASH_DEL(cache->slots, slot);
        free(slot);
        if (--project->slots == 0) {
            HASH_DEL(cache->projects, project);
            free(project);
        }
    }
    return tree;
}

void view_cache_free(struct view_cache *cache)
{
    if (!cache)
        return;
    while (view_cache_evict(cache))
        continue;
    condition_destroy(&cache->builds);
    mutex_destroy(&cache->lock);
    free(cache);
}

static struct view *find_view(struct view_slot *slot, uint64_t lsn)
{
    struct view *view;
    DL_FOREACH(slot->views, view)
    if (lsn == VIEW_AT_HEAD ? view->through == VIEW_AT_HEAD : view->changed <= lsn && lsn <= view->through)
        return view;
    return NULL;
}

struct tree *view_cache_get(struct view_cache *cache, const struct view_key *key, uint64_t lsn, uint64_t *changed)
{
    struct tree *tree = NULL;
    mutex_lock(&cache->lock);
    struct view_slot *slot = find_slot_locked(cache, key);
    struct view *view = slot ? find_view(slot, lsn) : NULL;
    if (view) {
        DL_DELETE2(cache->lru, view, lru_prev, lru_next);
        DL_APPEND2(cache->lru, view, lru_prev, lru_next);
        tree = tree_ref(view->tree);
        if (changed)
            *changed = view->changed;
    }
    mutex_unlock(&cache->lock);
    return tree;
}

void view_cache_put(struct view_cache *cache, const struct view_key *key, struct tree *tree, uint64_t changed, uint64_t through)
{
    struct tree *replaced = NULL;
    mutex_lock(&cache->lock);
    struct view_slot *slot = add_slot_locked(cache, key);
    struct view *view = find_view(slot, through);
    if (view && through != VIEW_AT_HEAD) { /* the same state is there already */
        mutex_unlock(&cache->lock);
        return;
    }
    if (view) {
        replaced = view->tree;
    } else {
        view = mem_zalloc(sizeof *view);
        view->slot = slot;
        DL_APPEND(slot->views, view);
        DL_APPEND2(cache->lru, view, lru_prev, lru_next);
        cache->views++;
        slot->project->views++;
        view->through = through;
    }
    view->tree = tree_ref(tree);
    view->changed = changed;
    struct tree *surplus = cache->views > MAX_VIEWS ? remove_view_locked(cache, cache->lru) : NULL;
    mutex_unlock(&cache->lock);
    tree_unref(replaced);
    tree_unref(surplus);
}

void view_cache_advance(struct view_cache *cache, const struct view_key *key, const struct tree *expected, struct tree *tree,
                        uint64_t changed)
{
    struct tree *replaced = NULL;
    mutex_lock(&cache->lock);
    struct view_slot *slot = find_slot_locked(cache, key);
    struct view *view = slot ? find_view(slot, VIEW_AT_HEAD) : NULL;
    (void)expected;
    assert(!view || view->tree == expected);
    if (view && !tree) {
        replaced = remove_view_locked(cache, view);
    } else if (view) {
        replaced = view->tree;
        view->tree = tree_ref(tree);
        view->changed = changed;
    }
    mutex_unlock(&cache->lock);
    tree_unref(replaced);
}

bool view_cache_evict(struct view_cache *cache)
{
    mutex_lock(&cache->lock);
    bool found = cache->lru != NULL;
    struct tree *tree = found ? remove_view_locked(cache, cache->lru) : NULL;
    mutex_unlock(&cache->lock);
    tree_unref(tree);
    counter_add(&branch_counters.views_evicted, found);
    return found;
}

void view_cache_drop_project(struct view_cache *cache, const char *project)
{
    size_t prefix = strlen(project), n = 0;
    struct view *view, *next;
    mutex_lock(&cache->lock);
    struct tree **dropped = mem_alloc(cache->views * sizeof(struct tree *));
    DL_FOREACH_SAFE2(cache->lru, view, next, lru_next)
    if (strncmp(view->slot->name, project, prefix) == 0 && view->slot->name[prefix] == '\n')
        dropped[n++] = remove_view_locked(cache, view);
    mutex_unlock(&cache->lock);
    while (n > 0)
        tree_unref(dropped[--n]);
    free(dropped);
}

bool view_cache_build_begin(struct view_cache *cache, struct view_build *build, bool alone, int64_t deadline)
{
    bool ok = true, mine = false;
    mutex_lock(&cache->lock);
    while (ok && cache->alone)
        ok = condition_wait_until(&cache->builds, &cache->lock, deadline);
    if (ok && alone)
        mine = cache->alone = true;
    while (ok && mine && cache->building)
        ok = condition_wait_until(&cache->builds, &cache->lock, deadline);
    if (ok) {
        *build = (struct view_build) { .alone = alone, .overlaps = cache->overlaps };
        cache->overlaps += cache->building > 0;
        cache->building++;
    } else if (mine) {
        cache->alone = false;
        condition_broadcast(&cache->builds);
    }
    mutex_unlock(&cache->lock);
    return ok;
}

bool view_cache_build_end(struct view_cache *cache, const struct view_build *build)
{
    mutex_lock(&cache->lock);
    bool beside_others = cache->overlaps != build->overlaps;
    cache->building--;
    if (build->alone)
        cache->alone = false;
    condition_broadcast(&cache->builds);
    mutex_unlock(&cache->lock);
    return beside_others;
}

/* Looks again and again, since who gives a tree back does not know who waits for it. */
bool view_cache_wait_for_room(struct view_cache *cache, uint64_t used)
{
    const int64_t end = clock_monotonic_micros() + ROOM_MICROS;
    while (atomic_load_explicit(&cache->budget.used, memory_order_relaxed) >= used) {
        if (clock_monotonic_micros() >= end)
            return false;
        nanosleep(&(struct timespec) { .tv_nsec = ROOM_POLL_NANOS }, NULL);
    }
    return true;
}

uint64_t view_cache_count(struct view_cache *cache)
{
    mutex_lock(&cache->lock);
    uint64_t views = cache->views;
    mutex_unlock(&cache->lock);
    return views;
}

uint64_t view_cache_count_of(struct view_cache *cache, const char *project)
{
    mutex_lock(&cache->lock);
    struct project_views *found;
    size_t len = strlen(project);
    HASH_FIND(hh, cache->projects, project, len, found);
    uint64_t views = found ? found->views : 0;
    mutex_unlock(&cache->lock);
    return views;
}

void view_cache_note_hit(struct view_cache *cache)
{
    atomic_fetch_add_explicit(&cache->hits, 1, memory_order_relaxed);
}

void view_cache_note_miss(struct view_cache *cache)
{
    atomic_fetch_add_explicit(&cache->misses, 1, memory_order_relaxed);
}

uint64_t view_cache_hits(struct view_cache *cache)
{
    return atomic_load_explicit(&cache->hits, memory_order_relaxed);
}

uint64_t view_cache_misses(struct view_cache *cache)
{
    return atomic_load_explicit(&cache->misses, memory_order_relaxed);
}
