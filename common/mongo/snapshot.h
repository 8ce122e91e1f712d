/* A cluster time at which a MongoDB is read, so that all of it is of one point in time.
 *
 * Whether the server keeps one is tried and not believed: servers exist that accept such a read and answer with the newest
 * state. A document is written into a collection of its own by another session, and must not be seen at that time.
 *
 * Errors     as `run` has them; with this reason: a snapshot that the server does not keep any more.
 */
#ifndef ARGON_COMMON_MONGO_SNAPSHOT_H
#define ARGON_COMMON_MONGO_SNAPSHOT_H

#include <stdint.h>

#include <bson/bson.h>

#include "common/base/error.h"

/* Collections that begin so are made for the try, and dropped at once. */
#define MONGO_SNAPSHOT_CHECK_PREFIX "_argon_snapshot_check_"

#define MONGO_SNAPSHOT_GONE "MONGO_SNAPSHOT_GONE"

/* Runs a command on the primary with the concerns that it names itself; reply is initialised in any case. */
typedef bool mongo_snapshot_run_fn(void *ctx, const char *database, const bson_t *command, bson_t *reply, const char *what,
                                   struct error *err);

struct mongo_snapshot {
    uint64_t time; /* seconds << 32 | number; 0: there is none */
    char why_not[200];
    char left_over[64]; /* a collection that could not be dropped; "": none */
};

/* True without a snapshot: `why_not` says why. False: the server is away, which leaves it open. */
CHECKED bool mongo_snapshot_begin(mongo_snapshot_run_fn *run, void *ctx, const char *database, struct mongo_snapshot *snapshot,
                                  struct error *err);
/* Adds the read concern to a command; nothing for time 0. */
void mongo_snapshot_append_concern(bson_t *command, uint64_t time);
/* Whether MongoDB's error says that it does not keep the snapshot any more. */
bool mongo_snapshot_is_gone(uint32_t code);

#endif
