/* Hash of a key (branch_id, collection, document_id): what conflict checks compare.
 *
 * Stored: frames keep the hashes of the keys that their batch wrote, so seed and method are part of the format of the
 * log. Two keys with one hash make a conflict that is none, which only costs the writer a retry.
 */
#ifndef ARGON_WAL_KEY_HASH_H
#define ARGON_WAL_KEY_HASH_H

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "common/base/bytes.h"

#define KEY_HASH_SEED UINT64_C(0x6172676f6e77616c) /* "argonwal" */

/* Of the lengths and bytes of branch and collection: shared by all keys of one collection. */
static inline uint64_t key_space_hash(struct bytes branch_id, struct bytes collection)
{
    uint8_t lengths[8];
    put_u32(lengths, (uint32_t)branch_id.len);
    put_u32(lengths + 4, (uint32_t)collection.len);
    uint64_t hash = XXH3_64bits_withSeed(lengths, sizeof lengths, KEY_HASH_SEED);
    hash = XXH3_64bits_withSeed(branch_id.data, branch_id.len, hash);
    return XXH3_64bits_withSeed(collection.data, collection.len, hash);
}

static inline uint64_t key_hash(uint64_t space, struct bytes document_id)
{
    return XXH3_64bits_withSeed(document_id.data, document_id.len, space);
}

#endif
