/* Branches of a project: create, adopt, get, list, rename, delete.
 *
 * A WAL branch is one small batch: two catalog records. It looks at no document. A traditional branch is a copy, see
 * collection/traditional_branch.h.
 *
 * Ownership  descriptions' strings live in the arena.
 * Errors     NOT_FOUND, ALREADY_EXISTS, INVALID_ARGUMENT (names), FAILED_PRECONDITION (main stays as it is),
 *            OUT_OF_RANGE (at_lsn beyond the head, at_time beyond the log's clock).
 */
#ifndef ARGON_BRANCH_BRANCHES_BRANCHES_H
#define ARGON_BRANCH_BRANCHES_BRANCHES_H

#include "branch-service/catalog/branch_choice.h"
#include "branch-service/registry/registry.h"

struct branch_description {
    const char *id;
    const char *name;
    const char *parent_id;   /* NULL: main */
    const char *parent_name; /* its id when it has been deleted */
    uint64_t base_lsn;
    uint64_t cut_lsn;
    uint64_t head_lsn;
    uint64_t created_at;
    enum branch_kind kind;
    enum branch_state state;
    const char *database; /* of a traditional branch; else "" */
    const char *prefix;
    const char *base_id; /* of a WAL branch that begins with a base; else "" */
    bool base_isolated;
};

struct branch_origin {
    const char *from; /* empty: main */
    uint64_t at_lsn;  /* at most one of the two; both 0: the parent's head */
    uint64_t at_time; /* microseconds since the epoch */
    enum kind_wish kind;
    const char *base_id; /* of a WAL branch of a traditional parent; empty: a new base is made */
};

/* INVALID_ARGUMENT: at_lsn and at_time are both set. FAILED_PRECONDITION: the parent, or this service, has not what the kind
 * needs. */
CHECKED bool branches_create(struct registry *registry, const char *project, const char *name, const struct branch_origin *origin,
                             const struct write_request *request, struct arena *arena, struct branch_description *branch, uint64_t *lsn,
                             struct error *err);
/* A traditional branch of collections that are there. database empty: that of the branches made here. NOT_FOUND: no collection
 * has the prefix; ALREADY_EXISTS: the name, or a prefix that overlaps with another branch's. */
CHECKED bool branches_adopt(struct registry *registry, const char *project, const char *name, const char *prefix, const char *database,
                            const struct write_request *request, struct arena *arena, struct branch_description *branch, uint64_t *lsn,
                            struct error *err);
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
