/* What the RPCs that read documents share. */
#ifndef ARGON_BRANCH_RPC_FIND_RPC_H
#define ARGON_BRANCH_RPC_FIND_RPC_H

#include "branch-service/collection/collection.h"
#include "branch-service/rpc/convert.h"

CHECKED bool find_rpc_convert(struct rpc_call *call, const Argon__Branch__V1__FindRequest *request, struct collection_path *path,
                              struct find_spec *spec, struct error *err);
CHECKED bool find_rpc_open(struct registry *registry, struct rpc_call *call, const Argon__Branch__V1__FindRequest *request,
                           struct find **find, struct error *err);
/* Sends all that is found and ends the call. `find` is NULL when there is only the error. */
void find_rpc_send(struct rpc_call *call, struct find *find, Argon__Branch__V1__Format format, const struct error *failure);

#endif
