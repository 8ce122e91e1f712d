#include "common/bson/decimal128_math.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef unsigned __int128 u128;

static const struct decimal128 nan_value = { .class = DECIMAL128_NAN };

static u128 power_of_ten(int n)
{
    u128 power = 1;
    while (n-- > 0)
        power *= 10;
    return power;
}

/* coefficient (up to 34 digits) plus a part below its last digit: 0, less than half of it, half, more. */
enum rest { REST_NONE, REST_BELOW, REST_HALF, REST_ABOVE };

/* Drops the last digit into the rest. */
static void drop_digit(u128 *coefficient, enum rest *rest)
{
    unsigned digit = (unsigned)(*coefficient % 10);
    bool below = *rest != REST_NONE;
    *coefficient /= 10;
    *rest = digit > 5 || (digit == 5 && below) ? REST_ABOVE : digit == 5 ? REST_HALF : digit || below ? REST_BELOW : REST_NONE;
}

/* Rounds, and fits the exponent to its range. */
static struct decimal128 finish(bool negative, u128 coefficient, int exponent, enum rest rest)
{
    struct decimal128 d = { .class = DECIMAL128_FINITE, .negative = negative };
    for (; exponent < DECIMAL128_MIN_EXPONENT && (coefficient || rest != REST_NONE); exponent++)
        drop_digit(&coefficient, &rest);
    if (rest == REST_ABOVE || (rest == REST_HALF && coefficient % 2 == 1))
        coefficient++;
    if (coefficient == power_of_ten(DECIMAL128_DIGITS)) {
        coefficient /= 10;
        exponent++;
    }
    for (; exponent > DECIMAL128_MAX_EXPONENT && coefficient && coefficient < power_of_ten(DECIMAL128_DIGITS - 1); exponent--)
        coefficient *= 10;
    if (exponent > DECIMAL128_MAX_EXPONENT) {
        if (coefficient)
            d.class = DECIMAL128_INFINITY;
        exponent = DECIMAL128_MAX_EXPONENT;
    }
    if (exponent < DECIMAL128_MIN_EXPONENT)
        exponent = DECIMAL128_MIN_EXPONENT;
    d.coefficient = coefficient;
    d.exponent = exponent;
    return d;
}

struct decimal128 decimal128_of_double_exactly(double value)
{
    if (isnan(value))
        return nan_value;
    if (isinf(value))
        return (struct decimal128) { .class = DECIMAL128_INFINITY, .negative = value < 0 };
    char text[64]; /* "d.ddd...e-xxx" */
    u128 coefficient = 0;
    snprintf(text, sizeof text, "%.33e", fabs(value));
    char *e = strchr(text, 'e');
    for (const char *at = text; at < e; at++) {
        if (*at >= '0' && *at <= '9')
            coefficient = coefficient * 10 + (unsigned)(*at - '0');
    }
    int exponent = atoi(e + 1) - 33;
    for (; exponent < 0 && coefficient % 10 == 0; exponent++)
        coefficient /= 10;
    return finish(signbit(value) != 0, coefficient, coefficient ? exponent : 0, REST_NONE);
}

struct decimal128 decimal128_divide(struct decimal128 a, struct decimal128 b)
{
    bool negative = a.negative != b.negative;
    if (a.class == DECIMAL128_NAN || b.class == DECIMAL128_NAN || (a.class == DECIMAL128_INFINITY && b.class == DECIMAL128_INFINITY))
        return nan_value;
    if (a.class == DECIMAL128_INFINITY)
        return (struct decimal128) { .class = DECIMAL128_INFINITY, .negative = negative };
    if (b.class == DECIMAL128_INFINITY)
        return (struct decimal128) { .class = DECIMAL128_FINITE, .negative = negative, .exponent = DECIMAL128_MIN_EXPONENT };
    if (b.coefficient == 0)
        return a.coefficient ? (struct decimal128) { .class = DECIMAL128_INFINITY, .negative = negative } : nan_value;
    int exponent = a.exponent - b.exponent;
    u128 quotient = a.coefficient / b.coefficient, left = a.coefficient % b.coefficient;
    while (left && quotient < power_of_ten(DECIMAL128_DIGITS - 1)) {
        left *= 10;
        quotient = quotient * 10 + left / b.coefficient;
        left %= b.coefficient;
        exponent--;
    }
    enum rest rest = left == 0 ? REST_NONE : 2 * left > b.coefficient ? REST_ABOVE : 2 * left == b.coefficient ? REST_HALF : REST_BELOW;
    return finish(negative, quotient, exponent, rest);
}

struct decimal128 decimal128_modulo(struct decimal128 a, struct decimal128 b)
{
    if (a.class != DECIMAL128_FINITE || b.class == DECIMAL128_NAN || (b.class == DECIMAL128_FINITE && b.coefficient == 0))
        return nan_value;
    if (b.class == DECIMAL128_INFINITY)
        return a;
    u128 left = a.coefficient, divisor = b.coefficient;
    int exponent = a.exponent < b.exponent ? a.exponent : b.exponent;
    for (int e = b.exponent; e > a.exponent; e--) {
        if (divisor > left)
            return a;
        divisor *= 10;
    }
    left %= divisor;
    for (int e = a.exponent; e > b.exponent && left; e--)
        left = left * 10 % divisor;
    return (struct decimal128) { .class = DECIMAL128_FINITE, .negative = a.negative, .coefficient = left, .exponent = exponent };
}

/* Digit by digit, as on paper. */
struct decimal128 decimal128_sqrt(struct decimal128 value)
{
    if (value.class == DECIMAL128_NAN || (value.negative && (value.class == DECIMAL128_INFINITY || value.coefficient)))
        return nan_value;
    if (value.class == DECIMAL128_INFINITY)
        return value;
    if (value.coefficient == 0) {
        value.exponent = (value.exponent - (value.exponent & 1)) / 2;
        return value;
    }
    /* pairs of digits, the most significant first; the exponent becomes even */
    int exponent = value.exponent;
    u128 c = value.coefficient;
    uint8_t digits[2 * DECIMAL128_DIGITS + 2] = { 0 };
    int n = 0;
    u128 scan = c;
    while (scan) {
        n++;
        scan /= 10;
    }
    bool odd = exponent & 1;
    if (odd)
        exponent--; /* c * 10 */
    int total = n + odd, first = total & 1;
    for (int i = first + n - 1; i >= first; i--, c /= 10)
        digits[i] = (uint8_t)(c % 10);
    int pairs = (total + 1) / 2, taken = 0, wanted = exponent / 2;
    u128 root = 0, left = 0;
    /* left < 2 * root + 1 always: 35 digits, and times 100 they still fit in 128 bits while root has 33 */
    for (; root < power_of_ten(DECIMAL128_DIGITS - 1) && (taken < pairs || left); taken++) {
        unsigned pair = taken < pairs ? digits[2 * taken] * 10u + digits[2 * taken + 1] : 0;
        left = left * 100 + pair;
        unsigned digit = 0;
        while (digit < 9 && (20 * root + digit + 1) * (digit + 1) <= left)
            digit++;
        left -= (20 * root + digit) * digit;
        root = root * 10 + digit;
    }
    return finish(false, root, wanted + pairs - taken, left == 0 ? REST_NONE : left > root ? REST_ABOVE : REST_BELOW);
}

struct decimal128 decimal128_round(struct decimal128 value, int places, enum decimal128_rounding rounding)
{
    if (value.class != DECIMAL128_FINITE)
        return value;
    enum rest rest = REST_NONE;
    while (value.exponent < -places && (value.coefficient || rest != REST_NONE)) {
        drop_digit(&value.coefficient, &rest);
        value.exponent++;
    }
    if (value.exponent < -places)
        value.exponent = -places;
    while (value.exponent > -places && value.exponent > DECIMAL128_MIN_EXPONENT &&
           value.coefficient < power_of_ten(DECIMAL128_DIGITS - 1)) {
        value.coefficient *= 10;
        value.exponent--;
    }
    bool away = rounding == DECIMAL128_HALF_EVEN ? rest == REST_ABOVE || (rest == REST_HALF && value.coefficient % 2 == 1)
                : rounding == DECIMAL128_DOWN    ? value.negative && rest != REST_NONE
                : rounding == DECIMAL128_UP      ? !value.negative && rest != REST_NONE
                                                 : false;
    value.coefficient += away;
    return value;
}
