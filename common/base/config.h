/* Options of a program from one table, which also prints --help.
 *
 * "--name value", "--name=value"; a boolean takes "--name", "--name=true|false" or "--no-name"; "--" ends
 * the options. Every option can also come from the environment, when the table names a variable; the
 * command line wins.
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
 * error..
 * INVALID_ARGUMENT names the option, the value and what was expected. */
struct config_table {
    const struct config_option *options;
    size_t n;
};

CHECKED bool config_parse(const struct config_table *tables, size_t n_tables, int argc, char **argv, const char **positionals,
                          size_t *n_positionals, struct error *err);

/* True when "--help" or "-h" stands among the arguments before "--". */
bool config_wants_help(int argc, char **argv);
void config_print_help(FILE *out, const struct config_option *options, size_t n);

CHECKED bool config_parse_bytes(const char *text, uint64_t *bytes, struct error *err);
CHECKED bool config_parse_duration(const char *text, uint64_t *micros, struct error *err);

#endif
