/* Compression of old segments: the log stays whole at every step, and damage is named. And the check of a whole log,
 * which must see each of these. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "tests/support/faulty_disk.h"
#include "tests/support/segment_fixture.h"
#include "tests/support/thinning.h"
#include "wal-service/store/segment_pack.h"
#include "wal-service/store/segment_verify.h"

static const char *const SHOP[2] = { "shop", NULL };

static struct log_store *open_packing(const struct temp_directory *directory)
{
    struct log_store *store;
    struct segment_recovery report;
    struct error err = { 0 };
    if (!driver_open(&system_disk, directory->path, 1, &report, &store, &err))
        fail_msg("%s", err.message);
    return store;
}

/* A closed log of at least five segments, all compressed but the last two. Returns the head. */
static uint64_t make_packed_log(const struct temp_directory *directory, struct directory_image *image)
{
    struct log_store *store = open_packing(directory);
    uint64_t head = 0;
    for (unsigned i = 0; i < 30; i++)
        head = fixture_append(store, 1000);
    fixture_image(store, directory, image);
    log_store_close(store);
    directory_image_destroy(image);
    directory_image_load(image, directory->path);
    (void)directory_image_find(image, FIRST_PACKED);
    return head;
}

/* ---- verification ---------------------------------------------------------------------------------- */

struct verdicts {
    struct segment_verdict of[64];
    size_t n;
    struct verify_summary summary;
};

static void collect(void *ctx, const struct segment_verdict *verdict)
{
    struct verdicts *verdicts = ctx;
    verdicts->of[verdicts->n++] = *verdict;
}

/* Checks the log, and that the check changed nothing. */
static void verify(const struct temp_directory *directory, struct verdicts *verdicts)
{
    struct directory_image before, after;
    struct error err = { 0 };
    *verdicts = (struct verdicts) { 0 };
    directory_image_load(&before, directory->path);
    if (!segment_log_verify(directory->path, collect, verdicts, &verdicts->summary, &err))
        fail_msg("%s", err.message);
    directory_image_load(&after, directory->path);
    assert_int_equal(before.n, after.n);
    for (size_t i = 0; i < before.n; i++) {
        assert_string_equal(before.files[i].name, after.files[i].name);
        assert_int_equal(before.files[i].len, after.files[i].len);
        assert_memory_equal(before.files[i].data, after.files[i].data, before.files[i].len);
    }
    directory_image_destroy(&before);
    directory_image_destroy(&after);
}

static void expect_whole(const struct temp_directory *directory)
{
    static struct verdicts verdicts;
    verify(directory, &verdicts);
    for (size_t i = 0; i < verdicts.n; i++)
        if (verdicts.of[i].damage.code != ERROR_OK || verdicts.of[i].other_damage.code != ERROR_OK)
            fail_msg("%s %s", verdicts.of[i].damage.message, verdicts.of[i].other_damage.message);
    assert_int_equal(verdicts.summary.damaged, 0);
}

/* Exactly one segment is damaged, and the message begins with the place. */
static void expect_one_damaged(const struct temp_directory *directory, uint64_t id, const char *place)
{
    static struct verdicts verdicts;
    verify(directory, &verdicts);
    assert_int_equal(verdicts.summary.damaged, 1);
    for (size_t i = 0; i < verdicts.n; i++) {
        const char *message = verdicts.of[i].damage.code != ERROR_OK ? verdicts.of[i].damage.message : verdicts.of[i].other_damage.message;
        if (!*message)
            continue;
        assert_int_equal(verdicts.of[i].id, id);
        if (strncmp(message, place, strlen(place)) != 0)
            fail_msg("'%s' does not begin with '%s'", message, place);
    }
}

static void a_whole_log_is_called_whole(void **state)
{
    static struct verdicts verdicts;
    struct directory_image image;
    uint64_t head = make_packed_log(*state, &image);
    verify(*state, &verdicts);
    assert_int_equal(verdicts.summary.damaged, 0);
    assert_int_equal(verdicts.summary.entries, head);
    assert_int_equal(verdicts.summary.frames, 30);
    assert_int_equal(verdicts.summary.groups, 30);
    assert_int_equal(verdicts.summary.segments, verdicts.n);
    for (size_t i = 0; i < verdicts.n; i++)
        assert_int_equal(verdicts.of[i].state, i + 1 == verdicts.n   ? SEGMENT_ACTIVE
                                               : i + 2 == verdicts.n ? SEGMENT_SEALED
                                                                     : SEGMENT_COMPRESSED);
    directory_image_destroy(&image);
}

static void an_open_log_is_not_checked(void **state)
{
    static struct verdicts verdicts;
    struct log_store *store = fixture_open(*state, NULL);
    struct error err = { 0 };
    struct temp_directory *directory = *state;
    assert_false(segment_log_verify(directory->path, collect, &verdicts, &verdicts.summary, &err));
    assert_int_equal(err.code, ERROR_FAILED_PRECONDITION);
    assert_non_null(strstr(err.message, "locked by process"));
    log_store_close(store);
    expect_whole(directory);
    assert_false(segment_log_verify("/nonexistent", collect, &verdicts, &verdicts.summary, &err));
    assert_int_equal(err.code, ERROR_NOT_FOUND);
}

static void damage_is_named_and_does_not_hide_what_follows(void **state)
{
    struct directory_image image;
    make_packed_log(*state, &image);
    struct image_file *last = NULL; /* the sealed one that is not compressed */
    char name[64], place[128];
    uint64_t id = 0;
    for (size_t i = 0; i < image.n && !last; i++)
        if (segment_name_parse(image.files[i].name, &id))
            last = &image.files[i];
    assert_non_null(last);
    struct groups groups = fixture_find_groups(last);
    memcpy(name, last->name, sizeof last->name < sizeof name ? sizeof last->name : sizeof name);

    fixture_poke(*state, name, 100, 1); /* header */
    snprintf(place, sizeof place, "%s: byte 0:", name);
    expect_one_damaged(*state, id, place);
    directory_image_store(&image, *state);

    uint64_t at = groups.offsets[1];
    fixture_poke(*state, name, at + 30, (uint8_t)~last->data[at + 30]); /* a group's header */
    snprintf(place, sizeof place, "%s, byte %llu:", name, (unsigned long long)at);
    expect_one_damaged(*state, id, place);
    directory_image_store(&image, *state);

    fixture_poke(*state, name, at + 400, (uint8_t)~last->data[at + 400]); /* a payload */
    expect_one_damaged(*state, id, place);
    directory_image_store(&image, *state);

    fixture_poke(*state, FIRST_FOOTER, 70, 0xee);
    expect_one_damaged(*state, 1, FIRST_FOOTER ", byte 0:");
    directory_image_store(&image, *state);

    directory_image_remove(&image, "segment-0000000000000002.zst");
    directory_image_store(&image, *state);
    expect_one_damaged(*state, 2, "segment-0000000000000002.log is missing");
    directory_image_destroy(&image);
}

static void a_torn_write_is_no_damage(void **state)
{
    static struct verdicts verdicts;
    struct crashed_log log;
    fixture_make_crashed_log(*state, &log);
    directory_image_store(&log.image, *state);
    fixture_poke(*state, FIRST_SEGMENT, log.groups.offsets[2] + 60, (uint8_t)~log.segment->data[log.groups.offsets[2] + 60]);
    verify(*state, &verdicts);
    assert_int_equal(verdicts.summary.damaged, 0);
    assert_int_equal(verdicts.summary.groups, 2);
    assert_in_range(verdicts.of[0].torn_bytes, 100, log.groups.ends[2] - log.groups.offsets[2]);
    /* the same byte with a later group behind it */
    directory_image_store(&log.image, *state);
    fixture_poke(*state, FIRST_SEGMENT, log.groups.offsets[1] + 60, (uint8_t)~log.segment->data[log.groups.offsets[1] + 60]);
    expect_one_damaged(*state, 1, FIRST_SEGMENT ", byte ");
    directory_image_destroy(&log.image);
}

/* ---- damage to a compressed segment ----------------------------------------------------------------- */

static void damage_at_any_byte_of_a_compressed_segment_is_data_loss(void **state)
{
    struct directory_image image;
    make_packed_log(*state, &image);
    struct image_file *file = directory_image_find(&image, FIRST_PACKED);
    for (size_t at = 0; at < file->len; at += at < 200 || at + 20 > file->len ? 1 : 29) {
        fixture_poke(*state, FIRST_PACKED, at, (uint8_t)(file->data[at] ^ (1 + at % 255)));
        struct log_store *store;
        struct segment_recovery report;
        struct error err = { 0 };
        if (driver_open(&system_disk, ((struct temp_directory *)*state)->path, 1, &report, &store, &err))
            fail_msg("opened with byte %zu damaged", at);
        /* another version is as good as unreadable; everything else is damage */
        assert_int_equal(err.code, ERROR_DATA_LOSS);
        assert_non_null(strstr(err.message, FIRST_PACKED ", byte "));
        if (at % 8 == 0)
            expect_one_damaged(*state, 1, FIRST_PACKED ", byte ");
        fixture_poke(*state, FIRST_PACKED, at, file->data[at]);
    }
    for (size_t cut = 0; cut < file->len; cut += 1000) {
        fixture_cut_file(*state, FIRST_PACKED, cut);
        fixture_expect_damage(*state, FIRST_PACKED);
        directory_image_store(&image, *state);
    }
    directory_image_destroy(&image);
}

/* A crash between the rename of the compressed file and the removal of the original leaves both. */
static void the_original_counts_while_it_is_there(void **state)
{
    struct directory_image plain, packed;
    struct log_store *store = fixture_open(*state, NULL);
    uint64_t head = 0;
    for (unsigned i = 0; i < 30; i++)
        head = fixture_append(store, 1000);
    fixture_image(store, *state, &plain);
    log_store_close(store);
    directory_image_destroy(&plain);
    directory_image_load(&plain, ((struct temp_directory *)*state)->path);
    store = open_packing(*state);
    fixture_check(store, head);
    fixture_image(store, *state, &packed);
    log_store_close(store);

    struct image_file *file = directory_image_find(&packed, FIRST_PACKED);
    for (size_t at = 0; at <= file->len; at += 500) {
        directory_image_store(&plain, *state);
        char path[256];
        snprintf(path, sizeof path, "%s/%s", ((struct temp_directory *)*state)->path, FIRST_PACKED);
        int fd = open(path, O_WRONLY | O_CREAT, 0640);
        assert_true(fd >= 0 && write(fd, file->data, file->len) == (ssize_t)file->len);
        close(fd);
        if (at < file->len) {
            fixture_poke(*state, FIRST_PACKED, at, (uint8_t)~file->data[at]);
            expect_one_damaged(*state, 1, FIRST_PACKED ", byte ");
        } else {
            expect_whole(*state);
        }
        store = fixture_open(*state, NULL);
        fixture_check(store, head);
        log_store_close(store);
        store = open_packing(*state); /* goes on where the crash was */
        assert_true(segment_store_settle(store));
        fixture_check(store, head);
        log_store_close(store);
        expect_whole(*state);
        assert_int_equal(access(path, F_OK), 0);
        snprintf(path, sizeof path, "%s/%s", ((struct temp_directory *)*state)->path, FIRST_SEGMENT);
        assert_int_not_equal(access(path, F_OK), 0);
    }
    directory_image_destroy(&plain);
    directory_image_destroy(&packed);
}

static void what_follows_a_compressed_segment_cannot_be_missing(void **state)
{
    struct directory_image image;
    make_packed_log(*state, &image);
    for (size_t i = image.n; i-- > 0;)
        if (strstr(image.files[i].name, ".log"))
            directory_image_remove(&image, image.files[i].name);
    directory_image_store(&image, *state);
    fixture_expect_damage(*state, ".log is missing");
    directory_image_destroy(&image);
}

/* ---- a disk that fails ------------------------------------------------------------------------------ */

/* Appends, and lets the background finish after each, so that steps come in one order. Returns the acknowledged head. */
static uint64_t live(struct disk *disk, const char *path, uint64_t *possible)
{
    struct log_store *store;
    struct segment_recovery report;
    struct error err = { 0 };
    uint64_t head = 0, heads[2];
    *possible = 0;
    if (!driver_open(disk, path, 1, &report, &store, &err))
        return 0;
    for (unsigned i = 0; i < 14; i++) {
        enum append_outcome outcome = driver_append(store, SHOP, 2500, heads, &err);
        *possible = heads[0];
        if (outcome != APPEND_COMMITTED)
            break;
        head = heads[0];
        (void)!segment_store_settle(store);
        /* whatever became of the background, everything can be read */
        if (!driver_check(store, "shop", &err))
            fail_msg("%s", err.message);
        assert_int_equal(driver_head(store, "shop"), head);
    }
    log_store_close(store);
    return head;
}

static void at_every_step(void **state, enum fault fault, unsigned lost)
{
    const struct temp_directory *directory = *state;
    bool struck = true;
    uint64_t step;
    for (step = 1; struck; step += TRY_ONE_IN) {
        struct faulty_disk disk;
        uint64_t possible;
        temp_directory_empty(directory);
        faulty_disk_init(&disk, fault, step);
        uint64_t head = live(&disk.disk, directory->path, &possible);
        struck = disk.struck;
        faulty_disk_cut_power(&disk, lost, step);
        faulty_disk_destroy(&disk);
        if (head > 0)
            expect_whole(directory);
        struct log_store *store = open_packing(directory);
        if (driver_head(store, "shop") != possible)
            fixture_check(store, head);
        fixture_check(store, driver_head(store, "shop"));
        assert_true(segment_store_settle(store)); /* what was not done is done now */
        fixture_check(store, driver_head(store, "shop"));
        log_store_close(store);
        expect_whole(directory);
    }
    assert_true(step > 100); /* the fault did meet sealing and compressing */
}

static void killed_at_every_step_the_log_is_whole(void **state)
{
    at_every_step(state, FAULT_KILL, 0);
}

static void power_cut_at_every_step_the_log_is_whole(void **state)
{
    at_every_step(state, FAULT_KILL, 128);
    at_every_step(state, FAULT_KILL, 256);
}

static void a_failed_call_at_every_step_leaves_the_log_whole(void **state)
{
    at_every_step(state, FAULT_EIO, 0);
    at_every_step(state, FAULT_EIO, 256);
}

struct failures {
    struct mutex lock; /* rank 1 */
    unsigned n;
    struct error last;
};

static void count_failure(void *ctx, const struct error *err)
{
    struct failures *failures = ctx;
    mutex_lock(&failures->lock);
    failures->n++;
    failures->last = *err;
    mutex_unlock(&failures->lock);
}

/* Renames of the background fail until the flag falls; those of the commit thread work. */
struct grudging_disk {
    struct disk disk;
    struct disk_ops ops;
    bool refuses;
};

static int refuse_index_and_zst(struct disk *base, int directory, const char *from, const char *to)
{
    struct grudging_disk *disk = (struct grudging_disk *)base;
    if (!strstr(to, ".log") && disk->refuses) {
        errno = ENOSPC;
        return -1;
    }
    return system_disk.ops->rename(base, directory, from, to);
}

static void a_failure_in_the_background_is_told_and_tried_again(void **state)
{
    struct temp_directory *directory = *state;
    struct grudging_disk disk = { .ops = *system_disk.ops, .refuses = true };
    struct failures failures = { 0 };
    mutex_init(&failures.lock, 1);
    disk.ops.rename = refuse_index_and_zst;
    disk.disk.ops = &disk.ops;
    struct segment_store_options options = { .directory = directory->path,
                                             .segment_bytes = DRIVER_SEGMENT_BYTES,
                                             .compress_after = 1,
                                             .background_failed = count_failure,
                                             .ctx = &failures };
    struct segment_recovery report;
    struct log_store *store;
    struct log_store_stats stats;
    struct error err = { 0 };
    assert_true(segment_store_open_on(&disk.disk, &options, NULL, NULL, &report, &store, &err));
    uint64_t head = 0;
    for (unsigned i = 0; i < 20; i++)
        head = fixture_append(store, 2500);
    assert_false(segment_store_settle(store));
    log_store_stats(store, &stats);
    assert_int_equal(stats.sealed_segments, 0);
    assert_true(stats.background_failures > 0);
    fixture_check(store, head);
    mutex_lock(&failures.lock);
    assert_int_equal(failures.n, stats.background_failures);
    assert_int_equal(failures.last.code, ERROR_RESOURCE_EXHAUSTED);
    mutex_unlock(&failures.lock);
    disk.refuses = false;            /* the thread waits, after settle */
    for (unsigned i = 0; i < 4; i++) /* the next segment makes it try again */
        head = fixture_append(store, 2500);
    assert_true(segment_store_settle(store));
    log_store_stats(store, &stats);
    assert_int_equal(stats.sealed_segments, stats.segments - 1);
    assert_int_equal(stats.compressed_segments, stats.segments - 2);
    assert_true(stats.uncompressed_bytes > stats.compressed_segments * (DRIVER_SEGMENT_BYTES / 2));
    fixture_check(store, head);
    log_store_close(store);
    expect_whole(directory);
    mutex_destroy(&failures.lock);
}

/* ---- blocks ----------------------------------------------------------------------------------------- */

static bool always(void *ctx)
{
    (void)ctx;
    return true;
}

static bool never(void *ctx)
{
    (void)ctx;
    return false;
}

/* Contents around the size of a block come back, block by block and together. */
static void blocks_unpack_alone(void **state)
{
    struct temp_directory *directory = *state;
    static const uint64_t contents[] = { 1, PACK_BLOCK_BYTES - 1, PACK_BLOCK_BYTES, PACK_BLOCK_BYTES + 1, 3 * PACK_BLOCK_BYTES + 77 };
    static uint8_t plain[4 * PACK_BLOCK_BYTES], out[4 * PACK_BLOCK_BYTES];
    char path[256];
    struct error err = { 0 };
    uint64_t bytes = 0;
    for (size_t i = 0; i < sizeof plain; i++)
        plain[i] = (uint8_t)(i / 1000 * 37 + (i % 3 ? 0 : i));
    snprintf(path, sizeof path, "%s/plain", directory->path);
    int from = open(path, O_RDWR | O_CREAT, 0640);
    assert_int_equal(write(from, plain, sizeof plain), sizeof plain);
    for (size_t i = 0; i < ARRAY_LEN(contents); i++) {
        snprintf(path, sizeof path, "%s/packed-%zu", directory->path, i);
        int to = open(path, O_RDWR | O_CREAT, 0640);
        assert_false(segment_pack_write(&system_disk, from, to, 7, contents[i], never, NULL, &bytes, &err));
        assert_int_equal(err.code, ERROR_OK);
        assert_true(segment_pack_write(&system_disk, from, to, 7, contents[i], always, NULL, &bytes, &err));
        struct segment_pack pack;
        assert_true(segment_pack_open(&pack, &system_disk, to, 7, &err));
        assert_int_equal(pack.content, contents[i]);
        assert_int_equal(pack.bytes, bytes);
        assert_int_equal(lseek(to, 0, SEEK_END), bytes);
        assert_int_equal(pack.n_blocks, (contents[i] + PACK_BLOCK_BYTES - 1) / PACK_BLOCK_BYTES);
        for (uint32_t first = 0; first < pack.n_blocks; first++) {
            for (uint32_t n = 1; first + n <= pack.n_blocks; n++) {
                uint64_t start = (uint64_t)first * PACK_BLOCK_BYTES, end = start + (uint64_t)n * PACK_BLOCK_BYTES;
                assert_true(segment_pack_read(&pack, &system_disk, to, first, n, out, &err));
                assert_memory_equal(out, plain + start, (end < contents[i] ? end : contents[i]) - start);
            }
        }
        segment_pack_destroy(&pack);
        assert_false(segment_pack_open(&pack, &system_disk, to, 8, &err));
        assert_int_equal(err.code, ERROR_DATA_LOSS);
        err = (struct error) { 0 };
        close(to);
    }
    close(from);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(blocks_unpack_alone, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(a_whole_log_is_called_whole, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(an_open_log_is_not_checked, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(damage_is_named_and_does_not_hide_what_follows, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(a_torn_write_is_no_damage, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(damage_at_any_byte_of_a_compressed_segment_is_data_loss, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(the_original_counts_while_it_is_there, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(what_follows_a_compressed_segment_cannot_be_missing, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(killed_at_every_step_the_log_is_whole, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(power_cut_at_every_step_the_log_is_whole, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(a_failed_call_at_every_step_leaves_the_log_whole, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(a_failure_in_the_background_is_told_and_tried_again, fixture_setup, fixture_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
