#include <inttypes.h>
#include <string.h>

#include "cli/command.h"
#include "cli/docs_read.h"
#include "cli/docs_write.h"
#include "cli/input.h"
#include "cli/insert_batch.h"
#include "cli/read_state.h"

static struct {
    const char *on_duplicate;
} options;

/* ---- insert ---------------------------------------------------------------------------------------- */

static bool add_json(struct insert_batch *batch, struct bytes json, struct error *err)
{
    bson_t bson;
    if (!ejson_parse(json, &bson, err))
        return false;
    bool ok;
    if (batch->n == MAX_BATCH_ENTRIES || batch->documents.len + bson.len > MAX_BATCH_BYTES)
        ok = error_set(err, ERROR_INVALID_ARGUMENT, "one insert takes at most %d documents and %d bytes; use argon import",
                       MAX_BATCH_ENTRIES, MAX_BATCH_BYTES);
    else
        ok = insert_batch_add(batch, bytes_of(bson_get_data(&bson), bson.len), err);
    bson_destroy(&bson);
    return ok;
}

static bool add_standard_input(struct insert_batch *batch, struct error *err)
{
    struct input *input;
    if (!input_open("-", &input, err))
        return false;
    bool ok;
    struct bytes text;
    do {
        struct input_place place;
        ok = input_next(input, &text, &place, err);
        if (ok && text.data && !add_json(batch, text, err))
            ok = error_wrap(err, "line %" PRIu64, place.line);
    } while (ok && text.data);
    input_close(input);
    return ok;
}

/* {"inserted":1,"replaced":0,"skipped":0,"inserted_ids":[{"_id":...}],"errors":[],"lsn":12} */
static bool print_inserted(struct cli *cli, const Argon__Branch__V1__InsertManyResponse *response, struct error *err)
{
    struct buffer ids = { 0 }, sentence = { 0 }, errors = { 0 };
    char text[128], at_lsn[OUTPUT_AT_LSN_SIZE];
    bool ok = true;
    snprintf(text, sizeof text, "Inserted %" PRIu64 " document%s%s.", response->inserted, response->inserted == 1 ? "" : "s",
             output_at_lsn(response->lsn, at_lsn));
    buffer_append(&sentence, text, strlen(text));
    if (response->replaced) {
        snprintf(text, sizeof text, " Replaced %" PRIu64 ".", response->replaced);
        buffer_append(&sentence, text, strlen(text));
    }
    if (response->skipped) {
        snprintf(text, sizeof text, " Skipped %" PRIu64 " whose _id exists.", response->skipped);
        buffer_append(&sentence, text, strlen(text));
    }
    buffer_append_u8(&ids, '[');
    for (size_t i = 0; ok && i < response->n_inserted_ids; i++) {
        const ProtobufCBinaryData *id = &response->inserted_ids[i]->bson;
        size_t begin;
        if (i > 0)
            buffer_append_u8(&ids, ',');
        begin = ids.len;
        ok = ejson_format(bytes_of(id->data, id->len), cli->out.style, &ids, err);
        if (ok && !ids.failed) {
            buffer_append_u8(&sentence, '\n');
            buffer_append(&sentence, ids.data + begin, ids.len - begin);
        }
    }
    buffer_append_u8(&ids, ']');
    buffer_append_u8(&ids, '\0');
    buffer_append_u8(&sentence, '\0');
    docs_append_errors(response->errors, response->n_errors, &errors);
    if (ok && (ids.failed || sentence.failed || errors.failed))
        ok = error_set(err, ERROR_RESOURCE_EXHAUSTED, "no memory for the ids that were inserted");
    if (ok) {
        const struct field fields[] = { FIELD_U64("inserted", response->inserted),       FIELD_U64("replaced", response->replaced),
                                        FIELD_U64("skipped", response->skipped),         FIELD_JSON("inserted_ids", (const char *)ids.data),
                                        FIELD_JSON("errors", (const char *)errors.data), FIELD_U64("lsn", response->lsn) };
        output_result(&cli->out, (const char *)sentence.data, fields, ARRAY_LEN(fields));
    }
    buffer_destroy(&ids);
    buffer_destroy(&sentence);
    buffer_destroy(&errors);
    return ok;
}

/* stop is of one request only, so that import has no such rule. */
static bool parse_rules(struct insert_rules *rules, struct error *err)
{
    if (strcmp(options.on_duplicate, "stop") != 0)
        return insert_rules_parse(options.on_duplicate, rules, err) ||
               error_set(err, ERROR_INVALID_ARGUMENT, "option --on-duplicate: '%s' is none of fail, skip, replace, stop",
                         options.on_duplicate);
    *rules = (struct insert_rules) { .on_duplicate = ARGON__BRANCH__V1__ON_DUPLICATE__ON_DUPLICATE_STOP, .skip_invalid = true };
    return true;
}

/* Of --on-duplicate stop: the documents before it are in. */
static bool tell_where_it_stopped(const Argon__Branch__V1__InsertManyResponse *response, struct error *err)
{
    if (response->n_errors == 0)
        return true;
    const Argon__Branch__V1__ItemError *first = response->errors[0];
    return error_set(err, (enum error_code)first->code, "stopped at document %" PRIu32 ": %s", first->index + 1, first->message);
}

static bool docs_insert(struct cli *cli, struct error *err)
{
    struct insert_batch batch = { 0 };
    Argon__Branch__V1__Target target;
    Argon__Branch__V1__WriteOptions write;
    struct insert_rules rules;
    bool ok = cli_target(cli, cli->args[0], &target, err) && parse_rules(&rules, err);
    for (size_t i = 1; ok && i < cli->n_args; i++) {
        if (strcmp(cli->args[i], "-") == 0)
            ok = add_standard_input(&batch, err);
        else if (!add_json(&batch, bytes_of_string(cli->args[i]), err))
            ok = error_wrap(err, "document %zu", i);
    }
    if (ok && batch.n == 0)
        ok = error_set(err, ERROR_INVALID_ARGUMENT, "there is no document to insert");
    const Argon__Branch__V1__InsertManyResponse *response;
    ok = ok && connection_begin_write(&cli->connection, target.project, &cli->arena, &write, err) &&
         insert_batch_send(&batch, &cli->connection, &target, &rules, &write, &cli->arena, &response, err) &&
         print_inserted(cli, response, err) && tell_where_it_stopped(response, err);
    insert_batch_destroy(&batch);
    return ok;
}

/* ---- the table --------------------------------------------------------------------------------------- */

static const struct config_option insert_options[] = {
    { "on-duplicate", 0, CONFIG_STRING, &options.on_duplicate, "fail", NULL, 0, 0, "fail|skip|replace|stop",
      "when an _id exists already; stop: those before it go in, it and those behind it do not" },
};
static const struct command commands[] = {
    { "insert", "COLLECTION JSON...|- -p PROJECT [-b BRANCH]", "Insert documents, all or none; - reads them from standard input",
      "argon docs insert users '{\"name\": \"Ada\", \"age\": 36}' -p shop -b dev", 2, ANY_NUMBER_OF_ARGS, docs_insert, insert_options,
      ARRAY_LEN(insert_options), NULL },
    { "find", "COLLECTION [FILTER] -p PROJECT [-b BRANCH]", "Print the documents that match, in _id order unless --sort says otherwise",
      "argon docs find users '{\"age\": {\"$gt\": 30}}' -p shop -b dev --sort '{\"age\": -1}' --projection '{\"name\": 1}' --limit 10", 1,
      2, docs_find, docs_find_options, DOCS_N_FIND_OPTIONS, &read_state_options },
    { "update", "COLLECTION FILTER UPDATE|PIPELINE -p PROJECT [-b BRANCH]", "Change the first match, or all with --many",
      "argon docs update users '{\"name\": \"Ada\"}' '{\"$set\": {\"age\": 37}}' --upsert -p shop -b dev", 3, 3, docs_update,
      docs_update_options, DOCS_N_UPDATE_OPTIONS, NULL },
    { "replace", "COLLECTION FILTER DOC -p PROJECT [-b BRANCH]", "Replace the first match",
      "argon docs replace users '{\"name\": \"Ada\"}' '{\"name\": \"Ada\", \"age\": 38}' -p shop -b dev", 3, 3, docs_replace,
      docs_replace_options, DOCS_N_REPLACE_OPTIONS, NULL },
    { "delete", "COLLECTION FILTER -p PROJECT [-b BRANCH]", "Delete the first match, or all with --many",
      "argon docs delete users '{\"age\": {\"$lt\": 18}}' --many -p shop -b dev", 2, 2, docs_delete, docs_delete_options,
      DOCS_N_DELETE_OPTIONS, NULL },
    { "find-one-and-update", "COLLECTION FILTER UPDATE|PIPELINE -p PROJECT [-b BRANCH]", "Change the first match and print it",
      "argon docs find-one-and-update counters '{\"_id\": \"orders\"}' '{\"$inc\": {\"n\": 1}}' --upsert --return after -p shop", 3, 3,
      docs_find_one_and_update, docs_find_one_and_update_options, DOCS_N_FIND_ONE_AND_UPDATE_OPTIONS, NULL },
    { "find-one-and-replace", "COLLECTION FILTER DOC -p PROJECT [-b BRANCH]", "Replace the first match and print it",
      "argon docs find-one-and-replace users '{\"name\": \"Ada\"}' '{\"name\": \"Ada\", \"age\": 38}' -p shop -b dev", 3, 3,
      docs_find_one_and_replace, docs_find_one_and_replace_options, DOCS_N_FIND_ONE_AND_REPLACE_OPTIONS, NULL },
    { "find-one-and-delete", "COLLECTION FILTER -p PROJECT [-b BRANCH]", "Delete the first match and print it",
      "argon docs find-one-and-delete jobs '{\"state\": \"new\"}' --sort '{\"priority\": -1}' -p shop", 2, 2, docs_find_one_and_delete,
      docs_find_one_and_delete_options, DOCS_N_FIND_ONE_AND_DELETE_OPTIONS, NULL },
    { "bulk-write", "COLLECTION FILE|- -p PROJECT [-b BRANCH]",
      "Carry out the operations of a file, {\"insertOne\": {\"document\": ...}} and so on, as mongosh's bulkWrite",
      "argon docs bulk-write users changes.ndjson --unordered -p shop -b dev", 2, 2, docs_bulk_write, docs_bulk_options,
      DOCS_N_BULK_OPTIONS, NULL },
    { "count", "COLLECTION [FILTER] -p PROJECT [-b BRANCH]", "Count the documents that match",
      "argon docs count users '{\"age\": 36}' -p shop -b dev", 1, 2, docs_count, docs_count_options, DOCS_N_COUNT_OPTIONS,
      &read_state_options },
    { "distinct", "COLLECTION FIELD [FILTER] -p PROJECT [-b BRANCH]", "Print the different values of a field",
      "argon docs distinct users address.city '{\"age\": {\"$gt\": 30}}' -p shop -b dev", 2, 3, docs_distinct, docs_distinct_options,
      DOCS_N_DISTINCT_OPTIONS, &read_state_options },
    { "aggregate", "COLLECTION PIPELINE -p PROJECT [-b BRANCH]", "Print what a pipeline makes of the documents",
      "argon docs aggregate users '[{\"$group\": {\"_id\": \"$city\", \"n\": {\"$sum\": 1}}}]' -p shop -b dev", 2, 2, docs_aggregate,
      docs_aggregate_options, DOCS_N_AGGREGATE_OPTIONS, &read_state_options },
    { "explain", "COLLECTION [FILTER|PIPELINE] -p PROJECT [-b BRANCH]", "Tell how find, or aggregate, reaches its documents",
      "argon docs explain users '{\"_id\": {\"$gt\": 100}}' -p shop -b dev --sort '{\"_id\": -1}'", 1, 2, docs_explain, docs_find_options,
      DOCS_N_FIND_OPTIONS, &read_state_options },
};

const struct command_group docs_group = { "docs", "Insert, find, change, delete, count and aggregate documents", commands,
                                          ARRAY_LEN(commands), GROUP_REMOTE };
