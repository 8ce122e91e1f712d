/* Operators that define variables: $let, $map, $filter, $reduce; and $literal. */
#include "branch-service/query/expression/internal.h"
#include "common/bson/utf8.h"

/* $let: the values in their order, and last the body. The last value is the innermost variable. */
static bool compile_let(struct compiler *c, const struct element *spec, struct expression *node)
{
    struct element found[2], e;
    struct element_reader reader;
    if (!find_fields(c, node->op, spec, found))
        return false;
    if (found[0].type != BSON_TYPE_DOCUMENT && found[0].type != BSON_TYPE_ARRAY) /* whose indexes are no names */
        return query_error(c->err, 10065, "invalid parameter: expected an object (vars)");
    size_t n = count_elements(&found[0]);
    struct expression_scope *scopes = arena_alloc(c->arena, (n + 1) * sizeof *scopes);
    if (!scopes || !compile_args_alloc(c, n + 1, node))
        return error_out_of_memory(c->err);
    const struct expression_scope *inner = c->scope;
    element_reader_init(&reader, found[0].value);
    for (size_t i = 0; element_next(&reader, &e); i++) {
        if (!check_variable_name(c, e.name, e.name_len) || !(node->args[i] = compile_operand(c, &e)))
            return false;
        scopes[i] = (struct expression_scope) { e.name, e.name_len, inner };
        inner = &scopes[i];
    }
    return (node->args[n] = compile_inside(c, inner, &found[1])) != NULL;
}

static bool evaluate_let(struct run *run, const struct expression *e, struct element *out)
{
    const struct expression_binding *outer = run->bindings, *inner = outer;
    struct expression_binding *bindings = run_alloc(run, e->n * sizeof *bindings);
    if (!bindings)
        return false;
    for (size_t i = 0; i + 1 < e->n; i++) {
        if (!evaluate(run, e->args[i], &bindings[i].value))
            return false;
        bindings[i].outer = inner;
        inner = &bindings[i];
    }
    run->bindings = inner;
    bool ok = evaluate(run, e->args[e->n - 1], out);
    run->bindings = outer;
    return ok;
}

/* The scope with the variable that `as` names, "this" when it does not. */
static struct expression_scope *scope_of_as(struct compiler *c, const struct element *as)
{
    struct expression_scope *scope = arena_alloc(c->arena, sizeof *scope);
    if (!scope) {
        error_out_of_memory(c->err);
        return NULL;
    }
    *scope = (struct expression_scope) { "this", 4, c->scope };
    if (as->type == 0)
        return scope;
    if (as->type != BSON_TYPE_UTF8) {
        query_error(c->err, MONGO_FAILED_TO_PARSE, "'as' must be a string, found: %s", element_type_name(as->type));
        return NULL;
    }
    scope->name = (const char *)element_string(as).data;
    scope->len = element_string(as).len;
    return check_variable_name(c, scope->name, scope->len) ? scope : NULL;
}

enum { INPUT, AS, BODY, LIMIT };

static bool compile_each(struct compiler *c, const struct element *spec, struct expression *node)
{
    struct element found[4] = { 0 };
    struct expression_scope *scope;
    if (!find_fields(c, node->op, spec, found) || !compile_args_alloc(c, 4, node))
        return false;
    if (!(node->args[INPUT] = compile_operand(c, &found[INPUT])) || !(scope = scope_of_as(c, &found[AS])))
        return false;
    if (found[LIMIT].type && !(node->args[LIMIT] = compile_operand(c, &found[LIMIT])))
        return false;
    return (node->args[BODY] = compile_inside(c, scope, &found[BODY])) != NULL;
}

static bool evaluate_map(struct run *run, const struct expression *e, struct element *out)
{
    struct element input, item, value;
    struct element_reader reader;
    struct list list = { 0 };
    if (!evaluate(run, e->args[INPUT], &input))
        return false;
    if (is_nullish(&input))
        return make_null(out);
    if (input.type != BSON_TYPE_ARRAY)
        return fail(run, 16883, "input to $map must be an array not %s", element_type_name(input.type));
    struct expression_binding binding = { .outer = run->bindings };
    run->bindings = &binding;
    bool ok = true;
    element_reader_init(&reader, input.value);
    while (ok && element_next(&reader, &item)) {
        binding.value = item;
        ok = next_round(run) && evaluate(run, e->args[BODY], &value) && list_add(run, &list, &value);
    }
    run->bindings = binding.outer;
    return ok && make_array(run, &list, out);
}

static bool filter_limit(struct run *run, const struct expression *e, int32_t *limit)
{
    struct element value;
    *limit = INT32_MAX;
    if (!e->args[LIMIT])
        return true;
    if (!evaluate(run, e->args[LIMIT], &value))
        return false;
    if (is_nullish(&value))
        return true;
    if (!exact_int32(&value, limit))
        return fail(run, 327391, "$filter: 'limit' must be represented as a 32-bit integral value");
    return *limit > 0 || fail(run, 327392, "$filter: 'limit' must be greater than 0");
}

static bool evaluate_filter(struct run *run, const struct expression *e, struct element *out)
{
    struct element input, item, value;
    struct element_reader reader;
    struct list list = { 0 };
    int32_t limit;
    if (!evaluate(run, e->args[INPUT], &input))
        return false;
    if (is_nullish(&input))
        return make_null(out);
    if (input.type != BSON_TYPE_ARRAY)
        return fail(run, 28651, "input to $filter must be an array not %s", element_type_name(input.type));
    if (count_elements(&input) == 0) { /* the limit is not looked at then */
        *out = input;
        return true;
    }
    if (!filter_limit(run, e, &limit))
        return false;
    struct expression_binding binding = { .outer = run->bindings };
    run->bindings = &binding;
    bool ok = true;
    element_reader_init(&reader, input.value);
    while (ok && list.n < (size_t)limit && element_next(&reader, &item)) {
        binding.value = item;
        ok = next_round(run) && evaluate(run, e->args[BODY], &value) && (!value_is_true(&value) || list_add(run, &list, &item));
    }
    run->bindings = binding.outer;
    return ok && make_array(run, &list, out);
}

enum { REDUCE_INPUT, REDUCE_INITIAL, REDUCE_BODY };

static bool compile_reduce(struct compiler *c, const struct element *spec, struct expression *node)
{
    struct element found[3];
    if (!find_fields(c, node->op, spec, found) || !compile_args_alloc(c, 3, node))
        return false;
    struct expression_scope *scopes = arena_alloc(c->arena, 2 * sizeof *scopes);
    if (!scopes)
        return error_out_of_memory(c->err);
    scopes[0] = (struct expression_scope) { "value", 5, c->scope };
    scopes[1] = (struct expression_scope) { "this", 4, &scopes[0] };
    return (node->args[REDUCE_INPUT] = compile_operand(c, &found[REDUCE_INPUT])) &&
           (node->args[REDUCE_INITIAL] = compile_operand(c, &found[REDUCE_INITIAL])) &&
           (node->args[REDUCE_BODY] = compile_inside(c, &scopes[1], &found[REDUCE_BODY]));
}

static bool evaluate_reduce(struct run *run, const struct expression *e, struct element *out)
{
    struct element input;
    struct element_reader reader;
    if (!evaluate(run, e->args[REDUCE_INPUT], &input))
        return false;
    if (is_nullish(&input))
        return make_null(out);
    if (input.type != BSON_TYPE_ARRAY)
        return fail(run, 40080, "$reduce requires that 'input' be an array, found: %s", element_type_name(input.type));
    struct expression_binding value = { .outer = run->bindings }, item = { .outer = &value };
    if (!evaluate(run, e->args[REDUCE_INITIAL], &value.value))
        return false;
    run->bindings = &item;
    bool ok = true;
    element_reader_init(&reader, input.value);
    while (ok && element_next(&reader, &item.value)) {
        struct element next;
        ok = next_round(run) && evaluate(run, e->args[REDUCE_BODY], &next);
        if (ok)
            value.value = next;
    }
    run->bindings = value.outer;
    *out = value.value;
    return ok;
}

static const struct expression_op ops[] = {
    { "$let", .evaluate = evaluate_let, .compile = compile_let, .fields = "vars!16876 in!16877", .not_document = 16874,
      .unknown_field = 16875 },
    { "$map", .evaluate = evaluate_map, .compile = compile_each, .fields = "input!16880 as in!16882", .not_document = 16878,
      .unknown_field = 16879 },
    { "$filter", .evaluate = evaluate_filter, .compile = compile_each, .fields = "input!28648 as cond!28650 limit", .not_document = 28646,
      .unknown_field = 28647 },
    { "$reduce", .evaluate = evaluate_reduce, .compile = compile_reduce, .fields = "input!40077 initialValue!40078 in!40079",
      .not_document = 40075, .unknown_field = 40076 },
    { "$literal", .compile = compile_literal },
    { "$const", .compile = compile_literal }, /* its old name */
};

const struct expression_ops ops_iterate = { ops, ARRAY_LEN(ops) };
