/* Would a stream of appends beat unary appends? The bare client for the bare server (echo_server.c): the same messages, each of so
 * many batches of 400 bytes, as unary calls or on one bidirectional stream, so many at a time without an answer.
 *
 *   bench_echo unary|bidi --target HOST:PORT [--in-flight N] [--batches N] [--name NAME] [--seconds S]
 *
 * One completion queue and one thread, for both. Each message is packed anew, and each answer has to be as long as it.
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <grpc/byte_buffer.h>
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <grpc/support/time.h>

#include "argon/wal/v1/wal.pb-c.h"
#include "bench/load.h"
#include "common/base/clock.h"
#include "common/base/memory.h"

enum { BATCH_BYTES = 400, MOST_SAMPLES = 1 << 24 };

struct unary {
    grpc_call *call;
    int64_t started;
    grpc_byte_buffer *sent, *received;
    grpc_metadata_array initial, trailing;
    grpc_status_code status;
    grpc_slice details;
};

static grpc_channel *channel;
static grpc_completion_queue *queue;
static void *method;
static Argon__Wal__V1__AppendResponse message; /* its results stand for batches */
static size_t message_bytes;
static uint32_t *micros;
static size_t samples;

static void check(bool right)
{
    if (right)
        return;
    fprintf(stderr, "bench_echo: a call failed, or its answer is not what was sent\n");
    exit(1);
}

static void make_message(unsigned batches)
{
    static char text[BATCH_BYTES - 5]; /* and 6 bytes of tags and lengths */
    static Argon__Wal__V1__AppendResult result;
    memset(text, 'x', sizeof text - 1);
    argon__wal__v1__append_response__init(&message);
    argon__wal__v1__append_result__init(&result);
    result.message = text;
    message.n_results = batches;
    message.results = mem_alloc(batches * sizeof message.results[0]);
    for (unsigned i = 0; i < batches; i++)
        message.results[i] = &result;
    message_bytes = protobuf_c_message_get_packed_size(&message.base);
    check(message_bytes == (size_t)batches * BATCH_BYTES);
}

static grpc_byte_buffer *pack(void)
{
    grpc_slice slice = grpc_slice_malloc(message_bytes);
    protobuf_c_message_pack(&message.base, GRPC_SLICE_START_PTR(slice));
    grpc_byte_buffer *buffer = grpc_raw_byte_buffer_create(&slice, 1);
    grpc_slice_unref(slice);
    return buffer;
}

static void take(grpc_byte_buffer *answer, int64_t started)
{
    check(answer && grpc_byte_buffer_length(answer) == message_bytes && samples < MOST_SAMPLES);
    micros[samples++] = (uint32_t)(clock_monotonic_micros() - started);
    grpc_byte_buffer_destroy(answer);
}

static void *next_tag(void)
{
    grpc_event event = grpc_completion_queue_next(queue, gpr_inf_future(GPR_CLOCK_REALTIME), NULL);
    check(event.type == GRPC_OP_COMPLETE && event.success);
    return event.tag;
}

static void start_unary(struct unary *unary)
{
    grpc_op ops[6] = {
        { .op = GRPC_OP_SEND_INITIAL_METADATA }, { .op = GRPC_OP_SEND_MESSAGE }, { .op = GRPC_OP_SEND_CLOSE_FROM_CLIENT },
        { .op = GRPC_OP_RECV_INITIAL_METADATA }, { .op = GRPC_OP_RECV_MESSAGE }, { .op = GRPC_OP_RECV_STATUS_ON_CLIENT },
    };
    *unary = (struct unary) { .started = clock_monotonic_micros(), .sent = pack() };
    ops[1].data.send_message.send_message = unary->sent;
    ops[3].data.recv_initial_metadata.recv_initial_metadata = &unary->initial;
    ops[4].data.recv_message.recv_message = &unary->received;
    ops[5].data.recv_status_on_client.trailing_metadata = &unary->trailing;
    ops[5].data.recv_status_on_client.status = &unary->status;
    ops[5].data.recv_status_on_client.status_details = &unary->details;
    grpc_metadata_array_init(&unary->initial);
    grpc_metadata_array_init(&unary->trailing);
    unary->call = grpc_channel_create_registered_call(channel, NULL, GRPC_PROPAGATE_DEFAULTS, queue, method,
                                                      gpr_inf_future(GPR_CLOCK_REALTIME), NULL);
    check(grpc_call_start_batch(unary->call, ops, 6, unary, NULL) == GRPC_CALL_OK);
}

static void run_unary(unsigned in_flight, int64_t end)
{
    struct unary *slots = mem_alloc(in_flight * sizeof *slots);
    unsigned running = in_flight;
    for (unsigned i = 0; i < in_flight; i++)
        start_unary(&slots[i]);
    while (running) {
        struct unary *unary = next_tag();
        check(unary->status == GRPC_STATUS_OK);
        take(unary->received, unary->started);
        grpc_byte_buffer_destroy(unary->sent);
        grpc_slice_unref(unary->details);
        grpc_metadata_array_destroy(&unary->initial);
        grpc_metadata_array_destroy(&unary->trailing);
        grpc_call_unref(unary->call);
        if (clock_monotonic_micros() < end)
            start_unary(unary);
        else
            running--;
    }
    free(slots);
}

/* Sends while it receives: one send and one receive under way, at most in_flight messages without an answer. */
static void run_bidi(unsigned in_flight, int64_t end)
{
    static char opened, sending, receiving;
    grpc_metadata_array initial;
    grpc_byte_buffer *sent = NULL, *received = NULL;
    int64_t *started = mem_alloc(in_flight * sizeof *started); /* answers come in order */
    uint64_t n_sent = 0, n_received = 0;
    bool send_busy = false;
    grpc_op head[2] = { { .op = GRPC_OP_SEND_INITIAL_METADATA }, { .op = GRPC_OP_RECV_INITIAL_METADATA } };
    grpc_op send = { .op = GRPC_OP_SEND_MESSAGE }, receive = { .op = GRPC_OP_RECV_MESSAGE };
    grpc_metadata_array_init(&initial);
    head[1].data.recv_initial_metadata.recv_initial_metadata = &initial;
    receive.data.recv_message.recv_message = &received;
    grpc_call *call = grpc_channel_create_registered_call(channel, NULL, GRPC_PROPAGATE_DEFAULTS, queue, method,
                                                          gpr_inf_future(GPR_CLOCK_REALTIME), NULL);
    check(grpc_call_start_batch(call, head, 2, &opened, NULL) == GRPC_CALL_OK);
    check(grpc_call_start_batch(call, &receive, 1, &receiving, NULL) == GRPC_CALL_OK);
    for (;;) {
        if (!send_busy && n_sent - n_received < in_flight && clock_monotonic_micros() < end) {
            started[n_sent++ % in_flight] = clock_monotonic_micros();
            send.data.send_message.send_message = sent = pack();
            check(grpc_call_start_batch(call, &send, 1, &sending, NULL) == GRPC_CALL_OK);
            send_busy = true;
        }
        if (!send_busy && n_received == n_sent)
            break;
        void *tag = next_tag();
        if (tag == &sending) {
            grpc_byte_buffer_destroy(sent);
            send_busy = false;
        } else if (tag == &receiving) {
            take(received, started[n_received++ % in_flight]);
            check(grpc_call_start_batch(call, &receive, 1, &receiving, NULL) == GRPC_CALL_OK);
        }
    }
    grpc_call_cancel(call, NULL);
    check(grpc_completion_queue_next(queue, gpr_inf_future(GPR_CLOCK_REALTIME), NULL).tag == &receiving);
    grpc_metadata_array_destroy(&initial);
    grpc_call_unref(call);
    free(started);
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "", *target = load_option(argc, argv, "--target", "127.0.0.1:7790");
    unsigned in_flight = (unsigned)load_number(argc, argv, "--in-flight", 1), batches = (unsigned)load_number(argc, argv, "--batches", 1);
    double seconds = load_number(argc, argv, "--seconds", 5);
    bool bidi = strcmp(what, "bidi") == 0;
    if (!bidi && strcmp(what, "unary") != 0)
        return fprintf(stderr, "usage: bench_echo unary|bidi --target HOST:PORT [OPTIONS]\n"), 2;
    make_message(batches);
    micros = mem_alloc(MOST_SAMPLES * sizeof *micros);
    grpc_init();
    grpc_channel_credentials *credentials = grpc_insecure_credentials_create();
    channel = grpc_channel_create(target, credentials, NULL);
    grpc_channel_credentials_release(credentials);
    queue = grpc_completion_queue_create_for_next(NULL);
    method = grpc_channel_register_call(channel, bidi ? "/bench.Echo/Stream" : "/bench.Echo/Echo", NULL, NULL);
    int64_t began = clock_monotonic_micros(), end = began + (int64_t)(seconds * MICROS_PER_SECOND);
    if (bidi)
        run_bidi(in_flight, end);
    else
        run_unary(in_flight, end);
    struct load_result result = { .calls = samples, .seconds = (double)(clock_monotonic_micros() - began) / MICROS_PER_SECOND };
    load_percentiles(micros, samples, &result);
    printf("{\"bench\":\"%s_%s\",\"in_flight\":%u,\"batches\":%u", load_option(argc, argv, "--name", "echo"), what, in_flight, batches);
    load_print(&result);
    printf(",\"batches_per_second\":%.0f}\n", (double)result.calls * batches / result.seconds);
    grpc_channel_destroy(channel);
    free(micros);
    free(message.results);
    return 0;
}
