#include "cli/branch_collections.h"

#include <string.h>

bool branch_collections_list(struct cli *cli, const Argon__Branch__V1__ReadOptions *read, struct branch_collections *list,
                             struct error *err)
{
    Argon__Branch__V1__ListCollectionsRequest request = ARGON__BRANCH__V1__LIST_COLLECTIONS_REQUEST__INIT;
    Argon__Branch__V1__ReadOptions state = *read;
    struct branch_collections found = { 0 };
    if (!cli_project(cli, &request.project, err))
        return false;
    request.branch = (char *)cli->options->branch;
    request.read = &state;
    request.page_size = MAX_PAGE_SIZE;
    do {
        ProtobufCMessage *message;
        if (!connection_read(&cli->connection, BRANCH_METHOD("Collections", "ListCollections"), &request.base,
                             &argon__branch__v1__list_collections_response__descriptor, &cli->arena, &message, err))
            return false;
        const Argon__Branch__V1__ListCollectionsResponse *page = (const void *)message;
        struct branch_collection *items = arena_alloc(&cli->arena, (found.n + page->n_collections + 1) * sizeof *items);
        if (!items)
            return error_out_of_memory(err);
        if (found.n > 0)
            memcpy(items, found.items, found.n * sizeof *items);
        found.items = items;
        for (size_t i = 0; i < page->n_collections; i++) {
            const Argon__Branch__V1__Collection *collection = page->collections[i];
            items[found.n++] = (struct branch_collection) { .name = collection->name,
                                                            .id = collection->id,
                                                            .created_at = collection->created_at,
                                                            .indexes = collection->indexes,
                                                            .n_indexes = collection->n_indexes };
        }
        found.lsn = page->lsn;
        request.page_token = page->next_page_token;
        state = (Argon__Branch__V1__ReadOptions)ARGON__BRANCH__V1__READ_OPTIONS__INIT;
        state.as_of_lsn = page->lsn; /* all pages of one state */
    } while (request.page_token[0]);
    *list = found;
    return true;
}

const struct branch_collection *branch_collections_find(const struct branch_collections *list, const char *name)
{
    for (size_t i = 0; i < list->n; i++)
        if (strcmp(list->items[i].name, name) == 0)
            return &list->items[i];
    return NULL;
}

bool branch_collections_set_indexes(struct cli *cli, const char *collection, const struct bytes *definitions, size_t n, struct error *err)
{
    Argon__Branch__V1__SetIndexesRequest request = ARGON__BRANCH__V1__SET_INDEXES_REQUEST__INIT;
    Argon__Branch__V1__Target target;
    Argon__Branch__V1__WriteOptions write;
    ProtobufCMessage *message;
    if (!cli_target(cli, collection, &target, err) || !connection_begin_write(&cli->connection, target.project, &cli->arena, &write, err))
        return false;
    Argon__Branch__V1__Document *documents = arena_alloc(&cli->arena, (n + 1) * sizeof *documents);
    request.indexes = arena_alloc(&cli->arena, (n + 1) * sizeof *request.indexes);
    if (!documents || !request.indexes)
        return error_out_of_memory(err);
    for (size_t i = 0; i < n; i++) {
        documents[i] = (Argon__Branch__V1__Document)ARGON__BRANCH__V1__DOCUMENT__INIT;
        documents[i].bson.data = (uint8_t *)definitions[i].data;
        documents[i].bson.len = definitions[i].len;
        request.indexes[i] = &documents[i];
    }
    request.n_indexes = n;
    request.target = &target;
    request.write = &write;
    return connection_write(&cli->connection, BRANCH_METHOD("Collections", "SetIndexes"), &request.base,
                            &argon__branch__v1__set_indexes_response__descriptor, &cli->arena, &message, err) ||
           error_wrap(err, "collection '%s'", collection);
}

bool branch_collections_count(struct cli *cli, const char *collection, uint64_t lsn, uint64_t *n, struct error *err)
{
    Argon__Branch__V1__CountRequest request = ARGON__BRANCH__V1__COUNT_REQUEST__INIT;
    Argon__Branch__V1__Target target;
    Argon__Branch__V1__ReadOptions read = ARGON__BRANCH__V1__READ_OPTIONS__INIT;
    ProtobufCMessage *message;
    if (!cli_target(cli, collection, &target, err))
        return false;
    read.as_of_lsn = lsn;
    request.target = &target;
    request.read = &read;
    if (!connection_read(&cli->connection, BRANCH_METHOD("Documents", "Count"), &request.base,
                         &argon__branch__v1__count_response__descriptor, &cli->arena, &message, err))
        return error_wrap(err, "collection '%s'", collection);
    *n = ((const Argon__Branch__V1__CountResponse *)message)->count;
    return true;
}
