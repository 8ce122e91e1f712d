/* Strong reads of one document by its _id that hold no thread while they wait for the log's head.
 *
 * What such a read cannot answer from memory (a project or a view that is not there yet, a log that has something
 * new, names that do not exist, whatever is wrong with the request) it leaves to documents_find, which says why.
 *
 * Ownership  the strings of the path live until `done` has run; what was found lives until point_read_destroy.
 * Threads    one at a time. `done` runs on a thread that must not be held up.
 */
#ifndef ARGON_BRANCH_DOCUMENTS_POINT_READ_H
#define ARGON_BRANCH_DOCUMENTS_POINT_READ_H

#include "branch-service/documents/collections.h"
#include "branch-service/query/filter.h"

/* Longer filters and documents are better handled by a thread that may take its time. */
enum { POINT_READ_MAX_FILTER = 4096, POINT_READ_MAX_DOCUMENT = 64 * 1024 };

struct point_read {
    struct project_check check; /* first */
    struct registry *registry;
    struct collection_path path;
    void (*done)(struct point_read *read);
    struct project *project;
    struct log_incarnation as_of; /* of the project's name */
    struct filter *filter;
    struct bytes key;
    struct target target;
};

/* False: it is not for here, nothing is kept. Otherwise `done` runs exactly once, perhaps before this returns. */
CHECKED bool point_read_start(struct point_read *read, struct registry *registry, const struct collection_path *path, struct bytes filter,
                              int64_t deadline, void (*done)(struct point_read *read));
/* In `done`. False: leave it to documents_find. *document is empty when there is none; *lsn is the state's. */
CHECKED bool point_read_finish(struct point_read *read, struct bytes *document, uint64_t *lsn);
void point_read_destroy(struct point_read *read);

#endif
