#include "common/base/bytes.h"

#include <stdlib.h>

void buffer_destroy(struct buffer *buffer)
{
    if (!buffer)
        return;
    free(buffer->data);
    *buffer = (struct buffer) { 0 };
}

void buffer_clear(struct buffer *buffer)
{
    buffer->len = 0;
    buffer->failed = false;
}

bool buffer_reserve(struct buffer *buffer, size_t more)
{
    if (buffer->failed)
        return false;
    if (buffer->capacity - buffer->len >= more)
        return true;
    if (more > SIZE_MAX / 2 - buffer->len) {
        buffer->failed = true;
        return false;
    }
    size_t capacity = buffer->capacity ? buffer->capacity : 64;
    while (capacity - buffer->len < more)
        capacity *= 2;
    uint8_t *data = realloc(buffer->data, capacity);
    if (!data) {
        buffer->failed = true;
        return false;
    }
    buffer->data = data;
    buffer->capacity = capacity;
    return true;
}

void buffer_append(struct buffer *buffer, const void *data, size_t len)
{
    if (len == 0 || !buffer_reserve(buffer, len))
        return;
    memcpy(buffer->data + buffer->len, data, len);
    buffer->len += len;
}

void buffer_append_u8(struct buffer *buffer, uint8_t value)
{
    buffer_append(buffer, &value, 1);
}

uint8_t *buffer_append_zeros(struct buffer *buffer, size_t n)
{
    if (!buffer_reserve(buffer, n))
        return NULL;
    uint8_t *at = buffer->data + buffer->len;
    memset(at, 0, n);
    buffer->len += n;
    return at;
}

void buffer_append_varint(struct buffer *buffer, uint64_t value)
{
    uint8_t encoded[10];
    size_t n = 0;
    do {
        encoded[n++] = (uint8_t)((value & 0x7f) | (value > 0x7f ? 0x80 : 0));
        value >>= 7;
    } while (value);
    buffer_append(buffer, encoded, n);
}
