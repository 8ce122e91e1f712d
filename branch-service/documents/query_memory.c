#include "branch-service/documents/query_memory.h"

static bool take(void *ctx, size_t bytes, struct error *err)
{
    struct view_cache *cache = ctx;
    struct memory_budget *budget = view_cache_budget(cache);
    uint64_t used = atomic_load_explicit(&budget->used, memory_order_relaxed);
    for (;;) {
        if (!budget->limit || (used <= budget->limit && bytes <= budget->limit - used)) {
            if (atomic_compare_exchange_weak_explicit(&budget->used, &used, used + bytes, memory_order_relaxed, memory_order_relaxed))
                return true;
        } else {
            if (!view_cache_evict(cache))
                return error_set(err, ERROR_RESOURCE_EXHAUSTED,
                                 "%zu bytes more are more memory than there is: %llu bytes are the budget, %llu in use", bytes,
                                 (unsigned long long)budget->limit, (unsigned long long)used);
            used = atomic_load_explicit(&budget->used, memory_order_relaxed);
        }
    }
}

static void give(void *ctx, size_t bytes)
{
    atomic_fetch_sub_explicit(&view_cache_budget(ctx)->used, bytes, memory_order_relaxed);
}

struct meter query_memory_meter(struct view_cache *cache)
{
    return (struct meter) { .take = take, .give = give, .ctx = cache };
}
