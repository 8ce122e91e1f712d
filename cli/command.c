#include "cli/command.h"

#include <stdarg.h>
#include <string.h>
#include <unistd.h>

#include "common/bson/ejson.h"
#include "common/bson/element.h"

bool cli_project(const struct cli *cli, char **project, struct error *err)
{
    if (!cli->options->project[0])
        return error_set(err, ERROR_INVALID_ARGUMENT,
                         "which project? Say -p PROJECT, set ARGON_PROJECT, or: argon context set project=PROJECT");
    *project = (char *)cli->options->project;
    return true;
}

bool cli_target(const struct cli *cli, const char *collection, Argon__Branch__V1__Target *target, struct error *err)
{
    Argon__Branch__V1__Target filled = ARGON__BRANCH__V1__TARGET__INIT;
    if (!cli_project(cli, &filled.project, err))
        return false;
    if (!cli->options->branch[0])
        return error_set(err, ERROR_INVALID_ARGUMENT, "the name of the branch is empty");
    filled.branch = (char *)cli->options->branch;
    filled.collection = (char *)collection;
    *target = filled;
    return true;
}

bool cli_document(struct cli *cli, const char *what, const char *json, Argon__Branch__V1__Document *document, struct error *err)
{
    bson_t bson;
    if (!ejson_parse(bytes_of_string(json), &bson, err))
        return error_wrap(err, "%s", what);
    uint8_t *copy = arena_copy(&cli->arena, bson_get_data(&bson), bson.len);
    if (!copy) {
        bson_destroy(&bson);
        return error_set(err, ERROR_RESOURCE_EXHAUSTED, "%s: no memory for %u bytes", what, bson.len);
    }
    *document = (Argon__Branch__V1__Document)ARGON__BRANCH__V1__DOCUMENT__INIT;
    document->bson.data = copy;
    document->bson.len = bson.len;
    bson_destroy(&bson);
    return true;
}

/* The text as the one field of an object: only objects are parsed. */
static bool parse_array(const char *json, bson_t *bson, struct error *err)
{
    struct buffer text = { 0 };
    buffer_append(&text, "{\"\":", 4);
    buffer_append(&text, json, strlen(json));
    buffer_append_u8(&text, '}');
    bool ok = !text.failed || error_out_of_memory(err);
    ok = ok && ejson_parse(buffer_bytes(&text), bson, err);
    buffer_destroy(&text);
    return ok;
}

bool cli_documents(struct cli *cli, const char *what, const char *json, Argon__Branch__V1__Document ***documents, size_t *n,
                   struct error *err)
{
    struct element_reader reader;
    struct element array, e;
    bson_t bson;
    size_t count = 0;
    if (json[strspn(json, " \t\r\n")] != '[')
        return error_set(err, ERROR_INVALID_ARGUMENT, "%s: an array of documents begins with '['", what);
    if (!parse_array(json, &bson, err))
        return error_wrap(err, "%s", what);
    const uint8_t *copy = arena_copy(&cli->arena, bson_get_data(&bson), bson.len);
    struct bytes whole = bytes_of(copy, bson.len);
    bson_destroy(&bson);
    if (!copy)
        return error_out_of_memory(err);
    element_reader_init(&reader, whole);
    if (!element_next(&reader, &array) || array.type != BSON_TYPE_ARRAY || element_next(&reader, &e))
        return error_set(err, ERROR_INVALID_ARGUMENT, "%s: this is no array", what);
    for (element_reader_init(&reader, array.value); element_next(&reader, &e);)
        count++;
    Argon__Branch__V1__Document *items = arena_alloc(&cli->arena, count * sizeof *items);
    Argon__Branch__V1__Document **pointers = arena_alloc(&cli->arena, count * sizeof *pointers);
    if (!items || !pointers)
        return error_out_of_memory(err);
    size_t i = 0;
    for (element_reader_init(&reader, array.value); element_next(&reader, &e); i++) {
        if (e.type != BSON_TYPE_DOCUMENT)
            return error_set(err, ERROR_INVALID_ARGUMENT, "%s: item %zu is no document", what, i);
        items[i] = (Argon__Branch__V1__Document)ARGON__BRANCH__V1__DOCUMENT__INIT;
        items[i].bson.data = (uint8_t *)e.value.data;
        items[i].bson.len = e.value.len;
        pointers[i] = &items[i];
    }
    *documents = pointers;
    *n = count;
    return true;
}

bool cli_check_update(const Argon__Branch__V1__Document *update, bool is_pipeline, size_t n_stages, const char *instead, struct error *err)
{
    struct element_reader reader;
    struct element first;
    if (is_pipeline)
        return n_stages > 0 || error_set(err, ERROR_INVALID_ARGUMENT, "the pipeline has no stages");
    element_reader_init(&reader, bytes_of(update->bson.data, update->bson.len));
    if (element_next(&reader, &first) && element_name_is_operator(&first))
        return true;
    return error_set(err, ERROR_INVALID_ARGUMENT, "it has no operators such as $set; to replace a whole document there is %s", instead);
}

bool cli_hint(struct cli *cli, const char *text, Argon__Branch__V1__QueryOptions *options, struct error *err)
{
    if (text[strspn(text, " \t\r\n")] != '{') {
        options->hint = (char *)text;
        return true;
    }
    options->hint_keys = arena_alloc(&cli->arena, sizeof *options->hint_keys);
    if (!options->hint_keys)
        return error_out_of_memory(err);
    return cli_document(cli, "--hint", text, options->hint_keys, err);
}

bool cli_refuse_request_id(const struct cli *cli, struct error *err)
{
    if (cli->options->request_id[0] || cli->options->since_lsn)
        return error_set(err, ERROR_INVALID_ARGUMENT, "%s: this command makes many writes, and chooses their ids by itself",
                         cli->options->request_id[0] ? "--request-id" : "--since-lsn");
    return true;
}

static bool list_one_collection(struct cli *cli, const char *project, const char *branch, bool stale_ok, struct error *err)
{
    Argon__Branch__V1__ListCollectionsRequest request = ARGON__BRANCH__V1__LIST_COLLECTIONS_REQUEST__INIT;
    Argon__Branch__V1__ReadOptions read = ARGON__BRANCH__V1__READ_OPTIONS__INIT;
    ProtobufCMessage *message;
    request.project = (char *)project;
    request.branch = (char *)branch;
    request.read = &read;
    request.page_size = 1;
    read.stale_ok = stale_ok;
    read.min_lsn = cli->options->min_lsn;
    return connection_read(&cli->connection, BRANCH_METHOD("Collections", "ListCollections"), &request.base,
                           &argon__branch__v1__list_collections_response__descriptor, &cli->arena, &message, err);
}

bool cli_reach_branch(struct cli *cli, const char *project, const char *branch, bool stale_ok, struct error *err)
{
    if (stale_ok || cli->options->min_lsn)
        return list_one_collection(cli, project, branch, stale_ok, err);
    Argon__Branch__V1__GetBranchRequest request = ARGON__BRANCH__V1__GET_BRANCH_REQUEST__INIT;
    request.project = (char *)project;
    request.name = (char *)branch;
    ProtobufCMessage *message;
    return connection_read(&cli->connection, BRANCH_METHOD("Branches", "GetBranch"), &request.base,
                           &argon__branch__v1__get_branch_response__descriptor, &cli->arena, &message, err);
}

bool cli_find_ids(struct cli *cli, const char **project_id, const char **branch_id, bool *traditional, struct error *err)
{
    Argon__Branch__V1__GetProjectRequest project = ARGON__BRANCH__V1__GET_PROJECT_REQUEST__INIT;
    Argon__Branch__V1__GetBranchRequest branch = ARGON__BRANCH__V1__GET_BRANCH_REQUEST__INIT;
    ProtobufCMessage *of_project, *of_branch;
    project.name = branch.project = (char *)cli->options->project;
    branch.name = (char *)cli->options->branch;
    if (!connection_read(&cli->connection, BRANCH_METHOD("Projects", "GetProject"), &project.base,
                         &argon__branch__v1__get_project_response__descriptor, &cli->arena, &of_project, err) ||
        !connection_read(&cli->connection, BRANCH_METHOD("Branches", "GetBranch"), &branch.base,
                         &argon__branch__v1__get_branch_response__descriptor, &cli->arena, &of_branch, err))
        return false;
    const Argon__Branch__V1__GetProjectResponse *found_project = (const void *)of_project;
    const Argon__Branch__V1__GetBranchResponse *found_branch = (const void *)of_branch;
    if (!found_project->project || !found_branch->branch)
        return error_set(err, ERROR_INTERNAL, "the service answered without a project or branch");
    *project_id = found_project->project->id;
    *branch_id = found_branch->branch->id;
    *traditional = found_branch->branch->kind == ARGON__BRANCH__V1__BRANCH_KIND__BRANCH_KIND_TRADITIONAL;
    return true;
}

bool cli_print_pages(struct cli *cli, const char *method, const ProtobufCMessage *request, char **page_token,
                     const ProtobufCMessageDescriptor *response_type, cli_page_fn *print, struct error *err)
{
    output_list_begin(&cli->out);
    do {
        ProtobufCMessage *page;
        if (!connection_read(&cli->connection, method, request, response_type, &cli->arena, &page, err))
            return false;
        *page_token = print(cli, page);
    } while ((*page_token)[0] && !output_failed(&cli->out));
    output_list_end(&cli->out);
    return true;
}

bool cli_confirm(const struct cli *cli, struct error *err, const char *question, ...)
{
    if (cli->options->yes)
        return true;
    char text[640];
    va_list args;
    va_start(args, question);
    vsnprintf(text, sizeof text, question, args);
    va_end(args);
    if (!isatty(STDIN_FILENO))
        return error_set(err, ERROR_INVALID_ARGUMENT, "say --yes, for nobody can be asked where standard input is no terminal: %.150s",
                         text);
    fprintf(stderr, "%s [y/N] ", text);
    char answer[16] = "";
    if (fgets(answer, sizeof answer, stdin) && (strcmp(answer, "y\n") == 0 || strcmp(answer, "yes\n") == 0))
        return true;
    return error_set(err, ERROR_CANCELLED, "nothing was deleted");
}
