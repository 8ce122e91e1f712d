/* argon.wal.v1.Wal over TCP, on both stores: what each call answers. */
#include "tests/support/wal_service_fixture.h"

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

int main(void)
{
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
    };
    return run_service_tests(tests, ARRAY_LEN(tests));
}
