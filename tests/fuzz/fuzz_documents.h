/* Inputs that hold BSON documents, one behind the other; or, where one begins with '{', a line of Extended JSON in
 * its place, which survives more mutations. */
#ifndef ARGON_TESTS_FUZZ_DOCUMENTS_H
#define ARGON_TESTS_FUZZ_DOCUMENTS_H

#include "common/bson/bson_check.h"
#include "common/bson/ejson.h"
#include "tests/fuzz/fuzz.h"

/* The next document, in memory of its own size, so that a read behind its end is seen. data NULL: there is none. */
static inline struct bytes fuzz_next_document(struct bytes *input)
{
    struct error err;
    bson_t parsed = BSON_INITIALIZER;
    struct bytes found = { 0 };
    size_t taken = 0;
    if (input->len && input->data[0] == '{') {
        const uint8_t *end = memchr(input->data, '\n', input->len);
        taken = end ? (size_t)(end - input->data) + 1 : input->len;
        if (ejson_parse(bytes_of(input->data, taken), &parsed, &err))
            found = bytes_of(bson_get_data(&parsed), parsed.len);
    } else if (input->len >= 4 && get_u32(input->data) <= input->len) {
        taken = get_u32(input->data);
        if (bson_check(bytes_of(input->data, taken), &err))
            found = bytes_of(input->data, taken);
    }
    if (found.len)
        found.data = memcpy(malloc(found.len), found.data, found.len);
    bson_destroy(&parsed);
    *input = bytes_of(input->data + taken, input->len - taken);
    return found;
}

#endif
