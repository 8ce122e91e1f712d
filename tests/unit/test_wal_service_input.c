/* argon.wal.v1.Wal over TCP: requests that are refused whole. */
#include "tests/support/wal_service_fixture.h"

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
SPOIL(cut_document_of_a_delete)
{
    entry->operation = ARGON__WAL__V1__OPERATION__OPERATION_DELETE;
    entry->document.len--;
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
        { cut_document_of_a_delete, "not BSON of the 11 bytes" },
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_MEMORY(malformed_requests_change_nothing),
        ON_MEMORY(malformed_lookups_are_refused),
    };
    return run_service_tests(tests, ARRAY_LEN(tests));
}
