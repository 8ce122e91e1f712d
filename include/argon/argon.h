/* Argon for C programs: projects, branches and documents of a branch service.
 *
 *     struct argon_error err;
 *     struct argon_client *argon = argon_open(&(struct argon_options) { .endpoint = "127.0.0.1:7800" }, &err);
 *     struct argon_target items = { "shop", "main", "items" };
 *     argon_insert(argon, &items, &(struct argon_document) ARGON_JSON("{\"_id\":\"tea\"}"), 1, ARGON_FAIL, NULL, &err);
 *     argon_close(argon);
 *
 * Exactly once  every write gets a request id, and is repeated with it until its outcome is known or the timeout is over.
 *            A failed write with error.not_applied set changed nothing; without, nobody can tell.
 *
 * Errors     functions that can fail return false (or NULL) and fill in *error, which must not be NULL; one that succeeds sets
 *            error->code to ARGON_OK. Outputs are written only on success. Every call may end with
 *                INVALID_ARGUMENT     a missing or odd argument, a document that cannot be read or stored, a size over its limit
 *                NOT_FOUND            no such project or branch (a collection that is not there is empty)
 *                UNAVAILABLE          no connection, or a service that is away, until the timeout
 *                DEADLINE_EXCEEDED    no answer until the timeout
 *                RESOURCE_EXHAUSTED   the service has no room for the request now
 *                DATA_LOSS            the log is damaged
 *            and what is said beside the function.
 * Ownership  inputs, strings among them, are borrowed for the call. What a cursor or a watch shows lives until its next call.
 *            What open, find and watch return is the caller's to close; an answer, with everything in it, to free.
 * Threads    a client: any, at the same time; more than one client in a process is fine. A cursor or a watch: one at a time. An answer
 *            is not changed. A call holds its thread until it is answered. Not after fork() in the child.
 * Units      LSNs are counted in each project: 1, 2, 3, ... ; times are microseconds since the epoch (_us) or milliseconds (_ms);
 *            sizes are bytes.
 * Limits     names have 1 to 128 bytes, letters, digits and . _ - / for projects and branches; a document 16 MiB and 100 levels; a
 *            write's documents 48 MiB in all. docs/limits.md has the rest, docs/errors.md what the codes mean for a program.
 */
#ifndef ARGON_ARGON_H
#define ARGON_ARGON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Numerically gRPC's status codes. */
enum argon_code {
    ARGON_OK = 0,
    ARGON_CANCELLED = 1,
    ARGON_UNKNOWN = 2,
    ARGON_INVALID_ARGUMENT = 3,
    ARGON_DEADLINE_EXCEEDED = 4,
    ARGON_NOT_FOUND = 5,
    ARGON_ALREADY_EXISTS = 6,
    ARGON_PERMISSION_DENIED = 7,
    ARGON_RESOURCE_EXHAUSTED = 8,
    ARGON_FAILED_PRECONDITION = 9,
    ARGON_ABORTED = 10,
    ARGON_OUT_OF_RANGE = 11,
    ARGON_UNIMPLEMENTED = 12,
    ARGON_INTERNAL = 13,
    ARGON_UNAVAILABLE = 14,
    ARGON_DATA_LOSS = 15,
    ARGON_UNAUTHENTICATED = 16,
};

struct argon_error {
    enum argon_code code;
    bool not_applied; /* of a write: it definitely changed nothing */
    char message[256];
};

/* ---- the client ------------------------------------------------------------------------------------- */

struct argon_client;

struct argon_options {
    const char *endpoint; /* "HOST:PORT", several with commas between; NULL: $ARGON_ENDPOINT, else 127.0.0.1:7800 */
    uint32_t timeout_ms;  /* of one call with all its repetitions; of a find or watch: until its answer begins; 0: 30,000 */
    const char *actor;    /* kept in the log with every write, at most 128 bytes; NULL: none */
};

/* Connects at the first call. options may be NULL. Errors: INVALID_ARGUMENT, and UNAVAILABLE when one of several hosts has no
 * address. */
struct argon_client *argon_open(const struct argon_options *options, struct argon_error *error);
void argon_close(struct argon_client *client); /* after its cursors and watches; NULL is fine */

/* ---- documents -------------------------------------------------------------------------------------- */

enum argon_format { ARGON_FORMAT_BSON, ARGON_FORMAT_RELAXED_JSON, ARGON_FORMAT_CANONICAL_JSON };

/* BSON bytes, or the text of one object in Extended JSON v2 (as input the two JSON formats are one). */
struct argon_document {
    enum argon_format format;
    const void *data;
    size_t len; /* bytes; a JSON text has no end mark in it */
};

#define ARGON_JSON(text)                                                                                                                   \
    {                                                                                                                                      \
        ARGON_FORMAT_RELAXED_JSON, (text), SIZE_MAX                                                                                        \
    } /* len SIZE_MAX: a string with its end */
#define ARGON_BSON(bytes, n)                                                                                                               \
    {                                                                                                                                      \
        ARGON_FORMAT_BSON, (bytes), (n)                                                                                                    \
    }

/* A collection on a branch; "main" is the branch that every project has. */
struct argon_target {
    const char *project, *branch, *collection;
};

/* ---- projects and branches -------------------------------------------------------------------------- */

/* Errors: ALREADY_EXISTS. */
bool argon_create_project(struct argon_client *client, const char *project, struct argon_error *error);
/* With all its branches. */
bool argon_delete_project(struct argon_client *client, const char *project, struct argon_error *error);

struct argon_fork {
    const char *from;    /* NULL: main */
    uint64_t at_lsn;     /* its state there, rounded down to the end of a write; 0: the head */
    uint64_t at_time_us; /* or its state at that time; 0: not given */
};

struct argon_branch {
    uint64_t base_lsn; /* where its own changes begin */
    uint64_t cut_lsn;  /* the state of the parent that it starts from */
    uint64_t head_lsn; /* of its last own change, else base_lsn */
};

/* fork (main as it is now) and branch may be NULL. Errors: ALREADY_EXISTS; OUT_OF_RANGE: at_lsn lies beyond the head. */
bool argon_create_branch(struct argon_client *client, const char *project, const char *name, const struct argon_fork *fork,
                         struct argon_branch *branch, struct argon_error *error);
bool argon_get_branch(struct argon_client *client, const char *project, const char *name, struct argon_branch *branch,
                      struct argon_error *error);
bool argon_delete_branch(struct argon_client *client, const char *project, const char *name, struct argon_error *error);

/* ---- writing ---------------------------------------------------------------------------------------- */

struct argon_written {
    uint64_t inserted, skipped, replaced, matched, modified, deleted, upserted;
    uint64_t lsn; /* of the write, or, when nothing was changed, of the state that was seen; as read.min_lsn and after_lsn take it */
};

/* An _id that is there already: ALREADY_EXISTS for the whole insert; or the new document is passed over, or takes its place; or it is one
 * of the errors of argon_insert_many, which goes on behind it (REPORT), or does not (STOP). */
enum argon_on_duplicate { ARGON_FAIL, ARGON_SKIP, ARGON_REPLACE, ARGON_REPORT, ARGON_STOP };

/* written may be NULL, here and below. All documents together or none of them: 1 to 99,999. One without an _id gets an ObjectId.
 * The collection is made by its first document. FAIL, SKIP or REPLACE; what tells of single documents is argon_insert_many. Errors:
 * ALREADY_EXISTS; ABORTED: other writers were faster until the timeout. */
bool argon_insert(struct argon_client *client, const struct argon_target *target, const struct argon_document *documents, size_t n,
                  enum argon_on_duplicate on_duplicate, struct argon_written *written, struct argon_error *error);
/* update: operators, or for one document a replacement. many: all that match instead of the first in _id order, in steps of at most
 * 1,000 documents; each step as a whole or not at all. Errors: ABORTED. A failed update of many may have done some of its
 * steps; it is not_applied only when it did none. */
bool argon_update(struct argon_client *client, const struct argon_target *target, const struct argon_document *filter,
                  const struct argon_document *update, bool many, struct argon_written *written, struct argon_error *error);
/* The same of deletes. */
bool argon_delete(struct argon_client *client, const struct argon_target *target, const struct argon_document *filter, bool many,
                  struct argon_written *written, struct argon_error *error);

/* One change, as MongoDB knows it. The first match is that of _id order, or of sort and then of _id. */
enum argon_operation_kind {
    ARGON_INSERT_ONE = 1,  /* document */
    ARGON_UPDATE_ONE = 2,  /* filter; document or pipeline; array_filters, upsert, sort */
    ARGON_UPDATE_MANY = 3, /* filter; document or pipeline; array_filters, upsert */
    ARGON_REPLACE_ONE = 4, /* filter, document; upsert, sort */
    ARGON_DELETE_ONE = 5,  /* filter; and sort, by argon_find_one_and */
    ARGON_DELETE_MANY = 6, /* filter */
};

/* What its kind does not name is INVALID_ARGUMENT. */
struct argon_operation {
    enum argon_operation_kind kind;
    struct argon_document filter;          /* {}: every document */
    struct argon_document document;        /* what is inserted, or takes the place of another, or operators: {"$set": ...} */
    const struct argon_document *pipeline; /* or n_pipeline stages: {"$set": ...}, {"$unset": ...} */
    size_t n_pipeline;
    const struct argon_document *array_filters; /* for each $[name] of an update the document with its conditions */
    size_t n_array_filters;
    bool upsert;                /* when nothing matches, insert the document that filter and update describe */
    struct argon_document sort; /* data NULL: none */
};

/* All zero: none of it. */
struct argon_write_options {
    struct argon_document let;        /* variables, as $$name in $expr and pipelines; data NULL: none */
    const char *hint;                 /* as in argon_query */
    bool atomic;                      /* all in one batch or nothing. INVALID_ARGUMENT: it does not fit one */
    enum argon_format format;         /* how ids and the document come back */
    bool unordered;                   /* argon_bulk_write: go on behind an operation that fails */
    bool after;                       /* argon_find_one_and: the document as it is then, not as it was */
    struct argon_document projection; /* argon_find_one_and: which fields of it; data NULL: all */
};

/* One _id of many, or what became of an operation that failed; index is its place among those of the call, from 0. */
struct argon_indexed_id {
    size_t index;
    struct argon_document id; /* a document with the one field _id */
};
struct argon_item_error {
    size_t index;
    enum argon_code code;
    int mongodb_code; /* MongoDB's number for it, 11000 of an _id that is there; 0: none */
    const char *message;
};

struct argon_answer {
    struct argon_written written;                               /* of what only reads, lsn alone: of the state that was read */
    struct argon_document document;                             /* data NULL: there is none */
    const struct argon_indexed_id *inserted_ids, *upserted_ids; /* in the order of index, all three */
    const struct argon_item_error *errors;
    size_t n_inserted_ids, n_upserted_ids, n_errors;
};
void argon_answer_free(struct argon_answer *answer); /* NULL is fine */

/* All zero: none of it. */
struct argon_insert_options {
    enum argon_on_duplicate on_duplicate;
    bool skip_invalid;        /* documents that cannot be read or stored are errors, too, and the others go in; with STOP those before it */
    enum argon_format format; /* how ids come back */
};

/* argon_insert, with an answer that has each inserted _id and each document that was refused: with REPORT, STOP and skip_invalid those are
 * no failure of the call but errors of the answer. With SKIP and REPLACE the index of an _id counts what was inserted only. options may
 * be NULL. Errors: as argon_insert; of a traditional branch, where it is not one write, a failed call may have inserted some: it is
 * not_applied only when it has not. */
struct argon_answer *argon_insert_many(struct argon_client *client, const struct argon_target *target,
                                       const struct argon_document *documents, size_t n, const struct argon_insert_options *options,
                                       struct argon_error *error);

/* One operation. options may be NULL, here and below. Errors: ALREADY_EXISTS: an _id, of an insert or an upsert, is there already;
 * ABORTED. A failed one of many: as argon_update. */
struct argon_answer *argon_write(struct argon_client *client, const struct argon_target *target, const struct argon_operation *operation,
                                 const struct argon_write_options *options, struct argon_error *error);
/* UPDATE_ONE, REPLACE_ONE or DELETE_ONE, and the document that it has met: as it was, or with after as it is. There is none when
 * nothing matched, nor before an upsert. Of what was written it tells matched and upserted. Errors: as argon_write. */
struct argon_answer *argon_find_one_and(struct argon_client *client, const struct argon_target *target,
                                        const struct argon_operation *operation, const struct argon_write_options *options,
                                        struct argon_error *error);
/* 1 to 100,000 operations, one after the other, each of which sees what those before it did; in steps of at most 1,000 operations,
 * 1,000 documents and 16 MiB, each as a whole or not at all. An operation that fails is no failure of the call but one of the answer's
 * errors, and the last one that is tried unless unordered; with atomic it is the call that fails. Errors: ABORTED, with atomic what an
 * operation fails with. A call that failed may have done some of its steps; it is not_applied only when it did none. */
struct argon_answer *argon_bulk_write(struct argon_client *client, const struct argon_target *target,
                                      const struct argon_operation *operations, size_t n, const struct argon_write_options *options,
                                      struct argon_error *error);

/* ---- reading ---------------------------------------------------------------------------------------- */

/* Which state; all zero: with every write that was acknowledged before the call. At most one of as_of_lsn, as_of_time_us and
 * stale_ok. */
struct argon_read {
    uint64_t as_of_lsn;     /* as it was there, rounded down to the end of a write. OUT_OF_RANGE: beyond the head */
    uint64_t as_of_time_us; /* as it was then */
    uint64_t min_lsn;       /* at least that */
    bool stale_ok;          /* as the service knows it, without asking the log */
};

struct argon_query {
    struct argon_document filter; /* data NULL: everything */
    uint64_t skip, limit;         /* limit 0: none */
    struct argon_read read;
    enum argon_format format; /* how documents come back */
    /* data NULL: whole documents, in _id order, no variables ($$name) */
    struct argon_document projection, sort, let;
    const char *hint; /* an index by its name, for the MongoDB of a traditional branch; a WAL branch needs none. NULL: none */
};

struct argon_cursor;

/* query may be NULL. Returns when the answer has begun. */
struct argon_cursor *argon_find(struct argon_client *client, const struct argon_target *target, const struct argon_query *query,
                                struct argon_error *error);
/* The next document, in _id order unless the query or its pipeline says otherwise; waits for it without a limit of time. False at the end
 * (error->code is ARGON_OK) and on failure. */
bool argon_cursor_next(struct argon_cursor *cursor, struct argon_document *document, struct argon_error *error);
uint64_t argon_cursor_lsn(const struct argon_cursor *cursor); /* of the state that is shown */
void argon_cursor_close(struct argon_cursor *cursor);         /* at any time; NULL is fine */

/* What a pipeline makes of a collection: n stages. Of the query, which may be NULL, it takes read, format, let and hint. */
struct argon_cursor *argon_aggregate(struct argon_client *client, const struct argon_target *target, const struct argon_document *stages,
                                     size_t n, const struct argon_query *query, struct argon_error *error);

/* How many documents a find would show. query may be NULL. */
bool argon_count(struct argon_client *client, const struct argon_target *target, const struct argon_query *query, uint64_t *count,
                 struct argon_error *error);

/* How many documents a collection has, without looking at one. read may be NULL. */
bool argon_estimated_count(struct argon_client *client, const struct argon_target *target, const struct argon_read *read, uint64_t *count,
                           struct argon_error *error);

/* The different values of a field, which is a path with dots; of an array at its end the elements count. The answer's document is
 * {"values": [...]}, each once, at most 16 MiB, else INVALID_ARGUMENT. Of the query, which may be NULL, it takes filter, read and format.
 */
struct argon_answer *argon_distinct(struct argon_client *client, const struct argon_target *target, const char *field,
                                    const struct argon_query *query, struct argon_error *error);

/* How documents were reached. */
enum argon_access {
    ARGON_ACCESS_NOTHING = 0,   /* there is no such collection */
    ARGON_ACCESS_ID_LOOKUP = 1, /* one certain _id */
    ARGON_ACCESS_ID_RANGES = 2, /* by seeking in the order of _id */
    ARGON_ACCESS_SCAN = 3,      /* all of the collection */
    ARGON_ACCESS_INDEX = 4,     /* through an index, which only a traditional branch uses */
};
enum argon_order {
    ARGON_ORDER_NONE = 0,   /* none was asked for: that of _id */
    ARGON_ORDER_ID = 1,     /* by the order of _id */
    ARGON_ORDER_SORTED = 2, /* in memory */
    ARGON_ORDER_INDEX = 3,  /* by the order of that index */
};

struct argon_plan {
    enum argon_access access;
    enum argon_order order;
    uint64_t ranges;             /* of ARGON_ACCESS_ID_RANGES */
    uint64_t examined, returned; /* documents that were looked at, and that the answer holds */
    uint64_t lsn;
    char indexes[256]; /* of a traditional branch: MongoDB's names of those that are used, with ", " between */
};

/* Runs what argon_aggregate would with n stages, or, with n 0, argon_find, and says how it went. query may be NULL. Errors:
 * UNIMPLEMENTED: a traditional branch whose MongoDB has no explain. */
bool argon_explain(struct argon_client *client, const struct argon_target *target, const struct argon_document *stages, size_t n,
                   const struct argon_query *query, struct argon_plan *plan, struct argon_error *error);

/* ---- watching --------------------------------------------------------------------------------------- */

enum argon_change_kind {
    ARGON_INSERTED = 1,
    ARGON_UPDATED = 2,
    ARGON_DELETED = 3,
    ARGON_COLLECTION_CREATED = 4,
    ARGON_COLLECTION_RENAMED = 5,
    ARGON_COLLECTION_DROPPED = 6,
};

struct argon_change {
    enum argon_change_kind kind;
    uint64_t lsn;
    uint64_t time_us;
    const char *collection;
    const char *new_collection; /* of a rename, else "" */
    const char *actor;
    struct argon_document id;       /* a document with the one field _id */
    struct argon_document document; /* after the change; data NULL for a delete */
};

struct argon_watch_options {
    uint64_t after_lsn; /* changes behind it, rounded down to the end of a write. OUT_OF_RANGE: beyond the head */
    bool from_head;     /* instead: from now on */
    bool stop_at_head;  /* end when everything there is has been shown */
    enum argon_format format;
};

struct argon_watch;

/* target->collection NULL: all. options may be NULL: everything from the beginning, then on and on. Asks nobody yet: what is wrong
 * with project, branch or after_lsn is told by the first next. */
struct argon_watch *argon_watch(struct argon_client *client, const struct argon_target *target, const struct argon_watch_options *options,
                                struct argon_error *error);
/* Waits for the next change; goes on by itself, without a gap or a repeat, when the server was away for less than
 * the client's timeout. False at the end (ARGON_OK: at the head, or the branch or project was deleted, or must be watched
 * anew from another LSN: error->message says which) and on failure. */
bool argon_watch_next(struct argon_watch *watch, struct argon_change *change, struct argon_error *error);
/* Everything up to here has been shown: after_lsn of a later watch. */
uint64_t argon_watch_through(const struct argon_watch *watch);
void argon_watch_close(struct argon_watch *watch); /* NULL is fine; not while another thread is in next */

#ifdef __cplusplus
}
#endif

#endif
