#include "branch-service/mongo/mongo_client.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "branch-service/mongo/mongo_internal.h"
#include "common/base/clock.h"
#include "common/base/memory.h"
#include "common/base/sync.h"
#include "common/mongo/driver.h"

#define DEFAULT_SELECTION_MS 5000
/* How often servers are looked at; more often than selection gives up, so that one that is back is found. */
#define DEFAULT_HEARTBEAT_MS 2000

struct mongo {
    mongoc_client_pool_t *pool;
    int selection_ms;
    char *database;
    struct mutex lock; /* rank 90; held for no call */
    bool facts_known;  /* under lock */
    struct mongo_server_facts facts;
};

static bool is_secret(const char *key, size_t len)
{
    static const char *const secrets[] = { "password", "passwd", "pwd", "mechanismproperties", "token", "secret" };
    for (size_t i = 0; i < ARRAY_LEN(secrets); i++) {
        size_t n = strlen(secrets[i]);
        for (size_t at = 0; at + n <= len; at++)
            if (strncasecmp(key + at, secrets[i], n) == 0)
                return true;
    }
    return false;
}

const char *mongo_uri_database(const struct mongo *mongo)
{
    return mongo->database;
}

char *mongo_redact_uri(const char *uri)
{
    struct buffer out = { 0 };
    const char *scheme = strstr(uri, "://");
    const char *rest = scheme ? scheme + 3 : uri;
    /* the last '@', since a password that somebody forgot to encode may hold one, and '/' and '?' too */
    const char *at = strrchr(rest, '@');
    if (scheme)
        buffer_append(&out, uri, (size_t)(rest - uri));
    if (at) {
        buffer_append(&out, "***@", 4);
        rest = at + 1;
    }
    const char *query = strchr(rest, '?');
    buffer_append(&out, rest, query ? (size_t)(query - rest) : strlen(rest));
    while (query) {
        const char *option = query + 1;
        const char *end = strchr(option, '&');
        size_t len = end ? (size_t)(end - option) : strlen(option);
        const char *equals = memchr(option, '=', len);
        buffer_append(&out, query, 1);
        if (equals && is_secret(option, (size_t)(equals - option))) {
            buffer_append(&out, option, (size_t)(equals - option) + 1);
            buffer_append(&out, "***", 3);
        } else {
            buffer_append(&out, option, len);
        }
        query = end;
    }
    buffer_append_u8(&out, 0);
    return out.failed ? mem_strdup("(out of memory)") : (char *)out.data;
}

/* The driver's own words about a bad URI quote pieces of it, the password's among them. */
static bool bad_uri(const char *uri, struct error *err)
{
    char *redacted = mongo_redact_uri(uri);
    error_set(err, ERROR_INVALID_ARGUMENT,
              "'%s' is no MongoDB URI that can be used (mongodb://HOST:PORT/?OPTIONS; special characters in a name or password as %%XX)",
              redacted);
    free(redacted);
    return false;
}

static bool set_concerns(mongoc_uri_t *uri)
{
    mongoc_write_concern_t *write = mongoc_write_concern_new();
    mongoc_write_concern_set_wmajority(write, 0);
    mongoc_write_concern_set_journal(write, true);
    mongoc_uri_set_write_concern(uri, write);
    mongoc_write_concern_destroy(write);

    mongoc_read_concern_t *read = mongoc_read_concern_new();
    bool ok = mongoc_read_concern_set_level(read, MONGOC_READ_CONCERN_LEVEL_MAJORITY);
    mongoc_uri_set_read_concern(uri, read);
    mongoc_read_concern_destroy(read);

    mongoc_read_prefs_t *prefs = mongoc_read_prefs_new(MONGOC_READ_PRIMARY);
    mongoc_uri_set_read_prefs_t(uri, prefs);
    mongoc_read_prefs_destroy(prefs);
    return ok;
}

static bool set_default(mongoc_uri_t *uri, const char *option, int value)
{
    return mongoc_uri_has_option(uri, option) || mongoc_uri_set_option_as_int32(uri, option, value);
}

bool mongo_open(const struct mongo_options *options, struct mongo **out, struct error *err)
{
    mongo_driver_start();
    bson_error_t why;
    mongoc_uri_t *uri = mongoc_uri_new_with_error(options->uri, &why);
    if (!uri)
        return bad_uri(options->uri, err);
    struct mongo *mongo = NULL;
    bool ok = false;
    if (!set_concerns(uri))
        goto out;
    if (options->server_selection_timeout_ms > 0 &&
        !mongoc_uri_set_option_as_int32(uri, MONGOC_URI_SERVERSELECTIONTIMEOUTMS, options->server_selection_timeout_ms))
        goto out;
    if (!set_default(uri, MONGOC_URI_SERVERSELECTIONTIMEOUTMS, DEFAULT_SELECTION_MS))
        goto out;
    int selection_ms = mongoc_uri_get_option_as_int32(uri, MONGOC_URI_SERVERSELECTIONTIMEOUTMS, DEFAULT_SELECTION_MS);
    if (!set_default(uri, MONGOC_URI_HEARTBEATFREQUENCYMS, DEFAULT_HEARTBEAT_MS))
        goto out;
    if (!set_default(uri, MONGOC_URI_CONNECTTIMEOUTMS, selection_ms) || !set_default(uri, MONGOC_URI_WAITQUEUETIMEOUTMS, selection_ms))
        goto out;
    if (options->max_connections && !mongoc_uri_set_option_as_int32(uri, MONGOC_URI_MAXPOOLSIZE, (int32_t)options->max_connections))
        goto out;

    mongo = mem_zalloc(sizeof *mongo);
    mongo->selection_ms = selection_ms;
    mongo->database = mem_strdup(mongoc_uri_get_database(uri) ? mongoc_uri_get_database(uri) : "");
    mongo->pool = mongoc_client_pool_new_with_error(uri, &why);
    if (!mongo->pool)
        goto out;
    if (!mongoc_client_pool_set_error_api(mongo->pool, MONGOC_ERROR_API_VERSION_2))
        goto out;
    if (options->app_name && !mongoc_uri_get_appname(uri) && !mongoc_client_pool_set_appname(mongo->pool, options->app_name))
        goto out;
    mutex_init(&mongo->lock, 90);
    ok = true;
out:
    mongoc_uri_destroy(uri);
    if (!ok) {
        if (mongo && mongo->pool)
            mongoc_client_pool_destroy(mongo->pool);
        if (mongo)
            free(mongo->database);
        free(mongo);
        return bad_uri(options->uri, err);
    }
    *out = mongo;
    return true;
}

void mongo_close(struct mongo *mongo)
{
    if (!mongo)
        return;
    mongoc_client_pool_destroy(mongo->pool);
    mutex_destroy(&mongo->lock);
    free(mongo->database);
    free(mongo);
}

mongoc_client_t *mongo_begin(struct mongo *mongo, int64_t deadline, struct error *err)
{
    if (deadline != NO_DEADLINE && clock_monotonic_micros() >= deadline) {
        error_set(err, ERROR_DEADLINE_EXCEEDED, "the deadline passed before MongoDB was asked");
        if (err)
            err->outcome = OUTCOME_NOT_APPLIED;
        return NULL;
    }
    mongoc_client_t *client = mongoc_client_pool_pop(mongo->pool);
    if (!client) {
        error_set(err, ERROR_UNAVAILABLE, "all connections to MongoDB have been in use for %d ms", mongo->selection_ms);
        if (err)
            err->outcome = OUTCOME_NOT_APPLIED;
        return NULL;
    }
    mongo_stream_install(client);
    mongo_stream_set_deadline(deadline);
    return client;
}

void mongo_end(struct mongo *mongo, mongoc_client_t *client)
{
    mongo_stream_set_deadline(NO_DEADLINE);
    mongoc_client_pool_push(mongo->pool, client);
}

void mongo_note_failure(struct mongo *mongo, const struct error *err)
{
    if (err->code != ERROR_UNAVAILABLE && err->code != ERROR_DEADLINE_EXCEEDED)
        return;
    mutex_lock(&mongo->lock);
    mongo->facts_known = false;
    mutex_unlock(&mongo->lock);
}

bool mongo_view(struct bytes document, const char *what, bson_t *out, struct error *err)
{
    /* libbson aborts on NULL, which an empty range may be */
    if (document.len < 5 || document.len > INT32_MAX || !bson_init_static(out, document.data, document.len)) {
        error_set(err, ERROR_INVALID_ARGUMENT, "the %s is no BSON document", what);
        if (err)
            err->outcome = OUTCOME_NOT_APPLIED;
        return false;
    }
    return true;
}

void mongo_append_max_time(bson_t *command, int64_t deadline)
{
    int32_t left = mongo_milliseconds_left(deadline);
    if (left)
        BSON_APPEND_INT32(command, "maxTimeMS", left);
}

bool mongo_run(struct mongo *mongo, const char *database, enum mongo_command_kind kind, const bson_t *command, int64_t deadline,
               bson_t *reply, struct error *err)
{
    bson_t unused;
    if (!reply)
        reply = &unused;
    struct error why = { 0 };
    mongoc_client_t *client = mongo_begin(mongo, deadline, &why);
    bool ok = false;
    if (!client) {
        bson_init(reply);
        goto out;
    }
    bson_t opts;
    bson_init(&opts);
    mongo_append_max_time(&opts, deadline);
    bson_error_t failure = { 0 };
    switch (kind) {
    case MONGO_COMMAND_PLAIN:
        ok = mongoc_client_command_with_opts(client, database, command, NULL, &opts, reply, &failure);
        break;
    case MONGO_COMMAND_READ:
        ok = mongoc_client_read_command_with_opts(client, database, command, NULL, &opts, reply, &failure);
        break;
    case MONGO_COMMAND_WRITE:
        ok = mongoc_client_write_command_with_opts(client, database, command, &opts, reply, &failure);
        break;
    case MONGO_COMMAND_READ_WRITE:
        ok = mongoc_client_read_write_command_with_opts(client, database, command, NULL, &opts, reply, &failure);
        break;
    }
    bson_destroy(&opts);
    mongo_end(mongo, client);
    if (!ok) {
        mongo_error_set(&why, &failure, reply, deadline, MONGO_CHANGES_MANY);
        mongo_note_failure(mongo, &why);
    }
out:
    if (reply == &unused)
        bson_destroy(reply);
    if (!ok && err)
        *err = why;
    return ok;
}

bool mongo_ping(struct mongo *mongo, int64_t deadline, struct error *err)
{
    bson_t command;
    bson_init(&command);
    BSON_APPEND_INT32(&command, "ping", 1);
    bool ok = mongo_run(mongo, "admin", MONGO_COMMAND_PLAIN, &command, deadline, NULL, err);
    bson_destroy(&command);
    return ok;
}

/* Which first wire version has what: transactions 4.0 (replica sets) and 4.2 (mongos), with collections made in them 4.4;
 * snapshots 5.0. */
static void facts_of_hello(const bson_t *hello, struct mongo_server_facts *out)
{
    bson_iter_t at;
    if (bson_iter_init_find(&at, hello, "setName"))
        out->topology = MONGO_REPLICA_SET;
    else if (bson_iter_init_find(&at, hello, "msg") && BSON_ITER_HOLDS_UTF8(&at) && strcmp(bson_iter_utf8(&at, NULL), "isdbgrid") == 0)
        out->topology = MONGO_SHARDED;
    else
        out->topology = MONGO_STANDALONE;
    if (bson_iter_init_find(&at, hello, "maxWireVersion"))
        out->max_wire_version = (int)bson_iter_as_int64(&at);
    out->sessions = bson_iter_init_find(&at, hello, "logicalSessionTimeoutMinutes") && BSON_ITER_HOLDS_NUMBER(&at);
    out->transactions = out->sessions && out->topology != MONGO_STANDALONE && out->max_wire_version >= 9;
    out->snapshot_sessions = out->sessions && out->topology != MONGO_STANDALONE && out->max_wire_version >= 13;
}

static bool ask_hello(struct mongo *mongo, int64_t deadline, struct mongo_server_facts *out, struct error *err)
{
    mongoc_client_t *client = mongo_begin(mongo, deadline, err);
    if (!client)
        return false;
    /* the driver has greeted the server already, in whichever of the two ways that one knows */
    bson_error_t failure = { 0 };
    mongoc_server_description_t *server = mongoc_client_select_server(client, true, NULL, &failure);
    mongo_end(mongo, client);
    if (!server) {
        mongo_error_set(err, &failure, NULL, deadline, MONGO_CHANGES_NOTHING);
        return false;
    }
    facts_of_hello(mongoc_server_description_hello_response(server), out);
    mongoc_server_description_destroy(server);
    return true;
}

bool mongo_server_facts(struct mongo *mongo, int64_t deadline, struct mongo_server_facts *out, struct error *err)
{
    mutex_lock(&mongo->lock);
    bool known = mongo->facts_known;
    struct mongo_server_facts facts = mongo->facts;
    mutex_unlock(&mongo->lock);
    if (known) {
        *out = facts;
        return true;
    }
    memset(&facts, 0, sizeof facts);
    bson_t command, reply;
    bson_init(&command);
    BSON_APPEND_INT32(&command, "buildInfo", 1);
    bool ok = mongo_run(mongo, "admin", MONGO_COMMAND_PLAIN, &command, deadline, &reply, err);
    bson_iter_t at;
    if (ok && bson_iter_init_find(&at, &reply, "version") && BSON_ITER_HOLDS_UTF8(&at))
        snprintf(facts.version, sizeof facts.version, "%s", bson_iter_utf8(&at, NULL));
    bson_destroy(&command);
    bson_destroy(&reply);
    if (!ok || !ask_hello(mongo, deadline, &facts, err))
        return false;
    mutex_lock(&mongo->lock);
    mongo->facts = facts;
    mongo->facts_known = true;
    mutex_unlock(&mongo->lock);
    *out = facts;
    return true;
}
