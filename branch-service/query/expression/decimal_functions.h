/* Functions of decimals, by the library that MongoDB has them from. Its release is a later one: the last of 34 digits can
 * differ by one. */
#ifndef ARGON_BRANCH_QUERY_EXPRESSION_DECIMAL_FUNCTIONS_H
#define ARGON_BRANCH_QUERY_EXPRESSION_DECIMAL_FUNCTIONS_H

#include "common/bson/decimal128.h"

/* What there is of one number. */
enum math_function {
    MATH_EXP,
    MATH_LN,
    MATH_LOG10,
    MATH_SIN,
    MATH_COS,
    MATH_TAN,
    MATH_ASIN,
    MATH_ACOS,
    MATH_ATAN,
    MATH_SINH,
    MATH_COSH,
    MATH_TANH,
    MATH_ASINH,
    MATH_ACOSH,
    MATH_ATANH,
    MATH_TO_RADIANS,
    MATH_TO_DEGREES,
};

/* Of a number's digits, cut off behind the 34th; false: it is too large or too small. The text is not changed. */
bool decimal_of_text(char *text, struct decimal128 *out);
/* NaN where the function is not defined. */
struct decimal128 decimal_function(enum math_function, struct decimal128 x);
struct decimal128 decimal_power(struct decimal128 base, struct decimal128 exponent);
struct decimal128 decimal_logarithm(struct decimal128 x, struct decimal128 base);
struct decimal128 decimal_atan2(struct decimal128 y, struct decimal128 x);

#endif
