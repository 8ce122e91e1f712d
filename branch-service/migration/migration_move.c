/* The collections of a traditional branch, and their names.
 *
 * A collection is under the branch's prefix until an executor renames it to m_<branch>_<epoch>_ and its name; an executor of a
 * later epoch finds it there, and renames it to names of its own. So a straggler's command finds nothing under the name that
 * it goes for, or something that nobody reads: a placeholder, or what a late insert has created. And it goes for what it saw
 * while the record was still its own only, or it would take the collections from where a later executor has put them.
 *
 * Which one is it, when there are several under one name? The list in the record was taken down before anything was renamed.
 * Where a collection keeps its uuid when it is renamed (MongoDB does), it is the one with that uuid. Otherwise it is the one
 * of the highest epoch, since what appears under an older name does so after the collection has gone from there.
 */
#include <stdio.h>
#include <stdlib.h>

#include <bson/bson.h>

#include "branch-service/catalog/names.h"
#include "branch-service/collection/traditional_indexes.h"
#include "branch-service/migration/migration_internal.h"
#include "branch-service/reasons.h"
#include "common/base/backoff.h"
#include "common/base/random.h"

/* Nothing is like this: the validator of a placeholder, and how to know one. */
#define PLACEHOLDER_FIELD "moved_by_argon"

/* The definitions are in the record, with all that there is to say of 10,000 collections. */
enum { MAX_COLLECTIONS = 10000, MAX_INDEX_BYTES = 8 * 1024 * 1024, MAX_LISTINGS = 12 };

bool migration_join(struct migration_run *run, const char *prefix, const char *name, const char **joined, struct error *err)
{
    size_t len = strlen(prefix) + strlen(name) + 1;
    char *made = arena_alloc(&run->arena, len);
    if (!made)
        return error_out_of_memory(err);
    snprintf(made, len, "%s%s", prefix, name);
    *joined = made;
    return true;
}

static bool is_placeholder(const struct mongo_collection_info *info)
{
    bson_t options;
    bson_iter_t iter, found;
    return bson_init_static(&options, info->options.data, info->options.len) && bson_iter_init(&iter, &options) &&
           bson_iter_find_descendant(&iter, "validator." PLACEHOLDER_FIELD, &found);
}

/* ---- taking the list down --------------------------------------------------------------------------- */

struct listing {
    struct migration_run *run;
    struct migration *migration;
    size_t capacity;
};

static bool refuse_collection(const char *name, const char *why, struct error *err)
{
    error_set(err, ERROR_FAILED_PRECONDITION, "collection '%s' cannot go to a WAL branch: %s", name, why);
    error_set_reason(err, REASON_MIGRATION_STATE);
    return false;
}

static bool add_collection(void *ctx, const struct mongo_collection_info *info, struct error *err)
{
    struct listing *listing = ctx;
    struct migration *migration = listing->migration;
    struct arena *arena = &listing->run->arena;
    const char *name = info->name + strlen(listing->run->record.prefix);
    struct error why;
    if (strcmp(info->type, "collection") != 0 || is_placeholder(info))
        return true; /* what is no collection does not belong to the branch, see traditional_list */
    if (!name_check_collection(name, &why))
        return refuse_collection(info->name, why.message, err);
    if (migration->n == MAX_COLLECTIONS)
        return refuse_collection(info->name, "there are more than 10000", err);
    if (migration->n == listing->capacity) {
        size_t capacity = listing->capacity ? 2 * listing->capacity : 64;
        struct migration_collection *larger = arena_alloc(arena, capacity * sizeof *larger);
        if (!larger)
            return error_out_of_memory(err);
        if (migration->n)
            memcpy(larger, migration->collections, migration->n * sizeof *larger);
        migration->collections = larger;
        listing->capacity = capacity;
    }
    char id[ID_SIZE];
    random_id(id);
    struct migration_collection *collection = &migration->collections[migration->n++];
    *collection = (struct migration_collection) { .name = arena_strdup(arena, name), .id = arena_strdup(arena, id) };
    collection->has_uuid = info->has_uuid;
    memcpy(collection->uuid, info->uuid, sizeof collection->uuid);
    return (collection->name && collection->id) || error_out_of_memory(err);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(((const struct migration_collection *)a)->name, ((const struct migration_collection *)b)->name);
}

static bool read_indexes(struct migration_run *run, struct migration *migration, struct error *err)
{
    size_t bytes = 0;
    for (size_t i = 0; i < migration->n; i++) {
        struct migration_collection *collection = &migration->collections[i];
        struct indexed_collection there = {
            .mongo = run->mongo, .database = run->record.database, .arena = &run->arena, .deadline = base_step_deadline(run->call->deadline)
        };
        if (!migration_check_pulse(run, err) || !migration_join(run, run->record.prefix, collection->name, &there.name, err))
            return false;
        if (!indexes_read(&there, &collection->indexes, err))
            return err->code == ERROR_FAILED_PRECONDITION ? refuse_collection(there.name, err->message, err) : false;
        bytes += collection->indexes.len;
        if (bytes > MAX_INDEX_BYTES)
            return refuse_collection(there.name, "the definitions of all indexes have more than 8 MiB", err);
    }
    return true;
}

bool migration_list_collections(struct migration_run *run, struct migration *migration, struct error *err)
{
    struct listing listing = { .run = run, .migration = migration };
    migration->collections = NULL;
    migration->n = 0;
    if (!mongo_list_collections(run->mongo, run->record.database, run->record.prefix, base_step_deadline(run->call->deadline),
                                add_collection, &listing, err))
        return false;
    if (migration->n)
        qsort(migration->collections, migration->n, sizeof *migration->collections, compare_names);
    migration->listed = true;
    return read_indexes(run, migration, err);
}

/* ---- moving ----------------------------------------------------------------------------------------- */

/* Where a listed collection is: the best of what was seen. */
struct place {
    const char *collection; /* NULL: nowhere */
    uint64_t epoch;         /* 0: under the branch's prefix */
    bool by_uuid;
    bool in_the_way; /* something else has the name that it is to have */
};

struct places {
    struct migration_run *run;
    struct place *items; /* of each collection of the list */
};

static struct place *find_place(struct places *places, const char *name, const struct migration_collection **collection)
{
    const struct migration *migration = &places->run->migration;
    const struct migration_collection key = { .name = name };
    *collection = migration->n ? bsearch(&key, migration->collections, migration->n, sizeof key, compare_names) : NULL;
    return *collection ? &places->items[*collection - migration->collections] : NULL;
}

static bool note_place(void *ctx, const struct mongo_collection_info *info, struct error *err)
{
    struct places *places = ctx;
    struct migration_run *run = places->run;
    const struct migration_collection *collection;
    const size_t prefix = strlen(run->record.prefix);
    uint64_t epoch = 0;
    const char *name;
    if (strncmp(info->name, run->record.prefix, prefix) == 0)
        name = info->name + prefix;
    else if (!migration_parse_name(info->name, run->record.id, &epoch, &name) || epoch < run->migration.first)
        return true; /* left behind by an older migration */
    struct place *place = find_place(places, name, &collection);
    if (!place || (epoch == 0 && is_placeholder(info)))
        return true;
    bool by_uuid = collection->has_uuid && info->has_uuid && memcmp(collection->uuid, info->uuid, sizeof info->uuid) == 0;
    bool better = !place->collection || by_uuid || (!place->by_uuid && epoch > place->epoch);
    if (epoch == run->record.epoch ? !better : place->collection && place->epoch == run->record.epoch && better)
        place->in_the_way = true;
    if (!better)
        return true;
    place->epoch = epoch;
    place->by_uuid = by_uuid;
    place->collection = arena_strdup(&run->arena, info->name);
    return place->collection || error_out_of_memory(err);
}

static bool look_for_places(struct migration_run *run, struct places *places, struct error *err)
{
    const int64_t deadline = base_step_deadline(run->call->deadline);
    char all[MIGRATION_PREFIX_SIZE];
    *places = (struct places) { .run = run, .items = arena_zalloc(&run->arena, (run->migration.n + 1) * sizeof *places->items) };
    if (!places->items)
        return error_out_of_memory(err);
    migration_make_prefix(run->record.id, 0, all);
    return mongo_list_collections(run->mongo, run->record.database, run->record.prefix, deadline, note_place, places, err) &&
           mongo_list_collections(run->mongo, run->record.database, all, deadline, note_place, places, err);
}

/* *moved = false: it is where it should be. */
static bool move_one(struct migration_run *run, const struct place *place, const char *to, bool *moved, struct error *err)
{
    const int64_t deadline = base_step_deadline(run->call->deadline);
    *moved = place->epoch != run->record.epoch;
    if (!*moved)
        return true;
    /* known to be something else by its uuid */
    if (place->in_the_way && !mongo_drop_collection(run->mongo, run->record.database, to, deadline, err))
        return false;
    if (mongo_rename_collection(run->mongo, run->record.database, place->collection, to, deadline, err))
        return true;
    /* it has moved meanwhile, or something has come in the way: the next listing tells */
    return err->code == ERROR_NOT_FOUND || err->code == ERROR_ALREADY_EXISTS;
}

bool migration_move_collections(struct migration_run *run, const char **prefix, struct error *err)
{
    struct backoff backoff = { 0 };
    char mine[MIGRATION_PREFIX_SIZE];
    const char *to;
    migration_make_prefix(run->record.id, run->record.epoch, mine);
    for (int listings = 0;; listings++) {
        struct places places;
        bool again = false;
        const char *missing = NULL;
        migration_test_point("moving");
        /* What was seen is ours to move only if nobody had claimed the record by then: a later executor's names may be the
         * branch's by now. */
        if (!look_for_places(run, &places, err) || !migration_check_mine(run, err))
            return false;
        for (size_t i = 0; i < run->migration.n; i++) {
            const char *name = run->migration.collections[i].name;
            bool moved;
            if (!places.items[i].collection) {
                missing = name; /* a listing beside a rename may show neither name */
                continue;
            }
            if (!migration_check_pulse(run, err) || !migration_join(run, mine, name, &to, err) ||
                !move_one(run, &places.items[i], to, &moved, err))
                return false;
            again = again || moved;
        }
        if (!again && !missing)
            return migration_join(run, mine, "", prefix, err);
        if (missing && listings >= MAX_LISTINGS)
            return error_set(err, ERROR_UNAVAILABLE, "collection '%s' of the branch is nowhere to be found", missing);
        if (missing && !backoff_wait(&backoff, base_step_deadline(run->call->deadline)))
            return error_set(err, ERROR_DEADLINE_EXCEEDED, "deadline passed while collections were renamed");
    }
}

/* ---- placeholders ----------------------------------------------------------------------------------- */

static bool put_placeholder(struct migration_run *run, const char *name, struct bytes options, struct bytes validator, struct error *err)
{
    const int64_t deadline = base_step_deadline(run->call->deadline);
    const char *collection;
    if (!migration_check_pulse(run, err) || !migration_join(run, run->record.prefix, name, &collection, err))
        return false;
    if (mongo_create_collection(run->mongo, run->record.database, collection, options, deadline, err))
        return true;
    /* an insert that came late has created it */
    return err->code == ERROR_ALREADY_EXISTS && mongo_set_validator(run->mongo, run->record.database, collection, validator, deadline, err);
}

bool migration_put_placeholders(struct migration_run *run, struct error *err)
{
    /* every document has an _id */
    bson_t *validator = BCON_NEW("_id", "{", "$exists", BCON_BOOL(false), "}", PLACEHOLDER_FIELD, "{", "$exists", BCON_BOOL(true), "}");
    bson_t options = BSON_INITIALIZER;
    BSON_APPEND_DOCUMENT(&options, "validator", validator);
    bool ok = migration_check_mine(run, err); /* the old names may be another branch's some day */
    for (size_t i = 0; ok && i < run->migration.n; i++)
        ok = put_placeholder(run, run->migration.collections[i].name, bytes_of(bson_get_data(&options), options.len),
                             bytes_of(bson_get_data(validator), validator->len), err);
    bson_destroy(&options);
    bson_destroy(validator);
    return ok;
}

struct dropping {
    struct migration_run *run;
    bool (*wanted)(const struct migration_run *run, const struct mongo_collection_info *info);
    const char **names;
    size_t n, capacity;
};

static bool note_wanted(void *ctx, const struct mongo_collection_info *info, struct error *err)
{
    struct dropping *dropping = ctx;
    if (!dropping->wanted(dropping->run, info))
        return true;
    if (dropping->n == dropping->capacity) {
        size_t capacity = dropping->capacity ? 2 * dropping->capacity : 64;
        const char **larger = arena_alloc(&dropping->run->arena, capacity * sizeof *larger);
        if (!larger)
            return error_out_of_memory(err);
        if (dropping->n)
            memcpy(larger, dropping->names, dropping->n * sizeof *larger);
        dropping->names = larger;
        dropping->capacity = capacity;
    }
    dropping->names[dropping->n] = arena_strdup(&dropping->run->arena, info->name);
    return dropping->names[dropping->n++] || error_out_of_memory(err);
}

static bool drop_wanted(struct dropping *dropping, const char *prefix, struct error *err)
{
    const struct migration_run *run = dropping->run;
    bool ok = mongo_list_collections(run->mongo, run->record.database, prefix, base_step_deadline(run->call->deadline), note_wanted,
                                     dropping, err);
    for (size_t i = 0; ok && i < dropping->n; i++)
        ok = mongo_drop_collection(run->mongo, run->record.database, dropping->names[i], base_step_deadline(run->call->deadline), err);
    return ok;
}

static bool wants_placeholder(const struct migration_run *run, const struct mongo_collection_info *info)
{
    (void)run;
    return is_placeholder(info);
}

bool migration_drop_placeholders(struct migration_run *run, const char *prefix, struct error *err)
{
    struct dropping dropping = { .run = run, .wanted = wants_placeholder };
    return drop_wanted(&dropping, prefix, err);
}

static bool wants_older(const struct migration_run *run, const struct mongo_collection_info *info)
{
    char all[MIGRATION_PREFIX_SIZE];
    migration_make_prefix(run->record.id, 0, all);
    uint64_t epoch = strtoull(info->name + strlen(all), NULL, 10);
    return epoch > 0 && epoch < run->record.epoch;
}

bool migration_drop_older(struct migration_run *run, struct error *err)
{
    struct dropping dropping = { .run = run, .wanted = wants_older };
    char all[MIGRATION_PREFIX_SIZE];
    migration_make_prefix(run->record.id, 0, all);
    return drop_wanted(&dropping, all, err);
}
