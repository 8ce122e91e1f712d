/* Connections that wait no longer than the operation that uses them.
 *
 * The driver has one socket timeout a pool (a timeout an operation came with mongoc_client_set_sockettimeoutms
 * in 1.27, which replaces this file once it is the oldest version in use). A copy on the server takes minutes
 * and a point read milliseconds, so no single value serves. What the driver does offer is to bring streams of
 * our own: ours is the driver's, with the rest of the thread's deadline as timeout.
 *
 * An operation is run by one thread from beginning to end, so the deadline is the thread's.
 */
#include <limits.h>
#include <stdlib.h>

#include "branch-service/mongo/mongo_internal.h"
#include "common/base/clock.h"
#include "common/base/memory.h"

/* Part of the library's interface since 1.0 but declared in none of its public headers. */
mongoc_stream_t *mongoc_client_default_stream_initiator(const mongoc_uri_t *uri, const mongoc_host_list_t *host, void *user_data,
                                                        bson_error_t *error);

#define STREAM_TYPE 0x4152 /* unlike any of the driver's */

struct deadline_stream {
    mongoc_stream_t base; /* first: the driver sees this */
    mongoc_stream_t *inner;
};

static _Thread_local int64_t thread_deadline = NO_DEADLINE;
static _Thread_local unsigned thread_writes_sent;

int64_t mongo_stream_set_deadline(int64_t deadline)
{
    int64_t before = thread_deadline;
    thread_deadline = deadline;
    thread_writes_sent = 0;
    return before;
}

unsigned mongo_stream_writes_sent(void)
{
    return thread_writes_sent;
}

/* Every write that the driver may send again has this field in its command, which goes before its documents; no greeting has. */
static bool holds_write(const mongoc_iovec_t *iov, size_t n)
{
    static const char field[] = "txnNumber";
    enum { COMMAND_BYTES = 64 * 1024 };
    for (size_t i = 0; i < n; i++)
        if (memmem(iov[i].iov_base, iov[i].iov_len < COMMAND_BYTES ? iov[i].iov_len : COMMAND_BYTES, field, sizeof field))
            return true;
    return false;
}

int32_t mongo_milliseconds_left(int64_t deadline)
{
    if (deadline == NO_DEADLINE)
        return 0;
    /* rounded up: whoever waits that long finds the deadline passed */
    int64_t left = (deadline - clock_monotonic_micros() + 999) / 1000;
    if (left < 1)
        return 1;
    return left < INT_MAX ? (int32_t)left : INT_MAX;
}

static int32_t timeout_now(int32_t timeout)
{
    int32_t left = mongo_milliseconds_left(thread_deadline);
    return left ? left : timeout;
}

static mongoc_stream_t *inner_of(mongoc_stream_t *stream)
{
    return ((struct deadline_stream *)stream)->inner;
}

static void on_destroy(mongoc_stream_t *stream)
{
    mongoc_stream_destroy(inner_of(stream));
    free(stream);
}

static void on_failed(mongoc_stream_t *stream)
{
    mongoc_stream_failed(inner_of(stream));
    free(stream);
}

static int on_close(mongoc_stream_t *stream)
{
    return mongoc_stream_close(inner_of(stream));
}

static int on_flush(mongoc_stream_t *stream)
{
    return mongoc_stream_flush(inner_of(stream));
}

static ssize_t on_writev(mongoc_stream_t *stream, mongoc_iovec_t *iov, size_t n, int32_t timeout)
{
    thread_writes_sent += holds_write(iov, n);
    return mongoc_stream_writev(inner_of(stream), iov, n, timeout_now(timeout));
}

static ssize_t on_readv(mongoc_stream_t *stream, mongoc_iovec_t *iov, size_t n, size_t min_bytes, int32_t timeout)
{
    return mongoc_stream_readv(inner_of(stream), iov, n, min_bytes, timeout_now(timeout));
}

static int on_setsockopt(mongoc_stream_t *stream, int level, int option, void *value, mongoc_socklen_t length)
{
    return mongoc_stream_setsockopt(inner_of(stream), level, option, value, length);
}

static bool on_check_closed(mongoc_stream_t *stream)
{
    return mongoc_stream_check_closed(inner_of(stream));
}

static bool on_timed_out(mongoc_stream_t *stream)
{
    return mongoc_stream_timed_out(inner_of(stream));
}

static bool on_should_retry(mongoc_stream_t *stream)
{
    return mongoc_stream_should_retry(inner_of(stream));
}

static mongoc_stream_t *connect_stream(const mongoc_uri_t *uri, const mongoc_host_list_t *host, void *client, bson_error_t *error)
{
    /* the greeting of a connection that has no time left would fail and make the driver take the server for
     * lost, for every thread */
    if (thread_deadline != NO_DEADLINE && clock_monotonic_micros() >= thread_deadline) {
        bson_set_error(error, MONGOC_ERROR_STREAM, MONGOC_ERROR_STREAM_CONNECT, "no time left to connect");
        return NULL;
    }
    mongoc_stream_t *inner = mongoc_client_default_stream_initiator(uri, host, client, error);
    if (!inner)
        return NULL;
    struct deadline_stream *stream = mem_zalloc(sizeof *stream);
    stream->inner = inner;
    stream->base = (mongoc_stream_t) {
        .type = STREAM_TYPE,
        .destroy = on_destroy,
        .close = on_close,
        .flush = on_flush,
        .writev = on_writev,
        .readv = on_readv,
        .setsockopt = on_setsockopt,
        .get_base_stream = inner_of,
        .check_closed = on_check_closed,
        .failed = on_failed,
        .timed_out = on_timed_out,
        .should_retry = on_should_retry,
    };
    return &stream->base;
}

void mongo_stream_install(mongoc_client_t *client)
{
    mongoc_client_set_stream_initiator(client, connect_stream, client);
}
