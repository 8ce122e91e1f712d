/* Reads a segment file from front to back, through a window.
 *
 * Ownership  the bytes of segment_reader_at are valid until the next call.
 * Threads    one at a time.
 * Errors     DATA_LOSS: the file is missing, short, or its header is bad. UNAVAILABLE: a read failed.
 *            RESOURCE_EXHAUSTED: no memory.
 */
#ifndef ARGON_WAL_STORE_SEGMENT_READER_H
#define ARGON_WAL_STORE_SEGMENT_READER_H

#include "common/base/bytes.h"
#include "common/base/error.h"
#include "wal-service/store/segment_file.h"

struct segment_reader {
    struct disk *disk;
    int directory;
    int fd; /* -1: no segment open */
    uint64_t id;
    uint8_t *window;
    size_t capacity, filled;
    uint64_t start; /* byte of the segment at window[0] */
};

void segment_reader_init(struct segment_reader *reader, struct disk *disk, int directory);
void segment_reader_destroy(struct segment_reader *reader);

/* Turns to a segment; quick when it is the one already open. */
CHECKED bool segment_reader_open(struct segment_reader *reader, uint64_t id, struct error *err);

/* The header of the open segment, which must have the id that its name says and its full length. */
CHECKED bool segment_reader_header(struct segment_reader *reader, struct segment_header *header, struct error *err);

/* len bytes at offset; reads on to `ahead` bytes beyond offset when it has to read at all. */
CHECKED bool segment_reader_at(struct segment_reader *reader, uint64_t offset, size_t len, size_t ahead, const uint8_t **data,
                               struct error *err);

/* Would segment_reader_at answer from the window? */
bool segment_reader_holds(const struct segment_reader *reader, uint64_t offset, size_t len);

/* DATA_LOSS "segment-...log, byte N: what". Returns false. */
bool segment_damaged(uint64_t id, uint64_t offset, const char *what, struct error *err);

#endif
