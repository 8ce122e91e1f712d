/* The batches of one project in one segment, as the growing table (batch_table.h) and the footer
 * (segment_footer.h) both hold them, and the searches over them.
 *
 * A batch is a record of 24 bytes, in LSN order; its number is its place. Its last LSN is the one before the
 * next batch's first: LSNs have no gaps. All integers are little-endian.
 *
 *     at  bytes  what
 *      0      8  first LSN
 *      8      8  timestamp, microseconds
 *     16      4  byte of the segment where the frame stands
 *     20      4  length of the frame
 *
 * Threads    as whoever owns the bytes says.
 */
#ifndef ARGON_WAL_STORE_BATCH_VIEW_H
#define ARGON_WAL_STORE_BATCH_VIEW_H

#include "wal-service/store/log_store.h"

enum { BATCH_RECORD_BYTES = 24, CHUNK_BATCHES = 256 };

/* Where a frame is. */
struct frame_place {
    uint32_t segment;
    uint32_t offset;
    uint32_t length;
};

struct indexed_frame {
    uint64_t first_lsn, last_lsn;
    struct frame_place place;
};

struct batch_view {
    const uint8_t *flat;    /* n records; NULL: they stand in chunks of CHUNK_BATCHES */
    uint8_t *const *chunks; /* the last may be shorter */
    uint32_t n;
    uint64_t last_lsn; /* of the last batch */
};

/* Rising numbers of batches, 4 bytes each. */
struct batch_list {
    const uint8_t *numbers;
    uint32_t n;
};

static inline const uint8_t *batch_record(const struct batch_view *view, uint32_t i)
{
    return view->flat ? view->flat + (size_t)i * BATCH_RECORD_BYTES
                      : view->chunks[i / CHUNK_BATCHES] + (size_t)(i % CHUNK_BATCHES) * BATCH_RECORD_BYTES;
}

static inline uint64_t batch_first_lsn(const struct batch_view *view, uint32_t i)
{
    return get_u64(batch_record(view, i));
}

static inline uint64_t batch_timestamp(const struct batch_view *view, uint32_t i)
{
    return get_u64(batch_record(view, i) + 8);
}

static inline uint64_t batch_last_lsn(const struct batch_view *view, uint32_t i)
{
    return i + 1 < view->n ? batch_first_lsn(view, i + 1) - 1 : view->last_lsn;
}

/* The last batch that ends at or before lsn; false: none does. */
bool batch_view_find_end(const struct batch_view *view, uint64_t lsn, struct log_head *found);

/* The last batch whose timestamp is at or before micros; false: none is. */
bool batch_view_find_time(const struct batch_view *view, uint64_t micros, struct log_head *found);

/* The first batches that end in (after, through], of the list only if there is one; at most max. Returns how many. */
size_t batch_view_collect(const struct batch_view *view, const struct batch_list *list, uint32_t segment, uint64_t after, uint64_t through,
                          struct indexed_frame *out, size_t max);

#endif
