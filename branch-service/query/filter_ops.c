#include "branch-service/query/filter_ops.h"

#include <math.h>
#include <stdlib.h>

#include "branch-service/query/expression.h"
#include "branch-service/query/filter_regex.h"
#include "branch-service/query/query_error.h"
#include "branch-service/query/value_type.h"
#include "common/bson/number.h"
#include "common/bson/utf8.h"
#include "common/bson/value_compare.h"

static bool no_memory(struct error *err)
{
    return error_out_of_memory(err);
}

static bool is_nan(const struct element *e)
{
    if (e->type == BSON_TYPE_DOUBLE)
        return isnan(element_double(e));
    return e->type == BSON_TYPE_DECIMAL128 && decimal128_load(e->value.data).class == DECIMAL128_NAN;
}

/* --- Comparisons --- */

static bool prepare_equality(struct filter *filter, struct filter_node *node, struct bytes among, struct error *err)
{
    (void)filter;
    (void)among;
    if (node->operand.type == BSON_TYPE_UNDEFINED)
        return query_error(err, MONGO_BAD_VALUE, "cannot compare to undefined");
    return true;
}

static bool prepare_comparison(struct filter *filter, struct filter_node *node, struct bytes among, struct error *err)
{
    if (node->operand.type == BSON_TYPE_REGEX)
        return query_error(err, MONGO_BAD_VALUE, "can't have a regular expression as an argument to %s", node->operand.name);
    return prepare_equality(filter, node, among, err);
}

/* Comparisons stay within a canonical type, with two exceptions: missing and undefined count as null, and minKey
 * and maxKey compare with everything. NaN is less and greater than nothing. */
static bool compare(const struct filter_node *node, const struct element *value, enum value_order order)
{
    const struct element *operand = &node->operand;
    if (value && value->type == BSON_TYPE_INT32 && operand->type == BSON_TYPE_INT32) { /* the most frequent */
        int32_t x = element_int32(value), y = element_int32(operand);
        return order == ORDER_EQUAL        ? x == y
               : order <= ORDER_LESS_EQUAL ? x < y || (x == y && order == ORDER_LESS_EQUAL)
                                           : x > y || (x == y && order == ORDER_GREATER_EQUAL);
    }
    bool or_equal = order == ORDER_EQUAL || order == ORDER_LESS_EQUAL || order == ORDER_GREATER_EQUAL;
    if (!value || value->type == BSON_TYPE_UNDEFINED) {
        if (operand->type == BSON_TYPE_NULL)
            return or_equal;
        if (operand->type == BSON_TYPE_MAXKEY)
            return order == ORDER_LESS || order == ORDER_LESS_EQUAL;
        return operand->type == (uint8_t)BSON_TYPE_MINKEY && (order == ORDER_GREATER || order == ORDER_GREATER_EQUAL);
    }
    if (value->type != operand->type && value_rank(value) != value_rank(operand)) {
        if (operand->type == BSON_TYPE_MAXKEY)
            return order == ORDER_LESS || order == ORDER_LESS_EQUAL;
        return operand->type == (uint8_t)BSON_TYPE_MINKEY && (order == ORDER_GREATER || order == ORDER_GREATER_EQUAL);
    }
    int x = value_compare_elements(value, operand);
    if (x == 0)
        return or_equal;
    if (order == ORDER_EQUAL || (element_is_number(value) && (is_nan(value) || is_nan(operand))))
        return false;
    return x < 0 ? order <= ORDER_LESS_EQUAL : order >= ORDER_GREATER;
}

bool match_equal(struct match *match, const struct filter_node *node, const struct element *value)
{
    (void)match;
    return compare(node, value, ORDER_EQUAL);
}

bool match_less(struct match *match, const struct filter_node *node, const struct element *value)
{
    (void)match;
    return compare(node, value, ORDER_LESS);
}

bool match_less_equal(struct match *match, const struct filter_node *node, const struct element *value)
{
    (void)match;
    return compare(node, value, ORDER_LESS_EQUAL);
}

bool match_greater(struct match *match, const struct filter_node *node, const struct element *value)
{
    (void)match;
    return compare(node, value, ORDER_GREATER);
}

bool match_greater_equal(struct match *match, const struct filter_node *node, const struct element *value)
{
    (void)match;
    return compare(node, value, ORDER_GREATER_EQUAL);
}

/* --- Lists --- */

static bool match_regex_in(struct match *match, struct regex *regex, const struct element *value)
{
    bool matches = false;
    if (value->type == BSON_TYPE_UTF8 || value->type == BSON_TYPE_SYMBOL)
        return regex_matches(regex, element_string(value), &matches, match->err) ? matches : match_fail(match);
    if (value->type != BSON_TYPE_REGEX)
        return false;
    /* a stored regex is matched by itself */
    struct bytes pattern = bytes_of_string((const char *)value->value.data);
    return bytes_equal(pattern, regex->pattern) &&
           bytes_equal(bytes_of_string((const char *)value->value.data + pattern.len + 1), regex->options);
}

static bool compile_regex_value(struct filter *filter, const struct element *e, struct regex **regex, struct error *err)
{
    struct bytes pattern = bytes_of_string((const char *)e->value.data);
    return regex_compile(&filter->arena, pattern, bytes_of_string((const char *)e->value.data + pattern.len + 1), &filter->regexes, regex,
                         err);
}

static bool prepare_list(struct filter *filter, struct filter_node *node, struct bytes among, struct error *err)
{
    (void)among;
    const char *name = node->operand.name;
    struct element_reader reader;
    struct element e;
    size_t n = 0;
    if (node->operand.type != BSON_TYPE_ARRAY)
        return query_error(err, MONGO_BAD_VALUE, "%s needs an array", name);
    element_reader_init(&reader, node->operand.value);
    while (element_next(&reader, &e))
        n++;
    struct value_list *list = arena_zalloc(&filter->arena, sizeof *list);
    if (!list)
        return no_memory(err);
    list->values = arena_alloc(&filter->arena, n * sizeof *list->values);
    list->regexes = arena_alloc(&filter->arena, n * sizeof(struct regex *));
    if (n && (!list->values || !list->regexes))
        return no_memory(err);
    element_reader_init(&reader, node->operand.value);
    while (element_next(&reader, &e)) {
        if (e.type == BSON_TYPE_UNDEFINED)
            return query_error(err, MONGO_BAD_VALUE, "%s: cannot compare to undefined", name);
        if (is_operator_document(&e))
            return query_error(err, MONGO_BAD_VALUE, "cannot nest $ under %s", name);
        list->has_null |= e.type == BSON_TYPE_NULL;
        if (e.type != BSON_TYPE_REGEX)
            list->values[list->n++] = e;
        else if (!compile_regex_value(filter, &e, &list->regexes[list->n_regexes++], err))
            return false;
    }
    if (list->n)
        qsort(list->values, list->n, sizeof *list->values, value_compare_items);
    size_t kept = 0;
    for (size_t i = 0; i < list->n; i++) {
        if (kept == 0 || value_compare_elements(&list->values[kept - 1], &list->values[i]) != 0)
            list->values[kept++] = list->values[i];
    }
    list->n = kept;
    node->prepared = list;
    return true;
}

bool match_list(struct match *match, const struct filter_node *node, const struct element *value)
{
    const struct value_list *list = node->prepared;
    if (!value || value->type == BSON_TYPE_UNDEFINED)
        return list->has_null;
    for (size_t low = 0, high = list->n; low < high;) {
        size_t middle = low + (high - low) / 2;
        int order = value_compare_elements(&list->values[middle], value);
        if (order == 0)
            return true;
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    for (size_t i = 0; i < list->n_regexes; i++) {
        if (match_regex_in(match, list->regexes[i], value))
            return true;
    }
    return false;
}

/* --- Existence and type --- */

static bool prepare_exists(struct filter *filter, struct filter_node *node, struct bytes among, struct error *err)
{
    (void)filter;
    (void)among;
    (void)err;
    node->negated = !value_is_true(&node->operand);
    return true;
}

static bool match_exists(struct match *match, const struct filter_node *node, const struct element *value)
{
    (void)match;
    (void)node;
    return value != NULL;
}

static bool prepare_type(struct filter *filter, struct filter_node *node, struct bytes among, struct error *err)
{
    (void)among;
    type_set *types = arena_zalloc(&filter->arena, sizeof *types);
    if (!types)
        return no_memory(err);
    if (!type_set_read(&node->operand, "$type", types, err))
        return false;
    if (!*types)
        return query_error(err, MONGO_FAILED_TO_PARSE, "$type must match at least one type");
    node->prepared = types;
    return true;
}

static bool match_type(struct match *match, const struct filter_node *node, const struct element *value)
{
    (void)match;
    return value && (*(const type_set *)node->prepared & type_bit(value->type));
}

/* --- Arrays: $size asks the array that the path leads to, not what is in it (see PATH_WHOLE) --- */

static bool prepare_size(struct filter *filter, struct filter_node *node, struct bytes among, struct error *err)
{
    (void)among;
    int64_t *size = arena_alloc(&filter->arena, sizeof *size);
    bool exact;
    if (!size)
        return no_memory(err);
    if (!element_is_number(&node->operand))
        return query_error(err, MONGO_BAD_VALUE, "$size needs a number, not a value of type %s", element_type_name(node->operand.type));
    if (!number_truncate(&node->operand, size, &exact) || !exact)
        return query_error(err, MONGO_BAD_VALUE, "$size needs a whole number");
    if (*size < 0)
        return query_error(err, MONGO_BAD_VALUE, "$size may not be negative");
    if (*size > INT32_MAX)
        return query_error(err, MONGO_BAD_VALUE, "$size needs a number of 32 bits");
    node->path.whole_arrays = true;
    node->prepared = size;
    return true;
}

static bool match_size(struct match *match, const struct filter_node *node, const struct element *value)
{
    (void)match;
    struct element_reader reader;
    struct element e;
    int64_t left = *(const int64_t *)node->prepared;
    if (!value || value->type != BSON_TYPE_ARRAY)
        return false;
    element_reader_init(&reader, value->value);
    while (left >= 0 && element_next(&reader, &e))
        left--;
    return left == 0;
}

/* --- $mod --- */

struct mod {
    int64_t divisor, remainder;
};

static bool read_mod(const struct element *e, const char *what, int64_t *value, struct error *err)
{
    bool exact;
    if (!element_is_number(e))
        return query_error(err, MONGO_BAD_VALUE, "malformed $mod, %s not a number", what);
    if (!number_truncate(e, value, &exact))
        return query_error(err, MONGO_BAD_VALUE, "malformed $mod, %s value is invalid: no number of 64 bits", what);
    return true;
}

static bool prepare_mod(struct filter *filter, struct filter_node *node, struct bytes among, struct error *err)
{
    (void)among;
    struct element_reader reader;
    struct element e;
    struct mod *mod = arena_alloc(&filter->arena, sizeof *mod);
    if (!mod)
        return no_memory(err);
    if (node->operand.type != BSON_TYPE_ARRAY)
        return query_error(err, MONGO_BAD_VALUE, "malformed $mod, needs to be an array");
    element_reader_init(&reader, node->operand.value);
    if (!element_next(&reader, &e))
        return query_error(err, MONGO_BAD_VALUE, "malformed $mod, not enough elements");
    if (!read_mod(&e, "divisor", &mod->divisor, err))
        return false;
    if (!element_next(&reader, &e))
        return query_error(err, MONGO_BAD_VALUE, "malformed $mod, not enough elements");
    if (!read_mod(&e, "remainder", &mod->remainder, err))
        return false;
    if (element_next(&reader, &e))
        return query_error(err, MONGO_BAD_VALUE, "malformed $mod, too many elements");
    if (mod->divisor == 0)
        return query_error(err, MONGO_BAD_VALUE, "$mod: divisor cannot be 0");
    node->prepared = mod;
    return true;
}

static bool match_mod(struct match *match, const struct filter_node *node, const struct element *value)
{
    (void)match;
    const struct mod *mod = node->prepared;
    int64_t dividend;
    bool exact;
    if (!value || !element_is_number(value) || !number_truncate(value, &dividend, &exact))
        return false;
    int64_t remainder = mod->divisor == -1 ? 0 : dividend % mod->divisor; /* INT64_MIN % -1 would trap */
    return remainder == mod->remainder;
}

/* --- $regex --- */

static bool prepare_regex_value(struct filter *filter, struct filter_node *node, struct bytes among, struct error *err)
{
    (void)among;
    struct regex *regex;
    if (!compile_regex_value(filter, &node->operand, &regex, err))
        return false;
    node->prepared = regex;
    return true;
}

static bool prepare_regex(struct filter *filter, struct filter_node *node, struct bytes among, struct error *err)
{
    enum { BOTH_HAVE_OPTIONS = 51074, OPTIONS_AFTER = 51075 };
    const struct element *operand = &node->operand;
    struct bytes pattern, flags = { 0 };
    struct element options;
    struct regex *regex;
    if (operand->type == BSON_TYPE_REGEX) {
        pattern = bytes_of_string((const char *)operand->value.data);
        flags = bytes_of_string((const char *)operand->value.data + pattern.len + 1);
    } else if (operand->type == BSON_TYPE_UTF8) {
        pattern = element_string(operand);
    } else {
        return query_error(err, MONGO_BAD_VALUE, "$regex has to be a string");
    }
    if (element_find(among, "$options", 8, &options)) {
        if (options.type != BSON_TYPE_UTF8)
            return query_error(err, MONGO_BAD_VALUE, "$options has to be a string");
        bool before = options.name < operand->name; /* then empty ones are none */
        if (flags.len > 0 && !(before && element_string(&options).len == 0))
            return query_error(err, before ? BOTH_HAVE_OPTIONS : OPTIONS_AFTER, "options set in both $regex and $options");
        if (flags.len == 0)
            flags = element_string(&options);
    }
    if (!regex_compile(&filter->arena, pattern, flags, &filter->regexes, &regex, err))
        return false;
    node->prepared = regex;
    return true;
}

static bool match_regex(struct match *match, const struct filter_node *node, const struct element *value)
{
    return value && match_regex_in(match, (struct regex *)node->prepared, value);
}

const struct filter_op filter_equality = { "$eq", prepare_equality, match_equal, false };
const struct filter_op filter_regex_value = { "$regex", prepare_regex_value, match_regex, false };

static const struct filter_op ops[] = {
    /* name           operand             of a value              none of them */
    { "$eq", prepare_equality, match_equal, false },
    { "$ne", prepare_comparison, match_equal, true },
    { "$gt", prepare_comparison, match_greater, false },
    { "$gte", prepare_comparison, match_greater_equal, false },
    { "$lt", prepare_comparison, match_less, false },
    { "$lte", prepare_comparison, match_less_equal, false },
    { "$in", prepare_list, match_list, false },
    { "$nin", prepare_list, match_list, true },
    { "$exists", prepare_exists, match_exists, false },
    { "$type", prepare_type, match_type, false },
    { "$size", prepare_size, match_size, false },
    { "$mod", prepare_mod, match_mod, false },
    { "$regex", prepare_regex, match_regex, false },
    { "$bitsAllSet", prepare_bits, match_bits_all_set, false },
    { "$bitsAnySet", prepare_bits, match_bits_any_set, false },
    { "$bitsAllClear", prepare_bits, match_bits_all_clear, false },
    { "$bitsAnyClear", prepare_bits, match_bits_any_clear, false },
    { "$geoWithin", prepare_geo_within, match_geo_within, false },
};

const struct filter_op *filter_op_find(const char *name, size_t len)
{
    for (size_t i = 0; i < ARRAY_LEN(ops); i++) {
        if (bytes_equal(bytes_of(name, len), bytes_of_string(ops[i].name)))
            return &ops[i];
    }
    return NULL;
}

const char *filter_op_name(size_t i)
{
    return i < ARRAY_LEN(ops) ? ops[i].name : NULL;
}

/* An $in of one is what it has. */
static value_matches_fn *simplest(const struct filter_node *node)
{
    const struct value_list *list = node->prepared;
    if (node->matches != match_list || list->n + list->n_regexes != 1)
        return node->matches;
    return list->n ? match_equal : match_regex;
}

size_t filter_node_rank(const struct filter_node *node)
{
    static value_matches_fn *const order[] = {
        match_size,          match_equal,          match_less_equal,   match_less,           match_greater,
        match_greater_equal, match_regex,          match_mod,          match_exists,         match_list,
        match_bits_all_set,  match_bits_all_clear, match_bits_any_set, match_bits_any_clear, match_type,
    };
    value_matches_fn *matches = simplest(node);
    size_t rank = 0;
    while (rank < ARRAY_LEN(order) && order[rank] != matches)
        rank++;
    return rank;
}

bool filter_node_is_equality(const struct filter_node *node)
{
    if (node->kind != NODE_PREDICATE || node->negated)
        return false;
    value_matches_fn *matches = simplest(node);
    return matches == match_regex || (matches == match_equal && node->operand.type != BSON_TYPE_REGEX);
}
