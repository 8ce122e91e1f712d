/* Footers: what they answer is what the segment says, whatever happens to them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/base/memory.h"
#include "tests/support/sample_frames.h"
#include "tests/support/segment_fixture.h"
#include "tests/support/thinning.h"

static const char *const PROJECTS[] = { "shop", "blog", "wiki" };

/* ---- the same answers ------------------------------------------------------------------------------ */

struct seen {
    uint64_t first[2000];
    size_t n;
};

static bool see(void *ctx, const struct frame *frame, struct error *err)
{
    struct seen *seen = ctx;
    (void)err;
    assert_true(seen->n < ARRAY_LEN(seen->first));
    seen->first[seen->n++] = frame->first_lsn;
    return true;
}

static void scan(struct log_store *store, const struct log_range *range, struct seen *seen)
{
    struct error err = { 0 };
    seen->n = 0;
    if (!log_store_scan(store, range, see, seen, &err))
        fail_msg("%s", err.message);
}

static void expect_same_scans(struct log_store *a, struct log_store *b, struct bytes project, uint64_t after, uint64_t through)
{
    static const char *const branches[] = { NULL, "b0", "b1", "b2", "none" };
    static const char *const collections[] = { NULL, "users", "c0", "c3", "none" };
    static struct seen in_a, in_b;
    for (size_t i = 0; i < ARRAY_LEN(branches) * ARRAY_LEN(collections); i++) {
        const char *branch = branches[i / ARRAY_LEN(collections)], *collection = collections[i % ARRAY_LEN(collections)];
        struct bytes branch_id = bytes_of_string(branch ? branch : ""), collection_id = bytes_of_string(collection ? collection : "");
        struct log_range range = { .project = project,
                                   .after = after,
                                   .through = through,
                                   .branch_id = branch ? &branch_id : NULL,
                                   .collection = collection ? &collection_id : NULL };
        scan(a, &range, &in_a);
        scan(b, &range, &in_b);
        assert_int_equal(in_a.n, in_b.n);
        assert_memory_equal(in_a.first, in_b.first, in_a.n * sizeof in_a.first[0]);
    }
}

static void expect_same_branches(struct log_store *a, struct log_store *b, struct bytes project)
{
    struct log_branch in_a[8], in_b[8];
    size_t n_a, n_b;
    struct error err = { 0 };
    struct arena arena;
    arena_init(&arena, 0);
    assert_true(log_store_list_branches(a, project, bytes_of(NULL, 0), 8, &arena, in_a, &n_a, &err));
    assert_true(log_store_list_branches(b, project, bytes_of(NULL, 0), 8, &arena, in_b, &n_b, &err));
    assert_int_equal(n_a, n_b);
    for (size_t i = 0; i < n_a; i++) {
        assert_true(bytes_equal(in_a[i].id, in_b[i].id));
        assert_int_equal(in_a[i].last_lsn, in_b[i].last_lsn);
        assert_int_equal(log_store_branch_head(a, project, in_a[i].id), in_a[i].last_lsn);
    }
    arena_destroy(&arena);
}

/* Every question that can be asked, at every LSN and time. */
static void expect_same_answers(struct log_store *a, struct log_store *b, uint64_t seed)
{
    for (size_t p = 0; p < ARRAY_LEN(PROJECTS); p++) {
        struct bytes project = bytes_of_string(PROJECTS[p]);
        struct log_head in_a, in_b;
        log_store_head(a, project, &in_a);
        log_store_head(b, project, &in_b);
        assert_memory_equal(&in_a, &in_b, sizeof in_a);
        uint64_t head = in_a.lsn;
        for (uint64_t lsn = 0; lsn <= head + 1; lsn++) {
            assert_int_equal(log_store_batch_end(a, project, lsn), log_store_batch_end(b, project, lsn));
            log_store_find_time(a, project, 1000000 + lsn, &in_a);
            log_store_find_time(b, project, 1000000 + lsn, &in_b);
            assert_memory_equal(&in_a, &in_b, sizeof in_a);
        }
        expect_same_branches(a, b, project);
        expect_same_scans(a, b, project, 0, UINT64_MAX);
        for (int i = 0; i < 4; i++) {
            seed = seed * 6364136223846793005u + 1442695040888963407u;
            uint64_t after = (seed >> 33) % (head + 1);
            expect_same_scans(a, b, project, after, after + (seed >> 20) % 60);
        }
    }
}

/* The same batches into both; sizes and projects at random. */
static void append_to_both(struct log_store *a, struct log_store *b, uint64_t *seed, unsigned n)
{
    while (n-- > 0) {
        *seed = *seed * 6364136223846793005u + 1442695040888963407u;
        const char *const projects[2] = { PROJECTS[(*seed >> 33) % 3], NULL };
        size_t size = (*seed >> 40) % 32 == 0 ? 9000 : 20 + (*seed >> 50) % 700;
        uint64_t heads[2];
        struct error err = { 0 };
        assert_int_equal(driver_append(a, projects, size, heads, &err), APPEND_COMMITTED);
        assert_int_equal(driver_append(b, projects, size, heads, &err), APPEND_COMMITTED);
    }
}

static struct log_store *open_packing(const struct temp_directory *directory, uint64_t compress_after, struct segment_recovery *report)
{
    struct log_store *store;
    struct error err = { 0 };
    if (!driver_open(&system_disk, directory->path, compress_after, report, &store, &err))
        fail_msg("%s", err.message);
    return store;
}

static void random_logs_answer_as_the_memory_store(void **state)
{
    for (uint64_t seed = 1; seed <= 6; seed++) {
        uint64_t x = seed, compress_after = seed % 3;
        struct segment_recovery report;
        temp_directory_empty(*state);
        struct log_store *memory = memory_store_new(NULL, NULL);
        struct log_store *store = open_packing(*state, compress_after, &report);
        for (int round = 0; round < 4; round++) {
            append_to_both(memory, store, &x, 150);
            expect_same_answers(memory, store, x); /* while the background is at work */
            assert_true(segment_store_settle(store));
            expect_same_answers(memory, store, x);
            log_store_close(store);
            store = open_packing(*state, compress_after, &report);
            assert_int_equal(report.footers_bad, 0);
            expect_same_answers(memory, store, x);
        }
        struct log_store_stats stats;
        assert_true(segment_store_settle(store));
        log_store_stats(store, &stats);
        assert_int_equal(stats.sealed_segments, stats.segments - 1);
        if (compress_after)
            assert_in_range(stats.compressed_segments, 5, stats.segments - 1 - compress_after);
        else
            assert_int_equal(stats.compressed_segments, 0);
        log_store_close(store);
        log_store_close(memory);
    }
}

/* ---- memory ---------------------------------------------------------------------------------------- */

/* 30 times the log, the same memory: but for 24 bytes a project and segment, and what the store keeps a segment. */
static void memory_does_not_grow_with_the_log(void **state)
{
    struct log_store *store = fixture_open(*state, NULL);
    struct log_store_stats before, after;
    for (unsigned i = 0; i < 400; i++)
        fixture_append(store, 20);
    assert_true(segment_store_settle(store));
    log_store_stats(store, &before);
    for (unsigned i = 0; i < 30 * 400; i++)
        fixture_append(store, 20);
    assert_true(segment_store_settle(store));
    log_store_stats(store, &after);
    uint64_t segments = after.segments - before.segments;
    assert_true(segments > 100);
    assert_int_equal(after.sealed_segments, after.segments - 1);
    /* what the active segment holds in memory varies with how full it is */
    uint64_t of_one_segment = DRIVER_SEGMENT_BYTES;
    assert_true(after.memory_bytes < before.memory_bytes + of_one_segment + segments * 256);
    log_store_close(store);
}

/* ---- damage ---------------------------------------------------------------------------------------- */

/* A log of a few segments, the first with a footer of a few hundred bytes, in `image`. */
static struct log_store *make_log(const struct temp_directory *directory, struct directory_image *image)
{
    struct log_store *memory = memory_store_new(NULL, NULL);
    struct log_store *store = fixture_open(directory, NULL);
    const char *const shop[2] = { "shop", NULL }, *const blog[2] = { "blog", NULL };
    uint64_t heads[2];
    struct error err = { 0 };
    for (unsigned i = 0; i < 18; i++) {
        assert_int_equal(driver_append(store, i % 3 ? shop : blog, 1000, heads, &err), APPEND_COMMITTED);
        assert_int_equal(driver_append(memory, i % 3 ? shop : blog, 1000, heads, &err), APPEND_COMMITTED);
    }
    fixture_image(store, directory, image);
    log_store_close(store);
    return memory;
}

static void expect_rebuilt(const struct temp_directory *directory, const struct directory_image *image, struct log_store *memory,
                           bool missing)
{
    struct segment_recovery report;
    struct log_store *store = fixture_open(directory, &report);
    assert_int_equal(report.footers_bad, missing ? 0 : 1);
    assert_true(report.footers_missing >= missing);
    if (!missing)
        assert_string_equal(report.bad_footer, FIRST_FOOTER);
    expect_same_answers(memory, store, 1);
    struct directory_image now;
    fixture_image(store, directory, &now);
    expect_same_answers(memory, store, 1);
    struct directory_image original = *image;
    struct image_file *was = directory_image_find(&original, FIRST_FOOTER), *is = directory_image_find(&now, FIRST_FOOTER);
    assert_int_equal(is->len, was->len);
    assert_memory_equal(is->data, was->data, was->len);
    directory_image_destroy(&now);
    log_store_close(store);
}

static void a_footer_damaged_at_any_byte_is_made_again(void **state)
{
    struct directory_image image;
    struct log_store *memory = make_log(*state, &image);
    size_t len = directory_image_find(&image, FIRST_FOOTER)->len;
    assert_in_range(len, 500, 1500);
    for (size_t at = 0; at < len; at += TRY_ONE_IN) {
        directory_image_store(&image, *state);
        fixture_poke(*state, FIRST_FOOTER, at, (uint8_t)(directory_image_find(&image, FIRST_FOOTER)->data[at] ^ (1 + at % 255)));
        expect_rebuilt(*state, &image, memory, false);
    }
    for (size_t cut = 0; cut < len; cut += 37) {
        directory_image_store(&image, *state);
        fixture_cut_file(*state, FIRST_FOOTER, cut);
        expect_rebuilt(*state, &image, memory, false);
    }
    directory_image_destroy(&image);
    log_store_close(memory);
}

static void a_missing_footer_is_made(void **state)
{
    struct directory_image image, without;
    struct log_store *memory = make_log(*state, &image);
    directory_image_load(&without, ((struct temp_directory *)*state)->path);
    directory_image_remove(&without, FIRST_FOOTER);
    directory_image_store(&without, *state);
    expect_rebuilt(*state, &image, memory, true);
    directory_image_destroy(&image);
    directory_image_destroy(&without);
    log_store_close(memory);
}

/* Right in itself, of another log: only the segment can tell. */
static void a_footer_of_another_log_is_not_believed(void **state)
{
    struct directory_image image, other;
    log_store_close(make_log(*state, &image));
    temp_directory_empty(*state);
    struct log_store *store = fixture_open(*state, NULL);
    for (unsigned i = 0; i < 30; i++)
        fixture_append(store, 500);
    fixture_image(store, *state, &other);
    log_store_close(store);
    struct image_file *from = directory_image_find(&other, FIRST_FOOTER), *to = directory_image_find(&image, FIRST_FOOTER);
    struct image_file kept = *to;
    *to = *from;
    directory_image_store(&image, *state);
    struct segment_recovery report;
    store = fixture_open(*state, &report);
    assert_int_equal(report.footers_bad, 1);
    fixture_check(store, driver_head(store, "shop"));
    log_store_close(store);
    *to = kept;
    directory_image_destroy(&image);
    directory_image_destroy(&other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(random_logs_answer_as_the_memory_store, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(memory_does_not_grow_with_the_log, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(a_footer_damaged_at_any_byte_is_made_again, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(a_missing_footer_is_made, fixture_setup, fixture_teardown),
        cmocka_unit_test_setup_teardown(a_footer_of_another_log_is_not_believed, fixture_setup, fixture_teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
