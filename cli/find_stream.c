#include "cli/find_stream.h"

bool find_stream_print(struct cli *cli, const char *method, const ProtobufCMessage *request, const Argon__Branch__V1__Target *target,
                       struct output *out, uint64_t *lsn, struct error *err)
{
    struct rpc_client_stream *stream = NULL;
    bool ok = false, begun = false;
    uint64_t read_lsn = 0;
    /* without a deadline it would wait for ever for a service that is not there */
    if (!cli_reach_branch(cli, target->project, target->branch, err) ||
        !connection_stream(&cli->connection, method, request, &argon__branch__v1__find_response__descriptor, &stream, err))
        goto out;

    for (bool more = true; more && !output_failed(out);) {
        struct arena arena;
        ProtobufCMessage *message;
        arena_init(&arena, 0);
        bool received = rpc_client_stream_next(stream, &arena, &message, err);
        if (received && message) {
            const Argon__Branch__V1__FindResponse *response = (const void *)message;
            if (!begun)
                output_list_begin(out);
            if (!begun)
                read_lsn = response->lsn;
            begun = true;
            for (size_t i = 0; received && i < response->n_documents; i++)
                received = output_list_document(out, bytes_of(response->documents[i]->bson.data, response->documents[i]->bson.len), err);
        }
        more = received && message;
        arena_destroy(&arena);
        if (!received)
            goto out;
    }
    if (!begun)
        output_list_begin(out);
    output_list_end(out);
    *lsn = read_lsn;
    ok = true;
out:
    rpc_client_stream_close(stream);
    return ok;
}
