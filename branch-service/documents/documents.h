/* The collection wrapper: insert, find, update, delete, count and aggregate on a branch.
 *
 * An insert is one batch: at most MAX_BATCH_ENTRIES - 1 documents and MAX_BATCH_BYTES less 64 KiB; larger is
 * INVALID_ARGUMENT. What changes or deletes many goes in steps of at most MAX_STEP_DOCUMENTS and MAX_STEP_BYTES (or one
 * document), each atomic, in _id order: every document is met at most once, also one that is inserted or changed while
 * the steps go on. A step that fails has no effect; those before it stay, and that is the answer.
 * Documents are visited in _id order, by seeking where the filter bounds _id.
 *
 * Ownership  inputs are borrowed; a find holds a view until find_close.
 * Errors     of the write path see write.h; INVALID_ARGUMENT for what query and bson refuse; ALREADY_EXISTS
 *            names the _id.
 */
#ifndef ARGON_BRANCH_DOCUMENTS_DOCUMENTS_H
#define ARGON_BRANCH_DOCUMENTS_DOCUMENTS_H

#include "branch-service/documents/collections.h"
#include "branch-service/documents/query_options.h"

/* What becomes of a document whose _id is there, or stood earlier in the same request. */
enum on_duplicate {
    ON_DUPLICATE_FAIL,
    ON_DUPLICATE_SKIP,
    ON_DUPLICATE_REPLACE, /* it takes the place, in the order of the request; one that is equal byte for byte is skipped */
    ON_DUPLICATE_REPORT,  /* an item error */
    ON_DUPLICATE_STOP,    /* an item error, and nothing behind it is written; so of one that cannot be stored */
};

struct insert_spec {
    const struct bytes *documents;
    size_t n;
    enum on_duplicate on_duplicate;
    bool skip_invalid; /* documents that cannot be stored are item errors, the others are written */
    /* With skip_invalid: why document i could not even be read, or NULL. NULL: all could. */
    const char *const *unreadable;
};

struct item_error {
    uint32_t index;
    enum error_code code;
    int mongo_code;      /* 0: none */
    const char *message; /* under 256 bytes */
};

/* What was not written, in the order of index. */
struct item_errors {
    struct item_error *items;
    size_t n;
};

/* Documents get an _id when they have none. result->runs hold what was written: see documents_written. The item errors
 * follow from request and committed batch, so a repetition gets them again; they live in result->arena. */
CHECKED bool documents_insert(struct registry *registry, const struct collection_path *path, const struct insert_spec *spec,
                              const struct write_request *request, struct write_result *result, struct item_errors *errors,
                              struct error *err);
/* The run with the documents: LOG_INSERT entries are new, LOG_UPDATE entries replaced one. NULL when there are none. */
const struct log_run *documents_written(const struct write_result *result);

enum documents_scope {
    DOCUMENTS_ONE,  /* the first match: in _id order, or as the sort says and then in _id order */
    DOCUMENTS_MANY, /* all, in steps */
    DOCUMENTS_ALL,  /* all in one batch; INVALID_ARGUMENT, with what they would take, when they do not fit one */
};

struct update_spec {
    struct bytes filter;
    struct bytes update; /* operators, or a replacement (of one document only), or an array of stages */
    bool is_pipeline;
    struct bytes array_filters; /* an array; empty: none */
    struct bytes sort;          /* of DOCUMENTS_ONE; empty: none */
    bool upsert;                /* without a match, insert what filter and update describe: counts.upserted */
    enum documents_scope scope;
    bool must_replace;
    struct query_options options;
};
CHECKED bool documents_update(struct registry *registry, const struct collection_path *path, const struct update_spec *spec,
                              const struct write_request *request, struct write_result *result, struct error *err);

struct delete_spec {
    struct bytes filter;
    struct bytes sort; /* of DOCUMENTS_ONE; empty: none */
    enum documents_scope scope;
    struct query_options options;
};
CHECKED bool documents_delete(struct registry *registry, const struct collection_path *path, const struct delete_spec *spec,
                              const struct write_request *request, struct write_result *result, struct error *err);

/* A change of one document that answers with it. */
struct find_and_modify_spec {
    const struct update_spec *update; /* of DOCUMENTS_ONE */
    const struct delete_spec *remove; /* instead */
    bool after;                       /* the document after the change, not the one before */
    struct bytes projection;          /* empty: all fields */
};
/* The document lives in result->arena; without data: none matched, or there was none before. A repetition gets the same. */
CHECKED bool documents_find_and_modify(struct registry *registry, const struct collection_path *path,
                                       const struct find_and_modify_spec *spec, const struct write_request *request,
                                       struct write_result *result, struct bytes *document, struct error *err);

enum bulk_kind { BULK_INSERT, BULK_UPDATE, BULK_DELETE };
struct bulk_operation {
    enum bulk_kind kind;
    struct bytes document; /* BULK_INSERT */
    struct update_spec update;
    struct delete_spec remove;
};
/* One operation after another, each of which sees what those before it did. They go in steps like an update of many: a step is
 * one batch of at most MAX_STEP_DOCUMENTS operations and documents. An operation that fails is an item error, without
 * effect but for what steps before have done of it; the rest is not tried, unless unordered. */
struct bulk_spec {
    const struct bulk_operation *operations;
    size_t n; /* at most MAX_BULK_OPERATIONS */
    bool unordered;
    bool atomic; /* one batch, or nothing and the first error */
};
enum { MAX_BULK_OPERATIONS = 100000 };

/* The _id that an operation made: of an insert that came without one, or of an upsert. */
struct bulk_id {
    uint32_t index;
    struct bytes id; /* a document with the one field _id */
};
/* In the order of index; lives in the write_result's arena. */
struct bulk_result {
    struct bulk_id *ids;
    size_t n_ids;
    struct item_errors errors;
};
CHECKED bool documents_bulk_write(struct registry *registry, const struct collection_path *path, const struct bulk_spec *spec,
                                  const struct write_request *request, struct write_result *result, struct bulk_result *items,
                                  struct error *err);

struct find_spec {
    struct bytes filter;
    struct bytes projection; /* empty: whole documents */
    struct bytes sort;       /* empty: in _id order */
    uint64_t skip;
    uint64_t limit; /* 0: none */
    struct query_options options;
    bool explained; /* find->work is wanted: a traditional branch asks for it */
};

/* How a find came to its documents. */
enum find_access {
    FIND_NOTHING, /* there is no collection */
    FIND_BY_ID,   /* one certain _id */
    FIND_BY_ID_RANGES,
    FIND_BY_INDEX, /* of a traditional branch */
    FIND_BY_SCAN,
};
enum find_order {
    FIND_AS_WALKED, /* nobody asked for an order */
    FIND_ORDERED_BY_ID,
    FIND_ORDERED_BY_INDEX, /* of a traditional branch */
    FIND_SORTED,           /* in memory */
};
struct find_work {
    enum find_access access;
    enum find_order order;
    uint64_t n_ranges;
    uint64_t examined;   /* documents, so far */
    const char *indexes; /* of a traditional branch: their names, as long as the find; NULL: none */
};

/* What is found, one after another, whatever kind the branch is. */
struct find {
    const struct find_functions *functions;
    uint64_t lsn;          /* of the state; 0: it has none */
    struct find_work work; /* of a traditional branch only when that was asked for */
};
struct find_functions {
    bool (*next)(struct find *find, struct bytes *document, struct error *err);
    bool (*settle)(struct find *find, struct error *err); /* NULL: there is nothing to settle */
    void (*close)(struct find *find);
};
/* The document is borrowed until find_settle and the call behind it, or find_close; without data: no more. */
CHECKED static inline bool find_next(struct find *find, struct bytes *document, struct error *err)
{
    return find->functions->next(find, document, err);
}
/* Before documents are answered: they are what the branch held. */
CHECKED static inline bool find_settle(struct find *find, struct error *err)
{
    return !find->functions->settle || find->functions->settle(find, err);
}
static inline void find_close(struct find *find) /* NULL is fine */
{
    if (find)
        find->functions->close(find);
}

CHECKED bool documents_find(struct registry *registry, const struct collection_path *path, const struct find_spec *spec,
                            const struct read_options *read, struct find **find, struct error *err);
CHECKED bool documents_count(struct registry *registry, const struct collection_path *path, const struct find_spec *spec,
                             const struct read_options *read, uint64_t *count, uint64_t *lsn, struct error *err);
/* How many documents there are, without looking at one. */
CHECKED bool documents_estimate(struct registry *registry, const struct collection_path *path, const struct read_options *read,
                                uint64_t *count, uint64_t *lsn, struct error *err);

struct distinct_spec {
    const char *field; /* a path */
    struct bytes filter;
    struct query_options options;
};
/* INVALID_ARGUMENT: let, which MongoDB 7.0 does not have here; no field, or one that is no text. */
CHECKED bool documents_check_distinct(const struct distinct_spec *spec, struct error *err);
/* {"values": [...]}, appended. */
CHECKED bool documents_distinct(struct registry *registry, const struct collection_path *path, const struct distinct_spec *spec,
                                const struct read_options *read, struct buffer *values, uint64_t *lsn, struct error *err);

struct aggregate_spec {
    struct bytes pipeline; /* an array of stages; it has passed bson_check */
    struct query_options options;
    bool explained; /* as of a find */
};
/* Other collections are read at the same LSN. */
CHECKED bool documents_aggregate(struct registry *registry, const struct collection_path *path, const struct aggregate_spec *spec,
                                 const struct read_options *read, struct find **find, struct error *err);

#endif
