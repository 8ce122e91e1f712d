/* Bulk writes on a WAL branch.
 *
 * A step plans operations one after another on a copy of the view, which costs what they change. What the step writes is
 * the difference between copy and view: one entry a document, however often the operations have changed it. A step that
 * ends within an update or delete of many says behind which document.
 *
 * The record of a step (write.h) is {ids: [{i, id}], errors: [{i, code, mongo, message}]}: the _ids that the step made up, and
 * what failed. */
#include <bson/bson.h>
#include <stdlib.h>
#include <uthash.h>

#include "branch-service/documents/document_change.h"
#include "branch-service/documents/document_walk.h"
#include "branch-service/documents/documents_internal.h"
#include "branch-service/query/query_error.h"
#include "branch-service/reasons.h"
#include "branch-service/registry/write_named.h"
#include "common/base/clock.h"
#include "common/bson/document_id.h"

/* Room in a batch beside documents: for the record of the step. */
enum { MAX_BULK_ENTRIES = MAX_WRITE_DOCUMENTS - 1, ERROR_ITEM_BYTES = 64, ID_ITEM_BYTES = 32 };

struct bulk {
    struct project *project;
    const struct collection_path *path;
    const struct bulk_spec *spec;
    int64_t deadline;
    struct caller caller;
};

/* ---- the copy --------------------------------------------------------------------------------------- */

struct touched {
    UT_hash_handle hh; /* by key */
    struct bytes key;
};

struct bulk_step {
    const struct bulk *bulk;
    struct arena *arena;
    struct write_plan *plan;
    struct memory_budget unlimited; /* of a copy of nothing: a batch bounds it */
    struct tree *before;
    struct tree *now;
    struct touched *touched;
    size_t n_touched;
    uint64_t bytes; /* of what was put so far, and of the record */
    bson_t ids, errors;
    uint32_t n_ids, n_errors;
    struct bytes covered; /* of the operation in hand: the last document that is dealt with */
    uint8_t covered_key[MAX_DOCUMENT_ID_BYTES];
};

static bool touch(struct bulk_step *step, struct bytes key, struct error *err)
{
    struct touched *found;
    HASH_FIND(hh, step->touched, key.data, key.len, found);
    if (found)
        return true;
    found = arena_zalloc(step->arena, sizeof *found);
    if (found)
        found->key = bytes_of(arena_copy(step->arena, key.data, key.len), key.len);
    if (!found || !found->key.data)
        return error_out_of_memory(err);
    HASH_ADD_KEYPTR(hh, step->touched, found->key.data, found->key.len, found);
    step->n_touched++;
    return true;
}

static bool refuse_size(size_t entries, uint64_t bytes, struct error *err)
{
    if (entries <= MAX_BULK_ENTRIES && bytes <= MAX_WRITE_BYTES)
        return true;
    error_set(err, ERROR_INVALID_ARGUMENT,
              "%zu documents with %llu bytes do not fit one batch, which takes %d documents and %d bytes: without atomic they go in steps",
              entries, (unsigned long long)bytes, MAX_BULK_ENTRIES, MAX_WRITE_BYTES);
    error_set_reason(err, REASON_TOO_LARGE);
    return false;
}

/* document without data: removed. */
static bool change_copy(struct bulk_step *step, struct bytes key, struct bytes document, struct error *err)
{
    struct tree_edit *edit;
    bool found;
    if (!touch(step, key, err) || !refuse_size(step->n_touched, 0, err) || !tree_edit_begin(step->now, &edit, err))
        return false;
    tree_unref(step->now); /* so that the edit changes in place what only it has */
    bool ok = document.data ? tree_edit_put(edit, key, document, err) : tree_edit_remove(edit, key, &found, err);
    step->now = tree_edit_end(edit);
    step->bytes += documents_entry_bytes(key, document.len);
    return ok;
}

/* Of one step after another; what goes in one batch must fit it. */
static bool has_room(const struct bulk_step *step, uint64_t bytes)
{
    if (step->bulk->spec->atomic || (step->n_touched == 0 && step->bytes == 0))
        return true;
    return step->n_touched < step->plan->from->max_documents && step->bytes + bytes <= MAX_STEP_BYTES;
}

/* ---- the record ------------------------------------------------------------------------------------- */

static void begin_item(bson_t *items, uint32_t n, size_t index, bson_t *item)
{
    char text[16];
    const char *key;
    size_t len = bson_uint32_to_string(n, &key, text, sizeof text);
    bson_append_document_begin(items, key, (int)len, item);
    bson_append_int32(item, "i", 1, (int32_t)index);
}

static bool note_id(struct bulk_step *step, size_t index, struct bytes document, struct error *err)
{
    bson_t item, view;
    bson_iter_t id;
    if (!bson_init_static(&view, document.data, document.len) || !bson_iter_init_find(&id, &view, "_id"))
        return error_set(err, ERROR_INTERNAL, "a document without _id");
    begin_item(&step->ids, step->n_ids++, index, &item);
    bson_append_iter(&item, "_id", 3, &id);
    step->bytes += ID_ITEM_BYTES + item.len;
    bson_append_document_end(&step->ids, &item);
    return true;
}

static void note_error(struct bulk_step *step, size_t index, const struct error *why)
{
    bson_t item;
    begin_item(&step->errors, step->n_errors++, index, &item);
    BSON_APPEND_INT32(&item, "code", (int)why->code);
    if (why->mongo_code)
        BSON_APPEND_INT32(&item, "mongo", why->mongo_code);
    BSON_APPEND_UTF8(&item, "message", why->message);
    step->bytes += ERROR_ITEM_BYTES + item.len;
    bson_append_document_end(&step->errors, &item);
}

static bool finish_record(struct bulk_step *step, struct bytes *record, struct error *err)
{
    bson_t bson = BSON_INITIALIZER;
    BSON_APPEND_ARRAY(&bson, "ids", &step->ids);
    BSON_APPEND_ARRAY(&bson, "errors", &step->errors);
    *record = bytes_of(arena_copy(step->arena, bson_get_data(&bson), bson.len), bson.len);
    bson_destroy(&bson);
    return record->data || error_out_of_memory(err);
}

/* ---- one operation ---------------------------------------------------------------------------------- */

/* *more: the step is full, this begins the next one. */
static bool insert_one(struct bulk_step *step, size_t index, struct bytes in, bool *more, struct error *err)
{
    struct new_document document = { 0 };
    struct tree_item other;
    if (!documents_prepare_one(in, step->arena, &document, err))
        return false;
    *more = !has_room(step, documents_entry_bytes(document.key, document.document.len));
    if (*more)
        return true;
    if (tree_get(step->now, document.key, &other)) {
        step->plan->unguarded = true;
        return documents_refuse_duplicate(step->bulk->path->collection, document.document, err);
    }
    if (!change_copy(step, document.key, document.document, err) ||
        (document.generated_id && !note_id(step, index, document.document, err)))
        return false;
    step->plan->counts.inserted++;
    return true;
}

static bool upsert_one(struct bulk_step *step, const struct document_change *change, size_t index, bool *more, struct error *err)
{
    struct tree_item item;
    if (!document_change_insert(change, step->bulk->path->collection, step->now, step->arena, &item, err))
        return false;
    *more = !has_room(step, documents_entry_bytes(item.key, item.document.len));
    if (*more)
        return true;
    if (!change_copy(step, item.key, item.document, err) || !note_id(step, index, item.document, err))
        return false;
    if (!document_change_names(change, item.key))
        step->plan->unguarded = true;
    step->plan->counts.upserted++;
    return true;
}

/* item is borrowed from a tree that is held meanwhile. */
static bool change_document(struct bulk_step *step, const struct document_change *change, const struct tree_item *item, bool *more,
                            struct error *err)
{
    struct write_counts *counts = &step->plan->counts;
    bson_t updated;
    bool changed = true;
    struct bytes image = { 0 };
    if (change->update && !update_apply(change->update, item->document, &updated, &changed, err))
        return false;
    if (!changed) {
        counts->matched++;
        step->plan->unguarded = true;
        return true;
    }
    if (change->update)
        image = bytes_of(bson_get_data(&updated), updated.len);
    *more = !has_room(step, documents_entry_bytes(item->key, image.len));
    bool ok = *more || change_copy(step, item->key, image, err);
    if (change->update)
        bson_destroy(&updated);
    if (ok && !*more) {
        counts->matched += change->update != NULL; /* as MongoDB's bulk writes count */
        *(change->update ? &counts->modified : &counts->deleted) += 1;
    }
    return ok;
}

static bool change_many(struct bulk_step *step, const struct document_change *change, const struct tree *documents, bool *more,
                        struct error *err)
{
    struct document_walk walk;
    struct tree_item item;
    bool found;
    document_walk_begin_behind(&walk, documents, change->filter, step->covered, step->bulk->caller);
    for (;;) {
        if (!document_walk_next(&walk, &item, &found, err))
            return false;
        if (!found)
            return true;
        if (!change_document(step, change, &item, more, err))
            return false;
        if (*more)
            return true;
        memcpy(step->covered_key, item.key.data, item.key.len);
        step->covered = bytes_of(step->covered_key, item.key.len);
    }
}

static bool change_matches(struct bulk_step *step, const struct document_change *change, size_t index, bool *more, struct error *err)
{
    struct tree *documents = tree_ref(step->now); /* as the operations before have left it */
    struct tree_item item;
    struct bytes key;
    bool one = change->scope == DOCUMENTS_ONE, found = step->covered.len > 0, ok;
    if (!filter_single_id(change->filter, &key))
        step->plan->unguarded = true; /* a document that comes to match is not a conflict */
    if (one) {
        ok = document_change_find(change, documents, step->bulk->caller, &item, &found, err) &&
             (!found || change_document(step, change, &item, more, err));
    } else {
        ok = change_many(step, change, documents, more, err);
        found = found || step->covered.len > 0 || *more;
    }
    tree_unref(documents);
    if (ok && !found && change->upsert)
        return upsert_one(step, change, index, more, err);
    if (!found)
        step->plan->unguarded = true;
    return ok;
}

static bool run_operation(struct bulk_step *step, size_t index, bool *more, struct error *err)
{
    const struct bulk_operation *operation = &step->bulk->spec->operations[index];
    struct document_change change;
    if (operation->kind == BULK_INSERT)
        return insert_one(step, index, operation->document, more, err);
    bool ok = (operation->kind == BULK_UPDATE ? document_change_compile_update(&change, &operation->update, err)
                                              : document_change_compile_delete(&change, &operation->remove, err)) &&
              change_matches(step, &change, index, more, err);
    document_change_destroy(&change);
    return ok;
}

/* ---- one step --------------------------------------------------------------------------------------- */

/* Of the operation, not of what carries it out. */
static bool is_items_own(const struct error *err)
{
    return err->code == ERROR_INVALID_ARGUMENT || err->code == ERROR_ALREADY_EXISTS || err->mongo_code != 0;
}

/* An operation that fails leaves nothing of itself in this step. *stop: nor is there a next one. */
static bool try_operation(struct bulk_step *step, size_t index, bool *more, bool *stop, struct error *err)
{
    const struct write_counts counts = step->plan->counts;
    struct tree *before = tree_ref(step->now);
    bool ok = run_operation(step, index, more, err);
    if (!ok) {
        tree_unref(step->now);
        step->now = tree_ref(before);
        step->plan->counts = counts;
    }
    tree_unref(before);
    if (ok || !is_items_own(err))
        return ok;
    if (step->bulk->spec->atomic)
        return query_wrap(err, "operation %zu", index);
    note_error(step, index, err);
    step->plan->unguarded = true;
    *stop = !step->bulk->spec->unordered;
    return true;
}

static bool plan_operations(struct bulk_step *step, struct error *err)
{
    const struct bulk_spec *spec = step->bulk->spec;
    struct write_plan *plan = step->plan;
    bool more = false, stop = false;
    size_t at = plan->from->operation;
    step->covered = plan->from->after;
    while (at < spec->n && !stop) {
        if (!caller_waits(&step->bulk->caller, err))
            return error_wrap(err, "operation %zu", at);
        if (!try_operation(step, at, &more, &stop, err))
            return false;
        if (more)
            break;
        step->covered = (struct bytes) { 0 };
        at++;
        if (!spec->atomic && at - plan->from->operation >= MAX_STEP_DOCUMENTS)
            break;
    }
    plan->more = at < spec->n && !stop;
    plan->operation = (uint32_t)at;
    plan->last_document_id = bytes_of(arena_copy(step->arena, step->covered.data, step->covered.len), step->covered.len);
    return plan->last_document_id.data || error_out_of_memory(err);
}

/* What became of a document between view and copy. False: nothing. */
static bool difference(const struct bulk_step *step, struct bytes key, struct log_entry *entry, struct error *err, bool *ok)
{
    struct tree_item before, now;
    bool was = tree_get(step->before, key, &before), is = tree_get(step->now, key, &now);
    *ok = true;
    if (is ? was && bytes_equal(before.document, now.document) : !was)
        return false;
    *entry = (struct log_entry) { .operation = !is ? LOG_DELETE : was ? LOG_UPDATE : LOG_INSERT, .document_id = key };
    if (is)
        entry->document = bytes_of(arena_copy(step->arena, now.document.data, now.document.len), now.document.len);
    else
        *ok = document_id_of(before.document, step->arena, &entry->document, err);
    if (*ok && !entry->document.data)
        *ok = error_out_of_memory(err);
    return true;
}

static bool collect_entries(const struct bulk_step *step, struct log_entry **entries, size_t *n, bool *inserts, struct error *err)
{
    uint64_t bytes = step->ids.len + step->errors.len;
    *n = 0;
    *entries = arena_alloc(step->arena, (step->n_touched + 1) * sizeof **entries);
    if (!*entries)
        return error_out_of_memory(err);
    for (const struct touched *touched = step->touched; touched; touched = touched->hh.next) {
        bool ok;
        struct log_entry *entry = &(*entries)[*n];
        if (!difference(step, touched->key, entry, err, &ok)) {
            step->plan->unguarded = true; /* what comes to nothing is not in the batch */
            continue;
        }
        if (!ok)
            return false;
        *inserts = *inserts || entry->operation == LOG_INSERT;
        bytes += documents_entry_bytes(entry->document_id, entry->document.len);
        (*n)++;
    }
    return refuse_size(*n, bytes, err);
}

static bool plan_batch(struct bulk_step *step, const struct target *target, struct error *err)
{
    const struct collection_path *path = step->bulk->path;
    struct write_plan *plan = step->plan;
    const char *collection_id = target->collection_id;
    struct log_entry *entries;
    struct log_run *run;
    struct batch batch;
    size_t n;
    bool inserts = false;
    if (!collect_entries(step, &entries, &n, &inserts, err))
        return false;
    if ((step->n_ids > 0 || step->n_errors > 0 || (n == 0 && plan->more)) && !finish_record(step, &plan->record, err))
        return false;
    plan->incarnation = target->incarnation;
    plan->branch_id = arena_strdup(step->arena, target->branch_id);
    plan->collection_id = arena_strdup(step->arena, target->collection_id);
    if (!plan->branch_id || !plan->collection_id)
        return error_out_of_memory(err);
    if (n == 0)
        return true;
    if (!batch_begin_on(&batch, step->arena, target, err) || !batch_read_collection(&batch, target->branch_id, path->collection, err) ||
        (inserts && !documents_ensure_collection(path, target, &batch, &collection_id, err)) ||
        !batch_add_run(&batch, target->branch_id, collection_id, n, &run, err))
        return false;
    memcpy(run->entries, entries, n * sizeof *entries);
    plan->collection_id = collection_id[0] ? run->collection : plan->collection_id;
    return batch_finish(&batch, target->lsn, &target->incarnation, plan, err);
}

static bool plan_bulk(const struct bulk *bulk, const struct target *target, struct arena *arena, struct write_plan *plan, struct error *err)
{
    struct bulk_step step = { .bulk = bulk, .arena = arena, .plan = plan };
    plan->read_lsn = target->lsn;
    plan->collection = bulk->path->collection;
    if (!documents_check_names(bulk->path, plan->from, target, err))
        return false;
    if (target->documents)
        step.before = tree_ref(target->documents);
    else if (!tree_new(&step.unlimited, &step.before, err))
        return false;
    step.now = tree_ref(step.before);
    bson_init(&step.ids);
    bson_init(&step.errors);
    bool ok = plan_operations(&step, err) && plan_batch(&step, target, err);
    bson_destroy(&step.ids);
    bson_destroy(&step.errors);
    HASH_CLEAR(hh, step.touched);
    tree_unref(step.now);
    tree_unref(step.before);
    return ok;
}

static bool evaluate_bulk(void *ctx, struct arena *arena, struct write_plan *plan, struct error *err)
{
    const struct bulk *bulk = ctx;
    struct target target;
    if (!project_open_target(bulk->project, bulk->path->branch, bulk->path->collection, 0, bulk->deadline, &target, err))
        return false;
    bool ok = plan_bulk(bulk, &target, arena, plan, err);
    target_destroy(&target);
    return ok;
}

/* ---- the answer ------------------------------------------------------------------------------------- */

struct items {
    struct bulk_result *result;
    struct arena *arena;
    size_t id_capacity, error_capacity;
};

static bool grow(struct arena *arena, void **items, size_t item_size, size_t n, size_t *capacity)
{
    if (n < *capacity)
        return true;
    size_t larger_capacity = *capacity ? 2 * *capacity : 16;
    void *larger = arena_alloc(arena, larger_capacity * item_size);
    if (!larger)
        return false;
    if (n)
        memcpy(larger, *items, n * item_size);
    *items = larger;
    *capacity = larger_capacity;
    return true;
}

static int32_t int_field(struct bytes document, const char *name)
{
    struct element e;
    return element_find(document, name, strlen(name), &e) && e.type == BSON_TYPE_INT32 ? element_int32(&e) : 0;
}

static bool read_id(struct items *items, struct bytes item, struct error *err)
{
    struct bulk_result *result = items->result;
    if (!grow(items->arena, (void **)&result->ids, sizeof *result->ids, result->n_ids, &items->id_capacity))
        return error_out_of_memory(err);
    struct bulk_id *id = &result->ids[result->n_ids++];
    id->index = (uint32_t)int_field(item, "i");
    return document_id_of(item, items->arena, &id->id, err);
}

static bool read_error(struct items *items, struct bytes item, struct error *err)
{
    struct item_errors *errors = &items->result->errors;
    struct element message;
    if (!grow(items->arena, (void **)&errors->items, sizeof *errors->items, errors->n, &items->error_capacity) ||
        !element_find(item, "message", 7, &message) || message.type != BSON_TYPE_UTF8)
        return error_out_of_memory(err);
    struct bytes text = element_string(&message);
    errors->items[errors->n++] = (struct item_error) { .index = (uint32_t)int_field(item, "i"),
                                                       .code = (enum error_code)int_field(item, "code"),
                                                       .mongo_code = int_field(item, "mongo"),
                                                       .message = arena_strndup(items->arena, (const char *)text.data, text.len) };
    return errors->items[errors->n - 1].message || error_out_of_memory(err);
}

static bool read_items(struct items *items, struct bytes record, const char *name,
                       bool (*read)(struct items *, struct bytes, struct error *), struct error *err)
{
    struct element array, item;
    struct element_reader reader;
    if (!element_find(record, name, strlen(name), &array) || array.type != BSON_TYPE_ARRAY)
        return error_set(err, ERROR_DATA_LOSS, "the log holds a record that cannot be read");
    element_reader_init(&reader, array.value);
    while (element_next(&reader, &item))
        if (item.type != BSON_TYPE_DOCUMENT || !read(items, item.value, err))
            return item.type == BSON_TYPE_DOCUMENT ? false : error_set(err, ERROR_DATA_LOSS, "the log holds a record that cannot be read");
    return true;
}

static bool read_record(void *ctx, struct bytes record, struct error *err)
{
    return read_items(ctx, record, "ids", read_id, err) && read_items(ctx, record, "errors", read_error, err);
}

static int compare_ids(const void *x, const void *y)
{
    const struct bulk_id *a = x, *b = y;
    return (a->index > b->index) - (a->index < b->index);
}

static int compare_errors(const void *x, const void *y)
{
    const struct item_error *a = x, *b = y;
    return (a->index > b->index) - (a->index < b->index);
}

static bool list_items(const struct bulk *bulk, struct write_result *result, struct bulk_result *list, struct error *err)
{
    struct items items = { .result = list, .arena = &result->arena };
    *list = (struct bulk_result) { 0 };
    if (!write_records(bulk->project, result, bulk->deadline, read_record, &items, err))
        return false;
    if (list->n_ids)
        qsort(list->ids, list->n_ids, sizeof *list->ids, compare_ids);
    if (list->errors.n)
        qsort(list->errors.items, list->errors.n, sizeof *list->errors.items, compare_errors);
    return true;
}

/* ---- the whole -------------------------------------------------------------------------------------- */

bool documents_check_bulk(const struct bulk_spec *spec, struct error *err)
{
    if (spec->n == 0)
        return error_set(err, ERROR_INVALID_ARGUMENT, "there are no operations");
    if (spec->n <= MAX_BULK_OPERATIONS)
        return true;
    error_set(err, ERROR_INVALID_ARGUMENT, "there are %zu operations, at most %d are allowed", spec->n, MAX_BULK_OPERATIONS);
    error_set_reason(err, REASON_TOO_LARGE);
    return false;
}

bool documents_bulk_write(struct registry *registry, const struct collection_path *path, const struct bulk_spec *spec,
                          const struct write_request *request, struct write_result *result, struct bulk_result *items, struct error *err)
{
    struct bulk bulk = { .path = path, .spec = spec, .deadline = request->deadline, .caller = request->caller };
    if (!documents_check_path(path, err) || !write_request_check(request, err) || !documents_check_bulk(spec, err))
        return write_refuse(request, err);
    if (!write_named(registry, path->project, request, evaluate_bulk, &bulk, &bulk.project, result, err))
        return false;
    if (list_items(&bulk, result, items, err))
        return true;
    write_result_destroy(result);
    return write_keep_unknown(err);
}
