/* Documents: what changes them.
 *
 * An operation is turned into the message of its kind, of which a bulk write has many. Parts that this message has no place for are
 * refused here; what else is wrong with them, the service says. */
#include <stdio.h>
#include <string.h>

#include "client/client_internal.h"
#include "common/base/limits.h"

/* ---- insert ----------------------------------------------------------------------------------------- */

static const Argon__Branch__V1__OnDuplicate on_duplicates[] = {
    [ARGON_FAIL] = ARGON__BRANCH__V1__ON_DUPLICATE__ON_DUPLICATE_FAIL,
    [ARGON_SKIP] = ARGON__BRANCH__V1__ON_DUPLICATE__ON_DUPLICATE_SKIP,
    [ARGON_REPLACE] = ARGON__BRANCH__V1__ON_DUPLICATE__ON_DUPLICATE_REPLACE,
    [ARGON_REPORT] = ARGON__BRANCH__V1__ON_DUPLICATE__ON_DUPLICATE_REPORT,
    [ARGON_STOP] = ARGON__BRANCH__V1__ON_DUPLICATE__ON_DUPLICATE_STOP,
};

static uint64_t show_inserted(const ProtobufCMessage *message, void *out)
{
    const Argon__Branch__V1__InsertManyResponse *response = (const void *)message;
    *(struct argon_written *)out = client_inserted(response);
    return response->lsn;
}

bool argon_insert(struct argon_client *client, const struct argon_target *target, const struct argon_document *documents, size_t n,
                  enum argon_on_duplicate on_duplicate, struct argon_written *written, struct argon_error *error)
{
    Argon__Branch__V1__InsertManyRequest request = ARGON__BRANCH__V1__INSERT_MANY_REQUEST__INIT;
    Argon__Branch__V1__Target to;
    struct argon_written unused;
    if ((size_t)on_duplicate >= ARRAY_LEN(on_duplicates) || on_duplicate == ARGON_REPORT || on_duplicate == ARGON_STOP)
        return client_refuse(error, "on_duplicate is none of FAIL, SKIP and REPLACE: argon_insert_many has the others");
    if (!client_target(target, &to, error))
        return false;
    struct arena arena;
    arena_init(&arena, 0);
    request.target = &to;
    request.n_documents = n;
    request.on_duplicate = on_duplicates[on_duplicate];
    const struct client_call call = { BRANCH_CALL("Documents", "InsertMany", insert_many),
                                      &request.base,
                                      target->project,
                                      &request.write,
                                      .show = show_inserted,
                                      .out = written ? written : &unused };
    bool ok = client_list(documents, n, &arena, &request.documents, error) && client_call(client, &call, error);
    arena_destroy(&arena);
    return ok;
}

struct argon_answer *argon_insert_many(struct argon_client *client, const struct argon_target *target,
                                       const struct argon_document *documents, size_t n, const struct argon_insert_options *options,
                                       struct argon_error *error)
{
    static const struct argon_insert_options none;
    Argon__Branch__V1__InsertManyRequest request = ARGON__BRANCH__V1__INSERT_MANY_REQUEST__INIT;
    Argon__Branch__V1__Target to;
    struct argon_answer *answer = NULL;
    options = options ? options : &none;
    if ((size_t)options->on_duplicate >= ARRAY_LEN(on_duplicates)) {
        (void)client_refuse(error, "on_duplicate is none of its values");
        return NULL;
    }
    if (!client_target(target, &to, error))
        return NULL;
    struct arena arena;
    arena_init(&arena, 0);
    request.target = &to;
    request.n_documents = n;
    request.on_duplicate = on_duplicates[options->on_duplicate];
    request.skip_invalid = options->skip_invalid;
    request.format = client_format(options->format);
    struct client_call call = { BRANCH_CALL("Documents", "InsertMany", insert_many), &request.base, target->project,
                                .options = &request.write };
    if (client_list(documents, n, &arena, &request.documents, error))
        answer = client_answer(client, &call, options->format, error);
    arena_destroy(&arena);
    return answer;
}

/* ---- operations ------------------------------------------------------------------------------------- */

enum {
    FILTER = 1,
    DOCUMENT = 2,
    PIPELINE = 4, /* and array filters */
    UPSERT = 8,
    SORT = 16,
};

static const unsigned taken[] = {
    [ARGON_INSERT_ONE] = DOCUMENT,
    [ARGON_UPDATE_ONE] = FILTER | DOCUMENT | PIPELINE | UPSERT | SORT,
    [ARGON_UPDATE_MANY] = FILTER | DOCUMENT | PIPELINE | UPSERT,
    [ARGON_REPLACE_ONE] = FILTER | DOCUMENT | UPSERT | SORT,
    [ARGON_DELETE_ONE] = FILTER,
    [ARGON_DELETE_MANY] = FILTER,
};

static const struct argon_write_options no_options;

/* What the messages of operations point to. */
struct parts {
    Argon__Branch__V1__Document *filter, *document, *sort, **pipeline, **array_filters;
};

static unsigned given_of(const struct argon_operation *operation)
{
    return (operation->filter.data ? FILTER : 0) | (operation->document.data ? DOCUMENT : 0) |
           (operation->n_pipeline || operation->n_array_filters ? PIPELINE : 0) | (operation->upsert ? UPSERT : 0) |
           (operation->sort.data ? SORT : 0);
}

/* `more` is taken besides. */
static bool convert(const struct argon_operation *operation, unsigned more, struct arena *arena, struct parts *parts,
                    struct argon_error *error)
{
    if (!operation || operation->kind < ARGON_INSERT_ONE || operation->kind > ARGON_DELETE_MANY)
        return client_refuse(error, "an operation is missing or of no known kind");
    const unsigned given = given_of(operation), allowed = taken[operation->kind] | more;
    if (given & ~allowed)
        return client_refuse(error, "an operation has a part that its kind does not take");
    if ((allowed & FILTER & ~given) || ((allowed & DOCUMENT & ~given) && !operation->n_pipeline))
        return client_refuse(error, "an operation lacks its filter or its document");
    return client_part(&operation->filter, arena, &parts->filter, error) &&
           client_part(&operation->document, arena, &parts->document, error) && client_part(&operation->sort, arena, &parts->sort, error) &&
           client_list(operation->pipeline, operation->n_pipeline, arena, &parts->pipeline, error) &&
           client_list(operation->array_filters, operation->n_array_filters, arena, &parts->array_filters, error);
}

/* A request of any kind, and the call that sends it. */
struct request {
    struct client_call call;
    Argon__Branch__V1__Target target;
    Argon__Branch__V1__QueryOptions query, *options; /* NULL: none */
    Argon__Branch__V1__Format format;
    Argon__Branch__V1__Document *projection;
    union {
        Argon__Branch__V1__InsertManyRequest insert;
        Argon__Branch__V1__UpdateRequest update;
        Argon__Branch__V1__ReplaceRequest replace;
        Argon__Branch__V1__DeleteRequest delete;
        Argon__Branch__V1__FindOneAndUpdateRequest find_update;
        Argon__Branch__V1__FindOneAndReplaceRequest find_replace;
        Argon__Branch__V1__FindOneAndDeleteRequest find_delete;
        Argon__Branch__V1__BulkWriteRequest bulk;
    };
};

static bool begin(struct request *request, const struct argon_target *target, const struct argon_write_options *options,
                  struct arena *arena, struct argon_error *error)
{
    request->query = (Argon__Branch__V1__QueryOptions)ARGON__BRANCH__V1__QUERY_OPTIONS__INIT;
    request->query.hint = options->hint ? (char *)options->hint : "";
    request->options = options->let.data || options->hint ? &request->query : NULL;
    request->format = client_format(options->format);
    return client_target(target, &request->target, error) && client_part(&options->let, arena, &request->query.let, error) &&
           client_part(&options->projection, arena, &request->projection, error);
}

static bool check_one(const struct argon_write_options *options, struct argon_error *error)
{
    return !options->unordered || client_refuse(error, "unordered is an option of argon_bulk_write");
}

static bool check_no_document(const struct argon_write_options *options, struct argon_error *error)
{
    return (!options->after && !options->projection.data) || client_refuse(error, "after and projection are options of argon_find_one_and");
}

static struct argon_answer *send_request(struct argon_client *client, struct request *request, const char *project,
                                         enum argon_format format, struct argon_error *error)
{
    request->call.project = project;
    return client_answer(client, &request->call, format, error);
}

/* ---- one operation ---------------------------------------------------------------------------------- */

/* As one of many: InsertOne has no format. */
static void fill_insert(struct request *request, struct parts *parts)
{
    request->insert = (Argon__Branch__V1__InsertManyRequest)ARGON__BRANCH__V1__INSERT_MANY_REQUEST__INIT;
    request->insert.target = &request->target;
    request->insert.documents = &parts->document;
    request->insert.n_documents = 1;
    request->insert.format = request->format;
    request->call = (struct client_call) { BRANCH_CALL("Documents", "InsertMany", insert_many), &request->insert.base,
                                           .options = &request->insert.write };
}

static void fill_update(struct request *request, const struct argon_operation *operation, const struct parts *parts, bool atomic)
{
    request->update = (Argon__Branch__V1__UpdateRequest)ARGON__BRANCH__V1__UPDATE_REQUEST__INIT;
    request->update.target = &request->target;
    request->update.filter = parts->filter;
    request->update.update = parts->document;
    request->update.pipeline = parts->pipeline;
    request->update.n_pipeline = operation->n_pipeline;
    request->update.array_filters = parts->array_filters;
    request->update.n_array_filters = operation->n_array_filters;
    request->update.upsert = operation->upsert;
    request->update.sort = parts->sort;
    request->update.atomic = atomic;
    request->update.options = request->options;
    request->update.format = request->format;
    request->call = (struct client_call) {
        operation->kind == ARGON_UPDATE_MANY ? BRANCH_METHOD("Documents", "UpdateMany") : BRANCH_METHOD("Documents", "UpdateOne"),
        &argon__branch__v1__update_response__descriptor,
        &request->update.base,
        .options = &request->update.write,
    };
}

static void fill_replace(struct request *request, const struct argon_operation *operation, const struct parts *parts)
{
    request->replace = (Argon__Branch__V1__ReplaceRequest)ARGON__BRANCH__V1__REPLACE_REQUEST__INIT;
    request->replace.target = &request->target;
    request->replace.filter = parts->filter;
    request->replace.replacement = parts->document;
    request->replace.upsert = operation->upsert;
    request->replace.sort = parts->sort;
    request->replace.options = request->options;
    request->replace.format = request->format;
    request->call = (struct client_call) { BRANCH_METHOD("Documents", "ReplaceOne"), &argon__branch__v1__update_response__descriptor,
                                           &request->replace.base, .options = &request->replace.write };
}

static void fill_delete(struct request *request, const struct argon_operation *operation, const struct parts *parts, bool atomic)
{
    request->delete = (Argon__Branch__V1__DeleteRequest)ARGON__BRANCH__V1__DELETE_REQUEST__INIT;
    request->delete.target = &request->target;
    request->delete.filter = parts->filter;
    request->delete.atomic = atomic;
    request->delete.options = request->options;
    request->call = (struct client_call) {
        operation->kind == ARGON_DELETE_MANY ? BRANCH_METHOD("Documents", "DeleteMany") : BRANCH_METHOD("Documents", "DeleteOne"),
        &argon__branch__v1__delete_response__descriptor,
        &request->delete.base,
        .options = &request->delete.write,
    };
}

struct argon_answer *argon_write(struct argon_client *client, const struct argon_target *target, const struct argon_operation *operation,
                                 const struct argon_write_options *options, struct argon_error *error)
{
    struct argon_answer *answer = NULL;
    struct request request;
    struct parts parts;
    struct arena arena;
    arena_init(&arena, 0);
    options = options ? options : &no_options;
    if (check_one(options, error) && check_no_document(options, error) && begin(&request, target, options, &arena, error) &&
        convert(operation, 0, &arena, &parts, error)) {
        switch (operation->kind) {
        case ARGON_INSERT_ONE:
            fill_insert(&request, &parts);
            break;
        case ARGON_UPDATE_ONE:
        case ARGON_UPDATE_MANY:
            fill_update(&request, operation, &parts, options->atomic);
            break;
        case ARGON_REPLACE_ONE:
            fill_replace(&request, operation, &parts);
            break;
        case ARGON_DELETE_ONE:
        case ARGON_DELETE_MANY:
            fill_delete(&request, operation, &parts, options->atomic);
            break;
        }
        answer = send_request(client, &request, target->project, options->format, error);
    }
    arena_destroy(&arena);
    return answer;
}

static bool write_plainly(struct argon_client *client, const struct argon_target *target, const struct argon_operation *operation,
                          struct argon_written *written, struct argon_error *error)
{
    struct argon_answer *answer = argon_write(client, target, operation, NULL, error);
    if (!answer)
        return false;
    if (written)
        *written = answer->written;
    argon_answer_free(answer);
    return true;
}

static struct argon_document given(const struct argon_document *document)
{
    return document ? *document : (struct argon_document) { 0 };
}

bool argon_update(struct argon_client *client, const struct argon_target *target, const struct argon_document *filter,
                  const struct argon_document *update, bool many, struct argon_written *written, struct argon_error *error)
{
    const struct argon_operation operation = { .kind = many ? ARGON_UPDATE_MANY : ARGON_UPDATE_ONE,
                                               .filter = given(filter),
                                               .document = given(update) };
    return write_plainly(client, target, &operation, written, error);
}

bool argon_delete(struct argon_client *client, const struct argon_target *target, const struct argon_document *filter, bool many,
                  struct argon_written *written, struct argon_error *error)
{
    const struct argon_operation operation = { .kind = many ? ARGON_DELETE_MANY : ARGON_DELETE_ONE, .filter = given(filter) };
    return write_plainly(client, target, &operation, written, error);
}

/* ---- find one and ... ------------------------------------------------------------------------------- */

static Argon__Branch__V1__ReturnDocument return_document(const struct argon_write_options *options)
{
    return options->after ? ARGON__BRANCH__V1__RETURN_DOCUMENT__RETURN_DOCUMENT_AFTER
                          : ARGON__BRANCH__V1__RETURN_DOCUMENT__RETURN_DOCUMENT_BEFORE;
}

static void fill_find_one_and_update(struct request *request, const struct argon_operation *operation, const struct parts *parts,
                                     const struct argon_write_options *options)
{
    request->find_update = (Argon__Branch__V1__FindOneAndUpdateRequest)ARGON__BRANCH__V1__FIND_ONE_AND_UPDATE_REQUEST__INIT;
    request->find_update.target = &request->target;
    request->find_update.filter = parts->filter;
    request->find_update.update = parts->document;
    request->find_update.pipeline = parts->pipeline;
    request->find_update.n_pipeline = operation->n_pipeline;
    request->find_update.array_filters = parts->array_filters;
    request->find_update.n_array_filters = operation->n_array_filters;
    request->find_update.sort = parts->sort;
    request->find_update.projection = request->projection;
    request->find_update.upsert = operation->upsert;
    request->find_update.return_document = return_document(options);
    request->find_update.options = request->options;
    request->find_update.format = request->format;
    request->call = (struct client_call) { .method = BRANCH_METHOD("Documents", "FindOneAndUpdate"),
                                           .request = &request->find_update.base,
                                           .options = &request->find_update.write };
}

static void fill_find_one_and_replace(struct request *request, const struct argon_operation *operation, const struct parts *parts,
                                      const struct argon_write_options *options)
{
    request->find_replace = (Argon__Branch__V1__FindOneAndReplaceRequest)ARGON__BRANCH__V1__FIND_ONE_AND_REPLACE_REQUEST__INIT;
    request->find_replace.target = &request->target;
    request->find_replace.filter = parts->filter;
    request->find_replace.replacement = parts->document;
    request->find_replace.sort = parts->sort;
    request->find_replace.projection = request->projection;
    request->find_replace.upsert = operation->upsert;
    request->find_replace.return_document = return_document(options);
    request->find_replace.options = request->options;
    request->find_replace.format = request->format;
    request->call = (struct client_call) { .method = BRANCH_METHOD("Documents", "FindOneAndReplace"),
                                           .request = &request->find_replace.base,
                                           .options = &request->find_replace.write };
}

static void fill_find_one_and_delete(struct request *request, const struct parts *parts)
{
    request->find_delete = (Argon__Branch__V1__FindOneAndDeleteRequest)ARGON__BRANCH__V1__FIND_ONE_AND_DELETE_REQUEST__INIT;
    request->find_delete.target = &request->target;
    request->find_delete.filter = parts->filter;
    request->find_delete.sort = parts->sort;
    request->find_delete.projection = request->projection;
    request->find_delete.options = request->options;
    request->find_delete.format = request->format;
    request->call = (struct client_call) { .method = BRANCH_METHOD("Documents", "FindOneAndDelete"),
                                           .request = &request->find_delete.base,
                                           .options = &request->find_delete.write };
}

static bool fill_find_one_and(struct request *request, const struct argon_operation *operation, const struct parts *parts,
                              const struct argon_write_options *options, struct argon_error *error)
{
    if (operation->kind == ARGON_UPDATE_ONE)
        fill_find_one_and_update(request, operation, parts, options);
    else if (operation->kind == ARGON_REPLACE_ONE)
        fill_find_one_and_replace(request, operation, parts, options);
    else if (operation->kind == ARGON_DELETE_ONE && !options->after)
        fill_find_one_and_delete(request, parts);
    else
        return client_refuse(error, "argon_find_one_and updates, replaces or deletes one document, and after a delete there is none");
    request->call.response_type = &argon__branch__v1__find_and_modify_response__descriptor;
    return true;
}

struct argon_answer *argon_find_one_and(struct argon_client *client, const struct argon_target *target,
                                        const struct argon_operation *operation, const struct argon_write_options *options,
                                        struct argon_error *error)
{
    struct argon_answer *answer = NULL;
    struct request request;
    struct parts parts;
    struct arena arena;
    arena_init(&arena, 0);
    options = options ? options : &no_options;
    if (check_one(options, error) && begin(&request, target, options, &arena, error) && convert(operation, SORT, &arena, &parts, error) &&
        fill_find_one_and(&request, operation, &parts, options, error))
        answer = send_request(client, &request, target->project, options->format, error);
    arena_destroy(&arena);
    return answer;
}

/* ---- many operations -------------------------------------------------------------------------------- */

/* An operation of a bulk write, and what it points to. */
struct item {
    Argon__Branch__V1__BulkOperation operation;
    union {
        Argon__Branch__V1__BulkInsert insert;
        Argon__Branch__V1__BulkUpdate update;
        Argon__Branch__V1__BulkReplace replace;
        Argon__Branch__V1__BulkDelete delete;
    };
};

static void fill_bulk_update(struct item *item, const struct argon_operation *operation, const struct parts *parts)
{
    item->update = (Argon__Branch__V1__BulkUpdate)ARGON__BRANCH__V1__BULK_UPDATE__INIT;
    item->update.filter = parts->filter;
    item->update.update = parts->document;
    item->update.pipeline = parts->pipeline;
    item->update.n_pipeline = operation->n_pipeline;
    item->update.array_filters = parts->array_filters;
    item->update.n_array_filters = operation->n_array_filters;
    item->update.upsert = operation->upsert;
    item->update.sort = parts->sort;
    if (operation->kind == ARGON_UPDATE_ONE) {
        item->operation.operation_case = ARGON__BRANCH__V1__BULK_OPERATION__OPERATION_UPDATE_ONE;
        item->operation.update_one = &item->update;
    } else {
        item->operation.operation_case = ARGON__BRANCH__V1__BULK_OPERATION__OPERATION_UPDATE_MANY;
        item->operation.update_many = &item->update;
    }
}

static void fill_bulk_delete(struct item *item, const struct argon_operation *operation, const struct parts *parts)
{
    item->delete = (Argon__Branch__V1__BulkDelete)ARGON__BRANCH__V1__BULK_DELETE__INIT;
    item->delete.filter = parts->filter;
    if (operation->kind == ARGON_DELETE_ONE) {
        item->operation.operation_case = ARGON__BRANCH__V1__BULK_OPERATION__OPERATION_DELETE_ONE;
        item->operation.delete_one = &item->delete;
    } else {
        item->operation.operation_case = ARGON__BRANCH__V1__BULK_OPERATION__OPERATION_DELETE_MANY;
        item->operation.delete_many = &item->delete;
    }
}

static void fill_item(struct item *item, const struct argon_operation *operation, const struct parts *parts)
{
    item->operation = (Argon__Branch__V1__BulkOperation)ARGON__BRANCH__V1__BULK_OPERATION__INIT;
    switch (operation->kind) {
    case ARGON_INSERT_ONE:
        item->insert = (Argon__Branch__V1__BulkInsert)ARGON__BRANCH__V1__BULK_INSERT__INIT;
        item->insert.document = parts->document;
        item->operation.operation_case = ARGON__BRANCH__V1__BULK_OPERATION__OPERATION_INSERT_ONE;
        item->operation.insert_one = &item->insert;
        break;
    case ARGON_UPDATE_ONE:
    case ARGON_UPDATE_MANY:
        fill_bulk_update(item, operation, parts);
        break;
    case ARGON_REPLACE_ONE:
        item->replace = (Argon__Branch__V1__BulkReplace)ARGON__BRANCH__V1__BULK_REPLACE__INIT;
        item->replace.filter = parts->filter;
        item->replace.replacement = parts->document;
        item->replace.upsert = operation->upsert;
        item->replace.sort = parts->sort;
        item->operation.operation_case = ARGON__BRANCH__V1__BULK_OPERATION__OPERATION_REPLACE_ONE;
        item->operation.replace_one = &item->replace;
        break;
    case ARGON_DELETE_ONE:
    case ARGON_DELETE_MANY:
        fill_bulk_delete(item, operation, parts);
        break;
    }
}

static bool name_operation(struct argon_error *error, size_t index)
{
    char message[sizeof error->message];
    memcpy(message, error->message, sizeof message);
    snprintf(error->message, sizeof error->message, "operation %zu: %.200s", index, message);
    return false;
}

static bool fill_bulk(struct request *request, const struct argon_operation *operations, size_t n,
                      const struct argon_write_options *options, struct arena *arena, struct argon_error *error)
{
    if (n == 0 || !operations || n > MAX_BATCH_ENTRIES) /* before they are counted in memory */
        return client_refuse(error, "a bulk write is of 1 to 100,000 operations");
    struct item *items = arena_alloc(arena, n * sizeof *items);
    Argon__Branch__V1__BulkOperation **places = arena_alloc(arena, n * sizeof *places);
    if (!items || !places)
        return client_no_memory(error);
    for (size_t i = 0; i < n; i++) {
        struct parts parts;
        if (!convert(&operations[i], 0, arena, &parts, error))
            return name_operation(error, i);
        fill_item(&items[i], &operations[i], &parts);
        places[i] = &items[i].operation;
    }
    request->bulk = (Argon__Branch__V1__BulkWriteRequest)ARGON__BRANCH__V1__BULK_WRITE_REQUEST__INIT;
    request->bulk.target = &request->target;
    request->bulk.operations = places;
    request->bulk.n_operations = n;
    request->bulk.unordered = options->unordered;
    request->bulk.atomic = options->atomic;
    request->bulk.options = request->options;
    request->bulk.format = request->format;
    request->call =
        (struct client_call) { BRANCH_CALL("Documents", "BulkWrite", bulk_write), &request->bulk.base, .options = &request->bulk.write };
    return true;
}

struct argon_answer *argon_bulk_write(struct argon_client *client, const struct argon_target *target,
                                      const struct argon_operation *operations, size_t n, const struct argon_write_options *options,
                                      struct argon_error *error)
{
    struct argon_answer *answer = NULL;
    struct request request;
    struct arena arena;
    arena_init(&arena, 0);
    options = options ? options : &no_options;
    if (check_no_document(options, error) && begin(&request, target, options, &arena, error) &&
        fill_bulk(&request, operations, n, options, &arena, error))
        answer = send_request(client, &request, target->project, options->format, error);
    arena_destroy(&arena);
    return answer;
}
