/* Options of a program from one table, which also prints --help.
 *
 * "--name value", "--name=value"; a boolean takes "--name", "--name=true|false" or "--no-name"; "--" ends
 * the options. Every option can also come from the environment, when the table names a variable, and from a
 * file; the command line wins over the environment, and that over the file.
 */
#ifndef ARGON_BASE_CONFIG_H
#define ARGON_BASE_CONFIG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "common/base/error.h"

enum config_kind {
    CONFIG_STRING,   /* const char *; points into argv, the environment or the table */
    CONFIG_UINT,     /* uint64_t */
    CONFIG_BYTES,    /* uint64_t; "64M", "1G", "512K", plain bytes */
    CONFIG_DURATION, /* uint64_t microseconds; "250ms", "10s", "5m", "1h" */
    CONFIG_BOOL,     /* bool */
    CONFIG_URI,      /* as CONFIG_STRING; may hold a password, which is not shown */
};

struct config_option {
    const char *name; /* "listen" */
    char letter;      /* 'o' for -o VALUE; 0: none */
    enum config_kind kind;
    void *target;         /* written by config_parse */
    const char *fallback; /* as the user would write it; NULL: "" / 0 / false */
    const char *variable; /* environment; NULL: none */
    uint64_t min, max;    /* for the numbers; max 0: no bound */
    const char *argument; /* what --help shows: "HOST:PORT" */
    const char *help;
};

/* Sets every target: fallback, then environment, then command line. What is no option is collected in
 * order into positionals (room for argc), its count into *n_positionals; both NULL: positionals are an
 * error.
 * INVALID_ARGUMENT names the option, the value and what was expected. */
struct config_table {
    const struct config_option *options;
    size_t n;
    bool actions; /* of things to do instead: no settings, so they are for the command line only */
};

/* A file of options, as somebody has read it: "listen" = "127.0.0.1:1" in line 3. */
struct config_file_entry {
    const char *key;
    const char *value;
    unsigned line;
};
struct config_file {
    const char *path;
    const struct config_file_entry *entries;
    size_t n;
};

enum config_source { CONFIG_FROM_DEFAULT, CONFIG_FROM_FILE, CONFIG_FROM_ENVIRONMENT, CONFIG_FROM_FLAG };

/* Where an option's value comes from. */
struct config_origin {
    enum config_source source;
    const char *path; /* of the file */
    unsigned line;
};

CHECKED bool config_parse(const struct config_table *tables, size_t n_tables, int argc, char **argv, const char **positionals,
                          size_t *n_positionals, struct error *err);

/* The same without positionals, and with a file: every key is an option's name, else INVALID_ARGUMENT names file, line and
 * key. file may be NULL. origins has an element for each option of all tables, in their order; NULL: not wanted. Strings are
 * borrowed from the file, too. */
CHECKED bool config_parse_with_file(const struct config_table *tables, size_t n_tables, int argc, char **argv,
                                    const struct config_file *file, struct config_origin *origins, struct error *err);
/* Prefixes an error with where the value came from: "option --listen", "environment variable X", "argon.yaml:3: listen". False. */
bool config_wrap_origin(const struct config_option *option, const struct config_origin *origin, struct error *err);

/* The same, of the option of this name; origins as they were parsed. */
bool config_wrap_named(const struct config_table *tables, size_t n_tables, const struct config_origin *origins, const char *name,
                       struct error *err);

/* True when "--help" or "-h" stands among the arguments before "--". */
bool config_wants_help(int argc, char **argv);
void config_print_help(FILE *out, const struct config_option *options, size_t n);

/* config_print.c. The settings as a file of options would have them, each with its source; secrets are not shown. */
void config_print_values(FILE *out, const struct config_table *tables, size_t n_tables, const struct config_origin *origins);
/* Rows of a table in Markdown, with its head. */
void config_print_markdown(FILE *out, const struct config_table *tables, size_t n_tables);

CHECKED bool config_parse_bytes(const char *text, uint64_t *bytes, struct error *err);
CHECKED bool config_parse_duration(const char *text, uint64_t *micros, struct error *err);

#endif
