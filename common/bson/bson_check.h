/* Is this a BSON document that Argon stores? Checked iteratively, before anything else looks at it:
 * structure, lengths, known types, UTF-8 of strings and names (no NUL in names), nesting of at most
 * MAX_NESTING, size of at most MAX_DOCUMENT_BYTES.
 *
 * Errors     INVALID_ARGUMENT, naming the dotted path and the byte offset.
 */
#ifndef ARGON_BSON_BSON_CHECK_H
#define ARGON_BSON_BSON_CHECK_H

#include "common/base/bytes.h"
#include "common/base/error.h"

CHECKED bool bson_check(struct bytes document, struct error *err);

#endif
