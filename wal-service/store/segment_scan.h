/* Reads a range of frames from the segment files.
 *
 * Threads    any, also beside append: no lock is held while files are read or the visitor runs.
 * Errors     DATA_LOSS names file and byte.
 */
#ifndef ARGON_WAL_STORE_SEGMENT_SCAN_H
#define ARGON_WAL_STORE_SEGMENT_SCAN_H

#include "wal-service/store/disk.h"
#include "wal-service/store/log_index.h"
#include "wal-service/store/log_store.h"

CHECKED bool segment_scan(struct disk *disk, int directory, struct log_index *index, const struct log_range *range, frame_visit_fn *visit,
                          void *ctx, struct error *err);

#endif
