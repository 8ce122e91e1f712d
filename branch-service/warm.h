/* Building the views of a branch before somebody reads them.
 *
 * A few threads open the collections as a reader would; the caller's thread tells what is done.
 *
 * Threads    any; `tell` runs on the caller's thread only.
 * Errors     of collections_open; NOT_FOUND names a collection that is not there; RESOURCE_EXHAUSTED names the one that does
 *            not fit the memory budget; CANCELLED when tell says so.
 */
#ifndef ARGON_BRANCH_WARM_H
#define ARGON_BRANCH_WARM_H

#include "branch-service/collections.h"

struct warm_progress {
    const char *collection;
    uint64_t documents;
    uint64_t bytes; /* of documents */
};

/* The collections that were finished since the last call; also called without any, with lsn 0, every 100 ms, to ask
 * whether anybody listens still. False: stop; collections that are being built are finished, no others begun. */
typedef bool warm_tell_fn(void *ctx, uint64_t lsn, const struct warm_progress *progress, size_t n);

/* n = 0: all collections. The lsn told is the state that was asked for, or that the views have reached at least. */
CHECKED bool warm_branch(struct registry *registry, const char *project, const char *branch, const char *const *collections, size_t n,
                         const struct read_options *read, warm_tell_fn *tell, void *ctx, struct error *err);

#endif
