/* Characters of UTF-8. A byte that begins none counts as one. */
#ifndef ARGON_BRANCH_QUERY_EXPRESSION_TEXT_H
#define ARGON_BRANCH_QUERY_EXPRESSION_TEXT_H

#include "common/base/bytes.h"

static inline bool is_continuation(uint8_t byte)
{
    return (byte & 0xC0) == 0x80;
}

/* In bytes, of the one that begins there. */
static inline size_t character_size(struct bytes text, size_t at)
{
    uint8_t first = text.data[at];
    size_t size = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : first >= 0xC0 ? 2 : 1;
    return size <= text.len - at ? size : text.len - at;
}

/* Where the n-th character behind `at` begins; the end when there are fewer. */
static inline size_t skip_characters(struct bytes text, size_t at, size_t n)
{
    for (; n > 0 && at < text.len; n--)
        at += character_size(text, at);
    return at;
}

static inline size_t count_characters(struct bytes text)
{
    size_t n = 0;
    for (size_t i = 0; i < text.len; i++)
        n += !is_continuation(text.data[i]);
    return n;
}

#endif
