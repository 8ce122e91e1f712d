#include <bson/bson.h>
#include <xxhash.h>

#include "branch-service/batch.h"
#include "branch-service/document_walk.h"
#include "branch-service/documents_internal.h"
#include "branch-service/query/update.h"
#include "branch-service/reasons.h"
#include "branch-service/write_named.h"
#include "common/bson/bson_check.h"
#include "common/bson/document_id.h"

struct modification {
    struct project *project;
    const struct collection_path *path;
    struct filter *filter;
    struct update *update; /* NULL: delete */
    enum documents_scope scope;
    int64_t deadline;
};

/* ---- one step --------------------------------------------------------------------------------------- */

struct step {
    const struct modification *modification;
    struct arena *arena;
    struct write_plan *plan;
    struct log_entry *entries;
    size_t n, capacity;
    struct batch_size size;
    bool too_large;       /* for one batch: the rest is only counted */
    struct bytes covered; /* key of the last match that the step has dealt with; borrowed from the tree */
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
    if (step->modification->scope != DOCUMENTS_MANY || step->n == 0)
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

/* *more: the step is full, this document begins the next one. */
static bool modify_document(struct step *step, const struct tree_item *item, bool *more, struct error *err)
{
    const struct update *update = step->modification->update;
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
        return true;
    }
    bool ok = true;
    if (update)
        image = bytes_of(bson_get_data(&updated), updated.len);
    else
        ok = document_id_of(item->document, step->arena, &image, err);
    *more = ok && !has_room(step, documents_entry_bytes(item->key, image.len));
    ok = ok && (*more || add_entry(step, update ? LOG_UPDATE : LOG_DELETE, item, image, err));
    if (update)
        bson_destroy(&updated);
    if (ok && !*more) {
        counts->matched++;
        *(update ? &counts->modified : &counts->deleted) += 1;
    }
    return ok;
}

static bool modify_matches(struct step *step, const struct tree *documents, struct error *err)
{
    const struct modification *modification = step->modification;
    const struct write_progress *from = step->plan->from;
    struct document_walk walk;
    struct tree_item item;
    struct bytes key;
    bool more = false, found;
    bool one = filter_single_id(modification->filter, &key);
    if (one && from->step > 0)
        return true;
    step->plan->unguarded = !one; /* a document that comes to match is not a conflict */
    document_walk_begin_behind(&walk, documents, modification->filter, from->step > 0 ? from->after : (struct bytes) { 0 });
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
        if (modification->scope == DOCUMENTS_ONE)
            break;
    }
    step->plan->more = more;
    return true;
}

static bool refuse_size(const struct step *step, struct error *err)
{
    error_set(err, ERROR_INVALID_ARGUMENT,
              "%llu documents with %llu bytes do not fit one batch, which takes %d documents and %d bytes: without atomic they go in steps",
              (unsigned long long)step->size.documents, (unsigned long long)step->size.bytes, MAX_WRITE_DOCUMENTS, MAX_WRITE_BYTES);
    error_set_reason(err, REASON_TOO_LARGE);
    return false;
}

/* Later steps go where the first one went: names that mean something else by now end the request. */
static bool check_names(const struct modification *modification, const struct write_progress *from, const struct target *target,
                        struct error *err)
{
    const struct collection_path *path = modification->path;
    if (from->step == 0)
        return true;
    if (strcmp(from->branch_id, target->branch_id) != 0)
        return error_set(err, ERROR_NOT_FOUND, "branch '%s' was deleted or renamed", path->branch);
    if (strcmp(from->collection_id, target->collection_id) != 0)
        return error_set(err, ERROR_NOT_FOUND, "collection '%s' was dropped or renamed", path->collection);
    return true;
}

static bool plan_modification(const struct modification *modification, const struct target *target, struct arena *arena,
                              struct write_plan *plan, struct error *err)
{
    struct step step = { .modification = modification, .arena = arena, .plan = plan };
    struct batch batch;
    struct log_run *run;
    plan->read_lsn = target->lsn;
    plan->collection = modification->path->collection;
    if (!check_names(modification, plan->from, target, err) || (target->documents && !modify_matches(&step, target->documents, err)))
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
        !batch_add_run(&batch, target->branch_id, target->collection_id, step.n, &run, err))
        return false;
    memcpy(run->entries, step.entries, step.n * sizeof *step.entries);
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

/* ---- the whole -------------------------------------------------------------------------------------- */

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
    bool ok = write_named(registry, path->project, request, evaluate_modification, modification, &modification->project, result, err);
    if (queued)
        write_queue_leave(registry_queue(registry), hash);
    return ok;
}

static bool compile_update(const struct update_spec *spec, const struct filter *filter, struct update **update, struct error *err)
{
    const struct update_options options = { .filter = filter, .many = spec->scope != DOCUMENTS_ONE };
    struct update *compiled;
    if (!bson_check(spec->update, err) || !update_compile(spec->update, &options, &compiled, err))
        return error_wrap(err, "update");
    if (documents_check_update_kind(update_kind(compiled) == UPDATE_REPLACEMENT, spec, err)) {
        *update = compiled;
        return true;
    }
    update_free(compiled);
    return false;
}

bool documents_check_update_kind(bool replaces, const struct update_spec *spec, struct error *err)
{
    if (replaces ? spec->scope == DOCUMENTS_ONE : !spec->must_replace)
        return true;
    return error_set(err, ERROR_INVALID_ARGUMENT,
                     replaces ? "a replacement changes one document only: use operators such as $set for many"
                              : "the replacement contains update operators");
}

bool documents_update(struct registry *registry, const struct collection_path *path, const struct update_spec *spec,
                      const struct write_request *request, struct write_result *result, struct error *err)
{
    struct modification modification = { .path = path, .scope = spec->scope, .deadline = request->deadline };
    bool ok = documents_check_path(path, err) && write_request_check(request, err) &&
              documents_compile_filter(spec->filter, &modification.filter, err) &&
              compile_update(spec, modification.filter, &modification.update, err);
    if (!ok)
        write_refuse(request, err);
    ok = ok && execute_in_turn(registry, &modification, request, result, err);
    update_free(modification.update);
    filter_free(modification.filter);
    return ok;
}

bool documents_delete(struct registry *registry, const struct collection_path *path, const struct delete_spec *spec,
                      const struct write_request *request, struct write_result *result, struct error *err)
{
    struct modification modification = { .path = path, .scope = spec->scope, .deadline = request->deadline };
    bool ok = documents_check_path(path, err) && write_request_check(request, err) &&
              documents_compile_filter(spec->filter, &modification.filter, err);
    if (!ok)
        write_refuse(request, err);
    ok = ok && execute_in_turn(registry, &modification, request, result, err);
    filter_free(modification.filter);
    return ok;
}
