#include "cli/document_digest.h"

#include <inttypes.h>
#include <stdio.h>
#include <xxhash.h>

void document_digest_add(struct document_digest *digest, struct bytes document)
{
    XXH128_hash_t hash = XXH3_128bits(document.data, document.len);
    digest->n++;
    digest->low += hash.low64;
    digest->high += hash.high64 + (digest->low < hash.low64);
}

bool document_digest_equal(const struct document_digest *a, const struct document_digest *b)
{
    return a->n == b->n && a->low == b->low && a->high == b->high;
}

void document_digest_format(const struct document_digest *digest, char text[DOCUMENT_DIGEST_TEXT])
{
    snprintf(text, DOCUMENT_DIGEST_TEXT, "%016" PRIx64 "%016" PRIx64, digest->high, digest->low);
}
