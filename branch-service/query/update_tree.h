/* The writing traversal: a set of operators, each at the end of a path, applied to a document in one pass.
 *
 * As in path.h, this is the one place that knows what a path means for documents and arrays:
 *
 *   - a component names a field of a document, and a position in an array when it is a number;
 *   - "$[]" is every element of an array, "$[name]" every one that the array filter of that name matches; what
 *     stands behind several that match one element is put together for it;
 *   - what is not there is created: documents on the way, then the value, behind the fields that exist and in
 *     the order of path_component_compare; an array is filled up with nulls, at most MAX_BACKFILL at a time;
 *   - a path through anything else (a scalar, an array by name) cannot be created.
 *
 * "$" is a number by now (update_resolve.h).
 *
 * Ownership  actions are borrowed.
 * Errors     INVALID_ARGUMENT naming the path.
 */
#ifndef ARGON_BRANCH_QUERY_UPDATE_TREE_H
#define ARGON_BRANCH_QUERY_UPDATE_TREE_H

#include "branch-service/query/filter.h"
#include "branch-service/query/path.h"
#include "branch-service/query/update_ops.h"
#include "common/bson/builder.h"

enum { MAX_BACKFILL = 1500000 };

struct array_filter {
    const char *name;
    const struct filter *filter; /* of {name: element} */
    bool used;
};

struct array_filters {
    size_t n;
    struct array_filter *filters;
};

/* "$[]" or "$[name]". */
bool update_names_elements(const struct path_component *component);
/* That of "$[name]"; NULL for "$[]" and when there is none. */
struct array_filter *array_filters_find(const struct array_filters *filters, const struct path_component *component);

/* Puts the actions in their order. INVALID_ARGUMENT when one path is another's or begins it. */
CHECKED bool update_actions_sort(struct update_action *actions, size_t n, struct error *err);

/* Writes the fields of the updated document; the builder's top document is open. */
CHECKED bool update_actions_apply(const struct update_action *actions, size_t n, const struct array_filters *filters, uint64_t now_micros,
                                  struct bytes document, struct builder *out, struct error *err);

#endif
