/* A compressed segment: what an old segment file held up to its end, in blocks that unpack alone.
 *
 * "segment-<id, 16 hex digits>.zst". It comes under that name only when it is synced and has been unpacked and
 * compared; only then is the original removed. If both are there, the original counts.
 *
 *     at  bytes  what
 *      0      8  magic, "ARGONZST"
 *      8      4  format version, 1
 *     12      4  bytes that a block unpacks to, 262144; the last one to less
 *     16      8  id of the segment
 *     24      8  bytes that all blocks unpack to: where the segment ends
 *     32      8  length of this file
 *     40      4  number of blocks
 *     44     16  zeros
 *     60      4  CRC32C of bytes 0..59 and of the table
 *     64         table, 16 bytes a block: 8 where it stands, 4 its length here, 4 the CRC32C of what stands here
 *                blocks: a zstd frame each
 *
 * Threads    one at a time for each struct.
 * Errors     DATA_LOSS names file and byte. UNAVAILABLE: a read or write failed. RESOURCE_EXHAUSTED: no memory, or
 *            the disk is full.
 */
#ifndef ARGON_WAL_STORE_SEGMENT_PACK_H
#define ARGON_WAL_STORE_SEGMENT_PACK_H

#include "common/base/bytes.h"
#include "common/base/error.h"
#include "wal-service/store/disk.h"

enum { PACK_BLOCK_BYTES = 256 << 10 };

struct segment_pack {
    uint64_t id;
    uint64_t content; /* bytes that it unpacks to */
    uint64_t bytes;   /* of the file */
    uint32_t n_blocks;
    uint8_t *table;
    uint8_t *packed; /* room for the blocks that are read together */
    size_t capacity;
    void *context; /* zstd's */
};

/* Reads header and table. On success the caller destroys the pack; the descriptor stays the caller's. */
CHECKED bool segment_pack_open(struct segment_pack *pack, struct disk *disk, int fd, uint64_t id, struct error *err);
void segment_pack_destroy(struct segment_pack *pack); /* {0} is fine */

/* Unpacks n blocks from `first` on into out, which has room for n whole blocks. */
CHECKED bool segment_pack_read(struct segment_pack *pack, struct disk *disk, int fd, uint32_t first, uint32_t n, uint8_t *out,
                               struct error *err);

/* Where a block stands in the file, for messages. */
uint64_t segment_pack_block_at(const struct segment_pack *pack, uint32_t block);

/* Packs the first `content` bytes of an open segment file into another one, syncs that, unpacks it and compares.
 * False with err untouched: keep_going said no. */
typedef bool pack_keep_going_fn(void *ctx);
CHECKED bool segment_pack_write(struct disk *disk, int from, int to, uint64_t id, uint64_t content, pack_keep_going_fn *keep_going,
                                void *ctx, uint64_t *bytes, struct error *err);

#endif
