/* From a key back to a value: see key_encoding.c for the format.
 *
 * Equal values have one key, so the way back chooses one of them: int32, then int64, then double, then decimal128, whichever
 * comes first that has this key; a string for a symbol. Every choice is encoded again and compared. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/limits.h"
#include "common/bson/builder.h"
#include "common/bson/key_encoding.h"
#include "common/bson/number.h"
#include "common/bson/value_compare.h"

struct reader {
    const uint8_t *at, *end;
};

static bool take(struct reader *reader, size_t n, const uint8_t **data)
{
    if ((size_t)(reader->end - reader->at) < n)
        return false;
    *data = reader->at;
    reader->at += n;
    return true;
}

static uint64_t big_endian(const uint8_t *data, int width)
{
    uint64_t value = 0;
    for (int i = 0; i < width; i++)
        value = value << 8 | data[i];
    return value;
}

/* ---- numbers ---------------------------------------------------------------------------------------- */

static bool has_key(uint8_t type, const void *value, size_t len, struct bytes key)
{
    const struct element element = { .type = type, .name = "_id", .name_len = 3, .value = bytes_of(value, len) };
    struct buffer buffer = { 0 };
    bool same = key_encode_element(&element, &buffer, NULL) && bytes_equal(buffer_bytes(&buffer), key);
    buffer_destroy(&buffer);
    return same;
}

static bool put_integer(struct builder *out, int64_t value, struct bytes key)
{
    uint8_t bytes[8];
    put_u64(bytes, (uint64_t)value);
    bool is_small = value >= INT32_MIN && value <= INT32_MAX;
    uint8_t type = is_small ? BSON_TYPE_INT32 : BSON_TYPE_INT64;
    size_t len = is_small ? 4 : 8;
    if (!has_key(type, bytes, len, key))
        return false;
    builder_value(out, type, bytes_of(bytes, len));
    return true;
}

static bool put_double(struct builder *out, double value, struct bytes key)
{
    uint8_t bytes[8];
    uint64_t bits;
    memcpy(&bits, &value, 8);
    put_u64(bytes, bits);
    if (!has_key(BSON_TYPE_DOUBLE, bytes, 8, key))
        return false;
    builder_value(out, BSON_TYPE_DOUBLE, bytes_of(bytes, 8));
    return true;
}

static bool put_decimal(struct builder *out, const char *text, struct bytes key)
{
    bson_decimal128_t decimal;
    uint8_t bytes[16];
    if (!bson_decimal128_from_string(text, &decimal))
        return false;
    put_u64(bytes, decimal.low);
    put_u64(bytes + 8, decimal.high);
    if (!has_key(BSON_TYPE_DECIMAL128, bytes, 16, key))
        return false;
    builder_value(out, BSON_TYPE_DECIMAL128, bytes_of(bytes, 16));
    return true;
}

/* key begins at the tag. */
static bool decode_number(struct reader *reader, const uint8_t *tag, struct builder *out)
{
    enum { NAN_CLASS = 1, NEGATIVE_INFINITY, NEGATIVE, ZERO, POSITIVE, POSITIVE_INFINITY };
    const uint8_t *data;
    if (!take(reader, 1, &data))
        return false;
    int class = *data;
    if (class == NAN_CLASS || class == NEGATIVE_INFINITY || class == POSITIVE_INFINITY) {
        double value = class == NAN_CLASS ? (double)__builtin_nan("") : class == NEGATIVE_INFINITY ? -__builtin_inf() : __builtin_inf();
        return put_double(out, value, bytes_of(tag, 2));
    }
    if (class == ZERO)
        return put_integer(out, 0, bytes_of(tag, 2));
    if (class != NEGATIVE && class != POSITIVE)
        return false;
    const uint8_t flip = class == NEGATIVE ? 0xFF : 0;
    if (!take(reader, 2, &data))
        return false;
    int exponent = (int)((uint16_t)(big_endian(data, 2) ^ (flip ? 0xFFFF : 0))) - 0x8000;
    char digits[NUMBER_MAX_DIGITS + 2];
    size_t n = 0;
    for (;;) {
        if (!take(reader, 1, &data))
            return false;
        uint8_t pair = *data ^ flip;
        if (pair == 0)
            break;
        if (pair > 100 || n + 2 > NUMBER_MAX_DIGITS)
            return false;
        digits[n++] = (char)('0' + (pair - 1) / 10);
        digits[n++] = (char)('0' + (pair - 1) % 10);
    }
    while (n > 0 && digits[n - 1] == '0')
        n--;
    digits[n] = '\0';
    if (n == 0)
        return false;
    struct bytes key = bytes_of(tag, (size_t)(reader->at - tag));
    char text[NUMBER_MAX_DIGITS + 32];
    if (exponent > 0 && exponent <= 19 && (size_t)exponent >= n) {
        snprintf(text, sizeof text, "%s%s%0*d", flip ? "-" : "", digits, (int)((size_t)exponent - n), 0);
        if ((size_t)exponent == n)
            text[strlen(text) - 1] = '\0'; /* %0*d prints at least one digit */
        char *end;
        errno = 0;
        long long value = strtoll(text, &end, 10);
        if (errno == 0 && !*end && put_integer(out, value, key))
            return true;
    }
    snprintf(text, sizeof text, "%s0.%sE%d", flip ? "-" : "", digits, exponent);
    return put_double(out, strtod(text, NULL), key) || put_decimal(out, text, key);
}

/* ---- the rest --------------------------------------------------------------------------------------- */

/* Text as BSON has it: its length, itself, a NUL. */
static bool decode_string(struct reader *reader, struct builder *out)
{
    struct buffer text = { 0 };
    uint8_t size[4] = { 0 };
    buffer_append(&text, size, 4);
    bool ended = false;
    while (!ended && reader->at < reader->end) {
        uint8_t byte = *reader->at++;
        ended = byte == 0 && !(reader->at < reader->end && *reader->at == 0xFF);
        if (byte == 0 && !ended)
            reader->at++;
        buffer_append_u8(&text, byte);
    }
    bool ok = ended && !text.failed;
    if (ok) {
        put_u32(text.data, (uint32_t)(text.len - 4));
        builder_raw(out, text.data, text.len);
    }
    buffer_destroy(&text);
    return ok;
}

static bool decode_text(struct reader *reader, uint8_t type, struct builder *out)
{
    builder_value(out, type, (struct bytes) { 0 });
    return decode_string(reader, out);
}

static bool decode_fixed(struct reader *reader, uint8_t type, size_t n, struct builder *out)
{
    const uint8_t *data;
    if (!take(reader, n, &data))
        return false;
    uint8_t value[12];
    memcpy(value, data, n);
    if (type == BSON_TYPE_DATE_TIME)
        put_u64(value, big_endian(data, 8) ^ (uint64_t)1 << 63);
    if (type == BSON_TYPE_TIMESTAMP)
        put_u64(value, big_endian(data, 8));
    builder_value(out, type, bytes_of(value, n));
    return true;
}

static bool decode_binary(struct reader *reader, struct builder *out)
{
    const uint8_t *size, *data;
    if (!take(reader, 4, &size) || !take(reader, (size_t)big_endian(size, 4) + 1, &data))
        return false;
    size_t len = (size_t)big_endian(size, 4);
    struct buffer value = { 0 };
    uint8_t little[4];
    put_u32(little, (uint32_t)len);
    buffer_append(&value, little, 4);
    buffer_append(&value, data, len + 1);
    if (!value.failed)
        builder_value(out, BSON_TYPE_BINARY, buffer_bytes(&value));
    bool ok = !value.failed;
    buffer_destroy(&value);
    return ok;
}

/* Pattern and options. */
static bool decode_regex(struct reader *reader, struct builder *out)
{
    const uint8_t *start = reader->at, *stop = start;
    for (int i = 0; i < 2; i++) {
        stop = memchr(stop, 0, (size_t)(reader->end - stop));
        if (!stop++)
            return false;
    }
    reader->at = stop;
    builder_value(out, BSON_TYPE_REGEX, bytes_of(start, (size_t)(stop - start)));
    return true;
}

static bool decode_pointer(struct reader *reader, struct builder *out)
{
    const uint8_t *size, *data;
    if (!take(reader, 4, &size) || !take(reader, (size_t)big_endian(size, 4), &data))
        return false;
    builder_value(out, BSON_TYPE_DBPOINTER, bytes_of(data, (size_t)big_endian(size, 4)));
    return true;
}

static bool decode_value(struct reader *reader, struct builder *out, unsigned depth);

/* Into the document that was begun, which it ends. */
static bool decode_fields(struct reader *reader, bool with_names, struct builder *out, unsigned depth)
{
    for (uint32_t i = 0;; i++) {
        const uint8_t *tag;
        if (depth > MAX_NESTING || !take(reader, 1, &tag))
            return false;
        if (*tag == 0)
            break;
        if (!with_names) {
            reader->at--;
            builder_index(out, i);
            if (!decode_value(reader, out, depth + 1))
                return false;
            continue;
        }
        const uint8_t *name = reader->at;
        const uint8_t *stop = memchr(name, 0, (size_t)(reader->end - name));
        if (!stop)
            return false;
        builder_name(out, (const char *)name, (size_t)(stop - name));
        /* the name stands between the tag and its payload */
        size_t rest = (size_t)(reader->end - stop - 1);
        uint8_t *value = malloc(rest + 1);
        if (!value)
            return false;
        value[0] = *tag;
        memcpy(value + 1, stop + 1, rest);
        struct reader inner = { value, value + 1 + rest };
        bool ok = decode_value(&inner, out, depth + 1);
        reader->at = stop + (inner.at - value);
        free(value);
        if (!ok)
            return false;
    }
    builder_end(out);
    return true;
}

static bool decode_document(struct reader *reader, uint8_t type, struct builder *out, unsigned depth)
{
    builder_begin(out, type);
    return decode_fields(reader, type == BSON_TYPE_DOCUMENT, out, depth);
}

static bool decode_code_with_scope(struct reader *reader, struct builder *out, unsigned depth)
{
    builder_value(out, BSON_TYPE_CODEWSCOPE, (struct bytes) { 0 });
    size_t start = builder_offset(out);
    builder_raw(out, "\0\0\0\0", 4);
    if (!decode_string(reader, out))
        return false;
    builder_begin_bare(out);
    if (!decode_fields(reader, true, out, depth))
        return false;
    builder_patch_u32(out, start, (uint32_t)(builder_offset(out) - start));
    return true;
}

static bool decode_value(struct reader *reader, struct builder *out, unsigned depth)
{
    const uint8_t *tag;
    if (!take(reader, 1, &tag))
        return false;
#define TAG(type) (value_type_rank(type) + 2)
    int rank = *tag;
    if (rank == TAG(BSON_TYPE_INT32))
        return decode_number(reader, tag, out);
    if (rank == TAG(BSON_TYPE_UTF8))
        return decode_text(reader, BSON_TYPE_UTF8, out);
    if (rank == TAG(BSON_TYPE_CODE))
        return decode_text(reader, BSON_TYPE_CODE, out);
    if (rank == TAG(BSON_TYPE_DOCUMENT))
        return decode_document(reader, BSON_TYPE_DOCUMENT, out, depth);
    if (rank == TAG(BSON_TYPE_ARRAY))
        return decode_document(reader, BSON_TYPE_ARRAY, out, depth);
    if (rank == TAG(BSON_TYPE_BINARY))
        return decode_binary(reader, out);
    if (rank == TAG(BSON_TYPE_OID))
        return decode_fixed(reader, BSON_TYPE_OID, 12, out);
    if (rank == TAG(BSON_TYPE_BOOL))
        return decode_fixed(reader, BSON_TYPE_BOOL, 1, out);
    if (rank == TAG(BSON_TYPE_DATE_TIME))
        return decode_fixed(reader, BSON_TYPE_DATE_TIME, 8, out);
    if (rank == TAG(BSON_TYPE_TIMESTAMP))
        return decode_fixed(reader, BSON_TYPE_TIMESTAMP, 8, out);
    if (rank == TAG(BSON_TYPE_NULL))
        return decode_fixed(reader, BSON_TYPE_NULL, 0, out);
    if (rank == TAG(BSON_TYPE_MINKEY))
        return decode_fixed(reader, (uint8_t)BSON_TYPE_MINKEY, 0, out);
    if (rank == TAG(BSON_TYPE_MAXKEY))
        return decode_fixed(reader, BSON_TYPE_MAXKEY, 0, out);
    if (rank == TAG(BSON_TYPE_UNDEFINED))
        return decode_fixed(reader, BSON_TYPE_UNDEFINED, 0, out);
    if (rank == TAG(BSON_TYPE_REGEX))
        return decode_regex(reader, out);
    if (rank == TAG(BSON_TYPE_DBPOINTER))
        return decode_pointer(reader, out);
    if (rank == TAG(BSON_TYPE_CODEWSCOPE))
        return decode_code_with_scope(reader, out, depth);
#undef TAG
    return false;
}

bool key_decode_document_id(struct bytes key, struct builder *out)
{
    struct reader reader = { key.data, key.data + key.len };
    builder_name(out, "_id", 3);
    return decode_value(&reader, out, 0) && reader.at == reader.end && !builder_failed(out);
}
