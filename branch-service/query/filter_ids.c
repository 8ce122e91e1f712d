/* Which _ids can match: sets of ranges of encoded keys, put together as the conditions on _id are.
 *
 * An _id is never an array and never missing in a stored document, so a condition on it holds for a range of keys or
 * two: keys of one canonical type lie next to each other, and in the order of their values. No key begins another
 * one, so what follows directly behind a key is the key with a zero byte at its end.
 */
#include <stdlib.h>

#include "branch-service/query/filter_ops.h"
#include "common/base/caller.h"
#include "common/bson/key_encoding.h"

/* On the heap while it changes; the keys are the filter's. */
struct id_set {
    bool all; /* or those in the ranges: rising, apart */
    size_t n, capacity;
    struct id_range *ranges;
};

struct finder {
    struct filter *filter;
    struct error *err;
    bool failed;
};

static const struct id_set all_ids = { .all = true };

static bool goes_on(struct finder *finder, size_t steps)
{
    if (!finder->failed && !caller_still_waits(steps, finder->err))
        finder->failed = true;
    return !finder->failed;
}

static void *allocate(struct finder *finder, size_t size)
{
    void *p = arena_alloc(&finder->filter->arena, size);
    if (!p && !finder->failed)
        finder->failed = !error_out_of_memory(finder->err);
    return p;
}

/* NULL: no document can have it. The byte behind the key is a zero. */
static struct bytes encode(struct finder *finder, const struct element *value)
{
    struct buffer key = { 0 };
    struct error reason;
    struct bytes result = { 0 };
    if (key_encode_element(value, &key, &reason)) {
        buffer_append_u8(&key, 0);
        const uint8_t *copy = key.failed ? NULL : arena_copy(&finder->filter->arena, key.data, key.len);
        if (copy)
            result = bytes_of(copy, key.len - 1);
        else
            finder->failed = !error_out_of_memory(finder->err);
    } else if (reason.code != ERROR_INVALID_ARGUMENT) {
        *finder->err = reason;
        finder->failed = true;
    }
    buffer_destroy(&key);
    return result;
}

static struct bytes behind(struct bytes key)
{
    return bytes_of(key.data, key.len + 1);
}

/* Ends of ranges: empty is behind everything. */
static int compare_ends(struct bytes a, struct bytes b)
{
    return a.len == 0 || b.len == 0 ? (a.len == 0) - (b.len == 0) : bytes_compare(a, b);
}

static bool is_empty(struct id_range range)
{
    return range.to.len > 0 && bytes_compare(range.from, range.to) >= 0;
}

static void add_range(struct finder *finder, struct id_set *set, struct bytes from, struct bytes to)
{
    struct id_range range = { from, to };
    if (is_empty(range) || finder->failed)
        return;
    if (set->n == set->capacity) {
        size_t capacity = set->capacity ? 2 * set->capacity : 4;
        struct id_range *grown = realloc(set->ranges, capacity * sizeof *grown);
        if (!grown) {
            finder->failed = !error_out_of_memory(finder->err);
            return;
        }
        set->ranges = grown;
        set->capacity = capacity;
    }
    set->ranges[set->n++] = range;
}

static struct id_set one_range(struct finder *finder, struct bytes from, struct bytes to)
{
    struct id_set set = { 0 };
    add_range(finder, &set, from, to);
    return set;
}

static struct id_set equal_to(struct finder *finder, const struct element *value)
{
    struct bytes key = encode(finder, value);
    return key.len ? one_range(finder, key, behind(key)) : (struct id_set) { 0 };
}

/* Behind NaN, which is compared with by none but itself, when the type is number. */
static struct bytes begin_of_type(struct finder *finder, const struct element *value, struct bytes key)
{
    uint8_t *begin = allocate(finder, 2);
    if (!begin)
        return key;
    begin[0] = key.data[0];
    begin[1] = 2; /* the class behind NaN; see key_encoding.c */
    return bytes_of(begin, element_is_number(value) ? 2 : 1);
}

static struct bytes end_of_type(struct finder *finder, struct bytes key)
{
    uint8_t *end = allocate(finder, 1);
    if (!end)
        return key;
    *end = (uint8_t)(key.data[0] + 1);
    return bytes_of(end, 1);
}

static struct id_set compared_with(struct finder *finder, const struct element *value, bool less, bool or_equal)
{
    struct bytes key = encode(finder, value), from, to;
    if (value->type == BSON_TYPE_ARRAY) /* compares with arrays only */
        return (struct id_set) { 0 };
    if (finder->failed || !key.len) /* too long for a key, but not to compare with */
        return all_ids;
    if (value->type == (uint8_t)BSON_TYPE_MINKEY && !less)
        return one_range(finder, or_equal ? key : behind(key), bytes_of(NULL, 0));
    if (value->type == BSON_TYPE_MAXKEY && less)
        return one_range(finder, bytes_of(NULL, 0), or_equal ? behind(key) : key);
    bool is_nan = element_is_number(value) && key.data[1] == 1;
    from = less ? begin_of_type(finder, value, key) : or_equal ? key : behind(key);
    to = !less ? end_of_type(finder, key) : or_equal ? behind(key) : key;
    if (is_nan && !or_equal)
        return (struct id_set) { 0 };
    return is_nan ? one_range(finder, key, behind(key)) : one_range(finder, from, to);
}

static int order_ranges(const void *a, const void *b)
{
    const struct id_range *x = a, *y = b;
    return bytes_compare(x->from, y->from);
}

/* Sorts, and joins those that touch. */
static void normalize(struct id_set *set)
{
    size_t kept = 0;
    if (set->n)
        qsort(set->ranges, set->n, sizeof *set->ranges, order_ranges);
    for (size_t i = 0; i < set->n; i++) {
        struct id_range *last = kept ? &set->ranges[kept - 1] : NULL;
        if (!last || (last->to.len > 0 && bytes_compare(last->to, set->ranges[i].from) < 0))
            set->ranges[kept++] = set->ranges[i];
        else if (compare_ends(last->to, set->ranges[i].to) < 0)
            last->to = set->ranges[i].to;
    }
    set->n = kept;
}

static struct id_set in_list(struct finder *finder, const struct value_list *list)
{
    struct id_set set = { 0 };
    if (list->n_regexes > 0)
        return all_ids;
    for (size_t i = 0; i < list->n && !finder->failed; i++) {
        struct bytes key = encode(finder, &list->values[i]);
        if (key.len)
            add_range(finder, &set, key, behind(key));
    }
    normalize(&set);
    return set;
}

/* Takes both. */
static struct id_set intersect(struct finder *finder, struct id_set a, struct id_set b)
{
    if (a.all || b.all)
        return a.all ? b : a;
    struct id_set both = { 0 };
    for (size_t i = 0, j = 0; i < a.n && j < b.n && goes_on(finder, 1);) {
        const struct id_range *x = &a.ranges[i], *y = &b.ranges[j];
        bool x_ends = compare_ends(x->to, y->to) <= 0;
        add_range(finder, &both, bytes_compare(x->from, y->from) < 0 ? y->from : x->from, x_ends ? x->to : y->to);
        if (x_ends)
            i++;
        else
            j++;
    }
    free(a.ranges);
    free(b.ranges);
    return both;
}

static struct id_set ids_of(struct finder *finder, const struct filter_node *node);

static struct id_set unite_children(struct finder *finder, const struct filter_node *node)
{
    const struct filter_node *end = node_end(finder->filter, node);
    struct id_set united = { 0 };
    for (const struct filter_node *child = node + 1; child < end && !united.all; child = node_end(finder->filter, child)) {
        struct id_set set = ids_of(finder, child);
        for (size_t i = 0; i < set.n; i++)
            add_range(finder, &united, set.ranges[i].from, set.ranges[i].to);
        united.all = set.all || finder->failed;
        free(set.ranges);
    }
    if (united.all) {
        free(united.ranges);
        return all_ids;
    }
    normalize(&united);
    return united;
}

static bool is_about_id(const struct filter_node *node)
{
    return node->kind == NODE_PREDICATE && !node->negated && strcmp(node->path.text, "_id") == 0;
}

/* Recurses as deep as the spec nests. */
static struct id_set ids_of(struct finder *finder, const struct filter_node *node)
{
    const struct filter_node *end = node_end(finder->filter, node);
    struct id_set set = all_ids;
    switch (node->kind) {
    case NODE_AND:
        for (const struct filter_node *child = node + 1; child < end && !finder->failed; child = node_end(finder->filter, child))
            set = intersect(finder, set, ids_of(finder, child));
        return set;
    case NODE_OR:
        return unite_children(finder, node);
    case NODE_NOTHING:
        return (struct id_set) { 0 };
    default:
        break;
    }
    if (!is_about_id(node))
        return all_ids;
    if (node->matches == match_equal)
        return equal_to(finder, &node->operand);
    if (node->matches == match_list)
        return in_list(finder, node->prepared);
    if (node->matches == match_less || node->matches == match_less_equal)
        return compared_with(finder, &node->operand, true, node->matches == match_less_equal);
    if (node->matches == match_greater || node->matches == match_greater_equal)
        return compared_with(finder, &node->operand, false, node->matches == match_greater_equal);
    return all_ids;
}

/* The key that the first equality demands; others may contradict it, matching finds that out. */
static struct bytes demanded_key(struct finder *finder, const struct filter_node *node)
{
    const struct filter_node *end = node_end(finder->filter, node);
    struct bytes key = { 0 };
    if (is_about_id(node) && node->matches == match_equal)
        return encode(finder, &node->operand);
    if (node->kind != NODE_AND)
        return key;
    for (const struct filter_node *child = node + 1; child < end && !key.len && !finder->failed; child = node_end(finder->filter, child))
        key = demanded_key(finder, child);
    return key;
}

static bool is_one_key(struct id_range range)
{
    size_t len = range.from.len;
    return len > 0 && range.to.len == len + 1 && range.to.data[len] == 0 && memcmp(range.from.data, range.to.data, len) == 0;
}

bool filter_find_ids(struct filter *filter, struct error *err)
{
    struct finder finder = { .filter = filter, .err = err };
    struct id_set set = ids_of(&finder, filter->nodes);
    if (!finder.failed)
        filter->single_id = demanded_key(&finder, filter->nodes);
    if (!finder.failed && !set.all) {
        filter->id_ranges = arena_copy(&filter->arena, set.ranges, set.n * sizeof *set.ranges);
        filter->has_id_ranges = filter->id_ranges != NULL;
        filter->n_id_ranges = set.n;
        if (!filter->id_ranges)
            finder.failed = !error_out_of_memory(err);
        else if (!filter->single_id.len && set.n == 1 && is_one_key(set.ranges[0]))
            filter->single_id = set.ranges[0].from;
    }
    free(set.ranges);
    return !finder.failed;
}

bool filter_single_id(const struct filter *filter, struct bytes *key)
{
    if (filter->single_id.len == 0)
        return false;
    *key = filter->single_id;
    return true;
}

bool filter_id_bounds(const struct filter *filter, const struct id_range **ranges, size_t *n)
{
    if (!filter->has_id_ranges)
        return false;
    *ranges = filter->id_ranges;
    *n = filter->n_id_ranges;
    return true;
}
