/* What those who work at a time hold together, against what there is: each tells the meter of the caller that its thread works
 * for, in steps of a mebibyte, and is refused when there is no room.
 *
 * Threads    a meter: any. A share: one at a time, wherever it began.
 */
#ifndef ARGON_BASE_METER_H
#define ARGON_BASE_METER_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/error.h"

struct meter {
    /* False: there is no room, and nothing was taken; RESOURCE_EXHAUSTED. */
    bool (*take)(void *ctx, size_t bytes, struct error *err);
    void (*give)(void *ctx, size_t bytes);
    void *ctx;
};

/* What one of them holds; {0}: nobody counts it. */
struct meter_share {
    const struct meter *meter;
    size_t held, taken; /* what is told is at most a step behind what is held */
};

enum { METER_STEP = 1024 * 1024 };

/* The meter of the caller that this thread works for. */
struct meter_share meter_share_new(void);
/* Gives everything back; more can be held then. */
void meter_share_clear(struct meter_share *share);

/* More bytes, before they are had, or less. False: there is no room for them. */
CHECKED bool meter_hold(struct meter_share *share, size_t bytes);
void meter_drop(struct meter_share *share, size_t bytes);

/* Did this thread's meter refuse what it asked for last? Then err says so. */
bool meter_refused(struct error *err);

#endif
