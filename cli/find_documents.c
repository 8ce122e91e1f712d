#include "cli/find_documents.h"

#include "common/base/backoff.h"
#include "common/base/clock.h"

enum { DEFAULT_PATIENCE = 30 * MICROS_PER_SECOND };

/* *broken: the failure is the stream's, not the visitor's. */
static bool read_stream(struct cli *cli, Argon__Branch__V1__FindRequest *request, find_visit_fn *visit, void *ctx, bool *broken,
                        struct error *err)
{
    struct rpc_client_stream *stream = NULL;
    *broken = true;
    bool ok = connection_stream(&cli->connection, BRANCH_METHOD("Documents", "Find"), &request->base,
                                &argon__branch__v1__find_response__descriptor, &stream, err);
    for (bool more = ok; more;) {
        struct arena arena;
        ProtobufCMessage *message;
        arena_init(&arena, 0);
        ok = rpc_client_stream_next(stream, &arena, &message, err);
        more = ok && message;
        const Argon__Branch__V1__FindResponse *response = (const void *)message;
        for (size_t i = 0; more && i < response->n_documents; i++) {
            ok = more = visit(ctx, bytes_of(response->documents[i]->bson.data, response->documents[i]->bson.len), err);
            *broken = ok;
            request->skip += ok;
        }
        arena_destroy(&arena);
    }
    rpc_client_stream_close(stream);
    return ok;
}

bool find_documents(struct cli *cli, const char *collection, uint64_t lsn, uint64_t skip, find_visit_fn *visit, void *ctx,
                    struct error *err)
{
    Argon__Branch__V1__FindRequest request = ARGON__BRANCH__V1__FIND_REQUEST__INIT;
    Argon__Branch__V1__Target target;
    Argon__Branch__V1__ReadOptions read = ARGON__BRANCH__V1__READ_OPTIONS__INIT;
    if (!cli_target(cli, collection, &target, err))
        return false;
    read.as_of_lsn = lsn;
    request.target = &target;
    request.read = &read;
    request.skip = skip;
    int64_t patience = cli->options->timeout ? (int64_t)cli->options->timeout : DEFAULT_PATIENCE;
    int64_t deadline = 0;
    struct backoff backoff = { 0 };
    for (;;) {
        uint64_t before = request.skip;
        bool broken;
        if (read_stream(cli, &request, visit, ctx, &broken, err))
            return true;
        if (request.skip > before || !deadline) {
            deadline = clock_monotonic_micros() + patience;
            backoff = (struct backoff) { 0 };
        }
        /* what has been counted may lie elsewhere by now, unless the state is that of an LSN */
        bool goes_on = lsn > 0 || request.skip == skip;
        if (!broken || !goes_on || err->code != ERROR_UNAVAILABLE || !backoff_wait(&backoff, deadline))
            return error_wrap(err, "collection '%s'", collection);
    }
}
