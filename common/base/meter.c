#include "common/base/meter.h"

#include "common/base/caller.h"

static _Thread_local struct error refusal; /* of the last question; ERROR_OK: none */

struct meter_share meter_share_new(void)
{
    refusal.code = ERROR_OK;
    return (struct meter_share) { .meter = caller_meter() };
}

bool meter_hold(struct meter_share *share, size_t bytes)
{
    size_t held = share->held + bytes;
    if (share->meter && held > share->taken + METER_STEP) {
        if (!share->meter->take(share->meter->ctx, held - share->taken, &refusal))
            return false;
        refusal.code = ERROR_OK;
        share->taken = held;
    }
    share->held = held;
    return true;
}

void meter_drop(struct meter_share *share, size_t bytes)
{
    share->held -= bytes;
    if (share->taken > share->held + METER_STEP) {
        share->meter->give(share->meter->ctx, share->taken - share->held);
        share->taken = share->held;
    }
}

void meter_share_clear(struct meter_share *share)
{
    if (share->taken)
        share->meter->give(share->meter->ctx, share->taken);
    share->held = share->taken = 0;
}

bool meter_refused(struct error *err)
{
    if (refusal.code == ERROR_OK)
        return false;
    if (err)
        *err = refusal;
    return true;
}

void error_fill_out_of_memory(struct error *err)
{
    if (!meter_refused(err))
        error_fill(err, ERROR_RESOURCE_EXHAUSTED, "out of memory");
}
