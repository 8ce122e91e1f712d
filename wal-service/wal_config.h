/* Options of the WAL service. */
#ifndef ARGON_WAL_WAL_CONFIG_H
#define ARGON_WAL_WAL_CONFIG_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "common/base/arena.h"
#include "common/base/error.h"

struct wal_config {
    const char *config; /* file of options; empty: none */
    const char *listen;
    const char *data;
    const char *port_file;
    bool insecure;
    bool version;
    const char *verify; /* directory to check instead of serving; empty: serve */
    const char *output; /* of --verify: "text" or "json" */
    uint64_t segment_bytes;
    uint64_t compress_after;
    uint64_t conflict_window_bytes;
    uint64_t request_window_bytes;
    uint64_t queue_bytes;
    uint64_t memory;
    uint64_t max_calls;
    uint64_t max_follows;
    uint64_t workers;
    uint64_t grace; /* microseconds */
    uint64_t connection_age;
    uint64_t keepalive;
    uint64_t max_connection_streams;
};

/* INVALID_ARGUMENT says what is wrong with the command line, the environment or the file of options. Strings are borrowed from the
 * former two, or live in the arena.
 * When version or verify is set nothing else was checked. */
CHECKED bool wal_config_parse(struct wal_config *config, int argc, char **argv, struct arena *arena, struct error *err);
void wal_config_print_help(FILE *out);

#endif
