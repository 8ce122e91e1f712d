#include "branch-service/project/follower.h"

#include <stdlib.h>
#include <uthash.h>
#include <utlist.h>

#include "branch-service/project/project_follow.h"
#include "common/base/backoff.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/memory.h"
#include "common/base/sync.h"

enum {
    /* What lived so long was no failure of the beginning: the next pause is short again. */
    LONG_LIFE_MICROS = 2 * MICROS_PER_SECOND,
    /* A project in use is not displaced by another one before this. */
    MIN_UNUSED_MICROS = 10 * MICROS_PER_SECOND,
    FULL_MICROS = MICROS_PER_SECOND,
    /* The WAL service has as many follows as it takes. */
    FULL_LOG_MICROS = 10 * MICROS_PER_SECOND,
    /* A log that was replaced is looked at so long before another project has its turn. */
    REFRESH_MICROS = 2 * MICROS_PER_SECOND,
};

struct followed {
    UT_hash_handle hh; /* by project */
    struct project *project;
    struct follower *follower;
    struct project_follow *follow; /* NULL: to be opened; of the thread that runs it */
    int64_t opened_at;
    struct backoff backoff;
    bool complained; /* about a failure that is not a lost connection */

    /* under the follower's lock */
    struct followed *prev, *next; /* in the queue */
    bool queued, running, woken, closing, open;
    int64_t due;     /* not before; 0: no pause */
    int64_t used_at; /* of the last use that somebody looked at */
};

struct follower {
    struct follower_options options;
    struct mutex lock; /* rank 25: also taken from project_release, under the project's lock */
    struct condition changed;
    struct followed *all; /* a hash */
    struct followed *queue;
    int64_t next_look;  /* when pauses and uses are to be looked at */
    int64_t full_until; /* nobody had been unused long enough to make room */
    bool stopping;
    pthread_t *threads;
};

/* ---- the queue -------------------------------------------------------------------------------------- */

static void enqueue_locked(struct followed *followed)
{
    if (followed->running) {
        followed->woken = true;
    } else if (!followed->queued && followed->due == 0) {
        followed->queued = true;
        DL_APPEND(followed->follower->queue, followed);
        condition_signal(&followed->follower->changed);
    }
}

/* On a thread of the log's client. */
static void on_ready(void *ctx)
{
    struct followed *followed = ctx;
    mutex_lock(&followed->follower->lock);
    enqueue_locked(followed);
    mutex_unlock(&followed->follower->lock);
}

void follower_released(void *ctx, struct project *project)
{
    struct follower *follower = ctx;
    struct followed *followed;
    mutex_lock(&follower->lock);
    HASH_FIND_PTR(follower->all, &project, followed);
    if (followed)
        enqueue_locked(followed);
    mutex_unlock(&follower->lock);
}

static void close_soon_locked(struct followed *followed)
{
    followed->closing = true;
    followed->due = 0;
    enqueue_locked(followed);
}

static void look_sooner_locked(struct follower *follower, int64_t at)
{
    if (at < follower->next_look) {
        follower->next_look = at;
        condition_signal(&follower->changed);
    }
}

/* Ends pauses that are over and follows that nobody uses. */
static void look_locked(struct follower *follower)
{
    int64_t now = clock_monotonic_micros();
    struct followed *followed, *next;
    follower->next_look = now + follower->options.idle_micros / 4 + 1000;
    HASH_ITER(hh, follower->all, followed, next)
    {
        followed->used_at = project_used_at(followed->project);
        if (now - followed->used_at > follower->options.idle_micros) {
            close_soon_locked(followed);
        } else if (followed->due != 0 && followed->due <= now) {
            followed->due = 0;
            enqueue_locked(followed);
        } else if (followed->due != 0) {
            look_sooner_locked(follower, followed->due);
        }
    }
}

/* ---- one project ------------------------------------------------------------------------------------ */

static bool is_away(const struct error *err)
{
    return err->code == ERROR_UNAVAILABLE || err->code == ERROR_CANCELLED || err->code == ERROR_DEADLINE_EXCEEDED;
}

/* Microseconds to pause. */
static int64_t after_failure(struct followed *followed, const struct error *failure)
{
    struct error err;
    project_follow_close(followed->follow);
    followed->follow = NULL;
    if (clock_monotonic_micros() - followed->opened_at > LONG_LIFE_MICROS) {
        followed->backoff.tries = 0;
        followed->complained = false;
    }
    if (failure->code == ERROR_ABORTED) {
        (void)!project_refresh(followed->project, clock_monotonic_micros() + REFRESH_MICROS, &err); /* or the next try tells */
    } else if (!is_away(failure) && !followed->complained) {
        log_warn("follow.failed", KV_STR("project", project_id(followed->project)), KV_STR("code", error_code_name(failure->code)),
                 KV_STR("message", failure->message));
        followed->complained = true;
    }
    return failure->code == ERROR_RESOURCE_EXHAUSTED ? FULL_LOG_MICROS : backoff_next(&followed->backoff) + 1;
}

/* *pause: microseconds; false: wait to be woken. */
static bool run(struct followed *followed, int64_t *pause)
{
    struct error err;
    *pause = 0;
    if (!followed->follow) {
        followed->opened_at = clock_monotonic_micros();
        if (!project_follow_open(followed->project, on_ready, followed, &followed->follow, &err)) {
            *pause = after_failure(followed, &err);
            return true;
        }
    }
    switch (project_follow_step(followed->follow, &err)) {
    case FOLLOW_IDLE:
    case FOLLOW_HELD:
        return false;
    case FOLLOW_MORE:
        return true;
    case FOLLOW_OUTDATED:
        project_follow_close(followed->follow);
        followed->follow = NULL;
        return true;
    case FOLLOW_FAILED:
        break;
    }
    *pause = after_failure(followed, &err);
    return true;
}

/* The project may be used again from the moment that it is not in the hash. */
static void forget_locked(struct follower *follower, struct followed *followed)
{
    HASH_DEL(follower->all, followed);
    if (followed->queued)
        DL_DELETE(follower->queue, followed);
    followed->running = true; /* the last calls of on_ready only leave a mark */
    project_set_followed(followed->project, false);
    mutex_unlock(&follower->lock);
    project_follow_close(followed->follow);
    mutex_lock(&follower->lock);
    free(followed);
}

static void run_locked(struct follower *follower, struct followed *followed)
{
    int64_t pause = 0;
    bool again = false;
    DL_DELETE(follower->queue, followed);
    followed->queued = false;
    followed->running = true;
    followed->woken = false;
    if (!followed->closing) {
        mutex_unlock(&follower->lock);
        again = run(followed, &pause);
        mutex_lock(&follower->lock);
    }
    if (followed->closing) {
        forget_locked(follower, followed);
        return;
    }
    followed->running = false;
    followed->open = followed->follow != NULL;
    if (pause > 0) {
        followed->due = clock_monotonic_micros() + pause;
        look_sooner_locked(follower, followed->due);
    } else if (again || followed->woken) {
        enqueue_locked(followed);
    }
}

static void *work(void *ctx)
{
    struct follower *follower = ctx;
    mutex_lock(&follower->lock);
    while (!follower->stopping) {
        if (follower->queue)
            run_locked(follower, follower->queue);
        else if (clock_monotonic_micros() >= follower->next_look)
            look_locked(follower);
        else
            (void)condition_wait_until(&follower->changed, &follower->lock, follower->next_look);
    }
    mutex_unlock(&follower->lock);
    return NULL;
}

/* ---- all of them ------------------------------------------------------------------------------------ */

struct follower *follower_new(const struct follower_options *options)
{
    struct follower *made = mem_zalloc(sizeof *made);
    made->options = *options;
    mutex_init(&made->lock, 25);
    condition_init(&made->changed);
    made->next_look = clock_monotonic_micros() + options->idle_micros / 4 + 1000;
    made->threads = mem_alloc(options->threads * sizeof *made->threads);
    for (unsigned i = 0; i < options->threads; i++)
        made->threads[i] = thread_start("follower", work, made);
    return made;
}

void follower_free(struct follower *follower)
{
    if (!follower)
        return;
    mutex_lock(&follower->lock);
    follower->stopping = true;
    condition_broadcast(&follower->changed);
    mutex_unlock(&follower->lock);
    for (unsigned i = 0; i < follower->options.threads; i++)
        pthread_join(follower->threads[i], NULL);
    mutex_lock(&follower->lock);
    while (follower->all)
        forget_locked(follower, follower->all);
    mutex_unlock(&follower->lock);
    mutex_destroy(&follower->lock);
    condition_destroy(&follower->changed);
    free(follower->threads);
    free(follower);
}

static bool make_room_locked(struct follower *follower)
{
    struct followed *followed, *next, *oldest = NULL;
    const int64_t now = clock_monotonic_micros();
    if (HASH_COUNT(follower->all) < follower->options.max_follows)
        return true;
    if (now < follower->full_until)
        return false;
    HASH_ITER(hh, follower->all, followed, next)
    {
        followed->used_at = project_used_at(followed->project);
        if (!followed->closing && (!oldest || followed->used_at < oldest->used_at))
            oldest = followed;
    }
    if (oldest && now - oldest->used_at >= MIN_UNUSED_MICROS)
        close_soon_locked(oldest);
    else
        follower->full_until = now + FULL_MICROS;
    return oldest && oldest->closing;
}

void follower_use(struct follower *follower, struct project *project)
{
    struct followed *followed;
    if (project_note_use(project))
        return;
    mutex_lock(&follower->lock);
    HASH_FIND_PTR(follower->all, &project, followed);
    if (!followed && make_room_locked(follower)) {
        followed = mem_zalloc(sizeof *followed);
        followed->project = project;
        followed->follower = follower;
        HASH_ADD_PTR(follower->all, project, followed);
        project_set_followed(project, true);
        enqueue_locked(followed);
    }
    mutex_unlock(&follower->lock);
}

uint64_t follower_count(struct follower *follower)
{
    struct followed *followed, *next;
    uint64_t n = 0;
    mutex_lock(&follower->lock);
    HASH_ITER(hh, follower->all, followed, next)
    n += followed->open;
    mutex_unlock(&follower->lock);
    return n;
}
