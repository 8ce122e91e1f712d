/* The order of two encoded keys is the order of their values, and equal values have one key. */
#include <stdlib.h>
#include <string.h>

#include <bson/bson.h>

#include "common/bson/bson_check.h"
#include "common/bson/key_encoding.h"
#include "common/bson/value_compare.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

static int sign(int n)
{
    return (n > 0) - (n < 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    struct buffer a = { 0 }, b = { 0 };
    struct error err;
    bson_t document;
    bson_iter_t first, second;
    if (!bson_check(bytes_of(data, len), &err))
        return 0;
    if (!bson_init_static(&document, data, len) || !bson_iter_init(&first, &document) || !bson_iter_init(&second, &document))
        abort();
    if (bson_iter_next(&first) && bson_iter_next(&second) && bson_iter_next(&second) && key_encode_iter(&first, &a, &err) &&
        key_encode_iter(&second, &b, &err)) {
        int order = memcmp(a.data, b.data, a.len < b.len ? a.len : b.len);
        if (sign(order ? order : (a.len > b.len) - (a.len < b.len)) != sign(value_compare(&first, &second)))
            abort();
    }
    buffer_destroy(&a);
    buffer_destroy(&b);
    return 0;
}
