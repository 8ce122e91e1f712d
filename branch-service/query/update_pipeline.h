/* Updates by pipeline: stages that make a new document of the old one, with expressions.
 *
 * $set, $addFields, $unset, $project, $replaceRoot, $replaceWith. The last stage's document replaces the old one.
 *
 * Threads  a compiled pipeline is immutable.
 * Errors   those of query_error.h.
 */
#ifndef ARGON_BRANCH_QUERY_UPDATE_PIPELINE_H
#define ARGON_BRANCH_QUERY_UPDATE_PIPELINE_H

#include "branch-service/query/expression.h"

struct update_pipeline;

/* The stages are an array, which lives as long as the arena. let may be NULL: the variables, which live as long. */
CHECKED bool update_pipeline_compile(struct bytes stages, const struct expression_variables *let, int64_t now, struct arena *arena,
                                     struct update_pipeline **pipeline, struct error *err);
void update_pipeline_free(struct update_pipeline *pipeline); /* NULL is fine. What is in the arena stays. */

/* The result lives as long as the arena and the document. */
CHECKED bool update_pipeline_apply(const struct update_pipeline *pipeline, struct bytes document, struct arena *arena, struct bytes *result,
                                   struct error *err);

#endif
