/* What commands print: tables and sentences for people, JSON for programs.
 *
 * Failures to write are remembered and come out of output_finish: a full disk behind a redirection must
 * not look like success. When the reader of a pipe has gone, output_finish ends the process by SIGPIPE as
 * it ends other filters.
 */
#ifndef ARGON_CLI_OUTPUT_H
#define ARGON_CLI_OUTPUT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "common/base/bytes.h"
#include "common/base/error.h"
#include "common/bson/ejson.h"

enum output_format { OUTPUT_TABLE, OUTPUT_JSON, OUTPUT_NDJSON };

enum field_kind {
    FIELD_STRING,
    FIELD_OPTIONAL, /* a string; null when empty */
    FIELD_U64,
    FIELD_BOOL,
    FIELD_TIME, /* microseconds since the epoch; printed as ISO 8601 in UTC */
    FIELD_JSON, /* a string that is JSON already */
};

struct field {
    const char *name;
    enum field_kind kind;
    union {
        const char *string;
        uint64_t u64;
        bool boolean;
    };
};

#define FIELD_STRING(n, v)   ((struct field) { .name = (n), .kind = FIELD_STRING, .string = (v) })
#define FIELD_OPTIONAL(n, v) ((struct field) { .name = (n), .kind = FIELD_OPTIONAL, .string = (v) })
#define FIELD_U64(n, v)      ((struct field) { .name = (n), .kind = FIELD_U64, .u64 = (v) })
#define FIELD_BOOL(n, v)     ((struct field) { .name = (n), .kind = FIELD_BOOL, .boolean = (v) })
#define FIELD_TIME(n, v)     ((struct field) { .name = (n), .kind = FIELD_TIME, .u64 = (v) })
#define FIELD_JSON(n, v)     ((struct field) { .name = (n), .kind = FIELD_JSON, .string = (v) })

enum { OUTPUT_MAX_COLUMNS = 16 };

struct output {
    FILE *file; /* borrowed */
    enum output_format format;
    enum ejson_style style;
    int errnum;          /* of the first write that failed */
    uint64_t items;      /* of the list that is open */
    struct buffer text;  /* one document */
    struct buffer cells; /* of a table: each with its NUL */
    size_t columns;
};

CHECKED bool output_init(struct output *out, FILE *file, const char *format, bool canonical, struct error *err);
void output_destroy(struct output *out);

/* Name and value a line, or an object. */
void output_object(struct output *out, const struct field *fields, size_t n);
/* What a write did: the sentence for people, else the fields. */
void output_result(struct output *out, const char *sentence, const struct field *fields, size_t n);

/* " at LSN 120", into the text and back; "" for 0: what happens on a traditional branch has none. */
enum { OUTPUT_AT_LSN_SIZE = 32 };
const char *output_at_lsn(uint64_t lsn, char text[OUTPUT_AT_LSN_SIZE]);

/* A list is of rows that all have the same fields, or of documents. */
void output_list_begin(struct output *out);
void output_list_row(struct output *out, const struct field *fields, size_t n);
CHECKED bool output_list_document(struct output *out, struct bytes bson, struct error *err);
/* For people, at once: one line instead of a row. */
void output_list_line(struct output *out, const char *line);
/* Lets a list that goes on for long out to where it is read. */
void output_flush(struct output *out);
void output_list_end(struct output *out);

/* Has a write failed? Then a long list can stop. */
bool output_failed(const struct output *out);
CHECKED bool output_finish(struct output *out, struct error *err);

/* Appends the text in quotes. */
void output_append_json_string(struct buffer *buffer, const char *text);
/* Appends an object. */
void output_append_json_object(struct buffer *buffer, const struct field *fields, size_t n);
/* As a table shows it: times in ISO 8601, no control characters, "-" for nothing. */
void output_append_plain(struct buffer *buffer, const struct field *field);

#endif
