/* UTF-8 as RFC 3629 defines it: no overlong forms, no surrogates, nothing above U+10FFFF. NUL is a
 * character like any other; whoever needs C strings looks for it first.
 */
#ifndef ARGON_BSON_UTF8_H
#define ARGON_BSON_UTF8_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/bytes.h"

bool utf8_valid(const void *text, size_t len);
/* Writes the character, which must be no surrogate and at most U+10FFFF; its bytes, at most 4. */
size_t utf8_encode(uint32_t character, char out[4]);
/* The longest beginning of at most max bytes that cuts no character in two: for "%.*s" in error messages. */
int utf8_fit(const char *text, size_t len, size_t max);

#endif
