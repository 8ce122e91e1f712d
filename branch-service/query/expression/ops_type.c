/* Types of values, and sizes of documents. */
#include "branch-service/query/expression/internal.h"

static bool apply_type(struct run *run, const struct expression *e, const struct element *args, struct element *out)
{
    (void)e;
    return make_text(run, element_type_name(args[0].type), out);
}

static bool apply_is_number(struct run *run, const struct expression *e, const struct element *args, struct element *out)
{
    (void)run;
    (void)e;
    return make_bool(element_is_number(&args[0]), out);
}

static bool apply_bson_size(struct run *run, const struct expression *e, const struct element *args, struct element *out)
{
    (void)e;
    if (is_nullish(&args[0]))
        return make_null(out);
    if (args[0].type != BSON_TYPE_DOCUMENT)
        return fail(run, 31393, "$bsonSize requires a document input, found: %s", element_type_name(args[0].type));
    return make_int32(run, (int32_t)args[0].value.len, out);
}

static bool apply_binary_size(struct run *run, const struct expression *e, const struct element *args, struct element *out)
{
    (void)e;
    if (is_nullish(&args[0]))
        return make_null(out);
    if (args[0].type != BSON_TYPE_BINARY && !is_string(&args[0]))
        return fail(run, 51276, "$binarySize requires a string or BinData argument, found: %s", element_type_name(args[0].type));
    return make_int32(run, (int32_t)(args[0].value.len - 5), out); /* both have five bytes that are not data */
}

static const struct expression_op ops[] = {
    { "$type", 1, 1, .apply = apply_type },
    { "$isNumber", 1, 1, .apply = apply_is_number },
    { "$bsonSize", 1, 1, .apply = apply_bson_size },
    { "$binarySize", 1, 1, .apply = apply_binary_size },
};

const struct expression_ops ops_type = { ops, ARRAY_LEN(ops) };
