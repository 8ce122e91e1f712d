/* The client: connection, calls, and exactly-once.
 *
 * A write names an LSN of its project that was known before it was first sent (since_lsn): without one the
 * service could not tell a request that it has forgotten from one that is new, and it must not be too old, because the
 * service remembers so and so many requests. The client keeps the LSN that its last write of each project was answered
 * with, and asks for the head when that is no more than a moment ago. */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "client/client_internal.h"
#include "common/base/clock.h"
#include "common/base/limits.h"
#include "common/base/memory.h"

enum {
    RANK_CLIENT = 10,
    DEFAULT_TIMEOUT_MS = 30000,
    FRESH_MICROS = 1000000,
};

struct known_project {
    UT_hash_handle hh;
    uint64_t lsn;
    int64_t seen_at; /* monotonic microseconds */
    char name[];
};

static void start_grpc(void)
{
    /* The program's signals are its own. */
    struct sigaction pipe_action;
    sigset_t mask;
    sigaction(SIGPIPE, NULL, &pipe_action);
    pthread_sigmask(SIG_SETMASK, NULL, &mask);
    rpc_init();
    pthread_sigmask(SIG_SETMASK, &mask, NULL);
    sigaction(SIGPIPE, &pipe_action, NULL);
}

/* With every signal blocked, so that the threads that begin here take none. */
static bool connect_quietly(const struct rpc_client_options *options, struct rpc_client **rpc, struct error *err)
{
    static pthread_once_t started = PTHREAD_ONCE_INIT;
    sigset_t all, mask;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &mask);
    pthread_once(&started, start_grpc);
    bool ok = rpc_client_open(options, rpc, err);
    pthread_sigmask(SIG_SETMASK, &mask, NULL);
    return ok;
}

struct argon_client *argon_open(const struct argon_options *options, struct argon_error *error)
{
    const char *endpoint = options && options->endpoint ? options->endpoint : getenv("ARGON_ENDPOINT");
    if (options && options->actor && strlen(options->actor) > MAX_ACTOR_BYTES) {
        client_refuse(error, "actor is longer than 128 bytes");
        return NULL;
    }
    if (!endpoint || !endpoint[0])
        endpoint = "127.0.0.1:7800";
    if (!strchr(endpoint, ':')) { /* gRPC would make up a port */
        client_refuse(error, "the endpoint is not HOST:PORT");
        return NULL;
    }
    const struct rpc_client_options rpc_options = {
        .target = endpoint,
        .balance = RPC_ROUND_ROBIN,
        .max_message_bytes = MAX_MESSAGE_BYTES,
    };
    struct rpc_client *rpc;
    struct error err;
    if (!connect_quietly(&rpc_options, &rpc, &err)) {
        client_fail(error, &err);
        return NULL;
    }
    struct argon_client *client = mem_zalloc(sizeof *client);
    client->rpc = rpc;
    client->timeout_micros = (int64_t)(options && options->timeout_ms ? options->timeout_ms : DEFAULT_TIMEOUT_MS) * 1000;
    client->actor = mem_strdup(options && options->actor ? options->actor : "");
    mutex_init(&client->lock, RANK_CLIENT);
    client_succeed(error);
    return client;
}

/* ---- errors ----------------------------------------------------------------------------------------- */

bool client_fail(struct argon_error *error, const struct error *err)
{
    *error = (struct argon_error) { .code = (enum argon_code)err->code, .not_applied = err->outcome == OUTCOME_NOT_APPLIED };
    snprintf(error->message, sizeof error->message, "%s", err->message);
    return false;
}

bool client_refuse(struct argon_error *error, const char *message)
{
    *error = (struct argon_error) { .code = ARGON_INVALID_ARGUMENT, .not_applied = true };
    snprintf(error->message, sizeof error->message, "%s", message);
    return false;
}

bool client_no_memory(struct argon_error *error)
{
    struct error err;
    error_out_of_memory(&err);
    client_fail(error, &err);
    error->not_applied = true;
    return false;
}

void client_succeed(struct argon_error *error)
{
    *error = (struct argon_error) { 0 };
}

/* ---- what is known of projects ---------------------------------------------------------------------- */

static struct known_project *find_project_locked(struct argon_client *client, const char *name)
{
    struct known_project *known;
    HASH_FIND_STR(client->projects, name, known);
    return known;
}

static void forget_locked(struct argon_client *client, struct known_project *known)
{
    HASH_DEL(client->projects, known);
    free(known);
}

static void saw_lsn(struct argon_client *client, const char *project, uint64_t lsn)
{
    mutex_lock(&client->lock);
    struct known_project *known = find_project_locked(client, project);
    if (!known) {
        size_t len = strlen(project);
        known = mem_zalloc(sizeof *known + len + 1);
        memcpy(known->name, project, len + 1);
        HASH_ADD_STR(client->projects, name, known);
    }
    if (known->lsn <= lsn) {
        known->lsn = lsn;
        known->seen_at = clock_monotonic_micros();
    }
    mutex_unlock(&client->lock);
}

void client_forget_project(struct argon_client *client, const char *project)
{
    mutex_lock(&client->lock);
    struct known_project *known = find_project_locked(client, project);
    if (known)
        forget_locked(client, known);
    mutex_unlock(&client->lock);
}

static void forget_projects(struct argon_client *client)
{
    struct known_project *known, *next;
    HASH_ITER(hh, client->projects, known, next)
    forget_locked(client, known);
}

/* ---- calls ------------------------------------------------------------------------------------------ */

static bool exchange(struct argon_client *client, const struct client_call *call, int64_t deadline, struct error *err)
{
    /* a write with a request id may be sent again */
    const bool repeatable = !call->options || (*call->options)->request_id[0];
    const struct rpc_call_options options = { .deadline = deadline, .repeatable = repeatable };
    struct arena arena;
    ProtobufCMessage *response;
    arena_init(&arena, 0);
    bool ok = rpc_client_call(client->rpc, call->method, call->request, call->response_type, &options, call->keep ? call->keep : &arena,
                              &response, err);
    if (ok && call->show) {
        uint64_t lsn = call->show(response, call->out);
        if (lsn)
            saw_lsn(client, call->project, lsn);
    }
    arena_destroy(&arena);
    return ok;
}

static uint64_t show_head(const ProtobufCMessage *message, void *lsn)
{
    const Argon__Branch__V1__GetProjectResponse *response = (const void *)message;
    return *(uint64_t *)lsn = response->project ? response->project->head_lsn : 0;
}

static uint64_t show_head_of_projects(const ProtobufCMessage *message, void *lsn)
{
    *(uint64_t *)lsn = ((const Argon__Branch__V1__ListProjectsResponse *)message)->lsn;
    return 0;
}

static bool ask_since_lsn(struct argon_client *client, const char *project, int64_t deadline, uint64_t *lsn, struct error *err)
{
    Argon__Branch__V1__GetProjectRequest one = ARGON__BRANCH__V1__GET_PROJECT_REQUEST__INIT;
    Argon__Branch__V1__ListProjectsRequest all = ARGON__BRANCH__V1__LIST_PROJECTS_REQUEST__INIT;
    one.name = (char *)project;
    all.page_size = 1;
    const struct client_call get = { BRANCH_CALL("Projects", "GetProject", get_project), &one.base, project, .show = show_head,
                                     .out = lsn };
    const struct client_call list = { BRANCH_CALL("Projects", "ListProjects", list_projects), &all.base, .show = show_head_of_projects,
                                      .out = lsn };
    return exchange(client, project ? &get : &list, deadline, err);
}

static bool find_since_lsn(struct argon_client *client, const char *project, int64_t deadline, uint64_t *lsn, struct error *err)
{
    bool fresh = false;
    if (project) {
        mutex_lock(&client->lock);
        const struct known_project *known = find_project_locked(client, project);
        fresh = known && clock_monotonic_micros() - known->seen_at < FRESH_MICROS;
        if (fresh)
            *lsn = known->lsn;
        mutex_unlock(&client->lock);
    }
    if (fresh || ask_since_lsn(client, project, deadline, lsn, err))
        return true;
    err->outcome = OUTCOME_NOT_APPLIED; /* the write itself was not sent */
    return false;
}

/* The LSN is of a project that had this name before, or of a log that was replaced. The service has looked for the request in the
 * one that is there, so that it can be sent again. */
static bool is_of_another_log(const struct client_call *call, const struct error *err)
{
    return call->project && err->reason && strcmp(err->reason, "OTHER_LOG") == 0;
}

/* A traditional branch. It was refused for its id alone, and that is how the log has it: no late copy will be applied. */
static bool takes_no_id(const struct error *err)
{
    return err->code == ERROR_FAILED_PRECONDITION && err->reason && strcmp(err->reason, "NEEDS_WAL_BRANCH") == 0 &&
           strcmp(err->keys, "request_id") == 0;
}

static bool write_call(struct argon_client *client, const struct client_call *call, int64_t deadline, struct error *err)
{
    Argon__Branch__V1__WriteOptions options = ARGON__BRANCH__V1__WRITE_OPTIONS__INIT;
    char request_id[ID_SIZE];
    random_id(request_id);
    options.request_id = request_id;
    options.actor = client->actor;
    *call->options = &options;
    if (!find_since_lsn(client, call->project, deadline, &options.since_lsn, err))
        return false;
    if (exchange(client, call, deadline, err))
        return true;
    if (takes_no_id(err)) {
        options.request_id = "";
        options.since_lsn = 0;
        return exchange(client, call, deadline, err);
    }
    if (!is_of_another_log(call, err))
        return false;
    client_forget_project(client, call->project);
    if (!find_since_lsn(client, call->project, deadline, &options.since_lsn, err)) {
        err->outcome = OUTCOME_UNKNOWN; /* the service called it that */
        return false;
    }
    return exchange(client, call, deadline, err);
}

bool client_call(struct argon_client *client, const struct client_call *call, struct argon_error *error)
{
    int64_t deadline = clock_monotonic_micros() + client->timeout_micros;
    struct error err;
    if (!(call->options ? write_call(client, call, deadline, &err) : exchange(client, call, deadline, &err)))
        return client_fail(error, &err);
    client_succeed(error);
    return true;
}

void argon_close(struct argon_client *client)
{
    if (!client)
        return;
    rpc_client_close(client->rpc);
    forget_projects(client);
    mutex_destroy(&client->lock);
    free(client->actor);
    free(client);
}

/* ---- messages --------------------------------------------------------------------------------------- */

bool client_target(const struct argon_target *from, Argon__Branch__V1__Target *to, struct argon_error *error)
{
    *to = (Argon__Branch__V1__Target)ARGON__BRANCH__V1__TARGET__INIT;
    if (!from || !from->project || !from->branch || !from->collection)
        return client_refuse(error, "a target needs project, branch and collection");
    to->project = (char *)from->project;
    to->branch = (char *)from->branch;
    to->collection = (char *)from->collection;
    return true;
}

bool client_document(const struct argon_document *from, struct arena *arena, Argon__Branch__V1__Document *to, struct argon_error *error)
{
    *to = (Argon__Branch__V1__Document)ARGON__BRANCH__V1__DOCUMENT__INIT;
    if (!from || !from->data)
        return client_refuse(error, "a document is missing or has no data");
    if (from->format == ARGON_FORMAT_BSON) {
        to->bson = (ProtobufCBinaryData) { from->len, (uint8_t *)from->data };
        return true;
    }
    if (from->len == SIZE_MAX) {
        to->json = (char *)from->data;
        return true;
    }
    if (memchr(from->data, '\0', from->len))
        return client_refuse(error, "a JSON document has a zero byte");
    to->json = arena_strndup(arena, from->data, from->len);
    return to->json || client_no_memory(error);
}

bool client_part(const struct argon_document *from, struct arena *arena, Argon__Branch__V1__Document **place, struct argon_error *error)
{
    *place = NULL;
    if (!from->data)
        return true;
    Argon__Branch__V1__Document *part = arena_alloc(arena, sizeof *part);
    if (!part)
        return client_no_memory(error);
    *place = part;
    return client_document(from, arena, part, error);
}

bool client_list(const struct argon_document *from, size_t n, struct arena *arena, Argon__Branch__V1__Document ***list,
                 struct argon_error *error)
{
    if (n > MAX_BATCH_ENTRIES) /* before they are counted in memory */
        return client_refuse(error, "more documents than one call takes");
    Argon__Branch__V1__Document *messages = arena_alloc(arena, (n + 1) * sizeof *messages);
    *list = arena_alloc(arena, (n + 1) * sizeof **list);
    if (!messages || !*list)
        return client_no_memory(error);
    for (size_t i = 0; i < n; i++) {
        (*list)[i] = &messages[i];
        if (!client_document(from ? &from[i] : NULL, arena, &messages[i], error))
            return false;
    }
    return true;
}

Argon__Branch__V1__Format client_format(enum argon_format format)
{
    switch (format) {
    case ARGON_FORMAT_RELAXED_JSON:
        return ARGON__BRANCH__V1__FORMAT__FORMAT_RELAXED_JSON;
    case ARGON_FORMAT_CANONICAL_JSON:
        return ARGON__BRANCH__V1__FORMAT__FORMAT_CANONICAL_JSON;
    case ARGON_FORMAT_BSON:
        break;
    }
    return ARGON__BRANCH__V1__FORMAT__FORMAT_BSON;
}

struct argon_document client_shown(const Argon__Branch__V1__Document *document, enum argon_format format)
{
    if (!document)
        return (struct argon_document) { .format = format };
    if (document->bson.len)
        return (struct argon_document) { ARGON_FORMAT_BSON, document->bson.data, document->bson.len };
    return (struct argon_document) { format, document->json, strlen(document->json) };
}

void client_read(const struct argon_read *from, Argon__Branch__V1__ReadOptions *to)
{
    *to = (Argon__Branch__V1__ReadOptions)ARGON__BRANCH__V1__READ_OPTIONS__INIT;
    to->as_of_lsn = from->as_of_lsn;
    to->as_of_time = from->as_of_time_us;
    to->min_lsn = from->min_lsn;
    to->stale_ok = from->stale_ok;
}
