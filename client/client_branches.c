/* Projects and branches. */
#include "client/client_internal.h"

bool argon_create_project(struct argon_client *client, const char *project, struct argon_error *error)
{
    Argon__Branch__V1__CreateProjectRequest request = ARGON__BRANCH__V1__CREATE_PROJECT_REQUEST__INIT;
    if (!project)
        return client_refuse(error, "no project is named");
    request.name = (char *)project;
    client_forget_project(client, project); /* whatever had this name */
    const struct client_call call = { BRANCH_CALL("Projects", "CreateProject", create_project), &request.base, .options = &request.write };
    return client_call(client, &call, error);
}

bool argon_delete_project(struct argon_client *client, const char *project, struct argon_error *error)
{
    Argon__Branch__V1__DeleteProjectRequest request = ARGON__BRANCH__V1__DELETE_PROJECT_REQUEST__INIT;
    if (!project)
        return client_refuse(error, "no project is named");
    request.name = (char *)project;
    const struct client_call call = { BRANCH_CALL("Projects", "DeleteProject", delete_project), &request.base, .options = &request.write };
    bool ok = client_call(client, &call, error);
    client_forget_project(client, project);
    return ok;
}

static void show_branch(const Argon__Branch__V1__Branch *from, struct argon_branch *to)
{
    if (from && to)
        *to = (struct argon_branch) { .base_lsn = from->base_lsn, .cut_lsn = from->cut_lsn, .head_lsn = from->head_lsn };
}

static uint64_t show_created(const ProtobufCMessage *message, void *branch)
{
    const Argon__Branch__V1__CreateBranchResponse *response = (const void *)message;
    show_branch(response->branch, branch);
    return response->lsn;
}

bool argon_create_branch(struct argon_client *client, const char *project, const char *name, const struct argon_fork *fork,
                         struct argon_branch *branch, struct argon_error *error)
{
    Argon__Branch__V1__CreateBranchRequest request = ARGON__BRANCH__V1__CREATE_BRANCH_REQUEST__INIT;
    if (!project || !name)
        return client_refuse(error, "no project or no branch is named");
    request.project = (char *)project;
    request.name = (char *)name;
    if (fork) {
        request.from = (char *)(fork->from ? fork->from : "");
        request.at_lsn = fork->at_lsn;
        request.at_time = fork->at_time_us;
    }
    const struct client_call call = {
        BRANCH_CALL("Branches", "CreateBranch", create_branch), &request.base, project, &request.write, .show = show_created, .out = branch
    };
    return client_call(client, &call, error);
}

static uint64_t show_found(const ProtobufCMessage *message, void *branch)
{
    show_branch(((const Argon__Branch__V1__GetBranchResponse *)message)->branch, branch);
    return 0;
}

bool argon_get_branch(struct argon_client *client, const char *project, const char *name, struct argon_branch *branch,
                      struct argon_error *error)
{
    Argon__Branch__V1__GetBranchRequest request = ARGON__BRANCH__V1__GET_BRANCH_REQUEST__INIT;
    if (!project || !name)
        return client_refuse(error, "no project or no branch is named");
    request.project = (char *)project;
    request.name = (char *)name;
    const struct client_call call = { BRANCH_CALL("Branches", "GetBranch", get_branch), &request.base, .show = show_found, .out = branch };
    return client_call(client, &call, error);
}

static uint64_t show_deleted(const ProtobufCMessage *message, void *nothing)
{
    (void)nothing;
    return ((const Argon__Branch__V1__DeleteBranchResponse *)message)->lsn;
}

bool argon_delete_branch(struct argon_client *client, const char *project, const char *name, struct argon_error *error)
{
    Argon__Branch__V1__DeleteBranchRequest request = ARGON__BRANCH__V1__DELETE_BRANCH_REQUEST__INIT;
    if (!project || !name)
        return client_refuse(error, "no project or no branch is named");
    request.project = (char *)project;
    request.name = (char *)name;
    const struct client_call call = { BRANCH_CALL("Branches", "DeleteBranch", delete_branch), &request.base, project, &request.write,
                                      .show = show_deleted };
    return client_call(client, &call, error);
}
