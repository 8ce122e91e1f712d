/* Evaluation as callers see it, and how a path walks through values. */
#include "branch-service/query/expression/internal.h"

/* Documents of an array each give what they have; everything else in it gives nothing. */
static bool walk_array(struct run *run, const struct path *path, size_t from, const struct element *array, struct element *out)
{
    struct element_reader reader;
    struct element e, inner;
    struct list list = { 0 };
    element_reader_init(&reader, array->value);
    while (element_next(&reader, &e)) {
        if (!values_go_on(run, 0))
            return false;
        if (e.type != BSON_TYPE_DOCUMENT)
            continue;
        if (!walk_path(run, path, from, &e, &inner) || (!value_is_missing(&inner) && !list_add(run, &list, &inner)))
            return false;
    }
    return make_array(run, &list, out);
}

/* Recursion through walk_array is bounded by the path's length. */
bool walk_path(struct run *run, const struct path *path, size_t from, const struct element *value, struct element *out)
{
    struct element at = *value;
    for (size_t i = from; i < path->n; i++) {
        const struct path_component *name = &path->components[i];
        if (at.type == BSON_TYPE_ARRAY)
            return walk_array(run, path, i, &at, out);
        struct bytes within = at.value;
        bool found = at.type == BSON_TYPE_DOCUMENT && element_find(within, name->name, name->len, &at);
        if (!values_go_on(run, found ? (size_t)(at.value.data - within.data) : within.len))
            return false;
        if (!found)
            return make_missing(out);
    }
    *out = at;
    return true;
}

bool expression_evaluate(const struct expression *e, const struct evaluation *evaluation, struct element *value, struct error *err)
{
    struct run run = {
        .arena = evaluation->arena,
        .document = evaluation->document,
        .bindings = evaluation->bindings,
        .now = evaluation->now,
        .err = err,
    };
    struct element result;
    if (!e->evaluate(&run, e, &result))
        return false;
    *value = result;
    return true;
}

bool expression_is_true(const struct expression *e, const struct evaluation *evaluation, bool *result, struct error *err)
{
    struct element value;
    if (!expression_evaluate(e, evaluation, &value, err))
        return false;
    *result = value_is_true(&value);
    return true;
}

bool expression_let(struct bytes let, const struct expression_variables *outer, int64_t now, struct arena *arena,
                    struct expression_variables *out, struct error *err)
{
    static const uint8_t nothing[] = { 5, 0, 0, 0, 0 };
    struct compiler c = { .arena = arena, .err = err };
    struct expression_variables variables = outer ? *outer : (struct expression_variables) { 0 };
    struct element_reader reader;
    struct element e;
    element_reader_init(&reader, let);
    while (element_next(&reader, &e)) {
        const struct expression *expression;
        struct evaluation evaluation = {
            .arena = arena, .document = bytes_of(nothing, sizeof nothing), .bindings = variables.bindings, .now = now
        };
        struct expression_scope *scope = arena_alloc(arena, sizeof *scope);
        struct expression_binding *binding = arena_alloc(arena, sizeof *binding);
        if (!scope || !binding)
            return error_out_of_memory(err);
        if (!check_variable_name(&c, e.name, e.name_len) || !expression_compile(&e, variables.scope, arena, &expression, err) ||
            !expression_evaluate(expression, &evaluation, &binding->value, err))
            return false;
        *scope = (struct expression_scope) { e.name, e.name_len, variables.scope };
        binding->outer = variables.bindings;
        variables = (struct expression_variables) { scope, binding, variables.is_random || expression_is_random(expression) };
    }
    *out = variables;
    return true;
}
