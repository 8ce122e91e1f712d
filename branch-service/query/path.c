#include "branch-service/query/path.h"

#include "branch-service/query/query_error.h"
#include "common/bson/utf8.h"

struct walk {
    const struct path *path;
    path_visit_fn *visit;
    void *ctx;
    int64_t index; /* in the outermost array */
};

/* Indexes have no leading zeros and at most 32 bits. */
static int64_t parse_index(const char *name, size_t len)
{
    if (len == 0 || len > 10 || (len > 1 && name[0] == '0'))
        return NO_INDEX;
    int64_t index = 0;
    for (size_t i = 0; i < len; i++) {
        if (name[i] < '0' || name[i] > '9')
            return NO_INDEX;
        index = index * 10 + (name[i] - '0');
    }
    return index <= UINT32_MAX ? index : NO_INDEX;
}

void path_component_init(struct path_component *component, const char *name, size_t len)
{
    *component = (struct path_component) { .name = name, .len = (uint32_t)len, .index = parse_index(name, len) };
}

static size_t count_components(const char *text, size_t len)
{
    size_t n = 1;
    for (size_t i = 0; i < len; i++)
        n += text[i] == '.';
    return n;
}

bool path_parse(const char *text, size_t len, struct arena *arena, struct path *path, struct error *err)
{
    size_t n = count_components(text, len);
    if (n > MAX_PATH_COMPONENTS)
        return error_set(err, ERROR_INVALID_ARGUMENT, "the path '%.*s...' has more than %d components", utf8_fit(text, len, 60), text,
                         MAX_PATH_COMPONENTS);
    char *copy = arena_strndup(arena, text, len);
    struct path_component *components = arena_alloc(arena, n * sizeof *components);
    if (!copy || !components)
        return error_out_of_memory(err);
    const char *at = copy;
    for (size_t i = 0; i < n; i++) {
        const char *dot = memchr(at, '.', (size_t)(copy + len - at));
        size_t part = (size_t)((dot ? dot : copy + len) - at);
        path_component_init(&components[i], at, part);
        at += part + 1;
    }
    *path = (struct path) { .text = copy, .n = n, .components = components };
    return true;
}

bool field_name_is_reserved(const char *name, size_t len)
{
    static const char *const fields[] = { "$id", "$ref", "$db", "$sortKey", "$recordId" };
    if (len == 0 || name[0] != '$')
        return false;
    for (size_t i = 0; i < ARRAY_LEN(fields); i++) {
        if (bytes_equal(bytes_of(name, len), bytes_of_string(fields[i])))
            return false;
    }
    return true;
}

bool field_path_parse(const char *text, size_t len, struct arena *arena, struct path *path, struct error *err)
{
    if (len == 0)
        return query_error(err, 40352, "FieldPath cannot be constructed with empty string");
    if (text[len - 1] == '.')
        return query_error(err, 40353, "FieldPath must not end with a '.'");
    if (!path_parse(text, len, arena, path, err))
        return false;
    for (size_t i = 0; i < path->n; i++) {
        const struct path_component *name = &path->components[i];
        if (name->len == 0)
            return query_error(err, 15998, "FieldPath field names may not be empty strings");
        if (field_name_is_reserved(name->name, name->len))
            return query_error(err, 16410, "FieldPath field names may not start with '$': '%.*s'", utf8_fit(text, len, 80), text);
        if (memchr(name->name, 0, name->len))
            return query_error(err, 16411, "FieldPath field names may not contain '\\0'");
    }
    return true;
}

/* What begins as a number does. */
static bool goes_by_length(const struct path_component *c)
{
    return c->len > 0 && c->name[0] >= '0' && c->name[0] <= '9' && (c->name[0] != '0' || c->len == 1);
}

int path_component_compare(const struct path_component *a, const struct path_component *b)
{
    if (a->len != b->len && goes_by_length(a) && goes_by_length(b))
        return a->len < b->len ? -1 : 1;
    return bytes_compare(bytes_of(a->name, a->len), bytes_of(b->name, b->len));
}

/* Where in the path a walk is when it comes to a document or array. There can be several such places at once,
 * for a document in an array is tried with the component that is its index and with the one behind it. All of
 * them go through the document together: apart, their number could double with every index in the path. */
typedef unsigned __int128 places;

static places place(size_t i)
{
    return (places)1 << i;
}

/* The first of some, of which there is one. */
static size_t first_place(places set)
{
    uint64_t low = (uint64_t)set;
    return low ? (size_t)__builtin_ctzll(low) : 64 + (size_t)__builtin_ctzll((uint64_t)(set >> 64));
}

static bool same_name(const struct path_component *a, const struct path_component *b)
{
    return a->len == b->len && memcmp(a->name, b->name, a->len) == 0;
}

static bool visit_leaf(struct walk *walk, const struct element *e)
{
    struct element_reader reader;
    struct element inner;
    if (e->type == BSON_TYPE_ARRAY && !walk->path->whole_arrays) {
        bool outermost = walk->index == NO_INDEX;
        element_reader_init(&reader, e->value);
        for (int64_t i = 0; element_next(&reader, &inner); i++) {
            if (outermost)
                walk->index = i;
            if (walk->visit(&inner, walk->ctx))
                return true;
        }
        if (outermost)
            walk->index = NO_INDEX;
    }
    return walk->visit(e, walk->ctx);
}

static bool visit_array(struct walk *walk, struct bytes array, places at);

/* This and visit_array descend a level of the document with every call: bounded by MAX_NESTING. */
static bool visit_document(struct walk *walk, struct bytes document, places at)
{
    const struct path *path = walk->path;
    while (at) {
        const struct path_component *name = &path->components[first_place(at)];
        places here = 0; /* those with that name */
        for (places left = at; left; left &= left - 1) {
            if (same_name(name, &path->components[first_place(left)]))
                here |= place(first_place(left));
        }
        at &= ~here;

        struct element e;
        places last = here & place(path->n - 1), next = (here & ~last) << 1;
        if (!element_find(document, name->name, name->len, &e)) {
            if (walk->visit(NULL, walk->ctx))
                return true;
            continue;
        }
        if (last && visit_leaf(walk, &e))
            return true;
        if (!next)
            continue;
        if (e.type == BSON_TYPE_DOCUMENT ? visit_document(walk, e.value, next)
            : e.type == BSON_TYPE_ARRAY  ? visit_array(walk, e.value, next)
                                         : walk->visit(NULL, walk->ctx))
            return true;
    }
    return false;
}

static bool visit_array(struct walk *walk, struct bytes array, places at)
{
    const struct path *path = walk->path;
    struct element_reader reader;
    struct element e;
    bool outermost = walk->index == NO_INDEX;
    element_reader_init(&reader, array);
    for (int64_t i = 0; element_next(&reader, &e); i++) {
        if (outermost)
            walk->index = i;
        places indexed = 0; /* those for which this is the element */
        for (places left = at; left; left &= left - 1) {
            if (path->components[first_place(left)].index == i)
                indexed |= place(first_place(left));
        }
        places last = indexed & place(path->n - 1), next = (indexed & ~last) << 1;
        if (e.type == BSON_TYPE_DOCUMENT && visit_document(walk, e.value, at | next))
            return true;
        if (e.type == BSON_TYPE_ARRAY && next && visit_array(walk, e.value, next))
            return true;
        if (last && walk->visit(&e, walk->ctx))
            return true;
    }
    if (outermost)
        walk->index = NO_INDEX;
    return false;
}

/* Most paths lead through documents alone: there is one place at a time until an array comes. */
static bool walk_path(struct walk *walk, struct bytes document)
{
    const struct path *path = walk->path;
    struct element e;
    for (size_t i = 0;; i++) {
        if (!element_find(document, path->components[i].name, path->components[i].len, &e))
            return walk->visit(NULL, walk->ctx);
        if (i + 1 == path->n)
            return visit_leaf(walk, &e);
        if (e.type == BSON_TYPE_ARRAY)
            return visit_array(walk, e.value, place(i + 1));
        if (e.type != BSON_TYPE_DOCUMENT)
            return walk->visit(NULL, walk->ctx);
        document = e.value;
    }
}

bool path_visit_position(const struct path *path, struct bytes document, path_visit_fn *visit, void *ctx, int64_t *index)
{
    struct walk walk = { .path = path, .visit = visit, .ctx = ctx, .index = NO_INDEX };
    if (!walk_path(&walk, document))
        return false;
    *index = walk.index;
    return true;
}

bool path_visit(const struct path *path, struct bytes document, path_visit_fn *visit, void *ctx)
{
    int64_t index;
    return path_visit_position(path, document, visit, ctx, &index);
}
