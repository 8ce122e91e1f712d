/* What the segment store shows to its tests: the disk that it runs on. */
#ifndef ARGON_WAL_STORE_SEGMENT_STORE_INTERNAL_H
#define ARGON_WAL_STORE_SEGMENT_STORE_INTERNAL_H

#include "wal-service/store/disk.h"
#include "wal-service/store/log_store.h"

enum {
    MIN_SEGMENT_BYTES = 16 << 10,
    MAX_SEGMENT_BYTES = 1 << 30,
    DEFAULT_SEGMENT_BYTES = 64 << 20,
};

/* segment_store_open on another disk than the system's; `disk` outlives the store. */
CHECKED bool segment_store_open_on(struct disk *disk, const struct segment_store_options *options, frame_visit_fn *recovered, void *ctx,
                                   struct segment_recovery *report, struct log_store **store, struct error *err);

/* Waits for the background work, so that a simulator's disk sees one call at a time: true when there is none left, false
 * when some failed and waits. */
bool segment_store_settle(struct log_store *store);

#endif
