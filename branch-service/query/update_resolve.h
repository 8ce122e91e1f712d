/* What of an update depends on the document that it is for: "$" becomes the index of the array element that the
 * filter matched, $rename's target gets the value that its source has (or falls away when there is none).
 *
 * Errors  those of query_error.h.
 */
#ifndef ARGON_BRANCH_QUERY_UPDATE_RESOLVE_H
#define ARGON_BRANCH_QUERY_UPDATE_RESOLVE_H

#include "branch-service/query/update_tree.h"

/* position is NO_INDEX when the filter matched no element. The resolved actions, in order, live in the arena. */
CHECKED bool update_actions_resolve(const struct update_action *actions, size_t n, struct bytes document, int64_t position,
                                    struct arena *arena, struct update_action **resolved, size_t *n_resolved, struct error *err);

/* The component "$". */
bool update_is_positional(const struct path_component *component);

#endif
