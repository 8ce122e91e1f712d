#include "branch-service/query/update_ops.h"

#include "common/bson/decimal128.h"

static bool any_argument(const struct element *argument, struct error *err)
{
    (void)argument;
    (void)err;
    return true;
}

static bool apply_set(const struct element *argument, const struct element *old, struct update_result *result, struct error *err)
{
    (void)old;
    (void)err;
    result->type = argument->type;
    result->value = argument->value;
    return true;
}

static bool apply_unset(const struct element *argument, const struct element *old, struct update_result *result, struct error *err)
{
    (void)argument;
    (void)old;
    (void)err;
    result->removed = true;
    return true;
}

static bool increment_argument(const struct element *argument, struct error *err)
{
    if (!element_is_number(argument))
        return error_set(err, ERROR_INVALID_ARGUMENT, "cannot increment with a non-numeric argument of type %s",
                         element_type_name(argument->type));
    return true;
}

static double double_of(const struct element *e)
{
    return element_is_integer(e) ? (double)element_integer(e) : element_double(e);
}

static struct decimal128 decimal_of(const struct element *e)
{
    if (e->type == BSON_TYPE_DECIMAL128)
        return decimal128_load(e->value.data);
    return element_is_integer(e) ? decimal128_of_int64(element_integer(e)) : decimal128_of_double(element_double(e));
}

/* The wider type of the two wins: decimal, double, long, int. A sum of two ints that does not fit is a long; a
 * sum of longs that does not fit is an error. */
static bool apply_increment(const struct element *argument, const struct element *old, struct update_result *result, struct error *err)
{
    if (!old)
        return apply_set(argument, old, result, err);
    if (!element_is_number(old))
        return error_set(err, ERROR_INVALID_ARGUMENT, "cannot apply $inc to a value of non-numeric type %s", element_type_name(old->type));
    size_t size = 8;
    if (old->type == BSON_TYPE_DECIMAL128 || argument->type == BSON_TYPE_DECIMAL128) {
        result->type = BSON_TYPE_DECIMAL128;
        size = DECIMAL128_SIZE;
        decimal128_store(decimal128_add(decimal_of(old), decimal_of(argument)), result->bytes);
    } else if (old->type == BSON_TYPE_DOUBLE || argument->type == BSON_TYPE_DOUBLE) {
        double sum = double_of(old) + double_of(argument);
        uint64_t bits;
        memcpy(&bits, &sum, sizeof bits);
        result->type = BSON_TYPE_DOUBLE;
        put_u64(result->bytes, bits);
    } else {
        int64_t sum;
        if (__builtin_add_overflow(element_integer(old), element_integer(argument), &sum))
            return error_set(err, ERROR_INVALID_ARGUMENT, "failed to apply $inc: the result is beyond 64 bits");
        bool narrow = old->type == BSON_TYPE_INT32 && argument->type == BSON_TYPE_INT32 && sum >= INT32_MIN && sum <= INT32_MAX;
        result->type = narrow ? BSON_TYPE_INT32 : BSON_TYPE_INT64;
        if (narrow) {
            size = 4;
            put_u32(result->bytes, (uint32_t)sum);
        } else {
            put_u64(result->bytes, (uint64_t)sum);
        }
    }
    result->value = bytes_of(result->bytes, size);
    return true;
}

static const struct update_op ops[] = {
    { "$set", UPDATE_CREATES, any_argument, apply_set },
    { "$unset", UPDATE_SKIPS, any_argument, apply_unset },
    { "$inc", UPDATE_CREATES, increment_argument, apply_increment },
};

const struct update_op *update_op_find(const char *name, size_t len)
{
    for (size_t i = 0; i < ARRAY_LEN(ops); i++) {
        if (bytes_equal(bytes_of(name, len), bytes_of_string(ops[i].name)))
            return &ops[i];
    }
    return NULL;
}
