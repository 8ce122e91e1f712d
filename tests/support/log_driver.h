/* Writes sample batches to a log store and checks that they are all there. */
#ifndef ARGON_TESTS_LOG_DRIVER_H
#define ARGON_TESTS_LOG_DRIVER_H

#include "common/base/error.h"
#include "wal-service/store/disk.h"
#include "wal-service/store/log_store.h"

enum { DRIVER_SEGMENT_BYTES = 16 << 10 };

/* Opens a segment log with small segments. */
CHECKED bool driver_open(struct disk *disk, const char *path, uint64_t compress_after, struct segment_recovery *report,
                         struct log_store **store, struct error *err);

uint64_t driver_head(struct log_store *store, const char *project);

/* Appends one group with a batch for each project (NULL: none); *heads is where it would take them. */
enum append_outcome driver_append(struct log_store *store, const char *const projects[2], size_t size, uint64_t heads[2],
                                  struct error *err);

/* Is the project's log whole, from LSN 1 to its head, each batch as it was written? */
CHECKED bool driver_check(struct log_store *store, const char *project, struct error *err);

#endif
