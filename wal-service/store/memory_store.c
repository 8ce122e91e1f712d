/* A log store in memory, for tests: the same index over groups that are kept as they were encoded. At most 4 GiB. */
#include <stdlib.h>

#include "common/base/memory.h"
#include "common/base/random.h"
#include "wal-service/store/log_index.h"
#include "wal-service/store/log_store.h"

enum { FRAMES_A_PIECE = 256 };

/* The index takes all of them for one segment. */
struct memory_group {
    uint64_t start;
    struct bytes bytes;
};

struct memory_store {
    struct log_store base;
    struct log_index index;
    memory_store_hook_fn *before_append;
    void *hook_ctx;
    bool in_hook;
    struct mutex lock;           /* rank 42 */
    struct memory_group *groups; /* under lock; what they point to never changes */
    uint32_t n_groups, capacity;
    uint64_t bytes; /* under lock */
};

static struct memory_store *memory_store_of(struct log_store *store)
{
    return (struct memory_store *)store;
}

/* Where the next group will begin. */
static uint64_t end_of_groups(struct memory_store *memory)
{
    mutex_lock(&memory->lock);
    const struct memory_group *last = memory->n_groups ? &memory->groups[memory->n_groups - 1] : NULL;
    uint64_t end = last ? last->start + last->bytes.len : 0;
    mutex_unlock(&memory->lock);
    return end;
}

/* Takes the buffer's memory over. */
static void keep_group(struct memory_store *memory, uint64_t start, struct buffer *group)
{
    mutex_lock(&memory->lock);
    if (memory->n_groups == memory->capacity) {
        memory->capacity = memory->capacity ? 2 * memory->capacity : 16;
        memory->groups = mem_realloc(memory->groups, memory->capacity * sizeof memory->groups[0]);
    }
    memory->groups[memory->n_groups++] = (struct memory_group) { start, buffer_bytes(group) };
    memory->bytes += group->capacity;
    mutex_unlock(&memory->lock);
    *group = (struct buffer) { 0 };
}

static enum append_outcome memory_append(struct log_store *store, const struct frame *frames, size_t n, struct error *err)
{
    struct memory_store *memory = memory_store_of(store);
    if (memory->before_append && !memory->in_hook) {
        memory->in_hook = true;
        memory->before_append(memory->hook_ctx, store);
        memory->in_hook = false;
    }
    struct buffer group = { 0 };
    for (size_t i = 0; i < n; i++)
        if (!frame_check(&frames[i], err))
            return APPEND_REFUSED;
    if (!log_index_claim(&memory->index, frames, n))
        return APPEND_HEAD_MOVED;
    if (n == 0)
        return APPEND_COMMITTED;
    for (size_t i = 0; i < n; i++)
        frame_encode(&frames[i], &group);
    uint64_t start = end_of_groups(memory);
    if (group.failed || start + group.len > UINT32_MAX) {
        buffer_destroy(&group);
        error_set(err, ERROR_RESOURCE_EXHAUSTED, "no memory for a group of %zu batches", n);
        return APPEND_REFUSED;
    }
    keep_group(memory, start, &group);
    log_index_publish(&memory->index, frames, n, (uint32_t)start, 0);
    return APPEND_COMMITTED;
}

static bool memory_vouch(struct log_store *store, struct error *err)
{
    (void)store;
    (void)err;
    return true;
}

static void memory_head(struct log_store *store, struct bytes project, struct log_head *head)
{
    log_index_head(&memory_store_of(store)->index, project, head);
}

static uint64_t memory_branch_head(struct log_store *store, struct bytes project, struct bytes branch_id)
{
    return log_index_branch_head(&memory_store_of(store)->index, project, branch_id);
}

static uint64_t memory_batch_end(struct log_store *store, struct bytes project, uint64_t lsn)
{
    return log_index_batch_end(&memory_store_of(store)->index, project, lsn);
}

static void memory_find_time(struct log_store *store, struct bytes project, uint64_t micros, struct log_head *found)
{
    log_index_find_time(&memory_store_of(store)->index, project, micros, found);
}

static bool memory_list_branches(struct log_store *store, struct bytes project, struct bytes after, size_t max, struct arena *arena,
                                 struct log_branch *branches, size_t *n, struct error *err)
{
    return log_index_list_branches(&memory_store_of(store)->index, project, after, max, arena, branches, n, err);
}

static struct bytes stored_frame(struct memory_store *memory, struct frame_place place)
{
    mutex_lock(&memory->lock);
    uint32_t low = 0, high = memory->n_groups;
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        if (memory->groups[middle].start <= place.offset)
            low = middle;
        else
            high = middle;
    }
    struct memory_group group = memory->groups[low];
    mutex_unlock(&memory->lock);
    return bytes_of(group.bytes.data + (place.offset - group.start), place.length);
}

static bool memory_scan(struct log_store *store, const struct log_range *range, frame_visit_fn *visit, void *ctx, struct error *err)
{
    struct memory_store *memory = memory_store_of(store);
    struct frame_scratch scratch = { 0 };
    struct indexed_frame piece[FRAMES_A_PIECE];
    struct log_head head;
    log_index_head(&memory->index, range->project, &head);
    struct log_range left = *range;
    if (left.through > head.lsn)
        left.through = head.lsn;
    struct error failure = { 0 };
    bool going = true;
    size_t n;
    while (going && (n = log_index_collect(&memory->index, &left, piece, FRAMES_A_PIECE)) > 0) {
        for (size_t i = 0; i < n && going; i++) {
            struct frame frame;
            size_t size;
            going = frame_decode(stored_frame(memory, piece[i].place), &frame, &size, &scratch, &failure) &&
                    (!log_range_matches(range, &frame) || visit(ctx, &frame, &failure));
        }
        left.after = piece[n - 1].last_lsn;
    }
    frame_scratch_destroy(&scratch);
    if (failure.code != ERROR_OK && err)
        *err = failure;
    return failure.code == ERROR_OK;
}

static void memory_incarnation(struct log_store *store, uint8_t out[INCARNATION_BYTES])
{
    log_index_incarnation(&memory_store_of(store)->index, out);
}

static uint64_t memory_known_through(struct log_store *store, struct bytes project, const uint8_t incarnation[INCARNATION_BYTES])
{
    return log_index_known_through(&memory_store_of(store)->index, project, incarnation);
}

static void memory_stats(struct log_store *store, struct log_store_stats *stats)
{
    struct memory_store *memory = memory_store_of(store);
    struct log_store_stats found = { 0 };
    log_index_stats(&memory->index, &found);
    mutex_lock(&memory->lock);
    found.groups = memory->n_groups;
    found.memory_bytes += memory->bytes;
    mutex_unlock(&memory->lock);
    *stats = found;
}

static void memory_close(struct log_store *store)
{
    struct memory_store *memory = memory_store_of(store);
    for (uint32_t i = 0; i < memory->n_groups; i++)
        free((void *)memory->groups[i].bytes.data);
    free(memory->groups);
    log_index_destroy(&memory->index);
    mutex_destroy(&memory->lock);
    free(memory);
}

static const struct log_store_ops memory_ops = {
    .append = memory_append,
    .vouch = memory_vouch,
    .head = memory_head,
    .branch_head = memory_branch_head,
    .batch_end = memory_batch_end,
    .find_time = memory_find_time,
    .list_branches = memory_list_branches,
    .scan = memory_scan,
    .incarnation = memory_incarnation,
    .known_through = memory_known_through,
    .stats = memory_stats,
    .close = memory_close,
};

struct log_store *memory_store_new(memory_store_hook_fn *before_append, void *ctx)
{
    struct memory_store *memory = mem_zalloc(sizeof *memory);
    uint8_t incarnation[INCARNATION_BYTES];
    memory->base.ops = &memory_ops;
    memory->before_append = before_append;
    memory->hook_ctx = ctx;
    mutex_init(&memory->lock, 42);
    log_index_init(&memory->index);
    random_bytes(incarnation, sizeof incarnation);
    log_index_begin_incarnation(&memory->index, incarnation);
    log_index_begin_segment(&memory->index, 0);
    return &memory->base;
}
