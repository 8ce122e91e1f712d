/* Sums whose doubles are not rounded at each step: of $sum and $avg. */
#ifndef ARGON_BRANCH_QUERY_EXPRESSION_SUM_H
#define ARGON_BRANCH_QUERY_EXPRESSION_SUM_H

#include "branch-service/query/expression/value.h"

struct sum {
    uint8_t type;     /* the widest so far */
    __int128 whole;   /* of ints and longs */
    double high, low; /* of doubles: the sum, and what it lacks */
    double special;   /* NaN and infinities */
    struct decimal128 decimal;
};

void sum_init(struct sum *sum);
void sum_add(struct sum *sum, const struct element *number);
/* Longs that do not fit become a double. */
bool sum_value(struct run *run, const struct sum *sum, struct element *out);
/* n > 0. A double, or a decimal where one was added. */
bool sum_average(struct run *run, const struct sum *sum, int64_t n, struct element *out);

#endif
