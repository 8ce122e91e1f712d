/* What the files of traditional_collection share: its operations, and the checks that come before them. */
#ifndef ARGON_BRANCH_TRADITIONAL_INTERNAL_H
#define ARGON_BRANCH_TRADITIONAL_INTERNAL_H

#include "branch-service/collection/collection.h"
#include "branch-service/collection/traditional.h"

/* The filter as MongoDB takes it: one that is not there is {}. */
struct bytes traditional_filter(struct bytes filter);

/* What a WAL branch refuses of an update before it looks at documents. */
CHECKED bool traditional_check_update(const struct update_spec *spec, bool *replaces, struct error *err);
CHECKED bool traditional_check_filter(const struct collection_path *path, struct bytes filter, struct error *err);

/* A sort that ends in _id order, so that what it puts first is one certain document. */
CHECKED bool traditional_total_sort(struct bytes sort, struct arena *arena, struct bytes *out, struct error *err);

/* One entry of an upsert's document, of which only the _id is known, as a batch would have it. In result->arena. */
CHECKED bool traditional_fill_upserted(struct bytes id, const char *collection, struct write_result *result, struct error *err);

/* Begins an operation on one collection. `name` lives until traditional_end. */
CHECKED bool traditional_begin_write(struct traditional *operation, struct registry *registry, const struct collection_path *path,
                                     const struct write_request *request, const char **name, struct error *err);
/* collection NULL: of all of them. */
CHECKED bool traditional_begin_read(struct traditional *operation, struct registry *registry, const char *project, const char *branch,
                                    const char *collection, const struct read_options *read, const char **name, struct error *err);

CHECKED bool traditional_insert(struct registry *registry, const struct collection_path *path, const struct insert_spec *spec,
                                const struct write_request *request, struct write_result *result, struct item_errors *errors,
                                struct error *err);
CHECKED bool traditional_update(struct registry *registry, const struct collection_path *path, const struct update_spec *spec,
                                const struct write_request *request, struct write_result *result, struct error *err);
CHECKED bool traditional_delete(struct registry *registry, const struct collection_path *path, const struct delete_spec *spec,
                                const struct write_request *request, struct write_result *result, struct error *err);
CHECKED bool traditional_find_and_modify(struct registry *registry, const struct collection_path *path,
                                         const struct find_and_modify_spec *spec, const struct write_request *request,
                                         struct write_result *result, struct bytes *document, struct error *err);
CHECKED bool traditional_bulk_write(struct registry *registry, const struct collection_path *path, const struct bulk_spec *spec,
                                    const struct write_request *request, struct write_result *result, struct bulk_result *items,
                                    struct error *err);
CHECKED bool traditional_find(struct registry *registry, const struct collection_path *path, const struct find_spec *spec,
                              const struct read_options *read, struct find **find, struct error *err);
CHECKED bool traditional_count(struct registry *registry, const struct collection_path *path, const struct find_spec *spec,
                               const struct read_options *read, uint64_t *count, uint64_t *lsn, struct error *err);
CHECKED bool traditional_estimate(struct registry *registry, const struct collection_path *path, const struct read_options *read,
                                  uint64_t *count, uint64_t *lsn, struct error *err);
CHECKED bool traditional_distinct(struct registry *registry, const struct collection_path *path, const struct distinct_spec *spec,
                                  const struct read_options *read, struct buffer *values, uint64_t *lsn, struct error *err);
/* What a pipeline may hold is what a WAL branch runs: all else is refused before MongoDB sees it. */
CHECKED bool traditional_aggregate(struct registry *registry, const struct collection_path *path, const struct aggregate_spec *spec,
                                   const struct read_options *read, struct find **find, struct error *err);

/* traditional_query.c. Fields of MongoDB's command; distinct has no variables. */
CHECKED bool traditional_options(const struct query_options *options, bool of_distinct, struct bytes sort, struct bytes projection,
                                 struct arena *arena, struct bytes *out, struct error *err);
/* {"pipeline": [...]}, with the names that collections have in MongoDB. The stages have been compiled. */
CHECKED bool traditional_pipeline(struct traditional *operation, struct bytes stages, struct bytes *out, struct error *err);

CHECKED bool traditional_list(struct registry *registry, const char *project, const char *branch, const struct read_options *read,
                              const char *after, size_t n, struct arena *arena, struct collection_record *collections,
                              size_t *n_collections, bool *more, uint64_t *lsn, struct error *err);
CHECKED bool traditional_create(struct registry *registry, const struct collection_path *path, const struct write_request *request,
                                struct arena *arena, struct collection_record *collection, uint64_t *lsn, struct error *err);
CHECKED bool traditional_rename(struct registry *registry, const struct collection_path *path, const char *new_name,
                                const struct write_request *request, uint64_t *lsn, struct error *err);
CHECKED bool traditional_drop(struct registry *registry, const struct collection_path *path, const struct write_request *request,
                              uint64_t *lsn, struct error *err);
/* The collection has these indexes afterwards, beside that of _id: others are dropped, missing ones made. What is there as it is wanted
 * is left alone. A failure in the middle leaves what is done; the same call goes on. */
CHECKED bool traditional_set_indexes(struct registry *registry, const struct collection_path *path, struct bytes indexes,
                                     const struct write_request *request, uint64_t *lsn, struct error *err);

/* An array as index_definitions.h has them, without that of _id. */
CHECKED bool traditional_read_indexes(struct traditional *operation, const char *collection, struct arena *arena, struct bytes *indexes,
                                      struct error *err);

#endif
