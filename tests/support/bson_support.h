/* BSON documents in tests, written as Extended JSON. */
#ifndef ARGON_TESTS_SUPPORT_BSON_SUPPORT_H
#define ARGON_TESTS_SUPPORT_BSON_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <bson/bson.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/bson/ejson.h"

static inline struct bytes bytes_of_bson(const bson_t *document)
{
    return bytes_of(bson_get_data(document), document->len);
}

/* Freed with bson_destroy. */
static inline bson_t *bson_of_text(const char *text)
{
    struct error err;
    bson_t document;
    if (!ejson_parse(bytes_of_string(text), &document, &err))
        fail_msg("%s: %s", text, err.message);
    bson_t *copy = bson_copy(&document);
    bson_destroy(&document);
    return copy;
}

/* {name: [0, 1, ... n - 1]} within a document. */
static inline void append_numbers(bson_t *document, const char *name, int n)
{
    char key[16];
    bson_t array;
    bson_append_array_begin(document, name, -1, &array);
    for (int i = 0; i < n; i++) {
        int len = snprintf(key, sizeof key, "%d", i);
        bson_append_int32(&array, key, len, i);
    }
    bson_append_array_end(document, &array);
}

/* Freed with free. */
static inline char *text_of_bytes(struct bytes document, enum ejson_style style)
{
    struct error err;
    struct buffer text = { 0 };
    if (!ejson_format(document, style, &text, &err))
        fail_msg("%s", err.message);
    buffer_append_u8(&text, 0);
    return (char *)text.data;
}

static inline void assert_bson_equal(struct bytes got, struct bytes expected, const char *what)
{
    if (bytes_equal(got, expected))
        return;
    char *a = text_of_bytes(got, EJSON_CANONICAL), *b = text_of_bytes(expected, EJSON_CANONICAL);
    fail_msg("%s: got %s, expected %s", what, a, b);
}

#endif
