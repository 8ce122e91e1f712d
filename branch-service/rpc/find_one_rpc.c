#include "branch-service/rpc/find_one_rpc.h"

#include "branch-service/point_read.h"
#include "branch-service/rpc/convert.h"

struct find_one {
    struct point_read read; /* first */
    struct rpc_call *call;
    const Argon__Branch__V1__FindOneRequest *request;
    rpc_handler_fn *ordinary;
};

static void on_read(struct point_read *read)
{
    struct find_one *find = (struct find_one *)read; /* in the call's arena: gone with the reply */
    struct rpc_call *call = find->call;
    Argon__Branch__V1__FindOneResponse response = ARGON__BRANCH__V1__FIND_ONE_RESPONSE__INIT;
    Argon__Branch__V1__Document out;
    struct target target = { 0 };
    struct bytes document;
    struct error err;
    bool ok = point_read_finish(read, &document, &response.lsn) &&
              (!document.data || convert_document_out(document, find->request->format, rpc_call_arena(call), &out, &err));
    rpc_handler_fn *ordinary = find->ordinary;
    /* the document is packed before rpc_reply returns, and the find is gone then */
    target = read->target;
    read->target = (struct target) { 0 };
    point_read_destroy(read);
    if (ok) {
        response.document = document.data ? &out : NULL;
        rpc_reply(call, &response.base);
    } else {
        rpc_call_defer(call, ordinary);
    }
    target_destroy(&target);
}

static bool is_plain(const Argon__Branch__V1__ReadOptions *read)
{
    return !read || (!read->as_of_lsn && !read->min_lsn && !read->as_of_time && !read->stale_ok);
}

void find_one_rpc(void *service, struct rpc_call *call, const ProtobufCMessage *message, rpc_handler_fn *ordinary)
{
    const Argon__Branch__V1__FindOneRequest *request = (const Argon__Branch__V1__FindOneRequest *)message;
    struct find_one *find = arena_alloc(rpc_call_arena(call), sizeof *find);
    struct collection_path path;
    struct bytes filter;
    struct error err;
    if (find && is_plain(request->read) && request->skip == 0 && convert_format(request->format, &err) &&
        convert_target(request->target, &path, &err) && request->filter &&
        request->filter->bson.len + strlen(request->filter->json) <= POINT_READ_MAX_FILTER &&
        convert_document_in("filter", request->filter, false, rpc_call_arena(call), &filter, &err)) {
        find->call = call;
        find->request = request;
        find->ordinary = ordinary;
        if (point_read_start(&find->read, service, &path, filter, convert_deadline(call), on_read))
            return;
    }
    rpc_call_defer(call, ordinary);
}
