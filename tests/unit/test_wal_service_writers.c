/* argon.wal.v1.Wal over TCP: many writers at once, and what is left of their work after a restart. */
#include "tests/support/wal_service_fixture.h"

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
    const struct CMUnitTest tests[] = {
        ON_BOTH(concurrent_appends_are_all_there),
        ON_BOTH(writers_of_one_document_never_overwrite_each_other),
        ON_SEGMENTS(restart_keeps_everything_that_was_acknowledged),
    };
    return run_service_tests(tests, ARRAY_LEN(tests));
}
