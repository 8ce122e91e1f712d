/* The log as the branch service sees it: read ranges, ask for the head, append batches.
 *
 * Reads and head checks are repeated on UNAVAILABLE until the deadline; an append is tried once, because
 * its repetition needs a fresh look first (write.h).
 *
 * Ownership  inputs are borrowed; results live in the arena given; a visitor's run only inside the visitor.
 * Threads    any.
 * Errors     those of argon.wal.v1; ERROR_ABORTED from read means that the incarnation has changed.
 */
#ifndef ARGON_BRANCH_LOG_LOG_SOURCE_H
#define ARGON_BRANCH_LOG_LOG_SOURCE_H

#include "common/base/arena.h"
#include "common/base/bytes.h"
#include "common/base/error.h"

enum log_operation { LOG_INSERT = 1, LOG_UPDATE = 2, LOG_DELETE = 3 };

struct log_entry {
    enum log_operation operation;
    struct bytes document_id; /* encoded, see common/bson/key_encoding.h */
    struct bytes document;    /* the whole image; of a delete the _id that goes, as a document; none in the catalog */
};

/* Consecutive entries of one collection on one log branch; entry i is at first_lsn + i. */
struct log_run {
    const char *branch_id;
    const char *collection; /* the id of its incarnation, or a hidden collection's name */
    const char *actor;
    uint64_t first_lsn; /* read only; filled in at commit */
    uint64_t timestamp;
    struct log_entry *entries;
    size_t n_entries;
};

struct log_key {
    const char *branch_id;
    const char *collection;
    struct bytes document_id;
};

/* argon.wal.v1.RequestStep */
struct log_request {
    struct bytes id; /* len 0: none */
    struct bytes hash;
    uint32_t step;
    bool last;
    struct bytes last_document_id;
    struct bytes answer;
};

struct log_incarnation {
    uint8_t bytes[16];
};

struct log_batch {
    struct log_run *runs;
    size_t n_runs;
    uint64_t read_lsn;
    const struct log_key *read_keys;
    size_t n_read_keys;
    const struct log_key *write_keys;
    size_t n_write_keys;
    struct log_request request;
    uint64_t since_lsn;
};

/* What the log knows of a request: its last committed step. */
struct log_request_outcome {
    struct log_request step;
    uint64_t first_lsn;
    uint64_t last_lsn;
    uint64_t timestamp;
};

struct log_append_result {
    uint64_t first_lsn;
    uint64_t last_lsn;
    uint64_t timestamp;
    /* This step was committed before: the LSNs are of that time and nothing was written. */
    bool repeated;
    struct log_request_outcome earlier;
    /* Filled in when the append fails with ABORTED: keys that were written after read_lsn, at most 64. */
    struct log_key *conflicts;
    size_t n_conflicts;
};

struct log_head {
    uint64_t commit_lsn;
    struct log_incarnation incarnation;
    uint64_t known_through; /* what was learned under the asked incarnation holds through here */
    bool request_known;
    struct log_request_outcome request;
};

/* Asked of a head, all optional. */
struct log_head_query {
    const struct log_incarnation *known_incarnation;
    struct bytes request_id;
    struct bytes request_hash;
    uint64_t since_lsn;
};

struct log_read_range {
    const char *project;
    uint64_t after;
    uint64_t through;       /* 0: the commit LSN */
    const char *branch_id;  /* NULL: all */
    const char *collection; /* NULL: all */
    /* Asked after each message, and while none comes at least every LOG_WANTED_MICROS, with the visitor's ctx: false ends the
     * read soon, as CANCELLED. NULL: not asked. */
    bool (*wanted)(void *ctx);
};
enum { LOG_WANTED_MICROS = 100000 };

struct log_status {
    const char *version;
    const char *data_directory;
    uint64_t uptime_seconds, disk_bytes, segments;
    uint64_t sealed_segments, compressed_segments;
    uint64_t memory_bytes, entries, follow_streams;
    bool disk_full;
};

struct log_source;
typedef bool log_run_fn(void *ctx, const struct log_run *run, struct error *err);

/* target: "HOST:PORT", or several with commas, of which the first that can be reached is used. */
CHECKED bool log_source_open(const char *target, struct log_source **source, struct error *err);
void log_source_close(struct log_source *source); /* NULL is fine */
const char *log_source_target(const struct log_source *source);

/* Shows every matching run to visit, in LSN order, each once. *complete_through is a batch end: everything
 * that matches up to there has been shown; it is set, too, when the read fails on the way (then more may have been
 * shown). The incarnation is checked when given. */
CHECKED bool log_source_read(struct log_source *source, const struct log_read_range *range, const struct log_incarnation *incarnation,
                             int64_t deadline, log_run_fn *visit, void *ctx, uint64_t *complete_through, struct error *err);

/* A tail of the log that holds no thread: what is committed after range->after (through must be 0), from now on.
 * `ready` runs on a thread that must not be held up, after something has come that log_follow_take has not shown; not
 * after close. */
struct log_follow;
CHECKED bool log_follow_open(struct log_source *source, const struct log_read_range *range, const struct log_incarnation *incarnation,
                             void (*ready)(void *ctx), void *ctx, struct log_follow **follow, struct error *err);
/* Shows what has come, in LSN order, and never waits. At most one message of the stream. *through is a batch
 * end that rises: everything that matches up to there has been shown; unchanged when nothing came. *more: a message was
 * shown, and there may be another already: call again. Failed: the follow has ended; open another after the last *through (UNAVAILABLE:
 * after a pause; ABORTED: the incarnation has changed). */
CHECKED bool log_follow_take(struct log_follow *follow, log_run_fn *visit, void *visit_ctx, uint64_t *through, bool *more,
                             struct error *err);
void log_follow_close(struct log_follow *follow); /* NULL is fine */

/* The last batch at or before a time, in microseconds since the epoch; *lsn = 0: none. OUT_OF_RANGE beyond the log's clock. */
CHECKED bool log_source_find_lsn(struct log_source *source, const char *project, uint64_t time_micros, int64_t deadline, uint64_t *lsn,
                                 struct error *err);

/* The newest batch end at or below lsn. */
CHECKED bool log_source_batch_end(struct log_source *source, const char *project, uint64_t lsn, const struct log_incarnation *incarnation,
                                  int64_t deadline, uint64_t *end, struct error *err);

/* OUT_OF_RANGE: the request may have been forgotten. INVALID_ARGUMENT: the same id with another hash. */
CHECKED bool log_source_head(struct log_source *source, const char *project, const struct log_head_query *query, int64_t deadline,
                             struct arena *arena, struct log_head *head, struct error *err);

/* The head alone, without waiting and in one try. `done` runs on a thread that must not be held up; head is NULL when
 * it failed; both are borrowed. */
typedef void log_head_fn(void *ctx, const struct error *failure, const struct log_head *head);
void log_source_head_start(struct log_source *source, const char *project, int64_t deadline, log_head_fn *done, void *ctx);

/* Last LSN of each log branch, 0 for one without entries. */
CHECKED bool log_source_branch_heads(struct log_source *source, const char *project, const char *const *branch_ids, size_t n,
                                     int64_t deadline, uint64_t *last_lsns, struct error *err);

/* ABORTED: a conflict or a stale read_lsn; look again. err->outcome says whether a failure is definite. */
CHECKED bool log_source_append(struct log_source *source, const char *project, const struct log_incarnation *incarnation,
                               const struct log_batch *batch, int64_t deadline, struct arena *arena, struct log_append_result *result,
                               struct error *err);

CHECKED bool log_source_status(struct log_source *source, int64_t deadline, struct arena *arena, struct log_status *status,
                               struct error *err);

#endif
