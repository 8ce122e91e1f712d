/* One MongoDB deployment: a pool of connections over one URI, and what kind of server answers there.
 *
 * Every operation of this folder reads from the primary with read concern majority and writes with write
 * concern majority and journal, whatever the URI says. retryWrites and TLS are as the URI says.
 *
 * Deadlines are of the monotonic clock, in microseconds. The server is told the rest as maxTimeMS wherever a
 * command takes it, and the connection waits no longer than that for an answer, so a server that has gone
 * silent holds nobody. Only where no server is known to be there may a call last up to
 * server_selection_timeout_ms, and where a connection is being made up to connectTimeoutMS, beyond its
 * deadline.
 *
 * Ownership  strings are copied.
 * Threads    any, after mongo_open; mongo_close when nobody uses it any more.
 * Errors     mongo_error.h says how MongoDB's are mapped. A message never holds a password.
 */
#ifndef ARGON_BRANCH_MONGO_CLIENT_H
#define ARGON_BRANCH_MONGO_CLIENT_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/error.h"

struct mongo;

struct mongo_options {
    const char *uri;                 /* mongodb:// or mongodb+srv:// */
    const char *app_name;            /* shown in MongoDB's logs; NULL: as the URI says */
    int server_selection_timeout_ms; /* 0: as the URI says, else 5 s */
    unsigned max_connections;        /* 0: as the URI says, else 100 */
};

enum mongo_topology { MONGO_STANDALONE, MONGO_REPLICA_SET, MONGO_SHARDED };

/* What the server says of itself, which is not the same as what it does: one that says that it has snapshot
 * sessions is to be tried before it is trusted with one. */
struct mongo_server_facts {
    enum mongo_topology topology;
    int max_wire_version;
    bool sessions;
    bool transactions; /* that may make collections, too */
    bool snapshot_sessions;
    char version[32];
};

/* Connects to nobody yet: a server that is down is no error here. INVALID_ARGUMENT: the URI can't be used. */
CHECKED bool mongo_open(const struct mongo_options *options, struct mongo **out, struct error *err);
void mongo_close(struct mongo *mongo); /* NULL is fine */

CHECKED bool mongo_ping(struct mongo *mongo, int64_t deadline, struct error *err);

/* Asked once, and again after a server was lost. */
CHECKED bool mongo_server_facts(struct mongo *mongo, int64_t deadline, struct mongo_server_facts *out, struct error *err);

/* The database that the URI names behind its hosts; "" when it names none. */
const char *mongo_uri_database(const struct mongo *mongo);

/* The URI for people: without user, password, and whatever options hold secrets. Freed with free(). */
char *mongo_redact_uri(const char *uri);

#endif
