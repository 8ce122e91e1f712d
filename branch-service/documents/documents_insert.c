#include <bson/bson.h>
#include <stdio.h>
#include <uthash.h>

#include "branch-service/documents/documents_internal.h"
#include "branch-service/query/query_error.h"
#include "branch-service/query/update.h"
#include "branch-service/reasons.h"
#include "branch-service/registry/write_named.h"
#include "branch-service/write/write_conflict.h"
#include "common/base/clock.h"
#include "common/base/random.h"
#include "common/bson/bson_check.h"
#include "common/bson/key_encoding.h"

struct insert {
    struct project *project;
    const struct collection_path *path;
    enum on_duplicate on_duplicate;
    int64_t deadline;
    struct new_document *documents;
    size_t n;
};

/* ---- the plan --------------------------------------------------------------------------------------- */

bool documents_refuse_duplicate(const char *collection, struct bytes document, struct error *err)
{
    char id[SHOWN_ID_SIZE];
    documents_format_id(document, id);
    error_set(err, ERROR_ALREADY_EXISTS, "collection '%s' has a document %s already", collection, id);
    error_set_reason(err, REASON_DUPLICATE_KEY);
    err->mongo_code = MONGO_DUPLICATE_KEY;
    write_name_document(collection, document, err);
    return false;
}

bool documents_ensure_collection(const struct collection_path *path, const struct target *target, struct batch *batch, const char **id,
                                 struct error *err)
{
    if (target->collection_id[0]) {
        *id = arena_strdup(batch->arena, target->collection_id);
        return *id || error_out_of_memory(err);
    }
    char *made = arena_alloc(batch->arena, ID_SIZE);
    struct bytes document;
    if (!made)
        return error_out_of_memory(err);
    random_id(made);
    const struct collection_record record = { .name = path->collection, .id = made, .created_at = clock_wall_micros() };
    *id = made;
    return catalog_encode_collection(&record, batch->arena, &document, err) &&
           batch_add_record(batch, target->branch_id, COLLECTIONS_COLLECTION, LOG_INSERT, path->collection, document, err);
}

struct entries {
    struct log_entry *items;
    size_t n;
};

static void put(struct entries *entries, enum log_operation operation, struct new_document *first, const struct new_document *document)
{
    if (!first->entry) {
        first->entry = &entries->items[entries->n++];
        *first->entry = (struct log_entry) { .operation = operation, .document_id = document->key };
    }
    first->entry->document = first->image = document->document;
    first->present = true;
}

/* *stop: this one is not written, nor is what stands behind it. */
static bool plan_document(const struct insert *insert, const struct target *target, struct new_document *document, struct entries *entries,
                          struct write_plan *plan, bool *stop, struct error *err)
{
    struct new_document *first = document->first;
    struct tree_item item;
    if (document->invalid) {
        *stop = insert->on_duplicate == ON_DUPLICATE_STOP;
        return true;
    }
    if (document == first) {
        first->entry = NULL;
        first->present = target->documents && tree_get(target->documents, document->key, &item);
        first->image = first->present ? item.document : (struct bytes) { 0 };
    }
    if (!first->present) {
        plan->counts.inserted++;
        put(entries, LOG_INSERT, first, document);
        return true;
    }
    switch (insert->on_duplicate) {
    case ON_DUPLICATE_FAIL:
        return documents_refuse_duplicate(insert->path->collection, document->document, err);
    case ON_DUPLICATE_REPLACE:
        if (!bytes_equal(first->image, document->document)) {
            plan->counts.replaced++;
            put(entries, LOG_UPDATE, first, document);
            return true;
        }
        break;
    case ON_DUPLICATE_REPORT:
    case ON_DUPLICATE_STOP:
        plan->unguarded = true;
        *stop = insert->on_duplicate == ON_DUPLICATE_STOP;
        return true;
    case ON_DUPLICATE_SKIP:
        break;
    }
    plan->counts.skipped++;
    plan->unguarded = true; /* what is passed over is not touched */
    return true;
}

static bool plan_insert(const struct insert *insert, const struct target *target, struct arena *arena, struct write_plan *plan,
                        struct error *err)
{
    struct batch batch;
    struct log_run *run;
    const char *collection_id;
    struct entries entries = { .items = arena_alloc(arena, insert->n * sizeof *entries.items) };
    if (!entries.items)
        return error_out_of_memory(err);
    bool stop = false;
    for (size_t i = 0; i < insert->n && !stop; i++)
        if (!plan_document(insert, target, &insert->documents[i], &entries, plan, &stop, err))
            return false;
    plan->read_lsn = target->lsn;
    plan->collection = insert->path->collection;
    if (entries.n == 0)
        return true;
    if (!batch_begin_on(&batch, arena, target, err) || !batch_read_collection(&batch, target->branch_id, insert->path->collection, err) ||
        !documents_ensure_collection(insert->path, target, &batch, &collection_id, err) ||
        !batch_add_run(&batch, target->branch_id, collection_id, entries.n, &run, err))
        return false;
    memcpy(run->entries, entries.items, entries.n * sizeof *entries.items);
    return batch_finish(&batch, target->lsn, &target->incarnation, plan, err);
}

static bool evaluate_insert(void *ctx, struct arena *arena, struct write_plan *plan, struct error *err)
{
    const struct insert *insert = ctx;
    struct target target;
    if (!project_open_target(insert->project, insert->path->branch, insert->path->collection, 0, insert->deadline, &target, err))
        return false;
    bool ok = plan_insert(insert, &target, arena, plan, err);
    target_destroy(&target);
    return ok;
}

/* ---- the answer ------------------------------------------------------------------------------------- */

const struct log_run *documents_written(const struct write_result *result)
{
    for (size_t i = 0; i < result->n_runs; i++)
        if (strcmp(result->runs[i].collection, COLLECTIONS_COLLECTION) != 0 && strcmp(result->runs[i].collection, REQUESTS_COLLECTION) != 0)
            return &result->runs[i];
    return NULL;
}

struct written_key {
    UT_hash_handle hh;
    struct bytes key;
};

/* Which documents of the request the committed batch holds. One without an _id is always there, under the id that it
 * got the first time. */
static bool mark_written(const struct insert *insert, const struct write_result *result, struct arena *arena, bool *written,
                         struct error *err)
{
    const struct log_run *run = documents_written(result);
    const size_t n = run ? run->n_entries : 0;
    struct written_key *keys = arena_alloc(arena, n * sizeof *keys), *set = NULL, *found;
    if (!keys)
        return error_out_of_memory(err);
    for (size_t i = 0; i < n; i++) {
        keys[i].key = run->entries[i].document_id;
        HASH_ADD_KEYPTR(hh, set, keys[i].key.data, keys[i].key.len, &keys[i]);
    }
    for (size_t i = 0; i < insert->n; i++) {
        const struct new_document *document = &insert->documents[i];
        if (document->invalid)
            continue;
        HASH_FIND(hh, set, document->key.data, document->key.len, found);
        written[i] = document->generated_id || (found && document->first == document);
    }
    HASH_CLEAR(hh, set);
    return true;
}

static bool add_error(struct item_errors *errors, const struct new_document *document, size_t i, struct arena *arena, struct error *err)
{
    struct item_error *item = &errors->items[errors->n];
    if (document->invalid) {
        *item = (struct item_error) { (uint32_t)i, ERROR_INVALID_ARGUMENT, document->invalid_code, document->invalid };
    } else {
        char id[SHOWN_ID_SIZE], text[SHOWN_ID_SIZE + 64];
        documents_format_id(document->document, id);
        snprintf(text, sizeof text, "a document %s exists", id);
        *item = (struct item_error) { (uint32_t)i, ERROR_ALREADY_EXISTS, MONGO_DUPLICATE_KEY, arena_strdup(arena, text) };
    }
    errors->n++;
    return item->message || error_out_of_memory(err);
}

static bool list_errors(const struct insert *insert, struct write_result *result, struct item_errors *errors, struct error *err)
{
    struct arena *arena = &result->arena;
    bool report = insert->on_duplicate == ON_DUPLICATE_REPORT;
    bool *written = arena_zalloc(arena, insert->n * sizeof *written);
    size_t n = 0;
    *errors = (struct item_errors) { 0 };
    if (!written)
        return error_out_of_memory(err);
    if (report && !mark_written(insert, result, arena, written, err))
        return false;
    for (size_t i = 0; i < insert->n; i++)
        n += insert->documents[i].invalid || (report && !written[i]);
    errors->items = arena_alloc(arena, (n + 1) * sizeof *errors->items);
    if (!errors->items)
        return error_out_of_memory(err);
    if (insert->on_duplicate == ON_DUPLICATE_STOP) {
        /* everything in front of the first bad one is a new document */
        const struct log_run *run = documents_written(result);
        size_t first = run ? run->n_entries : 0;
        return first >= insert->n || add_error(errors, &insert->documents[first], first, arena, err);
    }
    for (size_t i = 0; i < insert->n; i++) {
        const struct new_document *document = &insert->documents[i];
        if ((document->invalid || (report && !written[i])) && !add_error(errors, document, i, arena, err))
            return false;
    }
    return true;
}

bool documents_insert(struct registry *registry, const struct collection_path *path, const struct insert_spec *spec,
                      const struct write_request *request, struct write_result *result, struct item_errors *errors, struct error *err)
{
    struct insert insert = { .path = path, .on_duplicate = spec->on_duplicate, .deadline = request->deadline, .n = spec->n };
    struct arena arena;
    arena_init(&arena, 0);
    bool ok =
        documents_check_path(path, err) && write_request_check(request, err) && documents_prepare(spec, &arena, &insert.documents, err);
    if (!ok)
        write_refuse(request, err);
    ok = ok && write_named(registry, path->project, request, evaluate_insert, &insert, &insert.project, result, err);
    /* the caller builds its answer from the result, which borrows from here: hand the memory over */
    if (ok) {
        arena_adopt(&result->arena, &arena);
        ok = list_errors(&insert, result, errors, err) || write_keep_unknown(err);
        if (!ok)
            write_result_destroy(result);
    }
    arena_destroy(&arena);
    return ok;
}
