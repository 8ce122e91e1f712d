#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <bson/bson.h>
#include <cmocka.h>
#include <stdlib.h>
#include <unistd.h>

#include "cli/document_digest.h"
#include "cli/import_mark.h"
#include "cli/transfer.h"
#include "common/base/sync.h"

enum { DOCUMENTS = 1000, BATCH = 10, WRITERS = 3 };

struct fixture {
    struct mutex lock;
    struct condition moved;
    uint64_t written;      /* documents */
    uint64_t acknowledged; /* batches */
    bool in_order;
    uint64_t held;   /* this batch is not written until all others that can be are */
    uint64_t broken; /* this one fails */
    uint64_t handed;
};

static void setup(struct fixture *f)
{
    *f = (struct fixture) { .in_order = true, .held = UINT64_MAX, .broken = UINT64_MAX };
    mutex_init(&f->lock, 1000);
    condition_init(&f->moved);
}

static void teardown(struct fixture *f)
{
    condition_destroy(&f->moved);
    mutex_destroy(&f->lock);
}

static bool write_batch(void *ctx, size_t writer, const struct transfer_batch *batch, struct error *err)
{
    struct fixture *f = ctx;
    assert_true(writer < WRITERS);
    if (batch->number == f->broken)
        return error_set(err, ERROR_UNAVAILABLE, "batch %d is broken", (int)batch->number);
    mutex_lock(&f->lock);
    /* the others fill every slot that is left before this one goes */
    while (batch->number == f->held && f->written < (f->held + TRANSFER_SLOTS(WRITERS) - 1) * BATCH)
        condition_wait(&f->moved, &f->lock);
    f->written += batch->n;
    condition_broadcast(&f->moved);
    mutex_unlock(&f->lock);
    return true;
}

static bool handing(void *ctx, const struct transfer_batch *batch, struct error *err)
{
    struct fixture *f = ctx;
    (void)err;
    assert_int_equal(batch->number, f->handed++);
    return true;
}

static void acknowledged(void *ctx, const struct transfer_batch *batch)
{
    struct fixture *f = ctx;
    f->in_order = f->in_order && batch->number == f->acknowledged;
    f->acknowledged++;
}

static bool add(struct transfer *transfer, int id, size_t collection, struct error *err)
{
    bson_t *document = BCON_NEW("_id", BCON_INT32(id));
    bool ok = transfer_add(transfer, collection, false, bytes_of(bson_get_data(document), document->len), err);
    bson_destroy(document);
    return ok;
}

static struct transfer *begin(struct fixture *f)
{
    const struct transfer_options options = { .writers = WRITERS,
                                              .max_documents = BATCH,
                                              .write = write_batch,
                                              .handing = handing,
                                              .acknowledged = acknowledged,
                                              .write_ctx = f,
                                              .ctx = f };
    return transfer_new(&options);
}

static void batches_are_acknowledged_in_order_whatever_order_they_are_written_in(void **state)
{
    (void)state;
    struct fixture f;
    struct error err;
    setup(&f);
    f.held = 5;
    struct transfer *transfer = begin(&f);
    for (int i = 0; i < DOCUMENTS; i++)
        assert_true(add(transfer, i, 0, &err));
    assert_true(transfer_flush(transfer, &err));
    assert_int_equal(f.written, DOCUMENTS);
    assert_int_equal(f.acknowledged, DOCUMENTS / BATCH);
    assert_true(f.in_order);
    transfer_free(transfer);
    teardown(&f);
}

static void a_batch_is_of_one_collection(void **state)
{
    (void)state;
    struct fixture f;
    struct error err;
    setup(&f);
    struct transfer *transfer = begin(&f);
    for (int i = 0; i < 15; i++)
        assert_true(add(transfer, i, i < 5 ? 0 : 1, &err));
    assert_true(transfer_flush(transfer, &err));
    assert_int_equal(f.acknowledged, 2);         /* five, then ten */
    assert_true(transfer_flush(transfer, &err)); /* of nothing */
    assert_int_equal(f.acknowledged, 2);
    transfer_free(transfer);
    teardown(&f);
}

static void a_failure_comes_out_and_nothing_behind_it_is_acknowledged(void **state)
{
    (void)state;
    struct fixture f;
    struct error err = { 0 };
    setup(&f);
    f.broken = 7;
    struct transfer *transfer = begin(&f);
    bool ok = true;
    for (int i = 0; ok && i < DOCUMENTS; i++)
        ok = add(transfer, i, 0, &err);
    assert_false(ok && transfer_flush(transfer, &err));
    assert_int_equal(err.code, ERROR_UNAVAILABLE);
    assert_string_equal(err.message, "batch 7 is broken");
    assert_false(transfer_flush(transfer, &err));
    transfer_free(transfer);
    assert_true(f.acknowledged <= 7 && f.in_order);
    teardown(&f);
}

static void the_mark_of_an_import_comes_back(void **state)
{
    (void)state;
    char path[] = "/tmp/argon-mark-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    struct resume_file file = { .path = path, .lock_fd = -1 };
    struct import_mark_collection collections[2] = { { .name = "a", .id = "1", .fresh = true, .complete = true, .imported = 5 },
                                                     { .name = "b,\"c", .id = "2", .imported = UINT64_C(1) << 40 } };
    struct import_mark mark = { .settings = "--collections ''", .snapshot = UINT64_C(7) << 32 | 9, .collections = collections, .n = 2 },
                       read;
    struct error err;
    struct arena arena;
    arena_init(&arena, 0);
    bson_t *document = BCON_NEW("x", BCON_INT32(1), "_id", "{", "k", BCON_UTF8("v"), "}");
    assert_true(import_mark_set(&collections[1].sent, bytes_of(bson_get_data(document), document->len), &err));
    assert_true(import_mark_save(&mark, &file, &err));
    char text[4096];
    ssize_t len = 0;
    FILE *stream = fopen(path, "r");
    len = (ssize_t)fread(text, 1, sizeof text, stream);
    fclose(stream);
    assert_true(import_mark_parse(bytes_of(text, (size_t)len), &arena, &read, &err));
    assert_string_equal(read.settings, mark.settings);
    assert_true(read.snapshot == mark.snapshot && read.n == 2);
    assert_true(read.collections[0].fresh && read.collections[0].complete && read.collections[0].imported == 5);
    assert_string_equal(read.collections[1].name, "b,\"c");
    assert_true(read.collections[1].imported == UINT64_C(1) << 40 && read.collections[1].done.len == 0);
    assert_true(bytes_equal(buffer_bytes(&read.collections[1].sent), buffer_bytes(&collections[1].sent)));
    import_mark_destroy(&read);
    /* cut off anywhere it is not taken for a whole one */
    for (ssize_t cut = 0; cut < len; cut++) {
        assert_false(import_mark_parse(bytes_of(text, (size_t)cut), &arena, &read, &err));
        assert_int_equal(err.code, ERROR_FAILED_PRECONDITION);
    }
    import_mark_destroy(&mark);
    bson_destroy(document);
    arena_destroy(&arena);
    close(fd);
    unlink(path);
}

static void a_digest_does_not_depend_on_the_order(void **state)
{
    (void)state;
    struct document_digest a = { 0 }, b = { 0 }, c = { 0 };
    struct bytes one = bytes_of_string("one"), two = bytes_of_string("two");
    document_digest_add(&a, one);
    document_digest_add(&a, two);
    document_digest_add(&b, two);
    document_digest_add(&b, one);
    document_digest_add(&c, one);
    document_digest_add(&c, one);
    assert_true(document_digest_equal(&a, &b));
    assert_false(document_digest_equal(&a, &c));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(batches_are_acknowledged_in_order_whatever_order_they_are_written_in),
        cmocka_unit_test(a_batch_is_of_one_collection),
        cmocka_unit_test(a_failure_comes_out_and_nothing_behind_it_is_acknowledged),
        cmocka_unit_test(the_mark_of_an_import_comes_back),
        cmocka_unit_test(a_digest_does_not_depend_on_the_order),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
