/* Hashes that nobody who chooses what is hashed can make collide: each process has its own seed. */
#ifndef ARGON_BRANCH_QUERY_HASH_H
#define ARGON_BRANCH_QUERY_HASH_H

#include "common/base/bytes.h"

extern uint64_t hash_seed; /* begin with it */

static inline uint64_t hash_mix(uint64_t hash, uint64_t value)
{
    unsigned __int128 product = (unsigned __int128)(hash ^ value) * UINT64_C(0x9E3779B97F4A7C15);
    return (uint64_t)product ^ (uint64_t)(product >> 64) ^ hash_seed;
}

static inline uint64_t hash_mix_bytes(uint64_t hash, struct bytes bytes)
{
    size_t i = 0;
    for (; i + 8 <= bytes.len; i += 8)
        hash = hash_mix(hash, get_u64(bytes.data + i));
    uint64_t rest = bytes.len;
    for (; i < bytes.len; i++)
        rest = rest << 8 | bytes.data[i];
    return hash_mix(hash, rest);
}

#endif
