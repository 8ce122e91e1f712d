/* Where the documents of a base are while their copy on the log is not complete: collections that stand still.
 *
 * Threads    any.
 * Errors     as the source has them; UNAVAILABLE: it cannot be reached.
 */
#ifndef ARGON_BRANCH_PROJECT_BASE_SOURCE_H
#define ARGON_BRANCH_PROJECT_BASE_SOURCE_H

#include <stdint.h>

#include "common/base/bytes.h"
#include "common/base/error.h"

/* The document is valid inside. False ends the reading, with what it wrote into err. */
typedef bool base_document_fn(void *ctx, struct bytes document, struct error *err);

struct base_source {
    /* Shows every document of a collection. *there = false: by the end there was no such collection any more, and what was
     * shown is worth nothing: a cursor over a collection that is gone ends as if it were empty. */
    bool (*read)(const struct base_source *source, const char *database, const char *collection, int64_t deadline, base_document_fn *visit,
                 void *ctx, bool *there, struct error *err);
};

#endif
