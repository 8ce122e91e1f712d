#include "common/base/backoff.h"

#include <time.h>

#include "common/base/clock.h"
#include "common/base/random.h"

enum { FIRST_MICROS = 20000, LARGEST_MICROS = MICROS_PER_SECOND };

int64_t backoff_next(struct backoff *backoff)
{
    int64_t limit = backoff->first_micros ? backoff->first_micros : FIRST_MICROS;
    for (unsigned i = 0; i < backoff->tries && limit < LARGEST_MICROS; i++)
        limit *= 2;
    if (limit > LARGEST_MICROS)
        limit = LARGEST_MICROS;
    backoff->tries++;
    return 1 + (int64_t)(random_u64() % (uint64_t)limit);
}

bool backoff_wait(struct backoff *backoff, int64_t deadline)
{
    int64_t pause = backoff_next(backoff);
    if (deadline != NO_DEADLINE && clock_monotonic_micros() + pause >= deadline)
        return false;
    struct timespec left = { .tv_sec = pause / MICROS_PER_SECOND, .tv_nsec = pause % MICROS_PER_SECOND * 1000 };
    while (nanosleep(&left, &left) != 0)
        continue;
    return true;
}
