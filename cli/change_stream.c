#include "cli/change_stream.h"

#include <inttypes.h>

#include "common/base/clock.h"

bool change_stream_find_head(struct cli *cli, uint64_t *lsn, struct error *err)
{
    Argon__Branch__V1__GetProjectRequest request = ARGON__BRANCH__V1__GET_PROJECT_REQUEST__INIT;
    ProtobufCMessage *message;
    if (!cli_project(cli, &request.name, err) ||
        !connection_read(&cli->connection, BRANCH_METHOD("Projects", "GetProject"), &request.base,
                         &argon__branch__v1__get_project_response__descriptor, &cli->arena, &message, err))
        return false;
    const Argon__Branch__V1__GetProjectResponse *response = (const void *)message;
    if (!response->project)
        return error_set(err, ERROR_INTERNAL, "the service answered without a project");
    *lsn = response->project->head_lsn;
    return true;
}

bool change_stream_find_lsn(struct cli *cli, uint64_t time, uint64_t *lsn, struct error *err)
{
    Argon__Branch__V1__ListCollectionsRequest request = ARGON__BRANCH__V1__LIST_COLLECTIONS_REQUEST__INIT;
    Argon__Branch__V1__ReadOptions read = ARGON__BRANCH__V1__READ_OPTIONS__INIT;
    ProtobufCMessage *message;
    if (!cli_project(cli, &request.project, err))
        return false;
    request.branch = (char *)cli->options->branch;
    request.read = &read;
    request.page_size = 1;
    read.as_of_time = time;
    if (!connection_read(&cli->connection, BRANCH_METHOD("Collections", "ListCollections"), &request.base,
                         &argon__branch__v1__list_collections_response__descriptor, &cli->arena, &message, err))
        return false;
    *lsn = ((const Argon__Branch__V1__ListCollectionsResponse *)message)->lsn;
    return true;
}

bool change_stream_open(struct change_stream *stream, struct cli *cli, const Argon__Branch__V1__WatchRequest *request, struct error *err)
{
    if (!cli_reach_branch(cli, request->project, request->branch, false, err))
        return false;
    *stream = (struct change_stream) { .cli = cli, .request = *request, .through_lsn = request->after_lsn };
    return true;
}

void change_stream_close(struct change_stream *stream)
{
    rpc_client_stream_close(stream->stream);
    stream->stream = NULL;
}

static bool open_call(struct change_stream *stream, struct error *err)
{
    stream->request.after_lsn = stream->through_lsn;
    return connection_stream(&stream->cli->connection, BRANCH_METHOD("Branches", "Watch"), &stream->request.base,
                             &argon__branch__v1__watch_response__descriptor, &stream->stream, err);
}

/* The call has failed: true when it was worth waiting and it can be tried again. A --timeout
 * that was given has ended the stream with another code. */
static bool recover(struct change_stream *stream, const struct error *failure)
{
    change_stream_close(stream);
    if (failure->code != ERROR_UNAVAILABLE)
        return false;
    if (!stream->lost)
        fprintf(stderr, "argon: the stream has ended (%s); going on behind LSN %" PRIu64 "\n", failure->message, stream->through_lsn);
    stream->lost = true;
    return backoff_wait(&stream->backoff, NO_DEADLINE);
}

static bool deleted(const struct change_stream *stream, bool project, struct error *err)
{
    const Argon__Branch__V1__WatchRequest *request = &stream->request;
    if (project)
        return error_set(err, ERROR_NOT_FOUND, "project '%s' has been deleted, after LSN %" PRIu64, request->project, stream->through_lsn);
    return error_set(err, ERROR_NOT_FOUND, "branch '%s' has been deleted, after LSN %" PRIu64, request->branch, stream->through_lsn);
}

/* What the last message of a call means. */
static bool take_end(struct change_stream *stream, enum change_event *event, struct error *err)
{
    Argon__Branch__V1__WatchEnd end = stream->end;
    stream->end = ARGON__BRANCH__V1__WATCH_END__WATCH_END_UNSPECIFIED;
    change_stream_close(stream);
    switch (end) {
    case ARGON__BRANCH__V1__WATCH_END__WATCH_END_AT_HEAD:
        *event = CHANGE_EVENT_AT_HEAD;
        return true;
    case ARGON__BRANCH__V1__WATCH_END__WATCH_END_BRANCH_RESET:
    case ARGON__BRANCH__V1__WATCH_END__WATCH_END_LOG_REPLACED:
        *event = end == ARGON__BRANCH__V1__WATCH_END__WATCH_END_BRANCH_RESET ? CHANGE_EVENT_RESET : CHANGE_EVENT_REPLACED;
        stream->through_lsn = stream->restart_lsn;
        return true;
    case ARGON__BRANCH__V1__WATCH_END__WATCH_END_BRANCH_DELETED:
    case ARGON__BRANCH__V1__WATCH_END__WATCH_END_PROJECT_DELETED:
        return deleted(stream, end == ARGON__BRANCH__V1__WATCH_END__WATCH_END_PROJECT_DELETED, err);
    default:
        return error_set(err, ERROR_INTERNAL, "the service ended the stream for a reason that this version does not know (%d)", (int)end);
    }
}

bool change_stream_next(struct change_stream *stream, struct arena *arena, enum change_event *event,
                        const Argon__Branch__V1__WatchResponse **response, struct error *err)
{
    *response = NULL;
    if (stream->end != ARGON__BRANCH__V1__WATCH_END__WATCH_END_UNSPECIFIED)
        return take_end(stream, event, err);
    for (;;) {
        struct error failure = { 0 };
        ProtobufCMessage *message = NULL;
        bool received =
            (stream->stream || open_call(stream, &failure)) && rpc_client_stream_next(stream->stream, arena, &message, &failure);
        if (received && !message)
            received = error_set(&failure, ERROR_UNAVAILABLE, "the service ended it without a reason");
        if (!received) {
            if (recover(stream, &failure))
                continue;
            *err = failure;
            return failure.code == ERROR_OUT_OF_RANGE && stream->was_open
                       ? error_wrap(err, "the log ends before LSN %" PRIu64 ", which was seen", stream->through_lsn)
                       : false;
        }
        const Argon__Branch__V1__WatchResponse *answer = (const void *)message;
        if (stream->lost)
            fprintf(stderr, "argon: connected again\n");
        stream->lost = false;
        stream->was_open = true;
        stream->backoff = (struct backoff) { 0 };
        if (answer->through_lsn > stream->through_lsn)
            stream->through_lsn = answer->through_lsn;
        *response = answer;
        *event = CHANGE_EVENT_CHANGES;
        stream->end = answer->end;
        stream->restart_lsn = answer->restart_lsn;
        if (answer->n_changes > 0 || answer->end == ARGON__BRANCH__V1__WATCH_END__WATCH_END_UNSPECIFIED)
            return true;
        return take_end(stream, event, err);
    }
}
