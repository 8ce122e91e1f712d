#include "branch-service/rpc/find_rpc.h"
#include "branch-service/rpc/services.h"

void count_rpc_on_count(void *service, struct rpc_call *call, const ProtobufCMessage *message)
{
    const Argon__Branch__V1__CountRequest *request = (const Argon__Branch__V1__CountRequest *)message;
    Argon__Branch__V1__CountResponse response = ARGON__BRANCH__V1__COUNT_RESPONSE__INIT;
    Argon__Branch__V1__FindRequest as_find = ARGON__BRANCH__V1__FIND_REQUEST__INIT;
    const struct read_options read = convert_read(call, request->read);
    struct collection_path path;
    struct collection_way way;
    struct find_spec spec;
    struct error err;
    as_find.target = request->target;
    as_find.filter = request->filter;
    as_find.skip = request->skip;
    as_find.limit = request->limit;
    as_find.options = request->options;
    if (!find_rpc_convert(call, &as_find, &path, &spec, &err)) {
        rpc_fail(call, &err);
        return;
    }
    for (collection_begin(&way, service, path.project, path.branch, NULL); collection_go(&way, &err);)
        way.ok = way.kind->count(service, &path, &spec, &read, &response.count, &response.lsn, &err);
    if (way.ok)
        rpc_reply(call, &response.base);
    else
        rpc_fail(call, &err);
}

void count_rpc_on_estimated_count(void *service, struct rpc_call *call, const ProtobufCMessage *message)
{
    const Argon__Branch__V1__EstimatedCountRequest *request = (const Argon__Branch__V1__EstimatedCountRequest *)message;
    Argon__Branch__V1__CountResponse response = ARGON__BRANCH__V1__COUNT_RESPONSE__INIT;
    const struct read_options read = convert_read(call, request->read);
    struct collection_path path;
    struct collection_way way;
    struct error err;
    if (!convert_target(request->target, &path, &err)) {
        rpc_fail(call, &err);
        return;
    }
    for (collection_begin(&way, service, path.project, path.branch, NULL); collection_go(&way, &err);)
        way.ok = way.kind->estimate(service, &path, &read, &response.count, &response.lsn, &err);
    if (way.ok)
        rpc_reply(call, &response.base);
    else
        rpc_fail(call, &err);
}

static bool convert_distinct(struct rpc_call *call, const Argon__Branch__V1__DistinctRequest *request, struct collection_path *path,
                             struct distinct_spec *spec, struct error *err)
{
    *spec = (struct distinct_spec) { .field = request->field };
    return convert_format(request->format, err) && convert_target(request->target, path, err) &&
           convert_document_in("filter", request->filter, true, rpc_call_arena(call), &spec->filter, err) &&
           convert_query_options(request->options, rpc_call_arena(call), &spec->options, err);
}

void count_rpc_on_distinct(void *service, struct rpc_call *call, const ProtobufCMessage *message)
{
    const Argon__Branch__V1__DistinctRequest *request = (const Argon__Branch__V1__DistinctRequest *)message;
    Argon__Branch__V1__DistinctResponse response = ARGON__BRANCH__V1__DISTINCT_RESPONSE__INIT;
    Argon__Branch__V1__Document values;
    const struct read_options read = convert_read(call, request->read);
    struct collection_path path;
    struct collection_way way;
    struct distinct_spec spec;
    struct buffer found = { 0 };
    struct error err;
    if (!convert_distinct(call, request, &path, &spec, &err)) {
        rpc_fail(call, &err);
        return;
    }
    for (collection_begin(&way, service, path.project, path.branch, NULL); collection_go(&way, &err);)
        way.ok = way.kind->distinct(service, &path, &spec, &read, &found, &response.lsn, &err);
    response.values = &values;
    if (way.ok && convert_document_out(buffer_bytes(&found), request->format, rpc_call_arena(call), &values, &err))
        rpc_reply(call, &response.base);
    else
        rpc_fail(call, &err);
    buffer_destroy(&found);
}
