/* Documents and collections of a branch, whatever kind it is: one struct of functions, two implementations.
 *
 *   wal_collection          on the log: documents.h, collections.h
 *   traditional_collection  on MongoDB: traditional.h
 *
 * The kind comes from the catalog that is in memory, without asking the log. Where that says WAL, the WAL way meets the
 * branch's record again at the state that it really uses, and refuses a traditional one; where it says traditional, that way
 * asks the log first. Both refusals send the operation the other way: the name may have come to mean another branch.
 *
 * A write with a request_id always begins the WAL way, which looks for the request in the log: a repetition gets its answer
 * whatever the name means by now, and the refusal by a traditional branch is kept like any other outcome.
 *
 * Errors     FAILED_PRECONDITION, reason NEEDS_WAL_BRANCH: an option that a traditional branch does not have; the error's keys
 *            and message name it. The others are those of documents.h, collections.h and traditional.h.
 */
#ifndef ARGON_BRANCH_COLLECTION_H
#define ARGON_BRANCH_COLLECTION_H

#include "branch-service/documents/documents.h"

struct collection_kind {
    bool (*insert)(struct registry *registry, const struct collection_path *path, const struct insert_spec *spec,
                   const struct write_request *request, struct write_result *result, struct item_errors *errors, struct error *err);
    bool (*update)(struct registry *registry, const struct collection_path *path, const struct update_spec *spec,
                   const struct write_request *request, struct write_result *result, struct error *err);
    bool (*remove)(struct registry *registry, const struct collection_path *path, const struct delete_spec *spec,
                   const struct write_request *request, struct write_result *result, struct error *err);
    bool (*find_and_modify)(struct registry *registry, const struct collection_path *path, const struct find_and_modify_spec *spec,
                            const struct write_request *request, struct write_result *result, struct bytes *document, struct error *err);
    bool (*bulk_write)(struct registry *registry, const struct collection_path *path, const struct bulk_spec *spec,
                       const struct write_request *request, struct write_result *result, struct bulk_result *items, struct error *err);
    bool (*find)(struct registry *registry, const struct collection_path *path, const struct find_spec *spec,
                 const struct read_options *read, struct find **find, struct error *err);
    bool (*count)(struct registry *registry, const struct collection_path *path, const struct find_spec *spec,
                  const struct read_options *read, uint64_t *count, uint64_t *lsn, struct error *err);
    bool (*estimate)(struct registry *registry, const struct collection_path *path, const struct read_options *read, uint64_t *count,
                     uint64_t *lsn, struct error *err);
    bool (*distinct)(struct registry *registry, const struct collection_path *path, const struct distinct_spec *spec,
                     const struct read_options *read, struct buffer *values, uint64_t *lsn, struct error *err);
    bool (*aggregate)(struct registry *registry, const struct collection_path *path, const struct aggregate_spec *spec,
                      const struct read_options *read, struct find **find, struct error *err);
    bool (*list)(struct registry *registry, const char *project, const char *branch, const struct read_options *read, const char *after,
                 size_t n, struct arena *arena, struct collection_record *collections, size_t *n_collections, bool *more, uint64_t *lsn,
                 struct error *err);
    bool (*create)(struct registry *registry, const struct collection_path *path, const struct write_request *request, struct arena *arena,
                   struct collection_record *collection, uint64_t *lsn, struct error *err);
    bool (*rename)(struct registry *registry, const struct collection_path *path, const char *new_name, const struct write_request *request,
                   uint64_t *lsn, struct error *err);
    bool (*drop)(struct registry *registry, const struct collection_path *path, const struct write_request *request, uint64_t *lsn,
                 struct error *err);
    bool (*set_indexes)(struct registry *registry, const struct collection_path *path, struct bytes indexes,
                        const struct write_request *request, uint64_t *lsn, struct error *err);
};

extern const struct collection_kind wal_collection;
extern const struct collection_kind traditional_collection;

/* An operation on its way:
 *
 *     struct collection_way way;
 *     for (collection_begin(&way, registry, project, branch, request_id); collection_go(&way, &err);)
 *         way.ok = way.kind->insert(...);
 *
 * request_id is NULL for what does not write. */
struct collection_way {
    const struct collection_kind *kind;
    bool ok; /* what the last call came to */
    bool has_request_id;
    unsigned turns;
};
void collection_begin(struct collection_way *way, struct registry *registry, const char *project, const char *branch,
                      const char *request_id);
/* True: call way->kind. False: it is over, way->ok and err say how. */
bool collection_go(struct collection_way *way, struct error *err);

/* What an implementation says of a branch of the other kind. False. */
bool collection_is_wal(const char *branch, struct error *err);

#endif
