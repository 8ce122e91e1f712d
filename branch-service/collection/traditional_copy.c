#include "branch-service/collection/traditional_copy.h"

#include <stdio.h>

#include "branch-service/catalog/index_definitions.h"
#include "branch-service/collection/traditional.h"

/* What goes to MongoDB at a time. */
enum { PART_DOCUMENTS = 1000, PART_BYTES = 8 * 1024 * 1024 };

struct names {
    struct arena *arena;
    size_t prefix; /* bytes that are left out */
    const char *keep;
    const char **items;
    size_t n, capacity;
};

static bool add_name(void *ctx, const struct mongo_collection_info *info, struct error *err)
{
    struct names *names = ctx;
    if (names->keep && strncmp(info->name, names->keep, strlen(names->keep)) == 0)
        return true;
    if (names->n == names->capacity) {
        size_t capacity = names->capacity ? 2 * names->capacity : 64;
        const char **larger = arena_alloc(names->arena, capacity * sizeof *larger);
        if (!larger)
            return error_out_of_memory(err);
        if (names->n)
            memcpy(larger, names->items, names->n * sizeof *larger);
        names->items = larger;
        names->capacity = capacity;
    }
    names->items[names->n] = arena_strdup(names->arena, info->name + names->prefix);
    return names->items[names->n++] || error_out_of_memory(err);
}

static bool add_copied_name(void *ctx, const struct mongo_collection_info *info, struct error *err)
{
    /* what is no collection does not belong to the branch, see traditional_list */
    return strcmp(info->type, "collection") != 0 || add_name(ctx, info, err);
}

bool traditional_drop_prefix(struct mongo *mongo, const char *database, const char *prefix, const char *keep, int64_t deadline,
                             struct error *err)
{
    struct arena arena;
    arena_init(&arena, 0);
    struct names names = { .arena = &arena, .keep = keep };
    bool ok = mongo_list_collections(mongo, database, prefix, deadline, add_name, &names, err);
    for (size_t i = 0; ok && i < names.n; i++)
        ok = mongo_drop_collection(mongo, database, names.items[i], deadline, err);
    arena_destroy(&arena);
    return ok;
}

static const char *join(struct arena *arena, const char *prefix, const char *name, struct error *err)
{
    size_t len = strlen(prefix);
    char *made = arena_alloc(arena, len + strlen(name) + 1);
    if (!made) {
        error_fill(err, ERROR_RESOURCE_EXHAUSTED, "out of memory");
        return NULL;
    }
    memcpy(made, prefix, len);
    strcpy(made + len, name);
    return made;
}

/* ---- from a traditional parent ---------------------------------------------------------------------- */

static bool copy_collection(struct mongo *mongo, const struct branch_record *branch, const struct branch_record *parent, const char *name,
                            struct arena *arena, int64_t deadline, struct error *err)
{
    struct mongo_copy_result copied;
    const char *from = join(arena, parent->prefix, name, err), *to = from ? join(arena, branch->prefix, name, err) : NULL;
    return to &&
           (mongo_copy_collection(mongo, branch->database, from, to, deadline, &copied, err) || error_wrap(err, "collection '%s'", name));
}

static bool copy_traditional(struct mongo *mongo, const struct branch_record *branch, const struct branch_record *parent, int64_t deadline,
                             struct arena *arena, struct error *err)
{
    struct names names = { .arena = arena, .prefix = strlen(parent->prefix) };
    bool ok = mongo_list_collections(mongo, branch->database, parent->prefix, deadline, add_copied_name, &names, err);
    for (size_t i = 0; ok && i < names.n; i++)
        ok = copy_collection(mongo, branch, parent, names.items[i], arena, deadline, err);
    return ok;
}

/* ---- from a WAL parent ------------------------------------------------------------------------------ */

static bool send_part(struct mongo *mongo, const char *database, const char *name, const struct bytes *documents, size_t n,
                      int64_t deadline, struct error *err)
{
    uint8_t items[PART_DOCUMENTS];
    const struct mongo_insert insert = { .documents = documents, .n = n, .items = items };
    if (n == 0)
        return true;
    if (!mongo_insert_many(mongo, database, name, &insert, deadline, err))
        return false;
    for (size_t i = 0; i < n; i++)
        if (items[i] != MONGO_ITEM_INSERTED)
            return error_set(err, ERROR_FAILED_PRECONDITION, "MongoDB does not take a document of the parent");
    return true;
}

static bool send_documents(struct mongo *mongo, const char *database, const char *name, const struct tree *documents, int64_t deadline,
                           struct error *err)
{
    struct bytes part[PART_DOCUMENTS];
    struct tree_cursor cursor;
    struct tree_item item;
    size_t n = 0, bytes = 0;
    bool ok = true;
    tree_cursor_first(&cursor, documents);
    while (ok && tree_cursor_next(&cursor, &item)) {
        part[n++] = item.document;
        bytes += item.document.len;
        if (n < PART_DOCUMENTS && bytes < PART_BYTES)
            continue;
        ok = send_part(mongo, database, name, part, n, deadline, err);
        n = bytes = 0;
    }
    return ok && send_part(mongo, database, name, part, n, deadline, err);
}

/* Behind the documents, which are faster in without them. A branch on the log does not enforce a unique one: its documents may break it. */
static bool create_indexes(struct mongo *mongo, const char *database, const char *name, struct bytes indexes, struct arena *arena,
                           int64_t deadline, struct error *err)
{
    struct bytes *definitions;
    size_t n;
    if (!index_definitions_unpack(indexes, arena, &definitions, &n, err))
        return false;
    if (mongo_create_indexes(mongo, database, name, definitions, n, deadline, err))
        return true;
    err->outcome = OUTCOME_UNKNOWN; /* of the whole creation it says nothing */
    if (err->code == ERROR_ALREADY_EXISTS || err->code == ERROR_INVALID_ARGUMENT)
        err->code = ERROR_FAILED_PRECONDITION;
    return error_wrap(err, "its indexes");
}

static bool copy_from_view(struct project *project, struct mongo *mongo, const struct branch_record *branch,
                           const struct branch_record *parent, const struct collection_record *collection, struct arena *arena,
                           int64_t deadline, struct error *err)
{
    const char *to = join(arena, branch->prefix, collection->name, err);
    struct tree *documents;
    if (!to || !project_view(project, parent->id, collection->id, branch->cut, deadline, &documents, err))
        return false;
    bool ok = mongo_create_collection(mongo, branch->database, to, (struct bytes) { 0 }, deadline, err) &&
              send_documents(mongo, branch->database, to, documents, deadline, err) &&
              create_indexes(mongo, branch->database, to, collection->indexes, arena, deadline, err);
    tree_unref(documents);
    return ok || error_wrap(err, "collection '%s'", collection->name);
}

static bool copy_wal(struct project *project, struct mongo *mongo, const struct branch_record *branch, const struct branch_record *parent,
                     int64_t deadline, struct arena *arena, struct error *err)
{
    struct tree *collections;
    struct tree_cursor cursor;
    struct tree_item item;
    bool ok = true;
    if (branch->cut == 0) /* before the first batch */
        return true;
    if (!project_view(project, parent->id, COLLECTIONS_COLLECTION, branch->cut, deadline, &collections, err))
        return false;
    tree_cursor_first(&cursor, collections);
    while (ok && tree_cursor_next(&cursor, &item)) {
        struct collection_record record;
        ok = catalog_decode_collection(item.document, &record, err) &&
             copy_from_view(project, mongo, branch, parent, &record, arena, deadline, err);
    }
    tree_unref(collections);
    return ok;
}

bool traditional_copy_parent(struct registry *registry, struct project *project, const struct branch_record *branch,
                             const struct branch_record *parent, int64_t deadline, struct error *err)
{
    struct mongo *mongo;
    struct arena arena;
    if (!traditional_mongo(registry, &mongo, err))
        return false;
    arena_init(&arena, 0);
    bool ok = parent->kind == BRANCH_TRADITIONAL ? copy_traditional(mongo, branch, parent, deadline, &arena, err)
                                                 : copy_wal(project, mongo, branch, parent, deadline, &arena, err);
    arena_destroy(&arena);
    return ok;
}
