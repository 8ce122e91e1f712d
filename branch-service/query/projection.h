/* Projections: which fields of a document are kept, and which are computed. Compiled once, applied to many documents.
 * Knows neither RPC nor log. Semantics are MongoDB 7.0's.
 *
 * Ownership  a compiled projection copies what it needs; a result lives as long as the evaluation's arena and document.
 * Threads    a compiled projection is immutable.
 * Errors     those of query_error.h.
 */
#ifndef ARGON_BRANCH_QUERY_PROJECTION_H
#define ARGON_BRANCH_QUERY_PROJECTION_H

#include "branch-service/query/expression.h"
#include "branch-service/query/filter.h"

enum projection_kind {
    PROJECTION_FIND,       /* of a query: with $slice, $elemMatch and "path.$" */
    PROJECTION_PROJECT,    /* the stage $project */
    PROJECTION_ADD_FIELDS, /* $addFields, $set: everything is computed, the rest stays */
};

struct projection;

/* In a query, {} is every field. The scope is borrowed for the call. */
CHECKED bool projection_compile(struct bytes spec, enum projection_kind kind, const struct expression_scope *scope,
                                struct projection **projection, struct error *err);
void projection_free(struct projection *projection); /* NULL is fine */

/* Has it "path.$"? */
bool projection_is_positional(const struct projection *projection);
/* Does it compute another value each time? */
bool projection_is_random(const struct projection *projection);

/* "path.$" needs the filter that the document matches; otherwise it may be NULL. */
CHECKED bool projection_apply(const struct projection *projection, const struct evaluation *evaluation, const struct filter *filter,
                              struct bytes *result, struct error *err);
/* Says of fields that they are gone: $unset. */
CHECKED bool projection_compile_unset(const struct element *spec, struct projection **projection, struct error *err);

#endif
