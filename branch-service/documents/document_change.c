#include "branch-service/documents/document_change.h"

#include <stdlib.h>

#include "branch-service/documents/document_walk.h"
#include "branch-service/documents/documents_internal.h"
#include "branch-service/query/query_error.h"
#include "common/base/memory.h"
#include "common/bson/bson_check.h"
#include "common/bson/key_encoding.h"

/* ---- what is asked ---------------------------------------------------------------------------------- */

static bool compile_which(struct document_change *change, struct bytes filter, struct bytes sort, const struct query_options *options,
                          struct error *err)
{
    if (!query_context_init(&change->context, options, err) || !query_context_filter(&change->context, filter, &change->filter, err))
        return false;
    if (sort.len && (!bson_check(sort, err) || !sort_compile(sort, &change->sort, err)))
        return query_wrap(err, "sort");
    change->filter_spec = filter;
    return true;
}

bool document_change_compile_update(struct document_change *change, const struct update_spec *spec, struct error *err)
{
    *change = (struct document_change) { .scope = spec->scope, .upsert = spec->upsert };
    if (!compile_which(change, spec->filter, spec->sort, &spec->options, err))
        return false;
    if (spec->upsert && !update_check_upsert(spec->filter, err))
        return query_wrap(err, "upsert");
    const struct update_options options = { .is_pipeline = spec->is_pipeline,
                                            .many = spec->scope != DOCUMENTS_ONE,
                                            .array_filters = spec->array_filters,
                                            .filter = change->filter,
                                            .let = &change->context.variables,
                                            .now = change->context.now };
    if (!bson_check(spec->update, err) || (spec->array_filters.data && !bson_check(spec->array_filters, err)) ||
        !update_compile(spec->update, &options, &change->update, err))
        return query_wrap(err, "update");
    return documents_check_update_kind(update_kind(change->update) == UPDATE_REPLACEMENT, spec, err);
}

bool document_change_compile_delete(struct document_change *change, const struct delete_spec *spec, struct error *err)
{
    *change = (struct document_change) { .scope = spec->scope };
    return compile_which(change, spec->filter, spec->sort, &spec->options, err);
}

void document_change_destroy(struct document_change *change)
{
    update_free(change->update);
    filter_free(change->filter);
    sort_free(change->sort);
    query_context_destroy(&change->context);
}

/* ---- the one document ------------------------------------------------------------------------------- */

/* Of those that come first alike, the first in _id order. */
static bool find_least(const struct document_change *change, const struct tree *documents, struct caller caller, struct tree_item *item,
                       bool *found, struct error *err)
{
    struct sort_key *best = mem_alloc(2 * sizeof *best), *key = best + 1;
    struct document_walk walk;
    struct tree_item candidate;
    bool more = true, ok = true;
    *found = false;
    document_walk_begin(&walk, documents, change->filter, false, caller);
    while ((ok = ok && document_walk_next(&walk, &candidate, &more, err)) && more) {
        ok = sort_key_of(change->sort, candidate.document, key, err);
        if (ok && (!*found || sort_compare(change->sort, key, best) < 0)) {
            memcpy(best, key, sort_key_count(change->sort) * sizeof best->values[0]);
            *item = candidate;
            *found = true;
        }
    }
    free(best);
    return ok;
}

bool document_change_find(const struct document_change *change, const struct tree *documents, struct caller caller, struct tree_item *item,
                          bool *found, struct error *err)
{
    struct document_walk walk;
    int direction = change->sort ? sort_id_direction(change->sort) : 1;
    if (direction == 0)
        return find_least(change, documents, caller, item, found, err);
    document_walk_begin(&walk, documents, change->filter, direction < 0, caller);
    return document_walk_next(&walk, item, found, err);
}

bool document_change_names(const struct document_change *change, struct bytes key)
{
    struct bytes only;
    return filter_single_id(change->filter, &only) && bytes_equal(only, key);
}

/* ---- upsert ----------------------------------------------------------------------------------------- */

bool document_change_insert(const struct document_change *change, const char *collection, const struct tree *documents, struct arena *arena,
                            struct tree_item *item, struct error *err)
{
    bson_t made;
    struct buffer key = { 0 };
    struct tree_item other;
    if (!update_insert(change->update, change->filter_spec, &made, err))
        return query_wrap(err, "upsert");
    struct bytes document = bytes_of(bson_get_data(&made), made.len);
    bool ok = key_encode_document_id(document, &key, err);
    if (ok && documents && tree_get(documents, buffer_bytes(&key), &other))
        ok = documents_refuse_duplicate(collection, document, err);
    if (ok) {
        item->key = bytes_of(arena_copy(arena, key.data, key.len), key.len);
        item->document = bytes_of(arena_copy(arena, document.data, document.len), document.len);
        ok = (item->key.data && item->document.data) || error_out_of_memory(err);
    }
    bson_destroy(&made);
    buffer_destroy(&key);
    return ok;
}
