/* $inc, $mul and $bit: the wider type of the two wins: decimal, double, long, int. A result of two ints that does
 * not fit is a long; a result of longs that does not fit is an error.
 */
#include "branch-service/query/query_error.h"
#include "branch-service/query/update_ops.h"
#include "common/bson/number.h"
#include "common/bson/utf8.h"

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

static void write_integer(struct update_slot *slot, bool narrow, int64_t value)
{
    uint8_t bytes[8];
    put_u64(bytes, (uint64_t)value);
    update_slot_write(slot, narrow ? BSON_TYPE_INT32 : BSON_TYPE_INT64, bytes_of(bytes, narrow ? 4 : 8));
}

/* What an operator does to two numbers of the same type. */
struct arithmetic {
    const char *name, *verb;
    struct decimal128 (*decimals)(struct decimal128 a, struct decimal128 b);
    double (*doubles)(double a, double b);
    bool (*overflows)(int64_t a, int64_t b, int64_t *result);
};

static double add_doubles(double a, double b)
{
    return a + b;
}

static double multiply_doubles(double a, double b)
{
    return a * b;
}

static bool add_overflows(int64_t a, int64_t b, int64_t *result)
{
    return __builtin_add_overflow(a, b, result);
}

static bool multiply_overflows(int64_t a, int64_t b, int64_t *result)
{
    return __builtin_mul_overflow(a, b, result);
}

static const struct arithmetic increment = { "$inc", "increment", decimal128_add, add_doubles, add_overflows };
static const struct arithmetic multiply = { "$mul", "multiply", decimal128_multiply, multiply_doubles, multiply_overflows };

static bool compile_number(const struct arithmetic *arithmetic, const struct element *argument, struct error *err)
{
    if (!element_is_number(argument))
        return query_error(err, MONGO_TYPE_MISMATCH, "cannot %s with a non-numeric argument of type %s", arithmetic->verb,
                           element_type_name(argument->type));
    return true;
}

static bool calculate(const struct arithmetic *arithmetic, const struct element *old, const struct element *argument,
                      struct update_slot *slot, struct error *err)
{
    uint8_t bytes[DECIMAL128_SIZE];
    int64_t integer;
    if (!element_is_number(old))
        return query_error(err, MONGO_TYPE_MISMATCH, "cannot apply %s to a value of non-numeric type %s", arithmetic->name,
                           element_type_name(old->type));
    if (old->type == BSON_TYPE_DECIMAL128 || argument->type == BSON_TYPE_DECIMAL128) {
        decimal128_store(arithmetic->decimals(decimal_of(old), decimal_of(argument)), bytes);
        update_slot_write(slot, BSON_TYPE_DECIMAL128, bytes_of(bytes, DECIMAL128_SIZE));
        return true;
    }
    if (old->type == BSON_TYPE_DOUBLE || argument->type == BSON_TYPE_DOUBLE) {
        double value = arithmetic->doubles(double_of(old), double_of(argument));
        uint64_t bits;
        memcpy(&bits, &value, sizeof bits);
        put_u64(bytes, bits);
        update_slot_write(slot, BSON_TYPE_DOUBLE, bytes_of(bytes, 8));
        return true;
    }
    if (arithmetic->overflows(element_integer(old), element_integer(argument), &integer))
        return query_error(err, MONGO_BAD_VALUE, "failed to apply %s: the result is beyond 64 bits", arithmetic->name);
    bool narrow = old->type == BSON_TYPE_INT32 && argument->type == BSON_TYPE_INT32 && integer >= INT32_MIN && integer <= INT32_MAX;
    write_integer(slot, narrow, integer);
    return true;
}

bool update_increment_compile(struct update_compiler *compiler, struct update_action *action, struct error *err)
{
    (void)compiler;
    return compile_number(&increment, &action->argument, err);
}

bool update_increment_apply(const struct update_action *action, struct update_slot *slot, struct error *err)
{
    if (slot->old)
        return calculate(&increment, slot->old, &action->argument, slot, err);
    update_slot_write(slot, action->argument.type, action->argument.value);
    return true;
}

bool update_multiply_compile(struct update_compiler *compiler, struct update_action *action, struct error *err)
{
    (void)compiler;
    return compile_number(&multiply, &action->argument, err);
}

/* What is not there counts as the int 0: the result is a zero of the argument's type. */
bool update_multiply_apply(const struct update_action *action, struct update_slot *slot, struct error *err)
{
    static const uint8_t bytes[4] = { 0 };
    struct element zero = { .type = BSON_TYPE_INT32, .value = bytes_of(bytes, sizeof bytes) };
    return calculate(&multiply, slot->old ? slot->old : &zero, &action->argument, slot, err);
}

/* ---- $bit ---------------------------------------------------------------------------------------------- */

bool update_bit_compile(struct update_compiler *compiler, struct update_action *action, struct error *err)
{
    (void)compiler;
    struct element_reader reader;
    struct element operation;
    size_t n = 0;
    if (action->argument.type != BSON_TYPE_DOCUMENT)
        return query_error(err, MONGO_BAD_VALUE, "$bit is not compatible with a %s: it needs {and/or/xor: integer}",
                           element_type_name(action->argument.type));
    element_reader_init(&reader, action->argument.value);
    for (; element_next(&reader, &operation); n++) {
        if (!element_is_named(&operation, "and", 3) && !element_is_named(&operation, "or", 2) && !element_is_named(&operation, "xor", 3))
            return query_error(err, MONGO_BAD_VALUE, "$bit only supports 'and', 'or' and 'xor', not '%.*s'",
                               utf8_fit(operation.name, operation.name_len, 80), operation.name);
        if (!element_is_integer(&operation))
            return query_error(err, MONGO_BAD_VALUE, "the operand of $bit must be an integer of 32 or 64 bits, not a %s",
                               element_type_name(operation.type));
    }
    if (n == 0)
        return query_error(err, MONGO_BAD_VALUE, "$bit needs at least one operation: {and/or/xor: integer}");
    return true;
}

bool update_bit_apply(const struct update_action *action, struct update_slot *slot, struct error *err)
{
    struct element_reader reader;
    struct element operation;
    if (slot->old && !element_is_integer(slot->old))
        return query_error(err, MONGO_BAD_VALUE, "cannot apply $bit to a value of non-integral type %s",
                           element_type_name(slot->old->type));
    int64_t value = slot->old ? element_integer(slot->old) : 0;
    bool narrow = !slot->old || slot->old->type == BSON_TYPE_INT32;
    element_reader_init(&reader, action->argument.value);
    while (element_next(&reader, &operation)) {
        int64_t operand = element_integer(&operation);
        value = operation.name[0] == 'a' ? value & operand : operation.name[0] == 'o' ? value | operand : value ^ operand;
        narrow &= operation.type == BSON_TYPE_INT32;
    }
    write_integer(slot, narrow, value);
    return true;
}

bool update_whole_number(const struct element *e, int64_t *value)
{
    bool exact;
    return element_is_number(e) && number_truncate(e, value, &exact) && exact;
}
