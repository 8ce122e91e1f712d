/* Branches of a project: create, get, list, rename, delete.
 *
 * A fork is one small batch: two catalog records. It looks at no document.
 *
 * Ownership  descriptions' strings live in the arena.
 * Errors     NOT_FOUND, ALREADY_EXISTS, INVALID_ARGUMENT (names), FAILED_PRECONDITION (main stays as it is),
 *            OUT_OF_RANGE (at_lsn beyond the head, at_time beyond the log's clock).
 */
#ifndef ARGON_BRANCH_BRANCHES_H
#define ARGON_BRANCH_BRANCHES_H

#include "branch-service/registry.h"

struct branch_description {
    const char *id;
    const char *name;
    const char *parent_id;   /* NULL: main */
    const char *parent_name; /* its id when it has been deleted */
    uint64_t base_lsn;
    uint64_t cut_lsn;
    uint64_t head_lsn;
    uint64_t created_at;
};

/* from empty: main. at_lsn and at_time (microseconds since the epoch) 0: the parent's head; both set: INVALID_ARGUMENT. */
CHECKED bool branches_create(struct registry *registry, const char *project, const char *name, const char *from, uint64_t at_lsn,
                             uint64_t at_time, const struct write_request *request, struct arena *arena, struct branch_description *branch,
                             uint64_t *lsn, struct error *err);
CHECKED bool branches_get(struct registry *registry, const char *project, const char *name, int64_t deadline, struct arena *arena,
                          struct branch_description *branch, struct error *err);
/* In name order, main among them, after a name ("" = from the first), at most n. */
CHECKED bool branches_list(struct registry *registry, const char *project, const char *after, size_t n, int64_t deadline,
                           struct arena *arena, struct branch_description *branches, size_t *n_branches, bool *more, struct error *err);
CHECKED bool branches_rename(struct registry *registry, const char *project, const char *name, const char *new_name,
                             const struct write_request *request, struct arena *arena, struct branch_description *branch, uint64_t *lsn,
                             struct error *err);
CHECKED bool branches_delete(struct registry *registry, const char *project, const char *name, const struct write_request *request,
                             uint64_t *lsn, struct error *err);

#endif
