#include "branch-service/collection/collection.h"
#include "branch-service/rpc/convert_write.h"
#include "branch-service/rpc/services.h"

struct asked {
    const char *method;
    Argon__Branch__V1__Target *target;
    struct update_request update; /* of a delete only filter, sort and options */
    bool deletes;
    Argon__Branch__V1__Document *projection;
    Argon__Branch__V1__ReturnDocument return_document;
    Argon__Branch__V1__WriteOptions **write;
    Argon__Branch__V1__Format format;
};

static bool convert(const struct asked *asked, struct arena *arena, struct update_spec *update, struct delete_spec *remove,
                    struct find_and_modify_spec *spec, struct error *err)
{
    *spec = (struct find_and_modify_spec) { .after = asked->return_document == ARGON__BRANCH__V1__RETURN_DOCUMENT__RETURN_DOCUMENT_AFTER };
    if (asked->deletes)
        spec->remove = remove;
    else
        spec->update = update;
    if (asked->return_document > ARGON__BRANCH__V1__RETURN_DOCUMENT__RETURN_DOCUMENT_AFTER)
        return error_set(err, ERROR_INVALID_ARGUMENT, "return_document %d is unknown", (int)asked->return_document);
    return (asked->deletes
                ? convert_delete(asked->update.filter, asked->update.sort, asked->update.options, DOCUMENTS_ONE, arena, remove, err)
                : convert_update(&asked->update, DOCUMENTS_ONE, arena, update, err)) &&
           convert_document_in("projection", asked->projection, true, arena, &spec->projection, err) && convert_format(asked->format, err);
}

static void run(void *service, struct rpc_call *call, const ProtobufCMessage *message, const struct asked *asked)
{
    Argon__Branch__V1__FindAndModifyResponse response = ARGON__BRANCH__V1__FIND_AND_MODIFY_RESPONSE__INIT;
    Argon__Branch__V1__Document out, id;
    struct arena *arena = rpc_call_arena(call);
    struct collection_path path;
    struct collection_way way;
    struct write_request write;
    struct write_result result;
    struct update_spec update;
    struct delete_spec remove;
    struct find_and_modify_spec spec;
    struct bytes document;
    struct error err;
    convert_write(call, asked->method, message, asked->write, arena, &write);
    if (!convert_target(asked->target, &path, &err) || !convert(asked, arena, &update, &remove, &spec, &err)) {
        fail_not_applied(call, &err);
        return;
    }
    for (collection_begin(&way, service, path.project, path.branch, write.request_id); collection_go(&way, &err);)
        way.ok = way.kind->find_and_modify(service, &path, &spec, &write, &result, &document, &err);
    if (!way.ok) {
        rpc_fail(call, &err);
        return;
    }
    response.matched = result.counts.matched;
    response.lsn = result.lsn;
    bool ok = !document.data || convert_document_out(document, asked->format, arena, &out, &err);
    if (ok && document.data)
        response.document = &out;
    if (ok && convert_upserted_out(&result, asked->format, arena, &id, &response.upserted_id, &err))
        rpc_reply(call, &response.base);
    else
        rpc_fail(call, &err);
    write_result_destroy(&result);
}

void find_and_modify_rpc_on_update(void *service, struct rpc_call *call, const ProtobufCMessage *message)
{
    Argon__Branch__V1__FindOneAndUpdateRequest *request = (Argon__Branch__V1__FindOneAndUpdateRequest *)message;
    const struct asked asked = {
        .method = "FindOneAndUpdate",
        .target = request->target,
        .update = { .filter = request->filter,
                    .update = request->update,
                    .pipeline = request->pipeline,
                    .n_pipeline = request->n_pipeline,
                    .array_filters = request->array_filters,
                    .n_array_filters = request->n_array_filters,
                    .sort = request->sort,
                    .upsert = request->upsert,
                    .options = request->options },
        .projection = request->projection,
        .return_document = request->return_document,
        .write = &request->write,
        .format = request->format,
    };
    run(service, call, message, &asked);
}

void find_and_modify_rpc_on_replace(void *service, struct rpc_call *call, const ProtobufCMessage *message)
{
    Argon__Branch__V1__FindOneAndReplaceRequest *request = (Argon__Branch__V1__FindOneAndReplaceRequest *)message;
    const struct asked asked = {
        .method = "FindOneAndReplace",
        .target = request->target,
        .update = { .filter = request->filter,
                    .update = request->replacement,
                    .replaces = true,
                    .sort = request->sort,
                    .upsert = request->upsert,
                    .options = request->options },
        .projection = request->projection,
        .return_document = request->return_document,
        .write = &request->write,
        .format = request->format,
    };
    run(service, call, message, &asked);
}

void find_and_modify_rpc_on_delete(void *service, struct rpc_call *call, const ProtobufCMessage *message)
{
    Argon__Branch__V1__FindOneAndDeleteRequest *request = (Argon__Branch__V1__FindOneAndDeleteRequest *)message;
    const struct asked asked = {
        .method = "FindOneAndDelete",
        .target = request->target,
        .update = { .filter = request->filter, .sort = request->sort, .options = request->options },
        .deletes = true,
        .projection = request->projection,
        .write = &request->write,
        .format = request->format,
    };
    run(service, call, message, &asked);
}
