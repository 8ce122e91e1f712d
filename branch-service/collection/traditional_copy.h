/* Moving whole branches of collections: copying a parent's, dropping all with a prefix. */
#ifndef ARGON_BRANCH_TRADITIONAL_COPY_H
#define ARGON_BRANCH_TRADITIONAL_COPY_H

#include "branch-service/mongo/mongo_collection.h"
#include "branch-service/registry/registry.h"

/* Copies the collections of the parent to those of a branch: a traditional parent's inside the server, with their options and
 * indexes; a WAL parent's as they are at the cut, with the indexes that are recorded there. A part may be there when this fails. */
CHECKED bool traditional_copy_parent(struct registry *registry, struct project *project, const struct branch_record *branch,
                                     const struct branch_record *parent, int64_t deadline, struct error *err);

/* Drops the collections whose names begin so, but not those that begin with `keep` (NULL: none is kept). */
CHECKED bool traditional_drop_prefix(struct mongo *mongo, const char *database, const char *prefix, const char *keep, int64_t deadline,
                                     struct error *err);

#endif
