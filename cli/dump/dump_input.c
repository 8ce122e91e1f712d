#include "cli/dump/dump_input.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "common/base/limits.h"
#include "common/bson/bson_check.h"

enum { SHORTEST_DOCUMENT = 5, GZIP_BUFFER = 256 * 1024 };

bool dump_input_open(struct dump_input *input, const char *path, struct error *err)
{
    struct stat status;
    bool is_stdin = strcmp(path, "-") == 0;
    if (!is_stdin && stat(path, &status) == 0 && S_ISDIR(status.st_mode))
        return error_set(err, ERROR_INVALID_ARGUMENT, "'%s' is a directory", path);
    errno = 0;
    gzFile gzip = is_stdin ? gzdopen(dup(STDIN_FILENO), "rb") : gzopen(path, "rb");
    if (!gzip)
        return error_set_errno(err, error_code_of_file(errno), errno, "cannot open '%s'", path);
    gzbuffer(gzip, GZIP_BUFFER);
    *input = (struct dump_input) { .name = path, .gzip = gzip };
    return true;
}

void dump_input_of_memory(struct dump_input *input, const char *name, struct bytes memory)
{
    *input = (struct dump_input) { .name = name, .memory = memory };
}

void dump_input_close(struct dump_input *input)
{
    if (input->gzip)
        gzclose_r(input->gzip);
    buffer_destroy(&input->buffer);
    *input = (struct dump_input) { 0 };
}

bool dump_input_damaged(const struct dump_input *input, uint64_t offset, struct error *err, const char *format, ...)
{
    char message[160];
    va_list args;
    va_start(args, format);
    vsnprintf(message, sizeof message, format, args);
    va_end(args);
    return error_set(err, ERROR_DATA_LOSS, "'%s', offset %" PRIu64 ": %s", input->name, offset, message);
}

/* Fewer than asked for only at the end. */
static bool read_some(struct dump_input *input, void *data, size_t len, size_t *got, struct error *err)
{
    if (!input->gzip) {
        *got = len < input->memory.len - input->offset ? len : input->memory.len - input->offset;
        if (*got)
            memcpy(data, input->memory.data + input->offset, *got);
        input->offset += *got;
        return true;
    }
    int n = gzread(input->gzip, data, (unsigned)len), problem = Z_OK;
    const char *text = gzerror(input->gzip, &problem);
    if (n < 0 || (problem != Z_OK && problem != Z_STREAM_END)) {
        int errnum = errno;
        if (problem == Z_ERRNO)
            return error_set_errno(err, error_code_of_file(errnum), errnum, "cannot read '%s'", input->name);
        /* zlib puts a name of its own before what is wrong */
        const char *colon = strstr(text, ": ");
        return dump_input_damaged(input, input->offset + (n > 0 ? (uint64_t)n : 0), err, "gzip: %s",
                                  problem == Z_BUF_ERROR ? "it is cut off"
                                  : colon                ? colon + 2
                                                         : text);
    }
    *got = (size_t)n;
    input->offset += *got;
    return true;
}

bool dump_input_read(struct dump_input *input, void *data, size_t len, bool *end, struct error *err)
{
    size_t got;
    uint64_t begin = input->offset;
    if (end)
        *end = false;
    if (!read_some(input, data, len, &got, err))
        return false;
    if (got == len)
        return true;
    if (got == 0 && end) {
        *end = true;
        return true;
    }
    return dump_input_damaged(input, begin, err, "it is cut off: %zu bytes were expected, %zu are there", len, got);
}

bool dump_input_rest(struct dump_input *input, size_t limit, struct bytes *rest, struct error *err)
{
    size_t got = 1;
    buffer_clear(&input->buffer);
    while (got > 0) {
        size_t step = 64 * 1024;
        if (!buffer_reserve(&input->buffer, step))
            return error_out_of_memory(err);
        if (!read_some(input, input->buffer.data + input->buffer.len, step, &got, err))
            return false;
        input->buffer.len += got;
        if (input->buffer.len > limit)
            return dump_input_damaged(input, limit, err, "it is longer than %zu bytes", limit);
    }
    *rest = buffer_bytes(&input->buffer);
    return true;
}

bool dump_input_document(struct dump_input *input, enum dump_item *item, struct bytes *document, struct error *err)
{
    uint8_t prefix[4];
    uint64_t begin = input->offset;
    bool end;
    if (!dump_input_read(input, prefix, sizeof prefix, &end, err))
        return false;
    uint32_t len = get_u32(prefix);
    *item = end ? DUMP_END : len == UINT32_MAX ? DUMP_TERMINATOR : DUMP_DOCUMENT;
    if (*item != DUMP_DOCUMENT)
        return true;
    if (len < SHORTEST_DOCUMENT || len > MAX_DOCUMENT_BYTES)
        return dump_input_damaged(input, begin, err, "%" PRIu32 " is no length of a document", len);
    buffer_clear(&input->buffer);
    buffer_append(&input->buffer, prefix, sizeof prefix);
    /* as it comes, so that a length alone takes no memory */
    while (input->buffer.len < len) {
        size_t left = len - input->buffer.len, step = left < 1024 * 1024 ? left : 1024 * 1024, got;
        if (!buffer_reserve(&input->buffer, step))
            return error_out_of_memory(err);
        if (!read_some(input, input->buffer.data + input->buffer.len, step, &got, err))
            return false;
        input->buffer.len += got;
        if (got < step)
            return dump_input_damaged(input, begin, err, "it is cut off: a document of %" PRIu32 " bytes begins here, %zu are there", len,
                                      input->buffer.len);
    }
    struct error wrong;
    if (!bson_check(buffer_bytes(&input->buffer), &wrong))
        return dump_input_damaged(input, begin, err, "the document that begins here: %s", wrong.message);
    *document = buffer_bytes(&input->buffer);
    return true;
}
