#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <argon/wal/v1/wal.pb-c.h>

#include "wal-service/run_codec.h"
#include "wal-service/store/frame.h"

static struct bytes encode(const struct run_header *header, const struct run_entry *entries, size_t n)
{
    size_t entries_size = 0;
    for (size_t i = 0; i < n; i++)
        entries_size += run_entry_size(&entries[i]);
    size_t size = run_encoded_size(header, entries_size);
    uint8_t *encoded = malloc(size), *at = run_begin(encoded, header, entries_size);
    for (size_t i = 0; i < n; i++)
        at = run_put_entry(at, &entries[i]);
    assert_ptr_equal(run_end(at), encoded + size);
    return bytes_of(encoded, size);
}

static const char large[70000];
static const struct run_header header = { { (const uint8_t *)"branch", 6 },
                                          { (const uint8_t *)"users", 5 },
                                          { (const uint8_t *)"ann", 3 } };
static const struct run_entry entries[] = {
    { 1, { (const uint8_t *)"\x01\x02", 2 }, { (const uint8_t *)"\x05\0\0\0\0", 5 } },
    { 2, { (const uint8_t *)"\x03", 1 }, { (const uint8_t *)large, sizeof large } },
    { 3, { (const uint8_t *)"\0", 1 }, { NULL, 0 } },
};

/* The judge is the generated code: what is stored is what a protobuf client reads. */
static void protobuf_reads_what_is_encoded(void **state)
{
    (void)state;
    struct bytes encoded = encode(&header, entries, 3);
    frame_stamp_run((uint8_t *)encoded.data, encoded.len, 77, 1234567);
    Argon__Wal__V1__ReadResponse *response = argon__wal__v1__read_response__unpack(NULL, encoded.len, encoded.data);
    assert_non_null(response);
    assert_int_equal(response->n_runs, 1);
    const Argon__Wal__V1__Run *run = response->runs[0];
    assert_string_equal(run->branch_id, "branch");
    assert_string_equal(run->collection, "users");
    assert_string_equal(run->actor, "ann");
    assert_int_equal(run->first_lsn, 77);
    assert_int_equal(run->timestamp, 1234567);
    assert_int_equal(run->n_entries, 3);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(run->entries[i]->operation, entries[i].operation);
        assert_true(bytes_equal(bytes_of(run->entries[i]->document_id.data, run->entries[i]->document_id.len), entries[i].document_id));
        assert_true(bytes_equal(bytes_of(run->entries[i]->document.data, run->entries[i]->document.len), entries[i].document));
    }
    /* and packs it to the same bytes */
    assert_int_equal(argon__wal__v1__read_response__get_packed_size(response), encoded.len);
    uint8_t *packed = malloc(encoded.len);
    argon__wal__v1__read_response__pack(response, packed);
    assert_memory_equal(packed, encoded.data, encoded.len);
    free(packed);
    argon__wal__v1__read_response__free_unpacked(response, NULL);
    free((void *)encoded.data);
}

static void reader_gives_back_what_was_encoded(void **state)
{
    (void)state;
    struct run_header plain = { header.branch_id, header.collection, { 0 } };
    struct bytes encoded = encode(&plain, entries, 3);
    struct run_reader reader;
    struct run_entry entry;
    struct error err;
    frame_stamp_run((uint8_t *)encoded.data, encoded.len, 5, 6);
    assert_true(run_reader_init(&reader, encoded, &err));
    assert_true(bytes_equal(reader.header.branch_id, plain.branch_id));
    assert_true(bytes_equal(reader.header.collection, plain.collection));
    assert_int_equal(reader.header.actor.len, 0);
    assert_int_equal(reader.first_lsn, 5);
    assert_int_equal(reader.timestamp, 6);
    for (size_t i = 0; i < 3; i++) {
        assert_true(run_reader_more(&reader));
        assert_true(run_reader_next(&reader, &entry, &err));
        assert_int_equal(entry.operation, entries[i].operation);
        assert_true(bytes_equal(entry.document_id, entries[i].document_id));
        assert_true(bytes_equal(entry.document, entries[i].document));
    }
    assert_false(run_reader_more(&reader));
    free((void *)encoded.data);
}

/* Cut anywhere, or with any one byte changed: an error or other values, never a read outside (the sanitizer watches). */
static void damage_is_an_error_or_harmless(void **state)
{
    (void)state;
    struct bytes encoded = encode(&header, entries, 1);
    struct run_reader reader;
    struct run_entry entry;
    for (size_t len = 0; len < encoded.len; len++) {
        uint8_t *cut = malloc(len + 1);
        memcpy(cut, encoded.data, len);
        struct error err = { 0 };
        assert_false(run_reader_init(&reader, bytes_of(cut, len), &err));
        assert_int_equal(err.code, ERROR_DATA_LOSS);
        free(cut);
    }
    for (size_t i = 0; i < encoded.len; i++) {
        for (int value = 0; value < 256; value++) {
            uint8_t *changed = malloc(encoded.len);
            struct error err = { 0 };
            memcpy(changed, encoded.data, encoded.len);
            changed[i] = (uint8_t)value;
            bool read = run_reader_init(&reader, bytes_of(changed, encoded.len), &err);
            while (read && run_reader_more(&reader))
                read = run_reader_next(&reader, &entry, &err);
            assert_true(read || err.code == ERROR_DATA_LOSS);
            free(changed);
        }
    }
    free((void *)encoded.data);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(protobuf_reads_what_is_encoded),
        cmocka_unit_test(reader_gives_back_what_was_encoded),
        cmocka_unit_test(damage_is_an_error_or_harmless),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
