/* Reads a segment from front to back, through a window: from its file, or from the compressed one that took its
 * place. Offsets are those of the original either way.
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
#include "wal-service/store/segment_pack.h"

struct segment_reader {
    struct disk *disk;
    int directory;
    int fd; /* -1: no segment open */
    uint64_t id;
    bool packed;              /* the open file is a compressed one */
    struct segment_pack pack; /* of it */
    uint8_t *window;
    size_t capacity, filled;
    uint64_t start; /* byte of the segment at window[0] */
};

void segment_reader_init(struct segment_reader *reader, struct disk *disk, int directory);
void segment_reader_destroy(struct segment_reader *reader);

/* Turns to a segment; quick when it is the one already open. When both of its files are there, the original is
 * opened. */
CHECKED bool segment_reader_open(struct segment_reader *reader, uint64_t id, struct error *err);

/* As segment_reader_open, of one of the two files. NOT_FOUND: it is not there. */
CHECKED bool segment_reader_open_file(struct segment_reader *reader, uint64_t id, bool packed, struct error *err);

/* The header of the open segment, which must have the id that its name says and its full length. */
CHECKED bool segment_reader_header(struct segment_reader *reader, struct segment_header *header, struct error *err);

/* len bytes at offset; reads on to `ahead` bytes beyond offset when it has to read at all. */
CHECKED bool segment_reader_at(struct segment_reader *reader, uint64_t offset, size_t len, size_t ahead, const uint8_t **data,
                               struct error *err);

/* Would segment_reader_at answer from the window? */
bool segment_reader_holds(const struct segment_reader *reader, uint64_t offset, size_t len);

/* DATA_LOSS "segment-...log, byte N: what" of the open segment. Returns false. */
bool segment_reader_damaged(const struct segment_reader *reader, uint64_t offset, const char *what, struct error *err);

/* Puts "segment-...log, byte N" of the open segment before the message. Returns false. */
bool segment_reader_wrap(const struct segment_reader *reader, uint64_t offset, struct error *err);

#endif
