/* The store tells one branch, or one page of them, at a time, and goes on meanwhile. So the head is asked before (h) and
 * after (H): what was told is at least the state at h and at most that at H, and the batches in (h, H], which are few and
 * were written a moment ago, make it the state at H. */
#include "wal-service/branch_heads.h"

#include <stdlib.h>

enum { MAX_TRIES = 16 };

struct told_head {
    struct bytes id;
    uint64_t lsn;
    size_t place;
};

struct told_heads {
    struct told_head *heads; /* by id */
    size_t n;
    /* pages: an id in (after, last] that was not told, or behind `after` when there is no last */
    struct bytes after, last;
    bool whole, open_end;
    bool appeared;
};

static int compare_told(const void *a, const void *b)
{
    return bytes_compare(((const struct told_head *)a)->id, ((const struct told_head *)b)->id);
}

static size_t first_at(const struct told_heads *told, struct bytes id)
{
    size_t low = 0, high = told->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (bytes_compare(told->heads[middle].id, id) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

static bool raise_heads(void *ctx, const struct frame *frame, struct error *err)
{
    (void)err;
    struct told_heads *told = ctx;
    uint64_t lsn = frame_last_lsn(frame);
    for (size_t r = 0, first = 0; r < frame->n_runs; r++) {
        struct bytes id = frame->runs[r].branch_id;
        first = first_at(told, id);
        bool found = false;
        for (size_t i = first; i < told->n && bytes_equal(told->heads[i].id, id); i++) {
            found = true;
            if (lsn > told->heads[i].lsn)
                told->heads[i].lsn = lsn;
        }
        if (!found && told->whole && bytes_compare(id, told->after) > 0 && (told->open_end || bytes_compare(id, told->last) < 0))
            told->appeared = true;
    }
    return true;
}

static uint64_t head_of(struct log_store *store, struct bytes project)
{
    struct log_head head;
    log_store_head(store, project, &head);
    return head.lsn;
}

/* Makes what was told since the head was at `before` the state at *commit_lsn. */
static bool settle(struct log_store *store, struct bytes project, uint64_t before, struct told_heads *told, uint64_t *commit_lsn,
                   struct error *err)
{
    uint64_t head = head_of(store, project);
    struct log_range range = { .project = project, .after = before, .through = head };
    if (head > before && !log_store_scan(store, &range, raise_heads, told, err))
        return false;
    *commit_lsn = head;
    return true;
}

static bool exhausted(struct error *err)
{
    return error_set(err, ERROR_RESOURCE_EXHAUSTED, "no memory for the heads of branches");
}

bool branch_heads_of(struct log_store *store, struct bytes project, const struct bytes *ids, size_t n, struct arena *arena,
                     uint64_t *last_lsns, uint64_t *commit_lsn, struct error *err)
{
    struct told_heads told = { .n = n, .heads = arena_alloc(arena, n * sizeof *told.heads) };
    uint64_t before = head_of(store, project), head;
    if (!told.heads)
        return exhausted(err);
    for (size_t i = 0; i < n; i++)
        told.heads[i] = (struct told_head) { ids[i], log_store_branch_head(store, project, ids[i]), i };
    qsort(told.heads, n, sizeof *told.heads, compare_told);
    if (!settle(store, project, before, &told, &head, err))
        return false;
    for (size_t i = 0; i < n; i++)
        last_lsns[told.heads[i].place] = told.heads[i].lsn;
    *commit_lsn = head;
    return true;
}

bool branch_heads_page(struct log_store *store, struct bytes project, struct bytes after, size_t max, struct arena *arena,
                       struct branch_page *page, struct error *err)
{
    struct log_branch *branches = arena_alloc(arena, (max + 1) * sizeof *branches);
    struct told_heads told = { .whole = true, .after = after, .heads = arena_alloc(arena, max * sizeof *told.heads) };
    if (!branches || !told.heads)
        return exhausted(err);
    for (int i = 0; i < MAX_TRIES; i++) {
        struct branch_page found = { .branches = branches };
        uint64_t before = head_of(store, project);
        if (!log_store_list_branches(store, project, after, max + 1, arena, branches, &found.n, err))
            return false;
        found.more = found.n > max;
        found.n -= found.more;
        for (size_t b = 0; b < found.n; b++)
            told.heads[b] = (struct told_head) { branches[b].id, branches[b].last_lsn, b };
        told.n = found.n;
        told.open_end = !found.more;
        told.last = found.more ? branches[found.n - 1].id : (struct bytes) { 0 };
        told.appeared = false;
        if (!settle(store, project, before, &told, &found.commit_lsn, err))
            return false;
        if (told.appeared)
            continue;
        for (size_t b = 0; b < found.n; b++)
            branches[b].last_lsn = told.heads[b].lsn;
        *page = found;
        return true;
    }
    return error_set(err, ERROR_UNAVAILABLE, "branches appear too fast to be listed");
}
