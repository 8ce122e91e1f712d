/* Streams that hold no thread while they wait; see rpc_stream_run.
 *
 *                    the step returns                       a reason to run comes
 *     RUNNING ------------------------------> PARKED ----------------------------------> QUEUED --worker--> RUNNING
 *        \--OVER--> the call has ended, and may be gone
 *
 * A reason to run: the call is over; or the step wants to run (it said MORE, or was woken) and the transport has
 * taken its last message. Whoever makes that true under the call's lock moves the state to QUEUED, and then
 * pushes the call without the lock: nobody else touches a call that is QUEUED and not in the queue.
 *
 * When the server drains, a stream that only waits is stopped: its step runs once more, as if the client had
 * gone. One that still has something to send goes on until it waits. */
#include <assert.h>
#include <stdlib.h>

#include "common/base/clock.h"
#include "common/base/memory.h"
#include "common/rpc/rpc_internal.h"

struct call_steps {
    rpc_step_fn *step;
    void *ctx;
    enum { STEPS_RUNNING, STEPS_PARKED, STEPS_QUEUED } state;
    bool wanted;
    struct rpc_call *next, **link; /* of all such streams of the server; under its lock */
};

static bool is_over(const struct rpc_call *call)
{
    return atomic_load(&call->cancelled);
}

/* True: push the call. */
static bool take_if_due_locked(struct rpc_call *call)
{
    struct call_steps *steps = call->steps;
    if (!steps || steps->state != STEPS_PARKED)
        return false;
    if (!is_over(call) && !steps->wanted && atomic_load(&call->server->draining)) {
        error_set(&call->broken, ERROR_UNAVAILABLE, "the server is shutting down");
        atomic_store(&call->cancelled, true);
    }
    if (!is_over(call) && (!steps->wanted || call->sending))
        return false;
    steps->state = STEPS_QUEUED;
    return true;
}

void steps_look(struct rpc_call *call)
{
    mutex_lock(&call->lock);
    bool due = take_if_due_locked(call);
    mutex_unlock(&call->lock);
    if (due)
        workers_push(&call->server->workers, call);
}

void rpc_stream_wake(struct rpc_call *call)
{
    mutex_lock(&call->lock);
    call->steps->wanted = true;
    bool due = take_if_due_locked(call);
    mutex_unlock(&call->lock);
    if (due)
        workers_push(&call->server->workers, call);
}

void rpc_stream_run(struct rpc_call *call, rpc_step_fn *step, void *ctx)
{
    assert(call->is_stream && !call->steps);
    struct rpc_server *server = call->server;
    struct call_steps *steps = mem_zalloc(sizeof *steps);
    *steps = (struct call_steps) { .step = step, .ctx = ctx, .state = STEPS_QUEUED, .link = &server->stepped };
    mutex_lock(&server->lock);
    steps->next = server->stepped;
    if (steps->next)
        steps->next->steps->link = &steps->next;
    server->stepped = call;
    mutex_unlock(&server->lock);
    mutex_lock(&call->lock);
    call->steps = steps;
    mutex_unlock(&call->lock);
    workers_push(&server->workers, call);
}

void steps_run(struct rpc_call *call)
{
    struct call_steps *steps = call->steps;
    mutex_lock(&call->lock);
    steps->state = STEPS_RUNNING;
    steps->wanted = false;
    mutex_unlock(&call->lock);
    enum rpc_step next = steps->step(call, steps->ctx);
    if (next == RPC_STEP_OVER)
        return; /* the call may be gone */
    mutex_lock(&call->lock);
    steps->state = STEPS_PARKED;
    if (next == RPC_STEP_MORE)
        steps->wanted = true;
    bool due = take_if_due_locked(call);
    mutex_unlock(&call->lock);
    if (due)
        workers_push(&call->server->workers, call);
}

void steps_unlink(struct rpc_call *call)
{
    struct rpc_server *server = call->server;
    struct call_steps *steps = call->steps;
    mutex_lock(&server->lock);
    *steps->link = steps->next;
    if (steps->next)
        steps->next->steps->link = steps->link;
    mutex_unlock(&server->lock);
}

void steps_free(struct rpc_call *call)
{
    free(call->steps);
}

void steps_stop_waiting(struct rpc_server *server)
{
    /* a call that is QUEUED by us stays until it is pushed, so the list may be left meanwhile */
    struct rpc_call *due = NULL;
    mutex_lock(&server->lock);
    for (struct rpc_call *call = server->stepped; call; call = call->steps->next) {
        mutex_lock(&call->lock);
        if (take_if_due_locked(call)) {
            call->next = due;
            due = call;
        }
        mutex_unlock(&call->lock);
    }
    mutex_unlock(&server->lock);
    for (struct rpc_call *next; due; due = next) {
        next = due->next;
        workers_push(&server->workers, due);
    }
}

/* On the poller, where alone calls are freed: what the list shows lives. */
void steps_cut_off_stalled(struct rpc_server *server)
{
    int64_t before = clock_monotonic_micros() - server->options.stall_micros;
    mutex_lock(&server->lock);
    for (struct rpc_call *call = server->stepped; call; call = call->steps->next) {
        mutex_lock(&call->lock);
        bool stalled = call->sending && call->sending_since < before && !is_over(call);
        mutex_unlock(&call->lock);
        if (stalled)
            call_cut_off(call);
    }
    mutex_unlock(&server->lock);
}
