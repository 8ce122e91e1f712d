/* The directory of a segment log: made, locked against other processes, listed.
 *
 * Threads    one at a time.
 * Errors     FAILED_PRECONDITION: another process holds the lock. UNAVAILABLE: a system call failed.
 */
#ifndef ARGON_WAL_STORE_SEGMENT_DIRECTORY_H
#define ARGON_WAL_STORE_SEGMENT_DIRECTORY_H

#include <stddef.h>
#include <stdint.h>

#include "common/base/error.h"
#include "wal-service/store/disk.h"

struct segment_directory {
    int fd;   /* -1: not open */
    int lock; /* -1: not held */
};

/* Makes the directory, and those above it, if need be. */
CHECKED bool segment_directory_open(struct segment_directory *directory, const char *path, struct error *err);

/* An existing one, changing nothing. Its log must not be open in any process; none can open it until this is closed.
 * NOT_FOUND: there is no such directory. */
CHECKED bool segment_directory_open_to_read(struct segment_directory *directory, const char *path, struct error *err);
void segment_directory_close(struct segment_directory *directory);

/* Removes temporary files of an earlier run (disk NULL: leaves them) and lists the ids of the segments in rising
 * order. *ids is the
 * caller's to free. */
CHECKED bool segment_directory_list(struct segment_directory *directory, struct disk *disk, uint64_t **ids, size_t *n, struct error *err);

#endif
