/* Bulk writes to MongoDB: one operation after another, each as if it came alone.
 *
 * It is no batch there: others see it grow. When nobody can tell what became of an operation, that is the answer to the
 * whole, with how many were done before it. */
#include "branch-service/collection/traditional_internal.h"
#include "branch-service/documents/documents_internal.h"
#include "branch-service/reasons.h"
#include "common/bson/document_id.h"

struct bulk {
    struct registry *registry;
    const struct collection_path *path;
    const struct bulk_spec *spec;
    const struct write_request *request;
    struct write_result *result;
    struct bulk_result *items;
};

static void add_counts(struct write_counts *sum, const struct write_counts *more)
{
    sum->inserted += more->inserted;
    sum->matched += more->deleted ? 0 : more->matched; /* as MongoDB's bulk writes count */
    sum->modified += more->modified;
    sum->deleted += more->deleted;
    sum->upserted += more->upserted;
}

/* The _id that the operation made up, if it did. */
static bool keep_id(struct bulk *bulk, size_t index, const struct write_result *one, struct error *err)
{
    const struct bulk_operation *operation = &bulk->spec->operations[index];
    const struct log_run *run = documents_written(one);
    struct arena *arena = &bulk->result->arena;
    if (operation->kind == BULK_DELETE || (operation->kind == BULK_UPDATE && !one->counts.upserted))
        return true;
    struct bulk_id *id = &bulk->items->ids[bulk->items->n_ids++];
    id->index = (uint32_t)index;
    return document_id_of(run->entries[0].document, arena, &id->id, err);
}

static bool insert_one(struct bulk *bulk, const struct bulk_operation *operation, struct write_result *one, struct error *err)
{
    const struct insert_spec spec = { .documents = &operation->document, .n = 1, .on_duplicate = ON_DUPLICATE_FAIL };
    struct item_errors none;
    return traditional_insert(bulk->registry, bulk->path, &spec, bulk->request, one, &none, err);
}

static bool run_operation(struct bulk *bulk, size_t index, struct error *err)
{
    const struct bulk_operation *operation = &bulk->spec->operations[index];
    struct write_result one;
    bool ok = operation->kind == BULK_INSERT ? insert_one(bulk, operation, &one, err)
              : operation->kind == BULK_UPDATE
                  ? traditional_update(bulk->registry, bulk->path, &operation->update, bulk->request, &one, err)
                  : traditional_delete(bulk->registry, bulk->path, &operation->remove, bulk->request, &one, err);
    if (!ok)
        return false;
    add_counts(&bulk->result->counts, &one.counts);
    ok = keep_id(bulk, index, &one, err);
    write_result_destroy(&one);
    return ok;
}

static bool note_error(struct bulk *bulk, size_t index, const struct error *why, struct error *err)
{
    struct item_errors *errors = &bulk->items->errors;
    struct item_error *item = &errors->items[errors->n++];
    *item = (struct item_error) { (uint32_t)index, why->code, why->mongo_code, arena_strdup(&bulk->result->arena, why->message) };
    return item->message || error_out_of_memory(err);
}

/* Of the operation, not of the way to MongoDB. An update of many that MongoDB refuses at one document has changed those before
 * without saying how many: they are not counted, and its error says so. */
static bool is_items_own(const struct bulk_operation *operation, const struct error *err)
{
    enum { VALIDATION_FAILURE = 121 };
    bool many = operation->kind == BULK_UPDATE && operation->update.scope != DOCUMENTS_ONE;
    return (err->outcome == OUTCOME_NOT_APPLIED || many) &&
           (err->code == ERROR_INVALID_ARGUMENT || err->code == ERROR_ALREADY_EXISTS || err->mongo_code == VALIDATION_FAILURE);
}

static bool run(struct bulk *bulk, struct error *err)
{
    for (size_t i = 0; i < bulk->spec->n; i++) {
        struct error why;
        if (!caller_waits(&bulk->request->caller, &why))
            why.outcome = OUTCOME_NOT_APPLIED;
        else if (run_operation(bulk, i, &why))
            continue;
        if (!is_items_own(&bulk->spec->operations[i], &why)) {
            *err = why;
            if (i == 0)
                return false;
            error_wrap(err, "stopped after %zu operations", i);
            error_set_reason(err, REASON_PARTIALLY_APPLIED);
            return write_keep_unknown(err);
        }
        if (!note_error(bulk, i, &why, err))
            return write_keep_unknown(err);
        if (!bulk->spec->unordered)
            return true;
    }
    return true;
}

bool traditional_bulk_write(struct registry *registry, const struct collection_path *path, const struct bulk_spec *spec,
                            const struct write_request *request, struct write_result *result, struct bulk_result *items, struct error *err)
{
    struct bulk bulk = { registry, path, spec, request, result, items };
    struct traditional operation;
    const char *name;
    *result = (struct write_result) { 0 };
    *items = (struct bulk_result) { 0 };
    if (!documents_check_path(path, err) || !documents_check_bulk(spec, err)) {
        err->outcome = OUTCOME_NOT_APPLIED;
        return false;
    }
    /* whether there is such a branch, before the first operation says so of itself */
    if (!traditional_begin_write(&operation, registry, path, request, &name, err))
        return false;
    traditional_end(&operation);
    if (spec->atomic)
        return traditional_refuse_option(path->branch, "atomic", err);
    arena_init(&result->arena, 0);
    items->ids = arena_alloc(&result->arena, spec->n * sizeof *items->ids);
    items->errors.items = arena_alloc(&result->arena, spec->n * sizeof *items->errors.items);
    bool ok = ((items->ids && items->errors.items) || error_out_of_memory(err)) && run(&bulk, err);
    if (!ok)
        write_result_destroy(result);
    return ok;
}
