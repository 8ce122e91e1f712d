/* BSON to Extended JSON v2, without recursion and without white space.
 *
 * Reading the text back gives the document byte for byte, with these exceptions, which the format has no
 * words for: fields named like a type wrapper ("$date"), array elements not named "0", "1", ..., decimal128
 * NaNs with a payload or a sign and numbers in other than their canonical encoding, NaN doubles but one.
 */
#include "common/bson/ejson.h"

#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/limits.h"
#include "common/bson/base64.h"
#include "common/bson/bson_check.h"
#include "common/bson/element.h"
#include "common/bson/iso_date.h"

static void put(struct buffer *out, const char *text)
{
    buffer_append(out, text, strlen(text));
}

static void put_string(struct buffer *out, struct bytes text)
{
    static const char codes[] = "\"\\bfnrt", characters[] = "\"\\\b\f\n\r\t";
    const uint8_t *at = text.data, *end = text.data + text.len;
    put(out, "\"");
    while (at < end) {
        const uint8_t *plain = at;
        while (at < end && *at >= 0x20 && *at != '"' && *at != '\\')
            at++;
        buffer_append(out, plain, (size_t)(at - plain));
        if (at == end)
            break;
        const char *special = memchr(characters, *at, sizeof characters - 1);
        char escape[8];
        if (special)
            snprintf(escape, sizeof escape, "\\%c", codes[special - characters]);
        else
            snprintf(escape, sizeof escape, "\\u%04x", *at);
        put(out, escape);
        at++;
    }
    put(out, "\"");
}

/* The fewest digits that read back as the same double, always with a point or an exponent. */
static void print_double(double value, char text[40])
{
    /* 15 digits are always worth having, except where a double has fewer bits */
    for (int precision = fabs(value) < DBL_MIN ? 1 : 15; precision <= 17; precision++) {
        snprintf(text, 36, "%.*g", precision, value);
        if (precision == 17 || strtod(text, NULL) == value)
            break;
    }
    if (!strpbrk(text, ".e"))
        strcat(text, ".0");
}

static void put_double(struct buffer *out, double value, enum ejson_style style)
{
    char text[40];
    if (isnan(value))
        snprintf(text, sizeof text, "NaN");
    else if (isinf(value))
        snprintf(text, sizeof text, "%s", value < 0 ? "-Infinity" : "Infinity");
    else
        print_double(value, text);
    bool wrapped = style == EJSON_CANONICAL || !isfinite(value);
    put(out, wrapped ? "{\"$numberDouble\":\"" : "");
    put(out, text);
    put(out, wrapped ? "\"}" : "");
}

static void put_integer(struct buffer *out, int64_t value, const char *wrapper, bool wrapped)
{
    char text[64];
    if (wrapped)
        snprintf(text, sizeof text, "{\"%s\":\"%" PRId64 "\"}", wrapper, value);
    else
        snprintf(text, sizeof text, "%" PRId64, value);
    put(out, text);
}

static void put_date(struct buffer *out, int64_t millis, enum ejson_style style)
{
    char text[ISO_DATE_SIZE];
    put(out, "{\"$date\":");
    if (style == EJSON_RELAXED && iso_date_has_text(millis)) {
        iso_date_format(millis, text);
        put(out, "\"");
        put(out, text);
        put(out, "\"");
    } else {
        put_integer(out, millis, "$numberLong", true);
    }
    put(out, "}");
}

static void put_binary(struct buffer *out, struct bytes value)
{
    uint8_t subtype = value.data[4];
    /* the old generic subtype repeats its length inside; the format leaves that out */
    size_t head = subtype == BSON_SUBTYPE_BINARY_DEPRECATED && value.len >= 9 ? 9 : 5;
    char text[8];
    put(out, "{\"$binary\":{\"base64\":\"");
    base64_encode(bytes_of(value.data + head, value.len - head), out);
    snprintf(text, sizeof text, "%02x", subtype);
    put(out, "\",\"subType\":\"");
    put(out, text);
    put(out, "\"}}");
}

static void put_oid(struct buffer *out, const uint8_t *oid)
{
    char hex[25];
    for (int i = 0; i < 12; i++)
        snprintf(hex + 2 * i, 3, "%02x", oid[i]);
    put(out, "{\"$oid\":\"");
    put(out, hex);
    put(out, "\"}");
}

static void put_decimal(struct buffer *out, const uint8_t *bytes)
{
    bson_decimal128_t decimal = { .low = get_u64(bytes), .high = get_u64(bytes + 8) };
    char text[BSON_DECIMAL128_STRING];
    bson_decimal128_to_string(&decimal, text);
    put(out, "{\"$numberDecimal\":\"");
    put(out, text);
    put(out, "\"}");
}

static void put_regex(struct buffer *out, const char *pattern)
{
    put(out, "{\"$regularExpression\":{\"pattern\":");
    put_string(out, bytes_of_string(pattern));
    put(out, ",\"options\":");
    put_string(out, bytes_of_string(pattern + strlen(pattern) + 1));
    put(out, "}}");
}

static void put_timestamp(struct buffer *out, uint64_t value)
{
    char text[64];
    snprintf(text, sizeof text, "{\"$timestamp\":{\"t\":%" PRIu32 ",\"i\":%" PRIu32 "}}", (uint32_t)(value >> 32), (uint32_t)value);
    put(out, text);
}

static void put_db_pointer(struct buffer *out, struct bytes value)
{
    put(out, "{\"$dbPointer\":{\"$ref\":");
    put_string(out, bytes_of(value.data + 4, value.len - 4 - 1 - 12));
    put(out, ",\"$id\":");
    put_oid(out, value.data + value.len - 12);
    put(out, "}}");
}

/* {"wrapper": string */
static void put_wrapped_string(struct buffer *out, const char *wrapper, struct bytes text)
{
    put(out, "{\"");
    put(out, wrapper);
    put(out, "\":");
    put_string(out, text);
}

/* Everything but what has fields inside. */
static void put_scalar(struct buffer *out, const struct element *e, enum ejson_style style)
{
    switch (e->type) {
    case BSON_TYPE_DOUBLE:
        put_double(out, element_double(e), style);
        break;
    case BSON_TYPE_UTF8:
        put_string(out, element_string(e));
        break;
    case BSON_TYPE_BINARY:
        put_binary(out, e->value);
        break;
    case BSON_TYPE_UNDEFINED:
        put(out, "{\"$undefined\":true}");
        break;
    case BSON_TYPE_OID:
        put_oid(out, e->value.data);
        break;
    case BSON_TYPE_BOOL:
        put(out, *e->value.data ? "true" : "false");
        break;
    case BSON_TYPE_DATE_TIME:
        put_date(out, element_int64(e), style);
        break;
    case BSON_TYPE_NULL:
        put(out, "null");
        break;
    case BSON_TYPE_REGEX:
        put_regex(out, (const char *)e->value.data);
        break;
    case BSON_TYPE_DBPOINTER:
        put_db_pointer(out, e->value);
        break;
    case BSON_TYPE_CODE:
        put_wrapped_string(out, "$code", element_string(e));
        put(out, "}");
        break;
    case BSON_TYPE_SYMBOL:
        put_wrapped_string(out, "$symbol", element_string(e));
        put(out, "}");
        break;
    case BSON_TYPE_INT32:
        put_integer(out, element_int32(e), "$numberInt", style == EJSON_CANONICAL);
        break;
    case BSON_TYPE_INT64: {
        int64_t value = element_int64(e);
        /* a plain number that an int32 can hold would be read as one */
        put_integer(out, value, "$numberLong", style == EJSON_CANONICAL || (value >= INT32_MIN && value <= INT32_MAX));
        break;
    }
    case BSON_TYPE_TIMESTAMP:
        put_timestamp(out, get_u64(e->value.data));
        break;
    case BSON_TYPE_DECIMAL128:
        put_decimal(out, e->value.data);
        break;
    case BSON_TYPE_MAXKEY:
        put(out, "{\"$maxKey\":1}");
        break;
    default:
        put(out, "{\"$minKey\":1}");
        break;
    }
}

struct frame {
    struct element_reader reader;
    const char *close;
    bool named;
    bool first;
};

bool ejson_format(struct bytes document, enum ejson_style style, struct buffer *out, struct error *err)
{
    if (!bson_check(document, err))
        return false;
    struct frame frames[MAX_NESTING];
    unsigned depth = 1;
    size_t start = out->len;
    frames[0] = (struct frame) { .close = "}", .named = true, .first = true };
    element_reader_init(&frames[0].reader, document);
    put(out, "{");
    while (depth > 0 && !out->failed) {
        struct frame *frame = &frames[depth - 1];
        struct element e;
        if (!element_next(&frame->reader, &e)) {
            put(out, frame->close);
            depth--;
            continue;
        }
        put(out, frame->first ? "" : ",");
        frame->first = false;
        if (frame->named) {
            put_string(out, bytes_of(e.name, e.name_len));
            put(out, ":");
        }
        struct frame inner = { .close = "}", .named = true, .first = true };
        struct bytes fields = e.value;
        if (e.type == BSON_TYPE_CODEWSCOPE) {
            size_t code = get_u32(e.value.data + 4);
            put_wrapped_string(out, "$code", bytes_of(e.value.data + 8, code - 1));
            put(out, ",\"$scope\":{");
            inner.close = "}}";
            fields = bytes_of(e.value.data + 8 + code, e.value.len - 8 - code);
        } else if (e.type == BSON_TYPE_DOCUMENT) {
            put(out, "{");
        } else if (e.type == BSON_TYPE_ARRAY) {
            put(out, "[");
            inner.close = "]";
            inner.named = false;
        } else {
            put_scalar(out, &e, style);
            continue;
        }
        element_reader_init(&inner.reader, fields);
        frames[depth++] = inner; /* bson_check has bounded the depth */
    }
    if (out->failed) {
        out->len = start;
        return error_set(err, ERROR_RESOURCE_EXHAUSTED, "no memory for Extended JSON");
    }
    return true;
}
