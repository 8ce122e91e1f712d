/* The document that an upsert begins with: what a filter says must be equal. */
#ifndef ARGON_BRANCH_QUERY_UPDATE_UPSERT_H
#define ARGON_BRANCH_QUERY_UPDATE_UPSERT_H

#include "common/bson/builder.h"

/* Writes the fields that equalities of the filter fix ({a: 1}, {"a.b": {$eq: 1}}, those in $and; a $in, $all or
 * $or of one), in the order of their paths' text. only_id: just the _id. The filter compiles (filter_compile).
 * INVALID_ARGUMENT: two of them contradict each other's paths. */
CHECKED bool update_write_equalities(struct bytes filter, bool only_id, struct builder *out, struct error *err);

#endif
