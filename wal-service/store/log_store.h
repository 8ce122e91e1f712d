/* Ordered, durable frames behind the WAL service.
 *
 * A group of frames is appended all or none. COMMITTED is said only after all of them are on disk; only
 * then do head, scans and reads see them. A frame is seen whole or not at all.
 *
 * Ownership  inputs are borrowed for the call; a visitor's bytes are valid only inside the visitor.
 * Threads    append, vouch: the commit thread only. Everything else: any thread, also beside append.
 * Errors     DATA_LOSS = bad checksum or shape: never a shorter answer.
 */
#ifndef ARGON_WAL_STORE_LOG_STORE_H
#define ARGON_WAL_STORE_LOG_STORE_H

#include "common/base/arena.h"
#include "common/base/error.h"
#include "wal-service/store/frame.h"

enum append_outcome {
    APPEND_COMMITTED,
    APPEND_HEAD_MOVED, /* another writer took the slot: nothing of this group is in the log; read on and check again */
    APPEND_REFUSED,    /* nothing was written and the store goes on (disk full, too many open files: RESOURCE_EXHAUSTED) */
    APPEND_UNKNOWN,    /* may or may not be in the log; the segment store is dead after it */
};

struct log_head {
    uint64_t lsn;       /* the commit LSN; 0: nothing yet */
    uint64_t timestamp; /* of the last batch */
};

struct log_store_stats {
    uint64_t projects, segments, disk_bytes, groups, entries, memory_bytes; /* groups: those with frames */
    uint64_t sealed_segments;                                               /* with a footer instead of an index in memory */
    uint64_t compressed_segments;
    uint64_t uncompressed_bytes;  /* that the compressed ones unpack to */
    uint64_t background_failures; /* of sealing and compressing; each is tried again */
    bool disk_full;
};

/* A log branch that has entries. */
struct log_branch {
    struct bytes id;
    uint64_t last_lsn;
};

/* Frames whose last LSN lies in (after, through], with at least one matching run. NULL: every. */
struct log_range {
    struct bytes project;
    uint64_t after, through;
    const struct bytes *branch_id;
    const struct bytes *collection;
};

/* False with err->code == ERROR_OK (untouched) stops quietly; with an error set the scan fails with it. */
typedef bool frame_visit_fn(void *ctx, const struct frame *frame, struct error *err);

struct log_store;

struct log_store_ops {
    enum append_outcome (*append)(struct log_store *store, const struct frame *frames, size_t n, struct error *err);
    bool (*vouch)(struct log_store *store, struct error *err);
    void (*head)(struct log_store *store, struct bytes project, struct log_head *head);
    uint64_t (*branch_head)(struct log_store *store, struct bytes project, struct bytes branch_id);
    uint64_t (*batch_end)(struct log_store *store, struct bytes project, uint64_t lsn);
    void (*find_time)(struct log_store *store, struct bytes project, uint64_t micros, struct log_head *found);
    bool (*list_branches)(struct log_store *store, struct bytes project, struct bytes after, size_t max, struct arena *arena,
                          struct log_branch *branches, size_t *n, struct error *err);
    bool (*scan)(struct log_store *store, const struct log_range *range, frame_visit_fn *visit, void *ctx, struct error *err);
    void (*incarnation)(struct log_store *store, uint8_t out[INCARNATION_BYTES]);
    uint64_t (*known_through)(struct log_store *store, struct bytes project, const uint8_t incarnation[INCARNATION_BYTES]);
    void (*stats)(struct log_store *store, struct log_store_stats *stats);
    void (*close)(struct log_store *store);
};

/* The first member of every implementation. */
struct log_store {
    const struct log_store_ops *ops;
};

/* Appends n frames at their projects' heads: timestamps of a project never fall, each frame's first_lsn is the head it expects + 1, frames
 * of one project follow each other. err is set for REFUSED and UNKNOWN. */
static inline enum append_outcome log_store_append(struct log_store *store, const struct frame *frames, size_t n, struct error *err)
{
    return store->ops->append(store, frames, n, err);
}

/* When idle: writes an empty group if the last group is not yet followed by one, so that a later start
 * can tell damage to it from a torn write. False: the store is dead, as after APPEND_UNKNOWN. */
CHECKED static inline bool log_store_vouch(struct log_store *store, struct error *err)
{
    return store->ops->vouch(store, err);
}

/* {0, 0} for an unknown project. */
static inline void log_store_head(struct log_store *store, struct bytes project, struct log_head *head)
{
    store->ops->head(store, project, head);
}

/* Last LSN of a log branch; 0: none. */
static inline uint64_t log_store_branch_head(struct log_store *store, struct bytes project, struct bytes branch_id)
{
    return store->ops->branch_head(store, project, branch_id);
}

/* The last LSN of the newest batch that ends at or before lsn; 0: none. */
static inline uint64_t log_store_batch_end(struct log_store *store, struct bytes project, uint64_t lsn)
{
    return store->ops->batch_end(store, project, lsn);
}

/* The last batch whose timestamp is at or before a time, in microseconds since the epoch; {0, 0}: none. */
static inline void log_store_find_time(struct log_store *store, struct bytes project, uint64_t micros, struct log_head *found)
{
    store->ops->find_time(store, project, micros, found);
}

/* Log branches of a project in the order of their ids (bytewise, a prefix first), behind `after` (empty: from the
 * first), at most max; *n is how many, fewer than max only at the end. The ids live in the arena;
 * RESOURCE_EXHAUSTED: it has no room. Branches that appear between two calls may or may not be seen; none
 * that was there before the first call is missed. */
CHECKED static inline bool log_store_list_branches(struct log_store *store, struct bytes project, struct bytes after, size_t max,
                                                   struct arena *arena, struct log_branch *branches, size_t *n, struct error *err)
{
    return store->ops->list_branches(store, project, after, max, arena, branches, n, err);
}

/* In LSN order. The frame given to the visitor has all of its runs; the visitor filters them. */
CHECKED static inline bool log_store_scan(struct log_store *store, const struct log_range *range, frame_visit_fn *visit, void *ctx,
                                          struct error *err)
{
    return store->ops->scan(store, range, visit, ctx, err);
}

static inline void log_store_incarnation(struct log_store *store, uint8_t out[INCARNATION_BYTES])
{
    store->ops->incarnation(store, out);
}

/* What was learned under this incarnation holds through this LSN of the project: the head for the current
 * one, the head at its end for an earlier one, 0 for one that the log does not know. */
static inline uint64_t log_store_known_through(struct log_store *store, struct bytes project, const uint8_t incarnation[INCARNATION_BYTES])
{
    return store->ops->known_through(store, project, incarnation);
}

static inline void log_store_stats(struct log_store *store, struct log_store_stats *stats)
{
    store->ops->stats(store, stats);
}

/* Vouches for the last group, if it can, and releases everything. NULL is fine. */
static inline void log_store_close(struct log_store *store)
{
    if (store)
        store->ops->close(store);
}

/* ---- implementations ------------------------------------------------------------------------------ */

/* In memory, for tests. before_append runs at the start of each append and may itself append (the second
 * writer): the group in hand then ends as HEAD_MOVED if its slot was taken. */
typedef void memory_store_hook_fn(void *ctx, struct log_store *store);
struct log_store *memory_store_new(memory_store_hook_fn *before_append, void *ctx);

struct segment_store_options {
    const char *directory;  /* made if it does not exist */
    uint64_t segment_bytes; /* length of a segment file; a group that needs more gets a longer one */

    /* Segments that are no longer written are compressed in the background, all but so many of the newest. 0: none. */
    uint64_t compress_after;
    /* For a simulator, whose disk is to see one call at a time: footers and compression only in segment_store_settle. */
    bool keep_when_settled;
    /* A failure in the background: the log is as it was, and it will be tried again. On a thread of the store; may be NULL. */
    void (*background_failed)(void *ctx, const struct error *err);
    void *ctx;
};

/* Opens or creates the log in a directory; a file lock keeps other processes out (FAILED_PRECONDITION, names
 * the holder). Every recovered frame is shown to `recovered` (may be NULL), in log order, before this
 * returns. *report tells what recovery did, also for one line in the log. DATA_LOSS names file and byte. */
struct segment_recovery {
    uint64_t segments, groups, frames, entries;
    uint64_t dropped_bytes; /* of a torn last group */
    char dropped_file[64];
    /* Footers that did not say what their segments say, and such as were not there: they are written anew. */
    uint64_t footers_bad, footers_missing;
    char bad_footer[64]; /* the last of the bad */
};
CHECKED bool segment_store_open(const struct segment_store_options *options, frame_visit_fn *recovered, void *ctx,
                                struct segment_recovery *report, struct log_store **store, struct error *err);

#endif
