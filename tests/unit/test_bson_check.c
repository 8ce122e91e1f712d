#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <bson/bson.h>

#include "common/base/limits.h"
#include "common/bson/bson_check.h"
#include "common/bson/ejson.h"
#include "common/bson/utf8.h"
#include "tests/support/bson_support.h"

/* One field of every type. */
static const char *const every_type =
    "{\"d\":1.5,\"s\":\"a\\u0000b\",\"o\":{\"x\":[1,[2,{}]]},\"b\":{\"$binary\":{\"base64\":\"AQID\",\"subType\":\"02\"}},"
    "\"u\":{\"$undefined\":true},\"i\":{\"$oid\":\"0102030405060708090a0b0c\"},\"t\":true,\"dt\":{\"$date\":{\"$numberLong\":\"-1\"}},"
    "\"n\":null,\"r\":{\"$regularExpression\":{\"pattern\":\"^a\",\"options\":\"im\"}},"
    "\"p\":{\"$dbPointer\":{\"$ref\":\"c\",\"$id\":{\"$oid\":\"0102030405060708090a0b0c\"}}},\"c\":{\"$code\":\"f\"},"
    "\"sy\":{\"$symbol\":\"s\"},\"cs\":{\"$code\":\"f\",\"$scope\":{\"x\":{\"y\":1}}},\"i32\":1,\"ts\":{\"$timestamp\":{\"t\":1,\"i\":2}},"
    "\"i64\":{\"$numberLong\":\"1\"},\"dec\":{\"$numberDecimal\":\"1.5\"},\"min\":{\"$minKey\":1},\"max\":{\"$maxKey\":1}}";

static void accepts_every_type(void **state)
{
    (void)state;
    struct error err;
    bson_t *document = bson_of_text(every_type);
    assert_true(bson_check(bytes_of_bson(document), &err));
    bson_destroy(document);
    bson_t empty = BSON_INITIALIZER;
    assert_true(bson_check(bytes_of_bson(&empty), &err));
}

static void refuses(const char *bytes, size_t len, const char *message)
{
    struct error err;
    /* exactly as long as it says, so that a read beyond it is seen */
    uint8_t *copy = malloc(len ? len : 1);
    memcpy(copy, bytes, len);
    if (bson_check(bytes_of(copy, len), &err))
        fail_msg("accepted: %s", message);
    assert_int_equal(err.code, ERROR_INVALID_ARGUMENT);
    if (!strstr(err.message, message))
        fail_msg("'%s' does not say '%s'", err.message, message);
    free(copy);
}

#define REFUSES(bytes, message) refuses(bytes, sizeof(bytes) - 1, message)

static void refuses_broken_documents(void **state)
{
    (void)state;
    REFUSES("", "0 bytes");
    REFUSES("\x05\0\0", "3 bytes");
    REFUSES("\x06\0\0\0\0", "wrong length");
    REFUSES("\x05\0\0\0\1", "wrong length");
    REFUSES("\xff\xff\xff\xff\0", "wrong length");
    REFUSES("\x05\0\0\0\0\0", "wrong length");
    REFUSES("\x08\0\0\0\x0a\x61\x61\0", "a field name without its end");
    REFUSES("\x08\0\0\0\x55\x61\0\0", "invalid BSON in 'a' at byte 4: an unknown type");
    REFUSES("\x09\0\0\0\x0a\xff\x61\0\0", "'?' at byte 4: a field name that is not UTF-8");
    REFUSES("\x0c\0\0\0\x10\x61\0\1\0\0\0\0\0"
            "\0",
            "wrong length");
    REFUSES("\x09\0\0\0\x08\x61\0\2\0", "'a' at byte 4: a bool");
    /* string: length 0, too long, negative, no NUL, not UTF-8 */
    REFUSES("\x0d\0\0\0\x02\x61\0\0\0\0\0\0\0", "a value of a wrong length");
    REFUSES("\x0d\0\0\0\x02\x61\0\3\0\0\0\0\0", "a value of a wrong length");
    REFUSES("\x0d\0\0\0\x02\x61\0\xff\xff\xff\xff\0\0", "a value of a wrong length");
    REFUSES("\x0d\0\0\0\x02\x61\0\1\0\0\0x\0", "a string without its end");
    REFUSES("\x0e\0\0\0\x02\x61\0\2\0\0\0\xc0\0\0", "a string that is not UTF-8");
    /* binary of subtype 2 whose inner length disagrees */
    REFUSES("\x12\0\0\0\x05\x61\0\5\0\0\0\2\2\0\0\0x\0", "subtype 2");
    /* {a: {b: {c: <bool 7>}}}: the path of a nested field */
    REFUSES("\x19\0\0\0\x03\x61\0\x11\0\0\0\x03\x62\0\x09\0\0\0\x08\x63\0\7\0\0\0", "invalid BSON in 'a.b.c' at byte 18: a bool");
    /* an inner document whose length covers less than it should */
    REFUSES("\x0f\0\0\0\x03\x61\0\x06\0\0\0\0\0\0\0", "ends before its length says");
}

static void utf8_is_rfc_3629(void **state)
{
    (void)state;
    static const char *const good[] = { "",
                                        "ascii only, more than eight bytes",
                                        "\xc3\xa4",
                                        "\xe2\x82\xac",
                                        "\xf0\x9f\x98\x80",
                                        "\xf4\x8f\xbf\xbf",
                                        "\xed\x9f\xbf",
                                        "\xee\x80\x80" };
    static const char *const bad[] = { "\x80",
                                       "\xc0\x80",
                                       "\xc1\xbf",
                                       "\xc3",
                                       "\xe2\x82",
                                       "\xe0\x9f\xbf",
                                       "\xed\xa0\x80",
                                       "\xed\xbf\xbf",
                                       "\xf0\x8f\xbf\xbf",
                                       "\xf4\x90\x80\x80",
                                       "\xf5\x80\x80\x80",
                                       "\xff",
                                       "12345678\xc3(",
                                       "\xe2(\xa1" };
    for (size_t i = 0; i < ARRAY_LEN(good); i++)
        assert_true(utf8_valid(good[i], strlen(good[i])));
    for (size_t i = 0; i < ARRAY_LEN(bad); i++)
        assert_false(utf8_valid(bad[i], strlen(bad[i])));
    assert_true(utf8_valid("a\0b", 3));
    for (uint32_t c = 0; c <= 0x10FFFF; c += c < 0x900 ? 1 : 97) {
        char text[4];
        if (c < 0xD800 || c > 0xDFFF)
            assert_true(utf8_valid(text, utf8_encode(c, text)));
    }
    assert_int_equal(utf8_fit("a\xe2\x82\xac", 4, 3), 1);
    assert_int_equal(utf8_fit("a\xe2\x82\xac", 4, 4), 4);
}

/* n documents, one in the other, the top one counted. */
static bson_t *nested(unsigned n, bool arrays)
{
    bson_t *inner = bson_new();
    for (unsigned i = 1; i < n; i++) {
        bson_t *outer = bson_new();
        if (arrays && i < n - 1)
            bson_append_array(outer, "0", 1, inner);
        else
            bson_append_document(outer, "a", 1, inner);
        bson_destroy(inner);
        inner = outer;
    }
    return inner;
}

static void nesting_ends_at_the_limit(void **state)
{
    (void)state;
    struct error err;
    for (int arrays = 0; arrays < 2; arrays++) {
        bson_t *good = nested(MAX_NESTING, arrays), *deep = nested(MAX_NESTING + 1, arrays), *deeper = nested(20000, arrays);
        assert_true(bson_check(bytes_of_bson(good), &err));
        assert_false(bson_check(bytes_of_bson(deep), &err));
        assert_int_equal(err.code, ERROR_INVALID_ARGUMENT);
        assert_non_null(strstr(err.message, "nested deeper than 100 levels"));
        assert_false(bson_check(bytes_of_bson(deeper), &err));
        bson_destroy(good);
        bson_destroy(deep);
        bson_destroy(deeper);
    }
}

static void size_ends_at_the_limit(void **state)
{
    (void)state;
    struct error err;
    size_t len = MAX_DOCUMENT_BYTES + 1;
    for (; len >= MAX_DOCUMENT_BYTES; len--) {
        uint8_t *document = calloc(1, len);
        put_u32(document, (uint32_t)len);
        document[4] = BSON_TYPE_BINARY;
        document[5] = 'b';
        put_u32(document + 7, (uint32_t)(len - 13));
        assert_int_equal(bson_check(bytes_of(document, len), &err), len == MAX_DOCUMENT_BYTES);
        free(document);
    }
}

static void long_paths_are_cut_in_messages(void **state)
{
    (void)state;
    char name[300];
    struct error err;
    memset(name, 'x', sizeof name);
    bson_t inner = BSON_INITIALIZER, outer = BSON_INITIALIZER;
    bson_append_bool(&inner, "flag", 4, true);
    bson_append_document(&outer, name, sizeof name, &inner);
    uint8_t *bytes = malloc(outer.len);
    memcpy(bytes, bson_get_data(&outer), outer.len);
    bytes[outer.len - 3] = 9; /* the bool */
    assert_false(bson_check(bytes_of(bytes, outer.len), &err));
    assert_non_null(strstr(err.message, "xxx...' at byte"));
    free(bytes);
    bson_destroy(&inner);
    bson_destroy(&outer);
}

/* Garbage is refused or harmless: what is accepted can be walked to its end by libbson, and formatted. */
static void survives_mutations(void **state)
{
    (void)state;
    bson_t *document = bson_of_text(every_type);
    struct bytes original = bytes_of_bson(document);
    unsigned accepted = 0;
    srand(7);
    for (int round = 0; round < 60000; round++) {
        size_t len = original.len;
        if (round % 4 == 0)
            len = (size_t)rand() % (original.len + 1);
        uint8_t *mutant = malloc(len ? len : 1);
        memcpy(mutant, original.data, len);
        if (len >= 4 && round % 4 == 0)
            put_u32(mutant, (uint32_t)len);
        for (int changes = rand() % 4; changes >= 0 && len; changes--) {
            size_t at = (size_t)rand() % len;
            static const uint8_t edges[] = { 0, 1, 2, 4, 5, 0x7f, 0x80, 0xff };
            mutant[at] = rand() % 2 ? edges[rand() % 8] : (uint8_t)rand();
        }
        struct error err;
        if (bson_check(bytes_of(mutant, len), &err)) {
            bson_t view;
            struct buffer text = { 0 };
            size_t offset;
            accepted++;
            assert_true(bson_init_static(&view, mutant, len));
            assert_true(bson_validate(&view, BSON_VALIDATE_NONE, &offset));
            assert_true(ejson_format(bytes_of(mutant, len), EJSON_RELAXED, &text, &err));
            buffer_destroy(&text);
        } else {
            assert_int_equal(err.code, ERROR_INVALID_ARGUMENT);
            assert_true(utf8_valid(err.message, strlen(err.message)));
        }
        free(mutant);
    }
    assert_true(accepted > 1000); /* the mutations are not all hopeless */
    bson_destroy(document);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(accepts_every_type),     cmocka_unit_test(refuses_broken_documents),
        cmocka_unit_test(utf8_is_rfc_3629),       cmocka_unit_test(nesting_ends_at_the_limit),
        cmocka_unit_test(size_ends_at_the_limit), cmocka_unit_test(long_paths_are_cut_in_messages),
        cmocka_unit_test(survives_mutations),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
