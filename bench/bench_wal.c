/* The WAL service: appends, and reads of what was appended.
 *
 *   bench_wal append --target HOST:PORT [--in-flight N] [--entries N] [--batches N] [--rate N] [--seconds S]
 *   bench_wal read   --target HOST:PORT [--entries N] [--total N]
 *   bench_wal echo   --target HOST:PORT [--in-flight N] [--rate N] [--seconds S]     against bench_echo_server
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "argon/wal/v1/wal.pb-c.h"
#include "bench/load.h"
#include "common/base/clock.h"
#include "common/base/memory.h"
#include "common/base/random.h"

#define APPEND "/argon.wal.v1.Wal/Append"
enum { DOCUMENT_BYTES = 260, ID_BYTES = 16 }; /* about 300 bytes an entry */

struct appender {
    char project[ID_SIZE];
    unsigned n_batches, n_entries;
    uint64_t head; /* newest commit LSN that an answer had */
    uint8_t document[DOCUMENT_BYTES];
    struct append_request {
        Argon__Wal__V1__AppendRequest request;
        Argon__Wal__V1__Batch *batches, **batch_list;
        Argon__Wal__V1__Run *runs, **run_list;
        Argon__Wal__V1__Entry *entries, **entry_list;
        uint8_t (*ids)[ID_BYTES];
    } slots[LOAD_MAX_IN_FLIGHT];
};

static void prepare(struct appender *appender, struct append_request *slot)
{
    unsigned n = appender->n_batches, m = appender->n_entries;
    slot->batches = mem_zalloc(n * sizeof *slot->batches);
    slot->batch_list = mem_zalloc(n * sizeof *slot->batch_list);
    slot->runs = mem_zalloc(n * sizeof *slot->runs);
    slot->run_list = mem_zalloc(n * sizeof *slot->run_list);
    slot->entries = mem_zalloc((size_t)n * m * sizeof *slot->entries);
    slot->entry_list = mem_zalloc((size_t)n * m * sizeof *slot->entry_list);
    slot->ids = mem_zalloc((size_t)n * m * sizeof *slot->ids);
    argon__wal__v1__append_request__init(&slot->request);
    slot->request.project_id = appender->project;
    slot->request.n_batches = n;
    slot->request.batches = slot->batch_list;
    for (unsigned i = 0; i < n; i++) {
        slot->batch_list[i] = &slot->batches[i];
        slot->run_list[i] = &slot->runs[i];
        argon__wal__v1__batch__init(&slot->batches[i]);
        slot->batches[i].n_runs = 1;
        slot->batches[i].runs = &slot->run_list[i];
        argon__wal__v1__run__init(&slot->runs[i]);
        slot->runs[i].branch_id = "main";
        slot->runs[i].collection = "docs";
        slot->runs[i].n_entries = m;
        slot->runs[i].entries = &slot->entry_list[(size_t)i * m];
        for (unsigned j = 0; j < m; j++) {
            size_t at = (size_t)i * m + j;
            Argon__Wal__V1__Entry *entry = slot->entry_list[at] = &slot->entries[at];
            argon__wal__v1__entry__init(entry);
            entry->operation = ARGON__WAL__V1__OPERATION__OPERATION_INSERT;
            entry->document_id.data = slot->ids[at];
            entry->document_id.len = ID_BYTES;
            entry->document.data = appender->document;
            entry->document.len = DOCUMENT_BYTES;
        }
    }
}

static const ProtobufCMessage *next_append(void *ctx, unsigned number, uint64_t n, const char **method)
{
    struct appender *appender = ctx;
    struct append_request *slot = &appender->slots[number];
    *method = APPEND;
    if (!slot->batches)
        prepare(appender, slot);
    uint64_t head = __atomic_load_n(&appender->head, __ATOMIC_RELAXED);
    for (size_t i = 0; i < appender->n_batches; i++)
        slot->batches[i].read_lsn = head;
    for (size_t i = 0; i < (size_t)appender->n_batches * appender->n_entries; i++) {
        uint64_t id = (n * appender->n_batches * appender->n_entries + i) * UINT64_C(0x9e3779b97f4a7c15);
        memcpy(slot->ids[i], &id, sizeof id);
    }
    return &slot->request.base;
}

static void check_append(void *ctx, unsigned number, struct bytes response)
{
    (void)number;
    struct appender *appender = ctx;
    Argon__Wal__V1__AppendResponse *answer = argon__wal__v1__append_response__unpack(NULL, response.len, response.data);
    for (size_t i = 0; answer && i < answer->n_results; i++)
        if (answer->results[i]->code) {
            fprintf(stderr, "append: %s\n", answer->results[i]->message);
            exit(1);
        }
    if (!answer || answer->n_results != appender->n_batches)
        exit(1);
    __atomic_store_n(&appender->head, answer->commit_lsn, __ATOMIC_RELAXED);
    argon__wal__v1__append_response__free_unpacked(answer, NULL);
}

static struct appender *new_appender(unsigned batches, unsigned entries)
{
    struct appender *appender = mem_zalloc(sizeof *appender);
    random_id(appender->project);
    /* {b: BinData(0, ...)} */
    uint8_t *document = appender->document;
    random_bytes(document, DOCUMENT_BYTES);
    put_u32(document, DOCUMENT_BYTES);
    memcpy(document + 4, "\5b\0", 3);
    put_u32(document + 7, DOCUMENT_BYTES - 13);
    document[11] = 0;
    document[DOCUMENT_BYTES - 1] = 0;
    appender->n_batches = batches;
    appender->n_entries = entries;
    return appender;
}

static void run_append(int argc, char **argv, struct rpc_client *client)
{
    struct appender *appender =
        new_appender((unsigned)load_number(argc, argv, "--batches", 1), (unsigned)load_number(argc, argv, "--entries", 1));
    struct load load = {
        .client = client,
        .rate = load_number(argc, argv, "--rate", 0),
        .in_flight = (unsigned)load_number(argc, argv, "--in-flight", 1),
        .seconds = load_number(argc, argv, "--seconds", 5),
        .next = next_append,
        .check = check_append,
        .ctx = appender,
    };
    struct load_result result;
    load_run(&load, &result);
    printf("{\"bench\":\"append\",\"in_flight\":%u,\"rate\":%.0f,\"batches\":%u,\"entries\":%u", load.in_flight, load.rate,
           appender->n_batches, appender->n_entries);
    load_print(&result);
    printf(",\"entries_per_second\":%.0f}\n", (double)result.calls * appender->n_batches * appender->n_entries / result.seconds);
}

static void run_read(int argc, char **argv, struct rpc_client *client)
{
    unsigned entries = (unsigned)load_number(argc, argv, "--entries", 100);
    uint64_t total = (uint64_t)load_number(argc, argv, "--total", 500000), appended = 0, read = 0;
    unsigned batches = entries >= 100 ? 16 : 256;
    struct appender *appender = new_appender(batches, entries);
    struct arena arena;
    for (uint64_t n = 0; appended < total; n++) {
        arena_init(&arena, 0);
        const char *method;
        const ProtobufCMessage *append = next_append(appender, 0, n, &method);
        Argon__Wal__V1__AppendResponse *answer = load_call(client, method, append, &argon__wal__v1__append_response__descriptor, &arena);
        for (size_t i = 0; i < answer->n_results; i++)
            if (answer->results[i]->code)
                exit(1);
        appender->head = answer->commit_lsn;
        appended += (uint64_t)batches * entries;
        arena_destroy(&arena);
    }
    Argon__Wal__V1__ReadRequest request = ARGON__WAL__V1__READ_REQUEST__INIT;
    request.project_id = appender->project;
    struct rpc_call_options options = { .deadline = NO_DEADLINE };
    struct rpc_client_stream *stream;
    struct error err = { 0 };
    int64_t began = clock_monotonic_micros();
    ProtobufCMessage *message = NULL;
    bool ok = rpc_client_stream_open(client, "/argon.wal.v1.Wal/Read", &request.base, &argon__wal__v1__read_response__descriptor, &options,
                                     &stream, &err);
    do {
        arena_init(&arena, 0);
        ok = ok && rpc_client_stream_next(stream, &arena, &message, &err);
        const Argon__Wal__V1__ReadResponse *part = ok ? (const void *)message : NULL;
        for (size_t i = 0; part && i < part->n_runs; i++)
            read += part->runs[i]->n_entries;
        arena_destroy(&arena);
    } while (ok && message);
    double seconds = (double)(clock_monotonic_micros() - began) / MICROS_PER_SECOND;
    if (!ok || read != appended) {
        fprintf(stderr, "read: %llu of %llu entries: %s\n", (unsigned long long)read, (unsigned long long)appended, err.message);
        exit(1);
    }
    rpc_client_stream_close(stream);
    printf("{\"bench\":\"read\",\"entries\":%u,\"total\":%llu,\"entries_per_second\":%.0f}\n", entries, (unsigned long long)read,
           (double)read / seconds);
}

static const ProtobufCMessage *next_echo(void *ctx, unsigned slot, uint64_t n, const char **method)
{
    *method = "/bench.Echo/Echo";
    (void)slot;
    (void)n;
    return ctx;
}

static void check_echo(void *ctx, unsigned slot, struct bytes response)
{
    (void)slot;
    if (response.len == protobuf_c_message_get_packed_size(ctx))
        return;
    fprintf(stderr, "echo: not what was sent\n");
    exit(1);
}

static void run_echo(int argc, char **argv, struct rpc_client *client)
{
    char text[397];
    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    Argon__Wal__V1__AppendResult message = ARGON__WAL__V1__APPEND_RESULT__INIT;
    message.message = text;
    struct load load = {
        .client = client,
        .rate = load_number(argc, argv, "--rate", 0),
        .in_flight = (unsigned)load_number(argc, argv, "--in-flight", 1),
        .seconds = load_number(argc, argv, "--seconds", 5),
        .next = next_echo,
        .check = check_echo,
        .ctx = &message,
    };
    struct load_result result;
    load_run(&load, &result);
    printf("{\"bench\":\"%s\",\"in_flight\":%u,\"rate\":%.0f", load_option(argc, argv, "--name", "echo"), load.in_flight, load.rate);
    load_print(&result);
    printf("}\n");
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "", *target = load_option(argc, argv, "--target", "127.0.0.1:7700");
    struct rpc_client *client = load_connect(target);
    if (strcmp(what, "append") == 0)
        run_append(argc, argv, client);
    else if (strcmp(what, "read") == 0)
        run_read(argc, argv, client);
    else if (strcmp(what, "echo") == 0)
        run_echo(argc, argv, client);
    else
        return fprintf(stderr, "usage: bench_wal append|read|echo --target HOST:PORT [OPTIONS]\n"), 2;
    rpc_client_close(client);
    return 0;
}
