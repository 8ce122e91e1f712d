#include "branch-service/query/aggregate/accumulator.h"

#include <math.h>

#include "common/bson/utf8.h"
#include "common/bson/value_compare.h"

void accumulator_init(struct accumulator_state *state)
{
    *state = (struct accumulator_state) { 0 };
    sum_init(&state->sum);
}

static bool copy_value(struct run *values, const struct element *value, struct element *out)
{
    uint8_t *copy = run_alloc(values, value->value.len);
    if (!copy)
        return false;
    if (value->value.len)
        memcpy(copy, value->value.data, value->value.len);
    *out = (struct element) { .type = value->type, .name = "", .value = bytes_of(copy, value->value.len) };
    return true;
}

static bool keep(struct run *values, struct kept_value *kept, const struct element *value)
{
    size_t len = value->value.len;
    if (len > kept->capacity || !kept->memory) {
        size_t capacity = len < 16 ? 16 : len + len / 2;
        kept->memory = run_alloc(values, capacity);
        if (!kept->memory)
            return false;
        kept->capacity = capacity;
    }
    if (len)
        memcpy(kept->memory, value->value.data, len);
    kept->value = (struct element) { .type = value->type, .name = "", .value = bytes_of(kept->memory, len) };
    return true;
}

static bool add_sum(struct run *values, const struct accumulator_op *op, struct accumulator_state *state, const struct element *value)
{
    (void)values;
    (void)op;
    if (element_is_number(value)) {
        sum_add(&state->sum, value);
        state->n++;
    }
    return true;
}

/* variant: the average */
static bool result_sum(struct run *values, const struct accumulator_op *op, const struct accumulator_state *state, struct element *out)
{
    if (!op->variant)
        return sum_value(values, &state->sum, out);
    return state->n ? sum_average(values, &state->sum, state->n, out) : make_null(out);
}

static bool add_count(struct run *values, const struct accumulator_op *op, struct accumulator_state *state, const struct element *value)
{
    (void)values;
    (void)op;
    (void)value;
    state->n++;
    return true;
}

static bool result_count(struct run *values, const struct accumulator_op *op, const struct accumulator_state *state, struct element *out)
{
    (void)op;
    return make_int(values, state->n, out);
}

/* variant: 1 for the greatest, -1 for the least */
static bool add_min_max(struct run *values, const struct accumulator_op *op, struct accumulator_state *state, const struct element *value)
{
    if (is_nullish(value) || (state->n && value_compare_elements(value, &state->kept.value) * op->variant <= 0))
        return true;
    state->n = 1;
    return keep(values, &state->kept, value);
}

/* variant: the last */
static bool add_first_last(struct run *values, const struct accumulator_op *op, struct accumulator_state *state,
                           const struct element *value)
{
    if (state->n && !op->variant)
        return true;
    state->n = 1;
    return keep(values, &state->kept, value);
}

static bool result_kept(struct run *values, const struct accumulator_op *op, const struct accumulator_state *state, struct element *out)
{
    (void)values;
    (void)op;
    *out = state->kept.value;
    return (state->n && !value_is_missing(out)) || make_null(out);
}

static bool add_push(struct run *values, const struct accumulator_op *op, struct accumulator_state *state, const struct element *value)
{
    struct element copy;
    (void)op;
    return value_is_missing(value) || (copy_value(values, value, &copy) && list_add(values, &state->list, &copy));
}

static bool result_push(struct run *values, const struct accumulator_op *op, const struct accumulator_state *state, struct element *out)
{
    (void)op;
    return make_array(values, &state->list, out);
}

/* Duplicates go when they fill half of the list: each value is sorted a few times in all. n: how many there were when
 * the list was last without duplicates. */
static bool add_to_set(struct run *values, const struct accumulator_op *op, struct accumulator_state *state, const struct element *value)
{
    if (!add_push(values, op, state, value))
        return false;
    if (state->list.n < 64 || (int64_t)state->list.n < 2 * state->n)
        return true;
    bool ok = list_sort_unique(values, &state->list);
    state->n = (int64_t)state->list.n;
    return ok;
}

static bool result_set(struct run *values, const struct accumulator_op *op, const struct accumulator_state *state, struct element *out)
{
    struct list list = state->list;
    (void)op;
    return list_sort_unique(values, &list) && make_array(values, &list, out);
}

static bool add_merge(struct run *values, const struct accumulator_op *op, struct accumulator_state *state, const struct element *value)
{
    struct element_reader reader;
    struct element copy, field;
    (void)op;
    if (is_nullish(value))
        return true;
    if (value->type != BSON_TYPE_DOCUMENT)
        return fail(values, 40400, "$mergeObjects requires object inputs, but input is of type %s", element_type_name(value->type));
    if (!copy_value(values, value, &copy))
        return false;
    element_reader_init(&reader, copy.value);
    while (element_next(&reader, &field)) {
        size_t i = 0;
        while (i < state->list.n && !element_is_named(&state->list.items[i], field.name, field.name_len))
            i++;
        if (i < state->list.n)
            state->list.items[i] = field;
        else if (!list_add(values, &state->list, &field))
            return false;
    }
    return true;
}

static bool result_merge(struct run *values, const struct accumulator_op *op, const struct accumulator_state *state, struct element *out)
{
    (void)op;
    return make_document(values, &state->list, out);
}

/* Welford's */
static bool add_deviation(struct run *values, const struct accumulator_op *op, struct accumulator_state *state, const struct element *value)
{
    (void)values;
    (void)op;
    if (!element_is_number(value))
        return true;
    double x = double_of(value), delta = x - state->mean;
    state->n++;
    state->mean += delta / (double)state->n;
    state->squares += delta * (x - state->mean);
    return true;
}

/* variant: of a sample */
static bool result_deviation(struct run *values, const struct accumulator_op *op, const struct accumulator_state *state,
                             struct element *out)
{
    int64_t divisor = op->variant ? state->n - 1 : state->n;
    return divisor > 0 ? make_double(values, sqrt(state->squares / (double)divisor), out) : make_null(out);
}

static const struct accumulator_op ops[] = {
    { "$sum", add_sum, result_sum, false, false },
    { "$avg", add_sum, result_sum, true, false },
    { "$count", add_count, result_count, 0, true },
    { "$min", add_min_max, result_kept, -1, false },
    { "$max", add_min_max, result_kept, 1, false },
    { "$first", add_first_last, result_kept, false, false },
    { "$last", add_first_last, result_kept, true, false },
    { "$push", add_push, result_push, 0, false },
    { "$addToSet", add_to_set, result_set, 0, false },
    { "$mergeObjects", add_merge, result_merge, 0, false },
    { "$stdDevPop", add_deviation, result_deviation, false, false },
    { "$stdDevSamp", add_deviation, result_deviation, true, false },
};

const char *pipeline_accumulator_name(size_t index)
{
    return index < ARRAY_LEN(ops) ? ops[index].name : NULL;
}

bool compile_accumulator(struct pipeline *pipeline, const struct element *field, struct accumulator **out, struct error *err)
{
    struct element_reader reader;
    struct element e;
    const struct accumulator_op *op = NULL;
    int shown = utf8_fit(field->name, field->name_len, 80);
    bool operates = field->type == BSON_TYPE_DOCUMENT;
    if (operates) {
        element_reader_init(&reader, field->value);
        operates = element_next(&reader, &e) && element_name_is_operator(&e);
    }
    if (!operates)
        return query_error(err, 40234, "The field '%.*s' must be an accumulator object", shown, field->name);
    if (memchr(field->name, '.', field->name_len))
        return query_error(err, 40235, "The field name '%.*s' cannot contain '.'", shown, field->name);
    if (element_name_is_operator(field))
        return query_error(err, 40236, "The field name '%.*s' cannot be an operator name", shown, field->name);
    if (element_next(&reader, &(struct element) { 0 }))
        return query_error(err, 40238, "The field '%.*s' must specify one accumulator", shown, field->name);
    for (size_t i = 0; i < ARRAY_LEN(ops); i++) {
        if (element_is_named(&e, ops[i].name, strlen(ops[i].name)))
            op = &ops[i];
    }
    if (!op)
        return query_error(err, 15952, "unknown group operator '%.*s'", utf8_fit(e.name, e.name_len, 80), e.name);
    if (op->takes_nothing && (e.type != BSON_TYPE_DOCUMENT || count_elements(&e) > 0))
        return query_error(err, MONGO_TYPE_MISMATCH, "%s takes no arguments, i.e. %s:{}", op->name, op->name);
    if (!op->takes_nothing && e.type == BSON_TYPE_ARRAY && count_elements(&e) != 1)
        return query_error(err, 40237, "The %s accumulator is a unary operator", op->name);
    if (e.type == BSON_TYPE_ARRAY) { /* of one element, which is meant */
        element_reader_init(&reader, e.value);
        (void)element_next(&reader, &e);
    }
    struct accumulator *accumulator = spec_alloc(pipeline, sizeof *accumulator, err);
    if (!accumulator || !expression_compile(&e, pipeline->scope, &pipeline->arena, &accumulator->expression, err))
        return false;
    accumulator->op = op;
    accumulator->name = field->name;
    *out = accumulator;
    return true;
}
