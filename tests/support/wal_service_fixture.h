/* A WAL service over TCP on either store, and the messages and calls that its tests are made of. */
#ifndef ARGON_TESTS_WAL_SERVICE_FIXTURE_H
#define ARGON_TESTS_WAL_SERVICE_FIXTURE_H

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

static inline void start_service(struct fixture *f)
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

static inline void stop_service(struct fixture *f)
{
    rpc_client_close(f->client);
    rpc_server_drain(f->server, MICROS_PER_SECOND);
    wal_stop(f->wal);
    rpc_server_free(f->server);
    wal_free(f->wal);
    log_store_close(f->store);
}

static inline int set_up(void **state, bool segments)
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

static inline int set_up_memory(void **state)
{
    return set_up(state, false);
}

static inline int set_up_segments(void **state)
{
    return set_up(state, true);
}

static inline int tear_down(void **state)
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

static inline void *copy(struct fixture *f, const void *data, size_t size)
{
    return arena_copy(&f->arena, data, size);
}

static inline ProtobufCBinaryData binary(struct fixture *f, const char *text)
{
    return (ProtobufCBinaryData) { strlen(text), (uint8_t *)arena_strdup(&f->arena, text) };
}

/* { "": <binary> } of the wanted size, 5 or at least 12; the payload is recognizable. */
static inline ProtobufCBinaryData document(struct fixture *f, size_t size, uint8_t filling)
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

static inline entry_message *put(struct fixture *f, const char *id, size_t size)
{
    entry_message entry = ARGON__WAL__V1__ENTRY__INIT;
    entry.operation = ARGON__WAL__V1__OPERATION__OPERATION_INSERT;
    entry.document_id = binary(f, id);
    entry.document = document(f, size, (uint8_t)id[0]);
    return copy(f, &entry, sizeof entry);
}

/* Ids separated by spaces; "-id" deletes. */
static inline run_message *run_of(struct fixture *f, const char *branch, const char *collection, const char *ids)
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

static inline batch_message *batch_of(struct fixture *f, run_message *first, run_message *second, uint64_t read_lsn)
{
    batch_message batch = ARGON__WAL__V1__BATCH__INIT;
    run_message *runs[] = { first, second };
    batch.runs = copy(f, runs, sizeof runs);
    batch.n_runs = second ? 2 : 1;
    batch.read_lsn = read_lsn;
    return copy(f, &batch, sizeof batch);
}

static inline batch_message *simple_batch(struct fixture *f, const char *ids, uint64_t read_lsn)
{
    return batch_of(f, run_of(f, "main", "users", ids), NULL, read_lsn);
}

static inline key_message **keys_of(struct fixture *f, const char *collection, const char *id)
{
    key_message key = ARGON__WAL__V1__KEY__INIT;
    key.branch_id = arena_strdup(&f->arena, "main");
    key.collection = arena_strdup(&f->arena, collection);
    key.document_id = binary(f, id);
    key_message *one = copy(f, &key, sizeof key);
    return copy(f, &one, sizeof one);
}

static inline void name_request(struct fixture *f, batch_message *batch, const char *id, const char *hash, uint32_t step, bool last)
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

static inline append_request *request_of(struct fixture *f, batch_message **batches, size_t n)
{
    append_request request = ARGON__WAL__V1__APPEND_REQUEST__INIT;
    request.project_id = arena_strdup(&f->arena, "p");
    request.batches = copy(f, batches, n * sizeof *batches);
    request.n_batches = n;
    return copy(f, &request, sizeof request);
}

/* ---- calls --------------------------------------------------------------------------------------- */

static inline bool call(struct fixture *f, struct arena *arena, const char *method, const void *request,
                        const ProtobufCMessageDescriptor *type, void *response, struct error *err)
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

static inline append_response *append(struct fixture *f, const append_request *request)
{
    append_response *response = NULL;
    struct error err = { 0 };
    if (!call(f, &f->arena, "Append", request, &argon__wal__v1__append_response__descriptor, &response, &err))
        fail_msg("Append: %s", err.message);
    assert_int_equal(response->n_results, request->n_batches);
    return response;
}

static inline append_result *append_one(struct fixture *f, batch_message *batch)
{
    return append(f, request_of(f, &batch, 1))->results[0];
}

static inline head_response *get_head(struct fixture *f, const char *request_id, const char *hash, uint64_t since)
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
static inline bool read_log(struct fixture *f, const read_request *request, struct read_all *all, struct error *err)
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

static inline read_request read_of(uint64_t after, uint64_t through, const char *branch, const char *collection)
{
    read_request request = ARGON__WAL__V1__READ_REQUEST__INIT;
    request.project_id = (char *)"p";
    request.after_lsn = after;
    request.through_lsn = through;
    request.branch_id = (char *)branch;
    request.collection = (char *)collection;
    return request;
}

static inline void must_read(struct fixture *f, read_request request, struct read_all *all)
{
    struct error err = { 0 };
    if (!read_log(f, &request, all, &err))
        fail_msg("Read: %s", err.message);
}

static inline void assert_id(const run_message *run, size_t entry, const char *id)
{
    assert_true(entry < run->n_entries);
    const ProtobufCBinaryData *found = &run->entries[entry]->document_id;
    assert_true(bytes_equal(bytes_of(found->data, found->len), bytes_of_string(id)));
}

static inline void assert_committed(const append_result *result, uint64_t first, uint64_t last)
{
    if (result->code)
        fail_msg("%u: %s", result->code, result->message);
    assert_int_equal(result->first_lsn, first);
    assert_int_equal(result->last_lsn, last);
    assert_true(result->timestamp > 0);
    assert_false(result->not_applied);
    assert_null(result->earlier);
}

#define ON_MEMORY(name)   cmocka_unit_test_setup_teardown(name, set_up_memory, tear_down)
#define ON_SEGMENTS(name) cmocka_unit_test_setup_teardown(name, set_up_segments, tear_down)
#define ON_BOTH(name)     ON_MEMORY(name), ON_SEGMENTS(name)

static inline int run_service_tests(const struct CMUnitTest *tests, size_t n)
{
    rpc_init();
    int failed = _cmocka_run_group_tests("wal_service", tests, n, NULL, NULL);
    rpc_shutdown();
    return failed;
}

#endif
