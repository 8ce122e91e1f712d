#include "common/base/random.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#include "common/base/clock.h"

void random_bytes(void *out, size_t len)
{
    char *at = out;
    while (len > 0) {
        ssize_t n = getrandom(at, len, 0);
        if (n < 0 && errno != EINTR)
            abort();
        if (n > 0) {
            at += n;
            len -= (size_t)n;
        }
    }
}

uint64_t random_u64(void)
{
    uint64_t value;
    random_bytes(&value, sizeof value);
    return value;
}

void random_id(char out[ID_SIZE])
{
    unsigned seconds = (unsigned)(clock_wall_micros() / MICROS_PER_SECOND);
    snprintf(out, ID_SIZE, "%08x%016llx", seconds, (unsigned long long)random_u64());
}
