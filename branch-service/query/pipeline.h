/* Aggregation pipelines over an iterator of documents. Knows neither RPC nor log. Semantics are MongoDB 7.0's.
 *
 * Stages pull documents from each other, one at a time. Those that have to gather ($sort, $group, $facet, ...) do so in
 * bounded memory.
 *
 * Ownership  a compiled pipeline copies what it needs. A document is valid until the next is asked for.
 * Threads    a compiled pipeline is immutable; a run is one thread's.
 * Errors     those of query_error.h; 292 when a gathering stage is at its memory limit.
 */
#ifndef ARGON_BRANCH_QUERY_PIPELINE_H
#define ARGON_BRANCH_QUERY_PIPELINE_H

#include "branch-service/query/expression.h"
#include "branch-service/query/filter.h"

enum { PIPELINE_MEMORY_BYTES = 100 * 1024 * 1024, MAX_PIPELINE_STAGES = 1000, MAX_PIPELINE_NESTING = 20 };

/* Where documents come from. */
struct document_iterator {
    /* *found = false: there are no more. The document is valid until the next call. */
    bool (*next)(void *ctx, struct bytes *document, bool *found, struct error *err);
    void (*close)(void *ctx); /* may be NULL */
    void *ctx;
    int id_direction; /* 1 or -1: they come in the order of _id, upwards or downwards; 0: in any */
};

/* What stages ask of their surroundings. */
struct pipeline_environment {
    /* The documents of another collection: for $lookup and $unionWith. Those that cannot match the filter (NULL: none) need
     * not be among them. NULL: the stages are refused. */
    bool (*open)(void *ctx, struct bytes collection, const struct filter *filter, struct document_iterator *iterator, struct error *err);
    /* Asked now and then: false ends the run. NULL: nobody is asked. */
    bool (*goes_on)(void *ctx, struct error *err);
    void *ctx;
    struct expression_variables variables; /* whose scope the pipeline was compiled with */
    int64_t now;
    size_t memory_bytes; /* of each gathering stage */
};

struct pipeline;
struct pipeline_run;

/* An array of stages. The scope is borrowed for as long as the pipeline lives. */
CHECKED bool pipeline_compile(struct bytes stages, const struct expression_scope *scope, struct pipeline **pipeline, struct error *err);
void pipeline_free(struct pipeline *pipeline); /* NULL is fine */

/* What the first stage filters by, so that the source may leave out what cannot match; NULL: nothing. */
const struct filter *pipeline_first_match(const struct pipeline *pipeline);

/* 1 or -1: the pipeline sorts by _id alone before anything but $match, and needs no memory for it when the source comes in
 * this direction; 0: it does not. */
int pipeline_id_direction(const struct pipeline *pipeline);

/* The run owns the source from the call on, also when it fails. The pipeline and the environment are borrowed. */
CHECKED bool pipeline_start(const struct pipeline *pipeline, struct document_iterator source,
                            const struct pipeline_environment *environment, struct pipeline_run **run, struct error *err);
CHECKED bool pipeline_next(struct pipeline_run *run, struct bytes *document, bool *found, struct error *err);
void pipeline_stop(struct pipeline_run *run); /* NULL is fine */

/* The stages there are, from 0 on; NULL behind the last. */
const char *pipeline_stage_name(size_t index);
const char *pipeline_accumulator_name(size_t index);

#endif
