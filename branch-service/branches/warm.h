/* Building the views of a branch before somebody reads them.
 *
 * The warmer's threads build for all calls together: a free one takes the next collection of the call whose turn it is, so
 * that a large branch does not hold up a small one. A call itself holds no thread: it is woken and takes what has moved.
 *
 * Threads    a warm: one at a time. `ready` runs on a thread that must not be held up.
 * Errors     NOT_FOUND names a collection that is not there; RESOURCE_EXHAUSTED names the one that does not fit the memory
 *            budget; ABORTED: the log was replaced, and a state of the past with it; else those of collections_open.
 */
#ifndef ARGON_BRANCH_BRANCHES_WARM_H
#define ARGON_BRANCH_BRANCHES_WARM_H

#include "branch-service/documents/collections.h"

struct warmer;
struct warmer *warmer_new(size_t n_threads);
void warmer_free(struct warmer *warmer);         /* after all warms were closed; NULL is fine */
uint64_t warmer_building(struct warmer *warmer); /* collections that are being built */

/* While something moves, `ready` is called about this often, and not much more often. */
enum { WARM_TELL_MICROS = 100000 };

struct warm_options {
    const char *project, *branch;
    const char *const *collections; /* none: all */
    size_t n_collections;
    struct read_options read; /* its deadline is for finding out what there is to build */
    int64_t deadline;         /* of the whole */
};

struct warm;
CHECKED bool warm_open(struct registry *registry, const struct warm_options *options, void (*ready)(void *ctx), void *ctx,
                       struct warm **warm, struct error *err);
/* What is being built ends soon, the rest is not begun; what was built stays. `ready` does not run any more. */
void warm_close(struct warm *warm);

struct warm_progress {
    const char *collection; /* lives as long as the warm */
    uint64_t entries;       /* replayed so far, by whoever builds it */
    uint64_t documents;     /* once it is done, as are bytes, of documents */
    uint64_t bytes;
    bool done;
};

struct warm_part {
    struct warm_progress *progress; /* in the arena */
    size_t n;
    uint64_t lsn; /* the state that was asked for, or that the views have reached at least */
    bool over;    /* all are done */
};
/* What has moved since the last time; at first all collections. Never waits. False: a collection could not be built. */
CHECKED bool warm_take(struct warm *warm, struct arena *arena, struct warm_part *part, struct error *err);

#endif
