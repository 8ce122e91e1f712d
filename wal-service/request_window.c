#include "wal-service/request_window.h"

#include <assert.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

_Static_assert(sizeof(struct request_mark) == 32, "the budget of the request window counts on it");

static void hash_id(const struct request_space *space, struct bytes id, uint64_t out[2])
{
    XXH128_hash_t hash = XXH3_128bits_withSeed(id.data, id.len, space->seed);
    out[0] = hash.low64;
    out[1] = hash.high64;
}

static uint32_t check_of_hash(const struct request_space *space, struct bytes hash)
{
    return (uint32_t)XXH3_64bits_withSeed(hash.data, hash.len, ~space->seed);
}

void request_window_init(struct request_window *window, size_t budget_bytes, uint64_t seed)
{
    recent_pool_init(&window->pool, budget_bytes);
    window->seed = seed;
}

void request_space_init(struct request_space *space, struct request_window *window, bool bounded)
{
    recent_map_init(&space->map, bounded ? &window->pool : NULL, sizeof((struct request_mark *)0)->id, sizeof(struct request_mark));
    space->seed = window->seed;
}

void request_space_destroy(struct request_space *space)
{
    recent_map_destroy(&space->map);
}

const struct request_mark *request_space_find(const struct request_space *space, struct bytes id)
{
    uint64_t key[2];
    hash_id(space, id, key);
    return recent_map_find(&space->map, key);
}

bool request_mark_has_hash(const struct request_space *space, const struct request_mark *mark, struct bytes hash)
{
    return mark->check == check_of_hash(space, hash);
}

void request_space_add(struct request_space *space, const struct request_step *step, uint64_t lsn)
{
    assert(step->step <= MAX_REQUEST_STEP);
    struct request_mark mark = {
        .lsn = lsn,
        .check = check_of_hash(space, step->hash),
        .step = step->step & MAX_REQUEST_STEP,
        .last = step->last,
    };
    hash_id(space, step->id, mark.id);
    recent_map_put(&space->map, &mark);
}

void request_space_absorb(struct request_space *space, struct request_space *from)
{
    recent_map_put_all(&space->map, &from->map);
    recent_map_clear(&from->map);
}
