#include "cli/connect.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "cli/command.h"
#include "common/base/clock.h"
#include "common/base/random.h"

enum { DEFAULT_TIMEOUT = 30 * MICROS_PER_SECOND };

bool connection_open(struct connection *connection, const struct global_options *options, struct error *err)
{
    const struct rpc_client_options client_options = { .target = options->endpoint,
                                                       .balance = strchr(options->endpoint, ',') ? RPC_ROUND_ROBIN : RPC_PICK_FIRST,
                                                       .max_message_bytes = MAX_MESSAGE_BYTES };
    struct rpc_client *client;
    if (!rpc_client_open(&client_options, &client, err))
        return error_wrap(err, "endpoint %s", options->endpoint);
    *connection = (struct connection) { .client = client, .options = options };
    return true;
}

void connection_close(struct connection *connection)
{
    rpc_client_close(connection->client);
    connection->client = NULL;
}

int64_t connection_deadline(const struct connection *connection)
{
    uint64_t timeout = connection->options->timeout ? connection->options->timeout : DEFAULT_TIMEOUT;
    return clock_monotonic_micros() + (int64_t)timeout;
}

static bool call(struct connection *connection, bool repeatable, const char *method, const ProtobufCMessage *request,
                 const ProtobufCMessageDescriptor *response_type, struct arena *arena, ProtobufCMessage **response, struct error *err)
{
    const struct rpc_call_options options = { .deadline = connection_deadline(connection), .repeatable = repeatable };
    atomic_store(&connection->asked, true);
    bool ok = rpc_client_call(connection->client, method, request, response_type, &options, arena, response, err);
    if (ok || (err->code != ERROR_UNAVAILABLE && err->code != ERROR_DEADLINE_EXCEEDED) || rpc_client_is_connected(connection->client))
        atomic_store(&connection->reached, true);
    return ok;
}

bool connection_read(struct connection *connection, const char *method, const ProtobufCMessage *request,
                     const ProtobufCMessageDescriptor *response_type, struct arena *arena, ProtobufCMessage **response, struct error *err)
{
    return call(connection, true, method, request, response_type, arena, response, err);
}

bool connection_call_once(struct connection *connection, const char *method, const ProtobufCMessage *request,
                          const ProtobufCMessageDescriptor *response_type, struct arena *arena, ProtobufCMessage **response,
                          struct error *err)
{
    return call(connection, false, method, request, response_type, arena, response, err);
}

static void fill_write(struct connection *connection, uint64_t since_lsn, Argon__Branch__V1__WriteOptions *write)
{
    *write = (Argon__Branch__V1__WriteOptions)ARGON__BRANCH__V1__WRITE_OPTIONS__INIT;
    connection->write = write;
    write->request_id = connection->without_id ? "" : connection->request_id;
    write->since_lsn = connection->without_id ? 0 : since_lsn;
    write->actor = (char *)connection->options->actor;
}

static bool learn_head(struct connection *connection, const char *project, struct arena *arena, uint64_t *lsn, struct error *err)
{
    Argon__Branch__V1__GetProjectRequest request = ARGON__BRANCH__V1__GET_PROJECT_REQUEST__INIT;
    request.name = (char *)project;
    ProtobufCMessage *message;
    if (!connection_read(connection, BRANCH_METHOD("Projects", "GetProject"), &request.base,
                         &argon__branch__v1__get_project_response__descriptor, arena, &message, err))
        return false;
    const Argon__Branch__V1__GetProjectResponse *response = (const void *)message;
    *lsn = response->project ? response->project->head_lsn : 0;
    return true;
}

static bool learn_head_of_projects(struct connection *connection, struct arena *arena, uint64_t *lsn, struct error *err)
{
    Argon__Branch__V1__ListProjectsRequest request = ARGON__BRANCH__V1__LIST_PROJECTS_REQUEST__INIT;
    request.page_size = 1;
    ProtobufCMessage *message;
    if (!connection_read(connection, BRANCH_METHOD("Projects", "ListProjects"), &request.base,
                         &argon__branch__v1__list_projects_response__descriptor, arena, &message, err))
        return false;
    *lsn = ((const Argon__Branch__V1__ListProjectsResponse *)message)->lsn;
    return true;
}

bool connection_begin_write(struct connection *connection, const char *project, struct arena *arena, Argon__Branch__V1__WriteOptions *write,
                            struct error *err)
{
    const struct global_options *options = connection->options;
    if (strlen(options->request_id) > MAX_REQUEST_ID_BYTES)
        return error_set(err, ERROR_INVALID_ARGUMENT, "--request-id is longer than %d bytes", MAX_REQUEST_ID_BYTES);

    /* An id that was given may have been sent long ago: an LSN that is learned now would be too late for it. */
    uint64_t since_lsn = options->since_lsn;
    if (since_lsn == 0 && !options->request_id[0] &&
        !(project ? learn_head(connection, project, arena, &since_lsn, err) : learn_head_of_projects(connection, arena, &since_lsn, err)))
        return false;

    if (options->request_id[0])
        strcpy(connection->base_id, options->request_id);
    else
        random_id(connection->base_id);
    strcpy(connection->request_id, connection->base_id);
    connection->base_since_lsn = since_lsn;
    fill_write(connection, since_lsn, write);
    return true;
}

void connection_resume_write(struct connection *connection, const char *base_id, uint64_t since_lsn)
{
    snprintf(connection->base_id, sizeof connection->base_id, "%s", base_id);
    connection->base_since_lsn = since_lsn;
    connection->goes_on = true;
}

bool connection_next_write(struct connection *connection, uint64_t number, uint64_t since_lsn, Argon__Branch__V1__WriteOptions *write,
                           struct error *err)
{
    char id[sizeof connection->base_id + 24];
    int len = snprintf(id, sizeof id, "%s-%" PRIu64, connection->base_id, number);
    if (len > MAX_REQUEST_ID_BYTES)
        return error_set(err, ERROR_INVALID_ARGUMENT, "--request-id '%s' is too long: a number goes behind it, at most %d bytes in all",
                         connection->base_id, MAX_REQUEST_ID_BYTES);
    memcpy(connection->request_id, id, (size_t)len + 1);
    fill_write(connection, since_lsn, write);
    return true;
}

static bool needs_wal_branch(const struct error *err)
{
    return err->reason && strcmp(err->reason, "NEEDS_WAL_BRANCH") == 0;
}

bool connection_refuses_id(const struct error *err)
{
    return err->code == ERROR_FAILED_PRECONDITION && needs_wal_branch(err) && strcmp(err->keys, "request_id") == 0;
}

bool connection_write(struct connection *connection, const char *method, const ProtobufCMessage *request,
                      const ProtobufCMessageDescriptor *response_type, struct arena *arena, ProtobufCMessage **response, struct error *err)
{
    connection->unresolved = true;
    bool ok = call(connection, !connection->without_id, method, request, response_type, arena, response, err);
    if (!ok && !connection->without_id && !connection->options->request_id[0] && connection_refuses_id(err)) {
        connection->without_id = true;
        fill_write(connection, 0, connection->write);
        ok = connection_call_once(connection, method, request, response_type, arena, response, err);
    }
    /* Overload and shutdown refuse a call before anybody looks at its request_id: of an earlier copy they say nothing. */
    bool repeats = connection->options->request_id[0] || connection->goes_on;
    bool unasked = !ok && repeats && (err->code == ERROR_UNAVAILABLE || err->code == ERROR_RESOURCE_EXHAUSTED);
    connection->unresolved = unasked || (!ok && err->outcome != OUTCOME_NOT_APPLIED);
    return ok;
}

bool connection_stream(struct connection *connection, const char *method, const ProtobufCMessage *request,
                       const ProtobufCMessageDescriptor *response_type, struct rpc_client_stream **stream, struct error *err)
{
    const struct rpc_call_options options = { .deadline = connection->options->timeout ? connection_deadline(connection) : NO_DEADLINE };
    return rpc_client_stream_open(connection->client, method, request, response_type, &options, stream, err);
}

/* The option by which the user knows what the service calls so. */
static const char *option_of(const char *key, size_t len)
{
    static const char *const options[][2] = { { "as_of_lsn", "--at-lsn" },      { "as_of_time", "--at-time" },
                                              { "min_lsn", "--min-lsn" },       { "stale_ok", "--stale-ok" },
                                              { "request_id", "--request-id" }, { "since_lsn", "--since-lsn" },
                                              { "at_lsn", "--at-lsn" },         { "at_time", "--at-time" } };
    for (size_t i = 0; i < ARRAY_LEN(options); i++)
        if (strlen(options[i][0]) == len && memcmp(options[i][0], key, len) == 0)
            return options[i][1];
    return NULL;
}

void connection_report(const struct connection *connection, const struct error *err)
{
    fprintf(stderr, "argon: %s: %s\n", error_code_name(err->code), err->message);
    if (err->reason)
        fprintf(stderr, "argon: reason %s\n", err->reason);
    const char *next;
    for (const char *key = err->keys; *key; key = next) {
        size_t len = strcspn(key, "\n");
        const char *option = needs_wal_branch(err) ? option_of(key, len) : NULL;
        if (option)
            fprintf(stderr, "argon: %s needs a WAL branch\n", option);
        else
            fprintf(stderr, "argon: in the way: %.*s\n", (int)len, key);
        next = key + len + (key[len] == '\n');
    }
    if (connection->unresolved && connection->without_id && connection->remembers)
        fputs(
            "argon: whether the write took effect is unknown, and a traditional branch cannot tell; the same command goes on, and does not "
            "fail over what is in by then\n",
            stderr);
    else if (connection->unresolved && connection->without_id)
        fprintf(stderr,
                "argon: whether the write took effect is unknown, and a traditional branch cannot tell: look before you repeat it\n");
    else if (connection->unresolved && connection->remembers)
        fprintf(stderr, "argon: whether the write took effect is unknown; the same command again finishes it exactly once\n");
    else if (connection->unresolved)
        fprintf(stderr,
                "argon: whether the write took effect is unknown; to finish it exactly once, repeat the command with "
                "--request-id %s --since-lsn %" PRIu64 "\n",
                connection->base_id, connection->base_since_lsn);
}
