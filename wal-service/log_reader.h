/* A range of the log, read a message at a time: whole batches, only the runs that match, as they are stored.
 *
 * Ownership  the range's strings are borrowed for the reader's life.
 * Threads    one at a time.
 */
#ifndef ARGON_WAL_LOG_READER_H
#define ARGON_WAL_LOG_READER_H

#include "common/base/bytes.h"
#include "wal-service/store/log_store.h"

/* A message holds about this much; up to twice that, or one larger batch. */
#define LOG_READER_BYTES ((size_t)1024 * 1024)

struct log_reader {
    struct log_store *store;
    struct log_range range;  /* `after` rises: what is behind it has been gathered, or does not match */
    bool (*stop)(void *ctx); /* asked now and then: true ends a step early; may be NULL */
    void *ctx;

    struct buffer runs; /* of this step: encoded elements of ReadResponse.runs */
    bool full;          /* the reader's, while it gathers */
    uint64_t last_lsn;
};

/* Gathers what comes next, up to `through`, which must be a batch end (log_store_batch_end). range.after is then the batch
 * end up to which everything has been gathered: `through` when that was all of it. The buffer of the step before is
 * gone. Errors: what the store says; RESOURCE_EXHAUSTED. */
CHECKED bool log_reader_step(struct log_reader *reader, uint64_t through, struct error *err);
/* Frees the runs of the last step. */
void log_reader_clear(struct log_reader *reader);

#endif
