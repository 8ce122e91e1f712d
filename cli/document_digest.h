/* Whether two sets of documents are the same, byte for byte: the number of them and the sum of their hashes, which does not depend on
 * the order that they come in. */
#ifndef ARGON_CLI_DOCUMENT_DIGEST_H
#define ARGON_CLI_DOCUMENT_DIGEST_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/bytes.h"

struct document_digest {
    uint64_t n;
    uint64_t low, high; /* of the sum of XXH3-128 */
};

enum { DOCUMENT_DIGEST_TEXT = 33 };

void document_digest_add(struct document_digest *digest, struct bytes document);
bool document_digest_equal(const struct document_digest *a, const struct document_digest *b);
/* 32 hexadecimal digits. */
void document_digest_format(const struct document_digest *digest, char text[DOCUMENT_DIGEST_TEXT]);

#endif
