/* Operations, the answers to them, and the questions beside find, of libargon against a branch service, whose address is in
 * ARGON_ENDPOINT. */
#include <argon/argon.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define PROJECT "c-client-operations"

static struct argon_client *argon;
static const struct argon_target items = { PROJECT, "main", "items" };
static const struct argon_write_options as_json = { .format = ARGON_FORMAT_RELAXED_JSON };

static void expect_ok(bool ok, const struct argon_error *error)
{
    if (!ok)
        fail_msg("%d: %s", (int)error->code, error->message);
    assert_int_equal(error->code, ARGON_OK);
}

/* There is no answer, and nothing was changed. */
static void expect_refused(const struct argon_answer *answer, const struct argon_error *error, enum argon_code code, const char *why)
{
    if (answer || error->code != code || !error->not_applied || !strstr(error->message, why))
        fail_msg("%s, code %d, %s: %s", answer ? "ok" : "failed", (int)error->code, error->not_applied ? "not applied" : "outcome unknown",
                 error->message);
}

static struct argon_document json(const char *text)
{
    return (struct argon_document)ARGON_JSON(text);
}

static void expect_document(const struct argon_document *document, const char *expected)
{
    if (!expected) {
        assert_null(document->data);
        return;
    }
    assert_non_null(document->data);
    if (document->len != strlen(expected) || memcmp(document->data, expected, document->len) != 0)
        fail_msg("%.*s instead of %s", (int)document->len, (const char *)document->data, expected);
}

static void expect_found(const char *expected)
{
    const struct argon_query shown = { .format = ARGON_FORMAT_RELAXED_JSON };
    struct argon_document document;
    struct argon_error error;
    char *text = NULL;
    size_t len;
    struct argon_cursor *cursor = argon_find(argon, &items, &shown, &error);
    expect_ok(cursor, &error);
    FILE *out = open_memstream(&text, &len);
    while (argon_cursor_next(cursor, &document, &error))
        fprintf(out, "%.*s;", (int)document.len, (const char *)document.data);
    expect_ok(true, &error);
    argon_cursor_close(cursor);
    fclose(out);
    assert_string_equal(text, expected);
    free(text);
}

static void insert(const char *text)
{
    struct argon_error error;
    const struct argon_document document = json(text);
    expect_ok(argon_insert(argon, &items, &document, 1, ARGON_FAIL, NULL, &error), &error);
}

static struct argon_answer *done(struct argon_operation operation, const struct argon_write_options *options)
{
    struct argon_error error;
    struct argon_answer *answer = argon_write(argon, &items, &operation, options, &error);
    expect_ok(answer, &error);
    assert_true(answer->written.lsn > 0 && answer->n_errors == 0 && !answer->document.data);
    return answer;
}

/* What find-one-and answers, as relaxed JSON; NULL: no document. */
static void expect_one(struct argon_operation operation, struct argon_write_options options, uint64_t matched, const char *document,
                       const char *upserted_id)
{
    struct argon_error error;
    options.format = ARGON_FORMAT_RELAXED_JSON;
    struct argon_answer *answer = argon_find_one_and(argon, &items, &operation, &options, &error);
    expect_ok(answer, &error);
    expect_document(&answer->document, document);
    assert_int_equal(answer->written.matched, matched);
    assert_int_equal(answer->written.upserted, upserted_id != NULL);
    assert_int_equal(answer->n_upserted_ids, upserted_id != NULL);
    if (upserted_id)
        expect_document(&answer->upserted_ids[0].id, upserted_id);
    assert_true(answer->written.lsn > 0);
    argon_answer_free(answer);
}

static int with_project(void **state)
{
    struct argon_error error;
    (void)state;
    argon = argon_open(NULL, &error);
    return argon && argon_create_project(argon, PROJECT, &error) ? 0 : -1;
}

static int without_project(void **state)
{
    struct argon_error error;
    (void)state;
    bool ok = argon_delete_project(argon, PROJECT, &error);
    argon_close(argon);
    return ok ? 0 : -1;
}

/* ---- one operation ---------------------------------------------------------------------------------- */

static void an_insert_tells_its_id(void **state)
{
    (void)state;
    struct argon_error error;
    const struct argon_operation one = { .kind = ARGON_INSERT_ONE, .document = ARGON_JSON("{\"_id\":1}") };
    struct argon_answer *answer = done(one, &as_json);
    assert_true(answer->written.inserted == 1 && answer->n_inserted_ids == 1 && answer->n_upserted_ids == 0);
    argon_answer_free(answer);
    expect_refused(argon_write(argon, &items, &one, NULL, &error), &error, ARGON_ALREADY_EXISTS, "");
    /* an ObjectId of the service's making, in BSON */
    answer = done((struct argon_operation) { .kind = ARGON_INSERT_ONE, .document = ARGON_JSON("{\"a\":1}") }, NULL);
    assert_int_equal(answer->inserted_ids[0].id.format, ARGON_FORMAT_BSON);
    assert_int_equal(answer->inserted_ids[0].id.len, 4 + 1 + 4 + 12 + 1);
    argon_answer_free(answer);
    argon_answer_free(NULL);
}

/* 0:{"_id":1} 2:{"_id":3} | 1:6,11000 */
static void expect_inserted(struct argon_answer *answer, const struct argon_error *error, const char *expected)
{
    char *text = NULL;
    size_t len;
    expect_ok(answer, error);
    FILE *out = open_memstream(&text, &len);
    for (size_t i = 0; i < answer->n_inserted_ids; i++) {
        const struct argon_indexed_id *id = &answer->inserted_ids[i];
        fprintf(out, "%zu:%.*s ", id->index, (int)id->id.len, (const char *)id->id.data);
    }
    fprintf(out, "|");
    for (size_t i = 0; i < answer->n_errors; i++) {
        assert_non_null(answer->errors[i].message);
        fprintf(out, " %zu:%d,%d", answer->errors[i].index, (int)answer->errors[i].code, answer->errors[i].mongodb_code);
    }
    fclose(out);
    assert_string_equal(text, expected);
    free(text);
    assert_true(answer->written.lsn > 0);
    argon_answer_free(answer);
}

static const struct argon_document several[] = { ARGON_JSON("{\"_id\":1}"), ARGON_JSON("{\"_id\":2}"), ARGON_JSON("{\"_id\":1,\"n\":2}"),
                                                 ARGON_JSON("{\"_id\":4}") };
enum { SEVERAL = 4 };

static void an_insert_of_many_tells_ids_and_errors(void **state)
{
    (void)state;
    struct argon_error error;
    struct argon_insert_options options = { .format = ARGON_FORMAT_RELAXED_JSON };
    insert("{\"_id\":2}");
    expect_refused(argon_insert_many(argon, &items, several, SEVERAL, &options, &error), &error, ARGON_ALREADY_EXISTS, "{\"_id\":2}");
    options.on_duplicate = ARGON_REPORT;
    expect_inserted(argon_insert_many(argon, &items, several, SEVERAL, &options, &error), &error,
                    "0:{\"_id\":1} 3:{\"_id\":4} | 1:6,11000 2:6,11000");
    expect_found("{\"_id\":1};{\"_id\":2};{\"_id\":4};");
    options.on_duplicate = ARGON_REPLACE;
    struct argon_answer *answer = argon_insert_many(argon, &items, &several[1], 3, &options, &error);
    expect_ok(answer, &error);
    assert_true(answer->written.replaced == 1 && answer->written.skipped == 2 && answer->written.inserted == 0);
    argon_answer_free(answer);
    expect_found("{\"_id\":1,\"n\":2};{\"_id\":2};{\"_id\":4};");
}

static void an_insert_of_many_stops_or_leaves_out(void **state)
{
    (void)state;
    struct argon_error error;
    struct argon_insert_options options = { .on_duplicate = ARGON_STOP, .format = ARGON_FORMAT_RELAXED_JSON };
    expect_inserted(argon_insert_many(argon, &items, several, SEVERAL, &options, &error), &error,
                    "0:{\"_id\":1} 1:{\"_id\":2} | 2:6,11000");
    expect_found("{\"_id\":1};{\"_id\":2};");
    const struct argon_document bad[] = { json("{\"_id\":7}"), json("{"), json("{\"_id\":[1]}"), json("{\"_id\":2}"), json("{\"_id\":8}") };
    options = (struct argon_insert_options) { .on_duplicate = ARGON_REPORT, .skip_invalid = true, .format = ARGON_FORMAT_RELAXED_JSON };
    expect_inserted(argon_insert_many(argon, &items, bad, 5, &options, &error), &error,
                    "0:{\"_id\":7} 4:{\"_id\":8} | 1:3,0 2:3,53 3:6,11000");
    options.skip_invalid = false;
    expect_refused(argon_insert_many(argon, &items, bad, 5, &options, &error), &error, ARGON_INVALID_ARGUMENT, "document 1");
}

static void odd_inserts_of_many_are_refused(void **state)
{
    (void)state;
    struct argon_error error;
    struct argon_written written;
    const struct argon_insert_options odd = { .on_duplicate = (enum argon_on_duplicate)5 };
    expect_refused(argon_insert_many(argon, &items, several, SEVERAL, &odd, &error), &error, ARGON_INVALID_ARGUMENT, "on_duplicate");
    expect_refused(argon_insert_many(argon, &items, NULL, 1, NULL, &error), &error, ARGON_INVALID_ARGUMENT, "");
    expect_refused(argon_insert_many(argon, &items, several, 0, NULL, &error), &error, ARGON_INVALID_ARGUMENT, "");
    expect_refused(argon_insert_many(argon, NULL, several, 1, NULL, &error), &error, ARGON_INVALID_ARGUMENT, "");
    assert_false(argon_insert(argon, &items, several, 1, ARGON_STOP, &written, &error));
    assert_true(error.code == ARGON_INVALID_ARGUMENT && strstr(error.message, "argon_insert_many"));
    expect_found("");
}

static void an_upsert_inserts_what_is_not_there(void **state)
{
    (void)state;
    const struct argon_operation raise = {
        .kind = ARGON_UPDATE_ONE, .filter = ARGON_JSON("{\"_id\":\"a\"}"), .document = ARGON_JSON("{\"$inc\":{\"n\":1}}"), .upsert = true
    };
    struct argon_answer *answer = done(raise, &as_json);
    assert_true(answer->written.matched == 0 && answer->written.modified == 0 && answer->written.upserted == 1);
    assert_int_equal(answer->n_upserted_ids, 1);
    assert_int_equal(answer->upserted_ids[0].index, 0);
    expect_document(&answer->upserted_ids[0].id, "{\"_id\":\"a\"}");
    argon_answer_free(answer);
    answer = done(raise, NULL);
    assert_true(answer->written.matched == 1 && answer->written.modified == 1 && answer->written.upserted == 0);
    assert_int_equal(answer->n_upserted_ids, 0);
    argon_answer_free(answer);
    argon_answer_free(done((struct argon_operation) { .kind = ARGON_UPDATE_MANY,
                                                      .filter = ARGON_JSON("{\"_id\":\"b\"}"),
                                                      .document = ARGON_JSON("{\"$set\":{\"n\":5}}"),
                                                      .upsert = true },
                           NULL));
    argon_answer_free(done(
        (struct argon_operation) {
            .kind = ARGON_REPLACE_ONE, .filter = ARGON_JSON("{\"_id\":\"c\"}"), .document = ARGON_JSON("{\"n\":7}"), .upsert = true },
        NULL));
    expect_found("{\"_id\":\"a\",\"n\":2};{\"_id\":\"b\",\"n\":5};{\"_id\":\"c\",\"n\":7};");
}

static void updates_take_array_filters_pipelines_variables_and_sort(void **state)
{
    (void)state;
    insert("{\"_id\":1,\"n\":1,\"tags\":[\"hot\",\"leaf\"]}");
    insert("{\"_id\":2,\"n\":2}");
    const struct argon_document hot = json("{\"t\":\"hot\"}"), all = json("{}");
    const struct argon_document stages[] = { ARGON_JSON("{\"$set\":{\"n\":{\"$multiply\":[\"$n\",\"$$by\"]}}}"),
                                             ARGON_JSON("{\"$unset\":\"tags\"}") };
    argon_answer_free(done((struct argon_operation) { .kind = ARGON_UPDATE_ONE,
                                                      .filter = ARGON_JSON("{\"_id\":1}"),
                                                      .document = ARGON_JSON("{\"$set\":{\"tags.$[t]\":\"warm\"}}"),
                                                      .array_filters = &hot,
                                                      .n_array_filters = 1 },
                           NULL));
    expect_found("{\"_id\":1,\"n\":1,\"tags\":[\"warm\",\"leaf\"]};{\"_id\":2,\"n\":2};");
    struct argon_answer *answer =
        done((struct argon_operation) { .kind = ARGON_UPDATE_MANY, .filter = all, .pipeline = stages, .n_pipeline = 2 },
             &(struct argon_write_options) { .let = ARGON_JSON("{\"by\":10}"), .atomic = true });
    assert_true(answer->written.matched == 2 && answer->written.modified == 2);
    argon_answer_free(answer);
    expect_found("{\"_id\":1,\"n\":10};{\"_id\":2,\"n\":20};");
    const struct argon_document last = json("{\"_id\":-1}");
    argon_answer_free(done(
        (struct argon_operation) { .kind = ARGON_UPDATE_ONE, .filter = all, .document = ARGON_JSON("{\"$set\":{\"n\":0}}"), .sort = last },
        NULL));
    argon_answer_free(done((struct argon_operation) { .kind = ARGON_REPLACE_ONE,
                                                      .filter = ARGON_JSON("{\"$expr\":{\"$gte\":[\"$_id\",\"$$from\"]}}"),
                                                      .document = ARGON_JSON("{\"m\":1}"),
                                                      .sort = ARGON_JSON("{\"n\":-1}") },
                           &(struct argon_write_options) { .let = ARGON_JSON("{\"from\":1}") }));
    expect_found("{\"_id\":1,\"m\":1};{\"_id\":2,\"n\":0};");
}

static void deletes_take_variables(void **state)
{
    (void)state;
    const struct argon_write_options from = { .let = ARGON_JSON("{\"from\":2}"), .atomic = true };
    struct argon_operation operation = { .kind = ARGON_DELETE_ONE, .filter = ARGON_JSON("{\"$expr\":{\"$gte\":[\"$_id\",\"$$from\"]}}") };
    insert("{\"_id\":1}");
    insert("{\"_id\":2}");
    insert("{\"_id\":3}");
    insert("{\"_id\":4}");
    struct argon_answer *answer = done(operation, &from);
    assert_int_equal(answer->written.deleted, 1);
    argon_answer_free(answer);
    expect_found("{\"_id\":1};{\"_id\":3};{\"_id\":4};");
    operation.kind = ARGON_DELETE_MANY;
    answer = done(operation, &from);
    assert_int_equal(answer->written.deleted, 2);
    argon_answer_free(answer);
    expect_found("{\"_id\":1};");
}

/* More documents than one batch holds. */
static void an_atomic_update_that_does_not_fit_one_batch_changes_nothing(void **state)
{
    (void)state;
    enum { N = 1500, AT_ONCE = 100, BYTES = 40000 };
    struct argon_error error;
    uint64_t count;
    char *text = malloc(BYTES + 40);
    struct argon_document documents[AT_ONCE];
    snprintf(text, BYTES + 40, "{\"n\":0,\"pad\":\"%*s\"}", BYTES, "");
    for (size_t i = 0; i < AT_ONCE; i++)
        documents[i] = json(text);
    for (size_t i = 0; i < N / AT_ONCE; i++)
        expect_ok(argon_insert(argon, &items, documents, AT_ONCE, ARGON_FAIL, NULL, &error), &error);
    free(text);
    const struct argon_operation raise = { .kind = ARGON_UPDATE_MANY,
                                           .filter = ARGON_JSON("{}"),
                                           .document = ARGON_JSON("{\"$set\":{\"n\":1}}") };
    const struct argon_query raised = { .filter = ARGON_JSON("{\"n\":1}") };
    expect_refused(argon_write(argon, &items, &raise, &(struct argon_write_options) { .atomic = true }, &error), &error,
                   ARGON_INVALID_ARGUMENT, "");
    expect_ok(argon_count(argon, &items, &raised, &count, &error), &error);
    assert_int_equal(count, 0);
    struct argon_answer *answer = done(raise, NULL); /* in steps it goes */
    assert_int_equal(answer->written.modified, N);
    argon_answer_free(answer);
}

/* What a kind does not take, and what the service refuses. */
static void odd_operations_are_refused(void **state)
{
    (void)state;
    struct argon_error error;
    const struct argon_document one = json("{\"_id\":1}"), set = json("{\"$set\":{\"a\":1}}"), odd = json("{\"$odd\":1}");
    static const char no_place[] = "does not take", lacks[] = "lacks";
    const struct {
        struct argon_operation operation;
        const char *why;
    } refused[] = {
        { { 0 }, "no known kind" },
        { { .kind = (enum argon_operation_kind)7, .document = one }, "no known kind" },
        { { .kind = ARGON_INSERT_ONE }, lacks },
        { { .kind = ARGON_INSERT_ONE, .document = one, .filter = one }, no_place },
        { { .kind = ARGON_INSERT_ONE, .document = one, .upsert = true }, no_place },
        { { .kind = ARGON_UPDATE_ONE, .document = set }, lacks },
        { { .kind = ARGON_UPDATE_ONE, .filter = one }, lacks },
        { { .kind = ARGON_UPDATE_ONE, .filter = one, .document = odd }, "$odd" },
        { { .kind = ARGON_UPDATE_ONE, .filter = one, .document = set, .pipeline = &set, .n_pipeline = 1 }, "" },
        { { .kind = ARGON_UPDATE_ONE, .filter = one, .n_pipeline = 1 }, "no data" },
        { { .kind = ARGON_UPDATE_ONE, .filter = one, .pipeline = &set, .n_pipeline = SIZE_MAX }, "more documents" },
        { { .kind = ARGON_UPDATE_ONE, .filter = one, .document = set, .array_filters = &odd, .n_array_filters = SIZE_MAX },
          "more documents" },
        { { .kind = ARGON_UPDATE_MANY, .filter = one, .document = set, .sort = one }, no_place },
        { { .kind = ARGON_REPLACE_ONE, .filter = one }, lacks },
        { { .kind = ARGON_REPLACE_ONE, .filter = one, .document = set }, "" },
        { { .kind = ARGON_REPLACE_ONE, .filter = one, .document = one, .pipeline = &set, .n_pipeline = 1 }, no_place },
        { { .kind = ARGON_REPLACE_ONE, .filter = one, .document = one, .array_filters = &one, .n_array_filters = 1 }, no_place },
        { { .kind = ARGON_DELETE_ONE }, lacks },
        { { .kind = ARGON_DELETE_ONE, .filter = one, .sort = one }, no_place },
        { { .kind = ARGON_DELETE_ONE, .filter = one, .document = set }, no_place },
        { { .kind = ARGON_DELETE_MANY, .filter = one, .upsert = true }, no_place },
    };
    insert("{\"_id\":1}");
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
        expect_refused(argon_write(argon, &items, &refused[i].operation, NULL, &error), &error, ARGON_INVALID_ARGUMENT, refused[i].why);
        if (refused[i].why == no_place || refused[i].why == lacks)
            expect_refused(argon_bulk_write(argon, &items, &refused[i].operation, 1, NULL, &error), &error, ARGON_INVALID_ARGUMENT,
                           "operation 0: ");
    }
    const struct argon_operation good = { .kind = ARGON_UPDATE_ONE, .filter = one, .document = set },
                                 whole = { .kind = ARGON_UPDATE_MANY, .filter = one, .document = set },
                                 removal = { .kind = ARGON_DELETE_ONE, .filter = one };
    const struct argon_write_options unordered = { .unordered = true }, after = { .after = true },
                                     projected = { .projection = ARGON_JSON("{\"a\":1}") }, let = { .let = ARGON_JSON("5") };
    expect_refused(argon_write(argon, &items, NULL, NULL, &error), &error, ARGON_INVALID_ARGUMENT, "missing");
    expect_refused(argon_write(argon, NULL, &good, NULL, &error), &error, ARGON_INVALID_ARGUMENT, "target");
    expect_refused(argon_write(argon, &items, &good, &unordered, &error), &error, ARGON_INVALID_ARGUMENT, "argon_bulk_write");
    expect_refused(argon_write(argon, &items, &good, &after, &error), &error, ARGON_INVALID_ARGUMENT, "argon_find_one_and");
    expect_refused(argon_write(argon, &items, &good, &projected, &error), &error, ARGON_INVALID_ARGUMENT, "argon_find_one_and");
    expect_refused(argon_write(argon, &items, &good, &let, &error), &error, ARGON_INVALID_ARGUMENT, "let");
    expect_refused(argon_find_one_and(argon, &items, NULL, NULL, &error), &error, ARGON_INVALID_ARGUMENT, "missing");
    expect_refused(argon_find_one_and(argon, NULL, &good, NULL, &error), &error, ARGON_INVALID_ARGUMENT, "target");
    expect_refused(argon_find_one_and(argon, &items, &whole, NULL, &error), &error, ARGON_INVALID_ARGUMENT, "one document");
    expect_refused(argon_find_one_and(argon, &items, &removal, &after, &error), &error, ARGON_INVALID_ARGUMENT, "after a delete");
    expect_refused(argon_find_one_and(argon, &items, &good, &unordered, &error), &error, ARGON_INVALID_ARGUMENT, "argon_bulk_write");
    expect_refused(argon_find_one_and(argon, &items, &good, &let, &error), &error, ARGON_INVALID_ARGUMENT, "let");
    expect_refused(argon_bulk_write(argon, &items, NULL, 1, NULL, &error), &error, ARGON_INVALID_ARGUMENT, "100,000");
    expect_refused(argon_bulk_write(argon, &items, &good, 0, NULL, &error), &error, ARGON_INVALID_ARGUMENT, "100,000");
    expect_refused(argon_bulk_write(argon, &items, &good, SIZE_MAX, NULL, &error), &error, ARGON_INVALID_ARGUMENT, "100,000");
    expect_refused(argon_bulk_write(argon, NULL, &good, 1, NULL, &error), &error, ARGON_INVALID_ARGUMENT, "target");
    expect_refused(argon_bulk_write(argon, &items, &good, 1, &after, &error), &error, ARGON_INVALID_ARGUMENT, "argon_find_one_and");
    const struct argon_target elsewhere = { PROJECT, "nowhere", "items" };
    expect_refused(argon_write(argon, &elsewhere, &good, NULL, &error), &error, ARGON_NOT_FOUND, "nowhere");
    expect_refused(argon_find_one_and(argon, &elsewhere, &good, NULL, &error), &error, ARGON_NOT_FOUND, "nowhere");
    expect_refused(argon_bulk_write(argon, &elsewhere, &good, 1, NULL, &error), &error, ARGON_NOT_FOUND, "nowhere");
    expect_found("{\"_id\":1};");
}

/* ---- find one and ... ------------------------------------------------------------------------------- */

static void find_one_and_shows_the_document_before_or_after(void **state)
{
    (void)state;
    const struct argon_write_options before = { 0 }, after = { .after = true };
    const struct argon_document stage = json("{\"$set\":{\"n\":{\"$add\":[\"$n\",\"$$by\"]}}}"), high = json("{\"x\":{\"$gt\":1}}");
    const struct argon_operation raise = { .kind = ARGON_UPDATE_ONE,
                                           .filter = ARGON_JSON("{\"_id\":\"a\"}"),
                                           .document = ARGON_JSON("{\"$inc\":{\"n\":1}}"),
                                           .upsert = true },
                                 add = { .kind = ARGON_UPDATE_ONE,
                                         .filter = ARGON_JSON("{}"),
                                         .pipeline = &stage,
                                         .n_pipeline = 1,
                                         .sort = ARGON_JSON("{\"n\":-1}") },
                                 list = { .kind = ARGON_UPDATE_ONE,
                                          .filter = ARGON_JSON("{\"_id\":\"l\"}"),
                                          .document = ARGON_JSON("{\"$set\":{\"l.$[x]\":0}}"),
                                          .array_filters = &high,
                                          .n_array_filters = 1 };
    expect_one(raise, before, 0, NULL, "{\"_id\":\"a\"}");
    expect_one(raise, before, 1, "{\"_id\":\"a\",\"n\":1}", NULL);
    expect_one(raise, after, 1, "{\"_id\":\"a\",\"n\":3}", NULL);
    insert("{\"_id\":\"b\",\"n\":9}");
    expect_one(add,
               (struct argon_write_options) { .let = ARGON_JSON("{\"by\":5}"), .after = true, .projection = ARGON_JSON("{\"_id\":0}") }, 1,
               "{\"n\":14}", NULL);
    insert("{\"_id\":\"l\",\"l\":[1,2]}");
    expect_one(list, after, 1, "{\"_id\":\"l\",\"l\":[1,0]}", NULL);

    const struct argon_operation replace = { .kind = ARGON_REPLACE_ONE,
                                             .filter = ARGON_JSON("{\"_id\":{\"$ne\":\"l\"}}"),
                                             .document = ARGON_JSON("{\"m\":1}"),
                                             .sort = ARGON_JSON("{\"_id\":-1}") },
                                 place = { .kind = ARGON_REPLACE_ONE,
                                           .filter = ARGON_JSON("{\"_id\":\"c\"}"),
                                           .document = ARGON_JSON("{\"m\":2}"),
                                           .upsert = true };
    expect_one(replace, before, 1, "{\"_id\":\"b\",\"n\":14}", NULL);
    expect_one(place, after, 0, "{\"_id\":\"c\",\"m\":2}", "{\"_id\":\"c\"}");

    const struct argon_operation removal = { .kind = ARGON_DELETE_ONE,
                                             .filter = ARGON_JSON("{\"m\":{\"$exists\":true}}"),
                                             .sort = ARGON_JSON("{\"m\":-1}") };
    expect_one(removal, (struct argon_write_options) { .projection = ARGON_JSON("{\"m\":1}") }, 1, "{\"_id\":\"c\",\"m\":2}", NULL);
    expect_one(removal, before, 1, "{\"_id\":\"b\",\"m\":1}", NULL);
    expect_one(removal, before, 0, NULL, NULL);
    expect_found("{\"_id\":\"a\",\"n\":3};{\"_id\":\"l\",\"l\":[1,0]};");
}

/* ---- many operations -------------------------------------------------------------------------------- */

static void a_bulk_write_does_one_operation_after_the_other(void **state)
{
    (void)state;
    struct argon_error error;
    const struct argon_document stage = json("{\"$set\":{\"n\":{\"$add\":[\"$n\",\"$$by\"]}}}"), seven = json("{\"x\":7}");
    const struct argon_operation operations[] = {
        { .kind = ARGON_INSERT_ONE, .document = ARGON_JSON("{\"_id\":1,\"n\":1}") },
        { .kind = ARGON_INSERT_ONE, .document = ARGON_JSON("{\"_id\":2,\"n\":2,\"l\":[7,8]}") },
        { .kind = ARGON_UPDATE_MANY, .filter = ARGON_JSON("{}"), .pipeline = &stage, .n_pipeline = 1 },
        { .kind = ARGON_UPDATE_ONE,
          .filter = ARGON_JSON("{}"),
          .document = ARGON_JSON("{\"$set\":{\"l.$[x]\":0}}"),
          .array_filters = &seven,
          .n_array_filters = 1,
          .sort = ARGON_JSON("{\"n\":-1}") },
        { .kind = ARGON_REPLACE_ONE, .filter = ARGON_JSON("{\"_id\":3}"), .document = ARGON_JSON("{\"m\":1}"), .upsert = true },
        { .kind = ARGON_REPLACE_ONE,
          .filter = ARGON_JSON("{\"_id\":{\"$gt\":1}}"),
          .document = ARGON_JSON("{\"m\":2}"),
          .sort = ARGON_JSON("{\"_id\":-1}") },
        { .kind = ARGON_UPDATE_ONE, .filter = ARGON_JSON("{\"_id\":4}"), .document = ARGON_JSON("{\"$set\":{\"m\":4}}"), .upsert = true },
        { .kind = ARGON_DELETE_ONE, .filter = ARGON_JSON("{}") },
        { .kind = ARGON_DELETE_MANY, .filter = ARGON_JSON("{\"m\":4}") },
    };
    const struct argon_write_options options = { .let = ARGON_JSON("{\"by\":10}"), .format = ARGON_FORMAT_RELAXED_JSON };
    struct argon_answer *answer = argon_bulk_write(argon, &items, operations, sizeof operations / sizeof operations[0], &options, &error);
    expect_ok(answer, &error);
    const struct argon_written *written = &answer->written;
    assert_true(written->inserted == 2 && written->matched == 4 && written->modified == 4 && written->deleted == 2 &&
                written->upserted == 2);
    assert_true(written->lsn > 0 && answer->n_errors == 0 && !answer->document.data);
    assert_int_equal(answer->n_inserted_ids, 2);
    assert_int_equal(answer->inserted_ids[1].index, 1);
    expect_document(&answer->inserted_ids[1].id, "{\"_id\":2}");
    assert_int_equal(answer->n_upserted_ids, 2);
    assert_int_equal(answer->upserted_ids[1].index, 6);
    expect_document(&answer->upserted_ids[1].id, "{\"_id\":4}");
    argon_answer_free(answer);
    expect_found("{\"_id\":2,\"n\":12,\"l\":[0,8]};{\"_id\":3,\"m\":2};");
}

static void a_bulk_write_tells_what_failed(void **state)
{
    (void)state;
    struct argon_error error;
    const struct argon_operation operations[] = {
        { .kind = ARGON_INSERT_ONE, .document = ARGON_JSON("{\"_id\":1}") },
        { .kind = ARGON_INSERT_ONE, .document = ARGON_JSON("{\"_id\":1}") },
        { .kind = ARGON_UPDATE_ONE, .filter = ARGON_JSON("{}"), .document = ARGON_JSON("{\"$odd\":{\"a\":1}}") },
        { .kind = ARGON_INSERT_ONE, .document = ARGON_JSON("{\"_id\":2}") },
    };
    expect_refused(argon_bulk_write(argon, &items, operations, 2, &(struct argon_write_options) { .atomic = true }, &error), &error,
                   ARGON_ALREADY_EXISTS, "");
    expect_found("");
    struct argon_answer *answer = argon_bulk_write(argon, &items, operations, 4, NULL, &error);
    expect_ok(answer, &error);
    assert_int_equal(answer->written.inserted, 1);
    assert_int_equal(answer->n_errors, 1);
    assert_true(answer->errors[0].index == 1 && answer->errors[0].code == ARGON_ALREADY_EXISTS && answer->errors[0].mongodb_code == 11000);
    assert_true(answer->errors[0].message[0] != '\0');
    argon_answer_free(answer);
    expect_found("{\"_id\":1};");
    answer = argon_bulk_write(argon, &items, &operations[1], 3, &(struct argon_write_options) { .unordered = true }, &error);
    expect_ok(answer, &error);
    assert_int_equal(answer->written.inserted, 1);
    assert_int_equal(answer->n_errors, 2);
    assert_true(answer->errors[0].index == 0 && answer->errors[1].index == 1 && answer->errors[1].code == ARGON_INVALID_ARGUMENT);
    argon_answer_free(answer);
    expect_found("{\"_id\":1};{\"_id\":2};");
}

/* ---- questions -------------------------------------------------------------------------------------- */

static void the_estimated_count_is_that_of_a_state(void **state)
{
    (void)state;
    struct argon_error error;
    uint64_t count;
    const struct argon_document third = json("{\"_id\":3}");
    struct argon_written written;
    insert("{\"_id\":1}");
    insert("{\"_id\":2}");
    expect_ok(argon_insert(argon, &items, &third, 1, ARGON_FAIL, &written, &error), &error);
    const struct argon_read before = { .as_of_lsn = written.lsn - 1 }, beyond = { .as_of_lsn = UINT64_MAX };
    expect_ok(argon_estimated_count(argon, &items, NULL, &count, &error), &error);
    assert_int_equal(count, 3);
    expect_ok(argon_estimated_count(argon, &items, &before, &count, &error), &error);
    assert_int_equal(count, 2);
    assert_false(argon_estimated_count(argon, &items, &beyond, &count, &error));
    assert_int_equal(error.code, ARGON_OUT_OF_RANGE);
    assert_false(argon_estimated_count(argon, NULL, NULL, &count, &error));
    assert_int_equal(error.code, ARGON_INVALID_ARGUMENT);
    assert_int_equal(count, 2);
}

static void distinct_tells_each_value_once(void **state)
{
    (void)state;
    struct argon_error error;
    insert("{\"_id\":1,\"a\":{\"t\":[\"x\",\"y\"]}}");
    insert("{\"_id\":2,\"a\":{\"t\":\"x\"}}");
    insert("{\"_id\":3,\"a\":{\"t\":\"z\"}}");
    const struct argon_query some = { .filter = ARGON_JSON("{\"_id\":{\"$lt\":3}}"), .format = ARGON_FORMAT_RELAXED_JSON };
    struct argon_answer *answer = argon_distinct(argon, &items, "a.t", &some, &error);
    expect_ok(answer, &error);
    expect_document(&answer->document, "{\"values\":[\"x\",\"y\"]}");
    const struct argon_query then = { .read.as_of_lsn = answer->written.lsn - 1, .format = ARGON_FORMAT_RELAXED_JSON };
    assert_true(answer->written.lsn > 1);
    argon_answer_free(answer);
    answer = argon_distinct(argon, &items, "_id", &then, &error);
    expect_ok(answer, &error);
    expect_document(&answer->document, "{\"values\":[1,2]}");
    argon_answer_free(answer);
    answer = argon_distinct(argon, &items, "_id", NULL, &error);
    expect_ok(answer, &error);
    assert_int_equal(answer->document.format, ARGON_FORMAT_BSON);
    argon_answer_free(answer);
    const struct argon_query bad = { .filter = ARGON_JSON("{\"$odd\":1}") };
    assert_null(argon_distinct(argon, &items, "a", &bad, &error));
    assert_int_equal(error.code, ARGON_INVALID_ARGUMENT);
    assert_null(argon_distinct(argon, &items, NULL, NULL, &error));
    assert_int_equal(error.code, ARGON_INVALID_ARGUMENT);
    assert_null(argon_distinct(argon, NULL, "a", NULL, &error));
    assert_int_equal(error.code, ARGON_INVALID_ARGUMENT);
}

static void explain_tells_how_documents_are_reached(void **state)
{
    (void)state;
    struct argon_error error;
    struct argon_plan plan;
    insert("{\"_id\":1,\"n\":3}");
    insert("{\"_id\":2,\"n\":2}");
    insert("{\"_id\":3,\"n\":1}");
    const struct argon_query lookup = { .filter = ARGON_JSON("{\"_id\":2}") },
                             ranges = { .filter = ARGON_JSON("{\"_id\":{\"$in\":[1,3]},\"n\":1}"), .sort = ARGON_JSON("{\"_id\":-1}") },
                             scan = { .sort = ARGON_JSON("{\"n\":1}"), .limit = 1 }, bad = { .filter = ARGON_JSON("{\"$odd\":1}") };
    const struct argon_document stages[] = { ARGON_JSON("{\"$match\":{\"_id\":{\"$gte\":2}}}"), ARGON_JSON("{\"$sort\":{\"n\":1}}") };
    expect_ok(argon_explain(argon, &items, NULL, 0, &lookup, &plan, &error), &error);
    assert_true(plan.access == ARGON_ACCESS_ID_LOOKUP && plan.order == ARGON_ORDER_NONE && plan.examined == 1 && plan.returned == 1);
    assert_true(plan.lsn > 0);
    expect_ok(argon_explain(argon, &items, NULL, 0, &ranges, &plan, &error), &error);
    assert_true(plan.access == ARGON_ACCESS_ID_RANGES && plan.order == ARGON_ORDER_ID && plan.ranges == 2);
    assert_true(plan.examined == 2 && plan.returned == 1);
    expect_ok(argon_explain(argon, &items, NULL, 0, &scan, &plan, &error), &error);
    assert_true(plan.access == ARGON_ACCESS_SCAN && plan.order == ARGON_ORDER_SORTED && plan.examined == 3 && plan.returned == 1);
    expect_ok(argon_explain(argon, &items, stages, 2, NULL, &plan, &error), &error);
    assert_true(plan.access == ARGON_ACCESS_ID_RANGES && plan.order == ARGON_ORDER_SORTED && plan.examined == 2 && plan.returned == 2);
    expect_ok(argon_explain(argon, &(struct argon_target) { PROJECT, "main", "nothing" }, NULL, 0, NULL, &plan, &error), &error);
    assert_true(plan.access == ARGON_ACCESS_NOTHING);
    assert_false(argon_explain(argon, &items, NULL, 0, &bad, &plan, &error));
    assert_int_equal(error.code, ARGON_INVALID_ARGUMENT);
    assert_false(argon_explain(argon, &items, NULL, 2, NULL, &plan, &error));
    assert_int_equal(error.code, ARGON_INVALID_ARGUMENT);
    assert_false(argon_explain(argon, NULL, NULL, 0, NULL, &plan, &error));
    assert_int_equal(error.code, ARGON_INVALID_ARGUMENT);
}

#define IN_PROJECT(name) cmocka_unit_test_setup_teardown(name, with_project, without_project)

int main(void)
{
    const struct CMUnitTest tests[] = {
        IN_PROJECT(an_insert_tells_its_id),
        IN_PROJECT(an_insert_of_many_tells_ids_and_errors),
        IN_PROJECT(an_insert_of_many_stops_or_leaves_out),
        IN_PROJECT(odd_inserts_of_many_are_refused),
        IN_PROJECT(an_upsert_inserts_what_is_not_there),
        IN_PROJECT(updates_take_array_filters_pipelines_variables_and_sort),
        IN_PROJECT(deletes_take_variables),
        IN_PROJECT(an_atomic_update_that_does_not_fit_one_batch_changes_nothing),
        IN_PROJECT(odd_operations_are_refused),
        IN_PROJECT(find_one_and_shows_the_document_before_or_after),
        IN_PROJECT(a_bulk_write_does_one_operation_after_the_other),
        IN_PROJECT(a_bulk_write_tells_what_failed),
        IN_PROJECT(the_estimated_count_is_that_of_a_state),
        IN_PROJECT(distinct_tells_each_value_once),
        IN_PROJECT(explain_tells_how_documents_are_reached),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
