#include "common/base/log.h"

#include <inttypes.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "common/base/bytes.h"
#include "common/base/clock.h"
#include "common/base/error.h"
#include "common/base/trace.h"

static const char *const level_names[] = { "debug", "info", "warn", "error" };

static _Atomic int minimum_level = LOG_INFO;
static const char *service_name = "argon";

void log_set_level(enum log_level level)
{
    minimum_level = (int)level;
}

bool log_level_parse(const char *text, enum log_level *level, struct error *err)
{
    for (size_t i = 0; i < ARRAY_LEN(level_names); i++)
        if (strcmp(text, level_names[i]) == 0) {
            *level = (enum log_level)i;
            return true;
        }
    return error_set(err, ERROR_INVALID_ARGUMENT, "'%s' is none of debug, info, warn, error", text);
}

void log_set_service(const char *name)
{
    service_name = name;
}

static void append_text(struct buffer *line, const char *text)
{
    buffer_append(line, text, strlen(text));
}

/* Bytes that are not printable ASCII are escaped one by one: a log line is safe to read in any terminal. */
static void append_json_string(struct buffer *line, const char *text)
{
    buffer_append_u8(line, '"');
    for (const unsigned char *p = (const unsigned char *)(text ? text : ""); *p; p++) {
        char escaped[8];
        if (*p == '"' || *p == '\\')
            snprintf(escaped, sizeof escaped, "\\%c", *p);
        else if (*p < 0x20 || *p >= 0x7f)
            snprintf(escaped, sizeof escaped, "\\u%04x", *p);
        else
            snprintf(escaped, sizeof escaped, "%c", *p);
        append_text(line, escaped);
    }
    buffer_append_u8(line, '"');
}

static void append_member(struct buffer *line, const char *key)
{
    buffer_append_u8(line, ',');
    append_json_string(line, key);
    buffer_append_u8(line, ':');
}

void log_write(enum log_level level, const char *event, const struct log_value *values, size_t n)
{
    if ((int)level < minimum_level)
        return;
    uint64_t now = clock_wall_micros();
    time_t seconds = (time_t)(now / MICROS_PER_SECOND);
    struct tm utc;
    gmtime_r(&seconds, &utc);
    char text[64], stamp[32];
    strftime(stamp, sizeof stamp, "%Y-%m-%dT%H:%M:%S", &utc);
    snprintf(text, sizeof text, "{\"time\":\"%s.%06uZ\"", stamp, (unsigned)(now % MICROS_PER_SECOND));

    struct buffer line = { 0 };
    append_text(&line, text);
    append_member(&line, "level");
    append_json_string(&line, level_names[level]);
    append_member(&line, "service");
    append_json_string(&line, service_name);
    append_member(&line, "event");
    append_json_string(&line, event);
    if (trace_id(trace_current(), text)) {
        append_member(&line, "trace_id");
        append_json_string(&line, text);
    }
    for (size_t i = 0; i < n; i++) {
        const struct log_value *value = &values[i];
        if (value->kind == LOG_VALUE_ERROR) {
            append_member(&line, "code");
            append_json_string(&line, error_code_name(value->error->code));
        }
        append_member(&line, value->key);
        switch (value->kind) {
        case LOG_VALUE_STRING:
            append_json_string(&line, value->string);
            break;
        case LOG_VALUE_ERROR:
            append_json_string(&line, value->error->message);
            break;
        case LOG_VALUE_U64:
            snprintf(text, sizeof text, "%" PRIu64, value->u64);
            append_text(&line, text);
            break;
        case LOG_VALUE_I64:
            snprintf(text, sizeof text, "%" PRId64, value->i64);
            append_text(&line, text);
            break;
        }
    }
    append_text(&line, "}\n");
    if (!line.failed) {
        /* one write a line: lines of several threads do not mix; a log that cannot be written is not an error */
        ssize_t ignored = write(STDERR_FILENO, line.data, line.len);
        (void)ignored;
    }
    buffer_destroy(&line);
}
