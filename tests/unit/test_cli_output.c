#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "cli/exit_code.h"
#include "cli/output.h"
#include "cli/whole_file.h"

struct capture {
    struct output out;
    FILE *file;
    char *text;
    size_t len;
};

static struct capture *capture_begin(const char *format)
{
    struct capture *capture = calloc(1, sizeof *capture);
    struct error err;
    capture->file = open_memstream(&capture->text, &capture->len);
    assert_true(output_init(&capture->out, capture->file, format, false, &err));
    return capture;
}

static void capture_end(struct capture *capture, const char *expected)
{
    struct error err;
    assert_true(output_finish(&capture->out, &err));
    assert_string_equal(capture->text, expected);
    output_destroy(&capture->out);
    fclose(capture->file);
    free(capture->text);
    free(capture);
}

static const struct field fields[] = {
    FIELD_STRING("name", "a\"b\\c\n\x1b[1m"), FIELD_OPTIONAL("parent", ""),       FIELD_U64("lsn", UINT64_MAX), FIELD_BOOL("use_wal", true),
    FIELD_TIME("at", 1700000000000123),       FIELD_JSON("ids", "[{\"_id\":1}]"),
};

static void an_object_is_json_for_programs(void **state)
{
    (void)state;
    static const char expected[] =
        "{\"name\":\"a\\\"b\\\\c\\u000a\\u001b[1m\",\"parent\":null,\"lsn\":18446744073709551615,\"use_wal\":true,"
        "\"at\":\"2023-11-14T22:13:20.000123Z\",\"ids\":[{\"_id\":1}]}\n";
    struct capture *capture = capture_begin("json");
    output_object(&capture->out, fields, ARRAY_LEN(fields));
    capture_end(capture, expected);
    capture = capture_begin("ndjson");
    output_result(&capture->out, "not shown", fields, ARRAY_LEN(fields));
    capture_end(capture, expected);
}

static void an_object_is_lines_for_people(void **state)
{
    (void)state;
    struct capture *capture = capture_begin("table");
    output_object(&capture->out, fields, 5);
    output_result(&capture->out, "Done.", fields, ARRAY_LEN(fields));
    capture_end(capture, "name     a\"b\\c??[1m\n"
                         "parent   -\n"
                         "lsn      18446744073709551615\n"
                         "use_wal  true\n"
                         "at       2023-11-14T22:13:20.000123Z\n"
                         "Done.\n");
}

static void print_rows(struct output *out, unsigned n)
{
    output_list_begin(out);
    for (unsigned i = 0; i < n; i++) {
        const struct field row[] = { FIELD_STRING("name", i ? "m\xC3\xA4rz" : "long-name"), FIELD_U64("lsn", i) };
        output_list_row(out, row, ARRAY_LEN(row));
    }
    output_list_end(out);
}

static void lists_come_in_three_formats(void **state)
{
    (void)state;
    static const struct {
        const char *format;
        unsigned n;
        const char *expected;
    } rows[] = {
        { "table", 0, "" },    { "table", 2, "NAME       LSN\nlong-name  0\nm\xC3\xA4rz       1\n" },
        { "json", 0, "[]\n" }, { "json", 2, "[\n{\"name\":\"long-name\",\"lsn\":0},\n{\"name\":\"m\xC3\xA4rz\",\"lsn\":1}\n]\n" },
        { "ndjson", 0, "" },   { "ndjson", 2, "{\"name\":\"long-name\",\"lsn\":0}\n{\"name\":\"m\xC3\xA4rz\",\"lsn\":1}\n" },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        struct capture *capture = capture_begin(rows[i].format);
        print_rows(&capture->out, rows[i].n);
        capture_end(capture, rows[i].expected);
    }
}

static void documents_are_extended_json(void **state)
{
    (void)state;
    bson_t *document = BCON_NEW("_id", BCON_INT32(1));
    struct bytes bson = bytes_of(bson_get_data(document), document->len);
    struct error err;
    for (unsigned canonical = 0; canonical < 2; canonical++)
        for (unsigned json = 0; json < 2; json++) {
            struct capture *capture = capture_begin(json ? "json" : "table");
            capture->out.style = canonical ? EJSON_CANONICAL : EJSON_RELAXED;
            struct buffer one = { 0 };
            assert_true(ejson_format(bson, capture->out.style, &one, &err));
            output_list_begin(&capture->out);
            assert_true(output_list_document(&capture->out, bson, &err));
            assert_true(output_list_document(&capture->out, bson, &err));
            output_list_end(&capture->out);
            char expected[256];
            snprintf(expected, sizeof expected, json ? "[\n%.*s,\n%.*s\n]\n" : "%.*s\n%.*s\n", (int)one.len, (char *)one.data, (int)one.len,
                     (char *)one.data);
            capture_end(capture, expected);
            buffer_destroy(&one);
        }
    bson_destroy(document);
}

static void an_unknown_format_is_refused(void **state)
{
    (void)state;
    struct output out;
    struct error err;
    assert_false(output_init(&out, stdout, "xml", false, &err));
    assert_int_equal(err.code, ERROR_INVALID_ARGUMENT);
    assert_non_null(strstr(err.message, "'xml'"));
}

static void a_full_disk_is_a_failure(void **state)
{
    (void)state;
    FILE *full = fopen("/dev/full", "w");
    assert_non_null(full);
    struct output out;
    struct error err;
    assert_true(output_init(&out, full, "json", false, &err));
    output_result(&out, "", fields, ARRAY_LEN(fields));
    assert_false(output_finish(&out, &err));
    assert_int_equal(err.code, ERROR_RESOURCE_EXHAUSTED);
    assert_true(output_failed(&out));
    output_destroy(&out);
    fclose(full);
}

/* ---- export files ------------------------------------------------------------------------------------- */

static void assert_content(const char *path, const char *expected)
{
    char text[64] = "";
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    size_t n = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    assert_int_equal(n, strlen(expected));
    assert_string_equal(text, expected);
}

static void an_export_replaces_its_file_only_when_whole(void **state)
{
    (void)state;
    char directory[] = "/tmp/argon-export-XXXXXX", path[64], link[64];
    assert_non_null(mkdtemp(directory));
    snprintf(path, sizeof path, "%s/out", directory);
    snprintf(link, sizeof link, "%s/link", directory);
    struct whole_file file;
    struct error err;

    assert_true(whole_file_open(&file, path, false, &err));
    fputs("one", file.stream);
    assert_int_equal(access(path, F_OK), -1);
    assert_true(whole_file_commit(&file, &err));
    assert_content(path, "one");

    assert_int_equal(chmod(path, 0640), 0);
    assert_int_equal(symlink("out", link), 0);
    assert_true(whole_file_open(&file, link, false, &err));
    fputs("two", file.stream);
    assert_content(path, "one");
    whole_file_abandon(&file);
    assert_content(path, "one");

    assert_true(whole_file_open(&file, link, false, &err));
    fputs("three", file.stream);
    assert_true(whole_file_commit(&file, &err));
    assert_content(path, "three");
    struct stat status;
    assert_int_equal(lstat(link, &status), 0);
    assert_true(S_ISLNK(status.st_mode));
    assert_int_equal(stat(path, &status), 0);
    assert_int_equal(status.st_mode & 07777, 0640);

    assert_int_equal(unlink(link), 0);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(rmdir(directory), 0); /* nothing was left behind */
}

static void a_device_is_written_as_it_is(void **state)
{
    (void)state;
    struct whole_file file;
    struct error err;
    assert_true(whole_file_open(&file, "/dev/full", false, &err));
    fputs("text", file.stream);
    assert_false(whole_file_commit(&file, &err));
    assert_int_equal(err.code, ERROR_RESOURCE_EXHAUSTED);
    struct stat status;
    assert_int_equal(stat("/dev/full", &status), 0);
    assert_true(S_ISCHR(status.st_mode));
    assert_false(whole_file_open(&file, "/nonexistent/out", false, &err));
    assert_int_equal(err.code, ERROR_NOT_FOUND);
}

static void exit_codes_are_as_documented(void **state)
{
    (void)state;
    static const struct {
        enum error_code code;
        int expected;
    } rows[] = {
        { ERROR_OK, 0 },
        { ERROR_INTERNAL, 1 },
        { ERROR_CANCELLED, 1 },
        { ERROR_UNKNOWN, 1 },
        { ERROR_UNIMPLEMENTED, 1 },
        { ERROR_INVALID_ARGUMENT, 2 },
        { ERROR_OUT_OF_RANGE, 2 },
        { ERROR_PERMISSION_DENIED, 2 },
        { ERROR_UNAUTHENTICATED, 2 },
        { ERROR_NOT_FOUND, 3 },
        { ERROR_ALREADY_EXISTS, 4 },
        { ERROR_ABORTED, 5 },
        { ERROR_FAILED_PRECONDITION, 5 },
        { ERROR_UNAVAILABLE, 6 },
        { ERROR_DEADLINE_EXCEEDED, 6 },
        { ERROR_RESOURCE_EXHAUSTED, 7 },
        { ERROR_DATA_LOSS, 8 },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        assert_int_equal(cli_exit_of(rows[i].code), rows[i].expected);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_object_is_json_for_programs),
        cmocka_unit_test(an_object_is_lines_for_people),
        cmocka_unit_test(lists_come_in_three_formats),
        cmocka_unit_test(documents_are_extended_json),
        cmocka_unit_test(an_unknown_format_is_refused),
        cmocka_unit_test(a_full_disk_is_a_failure),
        cmocka_unit_test(an_export_replaces_its_file_only_when_whole),
        cmocka_unit_test(a_device_is_written_as_it_is),
        cmocka_unit_test(exit_codes_are_as_documented),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
