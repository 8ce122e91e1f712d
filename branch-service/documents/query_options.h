/* What every query can say besides what it looks for, and what its specs are compiled and evaluated with.
 *
 * Ownership  options are borrowed for the call. A context lives as long as what was compiled with it.
 * Errors     INVALID_ARGUMENT, with MongoDB's code.
 */
#ifndef ARGON_BRANCH_DOCUMENTS_QUERY_OPTIONS_H
#define ARGON_BRANCH_DOCUMENTS_QUERY_OPTIONS_H

#include "branch-service/query/expression.h"
#include "branch-service/query/filter.h"

struct query_options {
    struct bytes let;       /* names and values; empty: none */
    struct bytes collation; /* empty, {} or {"locale": "simple"} */
    /* For MongoDB: a WAL branch has no index but the order of _id. At most one is set. */
    const char *hint; /* NULL or "": none */
    struct bytes hint_keys;
    const char *comment; /* NULL or "": none */
};

CHECKED bool query_options_check(const struct query_options *options, struct error *err);

struct query_context {
    struct arena arena;
    struct expression_variables variables;
    int64_t now;
};

/* Checks the options, too. Nothing to destroy on failure. */
CHECKED bool query_context_init(struct query_context *context, const struct query_options *options, struct error *err);
void query_context_destroy(struct query_context *context); /* zeroed is fine */

/* The spec may be unchecked BSON; empty matches every document. */
CHECKED bool query_context_filter(const struct query_context *context, struct bytes spec, struct filter **filter, struct error *err);

#endif
