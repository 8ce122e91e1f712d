#include "branch-service/query/update_upsert.h"

#include <stdlib.h>

#include "branch-service/query/path.h"
#include "branch-service/query/query_error.h"
#include "branch-service/query/update.h"
#include "branch-service/query/update_ops.h"
#include "branch-service/query/value_type.h"
#include "common/bson/utf8.h"
#include "common/bson/value_compare.h"

struct equality {
    struct path path;
    struct element value;
};

struct equalities {
    struct arena arena;
    bool only_id;
    struct equality *items;
    size_t n, capacity;
};

static bool is_or_begins(const char *name, size_t len, const char *top)
{
    size_t n = strlen(top);
    return len >= n && memcmp(name, top, n) == 0 && (len == n || name[n] == '.');
}

static bool add(struct equalities *all, const struct element *field, const struct element *value, struct error *err)
{
    if (all->only_id && !is_or_begins(field->name, field->name_len, "_id"))
        return true;
    if (all->only_id && field->name_len > 3)
        return query_error(err, MONGO_NOT_EXACT_VALUE_FIELD, "the field '_id' must be exactly specified, field at sub-path '%.*s' found",
                           utf8_fit(field->name, field->name_len, 80), field->name);
    if (all->n == all->capacity) {
        size_t capacity = all->capacity ? 2 * all->capacity : 8;
        struct equality *larger = arena_alloc(&all->arena, capacity * sizeof *larger);
        if (!larger)
            return error_out_of_memory(err);
        if (all->n)
            memcpy(larger, all->items, all->n * sizeof *larger);
        all->items = larger;
        all->capacity = capacity;
    }
    struct equality *item = &all->items[all->n];
    item->value = *value;
    if (!path_parse(field->name, field->name_len, &all->arena, &item->path, err))
        return false;
    all->n++;
    return true;
}

/* The only element of an array. */
static bool single(const struct element *array, struct element *e)
{
    struct element_reader reader;
    struct element more;
    if (array->type != BSON_TYPE_ARRAY)
        return false;
    element_reader_init(&reader, array->value);
    return element_next(&reader, e) && !element_next(&reader, &more);
}

/* The only value in an array, which may have it more than once: the first of them. */
static bool one_value(const struct element *array, struct element *value)
{
    struct element_reader reader;
    struct element e;
    if (array->type != BSON_TYPE_ARRAY)
        return false;
    element_reader_init(&reader, array->value);
    if (!element_next(&reader, value))
        return false;
    while (element_next(&reader, &e)) {
        if (value_compare_elements(&e, value) != 0)
            return false;
    }
    return true;
}

static bool add_conditions(struct equalities *all, const struct element *field, struct error *err)
{
    struct element_reader reader, values;
    struct element condition, value;
    element_reader_init(&reader, field->value);
    while (element_next(&reader, &condition)) {
        if (element_is_named(&condition, "$eq", 3)) {
            if (!add(all, field, &condition, err))
                return false;
        } else if (element_is_named(&condition, "$in", 3)) {
            if (one_value(&condition, &value) && value.type != BSON_TYPE_REGEX && !add(all, field, &value, err))
                return false;
        } else if (element_is_named(&condition, "$all", 4) && condition.type == BSON_TYPE_ARRAY) {
            element_reader_init(&values, condition.value);
            while (element_next(&values, &value)) {
                if (value.type != BSON_TYPE_REGEX && !is_operator_document(&value) && !add(all, field, &value, err))
                    return false;
            }
        }
    }
    return true;
}

static bool add_filter(struct equalities *all, struct bytes filter, struct error *err)
{
    struct element_reader reader, parts;
    struct element field, part;
    element_reader_init(&reader, filter);
    while (element_next(&reader, &field)) {
        if (element_is_named(&field, "$and", 4) && field.type == BSON_TYPE_ARRAY) {
            element_reader_init(&parts, field.value);
            while (element_next(&parts, &part)) { /* as deep as documents nest */
                if (part.type == BSON_TYPE_DOCUMENT && !add_filter(all, part.value, err))
                    return false;
            }
        } else if (element_is_named(&field, "$or", 3)) {
            if (single(&field, &part) && part.type == BSON_TYPE_DOCUMENT && !add_filter(all, part.value, err))
                return false;
        } else if (!element_name_is_operator(&field) && field.type != BSON_TYPE_REGEX) {
            if (is_operator_document(&field) ? !add_conditions(all, &field, err) : !add(all, &field, &field, err))
                return false;
        }
    }
    return true;
}

static int compare_texts(const void *x, const void *y)
{
    const struct equality *a = x, *b = y;
    return strcmp(a->path.text, b->path.text);
}

/* By component, so that what begins with a path stands behind it. */
static int compare_components(const void *x, const void *y)
{
    const struct path *a = &((const struct equality *)x)->path, *b = &((const struct equality *)y)->path;
    for (size_t i = 0; i < a->n && i < b->n; i++) {
        int order =
            bytes_compare(bytes_of(a->components[i].name, a->components[i].len), bytes_of(b->components[i].name, b->components[i].len));
        if (order)
            return order;
    }
    return (a->n > b->n) - (a->n < b->n);
}

static bool check_paths(const struct equalities *all, struct error *err)
{
    if (all->n > 0)
        qsort(all->items, all->n, sizeof *all->items, compare_components);
    for (size_t i = 1; i < all->n; i++) {
        const char *shorter = all->items[i - 1].path.text, *longer = all->items[i].path.text;
        if (!is_or_begins(longer, strlen(longer), shorter))
            continue;
        if (strcmp(shorter, longer) == 0)
            return query_error(err, MONGO_NOT_SINGLE_VALUE_FIELD, "cannot infer query fields to set, path '%.*s' is matched twice",
                               utf8_fit(longer, strlen(longer), 80), longer);
        return query_error(err, MONGO_NOT_SINGLE_VALUE_FIELD, "cannot infer query fields to set, both paths '%.*s' and '%.*s' are matched",
                           utf8_fit(longer, strlen(longer), 80), longer, utf8_fit(shorter, strlen(shorter), 80), shorter);
    }
    return true;
}

/* Items [.., end) agree in the components before depth; recursion is bounded by MAX_NESTING, where the builder
 * fails. In the order of their texts, too, those with one component more in common stand together. */
static void write_items(const struct equality *at, const struct equality *end, size_t depth, struct builder *out)
{
    while (at < end && !builder_failed(out)) {
        const struct path_component *name = &at->path.components[depth];
        const struct equality *next = at + 1;
        while (next < end && next->path.n > depth && next->path.components[depth].len == name->len &&
               memcmp(next->path.components[depth].name, name->name, name->len) == 0)
            next++;
        builder_name(out, name->name, name->len);
        if (at->path.n == depth + 1) {
            builder_value(out, at->value.type, at->value.value);
        } else {
            builder_begin(out, BSON_TYPE_DOCUMENT);
            write_items(at, next, depth + 1, out);
            builder_end(out);
        }
        at = next;
    }
}

bool update_check_upsert(struct bytes filter, struct error *err)
{
    return filter.len == 0 || !update_has_expr(filter) ||
           query_error(err, MONGO_QUERY_FEATURE_NOT_ALLOWED, "$expr is not allowed in the query predicate for an upsert");
}

bool update_write_equalities(struct bytes filter, bool only_id, struct builder *out, struct error *err)
{
    struct equalities all = { .only_id = only_id };
    if (filter.len == 0)
        return true;
    arena_init_metered(&all.arena, 0);
    bool ok = add_filter(&all, filter, err) && check_paths(&all, err);
    if (ok && all.n > 0) {
        qsort(all.items, all.n, sizeof *all.items, compare_texts);
        write_items(all.items, all.items + all.n, 0, out);
        ok = !builder_failed(out) || builder_error(out, err);
    }
    arena_destroy(&all.arena);
    return ok;
}
