/* FindOne. By _id it is answered where the log's answer arrives: no thread waits, and none is woken. */
#include "branch-service/documents/point_read.h"
#include "branch-service/rpc/find_rpc.h"
#include "branch-service/rpc/services.h"

static void answer_on_worker(void *service, struct rpc_call *call, const ProtobufCMessage *message)
{
    const Argon__Branch__V1__FindOneRequest *request = (const Argon__Branch__V1__FindOneRequest *)message;
    Argon__Branch__V1__FindOneResponse response = ARGON__BRANCH__V1__FIND_ONE_RESPONSE__INIT;
    Argon__Branch__V1__FindRequest as_find = ARGON__BRANCH__V1__FIND_REQUEST__INIT;
    Argon__Branch__V1__Document out;
    struct bytes document;
    struct find *find = NULL;
    struct error err;
    as_find.target = request->target;
    as_find.filter = request->filter;
    as_find.projection = request->projection;
    as_find.sort = request->sort;
    as_find.skip = request->skip;
    as_find.limit = 1;
    as_find.read = request->read;
    as_find.options = request->options;
    as_find.format = request->format;
    bool ok = find_rpc_open(service, call, &as_find, &find, &err) && find_next(find, &document, &err) && find_settle(find, &err);
    if (ok && document.data) {
        ok = convert_document_out(document, request->format, rpc_call_arena(call), &out, &err);
        response.document = &out;
    }
    if (ok) {
        response.lsn = find->lsn;
        rpc_reply(call, &response.base);
    } else {
        rpc_fail(call, &err);
    }
    find_close(find);
}

struct find_one {
    struct point_read read; /* first */
    struct rpc_call *call;
    const Argon__Branch__V1__FindOneRequest *request;
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
    /* the document is packed before rpc_reply returns, and the find is gone then */
    target = read->target;
    read->target = (struct target) { 0 };
    point_read_destroy(read);
    if (ok) {
        response.document = document.data ? &out : NULL;
        rpc_reply(call, &response.base);
    } else {
        rpc_call_defer(call, answer_on_worker);
    }
    target_destroy(&target);
}

/* What asks for more than the document as it is now takes its time. */
static bool is_plain(const Argon__Branch__V1__FindOneRequest *request)
{
    const Argon__Branch__V1__ReadOptions *read = request->read;
    return request->skip == 0 && !request->projection && !request->sort && !request->options &&
           (!read || (!read->as_of_lsn && !read->min_lsn && !read->as_of_time && !read->stale_ok));
}

void find_rpc_on_find_one(void *service, struct rpc_call *call, const ProtobufCMessage *message)
{
    const Argon__Branch__V1__FindOneRequest *request = (const Argon__Branch__V1__FindOneRequest *)message;
    struct find_one *find = arena_alloc(rpc_call_arena(call), sizeof *find);
    struct collection_path path;
    struct bytes filter;
    struct error err;
    if (find && is_plain(request) && convert_format(request->format, &err) && convert_target(request->target, &path, &err) &&
        request->filter && request->filter->bson.len + strlen(request->filter->json) <= POINT_READ_MAX_FILTER &&
        convert_document_in("filter", request->filter, false, rpc_call_arena(call), &filter, &err)) {
        find->call = call;
        find->request = request;
        if (point_read_start(&find->read, service, &path, filter, convert_deadline(call), on_read))
            return;
    }
    rpc_call_defer(call, answer_on_worker);
}
