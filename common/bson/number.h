/* Exact values of BSON numbers of all four types in one form, so that they can be compared and encoded
 * without rounding. Every double has a finite decimal expansion, of at most 767 significant digits.
 */
#ifndef ARGON_BSON_NUMBER_H
#define ARGON_BSON_NUMBER_H

#include "common/bson/decimal128.h"
#include "common/bson/element.h"

/* In their order. */
enum number_class {
    NUMBER_NAN,
    NUMBER_NEGATIVE_INFINITY,
    NUMBER_NEGATIVE,
    NUMBER_ZERO,
    NUMBER_POSITIVE,
    NUMBER_POSITIVE_INFINITY,
};

enum { NUMBER_MAX_DIGITS = 768 };

/* Of the finite ones but zero: 0.d1 d2 ... dn * 10^exponent, where d1 and dn are not 0. So equal values have
 * equal forms, and larger magnitudes have larger (exponent, digits). */
struct number {
    enum number_class class;
    int exponent;
    int n_digits;
    uint8_t digits[NUMBER_MAX_DIGITS];
};

void number_of_int64(int64_t value, struct number *out);
void number_of_double(double value, struct number *out);
void number_of_decimal128(struct decimal128 value, struct number *out);
/* The element is a number (element_is_number). */
void number_of_element(const struct element *element, struct number *out);

int number_compare(const struct number *a, const struct number *b);
/* The same for two elements that are numbers, without the detour where the types allow it. */
int number_compare_elements(const struct element *a, const struct element *b);

/* A number without its fraction; *exact: it has none. False: NaN, infinite, or beyond 64 bits. */
bool number_truncate(const struct element *number, int64_t *whole, bool *exact);

#endif
