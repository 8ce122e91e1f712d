/* Last LSNs of log branches, all as of one commit LSN.
 *
 * Threads    any.
 */
#ifndef ARGON_WAL_BRANCH_HEADS_H
#define ARGON_WAL_BRANCH_HEADS_H

#include "wal-service/store/log_store.h"

/* Fills in the last LSN of each id, 0 for one without entries, as of *commit_lsn. Errors: what a scan says;
 * RESOURCE_EXHAUSTED. */
CHECKED bool branch_heads_of(struct log_store *store, struct bytes project, const struct bytes *ids, size_t n, struct arena *arena,
                             uint64_t *last_lsns, uint64_t *commit_lsn, struct error *err);

/* A page of the branches that have entries, in id order, behind `after`: at most max; *more: there are others behind
 * them. The page is what a project with this head holds: no branch is missing in it, none is beyond commit_lsn.
 * UNAVAILABLE: branches appear too fast. */
struct branch_page {
    struct log_branch *branches; /* in the arena */
    size_t n;
    bool more;
    uint64_t commit_lsn;
};
CHECKED bool branch_heads_page(struct log_store *store, struct bytes project, struct bytes after, size_t max, struct arena *arena,
                               struct branch_page *page, struct error *err);

#endif
