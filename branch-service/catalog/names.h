/* What projects, branches and collections may be called.
 *
 * Errors     INVALID_ARGUMENT, quoting the name and saying what is wrong with it.
 */
#ifndef ARGON_BRANCH_CATALOG_NAMES_H
#define ARGON_BRANCH_CATALOG_NAMES_H

#include "common/base/error.h"

/* 1 to MAX_NAME_BYTES of letters, digits and . _ - / that begin with a letter or a digit. `what` is
 * "project" or "branch". */
CHECKED bool name_check(const char *what, const char *name, struct error *err);

/* What MongoDB allows: UTF-8 without '$' and NUL, not "system."; and not one of the hidden collections. */
CHECKED bool name_check_collection(const char *name, struct error *err);

#endif
