/* Updates: operators ($set, $unset, $inc) or a whole-document replacement, compiled once, applied to many
 * documents. Knows neither RPC nor log. Semantics are MongoDB 7.0's.
 *
 * Ownership  a compiled update copies what it needs.
 * Threads    a compiled update is immutable.
 * Errors     INVALID_ARGUMENT naming operator or path (also from apply: a type that an operator cannot
 *            change, a changed _id, a result over the size or nesting limit).
 */
#ifndef ARGON_BRANCH_QUERY_UPDATE_H
#define ARGON_BRANCH_QUERY_UPDATE_H

#include <bson/bson.h>

#include "common/base/bytes.h"
#include "common/base/error.h"

enum update_kind { UPDATE_OPERATORS, UPDATE_REPLACEMENT };

struct update;

/* The spec has passed bson_check. {} is a replacement with an empty document. */
CHECKED bool update_compile(struct bytes spec, struct update **update, struct error *err);
void update_free(struct update *update); /* NULL is fine */
enum update_kind update_kind(const struct update *update);

/* The new image of a document. *changed = false: nothing would change, byte for byte, and out is not
 * initialised. The _id keeps its value and stays first. */
CHECKED bool update_apply(const struct update *update, struct bytes document, bson_t *out, bool *changed, struct error *err);

/* Makes a new document storable: _id moved to the front or, when missing, generated (an ObjectId).
 * INVALID_ARGUMENT for what MongoDB refuses in a stored document ($-prefixed field names at the top level, an
 * _id that is an array, regex or undefined). out is initialised on success. */
CHECKED bool document_prepare(struct bytes document, bson_t *out, struct error *err);

#endif
