#include "cli/mongo/mongo_server.h"

#include <stdlib.h>
#include <string.h>

#include "cli/mongo/mongo_internal.h"
#include "common/base/memory.h"
#include "common/mongo/driver.h"

/* ---- failures --------------------------------------------------------------------------------------------- */

/* Codes of the server, https://github.com/mongodb/mongo/blob/master/src/mongo/base/error_codes.yml */
static const struct {
    int server;
    enum error_code code;
    const char *reason;
} server_codes[] = {
    { 6, ERROR_UNAVAILABLE, NULL },                   /* HostUnreachable */
    { 7, ERROR_UNAVAILABLE, NULL },                   /* HostNotFound */
    { 13, ERROR_PERMISSION_DENIED, NULL },            /* Unauthorized */
    { 18, ERROR_UNAUTHENTICATED, NULL },              /* AuthenticationFailed */
    { 43, ERROR_UNAVAILABLE, NULL },                  /* CursorNotFound */
    { 50, ERROR_DEADLINE_EXCEEDED, NULL },            /* MaxTimeMSExpired */
    { 64, ERROR_UNAVAILABLE, NULL },                  /* WriteConcernTimeout */
    { 73, ERROR_INVALID_ARGUMENT, NULL },             /* InvalidNamespace */
    { 89, ERROR_UNAVAILABLE, NULL },                  /* NetworkTimeout */
    { 91, ERROR_UNAVAILABLE, NULL },                  /* ShutdownInProgress */
    { 175, ERROR_UNAVAILABLE, NULL },                 /* QueryPlanKilled */
    { 189, ERROR_UNAVAILABLE, NULL },                 /* PrimarySteppedDown */
    { 237, ERROR_UNAVAILABLE, NULL },                 /* CursorKilled */
    { 239, ERROR_OUT_OF_RANGE, MONGO_SNAPSHOT_GONE }, /* SnapshotTooOld */
    { 246, ERROR_OUT_OF_RANGE, MONGO_SNAPSHOT_GONE }, /* SnapshotUnavailable */
    { 262, ERROR_UNAVAILABLE, NULL },                 /* ExceededTimeLimit */
    { 317, ERROR_UNAVAILABLE, NULL },                 /* ConnectionPoolExpired */
    { 384, ERROR_UNAVAILABLE, NULL },                 /* ConnectionError */
    { 9001, ERROR_UNAVAILABLE, NULL },                /* SocketException */
    { 10107, ERROR_UNAVAILABLE, NULL },               /* NotWritablePrimary */
    { 11000, ERROR_ALREADY_EXISTS, NULL },            /* DuplicateKey */
    { 11600, ERROR_UNAVAILABLE, NULL },               /* InterruptedAtShutdown */
    { 11602, ERROR_UNAVAILABLE, NULL },               /* InterruptedDueToReplStateChange */
    { 13435, ERROR_UNAVAILABLE, NULL },               /* NotPrimaryNoSecondaryOk */
    { 13436, ERROR_UNAVAILABLE, NULL },               /* NotPrimaryOrSecondary */
};

bool mongo_server_fail(struct error *err, const bson_error_t *error, const bson_t *reply, const char *what)
{
    enum error_code code = ERROR_INTERNAL;
    const char *reason = NULL;
    bool is_servers = error->domain == MONGOC_ERROR_SERVER || error->domain == MONGOC_ERROR_QUERY ||
                      error->domain == MONGOC_ERROR_WRITE_CONCERN || error->domain == MONGOC_ERROR_COLLECTION ||
                      error->domain == MONGOC_ERROR_CURSOR || error->domain == MONGOC_ERROR_COMMAND;
    if (error->domain == MONGOC_ERROR_STREAM || error->domain == MONGOC_ERROR_SERVER_SELECTION)
        code = ERROR_UNAVAILABLE;
    if (error->domain == MONGOC_ERROR_CLIENT && error->code == MONGOC_ERROR_CLIENT_AUTHENTICATE)
        code = ERROR_UNAUTHENTICATED;
    if (error->domain == MONGOC_ERROR_SCRAM)
        code = ERROR_UNAUTHENTICATED;
    for (size_t i = 0; is_servers && i < ARRAY_LEN(server_codes); i++)
        if ((int)error->code == server_codes[i].server) {
            code = server_codes[i].code;
            reason = server_codes[i].reason;
        }
    if (reply && code == ERROR_INTERNAL &&
        (mongoc_error_has_label(reply, "RetryableWriteError") || mongoc_error_has_label(reply, "TransientTransactionError")))
        code = ERROR_UNAVAILABLE;
    error_fill(err, code, "MongoDB: %s: %s", what, error->message);
    if (reason)
        error_set_reason(err, reason);
    return false;
}

/* ---- connection -------------------------------------------------------------------------------------------- */

bool mongo_uri_begins(const char *text)
{
    return strncmp(text, "mongodb://", 10) == 0 || strncmp(text, "mongodb+srv://", 14) == 0;
}

bool mongo_server_open(const char *text, struct mongo_server **opened, struct error *err)
{
    bson_error_t error;
    mongo_driver_start();
    if (!mongo_uri_begins(text)) /* and nothing of it is repeated: it may hold a password */
        return error_set(err, ERROR_INVALID_ARGUMENT, "a URI of MongoDB begins with mongodb:// or mongodb+srv://");
    struct mongo_server *server = mem_zalloc(sizeof *server);
    server->uri = mongoc_uri_new_with_error(text, &error);
    if (!server->uri) {
        free(server);
        return error_set(err, ERROR_INVALID_ARGUMENT, "the URI of MongoDB: %s", error.message);
    }
    if (!mongoc_uri_get_appname(server->uri))
        mongoc_uri_set_appname(server->uri, "argon");
    server->client = mongoc_client_new_from_uri_with_error(server->uri, &error);
    if (!server->client) {
        mongo_server_close(server);
        return error_set(err, ERROR_INVALID_ARGUMENT, "the URI of MongoDB: %s", error.message);
    }
    mongoc_client_set_error_api(server->client, MONGOC_ERROR_API_VERSION_2);
    *opened = server;
    return true;
}

void mongo_server_close(struct mongo_server *server)
{
    if (!server)
        return;
    if (server->client)
        mongoc_client_destroy(server->client);
    mongoc_uri_destroy(server->uri);
    free(server);
}

bool mongo_server_run(struct mongo_server *server, const char *database, const bson_t *command, bson_t *reply, const char *what,
                      struct error *err)
{
    bson_error_t error;
    return mongoc_client_command_simple(server->client, database, command, NULL, reply, &error) ||
           mongo_server_fail(err, &error, reply, what);
}

bool mongo_server_version(struct mongo_server *server, char version[32], struct error *err)
{
    bson_t *command = BCON_NEW("buildInfo", BCON_INT32(1)), *ping = BCON_NEW("ping", BCON_INT32(1)), reply;
    bson_iter_t iter;
    bool ok = mongo_server_run(server, "admin", ping, &reply, "connecting", err); /* with the password, which buildInfo may do without */
    bson_destroy(&reply);
    if (ok) {
        ok = mongo_server_run(server, "admin", command, &reply, "connecting", err);
        if (ok)
            snprintf(version, 32, "%s",
                     bson_iter_init_find(&iter, &reply, "version") && BSON_ITER_HOLDS_UTF8(&iter) ? bson_iter_utf8(&iter, NULL) : "?");
        bson_destroy(&reply);
    }
    bson_destroy(command);
    bson_destroy(ping);
    return ok;
}

/* ---- URIs -------------------------------------------------------------------------------------------------- */

char *mongo_server_database(const struct mongo_server *server, struct arena *arena)
{
    const char *database = mongoc_uri_get_database(server->uri);
    return arena_strdup(arena, database ? database : "");
}

/* Where the hosts begin and end in a URI. */
static void find_hosts(const char *uri, const char **begin, const char **end)
{
    const char *authority = strstr(uri, "://") + 3;
    *end = authority + strcspn(authority, "/?");
    *begin = authority;
    for (const char *c = authority; c < *end; c++)
        if (*c == '@')
            *begin = c + 1;
}

char *mongo_server_hosts(const struct mongo_server *server, struct arena *arena)
{
    const char *begin, *end;
    find_hosts(mongoc_uri_get_string(server->uri), &begin, &end);
    return arena_strndup(arena, begin, (size_t)(end - begin));
}

char *mongo_server_uri(const struct mongo_server *server, const char *database, bool with_password, struct arena *arena)
{
    const char *uri = mongoc_uri_get_string(server->uri), *hosts, *end;
    find_hosts(uri, &hosts, &end);
    bool needs_source = mongoc_uri_get_username(server->uri) && !strcasestr(end, "authsource=");
    const char *source = needs_source ? mongoc_uri_get_auth_source(server->uri) : "";
    size_t size = strlen(uri) + strlen(database) + strlen(source) + sizeof "/****@?authSource=";
    char *made = arena_alloc(arena, size);
    if (!made)
        return NULL;
    const char *authority = strstr(uri, "://") + 3;
    const char *colon = memchr(authority, ':', (size_t)(hosts - authority));
    int len = hosts == authority || with_password || !colon
                  ? snprintf(made, size, "%.*s", (int)(end - uri), uri)
                  : snprintf(made, size, "%.*s:****@%.*s", (int)(colon - uri), uri, (int)(end - hosts), hosts);
    const char *options = strchr(end, '?');
    len += snprintf(made + len, size - (size_t)len, "/%s%s", database, options ? options : "");
    /* who was looked up in the database of the path is looked up there still */
    if (source[0])
        snprintf(made + len, size - (size_t)len, "%cauthSource=%s", options ? '&' : '?', source);
    return made;
}
