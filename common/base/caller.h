/* Who waits for an answer. What takes long looks now and then whether he still does. */
#ifndef ARGON_BASE_CALLER_H
#define ARGON_BASE_CALLER_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/clock.h"
#include "common/base/error.h"

struct caller {
    bool (*is_gone)(void *ctx); /* NULL: he stays */
    void *ctx;
    int64_t deadline; /* 0: none */
};

/* False: he has gone; CANCELLED, or DEADLINE_EXCEEDED of one who waits until then. */
CHECKED static inline bool caller_waits(const struct caller *caller, struct error *err)
{
    if (caller->deadline && clock_monotonic_micros() >= caller->deadline)
        return error_set(err, ERROR_DEADLINE_EXCEEDED, "deadline passed before all was done");
    return !caller->is_gone || !caller->is_gone(caller->ctx) || error_set(err, ERROR_CANCELLED, "the caller has gone");
}

#endif
