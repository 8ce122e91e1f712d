/* Asking the log.
 *
 * A strong read needs to know that nothing was committed, before it came, that this replica has not folded
 * in. It asks for the head: one question is under way, and whoever comes meanwhile waits for the next one.
 * When the position has reached the commit LSN of the same incarnation, that is all. Otherwise one thread
 * holds the project and reads the log from the position to the head.
 *
 *     check --position >= commit LSN, same incarnation--> fresh
 *           --less, but it is followed, or written to from here--> look again with the next checks, some milliseconds
 *           --else--> catch up: hold, fold own batches, read; or somebody else's read that began after we came
 *           --failed--> ask again alone, until the deadline, for the reason
 */
#include <utlist.h>

#include "branch-service/project/project_internal.h"
#include "common/base/clock.h"

/* ---- the holder ------------------------------------------------------------------------------------- */

bool project_hold(struct project *project, int64_t deadline)
{
    mutex_lock(&project->lock);
    bool in_time = true;
    while (project->held && in_time)
        in_time = condition_wait_until(&project->changed, &project->lock, deadline);
    bool free_now = !project->held;
    if (free_now)
        project->held = true;
    mutex_unlock(&project->lock);
    return free_now;
}

void project_release_locked(struct project *project)
{
    bool more = project_fold_noted_locked(project);
    project->held = false;
    condition_broadcast(&project->changed);
    if ((project->release_wanted || more) && project->released) {
        project->release_wanted = false;
        project->released(project->released_ctx, project);
    }
}

void project_release(struct project *project)
{
    mutex_lock(&project->lock);
    project_release_locked(project);
    mutex_unlock(&project->lock);
}

/* ---- reading to the head (by the holder) ------------------------------------------------------------ */

static bool read_once(struct project *project, int64_t deadline, const struct log_incarnation *incarnation, bool anew, struct error *err)
{
    struct pass pass;
    uint64_t complete;
    /* Without views there is nothing to move on but the catalog; and while the project is held nobody puts one. */
    bool catalog_only = anew || view_cache_count_of(project->cache, project->id) == 0;
    bool ok = pass_begin(&pass, project, anew, err);
    if (ok) {
        const struct log_read_range range = {
            .project = project->id,
            .after = pass.from,
            .branch_id = catalog_only ? CATALOG_BRANCH : NULL,
        };
        ok = log_source_read(project->log, &range, incarnation, deadline, pass_apply, &pass, &complete, err);
        /* what came whole before a failure is kept: else a large delta and short deadlines never come to an end */
        if (pass.applied <= complete && (ok || complete > pass.from))
            pass_publish(&pass, incarnation, complete);
    }
    pass_destroy(&pass);
    return ok;
}

/* Which incarnation the log has now, and whether what is known still holds in it. */
static bool check_incarnation(struct project *project, int64_t deadline, struct log_incarnation *incarnation, bool *anew, struct error *err)
{
    struct arena arena;
    struct log_head head;
    arena_init(&arena, 0);
    const struct log_head_query query = { .known_incarnation = project->attached ? &project->incarnation : NULL };
    bool ok = log_source_head(project->log, project->id, &query, deadline, &arena, &head, err);
    if (ok) {
        *incarnation = head.incarnation;
        *anew = !project->attached || head.known_through < project->position;
    }
    arena_destroy(&arena);
    return ok;
}

static bool read_to_head(struct project *project, int64_t deadline, struct error *err)
{
    if (project->attached && read_once(project, deadline, &project->incarnation, false, err))
        return true;
    while (!project->attached || err->code == ERROR_ABORTED) {
        struct log_incarnation incarnation;
        bool anew;
        if (!check_incarnation(project, deadline, &incarnation, &anew, err))
            return false;
        if (read_once(project, deadline, &incarnation, anew, err))
            return true;
        if (err->code != ERROR_ABORTED)
            return false;
    }
    return false;
}

static bool has_reached_locked(const struct project *project, const struct log_head *head)
{
    return project->attached && is_incarnation(&project->incarnation, &head->incarnation) && project->position >= head->commit_lsn;
}

/* Until the head is reached or, when there is none, until a read that begins from now on is done. */
static bool catch_up(struct project *project, const struct log_head *head, int64_t deadline, struct error *err)
{
    bool ok = true;
    mutex_lock(&project->lock);
    const uint64_t wanted = project->reads_begun + 1;
    while (ok && project->reads_done < wanted && !(head && has_reached_locked(project, head))) {
        if (project->held) {
            if (!condition_wait_until(&project->changed, &project->lock, deadline) && project->held)
                ok = error_set(err, ERROR_DEADLINE_EXCEEDED, "deadline passed while waiting for the project's log");
            continue;
        }
        project->held = true;
        project_fold_noted_locked(project); /* this may be all that is missing */
        if (!head || !has_reached_locked(project, head)) {
            const uint64_t mine = ++project->reads_begun;
            project->stats.log_reads++;
            mutex_unlock(&project->lock);
            ok = read_to_head(project, deadline, err);
            mutex_lock(&project->lock);
            if (ok && head && is_incarnation(&project->incarnation, &head->incarnation) && project->position < head->commit_lsn)
                ok = error_set(err, ERROR_UNAVAILABLE, "the log was read to %llu, and its head is %llu",
                               (unsigned long long)project->position, (unsigned long long)head->commit_lsn);
            if (ok)
                project->reads_done = mine;
        }
        project_release_locked(project);
    }
    mutex_unlock(&project->lock);
    return ok;
}

/* ---- checks of the head ----------------------------------------------------------------------------- */

/* A question gets so long; what comes of its failure is found out by those who wait. */
enum {
    CHECK_MICROS = MICROS_PER_SECOND,
    /* What a follow or a writer here is about to bring is waited for so long before the log is read for it. */
    COMING_MICROS = 3000,
    /* Whoever noted a batch so lately is likely to have the next one under way. */
    NOTED_LATELY_MICROS = MICROS_PER_SECOND / 10,
};

static void on_head(void *ctx, const struct error *failure, const struct log_head *head);

/* Part of the time of the most hurried: the rest is for finding out why there is no answer. */
static int64_t check_deadline_locked(const struct project *project)
{
    int64_t now = clock_monotonic_micros(), limit = CHECK_MICROS;
    const struct project_check *check;
    DL_FOREACH(project->asked, check)
    if (check->deadline != NO_DEADLINE && (check->deadline - now) / 4 * 3 < limit)
        limit = (check->deadline - now) / 4 * 3;
    return now + limit;
}

static int64_t begin_check_locked(struct project *project)
{
    struct project_check *check;
    project->checking = true;
    project->asked = project->forming;
    project->forming = NULL;
    DL_FOREACH(project->asked, check)
    check->list = &project->asked;
    project->stats.head_checks++;
    return check_deadline_locked(project);
}

/* What is missing is on its way, most likely: a follow brings it, or its writer on this replica. */
static bool may_come_locked(const struct project *project, int64_t now)
{
    return project->followed || project->held || project->noted || now - project->noted_at < NOTED_LATELY_MICROS;
}

static void answer(struct project_check **done, struct project_check *check, enum project_freshness freshness)
{
    DL_DELETE(*check->list, check);
    check->list = NULL;
    check->freshness = freshness;
    DL_APPEND(*done, check);
}

/* Moves those that have their answer to *done. */
static void sort_out_locked(struct project *project, const struct log_head *head, struct project_check **done)
{
    struct project_check *check, *next;
    const int64_t now = clock_monotonic_micros();
    DL_FOREACH_SAFE(project->behind, check, next)
    {
        if (has_reached_locked(project, &check->head))
            answer(done, check, FRESHNESS_FRESH);
        else if (!head || now - check->behind_since > COMING_MICROS)
            answer(done, check, FRESHNESS_BEHIND);
    }
    DL_FOREACH_SAFE(project->asked, check, next)
    {
        if (head)
            check->head = *head;
        if (!head) {
            answer(done, check, FRESHNESS_UNKNOWN);
        } else if (has_reached_locked(project, head)) {
            answer(done, check, FRESHNESS_FRESH);
        } else if (!may_come_locked(project, now)) {
            answer(done, check, FRESHNESS_BEHIND);
        } else {
            DL_DELETE(project->asked, check);
            DL_APPEND(project->behind, check);
            check->list = &project->behind;
            check->behind_since = now;
        }
    }
}

static void on_head(void *ctx, const struct error *failure, const struct log_head *head)
{
    struct project *project = ctx;
    struct project_check *done = NULL, *check, *next;
    mutex_lock(&project->lock);
    sort_out_locked(project, failure ? NULL : head, &done);
    /* the next question is also when those behind are looked at again */
    bool again = project->forming || project->behind;
    int64_t deadline = again ? begin_check_locked(project) : 0;
    project->checking = again;
    condition_broadcast(&project->changed); /* project_free */
    mutex_unlock(&project->lock);
    /* without the next one nobody but those who are answered keeps the project */
    if (again)
        log_source_head_start(project->log, project->id, deadline, on_head, project);
    DL_FOREACH_SAFE(done, check, next)
    check->done(check);
}

void project_check_start(struct project *project, struct project_check *check)
{
    mutex_lock(&project->lock);
    DL_APPEND(project->forming, check);
    check->list = &project->forming;
    bool begin = !project->checking;
    int64_t deadline = begin ? begin_check_locked(project) : 0;
    mutex_unlock(&project->lock);
    if (begin)
        log_source_head_start(project->log, project->id, deadline, on_head, project);
}

static bool forget_check(struct project *project, struct project_check *check)
{
    mutex_lock(&project->lock);
    bool waiting = check->list != NULL;
    if (waiting)
        DL_DELETE(*check->list, check);
    mutex_unlock(&project->lock);
    return waiting;
}

struct waiting_check {
    struct project_check check;
    struct mutex lock; /* rank 15 */
    struct condition changed;
    bool done;
};

static void wake(struct project_check *check)
{
    struct waiting_check *waiting = (struct waiting_check *)check;
    mutex_lock(&waiting->lock);
    waiting->done = true;
    condition_signal(&waiting->changed);
    mutex_unlock(&waiting->lock);
}

/* FRESHNESS_UNKNOWN also when the deadline has passed. */
static enum project_freshness check_and_wait(struct project *project, int64_t deadline, struct log_head *head)
{
    struct waiting_check waiting = { .check = { .deadline = deadline, .done = wake } };
    enum project_freshness freshness = FRESHNESS_UNKNOWN;
    mutex_init(&waiting.lock, 15);
    condition_init(&waiting.changed);
    project_check_start(project, &waiting.check);
    mutex_lock(&waiting.lock);
    while (!waiting.done && condition_wait_until(&waiting.changed, &waiting.lock, deadline))
        continue;
    bool forget = !waiting.done;
    mutex_unlock(&waiting.lock);
    if (!forget || !forget_check(project, &waiting.check)) {
        /* the answer is here, or on its way to us */
        mutex_lock(&waiting.lock);
        while (!waiting.done)
            condition_wait(&waiting.changed, &waiting.lock);
        mutex_unlock(&waiting.lock);
        freshness = waiting.check.freshness;
        *head = waiting.check.head;
    }
    mutex_destroy(&waiting.lock);
    condition_destroy(&waiting.changed);
    return freshness;
}

bool project_refresh_checked(struct project *project, const struct project_check *check, int64_t deadline, struct error *err)
{
    struct log_head head = check->head;
    if (check->freshness == FRESHNESS_FRESH)
        return true;
    if (check->freshness == FRESHNESS_UNKNOWN) {
        struct arena arena;
        arena_init(&arena, 0);
        bool ok = log_source_head(project->log, project->id, &(struct log_head_query) { 0 }, deadline, &arena, &head, err);
        arena_destroy(&arena);
        if (!ok)
            return false;
    }
    return catch_up(project, &head, deadline, err);
}

bool project_refresh(struct project *project, int64_t deadline, struct error *err)
{
    struct project_check check = { .freshness = FRESHNESS_UNKNOWN };
    if (!project_is_known(project))
        return catch_up(project, NULL, deadline, err);
    check.freshness = check_and_wait(project, deadline, &check.head);
    return project_refresh_checked(project, &check, deadline, err);
}

bool project_is_known(struct project *project)
{
    mutex_lock(&project->lock);
    bool attached = project->attached;
    mutex_unlock(&project->lock);
    return attached;
}

void project_keep_past_view(struct project *project, const struct log_incarnation *incarnation, const struct view_key *key,
                            struct tree *tree, uint64_t changed, uint64_t through)
{
    mutex_lock(&project->lock);
    if (is_incarnation(&project->incarnation, incarnation))
        view_cache_put(project->cache, key, tree, changed, through);
    mutex_unlock(&project->lock);
}
