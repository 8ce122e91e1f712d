/* Filters: compiled once, then matched against many documents. Knows neither RPC nor log.
 *
 * Semantics are MongoDB 7.0's; filter_ops.c has the table of operators. What is refused ($where, $text,
 * places on a sphere, what is random) is refused by name.
 *
 * Ownership  a compiled filter copies what it needs.
 * Threads    a compiled filter is immutable: any number of threads match with it at once.
 * Errors     INVALID_ARGUMENT naming operator or path, with MongoDB's code (query_error.h). All errors of a spec
 *            are found when it is compiled; what is left for a match is what depends on the document: a
 *            regular expression that takes too long, an expression that divides by zero.
 */
#ifndef ARGON_BRANCH_QUERY_FILTER_H
#define ARGON_BRANCH_QUERY_FILTER_H

#include "common/base/bytes.h"
#include "common/base/error.h"

struct filter;
struct expression_variables;

/* For $expr: what it can call $$name, borrowed for as long as the filter lives, and what $$NOW is. */
struct filter_options {
    const struct expression_variables *let; /* NULL: none */
    int64_t now;                            /* milliseconds since the epoch */
};

/* An empty spec or {} matches every document. The spec has passed bson_check. */
CHECKED bool filter_compile(struct bytes spec, struct filter **filter, struct error *err);
CHECKED bool filter_compile_with(struct bytes spec, const struct filter_options *options, struct filter **filter, struct error *err);
void filter_free(struct filter *filter);           /* NULL is fine */
size_t filter_memory(const struct filter *filter); /* bytes, its patterns aside */
CHECKED bool filter_matches(const struct filter *filter, struct bytes document, bool *matches, struct error *err);

/* Of a document that matches: which element of an array did it, for the `$` of updates and projections. It is
 * the index in the outermost array on the way, of the last condition that went through one, in MongoDB's order of
 * conditions. Those within $nor and $not don't count, nor those within $or but for one alone, and equalities of one path, which
 * are an $in. False: none did. */
bool filter_match_position(const struct filter *filter, struct bytes document, int64_t *array_index);

/* When only documents with one certain _id can match: its encoded key (borrowed). Other conditions may
 * remain: filter_matches is still asked. */
bool filter_single_id(const struct filter *filter, struct bytes *key);

/* Encoded keys, from the first to in front of the second, which is empty for "to the end". */
struct id_range {
    struct bytes from, to;
};
/* The ranges that hold the _id of every document that can match: rising, apart from each other, borrowed. n = 0:
 * none can. False: any _id can. As above, filter_matches is still asked. */
bool filter_id_bounds(const struct filter *filter, const struct id_range **ranges, size_t *n);

#endif
