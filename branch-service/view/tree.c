#include <assert.h>
#include <stdlib.h>

#include "branch-service/view/tree_internal.h"
#include "common/base/memory.h"

bool tree_new(struct memory_budget *budget, struct tree **tree, struct error *err)
{
    struct tree *new_tree = mem_try_alloc(sizeof *new_tree);
    if (!new_tree)
        return error_set(err, ERROR_RESOURCE_EXHAUSTED, "the system refused %zu bytes of memory", sizeof *new_tree);
    *new_tree = (struct tree) { .budget = budget };
    atomic_init(&new_tree->refs, 1);
    *tree = new_tree;
    return true;
}

struct tree *tree_ref(struct tree *tree)
{
    atomic_fetch_add_explicit(&tree->refs, 1, memory_order_relaxed);
    return tree;
}

void tree_unref(struct tree *tree)
{
    if (!tree || atomic_fetch_sub_explicit(&tree->refs, 1, memory_order_acq_rel) != 1)
        return;
    node_unref(tree->budget, tree->root);
    free(tree);
}

uint64_t tree_count(const struct tree *tree)
{
    return tree->count;
}

uint64_t tree_document_bytes(const struct tree *tree)
{
    return tree->document_bytes;
}

uint64_t tree_exclusive_bytes(const struct tree *tree)
{
    return tree->root ? node_exclusive_bytes(tree->root) : 0;
}

bool tree_get(const struct tree *tree, struct bytes key, struct tree_item *item)
{
    const struct record *record = node_find(tree->root, key);
    if (!record)
        return false;
    *item = record_item(record);
    return true;
}

/* ---- cursors ---------------------------------------------------------------------------------------
 *
 * path[0] is the root, path[depth - 1] the leaf. A slot is the index of the child that was entered, in the
 * leaf that of the next item: a cursor always stands on an item, or depth is 0. */

static void cursor_enter(struct tree_cursor *cursor, const struct node *node, unsigned slot)
{
    assert(cursor->depth < TREE_MAX_HEIGHT);
    cursor->path[cursor->depth].node = node;
    cursor->path[cursor->depth].slot = slot;
    cursor->depth++;
}

static void cursor_descend_first(struct tree_cursor *cursor, const struct node *node)
{
    for (; node->height; node = node->children[0])
        cursor_enter(cursor, node, 0);
    cursor_enter(cursor, node, 0);
}

static void cursor_descend_last(struct tree_cursor *cursor, const struct node *node)
{
    for (; node->height; node = node->children[node->n])
        cursor_enter(cursor, node, node->n);
    cursor_enter(cursor, node, node->n - 1U);
}

/* The leaf is used up: on to the next one. */
static void cursor_next_leaf(struct tree_cursor *cursor)
{
    cursor->depth--;
    while (cursor->depth > 0) {
        const struct node *node = cursor->path[cursor->depth - 1].node;
        unsigned slot = ++cursor->path[cursor->depth - 1].slot;
        if (slot <= node->n) {
            cursor_descend_first(cursor, node->children[slot]);
            return;
        }
        cursor->depth--;
    }
}

static void cursor_previous_leaf(struct tree_cursor *cursor)
{
    cursor->depth--;
    for (; cursor->depth > 0; cursor->depth--) {
        const struct node *node = cursor->path[cursor->depth - 1].node;
        unsigned slot = cursor->path[cursor->depth - 1].slot;
        if (slot > 0) {
            cursor->path[cursor->depth - 1].slot--;
            cursor_descend_last(cursor, node->children[slot - 1]);
            return;
        }
    }
}

void tree_cursor_first(struct tree_cursor *cursor, const struct tree *tree)
{
    cursor->tree = tree;
    cursor->depth = 0;
    if (tree->root)
        cursor_descend_first(cursor, tree->root);
}

void tree_cursor_last(struct tree_cursor *cursor, const struct tree *tree)
{
    cursor->tree = tree;
    cursor->depth = 0;
    if (tree->root)
        cursor_descend_last(cursor, tree->root);
}

/* Down to the leaf that the key belongs in. The slot there may be behind its last item. */
static const struct node *cursor_descend_to(struct tree_cursor *cursor, const struct tree *tree, struct bytes key)
{
    const struct node *node = tree->root;
    bool equal;
    cursor->tree = tree;
    cursor->depth = 0;
    if (!node)
        return NULL;
    while (node->height) {
        unsigned slot = node_child_index(node, key);
        cursor_enter(cursor, node, slot);
        node = node->children[slot];
    }
    cursor_enter(cursor, node, node_search(node, key, &equal));
    return node;
}

void tree_cursor_seek(struct tree_cursor *cursor, const struct tree *tree, struct bytes key)
{
    const struct node *leaf = cursor_descend_to(cursor, tree, key);
    if (leaf && cursor->path[cursor->depth - 1].slot == leaf->n)
        cursor_next_leaf(cursor);
}

void tree_cursor_seek_before(struct tree_cursor *cursor, const struct tree *tree, struct bytes key)
{
    if (!cursor_descend_to(cursor, tree, key))
        return;
    if (cursor->path[cursor->depth - 1].slot > 0)
        cursor->path[cursor->depth - 1].slot--;
    else
        cursor_previous_leaf(cursor);
}

void tree_cursor_seek_behind(struct tree_cursor *cursor, const struct tree *tree, struct bytes key)
{
    tree_cursor_seek(cursor, tree, key);
    struct tree_cursor at = *cursor;
    struct tree_item item;
    if (tree_cursor_next(&at, &item) && bytes_equal(item.key, key))
        *cursor = at;
}

bool tree_cursor_next(struct tree_cursor *cursor, struct tree_item *item)
{
    if (cursor->depth == 0)
        return false;
    const struct node *leaf = cursor->path[cursor->depth - 1].node;
    unsigned slot = cursor->path[cursor->depth - 1].slot++;
    *item = record_item(leaf->keys[slot]);
    if (slot + 1 == leaf->n)
        cursor_next_leaf(cursor);
    return true;
}

bool tree_cursor_previous(struct tree_cursor *cursor, struct tree_item *item)
{
    if (cursor->depth == 0)
        return false;
    const struct node *leaf = cursor->path[cursor->depth - 1].node;
    unsigned slot = cursor->path[cursor->depth - 1].slot;
    *item = record_item(leaf->keys[slot]);
    if (slot > 0)
        cursor->path[cursor->depth - 1].slot--;
    else
        cursor_previous_leaf(cursor);
    return true;
}
