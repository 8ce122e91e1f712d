/* What the files of documents.h share, and with them the traditional branches, which refuse and check the same. */
#ifndef ARGON_BRANCH_DOCUMENTS_DOCUMENTS_INTERNAL_H
#define ARGON_BRANCH_DOCUMENTS_DOCUMENTS_INTERNAL_H

#include <uthash.h>

#include "branch-service/documents/documents.h"
#include "branch-service/query/filter.h"
#include "branch-service/write/batch.h"

enum {
    /* one entry is kept for the record of a collection that the batch creates */
    MAX_WRITE_DOCUMENTS = MAX_BATCH_ENTRIES - 1,
    /* and the catalog's part of the bytes */
    MAX_WRITE_BYTES = MAX_BATCH_BYTES - 64 * 1024,
};

struct new_document {
    UT_hash_handle hh; /* by key */
    struct bytes key;
    struct bytes document;
    const char *invalid;        /* why it cannot be stored; NULL: it can */
    int invalid_code;           /* MongoDB's number for that; 0: none */
    bool generated_id;          /* it came without one */
    struct new_document *first; /* of the request with this _id; itself if it is that */

    /* Of the first, while a plan is made: */
    bool present;            /* there is a document with this _id now */
    struct bytes image;      /* that is */
    struct log_entry *entry; /* what the plan does with it so far */
};

/* The documents of an insert as they would be stored; one of spec->n each. INVALID_ARGUMENT: one cannot be, or they are
 * none, or more than a batch takes. */
CHECKED bool documents_prepare(const struct insert_spec *spec, struct arena *arena, struct new_document **documents, struct error *err);

/* One document as it would be stored. */
CHECKED bool documents_prepare_one(struct bytes in, struct arena *arena, struct new_document *out, struct error *err);

/* ALREADY_EXISTS: the collection has the document's _id. False. */
bool documents_refuse_duplicate(const char *collection, struct bytes document, struct error *err);

/* A document's _id as JSON, for a message. */
enum { SHOWN_ID_SIZE = 121 };
void documents_format_id(struct bytes document, char text[SHOWN_ID_SIZE]);

CHECKED bool documents_check_path(const struct collection_path *path, struct error *err);
/* The pipeline lives no longer than the context; nothing is left to destroy on failure. */
struct pipeline;
CHECKED bool documents_compile_pipeline(const struct aggregate_spec *spec, struct query_context *context, struct pipeline **pipeline,
                                        struct error *err);
/* How many of its stages are a $sort. */
size_t documents_pipeline_sorts(struct bytes pipeline);
/* How a walk with this filter goes. */
void documents_note_access(struct find_work *work, const struct tree *documents, const struct filter *filter);

/* INVALID_ARGUMENT: a replacement of many, or operators where a replacement must be. */
CHECKED bool documents_check_update_kind(bool replaces, const struct update_spec *spec, struct error *err);

/* What a batch holds, or would hold. */
struct batch_size {
    uint64_t documents;
    uint64_t bytes;
};

/* The collection's id, with the record that creates it in the batch when there is none. */
CHECKED bool documents_ensure_collection(const struct collection_path *path, const struct target *target, struct batch *batch,
                                         const char **id, struct error *err);

/* INVALID_ARGUMENT: no operations, or too many. */
CHECKED bool documents_check_bulk(const struct bulk_spec *spec, struct error *err);

/* Later steps go where the first one went: NOT_FOUND when its names mean something else by now. */
CHECKED bool documents_check_names(const struct collection_path *path, const struct write_progress *from, const struct target *target,
                                   struct error *err);

uint64_t documents_entry_bytes(struct bytes key, size_t document_bytes);
/* INVALID_ARGUMENT, reason TOO_LARGE: more than one batch takes. */
CHECKED bool batch_size_add(struct batch_size *size, struct bytes key, size_t document_bytes, struct error *err);

#endif
