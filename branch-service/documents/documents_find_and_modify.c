/* Changing one document and answering with it.
 *
 * A repetition is answered from the log: after an update the document is in the batch, before it in the state under the batch. Of a
 * document that did not change the step's record says which it was (documents_modify.h). */
#include <bson/bson.h>

#include "branch-service/documents/documents_internal.h"
#include "branch-service/documents/documents_modify.h"
#include "branch-service/query/projection.h"
#include "branch-service/query/query_error.h"
#include "common/base/clock.h"
#include "common/bson/bson_check.h"

struct find_and_modify {
    struct modification modification;
    struct bytes let;
    struct projection *projection; /* NULL: all fields */
    struct bytes found;
};

/* ---- the record of an unchanged document ------------------------------------------------------------ */

bool unchanged_encode(const char *branch_id, const char *collection_id, struct bytes key, struct arena *arena, struct bytes *record,
                      struct error *err)
{
    bson_t bson = BSON_INITIALIZER;
    BSON_APPEND_UTF8(&bson, "branch", branch_id);
    BSON_APPEND_UTF8(&bson, "collection", collection_id);
    bson_append_binary(&bson, "key", 3, BSON_SUBTYPE_BINARY, key.data, (uint32_t)key.len);
    *record = bytes_of(arena_copy(arena, bson_get_data(&bson), bson.len), bson.len);
    bson_destroy(&bson);
    return record->data || error_out_of_memory(err);
}

/* Where a document is looked for. */
struct place {
    const char *branch_id;
    const char *collection_id;
    struct bytes key;
};

static bool read_unchanged(void *ctx, struct bytes record, struct error *err)
{
    struct place *place = ctx;
    struct element branch, collection, key;
    if (!element_find(record, "branch", 6, &branch) || branch.type != BSON_TYPE_UTF8 ||
        !element_find(record, "collection", 10, &collection) || collection.type != BSON_TYPE_UTF8 ||
        !element_find(record, "key", 3, &key) || key.type != BSON_TYPE_BINARY)
        return error_set(err, ERROR_DATA_LOSS, "the log holds a record that cannot be read");
    place->branch_id = (const char *)branch.value.data + 4;
    place->collection_id = (const char *)collection.value.data + 4;
    place->key = bytes_of(key.value.data + 5, key.value.len - 5);
    return true;
}

/* ---- the document of an earlier time ---------------------------------------------------------------- */

static bool read_state(struct project *project, const struct place *place, uint64_t lsn, int64_t deadline, struct arena *arena,
                       struct bytes *document, struct error *err)
{
    struct tree *tree;
    struct tree_item item;
    /* the answer may be another replica's, which was further */
    if (!project_refresh(project, deadline, err) ||
        !project_view(project, place->branch_id, place->collection_id, lsn, deadline, &tree, err))
        return false;
    bool ok = tree_get(tree, place->key, &item) || error_set(err, ERROR_DATA_LOSS, "the log holds no document where one was changed");
    if (ok) {
        *document = bytes_of(arena_copy(arena, item.document.data, item.document.len), item.document.len);
        ok = document->data || error_out_of_memory(err);
    }
    tree_unref(tree);
    return ok;
}

static bool find_again(const struct modification *modification, struct write_result *result, struct bytes *document, struct error *err)
{
    const struct log_run *run = documents_written(result);
    struct place place = { 0 };
    *document = (struct bytes) { 0 };
    if (!run) {
        if (!write_records(modification->project, result, modification->deadline, read_unchanged, &place, err))
            return false;
        return !place.key.data ||
               read_state(modification->project, &place, result->lsn, modification->deadline, &result->arena, document, err);
    }
    const struct log_entry *entry = &run->entries[0];
    if (modification->after) {
        *document = entry->document;
        return true;
    }
    if (entry->operation == LOG_INSERT)
        return true;
    place = (struct place) { run->branch_id, run->collection, entry->document_id };
    return read_state(modification->project, &place, result->first_lsn - 1, modification->deadline, &result->arena, document, err);
}

/* ---- projection ------------------------------------------------------------------------------------- */

static bool compile_projection(struct find_and_modify *operation, const struct find_and_modify_spec *spec, struct error *err)
{
    if (spec->projection.len == 0)
        return true;
    if (!bson_check(spec->projection, err) ||
        !projection_compile(spec->projection, PROJECTION_FIND, operation->modification.change.context.variables.scope,
                            &operation->projection, err))
        return query_wrap(err, "projection");
    if (spec->after && projection_is_positional(operation->projection))
        return query_error(err, MONGO_BAD_VALUE, "projection: a positional one cannot be of the document after the change");
    if (projection_is_random(operation->projection) || operation->modification.change.context.variables.is_random)
        return query_error(err, MONGO_COMMAND_NOT_SUPPORTED, "projection: with $rand a repetition would be answered differently");
    return true;
}

/* Of one write always the same, however often it is answered. */
static bool project_document(const struct find_and_modify *operation, uint64_t time_micros, struct arena *arena, struct bytes *document,
                             struct error *err)
{
    const struct document_change *change = &operation->modification.change;
    struct arena scratch;
    struct bytes result;
    struct expression_variables variables = { 0 };
    struct evaluation evaluation = { .arena = &scratch,
                                     .document = *document,
                                     .now = (int64_t)((time_micros ? time_micros : clock_wall_micros()) / 1000) };
    if (!operation->projection || !document->data)
        return true;
    arena_init_metered(&scratch, EXPRESSION_MAX_MEMORY);
    bool ok = !operation->let.len || expression_let(operation->let, NULL, evaluation.now, &scratch, &variables, err);
    evaluation.bindings = variables.bindings;
    ok = (ok && projection_apply(operation->projection, &evaluation, change->filter, &result, err)) || query_wrap(err, "projection");
    if (ok) {
        *document = bytes_of(arena_copy(arena, result.data, result.len), result.len);
        ok = document->data || error_out_of_memory(err);
    }
    arena_destroy(&scratch);
    return ok;
}

/* What cannot be answered is not done. */
static bool check_projection(void *ctx, struct bytes document, struct error *err)
{
    struct arena arena;
    arena_init(&arena, 0);
    bool ok = project_document(ctx, 0, &arena, &document, err);
    arena_destroy(&arena);
    return ok;
}

/* ---- the whole -------------------------------------------------------------------------------------- */

bool documents_find_and_modify(struct registry *registry, const struct collection_path *path, const struct find_and_modify_spec *spec,
                               const struct write_request *request, struct write_result *result, struct bytes *document, struct error *err)
{
    struct find_and_modify operation = { .let = spec->update ? spec->update->options.let : spec->remove->options.let };
    struct modification *modification = &operation.modification;
    struct bytes found;
    bool ok = documents_begin_modify(modification, path, spec->update, spec->remove, request, err) &&
              (compile_projection(&operation, spec, err) || write_refuse(request, err));
    modification->after = spec->after;
    modification->found = &operation.found;
    modification->check_found = check_projection;
    modification->check_ctx = &operation;
    ok = ok && documents_modify(registry, modification, request, result, err);
    if (ok) {
        found = operation.found;
        ok = (!result->rebuilt || find_again(modification, result, &found, err)) &&
             project_document(&operation, result->timestamp, &result->arena, &found, err);
        if (ok)
            *document = found;
        else
            write_result_destroy(result);
        ok = ok || write_keep_unknown(err);
    }
    projection_free(operation.projection);
    documents_end_modify(modification);
    return ok;
}
