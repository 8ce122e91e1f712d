#include "branch-service/branches/base_copy.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include <stdio.h>
#include <stdlib.h>

#include "branch-service/catalog/lineage.h"
#include "branch-service/collection/mongo_base.h"
#include "branch-service/reasons.h"
#include "common/base/clock.h"
#include "common/base/memory.h"
#include "common/bson/key_encoding.h"

enum { PART_DOCUMENTS = 1000, PART_BYTES = 4 * 1024 * 1024, STEP_MICROS = 30 * MICROS_PER_SECOND };

int64_t base_step_deadline(int64_t deadline)
{
    int64_t next = clock_monotonic_micros() + STEP_MICROS;
    return next < deadline ? next : deadline;
}

bool base_add_catalog(struct batch *batch, const char *base_id, const struct collection_record *collections, size_t n, struct error *err)
{
    struct log_run *run;
    if (n == 0)
        return true;
    if (!batch_add_run(batch, base_id, COLLECTIONS_COLLECTION, n, &run, err))
        return false;
    for (size_t i = 0; i < n; i++) {
        run->entries[i].operation = LOG_INSERT;
        if (!catalog_key(collections[i].name, batch->arena, &run->entries[i].document_id, err) ||
            !catalog_encode_collection(&collections[i], batch->arena, &run->entries[i].document, err))
            return false;
    }
    return true;
}

/* ---- one part of a collection ----------------------------------------------------------------------- */

struct part {
    const struct base_copy *copy;
    const struct collection_record *collection;
    struct arena arena; /* of the entries */
    struct log_entry entries[PART_DOCUMENTS];
    size_t n;
    uint64_t bytes;
    struct copy_progress progress;
    bool advance; /* no documents, but the record that says that the collection is there */
    size_t index;
};

static bool find_base(const struct project_catalog *catalog, const struct base_copy *copy, struct branch_record *base, struct error *err)
{
    if (catalog->deleted)
        return error_set(err, ERROR_NOT_FOUND, "project '%s' does not exist", project_name(copy->project));
    if (!lineage_find_record(catalog->branches, copy->base_id, base, err))
        return false;
    if (base->kind == BRANCH_BASE && !base->complete)
        return true;
    error_set(err, ERROR_FAILED_PRECONDITION, "the base is complete: somebody else has copied it");
    error_set_reason(err, REASON_MIGRATION_STATE);
    return false;
}

static bool plan_part(struct part *part, const struct project_catalog *catalog, struct arena *arena, struct write_plan *plan,
                      struct error *err)
{
    const struct base_copy *copy = part->copy;
    struct branch_record base;
    struct batch batch;
    struct log_run *run;
    struct bytes document;
    if (!find_base(catalog, copy, &base, err) || !batch_begin(&batch, arena, copy->base_id, err) ||
        !copy->guard(copy->ctx, catalog, &batch, err))
        return false;
    if (part->advance) {
        plan->read_lsn = catalog->lsn;
        plan->incarnation = catalog->incarnation;
        if (base.copied > part->index)
            return true;
        base.copied = part->index + 1;
        return catalog_encode_branch(&base, arena, &document, err) &&
               batch_add_record(&batch, CATALOG_BRANCH, BRANCHES_COLLECTION, LOG_UPDATE, base.id, document, err) &&
               batch_finish(&batch, catalog->lsn, &catalog->incarnation, plan, err);
    }
    if (!batch_add_run(&batch, copy->base_id, part->collection->id, part->n, &run, err))
        return false;
    memcpy(run->entries, part->entries, part->n * sizeof *part->entries);
    return batch_finish(&batch, catalog->lsn, &catalog->incarnation, plan, err);
}

static bool evaluate_part(void *ctx, struct arena *arena, struct write_plan *plan, struct error *err)
{
    struct part *part = ctx;
    struct project_catalog catalog;
    project_catalog(part->copy->project, &catalog);
    bool ok = plan_part(part, &catalog, arena, plan, err);
    project_catalog_destroy(&catalog);
    return ok;
}

static bool send_part(struct part *part, struct error *err)
{
    const struct write_request request = { .request_id = "", .actor = "", .deadline = base_step_deadline(part->copy->deadline) };
    struct write_result result;
    if (part->n == 0 && !part->advance)
        return true;
    if (!write_execute(part->copy->project, &request, evaluate_part, part, &result, err))
        return false;
    write_result_destroy(&result);
    part->progress.documents += part->n;
    part->progress.bytes += part->bytes;
    part->n = part->bytes = 0;
    arena_destroy(&part->arena);
    arena_init(&part->arena, 0);
    return part->copy->tell(part->copy->ctx, &part->progress) || error_set(err, ERROR_CANCELLED, "nobody listens any more");
}

static bool add_document(void *ctx, struct bytes document, struct error *err)
{
    struct part *part = ctx;
    struct buffer key = { 0 };
    if (part->n > 0 && (part->n == PART_DOCUMENTS || part->bytes + document.len > PART_BYTES) && !send_part(part, err))
        return false;
    struct log_entry *entry = &part->entries[part->n];
    bool ok = key_encode_document_id(document, &key, err);
    if (ok) {
        *entry = (struct log_entry) {
            .operation = LOG_INSERT,
            .document_id = bytes_of(arena_copy(&part->arena, key.data, key.len), key.len),
            .document = bytes_of(arena_copy(&part->arena, document.data, document.len), document.len),
        };
        ok = (entry->document_id.data && entry->document.data) || error_out_of_memory(err);
    }
    buffer_destroy(&key);
    if (ok) {
        part->n++;
        part->bytes += document.len;
    }
    return ok;
}

/* ---- all of it -------------------------------------------------------------------------------------- */

static bool look_at_base(const struct base_copy *copy, struct arena *arena, struct branch_record *base, struct error *err)
{
    struct project_catalog catalog;
    struct branch_record found;
    if (!project_refresh(copy->project, base_step_deadline(copy->deadline), err))
        return false;
    project_catalog(copy->project, &catalog);
    bool ok = find_base(&catalog, copy, &found, err) && (branch_record_copy(&found, arena, base) || error_out_of_memory(err));
    project_catalog_destroy(&catalog);
    return ok;
}

static bool join(struct arena *arena, const char *prefix, const char *name, const char **joined, struct error *err)
{
    size_t len = strlen(prefix) + strlen(name) + 1;
    char *made = arena_alloc(arena, len);
    if (!made)
        return error_out_of_memory(err);
    snprintf(made, len, "%s%s", prefix, name);
    *joined = made;
    return true;
}

static bool copy_collection(struct part *part, const struct branch_record *base, struct arena *arena, struct error *err)
{
    const struct base_copy *copy = part->copy;
    const char *from;
    bool there;
    if (!join(arena, base->prefix, part->collection->name, &from, err) ||
        !mongo_base_read(copy->mongo, base->database, from, copy->snapshot, copy->deadline, add_document, part, &there, err))
        return false;
    if (!there) {
        error_set(err, ERROR_FAILED_PRECONDITION, "the collection went away while it was copied");
        error_set_reason(err, REASON_MIGRATION_STATE);
        return false;
    }
    if (!send_part(part, err))
        return false;
    part->advance = part->progress.done = true;
    return send_part(part, err);
}

bool base_copy_documents(const struct base_copy *copy, struct error *err)
{
    struct arena arena;
    struct branch_record base;
    struct part *part = mem_zalloc(sizeof *part);
    arena_init(&arena, 0);
    bool ok = look_at_base(copy, &arena, &base, err);
    for (size_t i = ok ? base.copied : 0; ok && i < copy->n; i++) {
        part->copy = copy;
        part->collection = &copy->collections[i];
        part->index = i;
        part->n = part->bytes = 0;
        part->advance = false;
        part->progress = (struct copy_progress) { .base_id = copy->base_id, .collection = part->collection->name };
        arena_init(&part->arena, 0);
        ok = copy_collection(part, &base, &arena, err) || error_wrap(err, "collection '%s'", part->collection->name);
        arena_destroy(&part->arena);
    }
    arena_destroy(&arena);
    free(part);
    return ok;
}

bool base_add_complete(struct batch *batch, const struct project_catalog *catalog, const char *base_id, bool isolated, struct error *err)
{
    struct branch_record base;
    struct bytes document;
    if (!lineage_find_record(catalog->branches, base_id, &base, err))
        return false;
    base.complete = catalog->lsn; /* a batch end, and behind all that was copied */
    base.isolated = isolated;
    return catalog_encode_branch(&base, batch->arena, &document, err) &&
           batch_add_record(batch, CATALOG_BRANCH, BRANCHES_COLLECTION, LOG_UPDATE, base.id, document, err);
}

/* ---- digests ---------------------------------------------------------------------------------------- */

bool base_digest_equal(const struct base_digest *a, const struct base_digest *b)
{
    return a->documents == b->documents && a->bytes == b->bytes && a->low == b->low && a->high == b->high;
}

void base_digest_add(struct base_digest *digest, struct bytes key, struct bytes document)
{
    const XXH128_hash_t of_key = XXH3_128bits(key.data, key.len);
    const XXH128_hash_t hash = XXH3_128bits_withSeed(document.data, document.len, of_key.low64 ^ of_key.high64);
    uint64_t low = digest->low + hash.low64;
    digest->high += hash.high64 + (low < digest->low);
    digest->low = low;
    digest->documents++;
    digest->bytes += document.len;
}

static bool digest_document(void *ctx, struct bytes document, struct error *err)
{
    struct buffer key = { 0 };
    bool ok = key_encode_document_id(document, &key, err);
    if (ok)
        base_digest_add(ctx, buffer_bytes(&key), document);
    buffer_destroy(&key);
    return ok;
}

bool base_digest_mongo(struct mongo *mongo, const char *database, const char *collection, int64_t deadline, struct base_digest *digest,
                       struct error *err)
{
    struct base_digest sum = { 0 };
    bool there;
    if (!mongo_base_read(mongo, database, collection, 0, deadline, digest_document, &sum, &there, err))
        return false;
    if (!there) {
        error_set(err, ERROR_FAILED_PRECONDITION, "collection '%s' went away while it was read", collection);
        error_set_reason(err, REASON_MIGRATION_STATE);
        return false;
    }
    *digest = sum;
    return true;
}

bool base_digest_log(struct project *project, const char *base_id, const char *collection_id, uint64_t complete, int64_t deadline,
                     struct base_digest *digest, struct error *err)
{
    struct base_digest sum = { 0 };
    struct tree *documents;
    struct tree_cursor cursor;
    struct tree_item item;
    if (!project_view(project, base_id, collection_id, complete, deadline, &documents, err))
        return false;
    tree_cursor_first(&cursor, documents);
    while (tree_cursor_next(&cursor, &item))
        base_digest_add(&sum, item.key, item.document);
    tree_unref(documents);
    *digest = sum;
    return true;
}
