/* Writers of one document on this replica take turns, so that only replicas conflict with each other.
 *
 * Threads    any. A writer holds at most one turn.
 */
#ifndef ARGON_BRANCH_WRITE_WRITE_QUEUE_H
#define ARGON_BRANCH_WRITE_WRITE_QUEUE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/error.h"

struct write_queue;

struct write_queue *write_queue_new(void);
void write_queue_free(struct write_queue *queue);

/* Waits for the turn of what hashes to this. DEADLINE_EXCEEDED. */
CHECKED bool write_queue_enter(struct write_queue *queue, uint64_t hash, int64_t deadline, struct error *err);
void write_queue_leave(struct write_queue *queue, uint64_t hash);

#endif
