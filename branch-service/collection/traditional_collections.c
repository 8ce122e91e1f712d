#include <stdlib.h>

#include "branch-service/catalog/names.h"
#include "branch-service/collection/traditional_internal.h"
#include "common/base/limits.h"

/* ---- listing ---------------------------------------------------------------------------------------- */

struct listing {
    size_t prefix; /* its length */
    const char *after;
    struct arena *arena;
    struct collection_record *records;
    size_t n, capacity;
};

static bool grow(struct listing *listing, struct error *err)
{
    if (listing->n < listing->capacity)
        return true;
    size_t capacity = listing->capacity ? 2 * listing->capacity : 64;
    struct collection_record *larger = arena_alloc(listing->arena, capacity * sizeof *larger);
    if (!larger)
        return error_out_of_memory(err);
    if (listing->n)
        memcpy(larger, listing->records, listing->n * sizeof *larger);
    listing->records = larger;
    listing->capacity = capacity;
    return true;
}

/* The uuid survives a rename, as the ids of WAL branches do. */
static const char *format_id(const struct mongo_collection_info *info, struct arena *arena)
{
    static const char digits[] = "0123456789abcdef";
    size_t len = info->has_uuid ? sizeof info->uuid : 0;
    char *text = arena_alloc(arena, 2 * len + 1);
    for (size_t i = 0; text && i < len; i++) {
        text[2 * i] = digits[info->uuid[i] >> 4];
        text[2 * i + 1] = digits[info->uuid[i] & 15];
    }
    if (text)
        text[2 * len] = '\0';
    return text;
}

/* Views, and names that no operation takes, are not the branch's. */
static bool add_collection(void *ctx, const struct mongo_collection_info *info, struct error *err)
{
    struct listing *listing = ctx;
    const char *name = info->name + listing->prefix;
    struct error ignored;
    if (strcmp(info->type, "collection") != 0 || !name_check_collection(name, &ignored) || strcmp(name, listing->after) <= 0)
        return true;
    if (!grow(listing, err))
        return false;
    struct collection_record *record = &listing->records[listing->n++];
    *record = (struct collection_record) { .name = arena_strdup(listing->arena, name), .id = format_id(info, listing->arena) };
    return (record->name && record->id) || error_out_of_memory(err);
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const struct collection_record *)a)->name, ((const struct collection_record *)b)->name);
}

/* All of them after a name, in order. */
static bool list_all(struct traditional *operation, const char *after, struct arena *arena, struct listing *listing, struct error *err)
{
    *listing = (struct listing) { .prefix = strlen(operation->record.prefix), .after = after, .arena = arena };
    if (!mongo_list_collections(operation->mongo, operation->record.database, operation->record.prefix, operation->deadline, add_collection,
                                listing, err))
        return false;
    if (listing->n)
        qsort(listing->records, listing->n, sizeof *listing->records, by_name);
    return true;
}

bool traditional_list(struct registry *registry, const char *project, const char *branch, const struct read_options *read,
                      const char *after, size_t n, struct arena *arena, struct collection_record *collections, size_t *n_collections,
                      bool *more, uint64_t *lsn, struct error *err)
{
    struct traditional operation;
    struct listing listing;
    if (!traditional_begin_read(&operation, registry, project, branch, NULL, read, NULL, err))
        return false;
    bool ok = list_all(&operation, after, arena, &listing, err);
    size_t found = 0, index_bytes = 0;
    for (; ok && found < listing.n && found < n && index_bytes < MAX_INDEX_DEFINITION_BYTES; found++) {
        collections[found] = listing.records[found];
        ok = traditional_read_indexes(&operation, listing.records[found].name, arena, &collections[found].indexes, err);
        index_bytes += collections[found].indexes.len;
    }
    ok = traditional_settle(&operation, ok, err);
    traditional_end(&operation);
    if (!ok)
        return false;
    *n_collections = found;
    *more = listing.n > found;
    *lsn = 0;
    return true;
}

/* ---- changing --------------------------------------------------------------------------------------- */

static bool find_collection(struct traditional *operation, const char *name, struct arena *arena, struct collection_record *record,
                            bool *found, struct error *err)
{
    struct listing listing;
    *found = false;
    if (!list_all(operation, "", arena, &listing, err)) {
        err->outcome = OUTCOME_NOT_APPLIED;
        return false;
    }
    for (size_t i = 0; !*found && i < listing.n; i++) {
        *found = strcmp(listing.records[i].name, name) == 0;
        if (*found && record)
            *record = listing.records[i];
    }
    return true;
}

static bool exists(const char *branch, const char *name, struct error *err)
{
    return error_set(err, ERROR_ALREADY_EXISTS, "collection '%s' exists on branch '%s'", name, branch);
}

static bool missing(const char *branch, const char *name, struct error *err)
{
    return error_set(err, ERROR_NOT_FOUND, "collection '%s' does not exist on branch '%s'", name, branch);
}

/* MongoDB's own messages name its collections, not ours. Keeps the outcome. */
static bool retell(const char *branch, const char *name, const char *other, struct error *err)
{
    enum error_outcome outcome = err->outcome;
    if (err->code == ERROR_NOT_FOUND)
        missing(branch, name, err);
    else if (err->code == ERROR_ALREADY_EXISTS)
        exists(branch, other, err);
    err->outcome = outcome;
    return false;
}

/* An answer that is definite, and had no effect. */
static bool refused(struct error *err)
{
    err->outcome = OUTCOME_NOT_APPLIED;
    return false;
}

bool traditional_create(struct registry *registry, const struct collection_path *path, const struct write_request *request,
                        struct arena *arena, struct collection_record *collection, uint64_t *lsn, struct error *err)
{
    struct traditional operation;
    const char *name;
    bool found;
    if (!traditional_begin_write(&operation, registry, path, request, &name, err))
        return false;
    /* asked before: MongoDB says nothing of one that is there with the same options */
    bool ok = find_collection(&operation, path->collection, arena, NULL, &found, err);
    if (ok && found)
        ok = exists(path->branch, path->collection, err) || refused(err);
    else if (ok)
        ok = mongo_create_collection(operation.mongo, operation.record.database, name, (struct bytes) { 0 }, operation.deadline, err) ||
             retell(path->branch, path->collection, path->collection, err);
    ok = traditional_settle(&operation, ok, err);
    if (ok && (!find_collection(&operation, path->collection, arena, collection, &found, err) || !found)) {
        /* it was made; what it is called in MongoDB is worth less than the truth about that */
        *collection = (struct collection_record) { .name = arena_strdup(arena, path->collection), .id = "" };
        ok = collection->name || error_out_of_memory(err);
    }
    traditional_end(&operation);
    *lsn = 0;
    return ok;
}

bool traditional_rename(struct registry *registry, const struct collection_path *path, const char *new_name,
                        const struct write_request *request, uint64_t *lsn, struct error *err)
{
    struct traditional operation;
    const char *from, *to;
    if (!name_check_collection(new_name, err))
        return refused(err);
    if (!traditional_begin_write(&operation, registry, path, request, &from, err))
        return false;
    bool from_found, to_found = false;
    struct arena arena;
    arena_init(&arena, 0);
    to = traditional_collection_name(&operation, new_name, err);
    bool ok = to && find_collection(&operation, path->collection, &arena, NULL, &from_found, err) &&
              find_collection(&operation, new_name, &arena, NULL, &to_found, err);
    if (ok && !from_found)
        ok = missing(path->branch, path->collection, err) || refused(err);
    else if (ok && to_found)
        ok = exists(path->branch, new_name, err) || refused(err);
    else if (ok)
        ok = mongo_rename_collection(operation.mongo, operation.record.database, from, to, operation.deadline, err) ||
             retell(path->branch, path->collection, new_name, err);
    ok = traditional_settle(&operation, ok, err);
    arena_destroy(&arena);
    traditional_end(&operation);
    *lsn = 0;
    return ok;
}

bool traditional_drop(struct registry *registry, const struct collection_path *path, const struct write_request *request, uint64_t *lsn,
                      struct error *err)
{
    struct traditional operation;
    const char *name;
    bool found;
    if (!traditional_begin_write(&operation, registry, path, request, &name, err))
        return false;
    struct arena arena;
    arena_init(&arena, 0);
    bool ok = find_collection(&operation, path->collection, &arena, NULL, &found, err);
    if (ok && !found)
        ok = missing(path->branch, path->collection, err) || refused(err);
    ok = ok && mongo_drop_collection(operation.mongo, operation.record.database, name, operation.deadline, err);
    ok = traditional_settle(&operation, ok, err);
    arena_destroy(&arena);
    traditional_end(&operation);
    *lsn = 0;
    return ok;
}
