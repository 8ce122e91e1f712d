/* $percentile and $median of a group. */
#include "branch-service/query/aggregate/accumulator.h"
#include "branch-service/query/expression/percentile.h"

struct gathered {
    struct percentile_points points;
    struct numbers numbers;
};

static bool start_percentile(struct run *values, const struct accumulator *a, struct accumulator_state *state)
{
    struct gathered *gathered = run_alloc(values, sizeof *gathered);
    state->more = gathered;
    if (!gathered)
        return false;
    gathered->numbers = (struct numbers) { 0 };
    return percentile_points(values, a->percentile, &gathered->points);
}

static bool add_percentile(struct run *values, const struct accumulator *a, struct accumulator_state *state, const struct element *value)
{
    (void)a;
    return percentile_add(values, &((struct gathered *)state->more)->numbers, value);
}

static bool result_percentile(struct run *values, const struct accumulator *a, const struct accumulator_state *state, struct element *out)
{
    struct gathered *gathered = state->more;
    return percentile_result(values, a->percentile, &gathered->points, &gathered->numbers, out);
}

/* variant: the error's code when the spec is no document */
static bool compile_percentile(struct pipeline *pipeline, const struct element *spec, struct accumulator *a, struct error *err)
{
    if (spec->type != BSON_TYPE_DOCUMENT)
        return query_error(err, a->op->variant, "%s: the specification must be an object", a->op->name);
    struct compiler compiler = { .arena = &pipeline->arena, .scope = pipeline->scope, .err = err };
    a->percentile = compile_op(&compiler, spec);
    if (!a->percentile)
        return false;
    a->expression = a->percentile->args[PERCENTILE_INPUT];
    return true;
}

#define PERCENTILE(name, code)                                                                                                             \
    {                                                                                                                                      \
        name, add_percentile, result_percentile, .variant = (code), .compile = compile_percentile, .start = start_percentile               \
    }

static const struct accumulator_op ops[] = {
    PERCENTILE("$percentile", 7429703),
    PERCENTILE("$median", 7436100),
};

const struct accumulator_ops accumulators_percentile = { ops, ARRAY_LEN(ops) };
