/* One batch on its way into the log, and what became of it.
 *
 * Ownership  everything is borrowed and lives until the batch has its result; the arena too.
 */
#ifndef ARGON_WAL_APPEND_BATCH_H
#define ARGON_WAL_APPEND_BATCH_H

#include "common/base/arena.h"
#include "wal-service/store/frame.h"

enum { MAX_CONFLICTS_NAMED = 64 };

struct batch_key {
    struct bytes branch_id;
    struct bytes collection;
    struct bytes document_id;
};

struct append_conflict {
    struct batch_key key;
    uint64_t written_lsn;
};

/* The log's record of the last committed step of a request. */
struct request_outcome {
    struct request_step step;
    uint64_t first_lsn;
    uint64_t last_lsn;
    uint64_t timestamp;
};

struct append_result {
    /* ERROR_OK: committed now, or before (earlier_lsn). outcome NOT_APPLIED speaks of this batch, not of an earlier
     * attempt under the same request id that has not been answered yet. */
    struct error error;
    bool stale;
    uint64_t first_lsn;
    uint64_t last_lsn;
    uint64_t timestamp;
    uint64_t earlier_lsn;                  /* where the frame of the request's last committed step ends; 0: none */
    const struct request_outcome *earlier; /* what is read there; not filled in by the commit core */
    struct append_conflict *conflicts;
    size_t n_conflicts;
};

/* "T was answered": the batches of the project that come next are later than T. */
struct time_promise {
    struct bytes project;
    uint64_t micros;
    struct time_promise *next; /* the commit core's while it has the promise */
};

struct append_batch {
    struct bytes project;
    struct bytes incarnation; /* under which read_lsn was learned; empty: not checked */

    /* `encoded` points to writable memory: the stamps are filled in when the batch joins a group. */
    const struct frame_run *runs;
    size_t n_runs;
    uint32_t entries;
    size_t bytes; /* in the log */

    const uint64_t *touched; /* key hash of each entry, in the order of the runs; no key twice */
    const struct batch_key *read_keys;
    const uint64_t *read_hashes;
    size_t n_reads;
    const uint64_t *write_hashes; /* of the keys written besides the documents */
    size_t n_writes;

    uint64_t read_lsn;
    bool unconditional;
    struct request_step request;
    uint64_t since_lsn;
    struct arena *arena; /* for the names of conflicting keys */

    struct append_result result;

    /* The commit core's while it has the batch. */
    struct append_batch *next;
    struct commit_project *log;
    enum batch_role {
        BATCH_QUEUED,
        BATCH_MEMBER,           /* in the group */
        BATCH_REFUSED_BY_GROUP, /* by a batch ahead in the group: the result counts once that is durable */
        BATCH_REPEATS_GROUP,    /* the same step is in the group */
    } role;

    void *owner; /* the submitter's */
};

#endif
