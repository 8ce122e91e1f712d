#include <inttypes.h>
#include <string.h>

#include "cli/command.h"
#include "cli/when.h"

static struct {
    const char *from;
    uint64_t at_lsn;
    const char *at_time;
    bool show_type;
    bool use_wal;
    bool traditional;
    const char *prefix;
    const char *database;
} options;

enum { BRANCH_FIELDS = 11 };

static const char *state_name(Argon__Branch__V1__BranchState state)
{
    switch (state) {
    case ARGON__BRANCH__V1__BRANCH_STATE__BRANCH_STATE_READY:
        return "ready";
    case ARGON__BRANCH__V1__BRANCH_STATE__BRANCH_STATE_CREATING:
        return "creating";
    case ARGON__BRANCH__V1__BRANCH_STATE__BRANCH_STATE_DELETING:
        return "deleting";
    default:
        return "unknown";
    }
}

/* How many there are: a traditional branch has more. */
static size_t branch_fields(const Argon__Branch__V1__Branch *branch, struct field fields[BRANCH_FIELDS])
{
    fields[0] = FIELD_STRING("name", branch->name);
    fields[1] = FIELD_STRING("id", branch->id);
    fields[2] = FIELD_OPTIONAL("parent", branch->parent);
    fields[3] = FIELD_U64("base_lsn", branch->base_lsn);
    fields[4] = FIELD_U64("cut_lsn", branch->cut_lsn);
    fields[5] = FIELD_U64("head_lsn", branch->head_lsn);
    fields[6] = FIELD_BOOL("use_wal", branch->use_wal);
    fields[7] = FIELD_TIME("created_at", branch->created_at);
    if (branch->use_wal)
        return 8;
    fields[8] = FIELD_STRING("state", state_name(branch->state));
    fields[9] = FIELD_OPTIONAL("database", branch->database);
    fields[10] = FIELD_OPTIONAL("prefix", branch->prefix);
    return BRANCH_FIELDS;
}

static bool no_branch(struct error *err)
{
    return error_set(err, ERROR_INTERNAL, "the service answered without a branch");
}

/* The branch as it is now, with the LSN of the write that made it so. */
static void print_written(struct cli *cli, const char *sentence, const Argon__Branch__V1__Branch *branch, uint64_t lsn)
{
    struct field fields[BRANCH_FIELDS + 1];
    size_t n = branch_fields(branch, fields);
    fields[n++] = FIELD_U64("lsn", lsn);
    output_result(&cli->out, sentence, fields, n);
}

static bool branches_create(struct cli *cli, struct error *err)
{
    Argon__Branch__V1__CreateBranchRequest request = ARGON__BRANCH__V1__CREATE_BRANCH_REQUEST__INIT;
    Argon__Branch__V1__WriteOptions write;
    if (options.use_wal && options.traditional)
        return error_set(err, ERROR_INVALID_ARGUMENT, "--use-wal and --traditional are two kinds of branch: give one of them");
    if (!when_choose(options.at_lsn, options.at_time, &request.at_time, err) || !cli_project(cli, &request.project, err) ||
        !connection_begin_write(&cli->connection, request.project, &cli->arena, &write, err))
        return false;
    request.name = (char *)cli->args[0];
    request.from = (char *)options.from;
    request.at_lsn = options.at_lsn;
    request.write = &write;
    if (options.use_wal)
        request.kind = ARGON__BRANCH__V1__BRANCH_KIND__BRANCH_KIND_WAL;
    if (options.traditional)
        request.kind = ARGON__BRANCH__V1__BRANCH_KIND__BRANCH_KIND_TRADITIONAL;
    ProtobufCMessage *message;
    if (!connection_write(&cli->connection, BRANCH_METHOD("Branches", "CreateBranch"), &request.base,
                          &argon__branch__v1__create_branch_response__descriptor, &cli->arena, &message, err))
        return false;
    const Argon__Branch__V1__CreateBranchResponse *response = (const void *)message;
    if (!response->branch)
        return no_branch(err);
    char sentence[512];
    if (response->branch->use_wal)
        snprintf(sentence, sizeof sentence, "Created branch %s from %s at LSN %" PRIu64 " (write LSN %" PRIu64 ").", response->branch->name,
                 response->branch->parent, response->branch->cut_lsn, response->lsn);
    else
        snprintf(sentence, sizeof sentence, "Created traditional branch %s from %s, a copy with prefix %s in database %s.",
                 response->branch->name, response->branch->parent, response->branch->prefix, response->branch->database);
    print_written(cli, sentence, response->branch, response->lsn);
    return true;
}

static bool branches_adopt(struct cli *cli, struct error *err)
{
    Argon__Branch__V1__AdoptBranchRequest request = ARGON__BRANCH__V1__ADOPT_BRANCH_REQUEST__INIT;
    Argon__Branch__V1__WriteOptions write;
    if (!options.prefix[0])
        return error_set(err, ERROR_INVALID_ARGUMENT, "give --prefix: the first characters of the names of the branch's collections");
    if (!cli_project(cli, &request.project, err) || !connection_begin_write(&cli->connection, request.project, &cli->arena, &write, err))
        return false;
    request.name = (char *)cli->args[0];
    request.prefix = (char *)options.prefix;
    request.database = (char *)options.database;
    request.write = &write;
    ProtobufCMessage *message;
    if (!connection_write(&cli->connection, BRANCH_METHOD("Branches", "AdoptBranch"), &request.base,
                          &argon__branch__v1__adopt_branch_response__descriptor, &cli->arena, &message, err))
        return false;
    const Argon__Branch__V1__AdoptBranchResponse *response = (const void *)message;
    if (!response->branch)
        return no_branch(err);
    char sentence[512];
    snprintf(sentence, sizeof sentence, "Adopted the collections with prefix %s in database %s as branch %s.", response->branch->prefix,
             response->branch->database, response->branch->name);
    print_written(cli, sentence, response->branch, response->lsn);
    return true;
}

static bool branches_get(struct cli *cli, struct error *err)
{
    Argon__Branch__V1__GetBranchRequest request = ARGON__BRANCH__V1__GET_BRANCH_REQUEST__INIT;
    if (!cli_project(cli, &request.project, err))
        return false;
    request.name = (char *)cli->args[0];
    ProtobufCMessage *message;
    if (!connection_read(&cli->connection, BRANCH_METHOD("Branches", "GetBranch"), &request.base,
                         &argon__branch__v1__get_branch_response__descriptor, &cli->arena, &message, err))
        return false;
    const Argon__Branch__V1__Branch *branch = ((const Argon__Branch__V1__GetBranchResponse *)message)->branch;
    if (!branch)
        return no_branch(err);
    struct field fields[BRANCH_FIELDS];
    size_t n = branch_fields(branch, fields);
    output_object(&cli->out, fields, n);
    return true;
}

static bool branches_list(struct cli *cli, struct error *err)
{
    Argon__Branch__V1__ListBranchesRequest request = ARGON__BRANCH__V1__LIST_BRANCHES_REQUEST__INIT;
    if (!cli_project(cli, &request.project, err))
        return false;
    request.page_size = MAX_PAGE_SIZE;
    output_list_begin(&cli->out);
    do {
        ProtobufCMessage *message;
        if (!connection_read(&cli->connection, BRANCH_METHOD("Branches", "ListBranches"), &request.base,
                             &argon__branch__v1__list_branches_response__descriptor, &cli->arena, &message, err))
            return false;
        const Argon__Branch__V1__ListBranchesResponse *page = (const void *)message;
        for (size_t i = 0; i < page->n_branches; i++) {
            const Argon__Branch__V1__Branch *branch = page->branches[i];
            struct field all[BRANCH_FIELDS + 1];
            size_t n = branch_fields(branch, all);
            if (cli->out.format == OUTPUT_TABLE) { /* what fits a line */
                const struct field shown[] = { all[0], all[2], all[5], all[7] };
                memcpy(all, shown, sizeof shown);
                n = ARRAY_LEN(shown);
            }
            if (options.show_type)
                all[n++] = FIELD_STRING("type", branch->use_wal ? "[WAL]" : "[Traditional]");
            output_list_row(&cli->out, all, n);
        }
        request.page_token = page->next_page_token;
    } while (request.page_token[0] && !output_failed(&cli->out));
    output_list_end(&cli->out);
    return true;
}

static bool branches_rename(struct cli *cli, struct error *err)
{
    Argon__Branch__V1__RenameBranchRequest request = ARGON__BRANCH__V1__RENAME_BRANCH_REQUEST__INIT;
    Argon__Branch__V1__WriteOptions write;
    if (!cli_project(cli, &request.project, err) || !connection_begin_write(&cli->connection, request.project, &cli->arena, &write, err))
        return false;
    request.name = (char *)cli->args[0];
    request.new_name = (char *)cli->args[1];
    request.write = &write;
    ProtobufCMessage *message;
    if (!connection_write(&cli->connection, BRANCH_METHOD("Branches", "RenameBranch"), &request.base,
                          &argon__branch__v1__rename_branch_response__descriptor, &cli->arena, &message, err))
        return false;
    const Argon__Branch__V1__RenameBranchResponse *response = (const void *)message;
    if (!response->branch)
        return no_branch(err);
    char sentence[512];
    snprintf(sentence, sizeof sentence, "Renamed branch %s to %s at LSN %" PRIu64 ".", request.name, response->branch->name, response->lsn);
    print_written(cli, sentence, response->branch, response->lsn);
    return true;
}

static bool branches_delete(struct cli *cli, struct error *err)
{
    Argon__Branch__V1__DeleteBranchRequest request = ARGON__BRANCH__V1__DELETE_BRANCH_REQUEST__INIT;
    Argon__Branch__V1__WriteOptions write;
    request.name = (char *)cli->args[0];
    if (!cli_project(cli, &request.project, err) ||
        !cli_confirm(cli, err, "Delete branch %s of project %s?", request.name, request.project) ||
        !connection_begin_write(&cli->connection, request.project, &cli->arena, &write, err))
        return false;
    request.write = &write;
    ProtobufCMessage *message;
    if (!connection_write(&cli->connection, BRANCH_METHOD("Branches", "DeleteBranch"), &request.base,
                          &argon__branch__v1__delete_branch_response__descriptor, &cli->arena, &message, err))
        return false;
    uint64_t lsn = ((const Argon__Branch__V1__DeleteBranchResponse *)message)->lsn;
    const struct field fields[] = { FIELD_STRING("name", request.name), FIELD_BOOL("deleted", true), FIELD_U64("lsn", lsn) };
    char sentence[512];
    snprintf(sentence, sizeof sentence, "Deleted branch %s at LSN %" PRIu64 ".", request.name, lsn);
    output_result(&cli->out, sentence, fields, ARRAY_LEN(fields));
    return true;
}

static const struct config_option create_options[] = {
    { "from", 0, CONFIG_STRING, &options.from, "main", NULL, 0, 0, "BRANCH", "the parent" },
    { "at-lsn", 0, CONFIG_UINT, &options.at_lsn, NULL, NULL, 0, 0, "LSN", "start from the parent's state at this LSN, not from its head" },
    { "at-time", 0, CONFIG_STRING, &options.at_time, NULL, NULL, 0, 0, "TIME", "from its state at this time: " WHEN_HELP },
    { "use-wal", 0, CONFIG_BOOL, &options.use_wal, NULL, NULL, 0, 0, NULL, "in the log, whatever the flags say" },
    { "traditional", 0, CONFIG_BOOL, &options.traditional, NULL, NULL, 0, 0, NULL, "a copy in MongoDB, whatever the flags say" },
};
static const struct config_option adopt_options[] = {
    { "prefix", 0, CONFIG_STRING, &options.prefix, NULL, NULL, 0, 0, "PREFIX",
      "the first characters of the collections' names in MongoDB" },
    { "database", 0, CONFIG_STRING, &options.database, NULL, NULL, 0, 0, "NAME", "where they are; the branch service's own unless given" },
};
static const struct config_option list_options[] = {
    { "show-type", 0, CONFIG_BOOL, &options.show_type, NULL, NULL, 0, 0, NULL, "say of each branch how it is stored" },
};

static const struct command commands[] = {
    { "create", "NAME -p PROJECT", "Create a branch; nothing is copied, unless it is a traditional one",
      "argon branches create dev -p shop --from main --at-lsn 120", 1, 1, branches_create, create_options, ARRAY_LEN(create_options),
      NULL },
    { "adopt", "NAME -p PROJECT --prefix PREFIX", "Make collections that are in MongoDB a traditional branch; they are not touched",
      "argon branches adopt staging -p shop --prefix staging_", 1, 1, branches_adopt, adopt_options, ARRAY_LEN(adopt_options), NULL },
    { "get", "BRANCH -p PROJECT", "Show a branch, where it began and its head LSN", "argon branches get dev -p shop -o json", 1, 1,
      branches_get, NULL, 0, NULL },
    { "list", "-p PROJECT", "List the branches of a project", "argon branches list -p shop --show-type", 0, 0, branches_list, list_options,
      ARRAY_LEN(list_options), NULL },
    { "rename", "BRANCH NEW_NAME -p PROJECT", "Rename a branch", "argon branches rename dev develop -p shop", 2, 2, branches_rename, NULL,
      0, NULL },
    { "delete", "BRANCH -p PROJECT", "Delete a branch, of a traditional one its collections; its children stay",
      "argon branches delete dev -p shop --yes", 1, 1, branches_delete, NULL, 0, NULL },
};

const struct command_group branches_group = { "branches", "Create, adopt, show, list, rename and delete branches", commands,
                                              ARRAY_LEN(commands), GROUP_REMOTE };
