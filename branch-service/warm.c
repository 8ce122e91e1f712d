#include "branch-service/warm.h"

#include <stdlib.h>

#include "common/base/clock.h"
#include "common/base/memory.h"
#include "common/base/sync.h"

enum { WARM_THREADS = 4, WARM_TELL_MICROS = 100000 };

struct warm {
    struct registry *registry;
    const char *project;
    const char *branch;
    const char **names;
    size_t n;
    struct read_options read;

    struct mutex lock; /* rank 5; covers what is below */
    struct condition changed;
    size_t next;
    size_t running;
    bool stop;
    bool failed;
    struct error failure;
    struct warm_progress *done; /* in the order of finishing */
    size_t n_done;
};

static void *build(void *ctx)
{
    struct warm *warm = ctx;
    mutex_lock(&warm->lock);
    while (!warm->stop && !warm->failed && warm->next < warm->n) {
        const char *name = warm->names[warm->next++];
        struct target target = { 0 };
        struct error err;
        mutex_unlock(&warm->lock);
        bool ok = collections_open(warm->registry, warm->project, warm->branch, name, &warm->read, &target, &err);
        struct warm_progress progress = { .collection = name };
        if (ok && target.documents) {
            progress.documents = tree_count(target.documents);
            progress.bytes = tree_document_bytes(target.documents);
        }
        target_destroy(&target);
        mutex_lock(&warm->lock);
        if (ok) {
            warm->done[warm->n_done++] = progress;
        } else if (!warm->failed) {
            warm->failed = true;
            warm->failure = err;
        }
        condition_broadcast(&warm->changed);
    }
    warm->running--;
    condition_broadcast(&warm->changed);
    mutex_unlock(&warm->lock);
    return NULL;
}

/* Until all threads have ended, and everything that they finished was told. */
static void tell_progress(struct warm *warm, uint64_t lsn, warm_tell_fn *tell, void *ctx)
{
    size_t told = 0;
    mutex_lock(&warm->lock);
    while (warm->running > 0 || told < warm->n_done) {
        int64_t next = clock_monotonic_micros() + WARM_TELL_MICROS;
        while (warm->running > 0 && condition_wait_until(&warm->changed, &warm->lock, next)) {}
        size_t n_done = warm->n_done;
        bool listening = !warm->stop;
        mutex_unlock(&warm->lock);
        if (listening)
            listening = tell(ctx, n_done > told ? lsn : 0, warm->done + told, n_done - told);
        told = n_done;
        mutex_lock(&warm->lock);
        warm->stop = warm->stop || !listening;
    }
    mutex_unlock(&warm->lock);
}

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

static bool check_names(const struct target *target, const char *branch, const char *const *names, size_t n, struct arena *arena,
                        struct error *err)
{
    for (size_t i = 0; i < n; i++) {
        struct bytes key;
        struct tree_item item;
        if (!catalog_key(names[i], arena, &key, err))
            return false;
        if (!target->collections || !tree_get(target->collections, key, &item))
            return error_set(err, ERROR_NOT_FOUND, "collection '%s' does not exist on branch '%s'", names[i], branch);
    }
    return true;
}

bool warm_branch(struct registry *registry, const char *project, const char *branch, const char *const *collections, size_t n,
                 const struct read_options *read, warm_tell_fn *tell, void *ctx, struct error *err)
{
    struct warm warm = { .registry = registry, .project = project, .branch = branch, .names = (const char **)collections, .n = n };
    struct target target;
    struct arena arena;
    if (!collections_open(registry, project, branch, NULL, read, &target, err))
        return false;
    arena_init(&arena, 0);
    bool ok = n > 0 ? check_names(&target, branch, collections, n, &arena, err) : list_names(&target, &arena, &warm.names, &warm.n, err);
    uint64_t lsn = target.lsn;
    target_destroy(&target);
    if (ok && warm.n == 0) {
        ok = tell(ctx, lsn, NULL, 0) || error_set(err, ERROR_CANCELLED, "nobody listens any more");
    } else if (ok) {
        pthread_t threads[WARM_THREADS];
        size_t n_threads = warm.n < WARM_THREADS ? warm.n : WARM_THREADS;
        /* a state of the past is that one for all; the head's views may be later, and serve readers of the head */
        bool past = read->as_of_lsn || read->as_of_time;
        warm.read =
            (struct read_options) { .as_of_lsn = past ? lsn : 0, .stale_ok = !past, .min_lsn = past ? 0 : lsn, .deadline = read->deadline };
        mutex_init(&warm.lock, 5);
        condition_init(&warm.changed);
        warm.done = mem_zalloc(warm.n * sizeof *warm.done);
        warm.running = n_threads;
        for (size_t i = 0; i < n_threads; i++)
            threads[i] = thread_start("warm", build, &warm);
        tell_progress(&warm, lsn, tell, ctx);
        for (size_t i = 0; i < n_threads; i++)
            pthread_join(threads[i], NULL);
        if (warm.failed) {
            *err = warm.failure;
            ok = false;
        } else if (warm.stop) {
            ok = error_set(err, ERROR_CANCELLED, "nobody listens any more");
        }
        condition_destroy(&warm.changed);
        mutex_destroy(&warm.lock);
        free(warm.done);
    }
    arena_destroy(&arena);
    return ok;
}
