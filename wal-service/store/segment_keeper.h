/* Keeps the sealed segments in the background: writes their footers, compresses the old ones.
 *
 * What it does to a segment, and what a crash leaves at each step:
 *
 *     SEALED      --footer to a temporary file, sync, rename, sync the directory-->   (crash: a temporary file)
 *     WITH FOOTER --packed to a temporary file, sync, unpacked and compared-->        (crash: a temporary file)
 *                 --rename, sync the directory-->                                     (crash: both; the original counts)
 *                 --remove the original-->                                            (crash: both, or one)
 *     COMPRESSED
 *
 * A failure leaves the segment as it was. It is counted and reported, and tried again when the next segment is
 * sealed or after a while. No append waits for any of this.
 *
 * Threads    start, add, destroy: the commit thread. stats, settle: any.
 */
#ifndef ARGON_WAL_STORE_SEGMENT_KEEPER_H
#define ARGON_WAL_STORE_SEGMENT_KEEPER_H

#include "common/base/sync.h"
#include "wal-service/store/log_index.h"
#include "wal-service/store/segment_recovery.h"

struct segment_keeper {
    struct disk *disk;
    int directory;
    struct log_index *index;
    uint64_t compress_after;
    void (*failed)(void *ctx, const struct error *err);
    void *failed_ctx;
    pthread_t thread;
    bool started;

    struct mutex lock; /* rank 41; covers everything below */
    struct condition changed;
    struct sealed_segment *segments; /* in order */
    size_t n, capacity;
    size_t with_footer, packed; /* all before have a footer, are compressed */
    bool stopping, working;
    int64_t retry_at; /* 0: there is nothing to wait for */
    uint64_t failures, failures_in_a_row;
    uint64_t files; /* numbers the temporary names */
    uint64_t bytes, n_footers, n_packed, unpacked_bytes;
};

/* compress_after: so many of the newest sealed segments stay as they are; 0: all do. failed (may be NULL) is called on the
 * background thread. The index outlives the keeper. */
void segment_keeper_init(struct segment_keeper *keeper, struct disk *disk, int directory, struct log_index *index, uint64_t compress_after,
                         void (*failed)(void *ctx, const struct error *err), void *failed_ctx);
void segment_keeper_start(struct segment_keeper *keeper);

/* Stops at the next block of 256 KiB and joins the thread. */
void segment_keeper_destroy(struct segment_keeper *keeper);

/* A segment was sealed: the index has begun the next one. */
void segment_keeper_add(struct segment_keeper *keeper, const struct sealed_segment *sealed);

/* Adds what it knows. */
void segment_keeper_stats(struct segment_keeper *keeper, struct log_store_stats *stats);

/* Waits until there is nothing left to do, or something failed and waits to be tried again. False: the latter. Of a keeper
 * that was not started it does the work itself, on this thread. */
bool segment_keeper_settle(struct segment_keeper *keeper);

#endif
