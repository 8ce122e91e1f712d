/* What project.c (targets, views) and project_refresh.c (following the log) share. */
#ifndef ARGON_BRANCH_PROJECT_INTERNAL_H
#define ARGON_BRANCH_PROJECT_INTERNAL_H

#include "branch-service/project.h"
#include "common/base/sync.h"

struct build;
struct fork_cut;

struct project {
    char *id;
    char *name;
    uint64_t created_at;
    struct log_source *log;
    struct view_cache *cache;

    struct mutex lock; /* rank 20; covers everything below */
    struct condition changed;

    /* Held by one thread at a time, across calls to the log: only the holder moves position, incarnation,
     * catalog and head views, and it does so under the lock. */
    bool held;
    uint64_t refreshes_begun;
    uint64_t refreshes_done;

    bool attached; /* after the first refresh; what follows means something */
    struct log_incarnation incarnation;
    uint64_t position;
    uint64_t begun; /* times that everything was read anew */
    bool deleted;
    struct project_tombstone tombstone;
    struct tree *names;
    struct tree *branches;
    struct tree *projects;

    struct fork_cut *cuts; /* written by the holder only */
    struct build *builds;
    struct noted *noted; /* own batches that do not follow the position yet */
    size_t n_noted;
};

void project_free_noted(struct project *project);

/* False: the deadline passed. */
CHECKED bool project_hold(struct project *project, int64_t deadline);
void project_release(struct project *project);

void project_free_cuts(struct project *project);

/* Keeps a view of the past, unless the log has been replaced since. */
void project_keep_past_view(struct project *project, const struct log_incarnation *incarnation, const struct view_key *key,
                            struct tree *tree, uint64_t changed, uint64_t through);

#endif
