#include "branch-service/rpc/convert.h"

#include <xxhash.h>

#include "common/base/clock.h"
#include "common/base/limits.h"
#include "common/bson/document_id.h"
#include "common/bson/ejson.h"

int64_t convert_deadline(const struct rpc_call *call)
{
    const int64_t deadline = rpc_call_deadline(call), now = clock_monotonic_micros();
    if (deadline == NO_DEADLINE)
        return now + DEFAULT_DEADLINE_MICROS;
    const int64_t rest = deadline > now ? deadline - now : 0;
    return deadline - (rest < 8 * ANSWER_TIME_MICROS ? rest / 8 : ANSWER_TIME_MICROS);
}

/* ---- requests --------------------------------------------------------------------------------------- */

/* Packing into this hashes instead of storing. */
struct hash_buffer {
    ProtobufCBuffer base;
    XXH3_state_t *state;
};

static void hash_append(ProtobufCBuffer *buffer, size_t len, const uint8_t *data)
{
    XXH3_128bits_update(((struct hash_buffer *)buffer)->state, data, len);
}

static struct bytes hash_request(const char *method, const ProtobufCMessage *request, struct arena *arena)
{
    XXH128_canonical_t *canonical = arena_alloc(arena, sizeof *canonical);
    struct hash_buffer buffer = { .base = { .append = hash_append }, .state = XXH3_createState() };
    if (!canonical || !buffer.state) {
        XXH3_freeState(buffer.state);
        return (struct bytes) { 0 };
    }
    XXH3_128bits_reset(buffer.state);
    XXH3_128bits_update(buffer.state, method, strlen(method) + 1);
    protobuf_c_message_pack_to_buffer(request, &buffer.base);
    XXH128_canonicalFromHash(canonical, XXH3_128bits_digest(buffer.state));
    XXH3_freeState(buffer.state);
    return bytes_of(canonical, sizeof *canonical);
}

void convert_write(struct rpc_call *call, const char *method, const ProtobufCMessage *whole, Argon__Branch__V1__WriteOptions **write,
                   struct arena *arena, struct write_request *request)
{
    Argon__Branch__V1__WriteOptions *options = *write;
    const int64_t deadline = convert_deadline(call);
    *request =
        (struct write_request) { .request_id = "", .actor = "", .deadline = deadline, .caller = { rpc_call_is_over, call, deadline } };
    if (options) {
        request->request_id = options->request_id;
        request->since_lsn = options->since_lsn;
        request->actor = options->actor;
    }
    /* a repetition may know more (since_lsn): what is asked for is the same. One that came without an id may be
     * repeated, too: an error whose outcome is unknown names the id that it got here */
    *write = NULL;
    request->hash = hash_request(method, whole, arena);
    *write = options;
}

struct read_options convert_read(struct rpc_call *call, const Argon__Branch__V1__ReadOptions *options)
{
    return (struct read_options) {
        .as_of_lsn = options ? options->as_of_lsn : 0,
        .min_lsn = options ? options->min_lsn : 0,
        .as_of_time = options ? options->as_of_time : 0,
        .stale_ok = options && options->stale_ok,
        .deadline = convert_deadline(call),
        .caller = { rpc_call_is_over, call },
    };
}

bool convert_query_options(const Argon__Branch__V1__QueryOptions *options, struct arena *arena, struct query_options *out,
                           struct error *err)
{
    *out = (struct query_options) { 0 };
    if (!options)
        return true;
    out->hint = options->hint;
    out->comment = options->comment;
    return convert_document_in("let", options->let, true, arena, &out->let, err) &&
           convert_document_in("collation", options->collation, true, arena, &out->collation, err) &&
           convert_document_in("hint_keys", options->hint_keys, true, arena, &out->hint_keys, err);
}

bool convert_target(const Argon__Branch__V1__Target *target, struct collection_path *path, struct error *err)
{
    if (!target)
        return error_set(err, ERROR_INVALID_ARGUMENT, "target is missing");
    *path = (struct collection_path) {
        .project = target->project,
        .branch = target->branch[0] ? target->branch : MAIN_BRANCH,
        .collection = target->collection,
    };
    return true;
}

bool convert_page_size(uint32_t page_size, size_t *n, struct error *err)
{
    if (page_size > MAX_PAGE_SIZE)
        return error_set(err, ERROR_INVALID_ARGUMENT, "page_size %u is over the limit of %d", page_size, MAX_PAGE_SIZE);
    *n = page_size ? page_size : DEFAULT_PAGE_SIZE;
    return true;
}

/* ---- documents -------------------------------------------------------------------------------------- */

bool convert_document_in(const char *what, const Argon__Branch__V1__Document *document, bool optional, struct arena *arena,
                         struct bytes *bson, struct error *err)
{
    bool has_bson = document && document->bson.len > 0, has_json = document && document->json[0];
    if (has_bson && has_json)
        return error_set(err, ERROR_INVALID_ARGUMENT, "%s: both bson and json are set", what);
    if (!has_bson && !has_json) {
        if (!optional)
            return error_set(err, ERROR_INVALID_ARGUMENT, "%s: neither bson nor json is set", what);
        *bson = (struct bytes) { 0 };
        return true;
    }
    if (has_bson) {
        *bson = bytes_of(document->bson.data, document->bson.len);
        return true;
    }
    bson_t parsed;
    if (!ejson_parse(bytes_of_string(document->json), &parsed, err))
        return error_wrap(err, "%s", what);
    *bson = bytes_of(arena_copy(arena, bson_get_data(&parsed), parsed.len), parsed.len);
    bson_destroy(&parsed);
    return bson->data || error_out_of_memory(err);
}

bool convert_format(Argon__Branch__V1__Format format, struct error *err)
{
    if (format > ARGON__BRANCH__V1__FORMAT__FORMAT_CANONICAL_JSON)
        return error_set(err, ERROR_INVALID_ARGUMENT, "format %d is unknown", (int)format);
    return true;
}

bool convert_document_out(struct bytes bson, Argon__Branch__V1__Format format, struct arena *arena, Argon__Branch__V1__Document *document,
                          struct error *err)
{
    *document = (Argon__Branch__V1__Document)ARGON__BRANCH__V1__DOCUMENT__INIT;
    if (format == ARGON__BRANCH__V1__FORMAT__FORMAT_BSON) {
        document->bson.data = (uint8_t *)bson.data;
        document->bson.len = bson.len;
        return true;
    }
    struct buffer text = { 0 };
    enum ejson_style style = format == ARGON__BRANCH__V1__FORMAT__FORMAT_CANONICAL_JSON ? EJSON_CANONICAL : EJSON_RELAXED;
    bool ok = ejson_format(bson, style, &text, err);
    if (ok) {
        document->json = arena_strndup(arena, (const char *)text.data, text.len);
        ok = document->json || error_out_of_memory(err);
    }
    buffer_destroy(&text);
    return ok;
}

bool convert_id_out(struct bytes bson, Argon__Branch__V1__Format format, struct arena *arena, Argon__Branch__V1__Document *document,
                    struct error *err)
{
    struct bytes id;
    return document_id_of(bson, arena, &id, err) && convert_document_out(id, format, arena, document, err);
}

void fail_not_applied(struct rpc_call *call, struct error *err)
{
    err->outcome = OUTCOME_NOT_APPLIED;
    rpc_fail(call, err);
}
