#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>

#include "common/base/arena.h"
#include "common/base/bytes.h"
#include "common/base/config.h"
#include "common/base/crc32c.h"
#include "common/base/error.h"
#include "common/base/listen.h"
#include "common/base/random.h"

static void crc32c_matches_the_published_vectors(void **state)
{
    (void)state;
    uint8_t zeros[32] = { 0 }, rising[32];
    for (int i = 0; i < 32; i++)
        rising[i] = (uint8_t)i;
    assert_int_equal(crc32c(0, zeros, 32), 0x8A9136AA); /* RFC 3720, B.4 */
    assert_int_equal(crc32c(0, rising, 32), 0x46DD794E);
    assert_int_equal(crc32c(0, "123456789", 9), 0xE3069283);
    assert_int_equal(crc32c(crc32c(0, "12345", 5), "6789", 4), 0xE3069283);
}

static void arena_obeys_its_limit(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena, 10000);
    assert_non_null(arena_alloc(&arena, 100));
    assert_non_null(arena_alloc(&arena, 5000));
    assert_null(arena_alloc(&arena, 8000));
    assert_null(arena_alloc(&arena, SIZE_MAX));
    assert_non_null(arena_alloc(&arena, 100));
    assert_true(arena.total <= 10000);
    arena_destroy(&arena);
}

static void files_that_the_user_named_wrong_are_not_our_failure(void **state)
{
    (void)state;
    assert_int_equal(error_code_of_file(ENOENT), ERROR_NOT_FOUND);
    assert_int_equal(error_code_of_file(ENOTDIR), ERROR_NOT_FOUND);
    assert_int_equal(error_code_of_file(EACCES), ERROR_PERMISSION_DENIED);
    assert_int_equal(error_code_of_file(EROFS), ERROR_PERMISSION_DENIED);
    assert_int_equal(error_code_of_file(EISDIR), ERROR_INVALID_ARGUMENT);
    assert_int_equal(error_code_of_file(ENOSPC), ERROR_RESOURCE_EXHAUSTED);
    assert_int_equal(error_code_of_file(EIO), ERROR_INTERNAL);
}

static void errors_carry_context(void **state)
{
    (void)state;
    struct error err;
    assert_false(error_set(&err, ERROR_NOT_FOUND, "branch '%s' does not exist", "dev"));
    assert_false(error_wrap(&err, "project %d", 7));
    assert_string_equal(err.message, "project 7: branch 'dev' does not exist");
    assert_int_equal(err.code, ERROR_NOT_FOUND);
    assert_int_equal(err.outcome, OUTCOME_UNKNOWN);
    assert_string_equal(error_code_name(ERROR_DATA_LOSS), "DATA_LOSS");
}

static bool parse(char **argv, const char **listen, uint64_t *size, bool *flag, const char **rest, size_t *n, struct error *err)
{
    const struct config_option options[] = {
        { .name = "listen", .letter = 'l', .kind = CONFIG_STRING, .target = listen, .fallback = "127.0.0.1:1" },
        { .name = "size", .kind = CONFIG_BYTES, .target = size, .fallback = "1M", .min = 1024, .max = 1 << 30 },
        { .name = "color", .kind = CONFIG_BOOL, .target = flag, .fallback = "true" },
    };
    int argc = 0;
    while (argv[argc])
        argc++;
    return config_parse(&(struct config_table) { options, ARRAY_LEN(options), false }, 1, argc, argv, rest, n, err);
}

static void options_come_from_one_table(void **state)
{
    (void)state;
    const char *listen, *rest[8];
    uint64_t size;
    bool flag;
    size_t n;
    struct error err;
    char *good[] = { "p", "-l", "a:1", "one", "--size=4K", "--no-color", "--", "--two", NULL };
    assert_true(parse(good, &listen, &size, &flag, rest, &n, &err));
    assert_string_equal(listen, "a:1");
    assert_int_equal(size, 4096);
    assert_false(flag);
    assert_int_equal(n, 2);
    assert_string_equal(rest[1], "--two");

    char *unknown[] = { "p", "--sizes", "4", NULL };
    assert_false(parse(unknown, &listen, &size, &flag, rest, &n, &err));
    assert_string_equal(err.message, "unknown option '--sizes'");
    char *small[] = { "p", "--size", "4", NULL };
    assert_false(parse(small, &listen, &size, &flag, rest, &n, &err));
    assert_non_null(strstr(err.message, "option --size: 4 is outside"));
    char *missing[] = { "p", "--size", NULL };
    assert_false(parse(missing, &listen, &size, &flag, rest, &n, &err));
    char *word[] = { "p", "--size", "big", NULL };
    assert_false(parse(word, &listen, &size, &flag, rest, &n, &err));
    assert_int_equal(err.code, ERROR_INVALID_ARGUMENT);
}

static void ids_are_24_hex_digits(void **state)
{
    (void)state;
    char a[ID_SIZE], b[ID_SIZE];
    random_id(a);
    random_id(b);
    assert_int_equal(strspn(a, "0123456789abcdef"), ID_LENGTH);
    assert_string_not_equal(a, b);
}

static void varints_are_protobufs(void **state)
{
    (void)state;
    struct buffer buffer = { 0 };
    buffer_append_varint(&buffer, 300);
    buffer_append_varint(&buffer, 0);
    assert_memory_equal(buffer.data, "\xac\x02\x00", 3);
    buffer_destroy(&buffer);
}

static void only_loopback_is_served_without_asking(void **state)
{
    (void)state;
    static const char *const near[] = { "127.0.0.1:7700", "127.8.9.1:0", "localhost:1", "[::1]:1", "unix:/tmp/s" };
    static const char *const far[] = { "0.0.0.0:1", "[::]:1", "10.0.0.1:1", "127.example.org:1", "localhost.example.org:1" };
    static const char *const wrong[] = { "", "7700", ":7700", "127.0.0.1", "127.0.0.1:", "127.0.0.1:port", "127.0.0.1:70000" };
    struct error err;
    for (size_t i = 0; i < ARRAY_LEN(near); i++)
        assert_true(listen_check(near[i], false, &err));
    for (size_t i = 0; i < ARRAY_LEN(far); i++) {
        assert_false(listen_check(far[i], false, &err));
        assert_int_equal(err.code, ERROR_FAILED_PRECONDITION);
        assert_true(listen_check(far[i], true, &err));
    }
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        assert_false(listen_check(wrong[i], true, &err));
        assert_int_equal(err.code, ERROR_INVALID_ARGUMENT);
    }
}

static void a_cleared_arena_keeps_one_block(void **state)
{
    (void)state;
    struct arena arena;
    arena_init(&arena, 64 * 1024);
    for (int round = 0; round < 100; round++) {
        for (int i = 0; i < 30; i++)
            assert_non_null(memset(arena_alloc(&arena, 1000), 1, 1000));
        assert_non_null(arena_alloc(&arena, 20000));
        arena_clear(&arena);
        assert_true(arena.total <= 64 * 1024 && arena.left > 0);
    }
    arena_destroy(&arena);
    assert_int_equal(arena.total, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_cleared_arena_keeps_one_block),
        cmocka_unit_test(crc32c_matches_the_published_vectors),
        cmocka_unit_test(arena_obeys_its_limit),
        cmocka_unit_test(errors_carry_context),
        cmocka_unit_test(files_that_the_user_named_wrong_are_not_our_failure),
        cmocka_unit_test(options_come_from_one_table),
        cmocka_unit_test(ids_are_24_hex_digits),
        cmocka_unit_test(varints_are_protobufs),
        cmocka_unit_test(only_loopback_is_served_without_asking),
    };
    return cmocka_run_group_tests_name("base", tests, NULL, NULL);
}
