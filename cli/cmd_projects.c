#include <inttypes.h>

#include "cli/command.h"

static void project_fields(const Argon__Branch__V1__Project *project, struct field fields[4])
{
    fields[0] = FIELD_STRING("name", project->name);
    fields[1] = FIELD_STRING("id", project->id);
    fields[2] = FIELD_TIME("created_at", project->created_at);
    fields[3] = FIELD_U64("head_lsn", project->head_lsn);
}

static bool no_project(struct error *err)
{
    return error_set(err, ERROR_INTERNAL, "the service answered without a project");
}

static bool projects_create(struct cli *cli, struct error *err)
{
    Argon__Branch__V1__WriteOptions write;
    if (!connection_begin_write(&cli->connection, NULL, &cli->arena, &write, err))
        return false;
    Argon__Branch__V1__CreateProjectRequest request = ARGON__BRANCH__V1__CREATE_PROJECT_REQUEST__INIT;
    request.name = (char *)cli->args[0];
    request.write = &write;
    ProtobufCMessage *message;
    if (!connection_write(&cli->connection, BRANCH_METHOD("Projects", "CreateProject"), &request.base,
                          &argon__branch__v1__create_project_response__descriptor, &cli->arena, &message, err))
        return false;
    const Argon__Branch__V1__Project *project = ((const Argon__Branch__V1__CreateProjectResponse *)message)->project;
    if (!project)
        return no_project(err);
    struct field fields[4];
    project_fields(project, fields);
    char sentence[256];
    snprintf(sentence, sizeof sentence, "Created project %s (%s) at LSN %" PRIu64 ".", project->name, project->id, project->head_lsn);
    output_result(&cli->out, sentence, fields, ARRAY_LEN(fields));
    return true;
}

static bool projects_get(struct cli *cli, struct error *err)
{
    Argon__Branch__V1__GetProjectRequest request = ARGON__BRANCH__V1__GET_PROJECT_REQUEST__INIT;
    request.name = (char *)cli->args[0];
    ProtobufCMessage *message;
    if (!connection_read(&cli->connection, BRANCH_METHOD("Projects", "GetProject"), &request.base,
                         &argon__branch__v1__get_project_response__descriptor, &cli->arena, &message, err))
        return false;
    const Argon__Branch__V1__Project *project = ((const Argon__Branch__V1__GetProjectResponse *)message)->project;
    if (!project)
        return no_project(err);
    struct field fields[4];
    project_fields(project, fields);
    output_object(&cli->out, fields, ARRAY_LEN(fields));
    return true;
}

static char *print_projects(struct cli *cli, const ProtobufCMessage *message)
{
    const Argon__Branch__V1__ListProjectsResponse *page = (const void *)message;
    for (size_t i = 0; i < page->n_projects; i++) {
        struct field fields[4];
        project_fields(page->projects[i], fields);
        output_list_row(&cli->out, fields, 3); /* lists say nothing of the head */
    }
    return page->next_page_token;
}

static bool projects_list(struct cli *cli, struct error *err)
{
    Argon__Branch__V1__ListProjectsRequest request = ARGON__BRANCH__V1__LIST_PROJECTS_REQUEST__INIT;
    request.page_size = MAX_PAGE_SIZE;
    return cli_print_pages(cli, BRANCH_METHOD("Projects", "ListProjects"), &request.base, &request.page_token,
                           &argon__branch__v1__list_projects_response__descriptor, print_projects, err);
}

static bool projects_delete(struct cli *cli, struct error *err)
{
    const char *name = cli->args[0];
    Argon__Branch__V1__WriteOptions write;
    if (!cli_confirm(cli, err, "Delete project %s with all its branches and documents?", name) ||
        !connection_begin_write(&cli->connection, NULL, &cli->arena, &write, err))
        return false;
    Argon__Branch__V1__DeleteProjectRequest request = ARGON__BRANCH__V1__DELETE_PROJECT_REQUEST__INIT;
    request.name = (char *)name;
    request.write = &write;
    ProtobufCMessage *message;
    if (!connection_write(&cli->connection, BRANCH_METHOD("Projects", "DeleteProject"), &request.base,
                          &argon__branch__v1__delete_project_response__descriptor, &cli->arena, &message, err))
        return false;
    const struct field fields[] = { FIELD_STRING("name", name), FIELD_BOOL("deleted", true) };
    char sentence[256];
    snprintf(sentence, sizeof sentence, "Deleted project %s.", name);
    output_result(&cli->out, sentence, fields, ARRAY_LEN(fields));
    return true;
}

static const struct command commands[] = {
    { "create", "NAME", "Create a project, with the branch main", "argon projects create shop", 1, 1, projects_create, NULL, 0, NULL },
    { "get", "PROJECT", "Show a project and its head LSN", "argon projects get shop -o json", 1, 1, projects_get, NULL, 0, NULL },
    { "list", "", "List all projects", "argon projects list", 0, 0, projects_list, NULL, 0, NULL },
    { "delete", "PROJECT", "Delete a project and all that is in it", "argon projects delete shop --yes", 1, 1, projects_delete, NULL, 0,
      NULL },
};

const struct command_group projects_group = { "projects", "Create, show, list and delete projects", commands, ARRAY_LEN(commands),
                                              GROUP_REMOTE };
