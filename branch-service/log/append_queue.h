/* Batches of one project that gather while an append is under way, and go together as one request: each keeps its own
 * result, so they are as independent as before.
 *
 *     append_queue_submit --nothing under way--> a group of one, sent by its writer
 *                         --else--> the forming group --a group is answered--> sent by who brought the answer
 *
 * Nobody waits on purpose: a group is what came while the one before was under way. A writer whose deadline passes
 * leaves: before its group was sent nothing has happened (NOT_APPLIED), after that the outcome is unknown.
 *
 * Ownership  a batch is borrowed until submit returns.
 * Threads    any.
 * Bounds     MAX_GROUP_BATCHES and MAX_GROUP_BYTES, or one larger batch.
 */
#ifndef ARGON_BRANCH_LOG_APPEND_QUEUE_H
#define ARGON_BRANCH_LOG_APPEND_QUEUE_H

#include "branch-service/log/log_source.h"

enum { MAX_GROUP_BATCHES = 256, MAX_GROUP_BYTES = 4 * 1024 * 1024 };

struct append_queue;
struct append_group;

/* Sends a group without waiting. Reads its batches before it returns, and leads to exactly one append_group_done. */
typedef void append_send_fn(void *ctx, struct append_group *group);

struct append_queue *append_queue_new(append_send_fn *send, void *ctx);
void append_queue_free(struct append_queue *queue); /* after the last submit; waits for what is under way. NULL is fine */

/* log_source_append. */
CHECKED bool append_queue_submit(struct append_queue *queue, const char *project, const struct log_incarnation *incarnation,
                                 const struct log_batch *batch, int64_t deadline, struct arena *arena, struct log_append_result *result,
                                 struct error *err);

/* For the sender. */
const char *append_group_project(const struct append_group *group);
const struct log_incarnation *append_group_incarnation(const struct append_group *group);
size_t append_group_size(const struct append_group *group);
const struct log_batch *append_group_batch(const struct append_group *group, size_t i);
int64_t append_group_deadline(const struct append_group *group); /* the latest of its writers' */

struct append_answer {
    bool ok;
    struct log_append_result result; /* of a failure: the conflicts */
    struct error err;
};

/* answers: one for each batch, or NULL: all failed with `failure`. They and what they point to are kept until the last
 * writer has taken its own: then released(kept) runs. */
void append_group_done(struct append_group *group, const struct append_answer *answers, const struct error *failure,
                       void (*released)(void *kept), void *kept);

#endif
