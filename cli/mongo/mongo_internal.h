/* What the files of this folder share: the driver's types. */
#ifndef ARGON_CLI_MONGO_MONGO_INTERNAL_H
#define ARGON_CLI_MONGO_MONGO_INTERNAL_H

#include <mongoc/mongoc.h>

#include "cli/mongo/mongo_server.h"

struct mongo_server {
    mongoc_uri_t *uri;
    mongoc_client_t *client;
};

/* Fills err in from the driver's; the reply, when there is one, is looked into, too. False. */
bool mongo_server_fail(struct error *err, const bson_error_t *error, const bson_t *reply, const char *what);
/* Runs a command; reply is initialised in any case. */
CHECKED bool mongo_server_run(struct mongo_server *server, const char *database, const bson_t *command, bson_t *reply, const char *what,
                              struct error *err);

#endif
