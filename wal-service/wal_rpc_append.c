/* Append: checks a request whole, encodes its runs as they will lie in the log, and submits its batches.
 *
 * Everything that the reply needs is allocated before the batches are submitted: after that only the names of
 * conflicting keys may be missing for want of memory, never the answer.
 */
#include <inttypes.h>
#include <stdlib.h>

#include "common/base/limits.h"
#include "common/bson/utf8.h"
#include "wal-service/key_hash.h"
#include "wal-service/request_window.h"
#include "wal-service/run_codec.h"
#include "wal-service/wal_rpc_internal.h"

enum {
    SMALLEST_DOCUMENT = 5,
    MAX_BATCHES_A_CALL = 10000,
    MAX_CONFLICT_BYTES = 4 * MIB, /* of all conflicts that a response names: many batches have many */
    CONFLICT_FRAME_BYTES = 64,    /* at least what encodes a conflict besides its key's parts */
};

/* Runs of one batch as encoded; with what Read puts around them they must fit the message that readers accept. */
#define MAX_ENCODED_BATCH_BYTES ((size_t)MAX_MESSAGE_BYTES - 4096)

struct result_message {
    Argon__Wal__V1__AppendResult result;
    struct outcome_message earlier;
};

struct append_call {
    struct wal_append append;
    struct wal_rpc *rpc;
    struct rpc_call *call;
    Argon__Wal__V1__AppendResult **results;
    struct result_message *messages;
};

/* ---- the reply ----------------------------------------------------------------------------------- */

struct conflict_message {
    Argon__Wal__V1__Conflict conflict;
    Argon__Wal__V1__Key key;
};

/* Conflicts that there is no memory for, or no room in the response, go unnamed. */
static void fill_conflicts(Argon__Wal__V1__AppendResult *message, const struct append_result *result, struct arena *arena, size_t *room)
{
    size_t n = result->n_conflicts;
    struct conflict_message *conflicts = n ? arena_alloc(arena, n * sizeof *conflicts) : NULL;
    Argon__Wal__V1__Conflict **pointers = conflicts ? arena_alloc(arena, n * sizeof(Argon__Wal__V1__Conflict *)) : NULL;
    if (!pointers)
        return;
    message->conflicts = pointers;
    for (size_t i = 0; i < n; i++) {
        const struct append_conflict *conflict = &result->conflicts[i];
        const struct batch_key *key = &conflict->key;
        size_t size = CONFLICT_FRAME_BYTES + key->branch_id.len + key->collection.len + key->document_id.len;
        if (size > *room)
            return;
        *room -= size;
        argon__wal__v1__conflict__init(&conflicts[i].conflict);
        argon__wal__v1__key__init(&conflicts[i].key);
        conflicts[i].key.branch_id = arena_strndup(arena, (const char *)key->branch_id.data, key->branch_id.len);
        conflicts[i].key.collection = arena_strndup(arena, (const char *)key->collection.data, key->collection.len);
        if (!conflicts[i].key.branch_id || !conflicts[i].key.collection)
            return;
        conflicts[i].key.document_id = bytes_to_message(key->document_id);
        conflicts[i].conflict.key = &conflicts[i].key;
        conflicts[i].conflict.written_lsn = conflict->written_lsn;
        message->conflicts[message->n_conflicts++] = &conflicts[i].conflict;
    }
}

static void fill_result(struct result_message *message, struct append_batch *batch, size_t *room)
{
    struct append_result *result = &batch->result;
    argon__wal__v1__append_result__init(&message->result);
    message->result.code = (uint32_t)result->error.code;
    if (result->error.code != ERROR_OK) {
        message->result.message = result->error.message;
        message->result.not_applied = result->error.outcome == OUTCOME_NOT_APPLIED;
    }
    message->result.stale = result->stale;
    if (result->error.code == ERROR_OK) {
        message->result.first_lsn = result->first_lsn;
        message->result.last_lsn = result->last_lsn;
        message->result.timestamp = result->timestamp;
    }
    if (result->earlier) {
        wal_rpc_fill_outcome(&message->earlier, result->earlier);
        message->result.earlier = &message->earlier.outcome;
    }
    fill_conflicts(&message->result, result, batch->arena, room);
}

static void on_appended(struct wal_append *append)
{
    struct append_call *call = append->ctx;
    Argon__Wal__V1__AppendResponse response = ARGON__WAL__V1__APPEND_RESPONSE__INIT;
    size_t room = MAX_CONFLICT_BYTES;
    for (size_t i = 0; i < append->n_batches; i++) {
        fill_result(&call->messages[i], &append->batches[i], &room);
        call->results[i] = &call->messages[i].result;
    }
    response.results = call->results;
    response.n_results = append->n_batches;
    response.commit_lsn = append->commit_lsn;
    response.incarnation = bytes_to_message(bytes_of(call->rpc->incarnation, INCARNATION_BYTES));
    rpc_reply(call->call, &response.base);
}

/* ---- checks -------------------------------------------------------------------------------------- */

static bool check_length(const char *what, size_t len, size_t max, struct error *err)
{
    return len <= max || error_set(err, ERROR_INVALID_ARGUMENT, "%s has %zu bytes, at most %zu are allowed", what, len, max);
}

static bool check_document(const ProtobufCBinaryData *document, struct error *err)
{
    if (!check_length("document", document->len, MAX_DOCUMENT_BYTES, err))
        return false;
    if (document->len < SMALLEST_DOCUMENT || get_u32(document->data) != document->len || document->data[document->len - 1] != 0)
        return error_set(err, ERROR_INVALID_ARGUMENT, "document is not BSON of the %zu bytes that were sent", document->len);
    return true;
}

static bool check_entry(const Argon__Wal__V1__Entry *entry, struct error *err)
{
    if (!entry->document_id.len)
        return error_set(err, ERROR_INVALID_ARGUMENT, "document_id is missing");
    if (!check_length("document_id", entry->document_id.len, MAX_DOCUMENT_ID_BYTES, err))
        return false;
    switch (entry->operation) {
    case ARGON__WAL__V1__OPERATION__OPERATION_INSERT:
    case ARGON__WAL__V1__OPERATION__OPERATION_UPDATE:
        if (!entry->document.len)
            return error_set(err, ERROR_INVALID_ARGUMENT, "an insert or update needs a document");
        return check_document(&entry->document, err);
    case ARGON__WAL__V1__OPERATION__OPERATION_DELETE:
        return !entry->document.len || check_document(&entry->document, err);
    default:
        return error_set(err, ERROR_INVALID_ARGUMENT, "operation %d is not known", (int)entry->operation);
    }
}

static bool check_run(const Argon__Wal__V1__Run *run, struct error *err)
{
    if (!wal_rpc_check_id("branch_id", run->branch_id, MAX_BRANCH_ID_BYTES, false, err) ||
        !wal_rpc_check_id("collection", run->collection, MAX_COLLECTION_ID_BYTES, false, err) ||
        !check_length("actor", strlen(run->actor), MAX_ACTOR_BYTES, err))
        return false;
    if (!utf8_valid(run->actor, strlen(run->actor))) /* readers of the log would not parse it */
        return error_set(err, ERROR_INVALID_ARGUMENT, "actor is not UTF-8");
    if (run->first_lsn || run->timestamp)
        return error_set(err, ERROR_INVALID_ARGUMENT, "first_lsn and timestamp are filled in at commit");
    if (!run->n_entries)
        return error_set(err, ERROR_INVALID_ARGUMENT, "a run needs an entry");
    for (size_t i = 0; i < run->n_entries; i++)
        if (!check_entry(run->entries[i], err))
            return error_wrap(err, "entry %zu", i);
    return true;
}

static bool check_keys(const char *what, Argon__Wal__V1__Key *const *keys, size_t n, struct error *err)
{
    if (n > MAX_BATCH_ENTRIES)
        return error_set(err, ERROR_INVALID_ARGUMENT, "%zu %ss, at most %d are allowed", n, what, MAX_BATCH_ENTRIES);
    for (size_t i = 0; i < n; i++)
        if (!wal_rpc_check_id("branch_id", keys[i]->branch_id, MAX_BRANCH_ID_BYTES, false, err) ||
            !wal_rpc_check_id("collection", keys[i]->collection, MAX_COLLECTION_ID_BYTES, false, err) ||
            !check_length("document_id", keys[i]->document_id.len, MAX_DOCUMENT_ID_BYTES, err))
            return error_wrap(err, "%s %zu", what, i);
    return true;
}

static bool check_step(const Argon__Wal__V1__RequestStep *step, struct error *err)
{
    if (!step->request_id.len)
        return error_set(err, ERROR_INVALID_ARGUMENT, "request_id is missing");
    if (step->step > MAX_REQUEST_STEP)
        return error_set(err, ERROR_INVALID_ARGUMENT, "step %" PRIu32 " is beyond %" PRIu32, step->step, MAX_REQUEST_STEP);
    return check_length("request_id", step->request_id.len, MAX_REQUEST_ID_BYTES, err) &&
           check_length("request_hash", step->request_hash.len, MAX_REQUEST_HASH_BYTES, err) &&
           check_length("last_document_id", step->last_document_id.len, MAX_DOCUMENT_ID_BYTES, err) &&
           check_length("answer", step->answer.len, MAX_REQUEST_ANSWER_BYTES, err);
}

static bool check_batch(const Argon__Wal__V1__Batch *batch, struct error *err)
{
    size_t entries = 0, bytes = 0;
    if (!batch->n_runs)
        return error_set(err, ERROR_INVALID_ARGUMENT, "a batch needs an entry");
    for (size_t r = 0; r < batch->n_runs; r++) {
        const Argon__Wal__V1__Run *run = batch->runs[r];
        if (!check_run(run, err))
            return error_wrap(err, "run %zu", r);
        entries += run->n_entries;
        for (size_t i = 0; i < run->n_entries; i++)
            bytes += run->entries[i]->document.len;
    }
    if (entries > MAX_BATCH_ENTRIES)
        return error_set(err, ERROR_INVALID_ARGUMENT, "%zu entries, at most %d are allowed", entries, MAX_BATCH_ENTRIES);
    if (bytes > MAX_BATCH_BYTES)
        return error_set(err, ERROR_INVALID_ARGUMENT, "%zu bytes of documents, at most %d are allowed", bytes, MAX_BATCH_BYTES);
    return check_keys("read key", batch->read_keys, batch->n_read_keys, err) &&
           check_keys("write key", batch->write_keys, batch->n_write_keys, err) && (!batch->request || check_step(batch->request, err));
}

static bool check_request(const Argon__Wal__V1__AppendRequest *request, struct error *err)
{
    if (!wal_rpc_check_id("project_id", request->project_id, MAX_PROJECT_ID_BYTES, false, err))
        return false;
    if (!request->n_batches || request->n_batches > MAX_BATCHES_A_CALL)
        return error_set(err, ERROR_INVALID_ARGUMENT, "%zu batches, 1 to %d are allowed", request->n_batches, MAX_BATCHES_A_CALL);
    for (size_t i = 0; i < request->n_batches; i++)
        if (!check_batch(request->batches[i], err))
            return error_wrap(err, "batch %zu", i);
    return true;
}

/* ---- conversion ---------------------------------------------------------------------------------- */

static bool exhausted(struct error *err)
{
    return error_set(err, ERROR_RESOURCE_EXHAUSTED, "no memory for the call");
}

static struct run_entry entry_of_message(const Argon__Wal__V1__Entry *entry)
{
    return (struct run_entry) {
        .operation = (uint32_t)entry->operation,
        .document_id = bytes_of_message(&entry->document_id),
        .document = bytes_of_message(&entry->document),
    };
}

/* Encodes a run and hashes the documents that it touches. */
static bool convert_run(const Argon__Wal__V1__Run *message, struct arena *arena, struct frame_run *run, uint64_t *touched,
                        struct error *err)
{
    struct run_header header = {
        .branch_id = bytes_of_string(message->branch_id),
        .collection = bytes_of_string(message->collection),
        .actor = bytes_of_string(message->actor),
    };
    size_t entries_size = 0;
    for (size_t i = 0; i < message->n_entries; i++) {
        struct run_entry entry = entry_of_message(message->entries[i]);
        entries_size += run_entry_size(&entry);
    }
    size_t size = run_encoded_size(&header, entries_size);
    if (size > MAX_ENCODED_BATCH_BYTES)
        return error_set(err, ERROR_INVALID_ARGUMENT, "%zu bytes, at most %zu are allowed", size, MAX_ENCODED_BATCH_BYTES);
    uint8_t *encoded = arena_alloc(arena, size);
    if (!encoded)
        return exhausted(err);
    uint64_t space = key_space_hash(header.branch_id, header.collection);
    uint8_t *at = run_begin(encoded, &header, entries_size);
    for (size_t i = 0; i < message->n_entries; i++) {
        struct run_entry entry = entry_of_message(message->entries[i]);
        at = run_put_entry(at, &entry);
        touched[i] = key_hash(space, entry.document_id);
    }
    at = run_end(at);
    *run = (struct frame_run) {
        .branch_id = header.branch_id,
        .collection = header.collection,
        .entries = (uint32_t)message->n_entries,
        .encoded = bytes_of(encoded, (size_t)(at - encoded)),
    };
    return true;
}

static uint64_t hash_of_key(const Argon__Wal__V1__Key *key)
{
    return key_hash(key_space_hash(bytes_of_string(key->branch_id), bytes_of_string(key->collection)), bytes_of_message(&key->document_id));
}

static bool convert_keys(const Argon__Wal__V1__Batch *message, struct arena *arena, struct append_batch *batch, struct error *err)
{
    struct batch_key *keys = arena_alloc(arena, message->n_read_keys * sizeof *keys);
    uint64_t *read_hashes = arena_alloc(arena, message->n_read_keys * sizeof *read_hashes);
    uint64_t *write_hashes = arena_alloc(arena, message->n_write_keys * sizeof *write_hashes);
    if (!keys || !read_hashes || !write_hashes)
        return exhausted(err);
    for (size_t i = 0; i < message->n_read_keys; i++) {
        const Argon__Wal__V1__Key *key = message->read_keys[i];
        keys[i] = (struct batch_key) {
            .branch_id = bytes_of_string(key->branch_id),
            .collection = bytes_of_string(key->collection),
            .document_id = bytes_of_message(&key->document_id),
        };
        read_hashes[i] = hash_of_key(key);
    }
    for (size_t i = 0; i < message->n_write_keys; i++)
        write_hashes[i] = hash_of_key(message->write_keys[i]);
    batch->read_keys = keys;
    batch->read_hashes = read_hashes;
    batch->n_reads = message->n_read_keys;
    batch->write_hashes = write_hashes;
    batch->n_writes = message->n_write_keys;
    return true;
}

/* Where the i-th entry of a batch stands. */
struct entry_place {
    size_t run, entry;
};

static struct entry_place place_of_entry(const Argon__Wal__V1__Batch *batch, size_t i)
{
    struct entry_place place = { 0 };
    while (i >= batch->runs[place.run]->n_entries)
        i -= batch->runs[place.run++]->n_entries;
    place.entry = i;
    return place;
}

static bool is_same_document(const Argon__Wal__V1__Batch *batch, struct entry_place a, struct entry_place b)
{
    const Argon__Wal__V1__Run *x = batch->runs[a.run], *y = batch->runs[b.run];
    return strcmp(x->branch_id, y->branch_id) == 0 && strcmp(x->collection, y->collection) == 0 &&
           bytes_equal(bytes_of_message(&x->entries[a.entry]->document_id), bytes_of_message(&y->entries[b.entry]->document_id));
}

/* Two images of one document in one batch: which one stays would be a guess. */
static bool check_distinct(const Argon__Wal__V1__Batch *message, const uint64_t *touched, size_t n, struct error *err)
{
    bool distinct = true;
    size_t capacity = 4;
    if (n < 2)
        return true;
    while (capacity < 2 * n)
        capacity *= 2;
    uint32_t *slots = calloc(capacity, sizeof *slots); /* index of the entry, plus 1 */
    if (!slots)
        return exhausted(err);
    for (size_t i = 0; i < n && distinct; i++) {
        size_t slot = touched[i] & (capacity - 1);
        for (; slots[slot] && distinct; slot = (slot + 1) & (capacity - 1)) {
            size_t other = slots[slot] - 1;
            if (touched[other] != touched[i])
                continue;
            struct entry_place a = place_of_entry(message, other), b = place_of_entry(message, i);
            if (is_same_document(message, a, b))
                distinct = error_set(err, ERROR_INVALID_ARGUMENT,
                                     "run %zu, entry %zu: the document is that of run %zu, entry %zu; a batch has one image of a document",
                                     b.run, b.entry, a.run, a.entry);
        }
        slots[slot] = (uint32_t)i + 1;
    }
    free(slots);
    return distinct;
}

static void convert_step(const Argon__Wal__V1__RequestStep *message, struct request_step *step)
{
    *step = (struct request_step) {
        .id = bytes_of_message(&message->request_id),
        .hash = bytes_of_message(&message->request_hash),
        .step = message->step,
        .last = message->last,
        .last_document_id = bytes_of_message(&message->last_document_id),
        .answer = bytes_of_message(&message->answer),
    };
}

static bool convert_batch(const Argon__Wal__V1__Batch *message, struct arena *arena, struct append_batch *batch, struct error *err)
{
    size_t entries = 0, encoded = 0;
    for (size_t r = 0; r < message->n_runs; r++)
        entries += message->runs[r]->n_entries;
    struct frame_run *runs = arena_alloc(arena, message->n_runs * sizeof *runs);
    uint64_t *touched = arena_alloc(arena, entries * sizeof *touched);
    if (!runs || !touched)
        return exhausted(err);
    for (size_t r = 0, first = 0; r < message->n_runs; first += runs[r].entries, r++) {
        if (!convert_run(message->runs[r], arena, &runs[r], touched + first, err))
            return error_wrap(err, "run %zu", r);
        encoded += runs[r].encoded.len;
    }
    if (encoded > MAX_ENCODED_BATCH_BYTES)
        return error_set(err, ERROR_INVALID_ARGUMENT, "%zu bytes, at most %zu are allowed", encoded, MAX_ENCODED_BATCH_BYTES);
    if (!check_distinct(message, touched, entries, err) || !convert_keys(message, arena, batch, err))
        return false;
    batch->runs = runs;
    batch->n_runs = message->n_runs;
    batch->entries = (uint32_t)entries;
    batch->touched = touched;
    batch->read_lsn = message->read_lsn;
    batch->unconditional = message->unconditional;
    batch->since_lsn = message->since_lsn;
    batch->arena = arena;
    if (message->request)
        convert_step(message->request, &batch->request);
    batch->bytes = frame_encoded_size(&(struct frame) {
        .project = batch->project,
        .request = batch->request,
        .n_write_keys = batch->n_writes,
        .runs = runs,
        .n_runs = batch->n_runs,
    });
    return true;
}

static struct append_call *convert_request(const Argon__Wal__V1__AppendRequest *request, struct arena *arena, struct error *err)
{
    size_t n = request->n_batches;
    struct append_call *call = arena_zalloc(arena, sizeof *call);
    struct append_batch *batches = arena_zalloc(arena, n * sizeof *batches);
    if (!call || !batches) {
        exhausted(err);
        return NULL;
    }
    call->results = arena_alloc(arena, n * sizeof(Argon__Wal__V1__AppendResult *));
    call->messages = arena_alloc(arena, n * sizeof *call->messages);
    if (!call->results || !call->messages) {
        exhausted(err);
        return NULL;
    }
    for (size_t i = 0; i < n; i++) {
        batches[i].project = bytes_of_string(request->project_id);
        batches[i].incarnation = bytes_of_message(&request->incarnation);
        if (!convert_batch(request->batches[i], arena, &batches[i], err)) {
            error_wrap(err, "batch %zu", i);
            return NULL;
        }
    }
    call->append = (struct wal_append) {
        .batches = batches,
        .n_batches = n,
        .bytes = arena->total,
        .done = on_appended,
        .ctx = call,
    };
    return call;
}

void wal_rpc_on_append(void *service, struct rpc_call *rpc_call, const ProtobufCMessage *message)
{
    const Argon__Wal__V1__AppendRequest *request = (const Argon__Wal__V1__AppendRequest *)message;
    struct wal_rpc *rpc = service;
    struct append_call *call = NULL;
    struct error err;
    if (check_request(request, &err))
        call = convert_request(request, rpc_call_arena(rpc_call), &err);
    if (!call) {
        err.outcome = OUTCOME_NOT_APPLIED;
        rpc_fail(rpc_call, &err);
        return;
    }
    call->rpc = rpc;
    call->call = rpc_call;
    if (!wal_append(rpc->wal, &call->append, &err))
        rpc_fail(rpc_call, &err); /* else the call is the commit thread's now */
}
