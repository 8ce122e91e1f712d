/* HTTP for those who watch a service: /metrics (Prometheus text format 0.0.4), /healthz and /readyz.
 *
 *   /healthz  200 while the process runs
 *   /readyz   200 when the service can do its work, else 503; what gRPC health says of the whole server
 *
 * A thread of its own, few connections and short ones: whoever watches does not disturb who works. Slow clients do not keep others out:
 * beyond 64 connections a new one ends the oldest.
 */
#ifndef ARGON_SERVICE_METRICS_SERVER_H
#define ARGON_SERVICE_METRICS_SERVER_H

#include "common/rpc/rpc.h"

struct metrics_server;

struct metrics_server_options {
    const char *address; /* HOST:PORT; port 0: any free one */
    const char *service; /* "wal-service" */
    struct rpc_server *server;
    void (*write)(void *ctx, struct buffer *out); /* the service's own metrics */
    void *ctx;
};

/* UNAVAILABLE when the address is taken, INVALID_ARGUMENT when it is none. Strings are borrowed. The address "": no server, NULL. */
CHECKED bool metrics_server_start(const struct metrics_server_options *options, struct metrics_server **server, struct error *err);
int metrics_server_port(const struct metrics_server *server);
void metrics_server_stop(struct metrics_server *server); /* before the rpc_server is freed; NULL is fine */

#endif
