/* A copy-on-write B+tree from document_id to document: one materialized state of a collection.
 *
 * A tree is immutable; an edit shares every node it does not touch with its base, so that a fork costs
 * nothing and two neighbouring states cost their difference. Values are shared immutable BSON.
 *
 * Ownership  trees are counted references; what get and cursors return is borrowed while the tree is held.
 * Threads    a tree: any. An edit: one. References may be dropped on any thread.
 * Memory     every node and document is charged to the budget once, when it is made, and given back when
 *            the last tree that holds it goes. RESOURCE_EXHAUSTED when the budget refuses.
 */
#ifndef ARGON_BRANCH_VIEW_TREE_H
#define ARGON_BRANCH_VIEW_TREE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/base/bytes.h"
#include "common/base/error.h"

struct memory_budget {
    _Atomic uint64_t used;
    uint64_t limit; /* bytes; 0: none */
};

struct tree;
struct tree_edit;

struct tree_item {
    struct bytes key;      /* document_id */
    struct bytes document; /* BSON */
};

CHECKED bool tree_new(struct memory_budget *budget, struct tree **tree, struct error *err); /* empty */
struct tree *tree_ref(struct tree *tree);
void tree_unref(struct tree *tree); /* NULL is fine */

uint64_t tree_count(const struct tree *tree);
/* Sum of the keys' and documents' lengths. */
uint64_t tree_document_bytes(const struct tree *tree);
/* Bytes of the nodes and documents that would go with the last reference to this tree (a walk: O(size)). */
uint64_t tree_exclusive_bytes(const struct tree *tree);

/* False: there is no such key. */
bool tree_get(const struct tree *tree, struct bytes key, struct tree_item *item);

/* In key order, one way or the other: a cursor goes on the way it began. It borrows the tree. */
enum { TREE_MAX_HEIGHT = 16 };
struct tree_cursor {
    const struct tree *tree;
    struct {
        const void *node;
        unsigned slot;
    } path[TREE_MAX_HEIGHT];
    unsigned depth; /* 0: at the end */
};
void tree_cursor_first(struct tree_cursor *cursor, const struct tree *tree);
/* At the first key that is not less. */
void tree_cursor_seek(struct tree_cursor *cursor, const struct tree *tree, struct bytes key);
/* At the first key that is greater: the next page of a list. */
void tree_cursor_seek_behind(struct tree_cursor *cursor, const struct tree *tree, struct bytes key);
bool tree_cursor_next(struct tree_cursor *cursor, struct tree_item *item);
/* Backwards: at the last key, or at the last one that is less. */
void tree_cursor_last(struct tree_cursor *cursor, const struct tree *tree);
void tree_cursor_seek_before(struct tree_cursor *cursor, const struct tree *tree, struct bytes key);
bool tree_cursor_previous(struct tree_cursor *cursor, struct tree_item *item);

/* An edit begins as its base and becomes a tree of its own. Keys and documents are copied once. */
CHECKED bool tree_edit_begin(struct tree *base, struct tree_edit **edit, struct error *err);
CHECKED bool tree_edit_put(struct tree_edit *edit, struct bytes key, struct bytes document, struct error *err);
CHECKED bool tree_edit_remove(struct tree_edit *edit, struct bytes key, bool *found, struct error *err);
/* What the edit holds at the moment. */
bool tree_edit_get(const struct tree_edit *edit, struct bytes key, struct tree_item *item);
struct tree *tree_edit_end(struct tree_edit *edit); /* frees the edit */
void tree_edit_abandon(struct tree_edit *edit);     /* NULL is fine */

#endif
