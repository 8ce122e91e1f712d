/* What gRPC alone can do here: answers each message with its own bytes, in a unary call or on a bidirectional stream.
 *
 * One completion queue, one thread, registered methods, requests posted ahead. With --sync FILE the messages that have
 * gathered are answered together, after their bytes were written into the prepared file with one fdatasync: what
 * durable appends are compared with. The echo thread does that itself, so a group is what came while the last synced.
 *
 *   bench_echo_server PORT [--sync FILE]
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <fcntl.h>
#include <grpc/byte_buffer.h>
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <grpc/support/time.h>
#include <unistd.h>

enum { POSTED = 128, POSTED_STREAMS = 4, GROUP_BYTES = 4 << 20, FILE_BYTES = 64 << 20 };

/* What the completion queue gives back. */
struct tag {
    void (*done)(void *owner, bool ok);
    void *owner;
};

struct echo {
    struct tag tag;
    struct echo *next; /* waits for the sync */
    grpc_call *call;
    gpr_timespec deadline;
    grpc_metadata_array metadata;
    grpc_byte_buffer *message;
    int cancelled;
};

/* A stream receives while it sends. It is freed with its last tag. */
struct stream {
    struct tag arrived, received, sent, ended;
    unsigned tags;       /* under way */
    struct stream *next; /* waits for the sync */
    bool waits;
    grpc_call *call;
    gpr_timespec deadline;
    grpc_metadata_array metadata;
    grpc_byte_buffer *message;
    grpc_byte_buffer **queue; /* a ring: what was received and is not sent yet; the one at `first` is being sent */
    size_t first, n, capacity;
    size_t ready; /* of n: may be sent */
    bool sending, half_closed;
    int cancelled;
};

static grpc_server *server;
static grpc_completion_queue *queue;
static void *unary, *bidi;
/* What waits for the sync, and its bytes. */
static struct echo *waiting;
static struct stream *waiting_streams;
static size_t gathered;
static int fd = -1;

static void check(grpc_call_error result)
{
    if (result != GRPC_CALL_OK)
        abort();
}

static void gather(const grpc_byte_buffer *message)
{
    size_t more = gathered + grpc_byte_buffer_length((grpc_byte_buffer *)message);
    gathered = more < GROUP_BYTES ? more : GROUP_BYTES;
}

static void *zalloc(size_t size)
{
    void *memory = calloc(1, size);
    if (!memory)
        abort();
    return memory;
}

/* ---- unary ------------------------------------------------------------------------------------------ */

static void end(void *owner, bool ok)
{
    struct echo *echo = owner;
    (void)ok;
    grpc_call_unref(echo->call);
    grpc_metadata_array_destroy(&echo->metadata);
    grpc_byte_buffer_destroy(echo->message);
    free(echo);
}

static void answer(struct echo *echo)
{
    grpc_op ops[4] = {
        { .op = GRPC_OP_RECV_CLOSE_ON_SERVER },
        { .op = GRPC_OP_SEND_INITIAL_METADATA },
        { .op = GRPC_OP_SEND_MESSAGE },
        { .op = GRPC_OP_SEND_STATUS_FROM_SERVER },
    };
    ops[0].data.recv_close_on_server.cancelled = &echo->cancelled;
    ops[2].data.send_message.send_message = echo->message;
    ops[3].data.send_status_from_server.status = GRPC_STATUS_OK;
    echo->tag.done = end;
    check(grpc_call_start_batch(echo->call, ops, 4, &echo->tag, NULL));
}

static void post(void);

static void arrived(void *owner, bool ok)
{
    struct echo *echo = owner;
    if (!ok)
        abort();
    post();
    if (fd < 0) {
        answer(echo);
        return;
    }
    echo->next = waiting;
    waiting = echo;
    gather(echo->message);
}

static void post(void)
{
    struct echo *echo = zalloc(sizeof *echo);
    grpc_metadata_array_init(&echo->metadata);
    echo->tag = (struct tag) { arrived, echo };
    check(grpc_server_request_registered_call(server, unary, &echo->call, &echo->deadline, &echo->metadata, &echo->message, queue, queue,
                                              &echo->tag));
}

/* ---- streams ---------------------------------------------------------------------------------------- */

static void start(struct stream *stream, const grpc_op *ops, size_t n, struct tag *tag)
{
    stream->tags++;
    check(grpc_call_start_batch(stream->call, ops, n, tag, NULL));
}

/* At the end of each tag. */
static void release(struct stream *stream)
{
    if (--stream->tags)
        return;
    while (stream->n--)
        grpc_byte_buffer_destroy(stream->queue[stream->first++ % stream->capacity]);
    grpc_call_unref(stream->call);
    grpc_metadata_array_destroy(&stream->metadata);
    free(stream->queue);
    free(stream);
}

static void receive(struct stream *stream)
{
    grpc_op op = { .op = GRPC_OP_RECV_MESSAGE };
    op.data.recv_message.recv_message = &stream->message;
    start(stream, &op, 1, &stream->received);
}

static void send_next(struct stream *stream)
{
    grpc_op op = { .op = GRPC_OP_SEND_MESSAGE };
    if (stream->sending)
        return;
    if (stream->ready) {
        op.data.send_message.send_message = stream->queue[stream->first];
    } else if (stream->half_closed && !stream->n) {
        op = (grpc_op) { .op = GRPC_OP_SEND_STATUS_FROM_SERVER };
        op.data.send_status_from_server.status = GRPC_STATUS_OK;
    } else {
        return;
    }
    stream->sending = true;
    start(stream, &op, 1, &stream->sent);
}

static void push(struct stream *stream, grpc_byte_buffer *message)
{
    if (stream->n == stream->capacity) {
        size_t capacity = stream->capacity ? 2 * stream->capacity : 64;
        grpc_byte_buffer **wider = zalloc(capacity * sizeof *wider);
        for (size_t i = 0; i < stream->n; i++)
            wider[i] = stream->queue[(stream->first + i) % stream->capacity];
        free(stream->queue);
        stream->queue = wider;
        stream->first = 0;
        stream->capacity = capacity;
    }
    stream->queue[(stream->first + stream->n++) % stream->capacity] = message;
}

static void on_received(void *owner, bool ok)
{
    struct stream *stream = owner;
    if (ok && stream->message) {
        push(stream, stream->message);
        if (fd < 0) {
            stream->ready++;
        } else {
            gather(stream->message);
            if (!stream->waits) {
                stream->waits = true;
                stream->tags++; /* until the sync */
                stream->next = waiting_streams;
                waiting_streams = stream;
            }
        }
        receive(stream);
    } else {
        stream->half_closed = true;
    }
    send_next(stream);
    release(stream);
}

static void on_sent(void *owner, bool ok)
{
    struct stream *stream = owner;
    if (stream->ready) {
        grpc_byte_buffer_destroy(stream->queue[stream->first]);
        stream->first = (stream->first + 1) % stream->capacity;
        stream->n--;
        stream->ready--;
        stream->sending = !ok; /* a stream that is broken sends no more */
        send_next(stream);
    }
    release(stream);
}

static void on_ended(void *owner, bool ok)
{
    (void)ok;
    release(owner);
}

static void post_stream(void);

static void on_arrived(void *owner, bool ok)
{
    struct stream *stream = owner;
    grpc_op head = { .op = GRPC_OP_SEND_INITIAL_METADATA }, closed = { .op = GRPC_OP_RECV_CLOSE_ON_SERVER };
    if (!ok)
        abort();
    post_stream();
    closed.data.recv_close_on_server.cancelled = &stream->cancelled;
    start(stream, &head, 1, &stream->ended);
    start(stream, &closed, 1, &stream->ended);
    receive(stream);
    release(stream);
}

static void post_stream(void)
{
    struct stream *stream = zalloc(sizeof *stream);
    stream->arrived = (struct tag) { on_arrived, stream };
    stream->received = (struct tag) { on_received, stream };
    stream->sent = (struct tag) { on_sent, stream };
    stream->ended = (struct tag) { on_ended, stream };
    stream->tags = 1;
    grpc_metadata_array_init(&stream->metadata);
    check(grpc_server_request_registered_call(server, bidi, &stream->call, &stream->deadline, &stream->metadata, NULL, queue, queue,
                                              &stream->arrived));
}

/* ---- the process ------------------------------------------------------------------------------------ */

static void prepare(const char *path)
{
    static char zeros[1 << 20];
    fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    for (int i = 0; fd >= 0 && i < FILE_BYTES / (int)sizeof zeros; i++)
        if (write(fd, zeros, sizeof zeros) != (ssize_t)sizeof zeros)
            abort();
    if (fd < 0 || fsync(fd) != 0)
        abort();
}

/* All that is ready goes into one group; a group is synced when nothing more is ready. */
static void serve(void)
{
    static char bytes[GROUP_BYTES];
    off_t at = 0;
    for (;;) {
        gpr_timespec until = waiting || waiting_streams ? gpr_time_0(GPR_CLOCK_REALTIME) : gpr_inf_future(GPR_CLOCK_REALTIME);
        grpc_event event = grpc_completion_queue_next(queue, until, NULL);
        if (event.type == GRPC_QUEUE_TIMEOUT) {
            at = at + (off_t)gathered > FILE_BYTES ? 0 : at;
            if (pwrite(fd, bytes, gathered, at) != (ssize_t)gathered || fdatasync(fd) != 0)
                abort();
            at += (off_t)gathered;
            gathered = 0;
            while (waiting) {
                struct echo *echo = waiting;
                waiting = echo->next;
                answer(echo);
            }
            while (waiting_streams) {
                struct stream *stream = waiting_streams;
                waiting_streams = stream->next;
                stream->waits = false;
                stream->ready = stream->n;
                send_next(stream);
                release(stream);
            }
            continue;
        }
        if (event.type != GRPC_OP_COMPLETE)
            return;
        struct tag *tag = event.tag;
        tag->done(tag->owner, event.success);
    }
}

int main(int argc, char **argv)
{
    char address[64];
    bool sync = argc == 4 && strcmp(argv[2], "--sync") == 0;
    if (argc != 2 && !sync)
        return fprintf(stderr, "usage: bench_echo_server PORT [--sync FILE]\n"), 2;
    snprintf(address, sizeof address, "127.0.0.1:%s", argv[1]);
    if (sync)
        prepare(argv[3]);
    grpc_init();
    server = grpc_server_create(NULL, NULL);
    queue = grpc_completion_queue_create_for_next(NULL);
    grpc_server_register_completion_queue(server, queue, NULL);
    unary = grpc_server_register_method(server, "/bench.Echo/Echo", NULL, GRPC_SRM_PAYLOAD_READ_INITIAL_BYTE_BUFFER, 0);
    bidi = grpc_server_register_method(server, "/bench.Echo/Stream", NULL, GRPC_SRM_PAYLOAD_NONE, 0);
    grpc_server_credentials *credentials = grpc_insecure_server_credentials_create();
    if (!grpc_server_add_http2_port(server, address, credentials))
        return fprintf(stderr, "cannot listen on %s\n", address), 1;
    grpc_server_credentials_release(credentials);
    grpc_server_start(server);
    for (int i = 0; i < POSTED; i++)
        post();
    for (int i = 0; i < POSTED_STREAMS; i++)
        post_stream();
    printf("ready\n");
    fflush(stdout);
    serve();
    return 0;
}
