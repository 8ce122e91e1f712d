/* What a checkout is called when nobody says: argon_checkout_PROJECT_BRANCH_LSN. What a name of a database must not hold becomes '_', and
 * what is too long is cut; then a hash of the names stands before the LSN, so that different branches keep different names. */
#ifndef ARGON_CLI_CHECKOUT_NAME_H
#define ARGON_CLI_CHECKOUT_NAME_H

#include <stdint.h>

enum { CHECKOUT_NAME_SIZE = 64 };

void checkout_name(const char *project, const char *branch, uint64_t lsn, char name[CHECKOUT_NAME_SIZE]);

#endif
