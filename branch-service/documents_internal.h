/* What documents.c (find), documents_insert.c and documents_modify.c share. */
#ifndef ARGON_BRANCH_DOCUMENTS_INTERNAL_H
#define ARGON_BRANCH_DOCUMENTS_INTERNAL_H

#include "branch-service/documents.h"
#include "branch-service/query/filter.h"

enum {
    /* one entry is kept for the record of a collection that the batch creates */
    MAX_WRITE_DOCUMENTS = MAX_BATCH_ENTRIES - 1,
    /* and the catalog's part of the bytes */
    MAX_WRITE_BYTES = MAX_BATCH_BYTES - 64 * 1024,
};

CHECKED bool documents_check_path(const struct collection_path *path, struct error *err);
CHECKED bool documents_compile_filter(struct bytes spec, struct filter **filter, struct error *err);

/* What a batch holds, or would hold. */
struct batch_size {
    uint64_t documents;
    uint64_t bytes;
};

uint64_t documents_entry_bytes(struct bytes key, size_t document_bytes);
/* INVALID_ARGUMENT, reason TOO_LARGE: more than one batch takes. */
CHECKED bool batch_size_add(struct batch_size *size, struct bytes key, size_t document_bytes, struct error *err);

#endif
