/* Every operation on collections, on a real server: the one of $ARGON_TEST_MONGODB_URI, else one of its own. */
#include "tests/support/mongo_fixture.h"

#include <stdio.h>
#include <unistd.h>

static struct mongo_server server;
static struct mongo *mongo;

static int setup(void **state)
{
    (void)state;
    const char *uri = getenv("ARGON_TEST_MONGODB_URI");
    if (!uri) {
        mongo_server_make(&server);
        mongo_server_start(&server, 0);
        uri = server.uri;
    }
    mongo = open_mongo(uri, 5000);
    return 0;
}

static bool drop_listed(void *ctx, const struct mongo_collection_info *info, struct error *err)
{
    (void)ctx;
    return mongo_drop_collection(mongo, DB, info->name, SOON, err);
}

static int teardown(void **state)
{
    (void)state;
    struct error err;
    if (server.port)
        mongo_server_remove(&server);
    else
        assert_ok(mongo_list_collections(mongo, DB, "", SOON, drop_listed, NULL, &err), err);
    mongo_close(mongo);
    return 0;
}

static void server_says_what_it_is(void **state)
{
    (void)state;
    struct error err;
    struct mongo_server_facts facts, again;
    assert_ok(mongo_ping(mongo, SOON, &err), err);
    assert_ok(mongo_server_facts(mongo, SOON, &facts, &err), err);
    assert_int_not_equal(facts.topology, MONGO_STANDALONE);
    assert_true(facts.sessions);
    assert_true(facts.max_wire_version >= 8);
    assert_int_equal(facts.transactions, facts.max_wire_version >= 9);
    assert_true(strlen(facts.version) >= 3);
    assert_ok(mongo_server_facts(mongo, SOON, &again, &err), err);
    assert_memory_equal(&facts, &again, sizeof facts);
}

/* Without undefined, dbpointer and symbol, deprecated for years: SecantusDB turns them into other types. */
static void append_every_type(bson_t *to)
{
    static const uint8_t binary[] = { 0, 1, 2, 255 };
    bson_oid_t oid;
    bson_decimal128_t decimal;
    bson_t inner;
    bson_oid_init_from_string(&oid, "0123456789abcdef01234567");
    bson_decimal128_from_string("-1.10E+3", &decimal);
    BSON_APPEND_DOUBLE(to, "double", 1.5);
    BSON_APPEND_DOUBLE(to, "minus zero", -0.0);
    BSON_APPEND_DOUBLE(to, "infinite", -1.0 / 0.0);
    BSON_APPEND_DOUBLE(to, "nan", 0.0 / 0.0);
    bson_append_utf8(to, "text", 4, "a\0b\xc3\xa9", 5);
    BSON_APPEND_DOCUMENT_BEGIN(to, "document", &inner);
    BSON_APPEND_INT32(&inner, "z", 1);
    BSON_APPEND_INT32(&inner, "a", 2);
    BSON_APPEND_INT32(&inner, "", 3);
    BSON_APPEND_INT32(&inner, "with.dot", 4);
    bson_append_document_end(to, &inner);
    BSON_APPEND_ARRAY_BEGIN(to, "array", &inner);
    BSON_APPEND_NULL(&inner, "0");
    BSON_APPEND_UTF8(&inner, "1", "");
    bson_append_array_end(to, &inner);
    BSON_APPEND_BINARY(to, "generic", BSON_SUBTYPE_BINARY, binary, sizeof binary);
    BSON_APPEND_BINARY(to, "function", BSON_SUBTYPE_FUNCTION, binary, sizeof binary);
    BSON_APPEND_BINARY(to, "uuid", BSON_SUBTYPE_UUID, (const uint8_t *)"0123456789abcdef", 16);
    BSON_APPEND_BINARY(to, "md5", BSON_SUBTYPE_MD5, (const uint8_t *)"0123456789abcdef", 16);
    BSON_APPEND_BINARY(to, "user", BSON_SUBTYPE_USER, binary, sizeof binary);
    BSON_APPEND_OID(to, "oid", &oid);
    BSON_APPEND_BOOL(to, "true", true);
    BSON_APPEND_BOOL(to, "false", false);
    BSON_APPEND_DATE_TIME(to, "date", -1);
    BSON_APPEND_NULL(to, "null");
    BSON_APPEND_REGEX(to, "regex", "^a/b\\", "imx");
    BSON_APPEND_CODE(to, "code", "f()");
    BSON_APPEND_INT32(to, "int32", INT32_MIN);
    BSON_APPEND_TIMESTAMP(to, "timestamp", 7, 9);
    BSON_APPEND_INT64(to, "int64", INT64_MIN);
    BSON_APPEND_DECIMAL128(to, "decimal", &decimal);
    BSON_APPEND_MINKEY(to, "min");
    BSON_APPEND_MAXKEY(to, "max");
    bson_t scope = BSON_INITIALIZER;
    BSON_APPEND_INT32(&scope, "x", 1);
    BSON_APPEND_CODE_WITH_SCOPE(to, "scoped", "f()", &scope);
    bson_destroy(&scope);
}

static void assert_stored(const char *collection, const char *filter, struct bytes expected)
{
    struct error err;
    struct buffer got = { 0 };
    bool found = false;
    bson_t *which = bson_of_text(filter);
    assert_ok(mongo_find_one(mongo, DB, collection, bytes_of_bson(which), SOON, &found, &got, &err), err);
    assert_true(found);
    assert_int_equal(got.len, expected.len);
    assert_memory_equal(got.data, expected.data, got.len);
    buffer_destroy(&got);
    bson_destroy(which);
}

static void every_type_comes_back_byte_for_byte(void **state)
{
    (void)state;
    struct error err;
    bson_t document = BSON_INITIALIZER, replaced = BSON_INITIALIZER, filter = BSON_INITIALIZER;
    struct mongo_update_result result;
    drop(mongo, "types");
    BSON_APPEND_INT32(&document, "_id", 1);
    append_every_type(&document);
    assert_ok(mongo_insert_one(mongo, DB, "types", bytes_of_bson(&document), SOON, &err), err);
    assert_stored("types", "{\"_id\": 1}", bytes_of_bson(&document));

    BSON_APPEND_INT32(&replaced, "_id", 1);
    BSON_APPEND_INT32(&replaced, "first", 0);
    append_every_type(&replaced);
    BSON_APPEND_INT32(&filter, "_id", 1);
    assert_ok(mongo_replace_one(mongo, DB, "types", bytes_of_bson(&filter), bytes_of_bson(&replaced), false, (struct bytes) { 0 }, SOON,
                                &result, &err),
              err);
    assert_int_equal(result.matched, 1);
    assert_int_equal(result.modified, 1);
    assert_stored("types", "{\"_id\": 1}", bytes_of_bson(&replaced));
    bson_destroy(&document);
    bson_destroy(&replaced);
    bson_destroy(&filter);
}

static void duplicate_id_is_refused(void **state)
{
    (void)state;
    struct error err;
    drop(mongo, "duplicates");
    assert_ok(insert_text(mongo, "duplicates", "{\"_id\": 1}", SOON, &err), err);
    assert_fails(insert_text(mongo, "duplicates", "{\"_id\": 1}", SOON, &err), err, ERROR_ALREADY_EXISTS, OUTCOME_NOT_APPLIED);
    assert_non_null(strstr(err.message, "11000"));
    assert_int_equal(count_text(mongo, "duplicates", "{}"), 1);
}

struct many {
    bson_t *owned[2500];
    struct bytes documents[2500];
    uint8_t items[2500];
    size_t refused[8];
    size_t n_refused;
};

static void on_refused(void *ctx, size_t index, const struct error *why)
{
    struct many *many = ctx;
    assert_int_equal(why->code, ERROR_ALREADY_EXISTS);
    assert_int_equal(why->outcome, OUTCOME_NOT_APPLIED);
    assert_true(many->n_refused < ARRAY_LEN(many->refused));
    many->refused[many->n_refused++] = index;
}

static struct many *make_many(void)
{
    struct many *many = calloc(1, sizeof *many);
    for (size_t i = 0; i < ARRAY_LEN(many->documents); i++) {
        many->owned[i] = BCON_NEW("_id", BCON_INT32(i == 10 || i == 1500 || i == 2400 ? 0 : (int)i), "v", BCON_INT32((int)i));
        many->documents[i] = bytes_of_bson(many->owned[i]);
    }
    return many;
}

static void free_many(struct many *many)
{
    for (size_t i = 0; i < ARRAY_LEN(many->documents); i++)
        bson_destroy(many->owned[i]);
    free(many);
}

static void many_are_inserted_and_each_refusal_is_named(void **state)
{
    (void)state;
    struct error err;
    struct many *many = make_many();
    struct mongo_insert insert = {
        .documents = many->documents, .n = 2500, .unordered = true, .items = many->items, .refused = on_refused, .ctx = many
    };
    drop(mongo, "many");
    assert_ok(mongo_insert_many(mongo, DB, "many", &insert, SOON, &err), err);
    assert_int_equal(many->n_refused, 3);
    assert_int_equal(many->refused[0], 10);
    assert_int_equal(many->refused[1], 1500);
    assert_int_equal(many->refused[2], 2400);
    assert_int_equal(count_text(mongo, "many", "{}"), 2497);
    for (size_t i = 0; i < 2500; i++)
        assert_int_equal(many->items[i], i == 10 || i == 1500 || i == 2400 ? MONGO_ITEM_REFUSED : MONGO_ITEM_INSERTED);

    /* in order: nothing behind the first refusal is tried */
    insert.unordered = false;
    drop(mongo, "many");
    many->n_refused = 0;
    assert_ok(mongo_insert_many(mongo, DB, "many", &insert, SOON, &err), err);
    assert_int_equal(many->n_refused, 1);
    assert_int_equal(count_text(mongo, "many", "{}"), 10);
    for (size_t i = 0; i < 2500; i++)
        assert_int_equal(many->items[i], i < 10 ? MONGO_ITEM_INSERTED : i == 10 ? MONGO_ITEM_REFUSED : MONGO_ITEM_NOT_TRIED);

    /* the last one of a batch, so that nothing is left over in it */
    many->documents[10] = many->documents[2499];
    many->documents[999] = many->documents[0];
    drop(mongo, "many");
    many->n_refused = 0;
    assert_ok(mongo_insert_many(mongo, DB, "many", &insert, SOON, &err), err);
    assert_int_equal(count_text(mongo, "many", "{}"), 999);
    assert_int_equal(many->items[999], MONGO_ITEM_REFUSED);
    assert_int_equal(many->items[1000], MONGO_ITEM_NOT_TRIED);
    free_many(many);
}

static void a_whole_insert_is_all_or_none(void **state)
{
    (void)state;
    struct error err;
    struct many *many = make_many();
    struct mongo_insert insert = {
        .documents = many->documents, .n = 2500, .whole = true, .items = many->items, .refused = on_refused, .ctx = many
    };
    drop(mongo, "whole");
    many->documents[10] = many->documents[2499]; /* so that the first refusal comes in the second batch */
    insert.n = 2499;
    assert_ok(mongo_insert_many(mongo, DB, "whole", &insert, SOON, &err), err);
    assert_int_equal(many->n_refused, 1);
    assert_int_equal(many->refused[0], 1500);
    assert_int_equal(count_text(mongo, "whole", "{}"), 0);
    for (size_t i = 0; i < insert.n; i++)
        assert_int_equal(many->items[i], i == 1500 ? MONGO_ITEM_REFUSED : MONGO_ITEM_NOT_TRIED);

    insert.n = 1500;
    assert_ok(mongo_insert_many(mongo, DB, "whole", &insert, SOON, &err), err);
    assert_int_equal(count_text(mongo, "whole", "{}"), 1500);
    for (size_t i = 0; i < insert.n; i++)
        assert_int_equal(many->items[i], MONGO_ITEM_INSERTED);
    free_many(many);
}

static void find_skips_limits_and_sorts(void **state)
{
    (void)state;
    struct error err;
    drop(mongo, "found");
    for (int i = 9; i >= 0; i--) {
        char text[64];
        snprintf(text, sizeof text, "{\"_id\": %d, \"even\": %s}", i, i % 2 ? "false" : "true");
        assert_ok(insert_text(mongo, "found", text, SOON, &err), err);
    }
    bson_t *even = bson_of_text("{\"even\": true}");
    static const int rising[] = { 2, 4, 6 }, falling[] = { 6, 4, 2 };
    for (int order = -1; order <= 1; order += 2) {
        const struct mongo_find find = { .filter = bytes_of_bson(even), .skip = 1, .limit = 3, .id_order = order };
        struct mongo_cursor *cursor;
        struct bytes document;
        assert_ok(mongo_find(mongo, DB, "found", &find, SOON, &cursor, &err), err);
        for (int i = 0; i < 3; i++) {
            bson_t view;
            bson_iter_t at;
            assert_int_equal(mongo_cursor_next(cursor, SOON, &document, &err), MONGO_NEXT_DOCUMENT);
            assert_true(bson_init_static(&view, document.data, document.len) && bson_iter_init_find(&at, &view, "_id"));
            assert_int_equal(bson_iter_int32(&at), order < 0 ? falling[i] : rising[i]);
        }
        assert_int_equal(mongo_cursor_next(cursor, SOON, &document, &err), MONGO_NEXT_END);
        mongo_cursor_close(cursor);
    }
    assert_int_equal(count_text(mongo, "found", "{\"even\": true}"), 5);
    assert_int_equal(count_text(mongo, "absent", "{}"), 0);

    bool found = true;
    struct buffer out = { 0 };
    bson_t *nobody = bson_of_text("{\"_id\": \"nobody\"}");
    assert_ok(mongo_find_one(mongo, DB, "found", bytes_of_bson(nobody), SOON, &found, &out, &err), err);
    assert_false(found);
    assert_int_equal(out.len, 0);
    bson_destroy(nobody);
    bson_destroy(even);
}

static void a_cursor_may_be_left_early_and_beside_others(void **state)
{
    (void)state;
    struct error err;
    struct many *many = make_many();
    const struct mongo_insert insert = { .documents = many->documents, .n = 2500, .unordered = true, .items = many->items };
    struct mongo_cursor *first, *second;
    struct bytes document;
    const struct mongo_find find = { .id_order = 1 };
    drop(mongo, "many");
    assert_ok(mongo_insert_many(mongo, DB, "many", &insert, SOON, &err), err);
    assert_ok(mongo_find(mongo, DB, "many", &find, SOON, &first, &err), err);
    assert_ok(mongo_find(mongo, DB, "many", &find, SOON, &second, &err), err);
    size_t n = 0;
    for (enum mongo_next next; (next = mongo_cursor_next(first, SOON, &document, &err)) != MONGO_NEXT_END; n++) {
        assert_int_equal(next, MONGO_NEXT_DOCUMENT);
        if (n < 200)
            assert_int_equal(mongo_cursor_next(second, SOON, &document, &err), MONGO_NEXT_DOCUMENT);
    }
    assert_int_equal(n, 2497);
    mongo_cursor_close(second);
    mongo_cursor_close(first);
    free_many(many);
}

static bool update_text(bool many, const char *filter, const char *update, bool upsert, struct mongo_update_result *out, struct error *err)
{
    bson_t *which = bson_of_text(filter);
    bool pipeline = update[0] == '[';
    char *wrapped = bson_strdup_printf("{\"u\": %s}", update);
    bson_t *holder = bson_of_text(wrapped);
    bson_iter_t at;
    uint32_t len;
    const uint8_t *data;
    assert_true(bson_iter_init_find(&at, holder, "u"));
    if (pipeline)
        bson_iter_array(&at, &len, &data);
    else
        bson_iter_document(&at, &len, &data);
    const struct mongo_update change = {
        .filter = bytes_of_bson(which), .update = bytes_of(data, len), .pipeline = pipeline, .upsert = upsert
    };
    bool ok = (many ? mongo_update_many : mongo_update_one)(mongo, DB, "updated", &change, SOON, out, err);
    bson_destroy(holder);
    bson_free(wrapped);
    bson_destroy(which);
    return ok;
}

static void updates_say_what_they_did(void **state)
{
    (void)state;
    struct error err;
    struct mongo_update_result result;
    drop(mongo, "updated");
    for (int i = 0; i < 4; i++) {
        char text[64];
        snprintf(text, sizeof text, "{\"_id\": %d, \"n\": %d, \"list\": [1, 5, 9]}", i, i);
        assert_ok(insert_text(mongo, "updated", text, SOON, &err), err);
    }
    for (int many = 0; many < 2; many++) {
        assert_ok(update_text(many, "{\"_id\": {\"$in\": [1, 2]}}", "{\"$inc\": {\"n\": 10}}", false, &result, &err), err);
        assert_int_equal(result.matched, many ? 2 : 1);
        assert_int_equal(result.modified, many ? 2 : 1);
        assert_false(result.upserted);
        assert_ok(update_text(many, "{\"_id\": 3}", "{\"$set\": {\"n\": 3}}", false, &result, &err), err);
        assert_int_equal(result.matched, 1);
        assert_int_equal(result.modified, 0);
        assert_ok(update_text(many, "{\"_id\": \"nobody\"}", "{\"$set\": {\"n\": 3}}", false, &result, &err), err);
        assert_int_equal(result.matched, 0);
        assert_ok(update_text(many, "{\"_id\": 0}", "[{\"$set\": {\"m\": {\"$add\": [\"$n\", 7]}}}, {\"$set\": {\"k\": \"$m\"}}]", false,
                              &result, &err),
                  err);
        assert_int_equal(result.matched, 1);
        assert_int_equal(count_text(mongo, "updated", "{\"m\": 7, \"k\": 7}"), 1);

        char upsert[64], id[64];
        snprintf(upsert, sizeof upsert, "{\"_id\": \"new %d\"}", many);
        assert_ok(update_text(many, upsert, "{\"$set\": {\"n\": 1}}", true, &result, &err), err);
        assert_true(result.upserted);
        assert_int_equal(result.matched, 0);
        snprintf(id, sizeof id, "{\"_id\":\"new %d\"}", many);
        bson_t *expected = bson_of_text(id);
        assert_bson_equal(buffer_bytes(&result.upserted_id), bytes_of_bson(expected), "upserted id");
        bson_destroy(expected);
        buffer_destroy(&result.upserted_id);

        /* what is not an update is refused here, what is a bad one by the server */
        enum error_outcome refused = many ? OUTCOME_UNKNOWN : OUTCOME_NOT_APPLIED;
        assert_fails(update_text(many, "{\"_id\": 0}", "{\"n\": 1}", false, &result, &err), err, ERROR_INVALID_ARGUMENT,
                     OUTCOME_NOT_APPLIED);
        assert_fails(update_text(many, "{\"_id\": 0}", "{\"$inc\": {\"_id\": 1}}", false, &result, &err), err, ERROR_INVALID_ARGUMENT,
                     refused);
        assert_non_null(strstr(err.message, "66"));
        assert_fails(update_text(many, "{\"_id\": 0}", "{\"$nonsense\": {\"n\": 1}}", false, &result, &err), err, ERROR_INVALID_ARGUMENT,
                     refused);
        assert_fails(update_text(many, "{\"n\": {\"$nonsense\": 1}}", "{\"$inc\": {\"n\": 1}}", false, &result, &err), err,
                     ERROR_INVALID_ARGUMENT, refused);
    }

    bson_t *filter = bson_of_text("{\"_id\": 3}"), *update = bson_of_text("{\"$set\": {\"list.$[big]\": 0}}"),
           *filters = bson_of_text("{\"0\": {\"big\": {\"$gt\": 4}}}");
    const struct mongo_update change = { .filter = bytes_of_bson(filter),
                                         .update = bytes_of_bson(update),
                                         .array_filters = bytes_of_bson(filters) };
    assert_ok(mongo_update_one(mongo, DB, "updated", &change, SOON, &result, &err), err);
    assert_int_equal(count_text(mongo, "updated", "{\"list\": [1, 0, 0]}"), 1);
    bson_t *some = bson_of_text("{\"_id\": {\"$in\": [1, 2]}}");
    const struct mongo_update both = { .filter = bytes_of_bson(some),
                                       .update = bytes_of_bson(update),
                                       .array_filters = bytes_of_bson(filters) };
    assert_ok(mongo_update_many(mongo, DB, "updated", &both, SOON, &result, &err), err);
    assert_int_equal(result.modified, 2);
    assert_int_equal(count_text(mongo, "updated", "{\"list\": [1, 0, 0]}"), 3);
    bson_destroy(some);
    bson_destroy(filter);
    bson_destroy(update);
    bson_destroy(filters);
}

static void replace_and_delete(void **state)
{
    (void)state;
    struct error err;
    struct mongo_update_result result;
    int64_t deleted = -1;
    drop(mongo, "replaced");
    bson_t *one = bson_of_text("{\"_id\": 1}"), *all = bson_of_text("{}"),
           *document = bson_of_text("{\"_id\": 1, \"a\": {\"$numberInt\": \"1\"}}"), *operators = bson_of_text("{\"$set\": {\"a\": 1}}"),
           *other = bson_of_text("{\"_id\": 2}");
    assert_ok(mongo_replace_one(mongo, DB, "replaced", bytes_of_bson(one), bytes_of_bson(document), false, (struct bytes) { 0 }, SOON,
                                &result, &err),
              err);
    assert_int_equal(result.matched, 0);
    assert_ok(mongo_replace_one(mongo, DB, "replaced", bytes_of_bson(one), bytes_of_bson(document), true, (struct bytes) { 0 }, SOON,
                                &result, &err),
              err);
    assert_true(result.upserted);
    assert_bson_equal(buffer_bytes(&result.upserted_id), bytes_of_bson(one), "upserted id");
    buffer_destroy(&result.upserted_id);
    assert_fails(mongo_replace_one(mongo, DB, "replaced", bytes_of_bson(one), bytes_of_bson(operators), true, (struct bytes) { 0 }, SOON,
                                   &result, &err),
                 err, ERROR_INVALID_ARGUMENT, OUTCOME_NOT_APPLIED);
    assert_fails(mongo_replace_one(mongo, DB, "replaced", bytes_of_bson(one), bytes_of_bson(other), false, (struct bytes) { 0 }, SOON,
                                   &result, &err),
                 err, ERROR_INVALID_ARGUMENT, OUTCOME_NOT_APPLIED);
    for (int i = 10; i < 15; i++) {
        char text[32];
        snprintf(text, sizeof text, "{\"_id\": %d}", i);
        assert_ok(insert_text(mongo, "replaced", text, SOON, &err), err);
    }
    assert_ok(mongo_delete_one(mongo, DB, "replaced", bytes_of_bson(all), (struct bytes) { 0 }, SOON, &deleted, &err), err);
    assert_int_equal(deleted, 1);
    assert_ok(mongo_delete_many(mongo, DB, "replaced", bytes_of_bson(all), (struct bytes) { 0 }, SOON, &deleted, &err), err);
    assert_int_equal(deleted, 5);
    assert_ok(mongo_delete_one(mongo, DB, "replaced", bytes_of_bson(all), (struct bytes) { 0 }, SOON, &deleted, &err), err);
    assert_int_equal(deleted, 0);
    bson_destroy(one);
    bson_destroy(all);
    bson_destroy(document);
    bson_destroy(operators);
    bson_destroy(other);
}

static void wrong_input_is_invalid(void **state)
{
    (void)state;
    struct error err;
    struct mongo_cursor *cursor;
    struct bytes document;
    int64_t n;
    bson_t *bad = bson_of_text("{\"a\": {\"$nonsense\": 1}}");
    const struct mongo_find find = { .filter = bytes_of_bson(bad) };
    assert_ok(mongo_find(mongo, DB, "found", &find, SOON, &cursor, &err), err);
    assert_int_equal(mongo_cursor_next(cursor, SOON, &document, &err), MONGO_NEXT_FAILED);
    assert_int_equal(err.code, ERROR_INVALID_ARGUMENT);
    mongo_cursor_close(cursor);
    assert_false(mongo_count(mongo, DB, "found", bytes_of_bson(bad), bytes_of(NULL, 0), SOON, &n, &err));
    assert_int_equal(err.code, ERROR_INVALID_ARGUMENT);
    assert_fails(mongo_delete_one(mongo, DB, "found", bytes_of_bson(bad), (struct bytes) { 0 }, SOON, &n, &err), err,
                 ERROR_INVALID_ARGUMENT, OUTCOME_NOT_APPLIED);
    assert_fails(mongo_insert_one(mongo, DB, "found", bytes_of_string("no document"), SOON, &err), err, ERROR_INVALID_ARGUMENT,
                 OUTCOME_NOT_APPLIED);
    assert_fails(mongo_insert_one(mongo, DB, "found", bytes_of(NULL, 0), SOON, &err), err, ERROR_INVALID_ARGUMENT, OUTCOME_NOT_APPLIED);
    assert_fails(insert_text(mongo, "", "{\"_id\": 1}", SOON, &err), err, ERROR_INVALID_ARGUMENT, OUTCOME_NOT_APPLIED);
    assert_fails(insert_text(mongo, "found", "{\"_id\": 1}", in_ms(-1), &err), err, ERROR_DEADLINE_EXCEEDED, OUTCOME_NOT_APPLIED);
    bson_destroy(bad);
}

static bson_t *document_of_size(size_t size)
{
    bson_t *document = BCON_NEW("_id", BCON_INT32(1));
    size_t overhead = document->len + 1 + 2 + 5; /* type, "b", length and subtype */
    uint8_t *filling = calloc(1, size);
    bson_append_binary(document, "b", 1, BSON_SUBTYPE_BINARY, filling, (uint32_t)(size - overhead));
    free(filling);
    assert_int_equal(document->len, size);
    return document;
}

static void sixteen_mebibytes_and_no_byte_more(void **state)
{
    (void)state;
    struct error err;
    drop(mongo, "large");
    bson_t *largest = document_of_size(16 << 20), *larger = document_of_size((16 << 20) + 1), *huge = document_of_size(17 << 20);
    assert_fails(mongo_insert_one(mongo, DB, "large", bytes_of_bson(larger), SOON, &err), err, ERROR_INVALID_ARGUMENT, OUTCOME_NOT_APPLIED);
    assert_fails(mongo_insert_one(mongo, DB, "large", bytes_of_bson(huge), SOON, &err), err, ERROR_INVALID_ARGUMENT, OUTCOME_NOT_APPLIED);
    assert_int_equal(count_text(mongo, "large", "{}"), 0);
    assert_ok(mongo_insert_one(mongo, DB, "large", bytes_of_bson(largest), SOON, &err), err);
    assert_stored("large", "{\"_id\": 1}", bytes_of_bson(largest));
    drop(mongo, "large");
    bson_destroy(largest);
    bson_destroy(larger);
    bson_destroy(huge);
}

struct names {
    const char *prefix;
    char found[8][32];
    size_t n;
};

static bool on_name(void *ctx, const struct mongo_collection_info *info, struct error *err)
{
    (void)err;
    struct names *names = ctx;
    assert_true(names->n < ARRAY_LEN(names->found));
    assert_true(info->has_uuid);
    assert_string_equal(info->type, "collection");
    assert_true(strlen(info->name) < sizeof names->found[0]);
    strcpy(names->found[names->n++], info->name);
    return true;
}

static bool listed(const struct names *names, const char *name)
{
    for (size_t i = 0; i < names->n; i++)
        if (strcmp(names->found[i], name) == 0)
            return true;
    return false;
}

static void a_prefix_means_its_bytes(void **state)
{
    (void)state;
    struct error err;
    static const char *const collections[] = {
        "p.a",
        "p_a",
        "pXa",
        "P.a",
        "p.*b",
        "p.+",
        "p[x]",
        "p",
        "p^",
        "p\\d",
        "p1",
        "p\xc3\xa9",
        "p\xc3\xa8",
        "p\x7f"
        "a",
    };
    static const struct {
        const char *prefix;
        const char *names[4];
    } cases[] = {
        { "p.", { "p.a", "p.*b", "p.+" } },
        { "p.*", { "p.*b" } },
        { "p[", { "p[x]" } },
        { "p[x]", { "p[x]" } },
        { "p^", { "p^" } },
        { "p\\d", { "p\\d" } },
        { "p\\", { "p\\d" } },
        { "^p", { NULL } },
        { "p|P", { NULL } },
        { "P", { "P.a" } },
        { "p\xc3\xa9", { "p\xc3\xa9" } },
        { "p\x7f",
          { "p\x7f"
            "a" } },
        { "p_", { "p_a" } },
        { ".*", { NULL } },
    };
    for (size_t i = 0; i < ARRAY_LEN(collections); i++)
        assert_ok(mongo_create_collection(mongo, DB, collections[i], bytes_of(NULL, 0), SOON, &err), err);
    for (size_t i = 0; i < ARRAY_LEN(cases); i++) {
        struct names names = { .n = 0 };
        size_t expected = 0;
        assert_ok(mongo_list_collections(mongo, DB, cases[i].prefix, SOON, on_name, &names, &err), err);
        for (; cases[i].names[expected]; expected++)
            if (!listed(&names, cases[i].names[expected]))
                fail_msg("prefix %s: %s is not listed", cases[i].prefix, cases[i].names[expected]);
        if (names.n != expected)
            fail_msg("prefix %s: %zu names instead of %zu, the first is %s", cases[i].prefix, names.n, expected, names.found[0]);
    }
    for (size_t i = 0; i < ARRAY_LEN(collections); i++)
        drop(mongo, collections[i]);
}

static bool stop_listing(void *ctx, const struct mongo_collection_info *info, struct error *err)
{
    ++*(int *)ctx;
    return error_set(err, ERROR_CANCELLED, "enough at %s", info->name);
}

struct seen {
    bool found;
    struct buffer options;
};

static bool on_seen(void *ctx, const struct mongo_collection_info *info, struct error *err)
{
    (void)err;
    struct seen *seen = ctx;
    seen->found = true;
    buffer_clear(&seen->options);
    buffer_append(&seen->options, info->options.data, info->options.len);
    return true;
}

static void collections_are_made_renamed_and_dropped(void **state)
{
    (void)state;
    struct error err;
    struct seen before = { 0 }, after = { 0 };
    int visits = 0;
    bson_t *options = bson_of_text("{\"validator\": {\"a\": {\"$exists\": true}}}");
    drop(mongo, "c.old");
    drop(mongo, "c.new");
    assert_ok(mongo_create_collection(mongo, DB, "c.old", bytes_of_bson(options), SOON, &err), err);
    assert_fails(mongo_create_collection(mongo, DB, "c.old", bytes_of("\5\0\0\0\0", 5), SOON, &err), err, ERROR_ALREADY_EXISTS,
                 OUTCOME_UNKNOWN);
    assert_fails(insert_text(mongo, "c.old", "{\"_id\": 1}", SOON, &err), err, ERROR_FAILED_PRECONDITION, OUTCOME_NOT_APPLIED);
    assert_ok(insert_text(mongo, "c.old", "{\"_id\": 1, \"a\": 1}", SOON, &err), err);
    assert_ok(mongo_list_collections(mongo, DB, "c.", SOON, on_seen, &before, &err), err);
    assert_true(before.found);

    assert_ok(mongo_rename_collection(mongo, DB, "c.old", "c.new", SOON, &err), err);
    assert_ok(mongo_list_collections(mongo, DB, "c.new", SOON, on_seen, &after, &err), err);
    assert_true(after.found);
    assert_fails(mongo_rename_collection(mongo, DB, "c.old", "c.else", SOON, &err), err, ERROR_NOT_FOUND, OUTCOME_UNKNOWN);
    assert_ok(mongo_create_collection(mongo, DB, "c.old", bytes_of(NULL, 0), SOON, &err), err);
    assert_fails(mongo_rename_collection(mongo, DB, "c.new", "c.old", SOON, &err), err, ERROR_ALREADY_EXISTS, OUTCOME_UNKNOWN);
    assert_int_equal(count_text(mongo, "c.new", "{}"), 1);

    assert_false(mongo_list_collections(mongo, DB, "c.", SOON, stop_listing, &visits, &err));
    assert_int_equal(err.code, ERROR_CANCELLED);
    assert_int_equal(visits, 1);
    drop(mongo, "c.old");
    drop(mongo, "c.new");
    drop(mongo, "c.new"); /* is not there any more, which is what was asked for */
    assert_int_equal(count_text(mongo, "c.new", "{}"), 0);
    buffer_destroy(&before.options);
    buffer_destroy(&after.options);
    bson_destroy(options);
}

static void a_validator_keeps_foreign_writers_out_until_it_is_taken_away(void **state)
{
    (void)state;
    struct error err;
    bson_t *never = bson_of_text("{\"$expr\": false}");
    drop(mongo, "barred");
    assert_fails(mongo_set_validator(mongo, DB, "barred", bytes_of_bson(never), SOON, &err), err, ERROR_NOT_FOUND, OUTCOME_UNKNOWN);
    assert_ok(insert_text(mongo, "barred", "{\"_id\": 1}", SOON, &err), err);
    assert_ok(mongo_set_validator(mongo, DB, "barred", bytes_of_bson(never), SOON, &err), err);
    assert_fails(insert_text(mongo, "barred", "{\"_id\": 2}", SOON, &err), err, ERROR_FAILED_PRECONDITION, OUTCOME_NOT_APPLIED);
    assert_ok(mongo_set_validator(mongo, DB, "barred", bytes_of("\5\0\0\0\0", 5), SOON, &err), err);
    assert_ok(insert_text(mongo, "barred", "{\"_id\": 2}", SOON, &err), err);
    bson_destroy(never);
}

static bool on_index_text(void *ctx, struct bytes definition, struct error *err)
{
    (void)err;
    char *text = text_of_bytes(definition, EJSON_RELAXED);
    strncat(ctx, text, 1023 - strlen(ctx));
    strncat(ctx, "\n", 1023 - strlen(ctx));
    free(text);
    return true;
}

static void indexes_are_listed_and_made_from_the_list(void **state)
{
    (void)state;
    struct error err;
    bson_t *unique =
               bson_of_text("{\"v\": 2, \"key\": {\"a\": 1, \"b\": -1}, \"name\": \"ab\", \"unique\": true, \"ns\": \"argon_test.x\"}"),
           *id = bson_of_text("{\"v\": 2, \"key\": {\"_id\": 1}, \"name\": \"_id_\"}");
    const struct bytes definitions[] = { bytes_of_bson(id), bytes_of_bson(unique) };
    char text[1024] = "";
    drop(mongo, "indexed");
    assert_ok(mongo_list_indexes(mongo, DB, "indexed", SOON, on_index_text, text, &err), err);
    assert_string_equal(text, "");
    assert_ok(mongo_create_collection(mongo, DB, "indexed", bytes_of(NULL, 0), SOON, &err), err);
    assert_ok(mongo_create_indexes(mongo, DB, "indexed", definitions, 1, SOON, &err), err); /* nothing to do */
    assert_ok(mongo_create_indexes(mongo, DB, "indexed", definitions, 2, SOON, &err), err);
    assert_ok(mongo_create_indexes(mongo, DB, "indexed", definitions, 2, SOON, &err), err); /* there already */
    assert_ok(mongo_list_indexes(mongo, DB, "indexed", SOON, on_index_text, text, &err), err);
    assert_non_null(strstr(text, "\"name\":\"_id_\""));
    assert_non_null(strstr(text, "\"name\":\"ab\""));
    assert_non_null(strstr(text, "\"unique\":true"));
    assert_ok(insert_text(mongo, "indexed", "{\"_id\": 1, \"a\": 1, \"b\": 1}", SOON, &err), err);
    assert_fails(insert_text(mongo, "indexed", "{\"_id\": 2, \"a\": 1, \"b\": 1}", SOON, &err), err, ERROR_ALREADY_EXISTS,
                 OUTCOME_NOT_APPLIED);
    assert_ok(mongo_drop_index(mongo, DB, "indexed", "ab", SOON, &err), err);
    assert_ok(mongo_drop_index(mongo, DB, "indexed", "ab", SOON, &err), err); /* already */
    assert_ok(mongo_drop_index(mongo, DB, "not there", "ab", SOON, &err), err);
    assert_ok(insert_text(mongo, "indexed", "{\"_id\": 2, \"a\": 1, \"b\": 1}", SOON, &err), err);
    bson_destroy(unique);
    bson_destroy(id);
}

static void fill(const char *source, size_t n, bool with_options)
{
    struct error err;
    bson_t *options = bson_of_text("{\"validator\": {\"v\": {\"$exists\": true}}}"),
           *unique = bson_of_text("{\"v\": 2, \"key\": {\"v\": 1}, \"name\": \"v\", \"unique\": true}"),
           *two = bson_of_text("{\"v\": 2, \"key\": {\"text\": -1, \"v\": 1}, \"name\": \"two\"}");
    const struct bytes definitions[] = { bytes_of_bson(unique), bytes_of_bson(two) };
    bson_t **owned = calloc(n, sizeof *owned);
    struct bytes *documents = calloc(n, sizeof *documents);
    uint8_t *items = calloc(n, 1);
    drop(mongo, source);
    if (with_options)
        assert_ok(mongo_create_collection(mongo, DB, source, bytes_of_bson(options), SOON, &err), err);
    for (size_t i = 0; i < n; i++) {
        owned[i] = BCON_NEW("_id", BCON_INT32((int)i), "v", BCON_INT64((int64_t)i), "text", BCON_UTF8("some text that fills a little"));
        documents[i] = bytes_of_bson(owned[i]);
    }
    const struct mongo_insert insert = { .documents = documents, .n = n, .items = items };
    assert_ok(mongo_insert_many(mongo, DB, source, &insert, SOON, &err), err);
    if (with_options)
        assert_ok(mongo_create_indexes(mongo, DB, source, definitions, 2, SOON, &err), err);
    for (size_t i = 0; i < n; i++)
        bson_destroy(owned[i]);
    free(owned);
    free(documents);
    free(items);
    bson_destroy(options);
    bson_destroy(unique);
    bson_destroy(two);
}

static void assert_same_documents(const char *one, const char *other)
{
    struct error err;
    const struct mongo_find find = { .id_order = 1 };
    struct mongo_cursor *a, *b;
    struct bytes from_a, from_b;
    assert_ok(mongo_find(mongo, DB, one, &find, SOON, &a, &err), err);
    assert_ok(mongo_find(mongo, DB, other, &find, SOON, &b, &err), err);
    for (;;) {
        enum mongo_next next = mongo_cursor_next(a, SOON, &from_a, &err);
        assert_int_equal(next, mongo_cursor_next(b, SOON, &from_b, &err));
        assert_int_not_equal(next, MONGO_NEXT_FAILED);
        if (next == MONGO_NEXT_END)
            break;
        assert_bson_equal(from_a, from_b, "copy");
    }
    mongo_cursor_close(a);
    mongo_cursor_close(b);
}

static void the_server_copies_ten_thousand_documents(void **state)
{
    (void)state;
    struct error err;
    struct mongo_copy_result result = { 0 };
    drop(mongo, "copied");
    fill("ten thousand", 10000, false);
    assert_ok(mongo_copy_collection(mongo, DB, "ten thousand", "copied", SOON, &result, &err), err);
    assert_true(result.by_server);
    assert_int_equal(result.documents, 10000);
    assert_same_documents("ten thousand", "copied");
}

static void a_copy_has_documents_options_and_indexes(void **state)
{
    (void)state;
    struct error err;
    struct mongo_copy_result result = { 0 };
    char indexes[1024] = "", copied[1024] = "";
    drop(mongo, "target");
    fill("source", 300, true);
    assert_ok(mongo_copy_collection(mongo, DB, "source", "target", SOON, &result, &err), err);
    assert_int_equal(result.documents, 300);
    assert_same_documents("source", "target");
    assert_ok(mongo_list_indexes(mongo, DB, "source", SOON, on_index_text, indexes, &err), err);
    assert_ok(mongo_list_indexes(mongo, DB, "target", SOON, on_index_text, copied, &err), err);
    assert_string_equal(indexes, copied);
    assert_non_null(strstr(indexes, "\"name\":\"two\""));
    assert_fails(insert_text(mongo, "target", "{\"_id\": \"no v\"}", SOON, &err), err, ERROR_FAILED_PRECONDITION, OUTCOME_NOT_APPLIED);
    assert_fails(insert_text(mongo, "target", "{\"_id\": \"same v\", \"v\": 7}", SOON, &err), err, ERROR_ALREADY_EXISTS,
                 OUTCOME_NOT_APPLIED);
    drop(mongo, "target");
}

static void what_is_there_is_never_copied_over(void **state)
{
    (void)state;
    struct error err;
    struct mongo_copy_result result;
    drop(mongo, "target");
    fill("source", 10, false);
    assert_ok(insert_text(mongo, "target", "{\"_id\": \"mine\"}", SOON, &err), err);
    assert_false(mongo_copy_collection(mongo, DB, "source", "target", SOON, &result, &err));
    assert_int_equal(err.code, ERROR_ALREADY_EXISTS);
    assert_int_equal(count_text(mongo, "target", "{\"_id\": \"mine\"}"), 1);
    drop(mongo, "target");

    assert_false(mongo_copy_collection(mongo, DB, "absent", "target", SOON, &result, &err));
    assert_int_equal(err.code, ERROR_NOT_FOUND);
    drop(mongo, "seen");
    run_text(mongo, DB, "{\"create\": \"seen\", \"viewOn\": \"source\", \"pipeline\": []}");
    assert_false(mongo_copy_collection(mongo, DB, "seen", "target", SOON, &result, &err));
    assert_int_equal(err.code, ERROR_FAILED_PRECONDITION);
    drop(mongo, "seen");
}

static void a_capped_collection_stays_capped(void **state)
{
    (void)state;
    struct error err;
    struct mongo_copy_result result;
    struct seen seen = { 0 };
    drop(mongo, "target");
    run_text(mongo, DB, "{\"create\": \"capped\", \"capped\": true, \"size\": 1000000}");
    assert_ok(insert_text(mongo, "capped", "{\"_id\": 1}", SOON, &err), err);
    assert_ok(mongo_copy_collection(mongo, DB, "capped", "target", SOON, &result, &err), err);
    assert_int_equal(result.documents, 1);
    assert_ok(mongo_list_collections(mongo, DB, "target", SOON, on_seen, &seen, &err), err);
    char *text = text_of_bytes(buffer_bytes(&seen.options), EJSON_RELAXED);
    assert_non_null(strstr(text, "\"capped\":true"));
    free(text);
    buffer_destroy(&seen.options);
    drop(mongo, "target");
    drop(mongo, "capped");
}

/* Uses configureFailPoint, which a server that is not ours may not have, so on one of its own. */
static void where_out_is_refused_the_client_copies(void **state)
{
    (void)state;
    struct mongo *shared = mongo;
    struct mongo_server own = { 0 };
    if (!server.port) {
        mongo_server_make(&own);
        mongo_server_start(&own, 0);
        mongo = open_mongo(own.uri, 5000);
    }
    struct error err;
    struct mongo_copy_result result = { 0 };
    drop(mongo, "target");
    fill("source", 2500, false);
    run_text(
        mongo, "admin",
        "{\"configureFailPoint\": \"failCommand\", \"mode\": {\"times\": 1}, \"data\": {\"failCommands\": [\"aggregate\"], \"errorCode\": "
        "115}}");
    assert_ok(mongo_copy_collection(mongo, DB, "source", "target", SOON, &result, &err), err);
    assert_false(result.by_server);
    assert_int_equal(result.documents, 2500);
    assert_same_documents("source", "target");
    if (own.port) {
        mongo_close(mongo);
        mongo_server_remove(&own);
    }
    mongo = shared;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(server_says_what_it_is),
        cmocka_unit_test(every_type_comes_back_byte_for_byte),
        cmocka_unit_test(duplicate_id_is_refused),
        cmocka_unit_test(many_are_inserted_and_each_refusal_is_named),
        cmocka_unit_test(a_whole_insert_is_all_or_none),
        cmocka_unit_test(find_skips_limits_and_sorts),
        cmocka_unit_test(a_cursor_may_be_left_early_and_beside_others),
        cmocka_unit_test(updates_say_what_they_did),
        cmocka_unit_test(replace_and_delete),
        cmocka_unit_test(wrong_input_is_invalid),
        cmocka_unit_test(sixteen_mebibytes_and_no_byte_more),
        cmocka_unit_test(a_prefix_means_its_bytes),
        cmocka_unit_test(collections_are_made_renamed_and_dropped),
        cmocka_unit_test(a_validator_keeps_foreign_writers_out_until_it_is_taken_away),
        cmocka_unit_test(indexes_are_listed_and_made_from_the_list),
        cmocka_unit_test(the_server_copies_ten_thousand_documents),
        cmocka_unit_test(a_copy_has_documents_options_and_indexes),
        cmocka_unit_test(what_is_there_is_never_copied_over),
        cmocka_unit_test(a_capped_collection_stays_capped),
        cmocka_unit_test(where_out_is_refused_the_client_copies),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
