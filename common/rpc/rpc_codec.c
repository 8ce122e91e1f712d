/* Protobuf messages to gRPC slices and back. */
#include <grpc/byte_buffer_reader.h>
#include <stdlib.h>

#include "common/base/memory.h"
#include "common/rpc/rpc_internal.h"

/* gRPC's own slices abort when memory is short; above this size the memory is asked for here. */
enum { LARGEST_GRPC_SLICE = 4096 };

static bool slice_new(size_t size, grpc_slice *slice, struct error *err)
{
    if (size <= LARGEST_GRPC_SLICE) {
        *slice = grpc_slice_malloc(size);
        return true;
    }
    if (size > UINT32_MAX) /* the length field of a gRPC message */
        return error_set(err, ERROR_RESOURCE_EXHAUSTED, "a message of %zu bytes is too large to send", size);
    void *memory = mem_try_alloc(size);
    if (!memory)
        return error_set(err, ERROR_RESOURCE_EXHAUSTED, "no memory for a message of %zu bytes", size);
    *slice = grpc_slice_new_with_user_data(memory, size, free, memory);
    return true;
}

bool codec_pack(const ProtobufCMessage *message, grpc_slice *slice, struct error *err)
{
    if (!slice_new(protobuf_c_message_get_packed_size(message), slice, err))
        return false;
    protobuf_c_message_pack(message, GRPC_SLICE_START_PTR(*slice));
    return true;
}

bool codec_join(const struct bytes *parts, size_t n, grpc_slice *slice, struct error *err)
{
    size_t size = 0;
    for (size_t i = 0; i < n; i++)
        size += parts[i].len;
    if (!slice_new(size, slice, err))
        return false;
    uint8_t *at = GRPC_SLICE_START_PTR(*slice);
    for (size_t i = 0; i < n; i++) {
        if (parts[i].len)
            memcpy(at, parts[i].data, parts[i].len);
        at += parts[i].len;
    }
    return true;
}

grpc_byte_buffer *codec_buffer_take(grpc_slice slice)
{
    grpc_byte_buffer *buffer = grpc_raw_byte_buffer_create(&slice, 1); /* takes a reference of its own */
    grpc_slice_unref(slice);
    return buffer;
}

bool codec_view_open(grpc_byte_buffer *buffer, struct codec_view *view, struct error *err)
{
    size_t len = grpc_byte_buffer_length(buffer);
    *view = (struct codec_view) { .bytes = { NULL, len } };
    if (len == 0)
        return true;
    grpc_byte_buffer_reader reader;
    if (!grpc_byte_buffer_reader_init(&reader, buffer))
        return error_set(err, ERROR_INTERNAL, "a received message cannot be read");
    bool ok = true;
    grpc_slice *first, *slice;
    /* peek borrows: the slices live as long as the buffer */
    if (grpc_byte_buffer_reader_peek(&reader, &first) && GRPC_SLICE_LENGTH(*first) == len) {
        view->bytes.data = GRPC_SLICE_START_PTR(*first);
    } else if (!(view->copy = mem_try_alloc(len))) {
        ok = error_set(err, ERROR_RESOURCE_EXHAUSTED, "no memory for a message of %zu bytes", len);
    } else {
        uint8_t *at = view->copy;
        view->bytes.data = at;
        slice = first;
        do {
            memcpy(at, GRPC_SLICE_START_PTR(*slice), GRPC_SLICE_LENGTH(*slice));
            at += GRPC_SLICE_LENGTH(*slice);
        } while (grpc_byte_buffer_reader_peek(&reader, &slice));
    }
    grpc_byte_buffer_reader_destroy(&reader);
    return ok;
}

void codec_view_close(struct codec_view *view)
{
    free(view->copy);
    view->copy = NULL;
}

/* protobuf-c reports a refused allocation and a malformed message alike; `refused` tells them apart. */
struct arena_allocator {
    ProtobufCAllocator base;
    struct arena *arena;
    bool refused;
};

static void *allocate(void *ctx, size_t size)
{
    struct arena_allocator *allocator = ctx;
    void *p = arena_alloc(allocator->arena, size);
    if (!p)
        allocator->refused = true;
    return p;
}

static void leave(void *ctx, void *p)
{
    (void)ctx;
    (void)p;
}

static bool read_varint(struct bytes *in, uint64_t *value)
{
    *value = 0;
    for (unsigned shift = 0; shift < 64 && in->len > 0; shift += 7) {
        uint8_t byte = *(const uint8_t *)in->data;
        *in = bytes_of((const uint8_t *)in->data + 1, in->len - 1);
        *value |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80)
            return true;
    }
    return false;
}

/* The bytes of the next field; empty for one that is not length-delimited. False: no more, or malformed. */
bool codec_next_field(struct bytes *in, uint32_t *number, struct bytes *content)
{
    enum { VARINT, FIXED64, DELIMITED, FIXED32 = 5 };
    uint64_t tag, len = 0;
    if (!read_varint(in, &tag))
        return false;
    *number = (uint32_t)(tag >> 3);
    *content = bytes_of(NULL, 0);
    switch (tag & 7) {
    case VARINT:
        return read_varint(in, &len);
    case FIXED64:
        len = 8;
        break;
    case FIXED32:
        len = 4;
        break;
    case DELIMITED:
        if (!read_varint(in, &len))
            return false;
        break;
    default:
        return false;
    }
    if (len > in->len)
        return false;
    if ((tag & 7) == DELIMITED)
        *content = bytes_of(in->data, (size_t)len);
    *in = bytes_of((const uint8_t *)in->data + len, in->len - (size_t)len);
    return true;
}

/* protobuf-c hands strings out as C strings: one with a NUL inside would be taken for its beginning, so that
 * two names, or two request ids, become one. Called with what protobuf-c could unpack: it is well formed. */
static bool check_strings(const ProtobufCMessageDescriptor *type, struct bytes message, struct error *err)
{
    uint32_t number;
    struct bytes content;
    while (codec_next_field(&message, &number, &content)) {
        const ProtobufCFieldDescriptor *field = protobuf_c_message_descriptor_get_field(type, number);
        if (!field || content.len == 0)
            continue;
        if (field->type == PROTOBUF_C_TYPE_STRING && memchr(content.data, '\0', content.len))
            return error_set(err, ERROR_INVALID_ARGUMENT, "%s.%s contains a NUL character", type->short_name, field->name);
        if (field->type == PROTOBUF_C_TYPE_MESSAGE && !check_strings(field->descriptor, content, err))
            return false;
    }
    return true;
}

bool codec_unpack_take(grpc_byte_buffer *buffer, const ProtobufCMessageDescriptor *type, struct arena *arena, ProtobufCMessage **message,
                       struct error *err)
{
    struct codec_view view;
    bool opened = codec_view_open(buffer, &view, err);
    if (!opened || view.copy) { /* a large one is not kept twice */
        grpc_byte_buffer_destroy(buffer);
        buffer = NULL;
    }
    if (!opened)
        return false;
    struct arena_allocator allocator = { .base = { .alloc = allocate, .free = leave }, .arena = arena };
    allocator.base.allocator_data = &allocator;
    static const uint8_t nothing;
    ProtobufCMessage *unpacked =
        protobuf_c_message_unpack(type, &allocator.base, view.bytes.len, view.bytes.data ? view.bytes.data : &nothing);
    bool strings_hold = !unpacked || check_strings(type, view.bytes, err);
    codec_view_close(&view);
    if (buffer)
        grpc_byte_buffer_destroy(buffer);
    if (!strings_hold)
        return false;
    if (unpacked) {
        *message = unpacked;
        return true;
    }
    if (allocator.refused)
        return error_set(err, ERROR_RESOURCE_EXHAUSTED, "%s of %zu bytes needs more memory than a call may take", type->name,
                         view.bytes.len);
    return error_set(err, ERROR_INVALID_ARGUMENT, "%zu bytes are not a valid %s", view.bytes.len, type->name);
}
