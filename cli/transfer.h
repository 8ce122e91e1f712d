/* Documents on their way from one place to another: the caller reads and adds them, threads of the transfer write them
 * in batches, several at a time. Memory is that of the batches: TRANSFER_BATCH_BYTES (or one document) each.
 *
 * Batches are numbered in the order of reading. They are written in any order, and acknowledged in order: when
 * `acknowledged` is told of one, all before it have been written, too.
 *
 * Ownership  documents are copied in.
 * Threads    everything but `write` runs on the caller's thread or under the transfer's lock.
 * Errors     the first failure of a writer stops the others; it comes out of transfer_add, _flush and _end.
 */
#ifndef ARGON_CLI_TRANSFER_H
#define ARGON_CLI_TRANSFER_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/bytes.h"
#include "common/base/error.h"

enum { TRANSFER_BATCH_BYTES = 4 * 1024 * 1024, TRANSFER_MAX_WRITERS = 8 };

/* Batches that are under way at most: the newest of them may be in while the oldest is not. */
#define TRANSFER_SLOTS(writers) (2 * (writers) + 1)

struct transfer_batch {
    uint64_t number;         /* from 0 */
    size_t collection;       /* what the caller calls it */
    bool again;              /* it may have been written by an earlier run */
    struct buffer documents; /* BSON, one behind the other */
    size_t n;
};

/* The last document of a batch that has any. */
struct bytes transfer_batch_last(const struct transfer_batch *batch);

struct transfer_options {
    size_t writers;
    size_t max_documents; /* of a batch */
    /* Writes one, on a thread of its own; `writer` is which, from 0. */
    bool (*write)(void *ctx, size_t writer, const struct transfer_batch *batch, struct error *err);
    /* Before a batch is given to a writer, on the caller's thread; NULL: nothing to do. */
    bool (*handing)(void *ctx, const struct transfer_batch *batch, struct error *err);
    /* In order, under the lock; NULL: nobody asks. */
    void (*acknowledged)(void *ctx, const struct transfer_batch *batch);
    void *write_ctx; /* for write */
    void *ctx;       /* for the others */
};

struct transfer;

struct transfer *transfer_new(const struct transfer_options *options);
/* Waits while all batches are under way. A batch is of one collection, and `again` or not, as a whole. */
CHECKED bool transfer_add(struct transfer *transfer, size_t collection, bool again, struct bytes bson, struct error *err);
/* Waits until everything that was added has been written. */
CHECKED bool transfer_flush(struct transfer *transfer, struct error *err);
/* What `acknowledged` changes can be read between the two. */
void transfer_lock(struct transfer *transfer);
void transfer_unlock(struct transfer *transfer);
/* Batches that were added and not yet written are dropped, those under way are waited for. NULL is fine. */
void transfer_free(struct transfer *transfer);

#endif
