/* A database of a MongoDB that is read: its collections, and their documents in the order of _id.
 *
 * All reads are of one point in time when the server keeps one, see common/mongo/snapshot.h.
 *
 * Ownership  strings and documents live in the arena that is passed in.
 * Errors     as mongo_server.h.
 */
#ifndef ARGON_CLI_MONGO_MONGO_SOURCE_H
#define ARGON_CLI_MONGO_MONGO_SOURCE_H

#include <stdint.h>

#include "cli/dump/metadata.h"
#include "cli/mongo/mongo_server.h"

struct mongo_source {
    struct mongo_server *server;
    const char *database;
    uint64_t snapshot; /* a cluster time (seconds << 32 | number); 0: every read sees what is there when it comes */
    int64_t patience;  /* microseconds without a document until a server that is away is given up */
};

/* *snapshot stays 0 when there is none, and why says so. Only what leaves that open is an error. */
CHECKED bool mongo_source_begin_snapshot(struct mongo_source *source, char why[200], struct error *err);

/* In the order of their names. */
CHECKED bool mongo_source_collections(struct mongo_source *source, struct arena *arena, struct dump_collection **collections, size_t *n,
                                      struct error *err);

/* The documents whose _id lies behind `after` and not behind `through` (each a document with the one field _id; empty: no bound).
 * A connection that is lost is made again, and reading goes on behind the last document. The visitor returns false to stop. */
typedef bool mongo_visit_fn(void *ctx, struct bytes document, struct error *err);
CHECKED bool mongo_source_read(struct mongo_source *source, const char *collection, struct bytes after, struct bytes through,
                               mongo_visit_fn *visit, void *ctx, struct error *err);

/* exact: by looking at all of them. Else what the server remembers, where nothing is read at a snapshot: it may be a little off after a
 * crash, and costs nothing. */
CHECKED bool mongo_source_count(struct mongo_source *source, const char *collection, bool exact, uint64_t *n, struct error *err);

#endif
