#include "cli/base_copy.h"

#include <inttypes.h>
#include <string.h>
#include <unistd.h>

static void show(const Argon__Branch__V1__CopyBaseResponse *told)
{
    fprintf(stderr, "\r\033[K%s: %" PRIu64 " documents", told->collection, told->documents);
    fflush(stderr);
}

bool base_copy(struct cli *cli, char *project, char *branch, struct base_copied *copied, struct error *err)
{
    Argon__Branch__V1__CopyBaseRequest request = ARGON__BRANCH__V1__COPY_BASE_REQUEST__INIT;
    struct base_copied made = { .id = "" };
    struct rpc_client_stream *stream;
    const bool shows_progress = isatty(STDERR_FILENO);
    bool ok = true, done = false;
    request.project = project;
    request.branch = branch;
    if (!connection_stream(&cli->connection, BRANCH_METHOD("Branches", "CopyBase"), &request.base,
                           &argon__branch__v1__copy_base_response__descriptor, &stream, err))
        return false;
    for (bool more = true; ok && more;) {
        struct arena arena;
        ProtobufCMessage *message;
        arena_init(&arena, 0);
        ok = rpc_client_stream_next(stream, &arena, &message, err);
        more = ok && message;
        if (more) {
            const Argon__Branch__V1__CopyBaseResponse *told = (const void *)message;
            done = told->done;
            made.isolated = told->isolated;
            snprintf(made.id, sizeof made.id, "%s", told->base_id);
            snprintf(made.why_not, sizeof made.why_not, "%s", told->why_not_isolated);
            if (shows_progress && !done)
                show(told);
        }
        arena_destroy(&arena);
    }
    rpc_client_stream_close(stream);
    if (shows_progress)
        fputs("\r\033[K", stderr);
    if (ok && !done)
        return error_set(err, ERROR_INTERNAL, "the service ended before the copy was complete");
    if (ok)
        *copied = made;
    return ok;
}

bool base_delete(struct cli *cli, char *project, char *base_id, uint64_t *lsn, struct error *err)
{
    Argon__Branch__V1__DeleteBaseRequest request = ARGON__BRANCH__V1__DELETE_BASE_REQUEST__INIT;
    Argon__Branch__V1__WriteOptions write;
    ProtobufCMessage *message;
    if (!connection_begin_write(&cli->connection, project, &cli->arena, &write, err))
        return false;
    request.project = project;
    request.base_id = base_id;
    request.write = &write;
    if (!connection_write(&cli->connection, BRANCH_METHOD("Branches", "DeleteBase"), &request.base,
                          &argon__branch__v1__delete_base_response__descriptor, &cli->arena, &message, err))
        return false;
    *lsn = ((const Argon__Branch__V1__DeleteBaseResponse *)message)->lsn;
    return true;
}

bool base_discard(struct cli *cli, char *project, char *base_id, struct error *err)
{
    Argon__Branch__V1__DeleteBaseRequest request = ARGON__BRANCH__V1__DELETE_BASE_REQUEST__INIT;
    ProtobufCMessage *message;
    request.project = project;
    request.base_id = base_id;
    return connection_call_once(&cli->connection, BRANCH_METHOD("Branches", "DeleteBase"), &request.base,
                                &argon__branch__v1__delete_base_response__descriptor, &cli->arena, &message, err);
}
