/* Allocation with a decided answer.
 *
 * mem_alloc and its kin serve small bookkeeping; when the system refuses them the process logs and aborts,
 * which loses nothing: the log is durable and the branch service holds no state. What a client's input
 * sizes goes through mem_try_alloc or an arena, whose NULL becomes RESOURCE_EXHAUSTED.
 */
#ifndef ARGON_BASE_MEMORY_H
#define ARGON_BASE_MEMORY_H

#include <stddef.h>

void *mem_alloc(size_t size) __attribute__((malloc, returns_nonnull));
void *mem_zalloc(size_t size) __attribute__((malloc, returns_nonnull));
void *mem_realloc(void *p, size_t size) __attribute__((returns_nonnull));
char *mem_strdup(const char *s) __attribute__((malloc, returns_nonnull));
char *mem_strndup(const char *s, size_t n) __attribute__((malloc, returns_nonnull));

/* NULL when the system refuses. Freed with free(), as all of the above. */
void *mem_try_alloc(size_t size) __attribute__((malloc));

#endif
