/* Comparison, boolean and conditional operators. */
#include "branch-service/query/expression/internal.h"
#include "common/bson/utf8.h"
#include "common/bson/value_compare.h"

enum { EQ, NE, GT, GTE, LT, LTE, CMP };

static bool apply_compare(struct run *run, const struct expression *e, const struct element *args, struct element *out)
{
    int order = value_compare_elements(&args[0], &args[1]);
    switch (e->op->variant) {
    case EQ:
        return make_bool(order == 0, out);
    case NE:
        return make_bool(order != 0, out);
    case GT:
        return make_bool(order > 0, out);
    case GTE:
        return make_bool(order >= 0, out);
    case LT:
        return make_bool(order < 0, out);
    case LTE:
        return make_bool(order <= 0, out);
    default:
        return make_int32(run, (order > 0) - (order < 0), out);
    }
}

/* Stops at the first argument that decides: a false one for $and, a true one for $or. */
static bool evaluate_and_or(struct run *run, const struct expression *e, struct element *out)
{
    bool deciding = e->op->variant;
    for (size_t i = 0; i < e->n; i++) {
        struct element value;
        if (!evaluate(run, e->args[i], &value))
            return false;
        if (value_is_true(&value) == deciding)
            return make_bool(deciding, out);
    }
    return make_bool(!deciding, out);
}

static bool apply_not(struct run *run, const struct expression *e, const struct element *args, struct element *out)
{
    (void)run;
    (void)e;
    return make_bool(!value_is_true(&args[0]), out);
}

static bool compile_cond(struct compiler *c, const struct element *spec, struct expression *node)
{
    if (spec->type == BSON_TYPE_DOCUMENT)
        return compile_fields(c, spec, node);
    if (!compile_arguments(c, spec, node))
        return false;
    return node->n == 3 || query_error(c->err, 16020, "Expression $cond takes exactly 3 arguments. %zu were passed in.", node->n);
}

static bool evaluate_cond(struct run *run, const struct expression *e, struct element *out)
{
    struct element condition;
    return evaluate(run, e->args[0], &condition) && evaluate(run, e->args[value_is_true(&condition) ? 1 : 2], out);
}

static bool evaluate_if_null(struct run *run, const struct expression *e, struct element *out)
{
    for (size_t i = 0; i < e->n; i++) {
        if (!evaluate(run, e->args[i], out))
            return false;
        if (!is_nullish(out))
            break;
    }
    return true;
}

/* ---- $switch: case and then in turn, and last the default, which may be NULL ---- */

static bool compile_branch(struct compiler *c, const struct element *branch, const struct expression **pair)
{
    struct element_reader reader;
    struct element e;
    if (branch->type != BSON_TYPE_DOCUMENT)
        return query_error(c->err, 40062, "$switch expected each branch to be an object, found: %s", element_type_name(branch->type));
    element_reader_init(&reader, branch->value);
    while (element_next(&reader, &e)) {
        bool is_case = element_is_named(&e, "case", 4);
        if (!is_case && !element_is_named(&e, "then", 4))
            return query_error(c->err, 40063, "$switch found an unknown argument to a branch: %.*s", utf8_fit(e.name, e.name_len, 80),
                               e.name);
        if (!(pair[is_case ? 0 : 1] = compile_operand(c, &e)))
            return false;
    }
    if (!pair[0])
        return query_error(c->err, 40064, "$switch requires each branch have a 'case' expression");
    return pair[1] || query_error(c->err, 40065, "$switch requires each branch have a 'then' expression");
}

static bool compile_switch(struct compiler *c, const struct element *spec, struct expression *node)
{
    struct element found[2], branch;
    struct element_reader reader;
    if (!find_fields(c, node->op, spec, found))
        return false;
    if (found[0].type != 0 && found[0].type != BSON_TYPE_ARRAY)
        return query_error(c->err, 40061, "$switch expected an array for 'branches', found: %s", element_type_name(found[0].type));
    size_t n = found[0].type ? count_elements(&found[0]) : 0;
    if (n == 0)
        return query_error(c->err, 40068, "$switch requires at least one branch");
    if (!compile_args_alloc(c, 2 * n + 1, node))
        return false;
    element_reader_init(&reader, found[0].value);
    for (size_t i = 0; element_next(&reader, &branch); i++) {
        if (!compile_branch(c, &branch, &node->args[2 * i]))
            return false;
    }
    if (found[1].type)
        return (node->args[2 * n] = compile_operand(c, &found[1])) != NULL;
    for (size_t i = 0; i < n; i++) {
        const struct element *known = expression_constant(node->args[2 * i]);
        if (!known || value_is_true(known))
            return true;
    }
    return query_error(c->err, 40069, "$switch: all cases are false, and there is no default");
}

static bool evaluate_switch(struct run *run, const struct expression *e, struct element *out)
{
    for (size_t i = 0; i + 1 < e->n; i += 2) {
        struct element condition;
        if (!evaluate(run, e->args[i], &condition))
            return false;
        if (value_is_true(&condition))
            return evaluate(run, e->args[i + 1], out);
    }
    if (!e->args[e->n - 1])
        return fail(run, 40066, "$switch could not find a matching branch for an input, and no default was specified");
    return evaluate(run, e->args[e->n - 1], out);
}

static const struct expression_op ops[] = {
    { "$eq", 2, 2, .apply = apply_compare, .variant = EQ },
    { "$ne", 2, 2, .apply = apply_compare, .variant = NE },
    { "$gt", 2, 2, .apply = apply_compare, .variant = GT },
    { "$gte", 2, 2, .apply = apply_compare, .variant = GTE },
    { "$lt", 2, 2, .apply = apply_compare, .variant = LT },
    { "$lte", 2, 2, .apply = apply_compare, .variant = LTE },
    { "$cmp", 2, 2, .apply = apply_compare, .variant = CMP },
    { "$and", 0, MANY, .evaluate = evaluate_and_or, .variant = false },
    { "$or", 0, MANY, .evaluate = evaluate_and_or, .variant = true },
    { "$not", 1, 1, .apply = apply_not },
    { "$cond", .evaluate = evaluate_cond, .compile = compile_cond, .fields = "if!17080 then!17081 else!17082", .unknown_field = 17083 },
    { "$ifNull", 2, MANY, .evaluate = evaluate_if_null, .wrong_count = 1257300 },
    { "$switch", .evaluate = evaluate_switch, .compile = compile_switch, .fields = "branches default", .not_document = 40060,
      .unknown_field = 40067 },
};

const struct expression_ops ops_logic = { ops, ARRAY_LEN(ops) };
