/* Asks the WAL service once a second whether it is there, and says when a branch service cannot do its work for want of it:
 *
 *   AWAY --an answer--> THERE --none for `away`--> AWAY
 *
 * Threads    one of its own, on which `changed` runs. Everything else: any.
 */
#ifndef ARGON_BRANCH_WAL_WATCH_H
#define ARGON_BRANCH_WAL_WATCH_H

#include "branch-service/log/log_source.h"

struct wal_watch;

struct wal_watch_options {
    struct log_source *log;
    int64_t away_micros;
    void (*changed)(void *ctx, bool there);
    void *ctx;
};

/* Waits a second at most for the first answer. `changed` has been called before this returns: with what is so then. */
struct wal_watch *wal_watch_start(const struct wal_watch_options *options);
void wal_watch_stop(struct wal_watch *watch); /* NULL is fine */

/* Microseconds since the last answer, or since the start. *reachable: the last question was answered. */
int64_t wal_watch_silence(struct wal_watch *watch, bool *reachable);

#endif
