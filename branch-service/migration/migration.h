/* Migration of a traditional branch: a new WAL branch takes over its name, and its collections as a base.
 *
 *   preparing  operations on the traditional branch have a limit of half a second from now on; ten seconds later nothing is
 *              under way that has a longer one
 *   frozen     operations wait for what becomes of the branch; half a second later nothing is under way that will be answered
 *              OK. Then the list of collections is taken down in the record, and they are renamed to names of this executor's
 *              epoch; empty collections that take no document stand in for them
 *   renamed    all of them are
 *   started    one batch: the base's record and catalog, the WAL branch, its name. From here on the log is what counts. Until
 *              the base is copied it is read from the renamed collections, which nobody writes to
 *   copied     the base is on the log
 *   verified   its documents are those of the renamed collections, by digest
 *   confirming the renamed collections are dropped; there is no way back
 *   confirmed  the traditional branch is a tombstone
 *   rolling_back  the server copies the renamed collections to names of this executor's epoch, and what the WAL branch has
 *              changed since is applied to the copies, round by round
 *   handing_back  writes on the WAL branch wait; the last round; then one batch: the name means the traditional branch again,
 *              whose collections are the copies, and the WAL branch is a tombstone that its forks go on reading through
 *
 * The steps are drawn in migration_record.h. Each call claims the record and goes on where the one before stopped,
 * whatever became of that: what a straggler still does hits names that nobody reads.
 *
 * Errors     FAILED_PRECONDITION, reason MIGRATION_STATE: not in this state, or somebody else has taken over; NEEDS_MONGODB;
 *            WAL_BRANCHES_OFF. DATA_LOSS: base and collections are not the same. CANCELLED: tell said so.
 */
#ifndef ARGON_BRANCH_MIGRATION_MIGRATION_H
#define ARGON_BRANCH_MIGRATION_MIGRATION_H

#include "branch-service/catalog/migration_record.h"
#include "branch-service/registry/registry.h"

struct migration_status {
    enum branch_state state; /* BRANCH_READY: there is no migration */
    const char *branch;      /* name */
    const char *traditional_id;
    const char *wal_id; /* "": none yet */
    const char *base_id;
    const char *database;
    const char *prefix; /* of the collections as they are now */
    uint64_t epoch;
    uint64_t beats;
    uint64_t started_at;
    uint64_t collections; /* known from the freeze on */
    uint64_t copied;      /* of these, how many are on the log as a whole */
};

/* collection is empty when nothing is said of one. */
struct migration_progress {
    enum branch_state state;
    const char *collection;
    uint64_t documents, bytes;
    const char *message;
};
/* False: nobody listens any more. */
typedef bool migration_tell_fn(void *ctx, const struct migration_progress *progress);

struct migration_call {
    struct registry *registry;
    const char *project;
    const char *branch;
    migration_tell_fn *tell;
    void *ctx;
    int64_t deadline;
};

/* In the end the branch is verified, or confirmed, or traditional again. */
CHECKED bool migration_start(const struct migration_call *call, struct error *err);
CHECKED bool migration_confirm(const struct migration_call *call, struct error *err);
CHECKED bool migration_rollback(const struct migration_call *call, struct error *err);
/* Of a branch that others wait for, once its executor seems to be gone (standstill.h): only if it is still as it was seen. The
 * branch is traditional again, or its rollback waits for the next call. */
CHECKED bool migration_release(const struct migration_call *call, const struct migration_status *seen, struct error *err);
CHECKED bool migration_get_status(struct registry *registry, const char *project, const char *branch, int64_t deadline, struct arena *arena,
                                  struct migration_status *status, struct error *err);

#endif
