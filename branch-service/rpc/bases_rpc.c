#include "branch-service/branches/bases.h"
#include "branch-service/rpc/page.h"
#include "branch-service/rpc/services.h"

static bool send_progress(void *ctx, const struct copy_progress *progress)
{
    struct rpc_call *call = ctx;
    Argon__Branch__V1__CopyBaseResponse out = ARGON__BRANCH__V1__COPY_BASE_RESPONSE__INIT;
    out.base_id = (char *)progress->base_id;
    out.collection = (char *)progress->collection;
    out.documents = progress->documents;
    out.bytes = progress->bytes;
    return !rpc_call_cancelled(call) && rpc_stream_send(call, &out.base);
}

void bases_rpc_on_copy(void *service, struct rpc_call *call, const ProtobufCMessage *message)
{
    const Argon__Branch__V1__CopyBaseRequest *request = (const void *)message;
    Argon__Branch__V1__CopyBaseResponse last = ARGON__BRANCH__V1__COPY_BASE_RESPONSE__INIT;
    struct new_base base;
    struct error err;
    if (!bases_copy_named(service, request->project, request->branch, send_progress, call, rpc_call_deadline(call), &base, &err)) {
        err.outcome = OUTCOME_UNKNOWN;
        rpc_fail(call, &err);
        return;
    }
    last.base_id = base.id;
    last.done = true;
    last.isolated = base.isolated;
    last.why_not_isolated = base.why_not;
    if (!rpc_stream_send(call, &last.base)) {
        error_fill(&err, ERROR_CANCELLED, "nobody listens any more");
        rpc_fail(call, &err);
        return;
    }
    rpc_finish(call);
}

void bases_rpc_on_list(void *service, struct rpc_call *call, const ProtobufCMessage *message)
{
    const Argon__Branch__V1__ListBasesRequest *request = (const void *)message;
    Argon__Branch__V1__ListBasesResponse response = ARGON__BRANCH__V1__LIST_BASES_RESPONSE__INIT;
    struct arena *arena = rpc_call_arena(call);
    struct error err;
    struct page page;
    bool more;
    if (!page_begin(request->page_size, sizeof(struct branch_record), sizeof(Argon__Branch__V1__Base), arena, &page, &err) ||
        !bases_list(service, request->project, request->page_token, page.n, convert_deadline(call), arena, page.records, &response.n_bases,
                    &more, &err)) {
        rpc_fail(call, &err);
        return;
    }
    const struct branch_record *bases = page.records;
    Argon__Branch__V1__Base *out = page.messages;
    response.bases = (Argon__Branch__V1__Base **)page.pointers;
    for (size_t i = 0; i < response.n_bases; i++) {
        out[i] = (Argon__Branch__V1__Base)ARGON__BRANCH__V1__BASE__INIT;
        out[i].id = (char *)bases[i].id;
        out[i].branch_id = (char *)bases[i].source;
        out[i].database = (char *)bases[i].database;
        out[i].prefix = (char *)bases[i].prefix;
        out[i].complete = bases[i].complete > 0;
        out[i].isolated = bases[i].isolated;
        out[i].created_at = bases[i].created_at;
    }
    if (more)
        response.next_page_token = (char *)bases[response.n_bases - 1].id;
    rpc_reply(call, &response.base);
}

void bases_rpc_on_delete(void *service, struct rpc_call *call, const ProtobufCMessage *message)
{
    Argon__Branch__V1__DeleteBaseRequest *request = (Argon__Branch__V1__DeleteBaseRequest *)message;
    Argon__Branch__V1__DeleteBaseResponse response = ARGON__BRANCH__V1__DELETE_BASE_RESPONSE__INIT;
    struct write_request write;
    struct error err;
    convert_write(call, "DeleteBase", message, &request->write, rpc_call_arena(call), &write);
    if (bases_delete(service, request->project, request->base_id, &write, &response.lsn, &err))
        rpc_reply(call, &response.base);
    else
        rpc_fail(call, &err);
}
