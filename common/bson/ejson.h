/* Extended JSON v2 <-> BSON.
 * https://github.com/mongodb/specifications/blob/master/source/extended-json.md
 *
 * Errors     INVALID_ARGUMENT, saying where in the text.
 */
#ifndef ARGON_BSON_EJSON_H
#define ARGON_BSON_EJSON_H

#include <bson/bson.h>

#include "common/base/bytes.h"
#include "common/base/error.h"

enum ejson_style { EJSON_RELAXED, EJSON_CANONICAL };

/* One JSON object, nothing behind it but white space. Whole numbers become int32 or, when they do not fit,
 * int64; others double. The result has passed bson_check. out is initialised on success. */
CHECKED bool ejson_parse(struct bytes text, bson_t *out, struct error *err);

/* Appends the text. In relaxed style numbers and dates come back as the types that went in: a double always
 * has a fraction or an exponent, an int64 that an int32 could hold is {"$numberLong": ...}. */
CHECKED bool ejson_format(struct bytes document, enum ejson_style style, struct buffer *out, struct error *err);

#endif
