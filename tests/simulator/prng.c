#include "tests/simulator/prng.h"

#include <stdio.h>

#include "common/base/random.h"

struct prng program_prng;

uint64_t prng_next(struct prng *prng)
{
    uint64_t z = prng->state += UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

uint64_t prng_below(struct prng *prng, uint64_t bound)
{
    return prng_next(prng) % bound;
}

bool prng_one_in(struct prng *prng, uint64_t n)
{
    return n && prng_below(prng, n) == 0;
}

/* All of common/base/random.c, so that the linker takes these and salts and incarnations repeat with the seed. */
void random_bytes(void *out, size_t len)
{
    for (uint8_t *at = out; len > 0; len--)
        *at++ = (uint8_t)prng_next(&program_prng);
}

uint64_t random_u64(void)
{
    return prng_next(&program_prng);
}

void random_id(char out[ID_SIZE])
{
    snprintf(out, ID_SIZE, "%08x%016llx", 0u, (unsigned long long)random_u64());
}
