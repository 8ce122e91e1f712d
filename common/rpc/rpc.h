/* RPC over gRPC C core and protobuf-c: the only place that sees grpc.h.
 *
 * Server. Methods come in one table a service. A handler converts messages and calls one service function.
 * Blocking work never runs on the poller: RPC_WORKER handlers run on a bounded pool, RPC_INLINE handlers run
 * on the poller, must not block, and may end the call later from any thread.
 *
 * A call is ended exactly once, by rpc_reply, rpc_fail or (streams) rpc_finish; after that the handler must
 * not touch it. The request and everything from rpc_call_arena live until then. Ending a call that the
 * client has given up is fine. A deadline does not stop a handler: long work asks rpc_call_cancelled. An inline
 * handler's call learns of its deadline only; of its client's going from when it is deferred to a worker.
 *
 * Ownership  messages passed in are borrowed and packed before the function returns.
 * Threads    a call belongs to one thread at a time; servers and clients to any.
 */
#ifndef ARGON_RPC_RPC_H
#define ARGON_RPC_RPC_H

#include <protobuf-c/protobuf-c.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/bytes.h"
#include "common/base/error.h"
#include "common/base/metrics.h"

/* Trailer of a status after which the write was definitely not applied; see error_outcome. */
#define RPC_OUTCOME_TRAILER     "argon-outcome"
#define RPC_OUTCOME_NOT_APPLIED "not-applied"

/* Header of a request over 64 KiB, by which it lets small ones pass when the server is short of memory. Who does not
 * send it is not wrong: the server sees the size itself, only later. */
#define RPC_LARGE_HEADER "argon-large"
enum { RPC_SMALL_REQUEST = 64 * 1024 };

void rpc_init(void); /* once, before threads; blocks the signals that rpc_wait_for_signal takes, ignores SIGPIPE */
void rpc_shutdown(void);

/* ---- server --------------------------------------------------------------------------------------- */

struct rpc_server;
struct rpc_call;

/* The header by which a call tells its trace; it is passed on with the calls that are made for it. */
#define RPC_TRACE_HEADER "traceparent"

enum rpc_kind { RPC_KIND_UNARY, RPC_KIND_SERVER_STREAM, RPC_KIND_BIDI_STREAM };
enum rpc_dispatch { RPC_DISPATCH_WORKER, RPC_DISPATCH_INLINE };

typedef void rpc_handler_fn(void *service, struct rpc_call *call, const ProtobufCMessage *request);

struct rpc_method {
    const char *name; /* as in the service descriptor: "Append" */
    enum rpc_kind kind;
    enum rpc_dispatch dispatch;
    rpc_handler_fn *handle;
    /* Unary: requests of tens of mebibytes are usual, so they are read as there is memory for them, which costs each
     * call an event more. Those of other methods are read as they come, and refused when they do not fit. */
    bool large;
};

#define RPC_UNARY(n, h)                                                                                                                    \
    {                                                                                                                                      \
        (n), RPC_KIND_UNARY, RPC_DISPATCH_WORKER, (h), false                                                                               \
    }
#define RPC_UNARY_INLINE(n, h)                                                                                                             \
    {                                                                                                                                      \
        (n), RPC_KIND_UNARY, RPC_DISPATCH_INLINE, (h), false                                                                               \
    }
#define RPC_LARGE_UNARY(n, h)                                                                                                              \
    {                                                                                                                                      \
        (n), RPC_KIND_UNARY, RPC_DISPATCH_WORKER, (h), true                                                                                \
    }
#define RPC_LARGE_UNARY_INLINE(n, h)                                                                                                       \
    {                                                                                                                                      \
        (n), RPC_KIND_UNARY, RPC_DISPATCH_INLINE, (h), true                                                                                \
    }
#define RPC_STREAM(n, h)                                                                                                                   \
    {                                                                                                                                      \
        (n), RPC_KIND_SERVER_STREAM, RPC_DISPATCH_WORKER, (h), false                                                                       \
    }

#define RPC_BIDI(n, h)                                                                                                                     \
    {                                                                                                                                      \
        (n), RPC_KIND_BIDI_STREAM, RPC_DISPATCH_WORKER, (h), false                                                                         \
    }

/* A large request of n bytes takes so many times that, with its unpacked form and what its handler makes of it; the
 * budget has room for that, for reading another one, and for one that arrives. */
enum { RPC_REQUEST_COPIES = 4, RPC_LARGEST_REQUESTS = RPC_REQUEST_COPIES + 2 };

struct rpc_server_options {
    const char *listen;          /* "127.0.0.1:7700"; port 0: any free one */
    size_t max_message_bytes;    /* received; larger ones end in RESOURCE_EXHAUSTED */
    size_t max_calls;            /* in flight; one more is RESOURCE_EXHAUSTED, not applied */
    size_t max_request_bytes;    /* of all requests in flight, the budget of the process: RPC_LARGEST_REQUESTS at least */
    int64_t request_wait_micros; /* a large request waits so long for its share of that, then is refused; 0: for ever */
    size_t worker_threads;
    const struct meter *meter; /* of what handlers hold; NULL: nobody counts it */
    int64_t stall_micros;      /* a stream whose reader takes no message for so long is cut off; 0: never */
    /* A connection is asked to go after about so long, so that clients find new replicas; its streams get
     * grace, then end in UNAVAILABLE. 0: never, of either. */
    int64_t connection_age_micros;
    int64_t connection_grace_micros;
    int64_t keepalive_micros;                /* a silent connection is pinged after so long, and lost 20 s later; 0: never */
    size_t max_connection_streams;           /* calls at a time on one connection; the client holds back more. 0: bounded by max_calls */
    const struct rpc_reflection *reflection; /* NULL: none */
};

/* The schema that grpc.reflection.v1 and v1alpha serve: a FileDescriptorSet as protoc --descriptor_set_out
 * --include_imports writes it; borrowed for the server's life. rpc_server_new: INVALID_ARGUMENT when it is not one.
 * A stream of it holds a worker, so that few are open at a time (reflection.c); one more is RESOURCE_EXHAUSTED. */
struct rpc_reflection {
    const uint8_t *descriptor_set;
    size_t len;
};

CHECKED bool rpc_server_new(const struct rpc_server_options *options, struct rpc_server **server, struct error *err);
/* Every method of the descriptor must have a row. The tables are borrowed for the server's life. Before start. */
CHECKED bool rpc_server_add(struct rpc_server *server, const ProtobufCServiceDescriptor *service, const struct rpc_method *methods,
                            size_t n_methods, void *context, struct error *err);
/* Binds, adds grpc.health.v1, begins to serve. UNAVAILABLE when the address is taken. */
CHECKED bool rpc_server_start(struct rpc_server *server, struct error *err);
int rpc_server_port(const struct rpc_server *server);
/* Health of one service ("" = the whole server). Starts as SERVING. */
void rpc_server_set_serving(struct rpc_server *server, const char *service, bool serving);
/* Of the whole server, and of each service but health itself, which tells that the process answers. */
void rpc_server_set_all_serving(struct rpc_server *server, bool serving);
/* Health says NOT_SERVING, new calls are refused (UNAVAILABLE, not applied), calls in flight get up to grace
 * microseconds, then are cancelled. Returns when all have ended. */
void rpc_server_drain(struct rpc_server *server, int64_t grace_micros);
void rpc_server_free(struct rpc_server *server); /* after drain; NULL is fine */

/* Health says NOT_SERVING from now on, for good, and calls are still served: so that whoever balances load looks elsewhere
 * before drain. */
void rpc_server_announce_drain(struct rpc_server *server);
/* What health says of the whole server. */
bool rpc_server_is_serving(struct rpc_server *server);

/* Calls and their durations, what is in flight, and the limits; the rows of rpc_metrics. */
extern const struct metric_table rpc_metrics;
void rpc_server_write_metrics(struct rpc_server *server, struct buffer *out);
/* Calls that take so long are logged ("rpc.slow"), but for those that last as long as their client likes; 0: none. Any time. */
void rpc_log_slow_calls(int64_t micros);

/* Blocks until SIGTERM, SIGINT or, where the program blocks it, SIGHUP (returns it), until rpc_stop_waiting was called (returns 0), or
 * until a time of the monotonic clock (returns -1). */
int rpc_wait_for_signal(int64_t until);
void rpc_stop_waiting(void);

struct arena *rpc_call_arena(struct rpc_call *call);
int64_t rpc_call_deadline(const struct rpc_call *call); /* monotonic microseconds, NO_DEADLINE if none */
bool rpc_call_cancelled(const struct rpc_call *call);   /* cancelled, timed out or connection lost */
bool rpc_call_is_over(void *call);                      /* the same, as a struct caller asks */
/* Value of a request header, or NULL; lives as long as the call. */
const char *rpc_call_metadata(const struct rpc_call *call, const char *key);
/* Adds a trailer; copied. Before the call ends. */
void rpc_call_add_trailer(struct rpc_call *call, const char *key, const char *value);

/* Goes on with `handle` on a worker: for an inline handler that turns out to need time, also later, on whatever thread
 * has the call. */
void rpc_call_defer(struct rpc_call *call, rpc_handler_fn *handle);

void rpc_reply(struct rpc_call *call, const ProtobufCMessage *response);
/* err->outcome NOT_APPLIED becomes the outcome trailer; err->reason, err->keys and err->mongo_code go with the status as
 * google.rpc.ErrorInfo (domain "argon", entries "conflict.0", "conflict.1", ..., "mongodb_code") in grpc-status-details-bin. */
void rpc_fail(struct rpc_call *call, const struct error *err);

/* Streams, from the worker only. Send waits until the transport has taken the message before this one (one
 * message of memory a stream) and returns false when the call is over: then end it and stop. */
CHECKED bool rpc_stream_send(struct rpc_call *call, const ProtobufCMessage *message);
/* The same with a message that is already encoded, in n parts. */
CHECKED bool rpc_stream_send_encoded(struct rpc_call *call, const struct bytes *parts, size_t n);
void rpc_finish(struct rpc_call *call);

/* A stream that lives long holds no thread: its handler hands the call over to a step function and returns.
 * Each step runs on a worker, sends at most one message (rpc_stream_send then never waits), and says when it
 * is to run again. It also runs when the call is over (rpc_call_cancelled), and must then end it. Steps of one call
 * never overlap. `freed` runs once, after the last step. */
enum rpc_step {
    RPC_STEP_MORE,  /* as soon as the reader has taken the message */
    RPC_STEP_WAIT,  /* after rpc_stream_wake, also one that came while the step ran, or at the end of the call */
    RPC_STEP_LATER, /* as WAIT, and after some RPC_STEP_PAUSE_MICROS anyway: to try again what failed */
    RPC_STEP_OVER,  /* never: the step has ended the call */
};
enum { RPC_STEP_PAUSE_MICROS = 50000 };
typedef enum rpc_step rpc_step_fn(struct rpc_call *call, void *ctx);
void rpc_stream_run(struct rpc_call *call, rpc_step_fn *step, void (*freed)(void *ctx), void *ctx);
void rpc_stream_wake(struct rpc_call *call); /* any thread, until the step that ends the call; cheap when it runs already */

/* Bidirectional streams, from the worker only: waits for the next message; *message = NULL when the client has
 * sent its last. Lives in the arena. False when the call is over. A client that is gone can look like one that has sent
 * its last, since the transport reports both alike: the end alone commits to nothing. */
CHECKED bool rpc_stream_receive(struct rpc_call *call, struct arena *arena, ProtobufCMessage **message, struct error *err);

/* ---- client --------------------------------------------------------------------------------------- */

struct rpc_client;
struct rpc_client_stream;

enum rpc_balance {
    RPC_PICK_FIRST,  /* the first address that can be reached */
    RPC_ROUND_ROBIN, /* each in turn */
};

struct rpc_client_options {
    /* "HOST:PORT"; several with commas between, whose names are resolved once, when the client is opened (all to
     * IPv4, or else all to IPv6); or what gRPC resolves, again and again ("dns:///name:port"). */
    const char *target;
    enum rpc_balance balance;
    size_t max_message_bytes; /* received */
    const char *name;         /* stands before what is said when the service does not answer; NULL: nothing does */
};

struct rpc_metadata {
    const char *key;
    const char *value;
};

struct rpc_call_options {
    int64_t deadline; /* monotonic microseconds; NO_DEADLINE waits for ever */
    /* Safe to repeat: UNAVAILABLE is retried with exponential backoff and jitter (from 20 ms, at most 1 s)
     * until the deadline. False: one try; a connection that is not up yet is still waited for. */
    bool repeatable;
    const struct rpc_metadata *metadata;
    size_t n_metadata;
};

/* INVALID_ARGUMENT when the target cannot be an address; of several addresses only rpc_client_open looks at each. */
CHECKED bool rpc_check_target(const char *target, struct error *err);
CHECKED bool rpc_client_open(const struct rpc_client_options *options, struct rpc_client **client, struct error *err);
void rpc_client_close(struct rpc_client *client); /* after all its calls have ended; NULL is fine */

/* Whether the server that listens so ("0.0.0.0:7700": this machine's) says that it serves: UNAVAILABLE with its reason, or
 * DEADLINE_EXCEEDED after two seconds. */
CHECKED bool rpc_health_probe(const char *listen, struct error *err);

/* Calls "/package.Service/Method" and waits. On success *response lives in the arena. err->outcome is
 * NOT_APPLIED when the server's trailer says so or when the request was never sent. */
CHECKED bool rpc_client_call(struct rpc_client *client, const char *method, const ProtobufCMessage *request,
                             const ProtobufCMessageDescriptor *response_type, const struct rpc_call_options *options, struct arena *arena,
                             ProtobufCMessage **response, struct error *err);

/* The same without waiting; `done` runs on the client's thread and must not block. `encoded` is the
 * response's bytes, valid inside done; empty when failed. One try. */
typedef void rpc_done_fn(void *ctx, const struct error *failure /* NULL: OK */, struct bytes encoded);
void rpc_client_start(struct rpc_client *client, const char *method, const ProtobufCMessage *request,
                      const struct rpc_call_options *options, rpc_done_fn *done, void *ctx);

/* Whether there is a connection now: then what has failed with UNAVAILABLE was said by a server. */
bool rpc_client_is_connected(const struct rpc_client *client);

/* A server stream, read message by message. The deadline covers the whole stream. One try. */
CHECKED bool rpc_client_stream_open(struct rpc_client *client, const char *method, const ProtobufCMessage *request,
                                    const ProtobufCMessageDescriptor *response_type, const struct rpc_call_options *options,
                                    struct rpc_client_stream **stream, struct error *err);
/* *message = NULL at the end of a stream that ended with OK; lives in the arena. */
CHECKED bool rpc_client_stream_next(struct rpc_client_stream *stream, struct arena *arena, ProtobufCMessage **message, struct error *err);
/* As next, and waits until then at most: *arrived = false when there is nothing yet. */
CHECKED bool rpc_client_stream_next_until(struct rpc_client_stream *stream, int64_t until, struct arena *arena, bool *arrived,
                                          ProtobufCMessage **message, struct error *err);
void rpc_client_stream_close(struct rpc_client_stream *stream); /* cancels what is still running; NULL is fine */

/* For a stream that holds no thread. `ready` runs on the client's thread, must not block, and comes after a message
 * or the end of the stream has arrived that rpc_client_stream_try_next had not seen; at once when there is one
 * already. Not after close. */
void rpc_client_stream_notify(struct rpc_client_stream *stream, void (*ready)(void *ctx), void *ctx);
/* As next, and never waits: *arrived = false when there is nothing yet. */
CHECKED bool rpc_client_stream_try_next(struct rpc_client_stream *stream, struct arena *arena, bool *arrived, ProtobufCMessage **message,
                                        struct error *err);

/* A bidirectional stream: opened without a request. Send waits until the transport has taken the message. */
CHECKED bool rpc_client_bidi_open(struct rpc_client *client, const char *method, const ProtobufCMessageDescriptor *response_type,
                                  const struct rpc_call_options *options, struct rpc_client_stream **stream, struct error *err);
CHECKED bool rpc_client_stream_send(struct rpc_client_stream *stream, const ProtobufCMessage *message, struct error *err);
void rpc_client_stream_send_end(struct rpc_client_stream *stream); /* no more will be sent */

#endif
