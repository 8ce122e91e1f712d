#include "wal-service/wal_config.h"

#include <string.h>

#include "common/base/config.h"
#include "common/base/limits.h"
#include "common/base/listen.h"
#include "common/yaml/options_file.h"

enum { N_OPTIONS = 21 };

/* Queue and memory hold the largest request at least. */
static void describe_options(struct wal_config *config, struct config_option options[N_OPTIONS])
{
    const struct config_option all[] = {
        OPTIONS_FILE_ROW(&config->config, "ARGON_WAL_CONFIG"),
        { .name = "listen",
          .kind = CONFIG_STRING,
          .target = &config->listen,
          .fallback = "127.0.0.1:7700",
          .variable = "ARGON_WAL_LISTEN",
          .argument = "HOST:PORT",
          .help = "address to serve on; port 0: any free one" },
        { .name = "data",
          .kind = CONFIG_STRING,
          .target = &config->data,
          .variable = "ARGON_WAL_DATA",
          .argument = "DIR",
          .help = "directory of the log, made if it does not exist (required)" },
        { .name = "insecure",
          .kind = CONFIG_BOOL,
          .target = &config->insecure,
          .variable = "ARGON_WAL_INSECURE",
          .help = "serve without TLS on an address that is not loopback" },
        { .name = "segment-bytes",
          .kind = CONFIG_BYTES,
          .target = &config->segment_bytes,
          .fallback = "64M",
          .variable = "ARGON_WAL_SEGMENT_BYTES",
          .min = MIB,
          .max = (uint64_t)1 << 30,
          .argument = "BYTES",
          .help = "length of a segment file" },
        { .name = "compress-after",
          .kind = CONFIG_UINT,
          .target = &config->compress_after,
          .fallback = "2",
          .variable = "ARGON_WAL_COMPRESS_AFTER",
          .max = 1000000000,
          .argument = "N",
          .help = "compress segments that are no longer written, in the background, all but the newest N; 0: none" },
        { .name = "conflict-window-bytes",
          .kind = CONFIG_BYTES,
          .target = &config->conflict_window_bytes,
          .fallback = "64M",
          .variable = "ARGON_WAL_CONFLICT_WINDOW_BYTES",
          .min = MIB,
          .max = (uint64_t)1 << 40,
          .argument = "BYTES",
          .help = "memory for the keys that were written lately" },
        { .name = "request-window-bytes",
          .kind = CONFIG_BYTES,
          .target = &config->request_window_bytes,
          .fallback = "256M",
          .variable = "ARGON_WAL_REQUEST_WINDOW_BYTES",
          .min = 4096,
          .max = (uint64_t)1 << 40,
          .argument = "BYTES",
          .help = "memory for the requests that are recognized when they are repeated" },
        { .name = "queue-bytes",
          .kind = CONFIG_BYTES,
          .target = &config->queue_bytes,
          .fallback = "512M",
          .variable = "ARGON_WAL_QUEUE_BYTES",
          .min = MAX_MESSAGE_BYTES,
          .max = (uint64_t)1 << 40,
          .argument = "BYTES",
          .help = "memory of appends that wait for the disk; beyond it they are refused" },
        { .name = "memory",
          .kind = CONFIG_BYTES,
          .target = &config->memory,
          .fallback = "512M",
          .variable = "ARGON_WAL_MEMORY",
          .min = MIN_REQUEST_MEMORY,
          .max = (uint64_t)1 << 40,
          .argument = "BYTES",
          .help = "memory of all requests in flight" },
        { .name = "max-calls",
          .kind = CONFIG_UINT,
          .target = &config->max_calls,
          .fallback = "4096",
          .variable = "ARGON_WAL_MAX_CALLS",
          .min = 16,
          .max = 1000000,
          .argument = "N",
          .help = "calls in flight; beyond it they are refused" },
        { .name = "max-follows",
          .kind = CONFIG_UINT,
          .target = &config->max_follows,
          .fallback = "1024",
          .variable = "ARGON_WAL_MAX_FOLLOWS",
          .max = 1000000,
          .argument = "N",
          .help = "streams that follow the log; beyond it they are refused" },
        { .name = "workers",
          .kind = CONFIG_UINT,
          .target = &config->workers,
          .fallback = "16",
          .variable = "ARGON_WAL_WORKERS",
          .min = 1,
          .max = 1024,
          .argument = "N",
          .help = "threads for reads; a reader holds one while its next message is read from the log" },
        { .name = "grace",
          .kind = CONFIG_DURATION,
          .target = &config->grace,
          .fallback = "10s",
          .variable = "ARGON_WAL_GRACE",
          .max = UINT64_C(3600) * 1000000,
          .argument = "TIME",
          .help = "what calls in flight get to end after SIGTERM" },
        { .name = "connection-age",
          .kind = CONFIG_DURATION,
          .target = &config->connection_age,
          .fallback = "5m",
          .variable = "ARGON_WAL_CONNECTION_AGE",
          .argument = "TIME",
          .help = "a connection is asked to go after so long, so that clients find new replicas; 0: never" },
        { .name = "keepalive",
          .kind = CONFIG_DURATION,
          .target = &config->keepalive,
          .fallback = "30s",
          .variable = "ARGON_WAL_KEEPALIVE",
          .argument = "TIME",
          .help = "a silent connection is tested after so long; 0: never" },
        { .name = "max-connection-streams",
          .kind = CONFIG_UINT,
          .target = &config->max_connection_streams,
          .fallback = "0",
          .max = 1000000,
          .variable = "ARGON_WAL_MAX_CONNECTION_STREAMS",
          .argument = "N",
          .help = "calls at a time on one connection; 0: bounded by max-calls" },
        { .name = "port-file",
          .kind = CONFIG_STRING,
          .target = &config->port_file,
          .variable = "ARGON_WAL_PORT_FILE",
          .argument = "FILE",
          .help = "is written with the port, once calls are served" },
        { .name = "verify",
          .kind = CONFIG_STRING,
          .target = &config->verify,
          .argument = "DIR",
          .help = "check the log in a directory that no service has open, change nothing, and exit: 0 whole, 1 damaged" },
        { .name = "output",
          .letter = 'o',
          .kind = CONFIG_STRING,
          .target = &config->output,
          .fallback = "text",
          .argument = "text|json",
          .help = "of --verify" },
        { .name = "version", .kind = CONFIG_BOOL, .target = &config->version, .help = "print the version" },
    };
    _Static_assert(ARRAY_LEN(all) == N_OPTIONS, "one row an option");
    memcpy(options, all, sizeof all);
}

bool wal_config_parse(struct wal_config *config, int argc, char **argv, struct arena *arena, struct error *err)
{
    struct wal_config parsed = { 0 };
    struct config_option options[N_OPTIONS];
    describe_options(&parsed, options);
    if (!options_file_parse(&(struct config_table) { options, N_OPTIONS }, 1, argc, argv, &parsed.config, arena, NULL, err))
        return false;
    if (!parsed.version && !*parsed.verify) {
        if (!*parsed.data)
            return error_set(err, ERROR_INVALID_ARGUMENT, "--data DIR is required: the directory of the log");
        if (!listen_check(parsed.listen, parsed.insecure, err))
            return error_wrap(err, "--listen");
    }
    if (strcmp(parsed.output, "text") != 0 && strcmp(parsed.output, "json") != 0)
        return error_set(err, ERROR_INVALID_ARGUMENT, "-o: text or json, not '%s'", parsed.output);
    *config = parsed;
    return true;
}

void wal_config_print_help(FILE *out)
{
    struct wal_config ignored = { 0 };
    struct config_option options[N_OPTIONS];
    describe_options(&ignored, options);
    fprintf(out, "usage: wal-service --data DIR [options]\n\nThe durable log behind Argon.\n\n");
    config_print_help(out, options, N_OPTIONS);
}
