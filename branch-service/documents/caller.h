/* Who waits for an answer. What takes long looks now and then whether he still does. */
#ifndef ARGON_BRANCH_DOCUMENTS_CALLER_H
#define ARGON_BRANCH_DOCUMENTS_CALLER_H

#include <stdbool.h>

#include "common/base/error.h"

struct caller {
    bool (*is_gone)(void *ctx); /* NULL: he stays */
    void *ctx;
};

/* False: he has gone; CANCELLED. */
CHECKED static inline bool caller_waits(const struct caller *caller, struct error *err)
{
    return !caller->is_gone || !caller->is_gone(caller->ctx) || error_set(err, ERROR_CANCELLED, "the caller has gone");
}

#endif
