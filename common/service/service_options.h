/* The options that every service has, and what it does at its start with those that ask for something else.
 *
 *     if (service_start(&program, &status)) serve();
 */
#ifndef ARGON_SERVICE_SERVICE_OPTIONS_H
#define ARGON_SERVICE_SERVICE_OPTIONS_H

#include "common/base/arena.h"
#include "common/base/config.h"

enum { N_SERVICE_SETTINGS = 11, N_SERVICE_ACTIONS = 6, VARIABLE_SIZE = 48 };

struct service_options {
    const char *config; /* file of options; empty: none */
    const char *listen;
    const char *metrics_address; /* empty: none are served */
    const char *port_file;
    const char *log_level;
    const char *print_reference; /* "configuration" or "metrics"; empty: serve */
    bool insecure;
    bool print_config, check_config, health_check, version;
    /* microseconds */
    uint64_t slow_request; /* 0: none is logged */
    uint64_t drain_delay;
    uint64_t grace;
    uint64_t connection_age;
    uint64_t keepalive;
    uint64_t max_connection_streams;

    char variables[N_SERVICE_SETTINGS + 1][VARIABLE_SIZE]; /* names that the rows point to */
};

/* Variables are `prefix` and the option's name: "ARGON_WAL_" "MAX_CALLS". The rows live as long as the targets. */
void service_describe_options(struct service_options *targets, const char *prefix, const char *listen,
                              struct config_option settings[N_SERVICE_SETTINGS], struct config_option actions[N_SERVICE_ACTIONS]);

struct metric_table;
struct rpc_server;

/* A program, as its command line sees it. */
struct service_program {
    const char *name;  /* "wal-service" */
    const char *usage; /* what --help begins with */
    const struct config_table *tables;
    size_t n_tables;
    struct service_options *options; /* targets of one of the tables */
    struct config_origin *origins;   /* room for all options of the tables; filled in by service_start */
    /* What parsing does not tell, of the program's own options; may fill in what they make of each other. */
    bool (*check)(const struct service_program *program, struct error *err);
    void *ctx;
    const struct metric_table *const *metrics; /* for the reference page */
    size_t n_metrics;
    bool again; /* the service runs: the settings are only read anew, for what may change while it does */
};

/* Parses the command line, and does what it asks for instead of serving: help, version, reference, checking or printing the
 * options. False: all is done or wrong, and *status is what the program exits with. Strings live in the arena, too.
 * Log level and slow-request limit hold from here on. */
bool service_start(const struct service_program *program, int argc, char **argv, struct arena *arena, int *status);

/* For check: says where the value of an option comes from that is wrong. False. */
bool service_wrap_option(const struct service_program *program, const char *name, struct error *err);

/* Waits until the service is to go: for SIGTERM or SIGINT, and then for drain-delay, in which health says no and calls are
 * served; or for rpc_stop_waiting. SIGHUP: reload(ctx). Returns the signal, 0 for rpc_stop_waiting. */
int service_wait(struct rpc_server *server, const struct service_options *options, void (*reload)(void *ctx), void *ctx);

#endif
