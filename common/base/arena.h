/* Memory that is freed all at once: one arena a call, for everything that lives as long as the call.
 *
 * Ownership  what an arena hands out lives until arena_destroy.
 * Threads    one at a time.
 * Errors     arena_alloc returns NULL when the limit is reached, or the meter or the system refuses; say
 *            RESOURCE_EXHAUSTED, with error_out_of_memory where nothing else is known.
 */
#ifndef ARGON_BASE_ARENA_H
#define ARGON_BASE_ARENA_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/meter.h"

struct arena {
    struct arena_block *blocks; /* newest first */
    char *next;
    size_t left;
    size_t total; /* bytes taken from the system */
    size_t limit; /* 0: none */
    struct meter_share share;
};

void arena_init(struct arena *arena, size_t limit_bytes);
/* One that counts with what others hold for callers. */
void arena_init_metered(struct arena *arena, size_t limit_bytes);
void arena_destroy(struct arena *arena);

/* Everything that was handed out is gone; a block stays for what comes next. */
void arena_clear(struct arena *arena);

/* Everything of `other` lives as long as `arena` from now on; `other` is empty and usable. Neither is metered. */
void arena_adopt(struct arena *arena, struct arena *other);

/* Counts memory that belongs with what is here, and lives elsewhere. False: that is beyond the limit. */
bool arena_charge(struct arena *arena, size_t bytes);

/* Aligned for any type. */
void *arena_alloc(struct arena *arena, size_t size);
void *arena_zalloc(struct arena *arena, size_t size);
void *arena_copy(struct arena *arena, const void *data, size_t len);
char *arena_strdup(struct arena *arena, const char *s);
char *arena_strndup(struct arena *arena, const char *s, size_t n);

#endif
