#include "cli/find_stream.h"

#include "cli/find_documents.h"

struct printing {
    struct output *out;
    bool begun; /* what fails before the first document prints nothing */
};

static void begin(struct printing *printing)
{
    if (!printing->begun)
        output_list_begin(printing->out);
    printing->begun = true;
}

static bool print(void *ctx, struct bytes document, struct error *err)
{
    struct printing *printing = ctx;
    begin(printing);
    return !output_failed(printing->out) && output_list_document(printing->out, document, err);
}

bool find_stream_print(struct cli *cli, const char *method, const ProtobufCMessage *request, const Argon__Branch__V1__Target *target,
                       bool stale_ok, struct output *out, uint64_t *lsn, struct error *err)
{
    struct printing printing = { .out = out };
    *lsn = 0;
    /* without a deadline it would wait for ever for a service that is not there */
    if (!cli_reach_branch(cli, target->project, target->branch, stale_ok, err) ||
        (!find_read(cli, method, request, print, &printing, lsn, err) && !output_failed(out)))
        return false;
    begin(&printing);
    output_list_end(out);
    return true;
}
