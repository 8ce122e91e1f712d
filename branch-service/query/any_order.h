/* Values that are equal but for the order of fields in documents, as $jsonSchema sees them. */
#ifndef ARGON_BRANCH_QUERY_ANY_ORDER_H
#define ARGON_BRANCH_QUERY_ANY_ORDER_H

#include "common/base/error.h"
#include "common/bson/element.h"

/* False, of both: CANCELLED or DEADLINE_EXCEEDED of a caller who has gone, or no memory. */
CHECKED bool equal_in_any_order(const struct element *a, const struct element *b, bool *equal, struct error *err);
/* Of the elements of an array. */
CHECKED bool all_different(struct bytes array, bool *different, struct error *err);

#endif
