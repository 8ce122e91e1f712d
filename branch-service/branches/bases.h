/* Bases that people ask for: copies of a traditional branch on the log, which WAL branches of it begin with.
 *
 * A copy that fails deletes its base. One whose executor was killed leaves it incomplete: nothing can begin with it, and
 * bases_delete takes it away.
 *
 * Ownership  records live in the arena.
 * Errors     FAILED_PRECONDITION: the branch is not traditional, or not at rest, or it changed while it was copied; NEEDS_MONGODB.
 *            Those of base_copy.h.
 */
#ifndef ARGON_BRANCH_BRANCHES_BASES_H
#define ARGON_BRANCH_BRANCHES_BASES_H

#include "branch-service/branches/base_copy.h"
#include "branch-service/registry/registry.h"
#include "common/base/random.h"

struct new_base {
    char id[ID_SIZE];
    bool isolated;
    char why_not[200]; /* isolated */
};

/* The branch is named by its id. tell is told of each collection. */
CHECKED bool bases_copy(struct registry *registry, struct project *project, const char *branch_id, copy_tell_fn *tell, void *ctx,
                        int64_t deadline, struct new_base *base, struct error *err);
CHECKED bool bases_copy_named(struct registry *registry, const char *project, const char *branch, copy_tell_fn *tell, void *ctx,
                              int64_t deadline, struct new_base *base, struct error *err);
/* In the order of their ids, after one ("" = from the first), at most n. */
CHECKED bool bases_list(struct registry *registry, const char *project, const char *after, size_t n, int64_t deadline, struct arena *arena,
                        struct branch_record *bases, size_t *n_bases, bool *more, struct error *err);
/* Branches that begin with it stay. One that is being copied is complete never. FAILED_PRECONDITION: a migration made it. */
CHECKED bool bases_delete(struct registry *registry, const char *project, const char *base_id, const struct write_request *request,
                          uint64_t *lsn, struct error *err);
/* The same for a base that nobody has been told of; what fails is left. */
void bases_discard(struct project *project, const char *base_id);
/* FAILED_PRECONDITION, NOT_FOUND: no WAL branch of this traditional one begins with that. */
CHECKED bool bases_check(const struct tree *branches, const char *base_id, const struct branch_record *traditional, struct error *err);

#endif
