/* What the segment store finds at start, and what it may drop. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/base/crc32c.h"
#include "tests/support/sample_frames.h"
#include "tests/support/segment_fixture.h"

/* ---- what is found again -------------------------------------------------------------------------- */

static void a_log_is_found_as_it_was_left(void **state)
{
    uint64_t head = 0;
    for (unsigned start = 0; start < 12; start++) {
        struct segment_recovery report;
        struct log_store *store = fixture_open(*state, &report);
        fixture_check(store, head);
        assert_int_equal(report.frames, 5 * start);
        assert_int_equal(report.groups, 5 * start);
        assert_int_equal(report.entries, head);
        assert_int_equal(report.dropped_bytes, 0);
        assert_string_equal(report.dropped_file, "");
        struct log_store_stats stats;
        log_store_stats(store, &stats);
        assert_int_equal(stats.groups, 5 * start);
        assert_int_equal(stats.entries, head);
        assert_int_equal(stats.segments, report.segments + 1);
        for (unsigned i = 0; i < 5; i++) {
            head = fixture_append(store, 500 * start);
            if (i == start % 5) {
                struct error err = { 0 };
                assert_true(log_store_vouch(store, &err));
            }
        }
        log_store_close(store);
    }
}

static void a_log_that_was_never_closed_is_found_again_and_again(void **state)
{
    struct directory_image image;
    uint64_t head = 0;
    for (unsigned start = 0; start < 10; start++) {
        struct segment_recovery report;
        struct log_store *store = fixture_open(*state, &report);
        fixture_check(store, head);
        assert_int_equal(report.dropped_bytes, 0);
        if (start % 3 != 2) /* every third start writes nothing: two unclean starts in a row */
            head = fixture_append(store, 700);
        fixture_image(store, *state, &image);
        log_store_close(store);
        directory_image_store(&image, *state);
        directory_image_destroy(&image);
    }
    fixture_expect_log(*state, head);
}

static void many_segments_and_a_group_larger_than_one(void **state)
{
    struct log_store *store = fixture_open(*state, NULL);
    struct log_store_stats stats;
    for (unsigned i = 0; i < 100; i++)
        fixture_append(store, i == 50 ? 100000 : 900);
    uint64_t head = fixture_append(store, 10);
    log_store_stats(store, &stats);
    assert_in_range(stats.segments, 18, 26);
    fixture_check(store, head);
    log_store_close(store);
    struct segment_recovery report = fixture_expect_log(*state, head);
    assert_int_equal(report.segments, stats.segments);
    assert_int_equal(report.groups, 101);
}

/* A group that just fits, or just does not: the empty group behind it finds its place in the same segment. */
static void a_full_segment_has_room_to_vouch(void **state)
{
    for (size_t size = 5950; size < 6100; size += 3) {
        temp_directory_empty(*state);
        struct log_store *store = fixture_open(*state, NULL);
        fixture_append(store, 10);
        uint64_t head = fixture_append(store, size);
        log_store_close(store);
        struct directory_image image;
        directory_image_load(&image, ((struct temp_directory *)*state)->path);
        unsigned empty = 0;
        for (size_t i = 0; i < image.n; i++) {
            struct segment_header header;
            struct error err = { 0 };
            if (!strstr(image.files[i].name, ".log"))
                continue;
            assert_true(segment_header_decode(image.files[i].data, &header, &err));
            assert_int_equal(image.files[i].len, header.length);
            struct groups groups = fixture_find_groups(&image.files[i]);
            empty += groups.n > 0 && groups.ends[groups.n - 1] - groups.offsets[groups.n - 1] == GROUP_HEADER_BYTES;
        }
        assert_int_equal(empty, 1);
        directory_image_destroy(&image);
        store = fixture_open(*state, NULL);
        fixture_check(store, head);
        log_store_close(store);
    }
}

static void starting_again_and_again_does_not_eat_the_disk(void **state)
{
    const struct temp_directory *directory = *state;
    struct directory_image image;
    uint64_t blocks = 0, head = 0;
    struct log_store *store = fixture_open(directory, NULL);
    head = fixture_append(store, 100);
    log_store_close(store);
    for (unsigned start = 0; start < 30; start++)
        log_store_close(fixture_open(directory, NULL));
    directory_image_load(&image, directory->path);
    for (size_t i = 0; i < image.n; i++) {
        char path[256];
        struct stat status;
        snprintf(path, sizeof path, "%s/%s", directory->path, image.files[i].name);
        assert_int_equal(stat(path, &status), 0);
        blocks += (uint64_t)status.st_blocks;
    }
    directory_image_destroy(&image);
    assert_in_range(blocks * 512, 1, 30 * 4096 + 8 * DRIVER_SEGMENT_BYTES);
    store = fixture_open(directory, NULL);
    struct log_store_stats stats;
    log_store_stats(store, &stats);
    assert_in_range(stats.disk_bytes, DRIVER_SEGMENT_BYTES, 34 * 4096 + 2 * DRIVER_SEGMENT_BYTES);
    fixture_check(store, head);
    log_store_close(store);
}

static void temporary_files_go_and_others_stay(void **state)
{
    const struct temp_directory *directory = *state;
    struct directory_image image;
    log_store_close(fixture_open(directory, NULL));
    static const char *const names[] = { "prepared-7.tmp", "notes.txt", "segment-1.log", "mine.tmp" };
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        char path[256];
        snprintf(path, sizeof path, "%s/%s", directory->path, names[i]);
        close(open(path, O_CREAT | O_WRONLY, 0600));
    }
    log_store_close(fixture_open(directory, NULL));
    directory_image_load(&image, directory->path);
    for (size_t i = 0; i < image.n; i++)
        assert_string_not_equal(image.files[i].name, "prepared-7.tmp");
    for (size_t i = 1; i < ARRAY_LEN(names); i++)
        assert_non_null(directory_image_find(&image, names[i]));
    directory_image_destroy(&image);
}

/* ---- torn tails ----------------------------------------------------------------------------------- */

static void a_last_group_garbled_at_any_byte_is_dropped_and_reported(void **state)
{
    struct crashed_log log;
    fixture_make_crashed_log(*state, &log);
    for (uint64_t at = log.groups.offsets[2]; at < log.groups.ends[2]; at++) {
        uint8_t *byte = &log.segment->data[at], before = *byte;
        *byte ^= (uint8_t)(1 << at % 8);
        directory_image_store(&log.image, *state);
        *byte = before;
        struct segment_recovery report;
        struct log_store *store = fixture_open(*state, &report);
        fixture_check(store, log.heads[1]);
        /* a group may end in zeros: padding, and the high bytes of its timestamp */
        uint64_t length = log.groups.ends[2] - log.groups.offsets[2];
        assert_in_range(report.dropped_bytes, length - 16, length);
        assert_string_equal(report.dropped_file, FIRST_SEGMENT);
        assert_int_equal(report.groups, 2);
        log_store_close(store);
        if (at % 16 == 0)
            fixture_expect_log(*state, log.heads[1]);
    }
    directory_image_destroy(&log.image);
}

static void a_last_group_cut_anywhere_is_dropped(void **state)
{
    struct crashed_log log;
    fixture_make_crashed_log(*state, &log);
    for (uint64_t at = log.groups.ends[2]; at-- > log.groups.offsets[2];) {
        bool was_zero = log.segment->data[at] == 0;
        log.segment->data[at] = 0;
        if (was_zero)
            continue;
        directory_image_store(&log.image, *state);
        struct segment_recovery report;
        struct log_store *store = fixture_open(*state, &report);
        fixture_check(store, log.heads[1]);
        assert_int_equal(report.dropped_bytes > 0, at > log.groups.offsets[2]);
        log_store_close(store);
        assert_int_equal(fixture_expect_log(*state, log.heads[1]).dropped_bytes, 0); /* reported once */
    }
    directory_image_destroy(&log.image);
}

/* Sectors reach the disk in any order: the end of a group without its beginning. */
static void a_last_group_without_its_beginning_is_dropped(void **state)
{
    struct crashed_log log;
    fixture_make_crashed_log(*state, &log);
    for (uint64_t at = log.groups.offsets[2]; at < log.groups.ends[2]; at++) {
        log.segment->data[at] = 0;
        if (at % 8 != 7)
            continue;
        directory_image_store(&log.image, *state);
        struct log_store *store = fixture_open(*state, NULL);
        fixture_check(store, log.heads[1]);
        log_store_close(store);
    }
    directory_image_destroy(&log.image);
}

/* A payload full of what a group header would look like, if only the salt were known. */
static void forged_headers_in_a_document_do_not_turn_a_torn_tail_into_damage(void **state)
{
    struct log_store *store = fixture_open(*state, NULL);
    struct directory_image image;
    struct sample sample;
    struct error err = { 0 };
    uint64_t head = fixture_append(store, 60);
    sample_init(&sample, "shop", head + 1, 4000);
    for (uint64_t i = 0; i + GROUP_HEADER_BYTES <= 3900; i += GROUP_HEADER_BYTES) {
        struct group_header forged = { .segment = 1, .sequence = 2 + i, .payload_checksum = crc32c(0, NULL, 0) };
        group_header_encode(&forged, sample.memory + i);
        group_header_encode(&forged, sample.memory + 4000 + i);
    }
    assert_int_equal(log_store_append(store, &sample.frame, 1, &err), APPEND_COMMITTED);
    sample_destroy(&sample);
    fixture_image(store, *state, &image);
    log_store_close(store);
    struct image_file *segment = directory_image_find(&image, FIRST_SEGMENT);
    struct groups groups = fixture_find_groups(segment);
    assert_int_equal(groups.n, 2);
    for (unsigned i = 0; i < 2; i++) { /* first the payload, then the header too */
        segment->data[i ? groups.offsets[1] : groups.offsets[1] + 100] ^= 1;
        directory_image_store(&image, *state);
        struct segment_recovery report;
        store = fixture_open(*state, &report);
        fixture_check(store, head);
        assert_true(report.dropped_bytes > 7000);
        log_store_close(store);
    }
    directory_image_destroy(&image);
}

/* ---- the lock, incarnations ------------------------------------------------------------------------ */

static void a_second_opener_is_refused_and_told_who_holds_the_log(void **state)
{
    const struct temp_directory *directory = *state;
    struct log_store *store = fixture_open(directory, NULL), *second = NULL;
    struct segment_recovery report;
    struct error err = { 0 };
    char holder[64];
    assert_false(driver_open(&system_disk, directory->path, 0, &report, &second, &err));
    assert_null(second);
    assert_int_equal(err.code, ERROR_FAILED_PRECONDITION);
    snprintf(holder, sizeof holder, "locked by process %ld on host ", (long)getpid());
    assert_non_null(strstr(err.message, holder));
    assert_non_null(strstr(err.message, directory->path));
    fixture_append(store, 60);
    log_store_close(store);
    log_store_close(fixture_open(directory, NULL)); /* the lock goes with its holder */
}

static void a_directory_is_made_and_options_are_checked(void **state)
{
    const struct temp_directory *directory = *state;
    struct segment_store_options options = { .segment_bytes = 1000 };
    struct segment_recovery report;
    struct log_store *store;
    struct error err = { 0 };
    char path[64], middle[64], file[128];
    snprintf(middle, sizeof middle, "%.40s/a", directory->path);
    snprintf(path, sizeof path, "%.50s/b/", middle);
    options.directory = path;
    assert_false(segment_store_open(&options, NULL, NULL, &report, &store, &err));
    assert_int_equal(err.code, ERROR_INVALID_ARGUMENT);
    assert_int_not_equal(access(middle, F_OK), 0);
    options.segment_bytes = DRIVER_SEGMENT_BYTES;
    assert_true(segment_store_open(&options, NULL, NULL, &report, &store, &err));
    log_store_close(store);
    snprintf(file, sizeof file, "%s%s", path, FIRST_SEGMENT);
    assert_int_equal(access(file, F_OK), 0);
    struct temp_directory inner;
    snprintf(inner.path, sizeof inner.path, "%s", path);
    temp_directory_remove(&inner);
    assert_int_equal(rmdir(middle), 0);
}

static void incarnations_end_where_the_next_begins(void **state)
{
    enum { STARTS = 18 };
    static const unsigned batches[] = { 0, 3, 0, 2, 24, 1 }; /* none, some, enough to rotate */
    uint8_t incarnations[STARTS][INCARNATION_BYTES];
    uint64_t ends[STARTS], head = 0;
    struct directory_image image;
    for (unsigned start = 0; start < STARTS; start++) {
        struct log_store *store = fixture_open(*state, NULL);
        log_store_incarnation(store, incarnations[start]);
        for (unsigned i = 0; i < batches[start % ARRAY_LEN(batches)]; i++)
            head = fixture_append(store, 600);
        ends[start] = head;
        for (unsigned i = 0; i <= start; i++)
            assert_int_equal(log_store_known_through(store, bytes_of_string("shop"), incarnations[i]), ends[i]);
        assert_int_equal(log_store_known_through(store, bytes_of_string("blog"), incarnations[start]), 0);
        /* crash or not: a group that was carried over still belongs to the incarnation that wrote it */
        fixture_image(store, *state, &image);
        log_store_close(store);
        if (start % 4 != 2)
            directory_image_store(&image, *state);
        directory_image_destroy(&image);
        for (unsigned i = 0; i < start; i++)
            assert_memory_not_equal(incarnations[i], incarnations[start], INCARNATION_BYTES);
    }
}

static void an_older_copy_of_the_directory_says_what_it_does_not_know(void **state)
{
    struct directory_image copy;
    uint8_t first[INCARNATION_BYTES], second[INCARNATION_BYTES], third[INCARNATION_BYTES];
    struct log_store *store = fixture_open(*state, NULL);
    log_store_incarnation(store, first);
    uint64_t at_copy = fixture_append(store, 60);
    fixture_image(store, *state, &copy);
    fixture_append(store, 60);
    log_store_close(store);
    store = fixture_open(*state, NULL);
    log_store_incarnation(store, second);
    fixture_append(store, 60);
    log_store_close(store);

    directory_image_store(&copy, *state);
    directory_image_destroy(&copy);
    store = fixture_open(*state, NULL);
    log_store_incarnation(store, third);
    fixture_check(store, at_copy);
    uint64_t head = fixture_append(store, 99);
    struct bytes shop = bytes_of_string("shop");
    assert_int_equal(log_store_known_through(store, shop, first), at_copy); /* it went on without this copy */
    assert_int_equal(log_store_known_through(store, shop, second), 0);
    assert_int_equal(log_store_known_through(store, shop, third), head);
    log_store_close(store);
}

#define TEST(test) cmocka_unit_test_setup_teardown(test, fixture_setup, fixture_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(a_log_is_found_as_it_was_left),
        TEST(a_log_that_was_never_closed_is_found_again_and_again),
        TEST(many_segments_and_a_group_larger_than_one),
        TEST(a_full_segment_has_room_to_vouch),
        TEST(starting_again_and_again_does_not_eat_the_disk),
        TEST(temporary_files_go_and_others_stay),
        TEST(a_last_group_garbled_at_any_byte_is_dropped_and_reported),
        TEST(a_last_group_cut_anywhere_is_dropped),
        TEST(a_last_group_without_its_beginning_is_dropped),
        TEST(forged_headers_in_a_document_do_not_turn_a_torn_tail_into_damage),
        TEST(a_second_opener_is_refused_and_told_who_holds_the_log),
        TEST(a_directory_is_made_and_options_are_checked),
        TEST(incarnations_end_where_the_next_begins),
        TEST(an_older_copy_of_the_directory_says_what_it_does_not_know),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
