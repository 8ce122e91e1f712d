#include "wal-service/recent_map.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/memory.h"

/* A block is the unit of forgetting. */
enum { BLOCK_RECORDS = 64 };
/* An empty map keeps an index of at most this size, for what comes next. */
enum { FIRST_SLOTS = 16, KEPT_SLOTS = 1024 };
/* So many memory accesses are begun before the first is needed. */
enum { AHEAD = 16 };

/* ---- records ------------------------------------------------------------------------------------- */

static uint8_t *record_at(const struct recent_map *map, uint64_t number)
{
    uint8_t *block = map->blocks[number / BLOCK_RECORDS & (map->block_capacity - 1)];
    return block + number % BLOCK_RECORDS * map->record_size;
}

static uint64_t record_lsn(const struct recent_map *map, const uint8_t *record)
{
    uint64_t lsn;
    memcpy(&lsn, record + map->key_size, sizeof lsn);
    return lsn;
}

static size_t blocks_held(const struct recent_map *map)
{
    return (size_t)((map->end + BLOCK_RECORDS - 1) / BLOCK_RECORDS - map->begin / BLOCK_RECORDS);
}

static void free_block(struct recent_map *map, uint64_t block)
{
    free(map->blocks[block & (map->block_capacity - 1)]);
    map->blocks[block & (map->block_capacity - 1)] = NULL;
}

/* Makes room for the record number map->end. */
static void add_block(struct recent_map *map)
{
    size_t held = blocks_held(map);
    if (held == map->block_capacity) {
        size_t capacity = map->block_capacity ? 2 * map->block_capacity : 1;
        uint8_t **blocks = mem_zalloc(capacity * sizeof *blocks);
        uint64_t first = map->begin / BLOCK_RECORDS;
        for (uint64_t b = first; b < first + held; b++)
            blocks[b & (capacity - 1)] = map->blocks[b & (map->block_capacity - 1)];
        free(map->blocks);
        map->blocks = blocks;
        map->block_capacity = capacity;
    }
    map->blocks[map->end / BLOCK_RECORDS & (map->block_capacity - 1)] = mem_alloc(BLOCK_RECORDS * map->record_size);
}

/* ---- index --------------------------------------------------------------------------------------- */

static uint32_t slot_value(uint64_t number)
{
    return (uint32_t)(number % UINT32_MAX) + 1;
}

static uint64_t slot_number(const struct recent_map *map, uint32_t value)
{
    uint32_t first = (uint32_t)(map->begin % UINT32_MAX), place = value - 1;
    return map->begin + (place >= first ? place - first : UINT32_MAX - first + place);
}

static size_t home_slot(const struct recent_map *map, const void *key)
{
    uint64_t word;
    memcpy(&word, key, sizeof word);
    return (size_t)word & (map->slot_capacity - 1);
}

static bool has_key(const struct recent_map *map, uint32_t value, const void *key)
{
    const uint8_t *record = record_at(map, slot_number(map, value));
    /* the first word settles nearly all of them, without a call */
    return memcmp(record, key, sizeof(uint64_t)) == 0 && (map->key_size == sizeof(uint64_t) || memcmp(record, key, map->key_size) == 0);
}

/* The slot of the key, or the free one where it would go. */
static size_t find_slot(const struct recent_map *map, const void *key)
{
    size_t slot = home_slot(map, key);
    while (map->slots[slot] && !has_key(map, map->slots[slot], key))
        slot = (slot + 1) & (map->slot_capacity - 1);
    return slot;
}

/* The slot that holds the record of this number, or the free one where the search for its key would end: without a look
 * at the records. */
static size_t find_number(const struct recent_map *map, const void *key, uint64_t number)
{
    size_t slot = home_slot(map, key);
    while (map->slots[slot] && map->slots[slot] != slot_value(number))
        slot = (slot + 1) & (map->slot_capacity - 1);
    return slot;
}

static void resize_index(struct recent_map *map, size_t capacity)
{
    uint32_t *old = map->slots;
    size_t old_capacity = map->slot_capacity;
    map->slots = mem_zalloc(capacity * sizeof *map->slots);
    map->slot_capacity = capacity;
    for (size_t i = 0; i < old_capacity; i++) {
        /* the keys lie anywhere: waiting for each in turn is a pause that is felt at millions of records */
        if (i + AHEAD < old_capacity && old[i + AHEAD])
            __builtin_prefetch(record_at(map, slot_number(map, old[i + AHEAD])));
        if (!old[i])
            continue;
        size_t slot = home_slot(map, record_at(map, slot_number(map, old[i])));
        while (map->slots[slot])
            slot = (slot + 1) & (capacity - 1);
        map->slots[slot] = old[i];
    }
    free(old);
}

/* Frees a slot and moves up those behind it that would no longer be found. */
static void remove_slot(struct recent_map *map, size_t slot)
{
    size_t mask = map->slot_capacity - 1;
    for (size_t next = (slot + 1) & mask; map->slots[next]; next = (next + 1) & mask) {
        size_t home = home_slot(map, record_at(map, slot_number(map, map->slots[next])));
        if (((next - home) & mask) >= ((next - slot) & mask)) {
            map->slots[slot] = map->slots[next];
            slot = next;
        }
    }
    map->slots[slot] = 0;
}

/* ---- memory -------------------------------------------------------------------------------------- */

static void charge(struct recent_map *map)
{
    size_t bytes = blocks_held(map) * BLOCK_RECORDS * map->record_size + map->block_capacity * sizeof *map->blocks +
                   map->slot_capacity * sizeof *map->slots;
    if (map->pool)
        map->pool->bytes = map->pool->bytes - map->bytes + bytes;
    if (map->pool && bytes > map->pool->largest)
        map->pool->largest = bytes;
    map->bytes = bytes;
}

static void count_live(struct recent_map *map, size_t live)
{
    if (map->pool)
        map->pool->records = map->pool->records - map->live + live;
    map->live = live;
}

/* Closes the gaps that superseded records left. */
static void sweep(struct recent_map *map)
{
    uint64_t kept = map->begin, old_end = map->end;
    for (uint64_t number = map->begin; number < old_end; number++) {
        uint8_t *record = record_at(map, number);
        if (number + AHEAD < old_end)
            recent_map_prefetch(map, record_at(map, number + AHEAD));
        size_t slot = find_number(map, record, number);
        if (map->slots[slot] != slot_value(number))
            continue;
        if (kept != number) {
            memcpy(record_at(map, kept), record, map->record_size);
            map->slots[slot] = slot_value(kept);
        }
        kept++;
    }
    for (uint64_t b = (kept + BLOCK_RECORDS - 1) / BLOCK_RECORDS; b < (old_end + BLOCK_RECORDS - 1) / BLOCK_RECORDS; b++)
        free_block(map, b);
    map->end = kept;
}

static void forget_oldest_block(struct recent_map *map)
{
    uint64_t end = map->begin + BLOCK_RECORDS < map->end ? map->begin + BLOCK_RECORDS : map->end;
    size_t live = map->live;
    for (uint64_t number = map->begin; number < end; number++)
        recent_map_prefetch(map, record_at(map, number));
    for (uint64_t number = map->begin; number < end; number++) {
        uint8_t *record = record_at(map, number);
        size_t slot = find_number(map, record, number);
        if (map->slots[slot] != slot_value(number))
            continue;
        if (record_lsn(map, record) > map->horizon)
            map->horizon = record_lsn(map, record);
        remove_slot(map, slot);
        live--;
    }
    free_block(map, map->begin / BLOCK_RECORDS);
    map->begin += BLOCK_RECORDS;
    if (map->end < map->begin)
        map->end = map->begin;
    count_live(map, live);
    if (map->slot_capacity > FIRST_SLOTS && live * 8 < map->slot_capacity)
        resize_index(map, map->slot_capacity / 2);
    charge(map);
}

/* Of equals the one that is growing pays: then no search is needed, which with very many maps is what a put costs. */
static struct recent_map *largest_map(struct recent_map *growing)
{
    struct recent_map *largest = growing;
    if (growing->bytes == growing->pool->largest)
        return growing;
    for (struct recent_map *map = growing->pool->maps; map; map = map->next)
        if (map->bytes > largest->bytes)
            largest = map;
    growing->pool->largest = largest->bytes;
    return largest;
}

static void obey_budget(struct recent_map *growing)
{
    struct recent_pool *pool = growing->pool;
    while (pool && pool->budget && pool->bytes > pool->budget) {
        struct recent_map *map = largest_map(growing);
        if (map->begin == map->end)
            return; /* nothing but bare indexes is left */
        forget_oldest_block(map);
    }
}

/* ---- the map ------------------------------------------------------------------------------------- */

void recent_pool_init(struct recent_pool *pool, size_t budget)
{
    *pool = (struct recent_pool) { .budget = budget };
}

void recent_map_init(struct recent_map *map, struct recent_pool *pool, size_t key_size, size_t record_size)
{
    assert(key_size >= sizeof(uint64_t) && record_size >= key_size + sizeof(uint64_t));
    *map = (struct recent_map) { .pool = pool, .key_size = key_size, .record_size = record_size };
    if (pool) {
        map->next = pool->maps;
        if (map->next)
            map->next->previous = map;
        pool->maps = map;
    }
}

void recent_map_clear(struct recent_map *map)
{
    for (uint64_t b = map->begin / BLOCK_RECORDS; b < (map->end + BLOCK_RECORDS - 1) / BLOCK_RECORDS; b++)
        free_block(map, b);
    map->begin = map->end = 0;
    if (map->slot_capacity > KEPT_SLOTS) {
        free(map->slots);
        map->slots = NULL;
        map->slot_capacity = 0;
    } else if (map->slots) {
        memset(map->slots, 0, map->slot_capacity * sizeof *map->slots);
    }
    count_live(map, 0);
    charge(map);
}

void recent_map_destroy(struct recent_map *map)
{
    if (!map)
        return;
    recent_map_clear(map);
    free(map->slots);
    free(map->blocks);
    if (map->pool) {
        map->pool->bytes -= map->bytes;
        *(map->previous ? &map->previous->next : &map->pool->maps) = map->next;
        if (map->next)
            map->next->previous = map->previous;
    }
    *map = (struct recent_map) { 0 };
}

void recent_map_put_all(struct recent_map *map, const struct recent_map *from)
{
    size_t n = recent_map_size(from);
    for (size_t i = 0; i < n; i++) {
        if (i + AHEAD < n)
            recent_map_prefetch(map, recent_map_record(from, i + AHEAD));
        recent_map_put(map, recent_map_record(from, i));
    }
}

const void *recent_map_find(const struct recent_map *map, const void *key)
{
    if (!map->live)
        return NULL;
    uint32_t value = map->slots[find_slot(map, key)];
    return value ? record_at(map, slot_number(map, value)) : NULL;
}

void recent_map_put(struct recent_map *map, const void *record)
{
    if ((map->live + 1) * 4 > map->slot_capacity * 3)
        resize_index(map, map->slot_capacity ? 2 * map->slot_capacity : FIRST_SLOTS);
    if (map->end % BLOCK_RECORDS == 0)
        add_block(map);
    memcpy(record_at(map, map->end), record, map->record_size);
    size_t slot = find_slot(map, record);
    if (!map->slots[slot])
        count_live(map, map->live + 1);
    map->slots[slot] = slot_value(map->end);
    map->end++;
    if (recent_map_size(map) > 2 * map->live + 2 * BLOCK_RECORDS)
        sweep(map);
    charge(map);
    obey_budget(map);
}

const void *recent_map_record(const struct recent_map *map, size_t i)
{
    assert(i < recent_map_size(map));
    return record_at(map, map->begin + i);
}
