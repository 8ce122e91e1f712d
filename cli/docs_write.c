#include "cli/docs_write.h"

#include <inttypes.h>
#include <string.h>

#include "cli/bulk_file.h"
#include "common/bson/ejson.h"

static struct {
    bool many;
    bool upsert;
    const char *array_filters;
    const char *sort;
    const char *let;
    const char *hint;
    const char *projection;
    const char *shown; /* --return */
    bool unordered;
    bool atomic;
} options;

/* clang-format off */
#define MANY   { "many", 0, CONFIG_BOOL, &options.many, NULL, NULL, 0, 0, NULL, "all matches, not only the first" }
#define UPSERT { "upsert", 0, CONFIG_BOOL, &options.upsert, NULL, NULL, 0, 0, NULL, "insert a document when none matches" }
#define FILTERS { "array-filters", 0, CONFIG_STRING, &options.array_filters, "", NULL, 0, 0, "JSON", "an array with what each $[name] is for: [{\"x.size\": 5}]" }
#define SORT   { "sort", 0, CONFIG_STRING, &options.sort, "", NULL, 0, 0, "JSON", "the first match in this order: {\"age\": -1}" }
#define LET    { "let", 0, CONFIG_STRING, &options.let, "", NULL, 0, 0, "JSON", "variables, for $expr and pipelines as $$name" }
#define HINT   { "hint", 0, CONFIG_STRING, &options.hint, "", NULL, 0, 0, "NAME|JSON", "the index that MongoDB goes by, its name or its keys; a WAL branch needs none" }
#define PROJECTION { "projection", 0, CONFIG_STRING, &options.projection, "", NULL, 0, 0, "JSON", "print only these fields: {\"name\": 1}" }
#define RETURN { "return", 0, CONFIG_STRING, &options.shown, "before", NULL, 0, 0, "before|after", "which document to print" }

const struct config_option docs_update_options[DOCS_N_UPDATE_OPTIONS] = { MANY, UPSERT, FILTERS, SORT, LET, HINT };
const struct config_option docs_replace_options[DOCS_N_REPLACE_OPTIONS] = { UPSERT, SORT, LET, HINT };
const struct config_option docs_delete_options[DOCS_N_DELETE_OPTIONS] = { MANY, LET, HINT };
const struct config_option docs_find_one_and_update_options[DOCS_N_FIND_ONE_AND_UPDATE_OPTIONS] = { RETURN, SORT, PROJECTION, UPSERT, FILTERS, LET, HINT };
const struct config_option docs_find_one_and_replace_options[DOCS_N_FIND_ONE_AND_REPLACE_OPTIONS] = { RETURN, SORT, PROJECTION, UPSERT, LET, HINT };
const struct config_option docs_find_one_and_delete_options[DOCS_N_FIND_ONE_AND_DELETE_OPTIONS] = { SORT, PROJECTION, LET, HINT };
const struct config_option docs_bulk_options[DOCS_N_BULK_OPTIONS] = {
    { "unordered", 0, CONFIG_BOOL, &options.unordered, NULL, NULL, 0, 0, NULL, "go on behind an operation that fails" },
    { "atomic", 0, CONFIG_BOOL, &options.atomic, NULL, NULL, 0, 0, NULL, "all or nothing, in one batch" },
    LET,
    HINT,
};
/* clang-format on */

/* What a command has no option for is NULL. */
static bool given(const char *text)
{
    return text && text[0];
}

/* What the messages of a change point to. */
struct change {
    Argon__Branch__V1__Target target;
    Argon__Branch__V1__WriteOptions write;
    Argon__Branch__V1__QueryOptions options;
    Argon__Branch__V1__Document let, filter, update, sort, projection;
    Argon__Branch__V1__Document **pipeline, **array_filters;
    size_t n_pipeline, n_array_filters;
};

static bool fill(struct cli *cli, struct change *change, const char *update_name, struct error *err)
{
    const char *update = update_name ? cli->args[2] : NULL;
    bool may_be_pipeline = update && strcmp(update_name, "UPDATE") == 0;
    bool is_pipeline = may_be_pipeline && update[strspn(update, " \t\r\n")] == '[';
    *change = (struct change) { .options = ARGON__BRANCH__V1__QUERY_OPTIONS__INIT };
    if (!cli_target(cli, cli->args[0], &change->target, err) || !cli_document(cli, "FILTER", cli->args[1], &change->filter, err))
        return false;
    if (update && !(is_pipeline ? cli_documents(cli, update_name, update, &change->pipeline, &change->n_pipeline, err)
                                : cli_document(cli, update_name, update, &change->update, err)))
        return false;
    if (may_be_pipeline && !cli_check_update(&change->update, is_pipeline, change->n_pipeline, "replace or find-one-and-replace", err))
        return error_wrap(err, "%s", update_name);
    if (given(options.let) && !cli_document(cli, "--let", options.let, &change->let, err))
        return false;
    if (given(options.sort) && !cli_document(cli, "--sort", options.sort, &change->sort, err))
        return false;
    if (given(options.projection) && !cli_document(cli, "--projection", options.projection, &change->projection, err))
        return false;
    if (given(options.array_filters) &&
        !cli_documents(cli, "--array-filters", options.array_filters, &change->array_filters, &change->n_array_filters, err))
        return false;
    if (given(options.hint) && !cli_hint(cli, options.hint, &change->options, err))
        return false;
    change->options.let = given(options.let) ? &change->let : NULL;
    return connection_begin_write(&cli->connection, change->target.project, &cli->arena, &change->write, err);
}

/* A document of an answer as JSON; "null" when it is not there. NULL: err says why. */
static const char *to_json(struct cli *cli, const Argon__Branch__V1__Document *document, struct error *err)
{
    struct buffer text = { 0 };
    if (!document)
        return "null";
    bool ok = ejson_format(bytes_of(document->bson.data, document->bson.len), cli->out.style, &text, err);
    const char *copy = ok ? arena_strndup(&cli->arena, (const char *)text.data, text.len) : NULL;
    buffer_destroy(&text);
    if (ok && !copy)
        (void)error_out_of_memory(err);
    return copy;
}

/* ---- update, replace, delete ------------------------------------------------------------------------ */

static bool print_updated(struct cli *cli, const char *verb, const Argon__Branch__V1__UpdateResponse *response, struct error *err)
{
    char sentence[512], at[OUTPUT_AT_LSN_SIZE];
    const char *id = to_json(cli, response->upserted_id, err);
    if (!id)
        return false;
    const struct field fields[] = { FIELD_U64("matched", response->matched), FIELD_U64("modified", response->modified),
                                    FIELD_JSON("upserted_id", id), FIELD_U64("lsn", response->lsn) };
    output_at_lsn(response->lsn, at);
    if (response->upserted_id)
        snprintf(sentence, sizeof sentence, "Matched none, inserted %.400s%s.", id, at);
    else
        snprintf(sentence, sizeof sentence, "Matched %" PRIu64 ", %s %" PRIu64 "%s.", response->matched, verb, response->modified, at);
    output_result(&cli->out, sentence, fields, ARRAY_LEN(fields));
    return true;
}

bool docs_update(struct cli *cli, struct error *err)
{
    Argon__Branch__V1__UpdateRequest request = ARGON__BRANCH__V1__UPDATE_REQUEST__INIT;
    struct change change;
    ProtobufCMessage *message;
    if (options.many && given(options.sort))
        return error_set(err, ERROR_INVALID_ARGUMENT, "--sort says which match is the first, and --many is for all of them");
    if (!fill(cli, &change, "UPDATE", err))
        return false;
    request.target = &change.target;
    request.filter = &change.filter;
    request.update = change.n_pipeline ? NULL : &change.update;
    request.pipeline = change.pipeline;
    request.n_pipeline = change.n_pipeline;
    request.array_filters = change.array_filters;
    request.n_array_filters = change.n_array_filters;
    request.sort = given(options.sort) ? &change.sort : NULL;
    request.upsert = options.upsert;
    request.options = &change.options;
    request.write = &change.write;
    const char *method = options.many ? BRANCH_METHOD("Documents", "UpdateMany") : BRANCH_METHOD("Documents", "UpdateOne");
    return connection_write(&cli->connection, method, &request.base, &argon__branch__v1__update_response__descriptor, &cli->arena, &message,
                            err) &&
           print_updated(cli, "modified", (const void *)message, err);
}

bool docs_replace(struct cli *cli, struct error *err)
{
    Argon__Branch__V1__ReplaceRequest request = ARGON__BRANCH__V1__REPLACE_REQUEST__INIT;
    struct change change;
    ProtobufCMessage *message;
    if (!fill(cli, &change, "DOC", err))
        return false;
    request.target = &change.target;
    request.filter = &change.filter;
    request.replacement = &change.update;
    request.sort = given(options.sort) ? &change.sort : NULL;
    request.upsert = options.upsert;
    request.options = &change.options;
    request.write = &change.write;
    return connection_write(&cli->connection, BRANCH_METHOD("Documents", "ReplaceOne"), &request.base,
                            &argon__branch__v1__update_response__descriptor, &cli->arena, &message, err) &&
           print_updated(cli, "replaced", (const void *)message, err);
}

bool docs_delete(struct cli *cli, struct error *err)
{
    Argon__Branch__V1__DeleteRequest request = ARGON__BRANCH__V1__DELETE_REQUEST__INIT;
    struct change change;
    ProtobufCMessage *message;
    if (!fill(cli, &change, NULL, err))
        return false;
    request.target = &change.target;
    request.filter = &change.filter;
    request.options = &change.options;
    request.write = &change.write;
    const char *method = options.many ? BRANCH_METHOD("Documents", "DeleteMany") : BRANCH_METHOD("Documents", "DeleteOne");
    if (!connection_write(&cli->connection, method, &request.base, &argon__branch__v1__delete_response__descriptor, &cli->arena, &message,
                          err))
        return false;
    const Argon__Branch__V1__DeleteResponse *response = (const void *)message;
    const struct field fields[] = { FIELD_U64("deleted", response->deleted), FIELD_U64("lsn", response->lsn) };
    char sentence[128], at[OUTPUT_AT_LSN_SIZE];
    snprintf(sentence, sizeof sentence, "Deleted %" PRIu64 " document%s%s.", response->deleted, response->deleted == 1 ? "" : "s",
             output_at_lsn(response->lsn, at));
    output_result(&cli->out, sentence, fields, ARRAY_LEN(fields));
    return true;
}

/* ---- find-one-and-* --------------------------------------------------------------------------------- */

static bool parse_return(Argon__Branch__V1__ReturnDocument *out, struct error *err)
{
    const bool after = strcmp(options.shown, "after") == 0;
    *out = after ? ARGON__BRANCH__V1__RETURN_DOCUMENT__RETURN_DOCUMENT_AFTER : ARGON__BRANCH__V1__RETURN_DOCUMENT__RETURN_DOCUMENT_BEFORE;
    return after || strcmp(options.shown, "before") == 0 ||
           error_set(err, ERROR_INVALID_ARGUMENT, "--return is before or after, not '%.40s'", options.shown);
}

/* People see the document, or why there is none. */
static bool find_one_and(struct cli *cli, const char *method, const ProtobufCMessage *request, struct error *err)
{
    ProtobufCMessage *message;
    if (!connection_write(&cli->connection, method, request, &argon__branch__v1__find_and_modify_response__descriptor, &cli->arena,
                          &message, err))
        return false;
    const Argon__Branch__V1__FindAndModifyResponse *response = (const void *)message;
    const char *document = to_json(cli, response->document, err), *id = document ? to_json(cli, response->upserted_id, err) : NULL;
    char sentence[512], at[OUTPUT_AT_LSN_SIZE];
    if (!id)
        return false;
    const struct field fields[] = { FIELD_JSON("document", document), FIELD_U64("matched", response->matched),
                                    FIELD_JSON("upserted_id", id), FIELD_U64("lsn", response->lsn) };
    output_at_lsn(response->lsn, at);
    if (response->upserted_id)
        snprintf(sentence, sizeof sentence, "Matched none, inserted %.400s%s.", id, at);
    else
        snprintf(sentence, sizeof sentence, "Matched none%s.", at);
    output_result(&cli->out, response->document ? document : sentence, fields, ARRAY_LEN(fields));
    return true;
}

bool docs_find_one_and_update(struct cli *cli, struct error *err)
{
    Argon__Branch__V1__FindOneAndUpdateRequest request = ARGON__BRANCH__V1__FIND_ONE_AND_UPDATE_REQUEST__INIT;
    struct change change;
    if (!parse_return(&request.return_document, err) || !fill(cli, &change, "UPDATE", err))
        return false;
    request.target = &change.target;
    request.filter = &change.filter;
    request.update = change.n_pipeline ? NULL : &change.update;
    request.pipeline = change.pipeline;
    request.n_pipeline = change.n_pipeline;
    request.array_filters = change.array_filters;
    request.n_array_filters = change.n_array_filters;
    request.sort = given(options.sort) ? &change.sort : NULL;
    request.projection = given(options.projection) ? &change.projection : NULL;
    request.upsert = options.upsert;
    request.options = &change.options;
    request.write = &change.write;
    return find_one_and(cli, BRANCH_METHOD("Documents", "FindOneAndUpdate"), &request.base, err);
}

bool docs_find_one_and_replace(struct cli *cli, struct error *err)
{
    Argon__Branch__V1__FindOneAndReplaceRequest request = ARGON__BRANCH__V1__FIND_ONE_AND_REPLACE_REQUEST__INIT;
    struct change change;
    if (!parse_return(&request.return_document, err) || !fill(cli, &change, "DOC", err))
        return false;
    request.target = &change.target;
    request.filter = &change.filter;
    request.replacement = &change.update;
    request.sort = given(options.sort) ? &change.sort : NULL;
    request.projection = given(options.projection) ? &change.projection : NULL;
    request.upsert = options.upsert;
    request.options = &change.options;
    request.write = &change.write;
    return find_one_and(cli, BRANCH_METHOD("Documents", "FindOneAndReplace"), &request.base, err);
}

bool docs_find_one_and_delete(struct cli *cli, struct error *err)
{
    Argon__Branch__V1__FindOneAndDeleteRequest request = ARGON__BRANCH__V1__FIND_ONE_AND_DELETE_REQUEST__INIT;
    struct change change;
    if (!fill(cli, &change, NULL, err))
        return false;
    request.target = &change.target;
    request.filter = &change.filter;
    request.sort = given(options.sort) ? &change.sort : NULL;
    request.projection = given(options.projection) ? &change.projection : NULL;
    request.options = &change.options;
    request.write = &change.write;
    return find_one_and(cli, BRANCH_METHOD("Documents", "FindOneAndDelete"), &request.base, err);
}

/* ---- bulk-write ------------------------------------------------------------------------------------- */

static bool append_ids(struct cli *cli, Argon__Branch__V1__IndexedId *const *ids, size_t n, struct buffer *out, struct error *err)
{
    char index[32];
    buffer_append_u8(out, '[');
    for (size_t i = 0; i < n; i++) {
        const char *id = to_json(cli, ids[i]->id, err);
        if (!id)
            return false;
        snprintf(index, sizeof index, "%s{\"index\":%" PRIu32 ",\"id\":", i ? "," : "", ids[i]->index);
        buffer_append(out, index, strlen(index));
        buffer_append(out, id, strlen(id));
        buffer_append_u8(out, '}');
    }
    buffer_append(out, "]", 2);
    return true;
}

void docs_append_errors(Argon__Branch__V1__ItemError *const *errors, size_t n, struct buffer *out)
{
    buffer_append_u8(out, '[');
    for (size_t i = 0; i < n; i++) {
        const struct field fields[] = { FIELD_U64("index", errors[i]->index),
                                        FIELD_STRING("code", error_code_name((enum error_code)errors[i]->code)),
                                        FIELD_U64("mongodb_code", (uint64_t)errors[i]->mongodb_code),
                                        FIELD_STRING("message", errors[i]->message) };
        if (i)
            buffer_append_u8(out, ',');
        output_append_json_object(out, fields, ARRAY_LEN(fields));
    }
    buffer_append(out, "]", 2);
}

static bool print_bulk(struct cli *cli, const Argon__Branch__V1__BulkWriteResponse *response, struct error *err)
{
    struct buffer inserted = { 0 }, upserted = { 0 }, errors = { 0 };
    char sentence[256], at[OUTPUT_AT_LSN_SIZE];
    docs_append_errors(response->errors, response->n_errors, &errors);
    bool ok = append_ids(cli, response->inserted_ids, response->n_inserted_ids, &inserted, err) &&
              append_ids(cli, response->upserted_ids, response->n_upserted_ids, &upserted, err);
    if (ok && (inserted.failed || upserted.failed || errors.failed))
        ok = error_out_of_memory(err);
    if (ok) {
        const struct field fields[] = {
            FIELD_U64("inserted", response->inserted),
            FIELD_U64("matched", response->matched),
            FIELD_U64("modified", response->modified),
            FIELD_U64("deleted", response->deleted),
            FIELD_U64("upserted", response->upserted),
            FIELD_JSON("inserted_ids", (const char *)inserted.data),
            FIELD_JSON("upserted_ids", (const char *)upserted.data),
            FIELD_JSON("errors", (const char *)errors.data),
            FIELD_U64("lsn", response->lsn),
        };
        snprintf(sentence, sizeof sentence,
                 "Inserted %" PRIu64 ", matched %" PRIu64 ", modified %" PRIu64 ", deleted %" PRIu64 ", upserted %" PRIu64 "%s.",
                 response->inserted, response->matched, response->modified, response->deleted, response->upserted,
                 output_at_lsn(response->lsn, at));
        output_result(&cli->out, sentence, fields, ARRAY_LEN(fields));
    }
    buffer_destroy(&inserted);
    buffer_destroy(&upserted);
    buffer_destroy(&errors);
    return ok;
}

bool docs_bulk_write(struct cli *cli, struct error *err)
{
    Argon__Branch__V1__BulkWriteRequest request = ARGON__BRANCH__V1__BULK_WRITE_REQUEST__INIT;
    Argon__Branch__V1__QueryOptions query = ARGON__BRANCH__V1__QUERY_OPTIONS__INIT;
    Argon__Branch__V1__Target target;
    Argon__Branch__V1__WriteOptions write;
    Argon__Branch__V1__Document let;
    ProtobufCMessage *message;
    if (!cli_target(cli, cli->args[0], &target, err) || (given(options.let) && !cli_document(cli, "--let", options.let, &let, err)) ||
        (given(options.hint) && !cli_hint(cli, options.hint, &query, err)) ||
        !bulk_file_read(cli, cli->args[1], &request.operations, &request.n_operations, err) ||
        !connection_begin_write(&cli->connection, target.project, &cli->arena, &write, err))
        return false;
    query.let = given(options.let) ? &let : NULL;
    request.target = &target;
    request.unordered = options.unordered;
    request.atomic = options.atomic;
    request.options = query.let || given(options.hint) ? &query : NULL;
    request.write = &write;
    if (!connection_write(&cli->connection, BRANCH_METHOD("Documents", "BulkWrite"), &request.base,
                          &argon__branch__v1__bulk_write_response__descriptor, &cli->arena, &message, err))
        return false;
    const Argon__Branch__V1__BulkWriteResponse *response = (const void *)message;
    if (!print_bulk(cli, response, err))
        return false;
    if (response->n_errors == 0)
        return true;
    const Argon__Branch__V1__ItemError *first = response->errors[0];
    return error_set(err, (enum error_code)first->code, "%zu operation%s failed, the first of them is number %" PRIu32 ": %s",
                     response->n_errors, response->n_errors == 1 ? "" : "s", first->index, first->message);
}
