/* A log whose files were damaged opens as the beginning of what was written, for good, or it does not open: DATA_LOSS. */
#include <stdio.h>

#include "tests/fuzz/fuzz.h"
#include "tests/support/log_driver.h"
#include "tests/support/temp_directory.h"
#include "wal-service/store/segment_store_internal.h"

enum { COMPRESS_AFTER = 1 };

static const char *const projects[2] = { "shop", "bank" };
static struct temp_directory directory;
static uint64_t written[2]; /* the heads */

static void remove_directory(void)
{
    temp_directory_remove(&directory);
}

/* Compressed segments, footers, and a last group that nothing vouches for. */
static void make_log(struct directory_image *image)
{
    struct segment_recovery report;
    struct log_store *store;
    struct error err;
    temp_directory_make(&directory);
    atexit(remove_directory);
    for (int start = 0; start < 2; start++) {
        must(driver_open(&system_disk, directory.path, COMPRESS_AFTER, &report, &store, &err));
        for (size_t i = 0; i < 6; i++)
            must(driver_append(store, projects, 300 + 500 * i, written, &err) == APPEND_COMMITTED);
        must(segment_store_settle(store));
        directory_image_load(image, directory.path);
        log_store_close(store);
        directory_image_store(image, &directory);
        if (start == 0)
            directory_image_destroy(image);
    }
}

/* The heads of what opens; false: DATA_LOSS. */
static bool read_log(uint64_t heads[2])
{
    struct segment_recovery report;
    struct log_store *store;
    struct error err = { 0 };
    if (!driver_open(&system_disk, directory.path, COMPRESS_AFTER, &report, &store, &err)) {
        must(err.code == ERROR_DATA_LOSS && strstr(err.message, "segment-"));
        return false;
    }
    for (int i = 0; i < 2; i++) {
        must(driver_check(store, projects[i], &err));
        heads[i] = driver_head(store, projects[i]);
        must(heads[i] <= written[i]);
    }
    log_store_close(store);
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len)
{
    static struct directory_image whole;
    struct directory_image image;
    uint64_t heads[2], again[2];
    if (!whole.n)
        make_log(&whole);
    directory_image_store(&whole, &directory);
    directory_image_load(&image, directory.path);
    directory_image_damage(&image, data, len);
    directory_image_store(&image, &directory);
    if (read_log(heads))
        must(read_log(again) && memcmp(heads, again, sizeof heads) == 0);
    directory_image_destroy(&image);
    return 0;
}
