/* The schema of every service here, embedded at build time, for rpc_server_options.reflection. */
#ifndef ARGON_PROTO_DESCRIPTORS_H
#define ARGON_PROTO_DESCRIPTORS_H

#include "common/rpc/rpc.h"

extern const struct rpc_reflection argon_reflection;

#endif
