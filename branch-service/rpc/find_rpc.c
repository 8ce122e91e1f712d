#include "branch-service/rpc/find_rpc.h"

#include "branch-service/rpc/services.h"

/* A message is sent when it holds this much. */
enum { FIND_MESSAGE_BYTES = 1024 * 1024, FIND_MESSAGE_DOCUMENTS = 1000 };

bool find_rpc_convert(struct rpc_call *call, const Argon__Branch__V1__FindRequest *request, struct collection_path *path,
                      struct find_spec *spec, struct error *err)
{
    struct arena *arena = rpc_call_arena(call);
    *spec = (struct find_spec) { .skip = request->skip, .limit = request->limit };
    return convert_format(request->format, err) && convert_target(request->target, path, err) &&
           convert_document_in("filter", request->filter, true, arena, &spec->filter, err) &&
           convert_document_in("projection", request->projection, true, arena, &spec->projection, err) &&
           convert_document_in("sort", request->sort, true, arena, &spec->sort, err) &&
           convert_query_options(request->options, arena, &spec->options, err);
}

bool find_rpc_open(struct registry *registry, struct rpc_call *call, const Argon__Branch__V1__FindRequest *request, struct find **find,
                   struct error *err)
{
    struct collection_path path;
    struct collection_way way;
    struct find_spec spec;
    const struct read_options read = convert_read(call, request->read);
    if (!find_rpc_convert(call, request, &path, &spec, err))
        return false;
    for (collection_begin(&way, registry, path.project, path.branch, NULL); collection_go(&way, err);)
        way.ok = way.kind->find(registry, &path, &spec, &read, find, err);
    return way.ok;
}

/* One message's documents. *n = 0: no more. */
static bool gather(struct find *find, Argon__Branch__V1__Format format, struct arena *arena, Argon__Branch__V1__Document *documents,
                   size_t *n, struct error *err)
{
    struct bytes document;
    size_t bytes = 0;
    *n = 0;
    while (*n < FIND_MESSAGE_DOCUMENTS && bytes < FIND_MESSAGE_BYTES) {
        if (!find_next(find, &document, err))
            return false;
        if (!document.data)
            break;
        if (!convert_document_out(document, format, arena, &documents[*n], err))
            return false;
        bytes += document.len;
        (*n)++;
    }
    return find_settle(find, err);
}

static bool send_all(struct rpc_call *call, struct find *find, Argon__Branch__V1__Format format, struct error *err)
{
    Argon__Branch__V1__Document *documents = arena_alloc(rpc_call_arena(call), FIND_MESSAGE_DOCUMENTS * sizeof *documents);
    Argon__Branch__V1__Document **pointers = arena_alloc(rpc_call_arena(call), FIND_MESSAGE_DOCUMENTS * sizeof *pointers);
    bool ok = (documents && pointers) || error_out_of_memory(err);
    bool first = true, more = ok, listening = true;
    while (more && listening) {
        Argon__Branch__V1__FindResponse response = ARGON__BRANCH__V1__FIND_RESPONSE__INIT;
        struct arena arena;
        arena_init(&arena, 0);
        ok = gather(find, format, &arena, documents, &response.n_documents, err);
        for (size_t i = 0; i < response.n_documents; i++)
            pointers[i] = &documents[i];
        response.documents = pointers;
        response.lsn = find->lsn;
        more = ok && response.n_documents > 0;
        if (more || (ok && first))
            listening = rpc_stream_send(call, &response.base);
        first = false;
        arena_destroy(&arena);
    }
    return ok;
}

void find_rpc_send(struct rpc_call *call, struct find *find, Argon__Branch__V1__Format format, const struct error *failure)
{
    struct error err;
    bool ok = false;
    if (find)
        ok = send_all(call, find, format, &err);
    else
        err = *failure;
    find_close(find);
    if (ok)
        rpc_finish(call);
    else
        rpc_fail(call, &err);
}

void find_rpc_on_find(void *service, struct rpc_call *call, const ProtobufCMessage *message)
{
    const Argon__Branch__V1__FindRequest *request = (const Argon__Branch__V1__FindRequest *)message;
    struct find *find = NULL;
    struct error err;
    bool ok = find_rpc_open(service, call, request, &find, &err);
    find_rpc_send(call, ok ? find : NULL, request->format, &err);
}
