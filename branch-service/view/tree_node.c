#include <assert.h>
#include <malloc.h>
#include <stdlib.h>

#include "branch-service/view/tree_internal.h"
#include "common/base/memory.h"

/* ---- the budget ------------------------------------------------------------------------------------ */

static bool budget_charge(struct memory_budget *budget, uint64_t bytes, struct error *err)
{
    uint64_t used = atomic_load_explicit(&budget->used, memory_order_relaxed);
    do {
        if (budget->limit && (bytes > budget->limit || used > budget->limit - bytes))
            return error_set(err, ERROR_RESOURCE_EXHAUSTED, "%llu of %llu bytes of the memory budget are in use; %llu more are needed",
                             (unsigned long long)used, (unsigned long long)budget->limit, (unsigned long long)bytes);
    } while (!atomic_compare_exchange_weak_explicit(&budget->used, &used, used + bytes, memory_order_relaxed, memory_order_relaxed));
    return true;
}

static void budget_return(struct memory_budget *budget, uint64_t bytes)
{
    if (bytes)
        atomic_fetch_sub_explicit(&budget->used, bytes, memory_order_relaxed);
}

/* What the allocator really set aside is what counts, and what it says again when the memory goes. */
static void *charged_alloc(struct memory_budget *budget, size_t size, struct error *err)
{
    void *p = mem_try_alloc(size);
    if (!p) {
        error_set(err, ERROR_RESOURCE_EXHAUSTED, "the system refused %zu bytes of memory", size);
        return NULL;
    }
    if (!budget_charge(budget, malloc_usable_size(p), err)) {
        free(p);
        return NULL;
    }
    return p;
}

static uint64_t charged_free(void *p)
{
    uint64_t bytes = malloc_usable_size(p);
    free(p);
    return bytes;
}

/* ---- life of records and nodes --------------------------------------------------------------------- */

bool record_new(struct memory_budget *budget, struct bytes key, struct bytes document, struct record **record, struct error *err)
{
    assert(key.len <= UINT32_MAX && document.len <= UINT32_MAX);
    struct record *new_record = charged_alloc(budget, sizeof *new_record + key.len + document.len, err);
    if (!new_record)
        return false;
    atomic_init(&new_record->refs, 1);
    new_record->key_len = (uint32_t)key.len;
    new_record->document_len = (uint32_t)document.len;
    if (key.len)
        memcpy(new_record->data, key.data, key.len);
    if (document.len)
        memcpy(new_record->data + key.len, document.data, document.len);
    *record = new_record;
    return true;
}

static size_t node_size(unsigned height)
{
    return sizeof(struct node) + (height ? (NODE_MAX + 1) * sizeof(struct node *) : 0);
}

bool node_new(struct memory_budget *budget, unsigned height, struct node **node, struct error *err)
{
    struct node *new_node = charged_alloc(budget, node_size(height), err);
    if (!new_node)
        return false;
    atomic_init(&new_node->refs, 1);
    new_node->skip = 0;
    new_node->n = 0;
    new_node->height = (uint8_t)height;
    *node = new_node;
    return true;
}

/* Somebody who holds a reference takes another: nothing has to be ordered. */
static void refs_take(_Atomic uint32_t *refs)
{
    atomic_fetch_add_explicit(refs, 1, memory_order_relaxed);
}

/* True for the last one, who then sees everything that the others did before they let go. */
static bool refs_drop(_Atomic uint32_t *refs)
{
    if (atomic_load_explicit(refs, memory_order_acquire) == 1)
        return true;
    return atomic_fetch_sub_explicit(refs, 1, memory_order_acq_rel) == 1;
}

bool node_copy(struct memory_budget *budget, const struct node *node, struct node **copy, struct error *err)
{
    struct node *new_node;
    if (!node_new(budget, node->height, &new_node, err))
        return false;
    new_node->skip = node->skip;
    new_node->n = node->n;
    memcpy(new_node->heads, node->heads, node->n * sizeof *node->heads);
    for (unsigned i = 0; i < node->n; i++) {
        refs_take(&node->keys[i]->refs);
        new_node->keys[i] = node->keys[i];
    }
    for (unsigned i = 0; node->height && i <= node->n; i++)
        new_node->children[i] = node_ref(node->children[i]);
    *copy = new_node;
    return true;
}

struct node *node_ref(struct node *node)
{
    refs_take(&node->refs);
    return node;
}

/* As deep as the tree is high. What is freed is given back to the budget in one step by the caller. */
static uint64_t drop_node(struct node *node)
{
    if (!refs_drop(&node->refs))
        return 0;
    uint64_t freed = 0;
    for (unsigned i = 0; i < node->n; i++)
        if (refs_drop(&node->keys[i]->refs))
            freed += charged_free(node->keys[i]);
    for (unsigned i = 0; node->height && i <= node->n; i++)
        freed += drop_node(node->children[i]);
    return freed + charged_free(node);
}

void node_unref(struct memory_budget *budget, struct node *node)
{
    if (node)
        budget_return(budget, drop_node(node));
}

void record_unref(struct memory_budget *budget, struct record *record)
{
    if (refs_drop(&record->refs))
        budget_return(budget, charged_free(record));
}

void node_free_shell(struct memory_budget *budget, struct node *node)
{
    budget_return(budget, charged_free(node));
}

bool node_is_exclusive(const struct node *node)
{
    return atomic_load_explicit(&node->refs, memory_order_acquire) == 1;
}

uint64_t node_exclusive_bytes(const struct node *node)
{
    if (!node_is_exclusive(node))
        return 0;
    uint64_t bytes = malloc_usable_size((void *)node);
    for (unsigned i = 0; i < node->n; i++)
        if (atomic_load_explicit(&node->keys[i]->refs, memory_order_relaxed) == 1)
            bytes += malloc_usable_size(node->keys[i]);
    for (unsigned i = 0; node->height && i <= node->n; i++)
        bytes += node_exclusive_bytes(node->children[i]);
    return bytes;
}

/* ---- search ---------------------------------------------------------------------------------------- */

static unsigned common_prefix(struct bytes a, struct bytes b)
{
    size_t n = a.len < b.len ? a.len : b.len;
    if (n > UINT16_MAX)
        n = UINT16_MAX;
    size_t i = 0;
    while (i < n && a.data[i] == b.data[i])
        i++;
    return (unsigned)i;
}

/* Shorter keys are filled up with zeros: of two keys with different heads, the lower head is the lesser key. */
static uint64_t key_head(struct bytes key, unsigned skip)
{
    uint64_t head = 0;
    size_t len = key.len - skip;
    if (len >= sizeof head) {
        memcpy(&head, key.data + skip, sizeof head);
    } else if (len) {
        memcpy(&head, key.data + skip, len);
    }
#if __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__
    head = __builtin_bswap64(head);
#endif
    return head;
}

/* The first of n heads that is not less; no branch depends on the data. */
static unsigned heads_lower_bound(const uint64_t *heads, unsigned n, uint64_t head)
{
    const uint64_t *base = heads;
    while (n > 1) {
        unsigned half = n / 2;
        base += base[half - 1] < head ? half : 0;
        n -= half;
    }
    return (unsigned)(base - heads) + (n == 1 && *base < head);
}

unsigned node_search(const struct node *node, struct bytes key, bool *equal)
{
    *equal = false;
    if (node->n == 0)
        return 0;
    if (node->skip) {
        size_t len = key.len < node->skip ? key.len : node->skip;
        int order = len ? memcmp(key.data, node->keys[0]->data, len) : 0;
        if (order > 0)
            return node->n;
        if (order < 0 || key.len < node->skip)
            return 0;
    }

    uint64_t head = key_head(key, node->skip);
    unsigned low = heads_lower_bound(node->heads, node->n, head), high = low;
    while (high < node->n && node->heads[high] == head)
        high++;
    while (low < high) {
        unsigned middle = (low + high) / 2;
        int order = bytes_compare(record_key(node->keys[middle]), key);
        if (order == 0) {
            *equal = true;
            return middle;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

unsigned node_child_index(const struct node *node, struct bytes key)
{
    bool equal;
    unsigned at = node_search(node, key, &equal);
    return at + equal;
}

const struct record *node_find(const struct node *root, struct bytes key)
{
    if (!root)
        return NULL;
    const struct node *node = root;
    while (node->height)
        node = node->children[node_child_index(node, key)];
    bool equal;
    unsigned at = node_search(node, key, &equal);
    return equal ? node->keys[at] : NULL;
}

/* ---- changes --------------------------------------------------------------------------------------- */

static void set_skip(struct node *node, unsigned skip)
{
    node->skip = (uint16_t)skip;
    for (unsigned i = 0; i < node->n; i++)
        node->heads[i] = key_head(record_key(node->keys[i]), skip);
}

/* After keys came or went in bulk. Keys are in order: what first and last share, all share. */
static void renew_heads(struct node *node)
{
    if (node->n == 0)
        return;
    unsigned skip = common_prefix(record_key(node->keys[0]), record_key(node->keys[node->n - 1]));
    if (skip != node->skip)
        set_skip(node, skip);
}

void node_insert_key(struct node *node, unsigned at, struct record *record)
{
    assert(node->n < NODE_MAX && at <= node->n);
    memmove(node->heads + at + 1, node->heads + at, (node->n - at) * sizeof *node->heads);
    memmove(node->keys + at + 1, node->keys + at, (node->n - at) * sizeof *node->keys);
    node->keys[at] = record;
    node->n++;
    unsigned shared = common_prefix(record_key(record), record_key(node->keys[at == 0 ? node->n - 1 : 0]));
    if (shared < node->skip || node->n == 1)
        set_skip(node, shared);
    else
        node->heads[at] = key_head(record_key(record), node->skip);
}

void node_replace_key(struct node *node, unsigned at, struct record *record)
{
    node_remove_key(node, at);
    node_insert_key(node, at, record);
}

void node_remove_key(struct node *node, unsigned at)
{
    assert(at < node->n);
    node->n--;
    memmove(node->heads + at, node->heads + at + 1, (node->n - at) * sizeof *node->heads);
    memmove(node->keys + at, node->keys + at + 1, (node->n - at) * sizeof *node->keys);
}

/* Both sides read heads by one skip for the time of the move. */
static void align_heads(struct node *left, struct node *right)
{
    if (left->n == 0) {
        left->skip = right->skip;
    } else if (right->n == 0) {
        right->skip = left->skip;
    } else {
        unsigned shared = common_prefix(record_key(left->keys[0]), record_key(right->keys[right->n - 1]));
        if (left->skip != shared)
            set_skip(left, shared);
        if (right->skip != shared)
            set_skip(right, shared);
    }
}

void node_shift_right(struct node *left, struct node *right, unsigned count)
{
    assert(count <= left->n && right->n + count <= NODE_MAX);
    align_heads(left, right);
    memmove(right->heads + count, right->heads, right->n * sizeof *right->heads);
    memmove(right->keys + count, right->keys, right->n * sizeof *right->keys);
    left->n = (uint8_t)(left->n - count);
    memcpy(right->heads, left->heads + left->n, count * sizeof *right->heads);
    memcpy(right->keys, left->keys + left->n, count * sizeof *right->keys);
    right->n = (uint8_t)(right->n + count);
    renew_heads(left);
    renew_heads(right);
}

void node_shift_left(struct node *left, struct node *right, unsigned count)
{
    assert(count <= right->n && left->n + count <= NODE_MAX);
    align_heads(left, right);
    memcpy(left->heads + left->n, right->heads, count * sizeof *left->heads);
    memcpy(left->keys + left->n, right->keys, count * sizeof *left->keys);
    left->n = (uint8_t)(left->n + count);
    right->n = (uint8_t)(right->n - count);
    memmove(right->heads, right->heads + count, right->n * sizeof *right->heads);
    memmove(right->keys, right->keys + count, right->n * sizeof *right->keys);
    renew_heads(left);
    renew_heads(right);
}
