/* Stages from inside: the rows that they are, compiled, and running. */
#ifndef ARGON_BRANCH_QUERY_AGGREGATE_STAGE_H
#define ARGON_BRANCH_QUERY_AGGREGATE_STAGE_H

#include "branch-service/query/expression/value.h"
#include "branch-service/query/path.h"
#include "branch-service/query/pipeline.h"
#include "branch-service/query/query_error.h"

struct stage;
struct stage_run;

struct stage_op {
    const char *name;
    /* Makes stage->spec, in the pipeline's arena. */
    bool (*compile)(struct pipeline *pipeline, const struct element *spec, struct stage *stage, struct error *err);
    void (*destroy)(struct stage *stage);                    /* what is not in the arena; NULL: nothing */
    bool (*start)(struct stage_run *run, struct error *err); /* NULL: there is nothing to do */
    bool (*next)(struct stage_run *run, struct bytes *document, bool *found, struct error *err);
    void (*stop)(struct stage_run *run); /* also when start failed; NULL: nothing */
};

struct stage {
    const struct stage_op *op;
    void *spec;
    struct stage *next;
};

struct pipeline {
    struct arena arena;
    const struct expression_scope *scope;
    struct stage *first, **last;
    size_t n;
    unsigned depth; /* of pipelines in pipelines */
};

struct stage_run {
    const struct stage *stage;
    struct stage_run *upstream; /* NULL: the source */
    struct pipeline_run *owner;
    struct arena arena; /* of the document that was handed out last, where the stage makes documents */
    void *state;
    bool gathered;
};

struct pipeline_run {
    const struct pipeline *pipeline;
    const struct pipeline_environment *environment;
    struct document_iterator source;
    struct stage_run *stages;
    size_t handed_on; /* since somebody was asked whether it goes on, from any stage to the next */
};

/* Asks the surroundings now and then; for each document, also where a stage goes through many for one. */
bool run_goes_on(struct stage_run *run, struct error *err);
/* The next document from the stage in front. */
bool upstream_next(struct stage_run *run, struct bytes *document, bool *found, struct error *err);
/* An evaluation of a document in the stage's arena. */
struct evaluation stage_evaluation(struct stage_run *run, struct bytes document);
struct run stage_values(struct stage_run *run, struct error *err); /* for making values in the stage's arena */

/* The parts of stages that are pipelines themselves. */
bool compile_inner(const struct pipeline *outer, struct bytes stages, const struct expression_scope *scope, struct pipeline **pipeline,
                   struct error *err);
bool add_stage(struct pipeline *pipeline, const struct element *stage, struct error *err);
void *spec_alloc(struct pipeline *pipeline, size_t size, struct error *err); /* zeroed; NULL: the error is set */

/* The value at a path through documents alone; missing: there is none. And a document with another one there, which is
 * missing to remove it. */
void nested_value(struct bytes document, const struct path *path, struct element *out);
bool with_nested(struct run *run, struct bytes document, const struct path *path, const struct element *value, struct bytes *out);

/* Of stages that look into other collections. */
bool open_collection(struct stage_run *run, struct bytes name, const struct filter *filter, struct document_iterator *iterator,
                     struct error *err);
/* The name of a field, perhaps dotted, without a dollar. not_string: the error's code. */
bool read_field_path(struct pipeline *pipeline, const struct element *e, int not_string, struct path *path, struct error *err);

bool fail_gathering(const char *stage, struct error *err); /* error 292 */

struct stage_ops {
    const struct stage_op *ops;
    size_t n;
};
extern const struct stage_ops stages_simple, stages_group, stages_bucket_auto, stages_join, stages_graph, stages_gather, stages_redact,
    stages_windows;

#endif
