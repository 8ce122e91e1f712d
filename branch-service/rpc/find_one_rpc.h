/* FindOne by _id, answered where the log's answer arrives: no thread waits, and none is woken. */
#ifndef ARGON_BRANCH_RPC_FIND_ONE_RPC_H
#define ARGON_BRANCH_RPC_FIND_ONE_RPC_H

#include "common/rpc/rpc.h"

/* An inline handler of FindOne; what it cannot answer goes to `ordinary`, on a worker. */
void find_one_rpc(void *service, struct rpc_call *call, const ProtobufCMessage *message, rpc_handler_fn *ordinary);

#endif
