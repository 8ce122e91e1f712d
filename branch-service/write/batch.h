/* Putting a batch together: the catalog keys that every batch reads, and its runs.
 *
 * Every batch reads the records of its project, its branch and its collections: that is what makes delete,
 * rename and drop safe beside writers on any replica.
 *
 * Ownership  everything lives in the arena; branch ids are copied, documents that are passed in are borrowed.
 */
#ifndef ARGON_BRANCH_WRITE_BATCH_H
#define ARGON_BRANCH_WRITE_BATCH_H

#include "branch-service/write/write.h"

struct batch {
    struct arena *arena;
    struct log_run runs[6];
    size_t n_runs;
    struct log_key read_keys[8];
    size_t n_read_keys;
    struct log_key write_keys[2];
    size_t n_write_keys;
};

/* Reads the project's and the branch's records. */
CHECKED bool batch_begin(struct batch *batch, struct arena *arena, const char *branch_id, struct error *err);
/* The same for a write on a branch. UNAVAILABLE, to be tried again: the branch is held for a moment. */
CHECKED bool batch_begin_on(struct batch *batch, struct arena *arena, const struct target *target, struct error *err);
CHECKED bool batch_read_collection(struct batch *batch, const char *branch_id, const char *collection, struct error *err);
CHECKED bool batch_read_branch(struct batch *batch, const char *branch_id, struct error *err);
/* The key that reclaiming reads before it takes away what a branch's children stand on. */
CHECKED bool batch_write_references(struct batch *batch, const char *branch_id, struct error *err);

/* Of two batches that record traditional branches of a database, one comes after the other and sees it. */
CHECKED bool batch_claim_prefixes(struct batch *batch, const char *database, struct error *err);

/* A new run with room for n entries, which the caller fills in. At most 6. */
CHECKED bool batch_add_run(struct batch *batch, const char *branch_id, const char *collection, size_t n, struct log_run **run,
                           struct error *err);
/* A run of one catalog record: key is its _id. */
CHECKED bool batch_add_record(struct batch *batch, const char *branch_id, const char *collection, enum log_operation operation,
                              const char *id, struct bytes document, struct error *err);

CHECKED bool batch_finish(struct batch *batch, uint64_t read_lsn, const struct log_incarnation *incarnation, struct write_plan *plan,
                          struct error *err);

#endif
