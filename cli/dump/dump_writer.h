/* Writes what mongorestore reads: a directory DIR/DATABASE/COLLECTION.bson with .metadata.json beside it, or one archive
 * file; either gzip or not. It is there whole, after commit, or not at all.
 *
 * All collections are told before the first document, and their documents come in the same order, one collection after
 * the other.
 */
#ifndef ARGON_CLI_DUMP_DUMP_WRITER_H
#define ARGON_CLI_DUMP_DUMP_WRITER_H

#include "cli/dump/metadata.h"

struct dump_writer;

struct dump_writer_options {
    const char *path; /* the directory or file; "-" with `archive`: standard output */
    const char *database;
    bool archive;
    bool gzip;
};

/* ALREADY_EXISTS: DIR/DATABASE holds something. */
CHECKED bool dump_writer_open(const struct dump_writer_options *options, const struct dump_collection *collections, size_t n,
                              struct dump_writer **writer, struct error *err);
/* Of the collection with this number. */
CHECKED bool dump_writer_begin(struct dump_writer *writer, size_t collection, struct error *err);
CHECKED bool dump_writer_document(struct dump_writer *writer, struct bytes document, struct error *err);
CHECKED bool dump_writer_end(struct dump_writer *writer, struct error *err);
/* Either ends it. After commit the dump survives a power cut. */
CHECKED bool dump_writer_commit(struct dump_writer *writer, struct error *err);
void dump_writer_abandon(struct dump_writer *writer); /* NULL is fine */
/* Of a program that ends at once, on any thread, but not beside one of the others: leaves nothing of the dump on the disk. */
void dump_writer_unlink(struct dump_writer *writer); /* NULL is fine */

#endif
