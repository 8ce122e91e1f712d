/* Shared inside wal_rpc. */
#ifndef ARGON_WAL_WAL_RPC_INTERNAL_H
#define ARGON_WAL_WAL_RPC_INTERNAL_H

#include <argon/wal/v1/wal.pb-c.h>

#include "wal-service/wal_rpc.h"

static inline struct bytes bytes_of_message(const ProtobufCBinaryData *data)
{
    return bytes_of(data->data, data->len);
}

static inline ProtobufCBinaryData bytes_to_message(struct bytes bytes)
{
    return (ProtobufCBinaryData) { bytes.len, (uint8_t *)bytes.data };
}

/* An id of at most max printable ASCII characters; INVALID_ARGUMENT says what ("project_id") is wrong with it. */
CHECKED bool wal_rpc_check_id(const char *what, const char *id, size_t max, bool may_be_empty, struct error *err);

/* A request's outcome and the step in it, as messages that belong together. */
struct outcome_message {
    Argon__Wal__V1__RequestOutcome outcome;
    Argon__Wal__V1__RequestStep step;
};
void wal_rpc_fill_outcome(struct outcome_message *message, const struct request_outcome *outcome);

void wal_rpc_on_append(void *service, struct rpc_call *call, const ProtobufCMessage *request);
void wal_rpc_on_get_heads(void *service, struct rpc_call *call, const ProtobufCMessage *request);
void wal_rpc_on_read(void *service, struct rpc_call *call, const ProtobufCMessage *request);

#endif
