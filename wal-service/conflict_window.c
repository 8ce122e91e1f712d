#include "wal-service/conflict_window.h"

struct written_key {
    uint64_t hash;
    uint64_t lsn;
};

void conflict_window_init(struct conflict_window *window, size_t budget_bytes)
{
    recent_pool_init(&window->pool, budget_bytes);
}

void conflict_space_init(struct conflict_space *space, struct conflict_window *window)
{
    recent_map_init(&space->map, window ? &window->pool : NULL, sizeof(uint64_t), sizeof(struct written_key));
}

void conflict_space_destroy(struct conflict_space *space)
{
    recent_map_destroy(&space->map);
}

void conflict_space_raise_floor(struct conflict_space *space, uint64_t lsn)
{
    if (lsn > space->map.horizon)
        space->map.horizon = lsn;
}

uint64_t conflict_space_written(const struct conflict_space *space, uint64_t key_hash)
{
    const struct written_key *key = recent_map_find(&space->map, &key_hash);
    return key ? key->lsn : 0;
}

void conflict_space_write(struct conflict_space *space, uint64_t key_hash, uint64_t lsn)
{
    recent_map_put(&space->map, &(struct written_key) { key_hash, lsn });
}

void conflict_space_absorb(struct conflict_space *space, struct conflict_space *from)
{
    recent_map_put_all(&space->map, &from->map);
    recent_map_clear(&from->map);
}
