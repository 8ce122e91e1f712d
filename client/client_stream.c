/* Streams that begin in time: who opens one waits for its first message, and no longer than for any other call. Until then
 * nothing has been shown, so one that breaks is opened again. */
#include <stdlib.h>

#include "client/client_internal.h"
#include "common/base/backoff.h"
#include "common/base/clock.h"
#include "common/base/memory.h"

enum { RANK_CLIENT_STREAM = 20 };

struct client_stream {
    struct rpc_client_stream *rpc;
    struct mutex lock; /* rank 20; covers the rest */
    struct condition changed;
    bool woken;
};

static void wake(void *ctx)
{
    struct client_stream *stream = ctx;
    mutex_lock(&stream->lock);
    stream->woken = true;
    condition_signal(&stream->changed);
    mutex_unlock(&stream->lock);
}

static bool wait_until_woken(struct client_stream *stream, int64_t deadline)
{
    mutex_lock(&stream->lock);
    while (!stream->woken && condition_wait_until(&stream->changed, &stream->lock, deadline))
        ;
    bool woken = stream->woken;
    stream->woken = false;
    mutex_unlock(&stream->lock);
    return woken;
}

static bool wait_for_first(struct client_stream *stream, int64_t deadline, struct arena *arena, ProtobufCMessage **message,
                           struct error *err)
{
    bool arrived = false;
    rpc_client_stream_notify(stream->rpc, wake, stream);
    while (!arrived) {
        if (!wait_until_woken(stream, deadline))
            return error_set(err, ERROR_DEADLINE_EXCEEDED, "no answer began in time");
        if (!rpc_client_stream_try_next(stream->rpc, arena, &arrived, message, err))
            return false;
    }
    rpc_client_stream_notify(stream->rpc, NULL, NULL);
    return true;
}

static struct client_stream *try_to_open(struct argon_client *client, const struct client_call *call, int64_t deadline, struct arena *arena,
                                         ProtobufCMessage **first, struct error *err)
{
    /* the time for all of it is the program's */
    const struct rpc_call_options options = { .deadline = NO_DEADLINE };
    struct rpc_client_stream *rpc;
    if (!rpc_client_stream_open(client->rpc, call->method, call->request, call->response_type, &options, &rpc, err))
        return NULL;
    struct client_stream *stream = mem_zalloc(sizeof *stream);
    stream->rpc = rpc;
    mutex_init(&stream->lock, RANK_CLIENT_STREAM);
    condition_init(&stream->changed);
    if (wait_for_first(stream, deadline, arena, first, err))
        return stream;
    client_stream_close(stream);
    return NULL;
}

struct client_stream *client_stream_open(struct argon_client *client, const struct client_call *call, struct arena *arena,
                                         ProtobufCMessage **first, struct error *err)
{
    struct backoff backoff = { 0 };
    int64_t deadline = clock_monotonic_micros() + client->timeout_micros;
    struct client_stream *stream;
    do
        stream = try_to_open(client, call, deadline, arena, first, err);
    while (!stream && err->code == ERROR_UNAVAILABLE && backoff_wait(&backoff, deadline));
    return stream;
}

bool client_stream_next(struct client_stream *stream, struct arena *arena, ProtobufCMessage **message, struct error *err)
{
    return rpc_client_stream_next(stream->rpc, arena, message, err);
}

void client_stream_close(struct client_stream *stream)
{
    if (!stream)
        return;
    rpc_client_stream_close(stream->rpc); /* nobody is woken after it */
    condition_destroy(&stream->changed);
    mutex_destroy(&stream->lock);
    free(stream);
}
