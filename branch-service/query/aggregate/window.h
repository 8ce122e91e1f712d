/* $setWindowFields, compiled: what is computed for each document, and over which of its neighbours. */
#ifndef ARGON_BRANCH_QUERY_AGGREGATE_WINDOW_H
#define ARGON_BRANCH_QUERY_AGGREGATE_WINDOW_H

#include "branch-service/query/aggregate/accumulator.h"

struct window_bound {
    enum { BOUND_NONE, BOUND_CURRENT, BOUND_OFFSET } kind;
    int64_t documents;              /* an offset among the documents */
    const struct expression *value; /* or, of a range, what the sort key of the current one becomes with the offset */
};

struct window {
    bool by_range, has_unit;
    struct window_bound lower, upper;
};

enum window_function { WINDOW_ACCUMULATE, WINDOW_RANK, WINDOW_DENSE_RANK, WINDOW_NUMBER, WINDOW_SHIFT, WINDOW_LOCF };

struct window_output {
    struct path path;
    enum window_function function;
    struct window window;
    struct accumulator *accumulator; /* accumulate */
    const struct expression *input;  /* shift, locf */
    int32_t by;                      /* shift */
    const struct expression *otherwise;
};

struct windows_spec {
    const struct expression *partition; /* NULL: all documents are one */
    struct sort *sort;                  /* NULL: none */
    struct bytes sort_field;            /* of the only key; empty when there are more */
    bool ascending;
    struct window_output *outputs;
    size_t n_outputs;
};

bool compile_windows(struct pipeline *pipeline, const struct element *spec, struct stage *stage, struct error *err);
void destroy_windows(struct stage *stage);

#endif
