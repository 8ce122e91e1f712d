#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include <cmocka.h>

#include "cli/input.h"
#include "common/base/memory.h"
#include "common/base/sync.h"

/* A pipe that hands over its text in pieces of a given size. */
struct feed {
    int fds[2];
    const char *text;
    size_t len, piece;
    pthread_t thread;
};

static void *feed_pieces(void *ctx)
{
    struct feed *feed = ctx;
    for (size_t at = 0; at < feed->len; at += feed->piece) {
        size_t n = feed->len - at < feed->piece ? feed->len - at : feed->piece;
        assert_int_equal(write(feed->fds[1], feed->text + at, n), (ssize_t)n);
    }
    close(feed->fds[1]);
    return NULL;
}

static struct input *feed_begin(struct feed *feed, const char *text, size_t len, size_t piece)
{
    *feed = (struct feed) { .text = text, .len = len, .piece = piece };
    assert_int_equal(pipe(feed->fds), 0);
    feed->thread = thread_start("feed", feed_pieces, feed);
    return input_of_descriptor(feed->fds[0]);
}

static void feed_end(struct feed *feed, struct input *input)
{
    pthread_join(feed->thread, NULL);
    close(feed->fds[0]);
    input_close(input);
}

/* All documents, each followed by "@line:offset;", or the error's message. */
static char *read_all(const char *text, size_t piece)
{
    struct feed feed;
    struct input *input = feed_begin(&feed, text, strlen(text), piece);
    struct buffer all = { 0 };
    struct bytes document;
    struct input_place place;
    struct error err;
    char mark[64];
    do {
        if (!input_next(input, &document, &place, &err)) {
            assert_int_equal(err.code, ERROR_INVALID_ARGUMENT);
            buffer_append(&all, err.message, strlen(err.message));
            break;
        }
        if (document.data) {
            buffer_append(&all, document.data, document.len);
            snprintf(mark, sizeof mark, "@%u:%u;", (unsigned)place.line, (unsigned)place.offset);
            buffer_append(&all, mark, strlen(mark));
        }
    } while (document.data);
    buffer_append_u8(&all, '\0');
    feed_end(&feed, input);
    return (char *)all.data;
}

/* The same however the text arrives. */
static void assert_reads(const char *text, const char *expected)
{
    for (size_t piece = 1; piece <= strlen(text) + 1; piece += piece < 5 ? 1 : 7) {
        char *found = read_all(text, piece);
        assert_string_equal(found, expected);
        free(found);
    }
}

static void lines_are_documents(void **state)
{
    (void)state;
    assert_reads("", "");
    assert_reads(" \n\n", "");
    assert_reads("{\"a\":1}\n{\"a\":2}\n", "{\"a\":1}@1:0;{\"a\":2}@2:8;");
    assert_reads("{\"a\":1}\r\n\r\n  {\"a\":2}", "{\"a\":1}@1:0;{\"a\":2}@3:13;");
    assert_reads("{}{}", "{}@1:0;{}@1:2;");
}

static void documents_may_span_lines(void **state)
{
    (void)state;
    assert_reads("{\n \"a\": [1,\n {}]\n}\n{}", "{\n \"a\": [1,\n {}]\n}@1:0;{}@5:19;");
}

static void an_array_of_documents_is_read_as_well(void **state)
{
    (void)state;
    assert_reads("[]", "");
    assert_reads(" [ ] \n", "");
    assert_reads("[{\"a\":1},\n {\"a\":[{}]} ]\n", "{\"a\":1}@1:1;{\"a\":[{}]}@2:11;");
}

static void braces_and_quotes_inside_strings_count_for_nothing(void **state)
{
    (void)state;
    assert_reads("{\"}\":\"{\\\"}]\\\\\"}{\"\\\\\":\"\\u007d\"}", "{\"}\":\"{\\\"}]\\\\\"}@1:0;{\"\\\\\":\"\\u007d\"}@1:15;");
}

static void a_byte_order_mark_is_passed_over(void **state)
{
    (void)state;
    assert_reads("\xEF\xBB\xBF{}", "{}@1:3;");
    assert_reads("\xEF\xBB\xBF[{}]", "{}@1:4;");
}

static void errors_say_where(void **state)
{
    (void)state;
    assert_reads("{}\n{\"a\":\n", "{}@1:0;line 2: the input ends inside the document that begins here");
    assert_reads("{}\n42\n", "{}@1:0;line 2 (byte 3): '4' where a document was expected");
    assert_reads("{}\n,{}", "{}@1:0;line 2 (byte 3): ',' where a document was expected");
    assert_reads("{}\n]", "{}@1:0;line 2 (byte 3): ']' where a document was expected");
    assert_reads("{\"a\":\"b\n\"}", "line 1: the line ends inside a string");
    assert_reads("[", "line 1: the input ends where a document of the array was expected");
    assert_reads("[{}", "{}@1:1;line 1: the input ends where ',' or the ']' of the array was expected");
    assert_reads("[{},\n]", "{}@1:1;line 2 (byte 5): ']' where a document of the array was expected");
    assert_reads("[{} {}]", "{}@1:1;line 1 (byte 4): '{' where ',' or the ']' of the array was expected");
    assert_reads("[1]", "line 1 (byte 1): '1' where a document of the array was expected");
    assert_reads("[{}]\n{}", "{}@1:1;line 2 (byte 5): '{' where the end of the input was expected");
    assert_reads("\x01", "line 1 (byte 0): 0x01 where a document was expected");
}

static void long_documents_come_through_whole(void **state)
{
    (void)state;
    enum { N = 40 };
    struct buffer text = { 0 };
    size_t lengths[N];
    for (unsigned i = 0; i < N; i++) { /* up to some 1.6 MB, so that most cross the end of a read */
        size_t begin = text.len;
        buffer_append(&text, "{\"a\":\"", 6);
        for (unsigned j = 0; j < i * 5000; j++)
            buffer_append(&text, "0}\\\"{567", 8);
        buffer_append(&text, "\"}", 2);
        lengths[i] = text.len - begin;
        buffer_append_u8(&text, '\n');
    }
    assert_false(text.failed);

    struct feed feed;
    struct input *input = feed_begin(&feed, (const char *)text.data, text.len, 65536);
    size_t at = 0;
    struct bytes document;
    struct input_place place;
    struct error err;
    for (unsigned i = 0; i < N; i++) {
        assert_true(input_next(input, &document, &place, &err));
        assert_int_equal(document.len, lengths[i]);
        assert_memory_equal(document.data, text.data + at, lengths[i]);
        assert_int_equal(place.line, i + 1);
        assert_int_equal(place.offset, at);
        at += lengths[i] + 1;
    }
    assert_true(input_next(input, &document, &place, &err));
    assert_null(document.data);
    assert_int_equal(place.offset, text.len);
    assert_int_equal(input_place(input).line, N + 1);
    assert_int_equal(input_size(input), 0);
    feed_end(&feed, input);
    buffer_destroy(&text);
}

/* An endless document ends in an error, not in all the memory there is. */
static void a_document_that_never_ends_is_refused(void **state)
{
    (void)state;
    char path[] = "/tmp/argon-input-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    unlink(path);
    assert_int_equal(write(fd, "{}\n{\"a\":", 8), 8);
    char *spaces = mem_alloc(1 << 20);
    memset(spaces, ' ', 1 << 20);
    for (unsigned i = 0; i < INPUT_MAX_TEXT >> 20; i++)
        assert_int_equal(write(fd, spaces, 1 << 20), 1 << 20);
    free(spaces);
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);

    struct input *input = input_of_descriptor(fd);
    struct bytes document;
    struct input_place place;
    struct error err;
    assert_int_equal(input_size(input), INPUT_MAX_TEXT + 8);
    assert_true(input_next(input, &document, &place, &err));
    assert_false(input_next(input, &document, &place, &err));
    assert_int_equal(err.code, ERROR_INVALID_ARGUMENT);
    assert_non_null(strstr(err.message, "line 2: the document that begins here is longer than"));
    input_close(input);
    close(fd);
}

static void what_cannot_be_opened_is_named(void **state)
{
    (void)state;
    struct input *input;
    struct error err;
    assert_false(input_open("/nonexistent/file", &input, &err));
    assert_int_equal(err.code, ERROR_NOT_FOUND);
    assert_non_null(strstr(err.message, "/nonexistent/file"));
    assert_false(input_open("/", &input, &err));
    assert_int_equal(err.code, ERROR_INVALID_ARGUMENT);
    assert_string_equal(err.message, "'/' is a directory");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_are_documents),
        cmocka_unit_test(documents_may_span_lines),
        cmocka_unit_test(an_array_of_documents_is_read_as_well),
        cmocka_unit_test(braces_and_quotes_inside_strings_count_for_nothing),
        cmocka_unit_test(a_byte_order_mark_is_passed_over),
        cmocka_unit_test(errors_say_where),
        cmocka_unit_test(long_documents_come_through_whole),
        cmocka_unit_test(a_document_that_never_ends_is_refused),
        cmocka_unit_test(what_cannot_be_opened_is_named),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
