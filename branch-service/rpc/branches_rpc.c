#include "branch-service/branches/branches.h"
#include "branch-service/rpc/page.h"
#include "branch-service/rpc/services.h"

static const Argon__Branch__V1__BranchState states[] = {
    [BRANCH_READY] = ARGON__BRANCH__V1__BRANCH_STATE__BRANCH_STATE_READY,
    [BRANCH_CREATING] = ARGON__BRANCH__V1__BRANCH_STATE__BRANCH_STATE_CREATING,
    [BRANCH_DELETING] = ARGON__BRANCH__V1__BRANCH_STATE__BRANCH_STATE_DELETING,
    [BRANCH_PREPARING] = ARGON__BRANCH__V1__BRANCH_STATE__BRANCH_STATE_MIGRATING,
    [BRANCH_FROZEN] = ARGON__BRANCH__V1__BRANCH_STATE__BRANCH_STATE_MIGRATING,
    [BRANCH_RENAMED] = ARGON__BRANCH__V1__BRANCH_STATE__BRANCH_STATE_MIGRATING,
    /* in a later state it has no name, and is not shown */
    [BRANCH_STATE_UNKNOWN] = ARGON__BRANCH__V1__BRANCH_STATE__BRANCH_STATE_UNKNOWN,
};

static void fill(Argon__Branch__V1__Branch *out, const struct branch_description *branch)
{
    *out = (Argon__Branch__V1__Branch)ARGON__BRANCH__V1__BRANCH__INIT;
    out->id = (char *)branch->id;
    out->name = (char *)branch->name;
    if (branch->parent_id) {
        out->parent = (char *)branch->parent_name;
        out->parent_id = (char *)branch->parent_id;
    }
    out->base_lsn = branch->base_lsn;
    out->cut_lsn = branch->cut_lsn;
    out->head_lsn = branch->head_lsn;
    out->created_at = branch->created_at;
    out->use_wal = branch->kind == BRANCH_WAL;
    out->kind = out->use_wal ? ARGON__BRANCH__V1__BRANCH_KIND__BRANCH_KIND_WAL : ARGON__BRANCH__V1__BRANCH_KIND__BRANCH_KIND_TRADITIONAL;
    out->state = states[branch->state];
    out->database = (char *)branch->database;
    out->prefix = (char *)branch->prefix;
    out->base_id = (char *)branch->base_id;
    out->base_isolated = branch->base_isolated;
}

static bool convert_kind(Argon__Branch__V1__BranchKind in, enum kind_wish *out, struct error *err)
{
    switch (in) {
    case ARGON__BRANCH__V1__BRANCH_KIND__BRANCH_KIND_DEFAULT:
        *out = KIND_BY_FLAGS;
        return true;
    case ARGON__BRANCH__V1__BRANCH_KIND__BRANCH_KIND_WAL:
        *out = KIND_WAL;
        return true;
    case ARGON__BRANCH__V1__BRANCH_KIND__BRANCH_KIND_TRADITIONAL:
        *out = KIND_TRADITIONAL;
        return true;
    default:
        return error_set(err, ERROR_INVALID_ARGUMENT, "kind %d is unknown", (int)in);
    }
}

static void on_create(void *service, struct rpc_call *call, const ProtobufCMessage *message)
{
    Argon__Branch__V1__CreateBranchRequest *request = (Argon__Branch__V1__CreateBranchRequest *)message;
    Argon__Branch__V1__CreateBranchResponse response = ARGON__BRANCH__V1__CREATE_BRANCH_RESPONSE__INIT;
    Argon__Branch__V1__Branch out;
    struct branch_origin origin = {
        .from = request->from, .at_lsn = request->at_lsn, .at_time = request->at_time, .base_id = request->base_id
    };
    struct branch_description branch;
    struct write_request write;
    struct error err;
    convert_write(call, "CreateBranch", message, &request->write, rpc_call_arena(call), &write);
    if (!convert_kind(request->kind, &origin.kind, &err)) {
        fail_not_applied(call, &err);
        return;
    }
    if (!branches_create(service, request->project, request->name, &origin, &write, rpc_call_arena(call), &branch, &response.lsn, &err)) {
        rpc_fail(call, &err);
        return;
    }
    fill(&out, &branch);
    response.branch = &out;
    rpc_reply(call, &response.base);
}

static void on_get(void *service, struct rpc_call *call, const ProtobufCMessage *message)
{
    const Argon__Branch__V1__GetBranchRequest *request = (const Argon__Branch__V1__GetBranchRequest *)message;
    Argon__Branch__V1__GetBranchResponse response = ARGON__BRANCH__V1__GET_BRANCH_RESPONSE__INIT;
    Argon__Branch__V1__Branch out;
    struct branch_description branch;
    struct error err;
    if (!branches_get(service, request->project, request->name, convert_deadline(call), rpc_call_arena(call), &branch, &err)) {
        rpc_fail(call, &err);
        return;
    }
    fill(&out, &branch);
    response.branch = &out;
    rpc_reply(call, &response.base);
}

static void on_list(void *service, struct rpc_call *call, const ProtobufCMessage *message)
{
    const Argon__Branch__V1__ListBranchesRequest *request = (const Argon__Branch__V1__ListBranchesRequest *)message;
    Argon__Branch__V1__ListBranchesResponse response = ARGON__BRANCH__V1__LIST_BRANCHES_RESPONSE__INIT;
    struct arena *arena = rpc_call_arena(call);
    struct error err;
    struct page page;
    bool more;
    if (!page_begin(request->page_size, sizeof(struct branch_description), sizeof(Argon__Branch__V1__Branch), arena, &page, &err))
        goto fail;
    struct branch_description *branches = page.records;
    Argon__Branch__V1__Branch *out = page.messages;
    response.branches = (Argon__Branch__V1__Branch **)page.pointers;
    if (!branches_list(service, request->project, request->page_token, page.n, convert_deadline(call), arena, branches,
                       &response.n_branches, &more, &err))
        goto fail;
    for (size_t i = 0; i < response.n_branches; i++)
        fill(&out[i], &branches[i]);

    if (more)
        response.next_page_token = (char *)branches[response.n_branches - 1].name;
    rpc_reply(call, &response.base);
    return;
fail:
    rpc_fail(call, &err);
}

static void on_rename(void *service, struct rpc_call *call, const ProtobufCMessage *message)
{
    Argon__Branch__V1__RenameBranchRequest *request = (Argon__Branch__V1__RenameBranchRequest *)message;
    Argon__Branch__V1__RenameBranchResponse response = ARGON__BRANCH__V1__RENAME_BRANCH_RESPONSE__INIT;
    Argon__Branch__V1__Branch out;
    struct branch_description branch;
    struct write_request write;
    struct error err;
    convert_write(call, "RenameBranch", message, &request->write, rpc_call_arena(call), &write);
    if (!branches_rename(service, request->project, request->name, request->new_name, &write, rpc_call_arena(call), &branch, &response.lsn,
                         &err)) {
        rpc_fail(call, &err);
        return;
    }
    fill(&out, &branch);
    response.branch = &out;
    rpc_reply(call, &response.base);
}

static void on_delete(void *service, struct rpc_call *call, const ProtobufCMessage *message)
{
    Argon__Branch__V1__DeleteBranchRequest *request = (Argon__Branch__V1__DeleteBranchRequest *)message;
    Argon__Branch__V1__DeleteBranchResponse response = ARGON__BRANCH__V1__DELETE_BRANCH_RESPONSE__INIT;
    struct write_request write;
    struct error err;
    convert_write(call, "DeleteBranch", message, &request->write, rpc_call_arena(call), &write);
    if (branches_delete(service, request->project, request->name, &write, &response.lsn, &err))
        rpc_reply(call, &response.base);
    else
        rpc_fail(call, &err);
}

static void on_adopt(void *service, struct rpc_call *call, const ProtobufCMessage *message)
{
    Argon__Branch__V1__AdoptBranchRequest *request = (Argon__Branch__V1__AdoptBranchRequest *)message;
    Argon__Branch__V1__AdoptBranchResponse response = ARGON__BRANCH__V1__ADOPT_BRANCH_RESPONSE__INIT;
    Argon__Branch__V1__Branch out;
    struct branch_description branch;
    struct write_request write;
    struct error err;
    convert_write(call, "AdoptBranch", message, &request->write, rpc_call_arena(call), &write);
    if (!branches_adopt(service, request->project, request->name, request->prefix, request->database, &write, rpc_call_arena(call), &branch,
                        &response.lsn, &err)) {
        rpc_fail(call, &err);
        return;
    }
    fill(&out, &branch);
    response.branch = &out;
    rpc_reply(call, &response.base);
}

static const struct rpc_method methods[] = {
    RPC_UNARY("CreateBranch", on_create),         RPC_UNARY("GetBranch", on_get),
    RPC_UNARY("ListBranches", on_list),           RPC_UNARY("RenameBranch", on_rename),
    RPC_UNARY("DeleteBranch", on_delete),         RPC_UNARY("AdoptBranch", on_adopt),
    RPC_STREAM("Watch", watch_rpc_on_watch),      RPC_STREAM("Materialize", materialize_rpc_on_materialize),
    RPC_STREAM("CopyBase", bases_rpc_on_copy),    RPC_UNARY("ListBases", bases_rpc_on_list),
    RPC_UNARY("DeleteBase", bases_rpc_on_delete),
};

bool branches_rpc_add(struct rpc_server *server, struct registry *registry, struct error *err)
{
    return rpc_server_add(server, &argon__branch__v1__branches__descriptor, methods, ARRAY_LEN(methods), registry, err);
}
