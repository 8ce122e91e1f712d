/* Documents: insert, update, delete, find, count. */
#include <stdlib.h>

#include "client/client_internal.h"
#include "common/base/limits.h"
#include "common/base/memory.h"

/* ---- writing ---------------------------------------------------------------------------------------- */

static uint64_t show_inserted(const ProtobufCMessage *message, void *out)
{
    const Argon__Branch__V1__InsertManyResponse *response = (const void *)message;
    *(struct argon_written *)out = (struct argon_written) {
        .inserted = response->inserted, .skipped = response->skipped, .replaced = response->replaced, .lsn = response->lsn
    };
    return response->lsn;
}

static uint64_t show_updated(const ProtobufCMessage *message, void *out)
{
    const Argon__Branch__V1__UpdateResponse *response = (const void *)message;
    *(struct argon_written *)out =
        (struct argon_written) { .matched = response->matched, .modified = response->modified, .lsn = response->lsn };
    return response->lsn;
}

static uint64_t show_deleted(const ProtobufCMessage *message, void *out)
{
    const Argon__Branch__V1__DeleteResponse *response = (const void *)message;
    *(struct argon_written *)out = (struct argon_written) { .deleted = response->deleted, .lsn = response->lsn };
    return response->lsn;
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
    struct argon_written unused;
    if ((size_t)on_duplicate >= ARRAY_LEN(on_duplicates))
        return client_refuse(error, "on_duplicate is none of its values");
    if (!client_target(target, &to, error))
        return false;
    if (n > MAX_BATCH_ENTRIES) /* before they are counted in memory */
        return client_refuse(error, "more documents than one batch holds");
    struct arena arena;
    arena_init(&arena, 0);
    Argon__Branch__V1__Document *messages = mem_zalloc((n + 1) * sizeof *messages);
    Argon__Branch__V1__Document **places = mem_zalloc((n + 1) * sizeof *places);
    bool ok = true;
    for (size_t i = 0; ok && i < n; i++) {
        places[i] = &messages[i];
        ok = client_document(documents ? &documents[i] : NULL, &arena, &messages[i], error);
    }
    request.target = &to;
    request.documents = places;
    request.n_documents = n;
    request.on_duplicate = on_duplicates[on_duplicate];
    const struct client_call call = { BRANCH_CALL("Documents", "InsertMany", insert_many),
                                      &request.base,
                                      target->project,
                                      &request.write,
                                      show_inserted,
                                      written ? written : &unused };
    ok = ok && client_call(client, &call, error);
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
    struct argon_written unused;
    if (!client_target(target, &to, error))
        return false;
    struct arena arena;
    arena_init(&arena, 0);
    request.target = &to;
    request.filter = &which;
    request.update = &what;
    const struct client_call call = { many ? BRANCH_METHOD("Documents", "UpdateMany") : BRANCH_METHOD("Documents", "UpdateOne"),
                                      &argon__branch__v1__update_response__descriptor,
                                      &request.base,
                                      target->project,
                                      &request.write,
                                      show_updated,
                                      written ? written : &unused };
    bool ok = client_document(filter, &arena, &which, error) && client_document(update, &arena, &what, error) &&
              client_call(client, &call, error);
    arena_destroy(&arena);
    return ok;
}

bool argon_delete(struct argon_client *client, const struct argon_target *target, const struct argon_document *filter, bool many,
                  struct argon_written *written, struct argon_error *error)
{
    Argon__Branch__V1__DeleteRequest request = ARGON__BRANCH__V1__DELETE_REQUEST__INIT;
    Argon__Branch__V1__Target to;
    Argon__Branch__V1__Document which;
    struct argon_written unused;
    if (!client_target(target, &to, error))
        return false;
    struct arena arena;
    arena_init(&arena, 0);
    request.target = &to;
    request.filter = &which;
    const struct client_call call = { many ? BRANCH_METHOD("Documents", "DeleteMany") : BRANCH_METHOD("Documents", "DeleteOne"),
                                      &argon__branch__v1__delete_response__descriptor,
                                      &request.base,
                                      target->project,
                                      &request.write,
                                      show_deleted,
                                      written ? written : &unused };
    bool ok = client_document(filter, &arena, &which, error) && client_call(client, &call, error);
    arena_destroy(&arena);
    return ok;
}

/* ---- reading ---------------------------------------------------------------------------------------- */

struct argon_cursor {
    struct client_stream *stream;
    enum argon_format format;
    struct arena arena;                              /* of the message in hand */
    const Argon__Branch__V1__FindResponse *response; /* NULL: the end */
    size_t next;
    uint64_t lsn;
    struct argon_error end; /* how it ended: each further next says so again */
};

static const struct argon_query everything;

struct query_parts {
    Argon__Branch__V1__Target target;
    Argon__Branch__V1__Document filter; /* when there is one */
    Argon__Branch__V1__ReadOptions read;
};

static bool convert_query(const struct argon_target *target, const struct argon_query *query, struct arena *arena,
                          struct query_parts *parts, struct argon_error *error)
{
    client_read(&query->read, &parts->read);
    return client_target(target, &parts->target, error) &&
           (!query->filter.data || client_document(&query->filter, arena, &parts->filter, error));
}

struct argon_cursor *argon_find(struct argon_client *client, const struct argon_target *target, const struct argon_query *query,
                                struct argon_error *error)
{
    Argon__Branch__V1__FindRequest request = ARGON__BRANCH__V1__FIND_REQUEST__INIT;
    struct query_parts parts;
    ProtobufCMessage *first;
    struct error err;
    struct arena arena;
    struct argon_cursor *cursor = mem_zalloc(sizeof *cursor);
    arena_init(&arena, 0);
    arena_init(&cursor->arena, 0);
    query = query ? query : &everything;
    bool ok = convert_query(target, query, &arena, &parts, error);
    if (ok) {
        request.target = &parts.target;
        request.filter = query->filter.data ? &parts.filter : NULL;
        request.skip = query->skip;
        request.limit = query->limit;
        request.read = &parts.read;
        request.format = client_format(query->format);
        const struct client_call call = { BRANCH_CALL("Documents", "Find", find), .request = &request.base };
        cursor->stream = client_stream_open(client, &call, &cursor->arena, &first, &err);
        ok = cursor->stream || client_fail(error, &err);
    }
    arena_destroy(&arena);
    if (!ok) {
        argon_cursor_close(cursor);
        return NULL;
    }
    cursor->format = query->format;
    cursor->response = (const Argon__Branch__V1__FindResponse *)first;
    cursor->lsn = first ? cursor->response->lsn : 0;
    client_succeed(error);
    return cursor;
}

static void next_message(struct argon_cursor *cursor)
{
    ProtobufCMessage *message = NULL;
    struct error err;
    arena_destroy(&cursor->arena);
    arena_init(&cursor->arena, 0);
    if (!client_stream_next(cursor->stream, &cursor->arena, &message, &err))
        client_fail(&cursor->end, &err);
    cursor->response = (const Argon__Branch__V1__FindResponse *)message;
    cursor->next = 0;
}

bool argon_cursor_next(struct argon_cursor *cursor, struct argon_document *document, struct argon_error *error)
{
    while (cursor->response && cursor->next == cursor->response->n_documents)
        next_message(cursor);
    *error = cursor->end;
    if (!cursor->response)
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
    client_stream_close(cursor->stream);
    arena_destroy(&cursor->arena);
    free(cursor);
}

static uint64_t show_count(const ProtobufCMessage *message, void *count)
{
    *(uint64_t *)count = ((const Argon__Branch__V1__CountResponse *)message)->count;
    return 0;
}

bool argon_count(struct argon_client *client, const struct argon_target *target, const struct argon_query *query, uint64_t *count,
                 struct argon_error *error)
{
    Argon__Branch__V1__CountRequest request = ARGON__BRANCH__V1__COUNT_REQUEST__INIT;
    struct query_parts parts;
    struct arena arena;
    arena_init(&arena, 0);
    query = query ? query : &everything;
    bool ok = convert_query(target, query, &arena, &parts, error);
    if (ok) {
        request.target = &parts.target;
        request.filter = query->filter.data ? &parts.filter : NULL;
        request.skip = query->skip;
        request.limit = query->limit;
        request.read = &parts.read;
        const struct client_call call = { BRANCH_CALL("Documents", "Count", count), &request.base, .show = show_count, .out = count };
        ok = client_call(client, &call, error);
    }
    arena_destroy(&arena);
    return ok;
}
