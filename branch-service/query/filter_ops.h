/* The operators that a filter can put on a path, one row each. */
#ifndef ARGON_BRANCH_QUERY_FILTER_OPS_H
#define ARGON_BRANCH_QUERY_FILTER_OPS_H

#include "common/base/error.h"
#include "common/bson/element.h"

struct filter_op {
    const char *name;
    /* Is the operand one that the operator takes? */
    bool (*check)(const struct element *operand, struct error *err);
    /* Of one value that the path reached; value is NULL for missing. A document matches when one value does. */
    bool (*matches)(const struct element *value, const struct element *operand);
    /* Only documents that hold the operand itself can match. */
    bool is_equality;
};

/* NULL: there is no such operator. */
const struct filter_op *filter_op_find(const char *name, size_t len);

#endif
