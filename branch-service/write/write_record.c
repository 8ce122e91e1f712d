#include "branch-service/write/write_record.h"

#include <bson/bson.h>

#include "branch-service/catalog/catalog.h"
#include "branch-service/write/write.h"
#include "common/base/limits.h"

bool write_record_encode(struct bytes request_id, uint32_t step, uint64_t previous, struct bytes record, struct arena *arena,
                         struct log_entry *entry, struct error *err)
{
    uint8_t id[MAX_REQUEST_ID_BYTES + 4];
    bson_t inner;
    memcpy(id, request_id.data, request_id.len);
    size_t len = request_id.len;
    for (int shift = 24; step > 0 && shift >= 0; shift -= 8)
        id[len++] = (uint8_t)(step >> shift);
    if (!catalog_encode_request(bytes_of(id, len), arena, &entry->document_id, &entry->document, err))
        return false;
    if (record.len == 0)
        return true;
    bson_t bson = BSON_INITIALIZER;
    bson_append_binary(&bson, "_id", 3, BSON_SUBTYPE_BINARY, id, (uint32_t)len);
    BSON_APPEND_INT64(&bson, "previous", (int64_t)previous);
    bool ok = (bson_init_static(&inner, record.data, record.len) && BSON_APPEND_DOCUMENT(&bson, "record", &inner)) ||
              error_set(err, ERROR_INTERNAL, "a step's record is no document");
    if (ok && bson.len > MAX_DOCUMENT_BYTES)
        ok = error_set(err, ERROR_INVALID_ARGUMENT, "what the write answers takes more than %d bytes", MAX_DOCUMENT_BYTES);
    if (ok) {
        entry->document = bytes_of(arena_copy(arena, bson_get_data(&bson), bson.len), bson.len);
        ok = entry->document.data || error_out_of_memory(err);
    }
    bson_destroy(&bson);
    return ok;
}

/* ---- reading ---------------------------------------------------------------------------------------- */

struct found {
    struct arena *arena;
    struct bytes document;
};

static bool keep_document(void *ctx, const struct log_run *run, struct error *err)
{
    struct found *found = ctx;
    struct bytes document = run->entries[run->n_entries - 1].document;
    found->document = bytes_of(arena_copy(found->arena, document.data, document.len), document.len);
    return found->document.data || error_out_of_memory(err);
}

static bool decode(struct bytes document, uint64_t *previous, struct bytes *record)
{
    bson_t bson;
    bson_iter_t iter;
    uint32_t len;
    const uint8_t *data;
    if (!bson_init_static(&bson, document.data, document.len) || !bson_iter_init_find(&iter, &bson, "previous") ||
        !BSON_ITER_HOLDS_INT64(&iter))
        return false;
    *previous = (uint64_t)bson_iter_int64(&iter);
    if (!bson_iter_init_find(&iter, &bson, "record") || !BSON_ITER_HOLDS_DOCUMENT(&iter))
        return false;
    bson_iter_document(&iter, &len, &data);
    *record = bytes_of(data, len);
    return true;
}

static bool read_record(struct project *project, uint64_t lsn, int64_t deadline, struct found *found, struct error *err)
{
    const struct log_read_range range = {
        .project = project_id(project), .after = lsn - 1, .through = lsn, .branch_id = CATALOG_BRANCH, .collection = REQUESTS_COLLECTION
    };
    uint64_t complete;
    found->document = (struct bytes) { 0 };
    return log_source_read(project_log(project), &range, NULL, deadline, keep_document, found, &complete, err);
}

/* The newest one is often at hand: it ends the batch that is answered. */
static struct bytes record_at_hand(const struct write_result *result)
{
    const struct log_run *last = result->n_runs ? &result->runs[result->n_runs - 1] : NULL;
    if (!last || last->first_lsn != result->record_lsn || strcmp(last->collection, REQUESTS_COLLECTION) != 0)
        return (struct bytes) { 0 };
    return last->entries[0].document;
}

bool write_records(struct project *project, struct write_result *result, int64_t deadline, write_record_fn *visit, void *ctx,
                   struct error *err)
{
    struct found found = { .arena = &result->arena, .document = record_at_hand(result) };
    struct bytes record;
    if (result->record.len && !visit(ctx, result->record, err))
        return false;
    for (uint64_t lsn = result->record_lsn, previous; lsn; lsn = previous, found.document.data = NULL) {
        if (!found.document.data && !read_record(project, lsn, deadline, &found, err))
            return false;
        if (!decode(found.document, &previous, &record) || previous >= lsn)
            return error_set(err, ERROR_DATA_LOSS, "the log holds no record of the write at LSN %llu", (unsigned long long)lsn);
        if (!visit(ctx, record, err))
            return false;
    }
    return true;
}
