/* What the tests of branch-service/mongo share: documents from text, deadlines, raw commands. */
#ifndef ARGON_TESTS_MONGO_FIXTURE_H
#define ARGON_TESTS_MONGO_FIXTURE_H

#include "branch-service/mongo/mongo_collection.h"
#include "branch-service/mongo/mongo_internal.h"
#include "common/base/clock.h"
#include "tests/support/bson_support.h"
#include "tests/support/mongo_server.h"

#define DB "argon_test"

static inline int64_t in_ms(int64_t milliseconds)
{
    return clock_monotonic_micros() + milliseconds * 1000;
}

#define SOON in_ms(120000)

/* assert_ok(call, err): the call's error is in the message. */
#define assert_ok(call, err)                                                                                                               \
    do {                                                                                                                                   \
        if (!(call))                                                                                                                       \
            fail_msg("%s: %s: %s", #call, error_code_name((err).code), (err).message);                                                     \
    } while (0)

#define assert_fails(call, err, expected_code, expected_outcome)                                                                           \
    do {                                                                                                                                   \
        memset(&(err), 0, sizeof(err));                                                                                                    \
        if (call)                                                                                                                          \
            fail_msg("%s succeeded", #call);                                                                                               \
        if ((err).code != (expected_code) || (err).outcome != (expected_outcome))                                                          \
            fail_msg("%s: %s, outcome %d: %s", #call, error_code_name((err).code), (err).outcome, (err).message);                          \
    } while (0)

static inline struct mongo *open_mongo(const char *uri, int selection_ms)
{
    struct mongo *mongo;
    struct error err;
    const struct mongo_options options = { .uri = uri, .app_name = "test", .server_selection_timeout_ms = selection_ms };
    assert_ok(mongo_open(&options, &mongo, &err), err);
    return mongo;
}

/* Inserts one document written as Extended JSON. */
static inline bool insert_text(struct mongo *mongo, const char *collection, const char *text, int64_t deadline, struct error *err)
{
    bson_t *document = bson_of_text(text);
    bool ok = mongo_insert_one(mongo, DB, collection, bytes_of_bson(document), deadline, err);
    bson_destroy(document);
    return ok;
}

static inline int64_t count_text(struct mongo *mongo, const char *collection, const char *filter)
{
    struct error err;
    int64_t n = -1;
    bson_t *which = bson_of_text(filter);
    assert_ok(mongo_count(mongo, DB, collection, bytes_of_bson(which), bytes_of(NULL, 0), SOON, &n, &err), err);
    bson_destroy(which);
    return n;
}

static inline void run_text(struct mongo *mongo, const char *database, const char *text)
{
    struct error err;
    bson_t *command = bson_of_text(text);
    assert_ok(mongo_run(mongo, database, MONGO_COMMAND_PLAIN, command, SOON, NULL, &err), err);
    bson_destroy(command);
}

static inline void drop(struct mongo *mongo, const char *collection)
{
    struct error err;
    assert_ok(mongo_drop_collection(mongo, DB, collection, SOON, &err), err);
}

#endif
