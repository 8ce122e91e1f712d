/* Every function of libargon against a branch service, whose address is in ARGON_ENDPOINT. */
#include <argon/argon.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#define PROJECT "c-client"

enum { FORGOTTEN = 2200 }; /* more requests than the service remembers, as test_c_client.py starts it */

static struct argon_client *argon;
static const struct argon_target items = { PROJECT, "main", "items" };

static void expect_ok(bool ok, const struct argon_error *error)
{
    if (!ok)
        fail_msg("%d: %s", (int)error->code, error->message);
    assert_int_equal(error->code, ARGON_OK);
}

/* A write that failed, and definitely so. */
static void expect_refused(bool ok, const struct argon_error *error, enum argon_code code)
{
    if (ok || error->code != code || !error->not_applied || !error->message[0])
        fail_msg("%s, code %d, %s: %s", ok ? "ok" : "failed", (int)error->code, error->not_applied ? "not applied" : "outcome unknown",
                 error->message);
}

static struct argon_document json(const char *text)
{
    return (struct argon_document)ARGON_JSON(text);
}

static struct argon_written insert(const struct argon_target *target, const char *text)
{
    struct argon_error error;
    struct argon_written written;
    const struct argon_document document = json(text);
    expect_ok(argon_insert(argon, target, &document, 1, ARGON_FAIL, &written, &error), &error);
    return written;
}

/* What a query finds, with ';' between; freed with free. */
static char *found(const struct argon_target *target, const struct argon_query *query)
{
    struct argon_query shown = query ? *query : (struct argon_query) { 0 };
    struct argon_document document;
    struct argon_error error;
    char *text = NULL;
    size_t len;
    shown.format = ARGON_FORMAT_RELAXED_JSON;
    struct argon_cursor *cursor = argon_find(argon, target, &shown, &error);
    expect_ok(cursor, &error);
    FILE *out = open_memstream(&text, &len);
    while (argon_cursor_next(cursor, &document, &error))
        fprintf(out, "%.*s;", (int)document.len, (const char *)document.data);
    expect_ok(true, &error);
    assert_true(argon_cursor_lsn(cursor) > 0);
    argon_cursor_close(cursor);
    fclose(out);
    return text;
}

static void expect_found(const struct argon_target *target, const struct argon_query *query, const char *expected)
{
    char *text = found(target, query);
    assert_string_equal(text, expected);
    free(text);
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

/* ---- the client ------------------------------------------------------------------------------------- */

static void what_cannot_be_a_client_is_refused(void **state)
{
    (void)state;
    struct argon_error error;
    char actor[130];
    memset(actor, 'a', sizeof actor - 1);
    actor[sizeof actor - 1] = '\0';
    assert_null(argon_open(&(struct argon_options) { .actor = actor }, &error));
    assert_int_equal(error.code, ARGON_INVALID_ARGUMENT);
    assert_null(argon_open(&(struct argon_options) { .endpoint = "no port" }, &error));
    assert_int_equal(error.code, ARGON_INVALID_ARGUMENT);
    argon_close(NULL);
}

static void without_a_service_a_call_fails_in_time_and_was_not_applied(void **state)
{
    (void)state;
    struct argon_error error;
    const struct argon_document document = json("{}");
    struct argon_client *lonely = argon_open(&(struct argon_options) { .endpoint = "127.0.0.1:1", .timeout_ms = 300 }, &error);
    expect_ok(lonely, &error);
    expect_refused(argon_insert(lonely, &items, &document, 1, ARGON_FAIL, NULL, &error), &error, ARGON_UNAVAILABLE);
    struct argon_watch *watch = argon_watch(lonely, &items, NULL, &error);
    struct argon_change change;
    assert_false(argon_watch_next(watch, &change, &error));
    assert_int_equal(error.code, ARGON_DEADLINE_EXCEEDED);
    argon_watch_close(watch);
    assert_null(argon_find(lonely, &items, NULL, &error));
    assert_int_equal(error.code, ARGON_DEADLINE_EXCEEDED);
    argon_close(lonely);
}

/* ---- projects and branches -------------------------------------------------------------------------- */

static void projects_are_made_and_deleted(void **state)
{
    (void)state;
    struct argon_error error;
    expect_refused(argon_create_project(argon, PROJECT, &error), &error, ARGON_ALREADY_EXISTS);
    expect_refused(argon_create_project(argon, "_odd", &error), &error, ARGON_INVALID_ARGUMENT);
    expect_refused(argon_create_project(argon, NULL, &error), &error, ARGON_INVALID_ARGUMENT);
    expect_refused(argon_delete_project(argon, NULL, &error), &error, ARGON_INVALID_ARGUMENT);
    expect_ok(argon_create_project(argon, PROJECT "-2", &error), &error);
    expect_ok(argon_delete_project(argon, PROJECT "-2", &error), &error);
    expect_refused(argon_delete_project(argon, PROJECT "-2", &error), &error, ARGON_NOT_FOUND);
}

static void branches_are_made_shown_and_deleted(void **state)
{
    (void)state;
    struct argon_error error;
    struct argon_branch made, shown;
    const struct argon_target on_dev = { PROJECT, "dev", "items" }, on_old = { PROJECT, "old", "items" };
    uint64_t first = insert(&items, "{\"_id\":1}").lsn;
    insert(&items, "{\"_id\":2}");
    expect_ok(argon_create_branch(argon, PROJECT, "dev", NULL, &made, &error), &error);
    expect_ok(argon_get_branch(argon, PROJECT, "dev", &shown, &error), &error);
    assert_memory_equal(&made, &shown, sizeof made);
    assert_true(made.cut_lsn > first && made.base_lsn >= made.cut_lsn);
    uint64_t own = insert(&on_dev, "{\"_id\":3}").lsn;
    expect_ok(argon_get_branch(argon, PROJECT, "dev", &shown, &error), &error);
    assert_int_equal(shown.head_lsn, own);
    const struct argon_fork at_first = { .from = "dev", .at_lsn = first }, elsewhere = { .from = "nowhere" },
                            beyond = { .at_lsn = UINT64_MAX };
    expect_ok(argon_create_branch(argon, PROJECT, "old", &at_first, NULL, &error), &error);
    expect_found(&items, NULL, "{\"_id\":1};{\"_id\":2};");
    expect_found(&on_dev, NULL, "{\"_id\":1};{\"_id\":2};{\"_id\":3};");
    expect_found(&on_old, NULL, "{\"_id\":1};");

    expect_refused(argon_create_branch(argon, PROJECT, "dev", NULL, NULL, &error), &error, ARGON_ALREADY_EXISTS);
    expect_refused(argon_create_branch(argon, PROJECT, "new", &elsewhere, NULL, &error), &error, ARGON_NOT_FOUND);
    expect_refused(argon_create_branch(argon, PROJECT, "new", &beyond, NULL, &error), &error, ARGON_OUT_OF_RANGE);
    expect_refused(argon_create_branch(argon, "nowhere", "new", NULL, NULL, &error), &error, ARGON_NOT_FOUND);
    expect_refused(argon_create_branch(argon, PROJECT, NULL, NULL, NULL, &error), &error, ARGON_INVALID_ARGUMENT);
    expect_refused(argon_get_branch(argon, NULL, "dev", &shown, &error), &error, ARGON_INVALID_ARGUMENT);
    expect_refused(argon_delete_branch(argon, PROJECT, NULL, &error), &error, ARGON_INVALID_ARGUMENT);
    expect_ok(argon_delete_branch(argon, PROJECT, "old", &error), &error);
    expect_refused(argon_delete_branch(argon, PROJECT, "old", &error), &error, ARGON_NOT_FOUND);
    memset(&shown, 7, sizeof shown);
    made = shown;
    assert_false(argon_get_branch(argon, PROJECT, "old", &shown, &error));
    assert_int_equal(error.code, ARGON_NOT_FOUND);
    assert_memory_equal(&made, &shown, sizeof made); /* outputs are written only on success */
}

static void a_branch_of_a_time_shows_what_was_then(void **state)
{
    (void)state;
    struct argon_error error;
    struct argon_change change;
    const struct argon_watch_options past = { .stop_at_head = true };
    const struct argon_target on_then = { PROJECT, "then", "items" };
    struct argon_fork then = { 0 };
    insert(&items, "{\"_id\":1}");
    struct argon_watch *watch = argon_watch(argon, &items, &past, &error);
    expect_ok(watch, &error);
    while (argon_watch_next(watch, &change, &error))
        then.at_time_us = change.time_us;
    argon_watch_close(watch);
    insert(&items, "{\"_id\":2}");
    expect_ok(argon_create_branch(argon, PROJECT, "then", &then, NULL, &error), &error);
    expect_found(&on_then, NULL, "{\"_id\":1};");
    expect_found(&items, &(struct argon_query) { .read.as_of_time_us = then.at_time_us }, "{\"_id\":1};");
}

/* ---- writing ---------------------------------------------------------------------------------------- */

static void inserts_fail_skip_or_replace(void **state)
{
    (void)state;
    struct argon_error error;
    struct argon_written written;
    const struct argon_document documents[] = { ARGON_JSON("{\"_id\":1,\"a\":2}"), ARGON_JSON("{\"_id\":2}") };
    uint64_t first = insert(&items, "{\"_id\":1,\"a\":1}").lsn;
    expect_refused(argon_insert(argon, &items, documents, 2, ARGON_FAIL, &written, &error), &error, ARGON_ALREADY_EXISTS);
    expect_found(&items, NULL, "{\"_id\":1,\"a\":1};");
    expect_ok(argon_insert(argon, &items, documents, 2, ARGON_SKIP, &written, &error), &error);
    assert_true(written.inserted == 1 && written.skipped == 1 && written.replaced == 0 && written.lsn > first);
    expect_ok(argon_insert(argon, &items, documents, 1, ARGON_REPLACE, &written, &error), &error);
    assert_true(written.inserted == 0 && written.skipped == 0 && written.replaced == 1);
    expect_ok(argon_insert(argon, &items, documents, 1, ARGON_SKIP, NULL, &error), &error);
    expect_found(&items, NULL, "{\"_id\":1,\"a\":2};{\"_id\":2};");
}

static void what_cannot_be_inserted_is_refused(void **state)
{
    (void)state;
    struct argon_error error;
    const struct argon_document good = json("{}"), bad = json("{"), none = { 0 }, zero = { ARGON_FORMAT_RELAXED_JSON, "{\0}", 3 };
    const struct argon_target unnamed = { PROJECT, "main", NULL }, elsewhere = { PROJECT, "nowhere", "items" };
    expect_refused(argon_insert(argon, &items, &bad, 1, ARGON_FAIL, NULL, &error), &error, ARGON_INVALID_ARGUMENT);
    expect_refused(argon_insert(argon, &items, &none, 1, ARGON_FAIL, NULL, &error), &error, ARGON_INVALID_ARGUMENT);
    expect_refused(argon_insert(argon, &items, &zero, 1, ARGON_FAIL, NULL, &error), &error, ARGON_INVALID_ARGUMENT);
    expect_refused(argon_insert(argon, &items, NULL, 1, ARGON_FAIL, NULL, &error), &error, ARGON_INVALID_ARGUMENT);
    expect_refused(argon_insert(argon, &items, NULL, 0, ARGON_FAIL, NULL, &error), &error, ARGON_INVALID_ARGUMENT);
    expect_refused(argon_insert(argon, &items, &good, SIZE_MAX, ARGON_FAIL, NULL, &error), &error, ARGON_INVALID_ARGUMENT);
    expect_refused(argon_insert(argon, &items, &good, 1, (enum argon_on_duplicate)9, NULL, &error), &error, ARGON_INVALID_ARGUMENT);
    expect_refused(argon_insert(argon, &unnamed, &good, 1, ARGON_FAIL, NULL, &error), &error, ARGON_INVALID_ARGUMENT);
    expect_refused(argon_insert(argon, NULL, &good, 1, ARGON_FAIL, NULL, &error), &error, ARGON_INVALID_ARGUMENT);
    expect_refused(argon_insert(argon, &elsewhere, &good, 1, ARGON_FAIL, NULL, &error), &error, ARGON_NOT_FOUND);
}

static void documents_go_in_and_come_out_in_each_format(void **state)
{
    (void)state;
    static const char bson[] = "\x19\0\0\0\x10_id\0\1\0\0\0\x12n\0\2\0\0\0\0\0\0\0"; /* {_id: 1, n: NumberLong(2)} and its end */
    static const char *const texts[] = { [ARGON_FORMAT_RELAXED_JSON] = "{\"_id\":1,\"n\":{\"$numberLong\":\"2\"}}",
                                         [ARGON_FORMAT_CANONICAL_JSON] = "{\"_id\":{\"$numberInt\":\"1\"},\"n\":{\"$numberLong\":\"2\"}}" };
    struct argon_error error;
    const struct argon_document in[] = { ARGON_BSON(bson, sizeof bson),
                                         { ARGON_FORMAT_RELAXED_JSON, "{\"_id\":1,\"n\":{\"$numberLong\":\"2\"}} and more", 34 },
                                         { ARGON_FORMAT_CANONICAL_JSON, texts[ARGON_FORMAT_CANONICAL_JSON], SIZE_MAX } };
    for (size_t i = 0; i < 3; i++) {
        const struct argon_document all = json("{}");
        expect_ok(argon_delete(argon, &items, &all, true, NULL, &error), &error);
        expect_ok(argon_insert(argon, &items, &in[i], 1, ARGON_FAIL, NULL, &error), &error);
        for (size_t format = ARGON_FORMAT_BSON; format <= ARGON_FORMAT_CANONICAL_JSON; format++) {
            struct argon_document out;
            struct argon_cursor *cursor = argon_find(argon, &items, &(struct argon_query) { .format = (enum argon_format)format }, &error);
            expect_ok(cursor && argon_cursor_next(cursor, &out, &error), &error);
            const char *expected = format == ARGON_FORMAT_BSON ? bson : texts[format];
            assert_int_equal(out.format, format);
            assert_int_equal(out.len, format == ARGON_FORMAT_BSON ? sizeof bson : strlen(expected));
            assert_memory_equal(out.data, expected, out.len);
            argon_cursor_close(cursor);
        }
    }
}

static void updates_and_deletes_say_what_they_did(void **state)
{
    (void)state;
    struct argon_error error;
    struct argon_written written;
    const struct argon_document all = json("{}"), second = json("{\"_id\":2}"), nobody = json("{\"_id\":9}"),
                                set = json("{\"$set\":{\"a\":1}}"), whole = json("{\"b\":1}"), odd = json("{\"$odd\":{\"a\":1}}");
    insert(&items, "{\"_id\":1}");
    insert(&items, "{\"_id\":2}");
    insert(&items, "{\"_id\":3,\"a\":1}");
    expect_ok(argon_update(argon, &items, &all, &set, true, &written, &error), &error);
    assert_true(written.matched == 3 && written.modified == 2 && written.lsn > 0);
    expect_ok(argon_update(argon, &items, &second, &whole, false, &written, &error), &error);
    assert_true(written.matched == 1 && written.modified == 1);
    expect_ok(argon_update(argon, &items, &nobody, &whole, false, &written, &error), &error);
    assert_true(written.matched == 0 && written.modified == 0);
    expect_found(&items, NULL, "{\"_id\":1,\"a\":1};{\"_id\":2,\"b\":1};{\"_id\":3,\"a\":1};");
    expect_refused(argon_update(argon, &items, &second, &odd, false, NULL, &error), &error, ARGON_INVALID_ARGUMENT);
    expect_refused(argon_update(argon, &items, &second, &whole, true, NULL, &error), &error, ARGON_INVALID_ARGUMENT);
    expect_refused(argon_update(argon, &items, &odd, &set, true, NULL, &error), &error, ARGON_INVALID_ARGUMENT);
    expect_refused(argon_update(argon, &items, NULL, &set, true, NULL, &error), &error, ARGON_INVALID_ARGUMENT);
    expect_refused(argon_update(argon, &items, &all, NULL, true, NULL, &error), &error, ARGON_INVALID_ARGUMENT);
    expect_refused(argon_update(argon, NULL, &all, &set, true, NULL, &error), &error, ARGON_INVALID_ARGUMENT);

    expect_ok(argon_delete(argon, &items, &second, false, &written, &error), &error);
    assert_int_equal(written.deleted, 1);
    expect_ok(argon_delete(argon, &items, &all, true, &written, &error), &error);
    assert_int_equal(written.deleted, 2);
    expect_ok(argon_delete(argon, &items, &all, false, &written, &error), &error);
    assert_int_equal(written.deleted, 0);
    expect_refused(argon_delete(argon, &items, &odd, false, NULL, &error), &error, ARGON_INVALID_ARGUMENT);
    expect_refused(argon_delete(argon, &items, NULL, false, NULL, &error), &error, ARGON_INVALID_ARGUMENT);
    expect_refused(argon_delete(argon, NULL, &all, false, NULL, &error), &error, ARGON_INVALID_ARGUMENT);
}

/* The LSN that a client remembers of a project says nothing of another one under the same name. */
static void a_project_that_was_made_anew_takes_writes(void **state)
{
    (void)state;
    struct argon_error error;
    const struct argon_document document = json("{}");
    struct argon_client *other = argon_open(NULL, &error);
    expect_ok(other, &error);
    for (int i = 0; i < 30; i++)
        insert(&items, "{}");
    expect_ok(argon_delete_project(other, PROJECT, &error), &error);
    assert_false(argon_insert(argon, &items, &document, 1, ARGON_FAIL, NULL, &error));
    assert_int_equal(error.code, ARGON_NOT_FOUND);
    expect_ok(argon_create_project(other, PROJECT, &error), &error);
    argon_close(other);
    insert(&items, "{\"_id\":1}");
    expect_found(&items, NULL, "{\"_id\":1};");
}

/* The service remembers so and so many requests of a project: an LSN from before them all is too old for a write. */
static void a_client_that_was_quiet_while_others_wrote_can_write(void **state)
{
    (void)state;
    struct argon_error error;
    const struct argon_document document = json("{}"), all = json("{}"), set = json("{\"$set\":{\"a\":1}}");
    struct argon_client *quiet = argon_open(NULL, &error);
    expect_ok(argon_insert(quiet, &items, &document, 1, ARGON_FAIL, NULL, &error), &error);
    time_t begun = time(NULL);
    for (int n = 0; n < FORGOTTEN || time(NULL) < begun + 3; n++)
        expect_ok(argon_update(argon, &items, &all, &set, false, NULL, &error), &error);
    expect_ok(argon_insert(quiet, &items, &document, 1, ARGON_FAIL, NULL, &error), &error);
    argon_close(quiet);
}

/* ---- reading ---------------------------------------------------------------------------------------- */

static void finds_and_counts_go_by_the_query(void **state)
{
    (void)state;
    struct argon_error error;
    uint64_t count, third = 0;
    for (int i = 1; i <= 5; i++) {
        char text[40];
        snprintf(text, sizeof text, "{\"_id\":%d,\"odd\":%s}", i, i % 2 ? "true" : "false");
        uint64_t lsn = insert(&items, text).lsn;
        if (i == 3)
            third = lsn;
    }
    const struct argon_query odd = { .filter = ARGON_JSON("{\"odd\":true}"), .skip = 1, .limit = 1 }, then = { .read.as_of_lsn = third },
                             soon = { .skip = 4, .read.min_lsn = third }, old = { .skip = 4, .read.stale_ok = true },
                             bad = { .filter = ARGON_JSON("{") }, future = { .read.as_of_lsn = UINT64_MAX };
    expect_found(&items, &odd, "{\"_id\":3,\"odd\":true};");
    expect_found(&items, &then, "{\"_id\":1,\"odd\":true};{\"_id\":2,\"odd\":false};{\"_id\":3,\"odd\":true};");
    expect_found(&items, &soon, "{\"_id\":5,\"odd\":true};");
    expect_found(&items, &old, "{\"_id\":5,\"odd\":true};");
    expect_ok(argon_count(argon, &items, NULL, &count, &error), &error);
    assert_int_equal(count, 5);
    expect_ok(argon_count(argon, &items, &odd, &count, &error), &error);
    assert_int_equal(count, 1);
    expect_ok(argon_count(argon, &items, &then, &count, &error), &error);
    assert_int_equal(count, 3);

    expect_found(&(struct argon_target) { PROJECT, "main", "nothing" }, NULL, "");
    assert_null(argon_find(argon, NULL, NULL, &error));
    assert_int_equal(error.code, ARGON_INVALID_ARGUMENT);
    assert_null(argon_find(argon, &items, &bad, &error));
    assert_int_equal(error.code, ARGON_INVALID_ARGUMENT);
    assert_null(argon_find(argon, &(struct argon_target) { PROJECT, "nowhere", "items" }, NULL, &error));
    assert_int_equal(error.code, ARGON_NOT_FOUND);
    argon_cursor_close(NULL);
    assert_false(argon_count(argon, NULL, NULL, &count, &error));
    assert_int_equal(error.code, ARGON_INVALID_ARGUMENT);
    assert_false(argon_count(argon, &items, &bad, &count, &error));
    assert_int_equal(error.code, ARGON_INVALID_ARGUMENT);
    assert_false(argon_count(argon, &items, &future, &count, &error));
    assert_int_equal(error.code, ARGON_OUT_OF_RANGE);
    assert_int_equal(count, 3);

    const struct argon_query least = { .filter = ARGON_JSON("{\"$expr\":{\"$gt\":[\"$_id\",\"$$n\"]}}"),
                                       .let = ARGON_JSON("{\"n\":3}"),
                                       .sort = ARGON_JSON("{\"_id\":-1}"),
                                       .projection = ARGON_JSON("{\"_id\":1}") };
    expect_found(&items, &least, "{\"_id\":5};{\"_id\":4};");
    expect_ok(argon_count(argon, &items, &least, &count, &error), &error);
    assert_int_equal(count, 2);
    const struct argon_query no_sort = { .sort = ARGON_JSON("{\"a\":7}") };
    assert_null(argon_find(argon, &items, &no_sort, &error));
    assert_int_equal(error.code, ARGON_INVALID_ARGUMENT);
}

static void a_pipeline_makes_its_own_documents(void **state)
{
    (void)state;
    const struct argon_document one = ARGON_JSON("{\"_id\":1,\"n\":5}"), two = ARGON_JSON("{\"_id\":2,\"n\":7}");
    const struct argon_document both[] = { one, two };
    const struct argon_document stages[] = { ARGON_JSON("{\"$match\":{\"$expr\":{\"$gt\":[\"$n\",\"$$least\"]}}}"),
                                             ARGON_JSON("{\"$group\":{\"_id\":null,\"sum\":{\"$sum\":\"$n\"}}}") };
    const struct argon_document wrong = ARGON_JSON("{\"$sing\":1}");
    const struct argon_query query = { .let = ARGON_JSON("{\"least\":1}"), .format = ARGON_FORMAT_RELAXED_JSON };
    struct argon_document document;
    struct argon_error error;
    expect_ok(argon_insert(argon, &items, both, 2, ARGON_FAIL, NULL, &error), &error);
    struct argon_cursor *cursor = argon_aggregate(argon, &items, stages, 2, &query, &error);
    assert_non_null(cursor);
    expect_ok(argon_cursor_next(cursor, &document, &error), &error);
    assert_string_equal(document.data, "{\"_id\":null,\"sum\":12}");
    assert_false(argon_cursor_next(cursor, &document, &error));
    assert_int_equal(error.code, ARGON_OK);
    argon_cursor_close(cursor);
    assert_null(argon_aggregate(argon, &items, &wrong, 1, NULL, &error));
    assert_int_equal(error.code, ARGON_INVALID_ARGUMENT);
    assert_null(argon_aggregate(argon, &items, NULL, 1, NULL, &error));
    assert_int_equal(error.code, ARGON_INVALID_ARGUMENT);
    assert_null(argon_aggregate(argon, &items, &wrong, SIZE_MAX, NULL, &error));
    assert_int_equal(error.code, ARGON_INVALID_ARGUMENT);
    assert_null(argon_aggregate(argon, NULL, stages, 2, &query, &error));
    assert_int_equal(error.code, ARGON_INVALID_ARGUMENT);
}

static void a_large_answer_comes_whole_and_may_be_left(void **state)
{
    (void)state;
    enum { N = 5000, SIZE = 1000 };
    struct argon_error error;
    struct argon_document *documents = calloc(N, sizeof *documents), document;
    char *texts = malloc(N * (SIZE + 64));
    for (int i = 0; i < N; i++) {
        char *text = texts + (size_t)i * (SIZE + 64);
        snprintf(text, SIZE + 64, "{\"_id\":%d,\"text\":\"%0*d\"}", i, SIZE, i);
        documents[i] = json(text);
    }
    expect_ok(argon_insert(argon, &items, documents, N, ARGON_FAIL, NULL, &error), &error);
    for (int left_after = N; left_after > 0; left_after /= 10) {
        struct argon_cursor *cursor = argon_find(argon, &items, &(struct argon_query) { .format = ARGON_FORMAT_RELAXED_JSON }, &error);
        for (int i = 0; i < left_after; i++) {
            expect_ok(argon_cursor_next(cursor, &document, &error), &error);
            assert_int_equal(document.len, strlen(documents[i].data));
            assert_memory_equal(document.data, documents[i].data, document.len);
        }
        if (left_after == N)
            assert_false(argon_cursor_next(cursor, &document, &error));
        argon_cursor_close(cursor);
    }
    free(texts);
    free(documents);
}

/* ---- watching --------------------------------------------------------------------------------------- */

static void a_watch_shows_each_change(void **state)
{
    (void)state;
    static const struct {
        enum argon_change_kind kind;
        const char *id, *document;
    } expected[] = {
        { ARGON_COLLECTION_CREATED, NULL, NULL },
        { ARGON_INSERTED, "{\"_id\":1}", "{\"_id\":1}" },
        { ARGON_UPDATED, "{\"_id\":1}", "{\"_id\":1,\"a\":1}" },
        { ARGON_DELETED, "{\"_id\":1}", NULL },
    };
    struct argon_error error;
    struct argon_change change;
    const struct argon_document one = json("{\"_id\":1}"), set = json("{\"$set\":{\"a\":1}}");
    const struct argon_target everything = { PROJECT, "main", NULL };
    const struct argon_watch_options past = { .stop_at_head = true, .format = ARGON_FORMAT_RELAXED_JSON };
    struct argon_client *named = argon_open(&(struct argon_options) { .actor = "tester" }, &error);
    expect_ok(argon_insert(named, &items, &one, 1, ARGON_FAIL, NULL, &error), &error);
    expect_ok(argon_update(named, &items, &one, &set, false, NULL, &error), &error);
    expect_ok(argon_delete(named, &items, &one, false, NULL, &error), &error);
    argon_close(named);
    struct argon_watch *watch = argon_watch(argon, &everything, &past, &error);
    expect_ok(watch, &error);
    uint64_t lsn = 0;
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        expect_ok(argon_watch_next(watch, &change, &error), &error);
        assert_int_equal(change.kind, expected[i].kind);
        assert_true(change.lsn > lsn && change.time_us > 0);
        lsn = change.lsn;
        assert_string_equal(change.collection, "items");
        assert_string_equal(change.new_collection, "");
        assert_string_equal(change.actor, "tester");
        assert_true((change.document.data != NULL) == (expected[i].document != NULL));
        if (expected[i].id)
            assert_memory_equal(change.id.data, expected[i].id, change.id.len);
        if (expected[i].document)
            assert_memory_equal(change.document.data, expected[i].document, change.document.len);
    }
    assert_false(argon_watch_next(watch, &change, &error));
    assert_int_equal(error.code, ARGON_OK);
    assert_non_null(strstr(error.message, "everything has been shown"));
    assert_true(argon_watch_through(watch) >= lsn);
    argon_watch_close(watch);

    /* behind the update only the delete is left; a watch may be closed at any time */
    const struct argon_watch_options rest = { .after_lsn = lsn - 1 };
    watch = argon_watch(argon, &items, &rest, &error);
    expect_ok(argon_watch_next(watch, &change, &error), &error);
    assert_int_equal(change.kind, ARGON_DELETED);
    argon_watch_close(watch);
    argon_watch_close(NULL);
    const struct argon_watch_options beyond = { .after_lsn = lsn + 1000 };
    watch = argon_watch(argon, &items, &beyond, &error);
    assert_false(argon_watch_next(watch, &change, &error));
    assert_int_equal(error.code, ARGON_OUT_OF_RANGE);
    argon_watch_close(watch);
    assert_null(argon_watch(argon, &(struct argon_target) { PROJECT, NULL, NULL }, NULL, &error));
    assert_int_equal(error.code, ARGON_INVALID_ARGUMENT);
}

static void *delete_branch_later(void *nothing)
{
    struct argon_error error;
    const struct argon_target on_dev = { PROJECT, "dev", "items" };
    insert(&on_dev, "{\"_id\":\"now\"}");
    expect_ok(argon_delete_branch(argon, PROJECT, "dev", &error), &error);
    return nothing;
}

static void a_watch_waits_and_ends_with_its_branch(void **state)
{
    (void)state;
    struct argon_error error;
    struct argon_change change;
    struct argon_branch branch;
    pthread_t thread;
    insert(&items, "{\"_id\":\"before\"}");
    expect_ok(argon_create_branch(argon, PROJECT, "dev", NULL, &branch, &error), &error);
    const struct argon_target on_dev = { PROJECT, "dev", "items" };
    const struct argon_watch_options from_now = { .after_lsn = branch.base_lsn, .format = ARGON_FORMAT_RELAXED_JSON };
    struct argon_watch *watch = argon_watch(argon, &on_dev, &from_now, &error);
    expect_ok(watch, &error);
    pthread_create(&thread, NULL, delete_branch_later, NULL);
    expect_ok(argon_watch_next(watch, &change, &error), &error);
    assert_memory_equal(change.document.data, "{\"_id\":\"now\"}", change.document.len);
    assert_false(argon_watch_next(watch, &change, &error));
    assert_int_equal(error.code, ARGON_OK);
    assert_non_null(strstr(error.message, "the branch has been deleted"));
    pthread_join(thread, NULL);
    argon_watch_close(watch);
}

#define IN_PROJECT(name) cmocka_unit_test_setup_teardown(name, with_project, without_project)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_cannot_be_a_client_is_refused),
        cmocka_unit_test(without_a_service_a_call_fails_in_time_and_was_not_applied),
        IN_PROJECT(projects_are_made_and_deleted),
        IN_PROJECT(branches_are_made_shown_and_deleted),
        IN_PROJECT(a_branch_of_a_time_shows_what_was_then),
        IN_PROJECT(inserts_fail_skip_or_replace),
        IN_PROJECT(what_cannot_be_inserted_is_refused),
        IN_PROJECT(documents_go_in_and_come_out_in_each_format),
        IN_PROJECT(updates_and_deletes_say_what_they_did),
        IN_PROJECT(a_project_that_was_made_anew_takes_writes),
        IN_PROJECT(a_client_that_was_quiet_while_others_wrote_can_write),
        IN_PROJECT(finds_and_counts_go_by_the_query),
        IN_PROJECT(a_pipeline_makes_its_own_documents),
        IN_PROJECT(a_large_answer_comes_whole_and_may_be_left),
        IN_PROJECT(a_watch_shows_each_change),
        IN_PROJECT(a_watch_waits_and_ends_with_its_branch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
