#include "branch-service/query/expression/decimal_functions.h"

/* what the library was built with, which its header has to be told */
#define DECIMAL_CALL_BY_REFERENCE      0
#define DECIMAL_GLOBAL_ROUNDING        0
#define DECIMAL_GLOBAL_EXCEPTION_FLAGS 0
#include <wchar.h>

#include <bid_conf.h>
#include <bid_functions.h>

#include "common/base/bytes.h"

enum { TO_NEAREST_EVEN = 0, TO_ZERO = 3 };

static BID_UINT128 to_library(struct decimal128 value)
{
    uint8_t bytes[DECIMAL128_SIZE];
    BID_UINT128 out;
    decimal128_store(value, bytes);
    out.w[0] = get_u64(bytes);
    out.w[1] = get_u64(bytes + 8);
    return out;
}

static struct decimal128 of_library(BID_UINT128 value)
{
    uint8_t bytes[DECIMAL128_SIZE];
    put_u64(bytes, value.w[0]);
    put_u64(bytes + 8, value.w[1]);
    return decimal128_load(bytes);
}

static BID_UINT128 of_text(char *text)
{
    _IDEC_flags flags = 0;
    return bid128_from_string(text, TO_NEAREST_EVEN, &flags);
}

bool decimal_of_text(char *text, struct decimal128 *out)
{
    enum { INVALID = 1, OVERFLOW = 8, UNDERFLOW = 16 }; /* as in IEEE's flags of the processor */
    _IDEC_flags flags = 0;
    *out = of_library(bid128_from_string(text, TO_ZERO, &flags));
    return (flags & (INVALID | OVERFLOW | UNDERFLOW)) == 0;
}

static BID_UINT128 times(BID_UINT128 x, char *factor)
{
    _IDEC_flags flags = 0;
    return bid128_mul(x, of_text(factor), TO_NEAREST_EVEN, &flags);
}

static BID_UINT128 to_radians(BID_UINT128 x, _IDEC_round rounding, _IDEC_flags *flags)
{
    (void)rounding;
    (void)flags;
    return times(x, "0.01745329251994329576923690768488613");
}

static BID_UINT128 to_degrees(BID_UINT128 x, _IDEC_round rounding, _IDEC_flags *flags)
{
    (void)rounding;
    (void)flags;
    return times(x, "57.29577951308232087679815481410517");
}

struct decimal128 decimal_function(enum math_function f, struct decimal128 x)
{
    static BID_UINT128 (*const functions[])(BID_UINT128, _IDEC_round, _IDEC_flags *) = {
        [MATH_EXP] = bid128_exp,        [MATH_LN] = bid128_log,      [MATH_LOG10] = bid128_log10, [MATH_SIN] = bid128_sin,
        [MATH_COS] = bid128_cos,        [MATH_TAN] = bid128_tan,     [MATH_ASIN] = bid128_asin,   [MATH_ACOS] = bid128_acos,
        [MATH_ATAN] = bid128_atan,      [MATH_SINH] = bid128_sinh,   [MATH_COSH] = bid128_cosh,   [MATH_TANH] = bid128_tanh,
        [MATH_ASINH] = bid128_asinh,    [MATH_ACOSH] = bid128_acosh, [MATH_ATANH] = bid128_atanh, [MATH_TO_RADIANS] = to_radians,
        [MATH_TO_DEGREES] = to_degrees,
    };
    _IDEC_flags flags = 0;
    return of_library(functions[f](to_library(x), TO_NEAREST_EVEN, &flags));
}

static bool equals(BID_UINT128 a, char *b)
{
    _IDEC_flags flags = 0;
    return bid128_quiet_equal(a, of_text(b), &flags);
}

/* Written with all 34 digits, as MongoDB writes it: 4.000000000000000000000000000000000 */
struct decimal128 decimal_power(struct decimal128 base, struct decimal128 exponent)
{
    BID_UINT128 b = to_library(base), e = to_library(exponent), result;
    _IDEC_flags flags = 0;
    if (equals(b, "10"))
        result = bid128_exp10(e, TO_NEAREST_EVEN, &flags);
    else if (equals(b, "2"))
        result = bid128_exp2(e, TO_NEAREST_EVEN, &flags);
    else
        result = bid128_pow(b, e, TO_NEAREST_EVEN, &flags);
    return of_library(bid128_add(result, of_text("0E-6176"), TO_NEAREST_EVEN, &flags));
}

struct decimal128 decimal_logarithm(struct decimal128 x, struct decimal128 base)
{
    _IDEC_flags flags = 0;
    BID_UINT128 over = bid128_log(to_library(x), TO_NEAREST_EVEN, &flags), under = bid128_log(to_library(base), TO_NEAREST_EVEN, &flags);
    return of_library(bid128_div(over, under, TO_NEAREST_EVEN, &flags));
}

struct decimal128 decimal_atan2(struct decimal128 y, struct decimal128 x)
{
    _IDEC_flags flags = 0;
    return of_library(bid128_atan2(to_library(y), to_library(x), TO_NEAREST_EVEN, &flags));
}
