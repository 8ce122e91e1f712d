#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include <cmocka.h>

#include "branch-service/view/tree_internal.h"
#include "common/base/clock.h"
#include "common/base/memory.h"
#include "common/base/sync.h"
#include "tests/support/thinning.h"

static struct memory_budget budget;

static int setup(void **state)
{
    (void)state;
    atomic_store(&budget.used, 0);
    budget.limit = 0;
    return 0;
}

/* ---- deterministic random numbers (xorshift), so that a failure can be repeated ---------------------- */

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

/* ---- what must hold in every tree -------------------------------------------------------------------- */

struct check {
    uint64_t items;
    uint64_t bytes;
    uint64_t leaves;
    struct bytes last;
    bool has_last;
};

static void check_node(const struct node *node, unsigned height, const struct bytes *low, const struct bytes *high, bool root,
                       bool right_edge, struct check *check)
{
    assert_int_equal(node->height, height);
    assert_true(node->n <= NODE_MAX);
    assert_true(node->n >= (root || right_edge ? 1 : NODE_MIN));
    for (unsigned i = 0; i < node->n; i++) {
        struct bytes key = record_key(node->keys[i]);
        assert_true(!low || bytes_compare(*low, key) <= 0);
        assert_true(!high || bytes_compare(key, *high) < 0);
        assert_true(i == 0 || bytes_compare(record_key(node->keys[i - 1]), key) < 0);
        assert_true(i == 0 || node->heads[i - 1] <= node->heads[i]);
        assert_true(key.len >= node->skip);
        assert_memory_equal(key.data, node->keys[0]->data, node->skip);
        uint64_t head = 0;
        for (unsigned b = 0; b < 8; b++)
            head = head << 8 | (node->skip + b < key.len ? key.data[node->skip + b] : 0);
        assert_true(head == node->heads[i]);
        if (height == 0) {
            assert_true(!check->has_last || bytes_compare(check->last, key) < 0);
            check->last = key;
            check->has_last = true;
            check->items++;
            check->bytes += key.len + node->keys[i]->document_len;
        } else {
            assert_int_equal(node->keys[i]->document_len, 0);
        }
    }
    if (height == 0) {
        check->leaves++;
        return;
    }
    for (unsigned i = 0; i <= node->n; i++) {
        struct bytes from = i > 0 ? record_key(node->keys[i - 1]) : (struct bytes) { 0 };
        struct bytes to = i < node->n ? record_key(node->keys[i]) : (struct bytes) { 0 };
        check_node(node->children[i], height - 1, i > 0 ? &from : low, i < node->n ? &to : high, false, right_edge && i == node->n, check);
    }
}

static uint64_t check_tree(const struct tree *tree)
{
    struct check check = { 0 };
    if (tree->root)
        check_node(tree->root, tree->root->height, NULL, NULL, true, true, &check);
    assert_int_equal(check.items, tree_count(tree));
    assert_int_equal(check.bytes, tree_document_bytes(tree));
    return check.leaves;
}

/* ---- the model: a sorted array of copies --------------------------------------------------------------- */

struct model_item {
    uint8_t key[24];
    unsigned key_len;
    uint64_t value; /* the document is its eight bytes, (value % 40) times */
};

struct model {
    struct model_item *items;
    size_t n;
};

static struct bytes model_key(const struct model_item *item)
{
    return bytes_of(item->key, item->key_len);
}

static struct bytes document_of(uint64_t value, uint8_t room[40 * 8])
{
    for (unsigned i = 0; i < value % 40; i++)
        put_u64(room + i * 8, value);
    return bytes_of(room, value % 40 * 8);
}

static size_t model_find(const struct model *model, struct bytes key, bool *equal)
{
    size_t low = 0, high = model->n;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (bytes_compare(model_key(&model->items[middle]), key) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    *equal = low < model->n && bytes_equal(model_key(&model->items[low]), key);
    return low;
}

static void model_put(struct model *model, struct bytes key, uint64_t value)
{
    bool equal;
    size_t at = model_find(model, key, &equal);
    if (!equal) {
        model->items = mem_realloc(model->items, (model->n + 1) * sizeof *model->items);
        memmove(model->items + at + 1, model->items + at, (model->n - at) * sizeof *model->items);
        model->n++;
        memcpy(model->items[at].key, key.data, key.len);
        model->items[at].key_len = (unsigned)key.len;
    }
    model->items[at].value = value;
}

static bool model_remove(struct model *model, struct bytes key)
{
    bool equal;
    size_t at = model_find(model, key, &equal);
    if (!equal)
        return false;
    model->n--;
    memmove(model->items + at, model->items + at + 1, (model->n - at) * sizeof *model->items);
    return true;
}

static struct model model_copy(const struct model *model)
{
    struct model copy = { .items = mem_alloc(model->n * sizeof *model->items), .n = model->n };
    if (model->n)
        memcpy(copy.items, model->items, model->n * sizeof *model->items);
    return copy;
}

static void assert_item(const struct tree_item *item, const struct model_item *expected)
{
    uint8_t room[40 * 8];
    assert_true(bytes_equal(item->key, model_key(expected)));
    assert_true(bytes_equal(item->document, document_of(expected->value, room)));
}

static void assert_same(const struct tree *tree, const struct model *model)
{
    check_tree(tree);
    assert_int_equal(tree_count(tree), model->n);
    struct tree_cursor cursor;
    struct tree_item item;
    tree_cursor_first(&cursor, tree);
    for (size_t i = 0; i < model->n; i++) {
        assert_true(tree_cursor_next(&cursor, &item));
        assert_item(&item, &model->items[i]);
        assert_true(tree_get(tree, model_key(&model->items[i]), &item));
        assert_item(&item, &model->items[i]);
    }
    assert_false(tree_cursor_next(&cursor, &item));
    assert_false(tree_cursor_next(&cursor, &item));
    tree_cursor_last(&cursor, tree);
    for (size_t i = model->n; i > 0; i--) {
        assert_true(tree_cursor_previous(&cursor, &item));
        assert_item(&item, &model->items[i - 1]);
    }
    assert_false(tree_cursor_previous(&cursor, &item));
    assert_false(tree_cursor_previous(&cursor, &item));
}

/* Keys that share long and short beginnings, are beginnings of each other, end in zeros, are empty. */
static struct bytes random_key(uint64_t *random, unsigned universe, uint8_t room[24])
{
    uint64_t number = next_random(random) % universe;
    switch (number % 4) {
    case 0:
        memcpy(room, "\x40twelve-bytes", 13);
        room[13] = (uint8_t)(number >> 16);
        room[14] = (uint8_t)(number >> 8);
        room[15] = (uint8_t)number;
        return bytes_of(room, 16);
    case 1:
        memset(room, 0, 24);
        return bytes_of(room, number / 4 % 25);
    case 2:
        put_u64(room, __builtin_bswap64(number));
        return bytes_of(room, 8);
    default:
        put_u64(room, number * 0x9E3779B97F4A7C15u);
        return bytes_of(room, 1 + number % 8);
    }
}

static struct bytes some_key_of(const struct model *model, uint64_t *random, uint8_t room[24])
{
    const struct model_item *item = &model->items[next_random(random) % model->n];
    memcpy(room, item->key, item->key_len);
    return bytes_of(room, item->key_len);
}

/* ---- tests ----------------------------------------------------------------------------------------------- */

static struct tree *empty_tree(void)
{
    struct error err;
    struct tree *tree;
    assert_true(tree_new(&budget, &tree, &err));
    return tree;
}

static void put(struct tree_edit *edit, struct bytes key, struct bytes document)
{
    struct error err = { 0 };
    if (!tree_edit_put(edit, key, document, &err))
        fail_msg("%s", err.message);
}

static bool take_out(struct tree_edit *edit, struct bytes key)
{
    struct error err = { 0 };
    bool found;
    if (!tree_edit_remove(edit, key, &found, &err))
        fail_msg("%s", err.message);
    return found;
}

static struct tree_edit *begin(struct tree *base)
{
    struct error err;
    struct tree_edit *edit;
    assert_true(tree_edit_begin(base, &edit, &err));
    return edit;
}

static void an_empty_tree_has_nothing(void **state)
{
    (void)state;
    struct tree *tree = empty_tree();
    struct tree_cursor cursor;
    struct tree_item item;
    assert_false(tree_get(tree, bytes_of_string("a"), &item));
    tree_cursor_first(&cursor, tree);
    assert_false(tree_cursor_next(&cursor, &item));
    tree_cursor_seek(&cursor, tree, bytes_of_string("a"));
    assert_false(tree_cursor_next(&cursor, &item));
    tree_cursor_last(&cursor, tree);
    assert_false(tree_cursor_previous(&cursor, &item));
    tree_cursor_seek_before(&cursor, tree, bytes_of_string("a"));
    assert_false(tree_cursor_previous(&cursor, &item));
    assert_int_equal(tree_count(tree), 0);
    assert_int_equal(tree_exclusive_bytes(tree), 0);

    struct tree_edit *edit = begin(tree);
    assert_false(take_out(edit, bytes_of_string("a")));
    put(edit, bytes_of_string("a"), bytes_of_string("1"));
    assert_true(take_out(edit, bytes_of_string("a")));
    struct tree *again = tree_edit_end(edit);
    check_tree(again);
    assert_null(again->root);
    tree_unref(again);
    tree_unref(tree);
    tree_unref(NULL);
    tree_edit_abandon(NULL);
    assert_int_equal(atomic_load(&budget.used), 0);
}

/* Random edits over many generations, of which old ones stay as they were. The shares of puts and removes
 * shift, so that trees grow over several levels and shrink to nothing again. */
static void every_generation_equals_its_model(void **state)
{
    (void)state;
    enum { GENERATIONS = 400 / TRY_ONE_IN, KEPT = 24 };
    for (unsigned universe = 64; universe <= 65536; universe *= 32) {
        uint64_t random = 88172645463325252u + universe;
        struct tree *tree = empty_tree();
        struct model model = { 0 };
        struct {
            struct tree *tree;
            struct model model;
        } kept[KEPT] = { 0 };
        uint8_t room[40 * 8], key_room[24];

        for (unsigned generation = 0; generation < GENERATIONS; generation++) {
            struct tree_edit *edit = begin(tree);
            bool growing = generation % 100 < 60;
            unsigned changes = 1 + (unsigned)(next_random(&random) % (generation % 7 == 0 ? 600 : 20));
            if (generation % 100 == 99)
                changes = 100000; /* down to (nearly) nothing */
            for (unsigned i = 0; i < changes; i++) {
                struct bytes key = random_key(&random, universe, key_room);
                if (!growing && model.n > 0 && next_random(&random) % 4)
                    key = some_key_of(&model, &random, key_room);
                if (next_random(&random) % 100 < (growing ? 85 : 15)) {
                    uint64_t value = next_random(&random);
                    put(edit, key, document_of(value, room));
                    model_put(&model, key, value);
                } else {
                    assert_int_equal(take_out(edit, key), model_remove(&model, key));
                }
                struct tree_item item;
                struct bytes probe = random_key(&random, universe, key_room);
                bool equal;
                size_t at = model_find(&model, probe, &equal);
                assert_int_equal(tree_edit_get(edit, probe, &item), equal);
                if (equal)
                    assert_item(&item, &model.items[at]);
            }
            struct tree *next = tree_edit_end(edit);
            assert_same(next, &model);

            for (unsigned i = 0; i < 10; i++) { /* seeks to keys that are there and keys that are not */
                struct bytes probe = random_key(&random, universe, key_room);
                bool equal;
                struct tree_cursor cursor;
                struct tree_item item;
                size_t at = model_find(&model, probe, &equal);
                tree_cursor_seek(&cursor, next, probe);
                for (size_t steps = 0; steps < 70 && at < model.n; steps++, at++) {
                    assert_true(tree_cursor_next(&cursor, &item));
                    assert_item(&item, &model.items[at]);
                }
                if (at == model.n)
                    assert_false(tree_cursor_next(&cursor, &item));
                at = model_find(&model, probe, &equal);
                tree_cursor_seek_before(&cursor, next, probe);
                for (size_t steps = 0; steps < 70 && at > 0; steps++, at--) {
                    assert_true(tree_cursor_previous(&cursor, &item));
                    assert_item(&item, &model.items[at - 1]);
                }
                if (at == 0)
                    assert_false(tree_cursor_previous(&cursor, &item));
            }

            unsigned slot = (unsigned)(next_random(&random) % KEPT);
            if (kept[slot].tree) {
                assert_same(kept[slot].tree, &kept[slot].model);
                tree_unref(kept[slot].tree);
                free(kept[slot].model.items);
            }
            kept[slot].tree = tree_ref(next);
            kept[slot].model = model_copy(&model);
            tree_unref(tree);
            tree = next;
        }
        tree_unref(tree);
        for (unsigned i = 0; i < KEPT; i++) {
            if (kept[i].tree)
                assert_same(kept[i].tree, &kept[i].model);
            tree_unref(kept[i].tree);
            free(kept[i].model.items);
        }
        free(model.items);
        assert_int_equal(atomic_load(&budget.used), 0);
    }
}

static struct bytes number_key(uint64_t number, uint8_t room[9])
{
    room[0] = 0x30;
    put_u64(room + 1, __builtin_bswap64(number));
    return bytes_of(room, 9);
}

static struct tree *sequential_tree(uint64_t n, size_t document_len)
{
    uint8_t key[9], document[512];
    memset(document, 'd', sizeof document);
    struct tree *base = empty_tree();
    struct tree_edit *edit = begin(base);
    tree_unref(base);
    for (uint64_t i = 0; i < n; i++)
        put(edit, number_key(i, key), bytes_of(document, document_len));
    return tree_edit_end(edit);
}

static void ascending_keys_fill_the_leaves(void **state)
{
    (void)state;
    enum { N = 1000000, DOCUMENT = 100 };
    int64_t start = clock_monotonic_micros();
    struct tree *tree = sequential_tree(N, DOCUMENT);
    int64_t built = clock_monotonic_micros();
    uint64_t leaves = check_tree(tree);
    uint64_t used = atomic_load(&budget.used);
    assert_int_equal(tree_count(tree), N);
    assert_int_equal(tree_document_bytes(tree), (uint64_t)N * (DOCUMENT + 9));
    assert_int_equal(leaves, (N + NODE_MAX - 1) / NODE_MAX);
    /* 12 bytes before the record, its rounding, 16 in the leaf, and what stands above */
    assert_true(used < (uint64_t)N * (DOCUMENT + 9 + 64));

    int64_t before = clock_monotonic_micros();
    uint64_t random = 7;
    struct tree_item item;
    uint8_t key[9];
    for (unsigned i = 0; i < N; i++)
        assert_true(tree_get(tree, number_key(next_random(&random) % N, key), &item));
    int64_t looked_up = clock_monotonic_micros();
    struct tree_cursor cursor;
    uint64_t n = 0;
    for (tree_cursor_first(&cursor, tree); tree_cursor_next(&cursor, &item);)
        n += item.document.len;
    int64_t scanned = clock_monotonic_micros();
    assert_int_equal(n, (uint64_t)N * DOCUMENT);
    assert_int_equal(tree_exclusive_bytes(tree), used);
    int64_t drop = clock_monotonic_micros();
    tree_unref(tree);
    int64_t dropped = clock_monotonic_micros();
    print_message("{\"items\":%u,\"overhead_bytes_per_item\":%.1f,\"put_ns\":%.0f,\"get_ns\":%.0f,\"scan_ns\":%.1f,\"drop_ns\":%.0f}\n", N,
                  (double)used / N - DOCUMENT - 9, (double)(built - start) * 1000 / N, (double)(looked_up - before) * 1000 / N,
                  (double)(scanned - looked_up) * 1000 / N, (double)(dropped - drop) * 1000 / N);
    assert_int_equal(atomic_load(&budget.used), 0);
}

static void neighbours_share_all_but_a_path(void **state)
{
    (void)state;
    enum { N = 100000 };
    struct tree *tree = sequential_tree(N, 400);
    uint64_t before = atomic_load(&budget.used);

    struct tree *fork = tree_ref(tree);
    assert_int_equal(atomic_load(&budget.used), before);

    uint8_t key[9];
    struct tree_edit *edit = begin(tree);
    put(edit, number_key(N / 2, key), bytes_of_string("changed"));
    struct tree *changed = tree_edit_end(edit);
    uint64_t cost = atomic_load(&budget.used) - before;
    size_t inner = sizeof(struct node) + (NODE_MAX + 1) * sizeof(void *);
    assert_true(cost > 0 && cost < (sizeof(struct node) + inner * tree->root->height) * 5 / 4 + 64);
    assert_int_equal(tree_exclusive_bytes(changed), cost);

    struct tree_item item;
    assert_true(tree_get(fork, number_key(N / 2, key), &item));
    assert_int_equal(item.document.len, 400);
    assert_true(tree_get(changed, number_key(N / 2, key), &item));
    assert_int_equal(item.document.len, 7);

    /* what the old tree alone holds is its half of the path and the document that was replaced */
    uint64_t exclusive = tree_exclusive_bytes(tree);
    assert_true(exclusive > 400 && exclusive < cost + 500);
    tree_unref(fork);
    tree_unref(tree);
    assert_int_equal(atomic_load(&budget.used), before + cost - exclusive);
    assert_int_equal(tree_exclusive_bytes(changed), before + cost - exclusive);

    edit = begin(changed);
    put(edit, number_key(1, key), bytes_of_string("given up"));
    tree_edit_abandon(edit);
    assert_int_equal(atomic_load(&budget.used), before + cost - exclusive);
    tree_unref(changed);
    assert_int_equal(atomic_load(&budget.used), 0);
}

/* An edit copies a shared node once; after that it works in place. */
static void an_edit_changes_its_own_nodes_in_place(void **state)
{
    (void)state;
    struct tree *tree = sequential_tree(1000, 100);
    uint8_t key[9], document[100] = { 0 };
    struct tree_edit *edit = begin(tree);
    put(edit, number_key(500, key), bytes_of(document, sizeof document));
    uint64_t used = atomic_load(&budget.used);
    for (unsigned i = 0; i < 1000; i++)
        put(edit, number_key(500, key), bytes_of(document, sizeof document));
    assert_int_equal(atomic_load(&budget.used), used);
    struct tree *next = tree_edit_end(edit);
    tree_unref(tree);
    tree_unref(next);
    assert_int_equal(atomic_load(&budget.used), 0);
}

/* The budget refuses at every byte count in turn: whatever step of a put or remove that hits, the edit
 * holds what it held before, and goes on when there is room again. */
static void an_edit_survives_a_refused_put(void **state)
{
    (void)state;
    uint64_t random = 4711;
    struct tree *tree = empty_tree();
    struct model model = { 0 };
    uint8_t key_room[24], room[40 * 8];
    unsigned refused_puts = 0, refused_removes = 0;
    for (unsigned generation = 0; generation < 300; generation++) {
        struct tree *base = tree;
        struct tree_edit *edit = begin(base);
        for (unsigned i = 0; i < 20; i++) {
            struct bytes key = random_key(&random, 4096, key_room);
            bool removing = next_random(&random) % 100 < (generation < 200 ? 20u : 75u);
            if (removing && model.n > 0)
                key = some_key_of(&model, &random, key_room);
            uint64_t value = next_random(&random);
            struct error err;
            bool found = false;
            budget.limit = atomic_load(&budget.used) + 1;
            uint64_t step = 8 + next_random(&random) % 200;
            while (!(removing ? tree_edit_remove(edit, key, &found, &err) : tree_edit_put(edit, key, document_of(value, room), &err))) {
                assert_int_equal(err.code, ERROR_RESOURCE_EXHAUSTED);
                assert_non_null(strstr(err.message, "of the memory budget are in use"));
                *(removing ? &refused_removes : &refused_puts) += 1;
                bool equal;
                struct tree_item item;
                size_t at = model_find(&model, key, &equal);
                assert_int_equal(tree_edit_get(edit, key, &item), equal);
                if (equal)
                    assert_item(&item, &model.items[at]);
                budget.limit += step;
            }
            assert_true(atomic_load(&budget.used) <= budget.limit);
            if (removing)
                assert_int_equal(found, model_remove(&model, key));
            else
                model_put(&model, key, value);
        }
        tree = tree_edit_end(edit);
        assert_same(tree, &model);
        tree_unref(base);
    }
    assert_true(refused_puts > 100 && refused_removes > 100);
    tree_unref(tree);
    free(model.items);
    assert_int_equal(atomic_load(&budget.used), 0);
}

static void a_document_over_the_budget_is_refused_by_name(void **state)
{
    (void)state;
    budget.limit = 4096;
    struct tree *tree = empty_tree();
    struct tree_edit *edit = begin(tree);
    uint8_t document[8192] = { 0 };
    struct error err;
    put(edit, bytes_of_string("small"), bytes_of(document, 100));
    uint64_t used = atomic_load(&budget.used);
    assert_false(tree_edit_put(edit, bytes_of_string("large"), bytes_of(document, sizeof document), &err));
    assert_int_equal(err.code, ERROR_RESOURCE_EXHAUSTED);
    char expected[64];
    snprintf(expected, sizeof expected, "%llu of 4096 bytes", (unsigned long long)used);
    assert_non_null(strstr(err.message, expected));
    assert_int_equal(atomic_load(&budget.used), used);
    tree_edit_abandon(edit);
    tree_unref(tree);
    assert_int_equal(atomic_load(&budget.used), 0);
}

/* ---- threads -------------------------------------------------------------------------------------------- */

enum { SHARED_KEYS = 2000, READERS = 3, ROUNDS = 300 };

struct shared {
    struct mutex lock; /* rank 1; covers tree and done */
    struct tree *tree;
    bool done;
    _Atomic unsigned generations_seen;
};

/* Every document of a generation holds its number; a reader that finds two numbers in one tree has seen a
 * change of a tree. */
static void *read_generations(void *ctx)
{
    struct shared *shared = ctx;
    uint64_t last = 0;
    for (;;) {
        mutex_lock(&shared->lock);
        bool done = shared->done;
        struct tree *tree = tree_ref(shared->tree);
        mutex_unlock(&shared->lock);
        struct tree_cursor cursor;
        struct tree_item item;
        uint64_t n = 0, generation = 0;
        for (tree_cursor_first(&cursor, tree); tree_cursor_next(&cursor, &item); n++) {
            uint64_t value = get_u64(item.document.data);
            if (n == 0)
                generation = value;
            assert_int_equal(value, generation);
        }
        assert_int_equal(n, tree_count(tree));
        assert_true(generation >= last);
        atomic_fetch_add(&shared->generations_seen, generation > last);
        last = generation;
        tree_unref(tree);
        if (done)
            return NULL;
    }
}

static void readers_run_beside_a_writer(void **state)
{
    (void)state;
    struct shared shared = { .tree = sequential_tree(SHARED_KEYS, 8) };
    mutex_init(&shared.lock, 1);
    uint8_t key[9], value[8];
    pthread_t threads[READERS];
    for (unsigned round = 0; round < ROUNDS; round++) {
        struct tree_edit *edit = begin(shared.tree);
        put_u64(value, round + 1);
        for (unsigned i = 0; i < SHARED_KEYS; i++)
            if ((i + round) % 5 == 0)
                take_out(edit, number_key(i, key));
            else
                put(edit, number_key(i, key), bytes_of(value, sizeof value));
        struct tree *next = tree_edit_end(edit);
        mutex_lock(&shared.lock);
        struct tree *old = shared.tree;
        shared.tree = next;
        mutex_unlock(&shared.lock);
        tree_unref(old);
        if (round == 0)
            for (unsigned i = 0; i < READERS; i++)
                threads[i] = thread_start("reader", read_generations, &shared);
    }
    mutex_lock(&shared.lock);
    shared.done = true;
    mutex_unlock(&shared.lock);
    for (unsigned i = 0; i < READERS; i++)
        pthread_join(threads[i], NULL);
    assert_true(atomic_load(&shared.generations_seen) >= READERS);
    check_tree(shared.tree);
    tree_unref(shared.tree);
    mutex_destroy(&shared.lock);
    assert_int_equal(atomic_load(&budget.used), 0);
}

/* Several threads edit from one base at once and drop what they made; all charge one budget. */
static void *fork_and_edit(void *ctx)
{
    struct tree *tree = tree_ref(ctx);
    uint64_t random = (uint64_t)(uintptr_t)&tree | 1;
    uint8_t key[9];
    for (unsigned round = 0; round < 200; round++) {
        struct tree_edit *edit = begin(tree);
        for (unsigned i = 0; i < 20; i++)
            if (next_random(&random) % 2)
                put(edit, number_key(next_random(&random) % 4000, key), bytes_of_string("forked"));
            else
                take_out(edit, number_key(next_random(&random) % 4000, key));
        struct tree *next = tree_edit_end(edit);
        tree_unref(tree);
        tree = next;
    }
    check_tree(tree);
    tree_unref(tree);
    return NULL;
}

static void forks_are_edited_on_many_threads(void **state)
{
    (void)state;
    struct tree *base = sequential_tree(2000, 8);
    uint64_t used = atomic_load(&budget.used);
    pthread_t threads[4];
    for (unsigned i = 0; i < 4; i++)
        threads[i] = thread_start("fork", fork_and_edit, base);
    for (unsigned i = 0; i < 4; i++)
        pthread_join(threads[i], NULL);
    check_tree(base);
    assert_int_equal(atomic_load(&budget.used), used);
    assert_int_equal(tree_exclusive_bytes(base), used);
    tree_unref(base);
    assert_int_equal(atomic_load(&budget.used), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(an_empty_tree_has_nothing, setup),
        cmocka_unit_test_setup(every_generation_equals_its_model, setup),
        cmocka_unit_test_setup(ascending_keys_fill_the_leaves, setup),
        cmocka_unit_test_setup(neighbours_share_all_but_a_path, setup),
        cmocka_unit_test_setup(an_edit_changes_its_own_nodes_in_place, setup),
        cmocka_unit_test_setup(an_edit_survives_a_refused_put, setup),
        cmocka_unit_test_setup(a_document_over_the_budget_is_refused_by_name, setup),
        cmocka_unit_test_setup(readers_run_beside_a_writer, setup),
        cmocka_unit_test_setup(forks_are_edited_on_many_threads, setup),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
