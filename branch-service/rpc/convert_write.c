#include "branch-service/rpc/convert_write.h"

#include <bson/bson.h>
#include <stdio.h>

/* One array out of documents. *out is left alone when there are none. */
static bool convert_array(const char *what, Argon__Branch__V1__Document **documents, size_t n, struct arena *arena, struct bytes *out,
                          struct error *err)
{
    bson_t array = BSON_INITIALIZER;
    bool ok = true;
    for (size_t i = 0; ok && i < n; i++) {
        char name[64], index[16];
        const char *key;
        struct bytes document;
        bson_t view;
        snprintf(name, sizeof name, "%s %zu", what, i);
        ok = convert_document_in(name, documents[i], false, arena, &document, err);
        size_t len = bson_uint32_to_string((uint32_t)i, &key, index, sizeof index);
        if (ok && (!bson_init_static(&view, document.data, document.len) || !bson_append_document(&array, key, (int)len, &view)))
            ok = error_set(err, ERROR_INVALID_ARGUMENT, "%s is not BSON", name);
    }
    if (ok && n > 0) {
        *out = bytes_of(arena_copy(arena, bson_get_data(&array), array.len), array.len);
        ok = out->data || error_out_of_memory(err);
    }
    bson_destroy(&array);
    return ok;
}

bool convert_update(const struct update_request *asked, enum documents_scope scope, struct arena *arena, struct update_spec *spec,
                    struct error *err)
{
    *spec = (struct update_spec) { .scope = scope, .must_replace = asked->replaces, .upsert = asked->upsert };
    spec->is_pipeline = asked->n_pipeline > 0;
    if (spec->is_pipeline && asked->update && (asked->update->bson.len || asked->update->json[0]))
        return error_set(err, ERROR_INVALID_ARGUMENT, "update and pipeline are both set");
    return convert_document_in("filter", asked->filter, true, arena, &spec->filter, err) &&
           (spec->is_pipeline
                ? convert_array("pipeline stage", asked->pipeline, asked->n_pipeline, arena, &spec->update, err)
                : convert_document_in(asked->replaces ? "replacement" : "update", asked->update, false, arena, &spec->update, err)) &&
           convert_array("array filter", asked->array_filters, asked->n_array_filters, arena, &spec->array_filters, err) &&
           convert_document_in("sort", asked->sort, true, arena, &spec->sort, err) &&
           convert_query_options(asked->options, arena, &spec->options, err);
}

bool convert_delete(Argon__Branch__V1__Document *filter, Argon__Branch__V1__Document *sort, Argon__Branch__V1__QueryOptions *options,
                    enum documents_scope scope, struct arena *arena, struct delete_spec *spec, struct error *err)
{
    *spec = (struct delete_spec) { .scope = scope };
    return convert_document_in("filter", filter, true, arena, &spec->filter, err) &&
           convert_document_in("sort", sort, true, arena, &spec->sort, err) && convert_query_options(options, arena, &spec->options, err);
}

bool convert_upserted_out(const struct write_result *result, Argon__Branch__V1__Format format, struct arena *arena,
                          Argon__Branch__V1__Document *id, Argon__Branch__V1__Document **out, struct error *err)
{
    const struct log_run *run = documents_written(result);
    if (result->counts.upserted == 0)
        return true;
    if (!run || run->n_entries != 1)
        return error_set(err, ERROR_DATA_LOSS, "the log holds no document where one was inserted");
    *out = id;
    return convert_id_out(run->entries[0].document, format, arena, id, err);
}

bool convert_item_errors(const struct item_errors *errors, struct arena *arena, Argon__Branch__V1__ItemError ***out, size_t *n,
                         struct error *err)
{
    Argon__Branch__V1__ItemError *items = arena_alloc(arena, errors->n * sizeof *items);
    Argon__Branch__V1__ItemError **pointers = arena_alloc(arena, errors->n * sizeof *pointers);
    if (!items || !pointers)
        return error_out_of_memory(err);
    for (size_t i = 0; i < errors->n; i++) {
        items[i] = (Argon__Branch__V1__ItemError)ARGON__BRANCH__V1__ITEM_ERROR__INIT;
        items[i].index = errors->items[i].index;
        items[i].code = (uint32_t)errors->items[i].code;
        items[i].message = (char *)errors->items[i].message;
        items[i].mongodb_code = errors->items[i].mongo_code;
        pointers[i] = &items[i];
    }
    *out = pointers;
    *n = errors->n;
    return true;
}
