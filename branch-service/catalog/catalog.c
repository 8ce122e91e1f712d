#include "branch-service/catalog/catalog.h"

#include <assert.h>
#include <bson/bson.h>

#include "common/bson/key_encoding.h"

#define TRADITIONAL_KIND "traditional"
#define BASE_KIND        "base"
#define HELD_KIND        "held"

static bool copy_out(const struct buffer *buffer, struct arena *arena, struct bytes *out, struct error *err)
{
    void *copy = arena_copy(arena, buffer->data, buffer->len);
    if (!copy)
        return error_out_of_memory(err);
    *out = bytes_of(copy, buffer->len);
    return true;
}

static bool finish(bson_t *document, struct arena *arena, struct bytes *out, struct error *err)
{
    void *copy = arena_copy(arena, bson_get_data(document), document->len);
    size_t len = document->len;
    bson_destroy(document);
    if (!copy)
        return error_out_of_memory(err);
    *out = bytes_of(copy, len);
    return true;
}

bool catalog_key(const char *id, struct arena *arena, struct bytes *key, struct error *err)
{
    bson_value_t value = { .value_type = BSON_TYPE_UTF8 };
    value.value.v_utf8.str = (char *)id;
    value.value.v_utf8.len = (uint32_t)strlen(id);
    struct buffer encoded = { 0 };
    bool ok = key_encode(&value, &encoded, err) && copy_out(&encoded, arena, key, err);
    buffer_destroy(&encoded);
    return ok;
}

/* ---- reading a record ------------------------------------------------------------------------------- */

/* Fields are looked up by name: a record may have more of them than this version knows. */
static const char *get_string(const bson_t *document, const char *field)
{
    bson_iter_t iter;
    return bson_iter_init_find(&iter, document, field) && BSON_ITER_HOLDS_UTF8(&iter) ? bson_iter_utf8(&iter, NULL) : NULL;
}

static uint64_t get_int64(const bson_t *document, const char *field, uint64_t absent)
{
    bson_iter_t iter;
    return bson_iter_init_find(&iter, document, field) && BSON_ITER_HOLDS_INT64(&iter) ? (uint64_t)bson_iter_int64(&iter) : absent;
}

static bool get_bool(const bson_t *document, const char *field)
{
    bson_iter_t iter;
    return bson_iter_init_find(&iter, document, field) && BSON_ITER_HOLDS_BOOL(&iter) && bson_iter_bool(&iter);
}

/* An array's bytes. */
static struct bytes get_array(const bson_t *document, const char *field)
{
    bson_iter_t iter;
    const uint8_t *data = NULL;
    uint32_t len = 0;
    if (bson_iter_init_find(&iter, document, field) && BSON_ITER_HOLDS_ARRAY(&iter))
        bson_iter_array(&iter, &len, &data);
    return bytes_of(data, data ? len : 0);
}

static bool bad_record(const char *kind, struct error *err)
{
    return error_set(err, ERROR_DATA_LOSS, "the catalog holds a %s record that cannot be read", kind);
}

bool catalog_decode_project(struct bytes document, struct project_record *record, struct error *err)
{
    bson_t bson;
    if (!bson_init_static(&bson, document.data, document.len))
        return bad_record("project", err);
    const struct project_record found = {
        .name = get_string(&bson, "_id"),
        .id = get_string(&bson, "id"),
        .created_at = get_int64(&bson, "created_at", 0),
    };
    if (!found.name || !found.id)
        return bad_record("project", err);
    *record = found;
    return true;
}

static bool get_binary(const bson_t *document, const char *field, void *out, size_t capacity, size_t *len)
{
    bson_iter_t iter;
    const uint8_t *data = NULL;
    uint32_t found = 0;
    if (bson_iter_init_find(&iter, document, field) && BSON_ITER_HOLDS_BINARY(&iter))
        bson_iter_binary(&iter, NULL, &found, &data);
    if (!data || found > capacity)
        return false;
    memcpy(out, data, found);
    *len = found;
    return true;
}

bool catalog_decode_tombstone(struct bytes document, struct project_tombstone *tombstone, struct error *err)
{
    bson_t bson;
    size_t id_len;
    if (!bson_init_static(&bson, document.data, document.len))
        return bad_record("project's tombstone", err);
    struct project_tombstone found = {
        .deleted_at = get_int64(&bson, "deleted_at", 0),
        .since_lsn = get_int64(&bson, "since", 0),
    };
    bool repeatable = bson_has_field(&bson, "request");
    if (repeatable && (!get_binary(&bson, "request", found.request_id, sizeof found.request_id - 1, &id_len) ||
                       !get_binary(&bson, "hash", found.request_hash, sizeof found.request_hash, &found.request_hash_len)))
        return bad_record("project's tombstone", err);
    *tombstone = found;
    return true;
}

static const char *const state_names[] = {
    [BRANCH_READY] = "ready",
    [BRANCH_CREATING] = "creating",
    [BRANCH_DELETING] = "deleting",
    [BRANCH_PREPARING] = "preparing",
    [BRANCH_FROZEN] = "frozen",
    [BRANCH_RENAMED] = "renamed",
    [BRANCH_STARTED] = "started",
    [BRANCH_COPIED] = "copied",
    [BRANCH_VERIFIED] = "verified",
    [BRANCH_CONFIRMING] = "confirming",
    [BRANCH_CONFIRMED] = "confirmed",
    [BRANCH_ROLLING_BACK] = "rolling_back",
    [BRANCH_HANDING_BACK] = "handing_back",
};

const char *branch_state_name(enum branch_state state)
{
    return state < ARRAY_LEN(state_names) ? state_names[state] : "unknown";
}

bool branch_is_migrating(const struct branch_record *record)
{
    return record->kind == BRANCH_TRADITIONAL && record->state >= BRANCH_PREPARING && record->state < BRANCH_STATE_UNKNOWN;
}

static enum branch_state find_state(const char *name)
{
    if (!name)
        return BRANCH_READY;
    for (size_t i = 0; i < ARRAY_LEN(state_names); i++)
        if (strcmp(name, state_names[i]) == 0)
            return (enum branch_state)i;
    return BRANCH_STATE_UNKNOWN;
}

bool catalog_has_kind(struct bytes document)
{
    bson_t bson;
    return bson_init_static(&bson, document.data, document.len) && bson_has_field(&bson, "kind");
}

static struct bytes get_document(const bson_t *document, const char *field)
{
    bson_iter_t iter;
    const uint8_t *data = NULL;
    uint32_t len = 0;
    if (bson_iter_init_find(&iter, document, field) && BSON_ITER_HOLDS_DOCUMENT(&iter))
        bson_iter_document(&iter, &len, &data);
    return bytes_of(data, len);
}

static bool decode_base(const bson_t *bson, struct branch_record *record, struct error *err)
{
    record->kind = BRANCH_BASE;
    record->source = get_string(bson, "source");
    record->copied = get_int64(bson, "copied", 0);
    record->complete = get_int64(bson, "complete", 0);
    record->isolated = get_bool(bson, "isolated");
    return (record->source && record->database && record->prefix) || bad_record("base", err);
}

/* A kind of a newer version is a traditional branch in a state that is not known here: everything on it is refused. */
static bool decode_kind(const bson_t *bson, struct branch_record *record, struct error *err)
{
    const char *kind = get_string(bson, "kind");
    if (!bson_has_field(bson, "kind"))
        return true;
    if (kind && strcmp(kind, HELD_KIND) == 0) {
        record->held = true;
        return true;
    }
    record->database = get_string(bson, "database");
    record->prefix = get_string(bson, "prefix");
    if (kind && strcmp(kind, BASE_KIND) == 0)
        return decode_base(bson, record, err);
    record->kind = BRANCH_TRADITIONAL;
    record->epoch = get_int64(bson, "epoch", 0);
    record->migration = get_document(bson, "migration");
    record->state = kind && strcmp(kind, TRADITIONAL_KIND) == 0 ? find_state(get_string(bson, "state")) : BRANCH_STATE_UNKNOWN;
    return record->state == BRANCH_STATE_UNKNOWN || (record->database && record->prefix) || bad_record("branch", err);
}

bool catalog_decode_branch(struct bytes document, struct branch_record *record, struct error *err)
{
    bson_t bson;
    if (!bson_init_static(&bson, document.data, document.len))
        return bad_record("branch", err);
    struct branch_record found = {
        .id = get_string(&bson, "_id"),
        .name = get_string(&bson, "name"),
        .parent = get_string(&bson, "parent"),
        .cut = get_int64(&bson, "cut", CUT_AT_RECORD),
        .base = get_int64(&bson, "base", 0),
        .created_at = get_int64(&bson, "created_at", 0),
        .deleted = get_bool(&bson, "deleted"),
    };
    if (!decode_kind(&bson, &found, err))
        return false;
    if (!found.name || !found.id || (!found.parent && found.kind == BRANCH_WAL))
        return bad_record("branch", err);
    *record = found;
    return true;
}

bool branch_record_copy(const struct branch_record *record, struct arena *arena, struct branch_record *copy)
{
    struct branch_record made = *record;
    const char **const strings[] = { &made.id, &made.name, &made.parent, &made.database, &made.prefix, &made.source };
    for (size_t i = 0; i < ARRAY_LEN(strings); i++) {
        if (!*strings[i])
            continue;
        *strings[i] = arena_strdup(arena, *strings[i]);
        if (!*strings[i])
            return false;
    }
    if (made.migration.len)
        made.migration.data = arena_copy(arena, made.migration.data, made.migration.len);
    if (made.migration.len && !made.migration.data)
        return false;
    *copy = made;
    return true;
}

bool catalog_decode_name(struct bytes document, const char **branch_id, struct error *err)
{
    bson_t bson;
    const char *id = bson_init_static(&bson, document.data, document.len) ? get_string(&bson, "branch") : NULL;
    if (!id)
        return bad_record("branch name", err);
    *branch_id = id;
    return true;
}

bool catalog_decode_collection(struct bytes document, struct collection_record *record, struct error *err)
{
    bson_t bson;
    if (!bson_init_static(&bson, document.data, document.len))
        return bad_record("collection", err);
    const struct collection_record found = {
        .name = get_string(&bson, "_id"),
        .id = get_string(&bson, "id"),
        .created_at = get_int64(&bson, "created_at", 0),
        .indexes = get_array(&bson, "indexes"),
    };
    if (!found.name || !found.id)
        return bad_record("collection", err);
    *record = found;
    return true;
}

/* ---- writing a record ------------------------------------------------------------------------------- */

bool catalog_encode_project(const struct project_record *record, struct arena *arena, struct bytes *document, struct error *err)
{
    bson_t bson = BSON_INITIALIZER;
    BSON_APPEND_UTF8(&bson, "_id", record->name);
    BSON_APPEND_UTF8(&bson, "id", record->id);
    BSON_APPEND_INT64(&bson, "created_at", (int64_t)record->created_at);
    return finish(&bson, arena, document, err);
}

bool catalog_encode_tombstone(const struct project_tombstone *tombstone, struct arena *arena, struct bytes *document, struct error *err)
{
    bson_t bson = BSON_INITIALIZER;
    BSON_APPEND_UTF8(&bson, "_id", PROJECT_RECORD);
    BSON_APPEND_INT64(&bson, "deleted_at", (int64_t)tombstone->deleted_at);
    if (tombstone->request_id[0]) {
        /* binary: an id need not be UTF-8 */
        BSON_APPEND_BINARY(&bson, "request", BSON_SUBTYPE_BINARY, (const uint8_t *)tombstone->request_id,
                           (uint32_t)strlen(tombstone->request_id));
        BSON_APPEND_BINARY(&bson, "hash", BSON_SUBTYPE_BINARY, tombstone->request_hash, (uint32_t)tombstone->request_hash_len);
        BSON_APPEND_INT64(&bson, "since", (int64_t)tombstone->since_lsn);
    }
    return finish(&bson, arena, document, err);
}

static void append_traditional(bson_t *bson, const struct branch_record *record)
{
    bson_t migration;
    assert(record->state != BRANCH_STATE_UNKNOWN); /* it is not ours to change */
    BSON_APPEND_UTF8(bson, "kind", TRADITIONAL_KIND);
    BSON_APPEND_UTF8(bson, "database", record->database);
    BSON_APPEND_UTF8(bson, "prefix", record->prefix);
    if (record->state != BRANCH_READY)
        BSON_APPEND_UTF8(bson, "state", state_names[record->state]);
    if (record->epoch)
        BSON_APPEND_INT64(bson, "epoch", (int64_t)record->epoch);
    if (record->migration.len && bson_init_static(&migration, record->migration.data, record->migration.len))
        BSON_APPEND_DOCUMENT(bson, "migration", &migration);
}

static void append_base(bson_t *bson, const struct branch_record *record)
{
    BSON_APPEND_UTF8(bson, "kind", BASE_KIND);
    BSON_APPEND_UTF8(bson, "source", record->source);
    BSON_APPEND_UTF8(bson, "database", record->database);
    BSON_APPEND_UTF8(bson, "prefix", record->prefix);
    BSON_APPEND_INT64(bson, "copied", (int64_t)record->copied);
    if (record->complete)
        BSON_APPEND_INT64(bson, "complete", (int64_t)record->complete);
    if (record->isolated)
        BSON_APPEND_BOOL(bson, "isolated", true);
}

bool catalog_encode_branch(const struct branch_record *record, struct arena *arena, struct bytes *document, struct error *err)
{
    bson_t bson = BSON_INITIALIZER;
    BSON_APPEND_UTF8(&bson, "_id", record->id);
    BSON_APPEND_UTF8(&bson, "name", record->name);
    if (record->parent)
        BSON_APPEND_UTF8(&bson, "parent", record->parent);
    if (record->cut != CUT_AT_RECORD)
        BSON_APPEND_INT64(&bson, "cut", (int64_t)record->cut);
    if (record->base)
        BSON_APPEND_INT64(&bson, "base", (int64_t)record->base);
    if (record->created_at)
        BSON_APPEND_INT64(&bson, "created_at", (int64_t)record->created_at);
    if (record->deleted)
        BSON_APPEND_BOOL(&bson, "deleted", true);
    if (record->held)
        BSON_APPEND_UTF8(&bson, "kind", HELD_KIND);
    if (record->kind == BRANCH_TRADITIONAL)
        append_traditional(&bson, record);
    if (record->kind == BRANCH_BASE)
        append_base(&bson, record);
    return finish(&bson, arena, document, err);
}

bool catalog_complete_branch(struct bytes document, uint64_t lsn, uint64_t timestamp, struct arena *arena, struct bytes *completed,
                             struct error *err)
{
    struct branch_record record;
    if (!catalog_decode_branch(document, &record, err))
        return false;
    if (record.base) {
        *completed = document;
        return true;
    }
    /* what a newer version keeps in it stays */
    bson_t whole, bson = BSON_INITIALIZER;
    if (!bson_init_static(&whole, document.data, document.len))
        return bad_record("branch", err);
    bson_concat(&bson, &whole);
    if (record.cut == CUT_AT_RECORD)
        BSON_APPEND_INT64(&bson, "cut", (int64_t)lsn);
    BSON_APPEND_INT64(&bson, "base", (int64_t)lsn);
    BSON_APPEND_INT64(&bson, "created_at", (int64_t)timestamp);
    return finish(&bson, arena, completed, err);
}

bool catalog_encode_name(const char *name, const char *branch_id, struct arena *arena, struct bytes *document, struct error *err)
{
    bson_t bson = BSON_INITIALIZER;
    BSON_APPEND_UTF8(&bson, "_id", name);
    BSON_APPEND_UTF8(&bson, "branch", branch_id);
    return finish(&bson, arena, document, err);
}

bool catalog_encode_collection(const struct collection_record *record, struct arena *arena, struct bytes *document, struct error *err)
{
    bson_t bson = BSON_INITIALIZER;
    BSON_APPEND_UTF8(&bson, "_id", record->name);
    BSON_APPEND_UTF8(&bson, "id", record->id);
    BSON_APPEND_INT64(&bson, "created_at", (int64_t)record->created_at);
    bson_t indexes;
    if (record->indexes.len && bson_init_static(&indexes, record->indexes.data, record->indexes.len))
        BSON_APPEND_ARRAY(&bson, "indexes", &indexes);
    return finish(&bson, arena, document, err);
}

bool catalog_encode_request(struct bytes id, struct arena *arena, struct bytes *key, struct bytes *document, struct error *err)
{
    bson_t bson = BSON_INITIALIZER;
    bson_append_binary(&bson, "_id", 3, BSON_SUBTYPE_BINARY, id.data, (uint32_t)id.len);
    if (!finish(&bson, arena, document, err))
        return false;
    struct buffer encoded = { 0 };
    bool ok = key_encode_document_id(*document, &encoded, err) && copy_out(&encoded, arena, key, err);
    buffer_destroy(&encoded);
    return ok;
}

/* ---- settings --------------------------------------------------------------------------------------- */

bool catalog_encode_setting(const char *key, const char *value, struct arena *arena, struct bytes *document, struct error *err)
{
    bson_t bson = BSON_INITIALIZER;
    BSON_APPEND_UTF8(&bson, "_id", key);
    BSON_APPEND_UTF8(&bson, "value", value);
    return finish(&bson, arena, document, err);
}

bool catalog_decode_setting(struct bytes document, const char **key, const char **value, struct error *err)
{
    bson_t bson;
    if (!bson_init_static(&bson, document.data, document.len))
        return bad_record("config", err);
    const char *found_key = get_string(&bson, "_id"), *found_value = get_string(&bson, "value");
    if (!found_key || !found_value)
        return bad_record("config", err);
    *key = found_key;
    *value = found_value;
    return true;
}
