#include "branch-service/catalog/index_definitions.h"
#include "branch-service/collection/collection.h"
#include "branch-service/rpc/page.h"
#include "branch-service/rpc/services.h"

static void fill(Argon__Branch__V1__Collection *out, const struct collection_record *record)
{
    *out = (Argon__Branch__V1__Collection)ARGON__BRANCH__V1__COLLECTION__INIT;
    out->name = (char *)record->name;
    out->id = (char *)record->id;
    out->created_at = record->created_at;
}

static bool fill_indexes(Argon__Branch__V1__Collection *out, const struct collection_record *record, Argon__Branch__V1__Format format,
                         struct arena *arena, struct error *err)
{
    struct bytes *definitions;
    size_t n;
    if (!index_definitions_unpack(record->indexes, arena, &definitions, &n, err))
        return false;
    Argon__Branch__V1__Document *documents = arena_alloc(arena, n * sizeof *documents);
    out->indexes = arena_alloc(arena, n * sizeof *out->indexes);
    if (n > 0 && (!documents || !out->indexes))
        return error_out_of_memory(err);
    for (; out->n_indexes < n; out->n_indexes++) {
        out->indexes[out->n_indexes] = &documents[out->n_indexes];
        if (!convert_document_out(definitions[out->n_indexes], format, arena, &documents[out->n_indexes], err))
            return false;
    }
    return true;
}

static void on_list(void *service, struct rpc_call *call, const ProtobufCMessage *message)
{
    const Argon__Branch__V1__ListCollectionsRequest *request = (const Argon__Branch__V1__ListCollectionsRequest *)message;
    Argon__Branch__V1__ListCollectionsResponse response = ARGON__BRANCH__V1__LIST_COLLECTIONS_RESPONSE__INIT;
    const struct read_options read = convert_read(call, request->read);
    struct arena *arena = rpc_call_arena(call);
    const char *branch = request->branch[0] ? request->branch : MAIN_BRANCH;
    struct collection_way way;
    struct error err;
    struct page page;
    bool more;
    if (!convert_format(request->format, &err) ||
        !page_begin(request->page_size, sizeof(struct collection_record), sizeof(Argon__Branch__V1__Collection), arena, &page, &err))
        goto fail;
    struct collection_record *records = page.records;
    Argon__Branch__V1__Collection *out = page.messages;
    response.collections = (Argon__Branch__V1__Collection **)page.pointers;
    for (collection_begin(&way, service, request->project, branch, NULL); collection_go(&way, &err);)
        way.ok = way.kind->list(service, request->project, branch, &read, request->page_token, page.n, arena, records,
                                &response.n_collections, &more, &response.lsn, &err);
    if (!way.ok)
        goto fail;
    for (size_t i = 0; i < response.n_collections; i++) {
        fill(&out[i], &records[i]);
        if (!fill_indexes(&out[i], &records[i], request->format, arena, &err))
            goto fail;
    }

    if (more)
        response.next_page_token = (char *)records[response.n_collections - 1].name;
    rpc_reply(call, &response.base);
    return;
fail:
    rpc_fail(call, &err);
}

static void on_create(void *service, struct rpc_call *call, const ProtobufCMessage *message)
{
    Argon__Branch__V1__CreateCollectionRequest *request = (Argon__Branch__V1__CreateCollectionRequest *)message;
    Argon__Branch__V1__CreateCollectionResponse response = ARGON__BRANCH__V1__CREATE_COLLECTION_RESPONSE__INIT;
    Argon__Branch__V1__Collection out;
    struct collection_record record;
    struct collection_path path;
    struct collection_way way;
    struct write_request write;
    struct error err;
    convert_write(call, "CreateCollection", message, &request->write, rpc_call_arena(call), &write);
    if (!convert_target(request->target, &path, &err)) {
        fail_not_applied(call, &err);
        return;
    }
    for (collection_begin(&way, service, path.project, path.branch, write.request_id); collection_go(&way, &err);)
        way.ok = way.kind->create(service, &path, &write, rpc_call_arena(call), &record, &response.lsn, &err);
    if (!way.ok) {
        rpc_fail(call, &err);
        return;
    }
    fill(&out, &record);
    response.collection = &out;
    rpc_reply(call, &response.base);
}

static void on_rename(void *service, struct rpc_call *call, const ProtobufCMessage *message)
{
    Argon__Branch__V1__RenameCollectionRequest *request = (Argon__Branch__V1__RenameCollectionRequest *)message;
    Argon__Branch__V1__RenameCollectionResponse response = ARGON__BRANCH__V1__RENAME_COLLECTION_RESPONSE__INIT;
    struct collection_path path;
    struct collection_way way;
    struct write_request write;
    struct error err;
    convert_write(call, "RenameCollection", message, &request->write, rpc_call_arena(call), &write);
    if (!convert_target(request->target, &path, &err)) {
        fail_not_applied(call, &err);
        return;
    }
    for (collection_begin(&way, service, path.project, path.branch, write.request_id); collection_go(&way, &err);)
        way.ok = way.kind->rename(service, &path, request->new_name, &write, &response.lsn, &err);
    if (way.ok)
        rpc_reply(call, &response.base);
    else
        rpc_fail(call, &err);
}

static void on_drop(void *service, struct rpc_call *call, const ProtobufCMessage *message)
{
    Argon__Branch__V1__DropCollectionRequest *request = (Argon__Branch__V1__DropCollectionRequest *)message;
    Argon__Branch__V1__DropCollectionResponse response = ARGON__BRANCH__V1__DROP_COLLECTION_RESPONSE__INIT;
    struct collection_path path;
    struct collection_way way;
    struct write_request write;
    struct error err;
    convert_write(call, "DropCollection", message, &request->write, rpc_call_arena(call), &write);
    if (!convert_target(request->target, &path, &err)) {
        fail_not_applied(call, &err);
        return;
    }
    for (collection_begin(&way, service, path.project, path.branch, write.request_id); collection_go(&way, &err);)
        way.ok = way.kind->drop(service, &path, &write, &response.lsn, &err);
    if (way.ok)
        rpc_reply(call, &response.base);
    else
        rpc_fail(call, &err);
}

static bool pack_indexes(const Argon__Branch__V1__SetIndexesRequest *request, struct arena *arena, struct bytes *array, struct error *err)
{
    struct bytes *definitions = arena_alloc(arena, (request->n_indexes + 1) * sizeof *definitions);
    if (!definitions)
        return error_out_of_memory(err);
    for (size_t i = 0; i < request->n_indexes; i++)
        if (!convert_document_in("indexes", request->indexes[i], false, arena, &definitions[i], err))
            return false;
    return index_definitions_pack(definitions, request->n_indexes, arena, array, err);
}

static void on_set_indexes(void *service, struct rpc_call *call, const ProtobufCMessage *message)
{
    Argon__Branch__V1__SetIndexesRequest *request = (Argon__Branch__V1__SetIndexesRequest *)message;
    Argon__Branch__V1__SetIndexesResponse response = ARGON__BRANCH__V1__SET_INDEXES_RESPONSE__INIT;
    struct collection_path path;
    struct collection_way way;
    struct write_request write;
    struct bytes indexes;
    struct error err;
    convert_write(call, "SetIndexes", message, &request->write, rpc_call_arena(call), &write);
    if (!convert_target(request->target, &path, &err) || !pack_indexes(request, rpc_call_arena(call), &indexes, &err)) {
        fail_not_applied(call, &err);
        return;
    }
    for (collection_begin(&way, service, path.project, path.branch, write.request_id); collection_go(&way, &err);)
        way.ok = way.kind->set_indexes(service, &path, indexes, &write, &response.lsn, &err);
    if (way.ok)
        rpc_reply(call, &response.base);
    else
        rpc_fail(call, &err);
}

static const struct rpc_method methods[] = {
    RPC_UNARY("ListCollections", on_list), RPC_UNARY("CreateCollection", on_create), RPC_UNARY("RenameCollection", on_rename),
    RPC_UNARY("DropCollection", on_drop),  RPC_UNARY("SetIndexes", on_set_indexes),
};

bool collections_rpc_add(struct rpc_server *server, struct registry *registry, struct error *err)
{
    return rpc_server_add(server, &argon__branch__v1__collections__descriptor, methods, ARRAY_LEN(methods), registry, err);
}
