#include "common/bson/number.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int order_of(int64_t a, int64_t b)
{
    return (a > b) - (a < b);
}

/* digits holds n_digits values, the first of which has the weight 10^(exponent - 1). */
static void normalize(struct number *out, bool negative)
{
    int leading = 0;
    while (leading < out->n_digits && out->digits[leading] == 0)
        leading++;
    while (out->n_digits > leading && out->digits[out->n_digits - 1] == 0)
        out->n_digits--;
    if (leading == out->n_digits) {
        out->class = NUMBER_ZERO;
        out->n_digits = out->exponent = 0;
        return;
    }
    out->class = negative ? NUMBER_NEGATIVE : NUMBER_POSITIVE;
    out->n_digits -= leading;
    out->exponent -= leading;
    memmove(out->digits, out->digits + leading, (size_t)out->n_digits);
}

static void from_coefficient(bool negative, unsigned __int128 coefficient, int exponent, struct number *out)
{
    uint8_t reversed[40];
    int n = 0;
    for (; coefficient; coefficient /= 10)
        reversed[n++] = (uint8_t)(coefficient % 10);
    for (int i = 0; i < n; i++)
        out->digits[i] = reversed[n - 1 - i];
    out->n_digits = n;
    out->exponent = exponent + n;
    normalize(out, negative);
}

void number_of_int64(int64_t value, struct number *out)
{
    from_coefficient(value < 0, value < 0 ? -(uint64_t)value : (uint64_t)value, 0, out);
}

void number_of_double(double value, struct number *out)
{
    out->exponent = out->n_digits = 0;
    if (isnan(value)) {
        out->class = NUMBER_NAN;
        return;
    }
    if (isinf(value)) {
        out->class = value < 0 ? NUMBER_NEGATIVE_INFINITY : NUMBER_POSITIVE_INFINITY;
        return;
    }
    if (value >= -0x1p63 && value < 0x1p63 && value == trunc(value)) {
        number_of_int64((int64_t)value, out);
        return;
    }
    /* A fraction of k binary digits has k decimal ones, before it stand at most 16; what is left is whole
     * and has at most 309. */
    int binary_exponent;
    double fraction = frexp(fabs(value), &binary_exponent);
    int fraction_bits = 53 - __builtin_ctzll((uint64_t)ldexp(fraction, 53)) - binary_exponent;
    int precision = fraction_bits > 0 ? fraction_bits + 16 : 308;
    if (precision > NUMBER_MAX_DIGITS - 2)
        precision = NUMBER_MAX_DIGITS - 2;
    char text[NUMBER_MAX_DIGITS + 16];
    snprintf(text, sizeof text, "%.*e", precision, fabs(value));
    char *e = strchr(text, 'e');
    for (const char *at = text; at < e; at++) {
        if (*at >= '0' && *at <= '9')
            out->digits[out->n_digits++] = (uint8_t)(*at - '0');
    }
    out->exponent = atoi(e + 1) + 1;
    normalize(out, value < 0);
}

void number_of_decimal128(struct decimal128 value, struct number *out)
{
    out->exponent = out->n_digits = 0;
    if (value.class == DECIMAL128_NAN)
        out->class = NUMBER_NAN;
    else if (value.class == DECIMAL128_INFINITY)
        out->class = value.negative ? NUMBER_NEGATIVE_INFINITY : NUMBER_POSITIVE_INFINITY;
    else
        from_coefficient(value.negative, value.coefficient, value.exponent, out);
}

void number_of_element(const struct element *e, struct number *out)
{
    switch (e->type) {
    case BSON_TYPE_INT32:
        number_of_int64(element_int32(e), out);
        break;
    case BSON_TYPE_INT64:
        number_of_int64(element_int64(e), out);
        break;
    case BSON_TYPE_DOUBLE:
        number_of_double(element_double(e), out);
        break;
    default:
        number_of_decimal128(decimal128_load(e->value.data), out);
        break;
    }
}

int number_compare(const struct number *a, const struct number *b)
{
    if (a->class != b->class)
        return order_of(a->class, b->class);
    if (a->class != NUMBER_POSITIVE && a->class != NUMBER_NEGATIVE)
        return 0;
    int order = order_of(a->exponent, b->exponent);
    if (order == 0)
        order = bytes_compare(bytes_of(a->digits, (size_t)a->n_digits), bytes_of(b->digits, (size_t)b->n_digits));
    order = (order > 0) - (order < 0);
    return a->class == NUMBER_POSITIVE ? order : -order;
}

static int compare_doubles(double a, double b)
{
    if (isnan(a) || isnan(b))
        return (isnan(b) != 0) - (isnan(a) != 0);
    return (a > b) - (a < b);
}

static int compare_int64_double(int64_t i, double d)
{
    if (isnan(d) || d < -0x1p63)
        return 1;
    if (d >= 0x1p63)
        return -1;
    double whole = trunc(d); /* fits: the limits of int64 are powers of two */
    int order = order_of(i, (int64_t)whole);
    return order ? order : (whole > d) - (whole < d);
}

int number_compare_elements(const struct element *a, const struct element *b)
{
    if (element_is_integer(a) && element_is_integer(b))
        return order_of(element_integer(a), element_integer(b));
    if (a->type == BSON_TYPE_DOUBLE && b->type == BSON_TYPE_DOUBLE)
        return compare_doubles(element_double(a), element_double(b));
    if (element_is_integer(a) && b->type == BSON_TYPE_DOUBLE)
        return compare_int64_double(element_integer(a), element_double(b));
    if (a->type == BSON_TYPE_DOUBLE && element_is_integer(b))
        return -compare_int64_double(element_integer(b), element_double(a));
    struct number x, y;
    number_of_element(a, &x);
    number_of_element(b, &y);
    return number_compare(&x, &y);
}

/* Decimal: the coefficient without what stands behind the point. */
static bool truncate_decimal(struct decimal128 value, int64_t *whole, bool *exact)
{
    if (value.class != DECIMAL128_FINITE)
        return false;
    unsigned __int128 coefficient = value.coefficient;
    *exact = true;
    for (int exponent = value.exponent; exponent < 0 && coefficient; exponent++) {
        *exact &= coefficient % 10 == 0;
        coefficient /= 10;
    }
    for (int exponent = value.exponent; exponent > 0 && coefficient; exponent--) {
        if (coefficient > UINT64_MAX)
            return false;
        coefficient *= 10;
    }
    if (coefficient > (unsigned __int128)INT64_MAX + value.negative)
        return false;
    *whole = value.negative ? (int64_t) - (uint64_t)coefficient : (int64_t)coefficient;
    return true;
}

bool number_truncate(const struct element *e, int64_t *whole, bool *exact)
{
    *exact = true;
    if (element_is_integer(e)) {
        *whole = element_integer(e);
        return true;
    }
    if (e->type == BSON_TYPE_DECIMAL128)
        return truncate_decimal(decimal128_load(e->value.data), whole, exact);
    double value = element_double(e);
    if (!(value >= -0x1p63 && value < 0x1p63)) /* NaN neither */
        return false;
    *whole = (int64_t)value;
    *exact = (double)*whole == value;
    return true;
}
