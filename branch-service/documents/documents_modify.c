#include "branch-service/documents/documents_modify.h"

#include <bson/bson.h>
#include <xxhash.h>

#include "branch-service/documents/document_walk.h"
#include "branch-service/documents/documents_internal.h"
#include "branch-service/reasons.h"
#include "branch-service/registry/write_named.h"
#include "common/bson/document_id.h"

/* ---- one step --------------------------------------------------------------------------------------- */

struct step {
    const struct modification *modification;
    struct arena *arena;
    struct write_plan *plan;
    struct log_entry *entries;
    size_t n, capacity;
    struct batch_size size;
    bool too_large;       /* for one batch: the rest is only counted */
    bool inserts;         /* an upsert: the collection may have to be made */
    struct bytes covered; /* key of the last match that the step has dealt with; borrowed from the tree */
    const struct target *target;
};

static bool grow(struct arena *arena, void **items, size_t item_size, size_t n, size_t capacity)
{
    void *larger = arena_alloc(arena, capacity * item_size);
    if (larger && n)
        memcpy(larger, *items, n * item_size);
    *items = larger;
    return larger != NULL;
}

/* The key and the image borrow from what goes before the batch does. */
static bool keep_entry(struct step *step, enum log_operation operation, const struct tree_item *item, struct bytes image, struct error *err)
{
    if (step->n == step->capacity) {
        size_t capacity = step->capacity ? 2 * step->capacity : 8;
        if (!grow(step->arena, (void **)&step->entries, sizeof *step->entries, step->n, capacity))
            return error_out_of_memory(err);
        step->capacity = capacity;
    }
    struct log_entry *entry = &step->entries[step->n];
    *entry = (struct log_entry) { .operation = operation };
    entry->document_id = bytes_of(arena_copy(step->arena, item->key.data, item->key.len), item->key.len);
    entry->document = bytes_of(arena_copy(step->arena, image.data, image.len), image.len);
    if (!entry->document_id.data || !entry->document.data)
        return error_out_of_memory(err);
    step->n++;
    return true;
}

/* In the order of one step after another. */
static bool has_room(const struct step *step, uint64_t entry_bytes)
{
    if (step->modification->change.scope != DOCUMENTS_MANY || step->n == 0)
        return true;
    return step->n < step->plan->from->max_documents && step->size.bytes + entry_bytes <= MAX_STEP_BYTES;
}

static bool add_entry(struct step *step, enum log_operation operation, const struct tree_item *item, struct bytes image, struct error *err)
{
    struct error over;
    if (!batch_size_add(&step->size, item->key, image.len, &over))
        step->too_large = true;
    if (step->too_large)
        return true;
    return keep_entry(step, operation, item, image, err);
}

/* For one who is answered with the document; before NULL: it is a new one. */
static bool answer_with(struct step *step, const struct tree_item *before, struct bytes after, struct error *err)
{
    const struct modification *modification = step->modification;
    struct bytes shown = modification->after ? after : before ? before->document : (struct bytes) { 0 };
    if (!modification->found || step->too_large || !shown.data)
        return true;
    *modification->found = bytes_of(arena_copy(step->arena, shown.data, shown.len), shown.len);
    if (!modification->found->data)
        return error_out_of_memory(err);
    return !modification->check_found || modification->check_found(modification->check_ctx, *modification->found, err);
}

/* So that a repetition finds the document that nothing was written of. */
static bool record_unchanged(struct step *step, const struct tree_item *item, struct error *err)
{
    if (!step->modification->found)
        return true;
    return unchanged_encode(step->target->branch_id, step->target->collection_id, item->key, step->arena, &step->plan->record, err);
}

/* *more: the step is full, this document begins the next one. */
static bool modify_document(struct step *step, const struct tree_item *item, bool *more, struct error *err)
{
    const struct update *update = step->modification->change.update;
    struct write_counts *counts = &step->plan->counts;
    struct bytes image = { 0 };
    bson_t updated;
    bool changed = true;
    if (update && !update_apply(update, item->document, &updated, &changed, err)) {
        /* what is in the way of the next step does not keep this one from being done */
        *more = step->n > 0 && !has_room(step, 0);
        return *more;
    }
    if (!changed) {
        counts->matched++;
        return answer_with(step, item, item->document, err) && record_unchanged(step, item, err);
    }
    bool ok = true;
    if (update)
        image = bytes_of(bson_get_data(&updated), updated.len);
    else
        ok = document_id_of(item->document, step->arena, &image, err);
    *more = ok && !has_room(step, documents_entry_bytes(item->key, image.len));
    ok = ok && (*more || (add_entry(step, update ? LOG_UPDATE : LOG_DELETE, item, image, err) && answer_with(step, item, image, err)));
    if (update)
        bson_destroy(&updated);
    if (ok && !*more) {
        counts->matched++;
        *(update ? &counts->modified : &counts->deleted) += 1;
    }
    return ok;
}

static bool modify_one(struct step *step, const struct tree *documents, struct error *err)
{
    struct tree_item item;
    bool found, more = false;
    if (!document_change_find(&step->modification->change, documents, step->modification->caller, &item, &found, err))
        return false;
    return !found || modify_document(step, &item, &more, err);
}

static bool modify_many(struct step *step, const struct tree *documents, struct error *err)
{
    const struct modification *modification = step->modification;
    const struct write_progress *from = step->plan->from;
    struct document_walk walk;
    struct tree_item item;
    struct bytes key;
    bool more = false, found;
    if (filter_single_id(modification->change.filter, &key) && from->step > 0)
        return true;
    document_walk_begin_behind(&walk, documents, modification->change.filter, from->step > 0 ? from->after : (struct bytes) { 0 },
                               modification->caller);
    for (;;) {
        if (!document_walk_next(&walk, &item, &found, err))
            return false;
        if (!found)
            break;
        if (!modify_document(step, &item, &more, err))
            return false;
        if (more)
            break;
        step->covered = item.key;
    }
    step->plan->more = more;
    return true;
}

static bool upsert(struct step *step, const struct tree *documents, struct error *err)
{
    struct tree_item item;
    if (!document_change_insert(&step->modification->change, step->modification->path->collection, documents, step->arena, &item, err) ||
        !add_entry(step, LOG_INSERT, &item, item.document, err))
        return false;
    if (!document_change_names(&step->modification->change, item.key))
        step->plan->unguarded = true;
    step->plan->counts.upserted++;
    step->inserts = true;
    return answer_with(step, NULL, item.document, err);
}

static bool modify_matches(struct step *step, const struct tree *documents, struct error *err)
{
    const struct document_change *change = &step->modification->change;
    struct write_plan *plan = step->plan;
    struct bytes key;
    plan->unguarded = !filter_single_id(change->filter, &key); /* a document that comes to match is not a conflict */
    if (documents && !(change->scope == DOCUMENTS_ONE ? modify_one : modify_many)(step, documents, err))
        return false;
    bool nothing = plan->from->step == 0 && !plan->more && plan->counts.matched == 0;
    return !nothing || !change->upsert || upsert(step, documents, err);
}

static bool refuse_size(const struct step *step, struct error *err)
{
    error_set(err, ERROR_INVALID_ARGUMENT,
              "%llu documents with %llu bytes do not fit one batch, which takes %d documents and %d bytes: without atomic they go in steps",
              (unsigned long long)step->size.documents, (unsigned long long)step->size.bytes, MAX_WRITE_DOCUMENTS, MAX_WRITE_BYTES);
    error_set_reason(err, REASON_TOO_LARGE);
    return false;
}

bool documents_check_names(const struct collection_path *path, const struct write_progress *from, const struct target *target,
                           struct error *err)
{
    if (from->step == 0)
        return true;
    if (strcmp(from->branch_id, target->branch_id) != 0)
        return error_set(err, ERROR_NOT_FOUND, "branch '%s' was deleted or renamed", path->branch);
    /* what the first step found empty may have come to be since */
    if (from->collection_id[0] && strcmp(from->collection_id, target->collection_id) != 0)
        return error_set(err, ERROR_NOT_FOUND, "collection '%s' was dropped or renamed", path->collection);
    return true;
}

static bool plan_modification(const struct modification *modification, const struct target *target, struct arena *arena,
                              struct write_plan *plan, struct error *err)
{
    struct step step = { .modification = modification, .arena = arena, .plan = plan, .target = target };
    struct batch batch;
    struct log_run *run;
    const char *collection_id = target->collection_id;
    plan->read_lsn = target->lsn;
    plan->collection = modification->path->collection;
    if (!documents_check_names(modification->path, plan->from, target, err) || !modify_matches(&step, target->documents, err))
        return false;
    if (step.too_large)
        return refuse_size(&step, err);
    if (step.n == 0)
        return true;
    plan->branch_id = arena_strdup(arena, target->branch_id);
    plan->collection_id = arena_strdup(arena, target->collection_id);
    if (step.covered.len)
        plan->last_document_id = bytes_of(arena_copy(arena, step.covered.data, step.covered.len), step.covered.len);
    if (!plan->branch_id || !plan->collection_id || (step.covered.len && !plan->last_document_id.data))
        return error_out_of_memory(err);
    if (!batch_begin_on(&batch, arena, target, err) ||
        !batch_read_collection(&batch, target->branch_id, modification->path->collection, err) ||
        (step.inserts && !documents_ensure_collection(modification->path, target, &batch, &collection_id, err)) ||
        !batch_add_run(&batch, target->branch_id, collection_id, step.n, &run, err))
        return false;
    memcpy(run->entries, step.entries, step.n * sizeof *step.entries);
    return batch_finish(&batch, target->lsn, &target->incarnation, plan, err);
}

static bool evaluate_modification(void *ctx, struct arena *arena, struct write_plan *plan, struct error *err)
{
    const struct modification *modification = ctx;
    struct target target;
    if (modification->found)
        *modification->found = (struct bytes) { 0 };
    if (!project_open_target(modification->project, modification->path->branch, modification->path->collection, 0, modification->deadline,
                             &target, err))
        return false;
    bool ok = plan_modification(modification, &target, arena, plan, err);
    target_destroy(&target);
    return ok;
}

/* ---- the whole -------------------------------------------------------------------------------------- */

static uint64_t hash_string(uint64_t seed, const char *s)
{
    return XXH3_64bits_withSeed(s, strlen(s), seed);
}

bool documents_modify(struct registry *registry, struct modification *modification, const struct write_request *request,
                      struct write_result *result, struct error *err)
{
    const struct collection_path *path = modification->path;
    struct bytes key;
    bool queued = filter_single_id(modification->change.filter, &key);
    uint64_t hash = 0;
    if (queued) {
        hash = hash_string(hash_string(hash_string(0, path->project), path->branch), path->collection);
        hash = XXH3_64bits_withSeed(key.data, key.len, hash);
        if (!write_queue_enter(registry_queue(registry), hash, request->deadline, err))
            return write_refuse(request, err);
    }
    /* after the turn has come: what the one before wrote is to be seen */
    bool ok = write_named(registry, path->project, request, evaluate_modification, modification, &modification->project, result, err);
    if (queued)
        write_queue_leave(registry_queue(registry), hash);
    return ok;
}

bool documents_begin_modify(struct modification *modification, const struct collection_path *path, const struct update_spec *update,
                            const struct delete_spec *remove, const struct write_request *request, struct error *err)
{
    *modification = (struct modification) { .path = path, .deadline = request->deadline, .caller = request->caller };
    bool ok = documents_check_path(path, err) && write_request_check(request, err) &&
              (update ? document_change_compile_update(&modification->change, update, err)
                      : document_change_compile_delete(&modification->change, remove, err));
    return ok || write_refuse(request, err);
}

void documents_end_modify(struct modification *modification)
{
    document_change_destroy(&modification->change);
}

bool documents_check_update_kind(bool replaces, const struct update_spec *spec, struct error *err)
{
    if (replaces ? spec->scope == DOCUMENTS_ONE : !spec->must_replace)
        return true;
    return error_set(err, ERROR_INVALID_ARGUMENT,
                     replaces ? "a replacement changes one document only: use operators such as $set for many"
                              : "the replacement contains update operators");
}

static bool modify(struct registry *registry, const struct collection_path *path, const struct update_spec *update,
                   const struct delete_spec *remove, const struct write_request *request, struct write_result *result, struct error *err)
{
    struct modification modification;
    bool ok = documents_begin_modify(&modification, path, update, remove, request, err) &&
              documents_modify(registry, &modification, request, result, err);
    documents_end_modify(&modification);
    return ok;
}

bool documents_update(struct registry *registry, const struct collection_path *path, const struct update_spec *spec,
                      const struct write_request *request, struct write_result *result, struct error *err)
{
    return modify(registry, path, spec, NULL, request, result, err);
}

bool documents_delete(struct registry *registry, const struct collection_path *path, const struct delete_spec *spec,
                      const struct write_request *request, struct write_result *result, struct error *err)
{
    return modify(registry, path, NULL, spec, request, result, err);
}
