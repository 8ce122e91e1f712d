#include "branch-service/migration/standstill.h"

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <utlist.h>

#include "branch-service/migration/migration.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/memory.h"
#include "common/base/random.h"
#include "common/base/sync.h"

enum {
    LOOK_MICROS = MICROS_PER_SECOND / 2,
    ANSWER_MICROS = 5 * MICROS_PER_SECOND,
    RELEASE_MICROS = 60 * MICROS_PER_SECOND, /* thousands of collections may have to be renamed */
};

struct watched {
    char *project;
    char *branch;
    /* of the thread alone */
    bool has_seen;
    struct migration_status seen; /* of its strings only traditional_id, which is id */
    char id[ID_SIZE];
    int64_t since; /* it was seen like this */
    struct watched *prev, *next;
};

struct standstill {
    struct registry *registry;
    struct mutex lock; /* rank 30; covers what is below */
    struct condition changed;
    struct watched *watched; /* anybody adds, the thread removes */
    bool started;
    pthread_t thread;
    _Atomic bool stopping; /* set under the lock */
};

/* ---- one branch ------------------------------------------------------------------------------------- */

static bool is_as_seen(const struct watched *watched, const struct migration_status *now)
{
    const struct migration_status *seen = &watched->seen;
    return watched->has_seen && seen->state == now->state && seen->epoch == now->epoch && seen->beats == now->beats &&
           strcmp(seen->traditional_id, now->traditional_id) == 0;
}

static void note_seen(struct watched *watched, const struct migration_status *now)
{
    snprintf(watched->id, sizeof watched->id, "%s", now->traditional_id);
    watched->seen =
        (struct migration_status) { .state = now->state, .epoch = now->epoch, .beats = now->beats, .traditional_id = watched->id };
    watched->has_seen = true;
    watched->since = clock_monotonic_micros();
}

static bool goes_on(void *ctx, const struct migration_progress *progress)
{
    const struct standstill *standstill = ctx;
    (void)progress;
    return !standstill->stopping;
}

static void release(struct standstill *standstill, struct watched *watched)
{
    const struct migration_call call = {
        .registry = standstill->registry,
        .project = watched->project,
        .branch = watched->branch,
        .tell = goes_on,
        .ctx = standstill,
        .deadline = clock_monotonic_micros() + RELEASE_MICROS,
    };
    struct error err;
    bool ok = migration_release(&call, &watched->seen, &err);
    if (ok)
        log_warn("migration.released", KV_STR("project", watched->project), KV_STR("branch", watched->branch),
                 KV_STR("state", branch_state_name(watched->seen.state)), KV_U64("epoch", watched->seen.epoch));
    else if (err.code != ERROR_FAILED_PRECONDITION) /* somebody else has gone on */
        log_warn("migration.release_failed", KV_STR("project", watched->project), KV_STR("branch", watched->branch), KV_ERR(&err));
    watched->has_seen = false;
}

/* False: nobody need wait for it any more. */
static bool look(struct standstill *standstill, struct watched *watched)
{
    struct migration_status now;
    struct arena arena;
    struct error err;
    arena_init(&arena, 0);
    bool ok = migration_get_status(standstill->registry, watched->project, watched->branch, clock_monotonic_micros() + ANSWER_MICROS,
                                   &arena, &now, &err);
    bool keep = ok ? migration_holds(now.state) : err.code != ERROR_NOT_FOUND;
    if (!ok)
        watched->has_seen = false; /* while the log is away no executor can show itself */
    else if (keep && !is_as_seen(watched, &now))
        note_seen(watched, &now);
    else if (keep && clock_monotonic_micros() - watched->since >= STANDSTILL_MICROS)
        release(standstill, watched);
    arena_destroy(&arena);
    return keep;
}

/* ---- the thread ------------------------------------------------------------------------------------- */

static void free_watched(struct watched *watched)
{
    free(watched->project);
    free(watched->branch);
    free(watched);
}

static void *run(void *ctx)
{
    struct standstill *standstill = ctx;
    mutex_lock(&standstill->lock);
    while (!standstill->stopping) {
        struct watched *watched = standstill->watched;
        if (!watched) {
            condition_wait(&standstill->changed, &standstill->lock);
            continue;
        }
        while (watched && !standstill->stopping) {
            mutex_unlock(&standstill->lock);
            bool keep = look(standstill, watched);
            mutex_lock(&standstill->lock);
            struct watched *next = watched->next;
            if (!keep) {
                DL_DELETE(standstill->watched, watched);
                free_watched(watched);
            }
            watched = next;
        }
        int64_t end = clock_monotonic_micros() + LOOK_MICROS;
        while (!standstill->stopping && condition_wait_until(&standstill->changed, &standstill->lock, end))
            continue;
    }
    mutex_unlock(&standstill->lock);
    return NULL;
}

struct standstill *standstill_new(struct registry *registry)
{
    struct standstill *made = mem_zalloc(sizeof *made);
    made->registry = registry;
    mutex_init(&made->lock, 30);
    condition_init(&made->changed);
    return made;
}

void standstill_free(struct standstill *standstill)
{
    struct watched *watched, *next;
    if (!standstill)
        return;
    mutex_lock(&standstill->lock);
    standstill->stopping = true;
    condition_broadcast(&standstill->changed);
    mutex_unlock(&standstill->lock);
    if (standstill->started)
        pthread_join(standstill->thread, NULL);
    DL_FOREACH_SAFE(standstill->watched, watched, next)
    free_watched(watched);
    condition_destroy(&standstill->changed);
    mutex_destroy(&standstill->lock);
    free(standstill);
}

void standstill_note(struct standstill *standstill, const char *project, const char *branch)
{
    struct watched *watched;
    mutex_lock(&standstill->lock);
    DL_FOREACH(standstill->watched, watched)
    if (strcmp(watched->project, project) == 0 && strcmp(watched->branch, branch) == 0)
        break;
    if (!watched) {
        watched = mem_zalloc(sizeof *watched);
        watched->project = mem_strdup(project);
        watched->branch = mem_strdup(branch);
        DL_APPEND(standstill->watched, watched);
        if (!standstill->started)
            standstill->thread = thread_start("standstill", run, standstill);
        standstill->started = true;
        condition_broadcast(&standstill->changed);
    }
    mutex_unlock(&standstill->lock);
}
