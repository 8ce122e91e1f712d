/* Filters inside updates: the conditions of $pull and array filters. */
#include "branch-service/query/filter.h"
#include "branch-service/query/query_error.h"
#include "branch-service/query/update_ops.h"

bool update_has_expr(struct bytes filter)
{
    struct element_reader fields, parts;
    struct element field, part;
    element_reader_init(&fields, filter);
    while (element_next(&fields, &field)) {
        if (element_is_named(&field, "$expr", 5))
            return true;
        if (!element_name_is_operator(&field) || field.type != BSON_TYPE_ARRAY)
            continue;
        element_reader_init(&parts, field.value); /* $and, $or, $nor: as deep as documents nest */
        while (element_next(&parts, &part)) {
            if (part.type == BSON_TYPE_DOCUMENT && update_has_expr(part.value))
                return true;
        }
    }
    return false;
}

bool update_compile_filter(struct update_compiler *compiler, struct bytes spec, const struct filter **filter, struct error *err)
{
    if (update_has_expr(spec))
        return query_error(err, MONGO_QUERY_FEATURE_NOT_ALLOWED, "$expr is not allowed in this context");
    struct update_filter *owned = arena_alloc(compiler->arena, sizeof *owned);
    if (!owned)
        return error_out_of_memory(err);
    if (!filter_compile(spec, &owned->filter, err))
        return false;
    owned->next = compiler->filters;
    compiler->filters = owned;
    *filter = owned->filter;
    return arena_charge(compiler->arena, filter_memory(owned->filter)) ||
           error_set(err, ERROR_RESOURCE_EXHAUSTED, "no memory for an update with so many conditions");
}

bool update_matches_value(const struct filter *filter, const char *name, const struct element *value, struct buffer *scratch, bool *matches,
                          struct error *err)
{
    buffer_clear(scratch);
    buffer_append_zeros(scratch, 4);
    buffer_append_u8(scratch, value->type);
    buffer_append(scratch, name, strlen(name) + 1);
    buffer_append(scratch, value->value.data, value->value.len);
    buffer_append_u8(scratch, 0);
    if (scratch->failed)
        return error_out_of_memory(err);
    put_u32(scratch->data, (uint32_t)scratch->len);
    return filter_matches(filter, buffer_bytes(scratch), matches, err);
}
