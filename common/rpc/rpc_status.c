/* gRPC's status codes, metadata and times in the terms of common/base. */
#include <assert.h>
#include <grpc/support/time.h>
#include <stdio.h>
#include <stdlib.h>

#include "common/base/clock.h"
#include "common/base/memory.h"
#include "common/rpc/rpc_internal.h"

#define SAME(name) static_assert((int)ERROR_##name == (int)GRPC_STATUS_##name, #name)
SAME(OK);
SAME(CANCELLED);
SAME(UNKNOWN);
SAME(INVALID_ARGUMENT);
SAME(DEADLINE_EXCEEDED);
SAME(NOT_FOUND);
SAME(ALREADY_EXISTS);
SAME(PERMISSION_DENIED);
SAME(RESOURCE_EXHAUSTED);
SAME(FAILED_PRECONDITION);
SAME(ABORTED);
SAME(OUT_OF_RANGE);
SAME(UNIMPLEMENTED);
SAME(INTERNAL);
SAME(UNAVAILABLE);
SAME(DATA_LOSS);
SAME(UNAUTHENTICATED);
#undef SAME

bool status_to_error(grpc_status_code status, grpc_slice details, const grpc_metadata_array *trailers, struct error *err)
{
    enum error_code code = (unsigned)status <= ERROR_UNAUTHENTICATED ? (enum error_code)status : ERROR_UNKNOWN;
    error_set(err, code, "%.*s", (int)GRPC_SLICE_LENGTH(details), (const char *)GRPC_SLICE_START_PTR(details));
    const grpc_metadata *outcome = trailers ? metadata_find(trailers, RPC_OUTCOME_TRAILER) : NULL;
    if (err && outcome && grpc_slice_str_cmp(outcome->value, RPC_OUTCOME_NOT_APPLIED) == 0)
        err->outcome = OUTCOME_NOT_APPLIED;
    if (trailers)
        details_read(trailers, err);
    return false;
}

const grpc_metadata *metadata_find(const grpc_metadata_array *metadata, const char *key)
{
    for (size_t i = 0; i < metadata->count; i++) {
        if (grpc_slice_str_cmp(metadata->metadata[i].key, key) == 0)
            return &metadata->metadata[i];
    }
    return NULL;
}

grpc_metadata metadata_copy(const char *key, const char *value)
{
    grpc_metadata metadata = { .key = grpc_slice_from_copied_string(key), .value = grpc_slice_from_copied_string(value) };
    uint8_t *at = GRPC_SLICE_START_PTR(metadata.value);
    for (size_t i = 0; i < GRPC_SLICE_LENGTH(metadata.value); i++) {
        if (at[i] < 0x20 || at[i] > 0x7e)
            at[i] = '?';
    }
    return metadata;
}

void metadata_release(grpc_metadata *metadata, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        grpc_slice_unref(metadata[i].key);
        grpc_slice_unref(metadata[i].value);
    }
    free(metadata);
}

/* gRPC's monotonic clock is CLOCK_MONOTONIC, and so is clock_monotonic_micros. */
gpr_timespec deadline_to_timespec(int64_t deadline)
{
    if (deadline == NO_DEADLINE)
        return gpr_inf_future(GPR_CLOCK_MONOTONIC);
    if (deadline < 0)
        deadline = 0;
    return (gpr_timespec) {
        .tv_sec = deadline / MICROS_PER_SECOND,
        .tv_nsec = (int32_t)(deadline % MICROS_PER_SECOND * 1000),
        .clock_type = GPR_CLOCK_MONOTONIC,
    };
}

int64_t deadline_from_timespec(gpr_timespec deadline)
{
    gpr_timespec monotonic = gpr_convert_clock_type(deadline, GPR_CLOCK_MONOTONIC);
    if (monotonic.tv_sec > INT64_MAX / MICROS_PER_SECOND - 1)
        return NO_DEADLINE;
    return monotonic.tv_sec * MICROS_PER_SECOND + monotonic.tv_nsec / 1000;
}
