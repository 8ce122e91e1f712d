/* Watching: a stream that is opened again behind what was shown when it breaks. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/client_internal.h"
#include "common/base/memory.h"

struct argon_watch {
    struct argon_client *client;
    char *project, *branch, *collection;
    Argon__Branch__V1__WatchRequest request;
    struct client_stream *stream; /* NULL: to be opened (again) */
    enum argon_format format;
    struct arena arena; /* of the message in hand */
    const Argon__Branch__V1__WatchResponse *response;
    size_t next;
    uint64_t through;
    uint64_t shown; /* the last change's LSN: a large batch comes in several messages, and again when the stream breaks amid it */
    bool over;
};

struct argon_watch *argon_watch(struct argon_client *client, const struct argon_target *target, const struct argon_watch_options *options,
                                struct argon_error *error)
{
    static const struct argon_watch_options from_the_beginning;
    static const Argon__Branch__V1__WatchRequest empty = ARGON__BRANCH__V1__WATCH_REQUEST__INIT;
    if (!options)
        options = &from_the_beginning;
    if (!target || !target->project || !target->branch) {
        client_refuse(error, "a watch needs project and branch");
        return NULL;
    }
    struct argon_watch *watch = mem_zalloc(sizeof *watch);
    watch->client = client;
    watch->project = mem_strdup(target->project);
    watch->branch = mem_strdup(target->branch);
    watch->collection = mem_strdup(target->collection ? target->collection : "");
    watch->format = options->format;
    watch->through = options->after_lsn;
    arena_init(&watch->arena, 0);
    watch->request = empty;
    watch->request.project = watch->project;
    watch->request.branch = watch->branch;
    watch->request.collection = watch->collection;
    watch->request.after_lsn = options->after_lsn;
    watch->request.from_head = options->from_head;
    watch->request.stop_at_head = options->stop_at_head;
    watch->request.format = client_format(options->format);
    client_succeed(error);
    return watch;
}

static void drop_message(struct argon_watch *watch)
{
    arena_destroy(&watch->arena);
    arena_init(&watch->arena, 0);
    watch->response = NULL;
    watch->next = 0;
}

/* A broken stream goes on behind what it said was complete. */
static bool next_message(struct argon_watch *watch, struct error *err)
{
    const struct client_call call = { BRANCH_CALL("Branches", "Watch", watch), .request = &watch->request.base };
    ProtobufCMessage *message = NULL;
    drop_message(watch);
    if (watch->stream && !client_stream_next(watch->stream, &watch->arena, &message, err)) {
        client_stream_close(watch->stream);
        watch->stream = NULL;
        if (err->code != ERROR_UNAVAILABLE)
            return false;
    }
    if (!watch->stream)
        watch->stream = client_stream_open(watch->client, &call, &watch->arena, &message, err);
    watch->response = (const Argon__Branch__V1__WatchResponse *)message;
    return watch->stream;
}

static void finish_message(struct argon_watch *watch)
{
    if (watch->response->through_lsn > watch->through)
        watch->through = watch->response->through_lsn;
    watch->request.after_lsn = watch->through;
    if (watch->response->through_lsn)
        watch->request.from_head = false;
}

static void say_end(const Argon__Branch__V1__WatchResponse *response, struct argon_error *error)
{
    const char *text = "the watch has ended";
    switch (response->end) {
    case ARGON__BRANCH__V1__WATCH_END__WATCH_END_AT_HEAD:
        text = "everything has been shown";
        break;
    case ARGON__BRANCH__V1__WATCH_END__WATCH_END_BRANCH_DELETED:
        text = "the branch has been deleted";
        break;
    case ARGON__BRANCH__V1__WATCH_END__WATCH_END_PROJECT_DELETED:
        text = "the project has been deleted";
        break;
    case ARGON__BRANCH__V1__WATCH_END__WATCH_END_BRANCH_RESET:
    case ARGON__BRANCH__V1__WATCH_END__WATCH_END_LOG_REPLACED:
        snprintf(error->message, sizeof error->message, "what was shown does not hold any more: watch anew behind LSN %llu",
                 (unsigned long long)response->restart_lsn);
        return;
    default:
        break;
    }
    snprintf(error->message, sizeof error->message, "%s", text);
}

static void show_change(const struct argon_watch *watch, const Argon__Branch__V1__Change *from, struct argon_change *to)
{
    *to = (struct argon_change) {
        .kind = (enum argon_change_kind)from->kind,
        .lsn = from->lsn,
        .time_us = from->timestamp,
        .collection = from->collection,
        .new_collection = from->new_collection,
        .actor = from->actor,
        .id = client_shown(from->document_id, watch->format),
        .document = client_shown(from->document, watch->format),
    };
}

bool argon_watch_next(struct argon_watch *watch, struct argon_change *change, struct argon_error *error)
{
    struct error err;
    client_succeed(error);
    while (!watch->over) {
        if (watch->response && watch->next < watch->response->n_changes) {
            const Argon__Branch__V1__Change *next = watch->response->changes[watch->next++];
            if (next->lsn <= watch->shown)
                continue;
            watch->shown = next->lsn;
            show_change(watch, next, change);
            return true;
        }
        if (watch->response)
            finish_message(watch);
        if (watch->response && watch->response->end) {
            watch->over = true;
            say_end(watch->response, error);
            return false;
        }
        if (!next_message(watch, &err))
            return client_fail(error, &err);
        watch->over = !watch->response;
    }
    return false;
}

uint64_t argon_watch_through(const struct argon_watch *watch)
{
    return watch->through;
}

void argon_watch_close(struct argon_watch *watch)
{
    if (!watch)
        return;
    client_stream_close(watch->stream);
    arena_destroy(&watch->arena);
    free(watch->project);
    free(watch->branch);
    free(watch->collection);
    free(watch);
}
