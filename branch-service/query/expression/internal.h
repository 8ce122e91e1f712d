/* Compiled expressions from inside: nodes, and the rows that operators are. */
#ifndef ARGON_BRANCH_QUERY_EXPRESSION_INTERNAL_H
#define ARGON_BRANCH_QUERY_EXPRESSION_INTERNAL_H

#include "branch-service/query/expression.h"
#include "branch-service/query/expression/value.h"
#include "branch-service/query/path.h"
#include "branch-service/query/query_error.h"

typedef bool evaluate_fn(struct run *run, const struct expression *e, struct element *out);
/* The arguments have been evaluated; one that was not given is missing. */
typedef bool apply_fn(struct run *run, const struct expression *e, const struct element *args, struct element *out);

struct expression {
    evaluate_fn *evaluate;
    const struct expression_op *op; /* NULL: a constant, path, variable, array or document */
    size_t n;
    const struct expression **args; /* of named arguments, NULL for those not given */
    const char **names;             /* document: of its fields */
    struct element constant;
    struct path path;     /* path, and of a variable's value: what is behind its name */
    size_t depth;         /* variable: so many bindings out */
    const void *compiled; /* what an operator made of constant arguments */
};

/* What expressions are compiled with. */
struct compiler {
    struct arena *arena;
    const struct expression_scope *scope;
    unsigned depth;
    struct error *err;
};

enum { MANY = 1 << 20 };

/* One operator. Either positional (from min to max arguments) or with named arguments in a document. */
struct expression_op {
    const char *name;
    int min, max;
    apply_fn *apply;       /* either this */
    evaluate_fn *evaluate; /* or this, for those that do not evaluate all of their arguments once */
    int variant;           /* which of several that are alike */
    int wrong_count;       /* error code where it is not the usual one */
    bool by_chance;        /* another value each time */
    /* named: "input!16880 as in!16882"; arguments stand in this order, and those with a number must be given,
     * or else that is the error's code */
    const char *fields;
    int not_document, unknown_field; /* error codes */
    /* for those that compile in their own way: makes the node's arguments */
    bool (*compile)(struct compiler *compiler, const struct element *spec, struct expression *node);
    /* positional: what MongoDB knows of constant arguments before it evaluates, with other codes than then */
    bool (*check)(struct compiler *compiler, const struct expression *node);
};

struct expression_ops {
    const struct expression_op *ops;
    size_t n;
};

extern const struct expression_ops ops_logic, ops_arithmetic, ops_math, ops_string, ops_array, ops_set, ops_iterate, ops_type, ops_convert,
    ops_object, ops_date, ops_date_parts, ops_date_text, ops_string_search, ops_accumulate, ops_regex, ops_percentile;

/* NULL: the error is set. */
const struct expression *compile_operand(struct compiler *compiler, const struct element *spec);
/* The same where more names can be used. */
const struct expression *compile_inside(struct compiler *compiler, const struct expression_scope *scope, const struct element *spec);
/* Positional arguments: an array's elements, or the one value. */
bool compile_arguments(struct compiler *compiler, const struct element *spec, struct expression *node);
/* Named ones, as the operator's row says. */
bool compile_fields(struct compiler *compiler, const struct element *spec, struct expression *node);
/* $literal */
bool compile_literal(struct compiler *compiler, const struct element *spec, struct expression *node);
bool compile_args_alloc(struct compiler *compiler, size_t n, struct expression *node);
/* The fields of a spec, in the order of `fields`; those not given have type 0. */
bool find_fields(struct compiler *compiler, const struct expression_op *op, const struct element *spec, struct element *found);
/* May a user name a variable so? */
bool check_variable_name(struct compiler *compiler, const char *name, size_t len);

/* A constant that is no array, nor null where that may stand? */
bool expression_is_no_array(const struct expression *e, bool null_is_fine);
/* What its value depends on; 0: always the same, and it can be evaluated when it is compiled. */
enum { READS_DOCUMENT = 1, READS_VARIABLES = 2, READS_CHANCE = 4 };
unsigned expression_reads(const struct expression *e);

/* "$a.b" or "$$variable" */
bool expression_is_path(const struct expression *e);

static inline bool evaluate(struct run *run, const struct expression *e, struct element *out)
{
    return caller_still_waits(1, run->err) && e->evaluate(run, e, out);
}

/* {$op: spec}, of a spec whose name is the operator's. NULL: the error is set. */
const struct expression *compile_op(struct compiler *compiler, const struct element *spec);

/* How many are wanted of $firstN and its kin: more than 0. */
bool read_n(struct run *run, const struct element *n, int64_t *out);

/* Of an argument that may not have been given. */
bool evaluate_optional(struct run *run, const struct expression *e, struct element *out);
/* A whole number from 0 on, or one of $indexOf...'s errors. */
bool index_argument(struct run *run, const struct expression *e, const struct element *arg, const char *what, int32_t *index);
bool walk_path(struct run *run, const struct path *path, size_t from, const struct element *value, struct element *out);

#endif
