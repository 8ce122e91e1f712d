#include <inttypes.h>

#include "cli/branch_collections.h"
#include "cli/command.h"
#include "cli/read_state.h"

static bool list_collections(struct cli *cli, struct branch_collections *list, struct error *err)
{
    Argon__Branch__V1__ReadOptions read;
    return read_state_fill(cli, &read, err) && branch_collections_list(cli, &read, list, err);
}

static bool collections_list(struct cli *cli, struct error *err)
{
    struct branch_collections list;
    if (!list_collections(cli, &list, err))
        return false;
    output_list_begin(&cli->out);
    for (size_t i = 0; i < list.n; i++) {
        const struct branch_collection *collection = &list.items[i];
        const struct field fields[] = { FIELD_STRING("name", collection->name), FIELD_STRING("id", collection->id),
                                        FIELD_TIME("created_at", collection->created_at) };
        output_list_row(&cli->out, fields, ARRAY_LEN(fields));
    }
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
    char sentence[512], at_lsn[OUTPUT_AT_LSN_SIZE];
    snprintf(sentence, sizeof sentence, "Created collection %s%s.", target.collection, output_at_lsn(response->lsn, at_lsn));
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
    char sentence[512], at_lsn[OUTPUT_AT_LSN_SIZE];
    snprintf(sentence, sizeof sentence, "Renamed collection %s to %s%s.", target.collection, request.new_name, output_at_lsn(lsn, at_lsn));
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
    char sentence[512], at_lsn[OUTPUT_AT_LSN_SIZE];
    snprintf(sentence, sizeof sentence, "Dropped collection %s%s.", target.collection, output_at_lsn(lsn, at_lsn));
    output_result(&cli->out, sentence, fields, ARRAY_LEN(fields));
    return true;
}

static bool collections_indexes(struct cli *cli, struct error *err)
{
    struct branch_collections list;
    if (!list_collections(cli, &list, err))
        return false;
    const struct branch_collection *collection = branch_collections_find(&list, cli->args[0]);
    if (!collection)
        return error_set(err, ERROR_NOT_FOUND, "collection '%s' does not exist on branch '%s'", cli->args[0], cli->options->branch);
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
