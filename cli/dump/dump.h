/* A dump that mongodump made: a directory DIR/DATABASE/COLLECTION.bson (or DIR itself being that of one database), or an archive
 * file, gzip or not. First its collections are known, then the documents come, collection by collection or (an archive) mixed.
 *
 * Ownership  what is told of the collections lives until dump_close.
 * Errors     DATA_LOSS with file and offset; NOT_FOUND; INVALID_ARGUMENT: what is there is no dump.
 */
#ifndef ARGON_CLI_DUMP_DUMP_H
#define ARGON_CLI_DUMP_DUMP_H

#include "cli/dump/metadata.h"

struct dump;

CHECKED bool dump_open(const char *path, struct dump **dump, struct error *err);
void dump_close(struct dump *dump); /* NULL is fine */

/* In the order of their names. */
size_t dump_collections(const struct dump *dump, const struct dump_collection **collections);
/* The changes that mongodump --oplog recorded while it ran are there, and are not applied by anybody here. */
bool dump_has_oplog(const struct dump *dump);

/* Tells the documents of the collections that are wanted (a flag for each). The visitor returns false to stop. */
typedef bool dump_visit_fn(void *ctx, size_t collection, struct bytes document, struct error *err);
CHECKED bool dump_read(struct dump *dump, const bool *wanted, dump_visit_fn *visit, void *ctx, struct error *err);

#endif
