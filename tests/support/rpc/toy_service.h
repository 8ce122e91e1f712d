/* A toy log behind a real server, and a client of it: what a handler does is asked for by the project's name. */
#ifndef ARGON_TESTS_SUPPORT_RPC_TOY_SERVICE_H
#define ARGON_TESTS_SUPPORT_RPC_TOY_SERVICE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdatomic.h>

#include "argon/wal/v1/wal.pb-c.h"
#include "common/base/clock.h"
#include "common/base/limits.h"
#include "common/base/sync.h"
#include "common/rpc/rpc.h"
#include "grpc/health/v1/health.pb-c.h"

#define APPEND     "/argon.wal.v1.Wal/Append"
#define READ       "/argon.wal.v1.Wal/Read"
#define GET_HEAD   "/argon.wal.v1.Wal/GetHead"
#define GET_HEADS  "/argon.wal.v1.Wal/GetHeads"
#define GET_STATUS "/argon.wal.v1.Wal/GetStatus"

#define SERVING     GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING
#define NOT_SERVING GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__NOT_SERVING
#define UNKNOWN     GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVICE_UNKNOWN

/* ARRIVED: after so long a call has reached the server, on a busy machine too. */
enum { SECOND = MICROS_PER_SECOND, PATIENCE = 20 * SECOND, ARRIVED = 3 * SECOND };

struct toy {
    struct mutex lock;
    struct condition changed;
    bool open;        /* calls of project "gate" wait for this */
    unsigned waiting; /* at the gate */
    struct rpc_call *deferred[64];
    size_t n_deferred;
    bool stopping;
    pthread_t replier;
    atomic_uint appends;
    atomic_uint sent;        /* messages of streams */
    atomic_uint cut;         /* streams whose client went away */
    struct rpc_call *parked; /* the stream of project "parked" */
    unsigned news;           /* messages that it may still send; under lock */
    bool in_step;            /* steps never overlap */
    atomic_uint steps_freed;
    atomic_uint echoes;       /* that have ended */
    atomic_uint parked_n;     /* streams that have stood still at least once */
    atomic_uint cancelled;    /* calls that saw their end while they worked */
    _Atomic int64_t deadline; /* of the last Append */
};

struct fixture {
    struct toy toy;
    struct rpc_server *server;
    struct rpc_client *client;
    char address[64];
    struct arena arena;
    struct error err;
};

/* A call that is made while the test goes on. */
struct pending {
    struct mutex lock;
    struct condition changed;
    unsigned started, ended, failed;
    struct error last;
    struct bytes encoded;
    uint8_t bytes[64];
};

enum { TOY_METHODS = 6 };
extern const struct rpc_method toy_methods[TOY_METHODS], echo_methods[TOY_METHODS]; /* echo: Read goes in both directions */
extern const struct rpc_server_options default_options;

void on_append(void *service, struct rpc_call *call, const ProtobufCMessage *message);
void tell(struct toy *toy, unsigned news);
void hold(void *service, struct rpc_call *call, const ProtobufCMessage *message);
void set_gate(struct toy *toy, bool open);
void wait_at_gate(struct toy *toy, unsigned n);
void wait_for_count(atomic_uint *counter, unsigned n);
void toy_start(struct toy *toy);
void toy_stop(struct toy *toy);
struct rpc_server *start_server(struct toy *toy, struct rpc_server_options options);
struct rpc_client *open_client(const char *address);
void start_with(struct fixture *f, struct rpc_server_options options);
void stop(struct fixture *f);
int set_up(void **state);
int tear_down(void **state);
struct rpc_call_options within(int64_t micros);
bool append_with(struct fixture *f, struct rpc_client *client, const char *project, struct bytes incarnation,
                 struct rpc_call_options options, Argon__Wal__V1__AppendResponse **response);
bool append(struct fixture *f, const char *project);
void pending_init(struct pending *pending);
void pending_done(void *ctx, const struct error *failure, struct bytes encoded);
void pending_append(struct pending *pending, struct rpc_client *client, const char *project, int64_t patience);
void pending_wait(struct pending *pending);
void find_free_address(char *address, size_t size);

#define WITH_SERVER(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
/* A whole program: all tests, or those that its argument names. */
int toy_main(int argc, char **argv, const struct CMUnitTest *tests, size_t n);

#endif
