/* Indexes of a traditional branch's collections: MongoDB's own. */
#include "branch-service/collection/traditional_indexes.h"
#include "branch-service/catalog/index_definitions.h"
#include "branch-service/collection/traditional_internal.h"
#include "common/base/limits.h"
#include "common/bson/element.h"

/* ---- reading ---------------------------------------------------------------------------------------- */

struct listed {
    struct arena *arena;
    struct bytes definitions[MAX_INDEX_DEFINITIONS + 1]; /* with that of _id */
    size_t n;
};

static bool add_definition(void *ctx, struct bytes definition, struct error *err)
{
    struct listed *listed = ctx;
    if (listed->n == ARRAY_LEN(listed->definitions))
        return error_set(err, ERROR_FAILED_PRECONDITION, "more than %d indexes", MAX_INDEX_DEFINITIONS);
    listed->definitions[listed->n++] = bytes_of(arena_copy(listed->arena, definition.data, definition.len), definition.len);
    return listed->definitions[listed->n - 1].data || error_out_of_memory(err);
}

bool indexes_read(const struct indexed_collection *collection, struct bytes *indexes, struct error *err)
{
    struct listed listed = { .arena = collection->arena };
    if (!mongo_list_indexes(collection->mongo, collection->database, collection->name, collection->deadline, add_definition, &listed, err))
        return false;
    if (index_definitions_pack(listed.definitions, listed.n, collection->arena, indexes, err))
        return true;
    err->code = err->code == ERROR_INVALID_ARGUMENT ? ERROR_FAILED_PRECONDITION : err->code; /* the caller did nothing wrong */
    return false;
}

static struct indexed_collection indexed(const struct traditional *operation, const char *name, struct arena *arena)
{
    return (struct indexed_collection) {
        .mongo = operation->mongo, .database = operation->record.database, .name = name, .arena = arena, .deadline = operation->deadline
    };
}

bool traditional_read_indexes(struct traditional *operation, const char *collection, struct arena *arena, struct bytes *indexes,
                              struct error *err)
{
    const char *name = traditional_collection_name(operation, collection, err);
    if (!name)
        return false;
    const struct indexed_collection there = indexed(operation, name, arena);
    return indexes_read(&there, indexes, err) || error_wrap(err, "indexes of collection '%s'", collection);
}

/* ---- comparing -------------------------------------------------------------------------------------- */

static struct bytes name_of(struct bytes definition)
{
    struct element name;
    return element_find(definition, "name", 4, &name) ? element_string(&name) : (struct bytes) { 0 };
}

static const struct bytes *find_named(const struct bytes *definitions, size_t n, struct bytes name)
{
    for (size_t i = 0; i < n; i++)
        if (bytes_equal(name_of(definitions[i]), name))
            return &definitions[i];
    return NULL;
}

/* The version, which MongoDB adds, and what it says of no index: how it was built, and before 4.4 where it is. */
static bool is_no_matter(const struct element *field)
{
    return element_is_named(field, "v", 1) || element_is_named(field, "ns", 2) || element_is_named(field, "background", 10);
}

static bool has_all_of(struct bytes definition, struct bytes other)
{
    struct element_reader reader;
    struct element field, found;
    element_reader_init(&reader, other);
    while (element_next(&reader, &field))
        if (!is_no_matter(&field) && (!element_find(definition, field.name, field.name_len, &found) || found.type != field.type ||
                                      !bytes_equal(found.value, field.value)))
            return false;
    return true;
}

/* As MongoDB lists it. Where it lists more than was asked for (of a text index, the weights), the index counts as another one and
 * is made anew: that takes time and does no harm. */
static bool is_same(struct bytes a, struct bytes b)
{
    return has_all_of(a, b) && has_all_of(b, a);
}

/* ---- changing --------------------------------------------------------------------------------------- */

struct definitions {
    struct bytes *items;
    size_t n;
};

static bool unpack(struct bytes indexes, struct arena *arena, struct definitions *definitions, struct error *err)
{
    return index_definitions_unpack(indexes, arena, &definitions->items, &definitions->n, err);
}

static bool read_both(const struct indexed_collection *collection, struct bytes indexes, struct definitions *wanted,
                      struct definitions *there, struct error *err)
{
    struct bytes found;
    if (unpack(indexes, collection->arena, wanted, err) && indexes_read(collection, &found, err) &&
        unpack(found, collection->arena, there, err))
        return true;
    err->outcome = OUTCOME_NOT_APPLIED;
    return false;
}

bool indexes_drop_others(const struct indexed_collection *collection, struct bytes wanted, bool *changed, struct error *err)
{
    struct definitions want, there;
    if (!read_both(collection, wanted, &want, &there, err))
        return false;
    for (size_t i = 0; i < there.n; i++) {
        const struct bytes name = name_of(there.items[i]), *kept = find_named(want.items, want.n, name);
        if (kept && is_same(*kept, there.items[i]))
            continue;
        const char *text = arena_strndup(collection->arena, (const char *)name.data, name.len);
        if (!text)
            return error_out_of_memory(err);
        *changed = true;
        if (!mongo_drop_index(collection->mongo, collection->database, collection->name, text, collection->deadline, err))
            return false;
    }
    return true;
}

bool indexes_create_missing(const struct indexed_collection *collection, struct bytes wanted, struct error *err)
{
    struct definitions want, there;
    size_t n = 0;
    if (!read_both(collection, wanted, &want, &there, err))
        return false;
    for (size_t i = 0; i < want.n; i++)
        if (!find_named(there.items, there.n, name_of(want.items[i])))
            want.items[n++] = want.items[i];
    return mongo_create_indexes(collection->mongo, collection->database, collection->name, want.items, n, collection->deadline, err);
}

/* ---- of a branch's collection ----------------------------------------------------------------------- */

static bool create_collection(const struct indexed_collection *collection, bool *changed, struct error *err)
{
    struct error why;
    if (mongo_create_collection(collection->mongo, collection->database, collection->name, (struct bytes) { 0 }, collection->deadline,
                                &why)) {
        *changed = true;
        return true;
    }
    if (why.code == ERROR_ALREADY_EXISTS)
        return true;
    *err = why;
    return false;
}

bool traditional_set_indexes(struct registry *registry, const struct collection_path *path, struct bytes indexes,
                             const struct write_request *request, uint64_t *lsn, struct error *err)
{
    struct traditional operation;
    const char *name;
    bool changed = false; /* MongoDB has been told to */
    if (!traditional_begin_write(&operation, registry, path, request, &name, err))
        return false;
    const struct indexed_collection collection = indexed(&operation, name, &operation.arena);
    bool ok = create_collection(&collection, &changed, err) && indexes_drop_others(&collection, indexes, &changed, err) &&
              indexes_create_missing(&collection, indexes, err);
    if (!ok) {
        enum error_outcome outcome = changed ? OUTCOME_UNKNOWN : err->outcome;
        /* a unique index over documents that are not */
        if (err->code == ERROR_ALREADY_EXISTS)
            err->code = ERROR_FAILED_PRECONDITION;
        err->outcome = outcome;
        ok = error_wrap(err, "collection '%s'", path->collection);
    }
    ok = traditional_settle(&operation, ok, err);
    traditional_end(&operation);
    *lsn = 0;
    return ok;
}
