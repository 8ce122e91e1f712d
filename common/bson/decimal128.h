/* IEEE 754-2008 decimal128 in the binary integer encoding that BSON stores.
 *
 * A coefficient over 34 digits can be written in the encoding but has no value: it counts as 0, as the
 * standard says.
 */
#ifndef ARGON_BSON_DECIMAL128_H
#define ARGON_BSON_DECIMAL128_H

#include <stdbool.h>
#include <stdint.h>

enum {
    DECIMAL128_SIZE = 16, /* bytes, little-endian */
    DECIMAL128_DIGITS = 34,
    DECIMAL128_MIN_EXPONENT = -6176,
    DECIMAL128_MAX_EXPONENT = 6111,
};

enum decimal128_class { DECIMAL128_FINITE, DECIMAL128_INFINITY, DECIMAL128_NAN };

/* (-1)^negative * coefficient * 10^exponent */
struct decimal128 {
    enum decimal128_class class;
    bool negative;
    int exponent;
    unsigned __int128 coefficient;
};

struct decimal128 decimal128_load(const uint8_t bytes[DECIMAL128_SIZE]);
void decimal128_store(struct decimal128 value, uint8_t bytes[DECIMAL128_SIZE]);

struct decimal128 decimal128_of_int64(int64_t value);
/* Rounded to 15 significant digits, all of them kept (0.1 becomes 0.100000000000000): what MongoDB does when
 * a double meets a decimal. */
struct decimal128 decimal128_of_double(double value);
/* Rounds half to even at 34 digits; an exact result keeps the smaller exponent where it can. */
struct decimal128 decimal128_add(struct decimal128 a, struct decimal128 b);
struct decimal128 decimal128_multiply(struct decimal128 a, struct decimal128 b);

#endif
