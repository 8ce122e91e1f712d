#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <string.h>

#include "branch-service/reasons.h"
#include "branch-service/write/write_answer.h"
#include "branch-service/write/write_conflict.h"
#include "common/base/limits.h"
#include "common/bson/key_encoding.h"

static void what_a_step_says_comes_back(void **state)
{
    (void)state;
    struct arena arena;
    struct bytes encoded;
    struct error err;
    struct write_answer in = { .counts = { 1, 2, 3, 4, 5, 6, 7 },
                               .lsn = 7,
                               .operation = 8,
                               .recorded = 1,
                               .record_lsn = 9,
                               .branch_id = "b",
                               .collection_id = "c" },
                        out;
    arena_init(&arena, 0);
    assert_true(write_answer_encode(&in, &arena, &encoded, &err));
    assert_true(write_answer_decode(encoded, &out, &err));
    assert_memory_equal(&out.counts, &in.counts, sizeof in.counts);
    assert_int_equal(out.lsn, 7);
    assert_int_equal(out.operation, 8);
    assert_int_equal(out.recorded, 1);
    assert_int_equal(out.record_lsn, 9);
    assert_string_equal(out.branch_id, "b");
    assert_string_equal(out.collection_id, "c");
    assert_int_equal(out.failure.code, ERROR_OK);
    arena_destroy(&arena);
}

static void an_error_comes_back_with_reason_and_keys(void **state)
{
    (void)state;
    struct arena arena;
    struct bytes encoded;
    struct error err;
    struct write_answer in = { 0 }, out;
    arena_init(&arena, 0);
    error_set(&in.failure, ERROR_ALREADY_EXISTS, "%0255d", 7); /* as long as it can be */
    error_set_reason(&in.failure, REASON_DUPLICATE_KEY);
    error_add_key(&in.failure, "c/{\"_id\":%0200d}", 1);
    error_add_key(&in.failure, "c/2");
    in.failure.mongo_code = 11000;
    assert_true(write_answer_encode(&in, &arena, &encoded, &err));
    assert_in_range(encoded.len, 1, MAX_REQUEST_ANSWER_BYTES);
    assert_true(write_answer_decode(encoded, &out, &err));
    assert_int_equal(out.failure.code, ERROR_ALREADY_EXISTS);
    assert_string_equal(out.failure.message, in.failure.message);
    assert_string_equal(out.failure.reason, in.failure.reason);
    assert_string_equal(out.failure.keys, in.failure.keys);
    assert_int_equal(out.failure.mongo_code, 11000);
    arena_destroy(&arena);
}

static struct bytes encode_key(const bson_t *document, struct arena *arena)
{
    struct buffer key = { 0 };
    assert_true(key_encode_document_id(bytes_of(bson_get_data(document), document->len), &key, NULL));
    struct bytes copy = bytes_of(arena_copy(arena, key.data, key.len), key.len);
    buffer_destroy(&key);
    return copy;
}

static void conflicts_are_named_as_people_know_them(void **state)
{
    (void)state;
    struct arena arena;
    struct error err;
    arena_init(&arena, 0);
    bson_t *one = BCON_NEW("_id", BCON_INT32(1), "v", "x"), *gone = BCON_NEW("_id", "a"), *name = BCON_NEW("_id", "users");
    struct log_entry entries[] = {
        { LOG_UPDATE, encode_key(one, &arena), bytes_of(bson_get_data(one), one->len) },
        { LOG_DELETE, encode_key(gone, &arena), bytes_of(bson_get_data(gone), gone->len) },
    };
    struct log_run run = { .branch_id = "main", .collection = "64f0", .entries = entries, .n_entries = 2 };
    const struct write_plan plan = { .runs = &run, .n_runs = 1, .collection = "users" };
    const struct log_key conflicts[] = {
        { "main", "64f0", entries[0].document_id },
        { "main", "64f0", entries[1].document_id },
        { "main", "_collections", encode_key(name, &arena) },
    };
    error_set(&err, ERROR_ABORTED, "3 keys were written");
    write_name_conflicts(&plan, conflicts, 3, &err);
    assert_string_equal(err.reason, REASON_WRITE_CONFLICT);
    assert_string_equal(err.keys, "users/{\"_id\":1}\nusers/{\"_id\":\"a\"}\n_collections/{\"_id\":\"users\"}");
    bson_destroy(one);
    bson_destroy(gone);
    bson_destroy(name);
    arena_destroy(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_step_says_comes_back),
        cmocka_unit_test(an_error_comes_back_with_reason_and_keys),
        cmocka_unit_test(conflicts_are_named_as_people_know_them),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
