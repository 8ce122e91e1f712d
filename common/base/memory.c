#include "common/base/memory.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *or_die(void *p, size_t size)
{
    if (p)
        return p;
    fprintf(stderr, "{\"level\":\"fatal\",\"event\":\"memory.exhausted\",\"bytes\":%zu}\n", size);
    abort();
}

void *mem_alloc(size_t size)
{
    return or_die(malloc(size ? size : 1), size);
}

void *mem_zalloc(size_t size)
{
    return or_die(calloc(1, size ? size : 1), size);
}

void *mem_realloc(void *p, size_t size)
{
    return or_die(realloc(p, size ? size : 1), size);
}

char *mem_strdup(const char *s)
{
    return mem_strndup(s, strlen(s));
}

char *mem_strndup(const char *s, size_t n)
{
    char *copy = mem_alloc(n + 1);
    memcpy(copy, s, n);
    copy[n] = '\0';
    return copy;
}

void *mem_try_alloc(size_t size)
{
    return malloc(size ? size : 1);
}
