/* Traditional branches themselves: made by copying the parent's collections, deleted with them.
 *
 * A branch is made in three steps, each of which may be the last that a replica lives to do:
 *
 *     record with state creating --claim--> epoch + 1, prefix b_<id>_<epoch>_ --copy, finish--> no state
 *             ^                                |
 *             '------- claim by another -------'
 *
 * The record takes the name. Who goes on claims it first, so no two copy under one prefix; the finish holds only while the
 * epoch is the claimant's, and the parent is what it was. Whoever finishes drops what others have copied; whoever finds that
 * he has lost drops his own. What nobody reads is the worst that a stale executor leaves.
 *
 * A branch is deleted in three steps, too: state deleting, from which on it does not exist for operations; its collections
 * are dropped; then tombstone and name, under the user's request. Each may be repeated.
 *
 * Errors     FAILED_PRECONDITION: the parent is not there to be copied. UNAVAILABLE, DEADLINE_EXCEEDED: unfinished, the
 *            outcome is unknown; the request goes on when it is sent again.
 */
#ifndef ARGON_BRANCH_TRADITIONAL_BRANCH_H
#define ARGON_BRANCH_TRADITIONAL_BRANCH_H

#include "branch-service/registry/registry.h"

enum { MAX_PREFIX_BYTES = 63, MAX_DATABASE_BYTES = 63, TRADITIONAL_PREFIX_SIZE = 64 };

/* The prefix that branch and epoch give; that of all epochs for 0. */
void traditional_make_prefix(const char *branch_id, uint64_t epoch, char prefix[TRADITIONAL_PREFIX_SIZE]);

/* Does what is left to do for a record in state creating. The strings of *record live in
 * the arena. True also when somebody else has finished it, or deleted the branch. */
CHECKED bool traditional_finish_creation(struct registry *registry, struct project *project, const char *branch_id, int64_t deadline,
                                         struct arena *arena, struct branch_record *record, struct error *err);

/* Marks the branch as being deleted and drops its collections. */
CHECKED bool traditional_drop_collections(struct registry *registry, struct project *project, const char *branch_id, int64_t deadline,
                                          struct error *err);

/* INVALID_ARGUMENT: no prefix for a branch that is adopted: it is empty, too long, or could be one that Argon makes. */
CHECKED bool traditional_check_prefix(const char *prefix, struct error *err);
CHECKED bool traditional_check_database(const char *database, struct error *err);
/* Whether a collection could belong to both. */
bool traditional_prefixes_overlap(const char *a, const char *b);
/* Whether any collection has the prefix. */
CHECKED bool traditional_has_collections(struct mongo *mongo, const char *database, const char *prefix, int64_t deadline, bool *any,
                                         struct error *err);

#endif
