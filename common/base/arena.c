#include "common/base/arena.h"

#include <assert.h>
#include <stdalign.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* Large requests get a block of their own; the doubling stops here so that a big arena wastes little. */
enum { FIRST_BLOCK = 2048, LARGEST_BLOCK = 1 << 20 };

struct arena_block {
    struct arena_block *older;
    size_t size; /* of data */
    alignas(max_align_t) char data[];
};

void arena_init(struct arena *arena, size_t limit_bytes)
{
    *arena = (struct arena) { .limit = limit_bytes };
}

void arena_init_metered(struct arena *arena, size_t limit_bytes)
{
    *arena = (struct arena) { .limit = limit_bytes, .share = meter_share_new() };
}

void arena_destroy(struct arena *arena)
{
    if (!arena)
        return;
    for (struct arena_block *block = arena->blocks, *older; block; block = older) {
        older = block->older;
        free(block);
    }
    meter_share_clear(&arena->share);
    *arena = (struct arena) { .limit = arena->limit, .share = arena->share };
}

void arena_clear(struct arena *arena)
{
    struct arena_block *kept = NULL;
    size_t freed = 0;
    for (struct arena_block *block = arena->blocks, *older; block; block = older) {
        older = block->older;
        if (!kept && block->size <= LARGEST_BLOCK) {
            kept = block;
            continue;
        }
        freed += sizeof *block + block->size;
        free(block);
    }
    arena->total -= freed;
    if (freed)
        meter_drop(&arena->share, freed);
    arena->blocks = kept;
    arena->next = kept ? kept->data : NULL;
    arena->left = kept ? kept->size : 0;
    if (kept)
        kept->older = NULL;
}

void arena_adopt(struct arena *arena, struct arena *other)
{
    struct arena_block **oldest = &arena->blocks;
    assert(!arena->share.meter && !other->share.meter);
    while (*oldest)
        oldest = &(*oldest)->older;
    *oldest = other->blocks;
    arena->total += other->total;
    *other = (struct arena) { .limit = other->limit };
}

bool arena_charge(struct arena *arena, size_t bytes)
{
    if (arena->limit && (arena->total > arena->limit || bytes > arena->limit - arena->total))
        return false;
    arena->total += bytes;
    return true;
}

static struct arena_block *add_block(struct arena *arena, size_t size)
{
    size_t bytes = sizeof(struct arena_block) + size;
    if (!arena_charge(arena, bytes))
        return NULL;
    bool room = meter_hold(&arena->share, bytes);
    struct arena_block *block = room ? malloc(bytes) : NULL;
    if (!block) {
        if (room)
            meter_drop(&arena->share, bytes);
        arena->total -= bytes;
        return NULL;
    }
    block->older = arena->blocks;
    block->size = size;
    arena->blocks = block;
    return block;
}

void *arena_alloc(struct arena *arena, size_t size)
{
    const size_t align = alignof(max_align_t);
    if (size > SIZE_MAX / 2)
        return NULL;
    size = size ? (size + align - 1) & ~(align - 1) : align;
    if (size <= arena->left) {
        void *p = arena->next;
        arena->next += size;
        arena->left -= size;
        return p;
    }
    size_t usual = arena->total < FIRST_BLOCK ? FIRST_BLOCK : arena->total;
    if (usual > LARGEST_BLOCK)
        usual = LARGEST_BLOCK;
    if (size > usual / 4) { /* alone, and what is left of the current block stays in use */
        struct arena_block *block = add_block(arena, size);
        return block ? block->data : NULL;
    }
    struct arena_block *block = add_block(arena, usual);
    if (!block)
        block = add_block(arena, usual = size);
    if (!block)
        return NULL;
    arena->next = block->data + size;
    arena->left = usual - size;
    return block->data;
}

void *arena_zalloc(struct arena *arena, size_t size)
{
    void *p = arena_alloc(arena, size);
    return p ? memset(p, 0, size) : NULL;
}

void *arena_copy(struct arena *arena, const void *data, size_t len)
{
    void *p = arena_alloc(arena, len);
    if (p && len)
        memcpy(p, data, len);
    return p;
}

char *arena_strndup(struct arena *arena, const char *s, size_t n)
{
    char *p = arena_alloc(arena, n + 1);
    if (!p)
        return NULL;
    memcpy(p, s, n);
    p[n] = '\0';
    return p;
}

char *arena_strdup(struct arena *arena, const char *s)
{
    return arena_strndup(arena, s, strlen(s));
}
