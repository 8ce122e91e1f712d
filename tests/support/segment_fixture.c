#include "tests/support/segment_fixture.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>
#include <fcntl.h>
#include <unistd.h>

#include "common/base/memory.h"

static const char *const SHOP[2] = { "shop", NULL };

int fixture_setup(void **state)
{
    struct temp_directory *directory = mem_zalloc(sizeof *directory);
    temp_directory_make(directory);
    *state = directory;
    return 0;
}

int fixture_teardown(void **state)
{
    temp_directory_remove(*state);
    free(*state);
    return 0;
}

struct log_store *fixture_open(const struct temp_directory *directory, struct segment_recovery *report)
{
    struct log_store *store;
    struct segment_recovery unused;
    struct error err = { 0 };
    if (!driver_open(&system_disk, directory->path, 0, report ? report : &unused, &store, &err))
        fail_msg("%s", err.message);
    return store;
}

void fixture_image(struct log_store *store, const struct temp_directory *directory, struct directory_image *image)
{
    assert_true(segment_store_settle(store));
    directory_image_load(image, directory->path);
}

uint64_t fixture_append(struct log_store *store, size_t size)
{
    uint64_t heads[2];
    struct error err = { 0 };
    if (driver_append(store, SHOP, size, heads, &err) != APPEND_COMMITTED)
        fail_msg("%s", err.message);
    return heads[0];
}

void fixture_check(struct log_store *store, uint64_t head)
{
    struct error err = { 0 };
    if (!driver_check(store, "shop", &err))
        fail_msg("%s", err.message);
    assert_int_equal(driver_head(store, "shop"), head);
}

void fixture_expect_damage(const struct temp_directory *directory, const char *file)
{
    struct log_store *store;
    struct segment_recovery report;
    struct error err = { 0 };
    if (driver_open(&system_disk, directory->path, 0, &report, &store, &err))
        fail_msg("opened in spite of the damage");
    if (err.code != ERROR_DATA_LOSS || !strstr(err.message, file))
        fail_msg("%s: %s", error_code_name(err.code), err.message);
}

struct segment_recovery fixture_expect_log(const struct temp_directory *directory, uint64_t head)
{
    struct segment_recovery report;
    struct log_store *store = fixture_open(directory, &report);
    fixture_check(store, head);
    head = fixture_append(store, 100);
    log_store_close(store);
    store = fixture_open(directory, NULL);
    fixture_check(store, head);
    log_store_close(store);
    return report;
}

void fixture_poke(const struct temp_directory *directory, const char *file, uint64_t offset, uint8_t value)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", directory->path, file);
    int fd = open(path, O_WRONLY);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, &value, 1, (off_t)offset), 1);
    close(fd);
}

void fixture_cut_file(const struct temp_directory *directory, const char *file, uint64_t length)
{
    char path[256];
    snprintf(path, sizeof path, "%s/%s", directory->path, file);
    assert_int_equal(truncate(path, (off_t)length), 0);
}

struct groups fixture_find_groups(const struct image_file *file)
{
    struct groups groups = { 0 };
    struct segment_header segment;
    struct group_header group;
    struct error err = { 0 };
    assert_true(segment_header_decode(file->data, &segment, &err));
    for (uint64_t at = SEGMENT_HEADER_BYTES; at + GROUP_HEADER_BYTES <= file->len; at = groups.ends[groups.n++]) {
        if (!group_header_decode(file->data + at, segment.id, segment.salt, &group))
            break;
        groups.offsets[groups.n] = at;
        groups.ends[groups.n] = at + GROUP_HEADER_BYTES + group.payload_length;
    }
    return groups;
}

void fixture_make_crashed_log(const struct temp_directory *directory, struct crashed_log *log)
{
    struct log_store *store = fixture_open(directory, NULL);
    for (int i = 0; i < 3; i++)
        log->heads[i] = fixture_append(store, 60 + 9 * (size_t)i);
    fixture_image(store, directory, &log->image);
    log_store_close(store);
    log->segment = directory_image_find(&log->image, FIRST_SEGMENT);
    log->groups = fixture_find_groups(log->segment);
    assert_int_equal(log->groups.n, 3);
}
