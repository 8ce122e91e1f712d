/* Indexes of a traditional branch's collections: MongoDB's own. */
#include "branch-service/collection/traditional_internal.h"
#include "branch-service/index_definitions.h"
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

bool traditional_read_indexes(struct traditional *operation, const char *collection, struct arena *arena, struct bytes *indexes,
                              struct error *err)
{
    struct listed listed = { .arena = arena };
    const char *name = traditional_collection_name(operation, collection, err);
    if (!name)
        return false;
    if (!mongo_list_indexes(operation->mongo, operation->record.database, name, operation->deadline, add_definition, &listed, err))
        return error_wrap(err, "indexes of collection '%s'", collection);
    if (index_definitions_pack(listed.definitions, listed.n, arena, indexes, err))
        return true;
    err->code = err->code == ERROR_INVALID_ARGUMENT ? ERROR_FAILED_PRECONDITION : err->code; /* the caller did nothing wrong */
    return error_wrap(err, "indexes of collection '%s'", collection);
}

/* ---- setting ---------------------------------------------------------------------------------------- */

struct setting {
    struct traditional operation;
    const struct collection_path *path;
    const char *name;
    struct arena *arena;
    struct bytes *wanted, *there;
    size_t n_wanted, n_there;
    bool changed; /* MongoDB has been told to */
};

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

static bool drop_others(struct setting *setting, struct error *err)
{
    const struct traditional *operation = &setting->operation;
    size_t kept = 0;
    for (size_t i = 0; i < setting->n_there; i++) {
        const struct bytes name = name_of(setting->there[i]), *wanted = find_named(setting->wanted, setting->n_wanted, name);
        if (wanted && is_same(*wanted, setting->there[i])) {
            setting->there[kept++] = setting->there[i];
            continue;
        }
        const char *text = arena_strndup(setting->arena, (const char *)name.data, name.len);
        if (!text)
            return error_out_of_memory(err);
        if (!mongo_drop_index(operation->mongo, operation->record.database, setting->name, text, operation->deadline, err))
            return false;
        setting->changed = true;
    }
    setting->n_there = kept;
    return true;
}

/* All at once: MongoDB makes all of them or none. */
static bool create_missing(struct setting *setting, struct error *err)
{
    const struct traditional *operation = &setting->operation;
    size_t n = 0;
    for (size_t i = 0; i < setting->n_wanted; i++)
        if (!find_named(setting->there, setting->n_there, name_of(setting->wanted[i])))
            setting->wanted[n++] = setting->wanted[i];
    return mongo_create_indexes(operation->mongo, operation->record.database, setting->name, setting->wanted, n, operation->deadline, err);
}

static bool set(struct setting *setting, struct bytes indexes, struct error *err)
{
    struct traditional *operation = &setting->operation;
    struct bytes there;
    struct error why;
    if (!index_definitions_unpack(indexes, setting->arena, &setting->wanted, &setting->n_wanted, err))
        return false;
    if (mongo_create_collection(operation->mongo, operation->record.database, setting->name, (struct bytes) { 0 }, operation->deadline,
                                &why))
        setting->changed = true;
    else if (why.code != ERROR_ALREADY_EXISTS) {
        *err = why;
        return false;
    }
    if (!traditional_read_indexes(operation, setting->path->collection, setting->arena, &there, err) ||
        !index_definitions_unpack(there, setting->arena, &setting->there, &setting->n_there, err)) {
        err->outcome = OUTCOME_NOT_APPLIED;
        return false;
    }
    return drop_others(setting, err) && create_missing(setting, err);
}

bool traditional_set_indexes(struct registry *registry, const struct collection_path *path, struct bytes indexes,
                             const struct write_request *request, uint64_t *lsn, struct error *err)
{
    struct setting setting = { .path = path };
    if (!traditional_begin_write(&setting.operation, registry, path, request, &setting.name, err))
        return false;
    setting.arena = &setting.operation.arena;
    bool ok = set(&setting, indexes, err);
    if (!ok) {
        enum error_outcome outcome = setting.changed ? OUTCOME_UNKNOWN : err->outcome;
        /* a unique index over documents that are not */
        if (err->code == ERROR_ALREADY_EXISTS)
            err->code = ERROR_FAILED_PRECONDITION;
        err->outcome = outcome;
        ok = error_wrap(err, "collection '%s'", path->collection);
    }
    ok = traditional_settle(&setting.operation, ok, err);
    traditional_end(&setting.operation);
    *lsn = 0;
    return ok;
}
