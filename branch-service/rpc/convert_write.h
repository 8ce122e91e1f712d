/* Between messages and specs of writes: what the handlers of updates, find-and-modify and bulk writes share. */
#ifndef ARGON_BRANCH_RPC_CONVERT_WRITE_H
#define ARGON_BRANCH_RPC_CONVERT_WRITE_H

#include "branch-service/documents/documents.h"
#include "branch-service/rpc/convert.h"

/* The same of every message that asks for an update. */
struct update_request {
    Argon__Branch__V1__Document *filter;
    Argon__Branch__V1__Document *update; /* or the replacement */
    Argon__Branch__V1__Document **pipeline, **array_filters;
    size_t n_pipeline, n_array_filters;
    Argon__Branch__V1__Document *sort;
    Argon__Branch__V1__QueryOptions *options;
    bool upsert;
    bool replaces;
};
/* INVALID_ARGUMENT: update and pipeline are both set, or neither is. */
CHECKED bool convert_update(const struct update_request *asked, enum documents_scope scope, struct arena *arena, struct update_spec *spec,
                            struct error *err);
CHECKED bool convert_delete(Argon__Branch__V1__Document *filter, Argon__Branch__V1__Document *sort,
                            Argon__Branch__V1__QueryOptions *options, enum documents_scope scope, struct arena *arena,
                            struct delete_spec *spec, struct error *err);

/* *out is left alone unless the write has inserted what it did not find. */
CHECKED bool convert_upserted_out(const struct write_result *result, Argon__Branch__V1__Format format, struct arena *arena,
                                  Argon__Branch__V1__Document *id, Argon__Branch__V1__Document **out, struct error *err);
CHECKED bool convert_item_errors(const struct item_errors *errors, struct arena *arena, Argon__Branch__V1__ItemError ***out, size_t *n,
                                 struct error *err);

#endif
