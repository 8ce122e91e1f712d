/* The collection wrapper: insert, find, update, delete and count on a branch.
 *
 * Every write is one batch in this version: at most MAX_BATCH_ENTRIES documents and MAX_BATCH_BYTES; larger is
 * INVALID_ARGUMENT. Documents are visited in _id order.
 *
 * Ownership  inputs are borrowed; a find holds a view until find_close.
 * Errors     of the write path see write.h; INVALID_ARGUMENT for what query and bson refuse; ALREADY_EXISTS
 *            names the _id.
 */
#ifndef ARGON_BRANCH_DOCUMENTS_H
#define ARGON_BRANCH_DOCUMENTS_H

#include "branch-service/collections.h"

enum on_duplicate { ON_DUPLICATE_FAIL, ON_DUPLICATE_SKIP };

/* Documents get an _id when they have none. result->runs hold what was written: see documents_inserted. */
CHECKED bool documents_insert(struct registry *registry, const struct collection_path *path, const struct bytes *documents, size_t n,
                              enum on_duplicate on_duplicate, const struct write_request *request, struct write_result *result,
                              struct error *err);
/* The run with the inserted documents; NULL when there are none. */
const struct log_run *documents_inserted(const struct write_result *result);

/* An update spec, or a replacement (multi is refused for it). */
CHECKED bool documents_update(struct registry *registry, const struct collection_path *path, struct bytes filter, struct bytes update,
                              bool multi, bool must_replace, const struct write_request *request, struct write_result *result,
                              struct error *err);
CHECKED bool documents_delete(struct registry *registry, const struct collection_path *path, struct bytes filter, bool multi,
                              const struct write_request *request, struct write_result *result, struct error *err);

struct find;
struct find_spec {
    struct bytes filter;
    uint64_t skip;
    uint64_t limit; /* 0: none */
};
CHECKED bool find_open(struct registry *registry, const struct collection_path *path, const struct find_spec *spec,
                       const struct read_options *read, struct find **find, struct error *err);
uint64_t find_lsn(const struct find *find);
/* False: no more. The document is borrowed until find_close. */
bool find_next(struct find *find, struct bytes *document);
void find_close(struct find *find); /* NULL is fine */

#endif
