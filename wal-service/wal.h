/* The WAL service: threads around the commit core and a log store.
 *
 * One commit thread takes whatever gathered while the last group was written, appends it, publishes the new heads and
 * then answers. Nothing waits on purpose. One lookup thread re-reads frames for requests that are known already. When
 * the log fails, everything that waits is answered, `failed` is called, and every later append is refused: the process
 * is to exit.
 *
 * Ownership  an append or a query, and what it points to, is the service's from the call until `done`.
 * Threads    wal_append and the lookups: any. `done` runs on a thread of the service (a query's perhaps on the
 *            caller's, before the call returns) and must not block.
 * Errors     OUTCOME_NOT_APPLIED wherever that is certain.
 */
#ifndef ARGON_WAL_WAL_H
#define ARGON_WAL_WAL_H

#include "wal-service/append_batch.h"
#include "wal-service/follow.h"
#include "wal-service/store/log_store.h"

struct wal;

struct wal_options {
    uint64_t conflict_window_bytes;
    uint64_t request_window_bytes;
    uint64_t queue_bytes; /* of appends that have no answer yet; one larger append is taken alone */
    size_t max_follows;
    uint64_t (*clock)(void *ctx); /* microseconds since the epoch; NULL: the system's */
    void (*failed)(void *ctx);    /* once, on the commit thread, when the log has failed and all are answered; may be NULL */
    void *ctx;
};

/* new, then recover for every frame of the log while it opens, then start. */
struct wal *wal_new(const struct wal_options *options);
bool wal_recover(void *wal, const struct frame *frame, struct error *err); /* a frame_visit_fn */
void wal_start(struct wal *wal, struct log_store *store);
void wal_stop(struct wal *wal); /* after everything queued is answered; later appends are refused */
void wal_free(struct wal *wal); /* stopped, or never started; NULL is fine. The store is the caller's */

/* The log has failed since start. */
bool wal_has_failed(struct wal *wal);

/* What waits for the lookup thread. */
struct wal_lookup {
    struct wal_lookup *next;
    void (*run)(struct wal *wal, struct wal_lookup *lookup);
};

/* Batches of one project. */
struct wal_append {
    struct append_batch *batches;
    size_t n_batches;
    size_t bytes; /* of memory that the whole call holds */
    void (*done)(struct wal_append *append);
    void *ctx;

    uint64_t commit_lsn; /* with the results */

    struct wal_lookup lookup; /* the service's */
    size_t unfinished;
};

/* False: refused as a whole, `done` is not called; nothing was applied by it, but the outcome is unknown when the log
 * failed while it may have taken in an earlier copy of the same request. Otherwise every batch gets its result. */
CHECKED bool wal_append(struct wal *wal, struct wal_append *append, struct error *err);

struct wal_head_query {
    struct bytes project;
    struct bytes request_id; /* empty: not asked */
    struct bytes request_hash;
    uint64_t since_lsn;
    struct bytes known_incarnation; /* empty: not asked */
    struct arena *arena;
    void (*done)(struct wal_head_query *query, const struct error *failure /* NULL: none */);
    void *ctx;

    uint64_t commit_lsn;
    uint64_t last_timestamp;
    uint64_t request_horizon;
    uint64_t known_through;
    const struct request_outcome *request; /* NULL: not known */
    bool request_outcome_unknown;
    bool request_hash_differs;

    struct wal_lookup lookup; /* the service's */
    uint64_t request_lsn;
};

/* Head and request belong together: a request committed at or below commit_lsn is found. */
void wal_get_head(struct wal *wal, struct wal_head_query *query);

/* The last batch at or before a time. Later batches get later timestamps, so the answer stays true for as long as the
 * service runs, whatever its clock does; after a restart for as long as the clock has not been set back. */
struct wal_time_query {
    struct bytes project;
    uint64_t micros; /* since the epoch */
    /* failure: OUT_OF_RANGE for a time that the service's clock (or the project's last batch, if that is later) has not
     * reached, with both; UNAVAILABLE when the log has failed or the service stops. */
    void (*done)(struct wal_time_query *query, const struct error *failure /* NULL: none */);
    void *ctx;

    struct log_head found; /* {0, 0}: nothing had been written yet */

    struct time_promise promise; /* the service's */
    struct wal_lookup lookup;
};
void wal_find_time(struct wal *wal, struct wal_time_query *query);

/* Those who follow the log: woken whenever a group is published. */
struct follow_registry *wal_followers(struct wal *wal);

struct wal_stats {
    struct log_store_stats store;
    uint64_t conflicts; /* batches refused for a conflict or as stale, since the start */
    uint64_t follow_streams;
    uint64_t requests_remembered;
    uint64_t memory_bytes; /* of the service and the store */
    uint64_t published;    /* entries that lookups see, of all projects */
    uint64_t queued;       /* appends without an answer */
    uint64_t queued_bytes, queue_limit, follow_limit;
};
void wal_get_stats(struct wal *wal, struct wal_stats *stats);

#endif
