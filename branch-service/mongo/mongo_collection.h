/* Collections of a MongoDB, as bytes: what a traditional branch is made of.
 *
 * Documents, filters and updates are BSON as it comes; nothing is validated, converted or reordered on the way
 * (the server moves a new document's _id to the front). A collection is named by database and name.
 *
 * Ownership  inputs are borrowed for the call. What a visitor or a cursor hands out is valid until it returns
 *            or moves on.
 * Threads    any. A cursor belongs to the thread that made it, and holds a connection until it is closed.
 * Errors     as mongo_error.h maps them. The outcome of a failed write says NOT_APPLIED only when that is
 *            certain. `deadline` as mongo_client.h says.
 */
#ifndef ARGON_BRANCH_MONGO_COLLECTION_H
#define ARGON_BRANCH_MONGO_COLLECTION_H

#include <stddef.h>
#include <stdint.h>

#include "branch-service/mongo/mongo_client.h"
#include "common/base/bytes.h"
#include "common/mongo/snapshot.h"

/* --- writing documents (mongo_write.c) ---
 *
 * Single-document writes are repeated once by the driver after a lost connection, unless the URI says
 * retryWrites=false or the server has no sessions; the server does them once. */

CHECKED bool mongo_insert_one(struct mongo *mongo, const char *database, const char *collection, struct bytes document, int64_t deadline,
                              struct error *err);

enum mongo_item {
    MONGO_ITEM_NOT_TRIED = 0, /* not applied: behind a refused one of an ordered insert, or never sent */
    MONGO_ITEM_INSERTED,
    MONGO_ITEM_REFUSED, /* not applied */
    MONGO_ITEM_UNKNOWN, /* its batch got no answer */
};

struct mongo_insert {
    const struct bytes *documents;
    size_t n;
    bool unordered; /* go on behind a refused one */
    bool bypass_validation;
    bool whole;     /* all or none, in a transaction: for servers whose facts say that they have them. Not with unordered */
    uint8_t *items; /* n, of enum mongo_item; filled in whatever is returned */
    void (*refused)(void *ctx, size_t index, const struct error *why); /* NULL: nobody wants to know why */
    void *ctx;
};

/* A transaction that is not committed says NOT_APPLIED; one that meets another writer is tried again until the deadline.
 *
 * In batches of at most 1,000 documents and 16 MiB (or one document). True: every batch that was sent got its
 * answer; some documents may have been refused. */
CHECKED bool mongo_insert_many(struct mongo *mongo, const char *database, const char *collection, const struct mongo_insert *insert,
                               int64_t deadline, struct error *err);

struct mongo_update {
    struct bytes filter;
    struct bytes update;        /* a document of $operators, or with `pipeline` the array of its stages */
    struct bytes array_filters; /* an array; empty: none */
    bool pipeline;
    bool upsert;
    struct bytes options; /* further fields, as the server knows them (collation, hint, let, comment); empty: none */
};

struct mongo_update_result {
    int64_t matched;
    int64_t modified;
    bool upserted;
    struct buffer upserted_id; /* a document with the one field _id; destroyed by the caller when `upserted` */
};

/* One: the server is told no time limit (the driver has no way to); the deadline holds here, outcome unknown.
 * Many: not atomic; a failure may leave some done. */
CHECKED bool mongo_update_one(struct mongo *mongo, const char *database, const char *collection, const struct mongo_update *update,
                              int64_t deadline, struct mongo_update_result *out, struct error *err);
CHECKED bool mongo_update_many(struct mongo *mongo, const char *database, const char *collection, const struct mongo_update *update,
                               int64_t deadline, struct mongo_update_result *out, struct error *err);
/* options: as of an update, here and below. */
CHECKED bool mongo_replace_one(struct mongo *mongo, const char *database, const char *collection, struct bytes filter,
                               struct bytes replacement, bool upsert, struct bytes options, int64_t deadline,
                               struct mongo_update_result *out, struct error *err);
CHECKED bool mongo_delete_one(struct mongo *mongo, const char *database, const char *collection, struct bytes filter, struct bytes options,
                              int64_t deadline, int64_t *deleted, struct error *err);
CHECKED bool mongo_delete_many(struct mongo *mongo, const char *database, const char *collection, struct bytes filter, struct bytes options,
                               int64_t deadline, int64_t *deleted, struct error *err);

/* The command findAndModify. */
struct mongo_find_and_modify {
    struct mongo_update update; /* update.update empty: the document is deleted */
    bool after;
    struct bytes sort;       /* empty: none */
    struct bytes projection; /* empty: all fields */
};
/* out->modified is 0. The document is appended, if there is one. */
CHECKED bool mongo_find_and_modify(struct mongo *mongo, const char *database, const char *collection,
                                   const struct mongo_find_and_modify *what, int64_t deadline, struct mongo_update_result *out,
                                   struct buffer *document, struct error *err);

/* --- reading documents (mongo_find.c) --- */

struct mongo_find {
    struct bytes filter; /* empty: all */
    int64_t skip;
    int64_t limit; /* 0: none */
    int id_order;  /* 1 and -1: sorted by _id; 0: as the server has them, or the options say */
    /* Further fields of the command, as the server knows them (sort, projection, let, hint, ...); empty: none. */
    struct bytes options;
    uint64_t snapshot; /* the cluster time of one that was begun; 0: as it is when it is read. With a filter alone */
};

struct mongo_cursor;

enum mongo_next { MONGO_NEXT_DOCUMENT, MONGO_NEXT_END, MONGO_NEXT_FAILED };

/* See common/mongo/snapshot.h. */
CHECKED bool mongo_begin_snapshot(struct mongo *mongo, const char *database, int64_t deadline, struct mongo_snapshot *snapshot,
                                  struct error *err);

/* Without a snapshot the server is not asked before the first mongo_cursor_next. */
CHECKED bool mongo_find(struct mongo *mongo, const char *database, const char *collection, const struct mongo_find *find, int64_t deadline,
                        struct mongo_cursor **out, struct error *err);
CHECKED enum mongo_next mongo_cursor_next(struct mongo_cursor *cursor, int64_t deadline, struct bytes *document, struct error *err);
void mongo_cursor_close(struct mongo_cursor *cursor); /* NULL is fine */

/* Nothing found is true and *found false; `out` is appended to. */
CHECKED bool mongo_find_one(struct mongo *mongo, const char *database, const char *collection, struct bytes filter, int64_t deadline,
                            bool *found, struct buffer *out, struct error *err);
/* options: as those of mongo_find; of the aggregation that counts. */
CHECKED bool mongo_count(struct mongo *mongo, const char *database, const char *collection, struct bytes filter, struct bytes options,
                         int64_t deadline, int64_t *out, struct error *err);
/* From the server's own books. */
CHECKED bool mongo_estimated_count(struct mongo *mongo, const char *database, const char *collection, int64_t deadline, int64_t *out,
                                   struct error *err);
/* {"values": [...]}, appended to `out`. */
CHECKED bool mongo_distinct(struct mongo *mongo, const char *database, const char *collection, const char *field, struct bytes filter,
                            struct bytes options, int64_t deadline, struct buffer *out, struct error *err);
/* pipeline: {"pipeline": [stages]}. As mongo_find. */
CHECKED bool mongo_aggregate(struct mongo *mongo, const char *database, const char *collection, struct bytes pipeline, struct bytes options,
                             int64_t deadline, struct mongo_cursor **out, struct error *err);

/* --- collections themselves (mongo_admin.c) --- */

struct mongo_collection_info {
    const char *name;
    const char *type;     /* "collection", "view", "timeseries" */
    struct bytes options; /* as mongo_create_collection takes them */
    bool has_uuid;        /* views and old servers have none */
    uint8_t uuid[16];
};

/* False ends the listing, which then is false too, with what the visitor wrote into err. */
typedef bool mongo_collection_fn(void *ctx, const struct mongo_collection_info *info, struct error *err);
typedef bool mongo_document_fn(void *ctx, struct bytes document, struct error *err);

/* Those whose names begin with these bytes; "": all. */
CHECKED bool mongo_list_collections(struct mongo *mongo, const char *database, const char *prefix, int64_t deadline,
                                    mongo_collection_fn *visit, void *ctx, struct error *err);
/* options: a document, or empty. ALREADY_EXISTS, unless it is there with these very options (as MongoDB 7 says). */
CHECKED bool mongo_create_collection(struct mongo *mongo, const char *database, const char *collection, struct bytes options,
                                     int64_t deadline, struct error *err);
/* NOT_FOUND without the one, ALREADY_EXISTS with the other. */
CHECKED bool mongo_rename_collection(struct mongo *mongo, const char *database, const char *from, const char *to, int64_t deadline,
                                     struct error *err);
/* One that is not there is dropped already. */
CHECKED bool mongo_drop_collection(struct mongo *mongo, const char *database, const char *collection, int64_t deadline, struct error *err);
/* A collection that is not there has none. */
CHECKED bool mongo_list_indexes(struct mongo *mongo, const char *database, const char *collection, int64_t deadline,
                                mongo_document_fn *visit, void *ctx, struct error *err);
/* From definitions as listed; the one of _id is there anyhow and is left out. */
CHECKED bool mongo_create_indexes(struct mongo *mongo, const char *database, const char *collection, const struct bytes *definitions,
                                  size_t n, int64_t deadline, struct error *err);
/* One that is not there is dropped already. */
CHECKED bool mongo_drop_index(struct mongo *mongo, const char *database, const char *collection, const char *index, int64_t deadline,
                              struct error *err);
/* {}: none. Documents that are there already are not checked, new ones and changed ones are. */
CHECKED bool mongo_set_validator(struct mongo *mongo, const char *database, const char *collection, struct bytes validator,
                                 int64_t deadline, struct error *err);

/* --- copying (mongo_copy.c) --- */

struct mongo_copy_result {
    bool by_server;    /* $out did it; else the documents went through here */
    int64_t documents; /* in the copy */
};

/* A new collection with the documents, options and indexes of another. Not at one point in time if somebody
 * writes meanwhile. ALREADY_EXISTS when the target is there; after any other failure it may be there in part,
 * and is for the caller to drop. A view is FAILED_PRECONDITION. */
CHECKED bool mongo_copy_collection(struct mongo *mongo, const char *database, const char *from, const char *to, int64_t deadline,
                                   struct mongo_copy_result *out, struct error *err);

#endif
