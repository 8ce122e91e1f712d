#include "common/service/service_options.h"

#include <ctype.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/listen.h"
#include "common/base/log.h"
#include "common/base/metrics.h"
#include "common/rpc/rpc.h"
#include "common/yaml/options_file.h"

enum { EXIT_CLEAN = 0, EXIT_UNHEALTHY = 1, EXIT_USAGE = 2 };

#define HOUR (UINT64_C(3600) * 1000000)

static void name_variable(struct config_option *row, const char *prefix, char name[VARIABLE_SIZE])
{
    snprintf(name, VARIABLE_SIZE, "%s%s", prefix, row->name);
    for (char *at = name; *at; at++)
        *at = *at == '-' ? '_' : (char)toupper((unsigned char)*at);
    row->variable = name;
}

void service_describe_options(struct service_options *o, const char *prefix, const char *listen,
                              struct config_option settings[N_SERVICE_SETTINGS], struct config_option actions[N_SERVICE_ACTIONS])
{
    const struct config_option all[] = {
        { .name = "listen",
          .kind = CONFIG_STRING,
          .target = &o->listen,
          .fallback = listen,
          .argument = "HOST:PORT",
          .help = "address to serve on; port 0 takes a free one" },
        { .name = "insecure",
          .kind = CONFIG_BOOL,
          .target = &o->insecure,
          .help = "serve on an address that is not loopback, without TLS and authentication" },
        { .name = "metrics-address",
          .kind = CONFIG_STRING,
          .target = &o->metrics_address,
          .argument = "HOST:PORT",
          .help = "serve /metrics, /healthz and /readyz over HTTP here; port 0 takes a free one; empty: not at all" },
        { .name = "log-level",
          .kind = CONFIG_STRING,
          .target = &o->log_level,
          .fallback = "info",
          .argument = "debug|info|warn|error",
          .help = "the least that is logged; read again at SIGHUP" },
        { .name = "slow-request",
          .kind = CONFIG_DURATION,
          .target = &o->slow_request,
          .fallback = "1s",
          .max = HOUR,
          .argument = "DURATION",
          .help = "log calls that took so long; 0s: none; read again at SIGHUP" },
        { .name = "drain-delay",
          .kind = CONFIG_DURATION,
          .target = &o->drain_delay,
          .max = HOUR,
          .fallback = "0s",
          .argument = "DURATION",
          .help = "after SIGTERM calls are still served so long, while health and /readyz say no" },
        { .name = "grace",
          .kind = CONFIG_DURATION,
          .target = &o->grace,
          .fallback = "10s",
          .max = HOUR,
          .argument = "DURATION",
          .help = "what calls in flight then get to end" },
        { .name = "connection-age",
          .kind = CONFIG_DURATION,
          .target = &o->connection_age,
          .fallback = "5m",
          .argument = "DURATION",
          .help = "a connection is asked to go after so long, so that clients find new replicas; 0s: never" },
        { .name = "keepalive",
          .kind = CONFIG_DURATION,
          .target = &o->keepalive,
          .fallback = "30s",
          .argument = "DURATION",
          .help = "a silent connection is tested after so long; 0s: never" },
        { .name = "max-connection-streams",
          .kind = CONFIG_UINT,
          .target = &o->max_connection_streams,
          .fallback = "0",
          .max = 1000000,
          .argument = "N",
          .help = "calls at a time on one connection; 0: bounded by max-calls" },
        { .name = "port-file",
          .kind = CONFIG_STRING,
          .target = &o->port_file,
          .argument = "FILE",
          .help = "is written with the port, once calls are served" },
    };
    const struct config_option all_actions[] = {
        OPTIONS_FILE_ROW(&o->config, NULL),
        { .name = "print-config",
          .kind = CONFIG_BOOL,
          .target = &o->print_config,
          .help = "print the settings as a file of options, each with its source, and exit" },
        { .name = "check-config",
          .kind = CONFIG_BOOL,
          .target = &o->check_config,
          .help = "say whether the settings are right, and exit: 0 right, 2 wrong" },
        { .name = "print-reference",
          .kind = CONFIG_STRING,
          .target = &o->print_reference,
          .argument = "configuration|metrics",
          .help = "print the reference of options or metrics in Markdown, and exit" },
        { .name = "health-check",
          .kind = CONFIG_BOOL,
          .target = &o->health_check,
          .help = "ask the service that listens on --listen of this machine whether it serves, and exit: 0 it does, 1 not" },
        { .name = "version", .kind = CONFIG_BOOL, .target = &o->version, .help = "print the version, and exit" },
    };
    _Static_assert(ARRAY_LEN(all) == N_SERVICE_SETTINGS && ARRAY_LEN(all_actions) == N_SERVICE_ACTIONS, "one row an option");
    memcpy(settings, all, sizeof all);
    memcpy(actions, all_actions, sizeof all_actions);
    for (size_t i = 0; i < N_SERVICE_SETTINGS; i++)
        name_variable(&settings[i], prefix, o->variables[i]);
    name_variable(&actions[0], prefix, o->variables[N_SERVICE_SETTINGS]); /* of the file */
}

/* HOST:PORT; whoever can reach it may read the metrics, so any host will do. */
static bool check_metrics_address(const char *address, struct error *err)
{
    if (!*address)
        return true;
    if (strncmp(address, "unix:", 5) == 0)
        return error_set(err, ERROR_INVALID_ARGUMENT, "metrics address '%s' is not HOST:PORT", address);
    return listen_check(address, true, err);
}

bool service_wrap_option(const struct service_program *program, const char *name, struct error *err)
{
    return config_wrap_named(program->tables, program->n_tables, program->origins, name, err);
}

static bool check_options(const struct service_program *program, struct error *err)
{
    const struct service_options *options = program->options;
    enum log_level level;
    if (!log_level_parse(options->log_level, &level, err))
        return service_wrap_option(program, "log-level", err);
    if (!check_metrics_address(options->metrics_address, err))
        return service_wrap_option(program, "metrics-address", err);
    return listen_check(options->listen, options->insecure, err) || service_wrap_option(program, "listen", err);
}

static void apply_logging(const struct service_options *options)
{
    enum log_level level;
    struct error err;
    if (log_level_parse(options->log_level, &level, &err))
        log_set_level(level);
    rpc_log_slow_calls((int64_t)options->slow_request);
}

static bool print_reference(const struct service_program *program, FILE *out, struct error *err)
{
    const char *what = program->options->print_reference;
    fprintf(out, "\n## %s\n\n", program->name);
    if (strcmp(what, "configuration") == 0)
        config_print_markdown(out, program->tables, program->n_tables);
    else if (strcmp(what, "metrics") == 0)
        metrics_print_markdown(out, program->metrics, program->n_metrics);
    else
        return error_set(err, ERROR_INVALID_ARGUMENT, "option --print-reference: '%s' is neither configuration nor metrics", what);
    return true;
}

static int check_health(const struct service_program *program)
{
    struct error err;
    rpc_init();
    bool healthy = rpc_health_probe(program->options->listen, &err);
    rpc_shutdown();
    if (!healthy)
        fprintf(stderr, "%s: %s\n", program->name, err.message);
    return healthy ? EXIT_CLEAN : EXIT_UNHEALTHY;
}

/* What is asked for instead of serving; it needs no valid settings. */
static bool act(const struct service_program *program, bool *acted, int *status, struct error *err)
{
    const struct service_options *options = program->options;
    *acted = true;
    if (options->version) {
        printf("%s %s\n", program->name, ARGON_VERSION);
        return true;
    }
    if (*options->print_reference)
        return print_reference(program, stdout, err);
    if (options->health_check) {
        *status = check_health(program);
        return true;
    }
    *acted = false;
    return true;
}

static bool parse(const struct service_program *program, int argc, char **argv, struct arena *arena, bool *acted, int *status,
                  struct error *err)
{
    struct service_options *options = program->options;
    if (!options_file_parse(program->tables, program->n_tables, argc, argv, &options->config, arena, program->origins, err) ||
        !act(program, acted, status, err))
        return false;
    if (*acted)
        return true;
    bool right = program->check(program, err) && check_options(program, err);
    if (options->print_config)
        config_print_values(stdout, program->tables, program->n_tables, program->origins);
    if (!right)
        return false;
    if (options->check_config)
        fprintf(stderr, "%s: the configuration is right\n", program->name);
    *acted = options->print_config || options->check_config;
    return true;
}

static void apply_again(const struct service_program *program, bool parsed, const struct error *err)
{
    const struct service_options *options = program->options;
    if (!parsed) {
        log_error("config.reload_failed", KV_ERR(err));
        return;
    }
    apply_logging(options);
    log_info("config.reloaded", KV_STR("log_level", options->log_level), KV_U64("slow_request_ms", options->slow_request / 1000));
}

/* Before there are threads, which inherit it: service_wait takes the signal. */
static void block_reload_signal(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGHUP);
    pthread_sigmask(SIG_BLOCK, &set, NULL);
}

bool service_start(const struct service_program *program, int argc, char **argv, struct arena *arena, int *status)
{
    struct error err;
    bool acted;
    *status = EXIT_CLEAN;
    if (config_wants_help(argc, argv)) {
        fputs(program->usage, stdout);
        for (size_t i = 0; i < program->n_tables; i++)
            config_print_help(stdout, program->tables[i].options, program->tables[i].n);
        return false;
    }
    bool parsed = parse(program, argc, argv, arena, &acted, status, &err);
    if (program->again) {
        apply_again(program, parsed, &err);
        return parsed;
    }
    if (!parsed) {
        fprintf(stderr, "%s: %s (--help shows the options)\n", program->name, err.message);
        *status = EXIT_USAGE;
        return false;
    }
    if (!acted) {
        block_reload_signal();
        apply_logging(program->options);
    }
    return !acted;
}

int service_wait(struct rpc_server *server, const struct service_options *options, void (*reload)(void *ctx), void *ctx)
{
    int signal = SIGHUP, second = SIGHUP;
    while (signal == SIGHUP) {
        signal = rpc_wait_for_signal(NO_DEADLINE);
        if (signal == SIGHUP)
            reload(ctx);
    }
    if (signal == 0 || options->drain_delay == 0)
        return signal;
    log_info("service.drain_delay", KV_I64("signal", signal), KV_U64("delay_ms", options->drain_delay / 1000));
    rpc_server_announce_drain(server);
    int64_t until = clock_monotonic_micros() + (int64_t)options->drain_delay;
    while (second == SIGHUP)
        second = rpc_wait_for_signal(until); /* who asks twice does not want to wait */
    return second == 0 ? 0 : signal;
}
