#include "cli/insert_batch.h"

#include "common/base/backoff.h"
#include "common/bson/element.h"

bool insert_rules_parse(const char *on_duplicate, struct insert_rules *rules, struct error *err)
{
    static const struct {
        const char *name;
        Argon__Branch__V1__OnDuplicate value;
    } choices[] = {
        { "fail", ARGON__BRANCH__V1__ON_DUPLICATE__ON_DUPLICATE_FAIL },
        { "skip", ARGON__BRANCH__V1__ON_DUPLICATE__ON_DUPLICATE_SKIP },
        { "replace", ARGON__BRANCH__V1__ON_DUPLICATE__ON_DUPLICATE_REPLACE },
    };
    for (size_t i = 0; i < ARRAY_LEN(choices); i++)
        if (strcmp(on_duplicate, choices[i].name) == 0) {
            *rules = (struct insert_rules) { .on_duplicate = choices[i].value };
            return true;
        }
    return error_set(err, ERROR_INVALID_ARGUMENT, "option --on-duplicate: '%s' is none of fail, skip, replace", on_duplicate);
}

struct insert_rules insert_rules_again(const struct insert_rules *rules)
{
    struct insert_rules again = *rules;
    if (again.on_duplicate != ARGON__BRANCH__V1__ON_DUPLICATE__ON_DUPLICATE_REPLACE)
        again.on_duplicate = ARGON__BRANCH__V1__ON_DUPLICATE__ON_DUPLICATE_SKIP;
    return again;
}

void insert_batch_destroy(struct insert_batch *batch)
{
    buffer_destroy(&batch->documents);
}

void insert_batch_clear(struct insert_batch *batch)
{
    buffer_clear(&batch->documents);
    batch->n = 0;
}

static bool no_memory(struct error *err)
{
    return error_set(err, ERROR_RESOURCE_EXHAUSTED, "no memory for the documents of a batch");
}

bool insert_batch_add(struct insert_batch *batch, struct bytes bson, struct error *err)
{
    buffer_append(&batch->documents, bson.data, bson.len);
    if (batch->documents.failed)
        return no_memory(err);
    batch->n++;
    return true;
}

bool insert_batch_call(const struct insert_batch *batch, struct connection *connection, insert_batch_call_fn *call,
                       Argon__Branch__V1__Target *target, const struct insert_rules *rules, Argon__Branch__V1__WriteOptions *write,
                       struct arena *arena, const Argon__Branch__V1__InsertManyResponse **response, struct error *err)
{
    Argon__Branch__V1__Document *documents = arena_alloc(arena, batch->n * sizeof *documents);
    Argon__Branch__V1__Document **pointers = arena_alloc(arena, batch->n * sizeof *pointers);
    if (!documents || !pointers)
        return no_memory(err);
    uint8_t *at = batch->documents.data;
    for (size_t i = 0; i < batch->n; i++) {
        documents[i] = (Argon__Branch__V1__Document)ARGON__BRANCH__V1__DOCUMENT__INIT;
        documents[i].bson.data = at;
        documents[i].bson.len = get_u32(at); /* BSON begins with its length */
        at += documents[i].bson.len;
        pointers[i] = &documents[i];
    }

    Argon__Branch__V1__InsertManyRequest request = ARGON__BRANCH__V1__INSERT_MANY_REQUEST__INIT;
    request.target = target;
    request.n_documents = batch->n;
    request.documents = pointers;
    request.on_duplicate = rules->on_duplicate;
    request.skip_invalid = rules->skip_invalid;
    request.write = write;
    ProtobufCMessage *message;
    if (!call(connection, BRANCH_METHOD("Documents", "InsertMany"), &request.base, &argon__branch__v1__insert_many_response__descriptor,
              arena, &message, err))
        return false;
    *response = (const void *)message;
    return true;
}

bool insert_batch_send(const struct insert_batch *batch, struct connection *connection, Argon__Branch__V1__Target *target,
                       const struct insert_rules *rules, Argon__Branch__V1__WriteOptions *write, struct arena *arena,
                       const Argon__Branch__V1__InsertManyResponse **response, struct error *err)
{
    return insert_batch_call(batch, connection, connection_write, target, rules, write, arena, response, err);
}

static bool all_have_ids(const struct insert_batch *batch)
{
    struct element id;
    const uint8_t *at = batch->documents.data;
    for (size_t i = 0; i < batch->n; at += get_u32(at), i++)
        if (!element_find(bytes_of(at, get_u32(at)), "_id", 3, &id))
            return false;
    return true;
}

bool insert_batch_send_again(const struct insert_batch *batch, struct connection *connection, Argon__Branch__V1__Target *target,
                             const struct insert_rules *rules, Argon__Branch__V1__WriteOptions *write, struct arena *arena,
                             const Argon__Branch__V1__InsertManyResponse **response, struct error *err)
{
    const struct insert_rules again = insert_rules_again(rules);
    const int64_t deadline = connection_deadline(connection);
    struct backoff backoff = { 0 };
    while (err->code == ERROR_UNAVAILABLE && err->outcome == OUTCOME_NOT_APPLIED && backoff_wait(&backoff, deadline))
        if (insert_batch_call(batch, connection, connection_call_once, target, rules, write, arena, response, err))
            return true;
    return err->outcome != OUTCOME_NOT_APPLIED && err->code == ERROR_UNAVAILABLE && all_have_ids(batch) &&
           insert_batch_call(batch, connection, connection_read, target, &again, write, arena, response, err);
}
