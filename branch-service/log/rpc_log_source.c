#include <argon/wal/v1/wal.pb-c.h>
#include <stdlib.h>

#include "branch-service/log/append_queue.h"
#include "branch-service/log/rpc_log_internal.h"
#include "common/base/backoff.h"
#include "common/base/clock.h"
#include "common/base/limits.h"
#include "common/base/memory.h"

static const char append_method[] = "/argon.wal.v1.Wal/Append";
static const char head_method[] = "/argon.wal.v1.Wal/GetHead";
static const char heads_method[] = "/argon.wal.v1.Wal/GetHeads";
static const char find_method[] = "/argon.wal.v1.Wal/FindLsn";
static const char status_method[] = "/argon.wal.v1.Wal/GetStatus";

static append_send_fn send_group;

bool log_source_open(const char *target, struct log_source **source, struct error *err)
{
    const struct rpc_client_options options = { .target = target, .max_message_bytes = 2 * MAX_MESSAGE_BYTES, .name = "WAL service" };
    struct rpc_client *client;
    if (!rpc_client_open(&options, &client, err))
        return error_wrap(err, "WAL service %s", target);
    struct log_source *made = mem_zalloc(sizeof *made);
    made->client = client;
    made->target = mem_strdup(target);
    made->appends = append_queue_new(send_group, made);
    *source = made;
    return true;
}

void log_source_close(struct log_source *source)
{
    if (!source)
        return;
    append_queue_free(source->appends);
    rpc_client_close(source->client);
    free(source->target);
    free(source);
}

const char *log_source_target(const struct log_source *source)
{
    return source->target;
}

static ProtobufCBinaryData borrowed(struct bytes bytes)
{
    return (ProtobufCBinaryData) { .data = (uint8_t *)bytes.data, .len = bytes.len };
}

ProtobufCBinaryData log_borrow_incarnation(const struct log_incarnation *incarnation)
{
    return incarnation ? borrowed(bytes_of(incarnation->bytes, sizeof incarnation->bytes)) : (ProtobufCBinaryData) { 0 };
}

static struct bytes bytes_from(ProtobufCBinaryData data)
{
    return bytes_of(data.data, data.len);
}

static struct log_incarnation incarnation_from(ProtobufCBinaryData data)
{
    struct log_incarnation incarnation = { { 0 } };
    if (data.len == sizeof incarnation.bytes)
        memcpy(incarnation.bytes, data.data, data.len);
    return incarnation;
}

/* ---- read ------------------------------------------------------------------------------------------- */

bool log_show_runs(const Argon__Wal__V1__ReadResponse *response, struct arena *arena, log_run_fn *visit, void *ctx, struct error *err)
{
    for (size_t i = 0; i < response->n_runs; i++) {
        const Argon__Wal__V1__Run *in = response->runs[i];
        struct log_entry *entries = arena_alloc(arena, in->n_entries * sizeof *entries);
        if (!entries)
            return error_out_of_memory(err);
        for (size_t k = 0; k < in->n_entries; k++)
            entries[k] = (struct log_entry) {
                .operation = (enum log_operation)in->entries[k]->operation,
                .document_id = bytes_from(in->entries[k]->document_id),
                .document = bytes_from(in->entries[k]->document),
            };
        const struct log_run run = {
            .branch_id = in->branch_id,
            .collection = in->collection,
            .actor = in->actor,
            .first_lsn = in->first_lsn,
            .timestamp = in->timestamp,
            .entries = entries,
            .n_entries = in->n_entries,
        };
        if (!visit(ctx, &run, err))
            return false;
    }
    return true;
}

static bool is_wanted(const struct log_read_range *range, void *ctx, struct error *err)
{
    return !range->wanted || range->wanted(ctx) || error_set(err, ERROR_CANCELLED, "the read of the log is not wanted any more");
}

/* Waits for a message, or the end (*message = NULL), for as long as it is wanted. */
static bool next_wanted(struct rpc_client_stream *stream, const struct log_read_range *range, void *ctx, struct arena *arena,
                        ProtobufCMessage **message, struct error *err)
{
    for (bool arrived = false; !arrived;) {
        int64_t until = range->wanted ? clock_monotonic_micros() + LOG_WANTED_MICROS : NO_DEADLINE;
        if (!is_wanted(range, ctx, err) || !rpc_client_stream_next_until(stream, until, arena, &arrived, message, err))
            return false;
    }
    return true;
}

/* One stream. *position moves forward with every message that was shown, so that the next try begins there.
 * *refused tells an error of the visitor from one of the transport. */
static bool read_once(struct log_source *source, Argon__Wal__V1__ReadRequest *request, const struct log_read_range *range, int64_t deadline,
                      log_run_fn *visit, void *ctx, uint64_t *position, bool *refused, struct error *err)
{
    struct rpc_client_stream *stream = NULL;
    bool ok = false;
    request->after_lsn = *position;
    const struct rpc_call_options options = { .deadline = deadline };
    if (!rpc_client_stream_open(source->client, LOG_READ_METHOD, &request->base, &argon__wal__v1__read_response__descriptor, &options,
                                &stream, err))
        return false;
    for (;;) {
        struct arena arena;
        arena_init(&arena, 0);
        ProtobufCMessage *message;
        bool more = next_wanted(stream, range, ctx, &arena, &message, err);
        if (more && message) {
            const Argon__Wal__V1__ReadResponse *response = (const Argon__Wal__V1__ReadResponse *)message;
            *refused = !log_show_runs(response, &arena, visit, ctx, err);
            more = !*refused;
            if (more)
                *position = response->complete_through;
        } else {
            ok = more;
            more = false;
        }
        arena_destroy(&arena);
        if (!more)
            break;
    }
    rpc_client_stream_close(stream);
    return ok;
}

bool log_source_read(struct log_source *source, const struct log_read_range *range, const struct log_incarnation *incarnation,
                     int64_t deadline, log_run_fn *visit, void *ctx, uint64_t *complete_through, struct error *err)
{
    Argon__Wal__V1__ReadRequest request = ARGON__WAL__V1__READ_REQUEST__INIT;
    request.project_id = (char *)range->project;
    request.through_lsn = range->through;
    if (range->branch_id)
        request.branch_id = (char *)range->branch_id;
    if (range->collection)
        request.collection = (char *)range->collection;
    request.incarnation = log_borrow_incarnation(incarnation);

    uint64_t position = range->after;
    *complete_through = position;
    struct backoff backoff = { 0 };
    for (;;) {
        bool refused = false;
        bool ok = read_once(source, &request, range, deadline, visit, ctx, &position, &refused, err);
        *complete_through = position;
        if (ok)
            return true;
        if (refused || err->code != ERROR_UNAVAILABLE || !backoff_wait(&backoff, deadline) || !is_wanted(range, ctx, err))
            return false;
    }
}

static bool ignore_run(void *ctx, const struct log_run *run, struct error *err)
{
    (void)ctx, (void)run, (void)err;
    return true;
}

/* An empty range: its answer is only the batch end that it was rounded down to. */
bool log_source_batch_end(struct log_source *source, const char *project, uint64_t lsn, const struct log_incarnation *incarnation,
                          int64_t deadline, uint64_t *end, struct error *err)
{
    const struct log_read_range range = { .project = project, .after = lsn, .through = lsn };
    return log_source_read(source, &range, incarnation, deadline, ignore_run, NULL, end, err);
}

/* ---- head ------------------------------------------------------------------------------------------- */

static struct log_request_outcome outcome_from(const Argon__Wal__V1__RequestOutcome *in)
{
    struct log_request_outcome outcome = { .first_lsn = in->first_lsn, .last_lsn = in->last_lsn, .timestamp = in->timestamp };
    if (in->step)
        outcome.step = (struct log_request) {
            .id = bytes_from(in->step->request_id),
            .hash = bytes_from(in->step->request_hash),
            .step = in->step->step,
            .last = in->step->last,
            .last_document_id = bytes_from(in->step->last_document_id),
            .answer = bytes_from(in->step->answer),
        };
    return outcome;
}

static bool head_from(const Argon__Wal__V1__GetHeadResponse *response, const struct log_head_query *query, struct log_head *head,
                      struct error *err)
{
    if (response->request_hash_differs)
        return error_set(err, ERROR_INVALID_ARGUMENT, "this request_id was used before for another request");
    if (response->request_outcome_unknown)
        return error_set(err, ERROR_OUT_OF_RANGE,
                         "outcome unknown: the request may have been forgotten (since_lsn %llu is below the horizon %llu)",
                         (unsigned long long)query->since_lsn, (unsigned long long)response->request_horizon);
    *head = (struct log_head) {
        .commit_lsn = response->commit_lsn,
        .incarnation = incarnation_from(response->incarnation),
        .known_through = response->known_through,
        .request_known = response->request != NULL,
    };
    if (response->request)
        head->request = outcome_from(response->request);
    return true;
}

bool log_source_head(struct log_source *source, const char *project, const struct log_head_query *query, int64_t deadline,
                     struct arena *arena, struct log_head *head, struct error *err)
{
    Argon__Wal__V1__GetHeadRequest request = ARGON__WAL__V1__GET_HEAD_REQUEST__INIT;
    request.project_id = (char *)project;
    request.known_incarnation = log_borrow_incarnation(query->known_incarnation);
    request.request_id = borrowed(query->request_id);
    request.request_hash = borrowed(query->request_hash);
    request.since_lsn = query->since_lsn;
    const struct rpc_call_options options = { .deadline = deadline, .repeatable = true };
    ProtobufCMessage *message;
    if (!rpc_client_call(source->client, head_method, &request.base, &argon__wal__v1__get_head_response__descriptor, &options, arena,
                         &message, err))
        return false;
    return head_from((const Argon__Wal__V1__GetHeadResponse *)message, query, head, err);
}

struct started_head {
    log_head_fn *done;
    void *ctx;
};

static void on_head(void *ctx, const struct error *failure, struct bytes encoded)
{
    const struct started_head started = *(struct started_head *)ctx;
    struct log_head head = { 0 };
    free(ctx);
    if (failure) {
        started.done(started.ctx, failure, NULL);
        return;
    }
    struct error err;
    Argon__Wal__V1__GetHeadResponse *response = argon__wal__v1__get_head_response__unpack(NULL, encoded.len, encoded.data);
    if (response ? head_from(response, &(struct log_head_query) { 0 }, &head, &err)
                 : error_set(&err, ERROR_INTERNAL, "the WAL service answered what cannot be read"))
        started.done(started.ctx, NULL, &head);
    else
        started.done(started.ctx, &err, NULL);
    if (response)
        argon__wal__v1__get_head_response__free_unpacked(response, NULL);
}

void log_source_head_start(struct log_source *source, const char *project, int64_t deadline, log_head_fn *done, void *ctx)
{
    Argon__Wal__V1__GetHeadRequest request = ARGON__WAL__V1__GET_HEAD_REQUEST__INIT;
    struct started_head *started = mem_alloc(sizeof *started);
    *started = (struct started_head) { done, ctx };
    request.project_id = (char *)project;
    const struct rpc_call_options options = { .deadline = deadline };
    rpc_client_start(source->client, head_method, &request.base, &options, on_head, started);
}

bool log_source_find_lsn(struct log_source *source, const char *project, uint64_t time_micros, int64_t deadline, uint64_t *lsn,
                         struct error *err)
{
    Argon__Wal__V1__FindLsnRequest request = ARGON__WAL__V1__FIND_LSN_REQUEST__INIT;
    request.project_id = (char *)project;
    request.timestamp = time_micros;
    const struct rpc_call_options options = { .deadline = deadline, .repeatable = true };
    struct arena arena;
    arena_init(&arena, 0);
    ProtobufCMessage *message;
    bool ok = rpc_client_call(source->client, find_method, &request.base, &argon__wal__v1__find_lsn_response__descriptor, &options, &arena,
                              &message, err);
    if (ok)
        *lsn = ((const Argon__Wal__V1__FindLsnResponse *)message)->lsn;
    arena_destroy(&arena);
    return ok;
}

bool log_source_branch_heads(struct log_source *source, const char *project, const char *const *branch_ids, size_t n, int64_t deadline,
                             uint64_t *last_lsns, struct error *err)
{
    Argon__Wal__V1__GetHeadsRequest request = ARGON__WAL__V1__GET_HEADS_REQUEST__INIT;
    request.project_id = (char *)project;
    request.branch_ids = (char **)branch_ids;
    request.n_branch_ids = n;
    const struct rpc_call_options options = { .deadline = deadline, .repeatable = true };
    struct arena arena;
    arena_init(&arena, 0);
    ProtobufCMessage *message;
    bool ok = rpc_client_call(source->client, heads_method, &request.base, &argon__wal__v1__get_heads_response__descriptor, &options,
                              &arena, &message, err);
    if (ok) {
        const Argon__Wal__V1__GetHeadsResponse *response = (const Argon__Wal__V1__GetHeadsResponse *)message;
        if (response->n_last_lsns == n)
            memcpy(last_lsns, response->last_lsns, n * sizeof *last_lsns);
        else
            ok = error_set(err, ERROR_INTERNAL, "the WAL service answered %zu heads for %zu branches", response->n_last_lsns, n);
    }
    arena_destroy(&arena);
    return ok;
}

/* ---- append ----------------------------------------------------------------------------------------- */

static bool build_runs(const struct log_batch *batch, struct arena *arena, Argon__Wal__V1__Batch *out)
{
    out->runs = arena_alloc(arena, batch->n_runs * sizeof(void *));
    Argon__Wal__V1__Run *runs = arena_alloc(arena, batch->n_runs * sizeof *runs);
    if (!out->runs || !runs)
        return false;
    out->n_runs = batch->n_runs;
    for (size_t i = 0; i < batch->n_runs; i++) {
        const struct log_run *in = &batch->runs[i];
        Argon__Wal__V1__Entry *entries = arena_alloc(arena, in->n_entries * sizeof *entries);
        runs[i] = (Argon__Wal__V1__Run)ARGON__WAL__V1__RUN__INIT;
        runs[i].branch_id = (char *)in->branch_id;
        runs[i].collection = (char *)in->collection;
        runs[i].actor = (char *)(in->actor ? in->actor : "");
        runs[i].entries = arena_alloc(arena, in->n_entries * sizeof(void *));
        runs[i].n_entries = in->n_entries;
        out->runs[i] = &runs[i];
        if (!entries || !runs[i].entries)
            return false;
        for (size_t k = 0; k < in->n_entries; k++) {
            entries[k] = (Argon__Wal__V1__Entry)ARGON__WAL__V1__ENTRY__INIT;
            entries[k].operation = (Argon__Wal__V1__Operation)in->entries[k].operation;
            entries[k].document_id = borrowed(in->entries[k].document_id);
            entries[k].document = borrowed(in->entries[k].document);
            runs[i].entries[k] = &entries[k];
        }
    }
    return true;
}

static bool build_keys(const struct log_key *keys, size_t n, struct arena *arena, Argon__Wal__V1__Key ***out)
{
    Argon__Wal__V1__Key *made = arena_alloc(arena, n * sizeof *made);
    *out = arena_alloc(arena, n * sizeof(void *));
    if (!made || !*out)
        return false;
    for (size_t i = 0; i < n; i++) {
        made[i] = (Argon__Wal__V1__Key)ARGON__WAL__V1__KEY__INIT;
        made[i].branch_id = (char *)keys[i].branch_id;
        made[i].collection = (char *)keys[i].collection;
        made[i].document_id = borrowed(keys[i].document_id);
        (*out)[i] = &made[i];
    }
    return true;
}

/* Those that there is no memory for go unnamed. */
static void conflicts_from(const Argon__Wal__V1__AppendResult *in, struct arena *arena, struct log_append_result *result)
{
    result->conflicts = arena_alloc(arena, in->n_conflicts * sizeof *result->conflicts);
    result->n_conflicts = 0;
    for (size_t i = 0; result->conflicts && i < in->n_conflicts; i++) {
        const Argon__Wal__V1__Key *key = in->conflicts[i]->key;
        if (key)
            result->conflicts[result->n_conflicts++] = (struct log_key) { key->branch_id, key->collection, bytes_from(key->document_id) };
    }
}

static bool result_from(const Argon__Wal__V1__AppendResult *in, struct arena *arena, struct log_append_result *result, struct error *err)
{
    if (in->code != ERROR_OK) {
        conflicts_from(in, arena, result);
        error_set(err, (enum error_code)in->code, "%s", in->message);
        err->outcome = in->not_applied ? OUTCOME_NOT_APPLIED : OUTCOME_UNKNOWN;
        return false;
    }
    *result = (struct log_append_result) {
        .first_lsn = in->first_lsn,
        .last_lsn = in->last_lsn,
        .timestamp = in->timestamp,
        .repeated = in->earlier != NULL,
    };
    if (in->earlier)
        result->earlier = outcome_from(in->earlier);
    return true;
}

struct append_batch_message {
    Argon__Wal__V1__Batch batch;
    Argon__Wal__V1__RequestStep step;
};

static bool build_batch(const struct log_batch *batch, struct arena *arena, struct append_batch_message *message)
{
    Argon__Wal__V1__Batch *out = &message->batch;
    Argon__Wal__V1__RequestStep *step = &message->step;
    *out = (Argon__Wal__V1__Batch)ARGON__WAL__V1__BATCH__INIT;
    *step = (Argon__Wal__V1__RequestStep)ARGON__WAL__V1__REQUEST_STEP__INIT;
    if (!build_runs(batch, arena, out) || !build_keys(batch->read_keys, batch->n_read_keys, arena, &out->read_keys) ||
        !build_keys(batch->write_keys, batch->n_write_keys, arena, &out->write_keys))
        return false;
    out->n_read_keys = batch->n_read_keys;
    out->n_write_keys = batch->n_write_keys;
    out->read_lsn = batch->read_lsn;
    out->since_lsn = batch->since_lsn;
    if (batch->request.id.len > 0) {
        step->request_id = borrowed(batch->request.id);
        step->request_hash = borrowed(batch->request.hash);
        step->step = batch->request.step;
        step->last = batch->request.last;
        step->last_document_id = borrowed(batch->request.last_document_id);
        step->answer = borrowed(batch->request.answer);
        out->request = step;
    }
    return true;
}

static bool build_request(const struct append_group *group, struct arena *arena, Argon__Wal__V1__AppendRequest *request)
{
    size_t n = append_group_size(group);
    struct append_batch_message *messages = arena_alloc(arena, n * sizeof *messages);
    *request = (Argon__Wal__V1__AppendRequest)ARGON__WAL__V1__APPEND_REQUEST__INIT;
    request->project_id = (char *)append_group_project(group);
    request->incarnation = log_borrow_incarnation(append_group_incarnation(group));
    request->batches = arena_alloc(arena, n * sizeof(void *));
    if (!messages || !request->batches)
        return false;
    for (size_t i = 0; i < n; i++) {
        if (!build_batch(append_group_batch(group, i), arena, &messages[i]))
            return false;
        request->batches[i] = &messages[i].batch;
    }
    request->n_batches = n;
    return true;
}

/* What the answers of a group point to. */
struct append_answers {
    Argon__Wal__V1__AppendResponse *response;
    struct arena arena;
};

static void free_answers(void *kept)
{
    struct append_answers *answers = kept;
    argon__wal__v1__append_response__free_unpacked(answers->response, NULL);
    arena_destroy(&answers->arena);
    free(answers);
}

static void on_append_failed(struct append_group *group, const struct error *failure)
{
    append_group_done(group, NULL, failure, NULL, NULL);
}

static void on_appended(void *ctx, const struct error *failure, struct bytes encoded)
{
    struct append_group *group = ctx;
    const size_t n = append_group_size(group);
    struct error err;
    if (failure) {
        on_append_failed(group, failure);
        return;
    }
    struct append_answers *kept = mem_zalloc(sizeof *kept);
    arena_init(&kept->arena, 0);
    kept->response = argon__wal__v1__append_response__unpack(NULL, encoded.len, encoded.data);
    struct append_answer *answers = arena_zalloc(&kept->arena, n * sizeof *answers);
    if (!kept->response || kept->response->n_results != n || !answers) {
        error_set(&err, ERROR_INTERNAL, "the WAL service answered %zu results for %zu batches",
                  kept->response ? kept->response->n_results : 0, n);
        free_answers(kept);
        on_append_failed(group, &err);
        return;
    }
    for (size_t i = 0; i < n; i++)
        answers[i].ok = result_from(kept->response->results[i], &kept->arena, &answers[i].result, &answers[i].err);
    append_group_done(group, answers, NULL, free_answers, kept);
}

static void send_group(void *ctx, struct append_group *group)
{
    struct log_source *source = ctx;
    Argon__Wal__V1__AppendRequest request;
    struct arena arena;
    arena_init(&arena, 0);
    if (build_request(group, &arena, &request)) {
        const struct rpc_call_options options = { .deadline = append_group_deadline(group) };
        rpc_client_start(source->client, append_method, &request.base, &options, on_appended, group);
    } else {
        struct error err;
        error_out_of_memory(&err);
        err.outcome = OUTCOME_NOT_APPLIED;
        on_append_failed(group, &err);
    }
    arena_destroy(&arena);
}

bool log_source_append(struct log_source *source, const char *project, const struct log_incarnation *incarnation,
                       const struct log_batch *batch, int64_t deadline, struct arena *arena, struct log_append_result *result,
                       struct error *err)
{
    return append_queue_submit(source->appends, project, incarnation, batch, deadline, arena, result, err);
}

bool log_source_status(struct log_source *source, int64_t deadline, struct arena *arena, struct log_status *status, struct error *err)
{
    Argon__Wal__V1__GetStatusRequest request = ARGON__WAL__V1__GET_STATUS_REQUEST__INIT;
    const struct rpc_call_options options = { .deadline = deadline };
    ProtobufCMessage *message;
    if (!rpc_client_call(source->client, status_method, &request.base, &argon__wal__v1__get_status_response__descriptor, &options, arena,
                         &message, err))
        return false;
    const Argon__Wal__V1__GetStatusResponse *response = (const Argon__Wal__V1__GetStatusResponse *)message;
    *status = (struct log_status) {
        .version = response->version,
        .data_directory = response->data_directory,
        .uptime_seconds = response->uptime_seconds,
        .disk_bytes = response->disk_bytes,
        .segments = response->segments,
        .sealed_segments = response->sealed_segments,
        .compressed_segments = response->compressed_segments,
        .memory_bytes = response->memory_bytes,
        .entries = response->entries,
        .follow_streams = response->follow_streams,
        .disk_full = response->disk_full,
    };
    return true;
}
