/* $percentile and $median, as expressions and in groups: each percentile is one of the values, the least that so many of
 * them are not above. MongoDB approximates in groups of more values than it keeps; here all are kept. */
#ifndef ARGON_BRANCH_QUERY_EXPRESSION_PERCENTILE_H
#define ARGON_BRANCH_QUERY_EXPRESSION_PERCENTILE_H

#include "branch-service/query/expression/internal.h"

/* From 0 to 1; of $median, 0.5. */
struct percentile_points {
    const double *items;
    size_t n;
};

struct numbers {
    double *items;
    size_t n, capacity;
};

enum { PERCENTILE_INPUT, PERCENTILE_METHOD, PERCENTILE_P }; /* arguments of a compiled $percentile or $median */

/* Of a compiled $percentile or $median. */
bool percentile_points(struct run *run, const struct expression *e, struct percentile_points *points);
/* What is no number, or NaN, is passed over. */
bool percentile_add(struct run *run, struct numbers *numbers, const struct element *value);
/* Sorts the numbers. */
bool percentile_result(struct run *run, const struct expression *e, const struct percentile_points *points, struct numbers *numbers,
                       struct element *out);

#endif
