/* The canonical order-preserving encoding of an _id: memcmp order of the encodings is MongoDB's order of
 * the values, and equal values have one encoding (1, 1.0, NumberLong(1) and NumberDecimal("1.0") are one
 * key; a string of 24 hex digits is not an ObjectId).
 *
 * Errors     INVALID_ARGUMENT: an array, a regular expression or undefined (MongoDB refuses them as _id), or
 *            an encoding over MAX_DOCUMENT_ID_BYTES.
 */
#ifndef ARGON_BSON_KEY_ENCODING_H
#define ARGON_BSON_KEY_ENCODING_H

#include <bson/bson.h>

#include "common/base/bytes.h"
#include "common/base/error.h"
#include "common/bson/builder.h"
#include "common/bson/element.h"

/* Appends to out (which is unchanged on failure). */
CHECKED bool key_encode(const bson_value_t *value, struct buffer *out, struct error *err);
/* The value the iterator stands on. */
CHECKED bool key_encode_iter(const bson_iter_t *iter, struct buffer *out, struct error *err);
CHECKED bool key_encode_element(const struct element *element, struct buffer *out, struct error *err);
/* The _id of a document. INVALID_ARGUMENT when it has none. */
CHECKED bool key_encode_document_id(struct bytes document, struct buffer *out, struct error *err);

/* The way back: adds the field _id with a value that has this key, an integer where there is one (1, not 1.0), a string
 * for a symbol. False: it is no key. */
CHECKED bool key_decode_document_id(struct bytes key, struct builder *out);

#endif
