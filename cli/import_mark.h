/* How far the import of a database of a MongoDB, or of a dump, has come, as one line of Extended JSON in a resume_file.
 *
 * Of the collection at hand: everything up to `done` is in; up to `sent` it may be. Before a batch is sent for the first time, the mark
 * with its last _id as `sent` is on disk. So who goes on reads from `done` on, and what lies up to `sent` takes the place of what is
 * under its _id: it may be the same document from before. Batches need no ids that outlive the process: a copy of one that is still under
 * way when its process dies inserts, and inserts whole or not at all, so that it has no effect once one of its documents is there.
 *
 *   {format: 1, settings, snapshot: timestamp, collections: [{name, id, fresh, imported, complete, done: {_id}, sent: {_id}}, ...]}
 */
#ifndef ARGON_CLI_IMPORT_MARK_H
#define ARGON_CLI_IMPORT_MARK_H

#include <stdint.h>

#include "cli/resume_file.h"
#include "cli/transfer.h"
#include "common/base/arena.h"

struct import_mark_collection {
    const char *name;
    const char *id;           /* on the branch; a collection with another one has been dropped since */
    bool fresh;               /* it was empty when the import began */
    bool complete;            /* all of it is in */
    uint64_t imported;        /* documents up to `done` */
    struct buffer done, sent; /* documents with the one field _id; empty: none */
};

struct import_mark {
    const char *settings; /* what must be the same to go on */
    uint64_t snapshot;    /* a cluster time; 0: none */
    struct import_mark_collection *collections;
    size_t n;
};

/* The strings live in the arena; the mark is destroyed by the caller. FAILED_PRECONDITION: it is not understood. */
CHECKED bool import_mark_parse(struct bytes text, struct arena *arena, struct import_mark *mark, struct error *err);
CHECKED bool import_mark_save(const struct import_mark *mark, const struct resume_file *file, struct error *err);
void import_mark_destroy(struct import_mark *mark); /* fine on {0} */

/* {_id} of a document. */
CHECKED bool import_mark_set(struct buffer *id, struct bytes document, struct error *err);

/* What an import does as the `handing` and the `acknowledged` of its transfer, which is running. A batch's collection is a place
 * in mark->collections. */
CHECKED bool import_mark_handing(struct import_mark *mark, const struct resume_file *file, struct transfer *transfer,
                                 const struct transfer_batch *batch, struct error *err);
void import_mark_acknowledged(struct import_mark *mark, const struct transfer_batch *batch);

#endif
