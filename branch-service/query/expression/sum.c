#include "branch-service/query/expression/sum.h"

#include <math.h>

#include "common/bson/decimal128_math.h"

void sum_init(struct sum *sum)
{
    *sum = (struct sum) { .type = BSON_TYPE_INT32 };
}

/* Knuth's sum of two, whose error is exact. */
static void add_double(struct sum *sum, double value)
{
    sum->special += value;
    double total = sum->high + value;
    double part = total - sum->high;
    sum->low += (sum->high - (total - part)) + (value - part);
    sum->high = total;
}

void sum_add(struct sum *sum, const struct element *number)
{
    sum->type = wider_type(sum->type, number->type);
    if (element_is_integer(number))
        sum->whole += element_integer(number);
    else if (number->type == BSON_TYPE_DOUBLE)
        add_double(sum, element_double(number));
    else
        sum->decimal = decimal128_add(sum->decimal, decimal128_load(number->value.data));
}

static double total_double(const struct sum *sum)
{
    struct sum all = *sum;
    int64_t high = (int64_t)(sum->whole >> 32);
    uint32_t low = (uint32_t)sum->whole;
    if (!isfinite(sum->special))
        return sum->special;
    if (sum->whole) { /* in parts that doubles hold exactly */
        add_double(&all, ldexp((double)(high >> 16), 48));
        add_double(&all, ldexp((double)(high & 0xFFFF), 32));
        add_double(&all, low);
    }
    double total = all.high + all.low;
    return isnan(total) && !isnan(all.special) ? all.special : total;
}

static struct decimal128 total_decimal(const struct sum *sum)
{
    struct decimal128 total = sum->decimal;
    if (sum->high != 0 || sum->low != 0 || !isfinite(sum->special)) {
        if (!isfinite(sum->special))
            return decimal128_add(total, decimal128_of_double_exactly(sum->special));
        struct decimal128 high = decimal128_of_double_exactly(sum->high), low = decimal128_of_double_exactly(sum->low);
        total = decimal128_add(total, sum->low != 0 ? decimal128_add(high, low) : high);
    }
    if (sum->whole) {
        struct decimal128 whole = { .class = DECIMAL128_FINITE, .negative = sum->whole < 0 };
        whole.coefficient = whole.negative ? -(unsigned __int128)sum->whole : (unsigned __int128)sum->whole;
        total = decimal128_add(total, whole);
    }
    return total;
}

bool sum_value(struct run *run, const struct sum *sum, struct element *out)
{
    if (sum->type == BSON_TYPE_DECIMAL128)
        return make_decimal(run, total_decimal(sum), out);
    if (sum->type == BSON_TYPE_DOUBLE || sum->whole > INT64_MAX || sum->whole < INT64_MIN)
        return make_double(run, total_double(sum), out);
    int64_t whole = (int64_t)sum->whole;
    return sum->type == BSON_TYPE_INT64 ? make_int64(run, whole, out) : make_int(run, whole, out);
}

bool sum_average(struct run *run, const struct sum *sum, int64_t n, struct element *out)
{
    if (sum->type == BSON_TYPE_DECIMAL128)
        return make_decimal(run, decimal128_divide(total_decimal(sum), decimal128_of_int64(n)), out);
    return make_double(run, total_double(sum) / (double)n, out);
}
