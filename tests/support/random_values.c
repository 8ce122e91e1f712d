#include "tests/support/random_values.h"

#include <math.h>
#include <stdlib.h>

#include "common/bson/decimal128.h"

static uint64_t random_bits(void)
{
    uint64_t bits = 0;
    for (int i = 0; i < 5; i++)
        bits = bits << 15 ^ (uint64_t)rand();
    return bits;
}

static int64_t random_int64(void)
{
    static const int64_t corners[] = { 0, 1, -1, INT32_MAX, INT32_MIN, INT64_MAX, INT64_MIN, INT64_MAX - 1, 1LL << 53, (1LL << 53) + 1 };
    switch (rand() % 4) {
    case 0:
        return corners[rand() % (int)ARRAY_LEN(corners)];
    case 1:
        return rand() % 20 - 10;
    case 2:
        return (int64_t)(((uint64_t)(rand() % 9 + 1) << rand() % 64) + (uint64_t)(rand() % 3) - 1);
    default:
        return (int64_t)random_bits();
    }
}

static double random_double(void)
{
    static const double corners[] = { 0.0,      -0.0,      5e-324, 2.2250738585072014e-308, 0x1p63, -0x1p63, 0x1p53, 0.1, 1e23,
                                      INFINITY, -INFINITY, NAN };
    switch (rand() % 5) {
    case 0:
        return corners[rand() % (int)ARRAY_LEN(corners)];
    case 1:
        return (double)random_int64();
    case 2:
        return nextafter((double)random_int64(), rand() % 2 ? INFINITY : -INFINITY);
    case 3:
        return (rand() % 200 - 100) / 8.0;
    default: {
        uint64_t bits = random_bits();
        double value;
        memcpy(&value, &bits, sizeof value);
        return value;
    }
    }
}

static void put_int64(struct builder *out, uint8_t type, uint64_t bits)
{
    uint8_t bytes[8];
    put_u64(bytes, bits);
    builder_value(out, type, bytes_of(bytes, 8));
}

static void put_decimal(struct builder *out)
{
    uint8_t bytes[DECIMAL128_SIZE];
    struct decimal128 d;
    switch (rand() % 4) {
    case 0: /* any bits at all, those without meaning included */
        put_u64(bytes, random_bits());
        put_u64(bytes + 8, random_bits());
        break;
    case 1: /* the value of an int64, written with another exponent */
        d = decimal128_of_int64(random_int64());
        for (int shift = rand() % 14; shift > 0; shift--) {
            d.coefficient *= 10;
            d.exponent--;
        }
        decimal128_store(d, bytes);
        break;
    case 2:
        decimal128_store(decimal128_of_double(random_double()), bytes);
        break;
    default:
        d = decimal128_of_int64(rand() % 2000 - 1000);
        d.exponent = rand() % 7 - 3;
        decimal128_store(d, bytes);
        break;
    }
    builder_value(out, BSON_TYPE_DECIMAL128, bytes_of(bytes, sizeof bytes));
}

void random_number(struct builder *out)
{
    uint8_t bytes[4];
    uint64_t bits;
    double value;
    switch (rand() % 4) {
    case 0:
        put_u32(bytes, (uint32_t)random_int64());
        builder_value(out, BSON_TYPE_INT32, bytes_of(bytes, 4));
        break;
    case 1:
        put_int64(out, BSON_TYPE_INT64, (uint64_t)random_int64());
        break;
    case 2:
        value = random_double();
        memcpy(&bits, &value, sizeof bits);
        put_int64(out, BSON_TYPE_DOUBLE, bits);
        break;
    default:
        put_decimal(out);
        break;
    }
}

static size_t random_text(char text[8])
{
    static const char alphabet[] = { 0, 'a', 'b', 0x7f, 1 };
    size_t len = (size_t)(rand() % 4);
    for (size_t i = 0; i < len; i++)
        text[i] = alphabet[rand() % (int)sizeof alphabet];
    return len;
}

static void raw_string(struct builder *out)
{
    char text[8];
    uint8_t head[4];
    size_t len = random_text(text);
    put_u32(head, (uint32_t)len + 1);
    builder_raw(out, head, 4);
    builder_raw(out, text, len);
    builder_raw(out, "", 1);
}

static void random_fields(struct builder *out, bool named, int depth)
{
    static const char *const names[] = { "", "a", "b", "ab" };
    uint32_t n = (uint32_t)rand() % 4;
    for (uint32_t i = 0; i < n; i++) {
        const char *name = names[rand() % 4];
        if (named)
            builder_name(out, name, strlen(name));
        else
            builder_index(out, i);
        random_value(out, depth);
    }
}

void random_value(struct builder *out, int depth)
{
    static const uint8_t flat[] = { BSON_TYPE_UTF8,      BSON_TYPE_BINARY, BSON_TYPE_UNDEFINED,       BSON_TYPE_OID,      BSON_TYPE_BOOL,
                                    BSON_TYPE_DATE_TIME, BSON_TYPE_NULL,   BSON_TYPE_REGEX,           BSON_TYPE_CODE,     BSON_TYPE_SYMBOL,
                                    BSON_TYPE_TIMESTAMP, BSON_TYPE_MAXKEY, (uint8_t)BSON_TYPE_MINKEY, BSON_TYPE_DBPOINTER };
    uint8_t bytes[16];
    char text[8];
    int choice = rand() % 10;
    if (choice < 3) {
        random_number(out);
        return;
    }
    if (choice < 6 && depth > 0) {
        builder_begin(out, choice == 3 ? BSON_TYPE_ARRAY : BSON_TYPE_DOCUMENT);
        random_fields(out, choice != 3, depth - 1);
        builder_end(out);
        return;
    }
    if (choice == 6 && depth > 0) {
        builder_value(out, BSON_TYPE_CODEWSCOPE, bytes_of("\0\0\0\0", 4));
        size_t start = builder_offset(out) - 4;
        raw_string(out);
        builder_begin_bare(out);
        random_fields(out, true, depth - 1);
        builder_end(out);
        builder_patch_u32(out, start, (uint32_t)(builder_offset(out) - start));
        return;
    }
    uint8_t type = flat[rand() % (int)sizeof flat];
    switch (type) {
    case BSON_TYPE_UTF8:
    case BSON_TYPE_CODE:
    case BSON_TYPE_SYMBOL:
        builder_value(out, type, bytes_of(NULL, 0));
        raw_string(out);
        break;
    case BSON_TYPE_DBPOINTER:
        builder_value(out, type, bytes_of(NULL, 0));
        raw_string(out);
        put_u64(bytes, random_bits());
        put_u32(bytes + 8, (uint32_t)rand());
        builder_raw(out, bytes, 12);
        break;
    case BSON_TYPE_BINARY: {
        size_t len = random_text(text);
        put_u32(bytes, (uint32_t)len);
        bytes[4] = (uint8_t)(rand() % 2 * 0x80);
        builder_value(out, type, bytes_of(bytes, 5));
        builder_raw(out, text, len);
        break;
    }
    case BSON_TYPE_OID:
        put_u64(bytes, random_bits());
        put_u32(bytes + 8, (uint32_t)rand());
        builder_value(out, type, bytes_of(bytes, 12));
        break;
    case BSON_TYPE_BOOL:
        bytes[0] = (uint8_t)(rand() % 2);
        builder_value(out, type, bytes_of(bytes, 1));
        break;
    case BSON_TYPE_DATE_TIME:
        put_int64(out, type, (uint64_t)random_int64());
        break;
    case BSON_TYPE_TIMESTAMP:
        put_int64(out, type, random_bits());
        break;
    case BSON_TYPE_REGEX:
        builder_value(out, type, rand() % 2 ? bytes_of("a\0i\0", 4) : rand() % 2 ? bytes_of("ab\0\0", 4) : bytes_of("a\0\0", 3));
        break;
    default:
        builder_value(out, type, bytes_of(NULL, 0));
        break;
    }
}
