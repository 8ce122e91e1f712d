#include "bench/load.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "common/base/clock.h"
#include "common/base/memory.h"
#include "common/base/sync.h"

struct load_state;

struct slot {
    struct load_state *state;
    unsigned number;
    const char *method;
    int64_t started; /* or was to start */
};

struct load_state {
    const struct load *load;
    int64_t end;
    struct mutex lock; /* rank 1; covers everything below */
    struct condition changed;
    struct slot slots[LOAD_MAX_IN_FLIGHT];
    unsigned idle[LOAD_MAX_IN_FLIGHT], first_idle, n_idle; /* a ring: slots take turns */
    unsigned running;
    uint64_t next;
    uint32_t *micros;
    size_t n, capacity;
};

static void die(const char *what, const struct error *err)
{
    fprintf(stderr, "%s: %s: %s\n", what, error_code_name(err->code), err->message);
    exit(1);
}

static void done(void *ctx, const struct error *failure, struct bytes response);

static void start(struct slot *slot, int64_t at)
{
    struct load_state *state = slot->state;
    const struct load *load = state->load;
    struct rpc_call_options options = { .deadline = clock_monotonic_micros() + 60 * (int64_t)MICROS_PER_SECOND };
    mutex_lock(&state->lock);
    uint64_t n = state->next++;
    mutex_unlock(&state->lock);
    slot->started = at;
    const ProtobufCMessage *request = load->next(load->ctx, slot->number, n, &slot->method);
    rpc_client_start(load->client, slot->method, request, &options, done, slot);
}

static void idle_push(struct load_state *state, unsigned slot)
{
    state->idle[(state->first_idle + state->n_idle++) % LOAD_MAX_IN_FLIGHT] = slot;
}

static void done(void *ctx, const struct error *failure, struct bytes response)
{
    struct slot *slot = ctx;
    struct load_state *state = slot->state;
    int64_t now = clock_monotonic_micros();
    if (failure)
        die(slot->method, failure);
    if (state->load->check)
        state->load->check(state->load->ctx, slot->number, response);
    mutex_lock(&state->lock);
    if (state->n == state->capacity) {
        state->capacity = state->capacity ? 2 * state->capacity : 1 << 16;
        state->micros = mem_realloc(state->micros, state->capacity * sizeof state->micros[0]);
    }
    state->micros[state->n++] = (uint32_t)(now - slot->started);
    bool again = state->load->rate == 0 && now < state->end;
    if (!again) {
        idle_push(state, slot->number);
        state->running--;
        condition_broadcast(&state->changed);
    }
    mutex_unlock(&state->lock);
    if (again)
        start(slot, clock_monotonic_micros());
}

static int compare(const void *a, const void *b)
{
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return (x > y) - (x < y);
}

void load_percentiles(uint32_t *micros, size_t n, struct load_result *result)
{
    if (!n)
        return;
    qsort(micros, n, sizeof micros[0], compare);
    result->p50 = micros[n / 2];
    result->p90 = micros[n * 9 / 10];
    result->p99 = micros[n * 99 / 100];
    result->max = micros[n - 1];
}

static void run_open(struct load_state *state, int64_t began)
{
    double interval = MICROS_PER_SECOND / state->load->rate;
    for (uint64_t i = 0;; i++) {
        int64_t at = began + (int64_t)((double)i * interval), now = clock_monotonic_micros();
        if (at >= state->end)
            return;
        if (at > now) {
            int64_t left = at - now;
            nanosleep(&(struct timespec) { left / MICROS_PER_SECOND, left % MICROS_PER_SECOND * 1000 }, NULL);
        }
        mutex_lock(&state->lock);
        while (!state->n_idle)
            condition_wait(&state->changed, &state->lock);
        struct slot *slot = &state->slots[state->idle[state->first_idle]];
        state->first_idle = (state->first_idle + 1) % LOAD_MAX_IN_FLIGHT;
        state->n_idle--;
        state->running++;
        mutex_unlock(&state->lock);
        start(slot, at);
    }
}

void load_run(const struct load *load, struct load_result *result)
{
    struct load_state *state = mem_zalloc(sizeof *state);
    int64_t began = clock_monotonic_micros();
    state->load = load;
    state->end = began + (int64_t)(load->seconds * MICROS_PER_SECOND);
    mutex_init(&state->lock, 1);
    condition_init(&state->changed);
    for (unsigned i = 0; i < load->in_flight; i++)
        state->slots[i] = (struct slot) { .state = state, .number = i };
    if (load->rate > 0) {
        for (unsigned i = 0; i < load->in_flight; i++)
            idle_push(state, i);
        run_open(state, began);
    } else {
        state->running = load->in_flight;
        for (unsigned i = 0; i < load->in_flight; i++)
            start(&state->slots[i], clock_monotonic_micros());
    }
    mutex_lock(&state->lock);
    while (state->running)
        condition_wait(&state->changed, &state->lock);
    mutex_unlock(&state->lock);
    *result = (struct load_result) { .calls = state->n, .seconds = (double)(clock_monotonic_micros() - began) / MICROS_PER_SECOND };
    load_percentiles(state->micros, state->n, result);
    condition_destroy(&state->changed);
    mutex_destroy(&state->lock);
    free(state->micros);
    free(state);
}

void load_print(const struct load_result *result)
{
    printf(",\"calls\":%llu,\"calls_per_second\":%.0f,\"p50_us\":%.0f,\"p90_us\":%.0f,\"p99_us\":%.0f,\"max_us\":%.0f",
           (unsigned long long)result->calls, (double)result->calls / result->seconds, result->p50, result->p90, result->p99, result->max);
}

struct rpc_client *load_connect(const char *target)
{
    struct rpc_client *client;
    struct error err = { 0 };
    sigset_t ends;
    rpc_init();
    /* which rpc_init keeps for services that drain */
    sigemptyset(&ends);
    sigaddset(&ends, SIGINT);
    sigaddset(&ends, SIGTERM);
    pthread_sigmask(SIG_UNBLOCK, &ends, NULL);
    const struct rpc_client_options options = {
        .target = target,
        .balance = strchr(target, ',') ? RPC_ROUND_ROBIN : RPC_PICK_FIRST,
        .max_message_bytes = 64 << 20,
    };
    if (!rpc_client_open(&options, &client, &err))
        die(target, &err);
    return client;
}

void *load_call(struct rpc_client *client, const char *method, const void *request, const ProtobufCMessageDescriptor *type,
                struct arena *arena)
{
    struct rpc_call_options options = { .deadline = clock_monotonic_micros() + 300 * (int64_t)MICROS_PER_SECOND };
    ProtobufCMessage *response;
    struct error err = { 0 };
    if (!rpc_client_call(client, method, request, type, &options, arena, &response, &err))
        die(method, &err);
    return response;
}

const char *load_option(int argc, char **argv, const char *name, const char *fallback)
{
    for (int i = 1; i + 1 < argc; i++)
        if (strcmp(argv[i], name) == 0)
            return argv[i + 1];
    return fallback;
}

double load_number(int argc, char **argv, const char *name, double fallback)
{
    const char *value = load_option(argc, argv, name, NULL);
    return value ? strtod(value, NULL) : fallback;
}
