/* What expressions calculate with decimals, beyond sums and products. Rounds half to even at 34 digits. */
#ifndef ARGON_BSON_DECIMAL128_MATH_H
#define ARGON_BSON_DECIMAL128_MATH_H

#include "common/bson/decimal128.h"

/* With all digits that a decimal can hold (0.1 is 0.1000000000000000055511151231257827). */
struct decimal128 decimal128_of_double_exactly(double value);
/* By zero: infinity, or NaN for 0/0. */
struct decimal128 decimal128_divide(struct decimal128 a, struct decimal128 b);
/* What a division towards zero leaves: the sign is a's. By zero: NaN. */
struct decimal128 decimal128_modulo(struct decimal128 a, struct decimal128 b);
struct decimal128 decimal128_sqrt(struct decimal128 value); /* NaN for what is negative */

enum decimal128_rounding { DECIMAL128_HALF_EVEN, DECIMAL128_TO_ZERO, DECIMAL128_DOWN, DECIMAL128_UP };
/* To so many digits behind the point, or, where that is negative, zeros before it. Keeps exactly that many, if
 * 34 digits are enough. */
struct decimal128 decimal128_round(struct decimal128 value, int places, enum decimal128_rounding rounding);

#endif
