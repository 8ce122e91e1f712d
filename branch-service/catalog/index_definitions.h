/* Index definitions of a collection: documents as MongoDB's listIndexes gives them. They are kept for whoever takes the
 * collection to a MongoDB (export, checkout); the view of a branch has its own order and needs none.
 *
 * Errors     INVALID_ARGUMENT, naming the definition.
 */
#ifndef ARGON_BRANCH_CATALOG_INDEX_DEFINITIONS_H
#define ARGON_BRANCH_CATALOG_INDEX_DEFINITIONS_H

#include "common/base/arena.h"
#include "common/base/bytes.h"
#include "common/base/error.h"

/* Checks the definitions (each a document with a name and a key; names and keys differ) and makes one array of them, in the arena;
 * empty when there are none. That of _id, which every collection has, is left out. */
CHECKED bool index_definitions_pack(const struct bytes *definitions, size_t n, struct arena *arena, struct bytes *array, struct error *err);

/* The other way; the documents point into the array. */
CHECKED bool index_definitions_unpack(struct bytes array, struct arena *arena, struct bytes **definitions, size_t *n, struct error *err);

#endif
