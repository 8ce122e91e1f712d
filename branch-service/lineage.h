/* What a branch is made of: state(X, L) = X's own entries in (base, L] over state(parent, min(L, cut)).
 *
 * Ownership  segments live in the arena; their branch ids too.
 */
#ifndef ARGON_BRANCH_LINEAGE_H
#define ARGON_BRANCH_LINEAGE_H

#include <stdint.h>

#include "branch-service/catalog.h"
#include "branch-service/view/tree.h"
#include "common/base/arena.h"
#include "common/base/error.h"

struct lineage_segment {
    const char *branch_id; /* of the log branch */
    uint64_t after;        /* entries in (after, through] */
    uint64_t through;
};

struct lineage {
    struct lineage_segment *segments; /* the branch itself first, its root last; may hold empty ones */
    size_t n;
};

/* `branches` is the catalog's collection of that name. The root is always main. NOT_FOUND: no such id. */
CHECKED bool lineage_resolve(const struct tree *branches, const char *branch_id, uint64_t lsn, struct arena *arena, struct lineage *lineage,
                             struct error *err);

/* The record of a branch id; main's is made up. Strings borrow from the tree. */
CHECKED bool lineage_find_record(const struct tree *branches, const char *branch_id, struct branch_record *record, struct error *err);
/* Its kind alone, which is cheaper. */
CHECKED bool lineage_find_kind(const struct tree *branches, const char *branch_id, enum branch_kind *kind, struct error *err);

#endif
