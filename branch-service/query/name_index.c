#include "branch-service/query/name_index.h"

#include "branch-service/query/hash.h"

static uint32_t hash_name(const char *name, size_t len)
{
    return (uint32_t)(hash_mix(hash_mix_bytes(hash_seed, bytes_of(name, len)), 1) >> 16);
}

bool name_index_search(const struct name_index *index, const char *name, size_t len, size_t *number)
{
    uint32_t hash = hash_name(name, len);
    for (size_t slot = hash;; slot++) {
        uint32_t at = index->slots[slot & (index->n_slots - 1)];
        if (at == 0)
            return false;
        const struct indexed_name *found = &index->names[at - 1];
        if (found->hash == hash && found->len == len && memcmp(found->name, name, len) == 0) {
            *number = at - 1;
            return true;
        }
    }
}

static void take_slot(struct name_index *index, size_t number)
{
    size_t slot = index->names[number].hash;
    while (index->slots[slot & (index->n_slots - 1)])
        slot++;
    index->slots[slot & (index->n_slots - 1)] = (uint32_t)number + 1;
}

static bool grow_slots(struct name_index *index, struct arena *arena)
{
    size_t n_slots = 4 * index->capacity;
    uint32_t *slots = arena_zalloc(arena, n_slots * sizeof *slots);
    if (!slots)
        return false;
    if (!index->slots) {
        for (size_t i = 0; i < index->n; i++)
            index->names[i].hash = hash_name(index->names[i].name, index->names[i].len);
    }
    index->slots = slots;
    index->n_slots = n_slots;
    for (size_t i = 0; i < index->n; i++)
        take_slot(index, i);
    return true;
}

bool name_index_add(struct name_index *index, struct arena *arena, const char *name, size_t len)
{
    if (index->n == index->capacity) {
        size_t capacity = index->capacity ? 2 * index->capacity : 4;
        struct indexed_name *names = arena_alloc(arena, capacity * sizeof *names);
        if (!names)
            return false;
        if (index->n)
            memcpy(names, index->names, index->n * sizeof *names);
        index->names = names;
        index->capacity = capacity;
        if (index->n >= FEW_NAMES && !grow_slots(index, arena))
            return false;
    }
    struct indexed_name *added = &index->names[index->n++];
    *added = (struct indexed_name) { .name = name, .len = (uint32_t)len };
    if (index->slots) {
        added->hash = hash_name(name, len);
        take_slot(index, index->n - 1);
    }
    return true;
}
