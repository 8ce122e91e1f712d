#include <math.h>
#include <stdlib.h>

#include "branch-service/query/expression/percentile.h"

bool percentile_add(struct run *run, struct numbers *numbers, const struct element *value)
{
    double number = element_is_number(value) ? double_of(value) : NAN;
    if (isnan(number))
        return true;
    if (numbers->n == numbers->capacity) {
        size_t capacity = numbers->capacity ? 2 * numbers->capacity : 8;
        double *items = run_alloc(run, capacity * sizeof *items);
        if (!items)
            return false;
        if (numbers->n)
            memcpy(items, numbers->items, numbers->n * sizeof *items);
        numbers->items = items;
        numbers->capacity = capacity;
    }
    numbers->items[numbers->n++] = number;
    return true;
}

/* ---- where to look ---- */

static bool read_points(struct run *run, const struct element *p, struct percentile_points *points)
{
    static const char *const wanted = "The $percentile 'p' field must be an array of numbers from [0.0, 1.0]";
    struct element_reader reader;
    struct element e;
    size_t n = p->type == BSON_TYPE_ARRAY ? count_elements(p) : 0;
    if (n == 0)
        return fail(run, 7750301, "%s", wanted);
    double *items = run_alloc(run, n * sizeof *items);
    if (!items)
        return false;
    *points = (struct percentile_points) { items, n };
    element_reader_init(&reader, p->value);
    for (size_t i = 0; element_next(&reader, &e); i++) {
        if (!element_is_number(&e))
            return fail(run, 7750302, "%s, but found: %s", wanted, element_type_name(e.type));
        items[i] = double_of(&e);
        if (!(items[i] >= 0 && items[i] <= 1))
            return fail(run, 7750303, "%s, but found: %g", wanted, items[i]);
    }
    return true;
}

bool percentile_points(struct run *run, const struct expression *e, struct percentile_points *points)
{
    struct element p;
    if (e->compiled) {
        *points = *(const struct percentile_points *)e->compiled;
        return true;
    }
    return evaluate(run, e->args[PERCENTILE_P], &p) && read_points(run, &p, points);
}

static bool compile_percentile(struct compiler *c, const struct element *spec, struct expression *node)
{
    static const double half = 0.5;
    static const struct percentile_points median = { &half, 1 };
    struct element method = { 0 }, p;
    if (!compile_fields(c, spec, node))
        return false;
    (void)element_find(spec->value, "method", 6, &method);
    if (method.type != BSON_TYPE_UTF8)
        return query_error(c->err, MONGO_TYPE_MISMATCH, "BSON field '%s.method' is the wrong type '%s', expected type 'string'",
                           node->op->name, element_type_name(method.type));
    if (!bytes_equal(element_string(&method), bytes_of_string("approximate")))
        return query_error(c->err, MONGO_BAD_VALUE, "Currently only 'approximate' can be used as percentile 'method'");
    if (node->n <= PERCENTILE_P) {
        node->compiled = &median;
        return true;
    }
    unsigned reads = expression_reads(node->args[PERCENTILE_P]);
    if (reads & READS_DOCUMENT)
        return query_error(c->err, 7750300, "The $percentile 'p' field must be an array of constant values");
    if (reads)
        return true; /* of variables, whose values are known when it is evaluated */
    struct run run = { .arena = c->arena, .err = c->err };
    struct percentile_points *points = run_alloc(&run, sizeof *points);
    node->compiled = points;
    return points && evaluate(&run, node->args[PERCENTILE_P], &p) && read_points(&run, &p, points);
}

/* ---- what is there ---- */

static int compare_doubles(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

bool percentile_result(struct run *run, const struct expression *e, const struct percentile_points *points, struct numbers *numbers,
                       struct element *out)
{
    struct list list = { 0 };
    struct element value;
    if (numbers->n)
        qsort(numbers->items, numbers->n, sizeof *numbers->items, compare_doubles);
    for (size_t i = 0; i < points->n; i++) {
        double rank = ceil(points->items[i] * (double)numbers->n) - 1;
        size_t at = rank > 0 ? (size_t)rank : 0;
        if (!(numbers->n ? make_double(run, numbers->items[at < numbers->n ? at : numbers->n - 1], &value) : make_null(&value)) ||
            !list_add(run, &list, &value))
            return false;
    }
    if (e->n > PERCENTILE_P)
        return make_array(run, &list, out);
    *out = list.items[0];
    return true;
}

/* Of an array, its elements; a number is one by itself. */
static bool apply_percentile(struct run *run, const struct expression *e, const struct element *args, struct element *out)
{
    struct percentile_points points;
    struct numbers numbers = { 0 };
    struct element_reader reader;
    struct element item;
    if (!percentile_points(run, e, &points))
        return false;
    if (args[PERCENTILE_INPUT].type == BSON_TYPE_ARRAY) {
        element_reader_init(&reader, args[PERCENTILE_INPUT].value);
        while (element_next(&reader, &item)) {
            if (!percentile_add(run, &numbers, &item))
                return false;
        }
    } else if (!percentile_add(run, &numbers, &args[PERCENTILE_INPUT])) {
        return false;
    }
    return percentile_result(run, e, &points, &numbers, out);
}

static const struct expression_op ops[] = {
    { "$percentile", .apply = apply_percentile, .compile = compile_percentile, .fields = "input!40414 method!40414 p!40414",
      .not_document = 7436200, .unknown_field = 40415 },
    { "$median", .apply = apply_percentile, .compile = compile_percentile, .fields = "input!40414 method!40414", .not_document = 7436201,
      .unknown_field = 40415 },
};

const struct expression_ops ops_percentile = { ops, ARRAY_LEN(ops) };
