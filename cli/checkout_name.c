#include "cli/checkout_name.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <xxhash.h>

void checkout_name(const char *project, const char *branch, uint64_t lsn, char name[CHECKOUT_NAME_SIZE])
{
    static const char prefix[] = "argon_checkout_";
    char middle[2 * 128 + 2], tail[48];
    snprintf(middle, sizeof middle, "%s_%s", project, branch);
    snprintf(tail, sizeof tail, "_%" PRIu64, lsn);
    /* one '_' is the border between the two; where there are more, it could be another */
    bool changed = strchr(project, '_') || strchr(branch, '_');
    for (char *c = middle; *c; c++)
        if (strchr("/.", *c)) {
            *c = '_';
            changed = true;
        }
    if (changed || strlen(prefix) + strlen(middle) + strlen(tail) >= CHECKOUT_NAME_SIZE) {
        uint64_t hash = XXH3_64bits_withSeed(branch, strlen(branch), XXH3_64bits(project, strlen(project)));
        snprintf(tail, sizeof tail, "_%010" PRIx64 "_%" PRIu64, hash >> 24, lsn);
    }
    snprintf(name, CHECKOUT_NAME_SIZE, "%s%.*s%s", prefix, (int)(CHECKOUT_NAME_SIZE - 1 - strlen(prefix) - strlen(tail)), middle, tail);
}
