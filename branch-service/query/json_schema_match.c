#include <math.h>

#include "branch-service/query/any_order.h"
#include "branch-service/query/json_schema.h"
#include "common/bson/number.h"

static bool value_matches(struct match *match, const struct schema *s, const struct element *value);

static bool is_within(int64_t n, int64_t min, int64_t max)
{
    return (min == NO_LIMIT || n >= min) && (max == NO_LIMIT || n <= max);
}

struct decimal128 decimal_of_number(const struct element *e)
{
    if (e->type == BSON_TYPE_DECIMAL128)
        return decimal128_load(e->value.data);
    return element_is_integer(e) ? decimal128_of_int64(element_integer(e)) : decimal128_of_double(element_double(e));
}

static void drop_zeros(struct decimal128 *value)
{
    for (; value->coefficient && value->coefficient % 10 == 0; value->exponent++)
        value->coefficient /= 10;
}

/* a * 10 % m for a < m, which has at most 34 digits: 10 times that fits in 128 bits. */
static bool is_multiple(struct decimal128 value, struct decimal128 of)
{
    if (value.class != DECIMAL128_FINITE)
        return false;
    if (value.coefficient == 0)
        return true;
    drop_zeros(&value);
    drop_zeros(&of);
    /* a fraction finer than the divisor's is none of its multiples */
    if (value.exponent < of.exponent)
        return false;
    unsigned __int128 left = value.coefficient % of.coefficient;
    for (int exponent = value.exponent; exponent > of.exponent && left; exponent--)
        left = left * 10 % of.coefficient;
    return left == 0;
}

static bool is_nan(const struct element *e)
{
    return e->type == BSON_TYPE_DOUBLE ? isnan(element_double(e))
                                       : e->type == BSON_TYPE_DECIMAL128 && decimal128_load(e->value.data).class == DECIMAL128_NAN;
}

/* NaN is within no limit but itself. */
static bool keeps_limit(const struct element *value, const struct element *limit, int sign, bool exclusive)
{
    if (!limit->name)
        return true;
    int order = sign * number_compare_elements(value, limit);
    if (order == 0)
        return !exclusive;
    return order > 0 && !is_nan(value) && !is_nan(limit);
}

static bool number_matches(const struct schema *s, const struct element *value)
{
    return keeps_limit(value, &s->minimum, 1, s->exclusive_minimum) && keeps_limit(value, &s->maximum, -1, s->exclusive_maximum) &&
           (!s->has_multiple_of || is_multiple(decimal_of_number(value), s->multiple_of));
}

static int64_t count_characters(struct bytes text)
{
    int64_t n = 0;
    for (size_t i = 0; i < text.len; i++)
        n += (text.data[i] & 0xC0) != 0x80;
    return n;
}

static bool regex_holds(struct match *match, struct regex *regex, struct bytes text)
{
    bool matches;
    if (regex_matches(regex, text, &matches, match->err))
        return matches;
    return match_fail(match);
}

static bool string_matches(struct match *match, const struct schema *s, const struct element *value)
{
    struct bytes text = element_string(value);
    bool bounded = s->min_length != NO_LIMIT || s->max_length != NO_LIMIT;
    return (!bounded || is_within(count_characters(text), s->min_length, s->max_length)) &&
           (!s->pattern || regex_holds(match, s->pattern, text));
}

static bool rest_matches(struct match *match, const struct schema_rest *rest, const struct element *e)
{
    return !rest->forbidden && (!rest->schema || value_matches(match, rest->schema, e));
}

static bool array_matches(struct match *match, const struct schema *s, const struct element *value)
{
    struct element_reader reader;
    struct element e;
    size_t n = 0;
    element_reader_init(&reader, value->value);
    for (; element_next(&reader, &e); n++) {
        bool matches = true;
        if (s->items)
            matches = value_matches(match, s->items, &e);
        else if (s->has_items_list)
            matches = n < s->items_list.n ? value_matches(match, s->items_list.schemas[n], &e) : rest_matches(match, &s->more_items, &e);
        if (!matches)
            return false;
    }
    if (!is_within((int64_t)n, s->min_items, s->max_items))
        return false;
    bool different = true;
    if (s->unique_items && !all_different(value->value, &different, match->err))
        return match_fail(match);
    return different;
}

static bool has_field(struct bytes document, struct bytes name)
{
    struct element e;
    return element_find(document, (const char *)name.data, name.len, &e);
}

static bool has_fields(struct match *match, struct bytes document, const struct schema_name_list *list)
{
    for (size_t i = 0; i < list->n; i++) {
        if (!match_goes_on(match, document.len) || !has_field(document, list->names[i]))
            return false;
    }
    return true;
}

static bool field_matches(struct match *match, const struct schema *s, const struct element *e)
{
    struct bytes name = bytes_of(e->name, e->name_len);
    bool listed = false;
    for (const struct schema_property *p = s->properties; p; p = p->next) {
        if (!bytes_equal(p->name, name)) {
            if (!match_goes_on(match, 0))
                return false;
            continue;
        }
        listed = true;
        if (!value_matches(match, p->schema, e))
            return false;
    }
    for (const struct schema_property *p = s->pattern_properties; p; p = p->next) {
        if (!regex_holds(match, p->pattern, name))
            continue;
        listed = true;
        if (match->failed || !value_matches(match, p->schema, e))
            return false;
    }
    return listed || rest_matches(match, &s->more_properties, e);
}

static bool object_matches(struct match *match, const struct schema *s, const struct element *value)
{
    struct element_reader reader;
    struct element e;
    int64_t n = 0;
    bool each = s->properties || s->pattern_properties || s->more_properties.schema || s->more_properties.forbidden;
    if (!has_fields(match, value->value, &s->required))
        return false;
    element_reader_init(&reader, value->value);
    for (; element_next(&reader, &e); n++) {
        if (each && !field_matches(match, s, &e))
            return false;
    }
    if (!is_within(n, s->min_properties, s->max_properties))
        return false;
    for (const struct schema_property *p = s->dependencies; p; p = p->next) {
        if (!match_goes_on(match, value->value.len))
            return false;
        if (has_field(value->value, p->name) &&
            !(has_fields(match, value->value, &p->names) && (!p->schema || value_matches(match, p->schema, value))))
            return false;
    }
    return true;
}

/* How many hold; stops behind `enough`. */
static size_t count_matching(struct match *match, const struct schema_list *list, const struct element *value, size_t enough)
{
    size_t n = 0;
    for (size_t i = 0; i < list->n && n < enough && !match->failed; i++)
        n += value_matches(match, list->schemas[i], value);
    return n;
}

static bool is_in_enumeration(struct match *match, const struct schema *s, const struct element *value)
{
    struct element_reader reader;
    struct element e;
    bool equal = false;
    element_reader_init(&reader, s->enumeration.value);
    while (!equal && element_next(&reader, &e)) {
        if (!equal_in_any_order(&e, value, &equal, match->err))
            return match_fail(match);
    }
    return equal;
}

/* Recursion descends the schema: bounded by MAX_NESTING. */
static bool value_matches(struct match *match, const struct schema *s, const struct element *value)
{
    if (match->failed || !match_goes_on(match, 0))
        return false;
    if (s->types && !(s->types & type_bit(value->type)))
        return false;
    if (s->enumeration.name && !is_in_enumeration(match, s, value))
        return false;
    if (element_is_number(value) && !number_matches(s, value))
        return false;
    if (value->type == BSON_TYPE_UTF8 && !string_matches(match, s, value))
        return false;
    if (value->type == BSON_TYPE_ARRAY && !array_matches(match, s, value))
        return false;
    if (value->type == BSON_TYPE_DOCUMENT && !object_matches(match, s, value))
        return false;
    for (size_t i = 0; i < s->all_of.n; i++) {
        if (!value_matches(match, s->all_of.schemas[i], value))
            return false;
    }
    if (s->any_of.n && count_matching(match, &s->any_of, value, 1) != 1)
        return false;
    if (s->one_of.n && count_matching(match, &s->one_of, value, 2) != 1)
        return false;
    return !s->not_this || !value_matches(match, s->not_this, value);
}

bool schema_matches(struct match *match, const struct schema *schema, struct bytes document)
{
    struct element value = { .type = BSON_TYPE_DOCUMENT, .name = "", .value = document };
    return value_matches(match, schema, &value);
}
