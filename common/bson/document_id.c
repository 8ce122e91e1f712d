#include "common/bson/document_id.h"

#include "common/bson/builder.h"
#include "common/bson/element.h"
#include "common/bson/key_encoding.h"

bool document_id_of(struct bytes document, struct arena *arena, struct bytes *id, struct error *err)
{
    struct element element;
    if (!element_find(document, "_id", 3, &element))
        return error_set(err, ERROR_DATA_LOSS, "the log holds a document without _id");
    struct bytes field = element_bytes(&element);
    size_t len = 4 + field.len + 1;
    uint8_t *made = arena_alloc(arena, len);
    if (!made)
        return error_out_of_memory(err);
    put_u32(made, (uint32_t)len);
    memcpy(made + 4, field.data, field.len);
    made[len - 1] = 0;
    *id = bytes_of(made, len);
    return true;
}

bool document_id_of_key(struct bytes key, struct arena *arena, struct bytes *id, struct error *err)
{
    struct builder builder;
    struct bytes document;
    builder_init(&builder);
    bool ok = key_decode_document_id(key, &builder) ? builder_finish(&builder, &document, err)
                                                    : error_set(err, ERROR_DATA_LOSS, "the log holds a document_id that is no key");
    if (ok) {
        *id = bytes_of(arena_copy(arena, document.data, document.len), document.len);
        ok = id->data || error_out_of_memory(err);
    }
    builder_destroy(&builder);
    return ok;
}
