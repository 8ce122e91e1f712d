/* Borrowed byte ranges and owned, growing buffers. */
#ifndef ARGON_BASE_BYTES_H
#define ARGON_BASE_BYTES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* Borrowed; data may be NULL when len is 0. */
struct bytes {
    const uint8_t *data;
    size_t len;
};

static inline struct bytes bytes_of(const void *data, size_t len)
{
    return (struct bytes) { data, len };
}

static inline struct bytes bytes_of_string(const char *s)
{
    return (struct bytes) { (const uint8_t *)s, strlen(s) };
}

static inline bool bytes_equal(struct bytes a, struct bytes b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

/* As memcmp; of two where one begins with the other, the shorter is less. */
static inline int bytes_compare(struct bytes a, struct bytes b)
{
    size_t n = a.len < b.len ? a.len : b.len;
    int order = n ? memcmp(a.data, b.data, n) : 0;
    return order ? order : (a.len > b.len) - (a.len < b.len);
}

/* Owned and growing. {0} is an empty buffer. Growth failure is remembered: append becomes a no-op and
 * `failed` is set, so that a long encoding checks once at its end. */
struct buffer {
    uint8_t *data;
    size_t len;
    size_t capacity;
    bool failed;
};

void buffer_destroy(struct buffer *buffer);
void buffer_clear(struct buffer *buffer); /* keeps the memory */
bool buffer_reserve(struct buffer *buffer, size_t more);
void buffer_append(struct buffer *buffer, const void *data, size_t len);
void buffer_append_u8(struct buffer *buffer, uint8_t value);
/* n zero bytes; their place, or NULL on failure. Valid until the next append. */
uint8_t *buffer_append_zeros(struct buffer *buffer, size_t n);
void buffer_append_varint(struct buffer *buffer, uint64_t value); /* protobuf's base-128 */

static inline struct bytes buffer_bytes(const struct buffer *buffer)
{
    return (struct bytes) { buffer->data, buffer->len };
}

/* Little-endian fixed-width integers at any alignment. */
static inline void put_u16(uint8_t *at, uint16_t v)
{
    for (int i = 0; i < 2; i++)
        at[i] = (uint8_t)(v >> 8 * i);
}
static inline void put_u32(uint8_t *at, uint32_t v)
{
    for (int i = 0; i < 4; i++)
        at[i] = (uint8_t)(v >> 8 * i);
}
static inline void put_u64(uint8_t *at, uint64_t v)
{
    for (int i = 0; i < 8; i++)
        at[i] = (uint8_t)(v >> 8 * i);
}
static inline uint16_t get_u16(const uint8_t *at)
{
    return (uint16_t)(at[0] | at[1] << 8);
}
static inline uint32_t get_u32(const uint8_t *at)
{
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}
static inline uint64_t get_u64(const uint8_t *at)
{
    return (uint64_t)get_u32(at) | (uint64_t)get_u32(at + 4) << 32;
}

#endif
