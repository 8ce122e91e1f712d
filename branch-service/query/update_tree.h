/* The writing traversal: a set of operators, each at the end of a path, applied to a document in one pass.
 *
 * As in path.h, this is the one place that knows what a path means for documents and arrays:
 *
 *   - a component names a field of a document, and a position in an array when it is a number;
 *   - what is not there is created: documents on the way, then the value, behind the fields that exist and in
 *     the order of path_component_compare; an array is filled up with nulls, at most MAX_BACKFILL at a time;
 *   - a path through anything else (a scalar, an array by name) cannot be created.
 *
 * Ownership  actions are borrowed.
 * Errors     INVALID_ARGUMENT naming the path.
 */
#ifndef ARGON_BRANCH_QUERY_UPDATE_TREE_H
#define ARGON_BRANCH_QUERY_UPDATE_TREE_H

#include "branch-service/query/path.h"
#include "branch-service/query/update_ops.h"
#include "common/bson/builder.h"

enum { MAX_BACKFILL = 1500000 };

struct update_action {
    const struct update_op *op;
    struct path path;
    struct element argument;
};

/* Puts the actions in their order. INVALID_ARGUMENT when one path is another's or begins it. */
CHECKED bool update_actions_sort(struct update_action *actions, size_t n, struct error *err);

/* Writes the fields of the updated document; the builder's top document is open. */
CHECKED bool update_actions_apply(const struct update_action *actions, size_t n, struct bytes document, struct builder *out,
                                  struct error *err);

#endif
