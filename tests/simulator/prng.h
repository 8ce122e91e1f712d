/* The simulator's only source of chance: a seed gives the same numbers on every machine. */
#ifndef ARGON_TESTS_SIMULATOR_PRNG_H
#define ARGON_TESTS_SIMULATOR_PRNG_H

#include <stdbool.h>
#include <stdint.h>

struct prng {
    uint64_t state;
};

uint64_t prng_next(struct prng *prng);                  /* splitmix64 */
uint64_t prng_below(struct prng *prng, uint64_t bound); /* 0 .. bound - 1 */
bool prng_one_in(struct prng *prng, uint64_t n);        /* n 0: never */

/* The program's random_bytes, random_u64 and random_id (common/base/random.h) draw from here. */
extern struct prng program_prng;

#endif
