/* The schema that reflection serves: lookups, dependencies, and sets that are cut short or garbled. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/memory.h"
#include "common/rpc/reflection_set.h"
#include "common/rpc/rpc.h"
#include "proto/descriptors.h"

enum { NAME = 1, PACKAGE = 2, DEPENDENCY = 3, MESSAGE = 4, NESTED = 3 };

static struct bytes whole_schema(void)
{
    return bytes_of(argon_reflection.descriptor_set, argon_reflection.len);
}

static void append_field(struct buffer *to, uint32_t number, struct bytes content)
{
    buffer_append_varint(to, number << 3 | 2);
    buffer_append_varint(to, content.len);
    buffer_append(to, content.data, content.len);
}

static void append_string(struct buffer *to, uint32_t number, const char *s)
{
    append_field(to, number, bytes_of_string(s));
}

/* A file of one message, which depends on another file. */
static void append_file(struct buffer *set, const char *name, const char *dependency)
{
    struct buffer file = { 0 }, message = { 0 };
    append_string(&message, NAME, name);
    append_string(&file, NAME, name);
    append_string(&file, PACKAGE, "p");
    if (dependency)
        append_string(&file, DEPENDENCY, dependency);
    append_field(&file, MESSAGE, buffer_bytes(&message));
    append_field(set, 1, buffer_bytes(&file));
    buffer_destroy(&file);
    buffer_destroy(&message);
}

/* Reads a copy that ends where its memory ends. When it is accepted, every file's closure is in it. */
static bool accepts(struct bytes encoded)
{
    uint8_t *copy = mem_alloc(encoded.len ? encoded.len : 1);
    if (encoded.len)
        memcpy(copy, encoded.data, encoded.len);
    struct reflection_set *set = NULL;
    struct error err = { 0 };
    bool ok = reflection_set_new(bytes_of(copy, encoded.len), &set, &err);
    if (!ok) {
        assert_null(set);
        assert_int_equal(err.code, ERROR_INVALID_ARGUMENT);
    } else {
        size_t count = reflection_set_count(set), file;
        struct bytes *files = mem_alloc((count ? count : 1) * sizeof *files);
        for (size_t i = 0; i < count; i++) {
            size_t n = reflection_set_closure(set, i, files);
            assert_in_range(n, 1, count);
            for (size_t j = 0; j < n; j++)
                assert_true(files[j].data >= copy && files[j].data + files[j].len <= copy + encoded.len);
        }
        if (reflection_set_find_symbol(set, "argon.wal.v1.Wal", &file))
            assert_in_range(file, 0, count - 1);
        free(files);
    }
    reflection_set_free(set);
    free(copy);
    return ok;
}

static struct reflection_set *open_set(struct bytes encoded)
{
    struct reflection_set *set;
    struct error err;
    assert_true(reflection_set_new(encoded, &set, &err));
    return set;
}

static void symbols_of_each_kind_are_found_in_their_file(void **state)
{
    (void)state;
    static const char *const symbols[] = {
        "grpc.health.v1.Health",
        "grpc.health.v1.Health.Watch",
        "grpc.health.v1.HealthCheckResponse",
        "grpc.health.v1.HealthCheckResponse.status",
        "grpc.health.v1.HealthCheckResponse.ServingStatus",
        "grpc.health.v1.HealthCheckResponse.SERVING",
    };
    static const char *const unknown[] = { "",
                                           "grpc",
                                           "grpc.health.v1",
                                           "Health",
                                           "grpc.health.v1.Healt",
                                           "grpc.health.v1.Health.",
                                           "grpc.health.v1.HealthCheckResponse.ServingStatus.SERVING" };
    struct reflection_set *set = open_set(whole_schema());
    size_t health, file;
    assert_true(reflection_set_find_file(set, "grpc/health/v1/health.proto", &health));
    for (size_t i = 0; i < ARRAY_LEN(symbols); i++) {
        assert_true(reflection_set_find_symbol(set, symbols[i], &file));
        assert_int_equal(file, health);
    }
    for (size_t i = 0; i < ARRAY_LEN(unknown); i++)
        assert_false(reflection_set_find_symbol(set, unknown[i], &file));
    assert_false(reflection_set_find_file(set, "health.proto", &file));
    reflection_set_free(set);
}

static void the_closure_has_each_file_once_and_begins_with_the_one_asked_for(void **state)
{
    (void)state;
    struct buffer encoded = { 0 };
    append_file(&encoded, "a", NULL);
    append_file(&encoded, "b", "a");
    append_file(&encoded, "c", "b");
    append_file(&encoded, "x", "y"); /* a circle, which protoc would not write */
    append_file(&encoded, "y", "x");
    struct reflection_set *set = open_set(buffer_bytes(&encoded));
    struct bytes files[5];
    static const size_t expected[] = { 1, 2, 3, 2, 2 };
    static const char *const symbols[] = { "p.a", "p.b", "p.c", "p.x", "p.y" };
    for (size_t i = 0; i < ARRAY_LEN(expected); i++) {
        size_t file;
        assert_true(reflection_set_find_symbol(set, symbols[i], &file));
        assert_int_equal(file, i);
        assert_int_equal(reflection_set_closure(set, i, files), expected[i]);
        assert_int_equal(files[0].data[2], symbols[i][2]); /* tag, length, name */
    }
    reflection_set_free(set);
    buffer_destroy(&encoded);
}

static void a_set_that_lacks_a_dependency_is_refused(void **state)
{
    (void)state;
    struct buffer encoded = { 0 };
    append_file(&encoded, "b", "a");
    assert_false(accepts(buffer_bytes(&encoded)));
    append_file(&encoded, "a", NULL); /* the order does not matter */
    assert_true(accepts(buffer_bytes(&encoded)));
    buffer_destroy(&encoded);
}

static void names_are_there_and_hold_no_nul(void **state)
{
    (void)state;
    struct buffer encoded = { 0 };
    append_file(&encoded, "", NULL);
    assert_false(accepts(buffer_bytes(&encoded)));
    buffer_clear(&encoded);
    append_file(&encoded, "name", NULL);
    assert_true(accepts(buffer_bytes(&encoded)));
    *(uint8_t *)memchr(encoded.data, 'm', encoded.len) = '\0';
    assert_false(accepts(buffer_bytes(&encoded)));
    buffer_destroy(&encoded);
}

static bool accepts_messages_nested(unsigned depth)
{
    struct buffer inner = { 0 }, outer = { 0 }, set = { 0 };
    append_string(&inner, NAME, "m");
    for (unsigned i = 1; i < depth; i++) {
        append_string(&outer, NAME, "m");
        append_field(&outer, NESTED, buffer_bytes(&inner));
        buffer_destroy(&inner);
        inner = outer;
        outer = (struct buffer) { 0 };
    }
    append_string(&outer, NAME, "f");
    append_field(&outer, MESSAGE, buffer_bytes(&inner));
    append_field(&set, 1, buffer_bytes(&outer));
    bool ok = accepts(buffer_bytes(&set));
    buffer_destroy(&inner);
    buffer_destroy(&outer);
    buffer_destroy(&set);
    return ok;
}

static void nesting_is_bounded(void **state)
{
    (void)state;
    assert_true(accepts_messages_nested(100));
    assert_false(accepts_messages_nested(101));
    assert_false(accepts_messages_nested(5000));
}

static void a_set_cut_short_is_refused_unless_between_two_files(void **state)
{
    (void)state;
    struct buffer encoded = { 0 };
    append_file(&encoded, "a", NULL);
    size_t first = encoded.len;
    append_file(&encoded, "b", "a");
    for (size_t n = 0; n <= encoded.len; n++)
        assert_int_equal(accepts(bytes_of(encoded.data, n)), n == 0 || n == first || n == encoded.len);
    buffer_destroy(&encoded);
    struct bytes schema = whole_schema();
    for (size_t n = schema.len - 1; n > schema.len - 64; n--)
        assert_false(accepts(bytes_of(schema.data, n)));
}

/* The set says how long the file is, so that the cut is met within it. */
static void a_file_cut_short_is_read_within_its_bounds(void **state)
{
    (void)state;
    struct reflection_set *set = open_set(whole_schema());
    struct bytes files[16];
    size_t file, refused = 0, tried = 0;
    assert_true(reflection_set_find_file(set, "argon/wal/v1/wal.proto", &file));
    assert_in_range(reflection_set_count(set), 1, ARRAY_LEN(files));
    assert_in_range(reflection_set_closure(set, file, files), 1, ARRAY_LEN(files));
    for (size_t n = 0; n < files[0].len; n += 3, tried++) {
        struct buffer encoded = { 0 };
        append_field(&encoded, 1, bytes_of(files[0].data, n));
        refused += !accepts(buffer_bytes(&encoded));
        buffer_destroy(&encoded);
    }
    assert_true(refused > tried * 9 / 10); /* a cut between two fields leaves a file */
    reflection_set_free(set);
}

static void a_garbled_set_is_read_within_its_bounds(void **state)
{
    (void)state;
    struct bytes schema = whole_schema();
    uint8_t *garbled = mem_alloc(schema.len);
    uint64_t chance = 88172645463325252u; /* xorshift64 */
    size_t refused = 0;
    for (int round = 0; round < 1500; round++) {
        memcpy(garbled, schema.data, schema.len);
        for (int i = 0; i < 1 + round % 8; i++) {
            chance ^= chance << 13;
            chance ^= chance >> 7;
            chance ^= chance << 17;
            garbled[chance % schema.len] = (uint8_t)(chance >> 40);
        }
        refused += !accepts(bytes_of(garbled, schema.len));
    }
    assert_true(refused > 500); /* the others hit names and numbers */
    free(garbled);
}

static void a_server_refuses_a_schema_that_it_cannot_read(void **state)
{
    (void)state;
    struct bytes schema = whole_schema();
    for (size_t missing = 0; missing < 2; missing++) {
        struct rpc_reflection reflection = { schema.data, schema.len - missing };
        struct rpc_server_options options = {
            .listen = "127.0.0.1:0",
            .max_message_bytes = 1 << 20,
            .max_calls = 8,
            .max_request_bytes = 8 << 20,
            .worker_threads = 1,
            .reflection = &reflection,
        };
        struct rpc_server *server = NULL;
        struct error err;
        assert_int_equal(rpc_server_new(&options, &server, &err), missing == 0);
        rpc_server_free(server);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(symbols_of_each_kind_are_found_in_their_file),
        cmocka_unit_test(the_closure_has_each_file_once_and_begins_with_the_one_asked_for),
        cmocka_unit_test(a_set_that_lacks_a_dependency_is_refused),
        cmocka_unit_test(names_are_there_and_hold_no_nul),
        cmocka_unit_test(nesting_is_bounded),
        cmocka_unit_test(a_set_cut_short_is_refused_unless_between_two_files),
        cmocka_unit_test(a_file_cut_short_is_read_within_its_bounds),
        cmocka_unit_test(a_garbled_set_is_read_within_its_bounds),
        cmocka_unit_test(a_server_refuses_a_schema_that_it_cannot_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
