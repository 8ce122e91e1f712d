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
    if (!page_begin(request->page_size, sizeof(struct collection_record), sizeof(Argon__Branch__V1__Collection), arena, &page, &err))
        goto fail;
    struct collection_record *records = page.records;
    Argon__Branch__V1__Collection *out = page.messages;
    response.collections = (Argon__Branch__V1__Collection **)page.pointers;
    for (collection_begin(&way, service, request->project, branch, NULL); collection_go(&way, &err);)
        way.ok = way.kind->list(service, request->project, branch, &read, request->page_token, page.n, arena, records,
                                &response.n_collections, &more, &response.lsn, &err);
    if (!way.ok)
        goto fail;
    for (size_t i = 0; i < response.n_collections; i++)
        fill(&out[i], &records[i]);

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

static const struct rpc_method methods[] = {
    RPC_UNARY("ListCollections", on_list),
    RPC_UNARY("CreateCollection", on_create),
    RPC_UNARY("RenameCollection", on_rename),
    RPC_UNARY("DropCollection", on_drop),
};

bool collections_rpc_add(struct rpc_server *server, struct registry *registry, struct error *err)
{
    return rpc_server_add(server, &argon__branch__v1__collections__descriptor, methods, ARRAY_LEN(methods), registry, err);
}
