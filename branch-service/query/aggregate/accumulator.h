/* What $group gathers of each group: rows, and their states. */
#ifndef ARGON_BRANCH_QUERY_AGGREGATE_ACCUMULATOR_H
#define ARGON_BRANCH_QUERY_AGGREGATE_ACCUMULATOR_H

#include "branch-service/query/aggregate/stage.h"
#include "branch-service/query/expression/sum.h"
#include "branch-service/query/sort.h"

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
    void *more; /* what an operator makes for itself; NULL at first */
};

struct accumulator;

struct accumulator_op {
    const char *name;
    /* values: whose arena lives as long as the group, and whose document is the one that the value is of. False: the error
     * is set. */
    bool (*add)(struct run *values, const struct accumulator *a, struct accumulator_state *state, const struct element *value);
    bool (*result)(struct run *values, const struct accumulator *a, const struct accumulator_state *state, struct element *out);
    int variant;
    bool takes_nothing; /* {$count: {}} */
    /* For those that take more than one expression. */
    bool (*compile)(struct pipeline *pipeline, const struct element *spec, struct accumulator *a, struct error *err);
    /* A group begins, whose id is the document. NULL: there is nothing to do. */
    bool (*start)(struct run *values, const struct accumulator *a, struct accumulator_state *state);
};

struct accumulator_ops {
    const struct accumulator_op *ops;
    size_t n;
};
extern const struct accumulator_ops accumulators_n, accumulators_percentile;

struct accumulator {
    const struct accumulator_op *op;
    const struct expression *expression;
    const char *name; /* of the field */
    struct accumulator *next;
    const struct expression *n;          /* how many are wanted */
    const struct expression *percentile; /* the whole of it */
    struct sort *sort;
};

/* {name: {$op: expression}}; what was made of it is in *out when there is an error, too. */
bool compile_accumulator(struct pipeline *pipeline, const struct element *field, struct accumulator **out, struct error *err);
/* {$op: expression}, of a field that has been looked at. */
bool compile_accumulator_op(struct pipeline *pipeline, const struct element *spec, const char *field, struct accumulator **out,
                            struct error *err);
bool is_accumulator(const struct element *name);
void destroy_accumulators(struct accumulator *first); /* what is not in the pipeline's arena */
/* {count: {$sum: 1}}: what stages have where nothing else is asked for. */
bool compile_counter(struct pipeline *pipeline, struct accumulator **out, struct error *err);

/* For all of a list, whose states stand in its order. start: values' document is the group's id. */
bool start_accumulators(struct run *values, const struct accumulator *first, struct accumulator_state *states);
bool add_to_accumulators(struct run *values, const struct accumulator *first, struct accumulator_state *states,
                         const struct evaluation *evaluation);
bool list_results(struct run *values, const struct accumulator *first, const struct accumulator_state *states, struct list *fields);

bool keep_value(struct run *values, struct kept_value *kept, const struct element *value);

#endif
