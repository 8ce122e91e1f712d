#include "branch-service/documents/query_memory.h"

void query_memory_return(struct view_cache *cache, uint64_t bytes)
{
    atomic_fetch_sub_explicit(&view_cache_budget(cache)->used, bytes, memory_order_relaxed);
}

bool query_memory_charge(struct view_cache *cache, int64_t bytes, struct error *err)
{
    struct memory_budget *budget = view_cache_budget(cache);
    if (bytes <= 0) {
        query_memory_return(cache, (uint64_t)-bytes);
        return true;
    }
    atomic_fetch_add_explicit(&budget->used, (uint64_t)bytes, memory_order_relaxed);
    while (budget->limit && atomic_load_explicit(&budget->used, memory_order_relaxed) > budget->limit) {
        if (!view_cache_evict(cache))
            return error_set(
                err, ERROR_RESOURCE_EXHAUSTED, "the query needs more memory than there is: %llu bytes are the budget, %llu in use",
                (unsigned long long)budget->limit, (unsigned long long)atomic_load_explicit(&budget->used, memory_order_relaxed));
    }
    return true;
}
