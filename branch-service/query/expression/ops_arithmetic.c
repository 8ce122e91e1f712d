/* Sums, products, quotients, bits. The wider type of the operands wins: int, long, double, decimal; an int that
 * does not fit becomes a long, a long that does not fit a double. */
#include <math.h>

#include "branch-service/query/expression/internal.h"
#include "common/bson/decimal128_math.h"

/* From left to right in the widest type so far, as MongoDB has it: sums of doubles are rounded at each step, unlike
 * those of $sum. A date counts as a long that does not widen. */
struct addition {
    uint8_t type;
    int64_t whole;
    double real;
    struct decimal128 decimal;
};

static void widen(struct addition *a, uint8_t type)
{
    bool was_real = a->type == BSON_TYPE_DOUBLE;
    if (type == a->type)
        return;
    if (type == BSON_TYPE_DOUBLE)
        a->real = (double)a->whole;
    else if (type == BSON_TYPE_DECIMAL128)
        a->decimal = was_real ? decimal128_of_double_exactly(a->real) : decimal128_of_int64(a->whole);
    a->type = type;
}

static void add_whole(struct addition *a, int64_t value)
{
    if (a->type == BSON_TYPE_DECIMAL128) {
        a->decimal = decimal128_add(a->decimal, decimal128_of_int64(value));
    } else if (a->type == BSON_TYPE_DOUBLE) {
        a->real += (double)value;
    } else if (__builtin_add_overflow(a->whole, value, &a->whole)) {
        a->whole = (int64_t)((uint64_t)a->whole - (uint64_t)value); /* as it was */
        widen(a, BSON_TYPE_DOUBLE);
        a->real += (double)value;
    }
}

static void add_number(struct addition *a, const struct element *number)
{
    widen(a, wider_type(a->type, number->type));
    if (element_is_integer(number))
        add_whole(a, element_integer(number));
    else if (a->type == BSON_TYPE_DOUBLE)
        a->real += element_double(number);
    else
        a->decimal = decimal128_add(a->decimal, decimal_of(number));
}

static bool make_sum_date(struct run *run, const struct addition *a, struct element *out)
{
    struct element decimal;
    if (a->type == BSON_TYPE_DECIMAL128)
        return make_decimal(run, decimal128_round(a->decimal, 0, DECIMAL128_HALF_EVEN), &decimal) &&
               make_date(run, int64_of(&decimal), out);
    if (a->type != BSON_TYPE_DOUBLE)
        return make_date(run, a->whole, out);
    if (!(a->real >= -0x1p63 && a->real < 0x1p63))
        return fail(run, MONGO_OVERFLOW, "date overflow in $add");
    return make_date(run, llround(a->real), out);
}

static bool apply_add(struct run *run, const struct expression *e, const struct element *args, struct element *out)
{
    struct addition sum = { .type = BSON_TYPE_INT32 };
    bool is_date = false;
    for (size_t i = 0; i < e->n; i++) {
        if (is_nullish(&args[i]))
            return make_null(out);
        if (element_is_number(&args[i])) {
            add_number(&sum, &args[i]);
            continue;
        }
        if (args[i].type != BSON_TYPE_DATE_TIME)
            return fail(run, MONGO_TYPE_MISMATCH, "$add only supports numeric or date types, not %s", element_type_name(args[i].type));
        if (is_date)
            return fail(run, 16612, "only one date allowed in an $add expression");
        is_date = true;
        add_whole(&sum, element_int64(&args[i]));
    }
    return is_date                            ? make_sum_date(run, &sum, out)
           : sum.type == BSON_TYPE_DECIMAL128 ? make_decimal(run, sum.decimal, out)
           : sum.type == BSON_TYPE_DOUBLE     ? make_double(run, sum.real, out)
           : sum.type == BSON_TYPE_INT64      ? make_int64(run, sum.whole, out)
                                              : make_int(run, sum.whole, out);
}

static bool subtract_from_date(struct run *run, const struct element *args, struct element *out)
{
    int64_t result, by;
    bool is_date = args[1].type == BSON_TYPE_DATE_TIME;
    if (!is_date && !element_is_number(&args[1]))
        return fail(run, MONGO_TYPE_MISMATCH, "can't $subtract %s from Date", element_type_name(args[1].type));
    if (is_date)
        by = element_int64(&args[1]);
    else if (!long_of(run, &args[1], &by))
        return false;
    if (__builtin_sub_overflow(element_int64(&args[0]), by, &result))
        return fail(run, MONGO_OVERFLOW, "date overflow in $subtract");
    return is_date ? make_int64(run, result, out) : make_date(run, result, out);
}

static bool apply_subtract(struct run *run, const struct expression *e, const struct element *args, struct element *out)
{
    (void)e;
    if (is_nullish(&args[0]) || is_nullish(&args[1]))
        return make_null(out);
    if (args[0].type == BSON_TYPE_DATE_TIME)
        return subtract_from_date(run, args, out);
    if (!element_is_number(&args[0]) || !element_is_number(&args[1]))
        return fail(run, MONGO_TYPE_MISMATCH, "can't $subtract %s from %s", element_type_name(args[1].type),
                    element_type_name(args[0].type));
    uint8_t type = wider_type(args[0].type, args[1].type);
    if (type == BSON_TYPE_DECIMAL128) {
        struct decimal128 right = decimal_of(&args[1]);
        right.negative = !right.negative;
        return make_decimal(run, decimal128_add(decimal_of(&args[0]), right), out);
    }
    int64_t result;
    if (type == BSON_TYPE_DOUBLE || __builtin_sub_overflow(element_integer(&args[0]), element_integer(&args[1]), &result))
        return make_double(run, double_of(&args[0]) - double_of(&args[1]), out);
    return type == BSON_TYPE_INT64 ? make_int64(run, result, out) : make_int(run, result, out);
}

static bool apply_multiply(struct run *run, const struct expression *e, const struct element *args, struct element *out)
{
    uint8_t type = BSON_TYPE_INT32;
    struct decimal128 decimal = { 0 };
    double product = 1;
    int64_t whole = 1;
    for (size_t i = 0; i < e->n; i++) {
        if (is_nullish(&args[i]))
            return make_null(out);
        if (!element_is_number(&args[i]))
            return fail(run, MONGO_TYPE_MISMATCH, "$multiply only supports numeric types, not %s", element_type_name(args[i].type));
        uint8_t before = type;
        type = wider_type(type, args[i].type);
        if (type == BSON_TYPE_DECIMAL128) {
            if (before == BSON_TYPE_DOUBLE)
                decimal = decimal128_of_double(product);
            else if (before != BSON_TYPE_DECIMAL128)
                decimal = decimal128_of_int64(whole);
            decimal = decimal128_multiply(decimal, decimal_of(&args[i]));
            continue;
        }
        product *= double_of(&args[i]);
        if (type != BSON_TYPE_DOUBLE && __builtin_mul_overflow(whole, element_integer(&args[i]), &whole))
            type = BSON_TYPE_DOUBLE;
    }
    return type == BSON_TYPE_DECIMAL128 ? make_decimal(run, decimal, out)
           : type == BSON_TYPE_DOUBLE   ? make_double(run, product, out)
           : type == BSON_TYPE_INT64    ? make_int64(run, whole, out)
                                        : make_int(run, whole, out);
}

static bool is_zero(const struct element *number)
{
    return !value_is_true(number);
}

static bool apply_divide(struct run *run, const struct expression *e, const struct element *args, struct element *out)
{
    (void)e;
    if (is_nullish(&args[0]) || is_nullish(&args[1]))
        return make_null(out);
    if (!element_is_number(&args[0]) || !element_is_number(&args[1]))
        return fail(run, MONGO_TYPE_MISMATCH, "$divide only supports numeric types, not %s and %s", element_type_name(args[0].type),
                    element_type_name(args[1].type));
    if (is_zero(&args[1]))
        return fail(run, MONGO_BAD_VALUE, "can't $divide by zero");
    if (wider_type(args[0].type, args[1].type) == BSON_TYPE_DECIMAL128)
        return make_decimal(run, decimal128_divide(decimal_of(&args[0]), decimal_of(&args[1])), out);
    return make_double(run, double_of(&args[0]) / double_of(&args[1]), out);
}

static bool apply_mod(struct run *run, const struct expression *e, const struct element *args, struct element *out)
{
    (void)e;
    if (is_nullish(&args[0]) || is_nullish(&args[1]))
        return make_null(out);
    if (!element_is_number(&args[0]) || !element_is_number(&args[1]))
        return fail(run, 16611, "$mod only supports numeric types, not %s and %s", element_type_name(args[0].type),
                    element_type_name(args[1].type));
    bool decimal = wider_type(args[0].type, args[1].type) == BSON_TYPE_DECIMAL128;
    if (is_zero(&args[1]))
        return fail(run, decimal ? 5733415 : 16610, "can't $mod by zero");
    if (decimal)
        return make_decimal(run, decimal128_modulo(decimal_of(&args[0]), decimal_of(&args[1])), out);
    /* a double that is a whole number of 32 bits counts as an integer on the right, but not on the left */
    int32_t narrow;
    if (args[0].type == BSON_TYPE_DOUBLE || (args[1].type == BSON_TYPE_DOUBLE && !exact_int32(&args[1], &narrow)))
        return make_double(run, fmod(double_of(&args[0]), double_of(&args[1])), out);
    int64_t divisor = int64_of(&args[1]);
    int64_t left = divisor == -1 ? 0 : element_integer(&args[0]) % divisor;
    bool wide = args[0].type == BSON_TYPE_INT64 || args[1].type == BSON_TYPE_INT64;
    return wide ? make_int64(run, left, out) : make_int(run, left, out);
}

enum { BIT_AND, BIT_OR, BIT_XOR };

static bool apply_bits(struct run *run, const struct expression *e, const struct element *args, struct element *out)
{
    int64_t bits = e->op->variant == BIT_AND ? -1 : 0;
    uint8_t type = BSON_TYPE_INT32;
    for (size_t i = 0; i < e->n; i++) {
        if (is_nullish(&args[i]))
            return make_null(out);
        if (!element_is_integer(&args[i]))
            return fail(run, MONGO_TYPE_MISMATCH, "%s only supports int and long operands, not %s", e->op->name,
                        element_type_name(args[i].type));
        int64_t value = element_integer(&args[i]);
        bits = e->op->variant == BIT_AND ? bits & value : e->op->variant == BIT_OR ? bits | value : bits ^ value;
        type = wider_type(type, args[i].type);
    }
    return type == BSON_TYPE_INT64 ? make_int64(run, bits, out) : make_int32(run, (int32_t)bits, out);
}

static bool apply_bit_not(struct run *run, const struct expression *e, const struct element *args, struct element *out)
{
    if (is_nullish(&args[0]))
        return make_null(out);
    if (!element_is_integer(&args[0]))
        return fail(run, MONGO_TYPE_MISMATCH, "%s only supports int and long operands, not %s", e->op->name,
                    element_type_name(args[0].type));
    int64_t bits = ~element_integer(&args[0]);
    return args[0].type == BSON_TYPE_INT64 ? make_int64(run, bits, out) : make_int32(run, (int32_t)bits, out);
}

static const struct expression_op ops[] = {
    { "$add", 0, MANY, .apply = apply_add },
    { "$subtract", 2, 2, .apply = apply_subtract },
    { "$multiply", 0, MANY, .apply = apply_multiply },
    { "$divide", 2, 2, .apply = apply_divide },
    { "$mod", 2, 2, .apply = apply_mod },
    { "$bitAnd", 0, MANY, .apply = apply_bits, .variant = BIT_AND },
    { "$bitOr", 0, MANY, .apply = apply_bits, .variant = BIT_OR },
    { "$bitXor", 0, MANY, .apply = apply_bits, .variant = BIT_XOR },
    { "$bitNot", 1, 1, .apply = apply_bit_not },
};

const struct expression_ops ops_arithmetic = { ops, ARRAY_LEN(ops) };
