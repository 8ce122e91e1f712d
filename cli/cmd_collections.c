#include <inttypes.h>
#include <string.h>

#include "cli/command.h"
#include "cli/read_state.h"

static bool collections_list(struct cli *cli, struct error *err)
{
    Argon__Branch__V1__ListCollectionsRequest request = ARGON__BRANCH__V1__LIST_COLLECTIONS_REQUEST__INIT;
    Argon__Branch__V1__ReadOptions read;
    if (!cli_project(cli, &request.project, err) || !read_state_fill(cli, &read, err))
        return false;
    request.branch = (char *)cli->options->branch;
    request.read = &read;
    request.page_size = MAX_PAGE_SIZE;
    output_list_begin(&cli->out);
    do {
        ProtobufCMessage *message;
        if (!connection_read(&cli->connection, BRANCH_METHOD("Collections", "ListCollections"), &request.base,
                             &argon__branch__v1__list_collections_response__descriptor, &cli->arena, &message, err))
            return false;
        const Argon__Branch__V1__ListCollectionsResponse *page = (const void *)message;
        for (size_t i = 0; i < page->n_collections; i++) {
            const Argon__Branch__V1__Collection *collection = page->collections[i];
            const struct field fields[] = { FIELD_STRING("name", collection->name), FIELD_STRING("id", collection->id),
                                            FIELD_TIME("created_at", collection->created_at) };
            output_list_row(&cli->out, fields, ARRAY_LEN(fields));
        }
        request.page_token = page->next_page_token;
        read = (Argon__Branch__V1__ReadOptions)ARGON__BRANCH__V1__READ_OPTIONS__INIT;
        read.as_of_lsn = page->lsn; /* all pages of one state */
    } while (request.page_token[0] && !output_failed(&cli->out));
    output_list_end(&cli->out);
    return true;
}

static bool collections_create(struct cli *cli, struct error *err)
{
    Argon__Branch__V1__CreateCollectionRequest request = ARGON__BRANCH__V1__CREATE_COLLECTION_REQUEST__INIT;
    Argon__Branch__V1__Target target;
    Argon__Branch__V1__WriteOptions write;
    if (!cli_target(cli, cli->args[0], &target, err) || !connection_begin_write(&cli->connection, target.project, &cli->arena, &write, err))
        return false;
    request.target = &target;
    request.write = &write;
    ProtobufCMessage *message;
    if (!connection_write(&cli->connection, BRANCH_METHOD("Collections", "CreateCollection"), &request.base,
                          &argon__branch__v1__create_collection_response__descriptor, &cli->arena, &message, err))
        return false;
    const Argon__Branch__V1__CreateCollectionResponse *response = (const void *)message;
    const struct field fields[] = { FIELD_STRING("name", target.collection),
                                    FIELD_OPTIONAL("id", response->collection ? response->collection->id : ""),
                                    FIELD_U64("lsn", response->lsn) };
    char sentence[512];
    snprintf(sentence, sizeof sentence, "Created collection %s at LSN %" PRIu64 ".", target.collection, response->lsn);
    output_result(&cli->out, sentence, fields, ARRAY_LEN(fields));
    return true;
}

static bool collections_rename(struct cli *cli, struct error *err)
{
    Argon__Branch__V1__RenameCollectionRequest request = ARGON__BRANCH__V1__RENAME_COLLECTION_REQUEST__INIT;
    Argon__Branch__V1__Target target;
    Argon__Branch__V1__WriteOptions write;
    if (!cli_target(cli, cli->args[0], &target, err) || !connection_begin_write(&cli->connection, target.project, &cli->arena, &write, err))
        return false;
    request.target = &target;
    request.new_name = (char *)cli->args[1];
    request.write = &write;
    ProtobufCMessage *message;
    if (!connection_write(&cli->connection, BRANCH_METHOD("Collections", "RenameCollection"), &request.base,
                          &argon__branch__v1__rename_collection_response__descriptor, &cli->arena, &message, err))
        return false;
    uint64_t lsn = ((const Argon__Branch__V1__RenameCollectionResponse *)message)->lsn;
    const struct field fields[] = { FIELD_STRING("name", request.new_name), FIELD_U64("lsn", lsn) };
    char sentence[512];
    snprintf(sentence, sizeof sentence, "Renamed collection %s to %s at LSN %" PRIu64 ".", target.collection, request.new_name, lsn);
    output_result(&cli->out, sentence, fields, ARRAY_LEN(fields));
    return true;
}

static bool collections_drop(struct cli *cli, struct error *err)
{
    Argon__Branch__V1__DropCollectionRequest request = ARGON__BRANCH__V1__DROP_COLLECTION_REQUEST__INIT;
    Argon__Branch__V1__Target target;
    Argon__Branch__V1__WriteOptions write;
    if (!cli_target(cli, cli->args[0], &target, err) ||
        !cli_confirm(cli, err, "Drop collection %s of branch %s in project %s?", target.collection, target.branch, target.project) ||
        !connection_begin_write(&cli->connection, target.project, &cli->arena, &write, err))
        return false;
    request.target = &target;
    request.write = &write;
    ProtobufCMessage *message;
    if (!connection_write(&cli->connection, BRANCH_METHOD("Collections", "DropCollection"), &request.base,
                          &argon__branch__v1__drop_collection_response__descriptor, &cli->arena, &message, err))
        return false;
    uint64_t lsn = ((const Argon__Branch__V1__DropCollectionResponse *)message)->lsn;
    const struct field fields[] = { FIELD_STRING("name", target.collection), FIELD_BOOL("dropped", true), FIELD_U64("lsn", lsn) };
    char sentence[512];
    snprintf(sentence, sizeof sentence, "Dropped collection %s at LSN %" PRIu64 ".", target.collection, lsn);
    output_result(&cli->out, sentence, fields, ARRAY_LEN(fields));
    return true;
}

/* As the branch has it. */
static bool find_collection(struct cli *cli, const char *name, const Argon__Branch__V1__Collection **found, struct error *err)
{
    Argon__Branch__V1__ListCollectionsRequest request = ARGON__BRANCH__V1__LIST_COLLECTIONS_REQUEST__INIT;
    Argon__Branch__V1__ReadOptions read;
    if (!cli_project(cli, &request.project, err) || !read_state_fill(cli, &read, err))
        return false;
    request.branch = (char *)cli->options->branch;
    request.read = &read;
    request.page_size = MAX_PAGE_SIZE;
    do {
        ProtobufCMessage *message;
        if (!connection_read(&cli->connection, BRANCH_METHOD("Collections", "ListCollections"), &request.base,
                             &argon__branch__v1__list_collections_response__descriptor, &cli->arena, &message, err))
            return false;
        const Argon__Branch__V1__ListCollectionsResponse *page = (const void *)message;
        for (size_t i = 0; i < page->n_collections; i++)
            if (strcmp(page->collections[i]->name, name) == 0) {
                *found = page->collections[i];
                return true;
            }
        request.page_token = page->next_page_token;
        read = (Argon__Branch__V1__ReadOptions)ARGON__BRANCH__V1__READ_OPTIONS__INIT;
        read.as_of_lsn = page->lsn;
    } while (request.page_token[0]);
    return error_set(err, ERROR_NOT_FOUND, "collection '%s' does not exist on branch '%s'", name, cli->options->branch);
}

static bool collections_indexes(struct cli *cli, struct error *err)
{
    const Argon__Branch__V1__Collection *collection;
    if (!find_collection(cli, cli->args[0], &collection, err))
        return false;
    output_list_begin(&cli->out);
    for (size_t i = 0; i < collection->n_indexes; i++)
        if (!output_list_document(&cli->out, bytes_of(collection->indexes[i]->bson.data, collection->indexes[i]->bson.len), err))
            return false;
    output_list_end(&cli->out);
    return true;
}

static const struct command commands[] = {
    { "list", "-p PROJECT [-b BRANCH]", "List the collections of a branch", "argon collections list -p shop -b dev", 0, 0, collections_list,
      NULL, 0, &read_state_options },
    { "create", "NAME -p PROJECT [-b BRANCH]", "Create an empty collection", "argon collections create users -p shop -b dev", 1, 1,
      collections_create, NULL, 0, NULL },
    { "rename", "COLLECTION NEW_NAME -p PROJECT [-b BRANCH]", "Rename a collection", "argon collections rename users people -p shop -b dev",
      2, 2, collections_rename, NULL, 0, NULL },
    { "drop", "COLLECTION -p PROJECT [-b BRANCH]", "Drop a collection of a branch; other branches keep theirs",
      "argon collections drop users -p shop -b dev --yes", 1, 1, collections_drop, NULL, 0, NULL },
    { "indexes", "COLLECTION -p PROJECT [-b BRANCH]", "Print the index definitions that are recorded with a collection",
      "argon collections indexes users -p shop -b dev", 1, 1, collections_indexes, NULL, 0, &read_state_options },
};

const struct command_group collections_group = { "collections", "List, create, rename and drop the collections of a branch", commands,
                                                 ARRAY_LEN(commands), GROUP_REMOTE };
