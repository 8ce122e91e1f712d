/* A follow of one project's log, step by step; follower.h runs them.
 *
 * Ownership  the project outlives its follow.
 * Threads    one at a time.
 * Errors     those of log_follow_take: UNAVAILABLE, open another one after a pause; ABORTED, the incarnation has changed:
 *            project_refresh first.
 */
#ifndef ARGON_BRANCH_PROJECT_PROJECT_FOLLOW_H
#define ARGON_BRANCH_PROJECT_PROJECT_FOLLOW_H

#include "branch-service/project/project.h"

struct project_follow;

enum follow_outcome {
    FOLLOW_IDLE,     /* everything that came is folded in; `ready` tells of more */
    FOLLOW_MORE,     /* step again */
    FOLLOW_HELD,     /* somebody else moves the project: step again when it has been released */
    FOLLOW_OUTDATED, /* open another one at once */
    FOLLOW_FAILED,
};

/* From the position on; the project is known. `ready` as in log_follow_open. */
CHECKED bool project_follow_open(struct project *project, void (*ready)(void *ctx), void *ctx, struct project_follow **follow,
                                 struct error *err);
enum follow_outcome project_follow_step(struct project_follow *follow, struct error *err);
void project_follow_close(struct project_follow *follow); /* NULL is fine */

/* Runs after a step found the project held, when it no longer is; also when own batches wait to be folded in, which
 * a step does. It must not block, nor take a lock of rank 25 or below. Before the project is used. */
typedef void project_released_fn(void *ctx, struct project *project);
void project_on_release(struct project *project, project_released_fn *released, void *ctx);

/* When it was last used (monotonic microseconds), and whether somebody follows it. */
bool project_note_use(struct project *project); /* is it followed? */
int64_t project_used_at(const struct project *project);
void project_set_followed(struct project *project, bool followed);

#endif
