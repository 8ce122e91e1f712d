#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/bson/decimal128.h"
#include "common/bson/number.h"
#include "common/bson/value_compare.h"
#include "tests/support/bson_support.h"
#include "tests/support/random_values.h"

static int sign(int order)
{
    return (order > 0) - (order < 0);
}

/* Of the values of "a" and "b". */
static int compare(const char *text)
{
    bson_t *document = bson_of_text(text);
    bson_iter_t a, b;
    assert_true(bson_iter_init_find(&a, document, "a") && bson_iter_init_find(&b, document, "b"));
    int order = sign(value_compare(&a, &b));
    assert_int_equal(sign(value_compare(&b, &a)), -order);
    if (value_type_rank(bson_iter_type(&a)) == 10 && value_type_rank(bson_iter_type(&b)) == 10)
        assert_int_equal(value_compare_numbers(&a, &b), order);
    bson_destroy(document);
    return order;
}

static void numbers_compare_exactly(void **state)
{
    (void)state;
    assert_int_equal(compare("{\"a\":1,\"b\":1.0}"), 0);
    assert_int_equal(compare("{\"a\":9007199254740993,\"b\":9007199254740992.0}"), 1);
    assert_int_equal(compare("{\"a\":9223372036854775807,\"b\":9223372036854775808.0}"), -1);
    assert_int_equal(compare("{\"a\":-9223372036854775808,\"b\":-9223372036854775808.0}"), 0);
    assert_int_equal(compare("{\"a\":-9223372036854775808,\"b\":-9223372036854777856.0}"), 1);
    assert_int_equal(compare("{\"a\":-3,\"b\":-2.5}"), -1);
    assert_int_equal(compare("{\"a\":-2,\"b\":-2.5}"), 1);
    assert_int_equal(compare("{\"a\":0,\"b\":-0.0}"), 0);
    assert_int_equal(compare("{\"a\":0,\"b\":5e-324}"), -1);
    assert_int_equal(compare("{\"a\":{\"$numberDouble\":\"NaN\"},\"b\":{\"$numberDouble\":\"-Infinity\"}}"), -1);
    assert_int_equal(compare("{\"a\":{\"$numberDouble\":\"NaN\"},\"b\":-9223372036854775808}"), -1);
    assert_int_equal(compare("{\"a\":{\"$numberDouble\":\"NaN\"},\"b\":{\"$numberDecimal\":\"NaN\"}}"), 0);
    /* a double is not the decimal that prints like it */
    assert_int_equal(compare("{\"a\":0.1,\"b\":{\"$numberDecimal\":\"0.1\"}}"), 1);
    assert_int_equal(compare("{\"a\":0.3,\"b\":{\"$numberDecimal\":\"0.3\"}}"), -1);
    assert_int_equal(compare("{\"a\":0.1,\"b\":{\"$numberDecimal\":\"0.1000000000000000055511151231257827\"}}"), 1);
    assert_int_equal(compare("{\"a\":0.1,\"b\":{\"$numberDecimal\":\"0.1000000000000000055511151231257828\"}}"), -1);
    assert_int_equal(compare("{\"a\":{\"$numberDecimal\":\"1.0\"},\"b\":{\"$numberDecimal\":\"1E0\"}}"), 0);
    assert_int_equal(compare("{\"a\":{\"$numberDecimal\":\"-1E-6176\"},\"b\":-5e-324}"), 1);
}

static void types_come_first(void **state)
{
    (void)state;
    assert_int_equal(compare("{\"a\":null,\"b\":{\"$numberDouble\":\"NaN\"}}"), -1);
    assert_int_equal(compare("{\"a\":{\"$undefined\":true},\"b\":null}"), -1);
    assert_int_equal(compare("{\"a\":99,\"b\":\"\"}"), -1);
    assert_int_equal(compare("{\"a\":\"z\",\"b\":{}}"), -1);
    assert_int_equal(compare("{\"a\":{\"z\":1},\"b\":[]}"), -1);
    assert_int_equal(compare("{\"a\":\"a\",\"b\":{\"$symbol\":\"a\"}}"), 0);
    assert_int_equal(compare("{\"a\":{\"$date\":{\"$numberLong\":\"5\"}},\"b\":{\"$timestamp\":{\"t\":0,\"i\":0}}}"), -1);
    assert_int_equal(compare("{\"a\":{\"$code\":\"z\"},\"b\":{\"$code\":\"a\",\"$scope\":{}}}"), -1);
    assert_true(value_type_rank(BSON_TYPE_MINKEY) < value_type_rank(BSON_TYPE_UNDEFINED));
    assert_true(value_type_rank(BSON_TYPE_MAXKEY) > value_type_rank(BSON_TYPE_CODEWSCOPE));
    assert_int_equal(value_type_rank(BSON_TYPE_INT32), value_type_rank(BSON_TYPE_DECIMAL128));
}

static void documents_compare_field_by_field(void **state)
{
    (void)state;
    assert_int_equal(compare("{\"a\":{},\"b\":{\"x\":null}}"), -1);
    assert_int_equal(compare("{\"a\":{\"x\":1},\"b\":{\"x\":1.0}}"), 0);
    assert_int_equal(compare("{\"a\":{\"x\":1},\"b\":{\"x\":1,\"y\":1}}"), -1);
    /* the type, then the name, then the value */
    assert_int_equal(compare("{\"a\":{\"z\":1},\"b\":{\"a\":\"x\"}}"), -1);
    assert_int_equal(compare("{\"a\":{\"a\":9},\"b\":{\"b\":1}}"), -1);
    assert_int_equal(compare("{\"a\":[1,2],\"b\":[1,3]}"), -1);
    assert_int_equal(compare("{\"a\":[1,2],\"b\":[1]}"), 1);
    assert_int_equal(compare("{\"a\":[[1]],\"b\":[[1.0]]}"), 0);
}

static void scalars_have_their_order(void **state)
{
    (void)state;
    assert_int_equal(compare("{\"a\":\"a\\u0000\",\"b\":\"a\"}"), 1);
    assert_int_equal(compare("{\"a\":\"Z\",\"b\":\"a\"}"), -1);
    assert_int_equal(compare("{\"a\":\"\xc3\xa4\",\"b\":\"z\"}"), 1);
    assert_int_equal(compare("{\"a\":false,\"b\":true}"), -1);
    assert_int_equal(compare("{\"a\":{\"$date\":{\"$numberLong\":\"-1\"}},\"b\":{\"$date\":{\"$numberLong\":\"0\"}}}"), -1);
    assert_int_equal(compare("{\"a\":{\"$timestamp\":{\"t\":4294967295,\"i\":0}},\"b\":{\"$timestamp\":{\"t\":1,\"i\":9}}}"), 1);
    /* binary: length, subtype, bytes */
    assert_int_equal(
        compare(
            "{\"a\":{\"$binary\":{\"base64\":\"/w==\",\"subType\":\"ff\"}},\"b\":{\"$binary\":{\"base64\":\"AAA=\",\"subType\":\"00\"}}}"),
        -1);
    assert_int_equal(
        compare(
            "{\"a\":{\"$binary\":{\"base64\":\"/w==\",\"subType\":\"00\"}},\"b\":{\"$binary\":{\"base64\":\"AA==\",\"subType\":\"05\"}}}"),
        -1);
    assert_int_equal(compare("{\"a\":{\"$regularExpression\":{\"pattern\":\"a\",\"options\":\"x\"}},\"b\":{\"$regularExpression\":{"
                             "\"pattern\":\"ab\",\"options\":\"\"}}}"),
                     -1);
}

/* A total order: what lies between stays between. */
static void random_values_are_transitive(void **state)
{
    (void)state;
    enum { N = 30 };
    srand(11);
    for (int round = 0; round < 60; round++) {
        struct builder builder;
        struct bytes document;
        struct error err;
        struct element_reader reader;
        struct element e[N];
        builder_init(&builder);
        for (int i = 0; i < N; i++) {
            builder_name(&builder, "v", 1);
            random_value(&builder, 2);
        }
        assert_true(builder_finish(&builder, &document, &err));
        element_reader_init(&reader, document);
        for (int i = 0; i < N; i++)
            assert_true(element_next(&reader, &e[i]));
        for (int i = 0; i < N; i++) {
            assert_int_equal(value_compare_elements(&e[i], &e[i]), 0);
            for (int j = 0; j < N; j++) {
                for (int k = 0; k < N; k++) {
                    if (value_compare_elements(&e[i], &e[j]) <= 0 && value_compare_elements(&e[j], &e[k]) <= 0)
                        assert_true(value_compare_elements(&e[i], &e[k]) <= 0);
                }
            }
        }
        builder_destroy(&builder);
    }
}

static struct decimal128 decimal(const char *text)
{
    bson_decimal128_t parsed;
    uint8_t bytes[16];
    assert_true(bson_decimal128_from_string(text, &parsed));
    put_u64(bytes, parsed.low);
    put_u64(bytes + 8, parsed.high);
    return decimal128_load(bytes);
}

static void print(struct decimal128 value, char text[BSON_DECIMAL128_STRING])
{
    uint8_t bytes[16];
    decimal128_store(value, bytes);
    bson_decimal128_t packed = { .low = get_u64(bytes), .high = get_u64(bytes + 8) };
    bson_decimal128_to_string(&packed, text);
}

/* The sums are those of another implementation of IEEE 754-2008 (Python's decimal, 34 digits). */
static void decimals_add(void **state)
{
    (void)state;
    static const struct {
        const char *a, *b, *sum;
    } cases[] = {
        { "1", "2", "3" },
        { "0.1", "0.2", "0.3" },
        { "1.10", "1", "2.10" },
        { "1E+2", "1", "101" },
        { "-1", "1", "0" },
        { "-0", "-0", "-0" },
        { "0", "-0", "0" },
        { "1.00", "-1", "0.00" },
        { "0E+5", "1", "1" },
        { "0E-5", "1", "1.00000" },
        { "1E+90", "0E-10", "1.000000000000000000000000000000000E+90" },
        { "9999999999999999999999999999999999", "1", "1.000000000000000000000000000000000E+34" },
        { "9999999999999999999999999999999999", "0.4", "9999999999999999999999999999999999" },
        { "9999999999999999999999999999999999", "0.5", "1.000000000000000000000000000000000E+34" },
        { "1000000000000000000000000000000000", "0.5", "1000000000000000000000000000000000" },
        { "1000000000000000000000000000000001", "0.5", "1000000000000000000000000000000002" },
        { "1000000000000000000000000000000000", "0.50000001", "1000000000000000000000000000000001" },
        { "1E+200", "1", "1.000000000000000000000000000000000E+200" },
        { "1E+200", "-1", "1.000000000000000000000000000000000E+200" },
        { "1E+34", "-1E-300", "1.000000000000000000000000000000000E+34" },
        { "9.999999999999999999999999999999999E+6144", "1E+6144", "Infinity" },
        { "-9.999999999999999999999999999999999E+6144", "-1E+6144", "-Infinity" },
        { "1E-6176", "1E-6176", "2E-6176" },
        { "Infinity", "-5", "Infinity" },
        { "Infinity", "-Infinity", "NaN" },
        { "NaN", "1", "NaN" },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char text[BSON_DECIMAL128_STRING];
        print(decimal128_add(decimal(cases[i].a), decimal(cases[i].b)), text);
        assert_string_equal(text, cases[i].sum);
        print(decimal128_add(decimal(cases[i].b), decimal(cases[i].a)), text);
        assert_string_equal(text, cases[i].sum);
    }
}

static void doubles_become_decimals_of_15_digits(void **state)
{
    (void)state;
    static const struct {
        double value;
        const char *text;
    } cases[] = {
        { 0.1, "0.100000000000000" },
        { 0.1 / 10000, "0.0000100000000000000" },
        { 0x1p1000, "1.07150860718627E+301" },
        { -1.5, "-1.50000000000000" },
        { 0.0, "0" },
        { -0.0, "-0" },
        { 5e-324, "4.94065645841247E-324" },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char text[BSON_DECIMAL128_STRING];
        print(decimal128_of_double(cases[i].value), text);
        assert_string_equal(text, cases[i].text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers_compare_exactly),
        cmocka_unit_test(types_come_first),
        cmocka_unit_test(documents_compare_field_by_field),
        cmocka_unit_test(scalars_have_their_order),
        cmocka_unit_test(random_values_are_transitive),
        cmocka_unit_test(decimals_add),
        cmocka_unit_test(doubles_become_decimals_of_15_digits),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
