/* $convert and its short forms. What cannot be converted is error 241, which onError catches. */
#include <ctype.h>
#include <errno.h>
#include <float.h>
#include <math.h>
#include <stdlib.h>

#include "branch-service/query/expression/date.h"
#include "branch-service/query/expression/decimal_functions.h"
#include "branch-service/query/expression/text.h"
#include "common/bson/number.h"

enum { INPUT, TO, ON_ERROR, ON_NULL };

static bool cannot(struct run *run, const struct element *value, uint8_t type)
{
    return fail(run, MONGO_CONVERSION_FAILURE, "Unsupported conversion from %s to %s in $convert", element_type_name(value->type),
                element_type_name(type));
}

static bool cannot_read(struct run *run, const struct element *value, const char *why)
{
    struct bytes text = element_string(value);
    return fail(run, MONGO_CONVERSION_FAILURE, "Failed to parse '%.*s' in $convert: %s", text.len > 60 ? 60 : (int)text.len,
                (const char *)text.data, why);
}

/* Every value has a truth, also an empty string. */
static bool to_bool(struct run *run, const struct element *value, struct element *out)
{
    (void)run;
    return make_bool(value_is_true(value), out);
}

/* Digits and nothing else but a sign. */
static bool read_integer(struct run *run, const struct element *value, int64_t *whole)
{
    struct bytes text = element_string(value);
    char *end;
    if (text.len == 0)
        return cannot_read(run, value, "No digits");
    for (size_t i = 0; i < text.len; i++) {
        bool sign = i == 0 && text.len > 1 && (text.data[i] == '-' || text.data[i] == '+');
        if (!sign && (text.data[i] < '0' || text.data[i] > '9'))
            return cannot_read(run, value, "Did not consume whole string");
    }
    errno = 0;
    *whole = strtoll((const char *)text.data, &end, 10);
    return errno == 0 || cannot_read(run, value, "Overflow");
}

/* Towards zero; NaN, infinity and what is out of range fail. */
static bool whole_part(struct run *run, const struct element *value, int64_t min, int64_t max, int64_t *whole)
{
    bool exact;
    if (!number_truncate(value, whole, &exact) || *whole < min || *whole > max)
        return fail(run, MONGO_CONVERSION_FAILURE, "Conversion would overflow target type in $convert");
    return true;
}

static bool to_int(struct run *run, const struct element *value, struct element *out)
{
    int64_t whole;
    if (value->type == BSON_TYPE_BOOL)
        return make_int32(run, *value->value.data, out);
    if (is_string(value)) {
        if (!read_integer(run, value, &whole))
            return false;
        return whole >= INT32_MIN && whole <= INT32_MAX ? make_int32(run, (int32_t)whole, out) : cannot_read(run, value, "Overflow");
    }
    if (!element_is_number(value))
        return cannot(run, value, BSON_TYPE_INT32);
    return whole_part(run, value, INT32_MIN, INT32_MAX, &whole) && make_int32(run, (int32_t)whole, out);
}

static bool to_long(struct run *run, const struct element *value, struct element *out)
{
    int64_t whole;
    if (value->type == BSON_TYPE_BOOL)
        return make_int64(run, *value->value.data, out);
    if (value->type == BSON_TYPE_DATE_TIME)
        return make_int64(run, element_int64(value), out);
    if (is_string(value))
        return read_integer(run, value, &whole) && make_int64(run, whole, out);
    if (!element_is_number(value))
        return cannot(run, value, BSON_TYPE_INT64);
    return whole_part(run, value, INT64_MIN, INT64_MAX, &whole) && make_int64(run, whole, out);
}

/* As strtod reads it, but for white space and base 16. */
static bool read_double(struct run *run, const struct element *value, double *number)
{
    struct bytes text = element_string(value);
    char *end;
    if (text.len == 0)
        return cannot_read(run, value, "Empty string");
    uint8_t first = text.data[0];
    bool hexadecimal = memchr(text.data, 'x', text.len) || memchr(text.data, 'X', text.len);
    if (hexadecimal || !((first >= '0' && first <= '9') || strchr("+-.iInN", first)))
        return cannot_read(run, value, "Did not consume whole string");
    errno = 0;
    *number = strtod((const char *)text.data, &end);
    if (end != (const char *)text.data + text.len)
        return cannot_read(run, value, "Did not consume whole string");
    return errno == 0 || cannot_read(run, value, "Out of range");
}

static bool to_double(struct run *run, const struct element *value, struct element *out)
{
    double number;
    if (value->type == BSON_TYPE_BOOL)
        return make_double(run, *value->value.data, out);
    if (value->type == BSON_TYPE_DATE_TIME)
        return make_double(run, (double)element_int64(value), out);
    if (is_string(value))
        return read_double(run, value, &number) && make_double(run, number, out);
    if (!element_is_number(value))
        return cannot(run, value, BSON_TYPE_DOUBLE);
    number = double_of(value);
    if (value->type == BSON_TYPE_DECIMAL128) {
        struct decimal128 decimal = decimal128_load(value->value.data);
        bool too_small = decimal.coefficient != 0 && fabs(number) < DBL_MIN;
        if (decimal.class == DECIMAL128_FINITE && (isinf(number) || too_small))
            return fail(run, MONGO_CONVERSION_FAILURE, "Conversion would overflow target type in $convert");
    }
    return make_double(run, number, out);
}

/* "[+-]digits[.digits][e[+-]digits]", with a digit on one side of the point */
static bool is_decimal_text(struct bytes text)
{
    size_t at = 0, digits = 0;
    at += text.len > 0 && strchr("+-", text.data[0]) != NULL;
    for (; at < text.len && isdigit(text.data[at]); at++)
        digits++;
    at += at < text.len && text.data[at] == '.';
    for (; at < text.len && isdigit(text.data[at]); at++)
        digits++;
    if (digits == 0 || at == text.len || (text.data[at] | 0x20) != 'e')
        return digits > 0 && at == text.len;
    at++;
    at += at < text.len && text.data[at] && strchr("+-", text.data[at]) != NULL;
    size_t exponent = at;
    while (at < text.len && isdigit(text.data[at]))
        at++;
    return at > exponent && at == text.len;
}

/* Digits beyond 34 are cut off, as in MongoDB, but what is too large or too small is none. */
static bool read_decimal(struct run *run, struct bytes text, struct decimal128 *decimal)
{
    bson_decimal128_t raw;
    uint8_t bytes[DECIMAL128_SIZE];
    if (is_decimal_text(text)) {
        char *copy = run_alloc(run, text.len + 1);
        if (!copy)
            return false;
        memcpy(copy, text.data, text.len);
        copy[text.len] = '\0';
        return decimal_of_text(copy, decimal);
    }
    if (text.len == 0 || memchr(text.data, 0, text.len) || !bson_decimal128_from_string((const char *)text.data, &raw))
        return false;
    put_u64(bytes, raw.low);
    put_u64(bytes + 8, raw.high);
    *decimal = decimal128_load(bytes);
    return true;
}

static bool to_decimal(struct run *run, const struct element *value, struct element *out)
{
    if (value->type == BSON_TYPE_BOOL)
        return make_decimal(run, decimal128_of_int64(*value->value.data), out);
    if (value->type == BSON_TYPE_DATE_TIME)
        return make_decimal(run, decimal128_of_int64(element_int64(value)), out);
    if (is_string(value)) {
        struct decimal128 decimal;
        if (!read_decimal(run, element_string(value), &decimal))
            return cannot_read(run, value, "Failed to parse string to decimal");
        return make_decimal(run, decimal, out);
    }
    return element_is_number(value) ? make_decimal(run, decimal_of(value), out) : cannot(run, value, BSON_TYPE_DECIMAL128);
}

static bool to_string(struct run *run, const struct element *value, struct element *out)
{
    char hex[25], number[32];
    struct bytes text;
    int64_t millis;
    switch (value->type) {
    case BSON_TYPE_BOOL:
        return make_text(run, *value->value.data ? "true" : "false", out);
    case BSON_TYPE_OID:
        for (int i = 0; i < 12; i++)
            snprintf(hex + 2 * i, 3, "%02x", value->value.data[i]);
        return make_text(run, hex, out);
    case BSON_TYPE_DATE_TIME:
        return date_argument(run, value, &millis) &&
               date_format(run, bytes_of_string("%Y-%m-%dT%H:%M:%S.%LZ"), millis, &time_zone_utc, out);
    case BSON_TYPE_DOUBLE:
        text_of_double(element_double(value), number);
        return make_text(run, number, out);
    case BSON_TYPE_UTF8:
    case BSON_TYPE_INT32:
    case BSON_TYPE_INT64:
    case BSON_TYPE_DECIMAL128:
        return text_of_value(run, value, &text) && make_string(run, text, out);
    default:
        return cannot(run, value, BSON_TYPE_UTF8);
    }
}

static bool to_object_id(struct run *run, const struct element *value, struct element *out)
{
    if (value->type == BSON_TYPE_OID) {
        *out = *value;
        return true;
    }
    if (!is_string(value))
        return cannot(run, value, BSON_TYPE_OID);
    struct bytes text = element_string(value);
    if (!bson_oid_is_valid((const char *)text.data, text.len) || text.len != 24)
        return cannot_read(run, value, "Invalid string length or digit for parsing to OID");
    bson_oid_t id;
    bson_oid_init_from_string(&id, (const char *)text.data);
    uint8_t *copy = run_alloc(run, 12);
    if (!copy)
        return false;
    memcpy(copy, id.bytes, 12);
    *out = (struct element) { .type = BSON_TYPE_OID, .name = "", .value = bytes_of(copy, 12) };
    return true;
}

static bool to_date(struct run *run, const struct element *value, struct element *out)
{
    int64_t millis;
    if (is_string(value)) {
        const char *problem = date_parse(element_string(value), &time_zone_utc, false, &millis);
        return problem ? cannot_read(run, value, problem) : make_date(run, millis, out);
    }
    if (is_date_like(value))
        return make_date(run, millis_of(value), out);
    if (!element_is_number(value) || value->type == BSON_TYPE_INT32)
        return cannot(run, value, BSON_TYPE_DATE_TIME);
    return whole_part(run, value, INT64_MIN, INT64_MAX, &millis) && make_date(run, millis, out);
}

static const struct conversion {
    const char *name;
    uint8_t type;
    bool (*convert)(struct run *run, const struct element *value, struct element *out);
} conversions[] = {
    { "bool", BSON_TYPE_BOOL, to_bool },         { "int", BSON_TYPE_INT32, to_int },       { "long", BSON_TYPE_INT64, to_long },
    { "double", BSON_TYPE_DOUBLE, to_double },   { "string", BSON_TYPE_UTF8, to_string },  { "decimal", BSON_TYPE_DECIMAL128, to_decimal },
    { "objectId", BSON_TYPE_OID, to_object_id }, { "date", BSON_TYPE_DATE_TIME, to_date },
};

/* By name, or by the number of the type in BSON. */
static bool find_conversion(struct run *run, const struct element *to, const struct conversion **found)
{
    int32_t number = -2; /* no type has it */
    *found = NULL;
    if (element_is_number(to)) {
        if (!exact_int32(to, &number))
            return fail(run, MONGO_FAILED_TO_PARSE, "In $convert, numeric 'to' argument is not an integer");
        if (number < -1 || (number > 19 && number != 127))
            return fail(run, MONGO_FAILED_TO_PARSE, "In $convert, numeric value for 'to' does not correspond to a BSON type: %d", number);
    } else if (!is_string(to)) {
        return fail(run, MONGO_FAILED_TO_PARSE, "$convert's 'to' argument must be a string or number, but is %s",
                    element_type_name(to->type));
    }
    for (size_t i = 0; i < ARRAY_LEN(conversions); i++) {
        if (is_string(to) ? bytes_equal(element_string(to), bytes_of_string(conversions[i].name)) : conversions[i].type == number)
            *found = &conversions[i];
    }
    if (*found || !is_string(to))
        return true;
    for (int type = 0; type <= 20; type++) { /* 0: "missing", which $type says, is a type as well */
        if (bytes_equal(element_string(to), bytes_of_string(element_type_name((uint8_t)(type == 20 ? 127 : type)))))
            return true;
    }
    return bytes_equal(element_string(to), bytes_of_string("minKey")) ||
           fail(run, MONGO_BAD_VALUE, "Unknown type name: %.60s", (const char *)element_string(to).data);
}

static bool evaluate_convert(struct run *run, const struct expression *e, struct element *out)
{
    const struct conversion *conversion;
    struct element input, to;
    if (!evaluate(run, e->args[TO], &to) || !evaluate(run, e->args[INPUT], &input))
        return false;
    if (!is_nullish(&to) && !find_conversion(run, &to, &conversion))
        return false;
    if (is_nullish(&input))
        return e->args[ON_NULL] ? evaluate(run, e->args[ON_NULL], out) : make_null(out);
    if (is_nullish(&to))
        return make_null(out);
    bool ok = conversion ? conversion->convert(run, &input, out)
                         : fail(run, MONGO_CONVERSION_FAILURE, "Unsupported conversion from %s in $convert", element_type_name(input.type));
    if (ok || !e->args[ON_ERROR] || !run->err || query_error_code(run->err) != MONGO_CONVERSION_FAILURE)
        return ok;
    return evaluate(run, e->args[ON_ERROR], out);
}

/* variant: index of the conversion */
static bool apply_to(struct run *run, const struct expression *e, const struct element *args, struct element *out)
{
    return is_nullish(&args[0]) ? make_null(out) : conversions[e->op->variant].convert(run, &args[0], out);
}

static const struct expression_op ops[] = {
    { "$convert", .evaluate = evaluate_convert, .fields = "input!9 to!9 onError onNull", .not_document = MONGO_FAILED_TO_PARSE,
      .unknown_field = MONGO_FAILED_TO_PARSE },
    { "$toBool", 1, 1, .apply = apply_to, .wrong_count = 50723, .variant = 0 },
    { "$toInt", 1, 1, .apply = apply_to, .wrong_count = 50723, .variant = 1 },
    { "$toLong", 1, 1, .apply = apply_to, .wrong_count = 50723, .variant = 2 },
    { "$toDouble", 1, 1, .apply = apply_to, .wrong_count = 50723, .variant = 3 },
    { "$toString", 1, 1, .apply = apply_to, .wrong_count = 50723, .variant = 4 },
    { "$toDecimal", 1, 1, .apply = apply_to, .wrong_count = 50723, .variant = 5 },
    { "$toObjectId", 1, 1, .apply = apply_to, .wrong_count = 50723, .variant = 6 },
    { "$toDate", 1, 1, .apply = apply_to, .wrong_count = 50723, .variant = 7 },
};

const struct expression_ops ops_convert = { ops, ARRAY_LEN(ops) };
