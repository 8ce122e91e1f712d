/* Random bytes from the kernel, and ids made of them. */
#ifndef ARGON_BASE_RANDOM_H
#define ARGON_BASE_RANDOM_H

#include <stddef.h>
#include <stdint.h>

void random_bytes(void *out, size_t len); /* aborts when the kernel has none to give */
uint64_t random_u64(void);

enum { ID_LENGTH = 24, ID_SIZE = ID_LENGTH + 1 };
/* 24 lower-case hex digits: 4 bytes of time in seconds, so that ids sort by age, then 8 random ones. */
void random_id(char out[ID_SIZE]);

#endif
