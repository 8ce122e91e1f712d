/* $sum, $avg, $min, $max and their kin as expressions: over the arguments, or over the elements of a single
 * argument that is an array. */
#include <math.h>
#include <stdlib.h>

#include "branch-service/query/expression/internal.h"
#include "branch-service/query/expression/sum.h"
#include "common/bson/value_compare.h"

/* What is gone through: the arguments, or the one array. */
static bool values_of(struct run *run, const struct expression *e, const struct element *args, struct list *list)
{
    if (e->n == 1 && args[0].type == BSON_TYPE_ARRAY)
        return list_of(run, &args[0], list);
    *list = (struct list) { .items = (struct element *)args, .n = e->n };
    return true;
}

static bool apply_sum(struct run *run, const struct expression *e, const struct element *args, struct element *out)
{
    struct list list;
    struct sum sum;
    int64_t n = 0;
    if (!values_of(run, e, args, &list))
        return false;
    sum_init(&sum);
    for (size_t i = 0; i < list.n; i++) {
        if (element_is_number(&list.items[i])) {
            sum_add(&sum, &list.items[i]);
            n++;
        }
    }
    if (!e->op->variant)
        return sum_value(run, &sum, out);
    return n ? sum_average(run, &sum, n, out) : make_null(out);
}

/* variant: 1 for the greatest, -1 for the least */
static bool apply_min_max(struct run *run, const struct expression *e, const struct element *args, struct element *out)
{
    struct list list;
    const struct element *best = NULL;
    if (!values_of(run, e, args, &list))
        return false;
    for (size_t i = 0; i < list.n; i++) {
        if (is_nullish(&list.items[i]))
            continue;
        if (!best || value_compare_elements(&list.items[i], best) * e->op->variant > 0)
            best = &list.items[i];
    }
    if (!best)
        return make_null(out);
    *out = *best;
    return true;
}

/* variant: of a sample */
static bool apply_std_dev(struct run *run, const struct expression *e, const struct element *args, struct element *out)
{
    struct list list;
    double mean = 0, squares = 0;
    int64_t n = 0;
    if (!values_of(run, e, args, &list))
        return false;
    for (size_t i = 0; i < list.n; i++) {
        if (!element_is_number(&list.items[i]))
            continue;
        double value = double_of(&list.items[i]), delta = value - mean;
        n++;
        mean += delta / (double)n;
        squares += delta * (value - mean);
    }
    int64_t divisor = e->op->variant ? n - 1 : n;
    return divisor > 0 ? make_double(run, sqrt(squares / (double)divisor), out) : make_null(out);
}

/* ---- $firstN, $lastN, $minN, $maxN ---- */

enum { FIRST_N, LAST_N, MIN_N, MAX_N };

static int compare_ascending(const struct element *a, const struct element *b, const void *ctx)
{
    (void)ctx;
    return value_compare_elements(a, b);
}

static int compare_descending(const struct element *a, const struct element *b, const void *ctx)
{
    return compare_ascending(b, a, ctx);
}

bool read_n(struct run *run, const struct element *n, int64_t *out)
{
    if (!element_is_number(n))
        return fail(run, 5787902, "Value for 'n' must be of integral type, but found %s", element_type_name(n->type));
    if (!exact_int64(n, out))
        return fail(run, 5787903, "Value for 'n' must be of integral type");
    return *out > 0 || fail(run, 5787908, "'n' must be greater than 0, found %lld", (long long)*out);
}

static bool apply_n(struct run *run, const struct expression *e, const struct element *args, struct element *out)
{
    struct list all, list = { 0 };
    int64_t n;
    if (!read_n(run, &args[1], &n))
        return false;
    if (args[0].type != BSON_TYPE_ARRAY)
        return fail(run, 5788200, "Input must be an array, but found %s", element_type_name(args[0].type));
    if (!list_of(run, &args[0], &all))
        return false;
    bool by_value = e->op->variant == MIN_N || e->op->variant == MAX_N;
    for (size_t i = 0; by_value && i < all.n; i++) {
        if (!is_nullish(&all.items[i]) && !list_add(run, &list, &all.items[i]))
            return false;
    }
    if (!by_value)
        list = all;
    else if (!list_sort(run, &list, e->op->variant == MIN_N ? compare_ascending : compare_descending, NULL))
        return false;
    if ((uint64_t)n < list.n) {
        if (e->op->variant == LAST_N)
            list.items += list.n - (size_t)n;
        list.n = (size_t)n;
    }
    return make_array(run, &list, out);
}

#define N_FIELDS .fields = "input!5787907 n!5787906", .not_document = 5787900, .unknown_field = 5787901

static const struct expression_op ops[] = {
    { "$sum", 0, MANY, .apply = apply_sum, .variant = false },
    { "$avg", 0, MANY, .apply = apply_sum, .variant = true },
    { "$min", 0, MANY, .apply = apply_min_max, .variant = -1 },
    { "$max", 0, MANY, .apply = apply_min_max, .variant = 1 },
    { "$stdDevPop", 0, MANY, .apply = apply_std_dev, .variant = false },
    { "$stdDevSamp", 0, MANY, .apply = apply_std_dev, .variant = true },
    { "$firstN", .apply = apply_n, .variant = FIRST_N, N_FIELDS },
    { "$lastN", .apply = apply_n, .variant = LAST_N, N_FIELDS },
    { "$minN", .apply = apply_n, .variant = MIN_N, N_FIELDS },
    { "$maxN", .apply = apply_n, .variant = MAX_N, N_FIELDS },
};

const struct expression_ops ops_accumulate = { ops, ARRAY_LEN(ops) };
