#include "common/bson/builder.h"

bool builder_failed(const struct builder *builder)
{
    return builder->too_large || builder->too_deep || builder->buffer.failed;
}

void builder_raw(struct builder *builder, const void *data, size_t len)
{
    if (builder_failed(builder))
        return;
    /* every open document still needs its terminator */
    if (len > MAX_DOCUMENT_BYTES - builder->depth || builder->buffer.len > MAX_DOCUMENT_BYTES - builder->depth - len) {
        builder->too_large = true;
        return;
    }
    buffer_append(&builder->buffer, data, len);
}

void builder_begin_bare(struct builder *builder)
{
    if (builder_failed(builder))
        return;
    if (builder->depth == MAX_NESTING) {
        builder->too_deep = true;
        return;
    }
    builder->open[builder->depth++] = builder->buffer.len;
    builder_raw(builder, "\0\0\0\0", 4);
}

void builder_end(struct builder *builder)
{
    if (builder_failed(builder))
        return;
    size_t start = builder->open[--builder->depth];
    builder_raw(builder, "", 1);
    builder_patch_u32(builder, start, (uint32_t)(builder->buffer.len - start));
}

void builder_init(struct builder *builder)
{
    builder->buffer = (struct buffer) { 0 };
    builder->type_at = 0;
    builder->depth = 0;
    builder->too_large = builder->too_deep = false;
    builder_begin_bare(builder);
}

void builder_destroy(struct builder *builder)
{
    buffer_destroy(&builder->buffer);
}

void builder_reserve(struct builder *builder, size_t more)
{
    buffer_reserve(&builder->buffer, more);
}

void builder_name(struct builder *builder, const char *name, size_t len)
{
    builder->type_at = builder->buffer.len;
    builder_raw(builder, "", 1);
    builder_raw(builder, name, len);
    builder_raw(builder, "", 1);
}

void builder_index(struct builder *builder, uint32_t index)
{
    char name[10];
    size_t at = sizeof name;
    do {
        name[--at] = (char)('0' + index % 10);
        index /= 10;
    } while (index > 0);
    builder_name(builder, name + at, sizeof name - at);
}

void builder_value(struct builder *builder, uint8_t type, struct bytes value)
{
    builder_set_type(builder, builder->type_at, type);
    builder_raw(builder, value.data, value.len);
}

void builder_begin(struct builder *builder, uint8_t type)
{
    builder_set_type(builder, builder->type_at, type);
    builder_begin_bare(builder);
}

void builder_copy(struct builder *builder, const struct element *element)
{
    struct bytes field = element_bytes(element);
    builder_raw(builder, field.data, field.len);
}

size_t builder_offset(const struct builder *builder)
{
    return builder->buffer.len;
}

void builder_insert(struct builder *builder, size_t at, const void *data, size_t len)
{
    size_t end = builder->buffer.len;
    builder_raw(builder, data, len);
    if (builder_failed(builder))
        return;
    memmove(builder->buffer.data + at + len, builder->buffer.data + at, end - at);
    memcpy(builder->buffer.data + at, data, len);
}

void builder_patch_u32(struct builder *builder, size_t at, uint32_t value)
{
    if (!builder_failed(builder))
        put_u32(builder->buffer.data + at, value);
}

void builder_set_type(struct builder *builder, size_t at, uint8_t type)
{
    if (!builder_failed(builder))
        builder->buffer.data[at] = type;
}

bool builder_error(const struct builder *builder, struct error *err)
{
    if (builder->too_deep)
        return error_set(err, ERROR_INVALID_ARGUMENT, "documents and arrays are nested deeper than %d levels", MAX_NESTING);
    if (builder->too_large)
        return error_set(err, ERROR_INVALID_ARGUMENT, "the document would be larger than %d bytes", MAX_DOCUMENT_BYTES);
    return error_set(err, ERROR_RESOURCE_EXHAUSTED, "no memory for a document");
}

bool builder_finish(struct builder *builder, struct bytes *document, struct error *err)
{
    builder_end(builder);
    if (builder_failed(builder))
        return builder_error(builder, err);
    *document = buffer_bytes(&builder->buffer);
    return true;
}

bool builder_finish_bson(struct builder *builder, bson_t *out, struct error *err)
{
    struct bytes document = { 0 };
    return builder_finish(builder, &document, err) && bson_copy_bytes(document, out, err);
}

bool bson_copy_bytes(struct bytes document, bson_t *out, struct error *err)
{
    bson_init(out);
    uint8_t *at = bson_reserve_buffer(out, (uint32_t)document.len);
    if (!at) {
        bson_destroy(out);
        return error_set(err, ERROR_RESOURCE_EXHAUSTED, "no memory for a document of %zu bytes", document.len);
    }
    memcpy(at, document.data, document.len);
    return true;
}
