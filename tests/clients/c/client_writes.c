/* Calls that a branch of any kind answers: the caller says nothing of request ids.
 *
 *     client_writes PROJECT BRANCH         the service's address is in ARGON_ENDPOINT
 */
#include <argon/argon.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void check(bool ok, const char *what, const struct argon_error *error)
{
    if (ok)
        return;
    fprintf(stderr, "%s: %d, %s\n", what, (int)error->code, error->message);
    exit(EXIT_FAILURE);
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return EXIT_FAILURE;
    const struct argon_target items = { argv[1], argv[2], "items" };
    const struct argon_document documents[] = { ARGON_JSON("{\"_id\":1,\"n\":1}"), ARGON_JSON("{\"_id\":2,\"n\":1}") };
    const struct argon_document one = ARGON_JSON("{\"_id\":1}"), more = ARGON_JSON("{\"$inc\":{\"n\":1}}");
    struct argon_error error;
    struct argon_written written;
    struct argon_client *argon = argon_open(&(struct argon_options) { .endpoint = getenv("ARGON_ENDPOINT") }, &error);
    check(argon, "open", &error);
    check(argon_insert(argon, &items, documents, 2, ARGON_FAIL, &written, &error) && written.inserted == 2, "insert", &error);
    check(argon_update(argon, &items, &one, &more, false, &written, &error) && written.modified == 1, "update", &error);
    check(argon_delete(argon, &items, &documents[1], false, &written, &error) && written.deleted == 1, "delete", &error);
    check(!argon_insert(argon, &items, documents, 1, ARGON_FAIL, &written, &error) && error.code == ARGON_ALREADY_EXISTS, "again", &error);

    const struct argon_operation upsert = {
        .kind = ARGON_UPDATE_ONE, .filter = ARGON_JSON("{\"_id\":3}"), .document = more, .upsert = true
    };
    const struct argon_operation operations[] = { { .kind = ARGON_INSERT_ONE, .document = ARGON_JSON("{\"_id\":4}") },
                                                  { .kind = ARGON_DELETE_MANY, .filter = ARGON_JSON("{\"_id\":{\"$gte\":3}}") } };
    const struct argon_write_options after = { .after = true, .format = ARGON_FORMAT_RELAXED_JSON };
    struct argon_answer *answer = argon_write(argon, &items, &upsert, NULL, &error);
    check(answer && answer->written.upserted == 1, "upsert", &error);
    argon_answer_free(answer);
    answer = argon_find_one_and(argon, &items, &upsert, &after, &error);
    check(answer && strcmp(answer->document.data, "{\"_id\":3,\"n\":2}") == 0, "find one and", &error);
    argon_answer_free(answer);
    answer = argon_bulk_write(argon, &items, operations, 2, NULL, &error);
    check(answer && answer->written.inserted == 1 && answer->written.deleted == 2, "bulk write", &error);
    argon_answer_free(answer);

    uint64_t count;
    const struct argon_query shown = { .format = ARGON_FORMAT_RELAXED_JSON };
    check(argon_estimated_count(argon, &items, NULL, &count, &error) && count == 1, "estimated count", &error);
    answer = argon_distinct(argon, &items, "n", &shown, &error);
    check(answer && strcmp(answer->document.data, "{\"values\":[2]}") == 0, "distinct", &error);
    argon_answer_free(answer);
    /* MongoDB refuses a hint at an index that is not there; a WAL branch needs none */
    const struct argon_query by_id = { .hint = "_id_" }, by_n = { .hint = "by_n" };
    const struct argon_operation raise = { .kind = ARGON_UPDATE_MANY, .filter = ARGON_JSON("{\"_id\":9}"), .document = more };
    check(argon_count(argon, &items, &by_id, &count, &error) && count == 1, "count by _id", &error);
    const bool is_wal = argon_count(argon, &items, &by_n, &count, &error);
    check(is_wal || error.code == ARGON_INVALID_ARGUMENT, "count by n", &error);
    answer = argon_write(argon, &items, &raise, &(struct argon_write_options) { .hint = "_id_" }, &error);
    check(answer && answer->written.matched == 0, "update by _id", &error);
    argon_answer_free(answer);
    answer = argon_write(argon, &items, &raise, &(struct argon_write_options) { .hint = "by_n" }, &error);
    check(is_wal ? answer != NULL : !answer && error.code == ARGON_INVALID_ARGUMENT, "update by n", &error);
    argon_answer_free(answer);
    const struct argon_document twice[] = { ARGON_JSON("{\"_id\":30}"), ARGON_JSON("{\"_id\":30}"), ARGON_JSON("{\"_id\":31}") };
    answer = argon_insert_many(argon, &items, twice, 3, &(struct argon_insert_options) { .on_duplicate = ARGON_REPORT }, &error);
    check(answer && answer->n_inserted_ids == 2 && answer->inserted_ids[1].index == 2 && answer->n_errors == 1 &&
              answer->errors[0].index == 1,
          "insert of many", &error);
    argon_answer_free(answer);
    const struct argon_document both = ARGON_JSON("{\"_id\":{\"$gte\":30}}");
    check(argon_delete(argon, &items, &both, true, &written, &error) && written.deleted == 2, "delete of both", &error);
    struct argon_plan plan;
    bool explained = argon_explain(argon, &items, NULL, 0, NULL, &plan, &error);
    check(explained && plan.access == ARGON_ACCESS_SCAN && plan.returned == 1, "explain", &error);
    argon_close(argon);
    return EXIT_SUCCESS;
}
