#include <stdio.h>

#include "branch-service/rpc/find_rpc.h"
#include "branch-service/rpc/services.h"
#include "common/bson/bson_check.h"
#include "common/bson/builder.h"

/* The stages as one array. */
static bool convert_pipeline(const Argon__Branch__V1__AggregateRequest *request, struct arena *arena, struct bytes *pipeline,
                             struct error *err)
{
    struct builder builder;
    struct bytes stage, stages;
    bool ok = true;
    builder_init(&builder);
    for (size_t i = 0; ok && i < request->n_pipeline; i++) {
        char what[32];
        snprintf(what, sizeof what, "stage %zu", i);
        ok = convert_document_in(what, request->pipeline[i], false, arena, &stage, err);
        if (ok && !bson_check(stage, err))
            ok = error_wrap(err, "%s", what);
        if (ok) {
            builder_index(&builder, (uint32_t)i);
            builder_value(&builder, BSON_TYPE_DOCUMENT, stage);
        }
    }
    ok = ok && builder_finish(&builder, &stages, err);
    if (ok) {
        *pipeline = bytes_of(arena_copy(arena, stages.data, stages.len), stages.len);
        ok = pipeline->data || error_out_of_memory(err);
    }
    builder_destroy(&builder);
    return ok;
}

static bool convert_aggregate(struct rpc_call *call, const Argon__Branch__V1__AggregateRequest *request, struct collection_path *path,
                              struct aggregate_spec *spec, struct error *err)
{
    struct arena *arena = rpc_call_arena(call);
    return convert_format(request->format, err) && convert_target(request->target, path, err) &&
           convert_pipeline(request, arena, &spec->pipeline, err) && convert_query_options(request->options, arena, &spec->options, err);
}

void aggregate_rpc_on_aggregate(void *service, struct rpc_call *call, const ProtobufCMessage *message)
{
    const Argon__Branch__V1__AggregateRequest *request = (const Argon__Branch__V1__AggregateRequest *)message;
    const struct read_options read = convert_read(call, request->read);
    struct collection_path path;
    struct collection_way way = { 0 };
    struct aggregate_spec spec = { 0 };
    struct find *find = NULL;
    struct error err;
    if (convert_aggregate(call, request, &path, &spec, &err)) {
        for (collection_begin(&way, service, path.project, path.branch, NULL); collection_go(&way, &err);)
            way.ok = way.kind->aggregate(service, &path, &spec, &read, &find, &err);
    }
    find_rpc_send(call, way.ok ? find : NULL, request->format, &err);
}

/* ---- explain ---------------------------------------------------------------------------------------- */

static const Argon__Branch__V1__Access access_out[] = {
    [FIND_NOTHING] = ARGON__BRANCH__V1__ACCESS__ACCESS_NOTHING,        [FIND_BY_ID] = ARGON__BRANCH__V1__ACCESS__ACCESS_ID_LOOKUP,
    [FIND_BY_ID_RANGES] = ARGON__BRANCH__V1__ACCESS__ACCESS_ID_RANGES, [FIND_BY_INDEX] = ARGON__BRANCH__V1__ACCESS__ACCESS_INDEX,
    [FIND_BY_SCAN] = ARGON__BRANCH__V1__ACCESS__ACCESS_SCAN,
};
static const Argon__Branch__V1__Order order_out[] = {
    [FIND_AS_WALKED] = ARGON__BRANCH__V1__ORDER__ORDER_NONE,
    [FIND_ORDERED_BY_ID] = ARGON__BRANCH__V1__ORDER__ORDER_ID,
    [FIND_ORDERED_BY_INDEX] = ARGON__BRANCH__V1__ORDER__ORDER_INDEX,
    [FIND_SORTED] = ARGON__BRANCH__V1__ORDER__ORDER_SORTED,
};

static bool open_explained(struct registry *registry, struct rpc_call *call, const Argon__Branch__V1__ExplainRequest *request,
                           struct find **find, struct error *err)
{
    struct collection_path path;
    struct collection_way way;
    struct find_spec spec;
    struct aggregate_spec aggregate = { 0 };
    if (!request->find == !request->aggregate)
        return error_set(err, ERROR_INVALID_ARGUMENT, "exactly one of find and aggregate is explained");
    const struct read_options read = convert_read(call, request->find ? request->find->read : request->aggregate->read);
    if (request->find ? !find_rpc_convert(call, request->find, &path, &spec, err)
                      : !convert_aggregate(call, request->aggregate, &path, &aggregate, err))
        return false;
    spec.explained = aggregate.explained = true;
    for (collection_begin(&way, registry, path.project, path.branch, NULL); collection_go(&way, err);)
        way.ok = request->find ? way.kind->find(registry, &path, &spec, &read, find, err)
                               : way.kind->aggregate(registry, &path, &aggregate, &read, find, err);
    return way.ok;
}

void aggregate_rpc_on_explain(void *service, struct rpc_call *call, const ProtobufCMessage *message)
{
    const Argon__Branch__V1__ExplainRequest *request = (const Argon__Branch__V1__ExplainRequest *)message;
    Argon__Branch__V1__ExplainResponse response = ARGON__BRANCH__V1__EXPLAIN_RESPONSE__INIT;
    struct find *find = NULL;
    struct bytes document = { 0 };
    struct error err;
    bool ok = open_explained(service, call, request, &find, &err);
    while (ok) {
        ok = find_next(find, &document, &err) && find_settle(find, &err);
        if (!ok || !document.data)
            break;
        response.returned++;
    }
    if (ok) {
        response.access = access_out[find->work.access];
        response.order = order_out[find->work.order];
        response.ranges = find->work.n_ranges;
        response.examined = find->work.examined;
        response.lsn = find->lsn;
        response.indexes = find->work.indexes ? (char *)find->work.indexes : "";
    }
    if (ok)
        rpc_reply(call, &response.base);
    else
        rpc_fail(call, &err);
    find_close(find);
}
