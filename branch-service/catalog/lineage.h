/* What a branch is made of: state(X, L) = X's own entries in (base, L] over state(parent, min(L, cut)).
 *
 * A branch whose parent is a base begins with that as a whole, whatever L is: the entries of a base may be later than the
 * branch itself, and are the copy of what stood still. While the copy is not complete the base is where it is copied from.
 * Below its own record such a branch has no states.
 *
 * Ownership  segments live in the arena; their branch ids too.
 */
#ifndef ARGON_BRANCH_CATALOG_LINEAGE_H
#define ARGON_BRANCH_CATALOG_LINEAGE_H

#include <stdint.h>

#include "branch-service/catalog/catalog.h"
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
    bool from_base;       /* the root is a base */
    bool incomplete_base; /* and its documents, not its catalog, are elsewhere */
};

/* `branches` is the catalog's collection of that name. The root is main or a base. NOT_FOUND: no such id. OUT_OF_RANGE: there
 * are no states as old as that. */
CHECKED bool lineage_resolve(const struct tree *branches, const char *branch_id, uint64_t lsn, struct arena *arena, struct lineage *lineage,
                             struct error *err);

/* The record of a branch id; main's is made up. Strings borrow from the tree. */
CHECKED bool lineage_find_record(const struct tree *branches, const char *branch_id, struct branch_record *record, struct error *err);
/* Whether it is a WAL branch that nobody holds: cheaper. */
CHECKED bool lineage_is_ordinary(const struct tree *branches, const char *branch_id, bool *ordinary, struct error *err);
CHECKED bool lineage_find_kind(const struct tree *branches, const char *branch_id, enum branch_kind *kind, struct error *err);

#endif
