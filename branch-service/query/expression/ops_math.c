/* Functions of one or two numbers, and of none. */
#include <math.h>

#include "branch-service/query/expression/decimal_functions.h"
#include "branch-service/query/expression/internal.h"
#include "common/base/random.h"
#include "common/bson/decimal128_math.h"
#include "common/bson/value_compare.h"

/* null for null; *done: out is the result. False: no number. */
static bool check_number(struct run *run, const struct expression *e, const struct element *arg, bool *done, struct element *out)
{
    *done = is_nullish(arg);
    if (*done)
        return make_null(out);
    return element_is_number(arg) || fail(run, 28765, "%s only supports numeric types, not %s", e->op->name, element_type_name(arg->type));
}

/* -1, 0, 1; NaN has none */
static int sign_of(const struct element *number)
{
    if (number->type != BSON_TYPE_DECIMAL128) {
        double value = double_of(number);
        return (value > 0) - (value < 0);
    }
    struct decimal128 value = decimal128_load(number->value.data);
    bool none = value.class == DECIMAL128_NAN || (value.class == DECIMAL128_FINITE && value.coefficient == 0);
    return none ? 0 : value.negative ? -1 : 1;
}

static bool is_nan(const struct element *number)
{
    return isnan(double_of(number));
}

static bool apply_abs(struct run *run, const struct expression *e, const struct element *args, struct element *out)
{
    bool done;
    if (!check_number(run, e, &args[0], &done, out) || done)
        return done;
    if (args[0].type == BSON_TYPE_DOUBLE)
        return make_double(run, fabs(element_double(&args[0])), out);
    if (args[0].type == BSON_TYPE_DECIMAL128) {
        struct decimal128 d = decimal128_load(args[0].value.data);
        d.negative = false;
        return make_decimal(run, d, out);
    }
    int64_t value = element_integer(&args[0]);
    if (value == INT64_MIN)
        return fail(run, 28680, "can't take $abs of long long min");
    value = value < 0 ? -value : value;
    return args[0].type == BSON_TYPE_INT64 ? make_int64(run, value, out) : make_int(run, value, out);
}

static bool apply_ceil_floor(struct run *run, const struct expression *e, const struct element *args, struct element *out)
{
    bool done, up = e->op->variant;
    if (!check_number(run, e, &args[0], &done, out) || done)
        return done;
    if (args[0].type == BSON_TYPE_DOUBLE)
        return make_double(run, up ? ceil(element_double(&args[0])) : floor(element_double(&args[0])), out);
    if (args[0].type == BSON_TYPE_DECIMAL128) {
        struct decimal128 d = decimal128_load(args[0].value.data);
        return make_decimal(run, decimal128_round(d, 0, up ? DECIMAL128_UP : DECIMAL128_DOWN), out);
    }
    *out = args[0];
    return true;
}

/* ---- $round, $trunc ---- */

static bool round_integer(struct run *run, const struct element *arg, int places, enum decimal128_rounding rounding, struct element *out)
{
    struct element rounded;
    int64_t value;
    if (places >= 0) {
        *out = *arg;
        return true;
    }
    if (!make_decimal(run, decimal128_round(decimal_of(arg), places, rounding), &rounded))
        return false;
    if (!exact_int64(&rounded, &value))
        return fail(run, 51080, "the result of rounding does not fit in 64 bits");
    return arg->type == BSON_TYPE_INT64 ? make_int64(run, value, out) : make_int(run, value, out);
}

static bool apply_round(struct run *run, const struct expression *e, const struct element *args, struct element *out)
{
    enum decimal128_rounding rounding = (enum decimal128_rounding)e->op->variant;
    int32_t places = 0;
    if (is_nullish(&args[0]) || (e->n > 1 && is_nullish(&args[1])))
        return make_null(out);
    if (!element_is_number(&args[0]))
        return fail(run, 51081, "%s only supports numeric types, not %s", e->op->name, element_type_name(args[0].type));
    if (e->n > 1) {
        if (!element_is_number(&args[1]))
            return fail(run, 16004, "can't convert from BSON type %s to long", element_type_name(args[1].type));
        if (!exact_int32(&args[1], &places))
            return fail(run, 51082, "precision argument to %s must be an integral value", e->op->name);
        if (places < -20 || places > 100)
            return fail(run, 51083, "cannot apply %s with precision value %d value must be in [-20, 100]", e->op->name, places);
    }
    if (element_is_integer(&args[0]))
        return round_integer(run, &args[0], places, rounding, out);
    if (args[0].type == BSON_TYPE_DECIMAL128)
        return make_decimal(run, decimal128_round(decimal_of(&args[0]), places, rounding), out);
    double value = element_double(&args[0]);
    if (!isfinite(value)) {
        *out = args[0];
        return true;
    }
    if (places == 0)
        return make_double(run, rounding == DECIMAL128_HALF_EVEN ? nearbyint(value) : trunc(value), out);
    return make_double(run, double_of_decimal(decimal128_round(decimal128_of_double_exactly(value), places, rounding)), out);
}

/* ---- powers and logarithms ---- */

static bool apply_sqrt(struct run *run, const struct expression *e, const struct element *args, struct element *out)
{
    bool done;
    if (!check_number(run, e, &args[0], &done, out) || done)
        return done;
    if (sign_of(&args[0]) < 0)
        return fail(run, 28714, "$sqrt's argument must be greater than or equal to 0");
    if (args[0].type == BSON_TYPE_DECIMAL128)
        return make_decimal(run, decimal128_sqrt(decimal_of(&args[0])), out);
    return make_double(run, sqrt(double_of(&args[0])), out);
}

static bool apply_exp(struct run *run, const struct expression *e, const struct element *args, struct element *out)
{
    bool done;
    if (!check_number(run, e, &args[0], &done, out) || done)
        return done;
    if (args[0].type == BSON_TYPE_DECIMAL128)
        return make_decimal(run, decimal_function(MATH_EXP, decimal_of(&args[0])), out);
    return make_double(run, exp(double_of(&args[0])), out);
}

/* variant: the error of an argument that has no logarithm */
static bool apply_logarithm(struct run *run, const struct expression *e, const struct element *args, struct element *out)
{
    bool done, of_ten = e->op->variant == 28761;
    if (!check_number(run, e, &args[0], &done, out) || done)
        return done;
    if (sign_of(&args[0]) <= 0 && !is_nan(&args[0]))
        return fail(run, e->op->variant, "%s's argument must be a positive number", e->op->name);
    if (args[0].type == BSON_TYPE_DECIMAL128 && !is_nan(&args[0])) /* whose logarithm is a double */
        return make_decimal(run, decimal_function(of_ten ? MATH_LOG10 : MATH_LN, decimal_of(&args[0])), out);
    double value = double_of(&args[0]);
    return make_double(run, of_ten ? log10(value) : log(value), out);
}

static bool apply_log(struct run *run, const struct expression *e, const struct element *args, struct element *out)
{
    static const uint8_t one_bytes[] = { 1, 0, 0, 0 };
    static const struct element one = { .type = BSON_TYPE_INT32, .name = "", .value = { one_bytes, 4 } };
    (void)e;
    if (is_nullish(&args[0]) || is_nullish(&args[1]))
        return make_null(out);
    if (!element_is_number(&args[0]))
        return fail(run, 28756, "$log's argument must be numeric, not %s", element_type_name(args[0].type));
    if (!element_is_number(&args[1]))
        return fail(run, 28757, "$log's base must be numeric, not %s", element_type_name(args[1].type));
    if (sign_of(&args[0]) <= 0 && !is_nan(&args[0]))
        return fail(run, 28758, "$log's argument must be a positive number");
    if (!is_nan(&args[1]) && (sign_of(&args[1]) <= 0 || value_compare_elements(&args[1], &one) == 0))
        return fail(run, 28759, "$log's base must be a positive number not equal to 1");
    if (wider_type(args[0].type, args[1].type) == BSON_TYPE_DECIMAL128 && !is_nan(&args[0]) && !is_nan(&args[1]))
        return make_decimal(run, decimal_logarithm(decimal_of(&args[0]), decimal_of(&args[1])), out);
    return make_double(run, log(double_of(&args[0])) / log(double_of(&args[1])), out);
}

/* base^exponent in 64 bits; false when it does not fit. exponent >= 0. */
static bool integer_power(int64_t base, int64_t exponent, int64_t *out)
{
    int64_t result = 1;
    if (base == 0 || base == 1 || base == -1) {
        *out = exponent == 0 ? 1 : base == -1 && exponent % 2 == 0 ? 1 : base;
        return true;
    }
    for (; exponent > 0; exponent--) { /* overflows after 63 rounds at most */
        if (__builtin_mul_overflow(result, base, &result))
            return false;
    }
    *out = result;
    return true;
}

static bool apply_pow(struct run *run, const struct expression *e, const struct element *args, struct element *out)
{
    (void)e;
    if (is_nullish(&args[0]) || is_nullish(&args[1]))
        return make_null(out);
    if (!element_is_number(&args[0]))
        return fail(run, 28762, "$pow's base must be numeric, not %s", element_type_name(args[0].type));
    if (!element_is_number(&args[1]))
        return fail(run, 28763, "$pow's exponent must be numeric, not %s", element_type_name(args[1].type));
    uint8_t type = wider_type(args[0].type, args[1].type);
    double base = double_of(&args[0]), exponent = double_of(&args[1]);
    if (sign_of(&args[0]) == 0 && !is_nan(&args[0]) && sign_of(&args[1]) < 0)
        return fail(run, 28764, "$pow cannot take a base of 0 and a negative exponent");
    if (type == BSON_TYPE_DECIMAL128)
        return make_decimal(run, decimal_power(decimal_of(&args[0]), decimal_of(&args[1])), out);
    if (type == BSON_TYPE_DOUBLE)
        return make_double(run, pow(base, exponent), out);
    int64_t b = element_integer(&args[0]), n = element_integer(&args[1]), result;
    bool fits = n < 0 ? (b == 1 || b == -1) && integer_power(b, -(n + 1) + 1, &result) : integer_power(b, n, &result);
    if (n < 0 && b == -1)
        fits = integer_power(b, n % 2 ? 1 : 2, &result);
    if (!fits)
        return make_double(run, pow(base, exponent), out);
    return type == BSON_TYPE_INT64 ? make_int64(run, result, out) : make_int(run, result, out);
}

/* ---- trigonometry ---- */

/* What functions take, NaN apart. */
static bool in_domain(enum math_function f, double value)
{
    switch (f) {
    case MATH_SIN:
    case MATH_COS:
    case MATH_TAN:
        return isfinite(value);
    case MATH_ASIN:
    case MATH_ACOS:
    case MATH_ATANH:
        return value >= -1 && value <= 1;
    case MATH_ACOSH:
        return value >= 1;
    default:
        return true;
    }
}

static double trigonometric_of(enum math_function f, double v)
{
    switch (f) {
    case MATH_SIN:
        return sin(v);
    case MATH_COS:
        return cos(v);
    case MATH_TAN:
        return tan(v);
    case MATH_ASIN:
        return asin(v);
    case MATH_ACOS:
        return acos(v);
    case MATH_ATAN:
        return atan(v);
    case MATH_SINH:
        return sinh(v);
    case MATH_COSH:
        return cosh(v);
    case MATH_TANH:
        return tanh(v);
    case MATH_ASINH:
        return asinh(v);
    case MATH_ACOSH:
        return acosh(v);
    case MATH_ATANH:
        return atanh(v);
    case MATH_TO_RADIANS:
        return v * (M_PI / 180);
    default:
        return v * (180 / M_PI);
    }
}

static bool apply_trigonometric(struct run *run, const struct expression *e, const struct element *args, struct element *out)
{
    enum math_function f = (enum math_function)e->op->variant;
    bool done;
    if (!check_number(run, e, &args[0], &done, out) || done)
        return done;
    double value = double_of(&args[0]);
    bool defined = isnan(value) || in_domain(f, value);
    if (defined && args[0].type == BSON_TYPE_DECIMAL128) {
        struct decimal128 result = decimal_function(f, decimal_of(&args[0]));
        defined = isnan(value) || result.class != DECIMAL128_NAN; /* a double cannot tell the domain's edge */
        if (defined)
            return make_decimal(run, result, out);
    }
    if (!defined)
        return fail(run, 50989, "cannot apply %s to %g: it is out of range", e->op->name, value);
    return make_double(run, trigonometric_of(f, value), out);
}

static bool apply_atan2(struct run *run, const struct expression *e, const struct element *args, struct element *out)
{
    (void)e;
    if (is_nullish(&args[0]) || is_nullish(&args[1]))
        return make_null(out);
    for (int i = 0; i < 2; i++) {
        if (!element_is_number(&args[i]))
            return fail(run, 51044 + i, "$atan2 only supports numeric types, not %s", element_type_name(args[i].type));
    }
    if (wider_type(args[0].type, args[1].type) == BSON_TYPE_DECIMAL128)
        return make_decimal(run, decimal_atan2(decimal_of(&args[0]), decimal_of(&args[1])), out);
    return make_double(run, atan2(double_of(&args[0]), double_of(&args[1])), out);
}

/* ---- $rand ---- */

static bool compile_rand(struct compiler *c, const struct element *spec, struct expression *node)
{
    (void)node;
    if (spec->type != BSON_TYPE_DOCUMENT && spec->type != BSON_TYPE_ARRAY)
        return query_error(c->err, 10065, "$rand needs an object, not %s", element_type_name(spec->type));
    return count_elements(spec) == 0 || query_error(c->err, 3040501, "$rand does not currently accept arguments");
}

/* All 53 bits that there are from 0 to 1. */
static bool evaluate_rand(struct run *run, const struct expression *e, struct element *out)
{
    (void)e;
    return make_double(run, (double)(random_u64() >> 11) * 0x1p-53, out);
}

static const struct expression_op ops[] = {
    { "$abs", 1, 1, .apply = apply_abs },
    { "$ceil", 1, 1, .apply = apply_ceil_floor, .variant = true },
    { "$floor", 1, 1, .apply = apply_ceil_floor, .variant = false },
    { "$round", 1, 2, .apply = apply_round, .variant = DECIMAL128_HALF_EVEN },
    { "$trunc", 1, 2, .apply = apply_round, .variant = DECIMAL128_TO_ZERO },
    { "$sqrt", 1, 1, .apply = apply_sqrt },
    { "$exp", 1, 1, .apply = apply_exp },
    { "$ln", 1, 1, .apply = apply_logarithm, .variant = 28766 },
    { "$log10", 1, 1, .apply = apply_logarithm, .variant = 28761 },
    { "$log", 2, 2, .apply = apply_log },
    { "$pow", 2, 2, .apply = apply_pow },
    { "$sin", 1, 1, .apply = apply_trigonometric, .variant = MATH_SIN },
    { "$cos", 1, 1, .apply = apply_trigonometric, .variant = MATH_COS },
    { "$tan", 1, 1, .apply = apply_trigonometric, .variant = MATH_TAN },
    { "$asin", 1, 1, .apply = apply_trigonometric, .variant = MATH_ASIN },
    { "$acos", 1, 1, .apply = apply_trigonometric, .variant = MATH_ACOS },
    { "$atan", 1, 1, .apply = apply_trigonometric, .variant = MATH_ATAN },
    { "$sinh", 1, 1, .apply = apply_trigonometric, .variant = MATH_SINH },
    { "$cosh", 1, 1, .apply = apply_trigonometric, .variant = MATH_COSH },
    { "$tanh", 1, 1, .apply = apply_trigonometric, .variant = MATH_TANH },
    { "$asinh", 1, 1, .apply = apply_trigonometric, .variant = MATH_ASINH },
    { "$acosh", 1, 1, .apply = apply_trigonometric, .variant = MATH_ACOSH },
    { "$atanh", 1, 1, .apply = apply_trigonometric, .variant = MATH_ATANH },
    { "$degreesToRadians", 1, 1, .apply = apply_trigonometric, .variant = MATH_TO_RADIANS },
    { "$radiansToDegrees", 1, 1, .apply = apply_trigonometric, .variant = MATH_TO_DEGREES },
    { "$atan2", 2, 2, .apply = apply_atan2 },
    { "$rand", .evaluate = evaluate_rand, .compile = compile_rand, .by_chance = true },
};

const struct expression_ops ops_math = { ops, ARRAY_LEN(ops) };
