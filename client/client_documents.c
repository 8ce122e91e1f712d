/* Documents: insert, update, delete, find, count. */
#include <stdlib.h>

#include "client/client_internal.h"
#include "common/base/clock.h"
#include "common/base/memory.h"

/* Carries out a write that has been begun; the answer lives in the arena. */
static bool write_call(struct argon_client *client, const struct client_call *call, const char *project, struct arena *arena,
                       ProtobufCMessage **response, struct argon_error *error)
{
    if (client_call(client, call, arena, response, error))
        return true;
    if (error->code == ARGON_OUT_OF_RANGE)
        client_forget_project(client, project); /* perhaps another project has this name now */
    return false;
}

bool argon_insert(struct argon_client *client, const struct argon_target *target, const struct argon_document *documents, size_t n,
                  enum argon_on_duplicate on_duplicate, struct argon_written *written, struct argon_error *error)
{
    static const Argon__Branch__V1__OnDuplicate on_duplicates[] = {
        [ARGON_FAIL] = ARGON__BRANCH__V1__ON_DUPLICATE__ON_DUPLICATE_FAIL,
        [ARGON_SKIP] = ARGON__BRANCH__V1__ON_DUPLICATE__ON_DUPLICATE_SKIP,
        [ARGON_REPLACE] = ARGON__BRANCH__V1__ON_DUPLICATE__ON_DUPLICATE_REPLACE,
    };
    Argon__Branch__V1__InsertManyRequest request = ARGON__BRANCH__V1__INSERT_MANY_REQUEST__INIT;
    Argon__Branch__V1__Target to;
    struct client_write write;
    if ((size_t)on_duplicate >= ARRAY_LEN(on_duplicates))
        return client_refuse(error, "on_duplicate is none of its values");
    if (!client_target(target, &to, error))
        return false;
    struct arena arena;
    arena_init(&arena, 0);
    Argon__Branch__V1__Document *messages = mem_zalloc((n + 1) * sizeof *messages);
    Argon__Branch__V1__Document **places = mem_zalloc((n + 1) * sizeof *places);
    bool ok = true;
    for (size_t i = 0; ok && i < n; i++) {
        places[i] = &messages[i];
        ok = client_document(&documents[i], &arena, &messages[i], error);
    }
    ok = ok && client_begin_write(client, target->project, &write, error);
    if (ok) {
        request.target = &to;
        request.documents = places;
        request.n_documents = n;
        request.on_duplicate = on_duplicates[on_duplicate];
        request.write = &write.options;
        const struct client_call call = { BRANCH_METHOD("Documents", "InsertMany"), &request.base,
                                          &argon__branch__v1__insert_many_response__descriptor };
        ProtobufCMessage *message;
        ok = write_call(client, &call, target->project, &arena, &message, error);
        if (ok) {
            const Argon__Branch__V1__InsertManyResponse *response = (const void *)message;
            client_saw_lsn(client, target->project, response->lsn);
            if (written)
                *written = (struct argon_written) {
                    .inserted = response->inserted, .skipped = response->skipped, .replaced = response->replaced, .lsn = response->lsn
                };
        }
    }
    free(messages);
    free(places);
    arena_destroy(&arena);
    return ok;
}

bool argon_update(struct argon_client *client, const struct argon_target *target, const struct argon_document *filter,
                  const struct argon_document *update, bool many, struct argon_written *written, struct argon_error *error)
{
    Argon__Branch__V1__UpdateRequest request = ARGON__BRANCH__V1__UPDATE_REQUEST__INIT;
    Argon__Branch__V1__Target to;
    Argon__Branch__V1__Document which, what;
    struct client_write write;
    struct arena arena;
    arena_init(&arena, 0);
    bool ok = client_target(target, &to, error) && client_document(filter, &arena, &which, error) &&
              client_document(update, &arena, &what, error) && client_begin_write(client, target->project, &write, error);
    if (ok) {
        request.target = &to;
        request.filter = &which;
        request.update = &what;
        request.write = &write.options;
        const struct client_call call = { many ? BRANCH_METHOD("Documents", "UpdateMany") : BRANCH_METHOD("Documents", "UpdateOne"),
                                          &request.base, &argon__branch__v1__update_response__descriptor };
        ProtobufCMessage *message;
        ok = write_call(client, &call, target->project, &arena, &message, error);
        if (ok) {
            const Argon__Branch__V1__UpdateResponse *response = (const void *)message;
            client_saw_lsn(client, target->project, response->lsn);
            if (written)
                *written = (struct argon_written) { .matched = response->matched, .modified = response->modified, .lsn = response->lsn };
        }
    }
    arena_destroy(&arena);
    return ok;
}

bool argon_delete(struct argon_client *client, const struct argon_target *target, const struct argon_document *filter, bool many,
                  struct argon_written *written, struct argon_error *error)
{
    Argon__Branch__V1__DeleteRequest request = ARGON__BRANCH__V1__DELETE_REQUEST__INIT;
    Argon__Branch__V1__Target to;
    Argon__Branch__V1__Document which;
    struct client_write write;
    struct arena arena;
    arena_init(&arena, 0);
    bool ok = client_target(target, &to, error) && client_document(filter, &arena, &which, error) &&
              client_begin_write(client, target->project, &write, error);
    if (ok) {
        request.target = &to;
        request.filter = &which;
        request.write = &write.options;
        const struct client_call call = { many ? BRANCH_METHOD("Documents", "DeleteMany") : BRANCH_METHOD("Documents", "DeleteOne"),
                                          &request.base, &argon__branch__v1__delete_response__descriptor };
        ProtobufCMessage *message;
        ok = write_call(client, &call, target->project, &arena, &message, error);
        if (ok) {
            const Argon__Branch__V1__DeleteResponse *response = (const void *)message;
            client_saw_lsn(client, target->project, response->lsn);
            if (written)
                *written = (struct argon_written) { .deleted = response->deleted, .lsn = response->lsn };
        }
    }
    arena_destroy(&arena);
    return ok;
}

/* ---- reading ---------------------------------------------------------------------------------------- */

struct argon_cursor {
    struct argon_client *client;
    struct rpc_client_stream *stream;
    enum argon_format format;
    char *project;
    struct arena arena; /* of the message in hand */
    const Argon__Branch__V1__FindResponse *response;
    size_t next;
    uint64_t lsn;
    bool over;
};

static Argon__Branch__V1__Format wire_format(enum argon_format format)
{
    switch (format) {
    case ARGON_FORMAT_RELAXED_JSON:
        return ARGON__BRANCH__V1__FORMAT__FORMAT_RELAXED_JSON;
    case ARGON_FORMAT_CANONICAL_JSON:
        return ARGON__BRANCH__V1__FORMAT__FORMAT_CANONICAL_JSON;
    case ARGON_FORMAT_BSON:
        break;
    }
    return ARGON__BRANCH__V1__FORMAT__FORMAT_BSON;
}

struct argon_cursor *argon_find(struct argon_client *client, const struct argon_target *target, const struct argon_query *query,
                                struct argon_error *error)
{
    static const struct argon_query everything;
    Argon__Branch__V1__FindRequest request = ARGON__BRANCH__V1__FIND_REQUEST__INIT;
    Argon__Branch__V1__Target to;
    Argon__Branch__V1__Document filter;
    Argon__Branch__V1__ReadOptions read;
    struct rpc_client_stream *stream;
    struct error err;
    if (!query)
        query = &everything;
    struct arena arena;
    arena_init(&arena, 0);
    bool ok = client_target(target, &to, error) && (!query->filter.data || client_document(&query->filter, &arena, &filter, error));
    if (ok) {
        client_read(&query->read, &read);
        request.target = &to;
        request.filter = query->filter.data ? &filter : NULL;
        request.skip = query->skip;
        request.limit = query->limit;
        request.read = &read;
        request.format = wire_format(query->format);
        /* the time for all of it is the program's: a stream has no deadline of its own */
        const struct rpc_call_options options = { .deadline = NO_DEADLINE };
        ok = rpc_client_stream_open(client->rpc, BRANCH_METHOD("Documents", "Find"), &request.base,
                                    &argon__branch__v1__find_response__descriptor, &options, &stream, &err) ||
             client_fail(error, &err);
    }
    arena_destroy(&arena);
    if (!ok)
        return NULL;
    struct argon_cursor *cursor = mem_zalloc(sizeof *cursor);
    cursor->client = client;
    cursor->stream = stream;
    cursor->format = query->format;
    cursor->project = mem_strdup(target->project);
    arena_init(&cursor->arena, 0);
    client_succeed(error);
    return cursor;
}

bool argon_cursor_next(struct argon_cursor *cursor, struct argon_document *document, struct argon_error *error)
{
    client_succeed(error);
    while (!cursor->over && (!cursor->response || cursor->next == cursor->response->n_documents)) {
        ProtobufCMessage *message;
        struct error err;
        arena_destroy(&cursor->arena);
        arena_init(&cursor->arena, 0);
        cursor->response = NULL;
        cursor->next = 0;
        if (!rpc_client_stream_next(cursor->stream, &cursor->arena, &message, &err)) {
            cursor->over = true;
            return client_fail(error, &err);
        }
        cursor->response = (const Argon__Branch__V1__FindResponse *)message;
        if (!message)
            cursor->over = true;
        else if (cursor->lsn == 0) {
            cursor->lsn = cursor->response->lsn;
            client_saw_lsn(cursor->client, cursor->project, cursor->lsn);
        }
    }
    if (cursor->over)
        return false;
    *document = client_shown(cursor->response->documents[cursor->next++], cursor->format);
    return true;
}

uint64_t argon_cursor_lsn(const struct argon_cursor *cursor)
{
    return cursor->lsn;
}

void argon_cursor_close(struct argon_cursor *cursor)
{
    if (!cursor)
        return;
    rpc_client_stream_close(cursor->stream);
    arena_destroy(&cursor->arena);
    free(cursor->project);
    free(cursor);
}

bool argon_count(struct argon_client *client, const struct argon_target *target, const struct argon_query *query, uint64_t *count,
                 struct argon_error *error)
{
    static const struct argon_query everything;
    Argon__Branch__V1__CountRequest request = ARGON__BRANCH__V1__COUNT_REQUEST__INIT;
    Argon__Branch__V1__Target to;
    Argon__Branch__V1__Document filter;
    Argon__Branch__V1__ReadOptions read;
    if (!query)
        query = &everything;
    struct arena arena;
    arena_init(&arena, 0);
    bool ok = client_target(target, &to, error) && (!query->filter.data || client_document(&query->filter, &arena, &filter, error));
    if (ok) {
        client_read(&query->read, &read);
        request.target = &to;
        request.filter = query->filter.data ? &filter : NULL;
        request.skip = query->skip;
        request.limit = query->limit;
        request.read = &read;
        const struct client_call call = { BRANCH_METHOD("Documents", "Count"), &request.base,
                                          &argon__branch__v1__count_response__descriptor };
        ProtobufCMessage *message;
        ok = client_call(client, &call, &arena, &message, error);
        if (ok) {
            const Argon__Branch__V1__CountResponse *response = (const void *)message;
            client_saw_lsn(client, target->project, response->lsn);
            *count = response->count;
        }
    }
    arena_destroy(&arena);
    return ok;
}
