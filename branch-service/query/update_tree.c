#include "branch-service/query/update_tree.h"

#include <stdlib.h>

#include "branch-service/query/query_error.h"
#include "common/base/caller.h"
#include "common/base/memory.h"
#include "common/bson/ejson.h"
#include "common/bson/utf8.h"

/* Actions in path order form a tree without further ado: those that agree in their first `depth` components
 * stand side by side, and those of them that agree in one more, the child's name, are a group. */
struct group {
    const struct update_action *first, *end;
    size_t depth;
};

struct tree {
    const struct update_action *actions;
    /* By the index of a group's first action: an existing field has taken it. A child's actions are marked
     * anew when it is entered, and its own mark is set when it is left. */
    bool *applied;
    struct builder *out;
    const struct array_filters *filters;
    uint64_t now_micros;
    struct buffer *scratch; /* for array filters */
};

bool update_names_elements(const struct path_component *c)
{
    return c->len >= 3 && c->name[0] == '$' && c->name[1] == '[' && c->name[c->len - 1] == ']';
}

struct array_filter *array_filters_find(const struct array_filters *filters, const struct path_component *c)
{
    struct bytes name = bytes_of(c->name + 2, c->len - 3);
    for (size_t i = 0; i < filters->n; i++) {
        if (bytes_equal(name, bytes_of_string(filters->filters[i].name)))
            return &filters->filters[i];
    }
    return NULL;
}

static int compare_paths(const struct path *a, const struct path *b, size_t from)
{
    size_t common = a->n < b->n ? a->n : b->n;
    for (size_t i = from; i < common; i++) {
        int order = path_component_compare(&a->components[i], &b->components[i]);
        if (order != 0)
            return order;
    }
    return (a->n > b->n) - (a->n < b->n);
}

static int compare_actions(const void *x, const void *y, void *from)
{
    const struct update_action *a = x, *b = y;
    return compare_paths(&a->path, &b->path, *(size_t *)from);
}

/* Before all of a group are gone through. */
static bool goes_on(struct group group, struct error *err)
{
    return caller_still_waits(1 + (size_t)(group.end - group.first) / 4, err);
}

/* In their first components both agree. How many more do? */
static size_t common_components(const struct path *a, const struct path *b, size_t from)
{
    size_t n = from;
    while (n < a->n && n < b->n && path_component_compare(&a->components[n], &b->components[n]) == 0)
        n++;
    return n;
}

static size_t text_length(const struct path *path, size_t n)
{
    const struct path_component *last = &path->components[n - 1];
    return (size_t)(last->name + last->len - path->text);
}

static bool sort_from(struct update_action *actions, size_t n, size_t from, struct error *err)
{
    qsort_r(actions, n, sizeof *actions, compare_actions, &from);
    for (size_t i = 1; i < n; i++) {
        const struct path *shorter = &actions[i - 1].path, *longer = &actions[i].path;
        size_t common = common_components(shorter, longer, from);
        /* what begins with a path stands directly behind it; elements are named in one way only */
        if (common < shorter->n &&
            update_names_elements(&shorter->components[common]) == update_names_elements(&longer->components[common]))
            continue;
        if (common == 0)
            common = 1;
        return query_error(err, MONGO_CONFLICTING_UPDATE_OPERATORS, "updating the path '%.*s' would create a conflict at '%.*s'",
                           utf8_fit(longer->text, strlen(longer->text), 80), longer->text,
                           utf8_fit(shorter->text, text_length(shorter, common), 80), shorter->text);
    }
    return true;
}

bool update_actions_sort(struct update_action *actions, size_t n, struct error *err)
{
    return sort_from(actions, n, 0, err);
}

static const struct path_component *name_of(struct group group)
{
    return &group.first->path.components[group.depth];
}

static bool is_leaf(struct group group)
{
    return group.first->path.n == group.depth + 1;
}

/* The group that begins at an action within [.., end). */
static struct group group_at(const struct update_action *first, const struct update_action *end, size_t depth)
{
    struct group group = { .first = first, .end = first + 1, .depth = depth };
    while (group.end < end && path_component_compare(name_of(group), &group.end->path.components[depth]) == 0)
        group.end++;
    return group;
}

static bool find_group(struct group parent, const struct element *field, struct group *found)
{
    struct path_component name;
    path_component_init(&name, field->name, field->name_len);
    size_t depth = parent.depth + 1;
    const struct update_action *low = parent.first, *high = parent.end;
    while (low < high) {
        const struct update_action *middle = low + (high - low) / 2;
        if (path_component_compare(&middle->path.components[depth], &name) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == parent.end || path_component_compare(&low->path.components[depth], &name) != 0)
        return false;
    *found = group_at(low, parent.end, depth);
    return true;
}

/* The first action of a group that makes its path; NULL when none does. */
static const struct update_action *creator_in(struct group group)
{
    for (const struct update_action *action = group.first; action < group.end; action++) {
        if (action->op->missing == UPDATE_CREATES)
            return action;
    }
    return NULL;
}

/* The first that minds when its path cannot be. */
static const struct update_action *refuser_in(struct group group)
{
    for (const struct update_action *action = group.first; action < group.end; action++) {
        if (action->op->missing != UPDATE_SKIPS)
            return action;
    }
    return NULL;
}

static bool name_elements(struct group group)
{
    return update_names_elements(&group.first->path.components[group.depth + 1]);
}

/* The group is not in the document, so that it has no elements either. */
static bool check_absent(struct group group, struct error *err)
{
    for (const struct update_action *action = group.first; action < group.end; action++) {
        const struct path *path = &action->path;
        if (action->elements_depth > group.depth + 1)
            return query_error(err, MONGO_BAD_VALUE, "the path '%.*s' must exist in the document in order to apply array updates",
                               utf8_fit(path->text, text_length(path, action->elements_depth - 1), 80), path->text);
    }
    return true;
}

/* A path goes through something that has no such field. */
static bool refuse_creation(const struct update_action *action, size_t depth, const struct element *parent, struct error *err)
{
    enum { SHOWN = 120, WORTH_SHOWING = 1024 };
    struct buffer text = { 0 };
    struct builder single;
    struct bytes document;
    struct error unshown;
    builder_init(&single);
    builder_copy(&single, parent);
    bool shown = element_bytes(parent).len <= WORTH_SHOWING && builder_finish(&single, &document, &unshown) &&
                 ejson_format(document, EJSON_RELAXED, &text, &unshown);
    const struct path_component *name = &action->path.components[depth];
    if (shown)
        query_error(err, MONGO_PATH_NOT_VIABLE, "cannot create field '%.*s' in element %.*s", utf8_fit(name->name, name->len, 80),
                    name->name, utf8_fit((const char *)text.data, text.len, SHOWN), (const char *)text.data);
    else
        query_error(err, MONGO_PATH_NOT_VIABLE, "cannot create field '%.*s' in an element of type %s", utf8_fit(name->name, name->len, 80),
                    name->name, element_type_name(parent->type));
    builder_destroy(&single);
    buffer_destroy(&text);
    return false;
}

static bool run(const struct tree *tree, const struct update_action *action, struct update_slot *slot, struct error *err)
{
    slot->out = tree->out;
    slot->now_micros = tree->now_micros;
    if (action->op->apply(action, slot, err))
        return true;
    return query_wrap(err, "%s of '%.*s'", action->op->name, utf8_fit(action->path.text, strlen(action->path.text), 80), action->path.text);
}

/* What follows recurses once for each component of a path. */

/* A field that was not there. The group has a creator. */
static bool create(struct tree *tree, struct group group, const char *name, size_t name_len, struct error *err)
{
    if (is_leaf(group)) {
        struct update_slot slot = { .name = name, .name_len = name_len };
        return run(tree, group.first, &slot, err);
    }
    if (!goes_on(group, err))
        return false;
    builder_name(tree->out, name, name_len);
    builder_begin(tree->out, BSON_TYPE_DOCUMENT);
    struct group child;
    for (const struct update_action *at = group.first; at < group.end; at = child.end) {
        child = group_at(at, group.end, group.depth + 1);
        if (!creator_in(child))
            continue;
        if (builder_failed(tree->out))
            return builder_error(tree->out, err);
        if (!create(tree, child, name_of(child)->name, name_of(child)->len, err))
            return false;
    }
    builder_end(tree->out);
    return true;
}

static bool apply_document(struct tree *tree, struct group group, struct bytes document, struct error *err);
static bool apply_array(struct tree *tree, struct group group, const struct element *array, struct error *err);
static bool apply_elements(struct tree *tree, struct group group, const struct element *array, struct error *err);

static bool apply_leaf(struct tree *tree, struct group group, const struct element *old, bool in_array, struct error *err)
{
    struct update_slot slot = { .name = old->name, .name_len = old->name_len, .old = old };
    if (!run(tree, group.first, &slot, err))
        return false;
    if (!slot.written && in_array) { /* the others keep their places */
        builder_name(tree->out, old->name, old->name_len);
        builder_value(tree->out, BSON_TYPE_NULL, bytes_of(NULL, 0));
    }
    return true;
}

static bool apply_existing(struct tree *tree, struct group group, const struct element *old, bool in_array, struct error *err)
{
    if (is_leaf(group))
        return apply_leaf(tree, group, old, in_array, err);
    bool by_filter = name_elements(group);
    if (by_filter && old->type != BSON_TYPE_ARRAY) {
        const struct path *path = &group.first->path;
        return query_error(err, MONGO_BAD_VALUE, "cannot apply array updates to '%.*s', which is of type %s",
                           utf8_fit(path->text, text_length(path, group.depth + 1), 80), path->text, element_type_name(old->type));
    }
    if (old->type != BSON_TYPE_DOCUMENT && old->type != BSON_TYPE_ARRAY) {
        const struct update_action *refuser = refuser_in(group);
        struct group below = { .first = group.first, .end = group.end, .depth = group.depth + 1 };
        if (!check_absent(below, err))
            return false;
        if (refuser)
            return refuse_creation(refuser, group.depth + 1, old, err);
        builder_copy(tree->out, old);
        return true;
    }
    builder_name(tree->out, old->name, old->name_len);
    builder_begin(tree->out, old->type);
    if (by_filter                         ? !apply_elements(tree, group, old, err)
        : old->type == BSON_TYPE_DOCUMENT ? !apply_document(tree, group, old->value, err)
                                          : !apply_array(tree, group, old, err))
        return false;
    builder_end(tree->out);
    return true;
}

/* Copies what lies between two fields that change, in one go. */
static void copy_between(struct tree *tree, const uint8_t *from, const uint8_t *to)
{
    builder_raw(tree->out, from, (size_t)(to - from));
}

static bool apply_document(struct tree *tree, struct group group, struct bytes document, struct error *err)
{
    if (!goes_on(group, err))
        return false;
    memset(tree->applied + (group.first - tree->actions), 0, (size_t)(group.end - group.first));
    struct element_reader reader;
    struct element field;
    struct group child;
    element_reader_init(&reader, document);
    const uint8_t *uncopied = reader.at;
    while (element_next(&reader, &field)) {
        if (!caller_still_waits(1, err))
            return false;
        /* of fields with one name only the first is the path's */
        if (!find_group(group, &field, &child) || tree->applied[child.first - tree->actions])
            continue;
        copy_between(tree, uncopied, element_bytes(&field).data);
        uncopied = reader.at;
        if (builder_failed(tree->out))
            return builder_error(tree->out, err);
        if (!apply_existing(tree, child, &field, false, err))
            return false;
        tree->applied[child.first - tree->actions] = true;
    }
    copy_between(tree, uncopied, reader.at);
    for (const struct update_action *at = group.first; at < group.end; at = child.end) {
        child = group_at(at, group.end, group.depth + 1);
        if (tree->applied[child.first - tree->actions])
            continue;
        if (!check_absent(child, err))
            return false;
        if (!creator_in(child))
            continue;
        if (builder_failed(tree->out))
            return builder_error(tree->out, err);
        if (!create(tree, child, name_of(child)->name, name_of(child)->len, err))
            return false;
    }
    return true;
}

static bool fill_up(struct tree *tree, const struct update_action *creator, int64_t length, int64_t index, struct error *err)
{
    if (index - length > MAX_BACKFILL)
        return query_error(err, MONGO_CANNOT_BACKFILL_ARRAY, "%s of '%.*s': can't backfill more than %d elements", creator->op->name,
                           utf8_fit(creator->path.text, strlen(creator->path.text), 80), creator->path.text, MAX_BACKFILL);
    for (; length < index && !builder_failed(tree->out); length++) {
        builder_index(tree->out, (uint32_t)length);
        builder_value(tree->out, BSON_TYPE_NULL, bytes_of(NULL, 0));
    }
    return !builder_failed(tree->out) || builder_error(tree->out, err);
}

/* The next that names a place in an array. */
static const struct update_action *next_indexed(struct group group, const struct update_action *at)
{
    while (at < group.end && at->path.components[group.depth + 1].index == NO_INDEX)
        at++;
    return at;
}

/* An array has no fields. */
static bool check_names_in_array(struct group group, const struct element *array, struct error *err)
{
    struct group child;
    for (const struct update_action *at = group.first; at < group.end; at = child.end) {
        child = group_at(at, group.end, group.depth + 1);
        if (name_of(child)->index != NO_INDEX)
            continue;
        const struct update_action *refuser = refuser_in(child);
        if (!check_absent(child, err))
            return false;
        if (refuser)
            return refuse_creation(refuser, child.depth, array, err);
    }
    return true;
}

static bool apply_array(struct tree *tree, struct group group, const struct element *array, struct error *err)
{
    const struct update_action *at = next_indexed(group, group.first); /* indexes rise */
    int64_t length = 0;
    struct element_reader reader;
    struct element e;
    element_reader_init(&reader, array->value);
    const uint8_t *uncopied = reader.at;
    if (!goes_on(group, err) || !check_names_in_array(group, array, err))
        return false;
    for (; element_next(&reader, &e); length++) {
        if (at == group.end || at->path.components[group.depth + 1].index != length)
            continue;
        copy_between(tree, uncopied, element_bytes(&e).data);
        uncopied = reader.at;
        if (builder_failed(tree->out))
            return builder_error(tree->out, err);
        struct group child = group_at(at, group.end, group.depth + 1);
        if (!apply_existing(tree, child, &e, true, err))
            return false;
        at = next_indexed(group, child.end);
    }
    copy_between(tree, uncopied, reader.at);
    while (at < group.end) {
        struct group child = group_at(at, group.end, group.depth + 1);
        const struct path_component *name = name_of(child);
        const struct update_action *creator = creator_in(child);
        at = next_indexed(group, child.end);
        if (!check_absent(child, err))
            return false;
        if (!creator)
            continue;
        if (!fill_up(tree, creator, length, name->index, err))
            return false;
        length = name->index + 1;
        if (!create(tree, child, name->name, name->len, err))
            return false;
    }
    return true;
}

/* ---- "$[]" and "$[name]" ------------------------------------------------------------------------------- */

/* The actions behind one of them. */
struct branch {
    struct group group;
    const struct filter *filter; /* NULL: for all elements */
    const char *name;
    bool matches, was_merged;
};

/* Several branches that match one element, as if they had been one. The next elements are likely to want the
 * same. */
struct merge {
    struct update_action *actions;
    bool *applied;
    size_t n;
};

static bool merge_branches(struct merge *merge, struct group parent, struct branch *branches, size_t n_branches, struct error *err)
{
    size_t capacity = (size_t)(parent.end - parent.first);
    bool same = merge->actions != NULL;
    for (size_t i = 0; i < n_branches; i++)
        same &= branches[i].matches == branches[i].was_merged;
    if (same)
        return true;
    if (!caller_still_waits(1 + capacity, err))
        return false;
    if (!merge->actions)
        merge->actions = mem_try_alloc(capacity * sizeof *merge->actions);
    if (!merge->applied)
        merge->applied = mem_try_alloc(capacity);
    if (!merge->actions || !merge->applied)
        return error_out_of_memory(err);
    merge->n = 0;
    for (size_t i = 0; i < n_branches; i++) {
        const struct group *group = &branches[i].group;
        branches[i].was_merged = branches[i].matches;
        if (!branches[i].matches)
            continue;
        memcpy(merge->actions + merge->n, group->first, (size_t)(group->end - group->first) * sizeof *merge->actions);
        merge->n += (size_t)(group->end - group->first);
    }
    return sort_from(merge->actions, merge->n, parent.depth + 2, err);
}

static bool apply_to_element(struct tree *tree, struct group parent, struct branch *branches, size_t n_branches, struct merge *merge,
                             const struct element *e, struct error *err)
{
    size_t n = 0;
    const struct branch *one = NULL;
    if (!goes_on(parent, err))
        return false;
    for (size_t i = 0; i < n_branches; i++) {
        struct branch *branch = &branches[i];
        branch->matches = true;
        if (branch->filter && !update_matches_value(branch->filter, branch->name, e, tree->scratch, &branch->matches, err))
            return false;
        n += branch->matches;
        one = branch->matches ? branch : one;
    }
    if (n == 0) {
        builder_copy(tree->out, e);
        return true;
    }
    if (n == 1)
        return apply_existing(tree, one->group, e, true, err);
    if (!merge_branches(merge, parent, branches, n_branches, err))
        return false;
    struct tree merged = *tree;
    struct group all = { .first = merge->actions, .end = merge->actions + merge->n, .depth = parent.depth + 1 };
    merged.actions = merge->actions;
    merged.applied = merge->applied;
    return apply_existing(&merged, all, e, true, err);
}

static size_t find_branches(const struct tree *tree, struct group parent, struct branch *branches, size_t room)
{
    size_t n = 0;
    struct group child;
    for (const struct update_action *at = parent.first; at < parent.end; at = child.end, n++) {
        child = group_at(at, parent.end, parent.depth + 1);
        if (n >= room)
            continue;
        const struct array_filter *filter = array_filters_find(tree->filters, name_of(child));
        branches[n] = (struct branch) { .group = child, .filter = filter ? filter->filter : NULL, .name = filter ? filter->name : "" };
    }
    return n;
}

static bool apply_elements(struct tree *tree, struct group group, const struct element *array, struct error *err)
{
    enum { FEW = 4 };
    struct branch few[FEW], *branches = few;
    struct merge merge = { 0 };
    struct element_reader reader;
    struct element e;
    size_t n = find_branches(tree, group, few, FEW);
    bool ok = true;
    if (n > FEW) {
        branches = mem_try_alloc(n * sizeof *branches);
        if (!branches)
            return error_out_of_memory(err);
        find_branches(tree, group, branches, n);
    }
    element_reader_init(&reader, array->value);
    while (ok && element_next(&reader, &e)) {
        ok = !builder_failed(tree->out) || builder_error(tree->out, err);
        ok = ok && apply_to_element(tree, group, branches, n, &merge, &e, err);
    }
    free(merge.actions);
    free(merge.applied);
    if (branches != few)
        free(branches);
    return ok;
}

bool update_actions_apply(const struct update_action *actions, size_t n, const struct array_filters *filters, uint64_t now_micros,
                          struct bytes document, struct builder *out, struct error *err)
{
    bool few[64];
    struct buffer scratch = { 0 };
    struct tree tree = {
        .actions = actions, .applied = few, .out = out, .filters = filters, .now_micros = now_micros, .scratch = &scratch
    };
    if (n > ARRAY_LEN(few))
        tree.applied = mem_try_alloc(n);
    if (!tree.applied)
        return error_out_of_memory(err);
    /* the top document is the child of a component before the first: depth + 1 is 0 */
    struct group top = { .first = actions, .end = actions + n, .depth = (size_t)-1 };
    bool ok = apply_document(&tree, top, document, err);
    if (tree.applied != few)
        free(tree.applied);
    buffer_destroy(&scratch);
    return ok;
}
