/* The format, byte for byte. It is stored in logs and may never change for a value that it covers.
 *
 *   key      = value
 *   value    = tag payload
 *   tag      = value_type_rank + 2: one byte, 0x01 (minKey) ... 0x81 (maxKey)
 *
 *   payload of
 *   minKey, maxKey, undefined, null   nothing
 *   number      class, and for NEGATIVE and POSITIVE what follows it (all of it complemented for NEGATIVE):
 *                 class     1 byte: enum number_class + 1
 *                 exponent  2 bytes, big-endian, biased by 0x8000: the value is 0.d1d2... * 10^exponent
 *                 digits    a byte for two decimal digits: 1 + 10 * d1 + d2 (an odd last one gets a 0)
 *                 end       0x00
 *   string, symbol, code   text with 0x00 written as 0x00 0xFF, then 0x00. Nothing that can follow begins
 *                 with 0xFF, so a text sorts before all that it begins
 *   document    fields: tag name 0x00 payload (names hold no NUL), then 0x00, which is less than any tag
 *   array       values, then 0x00
 *   binary      length (4 bytes, big-endian), subtype, data
 *   ObjectId    12 bytes
 *   bool        0x00 or 0x01
 *   date        8 bytes, big-endian, sign bit flipped
 *   timestamp   8 bytes, big-endian
 *   regex       pattern 0x00 options 0x00
 *   dbPointer   length of its bytes (4, big-endian), its bytes as BSON has them
 *   code with scope   as code, then as document
 *
 * No encoding begins another one, hence memcmp alone decides.
 */
#include "common/bson/key_encoding.h"

#include "common/base/limits.h"
#include "common/bson/number.h"
#include "common/bson/value_compare.h"

static void put_big_endian(struct buffer *out, uint64_t value, int width)
{
    while (width-- > 0)
        buffer_append_u8(out, (uint8_t)(value >> 8 * width));
}

static void encode_number(const struct element *e, struct buffer *out)
{
    struct number number;
    number_of_element(e, &number);
    buffer_append_u8(out, (uint8_t)(number.class + 1));
    if (number.class != NUMBER_NEGATIVE && number.class != NUMBER_POSITIVE)
        return;
    size_t start = out->len;
    put_big_endian(out, (uint64_t)(number.exponent + 0x8000), 2);
    for (int i = 0; i < number.n_digits; i += 2) {
        int second = i + 1 < number.n_digits ? number.digits[i + 1] : 0;
        buffer_append_u8(out, (uint8_t)(1 + 10 * number.digits[i] + second));
    }
    buffer_append_u8(out, 0);
    if (number.class == NUMBER_NEGATIVE && !out->failed) {
        for (size_t i = start; i < out->len; i++)
            out->data[i] = (uint8_t)~out->data[i];
    }
}

static void encode_text(struct bytes text, struct buffer *out)
{
    const uint8_t *at = text.data, *end = at + text.len;
    while (at < end) {
        const uint8_t *nul = memchr(at, 0, (size_t)(end - at));
        const uint8_t *stop = nul ? nul : end;
        buffer_append(out, at, (size_t)(stop - at));
        if (nul)
            buffer_append(out, "\x00\xFF", 2);
        at = nul ? nul + 1 : end;
    }
    buffer_append_u8(out, 0);
}

static uint8_t tag_of(const struct element *e)
{
    bson_type_t type = e->type == (uint8_t)BSON_TYPE_MINKEY ? BSON_TYPE_MINKEY : (bson_type_t)e->type;
    return (uint8_t)(value_type_rank(type) + 2);
}

static void encode_payload(const struct element *e, size_t limit, struct buffer *out);

/* Recursion is bounded by MAX_NESTING. What is over the limit already is not worth going on with. */
static void encode_fields(struct bytes document, bool with_names, size_t limit, struct buffer *out)
{
    struct element_reader reader;
    struct element e;
    element_reader_init(&reader, document);
    while (out->len <= limit && element_next(&reader, &e)) {
        buffer_append_u8(out, tag_of(&e));
        if (with_names)
            buffer_append(out, e.name, e.name_len + 1);
        encode_payload(&e, limit, out);
    }
    buffer_append_u8(out, 0);
}

static void encode_payload(const struct element *e, size_t limit, struct buffer *out)
{
    struct bytes value = e->value;
    switch (e->type) {
    case BSON_TYPE_INT32:
    case BSON_TYPE_INT64:
    case BSON_TYPE_DOUBLE:
    case BSON_TYPE_DECIMAL128:
        encode_number(e, out);
        break;
    case BSON_TYPE_UTF8:
    case BSON_TYPE_SYMBOL:
    case BSON_TYPE_CODE:
        encode_text(element_string(e), out);
        break;
    case BSON_TYPE_DOCUMENT:
        encode_fields(value, true, limit, out);
        break;
    case BSON_TYPE_ARRAY:
        encode_fields(value, false, limit, out);
        break;
    case BSON_TYPE_BINARY:
        put_big_endian(out, get_u32(value.data), 4);
        buffer_append(out, value.data + 4, value.len - 4);
        break;
    case BSON_TYPE_DATE_TIME:
        put_big_endian(out, get_u64(value.data) ^ (uint64_t)1 << 63, 8);
        break;
    case BSON_TYPE_TIMESTAMP:
        put_big_endian(out, get_u64(value.data), 8);
        break;
    case BSON_TYPE_DBPOINTER:
        put_big_endian(out, value.len, 4);
        buffer_append(out, value.data, value.len);
        break;
    case BSON_TYPE_CODEWSCOPE: {
        size_t code = get_u32(value.data + 4);
        encode_text(bytes_of(value.data + 8, code - 1), out);
        encode_fields(bytes_of(value.data + 8 + code, value.len - 8 - code), true, limit, out);
        break;
    }
    default:
        buffer_append(out, value.data, value.len);
        break;
    }
}

bool key_encode_element(const struct element *e, struct buffer *out, struct error *err)
{
    if (e->type == BSON_TYPE_ARRAY || e->type == BSON_TYPE_REGEX || e->type == BSON_TYPE_UNDEFINED)
        return error_set(err, ERROR_INVALID_ARGUMENT, "the '_id' value cannot be of type %s", element_type_name(e->type));
    /* Encoding takes off at most nine tenths (a long array of zeros), so far larger values need no look. */
    bool hopeless = e->value.len > 32 * MAX_DOCUMENT_ID_BYTES;
    size_t start = out->len;
    if (!hopeless) {
        buffer_append_u8(out, tag_of(e));
        encode_payload(e, start + MAX_DOCUMENT_ID_BYTES, out);
        if (!out->failed && out->len - start <= MAX_DOCUMENT_ID_BYTES)
            return true;
    }
    bool failed = out->failed;
    out->len = start;
    out->failed = false;
    if (failed)
        return error_set(err, ERROR_RESOURCE_EXHAUSTED, "no memory for a document id");
    return error_set(err, ERROR_INVALID_ARGUMENT, "the '_id' value is too long: more than %d bytes encoded", MAX_DOCUMENT_ID_BYTES);
}

bool key_encode_iter(const bson_iter_t *iter, struct buffer *out, struct error *err)
{
    struct element e = element_of_iter(iter);
    return key_encode_element(&e, out, err);
}

bool key_encode(const bson_value_t *value, struct buffer *out, struct error *err)
{
    bson_t document = BSON_INITIALIZER;
    bson_iter_t iter;
    bool ok = bson_append_value(&document, "", 0, value) && bson_iter_init(&iter, &document) && bson_iter_next(&iter)
                  ? key_encode_iter(&iter, out, err)
                  : error_set(err, ERROR_INVALID_ARGUMENT, "the '_id' is no BSON value");
    bson_destroy(&document);
    return ok;
}

bool key_encode_document_id(struct bytes document, struct buffer *out, struct error *err)
{
    struct element id;
    if (!element_find(document, "_id", 3, &id))
        return error_set(err, ERROR_INVALID_ARGUMENT, "the document has no '_id'");
    return key_encode_element(&id, out, err);
}
