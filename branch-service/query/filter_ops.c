#include "branch-service/query/filter_ops.h"

#include "common/bson/value_compare.h"

static bool check_equality(const struct element *operand, struct error *err)
{
    if (operand->type == BSON_TYPE_UNDEFINED)
        return error_set(err, ERROR_INVALID_ARGUMENT, "cannot compare to undefined");
    return true;
}

/* null equals missing, and undefined too (until MongoDB 8.0). Only values of one canonical type are equal. */
static bool match_equality(const struct element *value, const struct element *operand)
{
    if (!value || value->type == BSON_TYPE_UNDEFINED)
        return operand->type == BSON_TYPE_NULL;
    return value_compare_elements(value, operand) == 0;
}

static const struct filter_op ops[] = {
    { .name = "$eq", .check = check_equality, .matches = match_equality, .is_equality = true },
};

const struct filter_op *filter_op_find(const char *name, size_t len)
{
    for (size_t i = 0; i < ARRAY_LEN(ops); i++) {
        if (bytes_equal(bytes_of(name, len), bytes_of_string(ops[i].name)))
            return &ops[i];
    }
    return NULL;
}
