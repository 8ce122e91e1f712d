#include "common/bson/decimal128.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/bytes.h"

enum { BIAS = 6176 };

typedef unsigned __int128 u128;

static u128 power_of_ten(int n)
{
    u128 power = 1;
    while (n-- > 0)
        power *= 10;
    return power;
}

struct decimal128 decimal128_load(const uint8_t bytes[DECIMAL128_SIZE])
{
    uint64_t low = get_u64(bytes), high = get_u64(bytes + 8);
    struct decimal128 d = { .class = DECIMAL128_FINITE, .negative = high >> 63 };
    unsigned combination = high >> 58 & 0x1F;
    if (combination == 0x1F) {
        d.class = DECIMAL128_NAN;
    } else if (combination == 0x1E) {
        d.class = DECIMAL128_INFINITY;
    } else if (combination >= 0x18) {
        /* the form for coefficients from 2^113 on, all of which are over 34 digits */
        d.exponent = (int)(high >> 47 & 0x3FFF) - BIAS;
    } else {
        d.exponent = (int)(high >> 49 & 0x3FFF) - BIAS;
        d.coefficient = (u128)(high & 0x1FFFFFFFFFFFF) << 64 | low;
        if (d.coefficient >= power_of_ten(DECIMAL128_DIGITS))
            d.coefficient = 0;
    }
    return d;
}

void decimal128_store(struct decimal128 d, uint8_t bytes[DECIMAL128_SIZE])
{
    uint64_t high = (uint64_t)d.negative << 63;
    uint64_t low = 0;
    switch (d.class) {
    case DECIMAL128_NAN:
        high |= (uint64_t)0x1F << 58;
        break;
    case DECIMAL128_INFINITY:
        high |= (uint64_t)0x1E << 58;
        break;
    case DECIMAL128_FINITE:
        high |= (uint64_t)(d.exponent + BIAS) << 49 | (uint64_t)(d.coefficient >> 64);
        low = (uint64_t)d.coefficient;
        break;
    }
    put_u64(bytes, low);
    put_u64(bytes + 8, high);
}

struct decimal128 decimal128_of_int64(int64_t value)
{
    uint64_t magnitude = value < 0 ? -(uint64_t)value : (uint64_t)value;
    return (struct decimal128) { .class = DECIMAL128_FINITE, .negative = value < 0, .coefficient = magnitude };
}

struct decimal128 decimal128_of_double(double value)
{
    struct decimal128 d = { .class = DECIMAL128_FINITE, .negative = signbit(value) != 0 };
    if (isnan(value))
        return (struct decimal128) { .class = DECIMAL128_NAN };
    if (isinf(value)) {
        d.class = DECIMAL128_INFINITY;
        return d;
    }
    if (value == 0)
        return d;
    char text[40]; /* "d.dddddddddddddde-xxx" */
    snprintf(text, sizeof text, "%.14e", fabs(value));
    char *e = strchr(text, 'e');
    for (const char *at = text; at < e; at++) {
        if (*at >= '0' && *at <= '9')
            d.coefficient = d.coefficient * 10 + (unsigned)(*at - '0');
    }
    d.exponent = atoi(e + 1) - 14;
    return d;
}

/* Digits, least significant first: room for 34 and the widest shift that matters. */
enum { WIDEST_SHIFT = 80, WIDTH = WIDEST_SHIFT + DECIMAL128_DIGITS + 2 };

static void spread(u128 coefficient, int shift, uint8_t digits[WIDTH])
{
    memset(digits, 0, WIDTH);
    for (int i = shift; coefficient; i++) {
        digits[i] = (uint8_t)(coefficient % 10);
        coefficient /= 10;
    }
}

static struct decimal128 round_digits(const uint8_t digits[WIDTH], int exponent, bool negative)
{
    struct decimal128 d = { .class = DECIMAL128_FINITE, .negative = negative };
    int top = WIDTH - 1;
    while (top >= 0 && digits[top] == 0)
        top--;
    int drop = top + 1 > DECIMAL128_DIGITS ? top + 1 - DECIMAL128_DIGITS : 0;
    for (int i = top; i >= drop; i--)
        d.coefficient = d.coefficient * 10 + digits[i];
    if (drop > 0) {
        bool below = false; /* anything but zero behind the first dropped digit */
        for (int i = 0; i < drop - 1; i++)
            below |= digits[i] != 0;
        uint8_t first = digits[drop - 1];
        if (first > 5 || (first == 5 && (below || d.coefficient % 2 == 1)))
            d.coefficient++;
        if (d.coefficient == power_of_ten(DECIMAL128_DIGITS)) {
            d.coefficient /= 10;
            drop++;
        }
    }
    d.exponent = exponent + drop;
    /* a short coefficient can take over what the exponent has too much */
    while (d.exponent > DECIMAL128_MAX_EXPONENT && d.coefficient != 0 && d.coefficient < power_of_ten(DECIMAL128_DIGITS - 1)) {
        d.coefficient *= 10;
        d.exponent--;
    }
    if (d.exponent > DECIMAL128_MAX_EXPONENT) {
        if (d.coefficient != 0)
            d.class = DECIMAL128_INFINITY;
        else
            d.exponent = DECIMAL128_MAX_EXPONENT;
    }
    return d;
}

/* The same for an exponent that may be too small: what is below the smallest is rounded away in the same step,
 * for to round twice can be wrong. */
static struct decimal128 round_small(const uint8_t digits[WIDTH], int exponent, bool negative)
{
    uint8_t shifted[WIDTH] = { 0 };
    int top = WIDTH - 1;
    while (top >= 0 && digits[top] == 0)
        top--;
    int excess = top + 1 > DECIMAL128_DIGITS ? top + 1 - DECIMAL128_DIGITS : 0;
    int below = DECIMAL128_MIN_EXPONENT - exponent;
    if (below <= excess)
        return round_digits(digits, exponent, negative);
    /* a one in front makes `below` digits the ones that are too many; it goes away again */
    for (int i = 0; i <= top && i < WIDTH; i++)
        shifted[i] = digits[i];
    int front = below + DECIMAL128_DIGITS - 1;
    if (front >= WIDTH)
        return (struct decimal128) { .class = DECIMAL128_FINITE, .negative = negative, .exponent = DECIMAL128_MIN_EXPONENT };
    shifted[front] = 1;
    struct decimal128 d = round_digits(shifted, exponent, negative);
    d.coefficient -= power_of_ten(DECIMAL128_DIGITS - 1);
    return d;
}

struct decimal128 decimal128_add(struct decimal128 a, struct decimal128 b)
{
    const struct decimal128 nan = { .class = DECIMAL128_NAN };
    if (a.class == DECIMAL128_NAN || b.class == DECIMAL128_NAN)
        return nan;
    if (a.class == DECIMAL128_INFINITY || b.class == DECIMAL128_INFINITY) {
        if (a.class == b.class && a.negative != b.negative)
            return nan;
        return a.class == DECIMAL128_INFINITY ? a : b;
    }
    struct decimal128 high = a.exponent >= b.exponent ? a : b;
    struct decimal128 low = a.exponent >= b.exponent ? b : a;
    if (high.coefficient == 0) {
        /* exact, and low has the smaller exponent already; the sign of a zero sum is settled below */
        high.exponent = low.exponent;
    } else if (high.exponent - low.exponent > WIDEST_SHIFT) {
        /* low is far below the last digit of the result: only that it is there, and its sign, can matter */
        low.exponent = high.exponent - WIDEST_SHIFT;
        if (low.coefficient != 0)
            low.coefficient = 1;
    }

    uint8_t x[WIDTH], y[WIDTH];
    spread(high.coefficient, high.exponent - low.exponent, x);
    spread(low.coefficient, 0, y);
    bool negative = high.negative;
    if (high.negative == low.negative) {
        unsigned carry = 0;
        for (int i = 0; i < WIDTH; i++) {
            unsigned sum = x[i] + y[i] + carry;
            x[i] = (uint8_t)(sum % 10);
            carry = sum / 10;
        }
    } else {
        int order = 0;
        for (int i = WIDTH - 1; i >= 0 && order == 0; i--)
            order = x[i] - y[i];
        const uint8_t *larger = order >= 0 ? x : y, *smaller = order >= 0 ? y : x;
        negative = order > 0 ? high.negative : order < 0 ? low.negative : false;
        int borrow = 0;
        for (int i = 0; i < WIDTH; i++) {
            int difference = larger[i] - smaller[i] - borrow;
            borrow = difference < 0;
            x[i] = (uint8_t)(borrow ? difference + 10 : difference);
        }
    }
    return round_digits(x, low.exponent, negative);
}

struct decimal128 decimal128_multiply(struct decimal128 a, struct decimal128 b)
{
    bool negative = a.negative != b.negative;
    bool infinite = a.class == DECIMAL128_INFINITY || b.class == DECIMAL128_INFINITY;
    bool zero = (a.class == DECIMAL128_FINITE && a.coefficient == 0) || (b.class == DECIMAL128_FINITE && b.coefficient == 0);
    if (a.class == DECIMAL128_NAN || b.class == DECIMAL128_NAN || (infinite && zero))
        return (struct decimal128) { .class = DECIMAL128_NAN };
    if (infinite)
        return (struct decimal128) { .class = DECIMAL128_INFINITY, .negative = negative };

    uint8_t x[WIDTH], y[WIDTH], digits[WIDTH] = { 0 };
    spread(a.coefficient, 0, x);
    spread(b.coefficient, 0, y);
    for (int i = 0; i < DECIMAL128_DIGITS; i++) {
        unsigned carry = 0;
        for (int j = 0; j <= DECIMAL128_DIGITS; j++) {
            unsigned sum = digits[i + j] + carry + (j < DECIMAL128_DIGITS ? x[i] * y[j] : 0u);
            digits[i + j] = (uint8_t)(sum % 10);
            carry = sum / 10;
        }
    }
    return round_small(digits, a.exponent + b.exponent, negative);
}
