/* What the files of common/rpc share: tags, calls, the server, codec and status mapping.
 *
 * A tag is what a completion queue hands back: one function, run on the thread that polls the queue. A tag
 * lies inside the object that it belongs to and is outstanding at most once.
 *
 * Lock ranks  all leaves, taken by the functions of this layer only and never while one of them is held:
 *             workers 900, server 905, health 910, call 920, client call 930, client stream 935.
 */
#ifndef ARGON_RPC_RPC_INTERNAL_H
#define ARGON_RPC_RPC_INTERNAL_H

#include <grpc/byte_buffer.h>
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <grpc/slice.h>
#include <stdatomic.h>

#include "common/base/metrics.h"
#include "common/base/sync.h"
#include "common/base/trace.h"
#include "common/rpc/rpc.h"

enum {
    RANK_RPC_WORKERS = 900,
    RANK_RPC_SERVER = 905,
    RANK_RPC_HEALTH = 910,
    RANK_RPC_CALL = 920,
    RANK_RPC_CLIENT_CALL = 930,
    RANK_RPC_CLIENT_STREAM = 935,
};

#define CONTAINER_OF(pointer, type, member) ((type *)((char *)(pointer)-offsetof(type, member)))

struct rpc_tag {
    _Atomic(void (*)(struct rpc_tag *tag, bool ok)) done;
};

/* Before each batch: whatever was written until here is seen by `done`. The queue itself guarantees that
 * too, but where no tool can check it. */
static inline void tag_arm(struct rpc_tag *tag, void (*done)(struct rpc_tag *tag, bool ok))
{
    atomic_store_explicit(&tag->done, done, memory_order_release);
}

static inline void tag_run(grpc_event event)
{
    struct rpc_tag *tag = event.tag;
    atomic_load_explicit(&tag->done, memory_order_acquire)(tag, event.success != 0);
}

/* ---- codec ------------------------------------------------------------------------------------------ */

/* The encoded message in one slice; the caller unrefs it. RESOURCE_EXHAUSTED when there is no memory. */
CHECKED bool codec_pack(const ProtobufCMessage *message, grpc_slice *slice, struct error *err);
CHECKED bool codec_join(const struct bytes *parts, size_t n, grpc_slice *slice, struct error *err);
/* Takes the slice. */
grpc_byte_buffer *codec_buffer_take(grpc_slice slice);

/* The bytes of a buffer in one piece: without a copy when it has one slice. */
struct codec_view {
    struct bytes bytes;
    void *copy;
};
CHECKED bool codec_view_open(grpc_byte_buffer *buffer, struct codec_view *view, struct error *err);
void codec_view_close(struct codec_view *view);

/* Takes the buffer; the message lives in the arena and does not refer to it. INVALID_ARGUMENT: not such a message;
 * RESOURCE_EXHAUSTED: the arena is at its limit. */
CHECKED bool codec_unpack_take(grpc_byte_buffer *buffer, const ProtobufCMessageDescriptor *type, struct arena *arena,
                               ProtobufCMessage **message, struct error *err);

/* The bytes of the next field of an encoded message; empty for one that is not length-delimited. False: no more, or
 * malformed. */
bool codec_next_field(struct bytes *in, uint32_t *number, struct bytes *content);

/* ---- status, metadata, time ------------------------------------------------------------------------- */

/* outcome from the trailers, which may be NULL. Returns false. */
bool status_to_error(grpc_status_code status, grpc_slice details, const grpc_metadata_array *trailers, struct error *err);
const grpc_metadata *metadata_find(const grpc_metadata_array *metadata, const char *key);
/* Copies both; bytes that a header cannot carry become '?'. */
grpc_metadata metadata_copy(const char *key, const char *value);
void metadata_release(grpc_metadata *metadata, size_t n);

/* rpc_details.c: what a status says to programs. */
grpc_metadata details_encode(enum error_code code, const struct error *err);
void details_read(const grpc_metadata_array *trailers, struct error *err); /* reason, number and keys */

gpr_timespec deadline_to_timespec(int64_t deadline);
int64_t deadline_from_timespec(gpr_timespec deadline);

/* While set, what gRPC reports on this thread goes here instead of the log. */
void grpc_messages_capture(char *text, size_t size);
void grpc_messages_release(void);

/* ---- server ----------------------------------------------------------------------------------------- */

struct method_slot {
    const struct rpc_method *method;
    const ProtobufCMessageDescriptor *request_type;
    void *context;
    void *handle; /* what gRPC knows the method by */
    char *path;   /* "/package.Service/Method" */
    bool exempt;  /* from the limits and from draining: health */
    bool reads;   /* its requests are read by rpc_reads.c */
    struct method_metrics *metrics;
};

enum { N_STATUS_CODES = 17 };
struct method_metrics {
    struct metric_counter handled[N_STATUS_CODES];
    struct histogram duration; /* from the arrival to the end */
};

/* What a call that is driven by the poller wants to hear; all run on the poller. */
struct call_events {
    void (*poked)(struct rpc_call *call);
    void (*sent)(struct rpc_call *call, bool ok);
    void (*closed)(struct rpc_call *call); /* the client is gone; also runs after the call has ended */
    void (*freed)(void *ctx);
};

/* Life of a call:
 *
 *   POSTED --arrived--> RUNNING --reply, fail, finish--> ENDED --no message in flight--> FINISHING --> freed
 *
 * Each outstanding tag holds a reference, and so does the handler until it ends the call; the last one to
 * go frees the call, always on the poller. Batches are started by the poller, with three exceptions that gRPC
 * allows: the empty batch by which a thread wakes the poller, the watch for the close of a call that is deferred
 * to a worker, and the messages of a stream, which its worker sends while nobody else sends.
 *
 * An answer costs two events, the call's arrival and its end, and a share of the one by which a group of answers
 * wakes the poller; who watches for the close pays one more. */
struct rpc_call {
    struct rpc_server *server;
    const struct method_slot *slot; /* NULL: a method that nobody registered */
    atomic_int references;
    struct rpc_tag arrived, woken, poked, sent, closed, finished, paused;

    grpc_call *call;
    grpc_call_details details; /* of an unregistered method */
    gpr_timespec grpc_deadline;
    grpc_metadata_array metadata;
    grpc_byte_buffer *payload;

    int64_t deadline;
    int64_t arrived_at;
    struct trace trace;
    bool admitted;
    size_t charged; /* to the byte budget */
    struct arena arena;
    ProtobufCMessage *request;
    struct rpc_call *next; /* in the workers' queue, or among the ended */

    /* the answer: written by the thread that ends the call, read by the poller once `ended` is seen */
    enum error_code status;
    grpc_slice status_text;
    grpc_byte_buffer *response;
    grpc_metadata *trailers;
    size_t n_trailers;
    struct error broken;      /* why a send failed, so that no cut stream ends in OK */
    rpc_handler_fn *deferred; /* what a worker runs instead of the method's handler */
    bool initial_sent;
    atomic_bool ended;

    bool close_requested; /* whoever has the call; then the poller */
    bool end_seen;        /* the poller only, from here */
    bool finishing;
    int close_cancelled; /* written by gRPC */
    atomic_bool cancelled;

    bool is_stream;
    bool is_bidi;
    struct mutex lock; /* rank 920; the rest is under it, and for streams only */
    struct condition changed;
    bool sending;
    grpc_byte_buffer *message;     /* in flight while sending */
    _Atomic int64_t sending_since; /* in a step stream, for the poller, which cuts it off; 0: not, or done already */
    bool stopped;                  /* ended by the server's stopping, not by its client */

    bool receiving; /* bidirectional */
    bool no_more;   /* the client has sent its last, or is gone */
    grpc_byte_buffer *incoming;
    grpc_byte_buffer *target; /* gRPC's, while receiving */
    struct rpc_tag received;

    struct {
        rpc_step_fn *run; /* NULL: its handler holds a thread */
        void (*freed)(void *ctx);
        void *ctx;
        bool busy;    /* queued or running; else it is parked, or waits for its message to be taken */
        bool want;    /* to run as soon as it is neither busy nor sending */
        bool later;   /* wants to when the pauses end */
        bool telling; /* the poller of that */
    } steps;
    struct rpc_call *other, **link; /* among the server's parkable streams, under the server's lock; or in a list of reads */
    int64_t waits_since;            /* in a list of reads */

    const struct call_events *events;
    void *events_ctx;
};

/* Calls whose handler has not got its large request yet (rpc_reads.c); the poller's. */
struct reads {
    struct rpc_call *waiting, *waiting_large, *reading, *read;
    size_t held; /* charged to those that are reading or read */
    int64_t now; /* of the last tick */
};

struct worker_pool {
    struct mutex lock; /* rank 900 */
    struct condition work;
    struct call_queue {
        struct rpc_call *first, **last;
    } unary, streams;
    size_t streams_running;
    size_t waiting;     /* calls in both queues */
    size_t busy;        /* threads that have a call */
    size_t max_streams; /* below the number of threads, so that slow readers never occupy all of them */
    bool stopping;
    pthread_t *threads;
    size_t n_threads;
};

struct health;
struct reflection;

struct rpc_server {
    struct rpc_server_options options;
    char *listen;
    int port;
    struct method_slot *slots;
    size_t n_slots;
    struct method_metrics unknown; /* methods that nobody registered */
    struct health *health;
    struct reflection *reflection; /* NULL: none */

    grpc_server *server;
    grpc_completion_queue *queue;
    grpc_completion_queue *shutdown_queue;
    pthread_t poller;
    int64_t pauses_end; /* the poller's; NO_DEADLINE: nobody pauses */
    bool started;
    bool drained;
    struct worker_pool workers;

    atomic_bool draining;
    atomic_size_t live;               /* rpc_call objects, posted ones too */
    atomic_size_t calls;              /* admitted and not yet freed */
    atomic_size_t bytes;              /* charged */
    _Atomic(struct rpc_call *) ended; /* by other threads, newest first; while it is not empty the poller has an event for it */
    struct mutex lock;                /* rank 905; `emptied` is signalled while draining whenever a counter falls */
    struct condition emptied;
    struct reads reads;
    struct rpc_call *parkable; /* streams that may wait for something other than a reader; under lock */
};

/* rpc_server.c */
bool server_charge(struct rpc_server *server, size_t bytes);
void server_uncharge(struct rpc_server *server, size_t bytes);
void server_call_freed(struct rpc_server *server, bool admitted);
CHECKED bool server_add_slots(struct rpc_server *server, const ProtobufCServiceDescriptor *service, const struct rpc_method *methods,
                              size_t n_methods, void *context, bool exempt, struct error *err);

/* rpc_call.c */
bool call_post(struct rpc_server *server, const struct method_slot *slot); /* waits for one call of the method */
bool call_unpack(struct rpc_call *call, struct error *err);
void call_watch_close(struct rpc_call *call); /* whoever has the call; once */
void call_poke(struct rpc_call *call);        /* any thread that knows the call to live; not again before events->poked */
void call_ref(struct rpc_call *call);
void call_unref(struct rpc_call *call);            /* poller, workers, drain: all end before the server does */
void call_finish_when_idle(struct rpc_call *call); /* poller */
void call_poller_enter(struct rpc_server *server);
void call_arrived(struct rpc_call *call);  /* rpc_server.c: decides what becomes of a new call */
void call_dispatch(struct rpc_call *call); /* rpc_server.c: to its handler, with the request if it has one */

/* rpc_metrics.c: counts a call that ends, and logs a slow one; poller */
void call_measure(struct rpc_call *call);

/* rpc_reads.c; the poller only */
void reads_enter(struct rpc_call *call);     /* an admitted call whose request is still to be read */
void reads_go_on(struct rpc_server *server); /* memory may have been given back */
void reads_tick(struct rpc_server *server);

/* rpc_stream.c */
/* Poller, when nothing is being sent; takes the slice; events->sent follows. */
void call_send_async_take(struct rpc_call *call, grpc_slice encoded);
void stream_over(struct rpc_call *call); /* after `cancelled` was set */
bool stream_is_stopped(struct rpc_call *call);
void stream_step(struct rpc_call *call);             /* worker */
void streams_stop_parked(struct rpc_server *server); /* once, after `draining` was set */
void streams_end_pauses(struct rpc_server *server);  /* poller */
void streams_cut_stalled(struct rpc_server *server); /* poller */

/* rpc_workers.c */
void workers_start(struct worker_pool *pool, size_t n_threads);
void workers_push(struct worker_pool *pool, struct rpc_call *call);
void workers_stop(struct worker_pool *pool);

/* health.c */
CHECKED bool health_add_to(struct rpc_server *server, struct error *err);
void health_set(struct health *health, const char *service, bool serving);
void health_set_all(struct health *health, bool serving);
bool health_is_serving(struct health *health, const char *service);
void health_drain(struct health *health);       /* NOT_SERVING everywhere from now on */
void health_end_watches(struct health *health); /* ends the streams */
void health_free(struct health *health);

/* reflection.c: adds grpc.reflection.v1 and v1alpha for options.reflection, which must be there. */
CHECKED bool reflection_add_to(struct rpc_server *server, struct error *err);
void reflection_free(struct reflection *reflection); /* NULL is fine */

/* ---- client ----------------------------------------------------------------------------------------- */

/* rpc_target.c; the caller frees the target. INVALID_ARGUMENT, or UNAVAILABLE when a name has no address. */
CHECKED bool target_resolve(const char *given, char **target, struct error *err);

struct rpc_client {
    char *target;
    char *name; /* or NULL */
    grpc_channel *channel;
    grpc_completion_queue *queue;
    pthread_t thread;
    atomic_size_t calls; /* calls and streams that have not ended */
};

/* What is sent at the start of a call, and the answer's frame; shared by unary calls and streams. */
struct client_exchange {
    struct rpc_client *client;
    grpc_call *call;
    int64_t deadline;
    grpc_metadata *metadata;
    size_t n_metadata;
    grpc_byte_buffer *request;
    grpc_metadata_array initial, trailing;
    grpc_status_code status;
    grpc_slice details;
    bool never_sent; /* nothing of the call reached a connection */
};

/* Takes `encoded`. */
void exchange_init_take(struct client_exchange *exchange, struct rpc_client *client, const char *method, grpc_slice encoded,
                        const struct rpc_call_options *options);
void exchange_destroy(struct client_exchange *exchange);
grpc_op exchange_headers_op(struct client_exchange *exchange, bool wait_for_ready);
size_t exchange_request_ops(struct client_exchange *exchange, grpc_op *ops); /* the rest of the start, into ops[3] */
grpc_op exchange_status_op(struct client_exchange *exchange);
/* False when the status is not OK; err is not NULL. */
bool exchange_result(struct client_exchange *exchange, struct error *err);

#endif
