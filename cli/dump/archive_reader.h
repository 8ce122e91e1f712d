/* Reads a mongodump archive (mongodump --archive).
 *
 *   archive   magic 0x8199e26d (four bytes, little-endian)
 *             prelude: header document, a document {db, collection, metadata, size, type} a collection, terminator
 *             blocks: a document {db, collection, EOF, CRC}, documents of that collection, terminator
 *   terminator  0xffffffff
 *
 * Blocks of several collections come mixed. A block with EOF has no documents, ends its collection, and carries the
 * CRC-64 of all its documents. See https://github.com/mongodb/mongo-tools/blob/master/common/archive/spec.md
 *
 * Ownership  the input is borrowed; what is read of the collections lives as long as the reader.
 * Errors     DATA_LOSS with file and offset; RESOURCE_EXHAUSTED: a prelude over MAX_PRELUDE_BYTES.
 */
#ifndef ARGON_CLI_DUMP_ARCHIVE_READER_H
#define ARGON_CLI_DUMP_ARCHIVE_READER_H

#include "cli/dump/dump_input.h"
#include "cli/dump/metadata.h"

enum { MAX_PRELUDE_BYTES = 256 * 1024 * 1024 };

struct archive_namespace;

struct archive_reader {
    struct dump_input *input;
    struct arena arena;
    struct dump_collection *collections; /* as the prelude has them */
    size_t n_collections;
    struct archive_namespace *namespaces; /* uthash, by "db.collection" */
    struct archive_namespace *current;    /* whose block it is; NULL: between blocks */
};

/* Reads the prelude. The reader must be closed also after an error. */
CHECKED bool archive_reader_open(struct archive_reader *reader, struct dump_input *input, struct error *err);
void archive_reader_close(struct archive_reader *reader);

/* The next document, of collections[*collection]; valid until the next call. *end: the archive is whole, and over. Documents
 * of collections that the prelude does not have (of a time series) are passed over. */
CHECKED bool archive_reader_next(struct archive_reader *reader, size_t *collection, struct bytes *document, bool *end, struct error *err);

/* Is this how an archive begins? */
bool archive_begins(const uint8_t magic[4]);

#endif
