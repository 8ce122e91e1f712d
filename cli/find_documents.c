#include "cli/find_documents.h"

#include <inttypes.h>

#include "common/base/backoff.h"
#include "common/base/clock.h"

enum { DEFAULT_PATIENCE = 30 * MICROS_PER_SECOND };

struct reading {
    find_visit_fn *visit;
    void *ctx;
    uint64_t lsn; /* of the first answer */
    uint64_t n;   /* documents that have come */
    bool stopped; /* by the visitor */
};

static bool read_stream(struct cli *cli, const char *method, const ProtobufCMessage *request, struct reading *reading, struct error *err)
{
    struct rpc_client_stream *stream = NULL;
    bool ok = connection_stream(&cli->connection, method, request, &argon__branch__v1__find_response__descriptor, &stream, err);
    for (bool more = ok; more;) {
        struct arena arena;
        ProtobufCMessage *message;
        arena_init(&arena, 0);
        ok = rpc_client_stream_next(stream, &arena, &message, err);
        more = ok && message;
        const Argon__Branch__V1__FindResponse *response = (const void *)message;
        if (more && !reading->lsn)
            reading->lsn = response->lsn;
        for (size_t i = 0; more && i < response->n_documents; i++) {
            ok = more = reading->visit(reading->ctx, bytes_of(response->documents[i]->bson.data, response->documents[i]->bson.len), err);
            reading->stopped = !ok;
            reading->n += ok;
        }
        arena_destroy(&arena);
    }
    rpc_client_stream_close(stream);
    return ok;
}

/* Whether documents can be counted in the order in which they come. */
static bool has_order(const ProtobufCMessage *request)
{
    return request->descriptor == &argon__branch__v1__find_request__descriptor && !((const Argon__Branch__V1__FindRequest *)request)->sort;
}

bool find_read(struct cli *cli, const char *method, const ProtobufCMessage *request, find_visit_fn *visit, void *ctx, uint64_t *lsn,
               struct error *err)
{
    const Argon__Branch__V1__FindRequest *find = has_order(request) ? (const void *)request : NULL;
    Argon__Branch__V1__FindRequest rest;
    Argon__Branch__V1__ReadOptions same = ARGON__BRANCH__V1__READ_OPTIONS__INIT;
    struct reading reading = { .visit = visit, .ctx = ctx };
    int64_t patience = cli->options->timeout ? (int64_t)cli->options->timeout : DEFAULT_PATIENCE;
    int64_t deadline = 0;
    struct backoff backoff = { 0 };
    for (;;) {
        uint64_t before = reading.n;
        if (read_stream(cli, method, request, &reading, err))
            break;
        if (reading.stopped || err->code != ERROR_UNAVAILABLE)
            return false;
        if (reading.n > before || !deadline) {
            deadline = clock_monotonic_micros() + patience;
            backoff = (struct backoff) { 0 };
        }
        /* what has been counted may lie elsewhere by now, unless the state is that of an LSN */
        if (reading.n > 0 && !reading.lsn)
            return error_wrap(err, "broken off after %" PRIu64 " documents, and a traditional branch has no state to go on in", reading.n);
        if (find && find->limit && reading.n == find->limit)
            break;
        if ((reading.n > 0 && !find) || !backoff_wait(&backoff, deadline))
            return reading.n ? error_wrap(err, "broken off after %" PRIu64 " documents", reading.n) : false;
        if (reading.n == 0)
            continue;
        rest = *find;
        rest.skip = find->skip + reading.n;
        rest.limit = find->limit ? find->limit - reading.n : 0;
        same.as_of_lsn = reading.lsn;
        rest.read = &same;
        request = &rest.base;
    }
    *lsn = reading.lsn;
    return true;
}

bool find_documents(struct cli *cli, const char *collection, uint64_t lsn, uint64_t skip, find_visit_fn *visit, void *ctx,
                    struct error *err)
{
    Argon__Branch__V1__FindRequest request = ARGON__BRANCH__V1__FIND_REQUEST__INIT;
    Argon__Branch__V1__Target target;
    Argon__Branch__V1__ReadOptions read = ARGON__BRANCH__V1__READ_OPTIONS__INIT;
    uint64_t read_lsn;
    if (!cli_target(cli, collection, &target, err))
        return false;
    read.as_of_lsn = lsn;
    request.target = &target;
    request.read = &read;
    request.skip = skip;
    return find_read(cli, BRANCH_METHOD("Documents", "Find"), &request.base, visit, ctx, &read_lsn, err) ||
           error_wrap(err, "collection '%s'", collection);
}
