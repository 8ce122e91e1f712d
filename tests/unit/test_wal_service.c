/* argon.wal.v1.Wal over TCP, on both stores. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <argon/wal/v1/wal.pb-c.h>

#include "common/base/clock.h"
#include "common/base/limits.h"
#include "common/base/memory.h"
#include "common/base/sync.h"
#include "tests/support/temp_directory.h"
#include "wal-service/wal_rpc.h"

#define PATIENCE (60 * (int64_t)MICROS_PER_SECOND)

typedef Argon__Wal__V1__AppendRequest append_request;
typedef Argon__Wal__V1__AppendResponse append_response;
typedef Argon__Wal__V1__AppendResult append_result;
typedef Argon__Wal__V1__Batch batch_message;
typedef Argon__Wal__V1__Run run_message;
typedef Argon__Wal__V1__Entry entry_message;
typedef Argon__Wal__V1__Key key_message;
typedef Argon__Wal__V1__RequestStep step_message;
typedef Argon__Wal__V1__ReadRequest read_request;
typedef Argon__Wal__V1__ReadResponse read_response;
typedef Argon__Wal__V1__GetHeadRequest head_request;
typedef Argon__Wal__V1__GetHeadResponse head_response;

/* ---- fixture ------------------------------------------------------------------------------------- */

struct fixture {
    bool segments;
    struct temp_directory directory;
    struct log_store *store;
    struct wal *wal;
    struct wal_rpc rpc;
    struct rpc_server *server;
    struct rpc_client *client;
    struct arena arena;
};

static void start_service(struct fixture *f)
{
    struct error err = { 0 };
    struct wal_options options = {
        .conflict_window_bytes = 1 << 20, .request_window_bytes = 1 << 20, .queue_bytes = 256 << 20, .max_follows = 8
    };
    struct rpc_server_options server_options = {
        .listen = "127.0.0.1:0",
        .max_message_bytes = MAX_MESSAGE_BYTES,
        .max_calls = 1000,
        .max_request_bytes = (size_t)512 << 20,
        .worker_threads = 4,
    };
    f->wal = wal_new(&options);
    if (f->segments) {
        struct segment_store_options where = { .directory = f->directory.path, .segment_bytes = 8 << 20 };
        struct segment_recovery report;
        if (!segment_store_open(&where, wal_recover, f->wal, &report, &f->store, &err))
            fail_msg("%s", err.message);
    } else {
        f->store = memory_store_new(NULL, NULL);
    }
    wal_rpc_init(&f->rpc, f->wal, f->store, f->segments ? "segment" : "memory", f->segments ? f->directory.path : "");
    if (!rpc_server_new(&server_options, &f->server, &err) || !wal_rpc_add(&f->rpc, f->server, &err))
        fail_msg("%s", err.message);
    wal_start(f->wal, f->store);
    if (!rpc_server_start(f->server, &err))
        fail_msg("%s", err.message);
    char target[32];
    snprintf(target, sizeof target, "127.0.0.1:%d", rpc_server_port(f->server));
    struct rpc_client_options client_options = { .target = target, .max_message_bytes = MAX_MESSAGE_BYTES };
    if (!rpc_client_open(&client_options, &f->client, &err))
        fail_msg("%s", err.message);
}

static void stop_service(struct fixture *f)
{
    rpc_client_close(f->client);
    rpc_server_drain(f->server, MICROS_PER_SECOND);
    wal_stop(f->wal);
    rpc_server_free(f->server);
    wal_free(f->wal);
    log_store_close(f->store);
}

static int set_up(void **state, bool segments)
{
    struct fixture *f = mem_zalloc(sizeof *f);
    f->segments = segments;
    arena_init(&f->arena, 0);
    if (segments)
        temp_directory_make(&f->directory);
    start_service(f);
    *state = f;
    return 0;
}

static int set_up_memory(void **state)
{
    return set_up(state, false);
}

static int set_up_segments(void **state)
{
    return set_up(state, true);
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    stop_service(f);
    if (f->segments)
        temp_directory_remove(&f->directory);
    arena_destroy(&f->arena);
    free(f);
    return 0;
}

/* ---- messages ------------------------------------------------------------------------------------ */

static void *copy(struct fixture *f, const void *data, size_t size)
{
    return arena_copy(&f->arena, data, size);
}

static ProtobufCBinaryData binary(struct fixture *f, const char *text)
{
    return (ProtobufCBinaryData) { strlen(text), (uint8_t *)arena_strdup(&f->arena, text) };
}

/* { "": <binary> } of the wanted size, 5 or at least 12; the payload is recognizable. */
static ProtobufCBinaryData document(struct fixture *f, size_t size, uint8_t filling)
{
    uint8_t *bytes = arena_alloc(&f->arena, size);
    memset(bytes, filling, size);
    put_u32(bytes, (uint32_t)size);
    if (size >= 12) {
        bytes[4] = 5;
        bytes[5] = 0;
        put_u32(bytes + 6, (uint32_t)(size - 12));
        bytes[10] = 0;
    }
    bytes[size - 1] = 0;
    return (ProtobufCBinaryData) { size, bytes };
}

static entry_message *put(struct fixture *f, const char *id, size_t size)
{
    entry_message entry = ARGON__WAL__V1__ENTRY__INIT;
    entry.operation = ARGON__WAL__V1__OPERATION__OPERATION_INSERT;
    entry.document_id = binary(f, id);
    entry.document = document(f, size, (uint8_t)id[0]);
    return copy(f, &entry, sizeof entry);
}

/* Ids separated by spaces; "-id" deletes. */
static run_message *run_of(struct fixture *f, const char *branch, const char *collection, const char *ids)
{
    run_message run = ARGON__WAL__V1__RUN__INIT;
    run.branch_id = arena_strdup(&f->arena, branch);
    run.collection = arena_strdup(&f->arena, collection);
    run.actor = arena_strdup(&f->arena, "ann");
    run.entries = arena_alloc(&f->arena, 64 * sizeof *run.entries);
    for (char *words = arena_strdup(&f->arena, ids), *rest, *id = strtok_r(words, " ", &rest); id; id = strtok_r(NULL, " ", &rest)) {
        entry_message *entry = put(f, *id == '-' ? id + 1 : id, 12);
        if (*id == '-') {
            entry->operation = ARGON__WAL__V1__OPERATION__OPERATION_DELETE;
            entry->document = (ProtobufCBinaryData) { 0 };
        }
        run.entries[run.n_entries++] = entry;
    }
    return copy(f, &run, sizeof run);
}

static batch_message *batch_of(struct fixture *f, run_message *first, run_message *second, uint64_t read_lsn)
{
    batch_message batch = ARGON__WAL__V1__BATCH__INIT;
    run_message *runs[] = { first, second };
    batch.runs = copy(f, runs, sizeof runs);
    batch.n_runs = second ? 2 : 1;
    batch.read_lsn = read_lsn;
    return copy(f, &batch, sizeof batch);
}

static batch_message *simple_batch(struct fixture *f, const char *ids, uint64_t read_lsn)
{
    return batch_of(f, run_of(f, "main", "users", ids), NULL, read_lsn);
}

static key_message **keys_of(struct fixture *f, const char *collection, const char *id)
{
    key_message key = ARGON__WAL__V1__KEY__INIT;
    key.branch_id = arena_strdup(&f->arena, "main");
    key.collection = arena_strdup(&f->arena, collection);
    key.document_id = binary(f, id);
    key_message *one = copy(f, &key, sizeof key);
    return copy(f, &one, sizeof one);
}

static void name_request(struct fixture *f, batch_message *batch, const char *id, const char *hash, uint32_t step, bool last)
{
    step_message message = ARGON__WAL__V1__REQUEST_STEP__INIT;
    message.request_id = binary(f, id);
    message.request_hash = binary(f, hash);
    message.step = step;
    message.last = last;
    message.last_document_id = binary(f, "up to here");
    message.answer = binary(f, "the answer");
    batch->request = copy(f, &message, sizeof message);
}

static append_request *request_of(struct fixture *f, batch_message **batches, size_t n)
{
    append_request request = ARGON__WAL__V1__APPEND_REQUEST__INIT;
    request.project_id = arena_strdup(&f->arena, "p");
    request.batches = copy(f, batches, n * sizeof *batches);
    request.n_batches = n;
    return copy(f, &request, sizeof request);
}

/* ---- calls --------------------------------------------------------------------------------------- */

static bool call(struct fixture *f, struct arena *arena, const char *method, const void *request, const ProtobufCMessageDescriptor *type,
                 void *response, struct error *err)
{
    struct rpc_call_options options = { .deadline = clock_monotonic_micros() + PATIENCE };
    ProtobufCMessage *message = NULL;
    char path[64];
    snprintf(path, sizeof path, "/argon.wal.v1.Wal/%s", method);
    if (!rpc_client_call(f->client, path, request, type, &options, arena, &message, err))
        return false;
    *(ProtobufCMessage **)response = message;
    return true;
}

static append_response *append(struct fixture *f, const append_request *request)
{
    append_response *response = NULL;
    struct error err = { 0 };
    if (!call(f, &f->arena, "Append", request, &argon__wal__v1__append_response__descriptor, &response, &err))
        fail_msg("Append: %s", err.message);
    assert_int_equal(response->n_results, request->n_batches);
    return response;
}

static append_result *append_one(struct fixture *f, batch_message *batch)
{
    return append(f, request_of(f, &batch, 1))->results[0];
}

static head_response *get_head(struct fixture *f, const char *request_id, const char *hash, uint64_t since)
{
    head_request request = ARGON__WAL__V1__GET_HEAD_REQUEST__INIT;
    head_response *response = NULL;
    struct error err = { 0 };
    request.project_id = (char *)"p";
    request.request_id = binary(f, request_id);
    request.request_hash = binary(f, hash);
    request.since_lsn = since;
    if (!call(f, &f->arena, "GetHead", &request, &argon__wal__v1__get_head_response__descriptor, &response, &err))
        fail_msg("GetHead: %s", err.message);
    return response;
}

struct read_all {
    run_message *runs[2000];
    size_t n_runs, n_messages;
    uint64_t complete_through; /* of the last message */
};

/* Reads to the end and checks that progress only rises. */
static bool read_log(struct fixture *f, const read_request *request, struct read_all *all, struct error *err)
{
    struct rpc_call_options options = { .deadline = clock_monotonic_micros() + PATIENCE };
    struct rpc_client_stream *stream = NULL;
    ProtobufCMessage *message = NULL;
    bool ok = rpc_client_stream_open(f->client, "/argon.wal.v1.Wal/Read", &request->base, &argon__wal__v1__read_response__descriptor,
                                     &options, &stream, err);
    *all = (struct read_all) { .n_runs = 0 };
    while (ok && (ok = rpc_client_stream_next(stream, &f->arena, &message, err)) && message) {
        read_response *response = (read_response *)message;
        assert_true(response->complete_through >= all->complete_through);
        assert_int_equal(response->incarnation.len, INCARNATION_BYTES);
        assert_memory_equal(response->incarnation.data, f->rpc.incarnation, INCARNATION_BYTES);
        all->complete_through = response->complete_through;
        all->n_messages++;
        for (size_t i = 0; i < response->n_runs; i++) {
            run_message *run = response->runs[i];
            assert_true(run->first_lsn + run->n_entries - 1 <= response->complete_through);
            assert_in_range(all->n_runs, 0, ARRAY_LEN(all->runs) - 1);
            all->runs[all->n_runs++] = run;
        }
    }
    rpc_client_stream_close(stream);
    return ok;
}

static read_request read_of(uint64_t after, uint64_t through, const char *branch, const char *collection)
{
    read_request request = ARGON__WAL__V1__READ_REQUEST__INIT;
    request.project_id = (char *)"p";
    request.after_lsn = after;
    request.through_lsn = through;
    request.branch_id = (char *)branch;
    request.collection = (char *)collection;
    return request;
}

static void must_read(struct fixture *f, read_request request, struct read_all *all)
{
    struct error err = { 0 };
    if (!read_log(f, &request, all, &err))
        fail_msg("Read: %s", err.message);
}

static void assert_id(const run_message *run, size_t entry, const char *id)
{
    assert_true(entry < run->n_entries);
    const ProtobufCBinaryData *found = &run->entries[entry]->document_id;
    assert_true(bytes_equal(bytes_of(found->data, found->len), bytes_of_string(id)));
}

static void assert_committed(const append_result *result, uint64_t first, uint64_t last)
{
    if (result->code)
        fail_msg("%u: %s", result->code, result->message);
    assert_int_equal(result->first_lsn, first);
    assert_int_equal(result->last_lsn, last);
    assert_true(result->timestamp > 0);
    assert_false(result->not_applied);
    assert_null(result->earlier);
}

/* ---- tests --------------------------------------------------------------------------------------- */

static void what_is_appended_is_read(void **state)
{
    struct fixture *f = *state;
    batch_message *batch = batch_of(f, run_of(f, "main", "users", "ann bob"), run_of(f, "dev", "orders", "-x"), 0);
    append_response *response = append(f, request_of(f, &batch, 1));
    assert_committed(response->results[0], 1, 3);
    assert_int_equal(response->commit_lsn, 3);
    assert_memory_equal(response->incarnation.data, f->rpc.incarnation, INCARNATION_BYTES);

    struct read_all all;
    must_read(f, read_of(0, 0, "", ""), &all);
    assert_int_equal(all.n_runs, 2);
    assert_int_equal(all.complete_through, 3);
    run_message *users = all.runs[0], *orders = all.runs[1];
    assert_string_equal(users->branch_id, "main");
    assert_string_equal(users->collection, "users");
    assert_string_equal(users->actor, "ann");
    assert_int_equal(users->first_lsn, 1);
    assert_int_equal(users->timestamp, response->results[0]->timestamp);
    assert_int_equal(users->n_entries, 2);
    assert_id(users, 0, "ann");
    assert_id(users, 1, "bob");
    ProtobufCBinaryData sent = batch->runs[0]->entries[1]->document, got = users->entries[1]->document;
    assert_true(bytes_equal(bytes_of(sent.data, sent.len), bytes_of(got.data, got.len)));
    assert_int_equal(orders->first_lsn, 3);
    assert_int_equal(orders->entries[0]->operation, ARGON__WAL__V1__OPERATION__OPERATION_DELETE);
    assert_int_equal(orders->entries[0]->document.len, 0);
    head_response *head = get_head(f, "", "", 0);
    assert_int_equal(head->commit_lsn, 3);
    assert_int_equal(head->last_timestamp, response->results[0]->timestamp);
}

static void batches_of_a_call_have_their_own_results(void **state)
{
    struct fixture *f = *state;
    assert_committed(append_one(f, simple_batch(f, "ann", 0)), 1, 1);
    batch_message *batches[] = { simple_batch(f, "bob", 1), simple_batch(f, "eve ann", 0), simple_batch(f, "bob", 1),
                                 simple_batch(f, "dan", 9) };
    append_response *response = append(f, request_of(f, batches, 4));
    assert_committed(response->results[0], 2, 2);
    append_result *conflict = response->results[1];
    assert_int_equal(conflict->code, ERROR_ABORTED);
    assert_true(conflict->not_applied);
    assert_false(conflict->stale);
    assert_int_equal(conflict->n_conflicts, 1);
    assert_string_equal(conflict->conflicts[0]->key->branch_id, "main");
    assert_string_equal(conflict->conflicts[0]->key->collection, "users");
    assert_memory_equal(conflict->conflicts[0]->key->document_id.data, "ann", 3);
    assert_int_equal(conflict->conflicts[0]->written_lsn, 1);
    assert_int_equal(response->results[2]->code, ERROR_ABORTED); /* by the first of the same call */
    assert_int_equal(response->results[2]->conflicts[0]->written_lsn, 2);
    assert_int_equal(response->results[3]->code, ERROR_ABORTED);
    assert_true(response->results[3]->stale);
    assert_int_equal(response->commit_lsn, 2);
}

static void keys_guard_what_is_not_written(void **state)
{
    struct fixture *f = *state;
    batch_message *writer = simple_batch(f, "ann", 0), *reader = simple_batch(f, "bob", 0);
    writer->write_keys = keys_of(f, "_collections", "users");
    writer->n_write_keys = 1;
    assert_committed(append_one(f, writer), 1, 1);
    reader->read_keys = keys_of(f, "_collections", "users");
    reader->n_read_keys = 1;
    reader->unconditional = true;
    append_result *refused = append_one(f, reader);
    assert_int_equal(refused->code, ERROR_ABORTED);
    assert_string_equal(refused->conflicts[0]->key->collection, "_collections");
    reader->read_lsn = 1;
    assert_committed(append_one(f, reader), 2, 2);
}

static void reads_are_filtered_by_run(void **state)
{
    struct fixture *f = *state;
    struct read_all all;
    append_one(f, batch_of(f, run_of(f, "main", "users", "a b"), run_of(f, "main", "orders", "c"), 0));
    append_one(f, batch_of(f, run_of(f, "dev", "users", "d"), NULL, 0));
    append_one(f, batch_of(f, run_of(f, "dev", "orders", "e f"), NULL, 0));

    must_read(f, read_of(0, 0, "main", ""), &all);
    assert_int_equal(all.n_runs, 2);
    assert_int_equal(all.complete_through, 6); /* also past what did not match */
    must_read(f, read_of(0, 0, "", "users"), &all);
    assert_int_equal(all.n_runs, 2);
    assert_id(all.runs[1], 0, "d");
    must_read(f, read_of(0, 0, "dev", "orders"), &all);
    assert_int_equal(all.n_runs, 1);
    assert_int_equal(all.runs[0]->first_lsn, 5);
    must_read(f, read_of(0, 0, "nowhere", ""), &all);
    assert_int_equal(all.n_runs, 0);
    assert_int_equal(all.n_messages, 1);
    assert_int_equal(all.complete_through, 6);
}

static void reads_keep_to_whole_batches_and_to_the_head(void **state)
{
    struct fixture *f = *state;
    struct read_all all;
    append_one(f, simple_batch(f, "a b c", 0));
    append_one(f, simple_batch(f, "d e", 3));

    must_read(f, read_of(0, 4, "", ""), &all); /* 4 lies inside the second batch */
    assert_int_equal(all.n_runs, 1);
    assert_int_equal(all.complete_through, 3);
    must_read(f, read_of(1, 0, "", ""), &all); /* 1 inside the first: it ends after 1 */
    assert_int_equal(all.n_runs, 2);
    must_read(f, read_of(3, 5, "", ""), &all);
    assert_int_equal(all.n_runs, 1);
    assert_int_equal(all.complete_through, 5);
    must_read(f, read_of(5, 0, "", ""), &all);
    assert_int_equal(all.n_runs, 0);
    assert_int_equal(all.complete_through, 5);
    must_read(f, read_of(4, 2, "", ""), &all);
    assert_int_equal(all.n_runs, 0);

    struct error err = { 0 };
    read_request beyond[] = { read_of(6, 0, "", ""), read_of(0, 17, "", "") };
    for (size_t i = 0; i < 2; i++) {
        assert_false(read_log(f, &beyond[i], &all, &err));
        assert_int_equal(err.code, ERROR_OUT_OF_RANGE);
        assert_non_null(strstr(err.message, i ? "17" : "6"));
        assert_non_null(strstr(err.message, "commit LSN is 5"));
    }
    read_request unknown = read_of(0, 0, "", "");
    unknown.project_id = (char *)"unknown";
    must_read(f, unknown, &all);
    assert_int_equal(all.complete_through, 0);
    assert_int_equal(all.n_messages, 1);
}

static void incarnation_is_checked(void **state)
{
    struct fixture *f = *state;
    struct read_all all;
    struct error err = { 0 };
    uint8_t other[INCARNATION_BYTES] = "something else";
    read_request read = read_of(99, 0, "", "");
    read.incarnation = (ProtobufCBinaryData) { sizeof other, other };
    assert_false(read_log(f, &read, &all, &err)); /* rather than OUT_OF_RANGE: its LSNs mean nothing here */
    assert_int_equal(err.code, ERROR_ABORTED);
    read = read_of(0, 0, "", "");
    read.incarnation = (ProtobufCBinaryData) { INCARNATION_BYTES, f->rpc.incarnation };
    must_read(f, read, &all);

    batch_message *batch = simple_batch(f, "a", 0);
    append_request *request = request_of(f, &batch, 1);
    request->incarnation = (ProtobufCBinaryData) { sizeof other, other };
    append_result *result = append(f, request)->results[0];
    assert_int_equal(result->code, ERROR_ABORTED);
    assert_true(result->stale && result->not_applied);
    request->incarnation = (ProtobufCBinaryData) { INCARNATION_BYTES, f->rpc.incarnation };
    assert_committed(append(f, request)->results[0], 1, 1);
}

static void large_reads_come_in_pieces_that_can_be_resumed(void **state)
{
    struct fixture *f = *state;
    enum { BATCHES = 30, SIZE = 200 * 1024 };
    char id[8];
    for (uint64_t i = 0; i < BATCHES; i++) {
        snprintf(id, sizeof id, "%u", (unsigned)i);
        batch_message *batch = simple_batch(f, id, i);
        batch->runs[0]->entries[0]->document = document(f, SIZE, (uint8_t)i);
        assert_committed(append_one(f, batch), i + 1, i + 1);
    }
    struct rpc_call_options options = { .deadline = clock_monotonic_micros() + PATIENCE };
    struct rpc_client_stream *stream;
    ProtobufCMessage *message;
    struct error err = { 0 };
    read_request request = read_of(0, 0, "", "");
    assert_true(rpc_client_stream_open(f->client, "/argon.wal.v1.Wal/Read", &request.base, &argon__wal__v1__read_response__descriptor,
                                       &options, &stream, &err));
    assert_true(rpc_client_stream_next(stream, &f->arena, &message, &err));
    read_response *first = (read_response *)message;
    assert_in_range(first->n_runs, 6, 7); /* about a mebibyte */
    assert_int_equal(first->complete_through, first->n_runs);
    rpc_client_stream_close(stream); /* in the middle */

    struct read_all all;
    must_read(f, read_of(first->complete_through, 0, "", ""), &all);
    assert_int_equal(all.n_runs, BATCHES - first->n_runs);
    assert_true(all.n_messages > 3);
    for (size_t i = 0; i < all.n_runs; i++) {
        assert_int_equal(all.runs[i]->first_lsn, first->complete_through + 1 + i);
        assert_int_equal(all.runs[i]->entries[0]->document.len, SIZE);
        assert_int_equal(all.runs[i]->entries[0]->document.data[SIZE / 2], first->complete_through + i);
    }
}

static void largest_documents_pass(void **state)
{
    struct fixture *f = *state;
    batch_message *batch = simple_batch(f, "a b c", 0);
    for (size_t i = 0; i < 3; i++)
        batch->runs[0]->entries[i]->document = document(f, MAX_DOCUMENT_BYTES, (uint8_t)(7 + i));
    assert_committed(append_one(f, batch), 1, 3);
    struct read_all all;
    must_read(f, read_of(0, 0, "", ""), &all);
    assert_int_equal(all.n_runs, 1);
    for (size_t i = 0; i < 3; i++)
        assert_true(bytes_equal(bytes_of(all.runs[0]->entries[i]->document.data, all.runs[0]->entries[i]->document.len),
                                bytes_of(batch->runs[0]->entries[i]->document.data, MAX_DOCUMENT_BYTES)));
}

static void repeated_request_gets_its_outcome(void **state)
{
    struct fixture *f = *state;
    batch_message *batch = simple_batch(f, "a b", 0);
    name_request(f, batch, "r", "hash", 0, false);
    append_result *first = append_one(f, batch);
    assert_committed(first, 1, 2);
    batch_message *next = simple_batch(f, "c", 2);
    name_request(f, next, "r", "hash", 1, true);
    append_result *second = append_one(f, next);
    assert_committed(second, 3, 3);

    append_result *again = append_one(f, batch); /* the last committed step is told, whichever is repeated */
    assert_int_equal(again->code, ERROR_OK);
    assert_non_null(again->earlier);
    assert_int_equal(again->earlier->step->step, 1);
    assert_true(again->earlier->step->last);
    assert_memory_equal(again->earlier->step->answer.data, "the answer", 10);
    assert_memory_equal(again->earlier->step->last_document_id.data, "up to here", 10);
    assert_int_equal(again->earlier->first_lsn, 3);
    assert_int_equal(again->earlier->timestamp, second->timestamp);
    assert_int_equal(again->last_lsn, 3);

    head_response *head = get_head(f, "r", "hash", 0);
    assert_int_equal(head->commit_lsn, 3);
    assert_non_null(head->request);
    assert_int_equal(head->request->last_lsn, 3);
    assert_false(head->request_hash_differs || head->request_outcome_unknown);
    assert_true(get_head(f, "r", "other", 0)->request_hash_differs);
    assert_null(get_head(f, "s", "hash", 0)->request);

    name_request(f, batch, "r", "other", 0, true);
    append_result *other = append_one(f, batch);
    assert_int_equal(other->code, ERROR_INVALID_ARGUMENT);
    assert_true(other->not_applied);
    batch_message *skipping = simple_batch(f, "z", 3);
    name_request(f, skipping, "t", "hash", 2, true);
    append_result *precondition = append_one(f, skipping);
    assert_int_equal(precondition->code, ERROR_FAILED_PRECONDITION);
    assert_true(precondition->not_applied);
}

static void steps_ahead_name_the_last_committed(void **state)
{
    struct fixture *f = *state;
    batch_message *batch = simple_batch(f, "a", 0);
    name_request(f, batch, "r", "hash", 0, false);
    append_one(f, batch);
    name_request(f, batch, "r", "hash", 2, false);
    append_result *result = append_one(f, batch);
    assert_int_equal(result->code, ERROR_FAILED_PRECONDITION);
    assert_non_null(result->earlier);
    assert_int_equal(result->earlier->step->step, 0);
    assert_int_equal(result->first_lsn, 0);
}

static void heads_and_status_are_told(void **state)
{
    struct fixture *f = *state;
    append_one(f, batch_of(f, run_of(f, "main", "users", "a b"), run_of(f, "dev", "users", "c"), 0));
    append_one(f, batch_of(f, run_of(f, "main", "orders", "d"), NULL, 3));
    Argon__Wal__V1__GetHeadsRequest heads = ARGON__WAL__V1__GET_HEADS_REQUEST__INIT;
    char *branches[] = { (char *)"dev", (char *)"nowhere", (char *)"main" };
    Argon__Wal__V1__GetHeadsResponse *found = NULL;
    struct error err = { 0 };
    heads.project_id = (char *)"p";
    heads.branch_ids = branches;
    heads.n_branch_ids = 3;
    assert_true(call(f, &f->arena, "GetHeads", &heads, &argon__wal__v1__get_heads_response__descriptor, &found, &err));
    assert_int_equal(found->n_last_lsns, 3);
    assert_int_equal(found->last_lsns[0], 3);
    assert_int_equal(found->last_lsns[1], 0);
    assert_int_equal(found->last_lsns[2], 4);
    assert_int_equal(found->commit_lsn, 4);

    Argon__Wal__V1__GetStatusRequest status = ARGON__WAL__V1__GET_STATUS_REQUEST__INIT;
    Argon__Wal__V1__GetStatusResponse *told = NULL;
    assert_true(call(f, &f->arena, "GetStatus", &status, &argon__wal__v1__get_status_response__descriptor, &told, &err));
    assert_string_equal(told->store, f->segments ? "segment" : "memory");
    assert_string_equal(told->version, ARGON_VERSION);
    assert_int_equal(told->projects, 1);
    assert_int_equal(told->entries, 4);
    assert_int_equal(told->groups, 2);
    assert_true(told->memory_bytes > 0);
    assert_false(told->disk_full);
}

/* ---- requests that are refused whole ------------------------------------------------------------- */

typedef void spoil_fn(struct fixture *f, append_request *request, batch_message *batch, run_message *run, entry_message *entry);
#define SPOIL(name)                                                                                                                        \
    static void name(__attribute__((unused)) struct fixture *f, __attribute__((unused)) append_request *request,                           \
                     __attribute__((unused)) batch_message *batch, __attribute__((unused)) run_message *run,                               \
                     __attribute__((unused)) entry_message *entry)

static char *letters(struct fixture *f, size_t n)
{
    char *text = arena_zalloc(&f->arena, n + 1);
    memset(text, 'x', n);
    return text;
}

SPOIL(no_project)
{
    request->project_id = (char *)"";
}
SPOIL(long_project)
{
    request->project_id = letters(f, 65);
}
SPOIL(odd_project)
{
    request->project_id = (char *)"caf\xc3\xa9";
}
SPOIL(no_batches)
{
    request->n_batches = 0;
}
SPOIL(no_runs)
{
    batch->n_runs = 0;
}
SPOIL(no_entries)
{
    run->n_entries = 0;
}
SPOIL(no_branch)
{
    run->branch_id = (char *)"";
}
SPOIL(long_branch)
{
    run->branch_id = letters(f, 65);
}
SPOIL(tab_in_branch)
{
    run->branch_id = (char *)"a\tb";
}
SPOIL(no_collection)
{
    run->collection = (char *)"";
}
SPOIL(long_collection)
{
    run->collection = letters(f, 256);
}
SPOIL(long_actor)
{
    run->actor = letters(f, 129);
}
SPOIL(lsn_given)
{
    run->first_lsn = 1;
}
SPOIL(time_given)
{
    run->timestamp = 1;
}
SPOIL(no_id)
{
    entry->document_id.len = 0;
}
SPOIL(long_id)
{
    entry->document_id = binary(f, letters(f, 2049));
}
SPOIL(no_operation)
{
    entry->operation = ARGON__WAL__V1__OPERATION__OPERATION_UNSPECIFIED;
}
SPOIL(odd_operation)
{
    entry->operation = (Argon__Wal__V1__Operation)4;
}
SPOIL(insert_of_nothing)
{
    entry->document.len = 0;
}
SPOIL(update_of_nothing)
{
    entry->operation = ARGON__WAL__V1__OPERATION__OPERATION_UPDATE;
    entry->document.len = 0;
}
SPOIL(delete_of_something)
{
    entry->operation = ARGON__WAL__V1__OPERATION__OPERATION_DELETE;
}
SPOIL(cut_document)
{
    entry->document.len--;
}
SPOIL(tiny_document)
{
    entry->document = binary(f, "\4");
}
SPOIL(unterminated_document)
{
    entry->document.data[entry->document.len - 1] = 1;
}
SPOIL(large_document)
{
    entry->document = document(f, MAX_DOCUMENT_BYTES + 1, 0);
}
SPOIL(large_batch)
{
    for (size_t i = 0; i < 4; i++)
        run->entries[i] = put(f, (const char *[]) { "a", "b", "c", "d" }[i], MAX_DOCUMENT_BYTES * 3 / 4 + (i == 0));
    run->n_entries = 4;
}
SPOIL(many_entries)
{
    run->n_entries = MAX_BATCH_ENTRIES + 1;
    run->entries = arena_alloc(&f->arena, run->n_entries * sizeof *run->entries);
    for (size_t i = 0; i < run->n_entries; i++) {
        char id[24];
        snprintf(id, sizeof id, "%zu", i);
        run->entries[i] = put(f, id, 5);
    }
}
SPOIL(one_document_twice)
{
    run->entries[2] = put(f, "a", 12);
    run->n_entries = 3;
}
SPOIL(key_without_branch)
{
    batch->read_keys = keys_of(f, "c", "k");
    batch->read_keys[0]->branch_id = (char *)"";
    batch->n_read_keys = 1;
}
SPOIL(key_with_long_id)
{
    batch->write_keys = keys_of(f, "c", letters(f, 2049));
    batch->n_write_keys = 1;
}
SPOIL(request_without_id)
{
    name_request(f, batch, "", "hash", 0, true);
}
SPOIL(long_request_id)
{
    name_request(f, batch, letters(f, 65), "hash", 0, true);
}
SPOIL(long_request_hash)
{
    name_request(f, batch, "r", letters(f, 33), 0, true);
}
SPOIL(long_answer)
{
    name_request(f, batch, "r", "hash", 0, true);
    batch->request->answer = binary(f, letters(f, 4097));
}
SPOIL(large_step)
{
    name_request(f, batch, "r", "hash", UINT32_C(1) << 31, true);
}

static void malformed_requests_change_nothing(void **state)
{
    struct fixture *f = *state;
    static const struct {
        spoil_fn *spoil;
        const char *says;
    } rows[] = {
        { no_project, "project_id is missing" },
        { long_project, "project_id has 65 characters" },
        { odd_project, "project_id has a character at 3" },
        { no_batches, "0 batches" },
        { no_runs, "batch 1: a batch needs an entry" },
        { no_entries, "batch 1: run 0: a run needs an entry" },
        { no_branch, "batch 1: run 0: branch_id is missing" },
        { long_branch, "branch_id has 65" },
        { tab_in_branch, "branch_id has a character at 1" },
        { no_collection, "collection is missing" },
        { long_collection, "collection has 256" },
        { long_actor, "actor has 129" },
        { lsn_given, "filled in at commit" },
        { time_given, "filled in at commit" },
        { no_id, "batch 1: run 0: entry 1: document_id is missing" },
        { long_id, "document_id has 2049" },
        { no_operation, "operation 0" },
        { odd_operation, "operation 4" },
        { insert_of_nothing, "needs a document" },
        { update_of_nothing, "needs a document" },
        { delete_of_something, "a delete has no document" },
        { cut_document, "not BSON of the 11 bytes" },
        { tiny_document, "not BSON of the 1 bytes" },
        { unterminated_document, "not BSON" },
        { large_document, "document has 16777217 bytes" },
        { large_batch, "bytes of documents" },
        { many_entries, "100001 entries" },
        { one_document_twice, "batch 1: run 0, entry 2: the document is that of run 0, entry 0" },
        { key_without_branch, "batch 1: read key 0: branch_id is missing" },
        { key_with_long_id, "batch 1: write key 0: document_id has 2049" },
        { request_without_id, "request_id is missing" },
        { long_request_id, "request_id has 65" },
        { long_request_hash, "request_hash has 33" },
        { long_answer, "answer has 4097" },
        { large_step, "step 2147483648" },
    };
    for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
        batch_message *batches[] = { simple_batch(f, "good", 0), simple_batch(f, "a b", 0) };
        append_request *request = request_of(f, batches, 2);
        rows[i].spoil(f, request, batches[1], batches[1]->runs[0], batches[1]->runs[0]->entries[1]);
        append_response *response = NULL;
        struct error err = { 0 };
        if (call(f, &f->arena, "Append", request, &argon__wal__v1__append_response__descriptor, &response, &err))
            fail_msg("row %zu was accepted: %s", i, rows[i].says);
        if (err.code != ERROR_INVALID_ARGUMENT || err.outcome != OUTCOME_NOT_APPLIED || !strstr(err.message, rows[i].says))
            fail_msg("row %zu, wanted '%s': %s '%s'", i, rows[i].says, error_code_name(err.code), err.message);
    }
    assert_int_equal(get_head(f, "", "", 0)->commit_lsn, 0);
    /* and what lies just inside the limits is taken */
    batch_message *batch = simple_batch(f, "x", 0);
    batch->runs[0]->branch_id = letters(f, 64);
    batch->runs[0]->collection = letters(f, 255);
    batch->runs[0]->actor = letters(f, 128);
    batch->runs[0]->entries[0]->document_id = binary(f, letters(f, 2048));
    name_request(f, batch, letters(f, 64), letters(f, 32), 0, true);
    batch->request->answer = binary(f, letters(f, 4096));
    append_request *request = request_of(f, &batch, 1);
    request->project_id = letters(f, 64);
    assert_committed(append(f, request)->results[0], 1, 1);
}

static void malformed_lookups_are_refused(void **state)
{
    struct fixture *f = *state;
    struct error err = { 0 };
    head_request head = ARGON__WAL__V1__GET_HEAD_REQUEST__INIT;
    void *response;
    assert_false(call(f, &f->arena, "GetHead", &head, &argon__wal__v1__get_head_response__descriptor, &response, &err));
    assert_int_equal(err.code, ERROR_INVALID_ARGUMENT);
    Argon__Wal__V1__GetHeadsRequest heads = ARGON__WAL__V1__GET_HEADS_REQUEST__INIT;
    heads.project_id = (char *)"p";
    heads.n_branch_ids = 10001;
    heads.branch_ids = arena_alloc(&f->arena, heads.n_branch_ids * sizeof *heads.branch_ids);
    for (size_t i = 0; i < heads.n_branch_ids; i++)
        heads.branch_ids[i] = (char *)"b";
    assert_false(call(f, &f->arena, "GetHeads", &heads, &argon__wal__v1__get_heads_response__descriptor, &response, &err));
    assert_int_equal(err.code, ERROR_INVALID_ARGUMENT);
    struct read_all all;
    read_request read = read_of(0, 0, "", "");
    read.project_id = (char *)"";
    assert_false(read_log(f, &read, &all, &err));
    assert_int_equal(err.code, ERROR_INVALID_ARGUMENT);
}

/* ---- many at once -------------------------------------------------------------------------------- */

enum { WRITERS = 64, WRITES = 25, ALL = WRITERS * WRITES };

struct writer {
    struct fixture *f;
    int number;
    uint64_t first[WRITES], last[WRITES];
    bool acknowledged_is_visible;
};

/* Messages come from an arena of the thread's own. */
static void *write_many(void *ctx)
{
    struct writer *writer = ctx;
    struct fixture own = { .client = writer->f->client };
    arena_init(&own.arena, 0);
    writer->acknowledged_is_visible = true;
    for (int i = 0; i < WRITES; i++) {
        char ids[64];
        /* every third batch has two entries */
        snprintf(ids, sizeof ids, i % 3 ? "%d.%d" : "%d.%d %d.%d.b", writer->number, i, writer->number, i);
        batch_message *batch = simple_batch(&own, ids, 0);
        append_request *request = request_of(&own, &batch, 1);
        append_response *response;
        struct error err;
        if (!call(&own, &own.arena, "Append", request, &argon__wal__v1__append_response__descriptor, &response, &err) ||
            response->results[0]->code)
            break;
        writer->first[i] = response->results[0]->first_lsn;
        writer->last[i] = response->results[0]->last_lsn;

        head_request head = ARGON__WAL__V1__GET_HEAD_REQUEST__INIT;
        head_response *found;
        head.project_id = (char *)"p";
        if (!call(&own, &own.arena, "GetHead", &head, &argon__wal__v1__get_head_response__descriptor, &found, &err) ||
            found->commit_lsn < writer->last[i] || response->commit_lsn < writer->last[i])
            writer->acknowledged_is_visible = false;
    }
    arena_destroy(&own.arena);
    return NULL;
}

static void concurrent_appends_are_all_there(void **state)
{
    struct fixture *f = *state;
    static struct writer writers[WRITERS];
    static const char *ids[2 * ALL + 2];
    static struct read_all all;
    pthread_t threads[WRITERS];
    memset(ids, 0, sizeof ids);
    for (int i = 0; i < WRITERS; i++) {
        writers[i] = (struct writer) { .f = f, .number = i };
        threads[i] = thread_start("writer", write_many, &writers[i]);
    }
    for (int i = 0; i < WRITERS; i++)
        pthread_join(threads[i], NULL);

    uint64_t head = get_head(f, "", "", 0)->commit_lsn;
    assert_int_equal(head, ALL + WRITERS * ((WRITES + 2) / 3));
    must_read(f, read_of(0, 0, "", ""), &all);
    assert_int_equal(all.complete_through, head);
    assert_int_equal(all.n_runs, ALL);
    uint64_t next = 1, time = 0;
    for (size_t r = 0; r < all.n_runs; r++) {
        assert_int_equal(all.runs[r]->first_lsn, next); /* no gaps, and in order */
        assert_true(all.runs[r]->timestamp >= time);
        time = all.runs[r]->timestamp;
        ids[next] =
            arena_strndup(&f->arena, (const char *)all.runs[r]->entries[0]->document_id.data, all.runs[r]->entries[0]->document_id.len);
        next += all.runs[r]->n_entries;
    }
    for (int i = 0; i < WRITERS; i++) {
        assert_true(writers[i].acknowledged_is_visible);
        for (int k = 0; k < WRITES; k++) {
            char id[64];
            snprintf(id, sizeof id, "%d.%d", i, k);
            assert_in_range(writers[i].first[k], 1, head);
            assert_non_null(ids[writers[i].first[k]]);
            assert_string_equal(ids[writers[i].first[k]], id);
            assert_int_equal(writers[i].last[k], writers[i].first[k] + (k % 3 == 0));
        }
    }
}

/* Of those that saw the same state, exactly one wins each round. */
static void *increment_many(void *ctx)
{
    struct writer *writer = ctx;
    struct fixture own = { .client = writer->f->client };
    arena_init(&own.arena, 0);
    uint64_t read_lsn = 0;
    for (int won = 0; won < 10;) {
        batch_message *batch = simple_batch(&own, "counter", read_lsn);
        append_request *request = request_of(&own, &batch, 1);
        append_response *response;
        struct error err;
        if (!call(&own, &own.arena, "Append", request, &argon__wal__v1__append_response__descriptor, &response, &err))
            break;
        append_result *result = response->results[0];
        if (result->code == ERROR_ABORTED && !result->stale && result->n_conflicts == 1 && result->conflicts[0]->written_lsn > read_lsn) {
            read_lsn = result->conflicts[0]->written_lsn;
            continue;
        }
        if (result->code || result->first_lsn != read_lsn + 1)
            break; /* somebody's write was lost */
        read_lsn = writer->last[won++] = result->last_lsn;
    }
    arena_destroy(&own.arena);
    return NULL;
}

static void writers_of_one_document_never_overwrite_each_other(void **state)
{
    struct fixture *f = *state;
    static struct writer writers[8];
    pthread_t threads[ARRAY_LEN(writers)];
    for (size_t i = 0; i < ARRAY_LEN(writers); i++) {
        writers[i] = (struct writer) { .f = f };
        threads[i] = thread_start("writer", increment_many, &writers[i]);
    }
    for (size_t i = 0; i < ARRAY_LEN(writers); i++)
        pthread_join(threads[i], NULL);
    for (size_t i = 0; i < ARRAY_LEN(writers); i++)
        assert_int_not_equal(writers[i].last[9], 0);
    assert_int_equal(get_head(f, "", "", 0)->commit_lsn, 10 * ARRAY_LEN(writers));
}

/* ---- restart ------------------------------------------------------------------------------------- */

static void restart_keeps_everything_that_was_acknowledged(void **state)
{
    struct fixture *f = *state;
    uint8_t before[INCARNATION_BYTES];
    batch_message *batch = simple_batch(f, "a b", 0);
    name_request(f, batch, "r", "hash", 0, true);
    assert_committed(append_one(f, batch), 1, 2);
    assert_committed(append_one(f, simple_batch(f, "c", 2)), 3, 3);
    memcpy(before, f->rpc.incarnation, sizeof before);
    stop_service(f);
    start_service(f);

    assert_memory_not_equal(before, f->rpc.incarnation, sizeof before);
    struct read_all all;
    must_read(f, read_of(0, 0, "", ""), &all);
    assert_int_equal(all.complete_through, 3);
    assert_int_equal(all.n_runs, 2);
    assert_id(all.runs[1], 0, "c");

    head_request request = ARGON__WAL__V1__GET_HEAD_REQUEST__INIT;
    head_response *head = NULL;
    struct error err = { 0 };
    request.project_id = (char *)"p";
    request.known_incarnation = (ProtobufCBinaryData) { sizeof before, before };
    request.request_id = binary(f, "r");
    request.request_hash = binary(f, "hash");
    assert_true(call(f, &f->arena, "GetHead", &request, &argon__wal__v1__get_head_response__descriptor, &head, &err));
    assert_int_equal(head->commit_lsn, 3);
    assert_int_equal(head->known_through, 3);
    assert_non_null(head->request);
    assert_memory_equal(head->request->step->answer.data, "the answer", 10);

    append_result *again = append_one(f, batch);
    assert_int_equal(again->code, ERROR_OK);
    assert_non_null(again->earlier);
    assert_int_equal(again->last_lsn, 2);
    append_result *stale = append_one(f, simple_batch(f, "d", 2)); /* what was written before is not known by key */
    assert_int_equal(stale->code, ERROR_ABORTED);
    assert_true(stale->stale);
    assert_committed(append_one(f, simple_batch(f, "d", 3)), 4, 4);

    memset(before, 1, sizeof before);
    assert_true(call(f, &f->arena, "GetHead", &request, &argon__wal__v1__get_head_response__descriptor, &head, &err));
    assert_int_equal(head->known_through, 0); /* an incarnation that the log does not know */
}

int main(void)
{
#define ON_MEMORY(name)   cmocka_unit_test_setup_teardown(name, set_up_memory, tear_down)
#define ON_SEGMENTS(name) cmocka_unit_test_setup_teardown(name, set_up_segments, tear_down)
#define ON_BOTH(name)     ON_MEMORY(name), ON_SEGMENTS(name)
    const struct CMUnitTest tests[] = {
        ON_BOTH(what_is_appended_is_read),
        ON_BOTH(batches_of_a_call_have_their_own_results),
        ON_MEMORY(keys_guard_what_is_not_written),
        ON_BOTH(reads_are_filtered_by_run),
        ON_BOTH(reads_keep_to_whole_batches_and_to_the_head),
        ON_MEMORY(incarnation_is_checked),
        ON_BOTH(large_reads_come_in_pieces_that_can_be_resumed),
        ON_BOTH(largest_documents_pass),
        ON_BOTH(repeated_request_gets_its_outcome),
        ON_MEMORY(steps_ahead_name_the_last_committed),
        ON_BOTH(heads_and_status_are_told),
        ON_MEMORY(malformed_requests_change_nothing),
        ON_MEMORY(malformed_lookups_are_refused),
        ON_BOTH(concurrent_appends_are_all_there),
        ON_BOTH(writers_of_one_document_never_overwrite_each_other),
        ON_SEGMENTS(restart_keeps_everything_that_was_acknowledged),
    };
    rpc_init();
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    rpc_shutdown();
    return failed;
}
