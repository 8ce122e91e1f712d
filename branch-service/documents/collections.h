/* Collections of a branch: list, create, rename, drop, index definitions.
 *
 * A collection's entries carry the id of its incarnation, so that a rename moves no document and a dropped
 * collection's entries never come back under a new one of the same name.
 *
 * Ownership  records' strings live in the arena.
 * Errors     NOT_FOUND project, branch, collection; ALREADY_EXISTS; INVALID_ARGUMENT (names).
 */
#ifndef ARGON_BRANCH_DOCUMENTS_COLLECTIONS_H
#define ARGON_BRANCH_DOCUMENTS_COLLECTIONS_H

#include "branch-service/registry/registry.h"
#include "common/base/caller.h"

struct collection_path {
    const char *project;
    const char *branch;
    const char *collection;
};

/* Which state a reader wants; see argon.branch.v1.ReadOptions. */
struct read_options {
    uint64_t as_of_lsn;
    uint64_t min_lsn;
    uint64_t as_of_time;
    bool stale_ok;
    int64_t deadline;
    struct caller caller;
};

CHECKED bool collections_create(struct registry *registry, const struct collection_path *path, const struct write_request *request,
                                struct arena *arena, struct collection_record *collection, uint64_t *lsn, struct error *err);
CHECKED bool collections_rename(struct registry *registry, const struct collection_path *path, const char *new_name,
                                const struct write_request *request, uint64_t *lsn, struct error *err);
/* Puts other index definitions (an array, from index_definitions_pack) in the place of those that a collection has, and
 * makes the collection if it is not there. They are recorded, and change nothing about reading and writing. */
CHECKED bool collections_set_indexes(struct registry *registry, const struct collection_path *path, struct bytes indexes,
                                     const struct write_request *request, uint64_t *lsn, struct error *err);
CHECKED bool collections_drop(struct registry *registry, const struct collection_path *path, const struct write_request *request,
                              uint64_t *lsn, struct error *err);
/* In name order, after a name ("" = from the first), at most n, and fewer when their index definitions are large. */
CHECKED bool collections_list(struct registry *registry, const char *project, const char *branch, const struct read_options *read,
                              const char *after, size_t n, struct arena *arena, struct collection_record *collections,
                              size_t *n_collections, bool *more, uint64_t *lsn, struct error *err);

/* Opens what a reader asked for: waits for min_lsn, rounds as_of_lsn and as_of_time down to a batch end. collection may be
 * NULL. INVALID_ARGUMENT: two of as_of_lsn, as_of_time and stale_ok; OUT_OF_RANGE: beyond the head, or the log's clock. */
CHECKED bool collections_open(struct registry *registry, const char *project, const char *branch, const char *collection,
                              const struct read_options *read, struct target *target, struct error *err);

/* The last batch end at or before a time (microseconds since the epoch), which the position has reached; 0: none. */
CHECKED bool collections_find_time(struct project *project, uint64_t time_micros, int64_t deadline, uint64_t *lsn, struct error *err);

#endif
