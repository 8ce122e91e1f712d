#include "branch-service/branches/warm.h"

#include <stdlib.h>
#include <utlist.h>

#include "branch-service/view/materialize.h"
#include "common/base/backoff.h"
#include "common/base/clock.h"
#include "common/base/memory.h"
#include "common/base/sync.h"

struct warmer {
    struct mutex lock; /* rank 5; covers what is below, and of a warm what says so */
    struct condition changed;
    struct warm *waiting; /* those with collections that nobody has begun, in the order of their turns */
    uint64_t building;
    bool stopping;
    size_t n_threads;
    pthread_t threads[];
};

struct item {
    struct warm_progress progress;
    bool moved; /* since it was taken */
};

struct warm {
    struct warmer *warmer;
    struct project *project;
    const char *branch;
    uint64_t lsn;
    bool past; /* views at lsn; else at the head, which may be later and serves its readers */
    uint64_t begun;
    int64_t deadline;
    struct arena arena;

    /* under the warmer's lock */
    void (*ready)(void *ctx); /* NULL: it was closed */
    void *ctx;
    int64_t told;
    struct item *items;
    size_t n, next, n_done;
    size_t building;
    bool failed;
    struct error failure;
    struct warm *prev, *following;
};

/* ---- one collection --------------------------------------------------------------------------------- */

static void tell_locked(struct warm *warm)
{
    warm->told = clock_monotonic_micros();
    if (warm->ready)
        warm->ready(warm->ctx);
}

struct building {
    struct warm *warm;
    struct item *item;
};

static bool observe(void *ctx, uint64_t entries)
{
    const struct building *building = ctx;
    struct warm *warm = building->warm;
    struct item *item = building->item;
    mutex_lock(&warm->warmer->lock);
    if (entries > item->progress.entries) { /* a build that began anew begins at 0 */
        item->progress.entries = entries;
        item->moved = true;
    }
    if (clock_monotonic_micros() - warm->told >= WARM_TELL_MICROS)
        tell_locked(warm);
    bool wanted = warm->ready && !warm->failed && !warm->warmer->stopping;
    mutex_unlock(&warm->warmer->lock);
    return wanted;
}

/* The log began a new incarnation while it was read. Asks in short steps, so that it stops soon. */
static bool look_again(struct warm *warm, struct replay_observer *observer, struct backoff *backoff, struct error *err)
{
    struct project_catalog catalog;
    for (;;) {
        if (!backoff_wait(backoff, warm->deadline))
            return error_set(err, ERROR_DEADLINE_EXCEEDED, "deadline passed while the log began anew");
        int64_t until = clock_monotonic_micros() + LOG_WANTED_MICROS;
        if (until > warm->deadline)
            until = warm->deadline;
        if (project_refresh(warm->project, until, err))
            break;
        if (err->code != ERROR_UNAVAILABLE && err->code != ERROR_DEADLINE_EXCEEDED)
            return false;
        if (!observer->observe(observer->ctx, 0))
            return error_set(err, ERROR_CANCELLED, "the view is not wanted any more");
    }
    project_catalog(warm->project, &catalog);
    bool replaced = catalog.begun != warm->begun;
    project_catalog_destroy(&catalog);
    if (warm->past && replaced)
        return error_set(err, ERROR_ABORTED, "the log was replaced, and the state at LSN %llu with it", (unsigned long long)warm->lsn);
    return true;
}

static bool open_view(struct warm *warm, struct item *item, struct target *target, struct error *err)
{
    struct building building = { warm, item };
    struct replay_observer observer = { .observe = observe, .ctx = &building };
    struct backoff backoff = { 0 };
    for (;;) {
        if (project_open_observed(warm->project, warm->branch, item->progress.collection, warm->past ? warm->lsn : 0, warm->deadline,
                                  &observer, target, err))
            return true;
        if (err->code != ERROR_ABORTED || !look_again(warm, &observer, &backoff, err))
            return false;
    }
}

static void free_warm(struct warm *warm)
{
    arena_destroy(&warm->arena);
    free(warm->items);
    free(warm);
}

static void dequeue_locked(struct warm *warm)
{
    if (warm->next < warm->n)
        DL_DELETE2(warm->warmer->waiting, warm, prev, following);
    warm->next = warm->n;
}

static void build_locked(struct warm *warm, struct item *item)
{
    struct warmer *warmer = warm->warmer;
    struct target target = { 0 };
    struct error err;
    warm->building++;
    warmer->building++;
    mutex_unlock(&warmer->lock);
    bool ok = open_view(warm, item, &target, &err);
    struct warm_progress *progress = &item->progress;
    uint64_t documents = ok && target.documents ? tree_count(target.documents) : 0;
    uint64_t bytes = ok && target.documents ? tree_document_bytes(target.documents) : 0;
    target_destroy(&target);
    mutex_lock(&warmer->lock);
    warmer->building--;
    warm->building--;
    if (ok) {
        progress->documents = documents;
        progress->bytes = bytes;
        progress->done = item->moved = true;
        warm->n_done++;
    } else if (!warm->failed) {
        warm->failed = true;
        warm->failure = err;
        dequeue_locked(warm);
    }
    if (!warm->ready) {
        if (!warm->building)
            free_warm(warm); /* it was closed, and this was the last */
    } else if (warm->failed || warm->n_done == warm->n || clock_monotonic_micros() - warm->told >= WARM_TELL_MICROS) {
        tell_locked(warm);
    }
}

/* ---- the threads ------------------------------------------------------------------------------------ */

static void *run(void *ctx)
{
    struct warmer *warmer = ctx;
    mutex_lock(&warmer->lock);
    for (;;) {
        struct warm *warm = warmer->waiting;
        if (warmer->stopping)
            break;
        if (!warm) {
            condition_wait(&warmer->changed, &warmer->lock);
            continue;
        }
        DL_DELETE2(warmer->waiting, warm, prev, following);
        struct item *item = &warm->items[warm->next++];
        if (warm->next < warm->n)
            DL_APPEND2(warmer->waiting, warm, prev, following);
        build_locked(warm, item);
    }
    mutex_unlock(&warmer->lock);
    return NULL;
}

struct warmer *warmer_new(size_t n_threads)
{
    struct warmer *warmer = mem_zalloc(sizeof *warmer + n_threads * sizeof warmer->threads[0]);
    mutex_init(&warmer->lock, 5);
    condition_init(&warmer->changed);
    warmer->n_threads = n_threads;
    for (size_t i = 0; i < n_threads; i++)
        warmer->threads[i] = thread_start("warm", run, warmer);
    return warmer;
}

void warmer_free(struct warmer *warmer)
{
    if (!warmer)
        return;
    mutex_lock(&warmer->lock);
    warmer->stopping = true;
    condition_broadcast(&warmer->changed);
    mutex_unlock(&warmer->lock);
    for (size_t i = 0; i < warmer->n_threads; i++)
        pthread_join(warmer->threads[i], NULL);
    condition_destroy(&warmer->changed);
    mutex_destroy(&warmer->lock);
    free(warmer);
}

uint64_t warmer_building(struct warmer *warmer)
{
    mutex_lock(&warmer->lock);
    uint64_t building = warmer->building;
    mutex_unlock(&warmer->lock);
    return building;
}

/* ---- calls ------------------------------------------------------------------------------------------ */

static bool list_names(const struct target *target, struct arena *arena, const char ***names, size_t *n, struct error *err)
{
    struct tree_cursor cursor;
    struct tree_item item;
    size_t count = target->collections ? tree_count(target->collections) : 0;
    const char **made = arena_alloc(arena, (count + 1) * sizeof *made);
    if (!made)
        return error_out_of_memory(err);
    *n = 0;
    if (count)
        tree_cursor_seek(&cursor, target->collections, (struct bytes) { 0 });
    while (*n < count && tree_cursor_next(&cursor, &item)) {
        struct collection_record record;
        if (!catalog_decode_collection(item.document, &record, err))
            return false;
        made[*n] = arena_strdup(arena, record.name);
        if (!made[(*n)++])
            return error_out_of_memory(err);
    }
    *names = made;
    return true;
}

/* Each once, however often it was named. */
static bool check_names(const struct target *target, const struct warm_options *options, struct arena *arena, const char ***names,
                        size_t *n, struct error *err)
{
    const char **made = arena_alloc(arena, options->n_collections * sizeof *made);
    if (!made)
        return error_out_of_memory(err);
    *n = 0;
    for (size_t i = 0; i < options->n_collections; i++) {
        const char *name = options->collections[i];
        struct bytes key;
        struct tree_item item;
        if (!catalog_key(name, arena, &key, err))
            return false;
        if (!target->collections || !tree_get(target->collections, key, &item))
            return error_set(err, ERROR_NOT_FOUND, "collection '%s' does not exist on branch '%s'", name, options->branch);
        size_t k = 0;
        while (k < *n && strcmp(made[k], name) != 0)
            k++;
        if (k < *n)
            continue;
        made[*n] = arena_strdup(arena, name);
        if (!made[(*n)++])
            return error_out_of_memory(err);
    }
    *names = made;
    return true;
}

/* Of the log as it is when the catalog is read: with the project, and how often its log was begun, as before. */
static bool open_catalog(struct warm *warm, struct registry *registry, const struct warm_options *options, struct target *target,
                         struct error *err)
{
    const int64_t deadline = options->read.deadline;
    struct project *now;
    for (;;) {
        struct project_catalog catalog;
        if (!registry_find_known(registry, options->project, deadline, &warm->project, err))
            return false;
        project_catalog(warm->project, &catalog);
        warm->begun = catalog.begun;
        project_catalog_destroy(&catalog);
        if (!collections_open(registry, options->project, options->branch, NULL, &options->read, target, err))
            return false;
        if (registry_find_known(registry, options->project, deadline, &now, err) && now == warm->project)
            return true;
        target_destroy(target); /* the name is another project's by now */
    }
}

static bool plan(struct warm *warm, struct registry *registry, const struct warm_options *options, struct error *err)
{
    struct target target;
    const char **names = NULL;
    if (!open_catalog(warm, registry, options, &target, err))
        return false;
    warm->lsn = target.lsn;
    warm->past = options->read.as_of_lsn || options->read.as_of_time;
    warm->deadline = options->deadline;
    warm->branch = arena_strdup(&warm->arena, options->branch);
    bool ok = (warm->branch || error_out_of_memory(err)) &&
              (options->n_collections > 0 ? check_names(&target, options, &warm->arena, &names, &warm->n, err)
                                          : list_names(&target, &warm->arena, &names, &warm->n, err));
    target_destroy(&target);
    if (!ok)
        return false;
    warm->items = mem_zalloc((warm->n + 1) * sizeof *warm->items);
    for (size_t i = 0; i < warm->n; i++)
        warm->items[i] = (struct item) { .progress = { .collection = names[i] }, .moved = true };
    return true;
}

bool warm_open(struct registry *registry, const struct warm_options *options, void (*ready)(void *ctx), void *ctx, struct warm **warm,
               struct error *err)
{
    struct warm *made = mem_zalloc(sizeof *made);
    struct warmer *warmer = registry_warmer(registry);
    made->warmer = warmer;
    made->ready = ready;
    made->ctx = ctx;
    arena_init(&made->arena, 0);
    if (!plan(made, registry, options, err)) {
        free_warm(made);
        return false;
    }
    *warm = made;
    mutex_lock(&warmer->lock);
    if (made->n > 0)
        DL_APPEND2(warmer->waiting, made, prev, following);
    condition_broadcast(&warmer->changed);
    mutex_unlock(&warmer->lock);
    return true;
}

void warm_close(struct warm *warm)
{
    struct mutex *lock = &warm->warmer->lock;
    mutex_lock(lock);
    dequeue_locked(warm);
    warm->ready = NULL;
    if (!warm->building)
        free_warm(warm);
    mutex_unlock(lock);
}

bool warm_take(struct warm *warm, struct arena *arena, struct warm_part *part, struct error *err)
{
    bool ok = true;
    *part = (struct warm_part) { .lsn = warm->lsn };
    mutex_lock(&warm->warmer->lock);
    part->progress = arena_alloc(arena, (warm->n + 1) * sizeof *part->progress);
    if (warm->failed) {
        *err = warm->failure;
        ok = false;
    } else if (!part->progress) {
        ok = error_out_of_memory(err);
    }
    for (size_t i = 0; ok && i < warm->n; i++) {
        if (!warm->items[i].moved)
            continue;
        warm->items[i].moved = false;
        part->progress[part->n++] = warm->items[i].progress;
    }
    part->over = ok && warm->n_done == warm->n;
    mutex_unlock(&warm->warmer->lock);
    return ok;
}
