#include "branch-service/query/update_tree.h"

#include <stdlib.h>

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
};

static int compare_actions(const void *x, const void *y)
{
    const struct update_action *a = x, *b = y;
    size_t common = a->path.n < b->path.n ? a->path.n : b->path.n;
    for (size_t i = 0; i < common; i++) {
        int order = path_component_compare(&a->path.components[i], &b->path.components[i]);
        if (order != 0)
            return order;
    }
    return (a->path.n > b->path.n) - (a->path.n < b->path.n);
}

static bool is_prefix(const struct path *a, const struct path *b)
{
    if (a->n > b->n)
        return false;
    for (size_t i = 0; i < a->n; i++) {
        if (path_component_compare(&a->components[i], &b->components[i]) != 0)
            return false;
    }
    return true;
}

bool update_actions_sort(struct update_action *actions, size_t n, struct error *err)
{
    qsort(actions, n, sizeof *actions, compare_actions);
    /* what begins with a path stands directly behind it */
    for (size_t i = 1; i < n; i++) {
        const struct path *shorter = &actions[i - 1].path, *longer = &actions[i].path;
        if (is_prefix(shorter, longer))
            return error_set(err, ERROR_INVALID_ARGUMENT, "updating the path '%.*s' would create a conflict at '%.*s'",
                             utf8_fit(longer->text, strlen(longer->text), 80), longer->text,
                             utf8_fit(shorter->text, strlen(shorter->text), 80), shorter->text);
    }
    return true;
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

/* The first action of a group that insists on its path; NULL when none does. */
static const struct update_action *creator_in(struct group group)
{
    for (const struct update_action *action = group.first; action < group.end; action++) {
        if (action->op->missing == UPDATE_CREATES)
            return action;
    }
    return NULL;
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
        error_set(err, ERROR_INVALID_ARGUMENT, "cannot create field '%.*s' in element %.*s", utf8_fit(name->name, name->len, 80),
                  name->name, utf8_fit((const char *)text.data, text.len, SHOWN), (const char *)text.data);
    else
        error_set(err, ERROR_INVALID_ARGUMENT, "cannot create field '%.*s' in an element of type %s", utf8_fit(name->name, name->len, 80),
                  name->name, element_type_name(parent->type));
    builder_destroy(&single);
    buffer_destroy(&text);
    return false;
}

static bool run(const struct update_action *action, const struct element *old, struct update_result *result, struct error *err)
{
    result->removed = false;
    if (action->op->apply(&action->argument, old, result, err))
        return true;
    return error_wrap(err, "update of '%.*s'", utf8_fit(action->path.text, strlen(action->path.text), 80), action->path.text);
}

/* What follows recurses once for each component of a path. */

/* Behind the name, which has been written, a value that was not there. The group has a creator. */
static bool create(struct tree *tree, struct group group, struct error *err)
{
    if (is_leaf(group)) {
        struct update_result result;
        if (!run(group.first, NULL, &result, err))
            return false;
        builder_value(tree->out, result.type, result.value);
        return true;
    }
    builder_begin(tree->out, BSON_TYPE_DOCUMENT);
    struct group child;
    for (const struct update_action *at = group.first; at < group.end; at = child.end) {
        child = group_at(at, group.end, group.depth + 1);
        if (!creator_in(child))
            continue;
        if (builder_failed(tree->out))
            return builder_error(tree->out, err);
        builder_name(tree->out, name_of(child)->name, name_of(child)->len);
        if (!create(tree, child, err))
            return false;
    }
    builder_end(tree->out);
    return true;
}

static bool apply_document(struct tree *tree, struct group group, struct bytes document, struct error *err);
static bool apply_array(struct tree *tree, struct group group, const struct element *array, struct error *err);

static bool apply_existing(struct tree *tree, struct group group, const struct element *old, bool in_array, struct error *err)
{
    if (is_leaf(group)) {
        struct update_result result;
        if (!run(group.first, old, &result, err))
            return false;
        if (result.removed && !in_array)
            return true;
        builder_name(tree->out, old->name, old->name_len);
        if (result.removed)
            builder_value(tree->out, BSON_TYPE_NULL, bytes_of(NULL, 0));
        else
            builder_value(tree->out, result.type, result.value);
        return true;
    }
    if (old->type != BSON_TYPE_DOCUMENT && old->type != BSON_TYPE_ARRAY) {
        const struct update_action *creator = creator_in(group);
        if (creator)
            return refuse_creation(creator, group.depth + 1, old, err);
        builder_copy(tree->out, old);
        return true;
    }
    builder_name(tree->out, old->name, old->name_len);
    builder_begin(tree->out, old->type);
    if (old->type == BSON_TYPE_DOCUMENT ? !apply_document(tree, group, old->value, err) : !apply_array(tree, group, old, err))
        return false;
    builder_end(tree->out);
    return true;
}

static bool apply_document(struct tree *tree, struct group group, struct bytes document, struct error *err)
{
    memset(tree->applied + (group.first - tree->actions), 0, (size_t)(group.end - group.first));
    struct element_reader reader;
    struct element field;
    struct group child;
    element_reader_init(&reader, document);
    while (element_next(&reader, &field)) {
        if (builder_failed(tree->out))
            return builder_error(tree->out, err);
        /* of fields with one name only the first is the path's */
        if (!find_group(group, &field, &child) || tree->applied[child.first - tree->actions]) {
            builder_copy(tree->out, &field);
            continue;
        }
        if (!apply_existing(tree, child, &field, false, err))
            return false;
        tree->applied[child.first - tree->actions] = true;
    }
    for (const struct update_action *at = group.first; at < group.end; at = child.end) {
        child = group_at(at, group.end, group.depth + 1);
        if (tree->applied[child.first - tree->actions] || !creator_in(child))
            continue;
        if (builder_failed(tree->out))
            return builder_error(tree->out, err);
        builder_name(tree->out, name_of(child)->name, name_of(child)->len);
        if (!create(tree, child, err))
            return false;
    }
    return true;
}

static bool apply_array(struct tree *tree, struct group group, const struct element *array, struct error *err)
{
    const struct update_action *at = group.first; /* indexes stand first and rise */
    int64_t length = 0;
    struct element_reader reader;
    struct element e;
    element_reader_init(&reader, array->value);
    for (; element_next(&reader, &e); length++) {
        if (builder_failed(tree->out))
            return builder_error(tree->out, err);
        if (at == group.end || at->path.components[group.depth + 1].index != length) {
            builder_copy(tree->out, &e);
            continue;
        }
        struct group child = group_at(at, group.end, group.depth + 1);
        if (!apply_existing(tree, child, &e, true, err))
            return false;
        at = child.end;
    }
    while (at < group.end) {
        struct group child = group_at(at, group.end, group.depth + 1);
        const struct update_action *creator = creator_in(child);
        at = child.end;
        if (!creator)
            continue;
        int64_t index = name_of(child)->index;
        if (index == NO_INDEX)
            return refuse_creation(creator, child.depth, array, err);
        if (index - length > MAX_BACKFILL)
            return error_set(err, ERROR_INVALID_ARGUMENT, "update of '%.*s': can't backfill more than %d elements",
                             utf8_fit(creator->path.text, strlen(creator->path.text), 80), creator->path.text, MAX_BACKFILL);
        for (; length < index && !builder_failed(tree->out); length++) {
            builder_index(tree->out, (uint32_t)length);
            builder_value(tree->out, BSON_TYPE_NULL, bytes_of(NULL, 0));
        }
        if (builder_failed(tree->out))
            return builder_error(tree->out, err);
        builder_index(tree->out, (uint32_t)length++);
        if (!create(tree, child, err))
            return false;
    }
    return true;
}

bool update_actions_apply(const struct update_action *actions, size_t n, struct bytes document, struct builder *out, struct error *err)
{
    struct tree tree = { .actions = actions, .applied = mem_try_alloc(n), .out = out };
    if (!tree.applied)
        return error_set(err, ERROR_RESOURCE_EXHAUSTED, "no memory for an update of %zu paths", n);
    /* the top document is the child of a component before the first: depth + 1 is 0 */
    struct group top = { .first = actions, .end = actions + n, .depth = (size_t)-1 };
    bool ok = apply_document(&tree, top, document, err);
    free(tree.applied);
    return ok;
}
