/* Branches that begin with a base, over a real WAL service in this process: the same states whether the base is read from where
 * it is copied from, or from its copy on the log. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include <bson/bson.h>

#include "branch-service/catalog/lineage.h"
#include "branch-service/project/base_source.h"
#include "branch-service/write/batch.h"
#include "common/base/clock.h"
#include "common/base/limits.h"
#include "common/base/memory.h"
#include "common/rpc/rpc.h"
#include "tests/support/wal_server.h"

#define PROJECT "0123456789abcdef01234567"
#define BASE    "base"

enum { DOCUMENTS = 40 };

struct fixture {
    struct base_source source; /* first: it is cast */
    unsigned reads;
    bool gone;
    struct wal_server *server;
    struct log_source *log;
    struct view_cache *cache;
    struct project *project;
    struct arena arena;
    struct batch batch;
    uint64_t lsn;
    struct log_incarnation incarnation;
};

#define must(call)                                                                                                                         \
    do {                                                                                                                                   \
        struct error must_err = { 0 }, *err = &must_err;                                                                                   \
        if (!(call))                                                                                                                       \
            fail_msg("%s: %s", #call, must_err.message);                                                                                   \
    } while (0)

static int64_t soon(void)
{
    return clock_monotonic_micros() + 60 * MICROS_PER_SECOND;
}

static struct bytes document(struct arena *arena, int id, int value)
{
    char name[16];
    bson_t bson = BSON_INITIALIZER;
    snprintf(name, sizeof name, "k%d", id);
    BSON_APPEND_UTF8(&bson, "_id", name);
    BSON_APPEND_INT32(&bson, "v", value);
    struct bytes out = bytes_of(arena_copy(arena, bson_get_data(&bson), bson.len), bson.len);
    bson_destroy(&bson);
    return out;
}

static bool read_source(const struct base_source *source, const char *database, const char *collection, int64_t deadline,
                        base_document_fn *visit, void *ctx, bool *there, struct error *err)
{
    struct fixture *f = (struct fixture *)source;
    struct arena arena;
    (void)deadline;
    assert_string_equal(database, "d");
    assert_string_equal(collection, "pre_c");
    f->reads++;
    arena_init(&arena, 0);
    /* one that is gone looks empty, or ends anywhere */
    bool ok = true;
    for (int i = 0; ok && i < (f->gone ? DOCUMENTS / 2 : DOCUMENTS); i++)
        ok = visit(ctx, document(&arena, i, i), err);
    arena_destroy(&arena);
    *there = !f->gone;
    return ok;
}

static struct project *new_project(struct fixture *f, struct view_cache *cache)
{
    struct project *project = project_new(PROJECT, "p", 0, f->log, cache);
    project_use_base_source(project, &f->source);
    return project;
}

static int set_up(void **state)
{
    struct fixture *f = mem_zalloc(sizeof *f);
    char target[32];
    f->source.read = read_source;
    f->server = wal_server_start();
    snprintf(target, sizeof target, "127.0.0.1:%d", wal_server_port(f->server));
    must(log_source_open(target, &f->log, err));
    f->cache = view_cache_new(0);
    f->project = new_project(f, f->cache);
    memcpy(f->incarnation.bytes, wal_server_incarnation(f->server), sizeof f->incarnation.bytes);
    arena_init(&f->arena, 0);
    *state = f;
    return 0;
}

static int tear_down(void **state)
{
    struct fixture *f = *state;
    project_free(f->project);
    view_cache_free(f->cache);
    log_source_close(f->log);
    wal_server_stop(f->server);
    arena_destroy(&f->arena);
    free(f);
    return 0;
}

static void begin(struct fixture *f)
{
    f->batch = (struct batch) { .arena = &f->arena };
}

static void end(struct fixture *f)
{
    struct log_append_result result;
    const struct log_batch batch = { .runs = f->batch.runs, .n_runs = f->batch.n_runs, .read_lsn = f->lsn };
    must(log_source_append(f->log, PROJECT, &f->incarnation, &batch, soon(), &f->arena, &result, err));
    f->lsn = result.last_lsn;
    must(project_refresh(f->project, soon(), err));
}

static void add(struct fixture *f, const char *branch, const char *collection, enum log_operation operation, const char *id,
                struct bytes image)
{
    must(batch_add_record(&f->batch, branch, collection, operation, id, image, err));
}

static void add_branch(struct fixture *f, const struct branch_record *record, enum log_operation operation)
{
    struct bytes image;
    must(catalog_encode_branch(record, &f->arena, &image, err));
    add(f, CATALOG_BRANCH, BRANCHES_COLLECTION, operation, record->id, image);
}

static void add_name(struct fixture *f, const char *name)
{
    struct bytes image;
    must(catalog_encode_name(name, name, &f->arena, &image, err));
    add(f, CATALOG_BRANCH, NAMES_COLLECTION, LOG_INSERT, name, image);
}

static const struct branch_record base = {
    .id = BASE, .name = "old", .cut = CUT_AT_RECORD, .kind = BRANCH_BASE, .source = "old", .database = "d", .prefix = "pre_"
};

/* The base, with its catalog, and a branch that begins with it. */
static void begin_with_base(struct fixture *f)
{
    struct bytes image;
    begin(f);
    const struct collection_record collection = { .name = "c", .id = "c-id", .created_at = 1 };
    must(catalog_encode_collection(&collection, &f->arena, &image, err));
    add(f, BASE, COLLECTIONS_COLLECTION, LOG_INSERT, "c", image);
    add_name(f, "w");
    add_branch(f, &base, LOG_INSERT);
    add_branch(f, &(struct branch_record) { .id = "w", .name = "w", .parent = BASE, .cut = CUT_AT_RECORD }, LOG_INSERT);
    end(f);
}

static void fork_branch(struct fixture *f, const char *parent, const char *name)
{
    begin(f);
    add_name(f, name);
    add_branch(f, &(struct branch_record) { .id = name, .name = name, .parent = parent, .cut = CUT_AT_RECORD }, LOG_INSERT);
    end(f);
}

/* value < 0: it goes. */
static void put(struct fixture *f, const char *branch, int id, int value)
{
    char name[16];
    snprintf(name, sizeof name, "k%d", id);
    begin(f);
    add(f, branch, "c-id", value < 0 ? LOG_DELETE : LOG_INSERT, name, value < 0 ? (struct bytes) { 0 } : document(&f->arena, id, value));
    end(f);
}

static void copy_documents(struct fixture *f, int from, int to)
{
    for (int i = from; i < to; i++)
        put(f, BASE, i, i);
}

static void complete(struct fixture *f)
{
    struct project_catalog catalog;
    struct branch_record record;
    begin(f);
    project_catalog(f->project, &catalog);
    must(lineage_find_record(catalog.branches, BASE, &record, err));
    record.complete = catalog.lsn;
    add_branch(f, &record, LOG_UPDATE);
    end(f);
    project_catalog_destroy(&catalog);
}

static size_t count_of(const struct target *target)
{
    return target->documents ? tree_count(target->documents) : 0;
}

/* -1: it is not there. */
static int value_at(struct project *project, const char *branch, int id, uint64_t lsn, size_t *count)
{
    struct target target;
    struct arena arena;
    struct bytes key;
    struct tree_item item;
    bson_t bson;
    bson_iter_t iter;
    char name[16];
    int value = -1;
    arena_init(&arena, 0);
    snprintf(name, sizeof name, "k%d", id);
    must(catalog_key(name, &arena, &key, err));
    must(project_open_target(project, branch, "c", lsn, soon(), &target, err));
    if (target.documents && tree_get(target.documents, key, &item)) {
        assert_true(bson_init_static(&bson, item.document.data, item.document.len) && bson_iter_init_find(&iter, &bson, "v"));
        value = bson_iter_int32(&iter);
    }
    if (count)
        *count = count_of(&target);
    target_destroy(&target);
    arena_destroy(&arena);
    return value;
}

static void a_branch_shows_its_base_before_the_copy_is_there(void **state)
{
    struct fixture *f = *state;
    size_t count;
    begin_with_base(f);
    assert_int_equal(value_at(f->project, "w", 7, 0, &count), 7);
    assert_int_equal(count, DOCUMENTS);
    put(f, "w", 7, 70);
    put(f, "w", 8, -1);
    assert_int_equal(value_at(f->project, "w", 7, 0, &count), 70);
    assert_int_equal(count, DOCUMENTS - 1);
    assert_int_equal(f->reads, 1); /* the rest comes from the log */
}

static void the_copy_changes_nothing_on_its_way_and_in_the_end(void **state)
{
    struct fixture *f = *state;
    begin_with_base(f);
    const uint64_t floor = f->lsn;
    assert_int_equal(value_at(f->project, "w", 7, 0, NULL), 7);
    copy_documents(f, 0, 10);
    put(f, "w", 7, 70);
    const uint64_t changed = f->lsn;
    fork_branch(f, "w", "child");
    copy_documents(f, 5, DOCUMENTS); /* some of it twice */
    put(f, "w", 7, 71);
    const uint64_t later = f->lsn;
    struct view_cache *caches[] = { view_cache_new(0), view_cache_new(0), f->cache };
    struct project *projects[] = { new_project(f, caches[0]), NULL, f->project };
    must(project_refresh(projects[0], soon(), err));
    assert_int_equal(value_at(projects[0], "w", 7, 0, NULL), 71);
    complete(f);
    put(f, BASE, 3, 999); /* a straggler's: it belongs to nothing */
    f->gone = true;
    const unsigned reads = f->reads;
    projects[1] = new_project(f, caches[1]); /* one that has seen nothing before */
    for (size_t i = 0; i < ARRAY_LEN(projects); i++) {
        struct project *project = projects[i];
        size_t count;
        must(project_refresh(project, soon(), err));
        assert_int_equal(value_at(project, "w", 7, floor, &count), 7);
        assert_int_equal(count, DOCUMENTS);
        assert_int_equal(value_at(project, "w", 7, changed, NULL), 70);
        assert_int_equal(value_at(project, "w", 7, later, NULL), 71);
        assert_int_equal(value_at(project, "w", 7, 0, NULL), 71);
        assert_int_equal(value_at(project, "w", 3, 0, &count), 3);
        assert_int_equal(count, DOCUMENTS);
        assert_int_equal(value_at(project, "child", 7, 0, NULL), 70);
        assert_int_equal(value_at(project, "child", 3, 0, &count), 3);
        assert_int_equal(count, DOCUMENTS);
    }
    assert_int_equal(f->reads, reads);
    project_free(projects[0]);
    project_free(projects[1]);
    view_cache_free(caches[0]);
    view_cache_free(caches[1]);
}

static void what_is_gone_is_not_taken_for_empty(void **state)
{
    struct fixture *f = *state;
    struct target target;
    struct error err = { 0 };
    begin_with_base(f);
    f->gone = true;
    assert_false(project_open_target(f->project, "w", "c", 0, soon(), &target, &err));
    assert_int_equal(err.code, ERROR_ABORTED); /* look again at a fresh catalog */
    copy_documents(f, 0, DOCUMENTS);
    complete(f);
    assert_int_equal(value_at(f->project, "w", 39, 0, NULL), 39);
}

static void there_is_nothing_below_the_floor(void **state)
{
    struct fixture *f = *state;
    struct target target;
    struct error err = { 0 };
    put(f, "main", 1, 1);
    const uint64_t before = f->lsn;
    begin_with_base(f);
    fork_branch(f, "w", "child");
    for (int i = 0; i < 2; i++) {
        assert_false(project_open_target(f->project, "w", NULL, before, soon(), &target, &err));
        assert_int_equal(err.code, ERROR_OUT_OF_RANGE);
        assert_false(project_open_target(f->project, "child", NULL, before, soon(), &target, &err));
        assert_int_equal(err.code, ERROR_OUT_OF_RANGE);
        copy_documents(f, 0, DOCUMENTS);
        complete(f);
    }
}

static void without_a_source_the_error_says_what_to_configure(void **state)
{
    struct fixture *f = *state;
    struct target target;
    struct error refusal = { 0 };
    begin_with_base(f);
    project_use_base_source(f->project, NULL);
    assert_false(project_open_target(f->project, "w", "c", 0, soon(), &target, &refusal));
    assert_int_equal(refusal.code, ERROR_FAILED_PRECONDITION);
    assert_non_null(strstr(refusal.message, "--mongodb"));
    must(project_open_target(f->project, "w", NULL, 0, soon(), &target, err)); /* the catalog is on the log */
    target_destroy(&target);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_branch_shows_its_base_before_the_copy_is_there, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_copy_changes_nothing_on_its_way_and_in_the_end, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_gone_is_not_taken_for_empty, set_up, tear_down),
        cmocka_unit_test_setup_teardown(there_is_nothing_below_the_floor, set_up, tear_down),
        cmocka_unit_test_setup_teardown(without_a_source_the_error_says_what_to_configure, set_up, tear_down),
    };
    rpc_init();
    int failed = cmocka_run_group_tests_name("project_base", tests, NULL, NULL);
    rpc_shutdown();
    return failed;
}
