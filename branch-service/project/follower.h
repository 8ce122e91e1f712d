/* Follows the logs of the projects that are in use, so that a strong read finds nothing to read.
 *
 * A project is followed from its first use until nobody has used it for a while, or until it is the least
 * recently used one of too many. A few threads serve all of them.
 *
 *     used --> open --message--> fold in --> wait        --not used for idle_micros--> closed
 *               ^                                        --the log replaced, a view came up--> open
 *               +-- pause, which grows --failed---------+
 *
 * Ownership  projects outlive the follower.
 * Threads    any.
 */
#ifndef ARGON_BRANCH_PROJECT_FOLLOWER_H
#define ARGON_BRANCH_PROJECT_FOLLOWER_H

#include "branch-service/project/project.h"

struct follower;

struct follower_options {
    int64_t idle_micros;
    size_t max_follows;
    unsigned threads;
};

struct follower *follower_new(const struct follower_options *options);
void follower_free(struct follower *follower); /* NULL is fine; ends what is under way */

/* The project, which is known, is being used. Cheap when it is followed already. */
void follower_use(struct follower *follower, struct project *project);

/* A project_released_fn. */
void follower_released(void *follower, struct project *project);

uint64_t follower_count(struct follower *follower); /* projects that are followed at the moment */

#endif
