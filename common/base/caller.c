#include "common/base/caller.h"

_Thread_local size_t caller_steps;

static _Thread_local const struct caller *current;

void caller_set(const struct caller *caller)
{
    current = caller;
    caller_steps = 0;
}

const struct meter *caller_meter(void)
{
    return current ? current->meter : NULL;
}

bool caller_look(struct error *err)
{
    caller_steps = 0;
    if (!current || caller_waits(current, err))
        return true;
    caller_steps = CALLER_STEPS; /* whoever asks next hears it at once */
    return false;
}
