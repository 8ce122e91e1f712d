/* Calls: answers, errors and limits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "common/rpc/rpc_internal.h"
#include "tests/support/rpc/toy_service.h"

/* ---- unary ------------------------------------------------------------------------------------------- */

static void unary_calls_are_answered(void **state)
{
    struct fixture *f = *state;
    Argon__Wal__V1__AppendResponse *response;
    for (int i = 0; i < 100; i++) {
        struct bytes text = bytes_of(&i, sizeof i);
        if (!append_with(f, f->client, "p", text, within(PATIENCE), &response))
            fail_msg("%s", f->err.message);
        assert_true(bytes_equal(text, bytes_of(response->incarnation.data, response->incarnation.len)));
    }
    Argon__Wal__V1__GetHeadsRequest request = ARGON__WAL__V1__GET_HEADS_REQUEST__INIT;
    request.project_id = (char *)"p";
    request.branch_ids = (char *[]) { (char *)"a", (char *)"", (char *)"abc" };
    request.n_branch_ids = 3;
    struct rpc_call_options options = { .deadline = NO_DEADLINE };
    Argon__Wal__V1__GetHeadsResponse *heads;
    assert_true(rpc_client_call(f->client, GET_HEADS, &request.base, &argon__wal__v1__get_heads_response__descriptor, &options, &f->arena,
                                (ProtobufCMessage **)&heads, &f->err));
    assert_int_equal(heads->n_last_lsns, 3);
    assert_int_equal(heads->last_lsns[2], 3);
}

static void an_empty_request_and_an_inline_answer(void **state)
{
    struct fixture *f = *state;
    Argon__Wal__V1__GetStatusRequest request = ARGON__WAL__V1__GET_STATUS_REQUEST__INIT;
    struct rpc_call_options options = within(PATIENCE);
    for (int i = 0; i < 100; i++) {
        Argon__Wal__V1__GetStatusResponse *status;
        assert_true(rpc_client_call(f->client, GET_STATUS, &request.base, &argon__wal__v1__get_status_response__descriptor, &options,
                                    &f->arena, (ProtobufCMessage **)&status, &f->err));
        assert_string_equal(status->version, "1");
    }
}

static void a_deferred_call_is_answered_from_another_thread(void **state)
{
    struct fixture *f = *state;
    Argon__Wal__V1__GetHeadRequest request = ARGON__WAL__V1__GET_HEAD_REQUEST__INIT;
    struct rpc_call_options options = within(PATIENCE);
    for (int i = 0; i < 200; i++) {
        Argon__Wal__V1__GetHeadResponse *head;
        assert_true(rpc_client_call(f->client, GET_HEAD, &request.base, &argon__wal__v1__get_head_response__descriptor, &options, &f->arena,
                                    (ProtobufCMessage **)&head, &f->err));
        assert_int_equal(head->commit_lsn, 42);
    }
}

static void a_deferred_call_learns_on_its_worker_that_it_is_over(void **state)
{
    struct fixture *f = *state;
    Argon__Wal__V1__GetHeadRequest request = ARGON__WAL__V1__GET_HEAD_REQUEST__INIT;
    struct rpc_call_options options = { .deadline = NO_DEADLINE };
    options.metadata = &(struct rpc_metadata) { "argon-hold", "1" };
    options.n_metadata = 1;
    struct pending pending;
    pending_init(&pending);
    pending.started++;
    rpc_client_start(f->client, GET_HEAD, &request.base, &options, pending_done, &pending);
    wait_at_gate(&f->toy, 1);
    rpc_server_drain(f->server, SECOND / 10);
    pending_wait(&pending);
    assert_int_equal(pending.last.code, ERROR_UNAVAILABLE);
    assert_int_equal(pending.last.outcome, OUTCOME_UNKNOWN);
    assert_int_equal(atomic_load(&f->toy.cancelled), 1);
}

/* They end together, on one thread: the poller is woken once for as many as there are, and forgets none. */
static void calls_that_end_together_are_all_answered(void **state)
{
    struct fixture *f = *state;
    Argon__Wal__V1__GetHeadRequest request = ARGON__WAL__V1__GET_HEAD_REQUEST__INIT;
    struct rpc_call_options options = within(PATIENCE);
    for (int round = 0; round < 50; round++) {
        struct pending pending;
        pending_init(&pending);
        for (pending.started = 0; pending.started < ARRAY_LEN(f->toy.deferred); pending.started++)
            rpc_client_start(f->client, GET_HEAD, &request.base, &options, pending_done, &pending);
        pending_wait(&pending);
        assert_int_equal(pending.failed, 0);
    }
}

static void many_calls_run_at_once(void **state)
{
    struct fixture *f = *state;
    struct pending pending;
    pending_init(&pending);
    for (int i = 0; i < 90; i++)
        pending_append(&pending, f->client, "p", PATIENCE);
    pending_wait(&pending);
    assert_int_equal(pending.failed, 0);
    assert_int_equal(atomic_load(&f->toy.appends), 90);
    assert_int_equal(pending.encoded.len, 0); /* all fields at their defaults */
}

static void large_messages_arrive_whole(void **state)
{
    struct fixture *f = *state;
    size_t size = MIB - 100;
    uint8_t *data = malloc(size);
    for (size_t i = 0; i < size; i++)
        data[i] = (uint8_t)(i * 7 + i / 251);
    Argon__Wal__V1__AppendResponse *response;
    assert_true(append_with(f, f->client, "p", bytes_of(data, size), within(PATIENCE), &response));
    assert_true(bytes_equal(bytes_of(data, size), bytes_of(response->incarnation.data, response->incarnation.len)));
    free(data);
}

/* ---- errors ------------------------------------------------------------------------------------------ */

static void failures_carry_code_message_and_outcome(void **state)
{
    struct fixture *f = *state;
    assert_false(append(f, "refused"));
    assert_int_equal(f->err.code, ERROR_ABORTED);
    assert_int_equal(f->err.outcome, OUTCOME_NOT_APPLIED);
    assert_string_equal(f->err.message, "somebody else was faster");
    assert_string_equal(f->err.reason, "WRITE_CONFLICT");
    assert_string_equal(f->err.keys, "users/{\"_id\":1}\ncaf\xc3\xa9?"); /* what is no UTF-8 cannot travel */
    assert_int_equal(f->err.mongo_code, 112);
    assert_false(append(f, "unknown"));
    assert_int_equal(f->err.mongo_code, 0);
    assert_null(f->err.reason); /* the code says it all */
    assert_string_equal(f->err.keys, "");
    assert_int_equal(f->err.code, ERROR_ABORTED);
    assert_int_equal(f->err.outcome, OUTCOME_UNKNOWN);
    assert_string_equal(f->err.message, "who knows: 100 % \xc3\xa4");
}

static void only_repeatable_calls_are_sent_again(void **state)
{
    struct fixture *f = *state;
    Argon__Wal__V1__AppendResponse *response;
    assert_false(append(f, "flaky"));
    assert_int_equal(f->err.code, ERROR_UNAVAILABLE);
    assert_string_equal(f->err.message, "not yet");
    assert_int_equal(f->err.outcome, OUTCOME_UNKNOWN);
    assert_int_equal(atomic_load(&f->toy.appends), 1);
    struct rpc_call_options options = within(PATIENCE);
    options.repeatable = true;
    assert_true(append_with(f, f->client, "flaky", bytes_of(NULL, 0), options, &response));
    assert_int_equal(atomic_load(&f->toy.appends), 4);
}

static void the_deadline_ends_a_call_and_reaches_the_handler(void **state)
{
    struct fixture *f = *state;
    Argon__Wal__V1__AppendResponse *response;
    struct rpc_call_options options = within(PATIENCE);
    assert_true(append_with(f, f->client, "p", bytes_of(NULL, 0), options, &response));
    int64_t difference = f->toy.deadline - options.deadline;
    assert_true(difference > -SECOND && difference < SECOND);
    options.deadline = NO_DEADLINE;
    assert_true(append_with(f, f->client, "p", bytes_of(NULL, 0), options, &response));
    assert_true(f->toy.deadline == NO_DEADLINE);

    assert_false(append_with(f, f->client, "patience", bytes_of(NULL, 0), within(SECOND / 10), &response));
    assert_int_equal(f->err.code, ERROR_DEADLINE_EXCEEDED);
    assert_int_equal(f->err.outcome, OUTCOME_UNKNOWN);
    wait_for_count(&f->toy.cancelled, 1);

    unsigned appends = atomic_load(&f->toy.appends);
    assert_false(append_with(f, f->client, "p", bytes_of(NULL, 0), within(-1), &response));
    assert_int_equal(f->err.code, ERROR_DEADLINE_EXCEEDED);
    assert_int_equal(f->err.outcome, OUTCOME_NOT_APPLIED); /* never sent */
    assert_int_equal(atomic_load(&f->toy.appends), appends);
}

static void an_unknown_method_is_unimplemented_at_once(void **state)
{
    struct fixture *f = *state;
    Argon__Wal__V1__GetHeadRequest request = ARGON__WAL__V1__GET_HEAD_REQUEST__INIT;
    struct rpc_call_options options = within(PATIENCE);
    ProtobufCMessage *response;
    int64_t began = clock_monotonic_micros();
    for (int i = 0; i < 20; i++) { /* more than are posted */
        assert_false(rpc_client_call(f->client, "/argon.wal.v1.Wal/Nothing", &request.base, &argon__wal__v1__get_head_response__descriptor,
                                     &options, &f->arena, &response, &f->err));
        assert_int_equal(f->err.code, ERROR_UNIMPLEMENTED);
        assert_int_equal(f->err.outcome, OUTCOME_NOT_APPLIED);
        assert_non_null(strstr(f->err.message, "/argon.wal.v1.Wal/Nothing"));
    }
    assert_true(clock_monotonic_micros() - began < PATIENCE / 2);
}

static void a_message_over_the_limit_is_refused(void **state)
{
    struct fixture *f = *state;
    size_t size = 2 * MIB;
    uint8_t *data = calloc(1, size);
    Argon__Wal__V1__AppendResponse *response;
    assert_false(append_with(f, f->client, "p", bytes_of(data, size), within(PATIENCE), &response));
    assert_int_equal(f->err.code, ERROR_RESOURCE_EXHAUSTED);
    assert_int_equal(atomic_load(&f->toy.appends), 0);
    free(data);
    assert_true(append(f, "p"));
}

static void malformed_bytes_are_an_invalid_argument(void **state)
{
    struct fixture *f = *state;
    Argon__Wal__V1__GetHeadResponse request = ARGON__WAL__V1__GET_HEAD_RESPONSE__INIT;
    request.commit_lsn = 7; /* a number where the project's name belongs */
    struct rpc_call_options options = within(PATIENCE);
    ProtobufCMessage *response;
    static const char *const methods[] = { APPEND, GET_HEAD };
    for (size_t i = 0; i < ARRAY_LEN(methods); i++) {
        assert_false(rpc_client_call(f->client, methods[i], &request.base, &argon__wal__v1__append_response__descriptor, &options,
                                     &f->arena, &response, &f->err));
        assert_int_equal(f->err.code, ERROR_INVALID_ARGUMENT);
        assert_int_equal(f->err.outcome, OUTCOME_NOT_APPLIED);
        assert_non_null(strstr(f->err.message, "argon.wal.v1."));
    }
    struct rpc_client_stream *stream;
    assert_true(
        rpc_client_stream_open(f->client, READ, &request.base, &argon__wal__v1__read_response__descriptor, &options, &stream, &f->err));
    assert_false(rpc_client_stream_next(stream, &f->arena, &response, &f->err));
    assert_int_equal(f->err.code, ERROR_INVALID_ARGUMENT);
    rpc_client_stream_close(stream);
}

static void an_answer_of_another_type_is_the_servers_fault(void **state)
{
    struct fixture *f = *state;
    Argon__Wal__V1__GetStatusRequest request = ARGON__WAL__V1__GET_STATUS_REQUEST__INIT;
    struct rpc_call_options options = within(PATIENCE);
    ProtobufCMessage *response = NULL;
    assert_false(rpc_client_call(f->client, GET_STATUS, &request.base, &argon__wal__v1__get_head_response__descriptor, &options, &f->arena,
                                 &response, &f->err));
    assert_int_equal(f->err.code, ERROR_INTERNAL);
    assert_int_equal(f->err.outcome, OUTCOME_UNKNOWN);
    assert_null(response);
}

static void an_answer_over_the_clients_limit_is_an_error(void **state)
{
    struct fixture *f = *state;
    struct rpc_client *small;
    assert_true(rpc_client_open(&(struct rpc_client_options) { .target = f->address, .max_message_bytes = 1000 }, &small, &f->err));
    uint8_t data[2000] = { 0 };
    Argon__Wal__V1__AppendResponse *response;
    assert_false(append_with(f, small, "p", bytes_of(data, sizeof data), within(PATIENCE), &response));
    assert_int_equal(f->err.code, ERROR_RESOURCE_EXHAUSTED);
    assert_int_equal(f->err.outcome, OUTCOME_UNKNOWN); /* it was applied */
    rpc_client_close(small);
}

static void metadata_and_trailers_travel(void **state)
{
    struct fixture *f = *state;
    Argon__Wal__V1__AppendRequest request = ARGON__WAL__V1__APPEND_REQUEST__INIT;
    grpc_slice encoded;
    assert_true(codec_pack(&request.base, &encoded, &f->err));
    struct rpc_call_options options = within(PATIENCE);
    options.metadata = &(struct rpc_metadata) { "argon-tag", "blue" };
    options.n_metadata = 1;
    struct client_exchange exchange;
    /* the same channel with a queue that is looked at here, because the API does not show trailers */
    struct rpc_client client = { .channel = f->client->channel, .queue = grpc_completion_queue_create_for_next(NULL) };
    exchange_init_take(&exchange, &client, APPEND, encoded, &options);
    grpc_op ops[6];
    ops[0] = exchange_headers_op(&exchange, true);
    size_t n = 1 + exchange_request_ops(&exchange, &ops[1]);
    ops[n++] = exchange_status_op(&exchange); /* comes only when the message has been read */
    grpc_byte_buffer *response = NULL;
    ops[n] = (grpc_op) { .op = GRPC_OP_RECV_MESSAGE };
    ops[n++].data.recv_message.recv_message = &response;
    assert_int_equal(grpc_call_start_batch(exchange.call, ops, n, &exchange, NULL), GRPC_CALL_OK);
    grpc_event event = grpc_completion_queue_next(client.queue, deadline_to_timespec(options.deadline), NULL);
    assert_ptr_equal(event.tag, &exchange);
    const grpc_metadata *tag = metadata_find(&exchange.trailing, "argon-tag-back");
    const grpc_metadata *odd = metadata_find(&exchange.trailing, "argon-odd");
    assert_non_null(tag);
    assert_non_null(odd);
    assert_int_equal(grpc_slice_str_cmp(tag->value, "blue"), 0);
    assert_int_equal(grpc_slice_str_cmp(odd->value, "a?b?"), 0);
    assert_null(metadata_find(&exchange.trailing, RPC_OUTCOME_TRAILER));
    grpc_byte_buffer_destroy(response);
    exchange_destroy(&exchange);
    grpc_completion_queue_shutdown(client.queue);
    while (grpc_completion_queue_next(client.queue, deadline_to_timespec(NO_DEADLINE), NULL).type != GRPC_QUEUE_SHUTDOWN)
        ;
    grpc_completion_queue_destroy(client.queue);
}

/* ---- limits ------------------------------------------------------------------------------------------ */

static void calls_over_the_limit_are_refused_as_not_applied(void **state)
{
    (void)state;
    struct fixture f = { 0 };
    struct rpc_server_options options = default_options;
    options.max_calls = 3;
    options.worker_threads = 2;
    start_with(&f, options);
    struct pending pending;
    pending_init(&pending);
    for (int i = 0; i < 2; i++)
        pending_append(&pending, f.client, "gate", PATIENCE);
    wait_at_gate(&f.toy, 2);
    pending_append(&pending, f.client, "gate", PATIENCE); /* waits for a worker */
    int64_t until = clock_monotonic_micros() + PATIENCE;
    while (atomic_load(&f.server->calls) < 3 && clock_monotonic_micros() < until)
        sched_yield();

    for (int i = 0; i < 20; i++) {
        assert_false(append(&f, "p"));
        assert_int_equal(f.err.code, ERROR_RESOURCE_EXHAUSTED);
        assert_int_equal(f.err.outcome, OUTCOME_NOT_APPLIED);
    }
    Grpc__Health__V1__HealthCheckRequest check = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
    Grpc__Health__V1__HealthCheckResponse *health;
    struct rpc_call_options soon = within(PATIENCE);
    assert_true(rpc_client_call(f.client, "/grpc.health.v1.Health/Check", &check.base, &grpc__health__v1__health_check_response__descriptor,
                                &soon, &f.arena, (ProtobufCMessage **)&health, &f.err));
    assert_int_equal(health->status, SERVING);

    set_gate(&f.toy, true);
    pending_wait(&pending);
    assert_int_equal(pending.failed, 0);
    while (atomic_load(&f.server->calls) > 0 && clock_monotonic_micros() < until) /* the answers' tags */
        sched_yield();
    assert_true(append(&f, "p"));
    stop(&f);
}

static void request_bytes_over_the_budget_are_refused_as_not_applied(void **state)
{
    (void)state;
    struct fixture f = { 0 };
    struct rpc_server_options options = default_options;
    options.max_request_bytes = 6 * MIB;
    options.worker_threads = 8;
    start_with(&f, options);
    size_t size = MIB - MIB / 8;
    uint8_t *data = calloc(1, size);
    Argon__Wal__V1__AppendRequest request = ARGON__WAL__V1__APPEND_REQUEST__INIT;
    request.project_id = (char *)"gate";
    request.incarnation = (ProtobufCBinaryData) { size, data };
    struct pending pending;
    pending_init(&pending);
    for (unsigned i = 0; i < 6; i++) {
        struct rpc_call_options patient = within(PATIENCE);
        pending.started++;
        rpc_client_start(f.client, APPEND, &request.base, &patient, pending_done, &pending);
        wait_at_gate(&f.toy, i + 1);
    }
    Argon__Wal__V1__AppendResponse *response;
    assert_false(append_with(&f, f.client, "p", bytes_of(data, size), within(PATIENCE), &response));
    assert_int_equal(f.err.code, ERROR_RESOURCE_EXHAUSTED);
    assert_int_equal(f.err.outcome, OUTCOME_NOT_APPLIED);
    assert_true(append(&f, "p")); /* a small one still fits */
    set_gate(&f.toy, true);
    pending_wait(&pending);
    assert_int_equal(pending.failed, 0);
    assert_true(append_with(&f, f.client, "p", bytes_of(data, size), within(PATIENCE), &response));
    free(data);
    stop(&f);
    struct error err;
    options.max_request_bytes = RPC_LARGEST_REQUESTS * options.max_message_bytes - 1; /* the largest message could wait for ever */
    assert_false(rpc_server_new(&options, &f.server, &err));
    assert_int_equal(err.code, ERROR_INVALID_ARGUMENT);
}

static void a_request_that_unpacks_beyond_the_arena_is_refused(void **state)
{
    struct fixture *f = *state;
    /* two bytes a batch on the wire, over a hundred in memory */
    size_t n = MIB / 2 - 100;
    Argon__Wal__V1__Batch batch = ARGON__WAL__V1__BATCH__INIT;
    Argon__Wal__V1__Batch **batches = malloc(n * sizeof(Argon__Wal__V1__Batch *));
    for (size_t i = 0; i < n; i++)
        batches[i] = &batch;
    Argon__Wal__V1__AppendRequest request = ARGON__WAL__V1__APPEND_REQUEST__INIT;
    request.batches = batches;
    request.n_batches = n;
    struct rpc_call_options options = within(PATIENCE);
    ProtobufCMessage *response;
    assert_false(rpc_client_call(f->client, APPEND, &request.base, &argon__wal__v1__append_response__descriptor, &options, &f->arena,
                                 &response, &f->err));
    assert_int_equal(f->err.code, ERROR_RESOURCE_EXHAUSTED);
    assert_int_equal(f->err.outcome, OUTCOME_NOT_APPLIED);
    free(batches);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        WITH_SERVER(unary_calls_are_answered),
        WITH_SERVER(an_empty_request_and_an_inline_answer),
        WITH_SERVER(a_deferred_call_is_answered_from_another_thread),
        WITH_SERVER(a_deferred_call_learns_on_its_worker_that_it_is_over),
        WITH_SERVER(calls_that_end_together_are_all_answered),
        WITH_SERVER(many_calls_run_at_once),
        WITH_SERVER(large_messages_arrive_whole),
        WITH_SERVER(failures_carry_code_message_and_outcome),
        WITH_SERVER(only_repeatable_calls_are_sent_again),
        WITH_SERVER(the_deadline_ends_a_call_and_reaches_the_handler),
        WITH_SERVER(an_unknown_method_is_unimplemented_at_once),
        WITH_SERVER(a_message_over_the_limit_is_refused),
        WITH_SERVER(malformed_bytes_are_an_invalid_argument),
        WITH_SERVER(an_answer_of_another_type_is_the_servers_fault),
        WITH_SERVER(an_answer_over_the_clients_limit_is_an_error),
        WITH_SERVER(metadata_and_trailers_travel),
        cmocka_unit_test(calls_over_the_limit_are_refused_as_not_applied),
        cmocka_unit_test(request_bytes_over_the_budget_are_refused_as_not_applied),
        WITH_SERVER(a_request_that_unpacks_beyond_the_arena_is_refused),
    };
    return toy_main(argc, argv, tests, ARRAY_LEN(tests));
}
