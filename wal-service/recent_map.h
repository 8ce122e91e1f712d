/* Fixed-size records found by key and forgotten oldest first, within a budget that many maps share.
 *
 * A record begins with its key (8 or 16 bytes that are hashes already, so evenly spread), then the LSN at which it was
 * written, then what the user likes. Records are put in LSN order. Putting a key again supersedes the older record.
 * When a pool is over its budget, the largest of its maps forgets its oldest records: a map that holds no more than an
 * equal share of the budget loses nothing to the others.
 *
 *     blocks  [o o x o | x o o o | o . . .]     x: superseded; swept out when they are the majority
 *     index    key -> number of the record that counts
 *
 * Ownership  maps are owned by their users; a pool links them, and must outlive them.
 * Threads    one at a time for all maps of a pool; concurrent finds are fine.
 */
#ifndef ARGON_WAL_RECENT_MAP_H
#define ARGON_WAL_RECENT_MAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

struct recent_map;

struct recent_pool {
    size_t budget; /* bytes; 0: none */
    size_t bytes;
    size_t records; /* found by find, in all maps */
    size_t largest; /* no map has more bytes */
    struct recent_map *maps;
};

struct recent_map {
    struct recent_pool *pool;
    struct recent_map *next, *previous; /* in the pool */
    size_t key_size, record_size;
    uint64_t horizon;    /* LSN of the newest record that was forgotten; never decreases */
    uint64_t begin, end; /* records are numbered for ever; these are held. begin stands at a block's start */
    size_t live;         /* those not superseded */
    size_t bytes;        /* as charged to the pool */
    uint8_t **blocks;    /* ring of block_capacity (a power of two) */
    size_t block_capacity;
    uint32_t *slots;      /* open addressing, linear probing: record number modulo UINT32_MAX, plus 1; 0: free */
    size_t slot_capacity; /* a power of two, or 0 */
};

void recent_pool_init(struct recent_pool *pool, size_t budget);

void recent_map_init(struct recent_map *map, struct recent_pool *pool, size_t key_size, size_t record_size);
void recent_map_destroy(struct recent_map *map);
void recent_map_clear(struct recent_map *map); /* forgets everything without moving the horizon */

/* The newest record of a key, or NULL. Valid until the next put into the pool. */
const void *recent_map_find(const struct recent_map *map, const void *key);
/* Copies the record in. May make this map or another one of the pool forget. */
void recent_map_put(struct recent_map *map, const void *record);
/* Copies all records of a map of the same kind in. */
void recent_map_put_all(struct recent_map *map, const struct recent_map *from);

/* The key is about to be looked for: the index is larger than any cache. */
static inline void recent_map_prefetch(const struct recent_map *map, const void *key)
{
    uint64_t word;
    memcpy(&word, key, sizeof word);
    if (map->slot_capacity)
        __builtin_prefetch(&map->slots[word & (map->slot_capacity - 1)]);
}

/* All records held, superseded ones possibly among them, oldest first. */
static inline size_t recent_map_size(const struct recent_map *map)
{
    return (size_t)(map->end - map->begin);
}
const void *recent_map_record(const struct recent_map *map, size_t i);

#endif
