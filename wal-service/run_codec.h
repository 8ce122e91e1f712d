/* Encoded runs: one element of ReadResponse.runs, field tag and length included, as they lie in the log.
 *
 *     0x0A len  { 0x0A len branch_id  0x12 len collection  [0x1A len actor]  { 0x22 len entry }...  stamp }
 *     entry     0x08 operation  0x12 len document_id  [0x1A len document]
 *     stamp     0x29 first_lsn  0x31 timestamp     RUN_STAMP_BYTES, filled in at commit
 *
 * This is what a protobuf encoder makes of argon.wal.v1.Run, with fields in rising order and the stamp always there.
 *
 * Ownership  readers borrow from the encoded bytes.
 * Errors     DATA_LOSS for bytes that are not of this shape.
 */
#ifndef ARGON_WAL_RUN_CODEC_H
#define ARGON_WAL_RUN_CODEC_H

#include "common/base/bytes.h"
#include "common/base/error.h"

struct run_entry {
    uint32_t operation; /* 1 insert, 2 update, 3 delete */
    struct bytes document_id;
    struct bytes document; /* of a delete: empty, or its _id */
};

struct run_header {
    struct bytes branch_id;
    struct bytes collection;
    struct bytes actor;
};

/* Sizes first, then writing into exactly that many bytes. */
size_t run_entry_size(const struct run_entry *entry);
size_t run_encoded_size(const struct run_header *header, size_t entries_size /* sum of run_entry_size */);

/* Each returns where to go on; what they write together is run_encoded_size bytes. */
uint8_t *run_begin(uint8_t *at, const struct run_header *header, size_t entries_size);
uint8_t *run_put_entry(uint8_t *at, const struct run_entry *entry);
uint8_t *run_end(uint8_t *at); /* an empty stamp */

struct run_reader {
    struct run_header header;
    uint64_t first_lsn;
    uint64_t timestamp;
    struct bytes rest; /* entries that were not read yet */
};

CHECKED bool run_reader_init(struct run_reader *reader, struct bytes encoded, struct error *err);
static inline bool run_reader_more(const struct run_reader *reader)
{
    return reader->rest.len > 0;
}
CHECKED bool run_reader_next(struct run_reader *reader, struct run_entry *entry, struct error *err);

#endif
