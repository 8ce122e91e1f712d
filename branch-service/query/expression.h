/* Expressions of aggregation ($add, "$a.b", "$$ROOT", ...): compiled once, then evaluated against many documents.
 * Knows neither RPC nor log. Semantics are MongoDB 7.0's.
 *
 * A value is an element whose name means nothing; the one of type BSON_TYPE_EOD is missing.
 *
 * Ownership  an expression lives in the arena it was compiled into and points into its spec, which lives as long
 *            as that arena; a value lives as long as the evaluation's arena and document.
 * Threads    a compiled expression is immutable.
 * Errors     those of query_error.h; RESOURCE_EXHAUSTED when an arena is at its limit, DEADLINE_EXCEEDED (50) when loops
 *            take too long.
 */
#ifndef ARGON_BRANCH_QUERY_EXPRESSION_H
#define ARGON_BRANCH_QUERY_EXPRESSION_H

#include "common/base/arena.h"
#include "common/base/error.h"
#include "common/bson/element.h"

enum {
    EXPRESSION_MAX_NESTING = 200,
    EXPRESSION_MAX_VALUE = 64 * 1024 * 1024,   /* an array or document that only exists while evaluating */
    EXPRESSION_MAX_SECONDS = 10,               /* of loops in loops over one document */
    EXPRESSION_MAX_MEMORY = 256 * 1024 * 1024, /* of a projection of one document, and of variables */
    MAX_COMPILED_BYTES = 256 * 1024 * 1024,    /* what a spec of filters, updates, projections and stages is compiled to */
};

struct expression;

/* The names that $$name can use, innermost first, and in the same order what they stand for. NULL: none.
 * $$ROOT, $$CURRENT, $$NOW and $$REMOVE are always there. */
struct expression_scope {
    const char *name;
    size_t len;
    const struct expression_scope *outer;
};

struct expression_binding {
    struct element value;
    const struct expression_binding *outer;
};

struct expression_variables {
    const struct expression_scope *scope;
    const struct expression_binding *bindings;
    bool is_random; /* one of them has another value each time */
};

struct evaluation {
    struct arena *arena; /* for values and what is between */
    struct bytes document;
    const struct expression_binding *bindings; /* of the scope the expression was compiled in */
    int64_t now;                               /* $$NOW, milliseconds since the epoch */
};

CHECKED bool expression_compile(const struct element *spec, const struct expression_scope *scope, struct arena *arena,
                                const struct expression **expression, struct error *err);
CHECKED bool expression_evaluate(const struct expression *expression, const struct evaluation *evaluation, struct element *value,
                                 struct error *err);
/* The same, as a condition. */
CHECKED bool expression_is_true(const struct expression *expression, const struct evaluation *evaluation, bool *result, struct error *err);
/* The value when it depends on nothing; NULL otherwise. */
const struct element *expression_constant(const struct expression *expression);

/* Does $rand take part in it? */
bool expression_is_random(const struct expression *expression);

/* The variables that a command's `let` document defines: constants, or expressions over those before them.
 * outer may be NULL; all three live as long as the arena. */
CHECKED bool expression_let(struct bytes let, const struct expression_variables *outer, int64_t now, struct arena *arena,
                            struct expression_variables *variables, struct error *err);

/* May a user name a variable so? */
CHECKED bool expression_check_variable_name(const char *name, size_t len, struct error *err);
/* Of a field in a document: not empty, without a dollar in front and without dots. */
CHECKED bool expression_check_field_name(const struct element *field, struct error *err);

/* The operators there are, from 0 on; NULL behind the last. */
const char *expression_operator_name(size_t index);
/* Is the field's name that of one, also of one that is refused? */
bool expression_has_operator(const struct element *field);

static inline bool value_is_missing(const struct element *value)
{
    return value->type == BSON_TYPE_EOD;
}

#endif
