/* Compiling sorts, and what they find in documents. */
#include "branch-service/query/sort.h"

#include <stdlib.h>

#include "branch-service/query/path.h"
#include "branch-service/query/query_error.h"
#include "common/base/memory.h"
#include "common/bson/number.h"
#include "common/bson/utf8.h"
#include "common/bson/value_compare.h"

struct sort {
    struct arena arena;
    size_t n;
    struct {
        struct path path;
        int direction;
    } keys[MAX_SORT_KEYS];
};

/* {$meta: ...}, which is there for text search and the like. */
static bool refuse_meta(const struct element *e, struct error *err)
{
    static const char *const known[] = { "textScore", "randVal", "searchScore", "geoNearDistance" };
    struct element_reader reader;
    struct element meta;
    int shown = utf8_fit(e->name, e->name_len, 80);
    element_reader_init(&reader, e->value);
    if (!element_next(&reader, &meta) || !element_is_named(&meta, "$meta", 5))
        return query_error(err, 17312, "$meta is the only expression that a sort has: '%.*s'", shown, e->name);
    if (element_next(&reader, &(struct element) { 0 }))
        return query_error(err, MONGO_FAILED_TO_PARSE, "$meta has other keys beside it in the sort of '%.*s'", shown, e->name);
    for (size_t i = 0; i < ARRAY_LEN(known); i++) {
        if (meta.type == BSON_TYPE_UTF8 && bytes_equal(element_string(&meta), bytes_of_string(known[i])))
            return query_error(err, MONGO_COMMAND_NOT_SUPPORTED, "a sort by $meta is not supported: '%.*s'", shown, e->name);
    }
    return query_error(err, 31138, "Illegal $meta sort: '%.*s'", shown, e->name);
}

static bool read_direction(const struct element *e, int *direction, struct error *err)
{
    int64_t whole;
    bool exact;
    if (e->type == BSON_TYPE_DOCUMENT)
        return refuse_meta(e, err);
    if (!element_is_number(e))
        return query_error(err, 15974, "Illegal key in sort specification: '%.*s'", utf8_fit(e->name, e->name_len, 80), e->name);
    if (!number_truncate(e, &whole, &exact) || (whole != 1 && whole != -1))
        return query_error(err, 15975, "sort key ordering must be 1 (for ascending) or -1 (for descending): '%.*s'",
                           utf8_fit(e->name, e->name_len, 80), e->name);
    *direction = (int)whole;
    return true;
}

static bool add_key(struct sort *sort, const struct element *e, struct error *err)
{
    struct path *path = &sort->keys[sort->n].path;
    if (sort->n == MAX_SORT_KEYS)
        return query_error(err, MONGO_BAD_VALUE, "a sort has at most %d keys", MAX_SORT_KEYS);
    if (!read_direction(e, &sort->keys[sort->n].direction, err) || !field_path_parse(e->name, e->name_len, &sort->arena, path, err))
        return false;
    for (size_t i = 0; i < sort->n; i++) {
        if (strcmp(sort->keys[i].path.text, path->text) == 0)
            return query_error(err, 7472500, "sort key '%s' is duplicated", path->text);
    }
    sort->n++;
    return true;
}

bool sort_compile(struct bytes spec, struct sort **out, struct error *err)
{
    struct sort *sort = mem_zalloc(sizeof *sort);
    struct element_reader reader;
    struct element e;
    arena_init_metered(&sort->arena, 0);
    element_reader_init(&reader, spec);
    while (element_next(&reader, &e)) {
        if (!add_key(sort, &e, err)) {
            sort_free(sort);
            return false;
        }
    }
    *out = sort;
    return true;
}

void sort_free(struct sort *sort)
{
    if (!sort)
        return;
    arena_destroy(&sort->arena);
    free(sort);
}

size_t sort_key_count(const struct sort *sort)
{
    return sort->n;
}

int sort_key_direction(const struct sort *sort, size_t key)
{
    return sort->keys[key].direction;
}

int sort_id_direction(const struct sort *sort)
{
    return sort->n == 1 && strcmp(sort->keys[0].path.text, "_id") == 0 ? sort->keys[0].direction : 0;
}

int sort_compare(const struct sort *sort, const struct sort_key *a, const struct sort_key *b)
{
    for (size_t i = 0; i < sort->n; i++) {
        int order = value_compare_elements(&a->values[i], &b->values[i]);
        if (order)
            return order * sort->keys[i].direction;
    }
    return 0;
}

/* ---- keys ---- */

static const struct element null_value = { .type = BSON_TYPE_NULL, .name = "" };
static const struct element undefined_value = { .type = BSON_TYPE_UNDEFINED, .name = "" };

/* How far the paths have come. */
struct walk {
    struct element at[MAX_SORT_KEYS];
    size_t component[MAX_SORT_KEYS];
    bool done[MAX_SORT_KEYS];   /* at is the value */
    bool nested[MAX_SORT_KEYS]; /* at is an array that an index chose in another */
};

struct search {
    const struct sort *sort;
    struct sort_key *best;
    bool found;
    struct error *err;
};

/* Goes on to the end of the path or the next array. */
static void follow(const struct path *path, struct walk *walk, size_t key)
{
    struct element *at = &walk->at[key];
    while (!walk->done[key] && at->type != BSON_TYPE_ARRAY) {
        size_t i = walk->component[key];
        if (i == path->n) {
            walk->done[key] = true;
            return;
        }
        if (at->type != BSON_TYPE_DOCUMENT || !element_find(at->value, path->components[i].name, path->components[i].len, at)) {
            *at = null_value;
            walk->done[key] = true;
            return;
        }
        walk->component[key]++;
    }
}

static bool search_keys(struct search *s, struct walk *walk);

/* What an item of the array is for a path that has come to it and goes on: it has the next field, or the array itself
 * has it, as an index; both are one too many. An array in an array is entered by an index only. */
static bool enter(struct search *s, const struct path *path, const struct element *item, const struct element *indexed, struct walk *walk,
                  size_t key)
{
    const struct path_component *name = &path->components[walk->component[key]];
    struct element field;
    bool has_field = item->type == BSON_TYPE_DOCUMENT && element_find(item->value, name->name, name->len, &field);
    walk->nested[key] = false;
    if (has_field && indexed->name)
        return query_error(s->err, 16746,
                           "Ambiguous field name found in array (do not use numeric field names in embedded elements in an array), "
                           "field: '%.*s'",
                           utf8_fit(name->name, name->len, 80), name->name);
    if (has_field) {
        walk->at[key] = *item;
    } else if (indexed->name) {
        walk->at[key] = *indexed;
        walk->component[key]++;
        walk->nested[key] = indexed->type == BSON_TYPE_ARRAY;
    } else {
        walk->at[key] = null_value;
        walk->done[key] = true;
    }
    return true;
}

/* Each item of the array, for all paths that have come to it. An empty one is less than null where it is the value; one
 * that an index chose is a value as a whole. */
static bool expand(struct search *s, const struct walk *walk, struct element array, bool nested)
{
    struct element indexed[MAX_SORT_KEYS];
    struct element_reader reader;
    struct element item;
    for (size_t i = 0; i < s->sort->n; i++) {
        const struct path *path = &s->sort->keys[i].path;
        const struct path_component *name = &path->components[walk->component[i]];
        if (walk->done[i] || walk->component[i] == path->n || !element_find(array.value, name->name, name->len, &indexed[i]))
            indexed[i].name = NULL;
    }
    element_reader_init(&reader, array.value);
    bool empty = !element_next(&reader, &item);
    if (empty)
        item = undefined_value;
    do {
        struct walk next = *walk;
        for (size_t i = 0; i < s->sort->n; i++) {
            const struct path *path = &s->sort->keys[i].path;
            if (next.done[i])
                continue;
            if (next.component[i] == path->n) {
                next.at[i] = nested && !empty ? array : item;
                next.done[i] = true;
            } else if (!enter(s, path, &item, &indexed[i], &next, i)) {
                return false;
            }
        }
        if (!search_keys(s, &next))
            return false;
    } while (!empty && element_next(&reader, &item));
    return true;
}

/* Recursion: once for every array on the way, at most the paths' length. */
static bool search_keys(struct search *s, struct walk *walk)
{
    const struct element *array = NULL;
    bool nested = false;
    for (size_t i = 0; i < s->sort->n; i++) {
        follow(&s->sort->keys[i].path, walk, i);
        if (walk->done[i])
            continue;
        if (array && array->value.data != walk->at[i].value.data)
            return query_error(s->err, MONGO_BAD_VALUE, "cannot sort with keys that are parallel arrays");
        array = &walk->at[i];
        nested |= walk->nested[i];
    }
    if (array)
        return expand(s, walk, *array, nested);
    struct sort_key key;
    for (size_t i = 0; i < s->sort->n; i++)
        key.values[i] = walk->at[i];
    if (!s->found || sort_compare(s->sort, &key, s->best) < 0)
        memcpy(s->best->values, key.values, s->sort->n * sizeof *key.values);
    s->found = true;
    return true;
}

bool sort_key_of(const struct sort *sort, struct bytes document, struct sort_key *key, struct error *err)
{
    struct search search = { .sort = sort, .best = key, .err = err };
    struct walk walk;
    for (size_t i = 0; i < sort->n; i++) {
        walk.at[i] = (struct element) { .type = BSON_TYPE_DOCUMENT, .name = "", .value = document };
        walk.component[i] = 0;
        walk.done[i] = walk.nested[i] = false;
    }
    return search_keys(&search, &walk);
}
