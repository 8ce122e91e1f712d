/* What a document is known by: a document with the one field _id.
 *
 * A key (key_encoding.h) stands for all values that are equal, 1 and 1.0 alike; this keeps the one that it is.
 *
 * Ownership  lives in the arena.
 * Errors     DATA_LOSS: there is no _id; only for documents that were stored.
 */
#ifndef ARGON_BSON_DOCUMENT_ID_H
#define ARGON_BSON_DOCUMENT_ID_H

#include "common/base/arena.h"
#include "common/base/bytes.h"
#include "common/base/error.h"

CHECKED bool document_id_of(struct bytes document, struct arena *arena, struct bytes *id, struct error *err);
/* From a key alone: a value that is equal to the one it was made of. */
CHECKED bool document_id_of_key(struct bytes key, struct arena *arena, struct bytes *id, struct error *err);

#endif
