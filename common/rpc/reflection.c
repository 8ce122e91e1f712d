/* grpc.reflection.v1 and v1alpha, which differ in their names alone: each stream answers requests in turn.
 *
 * A stream that waits for its client holds a worker, and tools keep theirs open for as long as somebody looks at
 * them: so many are served at a time, and one more is RESOURCE_EXHAUSTED.
 */
#include <stdlib.h>
#include <string.h>

#include "common/base/memory.h"
#include "common/rpc/reflection_set.h"
#include "common/rpc/rpc_internal.h"
#include "grpc/reflection/v1/reflection.pb-c.h"

enum {
    MAX_STREAMS = 16,
    WORKERS_PER_STREAM = 4, /* and so many workers for each, but one stream always */
    MAX_REQUEST_BYTES = 256 * 1024,
};

typedef Grpc__Reflection__V1__ServerReflectionRequest reflection_request;
typedef Grpc__Reflection__V1__ServerReflectionResponse reflection_response;
#define REQUEST(name)  GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_##name
#define RESPONSE(name) GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_##name

struct reflection {
    struct rpc_server *server;
    struct reflection_set *set;
    size_t max_streams;
    atomic_size_t streams;
};

/* ---- answers ---------------------------------------------------------------------------------------- */

static bool out_of_memory(struct error *err)
{
    return error_set(err, ERROR_RESOURCE_EXHAUSTED, "the request takes too much memory");
}

static bool answer_error(struct arena *arena, reflection_response *response, enum error_code code, const char *message, struct error *err)
{
    Grpc__Reflection__V1__ErrorResponse *answer = arena_alloc(arena, sizeof *answer);
    if (!answer)
        return out_of_memory(err);
    grpc__reflection__v1__error_response__init(answer);
    answer->error_code = (int32_t)code;
    answer->error_message = (char *)message;
    response->message_response_case = RESPONSE(ERROR_RESPONSE);
    response->error_response = answer;
    return true;
}

static bool answer_file(struct reflection *reflection, struct arena *arena, size_t file, reflection_response *response, struct error *err)
{
    size_t room = reflection_set_count(reflection->set);
    Grpc__Reflection__V1__FileDescriptorResponse *answer = arena_alloc(arena, sizeof *answer);
    struct bytes *files = arena_alloc(arena, room * sizeof *files);
    ProtobufCBinaryData *encoded = arena_alloc(arena, room * sizeof *encoded);
    if (!answer || !files || !encoded)
        return out_of_memory(err);
    size_t n = reflection_set_closure(reflection->set, file, files);
    for (size_t i = 0; i < n; i++)
        encoded[i] = (ProtobufCBinaryData) { files[i].len, (uint8_t *)files[i].data };
    grpc__reflection__v1__file_descriptor_response__init(answer);
    answer->n_file_descriptor_proto = n;
    answer->file_descriptor_proto = encoded;
    response->message_response_case = RESPONSE(FILE_DESCRIPTOR_RESPONSE);
    response->file_descriptor_response = answer;
    return true;
}

/* "/package.Service/Method": the methods of a service follow each other. */
static struct bytes service_of(const struct method_slot *slot)
{
    const char *name = slot->path + 1;
    return bytes_of(name, (size_t)(strchr(name, '/') - name));
}

static bool answer_services(struct reflection *reflection, struct arena *arena, reflection_response *response, struct error *err)
{
    const struct rpc_server *server = reflection->server;
    Grpc__Reflection__V1__ListServiceResponse *answer = arena_alloc(arena, sizeof *answer);
    Grpc__Reflection__V1__ServiceResponse **rows = arena_alloc(arena, server->n_slots * sizeof *rows);
    if (!answer || !rows)
        return out_of_memory(err);
    grpc__reflection__v1__list_service_response__init(answer);
    answer->service = rows;
    for (size_t i = 0; i < server->n_slots; i++) {
        struct bytes name = service_of(&server->slots[i]);
        if (i > 0 && bytes_equal(name, service_of(&server->slots[i - 1])))
            continue;
        Grpc__Reflection__V1__ServiceResponse *row = arena_alloc(arena, sizeof *row);
        char *copy = arena_strndup(arena, (const char *)name.data, name.len);
        if (!row || !copy)
            return out_of_memory(err);
        grpc__reflection__v1__service_response__init(row);
        row->name = copy;
        rows[answer->n_service++] = row;
    }
    response->message_response_case = RESPONSE(LIST_SERVICES_RESPONSE);
    response->list_services_response = answer;
    return true;
}

static bool answer(struct reflection *reflection, struct arena *arena, const reflection_request *request, reflection_response *response,
                   struct error *err)
{
    size_t file;
    switch (request->message_request_case) {
    case REQUEST(LIST_SERVICES):
        return answer_services(reflection, arena, response, err);
    case REQUEST(FILE_BY_FILENAME):
        if (reflection_set_find_file(reflection->set, request->file_by_filename, &file))
            return answer_file(reflection, arena, file, response, err);
        return answer_error(arena, response, ERROR_NOT_FOUND, "there is no such file here", err);
    case REQUEST(FILE_CONTAINING_SYMBOL):
        if (reflection_set_find_symbol(reflection->set, request->file_containing_symbol, &file))
            return answer_file(reflection, arena, file, response, err);
        return answer_error(arena, response, ERROR_NOT_FOUND, "there is no such symbol here", err);
    case REQUEST(FILE_CONTAINING_EXTENSION):
    case REQUEST(ALL_EXTENSION_NUMBERS_OF_TYPE):
        return answer_error(arena, response, ERROR_NOT_FOUND, "there are no extensions here", err);
    default:
        return answer_error(arena, response, ERROR_INVALID_ARGUMENT, "the request asks for nothing that is known here", err);
    }
}

/* ---- the stream ------------------------------------------------------------------------------------- */

/* False when the call is over, or broken; *last is set after the client's last request. */
static bool serve_one(struct reflection *reflection, struct rpc_call *call, bool *last, struct error *err)
{
    struct arena arena;
    arena_init(&arena, MAX_REQUEST_BYTES);
    ProtobufCMessage *message;
    reflection_response response = GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__INIT;
    bool ok = rpc_stream_receive(call, &arena, &message, err);
    *last = ok && !message;
    if (ok && message) {
        response.original_request = (reflection_request *)message;
        response.valid_host = response.original_request->host;
        ok = answer(reflection, &arena, response.original_request, &response, err) &&
             (rpc_stream_send(call, &response.base) || error_set(err, ERROR_CANCELLED, "the call is over"));
    }
    arena_destroy(&arena);
    return ok;
}

static void on_info(void *service, struct rpc_call *call, const ProtobufCMessage *nothing)
{
    (void)nothing;
    struct reflection *reflection = service;
    struct error err;
    bool ok, last = false;
    if (atomic_fetch_add(&reflection->streams, 1) < reflection->max_streams) {
        do
            ok = serve_one(reflection, call, &last, &err);
        while (ok && !last);
    } else {
        ok = error_set(&err, ERROR_RESOURCE_EXHAUSTED, "%zu reflection streams are open, which is the limit", reflection->max_streams);
        err.outcome = OUTCOME_NOT_APPLIED;
    }
    atomic_fetch_sub(&reflection->streams, 1); /* before the client can know of the end */
    if (ok)
        rpc_finish(call);
    else
        rpc_fail(call, &err);
}

/* ---- the server's side ------------------------------------------------------------------------------ */

bool reflection_add_to(struct rpc_server *server, struct error *err)
{
    static const struct rpc_method methods[] = { RPC_BIDI("ServerReflectionInfo", on_info) };
    struct reflection *reflection = mem_zalloc(sizeof *reflection);
    server->reflection = reflection;
    reflection->server = server;
    reflection->max_streams = server->options.worker_threads / WORKERS_PER_STREAM;
    if (reflection->max_streams < 1)
        reflection->max_streams = 1;
    if (reflection->max_streams > MAX_STREAMS)
        reflection->max_streams = MAX_STREAMS;
    ProtobufCServiceDescriptor alpha = grpc__reflection__v1__server_reflection__descriptor; /* the same messages */
    alpha.name = "grpc.reflection.v1alpha.ServerReflection";
    const struct rpc_reflection *schema = server->options.reflection;
    return reflection_set_new(bytes_of(schema->descriptor_set, schema->len), &reflection->set, err) &&
           server_add_slots(server, &grpc__reflection__v1__server_reflection__descriptor, methods, ARRAY_LEN(methods), reflection, false,
                            err) &&
           server_add_slots(server, &alpha, methods, ARRAY_LEN(methods), reflection, false, err);
}

void reflection_free(struct reflection *reflection)
{
    if (!reflection)
        return;
    reflection_set_free(reflection->set);
    free(reflection);
}
