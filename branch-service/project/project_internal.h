/* What the files of a project share: project.c (targets, views), project_refresh.c (asking the log),
 * project_fold.c (folding entries in), project_noted.c (own batches), project_follow.c (what a follow brings).
 *
 * Who moves the position is the holder: one thread at a time, across calls to the log. Only the holder
 * moves position, incarnation, catalog and head views, and puts head views; it does so under the lock.
 *
 *     detached --first read--> attached --incarnation changed--> attached (kept what still holds, or anew)
 */
#ifndef ARGON_BRANCH_PROJECT_PROJECT_INTERNAL_H
#define ARGON_BRANCH_PROJECT_PROJECT_INTERNAL_H

#include "branch-service/project/base_source.h"
#include "branch-service/project/project.h"
#include "branch-service/view/materialize.h"
#include "common/base/sync.h"

struct build;
struct fork_cut;
struct noted;

struct project {
    char *id;
    char *name;
    uint64_t created_at;
    struct log_source *log;
    struct view_cache *cache;
    const struct base_source *source; /* NULL: none */
    project_held_fn *on_held;         /* likewise */
    void *on_held_ctx;
    _Atomic int64_t used_at; /* monotonic microseconds */
    _Atomic bool followed;
    /* Its log has had a traditional branch: only then does anybody ask what kind one is. Set before the record is published. */
    _Atomic bool has_traditional;

    struct mutex lock; /* rank 20; covers everything below */
    struct condition changed;

    bool held;
    /* Reads of the log to its head. */
    uint64_t reads_begun;
    uint64_t reads_done;

    bool attached; /* after the first read; what follows means something */
    struct log_incarnation incarnation;
    uint64_t position;
    uint64_t begun; /* times that everything was read anew */
    bool deleted;
    struct project_tombstone tombstone;
    struct tree *names;
    struct tree *branches;
    struct tree *projects;
    struct tree *config;

    struct fork_cut *cuts; /* written by the holder only */
    struct build *builds;

    /* Checks of the log's head: who waits for the one under way, for the next one, and for the position. */
    bool checking;
    struct project_check *asked;
    struct project_check *forming;
    struct project_check *behind; /* they know the head, which the position has not reached yet */

    struct noted *noted; /* own batches that do not follow the position yet, in LSN order */
    size_t n_noted;
    size_t noted_bytes;
    int64_t noted_at; /* when one came last */

    /* Told once when the project is released, after release_wanted was set. */
    bool release_wanted;
    void (*released)(void *ctx, struct project *project);
    void *released_ctx;

    struct project_stats stats;
};

/* False: the deadline passed. */
CHECKED bool project_hold(struct project *project, int64_t deadline);
/* Folds in what own batches wait, as far as they follow. */
void project_release(struct project *project);
void project_release_locked(struct project *project);

static inline bool is_incarnation(const struct log_incarnation *a, const struct log_incarnation *b)
{
    return memcmp(a->bytes, b->bytes, sizeof a->bytes) == 0;
}

/* ---- folding (by the holder) ------------------------------------------------------------------------ */

struct pass {
    struct project *project;
    bool anew;
    uint64_t from;                                   /* what lies at or below is folded in already */
    uint64_t applied;                                /* the last LSN that the edits have seen */
    struct replay names, branches, projects, config; /* begun when they are touched */
    bool deleted;
    struct project_tombstone tombstone;
    struct view_edit *edits;
    struct kept_view *kept;
};

/* anew: as if nothing were known. Destroyed also when this fails. */
CHECKED bool pass_begin(struct pass *pass, struct project *project, bool anew, struct error *err);
/* A log_run_fn: runs in LSN order. After a failure the pass cannot be published. */
CHECKED bool pass_apply(void *pass, const struct log_run *run, struct error *err);
/* position: the end of the last batch that was applied, or a later one that changes nothing here. */
void pass_publish(struct pass *pass, const struct log_incarnation *incarnation, uint64_t position);
void pass_destroy(struct pass *pass);

void project_free_cuts(struct project *project);

/* ---- own batches ------------------------------------------------------------------------------------ */

/* Folds in those that follow the position, a bounded number of times; by the holder, who keeps the lock at
 * the ends. True: there are more. */
bool project_fold_noted_locked(struct project *project);
void project_free_noted(struct project *project);

/* ---- bases that are not complete (project_base.c) --------------------------------------------------- */

struct base_root {
    struct project *project;
    const struct tree *branches;
    const struct log_incarnation *incarnation;
    struct lineage_segment *segment; /* of the base */
    const char *collection;          /* id */
    int64_t deadline;
    struct replay_observer *observer;
};
/* Of a struct materialize_root; ctx is a struct base_root. ABORTED: look again at a fresh catalog. */
CHECKED bool base_root_build(void *ctx, bool patient, struct tree **tree, struct error *err);

/* ---- views ------------------------------------------------------------------------------------------ */

/* Keeps a view of the past, unless the log has been replaced since. */
void project_keep_past_view(struct project *project, const struct log_incarnation *incarnation, const struct view_key *key,
                            struct tree *tree, uint64_t changed, uint64_t through);

#endif
