#include <bson/bson.h>
#include <stdio.h>

#include "branch-service/documents/documents_internal.h"
#include "branch-service/query/update.h"
#include "branch-service/write/write_conflict.h"
#include "common/bson/bson_check.h"
#include "common/bson/key_encoding.h"

static bool has_id(struct bytes document)
{
    bson_t bson;
    bson_iter_t iter;
    return bson_init_static(&bson, document.data, document.len) && bson_iter_init_find(&iter, &bson, "_id");
}

bool documents_prepare_one(struct bytes in, struct arena *arena, struct new_document *out, struct error *err)
{
    bson_t prepared;
    struct buffer key = { 0 };
    if (!bson_check(in, err) || !document_prepare(in, &prepared, err))
        return false;
    struct bytes document = bytes_of(bson_get_data(&prepared), prepared.len);
    bool ok = key_encode_document_id(document, &key, err);
    if (ok) {
        out->generated_id = !has_id(in);
        out->document = bytes_of(arena_copy(arena, document.data, document.len), document.len);
        out->key = bytes_of(arena_copy(arena, key.data, key.len), key.len);
        ok = (out->document.data && out->key.data) || error_out_of_memory(err);
    }
    bson_destroy(&prepared);
    buffer_destroy(&key);
    return ok;
}

/* False: the whole request fails. A document that is only passed over has `invalid` set. */
static bool prepare_item(const struct insert_spec *spec, size_t i, struct arena *arena, struct new_document *document, struct error *err)
{
    document->first = document;
    if (spec->unreadable && spec->unreadable[i]) {
        document->invalid = spec->unreadable[i];
        return true;
    }
    if (documents_prepare_one(spec->documents[i], arena, document, err))
        return true;
    if (spec->skip_invalid && err->code == ERROR_INVALID_ARGUMENT) {
        document->invalid = arena_strdup(arena, err->message);
        document->invalid_code = err->mongo_code;
        return document->invalid || error_out_of_memory(err);
    }
    return spec->n == 1 ? false : error_wrap(err, "document %zu", i);
}

bool documents_prepare(const struct insert_spec *spec, struct arena *arena, struct new_document **documents, struct error *err)
{
    struct new_document *seen = NULL, *other;
    struct batch_size size = { 0 };
    const size_t n = spec->n;
    if (n == 0)
        return error_set(err, ERROR_INVALID_ARGUMENT, "there are no documents to insert");
    /* also of those that will be passed over: each of them takes room in the answer */
    struct batch_size whole = { .documents = n - 1 };
    if (!batch_size_add(&whole, (struct bytes) { 0 }, 0, err))
        return false;
    struct new_document *made = arena_zalloc(arena, n * sizeof *made);
    if (!made)
        return error_out_of_memory(err);
    bool ok = true;
    for (size_t i = 0; ok && i < n; i++) {
        struct new_document *document = &made[i];
        ok = prepare_item(spec, i, arena, document, err);
        if (!ok || document->invalid)
            continue;
        ok = batch_size_add(&size, document->key, document->document.len, err);
        HASH_FIND(hh, seen, document->key.data, document->key.len, other);
        if (other)
            document->first = other;
        else
            HASH_ADD_KEYPTR(hh, seen, document->key.data, document->key.len, document);
    }
    HASH_CLEAR(hh, seen);
    if (ok)
        *documents = made;
    return ok;
}

void documents_format_id(struct bytes document, char text[SHOWN_ID_SIZE])
{
    struct buffer json = { 0 };
    write_format_id(document, &json);
    size_t shown = json.len < SHOWN_ID_SIZE - 1 ? json.len : SHOWN_ID_SIZE - 1;
    while (shown < json.len && shown > 0 && (json.data[shown] & 0xC0) == 0x80)
        shown--; /* whole characters only */
    snprintf(text, SHOWN_ID_SIZE, "%.*s", (int)shown, (const char *)json.data);
    buffer_destroy(&json);
}
