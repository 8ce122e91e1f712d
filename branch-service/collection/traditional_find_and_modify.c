/* findAndModify in MongoDB: one command, with the sort that makes its first match ours. */
#include "branch-service/collection/traditional_internal.h"
#include "branch-service/documents/documents_internal.h"
#include "common/bson/bson_check.h"

struct find_and_modify {
    struct traditional operation;
    const char *name;
    struct mongo_find_and_modify what;
    struct mongo_update_result found;
    struct buffer document;
};

static bool check(const struct collection_path *path, const struct find_and_modify_spec *spec, struct bytes filter, struct error *err)
{
    bool replaces;
    return traditional_check_filter(path, filter, err) && (spec->projection.len == 0 || bson_check(spec->projection, err)) &&
           (!spec->update || traditional_check_update(spec->update, &replaces, err));
}

/* What is asked as a command takes it. */
static bool prepare(struct find_and_modify *operation, const struct find_and_modify_spec *spec, struct bytes filter, struct error *err)
{
    const struct update_spec *update = spec->update;
    struct mongo_find_and_modify *what = &operation->what;
    struct arena *arena = &operation->operation.arena;
    *what = (struct mongo_find_and_modify) { .update = { .filter = traditional_filter(filter) },
                                             .after = spec->after,
                                             .projection = spec->projection };
    if (update) {
        what->update.update = update->update;
        what->update.array_filters = update->array_filters;
        what->update.pipeline = update->is_pipeline;
        what->update.upsert = update->upsert;
    }
    if (traditional_total_sort(update ? update->sort : spec->remove->sort, arena, &what->sort, err) &&
        traditional_options(update ? &update->options : &spec->remove->options, false, (struct bytes) { 0 }, (struct bytes) { 0 }, arena,
                            &what->update.options, err))
        return true;
    err->outcome = OUTCOME_NOT_APPLIED;
    return false;
}

static bool fill(struct find_and_modify *operation, const struct find_and_modify_spec *spec, const struct collection_path *path,
                 struct write_result *result, struct bytes *document, struct error *err)
{
    const struct mongo_update_result *found = &operation->found;
    struct bytes shown = buffer_bytes(&operation->document);
    *result = (struct write_result) { .counts = { .matched = (uint64_t)found->matched, .upserted = found->upserted } };
    if (spec->remove)
        result->counts.deleted = result->counts.matched;
    arena_init(&result->arena, 0);
    bool ok = !found->upserted || traditional_fill_upserted(buffer_bytes(&found->upserted_id), path->collection, result, err);
    *document = (struct bytes) { 0 };
    if (ok && shown.len) {
        *document = bytes_of(arena_copy(&result->arena, shown.data, shown.len), shown.len);
        ok = document->data || error_out_of_memory(err);
    }
    if (!ok)
        write_result_destroy(result);
    return ok || write_keep_unknown(err);
}

bool traditional_find_and_modify(struct registry *registry, const struct collection_path *path, const struct find_and_modify_spec *spec,
                                 const struct write_request *request, struct write_result *result, struct bytes *document,
                                 struct error *err)
{
    const struct bytes filter = spec->update ? spec->update->filter : spec->remove->filter;
    struct find_and_modify operation = { 0 };
    struct traditional *at = &operation.operation;
    if (!check(path, spec, filter, err)) {
        err->outcome = OUTCOME_NOT_APPLIED;
        return false;
    }
    if (!traditional_begin_write(at, registry, path, request, &operation.name, err))
        return false;
    bool ok =
        prepare(&operation, spec, filter, err) && mongo_find_and_modify(at->mongo, at->record.database, operation.name, &operation.what,
                                                                        at->deadline, &operation.found, &operation.document, err);
    ok = traditional_settle(at, ok, err) && fill(&operation, spec, path, result, document, err);
    traditional_end(at);
    buffer_destroy(&operation.document);
    buffer_destroy(&operation.found.upserted_id);
    return ok;
}
