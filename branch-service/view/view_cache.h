/* Materialized collections in memory, for all projects.
 *
 * A view is the state of a collection on a branch: a tree that is valid from the LSN of its last change
 * through some LSN. The head view of a collection is valid through its project's position, and moves with
 * it; older ones are valid through the LSN before their next change, or through what was asked for.
 * Neighbouring views share their trees' nodes, so keeping one costs its difference.
 *
 * Ownership  trees that are returned are references of the caller.
 * Threads    any.
 * Memory     views are dropped least recently used first, when somebody asks for room.
 */
#ifndef ARGON_BRANCH_VIEW_VIEW_CACHE_H
#define ARGON_BRANCH_VIEW_VIEW_CACHE_H

#include "branch-service/view/tree.h"

#define VIEW_AT_HEAD UINT64_MAX

struct view_cache;

struct view_key {
    const char *project;
    const char *branch_id;
    const char *collection; /* id, or a hidden collection's name */
};

struct view_cache *view_cache_new(uint64_t memory_limit_bytes);
void view_cache_free(struct view_cache *cache);
struct memory_budget *view_cache_budget(struct view_cache *cache);

/* A view that is valid at lsn (VIEW_AT_HEAD: the head view), or NULL. *changed (may be NULL) is the LSN that
 * it is valid from. */
struct tree *view_cache_get(struct view_cache *cache, const struct view_key *key, uint64_t lsn, uint64_t *changed);

/* Keeps a view that is valid in [changed, through]; through = VIEW_AT_HEAD makes it the head view, in place
 * of the one before. Takes its own reference. */
void view_cache_put(struct view_cache *cache, const struct view_key *key, struct tree *tree, uint64_t changed, uint64_t through);

/* Moves the head view on, unless it has been evicted: it is `expected` now, `tree` then; NULL drops it. Only
 * who moves a project's head views calls this. */
void view_cache_advance(struct view_cache *cache, const struct view_key *key, const struct tree *expected, struct tree *tree,
                        uint64_t changed);

/* Drops the least recently used view. False: there is none. */
bool view_cache_evict(struct view_cache *cache);
void view_cache_drop_project(struct view_cache *cache, const char *project);

/* Builds of views. Each takes memory before it gives any back, so builds beside each other may refuse each other what each would
 * get alone. One that was refused begins again alone: with `alone` it waits until the others have ended, and new ones wait for
 * it. Begin: false when the deadline has passed. End: whether others were under way at the same time. */
struct view_build {
    bool alone;
    uint64_t overlaps;
};
CHECKED bool view_cache_build_begin(struct view_cache *cache, struct view_build *build, bool alone, int64_t deadline);
bool view_cache_build_end(struct view_cache *cache, const struct view_build *build);

/* When there is nothing left to drop, but readers may still hold trees that were dropped: until less of the budget is in use
 * than `used`, which was seen before the budget refused. False: nothing came back for a second. */
CHECKED bool view_cache_wait_for_room(struct view_cache *cache, uint64_t used);

/* What readers found in memory, and what had to be built for them, since the start. */
void view_cache_note_hit(struct view_cache *cache);
void view_cache_note_miss(struct view_cache *cache);
uint64_t view_cache_hits(struct view_cache *cache);
uint64_t view_cache_misses(struct view_cache *cache);

uint64_t view_cache_count(struct view_cache *cache);
uint64_t view_cache_count_of(struct view_cache *cache, const char *project);

#endif
