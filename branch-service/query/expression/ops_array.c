/* Arrays. */
#include "branch-service/query/expression/internal.h"
#include "common/bson/value_compare.h"

/* The element at an index, from the end where it is negative; missing beyond. */
static bool element_at(const struct element *array, int64_t index, struct element *out)
{
    struct element_reader reader;
    if (index < 0)
        index += (int64_t)count_elements(array);
    make_missing(out);
    if (index < 0)
        return true;
    struct element e;
    element_reader_init(&reader, array->value);
    while (element_next(&reader, &e)) {
        if (index-- == 0) {
            *out = e;
            break;
        }
    }
    return true;
}

static bool apply_array_elem_at(struct run *run, const struct expression *e, const struct element *args, struct element *out)
{
    int32_t index;
    (void)e;
    if (is_nullish(&args[0]) || is_nullish(&args[1]))
        return make_null(out);
    if (args[0].type != BSON_TYPE_ARRAY)
        return fail(run, 28689, "$arrayElemAt's first argument must be an array, but is %s", element_type_name(args[0].type));
    if (!element_is_number(&args[1]))
        return fail(run, 28690, "$arrayElemAt's second argument must be a numeric value, but is %s", element_type_name(args[1].type));
    if (!exact_int32(&args[1], &index))
        return fail(run, 28691, "$arrayElemAt's second argument must be representable as a 32-bit integer");
    return element_at(&args[0], index, out);
}

/* variant: the index */
static bool apply_first_last(struct run *run, const struct expression *e, const struct element *args, struct element *out)
{
    if (is_nullish(&args[0]))
        return make_null(out);
    if (args[0].type != BSON_TYPE_ARRAY)
        return fail(run, 28689, "%s's argument must be an array, but is %s", e->op->name, element_type_name(args[0].type));
    return element_at(&args[0], e->op->variant, out);
}

static bool apply_concat_arrays(struct run *run, const struct expression *e, const struct element *args, struct element *out)
{
    struct list list = { 0 };
    for (size_t i = 0; i < e->n; i++) {
        if (is_nullish(&args[i]))
            return make_null(out);
        if (args[i].type != BSON_TYPE_ARRAY)
            return fail(run, 28664, "$concatArrays only supports arrays, not %s", element_type_name(args[i].type));
        if (!list_add_all(run, &list, &args[i]))
            return false;
    }
    return make_array(run, &list, out);
}

static bool apply_slice(struct run *run, const struct expression *e, const struct element *args, struct element *out)
{
    int32_t from, n = 0;
    if (is_nullish(&args[0]) || is_nullish(&args[1]))
        return make_null(out);
    if (args[0].type != BSON_TYPE_ARRAY)
        return fail(run, 28724, "First argument to $slice must be an array, but is of type: %s", element_type_name(args[0].type));
    if (!element_is_number(&args[1]))
        return fail(run, 28725, "Second argument to $slice must be a numeric value, but is of type: %s", element_type_name(args[1].type));
    if (!exact_int32(&args[1], &from))
        return fail(run, 28726, "Second argument to $slice can't be represented as a 32-bit integer");
    if (e->n > 2) {
        if (is_nullish(&args[2]))
            return make_null(out);
        if (!element_is_number(&args[2]))
            return fail(run, 28727, "Third argument to $slice must be numeric, but is of type: %s", element_type_name(args[2].type));
        if (!exact_int32(&args[2], &n))
            return fail(run, 28728, "Third argument to $slice can't be represented as a 32-bit integer");
        if (n <= 0)
            return fail(run, 28729, "Third argument to $slice must be positive");
    }
    struct list list;
    if (!list_of(run, &args[0], &list))
        return false;
    int64_t size = (int64_t)list.n, begin, end;
    if (e->n == 2) {
        begin = from >= 0 ? 0 : size + from;
        end = from >= 0 ? from : size;
    } else {
        begin = from >= 0 ? from : size + from;
        if (begin < 0)
            begin = 0;
        end = begin + n;
    }
    struct list part = list_part(&list, begin, end);
    return make_array(run, &part, out);
}

static bool apply_size(struct run *run, const struct expression *e, const struct element *args, struct element *out)
{
    (void)e;
    if (args[0].type != BSON_TYPE_ARRAY)
        return fail(run, 17124, "The argument to $size must be an array, but was of type: %s", element_type_name(args[0].type));
    return make_int32(run, (int32_t)count_elements(&args[0]), out);
}

static bool apply_in(struct run *run, const struct expression *e, const struct element *args, struct element *out)
{
    struct element_reader reader;
    struct element item;
    (void)e;
    if (args[1].type != BSON_TYPE_ARRAY)
        return fail(run, 40081, "$in requires an array as a second argument, found: %s", element_type_name(args[1].type));
    element_reader_init(&reader, args[1].value);
    while (element_next(&reader, &item)) {
        if (value_compare_elements(&args[0], &item) == 0)
            return make_bool(true, out);
    }
    return make_bool(false, out);
}

static bool apply_index_of_array(struct run *run, const struct expression *e, const struct element *args, struct element *out)
{
    int32_t from = 0, to = INT32_MAX, i = 0;
    struct element_reader reader;
    struct element item;
    if (is_nullish(&args[0]))
        return make_null(out);
    if (args[0].type != BSON_TYPE_ARRAY)
        return fail(run, 40090, "$indexOfArray requires an array as a first argument, found: %s", element_type_name(args[0].type));
    if ((e->n > 2 && !index_argument(run, e, &args[2], "starting", &from)) ||
        (e->n > 3 && !index_argument(run, e, &args[3], "ending", &to)))
        return false;
    element_reader_init(&reader, args[0].value);
    for (; i < to && element_next(&reader, &item); i++) {
        if (i >= from && value_compare_elements(&args[1], &item) == 0)
            return make_int32(run, i, out);
    }
    return make_int32(run, -1, out);
}

static bool check_index_of_array(struct compiler *c, const struct expression *node)
{
    bool constant = true;
    for (size_t i = 0; i < node->n; i++)
        constant &= expression_constant(node->args[i]) != NULL;
    return constant || !expression_is_no_array(node->args[0], true) ||
           query_error(c->err, 50809, "First operand of $indexOfArray must be an array");
}

static bool apply_range(struct run *run, const struct expression *e, const struct element *args, struct element *out)
{
    static const char *const names[] = { "starting", "ending", "step" };
    int32_t bounds[3] = { 0, 0, 1 };
    struct list list = { 0 };
    for (size_t i = 0; i < e->n; i++) {
        if (!element_is_number(&args[i]))
            return fail(run, 34443 + 2 * (int)i, "$range requires a numeric %s value, found value of type: %s", names[i],
                        element_type_name(args[i].type));
        if (!exact_int32(&args[i], &bounds[i]))
            return fail(run, 34444 + 2 * (int)i, "$range requires a %s value that can be represented as a 32-bit integer", names[i]);
    }
    if (bounds[2] == 0)
        return fail(run, 34449, "$range requires a non-zero step value");
    for (int64_t at = bounds[0]; bounds[2] > 0 ? at < bounds[1] : at > bounds[1]; at += bounds[2]) {
        struct element value;
        if (!make_int32(run, (int32_t)at, &value) || !list_add(run, &list, &value))
            return false;
    }
    return make_array(run, &list, out);
}

static bool apply_reverse_array(struct run *run, const struct expression *e, const struct element *args, struct element *out)
{
    struct list list;
    (void)e;
    if (is_nullish(&args[0]))
        return make_null(out);
    if (args[0].type != BSON_TYPE_ARRAY)
        return fail(run, 34435, "The argument to $reverseArray must be an array, but was of type: %s", element_type_name(args[0].type));
    if (!list_of(run, &args[0], &list))
        return false;
    for (size_t i = 0; i < list.n / 2; i++) {
        struct element swap = list.items[i];
        list.items[i] = list.items[list.n - 1 - i];
        list.items[list.n - 1 - i] = swap;
    }
    return make_array(run, &list, out);
}

static bool apply_is_array(struct run *run, const struct expression *e, const struct element *args, struct element *out)
{
    (void)run;
    (void)e;
    return make_bool(args[0].type == BSON_TYPE_ARRAY, out);
}

/* ---- $zip: inputs in turn, then defaults in turn; the flag is constant ---- */

static const int use_longest = 1; /* what compiled points to */

static bool compile_zip(struct compiler *c, const struct element *spec, struct expression *node)
{
    struct element found[3], e;
    struct element_reader reader;
    if (!find_fields(c, node->op, spec, found))
        return false;
    if (found[0].type != BSON_TYPE_ARRAY)
        return query_error(c->err, 34461, "inputs must be an array of expressions, found %s", element_type_name(found[0].type));
    if (found[1].type && found[1].type != BSON_TYPE_ARRAY)
        return query_error(c->err, 34462, "defaults must be an array of expressions, found %s", element_type_name(found[1].type));
    if (found[2].type && found[2].type != BSON_TYPE_BOOL)
        return query_error(c->err, 34463, "useLongestLength must be a bool, found %s", element_type_name(found[2].type));
    size_t n = count_elements(&found[0]), defaults = found[1].type ? count_elements(&found[1]) : 0;
    bool longest = found[2].type && *found[2].value.data;
    if (n == 0)
        return query_error(c->err, 34465, "$zip requires at least one input array");
    if (defaults && !longest)
        return query_error(c->err, 34466, "cannot specify defaults unless useLongestLength is true");
    if (defaults && defaults != n)
        return query_error(c->err, 34467, "defaults and inputs must have the same length");
    if (!compile_args_alloc(c, 2 * n, node))
        return false;
    node->compiled = longest ? &use_longest : NULL;
    element_reader_init(&reader, found[0].value);
    for (size_t i = 0; element_next(&reader, &e); i++) {
        if (!(node->args[i] = compile_operand(c, &e)))
            return false;
    }
    element_reader_init(&reader, found[1].type ? found[1].value : bytes_of(NULL, 0));
    for (size_t i = n; element_next(&reader, &e); i++) {
        if (!(node->args[i] = compile_operand(c, &e)))
            return false;
    }
    return true;
}

static bool apply_zip(struct run *run, const struct expression *e, const struct element *args, struct element *out)
{
    size_t n = e->n / 2, length = 0;
    struct element_reader *readers = run_alloc(run, n * sizeof *readers);
    struct list rows = { 0 };
    if (!readers)
        return false;
    for (size_t i = 0; i < n; i++) {
        if (is_nullish(&args[i]))
            return make_null(out);
        if (args[i].type != BSON_TYPE_ARRAY)
            return fail(run, 34468, "$zip found a non-array expression in input: %s", element_type_name(args[i].type));
        size_t size = count_elements(&args[i]);
        length = i == 0 || (e->compiled ? size > length : size < length) ? size : length;
        element_reader_init(&readers[i], args[i].value);
    }
    for (size_t row = 0; row < length; row++) {
        struct list list = { 0 };
        struct element value;
        for (size_t i = 0; i < n; i++) {
            if (!element_next(&readers[i], &value))
                value = args[n + i]; /* missing, which an array takes as null, where there is no default */
            if (!list_add(run, &list, &value))
                return false;
        }
        if (!make_array(run, &list, &value) || !list_add(run, &rows, &value))
            return false;
    }
    return make_array(run, &rows, out);
}

static const struct expression_op ops[] = {
    { "$arrayElemAt", 2, 2, .apply = apply_array_elem_at },
    { "$first", 1, 1, .apply = apply_first_last, .variant = 0 },
    { "$last", 1, 1, .apply = apply_first_last, .variant = -1 },
    { "$concatArrays", 0, MANY, .apply = apply_concat_arrays },
    { "$slice", 2, 3, .apply = apply_slice },
    { "$size", 1, 1, .apply = apply_size },
    { "$in", 2, 2, .apply = apply_in },
    { "$indexOfArray", 2, 4, .apply = apply_index_of_array, .check = check_index_of_array },
    { "$range", 2, 3, .apply = apply_range },
    { "$reverseArray", 1, 1, .apply = apply_reverse_array },
    { "$isArray", 1, 1, .apply = apply_is_array },
    { "$zip", .apply = apply_zip, .compile = compile_zip, .fields = "inputs!34465 defaults useLongestLength", .not_document = 34460,
      .unknown_field = 34464 },
};

const struct expression_ops ops_array = { ops, ARRAY_LEN(ops) };
