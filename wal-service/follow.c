/* Where a follower is:
 *
 *     RUNS --wait--> WAITING --moved, tick--> DUE --the thread--> RUNS, woken
 *
 * The lists of a project hold those that wait and those that are due. A project that moves while the ones due from
 * before are still being woken is noted, and its list is taken when they are through: so nobody who asks again at once
 * keeps the others from their turn. */
#include "wal-service/follow.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <uthash.h>

#include "common/base/clock.h"
#include "common/base/memory.h"
#include "common/base/sync.h"

struct follow_project {
    UT_hash_handle hh;
    char *id;
    size_t followers;
    struct follower *waiting, *due;
    bool queued; /* in the registry's queue */
    bool again;  /* moved since `due` was filled */
    bool soon;   /* one of those that wait wants the next tick */
    struct follow_project *next_queued;
};

struct follow_registry {
    size_t max;
    atomic_size_t waiting; /* changed under the lock */
    struct mutex lock;     /* rank 25; covers the rest */
    struct condition work;
    size_t followers;
    struct follow_project *projects;           /* uthash, by id; those with followers */
    struct follow_project *queue, **queue_end; /* those with somebody due */
    int64_t tick_at;                           /* NO_DEADLINE: nobody wants one */
    bool stopping;
    pthread_t thread;
};

/* ---- lists --------------------------------------------------------------------------------------- */

static void link_follower(struct follower **list, struct follower *follower)
{
    follower->next = *list;
    follower->link = list;
    if (follower->next)
        follower->next->link = &follower->next;
    *list = follower;
}

static void unlink_follower(struct follow_registry *registry, struct follower *follower)
{
    if (!follower->link)
        return;
    *follower->link = follower->next;
    if (follower->next)
        follower->next->link = follower->link;
    follower->link = NULL;
    atomic_fetch_sub(&registry->waiting, 1);
}

static void move_locked(struct follow_registry *registry, struct follow_project *project)
{
    if (project->due) {
        project->again = true;
        return;
    }
    project->again = false;
    project->soon = false;
    project->due = project->waiting;
    project->waiting = NULL;
    if (!project->due)
        return;
    project->due->link = &project->due;
    if (project->queued)
        return;
    project->queued = true;
    project->next_queued = NULL;
    *registry->queue_end = project;
    registry->queue_end = &project->next_queued;
    condition_signal(&registry->work);
}

/* ---- the thread that wakes ----------------------------------------------------------------------- */

/* Lets the first project of the queue go on, or out. */
static void end_of_due_locked(struct follow_registry *registry)
{
    struct follow_project *project = registry->queue;
    if (project->again)
        move_locked(registry, project);
    if (project->due)
        return;
    registry->queue = project->next_queued;
    if (!registry->queue)
        registry->queue_end = &registry->queue;
    project->queued = false;
    if (!project->followers) {
        HASH_DEL(registry->projects, project);
        free(project->id);
        free(project);
    }
}

static void tick_locked(struct follow_registry *registry)
{
    struct follow_project *project, *next;
    registry->tick_at = NO_DEADLINE;
    HASH_ITER(hh, registry->projects, project, next)
    {
        if (project->soon)
            move_locked(registry, project);
    }
}

static void *run_wakes(void *ctx)
{
    struct follow_registry *registry = ctx;
    mutex_lock(&registry->lock);
    while (!registry->stopping) {
        if (registry->tick_at != NO_DEADLINE && clock_monotonic_micros() >= registry->tick_at)
            tick_locked(registry);
        if (!registry->queue) {
            (void)condition_wait_until(&registry->work, &registry->lock, registry->tick_at);
            continue;
        }
        struct follower *follower = registry->queue->due;
        if (follower) {
            unlink_follower(registry, follower);
            follower->wake(follower->ctx); /* under the lock, so that remove waits for it */
        }
        if (!registry->queue->due)
            end_of_due_locked(registry);
        mutex_unlock(&registry->lock); /* one at a time: the commit thread may be at the door */
        mutex_lock(&registry->lock);
    }
    mutex_unlock(&registry->lock);
    return NULL;
}

/* ---- followers ----------------------------------------------------------------------------------- */

bool follow_add(struct follow_registry *registry, struct follower *follower, struct bytes id, struct error *err)
{
    struct follow_project *project;
    bool added = false;
    mutex_lock(&registry->lock);
    if (registry->followers >= registry->max) {
        error_set(err, ERROR_RESOURCE_EXHAUSTED, "%zu streams follow the log, which is the limit", registry->max);
        goto out;
    }
    HASH_FIND(hh, registry->projects, id.data, id.len, project);
    if (!project) {
        project = mem_zalloc(sizeof *project);
        project->id = mem_strndup((const char *)id.data, id.len);
        HASH_ADD_KEYPTR(hh, registry->projects, project->id, id.len, project);
    }
    project->followers++;
    registry->followers++;
    follower->project = project;
    follower->link = NULL;
    added = true;
out:
    mutex_unlock(&registry->lock);
    return added;
}

void follow_remove(struct follow_registry *registry, struct follower *follower)
{
    struct follow_project *project = follower->project;
    mutex_lock(&registry->lock);
    unlink_follower(registry, follower);
    registry->followers--;
    if (--project->followers == 0 && !project->queued) {
        HASH_DEL(registry->projects, project);
        free(project->id);
        free(project);
    }
    mutex_unlock(&registry->lock);
}

size_t follow_count(struct follow_registry *registry)
{
    mutex_lock(&registry->lock);
    size_t n = registry->followers;
    mutex_unlock(&registry->lock);
    return n;
}

void follow_wait(struct follow_registry *registry, struct follower *follower, bool soon)
{
    struct follow_project *project = follower->project;
    mutex_lock(&registry->lock);
    if (!follower->link) {
        link_follower(&project->waiting, follower);
        atomic_fetch_add(&registry->waiting, 1);
    }
    if (soon && !project->soon) {
        project->soon = true;
        if (registry->tick_at == NO_DEADLINE) {
            registry->tick_at = clock_monotonic_micros() + FOLLOW_TICK_MICROS;
            condition_signal(&registry->work);
        }
    }
    mutex_unlock(&registry->lock);
}

void follow_moved(struct follow_registry *registry, struct bytes id)
{
    struct follow_project *project;
    /* Who is not counted yet has not looked at the head yet: that was changed, under the store's lock, before. */
    if (!atomic_load(&registry->waiting))
        return;
    mutex_lock(&registry->lock);
    HASH_FIND(hh, registry->projects, id.data, id.len, project);
    if (project)
        move_locked(registry, project);
    mutex_unlock(&registry->lock);
}

/* ---- life ---------------------------------------------------------------------------------------- */

struct follow_registry *follow_registry_new(size_t max_followers)
{
    struct follow_registry *registry = mem_zalloc(sizeof *registry);
    registry->max = max_followers;
    registry->queue_end = &registry->queue;
    registry->tick_at = NO_DEADLINE;
    mutex_init(&registry->lock, 25);
    condition_init(&registry->work);
    registry->thread = thread_start("wal-follow", run_wakes, registry);
    return registry;
}

void follow_registry_free(struct follow_registry *registry)
{
    if (!registry)
        return;
    mutex_lock(&registry->lock);
    registry->stopping = true;
    condition_signal(&registry->work);
    mutex_unlock(&registry->lock);
    pthread_join(registry->thread, NULL);
    assert(!registry->followers);
    struct follow_project *project, *next;
    HASH_ITER(hh, registry->projects, project, next)
    {
        HASH_DEL(registry->projects, project);
        free(project->id);
        free(project);
    }
    condition_destroy(&registry->work);
    mutex_destroy(&registry->lock);
    free(registry);
}
