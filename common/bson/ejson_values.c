/* The values of Extended JSON v2 that have no fields: JSON's own, and the type wrappers. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>

#include "common/bson/base64.h"
#include "common/bson/ejson_internal.h"
#include "common/bson/iso_date.h"

static void put_value(struct ejson_parser *parser, uint8_t type, const void *data, size_t len)
{
    builder_value(&parser->builder, type, bytes_of(data, len));
}

static void put_int64(struct ejson_parser *parser, uint8_t type, int64_t value)
{
    uint8_t bytes[8];
    put_u64(bytes, (uint64_t)value);
    put_value(parser, type, bytes, 8);
}

static void put_int32(struct ejson_parser *parser, int32_t value)
{
    uint8_t bytes[4];
    put_u32(bytes, (uint32_t)value);
    put_value(parser, BSON_TYPE_INT32, bytes, 4);
}

static void put_double(struct ejson_parser *parser, double value)
{
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    put_int64(parser, BSON_TYPE_DOUBLE, (int64_t)bits);
}

/* With its length in front and a NUL behind. */
static void put_string_raw(struct ejson_parser *parser, struct bytes text)
{
    uint8_t len[4];
    /* a longer one fails in the builder */
    put_u32(len, (uint32_t)(text.len + 1));
    builder_raw(&parser->builder, len, 4);
    builder_raw(&parser->builder, text.data, text.len);
    builder_raw(&parser->builder, "", 1);
}

static void put_string(struct ejson_parser *parser, uint8_t type, struct bytes text)
{
    put_value(parser, type, NULL, 0);
    put_string_raw(parser, text);
}

/* A C string of the text; NULL when it has a NUL inside or memory is out. Lives in the scratch buffer. */
static const char *text_to_cstring(struct ejson_parser *parser)
{
    struct bytes text = parser->json.text;
    if (text.len && memchr(text.data, 0, text.len))
        return NULL;
    buffer_clear(&parser->scratch);
    buffer_append(&parser->scratch, text.data, text.len);
    buffer_append_u8(&parser->scratch, 0);
    return parser->scratch.failed ? NULL : (const char *)parser->scratch.data;
}

/* -?digits within [min, max] */
static bool parse_whole(struct bytes text, int64_t min, int64_t max, int64_t *out)
{
    bool negative = text.len > 0 && text.data[0] == '-';
    size_t at = negative;
    if (at == text.len)
        return false;
    int64_t value = 0; /* below zero all the way: there is one more number there */
    for (; at < text.len; at++) {
        if (text.data[at] < '0' || text.data[at] > '9' || __builtin_mul_overflow(value, 10, &value) ||
            __builtin_sub_overflow(value, text.data[at] - '0', &value))
            return false;
    }
    if (!negative && __builtin_sub_overflow((int64_t)0, value, &value))
        return false;
    if (value < min || value > max)
        return false;
    *out = value;
    return true;
}

/* A JSON number, in the text. False when it is beyond what a double can hold. */
static bool parse_double(struct ejson_parser *parser, double *out)
{
    const char *text = text_to_cstring(parser);
    char *end;
    if (!text)
        return false;
    errno = 0;
    *out = strtod(text, &end);
    return *end == '\0' && isfinite(*out);
}

static bool parse_number(struct ejson_parser *parser, struct error *err)
{
    struct bytes text = parser->json.text;
    bool whole = !memchr(text.data, '.', text.len) && !memchr(text.data, 'e', text.len) && !memchr(text.data, 'E', text.len);
    int64_t value;
    if (whole && parse_whole(text, INT64_MIN, INT64_MAX, &value)) {
        if (value >= INT32_MIN && value <= INT32_MAX)
            put_int32(parser, (int32_t)value);
        else
            put_int64(parser, BSON_TYPE_INT64, value);
        return true;
    }
    double number;
    if (!parse_double(parser, &number))
        return ejson_refuse(parser, "a number beyond the range of a double", err);
    put_double(parser, number);
    return true;
}

static bool parse_oid_text(struct ejson_parser *parser, uint8_t oid[12], struct error *err)
{
    if (!ejson_expect(parser, JSON_STRING, "expected the 24 hex digits of an ObjectId", err))
        return false;
    const char *text = text_to_cstring(parser);
    if (!text || parser->json.text.len != 24 || !bson_oid_is_valid(text, 24))
        return ejson_refuse(parser, "expected the 24 hex digits of an ObjectId", err);
    bson_oid_t id;
    bson_oid_init_from_string(&id, text);
    memcpy(oid, id.bytes, 12);
    return true;
}

static bool parse_oid(struct ejson_parser *parser, struct error *err)
{
    uint8_t oid[12];
    if (!parse_oid_text(parser, oid, err))
        return false;
    put_value(parser, BSON_TYPE_OID, oid, 12);
    return true;
}

static bool parse_symbol(struct ejson_parser *parser, struct error *err)
{
    if (!ejson_expect(parser, JSON_STRING, "expected a string behind \"$symbol\"", err))
        return false;
    put_string(parser, BSON_TYPE_SYMBOL, parser->json.text);
    return true;
}

static bool parse_number_int(struct ejson_parser *parser, struct error *err)
{
    int64_t value;
    if (!ejson_expect(parser, JSON_STRING, "expected a string behind \"$numberInt\"", err))
        return false;
    if (!parse_whole(parser->json.text, INT32_MIN, INT32_MAX, &value))
        return ejson_refuse(parser, "no 32-bit integer", err);
    put_int32(parser, (int32_t)value);
    return true;
}

static bool parse_number_long(struct ejson_parser *parser, struct error *err)
{
    int64_t value;
    if (!ejson_expect(parser, JSON_STRING, "expected a string behind \"$numberLong\"", err))
        return false;
    if (!parse_whole(parser->json.text, INT64_MIN, INT64_MAX, &value))
        return ejson_refuse(parser, "no 64-bit integer", err);
    put_int64(parser, BSON_TYPE_INT64, value);
    return true;
}

static bool parse_number_double(struct ejson_parser *parser, struct error *err)
{
    static const struct {
        const char *text;
        double value;
    } specials[] = { { "NaN", NAN }, { "Infinity", INFINITY }, { "-Infinity", -INFINITY } };
    if (!ejson_expect(parser, JSON_STRING, "expected a string behind \"$numberDouble\"", err))
        return false;
    for (size_t i = 0; i < ARRAY_LEN(specials); i++) {
        if (ejson_text_is(parser, specials[i].text)) {
            put_double(parser, specials[i].value);
            return true;
        }
    }
    /* strtod takes more than numbers: spaces, hexadecimal, "inf" */
    struct bytes text = parser->json.text;
    bool plain = text.len > 0;
    for (size_t i = 0; i < text.len; i++)
        plain = plain && text.data[i] && strchr("0123456789+-.eE", text.data[i]);
    double value;
    if (!plain || !parse_double(parser, &value))
        return ejson_refuse(parser, "no double", err);
    put_double(parser, value);
    return true;
}

static bool parse_number_decimal(struct ejson_parser *parser, struct error *err)
{
    if (!ejson_expect(parser, JSON_STRING, "expected a string behind \"$numberDecimal\"", err))
        return false;
    const char *text = text_to_cstring(parser);
    bson_decimal128_t decimal;
    if (!text || !bson_decimal128_from_string(text, &decimal))
        return ejson_refuse(parser, "no decimal128, or one that would be rounded", err);
    uint8_t bytes[16];
    put_u64(bytes, decimal.low);
    put_u64(bytes + 8, decimal.high);
    put_value(parser, BSON_TYPE_DECIMAL128, bytes, 16);
    return true;
}

static void put_binary(struct ejson_parser *parser, uint8_t subtype, struct bytes data)
{
    bool old = subtype == BSON_SUBTYPE_BINARY_DEPRECATED;
    uint8_t head[9];
    put_u32(head, (uint32_t)(data.len + (old ? 4 : 0)));
    head[4] = subtype;
    put_u32(head + 5, (uint32_t)data.len);
    put_value(parser, BSON_TYPE_BINARY, head, old ? 9 : 5);
    builder_raw(&parser->builder, data.data, data.len);
}

/* One or two hex digits. */
static bool parse_subtype(struct bytes text, uint8_t *subtype)
{
    unsigned value = 0;
    if (text.len < 1 || text.len > 2)
        return false;
    for (size_t i = 0; i < text.len; i++) {
        const char *digits = "0123456789abcdef";
        const char *digit =
            text.data[i] ? strchr(digits, text.data[i] >= 'A' && text.data[i] <= 'F' ? text.data[i] + 32 : text.data[i]) : NULL;
        if (!digit)
            return false;
        value = value * 16 + (unsigned)(digit - digits);
    }
    *subtype = (uint8_t)value;
    return true;
}

static bool parse_binary(struct ejson_parser *parser, struct error *err)
{
    bool have_data = false, have_subtype = false;
    uint8_t subtype = 0;
    buffer_clear(&parser->scratch);
    if (!ejson_expect(parser, JSON_OBJECT_BEGIN, "expected {\"base64\": ..., \"subType\": ...} behind \"$binary\"", err))
        return false;
    for (int i = 0; i < 2; i++) {
        if (!ejson_expect(parser, JSON_NAME, "expected \"base64\" and \"subType\"", err))
            return false;
        bool is_data = ejson_text_is(parser, "base64"), is_subtype = ejson_text_is(parser, "subType");
        if ((!is_data && !is_subtype) || (is_data && have_data) || (is_subtype && have_subtype))
            return ejson_refuse(parser, "expected \"base64\" and \"subType\"", err);
        if (!ejson_expect(parser, JSON_STRING, "expected a string", err))
            return false;
        if (is_data && !base64_decode(parser->json.text, &parser->scratch))
            return ejson_refuse(parser, "no Base64", err);
        if (is_subtype && !parse_subtype(parser->json.text, &subtype))
            return ejson_refuse(parser, "a subtype is one or two hex digits", err);
        have_data |= is_data;
        have_subtype |= is_subtype;
    }
    if (parser->scratch.failed)
        return error_set(err, ERROR_RESOURCE_EXHAUSTED, "no memory for binary data");
    put_binary(parser, subtype, buffer_bytes(&parser->scratch));
    return ejson_expect(parser, JSON_OBJECT_END, "expected '}'", err);
}

static bool parse_uuid(struct ejson_parser *parser, struct error *err)
{
    static const char *const what = "expected a UUID like c8edabc3-f738-4ca3-b68d-ab92a91478a3";
    if (!ejson_expect(parser, JSON_STRING, what, err))
        return false;
    struct bytes text = parser->json.text;
    uint8_t uuid[16];
    size_t at = 0;
    for (size_t i = 0; i < 16; i++) {
        if ((i == 4 || i == 6 || i == 8 || i == 10) && (at >= text.len || text.data[at++] != '-'))
            return ejson_refuse(parser, what, err);
        if (at + 2 > text.len || !parse_subtype(bytes_of(text.data + at, 2), &uuid[i]))
            return ejson_refuse(parser, what, err);
        at += 2;
    }
    if (at != text.len)
        return ejson_refuse(parser, what, err);
    put_binary(parser, BSON_SUBTYPE_UUID, bytes_of(uuid, 16));
    return true;
}

static bool parse_timestamp(struct ejson_parser *parser, struct error *err)
{
    static const char *const what = "expected {\"t\": seconds, \"i\": increment}, both whole numbers of 32 bits";
    bool have_t = false, have_i = false;
    uint64_t t = 0, increment = 0;
    if (!ejson_expect(parser, JSON_OBJECT_BEGIN, what, err))
        return false;
    for (int i = 0; i < 2; i++) {
        if (!ejson_expect(parser, JSON_NAME, what, err))
            return false;
        bool is_t = ejson_text_is(parser, "t"), is_i = ejson_text_is(parser, "i");
        int64_t value;
        if ((!is_t && !is_i) || (is_t && have_t) || (is_i && have_i))
            return ejson_refuse(parser, what, err);
        if (!ejson_expect(parser, JSON_NUMBER, what, err))
            return false;
        if (!parse_whole(parser->json.text, 0, UINT32_MAX, &value))
            return ejson_refuse(parser, what, err);
        *(is_t ? &t : &increment) = (uint64_t)value;
        have_t |= is_t;
        have_i |= is_i;
    }
    put_int64(parser, BSON_TYPE_TIMESTAMP, (int64_t)(t << 32 | increment));
    return ejson_expect(parser, JSON_OBJECT_END, what, err);
}

static bool parse_regular_expression(struct ejson_parser *parser, struct error *err)
{
    static const char *const what = "expected {\"pattern\": ..., \"options\": ...}, strings without NUL";
    bool have_pattern = false, have_options = false;
    if (!ejson_expect(parser, JSON_OBJECT_BEGIN, what, err))
        return false;
    put_value(parser, BSON_TYPE_REGEX, NULL, 0);
    size_t start = builder_offset(&parser->builder);
    for (int i = 0; i < 2; i++) {
        if (!ejson_expect(parser, JSON_NAME, what, err))
            return false;
        bool is_pattern = ejson_text_is(parser, "pattern"), is_options = ejson_text_is(parser, "options");
        if ((!is_pattern && !is_options) || (is_pattern && have_pattern) || (is_options && have_options))
            return ejson_refuse(parser, what, err);
        if (!ejson_expect(parser, JSON_STRING, what, err))
            return false;
        const char *text = text_to_cstring(parser);
        if (!text)
            return ejson_refuse(parser, what, err);
        builder_insert(&parser->builder, is_pattern ? start : builder_offset(&parser->builder), text, parser->scratch.len);
        have_pattern |= is_pattern;
        have_options |= is_options;
    }
    return ejson_expect(parser, JSON_OBJECT_END, what, err);
}

static bool parse_db_pointer(struct ejson_parser *parser, struct error *err)
{
    static const char *const what = "expected {\"$ref\": namespace, \"$id\": ObjectId}";
    bool have_ref = false, have_id = false;
    uint8_t oid[12];
    buffer_clear(&parser->scratch);
    struct buffer ref = { 0 };
    bool ok = ejson_expect(parser, JSON_OBJECT_BEGIN, what, err);
    for (int i = 0; ok && i < 2; i++) {
        ok = ejson_expect(parser, JSON_NAME, what, err);
        if (ok && ejson_text_is(parser, "$ref") && !have_ref) {
            have_ref = true;
            ok = ejson_expect(parser, JSON_STRING, what, err);
            if (ok)
                buffer_append(&ref, parser->json.text.data, parser->json.text.len);
        } else if (ok && ejson_text_is(parser, "$id") && !have_id) {
            have_id = true;
            ok = ejson_expect(parser, JSON_OBJECT_BEGIN, what, err) && ejson_expect_name(parser, "$oid", err) &&
                 parse_oid_text(parser, oid, err) && ejson_expect(parser, JSON_OBJECT_END, what, err);
        } else if (ok) {
            ok = ejson_refuse(parser, what, err);
        }
    }
    if (ok && ref.failed)
        ok = error_set(err, ERROR_RESOURCE_EXHAUSTED, "no memory for a string");
    if (ok) {
        put_string(parser, BSON_TYPE_DBPOINTER, buffer_bytes(&ref));
        builder_raw(&parser->builder, oid, 12);
        ok = ejson_expect(parser, JSON_OBJECT_END, what, err);
    }
    buffer_destroy(&ref);
    return ok;
}

static bool parse_date(struct ejson_parser *parser, struct error *err)
{
    int64_t millis;
    if (!ejson_next(parser, err))
        return false;
    if (parser->token == JSON_STRING) {
        const char *wrong = iso_date_parse(parser->json.text, &millis);
        if (wrong)
            return ejson_refuse(parser, wrong, err);
    } else if (parser->token == JSON_OBJECT_BEGIN) {
        if (!ejson_expect_name(parser, "$numberLong", err) || !ejson_expect(parser, JSON_STRING, "expected milliseconds in a string", err))
            return false;
        if (!parse_whole(parser->json.text, INT64_MIN, INT64_MAX, &millis))
            return ejson_refuse(parser, "no 64-bit integer", err);
        if (!ejson_expect(parser, JSON_OBJECT_END, "expected '}'", err))
            return false;
    } else {
        return ejson_refuse(parser, "expected a date as text or {\"$numberLong\": milliseconds}", err);
    }
    put_int64(parser, BSON_TYPE_DATE_TIME, millis);
    return true;
}

static bool parse_key(struct ejson_parser *parser, uint8_t type, struct error *err)
{
    if (!ejson_expect(parser, JSON_NUMBER, "expected 1", err))
        return false;
    if (!ejson_text_is(parser, "1"))
        return ejson_refuse(parser, "expected 1", err);
    put_value(parser, type, NULL, 0);
    return true;
}

static bool parse_min_key(struct ejson_parser *parser, struct error *err)
{
    return parse_key(parser, (uint8_t)BSON_TYPE_MINKEY, err);
}

static bool parse_max_key(struct ejson_parser *parser, struct error *err)
{
    return parse_key(parser, BSON_TYPE_MAXKEY, err);
}

static bool parse_undefined(struct ejson_parser *parser, struct error *err)
{
    if (!ejson_expect(parser, JSON_TRUE, "expected true behind \"$undefined\"", err))
        return false;
    put_value(parser, BSON_TYPE_UNDEFINED, NULL, 0);
    return true;
}

static bool parse_code(struct ejson_parser *parser, struct error *err)
{
    size_t type_at = parser->builder.type_at;
    if (!ejson_expect(parser, JSON_STRING, "expected a string behind \"$code\"", err))
        return false;
    put_value(parser, BSON_TYPE_CODE, NULL, 0);
    size_t value_at = builder_offset(&parser->builder);
    put_string_raw(parser, parser->json.text);
    if (!ejson_next(parser, err))
        return false;
    if (parser->token == JSON_OBJECT_END)
        return true;
    if (parser->token != JSON_NAME || !ejson_text_is(parser, "$scope"))
        return ejson_refuse(parser, "expected '}' or the key \"$scope\"", err);
    builder_insert(&parser->builder, value_at, "\0\0\0\0", 4);
    return ejson_open_scope(parser, type_at, value_at, true, err);
}

static bool parse_scope(struct ejson_parser *parser, struct error *err)
{
    size_t type_at = parser->builder.type_at, value_at = builder_offset(&parser->builder);
    builder_raw(&parser->builder, "\0\0\0\0", 4);
    return ejson_open_scope(parser, type_at, value_at, false, err);
}

static const struct ejson_wrapper wrappers[] = {
    { .key = "$oid", .parse = parse_oid },
    { .key = "$symbol", .parse = parse_symbol },
    { .key = "$numberInt", .parse = parse_number_int },
    { .key = "$numberLong", .parse = parse_number_long },
    { .key = "$numberDouble", .parse = parse_number_double },
    { .key = "$numberDecimal", .parse = parse_number_decimal },
    { .key = "$binary", .parse = parse_binary },
    { .key = "$uuid", .parse = parse_uuid },
    { .key = "$code", .parse = parse_code, .reads_end = true },
    { .key = "$scope", .parse = parse_scope, .reads_end = true },
    { .key = "$timestamp", .parse = parse_timestamp },
    { .key = "$regularExpression", .parse = parse_regular_expression },
    { .key = "$dbPointer", .parse = parse_db_pointer },
    { .key = "$date", .parse = parse_date },
    { .key = "$minKey", .parse = parse_min_key },
    { .key = "$maxKey", .parse = parse_max_key },
    { .key = "$undefined", .parse = parse_undefined },
};

const struct ejson_wrapper *ejson_find_wrapper(struct bytes key)
{
    if (key.len == 0 || key.data[0] != '$')
        return NULL;
    for (size_t i = 0; i < ARRAY_LEN(wrappers); i++) {
        if (bytes_equal(key, bytes_of_string(wrappers[i].key)))
            return &wrappers[i];
    }
    return NULL;
}

bool ejson_parse_scalar(struct ejson_parser *parser, struct error *err)
{
    switch (parser->token) {
    case JSON_STRING:
        put_string(parser, BSON_TYPE_UTF8, parser->json.text);
        return true;
    case JSON_NUMBER:
        return parse_number(parser, err);
    case JSON_TRUE:
    case JSON_FALSE:
        put_value(parser, BSON_TYPE_BOOL, parser->token == JSON_TRUE ? "\1" : "\0", 1);
        return true;
    case JSON_NULL:
        put_value(parser, BSON_TYPE_NULL, NULL, 0);
        return true;
    default:
        return ejson_refuse(parser, "expected a value", err);
    }
}
