#include <string.h>

#include "cli/command.h"
#include "cli/completion.h"
#include "cli/context.h"

static bool completion_bash(struct cli *cli, struct error *err)
{
    (void)err;
    completion_print_bash(cli->out.file);
    return true;
}

static bool completion_zsh(struct cli *cli, struct error *err)
{
    (void)err;
    completion_print_zsh(cli->out.file);
    return true;
}

/* ---- names ------------------------------------------------------------------------------------------------ */

/* One page is enough to choose from. */
static bool read_names(struct cli *cli, const char *method, const ProtobufCMessage *request, const ProtobufCMessageDescriptor *type,
                       ProtobufCMessage **message, struct error *err)
{
    return connection_read(&cli->connection, method, request, type, &cli->arena, message, err);
}

static bool print_projects(struct cli *cli, struct error *err)
{
    Argon__Branch__V1__ListProjectsRequest request = ARGON__BRANCH__V1__LIST_PROJECTS_REQUEST__INIT;
    ProtobufCMessage *message;
    request.page_size = MAX_PAGE_SIZE;
    if (!read_names(cli, BRANCH_METHOD("Projects", "ListProjects"), &request.base, &argon__branch__v1__list_projects_response__descriptor,
                    &message, err))
        return false;
    const Argon__Branch__V1__ListProjectsResponse *page = (const void *)message;
    for (size_t i = 0; i < page->n_projects; i++)
        output_list_line(&cli->out, page->projects[i]->name);
    return true;
}

static bool print_branches(struct cli *cli, struct error *err)
{
    Argon__Branch__V1__ListBranchesRequest request = ARGON__BRANCH__V1__LIST_BRANCHES_REQUEST__INIT;
    ProtobufCMessage *message;
    request.page_size = MAX_PAGE_SIZE;
    if (!cli_project(cli, &request.project, err) || !read_names(cli, BRANCH_METHOD("Branches", "ListBranches"), &request.base,
                                                                &argon__branch__v1__list_branches_response__descriptor, &message, err))
        return false;
    const Argon__Branch__V1__ListBranchesResponse *page = (const void *)message;
    for (size_t i = 0; i < page->n_branches; i++)
        output_list_line(&cli->out, page->branches[i]->name);
    return true;
}

static bool print_collections(struct cli *cli, struct error *err)
{
    Argon__Branch__V1__ListCollectionsRequest request = ARGON__BRANCH__V1__LIST_COLLECTIONS_REQUEST__INIT;
    ProtobufCMessage *message;
    request.page_size = MAX_PAGE_SIZE;
    request.branch = (char *)cli->options->branch;
    if (!cli_project(cli, &request.project, err) || !read_names(cli, BRANCH_METHOD("Collections", "ListCollections"), &request.base,
                                                                &argon__branch__v1__list_collections_response__descriptor, &message, err))
        return false;
    const Argon__Branch__V1__ListCollectionsResponse *page = (const void *)message;
    for (size_t i = 0; i < page->n_collections; i++)
        output_list_line(&cli->out, page->collections[i]->name);
    return true;
}

static bool print_keys(struct cli *cli, struct error *err)
{
    (void)err;
    for (size_t i = 0; i < CONTEXT_KEYS; i++)
        output_list_line(&cli->out, context_keys[i]);
    return true;
}

static bool completion_names(struct cli *cli, struct error *err)
{
    static const struct {
        const char *kind;
        bool is_local;
        bool (*print)(struct cli *cli, struct error *err);
    } kinds[] = {
        { "PROJECT", false, print_projects },
        { "BRANCH", false, print_branches },
        { "COLLECTION", false, print_collections },
        { "KEY", true, print_keys },
    };
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++)
        if (strcmp(cli->args[0], kinds[i].kind) == 0)
            return (kinds[i].is_local || connection_open(&cli->connection, cli->options, err)) && kinds[i].print(cli, err);
    return error_set(err, ERROR_INVALID_ARGUMENT, "'%s' is none of PROJECT, BRANCH, COLLECTION, KEY", cli->args[0]);
}

static const struct command commands[] = {
    { "bash", "", "Print the completion script for bash", "argon completion bash >> ~/.bashrc", 0, 0, completion_bash, NULL, 0, NULL },
    { "zsh", "", "Print the completion script for zsh", "argon completion zsh >> ~/.zshrc", 0, 0, completion_zsh, NULL, 0, NULL },
    { "names", "PROJECT|BRANCH|COLLECTION|KEY", "Print the names there are, one a line; the scripts ask for them",
      "argon completion names BRANCH -p shop", 1, 1, completion_names, NULL, 0, NULL },
};

const struct command_group completion_group = { "completion", "Complete commands, options and names in a shell", commands,
                                                ARRAY_LEN(commands), GROUP_LOCAL };
