/* The RPC services of argon.branch.v1, a file each. */
#ifndef ARGON_BRANCH_RPC_SERVICES_H
#define ARGON_BRANCH_RPC_SERVICES_H

#include "branch-service/registry/registry.h"
#include "common/rpc/rpc.h"

/* The registry is borrowed for the server's life. */
CHECKED bool projects_rpc_add(struct rpc_server *server, struct registry *registry, struct error *err);
CHECKED bool branches_rpc_add(struct rpc_server *server, struct registry *registry, struct error *err);
CHECKED bool collections_rpc_add(struct rpc_server *server, struct registry *registry, struct error *err);
CHECKED bool documents_rpc_add(struct rpc_server *server, struct registry *registry, struct error *err);
CHECKED bool migrations_rpc_add(struct rpc_server *server, struct registry *registry, struct error *err);
CHECKED bool admin_rpc_add(struct rpc_server *server, struct registry *registry, struct error *err);

/* Rows of the table of Branches. */
void materialize_rpc_on_materialize(void *service, struct rpc_call *call, const ProtobufCMessage *message);
void watch_rpc_on_watch(void *service, struct rpc_call *call, const ProtobufCMessage *message);

/* Rows of the table of Branches. */
void bases_rpc_on_copy(void *service, struct rpc_call *call, const ProtobufCMessage *message);
void bases_rpc_on_list(void *service, struct rpc_call *call, const ProtobufCMessage *message);
void bases_rpc_on_delete(void *service, struct rpc_call *call, const ProtobufCMessage *message);

/* Rows of the table of Documents. */
void find_rpc_on_find(void *service, struct rpc_call *call, const ProtobufCMessage *message);
void find_rpc_on_find_one(void *service, struct rpc_call *call, const ProtobufCMessage *message);
void count_rpc_on_count(void *service, struct rpc_call *call, const ProtobufCMessage *message);
void count_rpc_on_estimated_count(void *service, struct rpc_call *call, const ProtobufCMessage *message);
void count_rpc_on_distinct(void *service, struct rpc_call *call, const ProtobufCMessage *message);
void aggregate_rpc_on_aggregate(void *service, struct rpc_call *call, const ProtobufCMessage *message);
void aggregate_rpc_on_explain(void *service, struct rpc_call *call, const ProtobufCMessage *message);
void find_and_modify_rpc_on_update(void *service, struct rpc_call *call, const ProtobufCMessage *message);
void find_and_modify_rpc_on_replace(void *service, struct rpc_call *call, const ProtobufCMessage *message);
void find_and_modify_rpc_on_delete(void *service, struct rpc_call *call, const ProtobufCMessage *message);
void bulk_write_rpc_on_write(void *service, struct rpc_call *call, const ProtobufCMessage *message);

/* Rows of the table of Admin. */
void config_rpc_on_get(void *service, struct rpc_call *call, const ProtobufCMessage *message);
void config_rpc_on_list(void *service, struct rpc_call *call, const ProtobufCMessage *message);
void config_rpc_on_set(void *service, struct rpc_call *call, const ProtobufCMessage *message);
void config_rpc_on_unset(void *service, struct rpc_call *call, const ProtobufCMessage *message);

#endif
