/* Bases read from collections of a MongoDB.
 *
 * Errors     those of mongo_collection.h.
 */
#ifndef ARGON_BRANCH_COLLECTION_MONGO_BASE_H
#define ARGON_BRANCH_COLLECTION_MONGO_BASE_H

#include "branch-service/mongo/mongo_collection.h"
#include "branch-service/project/base_source.h"

struct mongo_base {
    struct base_source source; /* first: they are cast */
    struct mongo *mongo;
};

void mongo_base_init(struct mongo_base *base, struct mongo *mongo);

/* base_source.read, at a snapshot unless that is 0. deadline: of the whole; NO_DEADLINE: each answer of the server still comes in time or
 * the reading fails. */
CHECKED bool mongo_base_read(struct mongo *mongo, const char *database, const char *collection, uint64_t snapshot, int64_t deadline,
                             base_document_fn *visit, void *ctx, bool *there, struct error *err);

#endif
