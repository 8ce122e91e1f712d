/* A frame is one batch in the log: the unit of atomicity.
 *
 * Runs are stored as they were sent: `encoded` is one element of ReadResponse.runs with its field tag and
 * length, so that a range read hands stored bytes to the transport. At commit only first_lsn and timestamp
 * are filled in, in the RUN_STAMP_BYTES at the end of each encoded run (protobuf fields 5 and 6, fixed64).
 *
 * Ownership  everything is borrowed from whoever made the frame.
 */
#ifndef ARGON_WAL_STORE_FRAME_H
#define ARGON_WAL_STORE_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/bytes.h"
#include "common/base/error.h"

enum {
    RUN_STAMP_BYTES = 18, /* tag 5 + fixed64 first_lsn, tag 6 + fixed64 timestamp */
    INCARNATION_BYTES = 16,
    MAX_PROJECT_ID_BYTES = 64,
    MAX_BRANCH_ID_BYTES = 64,
    MAX_COLLECTION_ID_BYTES = 255,
};

struct frame_run {
    struct bytes branch_id;
    struct bytes collection;
    uint32_t entries;
    struct bytes encoded;
};

/* One step of a user's request (argon.wal.v1.RequestStep). id.len 0: the batch belongs to no request. */
struct request_step {
    struct bytes id;
    struct bytes hash;
    uint32_t step;
    bool last;
    struct bytes last_document_id;
    struct bytes answer;
};

struct frame {
    struct bytes project;
    uint64_t first_lsn;
    uint32_t entries; /* of all runs; last LSN = first_lsn + entries - 1 */
    uint64_t timestamp;
    struct request_step request;
    const uint64_t *write_keys; /* hashes of the keys written besides the documents */
    size_t n_write_keys;
    const struct frame_run *runs;
    size_t n_runs;
};

static inline uint64_t frame_last_lsn(const struct frame *frame)
{
    return frame->first_lsn + frame->entries - 1;
}

/* INVALID_ARGUMENT if the frame cannot be stored: a field over the lengths above, no entries, entries of runs
 * that do not add up. frame_encode wants a frame that passes. */
CHECKED bool frame_check(const struct frame *frame, struct error *err);

/* Bytes that frame_encode will append. */
size_t frame_encoded_size(const struct frame *frame);
void frame_encode(const struct frame *frame, struct buffer *out);

/* Reads one frame from the front of `in`; *size is what it took. The frame borrows from `in`; its run and
 * key arrays live in *scratch (cleared first, reused from call to call). DATA_LOSS on a bad checksum or shape,
 * RESOURCE_EXHAUSTED when there is no memory for the scratch. */
struct frame_scratch {
    struct frame_run *runs;
    size_t runs_capacity;
    uint64_t *keys;
    size_t keys_capacity;
};
CHECKED bool frame_decode(struct bytes in, struct frame *frame, size_t *size, struct frame_scratch *scratch, struct error *err);
void frame_scratch_destroy(struct frame_scratch *scratch);

/* Writes first_lsn and timestamp into the stamp at the end of an encoded run. */
void frame_stamp_run(uint8_t *encoded, size_t len, uint64_t first_lsn, uint64_t timestamp);

#endif
