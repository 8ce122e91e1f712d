#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "cli/dump/crc64.h"
#include "cli/dump/file_name.h"
#include "cli/name_list.h"

static void checksums_are_those_of_archives(void **state)
{
    (void)state;
    struct bytes text = bytes_of_string("123456789");
    assert_true(crc64(0, text) == UINT64_C(0x995dc9bbdf1939fa));
    assert_true(crc64(0, (struct bytes) { 0 }) == 0);
    static const char longer[] = "the quick brown fox jumps over the lazy dog, and again";
    uint64_t whole = crc64(0, bytes_of_string(longer));
    for (size_t cut = 0; cut < sizeof longer; cut++)
        assert_true(crc64(crc64(0, bytes_of(longer, cut)), bytes_of_string(longer + cut)) == whole);
}

static void names_of_files_lead_back_to_collections(void **state)
{
    (void)state;
    static const struct {
        const char *collection, *stem;
    } names[] = {
        { "users", "users" },           { "a/b", "a%2Fb" }, { "a.b-c_d~", "a.b-c_d~" }, { "100%", "100%25" },
        { "\xc3\xa4 x", "%C3%A4%20x" }, { "..", ".." }, /* with an ending behind it, it is a file like others */
    };
    struct arena arena;
    bool is_cut;
    arena_init(&arena, 0);
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        assert_string_equal(file_name_of_collection(names[i].collection, &arena), names[i].stem);
        assert_string_equal(file_name_to_collection(names[i].stem, strlen(names[i].stem), &arena, &is_cut), names[i].collection);
        assert_false(is_cut);
    }
    /* what is no encoding stays */
    assert_string_equal(file_name_to_collection("50%", 3, &arena, &is_cut), "50%");
    assert_string_equal(file_name_to_collection("%zz%00", 6, &arena, &is_cut), "%zz%00");

    char longer[129] = "";
    for (int i = 0; i < 64; i++)
        strcat(longer, "\xc3\xa4");
    const char *stem = file_name_of_collection(longer, &arena);
    assert_true(strlen(stem) <= MAX_FILE_STEM);
    assert_non_null(file_name_to_collection(stem, strlen(stem), &arena, &is_cut));
    assert_true(is_cut);
    longer[0] = 'x';
    longer[1] = 'y';
    assert_string_not_equal(file_name_of_collection(longer, &arena), stem);
    arena_destroy(&arena);
}

static void lists_of_names(void **state)
{
    (void)state;
    struct arena arena;
    struct name_list list;
    struct error err;
    arena_init(&arena, 0);
    assert_true(name_list_parse("--collections", "", &arena, &list, &err));
    assert_int_equal(list.n, 0);
    assert_true(name_list_has(&list, "anything"));
    assert_true(name_list_parse("--collections", "b,a\\,c,\\\\,b,\\d", &arena, &list, &err));
    assert_int_equal(list.n, 4);
    assert_string_equal(list.names[0], "b");
    assert_string_equal(list.names[1], "a,c");
    assert_string_equal(list.names[2], "\\");
    assert_string_equal(list.names[3], "\\d");
    assert_true(name_list_has(&list, "a,c"));
    assert_false(name_list_has(&list, "a"));
    assert_false(name_list_parse("--collections", "a,", &arena, &list, &err));
    assert_int_equal(err.code, ERROR_INVALID_ARGUMENT);
    assert_false(name_list_parse("--collections", ",a", &arena, &list, &err));
    arena_destroy(&arena);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(checksums_are_those_of_archives),
        cmocka_unit_test(names_of_files_lead_back_to_collections),
        cmocka_unit_test(lists_of_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
