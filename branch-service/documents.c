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

struct find {
    struct target target;
    struct filter *filter;
    struct tree_cursor cursor;
    uint64_t skip;
    uint64_t left; /* UINT64_MAX: no limit */
    bool single;   /* at most one document can match */
    struct bytes single_key;
    bool failed; /* err says why */
    struct error err;
};

bool find_open(struct registry *registry, const struct collection_path *path, const struct find_spec *spec, const struct read_options *read,
               struct find **find, struct error *err)
{
    struct find *made = mem_zalloc(sizeof *made);
    bool ok = documents_check_path(path, err) && documents_compile_filter(spec->filter, &made->filter, err) &&
              collections_open(registry, path->project, path->branch, path->collection, read, &made->target, err);
    if (!ok) {
        find_close(made);
        return false;
    }
    made->skip = spec->skip;
    made->left = spec->limit ? spec->limit : UINT64_MAX;
    made->single = filter_single_id(made->filter, &made->single_key);
    if (!made->target.documents)
        made->left = 0;
    else if (!made->single)
        tree_cursor_first(&made->cursor, made->target.documents);
    *find = made;
    return true;
}

uint64_t find_lsn(const struct find *find)
{
    return find->target.lsn;
}

static bool next_candidate(struct find *find, struct tree_item *item)
{
    if (!find->single)
        return tree_cursor_next(&find->cursor, item);
    bool found = find->single_key.data && tree_get(find->target.documents, find->single_key, item);
    find->single_key.data = NULL; /* once */
    return found;
}

bool find_next(struct find *find, struct bytes *document)
{
    struct tree_item item;
    while (find->left > 0 && next_candidate(find, &item)) {
        bool matches;
        if (!filter_matches(find->filter, item.document, &matches, &find->err)) {
            find->failed = true;
            find->left = 0;
            return false;
        }
        if (!matches)
            continue;
        if (find->skip > 0) {
            find->skip--;
            continue;
        }
        if (find->left != UINT64_MAX)
            find->left--;
        *document = item.document;
        return true;
    }
    return false;
}

bool find_check(const struct find *find, struct error *err)
{
    if (find->failed)
        *err = find->err;
    return !find->failed;
}

void find_close(struct find *find)
{
    if (!find)
        return;
    target_destroy(&find->target);
    filter_free(find->filter);
    free(find);
}
