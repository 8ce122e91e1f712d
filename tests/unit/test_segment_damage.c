/* Damage to a segment log is an error that names the place, never a shorter log. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "tests/support/segment_fixture.h"

/* ---- damage --------------------------------------------------------------------------------------- */

static void a_group_garbled_before_a_whole_one_is_damage(void **state)
{
    struct crashed_log log;
    fixture_make_crashed_log(*state, &log);
    directory_image_store(&log.image, *state);
    for (uint64_t at = log.groups.offsets[0]; at < log.groups.ends[1]; at++) {
        fixture_poke(*state, FIRST_SEGMENT, at, log.segment->data[at] ^ (uint8_t)(1 << at % 8));
        fixture_expect_damage(*state, FIRST_SEGMENT);
        fixture_poke(*state, FIRST_SEGMENT, at, log.segment->data[at]);
    }
    fixture_expect_log(*state, log.heads[2]);
    directory_image_destroy(&log.image);
}

static void a_group_that_an_empty_one_vouches_for_is_not_dropped(void **state)
{
    const struct temp_directory *directory = *state;
    struct log_store *store = fixture_open(directory, NULL);
    uint64_t head = fixture_append(store, 60);
    log_store_close(store); /* writes the empty group */
    struct directory_image image;
    directory_image_load(&image, directory->path);
    struct image_file *segment = directory_image_find(&image, FIRST_SEGMENT);
    struct groups groups = fixture_find_groups(segment);
    assert_int_equal(groups.n, 2);
    assert_int_equal(groups.ends[1] - groups.offsets[1], GROUP_HEADER_BYTES);
    for (uint64_t at = groups.offsets[0]; at < groups.ends[0]; at++) {
        fixture_poke(directory, FIRST_SEGMENT, at, (uint8_t)~segment->data[at]);
        fixture_expect_damage(directory, FIRST_SEGMENT);
        fixture_poke(directory, FIRST_SEGMENT, at, segment->data[at]);
    }
    /* its header as a whole, then all of it */
    for (uint64_t at = groups.offsets[0]; at < groups.ends[0]; at++) {
        fixture_poke(directory, FIRST_SEGMENT, at, 0);
        if (at + 1 == groups.offsets[0] + GROUP_HEADER_BYTES)
            fixture_expect_damage(directory, FIRST_SEGMENT);
    }
    fixture_expect_damage(directory, FIRST_SEGMENT);
    /* the empty group itself says nothing that could be lost */
    for (uint64_t at = groups.offsets[1]; at < groups.ends[1]; at++) {
        directory_image_store(&image, directory);
        fixture_poke(directory, FIRST_SEGMENT, at, (uint8_t)~segment->data[at]);
        store = fixture_open(directory, NULL);
        fixture_check(store, head);
        log_store_close(store);
    }
    directory_image_destroy(&image);
}

/* A group that recovery carried over was synced with its segment: it is never taken for a torn one. */
static void a_carried_group_garbled_at_any_byte_is_damage(void **state)
{
    struct crashed_log log;
    fixture_make_crashed_log(*state, &log);
    directory_image_store(&log.image, *state);
    directory_image_destroy(&log.image);
    log_store_close(fixture_open(*state, NULL));
    directory_image_load(&log.image, ((struct temp_directory *)*state)->path);
    struct image_file *second = directory_image_find(&log.image, SECOND_SEGMENT);
    struct groups groups = fixture_find_groups(second);
    assert_int_equal(groups.n, 1);
    for (uint64_t at = groups.offsets[0]; at < groups.ends[0]; at++) {
        fixture_poke(*state, SECOND_SEGMENT, at, (uint8_t)~second->data[at]);
        fixture_expect_damage(*state, SECOND_SEGMENT);
        fixture_poke(*state, SECOND_SEGMENT, at, second->data[at]);
    }
    fixture_expect_log(*state, log.heads[2]);
    directory_image_destroy(&log.image);
}

/* Three segments: one rotated out of, one left by a crash, one in which recovery carried a group over. */
static uint64_t make_three_segments(const struct temp_directory *directory, struct directory_image *image)
{
    struct log_store *store = fixture_open(directory, NULL);
    for (unsigned i = 0; i < 4; i++)
        fixture_append(store, 2000);
    fixture_image(store, directory, image);
    log_store_close(store);
    for (size_t i = image->n; i-- > 0;)
        if (strstr(image->files[i].name, ".tmp"))
            directory_image_remove(image, image->files[i].name);
    directory_image_store(image, directory);
    directory_image_destroy(image);
    store = fixture_open(directory, NULL);
    uint64_t head = fixture_append(store, 60);
    log_store_close(store);
    directory_image_load(image, directory->path);
    assert_int_equal(fixture_find_groups(directory_image_find(image, FIRST_SEGMENT)).n, 2);
    assert_int_equal(fixture_find_groups(directory_image_find(image, SECOND_SEGMENT)).n, 2);
    assert_int_equal(fixture_find_groups(directory_image_find(image, THIRD_SEGMENT)).n, 3);
    return head;
}

static void a_segment_header_garbled_at_any_byte_is_damage(void **state)
{
    struct directory_image image;
    uint64_t head = make_three_segments(*state, &image);
    static const char *const names[] = { FIRST_SEGMENT, SECOND_SEGMENT, THIRD_SEGMENT };
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        const uint8_t *data = directory_image_find(&image, names[i])->data;
        for (uint64_t at = 0; at < SEGMENT_HEADER_BYTES; at++) {
            fixture_poke(*state, names[i], at, data[at] ^ (uint8_t)(1 << at % 8));
            fixture_expect_damage(*state, names[i]);
            fixture_poke(*state, names[i], at, data[at]);
        }
    }
    fixture_expect_log(*state, head);
    directory_image_destroy(&image);
}

static void a_sealed_segment_is_read_to_its_end_and_no_further(void **state)
{
    struct directory_image image;
    uint64_t head = make_three_segments(*state, &image);
    static const char *const names[] = { FIRST_SEGMENT, SECOND_SEGMENT };
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        const uint8_t *data = directory_image_find(&image, names[i])->data;
        struct segment_header successor;
        struct error err = { 0 };
        assert_true(segment_header_decode(directory_image_find(&image, i ? THIRD_SEGMENT : SECOND_SEGMENT)->data, &successor, &err));
        uint64_t end = successor.predecessor_end;
        for (uint64_t at = SEGMENT_HEADER_BYTES; at < DRIVER_SEGMENT_BYTES; at += at < end ? 5 : 500) {
            directory_image_store(&image, *state);
            fixture_poke(*state, names[i], at, (uint8_t)~data[at]);
            if (at < end) {
                fixture_expect_damage(*state, names[i]);
            } else {
                struct log_store *store = fixture_open(*state, NULL);
                fixture_check(store, head);
                log_store_close(store);
            }
        }
    }
    directory_image_destroy(&image);
}

static void a_short_segment_is_damage(void **state)
{
    struct directory_image image;
    make_three_segments(*state, &image);
    static const char *const names[] = { FIRST_SEGMENT, SECOND_SEGMENT, THIRD_SEGMENT };
    static const uint64_t lengths[] = { 0, 1, 4095, 4096, 6000, DRIVER_SEGMENT_BYTES - 1 };
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        for (size_t j = 0; j < ARRAY_LEN(lengths); j++) {
            directory_image_store(&image, *state);
            fixture_cut_file(*state, names[i], lengths[j]);
            fixture_expect_damage(*state, names[i]);
        }
    }
    directory_image_destroy(&image);
}

static void a_missing_segment_is_damage(void **state)
{
    static const char *const names[] = { FIRST_SEGMENT, SECOND_SEGMENT };
    static const char *const named[] = { SECOND_SEGMENT, SECOND_SEGMENT }; /* the first is missed by the second */
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct directory_image image;
        temp_directory_empty(*state);
        make_three_segments(*state, &image);
        directory_image_remove(&image, names[i]);
        directory_image_store(&image, *state);
        fixture_expect_damage(*state, named[i]);
        directory_image_destroy(&image);
    }
}

static void a_segment_under_another_ones_name_is_damage(void **state)
{
    struct directory_image image;
    make_three_segments(*state, &image);
    struct image_file *second = directory_image_find(&image, SECOND_SEGMENT), *third = directory_image_find(&image, THIRD_SEGMENT);
    memcpy(second->data, third->data, second->len < third->len ? second->len : third->len);
    directory_image_store(&image, *state);
    fixture_expect_damage(*state, SECOND_SEGMENT);
    directory_image_destroy(&image);
}

/* Segments of two logs, each whole in itself, do not make one. */
static void a_segment_of_another_log_is_damage(void **state)
{
    struct directory_image ours, theirs;
    make_three_segments(*state, &ours);
    temp_directory_empty(*state);
    make_three_segments(*state, &theirs);
    static const char *const names[] = { FIRST_SEGMENT, SECOND_SEGMENT };
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        struct image_file *file = directory_image_find(&ours, names[i]), *other = directory_image_find(&theirs, names[i]);
        struct image_file kept = *file;
        file->data = other->data;
        file->len = other->len;
        directory_image_store(&ours, *state);
        *file = kept;
        fixture_expect_damage(*state, "segment-");
    }
    directory_image_destroy(&ours);
    directory_image_destroy(&theirs);
}

static void damage_under_a_running_store_is_found_by_the_read(void **state)
{
    struct log_store *store = fixture_open(*state, NULL);
    struct error err = { 0 };
    fixture_append(store, 60);
    uint64_t head = fixture_append(store, 60);
    struct directory_image image;
    fixture_image(store, *state, &image);
    struct image_file *segment = directory_image_find(&image, FIRST_SEGMENT);
    struct groups groups = fixture_find_groups(segment);
    for (uint64_t at = groups.offsets[1] + GROUP_HEADER_BYTES; at < groups.ends[1]; at++) {
        fixture_poke(*state, FIRST_SEGMENT, at, segment->data[at] ^ 0x40);
        assert_false(driver_check(store, "shop", &err));
        assert_int_equal(err.code, ERROR_DATA_LOSS);
        char place[64];
        snprintf(place, sizeof place, "%s, byte %llu", FIRST_SEGMENT, (unsigned long long)groups.offsets[1] + GROUP_HEADER_BYTES);
        assert_non_null(strstr(err.message, place));
        fixture_poke(*state, FIRST_SEGMENT, at, segment->data[at]);
    }
    fixture_check(store, head);
    directory_image_destroy(&image);
    log_store_close(store);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_group_garbled_before_a_whole_one_is_damage),
        TEST(a_group_that_an_empty_one_vouches_for_is_not_dropped),
        TEST(a_carried_group_garbled_at_any_byte_is_damage),
        TEST(a_segment_header_garbled_at_any_byte_is_damage),
        TEST(a_sealed_segment_is_read_to_its_end_and_no_further),
        TEST(a_short_segment_is_damage),
        TEST(a_missing_segment_is_damage),
        TEST(a_segment_under_another_ones_name_is_damage),
        TEST(a_segment_of_another_log_is_damage),
        TEST(damage_under_a_running_store_is_found_by_the_read),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
