/* $firstN, $lastN, $minN, $maxN, $top, $topN, $bottom, $bottomN: the n best of a group, in a heap whose root is the one
 * that goes next. What is equal stays in the order in which it came. */
#include <stdlib.h>

#include "branch-service/query/aggregate/accumulator.h"
#include "branch-service/query/expression/internal.h"
#include "common/bson/value_compare.h"

/* By order and number alone (FIRST, LAST), by the value itself (MIN, MAX), or by the document's sort keys (TOP, BOTTOM).
 * Those of each second kind keep what is at the end of the order. */
enum { FIRST, LAST, MIN, MAX, TOP, BOTTOM, SINGLE = 8 };

struct slot {
    uint64_t number; /* it came as */
    struct kept_value output;
    struct kept_value keys[];
};

struct best {
    int64_t limit;
    uint64_t came;
    size_t n, capacity;
    struct slot **heap;
};

static int kind_of(const struct accumulator *a)
{
    return a->op->variant & ~SINGLE;
}

static bool keeps_end(const struct accumulator *a)
{
    return kind_of(a) % 2 != 0;
}

static size_t count_keys(const struct accumulator *a)
{
    int kind = kind_of(a);
    return kind == TOP || kind == BOTTOM ? sort_key_count(a->sort) : kind == MIN || kind == MAX;
}

static int direction_of(const struct accumulator *a, size_t key)
{
    return a->sort ? sort_key_direction(a->sort, key) : 1;
}

static int compare_slots(const struct accumulator *a, const struct slot *x, const struct slot *y)
{
    for (size_t i = 0; i < count_keys(a); i++) {
        int order = value_compare_elements(&x->keys[i].value, &y->keys[i].value);
        if (order)
            return order * direction_of(a, i);
    }
    return x->number < y->number ? -1 : x->number > y->number;
}

/* The value against a slot, whatever their numbers. */
static int compare_keys(const struct accumulator *a, const struct element *keys, const struct slot *slot)
{
    for (size_t i = 0; i < count_keys(a); i++) {
        int order = value_compare_elements(&keys[i], &slot->keys[i].value);
        if (order)
            return order * direction_of(a, i);
    }
    return 0;
}

static bool goes_before(const struct accumulator *a, const struct slot *x, const struct slot *y)
{
    int order = compare_slots(a, x, y);
    return keeps_end(a) ? order < 0 : order > 0;
}

static void sift_up(const struct accumulator *a, struct best *best, size_t at)
{
    struct slot *slot = best->heap[at];
    for (; at > 0 && goes_before(a, slot, best->heap[(at - 1) / 2]); at = (at - 1) / 2)
        best->heap[at] = best->heap[(at - 1) / 2];
    best->heap[at] = slot;
}

static void sift_down(const struct accumulator *a, struct best *best)
{
    struct slot *slot = best->heap[0];
    size_t at = 0;
    for (size_t child; (child = 2 * at + 1) < best->n; at = child) {
        if (child + 1 < best->n && goes_before(a, best->heap[child + 1], best->heap[child]))
            child++;
        if (!goes_before(a, best->heap[child], slot))
            break;
        best->heap[at] = best->heap[child];
    }
    best->heap[at] = slot;
}

static bool grow(struct run *values, struct best *best)
{
    size_t capacity = best->capacity ? 2 * best->capacity : 4;
    struct slot **heap = run_alloc(values, capacity * sizeof(struct slot *));
    if (!heap)
        return false;
    if (best->n)
        memcpy(heap, best->heap, best->n * sizeof(struct slot *));
    best->heap = heap;
    best->capacity = capacity;
    return true;
}

/* A slot for what came, when that is among the best: a new one, or the root's. */
static bool find_slot(struct run *values, const struct accumulator *a, struct best *best, const struct element *keys, struct slot **slot)
{
    *slot = NULL;
    if ((int64_t)best->n < best->limit) {
        size_t size = sizeof **slot + count_keys(a) * sizeof(struct kept_value);
        if ((best->n == best->capacity && !grow(values, best)) || !(*slot = run_alloc(values, size)))
            return false;
        memset(*slot, 0, size);
        return true;
    }
    int order = compare_keys(a, keys, best->heap[0]);
    if (kind_of(a) == LAST || (keeps_end(a) ? order > 0 : order < 0))
        *slot = best->heap[0];
    return true;
}

static bool add_best(struct run *values, const struct accumulator *a, struct accumulator_state *state, const struct element *value)
{
    struct best *best = state->more;
    struct sort_key key;
    struct element output = *value;
    struct slot *slot;
    if (kind_of(a) == MIN || kind_of(a) == MAX) {
        if (is_nullish(value))
            return true;
        key.values[0] = *value;
    } else if (a->sort && !sort_key_of(a->sort, values->document, &key, values->err)) {
        return false;
    }
    if (value_is_missing(value))
        make_null(&output);
    best->came++;
    if (!find_slot(values, a, best, key.values, &slot))
        return false;
    if (!slot)
        return true;
    bool replaces = (int64_t)best->n == best->limit;
    slot->number = best->came;
    for (size_t i = 0; i < count_keys(a); i++) {
        if (!keep_value(values, &slot->keys[i], &key.values[i]))
            return false;
    }
    if (!keep_value(values, &slot->output, &output))
        return false;
    if (replaces) {
        sift_down(a, best);
    } else {
        best->heap[best->n++] = slot;
        sift_up(a, best, best->n - 1);
    }
    return true;
}

static int compare_for_result(const void *x, const void *y, void *a)
{
    return compare_slots(a, *(struct slot *const *)x, *(struct slot *const *)y);
}

static bool result_best(struct run *values, const struct accumulator *a, const struct accumulator_state *state, struct element *out)
{
    const struct best *best = state->more;
    struct list list = { 0 };
    if (best->n == 0 && (a->op->variant & SINGLE))
        return make_null(out);
    struct slot **sorted = run_alloc(values, (best->n + 1) * sizeof(struct slot *));
    if (!sorted)
        return false;
    if (best->n) {
        memcpy(sorted, best->heap, best->n * sizeof(struct slot *));
        qsort_r(sorted, best->n, sizeof(struct slot *), compare_for_result, (void *)a);
    }
    for (size_t i = 0; i < best->n; i++) {
        size_t at = kind_of(a) == MAX ? best->n - 1 - i : i;
        if (!list_add(values, &list, &sorted[at]->output.value))
            return false;
    }
    if (!(a->op->variant & SINGLE))
        return make_array(values, &list, out);
    *out = list.items[0];
    return true;
}

static bool start_best(struct run *values, const struct accumulator *a, struct accumulator_state *state)
{
    struct best *best = run_alloc(values, sizeof *best);
    struct element n;
    if (!best)
        return false;
    *best = (struct best) { .limit = 1 };
    state->more = best;
    return !a->n || (evaluate(values, a->n, &n) && read_n(values, &n, &best->limit));
}

/* ---- compiling ---- */

/* As the expression of that name, but for one error's code. */
static bool compile_as_expression(struct pipeline *pipeline, const struct element *spec, struct accumulator *a, struct error *err)
{
    bool by_order = kind_of(a) == FIRST || kind_of(a) == LAST;
    if (spec->type != BSON_TYPE_DOCUMENT)
        return query_error(err, by_order ? 5787801 : 5787900, "%s: the specification must be an object", a->op->name);
    struct compiler compiler = { .arena = &pipeline->arena, .scope = pipeline->scope, .err = err };
    const struct expression *whole = compile_op(&compiler, spec);
    if (!whole)
        return false;
    a->expression = whole->args[0];
    a->n = whole->args[1];
    return true;
}

/* {output, sortBy, n} */
static bool compile_sorted(struct pipeline *pipeline, const struct element *spec, struct accumulator *a, struct error *err)
{
    enum { OUTPUT, SORT_BY, N };
    static const struct expression_op fields[] = {
        { .fields = "output!5788004 sortBy!5788005 n!5788003", .not_document = 5788001, .unknown_field = 5788002 },
        { .fields = "output!5788004 sortBy!5788005", .not_document = 5788001, .unknown_field = 5788002 },
    };
    struct compiler compiler = { .arena = &pipeline->arena, .scope = pipeline->scope, .err = err };
    struct expression_op op = fields[(a->op->variant & SINGLE) != 0];
    struct element found[3] = { { 0 } };
    op.name = a->op->name;
    if (!find_fields(&compiler, &op, spec, found))
        return false;
    if (found[SORT_BY].type != BSON_TYPE_DOCUMENT)
        return query_error(err, 10065, "%s: 'sortBy' must be an object, not %s", op.name, element_type_name(found[SORT_BY].type));
    return sort_compile(found[SORT_BY].value, &a->sort, err) &&
           expression_compile(&found[OUTPUT], pipeline->scope, &pipeline->arena, &a->expression, err) &&
           (!found[N].type || expression_compile(&found[N], pipeline->scope, &pipeline->arena, &a->n, err));
}

#define BEST(name, kind, how)                                                                                                              \
    {                                                                                                                                      \
        name, add_best, result_best, .variant = (kind), .compile = how, .start = start_best                                                \
    }

static const struct accumulator_op ops[] = {
    BEST("$firstN", FIRST, compile_as_expression),    BEST("$lastN", LAST, compile_as_expression),
    BEST("$minN", MIN, compile_as_expression),        BEST("$maxN", MAX, compile_as_expression),
    BEST("$top", TOP | SINGLE, compile_sorted),       BEST("$topN", TOP, compile_sorted),
    BEST("$bottom", BOTTOM | SINGLE, compile_sorted), BEST("$bottomN", BOTTOM, compile_sorted),
};

const struct accumulator_ops accumulators_n = { ops, ARRAY_LEN(ops) };
