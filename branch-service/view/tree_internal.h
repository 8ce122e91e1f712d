/* Records and nodes of the tree: layout, invariants, life.
 *
 * A leaf holds n records in key order. An inner node holds n separators and n + 1 children; everything
 * below children[i] is less than separators[i], everything below children[i + 1] is not. A separator is a
 * record without a document, cut to the shortest key that tells its two sides apart, so that it never
 * keeps a removed document alive. An empty tree has no root.
 *
 * Every node other than the root has at least NODE_MIN keys, except on the right edge, where one is enough:
 * keys that come in ascending order leave full nodes behind them.
 *
 * Beside each key stands its head: eight bytes behind the `skip` bytes that all keys of the node have in
 * common, as a big-endian number. A search compares heads, which lie side by side, and looks at records
 * only where heads tie: ids of one type and one second differ late, and records are cache misses.
 *
 * Whoever holds the only reference to a node, and to every node above it, may change it. This is what an
 * edit does; all others copy.
 */
#ifndef ARGON_BRANCH_VIEW_TREE_INTERNAL_H
#define ARGON_BRANCH_VIEW_TREE_INTERNAL_H

#include "branch-service/view/tree.h"

/* With 31 keys a leaf is 504 bytes and an inner node 760: whole size classes of the allocators, eight
 * cache lines of which a search reads two or three, and little to copy when one document changes. */
enum { NODE_MAX = 31, NODE_MIN = 10 };

struct record {
    _Atomic uint32_t refs;
    uint32_t key_len;
    uint32_t document_len;
    uint8_t data[]; /* the key, then the document */
};

struct node {
    _Atomic uint32_t refs;
    uint16_t skip; /* at most what all keys have in common */
    uint8_t n;
    uint8_t height; /* 0: a leaf */
    uint64_t heads[NODE_MAX];
    struct record *keys[NODE_MAX];
    struct node *children[]; /* NODE_MAX + 1 in an inner node, none in a leaf */
};

struct tree {
    _Atomic uint64_t refs;
    struct memory_budget *budget;
    struct node *root; /* NULL: empty */
    uint64_t count;
    uint64_t document_bytes;
};

static inline struct bytes record_key(const struct record *record)
{
    return (struct bytes) { record->data, record->key_len };
}

static inline struct tree_item record_item(const struct record *record)
{
    return (struct tree_item) { .key = { record->data, record->key_len },
                                .document = { record->data + record->key_len, record->document_len } };
}

/* Both charge the budget and begin with one reference. */
CHECKED bool record_new(struct memory_budget *budget, struct bytes key, struct bytes document, struct record **record, struct error *err);
CHECKED bool node_new(struct memory_budget *budget, unsigned height, struct node **node, struct error *err);
/* Its own references to the same records and children. */
CHECKED bool node_copy(struct memory_budget *budget, const struct node *node, struct node **copy, struct error *err);

struct node *node_ref(struct node *node);
void node_unref(struct memory_budget *budget, struct node *node); /* NULL is fine */
void record_unref(struct memory_budget *budget, struct record *record);
/* Of a node whose keys and children have been moved elsewhere. */
void node_free_shell(struct memory_budget *budget, struct node *node);
/* Is the caller's reference to it the only one? */
bool node_is_exclusive(const struct node *node);
/* Bytes that go when one reference to the node does. */
uint64_t node_exclusive_bytes(const struct node *node);

/* Place of the first key that is not less; *equal: it is the key. */
unsigned node_search(const struct node *node, struct bytes key, bool *equal);
/* Index of the child that the key belongs below. */
unsigned node_child_index(const struct node *node, struct bytes key);
const struct record *node_find(const struct node *root, struct bytes key); /* root may be NULL */

/* Changes of keys keep heads and skip right; the reference to the record moves with it. */
void node_insert_key(struct node *node, unsigned at, struct record *record);
void node_replace_key(struct node *node, unsigned at, struct record *record);
void node_remove_key(struct node *node, unsigned at);
/* Moves count keys from the end of left to the front of right, or the other way round. */
void node_shift_right(struct node *left, struct node *right, unsigned count);
void node_shift_left(struct node *left, struct node *right, unsigned count);

#endif
