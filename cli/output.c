#include "cli/output.h"

#include <assert.h>
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <string.h>
#include <time.h>

#include "common/base/clock.h"

bool output_init(struct output *out, FILE *file, const char *format, bool canonical, struct error *err)
{
    static const char *const names[] = { [OUTPUT_TABLE] = "table", [OUTPUT_JSON] = "json", [OUTPUT_NDJSON] = "ndjson" };
    for (size_t i = 0; i < ARRAY_LEN(names); i++)
        if (strcmp(format, names[i]) == 0) {
            *out = (struct output) { .file = file, .format = (enum output_format)i, .style = canonical ? EJSON_CANONICAL : EJSON_RELAXED };
            return true;
        }
    return error_set(err, ERROR_INVALID_ARGUMENT, "option --output: '%s' is none of table, json, ndjson", format);
}

void output_destroy(struct output *out)
{
    buffer_destroy(&out->text);
    buffer_destroy(&out->cells);
}

static void write_bytes(struct output *out, const void *data, size_t len)
{
    if (out->errnum == 0 && len && fwrite(data, 1, len, out->file) != len)
        out->errnum = errno ? errno : EIO;
}

static void write_text(struct output *out, const char *text)
{
    write_bytes(out, text, strlen(text));
}

/* ---- values ---------------------------------------------------------------------------------------- */

static void append_text(struct buffer *buffer, const char *text)
{
    buffer_append(buffer, text, strlen(text));
}

void output_append_json_string(struct buffer *buffer, const char *text)
{
    buffer_append_u8(buffer, '"');
    for (const char *c = text; *c; c++) {
        char escape[8];
        if (*c == '"' || *c == '\\') {
            buffer_append_u8(buffer, '\\');
            buffer_append_u8(buffer, (uint8_t)*c);
        } else if ((unsigned char)*c < 0x20 || *c == 0x7f) {
            snprintf(escape, sizeof escape, "\\u%04x", (unsigned)*c);
            append_text(buffer, escape);
        } else {
            buffer_append_u8(buffer, (uint8_t)*c);
        }
    }
    buffer_append_u8(buffer, '"');
}

static void append_time(struct buffer *buffer, uint64_t micros)
{
    time_t seconds = (time_t)(micros / MICROS_PER_SECOND);
    struct tm utc;
    char text[64], fraction[16];
    size_t n = gmtime_r(&seconds, &utc) ? strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &utc) : 0;
    buffer_append(buffer, text, n);
    snprintf(fraction, sizeof fraction, ".%06uZ", (unsigned)(micros % MICROS_PER_SECOND));
    append_text(buffer, fraction);
}

static void append_number(struct buffer *buffer, uint64_t number)
{
    char text[24];
    snprintf(text, sizeof text, "%" PRIu64, number);
    append_text(buffer, text);
}

static void append_json_value(struct buffer *buffer, const struct field *field)
{
    switch (field->kind) {
    case FIELD_STRING:
        output_append_json_string(buffer, field->string);
        break;
    case FIELD_OPTIONAL:
        if (field->string[0])
            output_append_json_string(buffer, field->string);
        else
            append_text(buffer, "null");
        break;
    case FIELD_U64:
        append_number(buffer, field->u64);
        break;
    case FIELD_BOOL:
        append_text(buffer, field->boolean ? "true" : "false");
        break;
    case FIELD_TIME:
        buffer_append_u8(buffer, '"');
        append_time(buffer, field->u64);
        buffer_append_u8(buffer, '"');
        break;
    case FIELD_JSON:
        append_text(buffer, field->string);
        break;
    }
}

/* For a terminal: control characters in a name must not reach it. */
void output_append_plain(struct buffer *buffer, const struct field *field)
{
    switch (field->kind) {
    case FIELD_STRING:
    case FIELD_OPTIONAL:
        for (const char *c = field->string; *c; c++)
            buffer_append_u8(buffer, (unsigned char)*c < 0x20 || *c == 0x7f ? '?' : (uint8_t)*c);
        if (!field->string[0])
            buffer_append_u8(buffer, '-');
        break;
    case FIELD_TIME:
        append_time(buffer, field->u64);
        break;
    case FIELD_U64:
    case FIELD_BOOL:
    case FIELD_JSON:
        append_json_value(buffer, field);
        break;
    }
}

void output_append_json_object(struct buffer *buffer, const struct field *fields, size_t n)
{
    buffer_append_u8(buffer, '{');
    for (size_t i = 0; i < n; i++) {
        if (i > 0)
            buffer_append_u8(buffer, ',');
        output_append_json_string(buffer, fields[i].name);
        buffer_append_u8(buffer, ':');
        append_json_value(buffer, &fields[i]);
    }
    buffer_append_u8(buffer, '}');
}

static void write_buffer(struct output *out, struct buffer *buffer)
{
    if (buffer->failed && out->errnum == 0)
        out->errnum = ENOMEM;
    write_bytes(out, buffer->data, buffer->failed ? 0 : buffer->len);
}

/* ---- one object ------------------------------------------------------------------------------------ */

void output_object(struct output *out, const struct field *fields, size_t n)
{
    buffer_clear(&out->text);
    if (out->format == OUTPUT_TABLE) {
        size_t width = 0;
        for (size_t i = 0; i < n; i++)
            width = strlen(fields[i].name) > width ? strlen(fields[i].name) : width;
        for (size_t i = 0; i < n; i++) {
            append_text(&out->text, fields[i].name);
            for (size_t pad = strlen(fields[i].name); pad < width + 2; pad++)
                buffer_append_u8(&out->text, ' ');
            output_append_plain(&out->text, &fields[i]);
            buffer_append_u8(&out->text, '\n');
        }
    } else {
        output_append_json_object(&out->text, fields, n);
        buffer_append_u8(&out->text, '\n');
    }
    write_buffer(out, &out->text);
}

void output_result(struct output *out, const char *sentence, const struct field *fields, size_t n)
{
    if (out->format != OUTPUT_TABLE) {
        output_object(out, fields, n);
        return;
    }
    write_text(out, sentence);
    write_text(out, "\n");
}

/* ---- lists ----------------------------------------------------------------------------------------- */

void output_list_begin(struct output *out)
{
    out->items = 0;
    out->columns = 0;
    buffer_clear(&out->cells);
    if (out->format == OUTPUT_JSON)
        write_text(out, "[");
}

static void begin_json_item(struct output *out)
{
    if (out->format == OUTPUT_JSON)
        write_text(out, out->items > 0 ? ",\n" : "\n");
}

void output_list_row(struct output *out, const struct field *fields, size_t n)
{
    if (out->format == OUTPUT_TABLE) {
        if (out->items == 0)
            for (size_t i = 0; i < n; i++) {
                for (const char *c = fields[i].name; *c; c++)
                    buffer_append_u8(&out->cells, (uint8_t)toupper((unsigned char)*c));
                buffer_append_u8(&out->cells, '\0');
            }
        assert(n > 0 && n <= OUTPUT_MAX_COLUMNS);
        out->columns = n;
        for (size_t i = 0; i < n; i++) {
            output_append_plain(&out->cells, &fields[i]);
            buffer_append_u8(&out->cells, '\0');
        }
    } else {
        begin_json_item(out);
        buffer_clear(&out->text);
        output_append_json_object(&out->text, fields, n);
        if (out->format == OUTPUT_NDJSON)
            buffer_append_u8(&out->text, '\n');
        write_buffer(out, &out->text);
    }
    out->items++;
}

bool output_list_document(struct output *out, struct bytes bson, struct error *err)
{
    buffer_clear(&out->text);
    if (!ejson_format(bson, out->style, &out->text, err))
        return false;
    begin_json_item(out);
    if (out->format != OUTPUT_JSON)
        buffer_append_u8(&out->text, '\n');
    write_buffer(out, &out->text);
    out->items++;
    return true;
}

void output_list_line(struct output *out, const char *line)
{
    write_text(out, line);
    write_text(out, "\n");
    out->items++;
}

void output_flush(struct output *out)
{
    if (fflush(out->file) != 0 && out->errnum == 0)
        out->errnum = errno ? errno : EIO;
}

/* Characters, for what lines up: bytes that do not continue a UTF-8 sequence. */
static size_t text_width(const char *text)
{
    size_t width = 0;
    for (; *text; text++)
        width += ((unsigned char)*text & 0xC0) != 0x80;
    return width;
}

static void write_table(struct output *out)
{
    if (out->cells.failed) {
        out->errnum = out->errnum ? out->errnum : ENOMEM;
        return;
    }
    size_t widths[OUTPUT_MAX_COLUMNS] = { 0 };
    const char *const begin = (const char *)out->cells.data, *const end = begin + out->cells.len;
    size_t column = 0;
    for (const char *cell = begin; cell < end; cell += strlen(cell) + 1) {
        size_t width = text_width(cell);
        widths[column] = width > widths[column] ? width : widths[column];
        column = (column + 1) % out->columns;
    }
    for (const char *cell = begin; cell < end; cell += strlen(cell) + 1) {
        bool last = column + 1 == out->columns;
        write_text(out, cell);
        for (size_t pad = text_width(cell); !last && pad < widths[column] + 2; pad++)
            write_text(out, " ");
        if (last)
            write_text(out, "\n");
        column = last ? 0 : column + 1;
    }
}

void output_list_end(struct output *out)
{
    if (out->format == OUTPUT_JSON)
        write_text(out, out->items > 0 ? "\n]\n" : "]\n");
    else if (out->format == OUTPUT_TABLE && out->columns > 0)
        write_table(out);
}

/* ---- the end --------------------------------------------------------------------------------------- */

bool output_failed(const struct output *out)
{
    return out->errnum != 0;
}

bool output_finish(struct output *out, struct error *err)
{
    output_flush(out);
    if (out->errnum == 0)
        return true;
    if (out->errnum == EPIPE) {
        signal(SIGPIPE, SIG_DFL);
        raise(SIGPIPE);
    }
    return error_set_errno(err, error_code_of_file(out->errnum), out->errnum, "cannot write the output");
}

const char *output_at_lsn(uint64_t lsn, char text[OUTPUT_AT_LSN_SIZE])
{
    text[0] = '\0';
    if (lsn)
        snprintf(text, OUTPUT_AT_LSN_SIZE, " at LSN %" PRIu64, lsn);
    return text;
}
