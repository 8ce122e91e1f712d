/* Base64 of RFC 4648, section 4: with padding, nothing between. */
#ifndef ARGON_BSON_BASE64_H
#define ARGON_BSON_BASE64_H

#include <stdbool.h>

#include "common/base/bytes.h"

void base64_encode(struct bytes data, struct buffer *out);
/* Appends the bytes; false when the text is no Base64 (out may have grown by then) */
bool base64_decode(struct bytes text, struct buffer *out);

#endif
