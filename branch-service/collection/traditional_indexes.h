/* Indexes of a collection in MongoDB, as arrays of definitions (index_definitions.h) without that of _id.
 *
 * Ownership  inputs are borrowed; what is made lives in the arena.
 * Errors     those of mongo_collection.h. FAILED_PRECONDITION: more than a collection's record may hold.
 */
#ifndef ARGON_BRANCH_TRADITIONAL_INDEXES_H
#define ARGON_BRANCH_TRADITIONAL_INDEXES_H

#include "branch-service/mongo/mongo_collection.h"
#include "common/base/arena.h"

struct indexed_collection {
    struct mongo *mongo;
    const char *database;
    const char *name; /* there */
    struct arena *arena;
    int64_t deadline;
};

CHECKED bool indexes_read(const struct indexed_collection *collection, struct bytes *indexes, struct error *err);
/* Those that are not wanted, or not as they are. *changed becomes true when there were any. */
CHECKED bool indexes_drop_others(const struct indexed_collection *collection, struct bytes wanted, bool *changed, struct error *err);
/* Those that are wanted and have no index of their name: all of them or none. */
CHECKED bool indexes_create_missing(const struct indexed_collection *collection, struct bytes wanted, struct error *err);

#endif
