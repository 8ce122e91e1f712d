/* $push: inserts values into an array ($each, $position), then sorts it ($sort), then cuts it ($slice). */
#include <stdlib.h>

#include "branch-service/query/query_error.h"
#include "branch-service/query/update_ops.h"
#include "common/base/arena.h"
#include "common/base/caller.h"
#include "common/bson/utf8.h"
#include "common/bson/value_compare.h"

enum { MAX_SORT_KEYS = 32 }; /* as MongoDB has for other sorts */

struct sort_key {
    struct path path;
    bool descending;
};

struct push {
    struct bytes each; /* an array; data NULL: the argument is the one value */
    size_t n_values;
    bool has_position, has_slice, sorts;
    int64_t position, slice;
    /* by the whole value, or by fields */
    bool descending;
    size_t n_keys;
    struct sort_key *keys;
};

static bool compile_number(const struct element *clause, int64_t *number, struct error *err)
{
    if (update_whole_number(clause, number))
        return true;
    return query_error(err, MONGO_BAD_VALUE, "the value for %s must be an integer value, not a %s", clause->name,
                       element_type_name(clause->type));
}

static bool compile_direction(const struct element *e, bool *descending, struct error *err)
{
    int64_t direction;
    if (!update_whole_number(e, &direction) || (direction != 1 && direction != -1))
        return query_error(err, MONGO_BAD_VALUE, "the $sort element value must be either 1 or -1");
    *descending = direction == -1;
    return true;
}

static bool compile_key(struct arena *arena, const struct element *e, struct sort_key *key, struct error *err)
{
    if (!compile_direction(e, &key->descending, err) || !path_parse(e->name, e->name_len, arena, &key->path, err))
        return false;
    for (size_t i = 0; i < key->path.n; i++) {
        if (key->path.components[i].len == 0)
            return query_error(err, MONGO_BAD_VALUE, "the $sort field '%.*s' has an empty part", utf8_fit(e->name, e->name_len, 80),
                               e->name);
    }
    return true;
}

static bool compile_sort(struct arena *arena, const struct element *clause, struct push *push, struct error *err)
{
    struct element_reader reader;
    struct element e;
    size_t n = 0;
    push->sorts = true;
    if (element_is_number(clause))
        return compile_direction(clause, &push->descending, err);
    if (clause->type != BSON_TYPE_DOCUMENT)
        return query_error(err, MONGO_BAD_VALUE,
                           "the $sort is invalid: use 1/-1 to sort the whole element, or {field: 1/-1} to sort embedded fields");
    element_reader_init(&reader, clause->value);
    while (element_next(&reader, &e))
        n++;
    if (n == 0)
        return query_error(err, MONGO_BAD_VALUE, "the $sort pattern is empty when it should be a set of fields");
    if (n > MAX_SORT_KEYS)
        return query_error(err, MONGO_BAD_VALUE, "the $sort pattern has more than %d fields", MAX_SORT_KEYS);
    push->keys = arena_alloc(arena, n * sizeof *push->keys);
    if (!push->keys)
        return error_out_of_memory(err);
    element_reader_init(&reader, clause->value);
    while (element_next(&reader, &e)) {
        if (!compile_key(arena, &e, &push->keys[push->n_keys++], err))
            return false;
    }
    return true;
}

static bool compile_each(const struct element *clause, struct push *push, struct error *err)
{
    struct element_reader reader;
    struct element e;
    if (clause->type != BSON_TYPE_ARRAY)
        return query_error(err, MONGO_BAD_VALUE, "the argument to $each in $push must be an array but it was of type %s",
                           element_type_name(clause->type));
    push->each = clause->value;
    push->n_values = 0;
    element_reader_init(&reader, clause->value);
    while (element_next(&reader, &e))
        push->n_values++;
    return true;
}

static bool compile_clause(struct arena *arena, const struct element *clause, struct push *push, struct error *err)
{
    bool again;
    if (element_is_named(clause, "$each", 5)) {
        again = push->each.data != NULL;
        if (!again)
            return compile_each(clause, push, err);
    } else if (element_is_named(clause, "$position", 9)) {
        again = push->has_position;
        push->has_position = true;
        if (!again)
            return compile_number(clause, &push->position, err);
    } else if (element_is_named(clause, "$slice", 6)) {
        again = push->has_slice;
        push->has_slice = true;
        if (!again)
            return compile_number(clause, &push->slice, err);
    } else if (element_is_named(clause, "$sort", 5)) {
        again = push->sorts;
        if (!again)
            return compile_sort(arena, clause, push, err);
    } else {
        return query_error(err, MONGO_BAD_VALUE, "unrecognized clause in $push: %.*s", utf8_fit(clause->name, clause->name_len, 80),
                           clause->name);
    }
    return query_error(err, MONGO_BAD_VALUE, "only one %s is supported in $push", clause->name);
}

bool update_push_compile(struct update_compiler *compiler, struct update_action *action, struct error *err)
{
    struct element_reader reader;
    struct element clause;
    struct push *push = arena_zalloc(compiler->arena, sizeof *push);
    if (!push)
        return error_out_of_memory(err);
    push->n_values = 1;
    action->compiled = push;
    if (action->argument.type != BSON_TYPE_DOCUMENT || !element_find(action->argument.value, "$each", 5, &clause))
        return true;
    element_reader_init(&reader, action->argument.value);
    while (element_next(&reader, &clause)) {
        if (!compile_clause(compiler->arena, &clause, push, err))
            return false;
    }
    return true;
}

/* ---- the sort ------------------------------------------------------------------------------------------ */

/* What a key is sorted by: the value at its path. Arrays on the way are entered by index only. */
static struct element key_value(const struct element *e, const struct path *path)
{
    static const struct element null = { .type = BSON_TYPE_NULL, .name = "" };
    struct element at = *e;
    for (size_t i = 0; i < path->n; i++) {
        if (at.type != BSON_TYPE_DOCUMENT && (at.type != BSON_TYPE_ARRAY || i == 0))
            return null;
        if (!element_find(at.value, path->components[i].name, path->components[i].len, &at))
            return null;
    }
    return at;
}

/* Equal ones stay in their order, which is `was`. */
struct sorted_element {
    struct element e;
    size_t was;
};

/* One sort of elements on its way. */
struct sorting {
    const struct push *push;
    struct error *err;
    bool failed; /* the order means nothing any more */
};

static int compare_sorted(const void *x, const void *y, void *ctx)
{
    struct sorting *sorting = ctx;
    const struct push *push = sorting->push;
    const struct sorted_element *a = x, *b = y;
    int order = 0;
    size_t bytes = (a->e.value.len + b->e.value.len) * (push->n_keys + 1);
    if (sorting->failed || !caller_still_waits(caller_steps_of(bytes), sorting->err)) {
        sorting->failed = true;
        return 0; /* at which every sort stops looking further, where another order than before could lead it astray */
    }
    if (push->n_keys == 0) {
        order = value_compare_elements(&a->e, &b->e);
        order = push->descending ? -order : order;
    }
    for (size_t i = 0; i < push->n_keys && order == 0; i++) {
        struct element u = key_value(&a->e, &push->keys[i].path), v = key_value(&b->e, &push->keys[i].path);
        order = value_compare_elements(&u, &v);
        order = push->keys[i].descending ? -order : order;
    }
    return order ? order : (a->was > b->was) - (a->was < b->was);
}

/* ---- the push ------------------------------------------------------------------------------------------ */

/* The array after the insertion, from front to back: old elements, the new values, old elements. */
struct merged {
    struct element_reader old, values;
    const struct element *single; /* the one value that is not in an array */
    size_t at, insert_at, insert_end, length;
};

static bool merged_next(struct merged *merged, struct element *e)
{
    if (merged->at == merged->length)
        return false;
    bool inserted = merged->at >= merged->insert_at && merged->at < merged->insert_end;
    merged->at++;
    if (!inserted)
        return element_next(&merged->old, e);
    if (!merged->single)
        return element_next(&merged->values, e);
    *e = *merged->single;
    return true;
}

static size_t insert_position(const struct push *push, size_t length)
{
    if (!push->has_position || push->position >= (int64_t)length)
        return length;
    if (push->position >= 0)
        return (size_t)push->position;
    return push->position > -(int64_t)length ? length - (size_t)-push->position : 0;
}

static void merged_init(struct merged *merged, const struct update_action *action, const struct element *old)
{
    const struct push *push = action->compiled;
    struct element e;
    size_t length = 0;
    *merged = (struct merged) { .single = push->each.data ? NULL : &action->argument };
    if (old) {
        element_reader_init(&merged->old, old->value);
        while (element_next(&merged->old, &e))
            length++;
        element_reader_init(&merged->old, old->value);
    }
    if (push->each.data)
        element_reader_init(&merged->values, push->each);
    merged->insert_at = insert_position(push, length);
    merged->insert_end = merged->insert_at + push->n_values;
    merged->length = length + push->n_values;
}

/* What $slice leaves: [*from, *to). */
static void slice_range(const struct push *push, size_t length, size_t *from, size_t *to)
{
    *from = 0;
    *to = length;
    if (!push->has_slice)
        return;
    if (push->slice >= 0 && push->slice < (int64_t)length)
        *to = (size_t)push->slice;
    if (push->slice < 0 && push->slice > -(int64_t)length)
        *from = length - (size_t)-push->slice;
}

static bool write_sorted(const struct push *push, struct merged *merged, struct update_slot *slot, size_t from, size_t to,
                         struct error *err)
{
    struct arena arena;
    arena_init_metered(&arena, 0);
    struct sorted_element *sorted = arena_alloc(&arena, (merged->length ? merged->length : 1) * sizeof *sorted);
    size_t n = 0;
    if (!sorted)
        return error_out_of_memory(err);
    for (; merged_next(merged, &sorted[n].e); n++)
        sorted[n].was = n;
    struct sorting sorting = { .push = push, .err = err };
    qsort_r(sorted, n, sizeof *sorted, compare_sorted, &sorting);
    for (size_t i = from; i < to && i < n; i++) {
        builder_index(slot->out, (uint32_t)(i - from));
        builder_value(slot->out, sorted[i].e.type, sorted[i].e.value);
    }
    arena_destroy(&arena);
    return !sorting.failed;
}

bool update_push_apply(const struct update_action *action, struct update_slot *slot, struct error *err)
{
    const struct push *push = action->compiled;
    struct merged merged;
    struct element e;
    size_t from, to;
    if (slot->old && slot->old->type != BSON_TYPE_ARRAY)
        return query_error(err, MONGO_BAD_VALUE, "$push needs an array, but the field is of type %s", element_type_name(slot->old->type));
    merged_init(&merged, action, slot->old);
    slice_range(push, merged.length, &from, &to);
    if (slot->old && !push->sorts && push->n_values == 0 && from == 0 && to == merged.length) {
        update_slot_keep(slot);
        return true;
    }
    update_slot_begin_array(slot);
    if (push->sorts) {
        if (!write_sorted(push, &merged, slot, from, to, err))
            return false;
    } else {
        size_t i = 0;
        if (slot->old && from == 0 && to > merged.insert_at && merged.insert_end == merged.length) {
            /* behind all that is there, of which everything stays */
            builder_raw(slot->out, slot->old->value.data + 4, slot->old->value.len - 5);
            i = merged.at = merged.insert_at;
        }
        for (; i < to && merged_next(&merged, &e); i++) {
            if (i < from)
                continue;
            builder_index(slot->out, (uint32_t)(i - from));
            builder_value(slot->out, e.type, e.value);
        }
    }
    builder_end(slot->out);
    return true;
}
