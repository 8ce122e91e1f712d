#include "cli/import_mark.h"

#include <stdio.h>
#include <string.h>

#include "common/bson/ejson.h"
#include "common/bson/element.h"

enum { FORMAT = 1 };

bool import_mark_set(struct buffer *id, struct bytes document, struct error *err)
{
    struct element found;
    uint8_t len[4];
    if (!element_find(document, "_id", 3, &found))
        return error_set(err, ERROR_INTERNAL, "a document has no _id");
    struct bytes field = element_bytes(&found);
    put_u32(len, (uint32_t)(field.len + 5));
    buffer_clear(id);
    buffer_append(id, len, sizeof len);
    buffer_append(id, field.data, field.len);
    buffer_append_u8(id, 0);
    return !id->failed || error_out_of_memory(err);
}

/* ---- reading --------------------------------------------------------------------------------------------- */

static bool find(struct bytes document, const char *name, uint8_t type, struct element *field)
{
    return element_find(document, name, strlen(name), field) && field->type == type;
}

static const char *get_text(struct bytes document, const char *name, struct arena *arena)
{
    struct element field;
    if (!find(document, name, BSON_TYPE_UTF8, &field))
        return NULL;
    return arena_strndup(arena, (const char *)element_string(&field).data, element_string(&field).len);
}

static void get_id(struct bytes document, const char *name, struct buffer *id)
{
    struct element field;
    if (find(document, name, BSON_TYPE_DOCUMENT, &field))
        buffer_append(id, field.value.data, field.value.len);
}

static bool parse_collection(struct bytes document, struct arena *arena, struct import_mark_collection *collection)
{
    struct element field;
    collection->name = get_text(document, "name", arena);
    collection->id = get_text(document, "id", arena);
    collection->fresh = find(document, "fresh", BSON_TYPE_BOOL, &field) && field.value.data[0];
    collection->complete = find(document, "complete", BSON_TYPE_BOOL, &field) && field.value.data[0];
    collection->imported = find(document, "imported", BSON_TYPE_INT64, &field) ? (uint64_t)element_int64(&field) : 0;
    get_id(document, "done", &collection->done);
    get_id(document, "sent", &collection->sent);
    return collection->name && collection->id && !collection->done.failed && !collection->sent.failed;
}

static bool parse(struct bytes document, struct arena *arena, struct import_mark *mark)
{
    struct element field, item;
    struct element_reader reader;
    if (!find(document, "format", BSON_TYPE_INT32, &field) || element_int32(&field) != FORMAT)
        return false;
    mark->settings = get_text(document, "settings", arena);
    mark->snapshot = find(document, "snapshot", BSON_TYPE_TIMESTAMP, &field) ? (uint64_t)element_int64(&field) : 0;
    if (!mark->settings || !find(document, "collections", BSON_TYPE_ARRAY, &field))
        return false;
    size_t n = 0;
    for (element_reader_init(&reader, field.value); element_next(&reader, &item);)
        n++;
    mark->collections = arena_zalloc(arena, (n + 1) * sizeof *mark->collections);
    for (element_reader_init(&reader, field.value); mark->collections && element_next(&reader, &item);)
        if (item.type != BSON_TYPE_DOCUMENT || !parse_collection(item.value, arena, &mark->collections[mark->n++]))
            return false;
    return mark->collections != NULL;
}

bool import_mark_parse(struct bytes text, struct arena *arena, struct import_mark *mark, struct error *err)
{
    bson_t document;
    struct error wrong;
    struct import_mark found = { 0 };
    bool ok = ejson_parse(text, &document, &wrong);
    if (ok) {
        ok = parse(bytes_of(bson_get_data(&document), document.len), arena, &found);
        bson_destroy(&document);
    }
    if (!ok) {
        import_mark_destroy(&found);
        return error_set(err, ERROR_FAILED_PRECONDITION,
                         "the mark of an interrupted import is damaged or of another version; --restart begins anew");
    }
    *mark = found;
    return true;
}

/* ---- writing --------------------------------------------------------------------------------------------- */

static void append_id(bson_t *document, const char *name, const struct buffer *id)
{
    bson_t value;
    if (id->len > 0 && bson_init_static(&value, id->data, id->len))
        bson_append_document(document, name, -1, &value);
}

bool import_mark_save(const struct import_mark *mark, const struct resume_file *file, struct error *err)
{
    bson_t document = BSON_INITIALIZER, array, item;
    struct buffer text = { 0 };
    if (!file->path) {
        bson_destroy(&document);
        return true;
    }
    BSON_APPEND_INT32(&document, "format", FORMAT);
    BSON_APPEND_UTF8(&document, "settings", mark->settings);
    if (mark->snapshot)
        BSON_APPEND_TIMESTAMP(&document, "snapshot", (uint32_t)(mark->snapshot >> 32), (uint32_t)mark->snapshot);
    bson_append_array_begin(&document, "collections", -1, &array);
    for (size_t i = 0; i < mark->n; i++) {
        const struct import_mark_collection *collection = &mark->collections[i];
        char key[24];
        snprintf(key, sizeof key, "%zu", i);
        bson_append_document_begin(&array, key, -1, &item);
        BSON_APPEND_UTF8(&item, "name", collection->name);
        BSON_APPEND_UTF8(&item, "id", collection->id);
        BSON_APPEND_BOOL(&item, "fresh", collection->fresh);
        BSON_APPEND_BOOL(&item, "complete", collection->complete);
        BSON_APPEND_INT64(&item, "imported", (int64_t)collection->imported);
        append_id(&item, "done", &collection->done);
        append_id(&item, "sent", &collection->sent);
        bson_append_document_end(&array, &item);
    }
    bson_append_array_end(&document, &array);
    bool ok = ejson_format(bytes_of(bson_get_data(&document), document.len), EJSON_CANONICAL, &text, err) &&
              resume_file_save(file, buffer_bytes(&text), err);
    bson_destroy(&document);
    buffer_destroy(&text);
    return ok || error_wrap(err, "the mark of the import");
}

void import_mark_destroy(struct import_mark *mark)
{
    for (size_t i = 0; i < mark->n; i++) {
        buffer_destroy(&mark->collections[i].done);
        buffer_destroy(&mark->collections[i].sent);
    }
    mark->n = 0;
}

/* ---- while a transfer runs -------------------------------------------------------------------------- */

bool import_mark_handing(struct import_mark *mark, const struct resume_file *file, struct transfer *transfer,
                         const struct transfer_batch *batch, struct error *err)
{
    if (batch->again)
        return true; /* the mark has it */
    transfer_lock(transfer);
    bool ok =
        import_mark_set(&mark->collections[batch->collection].sent, transfer_batch_last(batch), err) && import_mark_save(mark, file, err);
    transfer_unlock(transfer);
    return ok;
}

void import_mark_acknowledged(struct import_mark *mark, const struct transfer_batch *batch)
{
    struct import_mark_collection *collection = &mark->collections[batch->collection];
    struct error none;
    if (import_mark_set(&collection->done, transfer_batch_last(batch), &none))
        collection->imported += batch->n;
}
