/* Options of the WAL service. */
#ifndef ARGON_WAL_WAL_CONFIG_H
#define ARGON_WAL_WAL_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "common/service/service_options.h"

struct wal_config {
    struct service_options service;
    const char *data;
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
};

/* service_start: false, and the program is to exit with *status, or config is filled. again: see struct service_program. Strings are
 * borrowed from the command line and the environment, or live in the arena. */
bool wal_config_start(struct wal_config *config, int argc, char **argv, bool again, struct arena *arena, int *status);

#endif
