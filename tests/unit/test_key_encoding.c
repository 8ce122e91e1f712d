#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <math.h>

#include "common/base/limits.h"
#include "common/bson/bson_check.h"
#include "common/bson/key_encoding.h"
#include "common/bson/number.h"
#include "common/bson/value_compare.h"
#include "tests/support/bson_support.h"
#include "tests/support/random_values.h"

/* The encodings of the fields of a document. */
struct keys {
    bson_t *document;
    struct element fields[64];
    struct buffer keys[64];
    size_t n;
};

static void encode_all(const char *text, struct keys *keys)
{
    struct element_reader reader;
    struct error err;
    memset(keys, 0, sizeof *keys);
    keys->document = bson_of_text(text);
    element_reader_init(&reader, bytes_of_bson(keys->document));
    while (element_next(&reader, &keys->fields[keys->n])) {
        if (!key_encode_element(&keys->fields[keys->n], &keys->keys[keys->n], &err))
            fail_msg("%s", err.message);
        keys->n++;
    }
}

static void free_all(struct keys *keys)
{
    for (size_t i = 0; i < keys->n; i++)
        buffer_destroy(&keys->keys[i]);
    bson_destroy(keys->document);
}

static void equal_values_have_one_encoding(void **state)
{
    (void)state;
    static const char *const groups[] = {
        "{\"a\":1,\"b\":1.0,\"c\":{\"$numberLong\":\"1\"},\"d\":{\"$numberDecimal\":\"1\"},\"e\":{\"$numberDecimal\":\"1.00\"}}",
        "{\"a\":0,\"b\":-0.0,\"c\":{\"$numberLong\":\"0\"},\"d\":{\"$numberDecimal\":\"-0E+10\"},\"e\":0.0}",
        "{\"a\":{\"$numberDouble\":\"NaN\"},\"b\":{\"$numberDecimal\":\"NaN\"}}",
        "{\"a\":{\"$numberDouble\":\"Infinity\"},\"b\":{\"$numberDecimal\":\"Infinity\"}}",
        "{\"a\":9007199254740993,\"b\":{\"$numberDecimal\":\"9007199254740993\"}}",
        "{\"a\":0.5,\"b\":{\"$numberDecimal\":\"0.5\"},\"c\":{\"$numberDecimal\":\"5E-1\"}}",
        "{\"a\":1e300,\"b\":1e+300}",
        "{\"a\":\"x\",\"b\":{\"$symbol\":\"x\"}}",
        "{\"a\":{\"x\":1,\"y\":[2.0]},\"b\":{\"x\":1.0,\"y\":[{\"$numberLong\":\"2\"}]}}",
    };
    for (size_t g = 0; g < ARRAY_LEN(groups); g++) {
        struct keys keys;
        encode_all(groups[g], &keys);
        for (size_t i = 1; i < keys.n; i++) {
            if (!bytes_equal(buffer_bytes(&keys.keys[0]), buffer_bytes(&keys.keys[i])))
                fail_msg("%s: field %zu differs", groups[g], i);
            assert_int_equal(value_compare_elements(&keys.fields[0], &keys.fields[i]), 0);
        }
        free_all(&keys);
    }
}

/* In rising order, all of them different. */
static const char *const ladder =
    "{\"0\":{\"$minKey\":1},\"1\":null,\"2\":{\"$numberDouble\":\"NaN\"},\"3\":{\"$numberDouble\":\"-Infinity\"},"
    "\"4\":{\"$numberDecimal\":\"-9.99E+6144\"},\"5\":-1.7976931348623157e308,\"6\":-9223372036854775808,"
    "\"7\":{\"$numberDecimal\":\"-9223372036854775807.5\"},\"8\":-9223372036854775807,\"9\":-10,\"10\":-9.5,\"11\":-9,\"12\":-1,"
    "\"13\":{\"$numberDecimal\":\"-1E-6176\"},\"14\":0,\"15\":{\"$numberDecimal\":\"1E-6176\"},\"16\":5e-324,\"17\":1e-323,"
    "\"18\":{\"$numberDecimal\":\"0.1\"},\"19\":0.1,\"20\":0.5,\"21\":1,\"22\":{\"$numberDecimal\":\"1.000000000000000000000000000000001\"}"
    ","
    "\"23\":2,\"24\":10,\"25\":9007199254740992,\"26\":9007199254740993,\"27\":9007199254740994.0,\"28\":9223372036854775807,"
    "\"29\":9223372036854775808.0,\"30\":1.7976931348623157e308,\"31\":{\"$numberDouble\":\"Infinity\"},\"32\":\"\",\"33\":\"\\u0000\","
    "\"34\":\"\\u0000a\",\"35\":\"a\",\"36\":\"a\\u0000\",\"37\":\"a\\u0000b\",\"38\":\"ab\",\"39\":\"b\",\"40\":{},\"41\":{\"b\":1},"
    "\"42\":{\"b\":1,\"a\":0},\"43\":{\"b\":2},\"44\":{\"a\":\"x\"},\"45\":{\"$binary\":{\"base64\":\"/w==\",\"subType\":\"05\"}},"
    "\"46\":{\"$binary\":{\"base64\":\"AAA=\",\"subType\":\"00\"}},\"47\":{\"$oid\":\"000000000000000000000001\"},"
    "\"48\":{\"$oid\":\"ff0000000000000000000001\"},\"49\":false,\"50\":true,\"51\":{\"$date\":{\"$numberLong\":\"-1\"}},"
    "\"52\":{\"$date\":{\"$numberLong\":\"0\"}},\"53\":{\"$timestamp\":{\"t\":1,\"i\":2}},\"54\":{\"$timestamp\":{\"t\":4294967295,\"i\":0}"
    "},"
    "\"55\":{\"$dbPointer\":{\"$ref\":\"z\",\"$id\":{\"$oid\":\"000000000000000000000001\"}}},\"56\":{\"$code\":\"a\"},"
    "\"57\":{\"$code\":\"a\",\"$scope\":{}},\"58\":{\"$code\":\"a\",\"$scope\":{\"x\":1}},\"59\":{\"$maxKey\":1}}";

static void order_of_the_encodings_is_the_order_of_the_values(void **state)
{
    (void)state;
    struct keys keys;
    encode_all(ladder, &keys);
    assert_int_equal(keys.n, 60);
    for (size_t i = 0; i < keys.n; i++) {
        for (size_t j = 0; j < keys.n; j++) {
            int expected = (i > j) - (i < j);
            int by_key = bytes_compare(buffer_bytes(&keys.keys[i]), buffer_bytes(&keys.keys[j]));
            int by_value = value_compare_elements(&keys.fields[i], &keys.fields[j]);
            if ((by_key > 0) - (by_key < 0) != expected || (by_value > 0) - (by_value < 0) != expected)
                fail_msg("fields %zu and %zu: by key %d, by value %d", i, j, by_key, by_value);
        }
    }
    free_all(&keys);
}

static void the_format_stays_as_it_is(void **state)
{
    (void)state;
    static const struct {
        const char *value, *hex;
    } cases[] = {
        { "null", "07" },
        { "0", "0c04" },
        { "1", "0c0580010b00" },
        { "-1", "0c037ffef4ff" },
        { "12345", "0c0580050d233300" },
        { "0.25", "0c0580001a00" },
        { "{\"$numberDouble\":\"NaN\"}", "0c01" },
        { "\"a\\u0000b\"", "116100ff6200" },
        { "{\"a\":1,\"b\":[null]}", "160c61000580010b001b6200070000" },
        { "{\"$binary\":{\"base64\":\"AQI=\",\"subType\":\"00\"}}", "2000000002000102" },
        { "{\"$oid\":\"0102030405060708090a0b0c\"}", "250102030405060708090a0b0c" },
        { "true", "2a01" },
        { "{\"$date\":{\"$numberLong\":\"1\"}}", "2f8000000000000001" },
        { "{\"$timestamp\":{\"t\":1,\"i\":2}}", "310000000100000002" },
        { "{\"$minKey\":1}", "01" },
        { "{\"$maxKey\":1}", "81" },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char text[128], hex[128] = "";
        struct buffer key = { 0 };
        struct error err;
        snprintf(text, sizeof text, "{\"_id\":%s}", cases[i].value);
        bson_t *document = bson_of_text(text);
        assert_true(key_encode_document_id(bytes_of_bson(document), &key, &err));
        for (size_t k = 0; k < key.len; k++)
            snprintf(hex + 2 * k, 3, "%02x", key.data[k]);
        assert_string_equal(hex, cases[i].hex);
        buffer_destroy(&key);
        bson_destroy(document);
    }
}

static void values_that_are_no_id_are_refused(void **state)
{
    (void)state;
    static const char *const documents[] = {
        "{\"_id\":[1]}",
        "{\"_id\":{\"$regularExpression\":{\"pattern\":\"a\",\"options\":\"\"}}}",
        "{\"_id\":{\"$undefined\":true}}",
        "{\"a\":1}",
        "{}",
    };
    struct buffer out = { 0 };
    struct error err;
    buffer_append(&out, "kept", 4);
    for (size_t i = 0; i < ARRAY_LEN(documents); i++) {
        bson_t *document = bson_of_text(documents[i]);
        assert_false(key_encode_document_id(bytes_of_bson(document), &out, &err));
        assert_int_equal(err.code, ERROR_INVALID_ARGUMENT);
        bson_destroy(document);
    }
    /* the limit: tag, text, terminator */
    for (int len = MAX_DOCUMENT_ID_BYTES - 2; len <= MAX_DOCUMENT_ID_BYTES + 100000; len += len < MAX_DOCUMENT_ID_BYTES ? 1 : 50000) {
        char *text = calloc(1, (size_t)len + 1);
        memset(text, 'x', (size_t)len);
        bson_value_t value = { .value_type = BSON_TYPE_UTF8 };
        value.value.v_utf8.str = text;
        value.value.v_utf8.len = (uint32_t)len;
        size_t before = out.len;
        assert_int_equal(key_encode(&value, &out, &err), len == MAX_DOCUMENT_ID_BYTES - 2);
        if (len == MAX_DOCUMENT_ID_BYTES - 2)
            assert_int_equal(out.len, before + MAX_DOCUMENT_ID_BYTES);
        out.len = before;
        free(text);
    }
    assert_int_equal(out.len, 4);
    assert_memory_equal(out.data, "kept", 4);
    buffer_destroy(&out);
}

static void the_three_ways_to_encode_agree(void **state)
{
    (void)state;
    bson_t *document = bson_of_text("{\"x\":1,\"_id\":{\"a\":[1,\"b\"]}}");
    bson_iter_t iter;
    struct buffer a = { 0 }, b = { 0 }, c = { 0 };
    struct error err;
    assert_true(bson_iter_init_find(&iter, document, "_id"));
    assert_true(key_encode_iter(&iter, &a, &err));
    assert_true(key_encode(bson_iter_value(&iter), &b, &err));
    assert_true(key_encode_document_id(bytes_of_bson(document), &c, &err));
    assert_true(bytes_equal(buffer_bytes(&a), buffer_bytes(&b)));
    assert_true(bytes_equal(buffer_bytes(&a), buffer_bytes(&c)));
    buffer_destroy(&a);
    buffer_destroy(&b);
    buffer_destroy(&c);
    bson_destroy(document);
}

/* memcmp of the encodings says what value_compare says, of whatever two values; and of two numbers what their
 * exact forms say. */
static void random_values_agree(void **state)
{
    (void)state;
    enum { PER_ROUND = 24, ROUNDS = 800 };
    srand(20240229);
    for (int round = 0; round < ROUNDS; round++) {
        struct builder builder;
        struct bytes document;
        struct error err;
        struct element_reader reader;
        struct element fields[PER_ROUND];
        struct buffer keys[PER_ROUND] = { 0 };
        builder_init(&builder);
        for (int i = 0; i < PER_ROUND; i++) {
            builder_name(&builder, "_id", 3);
            /* numbers among themselves are where the errors hide */
            if (round % 2)
                random_number(&builder);
            else
                random_value(&builder, 3);
        }
        assert_true(builder_finish(&builder, &document, &err));
        element_reader_init(&reader, document);
        for (int i = 0; i < PER_ROUND; i++) {
            assert_true(element_next(&reader, &fields[i]));
            if (!key_encode_element(&fields[i], &keys[i], &err))
                assert_true(keys[i].len == 0);
        }
        for (int i = 0; i < PER_ROUND; i++) {
            for (int j = 0; j < PER_ROUND; j++) {
                if (keys[i].len == 0 || keys[j].len == 0)
                    continue;
                int by_key = bytes_compare(buffer_bytes(&keys[i]), buffer_bytes(&keys[j]));
                int by_value = value_compare_elements(&fields[i], &fields[j]);
                by_key = (by_key > 0) - (by_key < 0);
                by_value = (by_value > 0) - (by_value < 0);
                if (by_key != by_value)
                    fail_msg("fields %d and %d of %s: by key %d, by value %d", i, j, text_of_bytes(document, EJSON_CANONICAL), by_key,
                             by_value);
                if (element_is_number(&fields[i]) && element_is_number(&fields[j])) {
                    struct number x, y;
                    number_of_element(&fields[i], &x);
                    number_of_element(&fields[j], &y);
                    assert_int_equal(number_compare(&x, &y), by_value);
                }
            }
        }
        for (int i = 0; i < PER_ROUND; i++)
            buffer_destroy(&keys[i]);
        builder_destroy(&builder);
    }
}

/* What a key decodes to has this key, whatever the value. */
static void a_key_decodes_to_a_value_that_has_it(void **state)
{
    (void)state;
    size_t decoded = 0;
    srand(7);
    for (int round = 0; round < 20000; round++) {
        struct builder in, out;
        struct bytes document, back;
        struct buffer key = { 0 }, again = { 0 };
        struct error err;
        builder_init(&in);
        builder_name(&in, "_id", 3);
        if (round % 2)
            random_number(&in);
        else
            random_value(&in, 2);
        assert_true(builder_finish(&in, &document, &err));
        if (key_encode_document_id(document, &key, &err)) {
            builder_init(&out);
            assert_true(key_decode_document_id(buffer_bytes(&key), &out));
            decoded++;
            assert_true(builder_finish(&out, &back, &err));
            assert_true(bson_check(back, &err));
            assert_true(key_encode_document_id(back, &again, &err));
            assert_true(bytes_equal(buffer_bytes(&key), buffer_bytes(&again)));
            builder_destroy(&out);
            /* a key that is cut off is refused */
            builder_init(&out);
            assert_false(key_decode_document_id(bytes_of(key.data, key.len - 1), &out) && key.data[key.len - 1] != 0);
            builder_destroy(&out);
        }
        buffer_destroy(&key);
        buffer_destroy(&again);
        builder_destroy(&in);
    }
    assert_true(decoded > 15000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_key_decodes_to_a_value_that_has_it),
        cmocka_unit_test(equal_values_have_one_encoding),
        cmocka_unit_test(order_of_the_encodings_is_the_order_of_the_values),
        cmocka_unit_test(the_format_stays_as_it_is),
        cmocka_unit_test(values_that_are_no_id_are_refused),
        cmocka_unit_test(the_three_ways_to_encode_agree),
        cmocka_unit_test(random_values_agree),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
