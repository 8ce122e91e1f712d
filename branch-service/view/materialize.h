/* Replay: folding log entries into trees. The fold is pure: insert and update put the whole image, delete
 * removes it; nothing else decides.
 *
 * Memory     when the budget refuses, other views are dropped, least recently used first; RESOURCE_EXHAUSTED
 *            only when there are no more, and, of a replay that is patient, when no reader gives one back either.
 */
#ifndef ARGON_BRANCH_VIEW_MATERIALIZE_H
#define ARGON_BRANCH_VIEW_MATERIALIZE_H

#include "branch-service/catalog/lineage.h"
#include "branch-service/log/log_source.h"
#include "branch-service/view/view_cache.h"

/* Somebody who looks on while a view is built: told how many entries have been replayed, after each message of the log, and
 * at least every LOG_WANTED_MICROS while there is nothing to replay. False: stop, as CANCELLED. */
struct replay_observer {
    bool (*observe)(void *ctx, uint64_t entries);
    void *ctx;
    uint64_t entries; /* so far */
};

/* An edit that remembers the last LSN it applied. */
struct replay {
    struct view_cache *cache;
    bool patient; /* waits for readers to give memory back; false, unless set after begin */
    struct tree_edit *edit;
    uint64_t changed; /* LSN of the last entry, or what it began with */
};

CHECKED bool replay_begin(struct replay *replay, struct view_cache *cache, struct tree *base, uint64_t changed, struct error *err);
CHECKED bool replay_entry(struct replay *replay, const struct log_entry *entry, uint64_t lsn, struct error *err);
CHECKED bool replay_run(struct replay *replay, const struct log_run *run, struct error *err);
struct tree *replay_end(struct replay *replay);
void replay_abandon(struct replay *replay); /* also after replay_end */

/* In place of the last segment of a lineage: where its state comes from when it is not on the log. */
struct materialize_root {
    bool (*build)(void *ctx, bool patient, struct tree **tree, struct error *err);
    void *ctx;
};

/* state(branch, lsn) of one collection, where lineage was resolved at lsn: begins from the nearest cached
 * view on the way to the root and replays the rest. root: NULL, unless the root is elsewhere. *changed is the LSN it is valid
 * from. */
CHECKED bool materialize(struct log_source *log, struct view_cache *cache, bool patient, const char *project,
                         const struct log_incarnation *incarnation, const char *collection, const struct lineage *lineage,
                         const struct materialize_root *root, int64_t deadline, struct replay_observer *observer, struct tree **tree,
                         uint64_t *changed, struct error *err);

/* Brings a tree that is a collection's state at `from` to `through`, reading the one log branch. */
CHECKED bool materialize_delta(struct log_source *log, struct view_cache *cache, bool patient, const char *project,
                               const struct log_incarnation *incarnation, const char *branch_id, const char *collection, uint64_t from,
                               uint64_t through, int64_t deadline, struct replay_observer *observer, struct tree **tree, uint64_t *changed,
                               struct error *err);

#endif
