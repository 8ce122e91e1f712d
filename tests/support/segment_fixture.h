/* A segment log in a directory of its own, to break and to look into. A check that fails ends the test.
 *
 * *state is the struct temp_directory.
 */
#ifndef ARGON_TESTS_SEGMENT_FIXTURE_H
#define ARGON_TESTS_SEGMENT_FIXTURE_H

#include "tests/support/log_driver.h"
#include "tests/support/temp_directory.h"
#include "wal-service/store/group.h"
#include "wal-service/store/segment_file.h"
#include "wal-service/store/segment_store_internal.h"

#define FIRST_SEGMENT  "segment-0000000000000001.log"
#define SECOND_SEGMENT "segment-0000000000000002.log"
#define THIRD_SEGMENT  "segment-0000000000000003.log"
#define FIRST_FOOTER   "segment-0000000000000001.index"
#define FIRST_PACKED   "segment-0000000000000001.zst"

/* Where the groups of a segment stand. */
struct groups {
    uint64_t offsets[64], ends[64];
    size_t n;
};

/* A log of one segment with three groups, as a crash leaves it: nothing vouches for the last. */
struct crashed_log {
    struct directory_image image;
    struct image_file *segment;
    struct groups groups;
    uint64_t heads[3]; /* after each group */
};

int fixture_setup(void **state);
int fixture_teardown(void **state);

struct log_store *fixture_open(const struct temp_directory *directory, struct segment_recovery *report); /* report may be NULL */
uint64_t fixture_append(struct log_store *store, size_t size);                                           /* returns the head */
void fixture_check(struct log_store *store, uint64_t head);

/* The files as a crash would leave them, once the background has nothing left to do. */
void fixture_image(struct log_store *store, const struct temp_directory *directory, struct directory_image *image);

/* Opening must fail with DATA_LOSS and name the file. */
void fixture_expect_damage(const struct temp_directory *directory, const char *file);

/* Opens the log, which must be whole up to head, says what recovery reported, and goes on writing it. */
struct segment_recovery fixture_expect_log(const struct temp_directory *directory, uint64_t head);

void fixture_poke(const struct temp_directory *directory, const char *file, uint64_t offset, uint8_t value);
void fixture_cut_file(const struct temp_directory *directory, const char *file, uint64_t length);

struct groups fixture_find_groups(const struct image_file *file);
void fixture_make_crashed_log(const struct temp_directory *directory, struct crashed_log *log);

#endif
