/* Who waits for an answer. What takes long looks now and then whether he still does.
 *
 * What goes through many documents is told its caller. What one document or one spec can make long, far below, asks for the
 * one whom its thread works for.
 *
 * Threads    each has its own; whoever begins to work for a caller sets it, and takes it away at the end.
 */
#ifndef ARGON_BASE_CALLER_H
#define ARGON_BASE_CALLER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/clock.h"
#include "common/base/error.h"

struct meter;

struct caller {
    bool (*is_gone)(void *ctx); /* NULL: he stays */
    void *ctx;
    int64_t deadline;          /* 0: none */
    const struct meter *meter; /* of what is held for him; NULL: nobody counts it */
};

/* Who goes so short before the deadline has gone because of it: gRPC's clock and ours differ by less. */
enum { CALLER_SLACK_MICROS = 5000 };

/* False: he has gone; CANCELLED, or DEADLINE_EXCEEDED of one who waits until then. */
CHECKED static inline bool caller_waits(const struct caller *caller, struct error *err)
{
    /* in this order: what is gone by now may have gone at a deadline that has come by then */
    bool gone = caller->is_gone && caller->is_gone(caller->ctx);
    if (caller->deadline && clock_monotonic_micros() >= caller->deadline - (gone ? CALLER_SLACK_MICROS : 0))
        return error_set(err, ERROR_DEADLINE_EXCEEDED, "deadline passed before all was done");
    return !gone || error_set(err, ERROR_CANCELLED, "the caller has gone");
}

/* Whom this thread works for: borrowed until the next call. NULL: nobody who could go. */
void caller_set(const struct caller *caller);
const struct meter *caller_meter(void);

/* Within: the steps since the last look, and that look. */
enum { CALLER_STEPS = 4096, CALLER_BYTES_A_STEP = 256 };
extern _Thread_local size_t caller_steps;
CHECKED bool caller_look(struct error *err);

/* In every loop that an input can make long, also where loops multiply: before so many steps, each of which reads some hundreds
 * of bytes at most. Costs next to nothing. False: nobody waits any more, as above; so it stays. */
CHECKED static inline bool caller_still_waits(size_t steps, struct error *err)
{
    caller_steps += steps;
    return caller_steps < CALLER_STEPS || caller_look(err);
}

/* Steps that reading so many bytes takes. */
static inline size_t caller_steps_of(size_t bytes)
{
    return 1 + bytes / CALLER_BYTES_A_STEP;
}

#endif
