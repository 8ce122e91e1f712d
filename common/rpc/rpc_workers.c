/* The threads that run handlers which may block: first come, first served.
 *
 * A stream holds its thread for as long as its client reads, so streams get at most three quarters of the
 * threads (all of them when there is one); the others stay free for unary calls and the steps of streams that
 * hold none. The queues are bounded by
 * the limits on calls in flight. */
#include <stdlib.h>

#include "common/base/caller.h"
#include "common/base/memory.h"
#include "common/rpc/rpc_internal.h"

/* A step is short, whatever its reader does. */
static bool holds_thread(const struct rpc_call *call)
{
    return call->is_stream && !call->steps.run;
}

static void queue_init(struct call_queue *queue)
{
    queue->first = NULL;
    queue->last = &queue->first;
}

static struct rpc_call *queue_pop(struct call_queue *queue)
{
    struct rpc_call *call = queue->first;
    queue->first = call->next;
    if (!queue->first)
        queue->last = &queue->first;
    return call;
}

/* Streams first: there are few, they are capped, and a unary call always finds another thread. */
static struct rpc_call *next_call_locked(struct worker_pool *pool)
{
    if (pool->streams.first && pool->streams_running < pool->max_streams)
        return queue_pop(&pool->streams);
    return pool->unary.first ? queue_pop(&pool->unary) : NULL;
}

static void run_call(struct rpc_call *call)
{
    struct error err;
    if (call->steps.run) {
        stream_step(call);
        return;
    }
    if (rpc_call_cancelled(call)) { /* nobody waits any more */
        error_set(&err, ERROR_DEADLINE_EXCEEDED, "the call was over before its turn came");
    } else if (call->is_bidi || !call->payload || call_unpack(call, &err)) {
        rpc_handler_fn *handle = call->deferred ? call->deferred : call->slot->method->handle;
        handle(call->slot->context, call, call->request);
        return;
    }
    err.outcome = OUTCOME_NOT_APPLIED;
    rpc_fail(call, &err);
}

static void *run_worker(void *ctx)
{
    struct worker_pool *pool = ctx;
    mutex_lock(&pool->lock);
    for (;;) {
        struct rpc_call *call = next_call_locked(pool);
        if (!call) {
            if (pool->stopping)
                break;
            condition_wait(&pool->work, &pool->lock);
            continue;
        }
        bool stream = holds_thread(call);
        pool->waiting--;
        pool->busy++;
        pool->streams_running += stream;
        mutex_unlock(&pool->lock);
        const struct caller caller = {
            .is_gone = rpc_call_is_over, .ctx = call, .deadline = call->deadline, .meter = call->server->options.meter
        };
        trace_set(&call->trace);
        caller_set(&caller);
        run_call(call);
        caller_set(NULL);
        trace_set(NULL);
        mutex_lock(&pool->lock);
        pool->streams_running -= stream;
        pool->busy--;
    }
    mutex_unlock(&pool->lock);
    return NULL;
}

void workers_start(struct worker_pool *pool, size_t n_threads)
{
    *pool = (struct worker_pool) { .n_threads = n_threads ? n_threads : 1 };
    mutex_init(&pool->lock, RANK_RPC_WORKERS);
    condition_init(&pool->work);
    queue_init(&pool->unary);
    queue_init(&pool->streams);
    pool->max_streams = pool->n_threads == 1 ? 1 : pool->n_threads - (pool->n_threads + 3) / 4;
    pool->threads = mem_alloc(pool->n_threads * sizeof *pool->threads);
    for (size_t i = 0; i < pool->n_threads; i++)
        pool->threads[i] = thread_start("rpc-worker", run_worker, pool);
}

void workers_push(struct worker_pool *pool, struct rpc_call *call)
{
    call->next = NULL;
    mutex_lock(&pool->lock);
    struct call_queue *queue = holds_thread(call) ? &pool->streams : &pool->unary;
    *queue->last = call;
    queue->last = &call->next;
    pool->waiting++;
    condition_signal(&pool->work);
    mutex_unlock(&pool->lock);
}

void rpc_call_defer(struct rpc_call *call, rpc_handler_fn *handle)
{
    call->deferred = handle;
    if (!call->close_requested)
        call_watch_close(call);
    workers_push(&call->server->workers, call);
}

void workers_stop(struct worker_pool *pool)
{
    mutex_lock(&pool->lock);
    pool->stopping = true;
    condition_broadcast(&pool->work);
    mutex_unlock(&pool->lock);
    for (size_t i = 0; i < pool->n_threads; i++)
        pthread_join(pool->threads[i], NULL);
    free(pool->threads);
    mutex_destroy(&pool->lock);
    condition_destroy(&pool->work);
}
