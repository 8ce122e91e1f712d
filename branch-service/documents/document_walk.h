/* The documents of a view that a filter can match, in _id order or against it: by seeking, where the filter bounds _id.
 *
 * Ownership  tree and filter are borrowed for as long as the walk goes on.
 */
#ifndef ARGON_BRANCH_DOCUMENTS_DOCUMENT_WALK_H
#define ARGON_BRANCH_DOCUMENTS_DOCUMENT_WALK_H

#include "branch-service/query/filter.h"
#include "branch-service/view/tree.h"
#include "common/base/caller.h"

struct document_walk {
    const struct tree *tree;
    const struct filter *filter;
    struct caller caller;
    bool backwards;
    const struct id_range *ranges; /* one without ends when the filter has no bounds */
    size_t n_ranges;
    size_t entered;      /* so many of them */
    struct bytes behind; /* where the walk begins; empty: with the first document */
    struct bytes end;    /* of the range: the first key outside, or backwards the last one inside; empty: none */
    struct tree_cursor cursor;
    uint64_t examined; /* documents that were looked at */
};

/* tree NULL: there is no document. filter NULL: all match. */
void document_walk_begin(struct document_walk *walk, const struct tree *tree, const struct filter *filter, bool backwards,
                         struct caller caller);
/* Forwards, with the first document behind a key. */
void document_walk_begin_behind(struct document_walk *walk, const struct tree *tree, const struct filter *filter, struct bytes key,
                                struct caller caller);

/* The next that matches; *found = false: there are no more. The caller's error: he has gone. */
CHECKED bool document_walk_next(struct document_walk *walk, struct tree_item *item, bool *found, struct error *err);

#endif
