#include "branch-service/wal_watch.h"

#include <stdlib.h>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/memory.h"
#include "common/base/sync.h"

enum { PERIOD_MICROS = MICROS_PER_SECOND };

struct wal_watch {
    struct wal_watch_options options;
    pthread_t thread;
    bool there; /* the thread's */

    struct mutex lock; /* rank 24; covers the rest */
    struct condition stop;
    bool stopping;
    bool reachable;
    int64_t answered_at; /* or the start */
};

static bool ask(struct wal_watch *watch, struct error *err)
{
    struct arena arena;
    struct log_status status;
    arena_init(&arena, 0);
    bool answered = log_source_status(watch->options.log, clock_monotonic_micros() + PERIOD_MICROS, &arena, &status, err);
    arena_destroy(&arena);
    mutex_lock(&watch->lock);
    watch->reachable = answered;
    if (answered)
        watch->answered_at = clock_monotonic_micros();
    mutex_unlock(&watch->lock);
    return answered;
}

static void set_there(struct wal_watch *watch, bool there)
{
    watch->there = there;
    watch->options.changed(watch->options.ctx, there);
}

static void look(struct wal_watch *watch)
{
    struct error err;
    bool reachable, answered = ask(watch, &err);
    if (answered && !watch->there) {
        set_there(watch, true);
        log_info("wal.reachable", KV_STR("wal", log_source_target(watch->options.log)));
    } else if (!answered && watch->there && wal_watch_silence(watch, &reachable) >= watch->options.away_micros) {
        set_there(watch, false);
        log_error("wal.away", KV_STR("wal", log_source_target(watch->options.log)), KV_ERR(&err));
    }
}

/* False: stopping. */
static bool pause(struct wal_watch *watch)
{
    int64_t until = clock_monotonic_micros() + PERIOD_MICROS;
    mutex_lock(&watch->lock);
    while (!watch->stopping && condition_wait_until(&watch->stop, &watch->lock, until))
        ;
    bool stopping = watch->stopping;
    mutex_unlock(&watch->lock);
    return !stopping;
}

static void *run(void *ctx)
{
    struct wal_watch *watch = ctx;
    while (pause(watch))
        look(watch);
    return NULL;
}

struct wal_watch *wal_watch_start(const struct wal_watch_options *options)
{
    struct wal_watch *watch = mem_zalloc(sizeof *watch);
    struct error err;
    watch->options = *options;
    watch->answered_at = clock_monotonic_micros();
    mutex_init(&watch->lock, 24);
    condition_init(&watch->stop);
    set_there(watch, ask(watch, &err));
    if (!watch->there)
        log_warn("wal.away", KV_STR("wal", log_source_target(options->log)), KV_ERR(&err));
    watch->thread = thread_start("wal-watch", run, watch);
    return watch;
}

void wal_watch_stop(struct wal_watch *watch)
{
    if (!watch)
        return;
    mutex_lock(&watch->lock);
    watch->stopping = true;
    condition_signal(&watch->stop);
    mutex_unlock(&watch->lock);
    pthread_join(watch->thread, NULL);
    condition_destroy(&watch->stop);
    mutex_destroy(&watch->lock);
    free(watch);
}

int64_t wal_watch_silence(struct wal_watch *watch, bool *reachable)
{
    mutex_lock(&watch->lock);
    int64_t answered_at = watch->answered_at;
    *reachable = watch->reachable;
    mutex_unlock(&watch->lock);
    return clock_monotonic_micros() - answered_at;
}
