/* Arrays as sets. Where the order of a result means nothing, it is that of values. */
#include <stdlib.h>

#include "branch-service/query/expression/internal.h"
#include "common/bson/value_compare.h"

static bool set_of(struct run *run, const struct expression *e, const struct element *arg, int code, struct list *set)
{
    if (arg->type != BSON_TYPE_ARRAY)
        return fail(run, code, "All operands of %s must be arrays. One argument is of type: %s", e->op->name, element_type_name(arg->type));
    return list_of(run, arg, set) && list_sort_unique(run, set);
}

static bool set_has(const struct list *set, const struct element *value)
{
    return set->n && bsearch(value, set->items, set->n, sizeof *set->items, value_compare_items);
}

static bool apply_set_union(struct run *run, const struct expression *e, const struct element *args, struct element *out)
{
    struct list all = { 0 };
    for (size_t i = 0; i < e->n; i++) {
        if (is_nullish(&args[i]))
            return make_null(out);
        if (args[i].type != BSON_TYPE_ARRAY)
            return fail(run, 17043, "All operands of $setUnion must be arrays. One argument is of type: %s",
                        element_type_name(args[i].type));
        if (!list_add_all(run, &all, &args[i]))
            return false;
    }
    return list_sort_unique(run, &all) && make_array(run, &all, out);
}

static bool apply_set_intersection(struct run *run, const struct expression *e, const struct element *args, struct element *out)
{
    struct list all = { 0 }, other;
    for (size_t i = 0; i < e->n; i++) {
        if (is_nullish(&args[i]))
            return make_null(out);
        if (!set_of(run, e, &args[i], 17047, i == 0 ? &all : &other))
            return false;
        if (i > 0 && all.n > other.n) { /* of equal values, that in the smaller set stays */
            struct list swap = all;
            all = other;
            other = swap;
        }
        size_t kept = 0;
        for (size_t j = 0; i > 0 && j < all.n; j++) {
            if (set_has(&other, &all.items[j]))
                all.items[kept++] = all.items[j];
        }
        if (i > 0)
            all.n = kept;
    }
    return make_array(run, &all, out);
}

/* In the order of the first. */
static bool apply_set_difference(struct run *run, const struct expression *e, const struct element *args, struct element *out)
{
    struct list other, kept = { 0 };
    struct element_reader reader;
    struct element item;
    if (is_nullish(&args[0]) || is_nullish(&args[1]))
        return make_null(out);
    if (args[0].type != BSON_TYPE_ARRAY)
        return fail(run, 17048, "both operands of $setDifference must be arrays. First argument is of type: %s",
                    element_type_name(args[0].type));
    if (!set_of(run, e, &args[1], 17049, &other))
        return false;
    /* what has been kept is looked for in a sorted copy of the first, by place */
    struct list first;
    if (!set_of(run, e, &args[0], 17048, &first))
        return false;
    element_reader_init(&reader, args[0].value);
    while (element_next(&reader, &item)) {
        const struct element *unique = bsearch(&item, first.items, first.n, sizeof item, value_compare_items);
        if (unique->value.data == item.value.data && !set_has(&other, &item) && !list_add(run, &kept, &item))
            return false;
    }
    return make_array(run, &kept, out);
}

static bool apply_set_equals(struct run *run, const struct expression *e, const struct element *args, struct element *out)
{
    struct list first, other;
    bool equal = true;
    for (size_t i = 0; i < e->n; i++) {
        if (!set_of(run, e, &args[i], 17044, i == 0 ? &first : &other))
            return false;
        if (i == 0)
            continue;
        equal = first.n == other.n;
        for (size_t j = 0; equal && j < first.n; j++)
            equal = value_compare_elements(&first.items[j], &other.items[j]) == 0;
        if (!equal) /* the rest may be no arrays */
            break;
    }
    return make_bool(equal, out);
}

static bool check_set_equals(struct compiler *c, const struct expression *node)
{
    for (size_t i = 0; i < node->n; i++) {
        if (expression_is_no_array(node->args[i], false))
            return query_error(c->err, 5887502, "All operands of $setEquals must be arrays; that at %zu is none", i);
    }
    return true;
}

static bool apply_set_is_subset(struct run *run, const struct expression *e, const struct element *args, struct element *out)
{
    struct list first, second;
    if (!set_of(run, e, &args[0], 17046, &first) || !set_of(run, e, &args[1], 17042, &second))
        return false;
    for (size_t i = 0; i < first.n; i++) {
        if (!set_has(&second, &first.items[i]))
            return make_bool(false, out);
    }
    return make_bool(true, out);
}

static bool check_set_is_subset(struct compiler *c, const struct expression *node)
{
    return expression_constant(node->args[0]) || !expression_is_no_array(node->args[1], false) ||
           query_error(c->err, 17311, "both operands of $setIsSubset must be arrays; the second is none");
}

/* variant: the value that decides, false for "all" */
static bool apply_elements_true(struct run *run, const struct expression *e, const struct element *args, struct element *out)
{
    bool deciding = e->op->variant;
    struct element_reader reader;
    struct element item;
    if (args[0].type != BSON_TYPE_ARRAY)
        return fail(run, deciding ? 17041 : 17040, "%s's argument must be an array, but is %s", e->op->name,
                    element_type_name(args[0].type));
    element_reader_init(&reader, args[0].value);
    while (element_next(&reader, &item)) {
        if (value_is_true(&item) == deciding)
            return make_bool(deciding, out);
    }
    return make_bool(!deciding, out);
}

/* ---- $sortArray ---- */

/* By whole values, or by fields of documents. Other values, and missing fields, count as null there. */
struct array_order {
    bool by_fields;
    size_t n;
    struct {
        struct path path;
        int direction;
    } keys[];
};

static bool direction_of(struct compiler *c, const struct element *spec, int code, int *direction)
{
    int64_t value;
    if (!exact_int64(spec, &value) || (value != 1 && value != -1))
        return query_error(c->err, code, "$sortArray: an order is 1 or -1");
    *direction = (int)value;
    return true;
}

static bool check_sort_path(struct compiler *c, const struct element *field)
{
    const char *name = field->name;
    bool empty = field->name_len == 0 || name[0] == '.' || name[field->name_len - 1] == '.' || memmem(name, field->name_len, "..", 2);
    return !empty || query_error(c->err, 2942505, "$sortArray: a name in a path of 'sortBy' is empty");
}

static bool compile_sort_array(struct compiler *c, const struct element *spec, struct expression *node)
{
    struct element found[2], e;
    struct element_reader reader;
    if (!find_fields(c, node->op, spec, found))
        return false;
    bool by_fields = found[1].type == BSON_TYPE_DOCUMENT;
    size_t n = by_fields ? count_elements(&found[1]) : 1;
    struct array_order *order = arena_zalloc(c->arena, sizeof *order + n * sizeof order->keys[0]);
    if (!order || !compile_args_alloc(c, 1, node))
        return error_out_of_memory(c->err);
    if (n == 0)
        return query_error(c->err, 2942505, "$sortArray: 'sortBy' must not be empty");
    order->by_fields = by_fields;
    order->n = n;
    if (by_fields) {
        element_reader_init(&reader, found[1].value);
        for (size_t i = 0; element_next(&reader, &e); i++) {
            if (!direction_of(c, &e, 2942505, &order->keys[i].direction) || !check_sort_path(c, &e) ||
                !path_parse(e.name, e.name_len, c->arena, &order->keys[i].path, c->err))
                return false;
        }
    } else if (!direction_of(c, &found[1], element_is_number(&found[1]) ? 2942506 : 2942507, &order->keys[0].direction)) {
        return false;
    }
    node->compiled = order;
    return (node->args[0] = compile_operand(c, &found[0])) != NULL;
}

static struct element field_at(const struct element *value, const struct path *path)
{
    struct element at = *value, null = { .type = BSON_TYPE_NULL, .name = "" };
    for (size_t i = 0; i < path->n; i++) {
        bool entered = at.type == BSON_TYPE_DOCUMENT || (i > 0 && at.type == BSON_TYPE_ARRAY);
        if (!entered || !element_find(at.value, path->components[i].name, path->components[i].len, &at))
            return null;
    }
    return at;
}

static int compare_in_order(const struct element *a, const struct element *b, const void *ctx)
{
    const struct array_order *order = ctx;
    if (!order->by_fields)
        return order->keys[0].direction * value_compare_elements(a, b);
    for (size_t i = 0; i < order->n; i++) {
        struct element x = field_at(a, &order->keys[i].path), y = field_at(b, &order->keys[i].path);
        int result = value_compare_elements(&x, &y);
        if (result)
            return order->keys[i].direction * result;
    }
    return 0;
}

static bool apply_sort_array(struct run *run, const struct expression *e, const struct element *args, struct element *out)
{
    struct list list;
    if (is_nullish(&args[0]))
        return make_null(out);
    if (args[0].type != BSON_TYPE_ARRAY)
        return fail(run, 2942504, "The input argument to $sortArray must be an array, but was of type: %s",
                    element_type_name(args[0].type));
    return list_of(run, &args[0], &list) && list_sort(run, &list, compare_in_order, e->compiled) && make_array(run, &list, out);
}

static const struct expression_op ops[] = {
    { "$setUnion", 0, MANY, .apply = apply_set_union },
    { "$setIntersection", 0, MANY, .apply = apply_set_intersection },
    { "$setDifference", 2, 2, .apply = apply_set_difference },
    { "$setEquals", 2, MANY, .apply = apply_set_equals, .wrong_count = 17045, .check = check_set_equals },
    { "$setIsSubset", 2, 2, .apply = apply_set_is_subset, .check = check_set_is_subset },
    { "$allElementsTrue", 1, 1, .apply = apply_elements_true, .variant = false },
    { "$anyElementTrue", 1, 1, .apply = apply_elements_true, .variant = true },
    { "$sortArray", .apply = apply_sort_array, .compile = compile_sort_array, .fields = "input!2942502 sortBy!2942503",
      .not_document = 2942500, .unknown_field = 2942501 },
};

const struct expression_ops ops_set = { ops, ARRAY_LEN(ops) };
