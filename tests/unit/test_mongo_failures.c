/* What is said of a write when the server is away, dies, falls silent or refuses. Every test has a server of
 * its own (whatever $ARGON_TEST_MONGODB_URI says), which obeys configureFailPoint and may be killed. */
#include "tests/support/mongo_fixture.h"

#include <stdatomic.h>
#include <stdio.h>

#include "branch-service/mongo/mongo_error.h"
#include "common/base/sync.h"

static struct mongo_server server;

static int setup(void **state)
{
    (void)state;
    mongo_server_make(&server);
    mongo_server_start(&server, 0);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    mongo_server_remove(&server);
    return 0;
}

static void a_uri_is_shown_without_its_secrets(void **state)
{
    (void)state;
    static const struct {
        const char *uri, *shown;
    } cases[] = {
        { "mongodb://h:1/db?replicaSet=r", "mongodb://h:1/db?replicaSet=r" },
        { "mongodb://u:secret@h:1/db", "mongodb://***@h:1/db" },
        { "mongodb+srv://u:se@c/r?et@h", "mongodb+srv://***@h" },
        { "u:secret@h", "***@h" },
        { "mongodb://h/?tlsCertificateKeyFilePassword=secret&tls=true", "mongodb://h/?tlsCertificateKeyFilePassword=***&tls=true" },
        { "mongodb://h/?authMechanismProperties=AWS_SESSION_TOKEN:secret", "mongodb://h/?authMechanismProperties=***" },
        { "", "" },
    };
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        char *shown = mongo_redact_uri(cases[i].uri);
        assert_string_equal(shown, cases[i].shown);
        free(shown);
    }
}

static void a_bad_uri_is_invalid_and_keeps_its_secret(void **state)
{
    (void)state;
    static const char *const uris[] = {
        "",
        "http://h:1",
        "mongodb://",
        "mongodb://u:se/secret@h:1/db",
        "mongodb://u:secret@h:999999/",
        "mongodb://u:%zzsecret@h",
        "mongodb://u:secret@h/?readConcernLevel",
    };
    for (size_t i = 0; i < ARRAY_LEN(uris); i++) {
        struct mongo *mongo;
        struct error err;
        const struct mongo_options options = { .uri = uris[i] };
        if (mongo_open(&options, &mongo, &err))
            fail_msg("%s is taken", uris[i]);
        assert_int_equal(err.code, ERROR_INVALID_ARGUMENT);
        assert_null(strstr(err.message, "secret"));
    }
}

static void nobody_listens(void **state)
{
    (void)state;
    char uri[64];
    struct error err;
    snprintf(uri, sizeof uri, "mongodb://127.0.0.1:%d/", free_tcp_port());
    struct mongo *mongo = open_mongo(uri, 400);
    struct mongo_server_facts facts;
    int64_t begin = clock_monotonic_micros();
    assert_fails(insert_text(mongo, "down", "{\"_id\": 1}", SOON, &err), err, ERROR_UNAVAILABLE, OUTCOME_NOT_APPLIED);
    assert_true(clock_monotonic_micros() - begin < 5 * MICROS_PER_SECOND);
    assert_false(mongo_ping(mongo, SOON, &err));
    assert_int_equal(err.code, ERROR_UNAVAILABLE);
    assert_false(mongo_server_facts(mongo, SOON, &facts, &err));
    assert_int_equal(err.code, ERROR_UNAVAILABLE);
    mongo_close(mongo);
}

static void users_and_passwords(void **state)
{
    (void)state;
    struct mongo_server own;
    struct error err;
    char uri[160];
    mongo_server_make(&own);
    mongo_server_start(&own, 0);
    struct mongo *mongo = open_mongo(own.uri, 5000);
    run_text(mongo, "admin", "{\"createUser\": \"u\", \"pwd\": \"right-password\", \"roles\": [\"root\"]}");
    mongo_close(mongo);
    mongo_server_kill(&own);
    mongo_server_start(&own, MONGO_SERVER_AUTH);

    snprintf(uri, sizeof uri, "mongodb://u:right-password@127.0.0.1:%d/?directConnection=true", own.port);
    mongo = open_mongo(uri, 5000);
    assert_ok(insert_text(mongo, "auth", "{\"_id\": 1}", SOON, &err), err);
    mongo_close(mongo);

    snprintf(uri, sizeof uri, "mongodb://u:wrong-password@127.0.0.1:%d/?directConnection=true", own.port);
    mongo = open_mongo(uri, 5000);
    assert_fails(insert_text(mongo, "auth", "{\"_id\": 2}", SOON, &err), err, ERROR_FAILED_PRECONDITION, OUTCOME_NOT_APPLIED);
    assert_non_null(strstr(err.message, "user or the password"));
    assert_null(strstr(err.message, "wrong-password"));
    mongo_close(mongo);

    mongo = open_mongo(own.uri, 5000);
    assert_false(insert_text(mongo, "auth", "{\"_id\": 3}", SOON, &err));
    assert_int_equal(err.code, ERROR_FAILED_PRECONDITION);
    mongo_close(mongo);
    mongo_server_remove(&own);
}

static void a_standalone_server_takes_writes_too(void **state)
{
    (void)state;
    struct mongo_server own;
    struct error err;
    struct mongo_server_facts facts;
    mongo_server_make(&own);
    mongo_server_start(&own, MONGO_SERVER_STANDALONE);
    struct mongo *mongo = open_mongo(own.uri, 5000);
    assert_ok(mongo_server_facts(mongo, SOON, &facts, &err), err);
    assert_int_equal(facts.topology, MONGO_STANDALONE);
    assert_false(facts.transactions);
    assert_false(facts.snapshot_sessions);
    assert_ok(insert_text(mongo, "alone", "{\"_id\": 1}", SOON, &err), err);
    assert_fails(insert_text(mongo, "alone", "{\"_id\": 1}", SOON, &err), err, ERROR_ALREADY_EXISTS, OUTCOME_NOT_APPLIED);
    mongo_close(mongo);
    mongo_server_remove(&own);
}

static void fail_next(struct mongo *mongo, int times, const char *data)
{
    char *text = bson_strdup_printf("{\"configureFailPoint\": \"failCommand\", \"mode\": {\"times\": %d}, \"data\": %s}", times, data);
    run_text(mongo, "admin", text);
    bson_free(text);
}

static void a_lost_connection_is_tried_again_once(void **state)
{
    (void)state;
    struct error err;
    struct mongo *mongo = open_mongo(server.uri, 10000);
    bool found;
    struct buffer out = { 0 };
    drop(mongo, "retried");
    fail_next(mongo, 1, "{\"failCommands\": [\"insert\"], \"closeConnection\": true}");
    assert_ok(insert_text(mongo, "retried", "{\"_id\": 1}", SOON, &err), err);
    fail_next(mongo, 1, "{\"failCommands\": [\"find\"], \"closeConnection\": true}");
    assert_ok(mongo_find_one(mongo, DB, "retried", bytes_of("\5\0\0\0\0", 5), SOON, &found, &out, &err), err);
    assert_true(found);
    buffer_destroy(&out);
    fail_next(mongo, 2, "{\"failCommands\": [\"insert\"], \"closeConnection\": true}");
    assert_fails(insert_text(mongo, "retried", "{\"_id\": 2}", SOON, &err), err, ERROR_UNAVAILABLE, OUTCOME_UNKNOWN);
    mongo_close(mongo);

    char uri[160];
    snprintf(uri, sizeof uri, "%s&retryWrites=false", server.uri);
    mongo = open_mongo(uri, 5000);
    fail_next(mongo, 1, "{\"failCommands\": [\"insert\"], \"closeConnection\": true}");
    assert_fails(insert_text(mongo, "retried", "{\"_id\": 3}", SOON, &err), err, ERROR_UNAVAILABLE, OUTCOME_UNKNOWN);
    assert_ok(insert_text(mongo, "retried", "{\"_id\": 3}", SOON, &err), err);
    mongo_close(mongo);
}

static void the_servers_codes_are_ours(void **state)
{
    (void)state;
    static const struct {
        int code;
        enum error_code ours;
        enum error_outcome outcome;
    } cases[] = {
        { 2, ERROR_INVALID_ARGUMENT, OUTCOME_NOT_APPLIED }, { 13, ERROR_FAILED_PRECONDITION, OUTCOME_UNKNOWN },
        { 26, ERROR_NOT_FOUND, OUTCOME_UNKNOWN },           { 50, ERROR_DEADLINE_EXCEEDED, OUTCOME_UNKNOWN },
        { 91, ERROR_UNAVAILABLE, OUTCOME_UNKNOWN },         { 112, ERROR_ABORTED, OUTCOME_UNKNOWN },
        { 189, ERROR_UNAVAILABLE, OUTCOME_UNKNOWN },        { 10107, ERROR_UNAVAILABLE, OUTCOME_UNKNOWN },
        { 11600, ERROR_UNAVAILABLE, OUTCOME_UNKNOWN },      { 14031, ERROR_RESOURCE_EXHAUSTED, OUTCOME_UNKNOWN },
        { 16840, ERROR_INVALID_ARGUMENT, OUTCOME_UNKNOWN }, { 8, ERROR_UNKNOWN, OUTCOME_UNKNOWN },
    };
    struct error err;
    char uri[160], data[128], number[16];
    /* the driver takes a server that says "not the primary" for lost until it has looked again */
    snprintf(uri, sizeof uri, "%s&retryWrites=false&heartbeatFrequencyMS=500", server.uri);
    struct mongo *mongo = open_mongo(uri, 10000);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        snprintf(data, sizeof data, "{\"failCommands\": [\"insert\"], \"errorCode\": %d}", cases[i].code);
        fail_next(mongo, 1, data);
        memset(&err, 0, sizeof err);
        assert_false(insert_text(mongo, "codes", "{\"_id\": 1}", SOON, &err));
        if (err.code != cases[i].ours || err.outcome != cases[i].outcome)
            fail_msg("%d: %s, outcome %d: %s", cases[i].code, error_code_name(err.code), err.outcome, err.message);
        snprintf(number, sizeof number, "%d", cases[i].code);
        assert_non_null(strstr(err.message, number));
    }
    mongo_close(mongo);
}

static void a_missed_write_concern_is_no_success_and_no_refusal(void **state)
{
    (void)state;
    static const char *const failure =
        "{\"failCommands\": [\"insert\", \"delete\"], \"writeConcernError\": {\"code\": 64, \"errmsg\": \"late\"}}";
    struct error err;
    struct mongo *mongo = open_mongo(server.uri, 10000);
    uint8_t item;
    int64_t deleted;
    drop(mongo, "concern");
    fail_next(mongo, 1, failure);
    assert_fails(insert_text(mongo, "concern", "{\"_id\": 1}", SOON, &err), err, ERROR_UNAVAILABLE, OUTCOME_UNKNOWN);
    assert_int_equal(count_text(mongo, "concern", "{}"), 1);

    bson_t *document = bson_of_text("{\"_id\": 2}");
    const struct bytes bytes = bytes_of_bson(document);
    const struct mongo_insert insert = { .documents = &bytes, .n = 1, .items = &item };
    fail_next(mongo, 1, failure);
    assert_fails(mongo_insert_many(mongo, DB, "concern", &insert, SOON, &err), err, ERROR_UNAVAILABLE, OUTCOME_UNKNOWN);
    assert_int_equal(item, MONGO_ITEM_UNKNOWN);
    bson_destroy(document);

    fail_next(mongo, 1, failure);
    assert_fails(mongo_delete_many(mongo, DB, "concern", bytes_of("\5\0\0\0\0", 5), (struct bytes) { 0 }, SOON, &deleted, &err), err,
                 ERROR_UNAVAILABLE, OUTCOME_UNKNOWN);
    mongo_close(mongo);
}

static void a_silent_server_holds_nobody_beyond_the_deadline(void **state)
{
    (void)state;
    struct error err, read_err = { 0 };
    bool found;
    struct buffer out = { 0 };
    struct mongo *mongo = open_mongo(server.uri, 5000);
    drop(mongo, "silent");
    assert_ok(insert_text(mongo, "silent", "{\"_id\": 1}", SOON, &err), err);
    mongo_server_pause(&server);
    int64_t begin = clock_monotonic_micros();
    bool written = insert_text(mongo, "silent", "{\"_id\": 2}", in_ms(300), &err);
    int64_t wrote = clock_monotonic_micros() - begin;
    /* over a new connection, which nobody greets: then the server counts as lost, and is selected in vain */
    bool read = mongo_find_one(mongo, DB, "silent", bytes_of("\5\0\0\0\0", 5), in_ms(300), &found, &out, &read_err);
    int64_t both = clock_monotonic_micros() - begin;
    mongo_server_resume(&server);
    mongo_close(mongo);

    assert_false(written);
    if (err.code != ERROR_DEADLINE_EXCEEDED)
        fail_msg("%s: %s", error_code_name(err.code), err.message);
    assert_int_equal(err.outcome, OUTCOME_UNKNOWN);
    assert_true(wrote < 4 * MICROS_PER_SECOND); /* the driver alone would wait for five minutes */
    assert_false(read);
    assert_true(read_err.code == ERROR_DEADLINE_EXCEEDED || read_err.code == ERROR_UNAVAILABLE);
    assert_true(both < 30 * MICROS_PER_SECOND);
    mongo = open_mongo(server.uri, 10000);
    assert_ok(insert_text(mongo, "silent", "{\"_id\": 3}", SOON, &err), err);
    mongo_close(mongo);
}

/* ---- killed in the middle of a write ------------------------------------------------------------------- */

enum { MAX_WRITES = 100000 };

struct writer {
    struct mongo *mongo;
    struct mutex lock; /* rank 10 */
    struct condition changed;
    int acknowledged; /* under lock */
    int failed_at;    /* the _id whose insert failed */
    struct error err;
};

static void *write_until_failure(void *ctx)
{
    struct writer *writer = ctx;
    for (int i = 0; i < MAX_WRITES; i++) {
        bson_t *document = BCON_NEW("_id", BCON_INT32(i));
        bool ok = mongo_insert_one(writer->mongo, DB, "killed", bytes_of_bson(document), SOON, &writer->err);
        bson_destroy(document);
        mutex_lock(&writer->lock);
        if (ok)
            writer->acknowledged = i + 1;
        else
            writer->failed_at = i;
        condition_signal(&writer->changed);
        mutex_unlock(&writer->lock);
        if (!ok)
            break;
    }
    return NULL;
}

static void a_server_killed_in_the_middle_of_a_write_leaves_it_in_doubt(void **state)
{
    (void)state;
    for (int round = 1; round <= 3; round++) {
        struct error err;
        struct writer writer = { .mongo = open_mongo(server.uri, 2000), .failed_at = -1 };
        drop(writer.mongo, "killed");
        mutex_init(&writer.lock, 10);
        condition_init(&writer.changed);
        pthread_t thread = thread_start("writer", write_until_failure, &writer);
        mutex_lock(&writer.lock);
        while (writer.acknowledged < 20 * round && writer.failed_at < 0)
            condition_wait(&writer.changed, &writer.lock);
        mutex_unlock(&writer.lock);
        mongo_server_kill(&server);
        pthread_join(thread, NULL);
        mongo_server_start(&server, 0);
        mongo_close(writer.mongo);

        assert_int_not_equal(writer.failed_at, -1);
        assert_int_equal(writer.failed_at, writer.acknowledged);
        assert_int_equal(writer.err.code, ERROR_UNAVAILABLE);
        struct mongo *mongo = open_mongo(server.uri, 10000);
        int64_t there = count_text(mongo, "killed", "{}");
        if (there != writer.acknowledged && there != writer.acknowledged + 1)
            fail_msg("%d were acknowledged and %lld are there", writer.acknowledged, (long long)there);
        if (writer.err.outcome == OUTCOME_NOT_APPLIED && there != writer.acknowledged)
            fail_msg("the write is there, and was said not to be: %s", writer.err.message);
        /* what comes back is asked again who it is */
        struct mongo_server_facts facts;
        assert_ok(mongo_server_facts(mongo, SOON, &facts, &err), err);
        mongo_close(mongo);
        condition_destroy(&writer.changed);
        mutex_destroy(&writer.lock);
    }
}

static void a_pool_outlives_its_server(void **state)
{
    (void)state;
    struct error err;
    struct mongo *mongo = open_mongo(server.uri, 10000);
    drop(mongo, "outlived");
    assert_ok(insert_text(mongo, "outlived", "{\"_id\": 1}", SOON, &err), err);
    mongo_server_kill(&server);
    mongo_server_start(&server, 0);
    assert_ok(insert_text(mongo, "outlived", "{\"_id\": 2}", SOON, &err), err);
    assert_int_equal(count_text(mongo, "outlived", "{}"), 2);
    mongo_close(mongo);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_uri_is_shown_without_its_secrets),
        cmocka_unit_test(a_bad_uri_is_invalid_and_keeps_its_secret),
        cmocka_unit_test(nobody_listens),
        cmocka_unit_test(users_and_passwords),
        cmocka_unit_test(a_standalone_server_takes_writes_too),
        cmocka_unit_test(a_lost_connection_is_tried_again_once),
        cmocka_unit_test(the_servers_codes_are_ours),
        cmocka_unit_test(a_missed_write_concern_is_no_success_and_no_refusal),
        cmocka_unit_test(a_silent_server_holds_nobody_beyond_the_deadline),
        cmocka_unit_test(a_server_killed_in_the_middle_of_a_write_leaves_it_in_doubt),
        cmocka_unit_test(a_pool_outlives_its_server),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
