#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <math.h>

#include "common/base/limits.h"
#include "common/bson/bson_check.h"
#include "common/bson/iso_date.h"
#include "tests/support/bson_support.h"
#include "tests/support/random_values.h"

/* The type of "a". */
static bson_type_t type_of(const char *text)
{
    bson_iter_t iter;
    bson_t *document = bson_of_text(text);
    assert_true(bson_iter_init_find(&iter, document, "a"));
    bson_type_t type = bson_iter_type(&iter);
    bson_destroy(document);
    return type;
}

/* The text comes out as it went in. */
static void comes_back(const char *text, enum ejson_style style)
{
    bson_t *document = bson_of_text(text);
    char *formatted = text_of_bytes(bytes_of_bson(document), style);
    assert_string_equal(formatted, text);
    free(formatted);
    bson_destroy(document);
}

static void numbers_get_the_smallest_type(void **state)
{
    (void)state;
    assert_int_equal(type_of("{\"a\":2147483647}"), BSON_TYPE_INT32);
    assert_int_equal(type_of("{\"a\":-2147483648}"), BSON_TYPE_INT32);
    assert_int_equal(type_of("{\"a\":2147483648}"), BSON_TYPE_INT64);
    assert_int_equal(type_of("{\"a\":9223372036854775807}"), BSON_TYPE_INT64);
    assert_int_equal(type_of("{\"a\":-9223372036854775808}"), BSON_TYPE_INT64);
    assert_int_equal(type_of("{\"a\":9223372036854775808}"), BSON_TYPE_DOUBLE);
    assert_int_equal(type_of("{\"a\":-9223372036854775809}"), BSON_TYPE_DOUBLE);
    assert_int_equal(type_of("{\"a\":1.0}"), BSON_TYPE_DOUBLE);
    assert_int_equal(type_of("{\"a\":1e2}"), BSON_TYPE_DOUBLE);
    assert_int_equal(type_of("{\"a\":1E2}"), BSON_TYPE_DOUBLE);
    assert_int_equal(type_of("{\"a\":-0.0}"), BSON_TYPE_DOUBLE);
    assert_int_equal(type_of("{\"a\":{\"$numberInt\":\"1\"}}"), BSON_TYPE_INT32);
    assert_int_equal(type_of("{\"a\":{\"$numberLong\":\"1\"}}"), BSON_TYPE_INT64);
    assert_int_equal(type_of("{\"a\":{\"$numberDouble\":\"1\"}}"), BSON_TYPE_DOUBLE);
    assert_int_equal(type_of("{\"a\":{\"$numberDouble\":\"-Infinity\"}}"), BSON_TYPE_DOUBLE);
    assert_int_equal(type_of("{\"a\":{\"$numberDecimal\":\"1\"}}"), BSON_TYPE_DECIMAL128);
}

static void query_operators_stay_documents(void **state)
{
    (void)state;
    comes_back("{\"a\":{\"$regex\":\"^a\",\"$options\":\"i\",\"$ne\":\"ab\"}}", EJSON_RELAXED);
    comes_back("{\"a\":{\"$regex\":\"^a\"}}", EJSON_RELAXED);
    comes_back("{\"a\":{\"$type\":\"int\"}}", EJSON_RELAXED);
    comes_back("{\"$and\":[{\"a\":1},{\"$or\":[]}]}", EJSON_RELAXED);
    comes_back("{\"a\":{\"$ref\":\"c\",\"$id\":1,\"$db\":\"d\"}}", EJSON_RELAXED);
    assert_int_equal(type_of("{\"a\":{\"$regularExpression\":{\"pattern\":\"^a\",\"options\":\"i\"}}}"), BSON_TYPE_REGEX);
}

static void both_styles_of_every_type(void **state)
{
    (void)state;
    static const struct {
        const char *relaxed, *canonical;
    } cases[] = {
        { "1", "{\"$numberInt\":\"1\"}" },
        { "{\"$numberLong\":\"1\"}", "{\"$numberLong\":\"1\"}" },
        { "2147483648", "{\"$numberLong\":\"2147483648\"}" },
        { "-9223372036854775808", "{\"$numberLong\":\"-9223372036854775808\"}" },
        { "1.5", "{\"$numberDouble\":\"1.5\"}" },
        { "1.0", "{\"$numberDouble\":\"1.0\"}" },
        { "-0.0", "{\"$numberDouble\":\"-0.0\"}" },
        { "0.1", "{\"$numberDouble\":\"0.1\"}" },
        { "0.30000000000000004", "{\"$numberDouble\":\"0.30000000000000004\"}" },
        { "1e+100", "{\"$numberDouble\":\"1e+100\"}" },
        { "5e-324", "{\"$numberDouble\":\"5e-324\"}" },
        { "1.7976931348623157e+308", "{\"$numberDouble\":\"1.7976931348623157e+308\"}" },
        { "{\"$numberDouble\":\"NaN\"}", "{\"$numberDouble\":\"NaN\"}" },
        { "{\"$numberDouble\":\"-Infinity\"}", "{\"$numberDouble\":\"-Infinity\"}" },
        { "{\"$numberDecimal\":\"1.50\"}", "{\"$numberDecimal\":\"1.50\"}" },
        { "\"\\\"\\\\/\\b\\f\\n\\r\\t\\u0000\\u001f\x7f\xc3\xa4\xf0\x9f\x98\x80\"",
          "\"\\\"\\\\/\\b\\f\\n\\r\\t\\u0000\\u001f\x7f\xc3\xa4\xf0\x9f\x98\x80\"" },
        { "{}", "{}" },
        { "[]", "[]" },
        { "[1,[{}]]", "[{\"$numberInt\":\"1\"},[{}]]" },
        { "true", "true" },
        { "false", "false" },
        { "null", "null" },
        { "{\"$oid\":\"0102030405060708090a0b0c\"}", "{\"$oid\":\"0102030405060708090a0b0c\"}" },
        { "{\"$date\":\"1970-01-01T00:00:00Z\"}", "{\"$date\":{\"$numberLong\":\"0\"}}" },
        { "{\"$date\":\"2012-12-24T12:15:30.501Z\"}", "{\"$date\":{\"$numberLong\":\"1356351330501\"}}" },
        { "{\"$date\":\"9999-12-31T23:59:59.999Z\"}", "{\"$date\":{\"$numberLong\":\"253402300799999\"}}" },
        { "{\"$date\":{\"$numberLong\":\"253402300800000\"}}", "{\"$date\":{\"$numberLong\":\"253402300800000\"}}" },
        { "{\"$date\":{\"$numberLong\":\"-1\"}}", "{\"$date\":{\"$numberLong\":\"-1\"}}" },
        { "{\"$binary\":{\"base64\":\"AQID\",\"subType\":\"00\"}}", "{\"$binary\":{\"base64\":\"AQID\",\"subType\":\"00\"}}" },
        { "{\"$binary\":{\"base64\":\"//8=\",\"subType\":\"02\"}}", "{\"$binary\":{\"base64\":\"//8=\",\"subType\":\"02\"}}" },
        { "{\"$binary\":{\"base64\":\"\",\"subType\":\"ff\"}}", "{\"$binary\":{\"base64\":\"\",\"subType\":\"ff\"}}" },
        { "{\"$timestamp\":{\"t\":4294967295,\"i\":4294967295}}", "{\"$timestamp\":{\"t\":4294967295,\"i\":4294967295}}" },
        { "{\"$regularExpression\":{\"pattern\":\"a/\\\"b\",\"options\":\"ix\"}}",
          "{\"$regularExpression\":{\"pattern\":\"a/\\\"b\",\"options\":\"ix\"}}" },
        { "{\"$code\":\"f\"}", "{\"$code\":\"f\"}" },
        { "{\"$code\":\"f\",\"$scope\":{\"x\":1,\"y\":{\"z\":[]}}}",
          "{\"$code\":\"f\",\"$scope\":{\"x\":{\"$numberInt\":\"1\"},\"y\":{\"z\":[]}}}" },
        { "{\"$symbol\":\"s\"}", "{\"$symbol\":\"s\"}" },
        { "{\"$undefined\":true}", "{\"$undefined\":true}" },
        { "{\"$minKey\":1}", "{\"$minKey\":1}" },
        { "{\"$maxKey\":1}", "{\"$maxKey\":1}" },
        { "{\"$dbPointer\":{\"$ref\":\"d.c\",\"$id\":{\"$oid\":\"0102030405060708090a0b0c\"}}}",
          "{\"$dbPointer\":{\"$ref\":\"d.c\",\"$id\":{\"$oid\":\"0102030405060708090a0b0c\"}}}" },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char relaxed[512], canonical[512];
        snprintf(relaxed, sizeof relaxed, "{\"before\":\"x\",\"a\":%s,\"after\":\"y\"}", cases[i].relaxed);
        snprintf(canonical, sizeof canonical, "{\"before\":\"x\",\"a\":%s,\"after\":\"y\"}", cases[i].canonical);
        comes_back(relaxed, EJSON_RELAXED);
        comes_back(canonical, EJSON_CANONICAL);
        bson_t *a = bson_of_text(relaxed), *b = bson_of_text(canonical);
        assert_bson_equal(bytes_of_bson(a), bytes_of_bson(b), relaxed);
        bson_destroy(a);
        bson_destroy(b);
    }
}

/* Different texts of one document. */
static void other_spellings(void **state)
{
    (void)state;
    static const char *const pairs[][2] = {
        { " \t\r\n{ \"a\" : [ 1 , 2 ] } \n", "{\"a\":[1,2]}" },
        { "{\"a\":\"\\u00e4\\ud83d\\ude00\\/\"}", "{\"a\":\"\xc3\xa4\xf0\x9f\x98\x80/\"}" },
        { "{\"\\u0061\":1}", "{\"a\":1}" },
        { "{\"a\":{\"$date\":\"2012-12-24T13:15:30.5+01:00\"}}", "{\"a\":{\"$date\":{\"$numberLong\":\"1356351330500\"}}}" },
        { "{\"a\":{\"$date\":\"2012-12-24T04:45:30.500000-0730\"}}", "{\"a\":{\"$date\":{\"$numberLong\":\"1356351330500\"}}}" },
        { "{\"a\":{\"$date\":\"1969-12-31T23:59:59.999Z\"}}", "{\"a\":{\"$date\":{\"$numberLong\":\"-1\"}}}" },
        { "{\"a\":{\"$date\":\"0000-02-29T00:00:00Z\"}}", "{\"a\":{\"$date\":{\"$numberLong\":\"-62162121600000\"}}}" },
        { "{\"a\":{\"$scope\":{\"x\":{\"y\":1}},\"$code\":\"f\"}}", "{\"a\":{\"$code\":\"f\",\"$scope\":{\"x\":{\"y\":1}}}}" },
        { "{\"a\":{\"$scope\":{\"x\":{\"$scope\":{},\"$code\":\"g\"}},\"$code\":\"f\"},\"b\":1}",
          "{\"a\":{\"$code\":\"f\",\"$scope\":{\"x\":{\"$code\":\"g\",\"$scope\":{}}}},\"b\":1}" },
        { "{\"a\":{\"$binary\":{\"subType\":\"5\",\"base64\":\"AQ==\"}}}",
          "{\"a\":{\"$binary\":{\"base64\":\"AQ==\",\"subType\":\"05\"}}}" },
        { "{\"a\":{\"$timestamp\":{\"i\":2,\"t\":1}}}", "{\"a\":{\"$timestamp\":{\"t\":1,\"i\":2}}}" },
        { "{\"a\":{\"$regularExpression\":{\"options\":\"i\",\"pattern\":\"x\"}},\"b\":1}",
          "{\"a\":{\"$regularExpression\":{\"pattern\":\"x\",\"options\":\"i\"}},\"b\":1}" },
        { "{\"a\":{\"$dbPointer\":{\"$id\":{\"$oid\":\"0102030405060708090A0B0C\"},\"$ref\":\"c\"}}}",
          "{\"a\":{\"$dbPointer\":{\"$ref\":\"c\",\"$id\":{\"$oid\":\"0102030405060708090a0b0c\"}}}}" },
        { "{\"a\":{\"$uuid\":\"c8edabc3-f738-4ca3-b68d-ab92a91478a3\"}}",
          "{\"a\":{\"$binary\":{\"base64\":\"yO2rw/c4TKO2jauSqRR4ow==\",\"subType\":\"04\"}}}" },
        { "{\"a\":1E2}", "{\"a\":100.0}" },
        { "{\"a\":-0}", "{\"a\":0}" },
        { "{\"a\":1e-400}", "{\"a\":0.0}" },
    };
    for (size_t i = 0; i < ARRAY_LEN(pairs); i++) {
        bson_t *a = bson_of_text(pairs[i][0]), *b = bson_of_text(pairs[i][1]);
        assert_bson_equal(bytes_of_bson(a), bytes_of_bson(b), pairs[i][0]);
        bson_destroy(a);
        bson_destroy(b);
    }
    /* repeated names stay */
    comes_back("{\"a\":1,\"a\":2}", EJSON_RELAXED);
}

static void refuses(struct bytes text)
{
    struct error err;
    bson_t document;
    if (ejson_parse(text, &document, &err))
        fail_msg("accepted: %.*s", (int)text.len, (const char *)text.data);
    assert_int_equal(err.code, ERROR_INVALID_ARGUMENT);
}

static void refuses_what_is_no_json(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "",
        " ",
        "null",
        "1",
        "\"a\"",
        "[]",
        "[{}]",
        "{",
        "}",
        "{}}",
        "{}{}",
        "{} x",
        "{}\n,",
        "{,}",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\":1,}",
        "{\"a\":1 \"b\":2}",
        "{a:1}",
        "{'a':1}",
        "{\"a\":[1,]}",
        "{\"a\":[,1]}",
        "{\"a\":[1 2]}",
        "{\"a\":[1}}",
        "{\"a\":1]",
        "{\"a\":01}",
        "{\"a\":+1}",
        "{\"a\":1.}",
        "{\"a\":.5}",
        "{\"a\":1e}",
        "{\"a\":1e+}",
        "{\"a\":-}",
        "{\"a\":0x10}",
        "{\"a\":NaN}",
        "{\"a\":Infinity}",
        "{\"a\":tru}",
        "{\"a\":truex}",
        "{\"a\":nul}",
        "{\"a\":\"x}",
        "{\"a\":\"\\x\"}",
        "{\"a\":\"\\u12\"}",
        "{\"a\":\"\\u12g4\"}",
        "{\"a\":\"\\ud800\"}",
        "{\"a\":\"\\udc00\"}",
        "{\"a\":\"\\ud800\\u0041\"}",
        "{\"a\":\"\\ud800x\"}",
        "{\"a\":\"\t\"}",
        "{\"a\":\"\x80\"}",
        "{\"a\":\"\xc0\x80\"}",
        "{\"\xff\":1}",
        "{\"a\\u0000b\":1}",
        "{1:2}",
        "{\"a\":1e999}",
        "{\"a\":-1e999}",
        "// c\n{}",
        "\xef\xbb\xbf{}",
        "{\"a\":\"\\",
        "{\"a\":\"\\u",
        "{\"a\":\"\\ud800\\",
        "{\"a\":\"\\ud800\\u",
        "{\"a\"",
        "{\"a\":1,",
        "{\"a\":[",
        "{\"a\":{",
    };
    for (size_t i = 0; i < ARRAY_LEN(texts); i++) {
        /* a copy of just that length: a read behind it is seen */
        size_t len = strlen(texts[i]);
        char *copy = malloc(len ? len : 1);
        memcpy(copy, texts[i], len);
        refuses(bytes_of(copy, len));
        free(copy);
    }
    refuses(bytes_of("{\"a\":\"\0\"}", 9));
    refuses(bytes_of("{}\0", 3));
}

static void refuses_broken_wrappers(void **state)
{
    (void)state;
    static const char *const values[] = {
        "{\"$oid\":\"0102030405060708090a0b0\"}",
        "{\"$oid\":\"0102030405060708090a0b0g\"}",
        "{\"$oid\":1}",
        "{\"$oid\":\"0102030405060708090a0b0c\",\"x\":1}",
        "{\"x\":1,\"$oid\":\"0102030405060708090a0b0c\"}",
        "{\"$numberInt\":1}",
        "{\"$numberInt\":\"2147483648\"}",
        "{\"$numberInt\":\"1.0\"}",
        "{\"$numberInt\":\"\"}",
        "{\"$numberInt\":\"-\"}",
        "{\"$numberInt\":\" 1\"}",
        "{\"$numberLong\":\"9223372036854775808\"}",
        "{\"$numberLong\":\"-9223372036854775809\"}",
        "{\"$numberLong\":5}",
        "{\"$numberLong\":\"1\",\"$numberLong\":\"1\"}",
        "{\"$numberDouble\":\"\"}",
        "{\"$numberDouble\":\"inf\"}",
        "{\"$numberDouble\":\"0x1p3\"}",
        "{\"$numberDouble\":\"1e999\"}",
        "{\"$numberDouble\":\"1 \"}",
        "{\"$numberDouble\":\"1.5.5\"}",
        "{\"$numberDouble\":1.5}",
        "{\"$numberDecimal\":\"\"}",
        "{\"$numberDecimal\":\"1x\"}",
        "{\"$numberDecimal\":1}",
        "{\"$numberDecimal\":\"1.00000000000000000000000000000000001\"}",
        "{\"$numberDecimal\":\"1E+9999\"}",
        "{\"$binary\":\"AQ==\"}",
        "{\"$binary\":{\"base64\":\"AQ==\"}}",
        "{\"$binary\":{\"base64\":\"AQ=\",\"subType\":\"00\"}}",
        "{\"$binary\":{\"base64\":\"AR==\",\"subType\":\"00\"}}",
        "{\"$binary\":{\"base64\":\"A===\",\"subType\":\"00\"}}",
        "{\"$binary\":{\"base64\":\"AQ==AQ==\",\"subType\":\"00\"}}",
        "{\"$binary\":{\"base64\":\"AQ==\",\"subType\":\"000\"}}",
        "{\"$binary\":{\"base64\":\"AQ==\",\"subType\":\"zz\"}}",
        "{\"$binary\":{\"base64\":\"AQ==\",\"subType\":0}}",
        "{\"$binary\":{\"base64\":\"AQ==\",\"subType\":\"00\",\"x\":1}}",
        "{\"$binary\":\"AQ==\",\"$type\":\"00\"}",
        "{\"$uuid\":\"c8edabc3f7384ca3b68dab92a91478a3\"}",
        "{\"$uuid\":\"c8edabc3-f738-4ca3-b68d-ab92a91478a\"}",
        "{\"$uuid\":\"c8edabc3-f738-4ca3-b68d-ab92a91478a33\"}",
        "{\"$code\":1}",
        "{\"$code\":\"f\",\"$scope\":1}",
        "{\"$code\":\"f\",\"x\":1}",
        "{\"$code\":\"f\",\"$scope\":{},\"x\":1}",
        "{\"$scope\":{}}",
        "{\"$scope\":{},\"x\":1}",
        "{\"$code\":\"f\",\"$scope\":{\"$oid\":\"0102030405060708090a0b0c\"}}",
        "{\"$timestamp\":{\"t\":1}}",
        "{\"$timestamp\":{\"t\":-1,\"i\":1}}",
        "{\"$timestamp\":{\"t\":1,\"i\":4294967296}}",
        "{\"$timestamp\":{\"t\":1,\"t\":1}}",
        "{\"$timestamp\":{\"t\":1.0,\"i\":1}}",
        "{\"$timestamp\":5}",
        "{\"$regularExpression\":{\"pattern\":\"a\"}}",
        "{\"$regularExpression\":\"a\"}",
        "{\"$regularExpression\":{\"pattern\":\"a\\u0000\",\"options\":\"\"}}",
        "{\"$regularExpression\":{\"pattern\":\"a\",\"options\":\"\"},\"x\":1}",
        "{\"$dbPointer\":{\"$ref\":\"c\"}}",
        "{\"$dbPointer\":{\"$ref\":\"c\",\"$id\":\"0102030405060708090a0b0c\"}}",
        "{\"$date\":1}",
        "{\"$date\":\"\"}",
        "{\"$date\":\"2012-12-24\"}",
        "{\"$date\":\"2012-12-24T12:15:30\"}",
        "{\"$date\":\"2012-12-24 12:15:30Z\"}",
        "{\"$date\":\"2012-13-24T12:15:30Z\"}",
        "{\"$date\":\"2011-02-29T12:15:30Z\"}",
        "{\"$date\":\"2012-12-24T24:00:00Z\"}",
        "{\"$date\":\"2012-12-24T12:15:30.Z\"}",
        "{\"$date\":\"2012-12-24T12:15:30.5015Z\"}",
        "{\"$date\":\"2012-12-24T12:15:30Zx\"}",
        "{\"$date\":\"2012-12-24T12:15:30+1:00\"}",
        "{\"$date\":{\"$numberLong\":\"x\"}}",
        "{\"$date\":{\"$numberInt\":\"1\"}}",
        "{\"$date\":{\"$numberLong\":\"1\",\"x\":1}}",
        "{\"$minKey\":true}",
        "{\"$minKey\":2}",
        "{\"$maxKey\":\"1\"}",
        "{\"$undefined\":false}",
        "{\"$undefined\":1}",
        "{\"$symbol\":1}",
        "{\"$symbol\":\"s\",\"x\":1}",
    };
    for (size_t i = 0; i < ARRAY_LEN(values); i++) {
        char text[256];
        snprintf(text, sizeof text, "{\"a\":%s}", values[i]);
        refuses(bytes_of_string(text));
        /* an error in an array is found as well, and a value is no document */
        snprintf(text, sizeof text, "{\"a\":[1,%s]}", values[i]);
        refuses(bytes_of_string(text));
    }
    refuses(bytes_of_string("{\"$oid\":\"0102030405060708090a0b0c\"}"));
    refuses(bytes_of_string("{\"$numberInt\":\"1\"}"));
}

static void errors_say_where(void **state)
{
    (void)state;
    struct error err;
    bson_t document;
    assert_false(ejson_parse(bytes_of_string("{\"a\": nope}"), &document, &err));
    assert_string_equal(err.message, "invalid JSON at byte 6: no JSON value");
    assert_false(ejson_parse(bytes_of_string("{\"a\": {\"$oid\": \"zz\"}}"), &document, &err));
    assert_string_equal(err.message, "invalid Extended JSON at byte 15: expected the 24 hex digits of an ObjectId");
}

static char *repeat(const char *open, const char *middle, const char *close, int n)
{
    struct buffer text = { 0 };
    for (int i = 0; i < n; i++)
        buffer_append(&text, open, strlen(open));
    buffer_append(&text, middle, strlen(middle));
    for (int i = 0; i < n; i++)
        buffer_append(&text, close, strlen(close));
    buffer_append_u8(&text, 0);
    return (char *)text.data;
}

static void nesting_ends_at_the_limit(void **state)
{
    (void)state;
    static const char *const kinds[][3] = {
        { "{\"a\":", "{}", "}" },
        { "{\"a\":{\"$code\":\"f\",\"$scope\":", "{}", "}}" },
        { "{\"a\":{\"$scope\":", "{}", ",\"$code\":\"f\"}}" },
    };
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        /* the middle is one level; the third comes back as the second */
        char *good = repeat(kinds[i][0], kinds[i][1], kinds[i][2], MAX_NESTING - 1);
        bson_t *document = bson_of_text(good);
        char *back = text_of_bytes(bytes_of_bson(document), EJSON_RELAXED);
        if (i < 2)
            assert_string_equal(back, good);
        free(back);
        bson_destroy(document);
        free(good);
        char *deep = repeat(kinds[i][0], kinds[i][1], kinds[i][2], MAX_NESTING);
        refuses(bytes_of_string(deep));
        free(deep);
    }
    char *arrays = repeat("[", "", "]", 1000000), *text = malloc(strlen(arrays) + 10);
    sprintf(text, "{\"a\":%s}", arrays);
    refuses(bytes_of_string(text));
    refuses(bytes_of_string(arrays));
    free(arrays);
    free(text);
    /* a value of a few objects may stand at the deepest place */
    char *value = repeat("{\"a\":", "{\"$dbPointer\":{\"$ref\":\"c\",\"$id\":{\"$oid\":\"0102030405060708090a0b0c\"}}}", "}", MAX_NESTING);
    bson_destroy(bson_of_text(value));
    free(value);
}

static void size_ends_at_the_limit(void **state)
{
    (void)state;
    size_t overhead = 5 + 3 + 5, longest = MAX_DOCUMENT_BYTES - overhead;
    char *text = malloc(longest + 16);
    for (size_t len = longest; len <= longest + 1; len++) {
        memcpy(text, "{\"a\":\"", 6);
        memset(text + 6, 'x', len);
        memcpy(text + 6 + len, "\"}", 3);
        if (len == longest) {
            bson_t *document = bson_of_text(text);
            assert_int_equal(document->len, MAX_DOCUMENT_BYTES);
            bson_destroy(document);
        } else {
            refuses(bytes_of_string(text));
        }
    }
    free(text);
}

static void dates_go_both_ways(void **state)
{
    (void)state;
    srand(3);
    for (int i = 0; i < 20000; i++) {
        int64_t millis = (int64_t)((double)rand() / RAND_MAX * 253402300799999.0), back;
        char text[ISO_DATE_SIZE];
        iso_date_format(millis, text);
        assert_null(iso_date_parse(bytes_of_string(text), &back));
        assert_int_equal(back, millis);
    }
    assert_false(iso_date_has_text(-1));
    assert_true(iso_date_has_text(INT64_C(253402300799999)));
    assert_false(iso_date_has_text(INT64_C(253402300800000)));
}

/* Decimals that have only one encoding of what they mean: others do not survive a text, nor do NaNs' payloads. */
static bool survives_text(struct bytes document)
{
    struct element_reader readers[8];
    int depth = 0;
    element_reader_init(&readers[0], document);
    while (depth >= 0) {
        struct element e;
        if (!element_next(&readers[depth], &e)) {
            depth--;
        } else if (e.type == BSON_TYPE_DECIMAL128) {
            uint64_t high = get_u64(e.value.data + 8);
            bson_decimal128_t packed = { .low = get_u64(e.value.data), .high = high }, back;
            char text[BSON_DECIMAL128_STRING];
            bson_decimal128_to_string(&packed, text);
            if (!bson_decimal128_from_string(text, &back) || back.low != packed.low || back.high != packed.high)
                return false;
        } else if (e.type == BSON_TYPE_DOUBLE) {
            if (isnan(element_double(&e)) && get_u64(e.value.data) != 0x7ff8000000000000)
                return false;
        } else if (e.type == BSON_TYPE_DOCUMENT || e.type == BSON_TYPE_ARRAY) {
            element_reader_init(&readers[++depth], e.value);
        } else if (e.type == BSON_TYPE_CODEWSCOPE) {
            size_t code = get_u32(e.value.data + 4);
            element_reader_init(&readers[++depth], bytes_of(e.value.data + 8 + code, e.value.len - 8 - code));
        }
    }
    return true;
}

static void random_documents_come_back(void **state)
{
    (void)state;
    int checked = 0;
    srand(5);
    for (int i = 0; i < 6000; i++) {
        struct builder builder;
        struct bytes document;
        struct error err;
        builder_init(&builder);
        for (int n = rand() % 6; n > 0; n--) {
            builder_name(&builder, "n\"\n", 3);
            random_value(&builder, 3);
        }
        assert_true(builder_finish(&builder, &document, &err));
        assert_true(bson_check(document, &err));
        for (enum ejson_style style = EJSON_RELAXED; style <= EJSON_CANONICAL && survives_text(document); style++) {
            struct buffer text = { 0 };
            bson_t back;
            checked++;
            assert_true(ejson_format(document, style, &text, &err));
            if (!ejson_parse(buffer_bytes(&text), &back, &err))
                fail_msg("%s in %.*s", err.message, (int)text.len, (const char *)text.data);
            assert_bson_equal(bytes_of_bson(&back), document, "there and back");
            bson_destroy(&back);
            buffer_destroy(&text);
        }
        builder_destroy(&builder);
    }
    assert_true(checked > 6000);
}

/* Whatever is done to a text, it is read or refused, and what is read is sound. */
static void survives_mutations(void **state)
{
    (void)state;
    static const char seed[] =
        "{\"a\":[1,2.5e3,{\"$numberLong\":\"5\"},{\"$code\":\"f\",\"$scope\":{\"x\":null}},{\"$scope\":{},\"$code\":\"\"}],\"b\":{\"$"
        "binary\":"
        "{\"base64\":\"AQID\",\"subType\":\"02\"}},\"\\u0061\\ud83d\\ude00\":{\"$date\":\"2012-12-24T12:15:30.501Z\"},\"c\":true}";
    static const char tokens[] = "{}[],:\"\\$u0129.eE+-ntf\x80\xc3 ";
    unsigned accepted = 0;
    srand(9);
    for (int round = 0; round < 30000; round++) {
        size_t len = sizeof seed - 1 - (round % 3 == 0 ? (size_t)rand() % 40 : 0);
        char *mutant = malloc(len);
        memcpy(mutant, seed, len);
        for (int changes = rand() % 3; changes >= 0; changes--)
            mutant[(size_t)rand() % len] = tokens[(size_t)rand() % (sizeof tokens - 1)];
        bson_t document;
        struct error err;
        if (ejson_parse(bytes_of(mutant, len), &document, &err)) {
            accepted++;
            assert_true(bson_check(bytes_of_bson(&document), &err));
            bson_destroy(&document);
        } else {
            assert_int_equal(err.code, ERROR_INVALID_ARGUMENT);
        }
        free(mutant);
    }
    assert_true(accepted > 300);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_get_the_smallest_type),
        cmocka_unit_test(query_operators_stay_documents),
        cmocka_unit_test(both_styles_of_every_type),
        cmocka_unit_test(other_spellings),
        cmocka_unit_test(refuses_what_is_no_json),
        cmocka_unit_test(refuses_broken_wrappers),
        cmocka_unit_test(errors_say_where),
        cmocka_unit_test(nesting_ends_at_the_limit),
        cmocka_unit_test(size_ends_at_the_limit),
        cmocka_unit_test(dates_go_both_ways),
        cmocka_unit_test(random_documents_come_back),
        cmocka_unit_test(survives_mutations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
