/* What $group gathers of each group: rows, and their states. */
#ifndef ARGON_BRANCH_QUERY_AGGREGATE_ACCUMULATOR_H
#define ARGON_BRANCH_QUERY_AGGREGATE_ACCUMULATOR_H

#include "branch-service/query/aggregate/stage.h"
#include "branch-service/query/expression/sum.h"

/* A value in memory of its own, which the next one takes over when it fits. */
struct kept_value {
    struct element value;
    uint8_t *memory;
    size_t capacity;
};

struct accumulator_state {
    struct sum sum;
    int64_t n;
    double mean, squares;
    struct kept_value kept;
    struct list list;
};

struct accumulator_op {
    const char *name;
    /* values: whose arena lives as long as the group. False: the error is set. */
    bool (*add)(struct run *values, const struct accumulator_op *op, struct accumulator_state *state, const struct element *value);
    bool (*result)(struct run *values, const struct accumulator_op *op, const struct accumulator_state *state, struct element *out);
    int variant;
    bool takes_nothing; /* {$count: {}} */
};

struct accumulator {
    const struct accumulator_op *op;
    const struct expression *expression;
    const char *name; /* of the field */
    struct accumulator *next;
};

/* {name: {$op: expression}} */
bool compile_accumulator(struct pipeline *pipeline, const struct element *field, struct accumulator **out, struct error *err);
void accumulator_init(struct accumulator_state *state);

#endif
