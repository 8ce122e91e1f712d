/* Copying collections of a MongoDB onto the log, as a base: a log branch without a name that WAL branches begin with.
 *
 * The base's record and its catalog are one batch; then the documents come, collection by collection in the order of the
 * list, as inserts of whole images. What an executor writes twice, or two of them write, is the same bytes, so the copy
 * may be broken off and gone on with anywhere; the record counts the collections that are there as a whole. The last
 * step says up to which LSN the base goes. What a straggler appends behind that belongs to nothing.
 *
 * Ownership  inputs are borrowed.
 * Errors     FAILED_PRECONDITION: the record, or what `guard` looks at, is not what it was: somebody else goes on, or nobody
 *            may. Those of mongo_collection.h and write.h.
 */
#ifndef ARGON_BRANCH_BRANCHES_BASE_COPY_H
#define ARGON_BRANCH_BRANCHES_BASE_COPY_H

#include "branch-service/mongo/mongo_collection.h"
#include "branch-service/write/batch.h"

/* How far it is; of the whole copy when collection is NULL. False: nobody wants to know any more, and it ends. */
struct copy_progress {
    const char *base_id;
    const char *collection;
    uint64_t documents;
    uint64_t bytes;
    bool done;
};
typedef bool copy_tell_fn(void *ctx, const struct copy_progress *progress);

struct base_copy {
    struct project *project;
    struct mongo *mongo;
    const char *base_id;
    const struct collection_record *collections;
    size_t n;
    uint64_t snapshot; /* at which they are read; 0: as they are then */
    /* Whether it may go on, at each batch; reads the keys that say so. */
    bool (*guard)(void *ctx, const struct project_catalog *catalog, struct batch *batch, struct error *err);
    copy_tell_fn *tell;
    void *ctx;
    int64_t deadline;
};

/* The catalog of a new base, as a run of the batch that makes it. */
CHECKED bool base_add_catalog(struct batch *batch, const char *base_id, const struct collection_record *collections, size_t n,
                              struct error *err);
/* Those collections that are not there yet. */
CHECKED bool base_copy_documents(const struct base_copy *copy, struct error *err);
/* Adds the record of a base that is complete now to a batch whose project is at catalog->lsn. */
CHECKED bool base_add_complete(struct batch *batch, const struct project_catalog *catalog, const char *base_id, bool isolated,
                               struct error *err);

/* An order-independent sum over documents; equal for equal sets of documents, byte for byte. */
struct base_digest {
    uint64_t documents, bytes;
    uint64_t low, high;
};
bool base_digest_equal(const struct base_digest *a, const struct base_digest *b);
void base_digest_add(struct base_digest *digest, struct bytes key, struct bytes document);
CHECKED bool base_digest_mongo(struct mongo *mongo, const char *database, const char *collection, int64_t deadline,
                               struct base_digest *digest, struct error *err);
CHECKED bool base_digest_log(struct project *project, const char *base_id, const char *collection_id, uint64_t complete, int64_t deadline,
                             struct base_digest *digest, struct error *err);

/* A deadline for one step of something long. */
int64_t base_step_deadline(int64_t deadline);

#endif
