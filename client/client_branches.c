/* Projects and branches. */
#include "client/client_internal.h"

static void show_branch(const Argon__Branch__V1__Branch *from, struct argon_branch *to)
{
    if (from && to)
        *to = (struct argon_branch) { .base_lsn = from->base_lsn, .cut_lsn = from->cut_lsn, .head_lsn = from->head_lsn };
}

bool argon_create_project(struct argon_client *client, const char *project, struct argon_error *error)
{
    Argon__Branch__V1__CreateProjectRequest request = ARGON__BRANCH__V1__CREATE_PROJECT_REQUEST__INIT;
    struct client_write write;
    if (!project)
        return client_refuse(error, "no project is named");
    if (!client_begin_write(client, NULL, &write, error))
        return false;
    request.name = (char *)project;
    request.write = &write.options;
    const struct client_call call = { BRANCH_METHOD("Projects", "CreateProject"), &request.base,
                                      &argon__branch__v1__create_project_response__descriptor };
    struct arena arena;
    ProtobufCMessage *message;
    arena_init(&arena, 0);
    client_forget_project(client, project); /* whatever had this name */
    bool ok = client_call(client, &call, &arena, &message, error);
    arena_destroy(&arena);
    return ok;
}

bool argon_delete_project(struct argon_client *client, const char *project, struct argon_error *error)
{
    Argon__Branch__V1__DeleteProjectRequest request = ARGON__BRANCH__V1__DELETE_PROJECT_REQUEST__INIT;
    struct client_write write;
    if (!project)
        return client_refuse(error, "no project is named");
    if (!client_begin_write(client, NULL, &write, error))
        return false;
    request.name = (char *)project;
    request.write = &write.options;
    const struct client_call call = { BRANCH_METHOD("Projects", "DeleteProject"), &request.base,
                                      &argon__branch__v1__delete_project_response__descriptor };
    struct arena arena;
    ProtobufCMessage *message;
    arena_init(&arena, 0);
    bool ok = client_call(client, &call, &arena, &message, error);
    arena_destroy(&arena);
    client_forget_project(client, project);
    return ok;
}

bool argon_create_branch(struct argon_client *client, const char *project, const char *name, const struct argon_fork *fork,
                         struct argon_branch *branch, struct argon_error *error)
{
    Argon__Branch__V1__CreateBranchRequest request = ARGON__BRANCH__V1__CREATE_BRANCH_REQUEST__INIT;
    struct client_write write;
    if (!project || !name)
        return client_refuse(error, "no project or no branch is named");
    if (!client_begin_write(client, project, &write, error))
        return false;
    request.project = (char *)project;
    request.name = (char *)name;
    if (fork) {
        request.from = (char *)(fork->from ? fork->from : "");
        request.at_lsn = fork->at_lsn;
        request.at_time = fork->at_time_us;
    }
    request.write = &write.options;
    const struct client_call call = { BRANCH_METHOD("Branches", "CreateBranch"), &request.base,
                                      &argon__branch__v1__create_branch_response__descriptor };
    struct arena arena;
    ProtobufCMessage *message;
    arena_init(&arena, 0);
    bool ok = client_call(client, &call, &arena, &message, error);
    if (ok) {
        const Argon__Branch__V1__CreateBranchResponse *response = (const void *)message;
        client_saw_lsn(client, project, response->lsn);
        show_branch(response->branch, branch);
    }
    arena_destroy(&arena);
    return ok;
}

bool argon_get_branch(struct argon_client *client, const char *project, const char *name, struct argon_branch *branch,
                      struct argon_error *error)
{
    Argon__Branch__V1__GetBranchRequest request = ARGON__BRANCH__V1__GET_BRANCH_REQUEST__INIT;
    if (!project || !name)
        return client_refuse(error, "no project or no branch is named");
    request.project = (char *)project;
    request.name = (char *)name;
    const struct client_call call = { BRANCH_METHOD("Branches", "GetBranch"), &request.base,
                                      &argon__branch__v1__get_branch_response__descriptor };
    struct arena arena;
    ProtobufCMessage *message;
    arena_init(&arena, 0);
    bool ok = client_call(client, &call, &arena, &message, error);
    if (ok)
        show_branch(((const Argon__Branch__V1__GetBranchResponse *)message)->branch, branch);
    arena_destroy(&arena);
    return ok;
}

bool argon_delete_branch(struct argon_client *client, const char *project, const char *name, struct argon_error *error)
{
    Argon__Branch__V1__DeleteBranchRequest request = ARGON__BRANCH__V1__DELETE_BRANCH_REQUEST__INIT;
    struct client_write write;
    if (!project || !name)
        return client_refuse(error, "no project or no branch is named");
    if (!client_begin_write(client, project, &write, error))
        return false;
    request.project = (char *)project;
    request.name = (char *)name;
    request.write = &write.options;
    const struct client_call call = { BRANCH_METHOD("Branches", "DeleteBranch"), &request.base,
                                      &argon__branch__v1__delete_branch_response__descriptor };
    struct arena arena;
    ProtobufCMessage *message;
    arena_init(&arena, 0);
    bool ok = client_call(client, &call, &arena, &message, error);
    if (ok)
        client_saw_lsn(client, project, ((const Argon__Branch__V1__DeleteBranchResponse *)message)->lsn);
    arena_destroy(&arena);
    return ok;
}
