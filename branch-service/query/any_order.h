/* Values that are equal but for the order of fields in documents, as $jsonSchema sees them. */
#ifndef ARGON_BRANCH_QUERY_ANY_ORDER_H
#define ARGON_BRANCH_QUERY_ANY_ORDER_H

#include "common/base/error.h"
#include "common/bson/element.h"

bool equal_in_any_order(const struct element *a, const struct element *b);
/* Of the elements of an array. False: no memory, which is taken for long arrays only. */
CHECKED bool all_different(struct bytes array, bool *different);

#endif
