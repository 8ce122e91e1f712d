#include "branch-service/documents.h"

#include <bson/bson.h>
#include <stdlib.h>
#include <uthash.h>
#include <xxhash.h>

#include "branch-service/batch.h"
#include "branch-service/names.h"
#include "branch-service/query/filter.h"
#include "branch-service/query/update.h"
#include "common/base/clock.h"
#include "common/base/limits.h"
#include "common/base/memory.h"
#include "common/base/random.h"
#include "common/bson/bson_check.h"
#include "common/bson/ejson.h"
#include "common/bson/key_encoding.h"

enum {
    /* one entry is kept for the record of a collection that the batch creates */
    MAX_WRITE_DOCUMENTS = MAX_BATCH_ENTRIES - 1,
    /* what an entry takes besides its document and key, and the catalog's part */
    ENTRY_OVERHEAD_BYTES = 32,
    MAX_WRITE_BYTES = MAX_BATCH_BYTES - 64 * 1024,
};

static bool check_path(const struct collection_path *path, struct error *err)
{
    return name_check("branch", path->branch, err) && name_check_collection(path->collection, err);
}

/* Counts what a batch will hold. */
struct batch_size {
    uint64_t documents;
    uint64_t bytes;
};

static bool batch_size_add(struct batch_size *size, size_t key_bytes, size_t document_bytes, struct error *err)
{
    size->documents++;
    size->bytes += key_bytes + document_bytes + ENTRY_OVERHEAD_BYTES;
    if (size->documents > MAX_WRITE_DOCUMENTS)
        return error_set(err, ERROR_INVALID_ARGUMENT, "the write holds more than %d documents, the most that one batch takes",
                         MAX_WRITE_DOCUMENTS);
    if (size->bytes > MAX_WRITE_BYTES)
        return error_set(err, ERROR_INVALID_ARGUMENT, "the write holds more than %d bytes, the most that one batch takes", MAX_WRITE_BYTES);
    return true;
}

/* ---- insert ----------------------------------------------------------------------------------------- */

struct new_document {
    UT_hash_handle hh; /* by key */
    struct bytes key;
    struct bytes document;
    bool repeated; /* an earlier one of the same request has this _id */
};

struct insert {
    struct project *project;
    const struct collection_path *path;
    enum on_duplicate on_duplicate;
    int64_t deadline;
    struct new_document *documents;
    size_t n;
};

static bool prepare_document(struct bytes in, struct arena *arena, struct new_document *out, struct error *err)
{
    bson_t prepared;
    struct buffer key = { 0 };
    if (!bson_check(in, err) || !document_prepare(in, &prepared, err))
        return false;
    struct bytes document = bytes_of(bson_get_data(&prepared), prepared.len);
    bool ok = key_encode_document_id(document, &key, err);
    if (ok) {
        out->document = bytes_of(arena_copy(arena, document.data, document.len), document.len);
        out->key = bytes_of(arena_copy(arena, key.data, key.len), key.len);
        ok = (out->document.data && out->key.data) || error_out_of_memory(err);
    }
    bson_destroy(&prepared);
    buffer_destroy(&key);
    return ok;
}

static bool prepare_insert(struct insert *insert, const struct bytes *documents, size_t n, struct arena *arena, struct error *err)
{
    struct new_document *seen = NULL, *other;
    struct batch_size size = { 0 };
    bool ok = true;
    if (n == 0)
        return error_set(err, ERROR_INVALID_ARGUMENT, "there are no documents to insert");
    insert->documents = arena_zalloc(arena, n * sizeof *insert->documents);
    if (!insert->documents)
        return error_out_of_memory(err);
    insert->n = n;
    for (size_t i = 0; ok && i < n; i++) {
        struct new_document *document = &insert->documents[i];
        ok = prepare_document(documents[i], arena, document, err) && batch_size_add(&size, document->key.len, document->document.len, err);
        if (!ok) {
            if (n > 1)
                error_wrap(err, "document %zu", i);
            break;
        }
        HASH_FIND(hh, seen, document->key.data, document->key.len, other);
        document->repeated = other != NULL;
        if (!other)
            HASH_ADD_KEYPTR(hh, seen, document->key.data, document->key.len, document);
    }
    HASH_CLEAR(hh, seen);
    return ok;
}

static bool refuse_duplicate(const struct insert *insert, const struct new_document *document, struct error *err)
{
    bson_t whole, id = BSON_INITIALIZER;
    bson_iter_t iter;
    struct buffer text = { 0 };
    if (bson_init_static(&whole, document->document.data, document->document.len) && bson_iter_init_find(&iter, &whole, "_id"))
        bson_append_iter(&id, "_id", 3, &iter);
    if (ejson_format(bytes_of(bson_get_data(&id), id.len), EJSON_RELAXED, &text, err))
        error_set(err, ERROR_ALREADY_EXISTS, "collection '%s' has a document %.*s already", insert->path->collection,
                  (int)(text.len < 120 ? text.len : 120), (const char *)text.data);
    buffer_destroy(&text);
    bson_destroy(&id);
    return false;
}

/* The collection's id, with the record that creates it in the batch when there is none. */
static bool ensure_collection(const struct insert *insert, const struct target *target, struct batch *batch, const char **id,
                              struct error *err)
{
    if (target->collection_id[0]) {
        *id = target->collection_id;
        return true;
    }
    char *made = arena_alloc(batch->arena, ID_SIZE);
    struct bytes document;
    if (!made)
        return error_out_of_memory(err);
    random_id(made);
    const struct collection_record record = { .name = insert->path->collection, .id = made, .created_at = clock_wall_micros() };
    *id = made;
    return catalog_encode_collection(&record, batch->arena, &document, err) &&
           batch_add_record(batch, target->branch_id, COLLECTIONS_COLLECTION, LOG_INSERT, insert->path->collection, document, err);
}

static bool plan_insert(const struct insert *insert, const struct target *target, struct arena *arena, struct write_plan *plan,
                        struct error *err)
{
    struct batch batch;
    struct log_run *run;
    const char *collection_id;
    struct tree_item item;
    struct log_entry *entries = arena_alloc(arena, insert->n * sizeof *entries);
    size_t n = 0;
    if (!entries)
        return error_out_of_memory(err);
    for (size_t i = 0; i < insert->n; i++) {
        const struct new_document *document = &insert->documents[i];
        if (document->repeated || (target->documents && tree_get(target->documents, document->key, &item))) {
            if (insert->on_duplicate == ON_DUPLICATE_FAIL)
                return refuse_duplicate(insert, document, err);
            plan->counts.skipped++;
            continue;
        }
        entries[n++] = (struct log_entry) { .operation = LOG_INSERT, .document_id = document->key, .document = document->document };
    }
    plan->counts.inserted = n;
    plan->read_lsn = target->lsn;
    if (n == 0)
        return true;
    if (!batch_begin(&batch, arena, target->branch_id, err) ||
        !batch_read_collection(&batch, target->branch_id, insert->path->collection, err) ||
        !ensure_collection(insert, target, &batch, &collection_id, err) ||
        !batch_add_run(&batch, target->branch_id, collection_id, n, &run, err))
        return false;
    memcpy(run->entries, entries, n * sizeof *entries);
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

bool documents_insert(struct registry *registry, const struct collection_path *path, const struct bytes *documents, size_t n,
                      enum on_duplicate on_duplicate, const struct write_request *request, struct write_result *result, struct error *err)
{
    struct insert insert = { .path = path, .on_duplicate = on_duplicate, .deadline = request->deadline };
    struct arena arena;
    arena_init(&arena, 0);
    bool ok = check_path(path, err) && write_request_check(request, err) && prepare_insert(&insert, documents, n, &arena, err) &&
              registry_find(registry, path->project, request->deadline, &insert.project, err);
    if (!ok)
        write_refuse(request, err);
    ok = ok && write_execute(insert.project, request, evaluate_insert, &insert, result, err);
    /* the caller builds its answer from the result, which borrows from here: hand the memory over */
    if (ok)
        arena_adopt(&result->arena, &arena);
    arena_destroy(&arena);
    return ok;
}

const struct log_run *documents_inserted(const struct write_result *result)
{
    for (size_t i = 0; i < result->n_runs; i++)
        if (strcmp(result->runs[i].collection, COLLECTIONS_COLLECTION) != 0 && strcmp(result->runs[i].collection, REQUESTS_COLLECTION) != 0)
            return &result->runs[i];
    return NULL;
}

/* ---- update and delete ------------------------------------------------------------------------------ */

struct modification {
    struct project *project;
    const struct collection_path *path;
    struct filter *filter;
    struct update *update; /* NULL: delete */
    bool multi;
    int64_t deadline;
};

struct entry_list {
    struct arena *arena;
    struct log_entry *entries;
    size_t n, capacity;
    struct batch_size size;
};

static bool entry_list_add(struct entry_list *list, const struct log_entry *entry, struct error *err)
{
    if (!batch_size_add(&list->size, entry->document_id.len, entry->document.len, err))
        return false;
    if (list->n == list->capacity) {
        size_t grown = list->capacity ? 2 * list->capacity : 8;
        struct log_entry *larger = arena_alloc(list->arena, grown * sizeof *larger);
        if (!larger)
            return error_out_of_memory(err);
        if (list->n)
            memcpy(larger, list->entries, list->n * sizeof *larger);
        list->entries = larger;
        list->capacity = grown;
    }
    struct log_entry *added = &list->entries[list->n++];
    *added = *entry;
    /* the key borrows from a tree that goes before the batch */
    added->document_id.data = arena_copy(list->arena, entry->document_id.data, entry->document_id.len);
    return added->document_id.data || error_out_of_memory(err);
}

static bool modify_one(const struct modification *modification, const struct tree_item *item, struct entry_list *list,
                       struct write_counts *counts, struct error *err)
{
    struct log_entry entry = { .operation = LOG_DELETE, .document_id = item->key };
    counts->matched++;
    if (!modification->update) {
        counts->deleted++;
        return entry_list_add(list, &entry, err);
    }
    bson_t image;
    bool changed;
    if (!update_apply(modification->update, item->document, &image, &changed, err))
        return false;
    if (!changed)
        return true;
    counts->modified++;
    entry.operation = LOG_UPDATE;
    entry.document = bytes_of(arena_copy(list->arena, bson_get_data(&image), image.len), image.len);
    bson_destroy(&image);
    return entry.document.data ? entry_list_add(list, &entry, err) : error_out_of_memory(err);
}

static bool modify_matches(const struct modification *modification, const struct tree *documents, struct entry_list *list,
                           struct write_counts *counts, struct error *err)
{
    struct tree_item item;
    struct bytes key;
    if (filter_single_id(modification->filter, &key)) {
        if (!tree_get(documents, key, &item) || !filter_matches(modification->filter, item.document))
            return true;
        return modify_one(modification, &item, list, counts, err);
    }
    struct tree_cursor cursor;
    tree_cursor_first(&cursor, documents);
    while (tree_cursor_next(&cursor, &item)) {
        if (!filter_matches(modification->filter, item.document))
            continue;
        if (!modify_one(modification, &item, list, counts, err))
            return false;
        if (!modification->multi)
            break;
    }
    return true;
}

static bool plan_modification(const struct modification *modification, const struct target *target, struct arena *arena,
                              struct write_plan *plan, struct error *err)
{
    struct entry_list list = { .arena = arena };
    struct batch batch;
    struct log_run *run;
    plan->read_lsn = target->lsn;
    if (target->documents && !modify_matches(modification, target->documents, &list, &plan->counts, err))
        return false;
    if (list.n == 0)
        return true;
    if (!batch_begin(&batch, arena, target->branch_id, err) ||
        !batch_read_collection(&batch, target->branch_id, modification->path->collection, err) ||
        !batch_add_run(&batch, target->branch_id, target->collection_id, list.n, &run, err))
        return false;
    memcpy(run->entries, list.entries, list.n * sizeof *list.entries);
    return batch_finish(&batch, target->lsn, &target->incarnation, plan, err);
}

static bool evaluate_modification(void *ctx, struct arena *arena, struct write_plan *plan, struct error *err)
{
    const struct modification *modification = ctx;
    struct target target;
    if (!project_open_target(modification->project, modification->path->branch, modification->path->collection, 0, modification->deadline,
                             &target, err))
        return false;
    bool ok = plan_modification(modification, &target, arena, plan, err);
    target_destroy(&target);
    return ok;
}

static uint64_t hash_string(uint64_t seed, const char *s)
{
    return XXH3_64bits_withSeed(s, strlen(s), seed);
}

/* Writers of one certain document take turns; others only meet at the log. */
static bool execute_in_turn(struct registry *registry, struct modification *modification, const struct write_request *request,
                            struct write_result *result, struct error *err)
{
    const struct collection_path *path = modification->path;
    struct bytes key;
    bool queued = filter_single_id(modification->filter, &key);
    uint64_t hash = 0;
    if (queued) {
        hash = hash_string(hash_string(hash_string(0, path->project), path->branch), path->collection);
        hash = XXH3_64bits_withSeed(key.data, key.len, hash);
        if (!write_queue_enter(registry_queue(registry), hash, request->deadline, err))
            return write_refuse(request, err);
    }
    /* after the turn has come: what the one before wrote is to be seen */
    bool ok = registry_find(registry, path->project, request->deadline, &modification->project, err) || write_refuse(request, err);
    ok = ok && write_execute(modification->project, request, evaluate_modification, modification, result, err);
    if (queued)
        write_queue_leave(registry_queue(registry), hash);
    return ok;
}

static bool compile_filter(struct bytes spec, struct filter **filter, struct error *err)
{
    return (spec.len == 0 || bson_check(spec, err)) && filter_compile(spec, filter, err);
}

static bool compile_update(struct bytes spec, bool multi, bool must_replace, struct update **update, struct error *err)
{
    struct update *compiled;
    if (!bson_check(spec, err) || !update_compile(spec, &compiled, err))
        return error_wrap(err, "update");
    bool replaces = update_kind(compiled) == UPDATE_REPLACEMENT;
    if (replaces ? !multi : !must_replace) {
        *update = compiled;
        return true;
    }
    update_free(compiled);
    return error_set(err, ERROR_INVALID_ARGUMENT,
                     replaces ? "a replacement changes one document only: use operators such as $set for many"
                              : "the replacement contains update operators");
}

bool documents_update(struct registry *registry, const struct collection_path *path, struct bytes filter, struct bytes update, bool multi,
                      bool must_replace, const struct write_request *request, struct write_result *result, struct error *err)
{
    struct modification modification = { .path = path, .multi = multi, .deadline = request->deadline };
    bool ok = check_path(path, err) && write_request_check(request, err) && compile_filter(filter, &modification.filter, err) &&
              compile_update(update, multi, must_replace, &modification.update, err);
    if (!ok)
        write_refuse(request, err);
    ok = ok && execute_in_turn(registry, &modification, request, result, err);
    update_free(modification.update);
    filter_free(modification.filter);
    return ok;
}

bool documents_delete(struct registry *registry, const struct collection_path *path, struct bytes filter, bool multi,
                      const struct write_request *request, struct write_result *result, struct error *err)
{
    struct modification modification = { .path = path, .multi = multi, .deadline = request->deadline };
    bool ok = check_path(path, err) && write_request_check(request, err) && compile_filter(filter, &modification.filter, err);
    if (!ok)
        write_refuse(request, err);
    ok = ok && execute_in_turn(registry, &modification, request, result, err);
    filter_free(modification.filter);
    return ok;
}

/* ---- find ------------------------------------------------------------------------------------------- */

struct find {
    struct target target;
    struct filter *filter;
    struct tree_cursor cursor;
    uint64_t skip;
    uint64_t left; /* UINT64_MAX: no limit */
    bool single;   /* at most one document can match */
    struct bytes single_key;
};

bool find_open(struct registry *registry, const struct collection_path *path, const struct find_spec *spec, const struct read_options *read,
               struct find **find, struct error *err)
{
    struct find *made = mem_zalloc(sizeof *made);
    bool ok = check_path(path, err) && compile_filter(spec->filter, &made->filter, err) &&
              collections_open(registry, path->project, path->branch, path->collection, read, &made->target, err);
    if (!ok) {
        find_close(made);
        return false;
    }
    made->skip = spec->skip;
    made->left = spec->limit ? spec->limit : UINT64_MAX;
    made->single = filter_single_id(made->filter, &made->single_key);
    if (!made->target.documents)
        made->left = 0;
    else if (!made->single)
        tree_cursor_first(&made->cursor, made->target.documents);
    *find = made;
    return true;
}

uint64_t find_lsn(const struct find *find)
{
    return find->target.lsn;
}

static bool next_candidate(struct find *find, struct tree_item *item)
{
    if (!find->single)
        return tree_cursor_next(&find->cursor, item);
    bool found = find->single_key.data && tree_get(find->target.documents, find->single_key, item);
    find->single_key.data = NULL; /* once */
    return found;
}

bool find_next(struct find *find, struct bytes *document)
{
    struct tree_item item;
    while (find->left > 0 && next_candidate(find, &item)) {
        if (!filter_matches(find->filter, item.document))
            continue;
        if (find->skip > 0) {
            find->skip--;
            continue;
        }
        if (find->left != UINT64_MAX)
            find->left--;
        *document = item.document;
        return true;
    }
    return false;
}

void find_close(struct find *find)
{
    if (!find)
        return;
    target_destroy(&find->target);
    filter_free(find->filter);
    free(find);
}
