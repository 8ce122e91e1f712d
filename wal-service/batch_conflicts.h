/* Which keys that a batch touches or reads were written after its read_lsn.
 *
 * Threads    one at a time for a space; a batch belongs to one thread.
 */
#ifndef ARGON_WAL_BATCH_CONFLICTS_H
#define ARGON_WAL_BATCH_CONFLICTS_H

#include "wal-service/append_batch.h"
#include "wal-service/conflict_window.h"

/* Counts the conflicts with one space. If there are any, the result becomes ABORTED and names the first of them, as far as
 * the batch's arena has room. */
size_t batch_find_conflicts(struct append_batch *batch, const struct conflict_space *space);

#endif
