/* Updates and deletes in MongoDB: filters and updates go there as they are.
 *
 * One document means the first in _id order, as on a WAL branch; MongoDB's own choice is any. So a filter that does not name
 * one _id is asked first, and the write then goes to that _id and the filter together. */
#include <bson/bson.h>

#include "branch-service/catalog/names.h"
#include "branch-service/collection/traditional_internal.h"
#include "branch-service/documents/documents_internal.h"
#include "branch-service/query/update.h"
#include "common/base/backoff.h"
#include "common/bson/bson_check.h"

bool traditional_begin_write(struct traditional *operation, struct registry *registry, const struct collection_path *path,
                             const struct write_request *request, const char **name, struct error *err)
{
    bool ok = name_check("branch", path->branch, err) && name_check_collection(path->collection, err) && write_request_check(request, err);
    if (!ok)
        err->outcome = OUTCOME_NOT_APPLIED;
    if (!ok || !traditional_begin(operation, registry, path->project, path->branch, request->deadline, err))
        return false;
    /* one with a request_id does not come here: it is refused on its way (collection.h) */
    if (request->request_id[0])
        ok = traditional_refuse_option(path->branch, "request_id", err);
    else if (request->since_lsn)
        ok = traditional_refuse_option(path->branch, "since_lsn", err);
    if (ok) {
        *name = traditional_collection_name(operation, path->collection, err);
        ok = *name != NULL;
    }
    if (!ok) {
        err->outcome = OUTCOME_NOT_APPLIED;
        traditional_end(operation);
    }
    return ok;
}

struct modification {
    struct traditional operation;
    const char *name;
    struct bytes filter;
    struct bytes sort;
    const struct query_options *asked;
    struct bytes options;             /* as fields of a command */
    const struct update_spec *update; /* NULL: delete */
    bool replaces;
    enum documents_scope scope;
    bool many;
    struct write_counts counts;
    struct buffer upserted_id; /* a document with the one field _id */
};

bool traditional_total_sort(struct bytes sort, struct arena *arena, struct bytes *out, struct error *err)
{
    bson_t keys = BSON_INITIALIZER, given;
    bson_iter_t at;
    bool has_id = false;
    if (sort.len && (!bson_check(sort, err) || !bson_init_static(&given, sort.data, sort.len) || !bson_iter_init(&at, &given)))
        return error_wrap(err, "sort");
    while (sort.len && bson_iter_next(&at)) {
        has_id = has_id || strcmp(bson_iter_key(&at), "_id") == 0;
        bson_append_iter(&keys, bson_iter_key(&at), -1, &at);
    }
    if (!has_id)
        BSON_APPEND_INT32(&keys, "_id", 1);
    *out = bytes_of(arena_copy(arena, bson_get_data(&keys), keys.len), keys.len);
    bson_destroy(&keys);
    return out->data || error_out_of_memory(err);
}

bool traditional_fill_upserted(struct bytes id, const char *collection, struct write_result *result, struct error *err)
{
    struct arena *arena = &result->arena;
    struct log_run *run = arena_zalloc(arena, sizeof *run);
    struct log_entry *entry = arena_zalloc(arena, sizeof *entry);
    if (!run || !entry)
        return error_out_of_memory(err);
    *entry = (struct log_entry) { .operation = LOG_INSERT, .document = bytes_of(arena_copy(arena, id.data, id.len), id.len) };
    *run = (struct log_run) { .branch_id = "", .collection = collection, .entries = entry, .n_entries = 1 };
    result->runs = run;
    result->n_runs = 1;
    return entry->document.data || error_out_of_memory(err);
}

/* ---- one or many ------------------------------------------------------------------------------------ */

static bool apply(struct modification *modification, struct bytes filter, bool upsert, struct error *err)
{
    struct traditional *operation = &modification->operation;
    struct mongo *mongo = operation->mongo;
    const char *database = operation->record.database, *name = modification->name;
    int64_t deadline = operation->deadline, deleted = 0;
    struct mongo_update_result updated = { 0 };
    const struct bytes options = modification->options;
    bool ok;
    if (!modification->update) {
        ok = (modification->many ? mongo_delete_many : mongo_delete_one)(mongo, database, name, filter, options, deadline, &deleted, err);
    } else if (modification->replaces) {
        ok = mongo_replace_one(mongo, database, name, filter, modification->update->update, upsert, options, deadline, &updated, err);
    } else {
        const struct mongo_update update = { .filter = filter,
                                             .update = modification->update->update,
                                             .array_filters = modification->update->array_filters,
                                             .pipeline = modification->update->is_pipeline,
                                             .upsert = upsert,
                                             .options = options };
        ok = (modification->many ? mongo_update_many : mongo_update_one)(mongo, database, name, &update, deadline, &updated, err);
    }
    if (ok)
        modification->counts = (struct write_counts) { .matched = (uint64_t)(updated.matched + deleted),
                                                       .modified = (uint64_t)updated.modified,
                                                       .deleted = (uint64_t)deleted,
                                                       .upserted = updated.upserted };
    modification->upserted_id = updated.upserted_id;
    return ok;
}

/* Whether the filter names one _id; one that only MongoDB understands is taken not to. */
static bool names_one_id(struct bytes spec)
{
    struct filter *filter;
    struct bytes key;
    struct error err;
    if (!filter_compile(spec, &filter, &err))
        return false;
    bool single = filter_single_id(filter, &key);
    filter_free(filter);
    return single;
}

/* {$and: [{_id: {$eq: id}}, filter]} */
static void narrow(const bson_iter_t *id, struct bytes filter, bson_t *out)
{
    bson_t both, first, value, given;
    bson_init(out);
    bson_append_array_begin(out, "$and", 4, &both);
    bson_append_document_begin(&both, "0", 1, &first);
    bson_append_document_begin(&first, "_id", 3, &value);
    bson_append_iter(&value, "$eq", 3, id);
    bson_append_document_end(&first, &value);
    bson_append_document_end(&both, &first);
    if (bson_init_static(&given, filter.data, filter.len))
        bson_append_document(&both, "1", 1, &given);
    bson_append_array_end(out, &both);
}

/* *filter is initialised when there is a first match. */
static bool find_first(struct modification *modification, bool *found, bson_t *filter, struct error *err)
{
    struct traditional *operation = &modification->operation;
    struct bytes sort, options;
    struct mongo_cursor *cursor;
    struct bytes document;
    bson_t bson;
    bson_iter_t id;
    *found = false;
    if (!traditional_total_sort(modification->sort, &operation->arena, &sort, err) ||
        !traditional_options(modification->asked, false, sort, (struct bytes) { 0 }, &operation->arena, &options, err))
        return false;
    const struct mongo_find asked = { .filter = modification->filter, .limit = 1, .options = options };
    if (!mongo_find(operation->mongo, operation->record.database, modification->name, &asked, operation->deadline, &cursor, err))
        return false;
    enum mongo_next next = mongo_cursor_next(cursor, operation->deadline, &document, err);
    if (next == MONGO_NEXT_DOCUMENT) {
        *found = bson_init_static(&bson, document.data, document.len) && bson_iter_init_find(&id, &bson, "_id");
        if (*found)
            narrow(&id, modification->filter, filter);
    }
    mongo_cursor_close(cursor);
    return next != MONGO_NEXT_FAILED;
}

static bool apply_to_first(struct modification *modification, struct error *err)
{
    struct backoff backoff = { 0 };
    bool upsert = modification->update && modification->update->upsert;
    for (;;) {
        bson_t filter;
        bool found;
        if (!find_first(modification, &found, &filter, err)) {
            err->outcome = OUTCOME_NOT_APPLIED;
            return false;
        }
        if (!found) /* one that comes to match meanwhile is the first then, or MongoDB says which */
            return !upsert || apply(modification, modification->filter, true, err);
        bool ok = apply(modification, bytes_of(bson_get_data(&filter), filter.len), false, err);
        bson_destroy(&filter);
        if (!ok || modification->counts.matched > 0)
            return ok;
        /* somebody was faster with that document */
        if (!backoff_wait(&backoff, modification->operation.deadline)) {
            error_fill(err, ERROR_ABORTED, "other writers changed the first match until the deadline");
            err->outcome = OUTCOME_NOT_APPLIED;
            return false;
        }
    }
}

static bool run(struct modification *modification, struct registry *registry, const struct collection_path *path,
                const struct write_request *request, struct write_result *result, struct error *err)
{
    if (!traditional_begin_write(&modification->operation, registry, path, request, &modification->name, err))
        return false;
    bool ok = modification->scope != DOCUMENTS_ALL || traditional_refuse_option(path->branch, "atomic", err);
    if (ok && !traditional_options(modification->asked, false, (struct bytes) { 0 }, (struct bytes) { 0 }, &modification->operation.arena,
                                   &modification->options, err)) {
        err->outcome = OUTCOME_NOT_APPLIED;
        ok = false;
    }
    ok = ok && (modification->many || names_one_id(modification->filter)
                    ? apply(modification, modification->filter, modification->update && modification->update->upsert, err)
                    : apply_to_first(modification, err));
    ok = traditional_settle(&modification->operation, ok, err);
    traditional_end(&modification->operation);
    if (ok) {
        *result = (struct write_result) { .counts = modification->counts };
        arena_init(&result->arena, 0);
        ok = !modification->counts.upserted ||
             traditional_fill_upserted(buffer_bytes(&modification->upserted_id), path->collection, result, err) || write_keep_unknown(err);
        if (!ok)
            write_result_destroy(result);
    }
    buffer_destroy(&modification->upserted_id);
    return ok;
}

/* ---- what is asked ---------------------------------------------------------------------------------- */

/* A replacement becomes a document, so what a WAL branch refuses in one is refused here. */
bool traditional_check_update(const struct update_spec *spec, bool *replaces, struct error *err)
{
    bson_t bson;
    bson_iter_t iter;
    struct update *compiled;
    *replaces = false;
    if (!bson_check(spec->update, err) || !bson_init_static(&bson, spec->update.data, spec->update.len) || !bson_iter_init(&iter, &bson))
        return error_wrap(err, "update");
    if (spec->is_pipeline)
        return true;
    *replaces = !bson_iter_next(&iter) || bson_iter_key(&iter)[0] != '$';
    if (!documents_check_update_kind(*replaces, spec, err))
        return false;
    if (!*replaces)
        return true;
    if (!update_compile(spec->update, NULL, &compiled, err))
        return error_wrap(err, "update");
    update_free(compiled);
    return true;
}

bool traditional_check_filter(const struct collection_path *path, struct bytes filter, struct error *err)
{
    return documents_check_path(path, err) && (filter.len == 0 || bson_check(filter, err));
}

bool traditional_update(struct registry *registry, const struct collection_path *path, const struct update_spec *spec,
                        const struct write_request *request, struct write_result *result, struct error *err)
{
    struct modification modification = { .filter = traditional_filter(spec->filter),
                                         .sort = spec->sort,
                                         .asked = &spec->options,
                                         .update = spec,
                                         .scope = spec->scope,
                                         .many = spec->scope != DOCUMENTS_ONE };
    if (!traditional_check_filter(path, spec->filter, err) || !traditional_check_update(spec, &modification.replaces, err)) {
        err->outcome = OUTCOME_NOT_APPLIED;
        return false;
    }
    return run(&modification, registry, path, request, result, err);
}

bool traditional_delete(struct registry *registry, const struct collection_path *path, const struct delete_spec *spec,
                        const struct write_request *request, struct write_result *result, struct error *err)
{
    struct modification modification = { .filter = traditional_filter(spec->filter),
                                         .sort = spec->sort,
                                         .asked = &spec->options,
                                         .scope = spec->scope,
                                         .many = spec->scope != DOCUMENTS_ONE };
    if (!traditional_check_filter(path, spec->filter, err)) {
        err->outcome = OUTCOME_NOT_APPLIED;
        return false;
    }
    return run(&modification, registry, path, request, result, err);
}

const struct collection_kind traditional_collection = {
    .insert = traditional_insert,
    .update = traditional_update,
    .remove = traditional_delete,
    .find_and_modify = traditional_find_and_modify,
    .bulk_write = traditional_bulk_write,
    .find = traditional_find,
    .count = traditional_count,
    .estimate = traditional_estimate,
    .distinct = traditional_distinct,
    .aggregate = traditional_aggregate,
    .list = traditional_list,
    .create = traditional_create,
    .rename = traditional_rename,
    .drop = traditional_drop,
    .set_indexes = traditional_set_indexes,
};
