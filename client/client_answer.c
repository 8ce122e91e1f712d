/* Answers that hold documents: the response stays in memory as long as the answer that shows it. */
#include <stdlib.h>

#include "client/client_internal.h"
#include "common/base/memory.h"

struct answer {
    struct argon_answer shown; /* first: what the program has in hand */
    enum argon_format format;
    struct arena arena; /* of the response */
};

static const struct argon_indexed_id *list_of_one(const struct answer *answer, const Argon__Branch__V1__Document *id, size_t *n)
{
    *n = id != NULL;
    if (!id)
        return NULL;
    struct argon_indexed_id *list = mem_zalloc(sizeof *list);
    list->id = client_shown(id, answer->format);
    return list;
}

static const struct argon_indexed_id *list_of(const struct answer *answer, Argon__Branch__V1__IndexedId *const *ids, size_t n_ids,
                                              size_t *n)
{
    struct argon_indexed_id *list = mem_zalloc((n_ids + 1) * sizeof *list);
    for (size_t i = 0; i < n_ids; i++)
        list[i] = (struct argon_indexed_id) { ids[i]->index, client_shown(ids[i]->id, answer->format) };
    *n = n_ids;
    return list;
}

static void show_errors(struct answer *answer, Argon__Branch__V1__ItemError *const *from, size_t n)
{
    struct argon_item_error *errors = mem_zalloc((n + 1) * sizeof *errors);
    for (size_t i = 0; i < n; i++)
        errors[i] = (struct argon_item_error) { from[i]->index, (enum argon_code)from[i]->code, from[i]->mongodb_code, from[i]->message };
    answer->shown.errors = errors;
    answer->shown.n_errors = n;
}

struct argon_written client_inserted(const Argon__Branch__V1__InsertManyResponse *response)
{
    return (struct argon_written) {
        .inserted = response->inserted, .skipped = response->skipped, .replaced = response->replaced, .lsn = response->lsn
    };
}

/* What is not refused is inserted, one after the other. */
static uint64_t show_inserted(const ProtobufCMessage *message, void *out)
{
    const Argon__Branch__V1__InsertManyResponse *response = (const void *)message;
    struct answer *answer = out;
    struct argon_indexed_id *ids = mem_zalloc((response->n_inserted_ids + 1) * sizeof *ids);
    size_t index = 0, refused = 0;
    for (size_t i = 0; i < response->n_inserted_ids; i++, index++) {
        for (; refused < response->n_errors && response->errors[refused]->index == index; refused++)
            index++;
        ids[i] = (struct argon_indexed_id) { index, client_shown(response->inserted_ids[i], answer->format) };
    }
    answer->shown.written = client_inserted(response);
    answer->shown.inserted_ids = ids;
    answer->shown.n_inserted_ids = response->n_inserted_ids;
    show_errors(answer, response->errors, response->n_errors);
    return response->lsn;
}

static uint64_t show_updated(const ProtobufCMessage *message, void *out)
{
    const Argon__Branch__V1__UpdateResponse *response = (const void *)message;
    struct answer *answer = out;
    answer->shown.written = (struct argon_written) {
        .matched = response->matched, .modified = response->modified, .upserted = response->upserted_id != NULL, .lsn = response->lsn
    };
    answer->shown.upserted_ids = list_of_one(answer, response->upserted_id, &answer->shown.n_upserted_ids);
    return response->lsn;
}

static uint64_t show_deleted(const ProtobufCMessage *message, void *out)
{
    const Argon__Branch__V1__DeleteResponse *response = (const void *)message;
    ((struct answer *)out)->shown.written = (struct argon_written) { .deleted = response->deleted, .lsn = response->lsn };
    return response->lsn;
}

static uint64_t show_found(const ProtobufCMessage *message, void *out)
{
    const Argon__Branch__V1__FindAndModifyResponse *response = (const void *)message;
    struct answer *answer = out;
    answer->shown.written =
        (struct argon_written) { .matched = response->matched, .upserted = response->upserted_id != NULL, .lsn = response->lsn };
    answer->shown.document = client_shown(response->document, answer->format);
    answer->shown.upserted_ids = list_of_one(answer, response->upserted_id, &answer->shown.n_upserted_ids);
    return response->lsn;
}

static uint64_t show_bulk(const ProtobufCMessage *message, void *out)
{
    const Argon__Branch__V1__BulkWriteResponse *response = (const void *)message;
    struct answer *answer = out;
    answer->shown.written = (struct argon_written) { .inserted = response->inserted,
                                                     .matched = response->matched,
                                                     .modified = response->modified,
                                                     .deleted = response->deleted,
                                                     .upserted = response->upserted,
                                                     .lsn = response->lsn };
    answer->shown.inserted_ids = list_of(answer, response->inserted_ids, response->n_inserted_ids, &answer->shown.n_inserted_ids);
    answer->shown.upserted_ids = list_of(answer, response->upserted_ids, response->n_upserted_ids, &answer->shown.n_upserted_ids);
    show_errors(answer, response->errors, response->n_errors);
    return response->lsn;
}

static uint64_t show_values(const ProtobufCMessage *message, void *out)
{
    const Argon__Branch__V1__DistinctResponse *response = (const void *)message;
    struct answer *answer = out;
    answer->shown.written.lsn = response->lsn;
    answer->shown.document = client_shown(response->values, answer->format);
    return 0;
}

static client_show_fn *show_of(const ProtobufCMessageDescriptor *response_type)
{
    static const struct {
        const ProtobufCMessageDescriptor *type;
        client_show_fn *show;
    } shows[] = {
        { &argon__branch__v1__insert_many_response__descriptor, show_inserted },
        { &argon__branch__v1__update_response__descriptor, show_updated },
        { &argon__branch__v1__delete_response__descriptor, show_deleted },
        { &argon__branch__v1__find_and_modify_response__descriptor, show_found },
        { &argon__branch__v1__bulk_write_response__descriptor, show_bulk },
        { &argon__branch__v1__distinct_response__descriptor, show_values },
    };
    size_t i = 0;
    while (shows[i].type != response_type)
        i++;
    return shows[i].show;
}

struct argon_answer *client_answer(struct argon_client *client, struct client_call *call, enum argon_format format,
                                   struct argon_error *error)
{
    struct answer *answer = mem_zalloc(sizeof *answer);
    answer->format = format;
    arena_init(&answer->arena, 0);
    call->show = show_of(call->response_type);
    call->out = answer;
    call->keep = &answer->arena;
    if (client_call(client, call, error))
        return &answer->shown;
    argon_answer_free(&answer->shown);
    return NULL;
}

void argon_answer_free(struct argon_answer *shown)
{
    struct answer *answer = (struct answer *)shown;
    if (!answer)
        return;
    free((void *)shown->inserted_ids);
    free((void *)shown->upserted_ids);
    free((void *)shown->errors);
    arena_destroy(&answer->arena);
    free(answer);
}
