/* What the two halves of the Extended JSON reader share: ejson_parse.c walks documents and arrays,
 * ejson_values.c reads everything else.
 */
#ifndef ARGON_BSON_EJSON_INTERNAL_H
#define ARGON_BSON_EJSON_INTERNAL_H

#include "common/bson/builder.h"
#include "common/bson/json_reader.h"

enum ejson_frame_kind { EJSON_FRAME_DOCUMENT, EJSON_FRAME_ARRAY, EJSON_FRAME_SCOPE };

struct ejson_frame {
    enum ejson_frame_kind kind;
    uint32_t index;    /* of an array's next element */
    size_t type_at;    /* of a scope: where the type of the whole value is, */
    size_t value_at;   /* where the value begins, */
    bool code_is_read; /* and whether $code came before $scope */
};

struct ejson_parser {
    struct json_reader json;
    enum json_token token;
    struct builder builder;
    struct ejson_frame frames[MAX_NESTING + 1];
    unsigned depth;
    struct buffer scratch; /* bytes of one value */
};

/* One of the objects that stand for a value. */
struct ejson_wrapper {
    const char *key;
    /* The key has been read; reads the value and, where there are more keys, those. */
    bool (*parse)(struct ejson_parser *parser, struct error *err);
    bool reads_end; /* and the closing brace, or opens a scope, whose end reads it */
};

CHECKED bool ejson_next(struct ejson_parser *parser, struct error *err);
CHECKED bool ejson_expect(struct ejson_parser *parser, enum json_token token, const char *what, struct error *err);
CHECKED bool ejson_expect_name(struct ejson_parser *parser, const char *name, struct error *err);
/* "... at byte N: what". False. */
bool ejson_refuse(const struct ejson_parser *parser, const char *what, struct error *err);
bool ejson_text_is(const struct ejson_parser *parser, const char *text);
/* Behind the key $scope: its document is walked like any other. */
CHECKED bool ejson_open_scope(struct ejson_parser *parser, size_t type_at, size_t value_at, bool code_is_read, struct error *err);

/* NULL: the key is no type wrapper's. */
const struct ejson_wrapper *ejson_find_wrapper(struct bytes key);
/* The token as a value: anything but an object, an array or what is no value. */
CHECKED bool ejson_parse_scalar(struct ejson_parser *parser, struct error *err);

#endif
