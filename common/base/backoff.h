/* Exponential backoff with full jitter, between tries of something that may be repeated.
 * https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/
 */
#ifndef ARGON_BASE_BACKOFF_H
#define ARGON_BASE_BACKOFF_H

#include <stdbool.h>
#include <stdint.h>

/* {0}: tries are 20 ms apart at first, then twice as much each time up to a second. */
struct backoff {
    int64_t first_micros; /* 0: 20 ms */
    unsigned tries;
};

/* A random part of what the next step allows, in microseconds. */
int64_t backoff_next(struct backoff *backoff);
/* Sleeps for backoff_next; false, at once, when that would pass the deadline (clock_monotonic_micros). */
bool backoff_wait(struct backoff *backoff, int64_t deadline);

#endif
