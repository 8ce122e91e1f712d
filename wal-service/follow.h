/* Who waits at the head of a project's log.
 *
 * A follower that has shown everything up to the head asks to be woken, and looks at the head once more: whatever is
 * published after it asked wakes it. Nobody is woken who did not ask since. The commit thread only notes which projects
 * moved, in constant time, and not even that while nobody follows; a thread of the registry wakes one follower after
 * the other.
 *
 * Ownership  a follower is its user's, and may not move or go between add and remove.
 * Threads    any. `wake` runs on the registry's thread, never after remove has returned, must not block and must not
 *            call the registry.
 */
#ifndef ARGON_WAL_FOLLOW_H
#define ARGON_WAL_FOLLOW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/bytes.h"
#include "common/base/error.h"

struct follow_registry;

struct follower {
    void (*wake)(void *ctx);
    void *ctx;

    /* The registry's. */
    struct follow_project *project;
    struct follower *next, **link; /* NULL: not waiting */
};

struct follow_registry *follow_registry_new(size_t max_followers);
void follow_registry_free(struct follow_registry *registry); /* after the last remove; NULL is fine */

/* RESOURCE_EXHAUSTED: there are as many as there may be. */
CHECKED bool follow_add(struct follow_registry *registry, struct follower *follower, struct bytes project, struct error *err);
void follow_remove(struct follow_registry *registry, struct follower *follower);
size_t follow_count(struct follow_registry *registry);

/* Wake me once: when the project moves, or soon (FOLLOW_TICK_MICROS at most) with `soon`. Asking again changes nothing
 * but that. */
#define FOLLOW_TICK_MICROS 50000
void follow_wait(struct follow_registry *registry, struct follower *follower, bool soon);

/* The project has a new head that everybody can see. */
void follow_moved(struct follow_registry *registry, struct bytes project);

#endif
