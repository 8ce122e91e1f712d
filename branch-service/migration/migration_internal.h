/* What the files of a migration share: migration.c (steps forward), migration_step.c (claiming, and each step as one batch),
 * migration_move.c (collections and their names), migration_rollback.c. */
#ifndef ARGON_BRANCH_MIGRATION_MIGRATION_INTERNAL_H
#define ARGON_BRANCH_MIGRATION_MIGRATION_INTERNAL_H

#include "branch-service/branches/base_copy.h"
#include "branch-service/migration/migration.h"
#include "common/base/sync.h"

/* Says in the record, while others wait for it, that the executor is still there; from a thread of its own, since a command of
 * MongoDB may take longer than they wait for one that is silent. */
struct migration_pulse {
    struct project *project;
    const char *branch_id; /* of the traditional branch */
    uint64_t epoch;
    int64_t deadline;  /* of the call */
    struct mutex lock; /* rank 30; covers what is below */
    struct condition changed;
    bool needed; /* others wait */
    bool taken;  /* somebody else has claimed the record */
    bool stopping;
    pthread_t thread;
};

/* An executor at work. Everything lives in its arena. */
struct migration_run {
    const struct migration_call *call;
    struct registry *registry;
    struct project *project;
    struct mongo *mongo;
    struct arena arena;
    struct branch_record record; /* of the traditional branch, as this executor left it last */
    struct migration migration;  /* what it says */
    bool stubborn;               /* goes on when nobody listens: others wait for it */
    struct migration_pulse pulse;
};

/* ---- steps (migration_step.c) ----------------------------------------------------------------------- */

/* Finds the branch and claims its record. seen NULL: whatever that says; else only if it is still as it was seen.
 * migration_run_end after success only. */
CHECKED bool migration_run_begin(struct migration_run *run, const struct migration_call *call, enum migration_verb verb,
                                 const struct migration_status *seen, struct error *err);
void migration_run_end(struct migration_run *run);

/* What one step changes besides the state. The batch takes the record of the traditional branch, and behind it `last`. */
struct migration_change {
    enum branch_state to;
    /* May run several times. May change record and migration, whose state is set already, and add records to the batch. */
    bool (*apply)(struct migration_run *run, struct migration_change *change, const struct project_catalog *catalog,
                  struct branch_record *record, struct migration *migration, struct batch *batch, struct error *err);
    void *ctx;
    const char *last_id; /* a new branch, whose record ends the batch */
    struct bytes last;
    uint64_t lsn; /* of the batch, out */
};
/* FAILED_PRECONDITION: somebody else has claimed the record. */
CHECKED bool migration_step(struct migration_run *run, struct migration_change *change, struct error *err);

/* FAILED_PRECONDITION: somebody else has claimed the record. */
CHECKED bool migration_check_mine(struct migration_run *run, struct error *err);
/* The same as far as the pulse knows, which costs nothing. */
CHECKED bool migration_check_pulse(struct migration_run *run, struct error *err);

/* Tells where it is. False, with CANCELLED: nobody listens. */
CHECKED bool migration_tell(struct migration_run *run, const char *message, struct error *err);
/* Waits, and tells the while. */
CHECKED bool migration_wait(struct migration_run *run, int64_t micros, const char *message, struct error *err);
CHECKED bool migration_copy_base(struct migration_run *run, struct error *err);
/* A point where tests stop the process, once: ARGON_TEST_MIGRATION=kill:NAME or stop:NAME (SIGKILL, SIGSTOP). */
#ifdef ARGON_TEST_POINTS
void migration_test_point(const char *name);
#else
static inline void migration_test_point(const char *name)
{
    (void)name;
}
#endif

/* ---- collections (migration_move.c) ----------------------------------------------------------------- */

/* Those of the branch as they are now, into *migration. FAILED_PRECONDITION: one that no WAL branch can have. */
CHECKED bool migration_list_collections(struct migration_run *run, struct migration *migration, struct error *err);
/* Renames the collections, wherever they are, to this executor's names. *prefix lives in the run's arena. */
CHECKED bool migration_move_collections(struct migration_run *run, const char **prefix, struct error *err);
CHECKED bool migration_put_placeholders(struct migration_run *run, struct error *err);
/* Of the names of executors before this one. Those of one that comes later are not ours: it may have made them the branch's. */
CHECKED bool migration_drop_older(struct migration_run *run, struct error *err);
CHECKED bool migration_drop_placeholders(struct migration_run *run, const char *prefix, struct error *err);

CHECKED bool migration_join(struct migration_run *run, const char *prefix, const char *name, const char **joined, struct error *err);

#endif
