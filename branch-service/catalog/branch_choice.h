/* What a new branch becomes: what the caller demands, as far as it is possible, otherwise what the flags say.
 *
 * Errors     FAILED_PRECONDITION: a WAL branch is demanded while wal.enabled is false (WAL_BRANCHES_OFF); or it would be a
 *            traditional one, and no MongoDB is configured (NEEDS_MONGODB). The message names the flag, and what to do.
 */
#ifndef ARGON_BRANCH_CATALOG_BRANCH_CHOICE_H
#define ARGON_BRANCH_CATALOG_BRANCH_CHOICE_H

#include "branch-service/catalog/features.h"

enum kind_wish { KIND_BY_FLAGS, KIND_WAL, KIND_TRADITIONAL };

CHECKED bool branch_choose_kind(const struct features *features, enum kind_wish wish, const struct new_branch *branch,
                                bool mongodb_configured, bool *use_wal, struct error *err);

#endif
