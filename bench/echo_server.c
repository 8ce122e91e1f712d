/* What gRPC alone can do here: answers each unary call with its own bytes.
 *
 * One completion queue, one thread, one registered method, requests posted ahead. With --sync FILE the calls that have
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

enum { POSTED = 128, MESSAGE = 400, FILE_BYTES = 64 << 20 };

struct echo {
    struct echo *next; /* waits for the sync */
    grpc_call *call;
    gpr_timespec deadline;
    grpc_metadata_array metadata;
    grpc_byte_buffer *message;
    bool answered;
    int cancelled;
};

static grpc_server *server;
static grpc_completion_queue *queue;
static void *method;

static void post(void)
{
    struct echo *echo = calloc(1, sizeof *echo);
    grpc_metadata_array_init(&echo->metadata);
    if (!echo || grpc_server_request_registered_call(server, method, &echo->call, &echo->deadline, &echo->metadata, &echo->message, queue,
                                                     queue, echo) != GRPC_CALL_OK)
        abort();
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
    echo->answered = true;
    if (grpc_call_start_batch(echo->call, ops, 4, echo, NULL) != GRPC_CALL_OK)
        abort();
}

static void end(struct echo *echo)
{
    grpc_call_unref(echo->call);
    grpc_metadata_array_destroy(&echo->metadata);
    grpc_byte_buffer_destroy(echo->message);
    free(echo);
}

static int prepare(const char *path)
{
    static char zeros[1 << 20];
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    for (int i = 0; fd >= 0 && i < FILE_BYTES / (int)sizeof zeros; i++)
        if (write(fd, zeros, sizeof zeros) != (ssize_t)sizeof zeros)
            abort();
    if (fd < 0 || fsync(fd) != 0)
        abort();
    return fd;
}

/* All that is ready goes into one group; a group is synced when nothing more is ready. */
static void serve(int fd)
{
    static char bytes[1 << 20];
    struct echo *waiting = NULL;
    size_t gathered = 0;
    off_t at = 0;
    for (;;) {
        gpr_timespec until = waiting ? gpr_time_0(GPR_CLOCK_REALTIME) : gpr_inf_future(GPR_CLOCK_REALTIME);
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
            continue;
        }
        struct echo *echo = event.tag;
        if (event.type != GRPC_OP_COMPLETE)
            return;
        if (echo->answered) {
            end(echo);
            continue;
        }
        post();
        if (fd < 0) {
            answer(echo);
            continue;
        }
        echo->next = waiting;
        waiting = echo;
        gathered = gathered + MESSAGE > sizeof bytes ? gathered : gathered + MESSAGE;
    }
}

int main(int argc, char **argv)
{
    char address[64];
    bool sync = argc == 4 && strcmp(argv[2], "--sync") == 0;
    if (argc != 2 && !sync)
        return fprintf(stderr, "usage: bench_echo_server PORT [--sync FILE]\n"), 2;
    snprintf(address, sizeof address, "127.0.0.1:%s", argv[1]);
    int fd = sync ? prepare(argv[3]) : -1;
    grpc_init();
    server = grpc_server_create(NULL, NULL);
    queue = grpc_completion_queue_create_for_next(NULL);
    grpc_server_register_completion_queue(server, queue, NULL);
    method = grpc_server_register_method(server, "/bench.Echo/Echo", NULL, GRPC_SRM_PAYLOAD_READ_INITIAL_BYTE_BUFFER, 0);
    grpc_server_credentials *credentials = grpc_insecure_server_credentials_create();
    if (!grpc_server_add_http2_port(server, address, credentials))
        return fprintf(stderr, "cannot listen on %s\n", address), 1;
    grpc_server_credentials_release(credentials);
    grpc_server_start(server);
    for (int i = 0; i < POSTED; i++)
        post();
    printf("ready\n");
    fflush(stdout);
    serve(fd);
    return 0;
}
