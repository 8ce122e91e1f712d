/* Updates: operators ($set, $push, ...), a whole-document replacement or a pipeline ($set, $unset, $replaceWith),
 * compiled once, applied to many documents. Knows neither RPC nor log. Semantics are MongoDB 7.0's; update_ops.c
 * has the table of operators.
 *
 * Ownership  a compiled update copies what it needs, but for the filter and the variables in its options.
 * Threads    a compiled update is immutable.
 * Errors     INVALID_ARGUMENT naming operator or path, with MongoDB's code (query_error.h); also from apply: a
 *            type that an operator cannot change, a changed _id, a result over the size or nesting limit.
 */
#ifndef ARGON_BRANCH_QUERY_UPDATE_H
#define ARGON_BRANCH_QUERY_UPDATE_H

#include <bson/bson.h>

#include "branch-service/query/expression.h"
#include "branch-service/query/filter.h"
#include "common/base/bytes.h"
#include "common/base/error.h"

enum update_kind { UPDATE_OPERATORS, UPDATE_REPLACEMENT, UPDATE_PIPELINE };

struct update_options {
    bool is_pipeline;                       /* the spec is an array, of stages */
    bool many;                              /* for more than one document, which a replacement is not */
    struct bytes array_filters;             /* an array; data NULL: none */
    const struct filter *filter;            /* what chooses the documents, for the positional "$". Borrowed as long as the
                                             * update lives; NULL: nothing is known about the documents */
    const struct expression_variables *let; /* for a pipeline; borrowed as long; NULL: none */
    int64_t now;                            /* $$NOW of a pipeline, for all documents: milliseconds since the epoch; 0: as the clock says */
};

struct update;

/* Spec and array filters have passed bson_check. {} is a replacement with an empty document. options may be NULL. */
CHECKED bool update_compile(struct bytes spec, const struct update_options *options, struct update **update, struct error *err);
void update_free(struct update *update); /* NULL is fine */
enum update_kind update_kind(const struct update *update);

/* The new image of a document. *changed = false: nothing would change, byte for byte, and out is not
 * initialised. The _id keeps its value and stays first. */
CHECKED bool update_apply(const struct update *update, struct bytes document, bson_t *out, bool *changed, struct error *err);

/* What no upsert may have in its filter, which has been compiled: $expr, whether a document matches or not. */
CHECKED bool update_check_upsert(struct bytes filter, struct error *err);

/* The document that an upsert inserts when no document matches the filter: what the filter says must be equal,
 * then the update. It can be stored; an _id that neither names is generated. The filter has been compiled. */
CHECKED bool update_insert(const struct update *update, struct bytes filter, bson_t *out, struct error *err);

/* Makes a new document storable: _id moved to the front or, when missing, generated (an ObjectId).
 * INVALID_ARGUMENT for what MongoDB refuses in a stored document ($-prefixed field names at the top level, an
 * _id that is an array, regex or undefined). out is initialised on success. */
CHECKED bool document_prepare(struct bytes document, bson_t *out, struct error *err);

#endif
