#include <inttypes.h>
#include <string.h>

#include "cli/base_copy.h"
#include "cli/command.h"
#include "cli/when.h"

static struct {
    const char *from;
    uint64_t at_lsn;
    const char *at_time;
    bool show_type;
    bool use_wal;
    bool traditional;
    const char *base;
    const char *prefix;
    const char *database;
} options;

enum { BRANCH_FIELDS = 11, WAL_FIELDS = 8 };

enum { ISOLATION_SIZE = 400 };

/* What a sentence about a copy of a traditional branch ends with. */
static const char *say_isolated(bool isolated, const char *why_not, char text[ISOLATION_SIZE])
{
    if (isolated)
        return ", as it was at one point in time.";
    snprintf(text, ISOLATION_SIZE, "; it is not one point in time: what was written meanwhile may be there in part%s%s%s.",
             why_not[0] ? " (" : "", why_not, why_not[0] ? ")" : "");
    return text;
}

static const char *state_name(Argon__Branch__V1__BranchState state)
{
    switch (state) {
    case ARGON__BRANCH__V1__BRANCH_STATE__BRANCH_STATE_READY:
        return "ready";
    case ARGON__BRANCH__V1__BRANCH_STATE__BRANCH_STATE_CREATING:
        return "creating";
    case ARGON__BRANCH__V1__BRANCH_STATE__BRANCH_STATE_DELETING:
        return "deleting";
    case ARGON__BRANCH__V1__BRANCH_STATE__BRANCH_STATE_MIGRATING:
        return "migrating";
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
    if (branch->use_wal && !branch->base_id[0])
        return WAL_FIELDS;
    if (branch->use_wal) {
        fields[WAL_FIELDS] = FIELD_STRING("base_id", branch->base_id);
        fields[WAL_FIELDS + 1] = FIELD_BOOL("base_isolated", branch->base_isolated);
        return WAL_FIELDS + 2;
    }
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

/* NULL: there is none of that name. */
static bool find_branch(struct cli *cli, char *project, char *name, const Argon__Branch__V1__Branch **branch, struct error *err)
{
    Argon__Branch__V1__GetBranchRequest request = ARGON__BRANCH__V1__GET_BRANCH_REQUEST__INIT;
    ProtobufCMessage *message;
    request.project = project;
    request.name = name;
    *branch = NULL;
    if (connection_read(&cli->connection, BRANCH_METHOD("Branches", "GetBranch"), &request.base,
                        &argon__branch__v1__get_branch_response__descriptor, &cli->arena, &message, err))
        *branch = ((const Argon__Branch__V1__GetBranchResponse *)message)->branch;
    else if (err->code != ERROR_NOT_FOUND)
        return false;
    return true;
}

/* A WAL branch of a traditional parent begins with a copy of it. The service would make that by itself, and nobody would see how
 * far it is. *made: here and now. */
static bool choose_base(struct cli *cli, Argon__Branch__V1__CreateBranchRequest *request, struct base_copied *copied, bool *made,
                        struct error *err)
{
    const Argon__Branch__V1__Branch *parent, *there;
    *made = false;
    if (!options.use_wal || options.base[0] || request->at_lsn || request->at_time)
        return true;
    if (!find_branch(cli, request->project, request->from, &parent, err))
        return false;
    if (!parent || parent->use_wal)
        return true;
    if (!find_branch(cli, request->project, request->name, &there, err))
        return false;
    if (there) { /* the same request once more, or a refusal */
        request->base_id = there->base_id;
        return true;
    }
    if (!base_copy(cli, request->project, request->from, copied, err))
        return false;
    request->base_id = copied->id;
    *made = true;
    return true;
}

static bool send_create(struct cli *cli, Argon__Branch__V1__CreateBranchRequest *request,
                        const Argon__Branch__V1__CreateBranchResponse **response, struct error *err)
{
    Argon__Branch__V1__WriteOptions write;
    ProtobufCMessage *message;
    if (!connection_begin_write(&cli->connection, request->project, &cli->arena, &write, err))
        return false;
    request->write = &write;
    if (!connection_write(&cli->connection, BRANCH_METHOD("Branches", "CreateBranch"), &request->base,
                          &argon__branch__v1__create_branch_response__descriptor, &cli->arena, &message, err))
        return false;
    *response = (const void *)message;
    return (*response)->branch || no_branch(err);
}

/* What was copied for a branch that there is not: nobody else knows of it. */
static bool give_up_base(struct cli *cli, char *project, struct base_copied *copied, struct error *err)
{
    struct error why;
    if (cli->connection.unresolved)
        return error_wrap(err, "the parent is copied: repeat with --base %s", copied->id);
    if (!base_discard(cli, project, copied->id, &why))
        fprintf(stderr, "argon: base %s is left over: %s\n", copied->id, why.message);
    return false;
}

static bool branches_create(struct cli *cli, struct error *err)
{
    Argon__Branch__V1__CreateBranchRequest request = ARGON__BRANCH__V1__CREATE_BRANCH_REQUEST__INIT;
    const Argon__Branch__V1__CreateBranchResponse *response;
    struct base_copied copied;
    bool made;
    if (options.use_wal && options.traditional)
        return error_set(err, ERROR_INVALID_ARGUMENT, "--use-wal and --traditional are two kinds of branch: give one of them");
    if (!when_choose(options.at_lsn, options.at_time, &request.at_time, err) || !cli_project(cli, &request.project, err))
        return false;
    request.name = (char *)cli->args[0];
    request.from = (char *)options.from;
    request.at_lsn = options.at_lsn;
    request.base_id = (char *)options.base;
    if (options.use_wal)
        request.kind = ARGON__BRANCH__V1__BRANCH_KIND__BRANCH_KIND_WAL;
    if (options.traditional)
        request.kind = ARGON__BRANCH__V1__BRANCH_KIND__BRANCH_KIND_TRADITIONAL;
    if (!choose_base(cli, &request, &copied, &made, err))
        return false;
    if (!send_create(cli, &request, &response, err))
        return made ? give_up_base(cli, request.project, &copied, err) : false;
    const Argon__Branch__V1__Branch *branch = response->branch;
    char sentence[1024], isolation[ISOLATION_SIZE];
    if (!branch->use_wal)
        snprintf(sentence, sizeof sentence, "Created traditional branch %s from %s, a copy with prefix %s in database %s.", branch->name,
                 branch->parent, branch->prefix, branch->database);
    else if (branch->base_id[0])
        snprintf(sentence, sizeof sentence, "Created branch %s from base %s of %s at LSN %" PRIu64 " (write LSN %" PRIu64 ")%s",
                 branch->name, branch->base_id, branch->parent, branch->cut_lsn, response->lsn,
                 say_isolated(branch->base_isolated, made ? copied.why_not : "", isolation));
    else
        snprintf(sentence, sizeof sentence, "Created branch %s from %s at LSN %" PRIu64 " (write LSN %" PRIu64 ").", branch->name,
                 branch->parent, branch->cut_lsn, response->lsn);
    print_written(cli, sentence, branch, response->lsn);
    return true;
}

static bool branches_copy_base(struct cli *cli, struct error *err)
{
    struct base_copied copied;
    char *project, *branch = (char *)cli->args[0];
    if (!cli_project(cli, &project, err) || !base_copy(cli, project, branch, &copied, err))
        return false;
    const struct field fields[] = { FIELD_STRING("base_id", copied.id), FIELD_STRING("branch", branch),
                                    FIELD_BOOL("isolated", copied.isolated), FIELD_OPTIONAL("why_not", copied.why_not) };
    char sentence[1024], isolation[ISOLATION_SIZE];
    snprintf(sentence, sizeof sentence, "Copied branch %s to base %s%s", branch, copied.id,
             say_isolated(copied.isolated, copied.why_not, isolation));
    output_result(&cli->out, sentence, fields, ARRAY_LEN(fields));
    return true;
}

static bool branches_delete_base(struct cli *cli, struct error *err)
{
    char *project, *base_id = (char *)cli->args[0];
    uint64_t lsn;
    if (!cli_project(cli, &project, err) || !cli_confirm(cli, err, "Delete base %s of project %s?", base_id, project) ||
        !base_delete(cli, project, base_id, &lsn, err))
        return false;
    const struct field fields[] = { FIELD_STRING("base_id", base_id), FIELD_BOOL("deleted", true), FIELD_U64("lsn", lsn) };
    char sentence[512];
    snprintf(sentence, sizeof sentence, "Deleted base %s at LSN %" PRIu64 ".", base_id, lsn);
    output_result(&cli->out, sentence, fields, ARRAY_LEN(fields));
    return true;
}

static char *print_bases(struct cli *cli, const ProtobufCMessage *message)
{
    const Argon__Branch__V1__ListBasesResponse *page = (const void *)message;
    for (size_t i = 0; i < page->n_bases; i++) {
        const Argon__Branch__V1__Base *base = page->bases[i];
        const struct field fields[] = { FIELD_STRING("base_id", base->id), FIELD_STRING("branch_id", base->branch_id),
                                        FIELD_BOOL("complete", base->complete), FIELD_BOOL("isolated", base->isolated),
                                        FIELD_TIME("created_at", base->created_at) };
        output_list_row(&cli->out, fields, ARRAY_LEN(fields));
    }
    return page->next_page_token;
}

static bool branches_bases(struct cli *cli, struct error *err)
{
    Argon__Branch__V1__ListBasesRequest request = ARGON__BRANCH__V1__LIST_BASES_REQUEST__INIT;
    if (!cli_project(cli, &request.project, err))
        return false;
    request.page_size = MAX_PAGE_SIZE;
    return cli_print_pages(cli, BRANCH_METHOD("Branches", "ListBases"), &request.base, &request.page_token,
                           &argon__branch__v1__list_bases_response__descriptor, print_bases, err);
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

static char *print_branches(struct cli *cli, const ProtobufCMessage *message)
{
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
    return page->next_page_token;
}

static bool branches_list(struct cli *cli, struct error *err)
{
    Argon__Branch__V1__ListBranchesRequest request = ARGON__BRANCH__V1__LIST_BRANCHES_REQUEST__INIT;
    if (!cli_project(cli, &request.project, err))
        return false;
    request.page_size = MAX_PAGE_SIZE;
    return cli_print_pages(cli, BRANCH_METHOD("Branches", "ListBranches"), &request.base, &request.page_token,
                           &argon__branch__v1__list_branches_response__descriptor, print_branches, err);
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
    { "at-lsn", 0, CONFIG_UINT, &options.at_lsn, NULL, NULL, 1, 0, "LSN", "start from the parent's state at this LSN, not from its head" },
    { "at-time", 0, CONFIG_STRING, &options.at_time, NULL, NULL, 0, 0, "TIME", "from its state at this time: " WHEN_HELP },
    { "use-wal", 0, CONFIG_BOOL, &options.use_wal, NULL, NULL, 0, 0, NULL, "in the log, whatever the flags say" },
    { "base", 0, CONFIG_STRING, &options.base, NULL, NULL, 0, 0, "ID",
      "of a traditional parent: begin with this copy of it (see copy-base); a new one is made unless given" },
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
    { "copy-base", "BRANCH -p PROJECT", "Copy a traditional branch onto the log, for WAL branches to begin with; it is not touched",
      "argon branches copy-base staging -p shop", 1, 1, branches_copy_base, NULL, 0, NULL },
    { "bases", "-p PROJECT", "List the copies of traditional branches that WAL branches begin with", "argon branches bases -p shop", 0, 0,
      branches_bases, NULL, 0, NULL },
    { "delete-base", "BASE_ID -p PROJECT", "Delete such a copy, complete or not; branches that begin with it stay",
      "argon branches delete-base 6a0c41f2e9b7d5830c1f4e26 -p shop --yes", 1, 1, branches_delete_base, NULL, 0, NULL },
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
