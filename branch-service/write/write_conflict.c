#include "branch-service/write/write_conflict.h"

#include <bson/bson.h>

#include "branch-service/catalog/catalog.h"
#include "branch-service/reasons.h"
#include "common/bson/ejson.h"

void write_format_id(struct bytes document, struct buffer *out)
{
    bson_t whole, id = BSON_INITIALIZER;
    bson_iter_t iter;
    if (bson_init_static(&whole, document.data, document.len) && bson_iter_init_find(&iter, &whole, "_id"))
        bson_append_iter(&id, "_id", 3, &iter);
    if (!ejson_format(bytes_of(bson_get_data(&id), id.len), EJSON_RELAXED, out, NULL))
        out->len = 0;
    bson_destroy(&id);
}

void write_name_document(const char *collection, struct bytes document, struct error *err)
{
    struct buffer text = { 0 };
    write_format_id(document, &text);
    error_add_key(err, "%s/%.*s", collection, (int)text.len, (const char *)text.data);
    buffer_destroy(&text);
}

/* The image that a plan writes under a key, or the _id that it takes away. Empty: it only reads the key. */
static struct bytes find_document(const struct write_plan *plan, const struct log_key *key)
{
    for (size_t i = 0; i < plan->n_runs; i++) {
        const struct log_run *run = &plan->runs[i];
        if (strcmp(run->branch_id, key->branch_id) != 0 || strcmp(run->collection, key->collection) != 0)
            continue;
        for (size_t k = 0; k < run->n_entries; k++) {
            if (bytes_equal(run->entries[k].document_id, key->document_id))
                return run->entries[k].document;
        }
    }
    return (struct bytes) { 0 };
}

static bool is_catalog(const struct log_key *key)
{
    return strcmp(key->branch_id, CATALOG_BRANCH) == 0 || strcmp(key->collection, COLLECTIONS_COLLECTION) == 0;
}

void write_name_conflicts(const struct write_plan *plan, const struct log_key *conflicts, size_t n, struct error *err)
{
    error_set_reason(err, REASON_WRITE_CONFLICT);
    for (size_t i = 0; i < n; i++) {
        const struct log_key *key = &conflicts[i];
        /* the keys of the catalog are names and ids: text between a tag and a NUL, see common/bson/key_encoding.c */
        if (is_catalog(key) && key->document_id.len >= 2) {
            error_add_key(err, "%s/{\"_id\":\"%.*s\"}", key->collection, (int)(key->document_id.len - 2),
                          (const char *)key->document_id.data + 1);
            continue;
        }
        struct bytes document = find_document(plan, key);
        if (document.len)
            write_name_document(plan->collection ? plan->collection : key->collection, document, err);
    }
}
