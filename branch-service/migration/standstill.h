/* Branches that stand still for a migration whose executor may be gone.
 *
 * Operations wait while a branch is frozen, and writes while it is handed back; the executor may be killed just then. So whoever
 * waits has the replica watch the branch's record. An executor changes it all the time (see migration_record.h, beats); when it
 * has not changed for STANDSTILL_MICROS, the branch is released: it is traditional again, or, if it was being handed back,
 * its rollback waits for the next call and writers go on.
 *
 *     somebody waits --> watched --changed--> watched anew --nobody need wait--> forgotten
 *                           '--not changed--> released ----^
 *
 * Releasing begins with claiming the record as it was seen, like every call on a migration: an executor that was only slow finds
 * that it has been taken over, and of several replicas one does it. No clock need be right for that.
 *
 * Threads    any. One thread watches, from the first branch on.
 */
#ifndef ARGON_BRANCH_MIGRATION_STANDSTILL_H
#define ARGON_BRANCH_MIGRATION_STANDSTILL_H

#include "branch-service/registry/registry.h"
#include "common/base/clock.h"

enum { STANDSTILL_MICROS = 10 * MICROS_PER_SECOND };

struct standstill;
struct standstill *standstill_new(struct registry *registry);
void standstill_free(struct standstill *standstill); /* NULL is fine; ends what is under way at its next step */

/* The branch stands still, and somebody waits. Never waits itself. */
void standstill_note(struct standstill *standstill, const char *project, const char *branch);

#endif
