/* A connection to a MongoDB, and what its failures mean.
 *
 * Threads    one at a time.
 * Errors     INVALID_ARGUMENT: the URI. UNAVAILABLE: no server, a lost connection, a change of primary; what was under way has an
 *            unknown outcome. UNAUTHENTICATED: a wrong password. PERMISSION_DENIED. ALREADY_EXISTS: a duplicate key.
 *            OUT_OF_RANGE with reason MONGO_SNAPSHOT_GONE: a snapshot that the server does not keep any more. INTERNAL: the rest, in
 *            the server's words.
 */
#ifndef ARGON_CLI_MONGO_MONGO_SERVER_H
#define ARGON_CLI_MONGO_MONGO_SERVER_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/arena.h"
#include "common/base/error.h"
#include "common/mongo/snapshot.h"

struct mongo_server;

CHECKED bool mongo_server_open(const char *uri, struct mongo_server **server, struct error *err);
void mongo_server_close(struct mongo_server *server); /* NULL is fine */
/* The server answers; "8.0.1". */
CHECKED bool mongo_server_version(struct mongo_server *server, char version[32], struct error *err);

/* Does the text look like a URI of MongoDB? */
bool mongo_uri_begins(const char *text);
/* Parts of a URI that was opened; they live in the arena (NULL: out of memory). The database of its path: "" when it has none. */
char *mongo_server_database(const struct mongo_server *server, struct arena *arena);
/* Which servers it means, without user and options: "a:27017,b:27017". */
char *mongo_server_hosts(const struct mongo_server *server, struct arena *arena);
/* The URI with another database in its path; with the password only if that is wanted. */
char *mongo_server_uri(const struct mongo_server *server, const char *database, bool with_password, struct arena *arena);

#endif
