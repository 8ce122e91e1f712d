#include "branch-service/query/aggregate/accumulator.h"

#include <math.h>

#include "branch-service/query/name_index.h"
#include "common/bson/utf8.h"
#include "common/bson/value_compare.h"

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

bool keep_value(struct run *values, struct kept_value *kept, const struct element *value)
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

static bool add_sum(struct run *values, const struct accumulator *a, struct accumulator_state *state, const struct element *value)
{
    (void)values;
    (void)a;
    if (element_is_number(value)) {
        sum_add(&state->sum, value);
        state->n++;
    }
    return true;
}

/* variant: the average */
static bool result_sum(struct run *values, const struct accumulator *a, const struct accumulator_state *state, struct element *out)
{
    if (!a->op->variant)
        return sum_value(values, &state->sum, out);
    return state->n ? sum_average(values, &state->sum, state->n, out) : make_null(out);
}

static bool add_count(struct run *values, const struct accumulator *a, struct accumulator_state *state, const struct element *value)
{
    (void)values;
    (void)a;
    (void)value;
    state->n++;
    return true;
}

static bool result_count(struct run *values, const struct accumulator *a, const struct accumulator_state *state, struct element *out)
{
    (void)a;
    return make_int(values, state->n, out);
}

/* variant: 1 for the greatest, -1 for the least */
static bool add_min_max(struct run *values, const struct accumulator *a, struct accumulator_state *state, const struct element *value)
{
    if (is_nullish(value) || (state->n && value_compare_elements(value, &state->kept.value) * a->op->variant <= 0))
        return true;
    state->n = 1;
    return keep_value(values, &state->kept, value);
}

/* variant: the last */
static bool add_first_last(struct run *values, const struct accumulator *a, struct accumulator_state *state, const struct element *value)
{
    if (state->n && !a->op->variant)
        return true;
    state->n = 1;
    return keep_value(values, &state->kept, value);
}

static bool result_kept(struct run *values, const struct accumulator *a, const struct accumulator_state *state, struct element *out)
{
    (void)values;
    (void)a;
    *out = state->kept.value;
    return (state->n && !value_is_missing(out)) || make_null(out);
}

static bool add_push(struct run *values, const struct accumulator *a, struct accumulator_state *state, const struct element *value)
{
    struct element copy;
    (void)a;
    return value_is_missing(value) || (copy_value(values, value, &copy) && list_add(values, &state->list, &copy));
}

static bool result_push(struct run *values, const struct accumulator *a, const struct accumulator_state *state, struct element *out)
{
    (void)a;
    return make_array(values, &state->list, out);
}

/* Duplicates go when they fill half of the list: each value is sorted a few times in all. n: how many there were when
 * the list was last without duplicates. */
static bool add_to_set(struct run *values, const struct accumulator *a, struct accumulator_state *state, const struct element *value)
{
    if (!add_push(values, a, state, value))
        return false;
    if (state->list.n < 64 || (int64_t)state->list.n < 2 * state->n)
        return true;
    bool ok = list_sort_unique(values, &state->list);
    state->n = (int64_t)state->list.n;
    return ok;
}

static bool result_set(struct run *values, const struct accumulator *a, const struct accumulator_state *state, struct element *out)
{
    struct list list = state->list;
    (void)a;
    return list_sort_unique(values, &list) && make_array(values, &list, out);
}

static bool add_merge(struct run *values, const struct accumulator *a, struct accumulator_state *state, const struct element *value)
{
    struct name_index *names = state->more; /* of the list, in its order */
    struct element_reader reader;
    struct element copy, field;
    (void)a;
    if (is_nullish(value))
        return true;
    if (value->type != BSON_TYPE_DOCUMENT)
        return fail(values, 40400, "$mergeObjects requires object inputs, but input is of type %s", element_type_name(value->type));
    if (!names) {
        state->more = names = run_alloc(values, sizeof *names);
        if (!names)
            return false;
        *names = (struct name_index) { 0 };
    }
    if (!copy_value(values, value, &copy))
        return false;
    element_reader_init(&reader, copy.value);
    while (element_next(&reader, &field)) {
        size_t i;
        if (name_index_find(names, field.name, field.name_len, &i))
            state->list.items[i] = field;
        else if (!name_index_add(names, values->arena, field.name, field.name_len))
            return fail_memory(values);
        else if (!list_add(values, &state->list, &field))
            return false;
    }
    return true;
}

static bool result_merge(struct run *values, const struct accumulator *a, const struct accumulator_state *state, struct element *out)
{
    (void)a;
    return make_document(values, &state->list, out);
}

/* Welford's */
static bool add_deviation(struct run *values, const struct accumulator *a, struct accumulator_state *state, const struct element *value)
{
    (void)values;
    (void)a;
    if (!element_is_number(value))
        return true;
    double x = double_of(value), delta = x - state->mean;
    state->n++;
    state->mean += delta / (double)state->n;
    state->squares += delta * (x - state->mean);
    return true;
}

/* variant: of a sample */
static bool result_deviation(struct run *values, const struct accumulator *a, const struct accumulator_state *state, struct element *out)
{
    int64_t divisor = a->op->variant ? state->n - 1 : state->n;
    return divisor > 0 ? make_double(values, sqrt(state->squares / (double)divisor), out) : make_null(out);
}

static const struct accumulator_op ops[] = {
    { "$sum", add_sum, result_sum, .variant = false },
    { "$avg", add_sum, result_sum, .variant = true },
    { "$count", add_count, result_count, .takes_nothing = true },
    { "$min", add_min_max, result_kept, .variant = -1 },
    { "$max", add_min_max, result_kept, .variant = 1 },
    { "$first", add_first_last, result_kept, .variant = false },
    { "$last", add_first_last, result_kept, .variant = true },
    { "$push", .add = add_push, .result = result_push },
    { "$addToSet", .add = add_to_set, .result = result_set },
    { "$mergeObjects", .add = add_merge, .result = result_merge },
    { "$stdDevPop", add_deviation, result_deviation, .variant = false },
    { "$stdDevSamp", add_deviation, result_deviation, .variant = true },
};

static const struct accumulator_ops accumulators_one = { ops, ARRAY_LEN(ops) };
static const struct accumulator_ops *const tables[] = { &accumulators_one, &accumulators_n, &accumulators_percentile };

const char *pipeline_accumulator_name(size_t index)
{
    for (size_t t = 0; t < ARRAY_LEN(tables); index -= tables[t++]->n) {
        if (index < tables[t]->n)
            return tables[t]->ops[index].name;
    }
    return NULL;
}

static const struct accumulator_op *find_op(const struct element *name)
{
    for (size_t t = 0; t < ARRAY_LEN(tables); t++) {
        for (size_t i = 0; i < tables[t]->n; i++) {
            if (element_is_named(name, tables[t]->ops[i].name, strlen(tables[t]->ops[i].name)))
                return &tables[t]->ops[i];
        }
    }
    return NULL;
}

/* {$op: expression} */
static bool compile_one(struct pipeline *pipeline, const struct element *spec, struct accumulator *a, struct error *err)
{
    struct element_reader reader;
    struct element e = *spec;
    if (a->op->takes_nothing && (e.type != BSON_TYPE_DOCUMENT || count_elements(&e) > 0))
        return query_error(err, MONGO_TYPE_MISMATCH, "%s takes no arguments, i.e. %s:{}", a->op->name, a->op->name);
    if (!a->op->takes_nothing && e.type == BSON_TYPE_ARRAY && count_elements(&e) != 1)
        return query_error(err, 40237, "The %s accumulator is a unary operator", a->op->name);
    if (e.type == BSON_TYPE_ARRAY) { /* of one element, which is meant */
        element_reader_init(&reader, e.value);
        (void)element_next(&reader, &e);
    }
    return expression_compile(&e, pipeline->scope, &pipeline->arena, &a->expression, err);
}

bool is_accumulator(const struct element *name)
{
    return find_op(name) != NULL;
}

bool compile_accumulator_op(struct pipeline *pipeline, const struct element *spec, const char *field, struct accumulator **out,
                            struct error *err)
{
    const struct accumulator_op *op = find_op(spec);
    if (!op && element_is_named(spec, "$accumulator", 12))
        return query_error(err, MONGO_COMMAND_NOT_SUPPORTED, "$accumulator is not supported: there is no JavaScript here");
    if (!op)
        return query_error(err, 15952, "unknown group operator '%.*s'", utf8_fit(spec->name, spec->name_len, 80), spec->name);
    struct accumulator *accumulator = spec_alloc(pipeline, sizeof *accumulator, err);
    if (!accumulator)
        return false;
    accumulator->op = op;
    accumulator->name = field;
    *out = accumulator;
    return (op->compile ? op->compile : compile_one)(pipeline, spec, accumulator, err);
}

bool compile_accumulator(struct pipeline *pipeline, const struct element *field, struct accumulator **out, struct error *err)
{
    struct element_reader reader;
    struct element e;
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
    return compile_accumulator_op(pipeline, &e, field->name, out, err);
}

void destroy_accumulators(struct accumulator *first)
{
    for (struct accumulator *a = first; a; a = a->next)
        sort_free(a->sort);
}

bool compile_counter(struct pipeline *pipeline, struct accumulator **out, struct error *err)
{
    static const uint8_t one[] = { 15, 0, 0, 0, 0x10, '$', 's', 'u', 'm', 0, 1, 0, 0, 0, 0 };
    struct element counter = { .type = BSON_TYPE_DOCUMENT, .name = "count", .name_len = 5, .value = bytes_of(one, sizeof one) };
    return compile_accumulator(pipeline, &counter, out, err);
}

/* ---- of a list ---- */

bool start_accumulators(struct run *values, const struct accumulator *first, struct accumulator_state *states)
{
    for (const struct accumulator *a = first; a; a = a->next, states++) {
        *states = (struct accumulator_state) { 0 };
        sum_init(&states->sum);
        if (a->op->start && !a->op->start(values, a, states))
            return false;
    }
    return true;
}

bool add_to_accumulators(struct run *values, const struct accumulator *first, struct accumulator_state *states,
                         const struct evaluation *evaluation)
{
    struct element value;
    values->document = evaluation->document;
    for (const struct accumulator *a = first; a; a = a->next, states++) {
        if (!expression_evaluate(a->expression, evaluation, &value, values->err) || !a->op->add(values, a, states, &value))
            return false;
    }
    return true;
}

bool list_results(struct run *values, const struct accumulator *first, const struct accumulator_state *states, struct list *fields)
{
    struct element value;
    for (const struct accumulator *a = first; a; a = a->next, states++) {
        if (!a->op->result(values, a, states, &value) || !list_add_named(values, fields, a->name, strlen(a->name), &value))
            return false;
    }
    return true;
}
