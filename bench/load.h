/* A load generator over the asynchronous RPC client.
 *
 * Closed loop: so many calls in flight, the next one starts when one ends. Open loop: calls start at a fixed rate
 * whatever becomes of those before, and their latency counts from when they were to start.
 *
 * Threads    load_run: one at a time. next: the caller's thread and the client's, one at a time for a slot; check: the
 *            client's thread, between two requests of its slot. A call that fails ends the program: a figure of failures is no figure.
 */
#ifndef ARGON_BENCH_LOAD_H
#define ARGON_BENCH_LOAD_H

#include <protobuf-c/protobuf-c.h>

#include "common/rpc/rpc.h"

enum { LOAD_MAX_IN_FLIGHT = 1024 };

struct load {
    struct rpc_client *client;
    unsigned in_flight; /* closed loop; open loop: at most, beyond which starts wait */
    double rate;        /* calls a second; 0: closed loop */
    double seconds;
    /* The n-th request and its method; lives until the next one of the slot. */
    const ProtobufCMessage *(*next)(void *ctx, unsigned slot, uint64_t n, const char **method);
    void (*check)(void *ctx, unsigned slot, struct bytes response); /* NULL: every OK is fine */
    void *ctx;
};

struct load_result {
    uint64_t calls;
    double seconds;
    double p50, p90, p99, max; /* microseconds */
};

void load_run(const struct load *load, struct load_result *result);

/* ,"calls":...,"calls_per_second":...,"p50_us":... — the rest of a JSON line, without its end. */
void load_print(const struct load_result *result);

/* Sorts the samples. */
void load_percentiles(uint32_t *micros, size_t n, struct load_result *result);

/* Once a program. Several addresses: calls go to each in turn. */
struct rpc_client *load_connect(const char *target);

/* One call, waited for; ends the program when it fails. The response lives in the arena. */
void *load_call(struct rpc_client *client, const char *method, const void *request, const ProtobufCMessageDescriptor *type,
                struct arena *arena);

/* "--name VALUE" or the fallback. */
const char *load_option(int argc, char **argv, const char *name, const char *fallback);
double load_number(int argc, char **argv, const char *name, double fallback);

#endif
