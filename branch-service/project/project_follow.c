/* Folding in what a follow of the project's log brings.
 *
 * Each message covers (F, T] where F is at or below the position: the follow began at the position, and what it
 * has brought since is folded in. So everything that matches in (position, T] is in it.
 *
 * A follow of the catalog alone is enough while no view is cached, since only head views need the rest. Head
 * views are put by the holder only: when the holder finds none before it folds a message in, there is none
 * until it has published. As soon as there is one the follow is replaced by one of everything, which begins
 * at the position, where the view is.
 */
#include <stdlib.h>

#include "branch-service/branch_counters.h"
#include "branch-service/project/project_follow.h"
#include "branch-service/project/project_internal.h"
#include "common/base/clock.h"
#include "common/base/memory.h"

/* One hold folds in at most so many messages. */
enum { MAX_MESSAGES = 32 };

struct project_follow {
    struct project *project;
    struct log_follow *log;
    struct log_incarnation incarnation;
    uint64_t begun;
    bool catalog_only;
    uint64_t through;
    uint64_t opened_at; /* wall time: what is older comes late because the follow came late */
};

/* A pass, and when the last of what it applied was committed. */
struct follow_pass {
    struct pass pass;
    uint64_t committed_at;
};

bool project_follow_open(struct project *project, void (*ready)(void *ctx), void *ctx, struct project_follow **follow, struct error *err)
{
    struct project_follow *made = mem_zalloc(sizeof *made);
    mutex_lock(&project->lock);
    made->project = project;
    made->incarnation = project->incarnation;
    made->begun = project->begun;
    made->through = project->position;
    mutex_unlock(&project->lock);
    made->opened_at = clock_wall_micros();
    made->catalog_only = view_cache_count_of(project->cache, project->id) == 0;
    const struct log_read_range range = {
        .project = project->id,
        .after = made->through,
        .branch_id = made->catalog_only ? CATALOG_BRANCH : NULL,
    };
    if (!log_follow_open(project->log, &range, &made->incarnation, ready, ctx, &made->log, err)) {
        free(made);
        return false;
    }
    *follow = made;
    return true;
}

void project_follow_close(struct project_follow *follow)
{
    if (!follow)
        return;
    log_follow_close(follow->log);
    free(follow);
}

static bool try_hold(struct project *project)
{
    mutex_lock(&project->lock);
    bool free_now = !project->held;
    if (free_now)
        project->held = true;
    else
        project->release_wanted = true;
    mutex_unlock(&project->lock);
    return free_now;
}

/* What the follow brings is not what the project needs any more; by the holder. */
static bool is_outdated(const struct project_follow *follow)
{
    const struct project *project = follow->project;
    return !is_incarnation(&follow->incarnation, &project->incarnation) || follow->begun != project->begun ||
           (follow->catalog_only && view_cache_count_of(project->cache, project->id) > 0);
}

static bool apply_run(void *ctx, const struct log_run *run, struct error *err)
{
    struct follow_pass *own = ctx;
    own->committed_at = run->timestamp;
    return pass_apply(&own->pass, run, err);
}

static void measure_lag(const struct project_follow *follow, uint64_t committed_at)
{
    if (committed_at >= follow->opened_at)
        histogram_micros(&branch_counters.follow_lag, (int64_t)(clock_wall_micros() - committed_at));
}

/* Messages until there are no more for now, in one pass. */
static bool fold_messages(struct project_follow *follow, bool *more, struct error *err)
{
    struct follow_pass own = { .committed_at = 0 };
    struct pass *pass = &own.pass;
    bool ok = pass_begin(pass, follow->project, false, err);
    *more = true;
    for (unsigned n = 0; ok && *more && n < MAX_MESSAGES; n++)
        ok = log_follow_take(follow->log, apply_run, &own, &follow->through, more, err);
    if (pass->applied <= follow->through && follow->through > pass->from) {
        pass_publish(pass, &follow->incarnation, follow->through);
        measure_lag(follow, own.committed_at);
    }
    pass_destroy(pass);
    return ok;
}

enum follow_outcome project_follow_step(struct project_follow *follow, struct error *err)
{
    struct project *project = follow->project;
    bool more;
    if (!try_hold(project))
        return FOLLOW_HELD;
    if (is_outdated(follow)) {
        project_release(project);
        return FOLLOW_OUTDATED;
    }
    bool ok = fold_messages(follow, &more, err);
    project_release(project);
    if (!ok)
        return FOLLOW_FAILED;
    return more ? FOLLOW_MORE : FOLLOW_IDLE;
}

void project_on_release(struct project *project, project_released_fn *released, void *ctx)
{
    mutex_lock(&project->lock);
    project->released = released;
    project->released_ctx = ctx;
    mutex_unlock(&project->lock);
}

bool project_note_use(struct project *project)
{
    atomic_store_explicit(&project->used_at, clock_monotonic_micros(), memory_order_relaxed);
    return atomic_load_explicit(&project->followed, memory_order_relaxed);
}

int64_t project_used_at(const struct project *project)
{
    return atomic_load_explicit(&project->used_at, memory_order_relaxed);
}

void project_set_followed(struct project *project, bool followed)
{
    atomic_store_explicit(&project->followed, followed, memory_order_relaxed);
}
