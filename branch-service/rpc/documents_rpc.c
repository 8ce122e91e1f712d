#include <stdio.h>

#include "branch-service/collection/collection.h"
#include "branch-service/rpc/convert.h"
#include "branch-service/rpc/convert_write.h"
#include "branch-service/rpc/services.h"

/* ---- insert ----------------------------------------------------------------------------------------- */

static bool insert(struct registry *registry, const struct collection_path *path, const struct insert_spec *spec,
                   const struct write_request *write, struct write_result *result, struct item_errors *errors, struct error *err)
{
    struct collection_way way;
    for (collection_begin(&way, registry, path->project, path->branch, write->request_id); collection_go(&way, err);)
        way.ok = way.kind->insert(registry, path, spec, write, result, errors, err);
    return way.ok;
}

static void on_insert_one(void *service, struct rpc_call *call, const ProtobufCMessage *message)
{
    Argon__Branch__V1__InsertOneRequest *request = (Argon__Branch__V1__InsertOneRequest *)message;
    Argon__Branch__V1__InsertOneResponse response = ARGON__BRANCH__V1__INSERT_ONE_RESPONSE__INIT;
    Argon__Branch__V1__Document id;
    struct arena *arena = rpc_call_arena(call);
    struct collection_path path;
    struct write_request write;
    struct write_result result;
    struct bytes document;
    struct error err;
    convert_write(call, "InsertOne", message, &request->write, arena, &write);
    if (!convert_target(request->target, &path, &err) ||
        !convert_document_in("document", request->document, false, arena, &document, &err)) {
        fail_not_applied(call, &err);
        return;
    }
    const struct insert_spec spec = { .documents = &document, .n = 1, .on_duplicate = ON_DUPLICATE_FAIL };
    struct item_errors none;
    if (!insert(service, &path, &spec, &write, &result, &none, &err)) {
        rpc_fail(call, &err);
        return;
    }
    /* the id comes back the way the document came in */
    bool json = request->document->json[0] != '\0';
    Argon__Branch__V1__Format format = json ? ARGON__BRANCH__V1__FORMAT__FORMAT_RELAXED_JSON : ARGON__BRANCH__V1__FORMAT__FORMAT_BSON;
    const struct log_run *run = documents_written(&result);
    response.inserted_id = &id;
    response.lsn = result.lsn;
    if (run && run->n_entries == 1 ? convert_id_out(run->entries[0].document, format, arena, &id, &err)
                                   : error_set(&err, ERROR_DATA_LOSS, "the log holds no document where one was written"))
        rpc_reply(call, &response.base);
    else
        rpc_fail(call, &err);
    write_result_destroy(&result);
}

static bool fill_inserted(const struct write_result *result, Argon__Branch__V1__Format format, struct arena *arena,
                          Argon__Branch__V1__InsertManyResponse *response, struct error *err)
{
    const struct log_run *run = documents_written(result);
    size_t n = run ? run->n_entries : 0;
    Argon__Branch__V1__Document *ids = arena_alloc(arena, n * sizeof *ids);
    response->inserted_ids = arena_alloc(arena, n * sizeof(void *));
    if (!ids || !response->inserted_ids)
        return error_out_of_memory(err);
    for (size_t i = 0; i < n; i++) {
        if (run->entries[i].operation != LOG_INSERT)
            continue;
        if (!convert_id_out(run->entries[i].document, format, arena, &ids[i], err))
            return false;
        response->inserted_ids[response->n_inserted_ids++] = &ids[i];
    }
    response->inserted = result->counts.inserted;
    response->skipped = result->counts.skipped;
    response->replaced = result->counts.replaced;
    response->lsn = result->lsn;
    return true;
}

static bool convert_on_duplicate(Argon__Branch__V1__OnDuplicate in, enum on_duplicate *out, struct error *err)
{
    switch (in) {
    case ARGON__BRANCH__V1__ON_DUPLICATE__ON_DUPLICATE_FAIL:
        *out = ON_DUPLICATE_FAIL;
        return true;
    case ARGON__BRANCH__V1__ON_DUPLICATE__ON_DUPLICATE_SKIP:
        *out = ON_DUPLICATE_SKIP;
        return true;
    case ARGON__BRANCH__V1__ON_DUPLICATE__ON_DUPLICATE_REPLACE:
        *out = ON_DUPLICATE_REPLACE;
        return true;
    case ARGON__BRANCH__V1__ON_DUPLICATE__ON_DUPLICATE_REPORT:
        *out = ON_DUPLICATE_REPORT;
        return true;
    case ARGON__BRANCH__V1__ON_DUPLICATE__ON_DUPLICATE_STOP:
        *out = ON_DUPLICATE_STOP;
        return true;
    default:
        return error_set(err, ERROR_INVALID_ARGUMENT, "on_duplicate %d is unknown", (int)in);
    }
}

static bool convert_insert(const Argon__Branch__V1__InsertManyRequest *request, struct arena *arena, struct insert_spec *spec,
                           struct error *err)
{
    struct bytes *documents = arena_zalloc(arena, request->n_documents * sizeof *documents);
    const char **unreadable = arena_zalloc(arena, request->n_documents * sizeof *unreadable);
    if (!documents || !unreadable)
        return error_out_of_memory(err);
    for (size_t i = 0; i < request->n_documents; i++) {
        char what[32];
        snprintf(what, sizeof what, "document %zu", i);
        if (convert_document_in(request->skip_invalid ? "document" : what, request->documents[i], false, arena, &documents[i], err))
            continue;
        if (!request->skip_invalid || err->code != ERROR_INVALID_ARGUMENT)
            return false;
        unreadable[i] = arena_strdup(arena, err->message);
        if (!unreadable[i])
            return error_out_of_memory(err);
    }
    *spec = (struct insert_spec) {
        .documents = documents,
        .n = request->n_documents,
        .skip_invalid = request->skip_invalid,
        .unreadable = unreadable,
    };
    return convert_on_duplicate(request->on_duplicate, &spec->on_duplicate, err) && convert_format(request->format, err);
}

static void on_insert_many(void *service, struct rpc_call *call, const ProtobufCMessage *message)
{
    Argon__Branch__V1__InsertManyRequest *request = (Argon__Branch__V1__InsertManyRequest *)message;
    Argon__Branch__V1__InsertManyResponse response = ARGON__BRANCH__V1__INSERT_MANY_RESPONSE__INIT;
    struct arena *arena = rpc_call_arena(call);
    struct collection_path path;
    struct write_request write;
    struct write_result result;
    struct insert_spec spec;
    struct item_errors errors;
    struct error err;
    convert_write(call, "InsertMany", message, &request->write, arena, &write);
    if (!convert_target(request->target, &path, &err) || !convert_insert(request, arena, &spec, &err)) {
        fail_not_applied(call, &err);
        return;
    }
    if (!insert(service, &path, &spec, &write, &result, &errors, &err)) {
        rpc_fail(call, &err);
        return;
    }
    if (fill_inserted(&result, request->format, arena, &response, &err) &&
        convert_item_errors(&errors, arena, &response.errors, &response.n_errors, &err))
        rpc_reply(call, &response.base);
    else
        rpc_fail(call, &err);
    write_result_destroy(&result);
}

/* ---- update and delete ------------------------------------------------------------------------------ */

static void run_update(void *service, struct rpc_call *call, const char *method, const ProtobufCMessage *message,
                       Argon__Branch__V1__Target *target, const struct update_request *asked, enum documents_scope scope,
                       Argon__Branch__V1__WriteOptions **options, Argon__Branch__V1__Format format)
{
    Argon__Branch__V1__UpdateResponse response = ARGON__BRANCH__V1__UPDATE_RESPONSE__INIT;
    Argon__Branch__V1__Document id;
    struct arena *arena = rpc_call_arena(call);
    struct collection_path path;
    struct write_request write;
    struct write_result result;
    struct update_spec spec;
    struct collection_way way;
    struct error err;
    convert_write(call, method, message, options, arena, &write);
    if (!convert_target(target, &path, &err) || !convert_update(asked, scope, arena, &spec, &err) || !convert_format(format, &err)) {
        fail_not_applied(call, &err);
        return;
    }
    for (collection_begin(&way, service, path.project, path.branch, write.request_id); collection_go(&way, &err);)
        way.ok = way.kind->update(service, &path, &spec, &write, &result, &err);
    if (!way.ok) {
        rpc_fail(call, &err);
        return;
    }
    response.matched = result.counts.matched;
    response.modified = result.counts.modified;
    response.lsn = result.lsn;
    if (convert_upserted_out(&result, format, arena, &id, &response.upserted_id, &err))
        rpc_reply(call, &response.base);
    else
        rpc_fail(call, &err);
    write_result_destroy(&result);
}

static enum documents_scope many_scope(bool atomic)
{
    return atomic ? DOCUMENTS_ALL : DOCUMENTS_MANY;
}

static struct update_request update_of(const Argon__Branch__V1__UpdateRequest *request)
{
    return (struct update_request) { .filter = request->filter,
                                     .update = request->update,
                                     .pipeline = request->pipeline,
                                     .n_pipeline = request->n_pipeline,
                                     .array_filters = request->array_filters,
                                     .n_array_filters = request->n_array_filters,
                                     .sort = request->sort,
                                     .upsert = request->upsert,
                                     .options = request->options };
}

static void on_update_one(void *service, struct rpc_call *call, const ProtobufCMessage *message)
{
    Argon__Branch__V1__UpdateRequest *request = (Argon__Branch__V1__UpdateRequest *)message;
    const struct update_request asked = update_of(request);
    /* one document is atomic whether or not that is asked for */
    run_update(service, call, "UpdateOne", message, request->target, &asked, DOCUMENTS_ONE, &request->write, request->format);
}

static void on_update_many(void *service, struct rpc_call *call, const ProtobufCMessage *message)
{
    Argon__Branch__V1__UpdateRequest *request = (Argon__Branch__V1__UpdateRequest *)message;
    const struct update_request asked = update_of(request);
    run_update(service, call, "UpdateMany", message, request->target, &asked, many_scope(request->atomic), &request->write,
               request->format);
}

static void on_replace_one(void *service, struct rpc_call *call, const ProtobufCMessage *message)
{
    Argon__Branch__V1__ReplaceRequest *request = (Argon__Branch__V1__ReplaceRequest *)message;
    const struct update_request asked = { .filter = request->filter,
                                          .update = request->replacement,
                                          .replaces = true,
                                          .sort = request->sort,
                                          .upsert = request->upsert,
                                          .options = request->options };
    run_update(service, call, "ReplaceOne", message, request->target, &asked, DOCUMENTS_ONE, &request->write, request->format);
}

static void run_delete(void *service, struct rpc_call *call, const ProtobufCMessage *message, const char *method,
                       enum documents_scope scope)
{
    Argon__Branch__V1__DeleteRequest *request = (Argon__Branch__V1__DeleteRequest *)message;
    Argon__Branch__V1__DeleteResponse response = ARGON__BRANCH__V1__DELETE_RESPONSE__INIT;
    struct arena *arena = rpc_call_arena(call);
    struct collection_path path;
    struct write_request write;
    struct write_result result;
    struct delete_spec spec;
    struct collection_way way;
    struct error err;
    convert_write(call, method, message, &request->write, arena, &write);
    if (!convert_target(request->target, &path, &err) ||
        !convert_delete(request->filter, NULL, request->options, scope, arena, &spec, &err)) {
        fail_not_applied(call, &err);
        return;
    }
    for (collection_begin(&way, service, path.project, path.branch, write.request_id); collection_go(&way, &err);)
        way.ok = way.kind->remove(service, &path, &spec, &write, &result, &err);
    if (!way.ok) {
        rpc_fail(call, &err);
        return;
    }
    response.deleted = result.counts.deleted;
    response.lsn = result.lsn;
    write_result_destroy(&result);
    rpc_reply(call, &response.base);
}

static void on_delete_one(void *service, struct rpc_call *call, const ProtobufCMessage *message)
{
    run_delete(service, call, message, "DeleteOne", DOCUMENTS_ONE);
}

static void on_delete_many(void *service, struct rpc_call *call, const ProtobufCMessage *message)
{
    const Argon__Branch__V1__DeleteRequest *request = (const Argon__Branch__V1__DeleteRequest *)message;
    run_delete(service, call, message, "DeleteMany", many_scope(request->atomic));
}

static const struct rpc_method methods[] = {
    RPC_UNARY("InsertOne", on_insert_one),
    RPC_LARGE_UNARY("InsertMany", on_insert_many),
    RPC_STREAM("Find", find_rpc_on_find),
    RPC_UNARY_INLINE("FindOne", find_rpc_on_find_one),
    RPC_UNARY("UpdateOne", on_update_one),
    RPC_UNARY("UpdateMany", on_update_many),
    RPC_UNARY("ReplaceOne", on_replace_one),
    RPC_UNARY("DeleteOne", on_delete_one),
    RPC_UNARY("DeleteMany", on_delete_many),
    RPC_UNARY("Count", count_rpc_on_count),
    RPC_UNARY("EstimatedCount", count_rpc_on_estimated_count),
    RPC_UNARY("Distinct", count_rpc_on_distinct),
    RPC_STREAM("Aggregate", aggregate_rpc_on_aggregate),
    RPC_UNARY("Explain", aggregate_rpc_on_explain),
    RPC_UNARY("FindOneAndUpdate", find_and_modify_rpc_on_update),
    RPC_UNARY("FindOneAndReplace", find_and_modify_rpc_on_replace),
    RPC_UNARY("FindOneAndDelete", find_and_modify_rpc_on_delete),
    RPC_LARGE_UNARY("BulkWrite", bulk_write_rpc_on_write),
};

bool documents_rpc_add(struct rpc_server *server, struct registry *registry, struct error *err)
{
    return rpc_server_add(server, &argon__branch__v1__documents__descriptor, methods, ARRAY_LEN(methods), registry, err);
}
