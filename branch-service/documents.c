#include "branch-service/documents.h"

#include <stdlib.h>

#include "branch-service/documents_internal.h"
#include "branch-service/names.h"
#include "branch-service/reasons.h"
#include "common/base/memory.h"
#include "common/bson/bson_check.h"

/* What an entry takes besides its document and key. */
enum { ENTRY_OVERHEAD_BYTES = 32 };

bool documents_check_path(const struct collection_path *path, struct error *err)
{
    return name_check("branch", path->branch, err) && name_check_collection(path->collection, err);
}

bool documents_compile_filter(struct bytes spec, struct filter **filter, struct error *err)
{
    return (spec.len == 0 || bson_check(spec, err)) && filter_compile(spec, filter, err);
}

uint64_t documents_entry_bytes(struct bytes key, size_t document_bytes)
{
    return key.len + document_bytes + ENTRY_OVERHEAD_BYTES;
}

bool batch_size_add(struct batch_size *size, struct bytes key, size_t document_bytes, struct error *err)
{
    size->documents++;
    size->bytes += documents_entry_bytes(key, document_bytes);
    if (size->documents <= MAX_WRITE_DOCUMENTS && size->bytes <= MAX_WRITE_BYTES)
        return true;
    if (size->documents > MAX_WRITE_DOCUMENTS)
        error_set(err, ERROR_INVALID_ARGUMENT, "the write holds more than %d documents, the most that one batch takes",
                  MAX_WRITE_DOCUMENTS);
    else
        error_set(err, ERROR_INVALID_ARGUMENT, "the write holds more than %d bytes, the most that one batch takes", MAX_WRITE_BYTES);
    error_set_reason(err, REASON_TOO_LARGE);
    return false;
}

/* ---- find ------------------------------------------------------------------------------------------- */

struct documents_find {
    struct find base; /* first */
    struct target target;
    struct filter *filter;
    struct tree_cursor cursor;
    uint64_t skip;
    uint64_t left; /* UINT64_MAX: no limit */
    bool single;   /* at most one document can match */
    struct bytes single_key;
};

static bool next_candidate(struct documents_find *find, struct tree_item *item)
{
    if (!find->single)
        return tree_cursor_next(&find->cursor, item);
    bool found = find->single_key.data && tree_get(find->target.documents, find->single_key, item);
    find->single_key.data = NULL; /* once */
    return found;
}

static bool next_document(struct find *base, struct bytes *document, struct error *err)
{
    struct documents_find *find = (struct documents_find *)base;
    struct tree_item item;
    *document = (struct bytes) { 0 };
    while (find->left > 0 && next_candidate(find, &item)) {
        bool matches;
        if (!filter_matches(find->filter, item.document, &matches, err))
            return false;
        if (!matches)
            continue;
        if (find->skip > 0) {
            find->skip--;
            continue;
        }
        if (find->left != UINT64_MAX)
            find->left--;
        *document = item.document;
        break;
    }
    return true;
}

static void close_find(struct find *base)
{
    struct documents_find *find = (struct documents_find *)base;
    target_destroy(&find->target);
    filter_free(find->filter);
    free(find);
}

static const struct find_functions functions = { .next = next_document, .close = close_find };

bool documents_find(struct registry *registry, const struct collection_path *path, const struct find_spec *spec,
                    const struct read_options *read, struct find **find, struct error *err)
{
    struct documents_find *made = mem_zalloc(sizeof *made);
    made->base.functions = &functions;
    bool ok = documents_check_path(path, err) && documents_compile_filter(spec->filter, &made->filter, err) &&
              collections_open(registry, path->project, path->branch, path->collection, read, &made->target, err);
    if (!ok) {
        find_close(&made->base);
        return false;
    }
    made->base.lsn = made->target.lsn;
    made->skip = spec->skip;
    made->left = spec->limit ? spec->limit : UINT64_MAX;
    made->single = filter_single_id(made->filter, &made->single_key);
    if (!made->target.documents)
        made->left = 0;
    else if (!made->single)
        tree_cursor_first(&made->cursor, made->target.documents);
    *find = &made->base;
    return true;
}

bool documents_count(struct registry *registry, const struct collection_path *path, const struct find_spec *spec,
                     const struct read_options *read, uint64_t *count, uint64_t *lsn, struct error *err)
{
    struct find *find;
    struct bytes document;
    uint64_t n = 0;
    bool ok;
    if (!documents_find(registry, path, spec, read, &find, err))
        return false;
    while ((ok = find_next(find, &document, err)) && document.data)
        n++;
    if (ok) {
        *count = n;
        *lsn = find->lsn;
    }
    find_close(find);
    return ok;
}
