#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/base/crc32c.h"
#include "tests/support/sample_frames.h"
#include "wal-service/store/frame.h"
#include "wal-service/store/group.h"

static void assert_same_frame(const struct frame *a, const struct frame *b)
{
    assert_true(bytes_equal(a->project, b->project));
    assert_int_equal(a->first_lsn, b->first_lsn);
    assert_int_equal(a->entries, b->entries);
    assert_int_equal(a->timestamp, b->timestamp);
    assert_true(bytes_equal(a->request.id, b->request.id));
    assert_true(bytes_equal(a->request.hash, b->request.hash));
    assert_int_equal(a->request.step, b->request.step);
    assert_int_equal(a->request.last, b->request.last);
    assert_true(bytes_equal(a->request.last_document_id, b->request.last_document_id));
    assert_true(bytes_equal(a->request.answer, b->request.answer));
    assert_int_equal(a->n_write_keys, b->n_write_keys);
    for (size_t i = 0; i < a->n_write_keys; i++)
        assert_int_equal(a->write_keys[i], b->write_keys[i]);
    assert_int_equal(a->n_runs, b->n_runs);
    for (size_t i = 0; i < a->n_runs; i++) {
        assert_true(bytes_equal(a->runs[i].branch_id, b->runs[i].branch_id));
        assert_true(bytes_equal(a->runs[i].collection, b->runs[i].collection));
        assert_int_equal(a->runs[i].entries, b->runs[i].entries);
        assert_true(bytes_equal(a->runs[i].encoded, b->runs[i].encoded));
    }
}

static void assert_round_trip(const struct frame *frame)
{
    struct buffer out = { 0 };
    struct frame_scratch scratch = { 0 };
    struct frame decoded;
    struct error err = { 0 };
    size_t size = 0;
    assert_true(frame_check(frame, &err));
    frame_encode(frame, &out);
    assert_false(out.failed);
    assert_int_equal(out.len, frame_encoded_size(frame));
    assert_int_equal(out.len % 8, 0);
    if (!frame_decode(buffer_bytes(&out), &decoded, &size, &scratch, &err))
        fail_msg("%s", err.message);
    assert_int_equal(size, out.len);
    assert_same_frame(frame, &decoded);
    frame_scratch_destroy(&scratch);
    buffer_destroy(&out);
}

static void frames_come_back_as_they_went(void **state)
{
    (void)state;
    for (size_t size = 18; size < 60; size++) { /* every padding */
        struct sample sample;
        sample_init(&sample, "shop", 1000 + size, size);
        assert_round_trip(&sample.frame);
        sample.frame.request = (struct request_step) { 0 };
        assert_round_trip(&sample.frame);
        sample.frame.n_write_keys = 0;
        assert_round_trip(&sample.frame);
        sample_destroy(&sample);
    }
}

static void the_longest_fields_come_back(void **state)
{
    (void)state;
    static uint8_t letters[8192];
    memset(letters, 'x', sizeof letters);
    struct frame_run run = {
        .branch_id = bytes_of(letters, MAX_BRANCH_ID_BYTES),
        .collection = bytes_of(letters, MAX_COLLECTION_ID_BYTES),
        .entries = UINT32_MAX,
        .encoded = bytes_of(letters, sizeof letters),
    };
    struct frame frame = {
        .project = bytes_of(letters, MAX_PROJECT_ID_BYTES),
        .first_lsn = UINT64_MAX / 2,
        .entries = UINT32_MAX,
        .timestamp = UINT64_MAX,
        .request = { .id = bytes_of(letters, 64),
                     .hash = bytes_of(letters, 32),
                     .step = UINT32_MAX,
                     .last_document_id = bytes_of(letters, 2048),
                     .answer = bytes_of(letters, 4096) },
        .runs = &run,
        .n_runs = 1,
    };
    assert_round_trip(&frame);
}

static void a_frame_that_cannot_be_stored_is_refused(void **state)
{
    (void)state;
    struct sample sample;
    struct error err = { 0 };
    uint8_t letters[512] = { 'x' };
    sample_init(&sample, "shop", 5, 40);
    struct frame good = sample.frame, bad;
    assert_true(frame_check(&good, &err));

    bad = good, bad.project = bytes_of(letters, MAX_PROJECT_ID_BYTES + 1);
    assert_false(frame_check(&bad, &err));
    assert_int_equal(err.code, ERROR_INVALID_ARGUMENT);
    bad = good, bad.project.len = 0;
    assert_false(frame_check(&bad, &err));
    bad = good, bad.entries++;
    assert_false(frame_check(&bad, &err));
    bad = good, bad.n_runs = 0, bad.entries = 0;
    assert_false(frame_check(&bad, &err));
    bad = good, bad.first_lsn = 0;
    assert_false(frame_check(&bad, &err));
    bad = good, bad.request.id = bytes_of(letters, 300);
    assert_false(frame_check(&bad, &err));
    sample.runs[1].branch_id = bytes_of(letters, MAX_BRANCH_ID_BYTES + 1);
    assert_false(frame_check(&good, &err));
    sample.runs[1].branch_id = bytes_of(letters, 1);
    sample.runs[1].encoded.len = RUN_STAMP_BYTES - 1;
    assert_false(frame_check(&good, &err));
    sample_destroy(&sample);
}

static void every_flipped_bit_is_found(void **state)
{
    (void)state;
    struct sample sample;
    struct buffer out = { 0 };
    struct frame_scratch scratch = { 0 };
    sample_init(&sample, "shop", 7, 45);
    frame_encode(&sample.frame, &out);
    for (size_t bit = 0; bit < 8 * out.len; bit++) {
        struct frame decoded;
        struct error err = { 0 };
        size_t size;
        out.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_false(frame_decode(buffer_bytes(&out), &decoded, &size, &scratch, &err));
        assert_int_equal(err.code, ERROR_DATA_LOSS);
        out.data[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
    for (size_t len = 0; len < out.len; len++) {
        /* a copy of its own, so that reading past its end is seen */
        uint8_t *shorter = malloc(len ? len : 1);
        memcpy(shorter, out.data, len);
        struct frame decoded;
        struct error err = { 0 };
        size_t size;
        assert_false(frame_decode(bytes_of(shorter, len), &decoded, &size, &scratch, &err));
        assert_int_equal(err.code, ERROR_DATA_LOSS);
        free(shorter);
    }
    frame_scratch_destroy(&scratch);
    buffer_destroy(&out);
    sample_destroy(&sample);
}

/* A checksum says that the bytes are as they were written, not that whoever wrote them was right. */
static void a_wrong_shape_under_a_right_checksum_is_found(void **state)
{
    (void)state;
    struct sample sample;
    struct buffer out = { 0 };
    struct frame_scratch scratch = { 0 };
    sample_init(&sample, "shop", 7, 45);
    frame_encode(&sample.frame, &out);
    unsigned refused = 0;
    for (size_t at = 4; at < 48 + 16; at++) {
        for (unsigned value = 0; value < 256; value += 51) {
            uint8_t before = out.data[at];
            out.data[at] = (uint8_t)value;
            size_t said = get_u32(out.data + 4);
            if (said >= 48 && said <= out.len)
                put_u32(out.data, crc32c(0, out.data + 4, said - 4));
            struct frame decoded;
            struct error err = { 0 };
            size_t size;
            if (!frame_decode(buffer_bytes(&out), &decoded, &size, &scratch, &err)) {
                assert_int_equal(err.code, ERROR_DATA_LOSS);
                refused++;
            } else {
                assert_true(frame_check(&decoded, &err)); /* another frame, but a possible one */
            }
            out.data[at] = before;
        }
    }
    assert_true(refused > 100);
    frame_scratch_destroy(&scratch);
    buffer_destroy(&out);
    sample_destroy(&sample);
}

static void a_stamp_is_two_protobuf_fields(void **state)
{
    (void)state;
    uint8_t run[20];
    memset(run, 0xEE, sizeof run);
    frame_stamp_run(run, sizeof run, 0x0102030405060708, 0x1112131415161718);
    const uint8_t expected[20] = { 0xEE, 0xEE, 0x29, 8, 7, 6, 5, 4, 3, 2, 1, 0x31, 0x18, 0x17, 0x16, 0x15, 0x14, 0x13, 0x12, 0x11 };
    assert_memory_equal(run, expected, sizeof run);
}

/* As docs/log-format.md has it: an encoder that moved a field would still read its own output. */
static void the_layout_is_the_documented_one(void **state)
{
    (void)state;
    uint8_t encoded[RUN_STAMP_BYTES] = { 0 };
    frame_stamp_run(encoded, sizeof encoded, 5, 6);
    const uint64_t key = 0x1122334455667788;
    struct frame_run run = { .branch_id = bytes_of_string("main"),
                             .collection = bytes_of_string("users"),
                             .entries = 2,
                             .encoded = bytes_of(encoded, sizeof encoded) };
    struct frame frame = {
        .project = bytes_of_string("shop"),
        .first_lsn = 5,
        .entries = 2,
        .timestamp = 6,
        .request = { .id = bytes_of_string("r1"), .hash = bytes_of_string("h"), .step = 3, .last = true, .answer = bytes_of_string("ok") },
        .write_keys = &key,
        .n_write_keys = 1,
        .runs = &run,
        .n_runs = 1,
    };
    const uint8_t expected[] = {
        0,    0,    0,    0,    104,  0,    0,    0,                                 /* checksum, size */
        5,    0,    0,    0,    0,    0,    0,    0,    6,   0,    0, 0, 0, 0, 0, 0, /* first_lsn, timestamp */
        2,    0,    0,    0,    1,    0,    0,    0,    1,   0,    0, 0, 3, 0, 0, 0, /* entries, runs, write keys, step */
        0,    0,    2,    0,    4,    2,    1,    1,                     /* lengths: last_document_id, answer, project, id, hash; flags */
        0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11,                  /* the write key */
        's',  'h',  'o',  'p',  'r',  '1',  'h',  'o',  'k',             /* project, id, hash, answer */
        18,   0,    0,    0,    2,    0,    0,    0,    4,   0,    5, 0, /* the run: length, entries, lengths of its names */
        'm',  'a',  'i',  'n',  'u',  's',  'e',  'r',  's',             /* branch, collection */
        0x29, 5,    0,    0,    0,    0,    0,    0,    0,   0x31, 6, 0, 0, 0, 0, 0, 0, 0, /* its encoded form: only a stamp here */
    };
    struct buffer out = { 0 };
    frame_encode(&frame, &out);
    assert_int_equal(out.len, 104);
    assert_memory_equal(out.data + 4, expected + 4, sizeof expected - 4);
    assert_int_equal(get_u32(out.data), crc32c(0, out.data + 4, 100));
    buffer_destroy(&out);
}

static void a_group_header_belongs_to_one_segment(void **state)
{
    (void)state;
    struct group_header header = {
        .salt = 1, .segment = 2, .sequence = 3, .payload_length = 4, .payload_checksum = 5, .previous_checksum = 6
    };
    struct group_header decoded;
    uint8_t bytes[GROUP_HEADER_BYTES];
    group_header_encode(&header, bytes);
    assert_true(group_header_decode(bytes, 2, 1, &decoded));
    assert_memory_equal(&header, &decoded, sizeof header);
    assert_false(group_header_decode(bytes, 3, 1, &decoded));
    assert_false(group_header_decode(bytes, 2, 2, &decoded));
    for (size_t bit = 0; bit < 8 * sizeof bytes; bit++) {
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
        assert_false(group_header_decode(bytes, 2, 1, &decoded));
        bytes[bit / 8] ^= (uint8_t)(1 << bit % 8);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_come_back_as_they_went),
        cmocka_unit_test(the_longest_fields_come_back),
        cmocka_unit_test(a_frame_that_cannot_be_stored_is_refused),
        cmocka_unit_test(every_flipped_bit_is_found),
        cmocka_unit_test(a_wrong_shape_under_a_right_checksum_is_found),
        cmocka_unit_test(a_stamp_is_two_protobuf_fields),
        cmocka_unit_test(the_layout_is_the_documented_one),
        cmocka_unit_test(a_group_header_belongs_to_one_segment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
