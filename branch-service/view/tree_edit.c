/* Edits.
 *
 * An edit works from the root down in steps that each leave a valid tree with the same items: copy a shared
 * node, split a full one, fill up or merge a small one. What can fail is over before the one step that
 * changes items; a failed put or remove therefore leaves the edit as it was, but for its shape. */
#include <assert.h>
#include <stdlib.h>

#include "branch-service/view/tree_internal.h"
#include "common/base/memory.h"

struct tree_edit {
    struct memory_budget *budget;
    struct node *root;
    uint64_t count;
    uint64_t document_bytes;
    struct tree *result; /* made at the beginning, so that the end cannot fail */
};

bool tree_edit_begin(struct tree *base, struct tree_edit **edit, struct error *err)
{
    struct tree *result;
    if (!tree_new(base->budget, &result, err))
        return false;
    struct tree_edit *new_edit = mem_alloc(sizeof *new_edit);
    *new_edit = (struct tree_edit) {
        .budget = base->budget,
        .root = base->root ? node_ref(base->root) : NULL,
        .count = base->count,
        .document_bytes = base->document_bytes,
        .result = result,
    };
    *edit = new_edit;
    return true;
}

struct tree *tree_edit_end(struct tree_edit *edit)
{
    struct tree *tree = edit->result;
    tree->root = edit->root;
    tree->count = edit->count;
    tree->document_bytes = edit->document_bytes;
    free(edit);
    return tree;
}

void tree_edit_abandon(struct tree_edit *edit)
{
    if (edit)
        tree_unref(tree_edit_end(edit));
}

bool tree_edit_get(const struct tree_edit *edit, struct bytes key, struct tree_item *item)
{
    const struct record *record = node_find(edit->root, key);
    if (!record)
        return false;
    *item = record_item(record);
    return true;
}

/* Makes *place a node that this edit alone holds, given that it alone holds what *place stands in. */
static bool own(struct tree_edit *edit, struct node **place, struct error *err)
{
    struct node *shared = *place, *copy;
    if (node_is_exclusive(shared))
        return true;
    if (!node_copy(edit->budget, shared, &copy, err))
        return false;
    *place = copy;
    node_unref(edit->budget, shared);
    return true;
}

static bool own_path(struct tree_edit *edit, struct bytes key, struct node **leaf, struct error *err)
{
    struct node **place = &edit->root;
    for (;;) {
        if (!own(edit, place, err))
            return false;
        struct node *node = *place;
        if (node->height == 0) {
            *leaf = node;
            return true;
        }
        place = &node->children[node_child_index(node, key)];
    }
}

/* A separator for a < b: the shortest beginning of b that is greater than a. */
static bool separator_new(struct tree_edit *edit, struct bytes a, struct bytes b, struct record **separator, struct error *err)
{
    size_t same = 0;
    while (same < a.len && a.data[same] == b.data[same])
        same++;
    return record_new(edit->budget, bytes_of(b.data, same + 1), bytes_of(NULL, 0), separator, err);
}

/* ---- put ------------------------------------------------------------------------------------------- */

/* Puts child at children[at + 1], with the separator before it. */
static void insert_child(struct node *parent, unsigned at, struct record *separator, struct node *child)
{
    unsigned behind = parent->n - at;
    node_insert_key(parent, at, separator);
    memmove(parent->children + at + 2, parent->children + at + 1, behind * sizeof *parent->children);
    parent->children[at + 1] = child;
}

/* A root above the root, with it as the only child; the split that is about to follow gives it a key. */
static bool grow(struct tree_edit *edit, struct error *err)
{
    struct node *root;
    assert(edit->root->height + 2u <= TREE_MAX_HEIGHT);
    if (!node_new(edit->budget, edit->root->height + 1u, &root, err))
        return false;
    root->children[0] = edit->root;
    edit->root = root;
    return true;
}

/* The root has one child left. */
static void lower_root(struct tree_edit *edit)
{
    struct node *root = edit->root;
    edit->root = root->children[0];
    node_free_shell(edit->budget, root);
}

/* Splits the full inner node children[at]. On the right edge, where keys in ascending order arrive, the
 * left half keeps nearly all. */
static bool split_inner(struct tree_edit *edit, struct node *parent, unsigned at, bool right_edge, struct error *err)
{
    struct node *left = parent->children[at], *right;
    if (!node_new(edit->budget, left->height, &right, err))
        return false;
    unsigned keep = right_edge ? NODE_MAX - 2 : NODE_MAX / 2;
    unsigned move = left->n - keep - 1; /* the key between them goes up */
    memcpy(right->children, left->children + keep + 1, (move + 1) * sizeof *right->children);
    node_shift_right(left, right, move);
    struct record *middle = left->keys[keep];
    node_remove_key(left, keep);
    insert_child(parent, at, middle, right);
    return true;
}

/* Splits the full leaf children[at] and puts the record, whose place in it is slot. */
static bool split_leaf(struct tree_edit *edit, struct node *parent, unsigned at, unsigned slot, struct record *record, bool right_edge,
                       struct error *err)
{
    struct node *left = parent->children[at], *right;
    unsigned keep = right_edge && slot == left->n ? NODE_MAX : (NODE_MAX + 1) / 2; /* the record counted */
    bool to_left = slot < keep;
    unsigned move = to_left ? NODE_MAX - keep + 1 : NODE_MAX - keep;

    const struct record *last = to_left && slot == keep - 1 ? record : left->keys[to_left ? keep - 2 : keep - 1];
    const struct record *first = slot == keep ? record : left->keys[to_left ? keep - 1 : keep];
    struct record *separator;
    if (!separator_new(edit, record_key(last), record_key(first), &separator, err))
        return false;
    if (!node_new(edit->budget, 0, &right, err)) {
        record_unref(edit->budget, separator);
        return false;
    }
    node_shift_right(left, right, move);
    if (to_left)
        node_insert_key(left, slot, record);
    else
        node_insert_key(right, slot - keep, record);
    insert_child(parent, at, separator, right);
    return true;
}

/* How many nodes from the key's leaf upwards are full without a gap: those that an insert splits. */
static unsigned count_full_nodes(const struct node *root, struct bytes key, bool *exists)
{
    unsigned full = 0;
    const struct node *node = root;
    for (;; node = node->children[node_child_index(node, key)]) {
        full = node->n == NODE_MAX ? full + 1 : 0;
        if (node->height == 0)
            break;
    }
    node_search(node, key, exists);
    return full;
}

static bool replace_record(struct tree_edit *edit, struct record *record, struct error *err)
{
    struct node *leaf;
    if (!own_path(edit, record_key(record), &leaf, err))
        return false;
    bool equal;
    unsigned at = node_search(leaf, record_key(record), &equal);
    assert(equal);
    struct record *old = leaf->keys[at];
    leaf->keys[at] = record; /* the same key: heads stay */
    edit->document_bytes += record->document_len;
    edit->document_bytes -= old->document_len;
    record_unref(edit->budget, old);
    return true;
}

static bool insert_record(struct tree_edit *edit, struct record *record, unsigned full, struct error *err)
{
    struct bytes key = record_key(record);
    if (!own(edit, &edit->root, err))
        return false;
    if (full == edit->root->height + 1u && !grow(edit, err))
        return false;

    struct node *node = edit->root;
    bool right_edge = true, equal;
    while (node->height) {
        unsigned at = node_child_index(node, key);
        if (!own(edit, &node->children[at], err))
            goto failed;
        right_edge = right_edge && at == node->n;
        struct node *child = node->children[at];
        if (child->height < full && child->height == 0) {
            if (!split_leaf(edit, node, at, node_search(child, key, &equal), record, right_edge, err))
                goto failed;
            goto inserted;
        }
        if (child->height < full) {
            if (!split_inner(edit, node, at, right_edge && node_child_index(child, key) == child->n, err))
                goto failed;
            if (bytes_compare(record_key(node->keys[at]), key) <= 0)
                child = node->children[at + 1];
            else
                right_edge = false;
        }
        node = child;
    }
    node_insert_key(node, node_search(node, key, &equal), record);
inserted:
    edit->count++;
    edit->document_bytes += record->key_len + record->document_len;
    return true;

failed:
    if (edit->root->n == 0) /* grown in vain */
        lower_root(edit);
    return false;
}

bool tree_edit_put(struct tree_edit *edit, struct bytes key, struct bytes document, struct error *err)
{
    struct record *record;
    if (!record_new(edit->budget, key, document, &record, err))
        return false;
    if (!edit->root && !node_new(edit->budget, 0, &edit->root, err))
        goto failed;
    bool exists;
    unsigned full = count_full_nodes(edit->root, key, &exists);
    if (exists ? replace_record(edit, record, err) : insert_record(edit, record, full, err))
        return true;
failed:
    record_unref(edit->budget, record);
    return false;
}

/* ---- remove ---------------------------------------------------------------------------------------- */

/* Joins children[at] and children[at + 1] of parent in the former. */
static void merge(struct tree_edit *edit, struct node *parent, unsigned at)
{
    struct node *left = parent->children[at], *right = parent->children[at + 1];
    struct record *separator = parent->keys[at];
    node_remove_key(parent, at);
    memmove(parent->children + at + 1, parent->children + at + 2, (parent->n - at) * sizeof *parent->children);
    if (left->height) {
        node_insert_key(left, left->n, separator); /* back down between the two */
        memcpy(left->children + left->n, right->children, (right->n + 1u) * sizeof *left->children);
    } else {
        record_unref(edit->budget, separator);
    }
    node_shift_left(left, right, right->n);
    node_free_shell(edit->budget, right);
}

static bool share_leaves(struct tree_edit *edit, struct node *parent, unsigned at, struct error *err)
{
    struct node *left = parent->children[at], *right = parent->children[at + 1];
    unsigned keep = (left->n + right->n) / 2u;
    const struct record *last = keep <= left->n ? left->keys[keep - 1] : right->keys[keep - left->n - 1];
    const struct record *first = keep < left->n ? left->keys[keep] : right->keys[keep - left->n];
    struct record *separator, *old = parent->keys[at];
    if (!separator_new(edit, record_key(last), record_key(first), &separator, err))
        return false;
    node_replace_key(parent, at, separator);
    record_unref(edit->budget, old);
    if (keep < left->n)
        node_shift_right(left, right, left->n - keep);
    else
        node_shift_left(left, right, keep - left->n);
    return true;
}

/* Keys rotate through the parent. */
static void share_inner(struct node *parent, unsigned at)
{
    struct node *left = parent->children[at], *right = parent->children[at + 1];
    unsigned keep = (left->n + right->n) / 2u;
    if (keep < left->n) {
        unsigned move = left->n - keep; /* children; as many keys pass the parent */
        memmove(right->children + move, right->children, (right->n + 1u) * sizeof *right->children);
        memcpy(right->children, left->children + keep + 1, move * sizeof *right->children);
        node_insert_key(right, 0, parent->keys[at]);
        node_shift_right(left, right, move - 1);
        struct record *up = left->keys[keep];
        node_remove_key(left, keep);
        node_replace_key(parent, at, up);
    } else {
        unsigned move = keep - left->n;
        memcpy(left->children + left->n + 1, right->children, move * sizeof *left->children);
        memmove(right->children, right->children + move, (right->n + 1u - move) * sizeof *right->children);
        node_insert_key(left, left->n, parent->keys[at]);
        node_shift_left(left, right, move - 1);
        struct record *up = right->keys[0];
        node_remove_key(right, 0);
        node_replace_key(parent, at, up);
    }
}

/* Gives children[at] more than NODE_MIN keys, from or together with the node beside it. */
static bool fill_up(struct tree_edit *edit, struct node *parent, unsigned at, struct error *err)
{
    unsigned left = at > 0 ? at - 1 : at;
    if (!own(edit, &parent->children[left], err) || !own(edit, &parent->children[left + 1], err))
        return false;
    const struct node *a = parent->children[left], *b = parent->children[left + 1];
    bool inner = a->height > 0;
    if (a->n + b->n + inner <= NODE_MAX)
        merge(edit, parent, left);
    else if (inner)
        share_inner(parent, left);
    else
        return share_leaves(edit, parent, left, err);
    return true;
}

bool tree_edit_remove(struct tree_edit *edit, struct bytes key, bool *found, struct error *err)
{
    if (!node_find(edit->root, key)) {
        *found = false;
        return true;
    }
    if (!own(edit, &edit->root, err))
        return false;
    struct node *node = edit->root;
    while (node->height) {
        unsigned at = node_child_index(node, key);
        if (node->children[at]->n <= NODE_MIN) {
            if (!fill_up(edit, node, at, err))
                return false;
            if (node->n == 0) { /* only a root gets here: all others had more than NODE_MIN keys */
                assert(node == edit->root);
                lower_root(edit);
                node = edit->root;
                continue;
            }
            at = node_child_index(node, key);
        }
        if (!own(edit, &node->children[at], err))
            return false;
        node = node->children[at];
    }

    bool equal;
    unsigned at = node_search(node, key, &equal);
    assert(equal);
    struct record *record = node->keys[at];
    node_remove_key(node, at);
    edit->count--;
    edit->document_bytes -= record->key_len + record->document_len;
    record_unref(edit->budget, record);
    if (node->n == 0) {
        assert(node == edit->root);
        node_free_shell(edit->budget, node);
        edit->root = NULL;
    }
    *found = true;
    return true;
}
