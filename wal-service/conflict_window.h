/* Which keys were written lately, and at which LSN: a space for each project, one memory budget for all.
 *
 * Says "written at L" exactly for keys written above the floor; of keys written at or below it nothing is known, so a
 * writer whose read_lsn lies below the floor has to be refused as stale. Forgetting raises the floor.
 *
 * Threads    one at a time.
 */
#ifndef ARGON_WAL_CONFLICT_WINDOW_H
#define ARGON_WAL_CONFLICT_WINDOW_H

#include "wal-service/recent_map.h"

struct conflict_window {
    struct recent_pool pool;
};

struct conflict_space {
    struct recent_map map;
};

void conflict_window_init(struct conflict_window *window, size_t budget_bytes);

/* window NULL: unbounded, for the writes of a group that is being formed. */
void conflict_space_init(struct conflict_space *space, struct conflict_window *window);
void conflict_space_destroy(struct conflict_space *space);

static inline uint64_t conflict_space_floor(const struct conflict_space *space)
{
    return space->map.horizon;
}
void conflict_space_raise_floor(struct conflict_space *space, uint64_t lsn);

/* The key is about to be asked for. */
static inline void conflict_space_prefetch(const struct conflict_space *space, uint64_t key_hash)
{
    recent_map_prefetch(&space->map, &key_hash);
}

/* LSN of the key's last write above the floor; 0: none. */
uint64_t conflict_space_written(const struct conflict_space *space, uint64_t key_hash);
/* In LSN order. */
void conflict_space_write(struct conflict_space *space, uint64_t key_hash, uint64_t lsn);
/* Moves all writes of `from` over; it is empty then. */
void conflict_space_absorb(struct conflict_space *space, struct conflict_space *from);

#endif
