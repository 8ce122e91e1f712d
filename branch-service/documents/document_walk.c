#include "branch-service/documents/document_walk.h"

/* Between two looks at whether the caller is still there: one document can take seconds (EXPRESSION_MAX_SECONDS). */
enum { STEPS_BETWEEN_LOOKS = 4 };

static const struct id_range everything[1];

void document_walk_begin(struct document_walk *walk, const struct tree *tree, const struct filter *filter, bool backwards,
                         struct caller caller)
{
    *walk = (struct document_walk) { .tree = tree, .filter = filter, .caller = caller, .backwards = backwards };
    if (tree && !(filter && filter_id_bounds(filter, &walk->ranges, &walk->n_ranges))) {
        walk->ranges = everything;
        walk->n_ranges = 1;
    }
    if (!tree)
        walk->n_ranges = 0;
}

void document_walk_begin_behind(struct document_walk *walk, const struct tree *tree, const struct filter *filter, struct bytes key,
                                struct caller caller)
{
    document_walk_begin(walk, tree, filter, false, caller);
    walk->behind = key;
}

static void enter_range(struct document_walk *walk)
{
    size_t nth = walk->entered++;
    const struct id_range *range = &walk->ranges[walk->backwards ? walk->n_ranges - 1 - nth : nth];
    if (walk->backwards) {
        walk->end = range->from;
        if (range->to.len)
            tree_cursor_seek_before(&walk->cursor, walk->tree, range->to);
        else
            tree_cursor_last(&walk->cursor, walk->tree);
        return;
    }
    walk->end = range->to;
    tree_cursor_seek(&walk->cursor, walk->tree, bytes_compare(range->from, walk->behind) < 0 ? walk->behind : range->from);
}

static bool is_outside(const struct document_walk *walk, struct bytes key)
{
    if (!walk->end.len)
        return false;
    int order = bytes_compare(key, walk->end);
    return walk->backwards ? order < 0 : order >= 0;
}

/* The next one within the ranges. */
static bool next_candidate(struct document_walk *walk, struct tree_item *item)
{
    if (walk->entered == 0 || !(walk->backwards ? tree_cursor_previous : tree_cursor_next)(&walk->cursor, item))
        return false;
    return !is_outside(walk, item->key);
}

bool document_walk_next(struct document_walk *walk, struct tree_item *item, bool *found, struct error *err)
{
    for (;;) {
        bool matches = true;
        if ((walk->examined + walk->entered) % STEPS_BETWEEN_LOOKS == STEPS_BETWEEN_LOOKS - 1 && !caller_waits(&walk->caller, err))
            return false;
        if (!next_candidate(walk, item)) {
            if (walk->entered >= walk->n_ranges)
                break;
            enter_range(walk);
            continue;
        }
        walk->examined++;
        if (walk->behind.len && bytes_equal(item->key, walk->behind))
            continue;
        if (walk->filter && !filter_matches(walk->filter, item->document, &matches, err))
            return false;
        if (matches) {
            *found = true;
            return true;
        }
    }
    *found = false;
    return true;
}
