/* Filters: compiled once, then matched against many documents. Knows neither RPC nor log.
 *
 * Semantics are MongoDB 7.0's. In this version: equality of any BSON value on dotted paths ({a: v},
 * {a: {$eq: v}}, several fields = all of them); every other operator is refused by name.
 *
 * Ownership  a compiled filter copies what it needs.
 * Threads    a compiled filter is immutable.
 * Errors     INVALID_ARGUMENT naming operator or path.
 */
#ifndef ARGON_BRANCH_QUERY_FILTER_H
#define ARGON_BRANCH_QUERY_FILTER_H

#include "common/base/bytes.h"
#include "common/base/error.h"

struct filter;

/* An empty spec or {} matches every document. The spec has passed bson_check. */
CHECKED bool filter_compile(struct bytes spec, struct filter **filter, struct error *err);
void filter_free(struct filter *filter); /* NULL is fine */
bool filter_matches(const struct filter *filter, struct bytes document);
/* When only documents with one certain _id can match: its encoded key (borrowed). Other conditions may
 * remain: filter_matches is still asked. */
bool filter_single_id(const struct filter *filter, struct bytes *key);

#endif
