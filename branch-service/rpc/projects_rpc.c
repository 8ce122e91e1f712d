#include "branch-service/rpc/page.h"
#include "branch-service/rpc/services.h"

static void fill(Argon__Branch__V1__Project *out, const struct project *project)
{
    struct project_catalog catalog;
    project_catalog((struct project *)project, &catalog);
    *out = (Argon__Branch__V1__Project)ARGON__BRANCH__V1__PROJECT__INIT;
    out->id = (char *)project_id(project);
    out->name = (char *)project_name(project);
    out->created_at = project_created_at(project);
    out->head_lsn = catalog.lsn;
    project_catalog_destroy(&catalog);
}

static void on_create(void *service, struct rpc_call *call, const ProtobufCMessage *message)
{
    Argon__Branch__V1__CreateProjectRequest *request = (Argon__Branch__V1__CreateProjectRequest *)message;
    Argon__Branch__V1__CreateProjectResponse response = ARGON__BRANCH__V1__CREATE_PROJECT_RESPONSE__INIT;
    Argon__Branch__V1__Project out;
    struct write_request write;
    struct project *project;
    struct error err;
    convert_write(call, "CreateProject", message, &request->write, rpc_call_arena(call), &write);
    if (!registry_create(service, request->name, &write, &project, &err)) {
        rpc_fail(call, &err);
        return;
    }
    fill(&out, project);
    response.project = &out;
    rpc_reply(call, &response.base);
}

static void on_get(void *service, struct rpc_call *call, const ProtobufCMessage *message)
{
    const Argon__Branch__V1__GetProjectRequest *request = (const Argon__Branch__V1__GetProjectRequest *)message;
    Argon__Branch__V1__GetProjectResponse response = ARGON__BRANCH__V1__GET_PROJECT_RESPONSE__INIT;
    Argon__Branch__V1__Project out;
    struct project *project;
    struct error err;
    if (!registry_find(service, request->name, convert_deadline(call), &project, &err)) {
        rpc_fail(call, &err);
        return;
    }
    fill(&out, project);
    response.project = &out;
    rpc_reply(call, &response.base);
}

static void on_list(void *service, struct rpc_call *call, const ProtobufCMessage *message)
{
    const Argon__Branch__V1__ListProjectsRequest *request = (const Argon__Branch__V1__ListProjectsRequest *)message;
    Argon__Branch__V1__ListProjectsResponse response = ARGON__BRANCH__V1__LIST_PROJECTS_RESPONSE__INIT;
    struct arena *arena = rpc_call_arena(call);
    struct error err;
    struct page page;
    bool more;
    if (!page_begin(request->page_size, sizeof(struct project_record), sizeof(Argon__Branch__V1__Project), arena, &page, &err))
        goto fail;
    struct project_record *records = page.records;
    Argon__Branch__V1__Project *out = page.messages;
    response.projects = (Argon__Branch__V1__Project **)page.pointers;
    if (!registry_list(service, request->page_token, page.n, convert_deadline(call), arena, records, &response.n_projects, &more,
                       &response.lsn, &err))
        goto fail;
    for (size_t i = 0; i < response.n_projects; i++) {
        out[i] = (Argon__Branch__V1__Project)ARGON__BRANCH__V1__PROJECT__INIT;
        out[i].id = (char *)records[i].id;
        out[i].name = (char *)records[i].name;
        out[i].created_at = records[i].created_at;
    }
    if (more)
        response.next_page_token = (char *)records[response.n_projects - 1].name;
    rpc_reply(call, &response.base);
    return;
fail:
    rpc_fail(call, &err);
}

static void on_delete(void *service, struct rpc_call *call, const ProtobufCMessage *message)
{
    Argon__Branch__V1__DeleteProjectRequest *request = (Argon__Branch__V1__DeleteProjectRequest *)message;
    Argon__Branch__V1__DeleteProjectResponse response = ARGON__BRANCH__V1__DELETE_PROJECT_RESPONSE__INIT;
    struct write_request write;
    struct error err;
    convert_write(call, "DeleteProject", message, &request->write, rpc_call_arena(call), &write);
    if (registry_delete(service, request->name, &write, &err))
        rpc_reply(call, &response.base);
    else
        rpc_fail(call, &err);
}

static const struct rpc_method methods[] = {
    RPC_UNARY("CreateProject", on_create),
    RPC_UNARY("GetProject", on_get),
    RPC_UNARY("ListProjects", on_list),
    RPC_UNARY("DeleteProject", on_delete),
};

bool projects_rpc_add(struct rpc_server *server, struct registry *registry, struct error *err)
{
    return rpc_server_add(server, &argon__branch__v1__projects__descriptor, methods, ARRAY_LEN(methods), registry, err);
}
