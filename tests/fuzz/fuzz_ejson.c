/* What parses is written so that it parses to the same bytes, in both styles. */
#include <stdlib.h>
#include <string.h>

#include <bson/bson.h>

#include "common/bson/ejson.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static const enum ejson_style styles[] = { EJSON_CANONICAL, EJSON_RELAXED };
    struct error err;
    bson_t document, again;
    if (!ejson_parse(bytes_of(data, len), &document, &err))
        return 0;
    for (size_t i = 0; i < 2; i++) {
        struct buffer text = { 0 };
        if (!ejson_format(bytes_of(bson_get_data(&document), document.len), styles[i], &text, &err) ||
            !ejson_parse(buffer_bytes(&text), &again, &err) || !bson_equal(&document, &again))
            abort();
        bson_destroy(&again);
        buffer_destroy(&text);
    }
    bson_destroy(&document);
    return 0;
}
