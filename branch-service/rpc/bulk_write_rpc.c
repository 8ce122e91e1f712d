#include "branch-service/collection/collection.h"
#include "branch-service/rpc/convert_write.h"
#include "branch-service/rpc/services.h"

static bool convert_bulk_update(const Argon__Branch__V1__BulkUpdate *in, enum documents_scope scope,
                                Argon__Branch__V1__QueryOptions *options, struct arena *arena, struct bulk_operation *out,
                                struct error *err)
{
    const struct update_request asked = { .filter = in->filter,
                                          .update = in->update,
                                          .pipeline = in->pipeline,
                                          .n_pipeline = in->n_pipeline,
                                          .array_filters = in->array_filters,
                                          .n_array_filters = in->n_array_filters,
                                          .sort = in->sort,
                                          .upsert = in->upsert,
                                          .options = options };
    out->kind = BULK_UPDATE;
    return convert_update(&asked, scope, arena, &out->update, err);
}

static bool convert_bulk_replace(const Argon__Branch__V1__BulkReplace *in, Argon__Branch__V1__QueryOptions *options, struct arena *arena,
                                 struct bulk_operation *out, struct error *err)
{
    const struct update_request asked = {
        .filter = in->filter, .update = in->replacement, .replaces = true, .sort = in->sort, .upsert = in->upsert, .options = options
    };
    out->kind = BULK_UPDATE;
    return convert_update(&asked, DOCUMENTS_ONE, arena, &out->update, err);
}

static bool convert_operation(const Argon__Branch__V1__BulkOperation *in, bool atomic, Argon__Branch__V1__QueryOptions *options,
                              struct arena *arena, struct bulk_operation *out, struct error *err)
{
    const enum documents_scope many = atomic ? DOCUMENTS_ALL : DOCUMENTS_MANY;
    switch (in->operation_case) {
    case ARGON__BRANCH__V1__BULK_OPERATION__OPERATION_INSERT_ONE:
        out->kind = BULK_INSERT;
        return convert_document_in("document", in->insert_one->document, false, arena, &out->document, err);
    case ARGON__BRANCH__V1__BULK_OPERATION__OPERATION_UPDATE_ONE:
        return convert_bulk_update(in->update_one, DOCUMENTS_ONE, options, arena, out, err);
    case ARGON__BRANCH__V1__BULK_OPERATION__OPERATION_UPDATE_MANY:
        return convert_bulk_update(in->update_many, many, options, arena, out, err);
    case ARGON__BRANCH__V1__BULK_OPERATION__OPERATION_REPLACE_ONE:
        return convert_bulk_replace(in->replace_one, options, arena, out, err);
    case ARGON__BRANCH__V1__BULK_OPERATION__OPERATION_DELETE_ONE:
        out->kind = BULK_DELETE;
        return convert_delete(in->delete_one->filter, NULL, options, DOCUMENTS_ONE, arena, &out->remove, err);
    case ARGON__BRANCH__V1__BULK_OPERATION__OPERATION_DELETE_MANY:
        out->kind = BULK_DELETE;
        return convert_delete(in->delete_many->filter, NULL, options, many, arena, &out->remove, err);
    default:
        return error_set(err, ERROR_INVALID_ARGUMENT, "none is set");
    }
}

static bool convert(const Argon__Branch__V1__BulkWriteRequest *request, struct arena *arena, struct bulk_spec *spec, struct error *err)
{
    struct bulk_operation *operations = arena_zalloc(arena, request->n_operations * sizeof *operations);
    if (!operations)
        return error_out_of_memory(err);
    for (size_t i = 0; i < request->n_operations; i++)
        if (!convert_operation(request->operations[i], request->atomic, request->options, arena, &operations[i], err))
            return error_wrap(err, "operation %zu", i);
    *spec = (struct bulk_spec) {
        .operations = operations, .n = request->n_operations, .unordered = request->unordered, .atomic = request->atomic
    };
    return convert_format(request->format, err);
}

/* ---- the answer ------------------------------------------------------------------------------------- */

struct id_list {
    Argon__Branch__V1__IndexedId **items;
    size_t n;
};

static bool add_id(struct id_list *list, size_t index, struct bytes document, Argon__Branch__V1__Format format, struct arena *arena,
                   struct error *err)
{
    Argon__Branch__V1__IndexedId *item = arena_alloc(arena, sizeof *item);
    Argon__Branch__V1__Document *id = arena_alloc(arena, sizeof *id);
    if (!item || !id)
        return error_out_of_memory(err);
    *item = (Argon__Branch__V1__IndexedId)ARGON__BRANCH__V1__INDEXED_ID__INIT;
    item->index = (uint32_t)index;
    item->id = id;
    list->items[list->n++] = item;
    return convert_id_out(document, format, arena, id, err);
}

/* An insert that came with its _id is answered from the request. */
static bool fill_ids(const struct bulk_spec *spec, const struct bulk_result *result, Argon__Branch__V1__Format format, struct arena *arena,
                     struct id_list *inserted, struct id_list *upserted, struct error *err)
{
    const struct bulk_id *made = result->ids, *made_end = made + result->n_ids;
    const struct item_error *failed = result->errors.items, *failed_end = failed + result->errors.n;
    inserted->items = arena_alloc(arena, spec->n * sizeof(void *));
    upserted->items = arena_alloc(arena, spec->n * sizeof(void *));
    if (!inserted->items || !upserted->items)
        return error_out_of_memory(err);
    for (size_t i = 0; i < spec->n; i++) {
        bool is_insert = spec->operations[i].kind == BULK_INSERT;
        if (failed < failed_end && failed->index == i) {
            failed++;
            if (!spec->unordered)
                break;
        } else if (made < made_end && made->index == i) {
            if (!add_id(is_insert ? inserted : upserted, i, (made++)->id, format, arena, err))
                return false;
        } else if (is_insert && !add_id(inserted, i, spec->operations[i].document, format, arena, err)) {
            return false;
        }
    }
    return true;
}

void bulk_write_rpc_on_write(void *service, struct rpc_call *call, const ProtobufCMessage *message)
{
    Argon__Branch__V1__BulkWriteRequest *request = (Argon__Branch__V1__BulkWriteRequest *)message;
    Argon__Branch__V1__BulkWriteResponse response = ARGON__BRANCH__V1__BULK_WRITE_RESPONSE__INIT;
    struct arena *arena = rpc_call_arena(call);
    struct id_list inserted = { 0 }, upserted = { 0 };
    struct collection_path path;
    struct collection_way way;
    struct write_request write;
    struct write_result result;
    struct bulk_spec spec;
    struct bulk_result items;
    struct error err;
    convert_write(call, "BulkWrite", message, &request->write, arena, &write);
    if (!convert_target(request->target, &path, &err) || !convert(request, arena, &spec, &err)) {
        fail_not_applied(call, &err);
        return;
    }
    for (collection_begin(&way, service, path.project, path.branch, write.request_id); collection_go(&way, &err);)
        way.ok = way.kind->bulk_write(service, &path, &spec, &write, &result, &items, &err);
    if (!way.ok) {
        rpc_fail(call, &err);
        return;
    }
    response.inserted = result.counts.inserted;
    response.matched = result.counts.matched;
    response.modified = result.counts.modified;
    response.deleted = result.counts.deleted;
    response.upserted = result.counts.upserted;
    response.lsn = result.lsn;
    if (fill_ids(&spec, &items, request->format, arena, &inserted, &upserted, &err) &&
        convert_item_errors(&items.errors, arena, &response.errors, &response.n_errors, &err)) {
        response.inserted_ids = inserted.items;
        response.n_inserted_ids = inserted.n;
        response.upserted_ids = upserted.items;
        response.n_upserted_ids = upserted.n;
        rpc_reply(call, &response.base);
    } else {
        rpc_fail(call, &err);
    }
    write_result_destroy(&result);
}
