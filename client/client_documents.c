/* Documents: insert, update, delete. */
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
