/* A WAL service over a memory store in this process, on a port of its own. */
#ifndef ARGON_TESTS_WAL_SERVER_H
#define ARGON_TESTS_WAL_SERVER_H

#include <stdint.h>

struct wal_server;

struct wal_server *wal_server_start(void); /* after rpc_init; aborts when it cannot */
void wal_server_stop(struct wal_server *server);
int wal_server_port(const struct wal_server *server);
const uint8_t *wal_server_incarnation(const struct wal_server *server); /* 16 bytes */

#endif
