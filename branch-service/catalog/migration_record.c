#include "branch-service/catalog/migration_record.h"

#include <bson/bson.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "branch-service/catalog/lineage.h"
#include "branch-service/reasons.h"

/* ---- steps ------------------------------------------------------------------------------------------ */

static const struct step {
    enum branch_state from, to;
} steps[] = {
    { BRANCH_READY, BRANCH_PREPARING },
    { BRANCH_PREPARING, BRANCH_FROZEN },
    { BRANCH_FROZEN, BRANCH_FROZEN }, /* the list of collections is taken down, or: it is still there */
    { BRANCH_FROZEN, BRANCH_RENAMED },
    { BRANCH_RENAMED, BRANCH_RENAMED }, /* it is still there */
    { BRANCH_RENAMED, BRANCH_STARTED },
    { BRANCH_STARTED, BRANCH_COPIED },
    { BRANCH_COPIED, BRANCH_VERIFIED },
    { BRANCH_CONFIRMING, BRANCH_CONFIRMED },
    { BRANCH_PREPARING, BRANCH_READY },
    { BRANCH_FROZEN, BRANCH_READY },
    { BRANCH_RENAMED, BRANCH_READY },
    { BRANCH_ROLLING_BACK, BRANCH_ROLLING_BACK }, /* the base is complete */
    { BRANCH_ROLLING_BACK, BRANCH_HANDING_BACK },
    { BRANCH_HANDING_BACK, BRANCH_HANDING_BACK }, /* it is still there */
    { BRANCH_HANDING_BACK, BRANCH_ROLLING_BACK },
    { BRANCH_HANDING_BACK, BRANCH_READY },
};

bool migration_is_step(enum branch_state from, enum branch_state to)
{
    for (size_t i = 0; i < ARRAY_LEN(steps); i++)
        if (steps[i].from == from && steps[i].to == to)
            return true;
    return false;
}

bool migration_holds(enum branch_state state)
{
    return state == BRANCH_FROZEN || state == BRANCH_RENAMED || state == BRANCH_HANDING_BACK;
}

#define NONE BRANCH_STATE_UNKNOWN

static const struct {
    enum branch_state from;
    enum branch_state to[4]; /* of start, confirm, rollback, release; NONE: refused */
} claims[] = {
    { BRANCH_READY, { BRANCH_PREPARING, NONE, NONE, NONE } },
    { BRANCH_PREPARING, { BRANCH_PREPARING, NONE, BRANCH_PREPARING, NONE } },
    { BRANCH_FROZEN, { BRANCH_FROZEN, NONE, BRANCH_FROZEN, BRANCH_FROZEN } },
    { BRANCH_RENAMED, { BRANCH_RENAMED, NONE, BRANCH_RENAMED, BRANCH_RENAMED } },
    { BRANCH_STARTED, { BRANCH_STARTED, NONE, BRANCH_ROLLING_BACK, NONE } },
    { BRANCH_COPIED, { BRANCH_COPIED, NONE, BRANCH_ROLLING_BACK, NONE } },
    { BRANCH_VERIFIED, { BRANCH_VERIFIED, BRANCH_CONFIRMING, BRANCH_ROLLING_BACK, NONE } },
    { BRANCH_CONFIRMING, { NONE, BRANCH_CONFIRMING, NONE, NONE } },
    { BRANCH_ROLLING_BACK, { NONE, NONE, BRANCH_ROLLING_BACK, NONE } },
    { BRANCH_HANDING_BACK, { NONE, NONE, BRANCH_ROLLING_BACK, BRANCH_ROLLING_BACK } },
};

bool migration_claim_state(enum branch_state state, enum migration_verb verb, enum branch_state *claimed, struct error *err)
{
    static const char *const names[] = { "started", "confirmed", "rolled back", "released" };
    for (size_t i = 0; i < ARRAY_LEN(claims); i++)
        if (claims[i].from == state && claims[i].to[verb] != NONE) {
            *claimed = claims[i].to[verb];
            return true;
        }
    if (state == BRANCH_READY)
        error_set(err, ERROR_FAILED_PRECONDITION, "the branch is not being migrated: nothing can be %s", names[verb]);
    else
        error_set(err, ERROR_FAILED_PRECONDITION, "the migration is in state %s: it cannot be %s", branch_state_name(state), names[verb]);
    error_set_reason(err, REASON_MIGRATION_STATE);
    return false;
}

/* ---- the document ----------------------------------------------------------------------------------- */

bool migration_encode(const struct migration *migration, struct arena *arena, struct bytes *document, struct error *err)
{
    bson_t bson = BSON_INITIALIZER, list, item;
    BSON_APPEND_INT64(&bson, "started_at", (int64_t)migration->started_at);
    BSON_APPEND_INT64(&bson, "first", (int64_t)migration->first);
    if (migration->beats)
        BSON_APPEND_INT64(&bson, "beats", (int64_t)migration->beats);
    if (migration->listed) {
        BSON_APPEND_ARRAY_BEGIN(&bson, "collections", &list);
        for (size_t i = 0; i < migration->n; i++) {
            const struct migration_collection *collection = &migration->collections[i];
            char key[24];
            snprintf(key, sizeof key, "%zu", i);
            bson_append_document_begin(&list, key, -1, &item);
            BSON_APPEND_UTF8(&item, "name", collection->name);
            BSON_APPEND_UTF8(&item, "id", collection->id);
            bson_t indexes;
            if (collection->indexes.len && bson_init_static(&indexes, collection->indexes.data, collection->indexes.len))
                BSON_APPEND_ARRAY(&item, "indexes", &indexes);
            if (collection->has_uuid)
                BSON_APPEND_BINARY(&item, "uuid", BSON_SUBTYPE_UUID, collection->uuid, sizeof collection->uuid);
            bson_append_document_end(&list, &item);
        }
        bson_append_array_end(&bson, &list);
    }
    if (migration->frozen)
        BSON_APPEND_UTF8(&bson, "frozen", migration->frozen);
    if (migration->base)
        BSON_APPEND_UTF8(&bson, "base", migration->base);
    if (migration->branch)
        BSON_APPEND_UTF8(&bson, "branch", migration->branch);
    void *copy = arena_copy(arena, bson_get_data(&bson), bson.len);
    *document = bytes_of(copy, bson.len);
    bson_destroy(&bson);
    return copy || error_out_of_memory(err);
}

static bool bad_document(struct error *err)
{
    return error_set(err, ERROR_DATA_LOSS, "the catalog holds a migration that cannot be read");
}

static bool copy_string(const bson_iter_t *iter, struct arena *arena, const char **out)
{
    *out = BSON_ITER_HOLDS_UTF8(iter) ? arena_strdup(arena, bson_iter_utf8(iter, NULL)) : NULL;
    return *out;
}

static bool copy_array(const bson_iter_t *iter, struct arena *arena, struct bytes *out)
{
    const uint8_t *data;
    uint32_t len;
    if (!BSON_ITER_HOLDS_ARRAY(iter))
        return false;
    bson_iter_array(iter, &len, &data);
    *out = bytes_of(arena_copy(arena, data, len), len);
    return out->data;
}

static bool decode_collection(bson_iter_t *item, struct arena *arena, struct migration_collection *out)
{
    bson_iter_t field;
    *out = (struct migration_collection) { 0 };
    if (!BSON_ITER_HOLDS_DOCUMENT(item) || !bson_iter_recurse(item, &field))
        return false;
    while (bson_iter_next(&field)) {
        const uint8_t *uuid;
        uint32_t len;
        if (strcmp(bson_iter_key(&field), "name") == 0 && !copy_string(&field, arena, &out->name))
            return false;
        if (strcmp(bson_iter_key(&field), "id") == 0 && !copy_string(&field, arena, &out->id))
            return false;
        if (strcmp(bson_iter_key(&field), "indexes") == 0 && !copy_array(&field, arena, &out->indexes))
            return false;
        if (strcmp(bson_iter_key(&field), "uuid") == 0 && BSON_ITER_HOLDS_BINARY(&field)) {
            bson_iter_binary(&field, NULL, &len, &uuid);
            out->has_uuid = len == sizeof out->uuid;
            if (out->has_uuid)
                memcpy(out->uuid, uuid, sizeof out->uuid);
        }
    }
    return out->name && out->id;
}

static bool decode_collections(bson_iter_t *iter, struct arena *arena, struct migration *migration)
{
    bson_iter_t item, counted;
    size_t n = 0;
    if (!BSON_ITER_HOLDS_ARRAY(iter) || !bson_iter_recurse(iter, &counted))
        return false;
    while (bson_iter_next(&counted))
        n++;
    migration->collections = arena_alloc(arena, (n + 1) * sizeof *migration->collections);
    migration->listed = true;
    if (!migration->collections || !bson_iter_recurse(iter, &item))
        return false;
    while (bson_iter_next(&item))
        if (!decode_collection(&item, arena, &migration->collections[migration->n++]))
            return false;
    return true;
}

bool migration_decode(struct bytes document, struct arena *arena, struct migration *migration, struct error *err)
{
    struct migration found = { 0 };
    bson_t bson;
    bson_iter_t iter;
    if (document.len == 0 || !bson_init_static(&bson, document.data, document.len) || !bson_iter_init(&iter, &bson))
        return bad_document(err);
    while (bson_iter_next(&iter)) {
        const char *key = bson_iter_key(&iter);
        bool ok = true;
        if (strcmp(key, "started_at") == 0)
            found.started_at = (uint64_t)bson_iter_as_int64(&iter);
        else if (strcmp(key, "first") == 0)
            found.first = (uint64_t)bson_iter_as_int64(&iter);
        else if (strcmp(key, "beats") == 0)
            found.beats = (uint64_t)bson_iter_as_int64(&iter);
        else if (strcmp(key, "collections") == 0)
            ok = decode_collections(&iter, arena, &found);
        else if (strcmp(key, "frozen") == 0)
            ok = copy_string(&iter, arena, &found.frozen);
        else if (strcmp(key, "base") == 0)
            ok = copy_string(&iter, arena, &found.base);
        else if (strcmp(key, "branch") == 0)
            ok = copy_string(&iter, arena, &found.branch);
        if (!ok)
            return bad_document(err);
    }
    *migration = found;
    return true;
}

/* ---- finding it ------------------------------------------------------------------------------------- */

bool migration_find(const struct tree *branches, const struct branch_record *branch, struct arena *arena, struct branch_record *traditional,
                    struct migration *migration, bool *found, struct error *err)
{
    struct branch_record record = *branch, base;
    *found = false;
    if (branch->kind == BRANCH_WAL) {
        if (!branch->parent)
            return true;
        if (!lineage_find_record(branches, branch->parent, &base, err))
            return false;
        if (base.kind != BRANCH_BASE)
            return true;
        if (!lineage_find_record(branches, base.source, &record, err))
            return false;
    }
    if (record.migration.len == 0)
        return true;
    if (!branch_record_copy(&record, arena, traditional))
        return error_out_of_memory(err);
    if (!migration_decode(traditional->migration, arena, migration, err))
        return false;
    *found = branch->kind != BRANCH_WAL || (migration->branch && strcmp(migration->branch, branch->id) == 0);
    return true;
}

bool migration_check_settled(const struct tree *branches, const struct branch_record *branch, struct error *err)
{
    struct branch_record traditional;
    struct migration migration;
    struct arena arena;
    bool found;
    arena_init(&arena, 0);
    bool ok = migration_find(branches, branch, &arena, &traditional, &migration, &found, err);
    if (ok && found && !traditional.deleted) {
        ok = error_set(err, ERROR_FAILED_PRECONDITION, "branch '%s' is being migrated: confirm that, or roll it back, first", branch->name);
        error_set_reason(err, REASON_MIGRATION_STATE);
    }
    arena_destroy(&arena);
    return ok;
}

/* ---- names of collections --------------------------------------------------------------------------- */

void migration_make_prefix(const char *branch_id, uint64_t epoch, char prefix[MIGRATION_PREFIX_SIZE])
{
    if (epoch)
        snprintf(prefix, MIGRATION_PREFIX_SIZE, "m_%s_%" PRIu64 "_", branch_id, epoch);
    else
        snprintf(prefix, MIGRATION_PREFIX_SIZE, "m_%s_", branch_id);
}

bool migration_parse_name(const char *collection, const char *branch_id, uint64_t *epoch, const char **rest)
{
    char all[MIGRATION_PREFIX_SIZE];
    char *end;
    migration_make_prefix(branch_id, 0, all);
    size_t len = strlen(all);
    if (strncmp(collection, all, len) != 0 || collection[len] < '1' || collection[len] > '9')
        return false;
    *epoch = strtoull(collection + len, &end, 10);
    *rest = end + 1;
    return *end == '_';
}
