/* The commit core: decides which batches enter the log, and at which LSN.
 *
 * A single-threaded state machine; events in, effects out. No threads, files or clocks: the driver appends the group
 * that take_group formed, tells how that ended, and passes on the batches that have their result. The states are drawn
 * in commit.c.
 *
 * Ownership  batches are borrowed from submit until they come out of take_finished.
 * Threads    submit, promise, gather, fold, publish, may_hold, abandon and the lookups: under one lock of the driver.
 *            Everything else: the commit thread, without that lock.
 */
#ifndef ARGON_WAL_COMMIT_H
#define ARGON_WAL_COMMIT_H

#include "wal-service/append_batch.h"
#include "wal-service/store/log_store.h"

/* A group holds at most this much, or one larger batch. */
#define MAX_GROUP_BYTES ((size_t)8 * 1024 * 1024)

struct commit_options {
    size_t conflict_window_bytes;
    size_t request_window_bytes;
    uint64_t hash_seed; /* random; never stored */
};

struct commit;

struct commit *commit_new(const struct commit_options *options);
void commit_free(struct commit *commit); /* NULL is fine; holds no batches any more */

/* Before the first batch: every frame of the log, in order, and the incarnation of this start. Of what was written
 * before, the conflict window knows nothing: its floor is the head. */
CHECKED bool commit_recover(struct commit *commit, const struct frame *frame, struct error *err);
void commit_set_incarnation(struct commit *commit, const uint8_t incarnation[INCARNATION_BYTES]);

/* ---- batches in, groups out ---------------------------------------------------------------------- */

void commit_submit(struct commit *commit, struct append_batch *batch);
/* Moves what was submitted to the commit thread's queue, and keeps what was promised from here on; false: nothing is
 * waiting there. */
bool commit_gather(struct commit *commit);

/* A time is to be answered. The promise is kept once it comes out of take_promises: whatever is in the log then or will
 * be published later is either visible already or later than its time. */
void commit_promise(struct commit *commit, struct time_promise *promise);
struct time_promise *commit_take_promises(struct commit *commit); /* those kept since the last call, linked by `next` */

struct commit_group {
    const struct frame *frames;
    size_t n; /* 0: every waiting batch was refused */
};
/* Checks the waiting batches in order. Those refused for what is committed are finished at once. */
void commit_take_group(struct commit *commit, uint64_t now_micros, struct commit_group *group);

/* After append. COMMITTED: publish next. HEAD_MOVED: fold what the log has behind our heads, then take a group again.
 * REFUSED and UNKNOWN need err; after UNKNOWN only abandon is left. */
void commit_group_done(struct commit *commit, enum append_outcome outcome, const struct error *err);

/* Makes the committed group visible to the lookups. */
void commit_publish(struct commit *commit);

/* A frame that somebody else appended. DATA_LOSS when it does not follow the project's head. */
CHECKED bool commit_fold(struct commit *commit, const struct frame *frame, struct error *err);
/* i-th project of the group that met HEAD_MOVED, and its head here. False: there are no more. */
bool commit_behind(const struct commit *commit, size_t i, struct bytes *project, uint64_t *head_lsn);

/* After UNKNOWN: the batch's request has a step in the group that may be in the log, so no copy of it can be called
 * not applied any more. */
bool commit_may_hold(const struct commit *commit, const struct append_batch *batch);

/* The log is dead: every batch that waits is finished as UNAVAILABLE. */
void commit_abandon(struct commit *commit, const struct error *why);

/* Batches that have their result since the last call, linked by `next`. */
struct append_batch *commit_take_finished(struct commit *commit);

/* Head of the batch's project as published. For batches that are finished, on the commit thread. */
uint64_t commit_batch_head(const struct append_batch *batch);

/* ---- lookups ------------------------------------------------------------------------------------- */

struct commit_head {
    uint64_t lsn;
    uint64_t timestamp;
    uint64_t request_horizon;
};
void commit_get_head(const struct commit *commit, struct bytes project, struct commit_head *head);
/* Where the frame of the request's last committed step ends; 0: not known. */
uint64_t commit_find_request(const struct commit *commit, struct bytes project, struct bytes request_id);

struct commit_stats {
    uint64_t requests_remembered;
    uint64_t memory_bytes;
};
void commit_get_stats(const struct commit *commit, struct commit_stats *stats);

#endif
