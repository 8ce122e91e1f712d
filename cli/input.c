#include "cli/input.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include "common/base/memory.h"

/*            '{'                          '['
 *   START ----------> SEQUENCE    START -------> ARRAY_FIRST --- object --> ARRAY_BEHIND
 *                                                     |                    ',' |  ^ object
 *                                                     |                        v  |
 *                                                     |                    ARRAY_ITEM
 *                                                     '--- ']' --> DONE <-- ']' from ARRAY_BEHIND */
enum input_state { STATE_START, STATE_SEQUENCE, STATE_ARRAY_FIRST, STATE_ARRAY_BEHIND, STATE_ARRAY_ITEM, STATE_DONE };

enum { READ_BYTES = 256 * 1024 };

struct input {
    int fd;
    bool owns_fd;
    bool at_end; /* read() has answered 0 */
    enum input_state state;
    uint8_t *data; /* [begin, end) has been read and not yet handed out */
    size_t capacity, begin, end;
    struct input_place place; /* of data[begin] */
    XXH3_state_t *digest;     /* of what has been handed out or passed over */
};

struct input *input_of_descriptor(int fd)
{
    struct input *input = mem_zalloc(sizeof *input);
    input->fd = fd;
    input->place.line = 1;
    input->digest = XXH3_createState();
    if (!input->digest)
        abort();
    XXH3_64bits_reset(input->digest);
    return input;
}

bool input_open(const char *path, struct input **input, struct error *err)
{
    bool standard = strcmp(path, "-") == 0;
    int fd = standard ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return error_set_errno(err, error_code_of_file(errno), errno, "cannot open '%s'", path);
    struct stat status;
    if (fstat(fd, &status) == 0 && S_ISDIR(status.st_mode)) {
        if (!standard)
            close(fd);
        return error_set(err, ERROR_INVALID_ARGUMENT, "'%s' is a directory", path);
    }
    *input = input_of_descriptor(fd);
    (*input)->owns_fd = !standard;
    return true;
}

void input_close(struct input *input)
{
    if (!input)
        return;
    if (input->owns_fd)
        close(input->fd);
    XXH3_freeState(input->digest);
    free(input->data);
    free(input);
}

struct input_place input_place(const struct input *input)
{
    struct input_place place = input->place;
    place.digest = XXH3_64bits_digest(input->digest);
    return place;
}

uint64_t input_size(const struct input *input)
{
    struct stat status;
    return fstat(input->fd, &status) == 0 && S_ISREG(status.st_mode) ? (uint64_t)status.st_size : 0;
}

/* Reads more behind end, or sets at_end. What is kept moves to the front. */
static bool read_more(struct input *input, struct error *err)
{
    if (input->begin > 0) {
        memmove(input->data, input->data + input->begin, input->end - input->begin);
        input->end -= input->begin;
        input->begin = 0;
    }
    if (input->capacity - input->end < READ_BYTES) {
        size_t capacity = input->capacity < READ_BYTES ? 2 * READ_BYTES : 2 * input->capacity;
        uint8_t *data = realloc(input->data, capacity);
        if (!data)
            return error_set(err, ERROR_RESOURCE_EXHAUSTED, "line %" PRIu64 ": no memory for a document of over %zu bytes",
                             input->place.line, input->end);
        input->data = data;
        input->capacity = capacity;
    }
    ssize_t n;
    do
        n = read(input->fd, input->data + input->end, READ_BYTES);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return error_set_errno(err, error_code_of_file(errno), errno, "cannot read the input behind byte %" PRIu64,
                               input->place.offset + (input->end - input->begin));
    input->end += (size_t)n;
    input->at_end = n == 0;
    return true;
}

static void pass(struct input *input, size_t n)
{
    XXH3_64bits_update(input->digest, input->data + input->begin, n);
    input->begin += n;
    input->place.offset += n;
}

/* The next byte that is not white space stays where it is; -1 at the end. */
static bool peek(struct input *input, int *next, struct error *err)
{
    for (;;) {
        while (input->begin < input->end) {
            uint8_t c = input->data[input->begin];
            if (c != ' ' && c != '\t' && c != '\r' && c != '\n') {
                *next = c;
                return true;
            }
            input->place.line += c == '\n';
            pass(input, 1);
        }
        if (input->at_end) {
            *next = -1;
            return true;
        }
        if (!read_more(input, err))
            return false;
    }
}

static bool begin_text(struct input *input, struct error *err)
{
    static const uint8_t gzip[] = { 0x1f, 0x8b };
    while (input->end - input->begin < 3 && !input->at_end)
        if (!read_more(input, err))
            return false;
    if (input->end - input->begin >= 3 && memcmp(input->data + input->begin, "\xEF\xBB\xBF", 3) == 0)
        pass(input, 3);
    if (input->end - input->begin >= sizeof gzip && memcmp(input->data + input->begin, gzip, sizeof gzip) == 0)
        return error_set(err, ERROR_INVALID_ARGUMENT, "the input is compressed by gzip: unpack it with gzip -dc, and read it as -");
    return true;
}

/* data[begin] is '{': finds the brace that closes it. */
static bool find_object_end(struct input *input, size_t *len, uint64_t *lines, struct error *err)
{
    size_t at = 0; /* from begin, which moves when more is read */
    unsigned depth = 0;
    bool in_string = false;
    *lines = 0;
    for (;;) {
        const uint8_t *const data = input->data + input->begin;
        const size_t n = input->end - input->begin;
        while (at < n) {
            uint8_t c = data[at];
            if (in_string) {
                if (c == '\\') {
                    if (at + 1 == n)
                        break; /* what is escaped has not been read */
                    at++;
                } else if (c == '"') {
                    in_string = false;
                } else if (c == '\n') {
                    return error_set(err, ERROR_INVALID_ARGUMENT, "line %" PRIu64 ": the line ends inside a string",
                                     input->place.line + *lines);
                }
            } else if (c == '"') {
                in_string = true;
            } else if (c == '{' || c == '[') {
                depth++;
            } else if (c == '}' || c == ']') {
                if (--depth == 0) {
                    *len = at + 1;
                    return true;
                }
            } else {
                *lines += c == '\n';
            }
            at++;
        }
        if (at >= INPUT_MAX_TEXT)
            return error_set(err, ERROR_INVALID_ARGUMENT,
                             "line %" PRIu64 ": the document that begins here is longer than %d bytes, or it is not closed",
                             input->place.line, INPUT_MAX_TEXT);
        if (input->at_end)
            return error_set(err, ERROR_INVALID_ARGUMENT, "line %" PRIu64 ": the input ends inside the document that begins here",
                             input->place.line);
        if (!read_more(input, err))
            return false;
    }
}

static bool unexpected(const struct input *input, int c, const char *expected, struct error *err)
{
    if (c < 0)
        return error_set(err, ERROR_INVALID_ARGUMENT, "line %" PRIu64 ": the input ends where %s was expected", input->place.line,
                         expected);
    char found[8];
    snprintf(found, sizeof found, c > 0x20 && c < 0x7f ? "'%c'" : "0x%02x", (unsigned)c);
    return error_set(err, ERROR_INVALID_ARGUMENT, "line %" PRIu64 " (byte %" PRIu64 "): %s where %s was expected", input->place.line,
                     input->place.offset, found, expected);
}

/* Passes what stands between documents. *more: data[begin] is the next one's brace. */
static bool find_object(struct input *input, bool *more, struct error *err)
{
    int c;
    for (;;) {
        if (!peek(input, &c, err))
            return false;
        switch (input->state) {
        case STATE_START:
            if (c != '[') {
                input->state = STATE_SEQUENCE;
                continue;
            }
            input->state = STATE_ARRAY_FIRST;
            break;
        case STATE_SEQUENCE:
            if (c >= 0 && c != '{')
                return unexpected(input, c, "a document", err);
            *more = c >= 0;
            return true;
        case STATE_ARRAY_FIRST:
        case STATE_ARRAY_ITEM:
            if (c == '{') {
                input->state = STATE_ARRAY_BEHIND;
                *more = true;
                return true;
            }
            if (c != ']' || input->state == STATE_ARRAY_ITEM)
                return unexpected(input, c, "a document of the array", err);
            input->state = STATE_DONE;
            break;
        case STATE_ARRAY_BEHIND:
            if (c != ',' && c != ']')
                return unexpected(input, c, "',' or the ']' of the array", err);
            input->state = c == ',' ? STATE_ARRAY_ITEM : STATE_DONE;
            break;
        case STATE_DONE:
            if (c >= 0)
                return unexpected(input, c, "the end of the input", err);
            *more = false;
            return true;
        }
        pass(input, 1);
    }
}

bool input_next(struct input *input, struct bytes *text, struct input_place *place, struct error *err)
{
    bool more = false;
    if (input->state == STATE_START && !begin_text(input, err))
        return false;
    if (!find_object(input, &more, err))
        return false;
    *place = input->place;
    if (!more) {
        *text = bytes_of(NULL, 0);
        return true;
    }
    size_t len = 0;
    uint64_t lines = 0;
    if (!find_object_end(input, &len, &lines, err))
        return false;
    *text = bytes_of(input->data + input->begin, len);
    pass(input, len);
    input->place.line += lines;
    return true;
}

bool input_skip_to(struct input *input, struct input_place place, struct error *err)
{
    struct bytes text = bytes_of("", 0);
    bool ok = true;
    while (ok && text.data && input->place.offset < place.offset) {
        struct input_place begin;
        ok = input_next(input, &text, &begin, err);
    }
    struct input_place reached = input_place(input);
    if (!ok || reached.offset != place.offset || reached.digest != place.digest)
        return error_set(err, ERROR_FAILED_PRECONDITION, "the file has changed before line %" PRIu64 " (byte %" PRIu64 ")", place.line,
                         place.offset);
    return true;
}
