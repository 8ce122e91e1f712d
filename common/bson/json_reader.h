/* JSON (RFC 8259), one token after the other. Strict: nothing but JSON, valid UTF-8, no lone surrogates, and
 * commas, colons and brackets where they belong: who reads the tokens sees well-formed JSON or an error.
 *
 * Ownership  a token's text is valid until the next call.
 * Errors     INVALID_ARGUMENT with the byte offset; RESOURCE_EXHAUSTED.
 */
#ifndef ARGON_BSON_JSON_READER_H
#define ARGON_BSON_JSON_READER_H

#include "common/base/bytes.h"
#include "common/base/error.h"
#include "common/base/limits.h"

enum json_token {
    JSON_OBJECT_BEGIN,
    JSON_OBJECT_END,
    JSON_ARRAY_BEGIN,
    JSON_ARRAY_END,
    JSON_NAME,   /* text: decoded */
    JSON_STRING, /* text: decoded */
    JSON_NUMBER, /* text: as written */
    JSON_TRUE,
    JSON_FALSE,
    JSON_NULL,
    JSON_END, /* of the text */
};

/* A level of a document takes two at most (code with scope), and what stands for its deepest value two more. */
enum { JSON_MAX_NESTING = 2 * MAX_NESTING + 2 };

struct json_reader {
    struct bytes input;
    size_t at;
    size_t token_at; /* where the last token begins */
    struct bytes text;
    struct buffer decoded;
    unsigned expect; /* see json_reader.c */
    unsigned depth;
    bool in_object[JSON_MAX_NESTING];
};

void json_reader_init(struct json_reader *reader, struct bytes input);
void json_reader_destroy(struct json_reader *reader);
CHECKED bool json_next(struct json_reader *reader, enum json_token *token, struct error *err);

#endif
