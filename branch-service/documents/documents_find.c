#include <stdlib.h>

#include "branch-service/documents/document_walk.h"
#include "branch-service/documents/documents_internal.h"
#include "branch-service/query/distinct.h"
#include "branch-service/query/projection.h"
#include "branch-service/query/query_error.h"
#include "branch-service/query/sort.h"
#include "common/base/memory.h"
#include "common/bson/bson_check.h"
#include "common/bson/utf8.h"

struct documents_find {
    struct find base; /* first */
    struct target target;
    struct query_context context;
    struct filter *filter;
    struct sort *sort;
    struct sorter *sorter;         /* NULL: they come as they are walked */
    struct projection *projection; /* NULL: whole documents */
    struct document_walk walk;
    uint64_t skip;
    uint64_t left;          /* UINT64_MAX: no limit */
    struct arena scratch;   /* of one projection */
    struct arena projected; /* what was handed out since the last settle */
    bool settled;
};

static bool next_in_order(struct documents_find *find, struct bytes *document, bool *found, struct error *err)
{
    struct tree_item item;
    if (find->sorter) {
        *found = sorter_next(find->sorter, document);
        return caller_waits(&find->walk.caller, err);
    }
    bool ok = document_walk_next(&find->walk, &item, found, err);
    find->base.work.examined = find->walk.examined;
    if (ok && *found)
        *document = item.document;
    return ok;
}

static bool project(struct documents_find *find, struct bytes *document, struct error *err)
{
    const struct evaluation evaluation = {
        .arena = &find->scratch, .document = *document, .bindings = find->context.variables.bindings, .now = find->context.now
    };
    struct bytes result;
    if (!find->projection)
        return true;
    if (!projection_apply(find->projection, &evaluation, find->filter, &result, err))
        return false;
    *document = bytes_of(arena_copy(&find->projected, result.data, result.len), result.len);
    arena_clear(&find->scratch);
    return document->data || error_out_of_memory(err);
}

static bool next_document(struct find *base, struct bytes *document, struct error *err)
{
    struct documents_find *find = (struct documents_find *)base;
    struct bytes next;
    bool found;
    *document = (struct bytes) { 0 };
    if (find->settled) /* they have been sent */
        arena_clear(&find->projected);
    find->settled = false;
    while (find->left > 0) {
        if (!next_in_order(find, &next, &found, err))
            return false;
        if (!found)
            return true;
        if (find->skip > 0) {
            find->skip--;
            continue;
        }
        if (find->left != UINT64_MAX)
            find->left--;
        if (!project(find, &next, err))
            return false;
        *document = next;
        break;
    }
    return true;
}

static bool settle(struct find *base, struct error *err)
{
    (void)err;
    ((struct documents_find *)base)->settled = true;
    return true;
}

static void close_find(struct find *base)
{
    struct documents_find *find = (struct documents_find *)base;
    sorter_free(find->sorter);
    sort_free(find->sort);
    projection_free(find->projection);
    filter_free(find->filter);
    target_destroy(&find->target);
    arena_destroy(&find->scratch);
    arena_destroy(&find->projected);
    query_context_destroy(&find->context);
    free(find);
}

static const struct find_functions functions = { .next = next_document, .settle = settle, .close = close_find };

static bool compile(struct documents_find *find, const struct find_spec *spec, struct error *err)
{
    if (!query_context_init(&find->context, &spec->options, err) || !query_context_filter(&find->context, spec->filter, &find->filter, err))
        return false;
    if (spec->sort.len && (!bson_check(spec->sort, err) || !sort_compile(spec->sort, &find->sort, err)))
        return query_wrap(err, "sort");
    if (spec->projection.len &&
        (!bson_check(spec->projection, err) ||
         !projection_compile(spec->projection, PROJECTION_FIND, find->context.variables.scope, &find->projection, err)))
        return query_wrap(err, "projection");
    return true;
}

void documents_note_access(struct find_work *work, const struct tree *documents, const struct filter *filter)
{
    const struct id_range *ranges;
    struct bytes key;
    size_t n = 0;
    if (!documents)
        work->access = FIND_NOTHING;
    else if (filter && filter_id_bounds(filter, &ranges, &n))
        work->access = filter_single_id(filter, &key) ? FIND_BY_ID : FIND_BY_ID_RANGES;
    else
        work->access = FIND_BY_SCAN;
    work->n_ranges = n;
}

/* Where the order of _id does not do, all matches go through memory: of a limited number only so many. */
static bool sort_matches(struct documents_find *find, const struct find_spec *spec, struct error *err)
{
    struct tree_item item;
    bool found, bounded = spec->limit && spec->limit <= SIZE_MAX - spec->skip;
    find->sorter = sorter_new(find->sort, bounded ? spec->skip + spec->limit : 0, SORT_MEMORY_BYTES);
    for (;;) {
        if (!document_walk_next(&find->walk, &item, &found, err))
            return false;
        if (!found)
            break;
        if (!sorter_add(find->sorter, item.document, err))
            return query_wrap(err, "sort");
    }
    find->base.work.examined = find->walk.examined;
    return true;
}

bool documents_find(struct registry *registry, const struct collection_path *path, const struct find_spec *spec,
                    const struct read_options *read, struct find **find, struct error *err)
{
    struct documents_find *made = mem_zalloc(sizeof *made);
    made->base.functions = &functions;
    arena_init_metered(&made->scratch, EXPRESSION_MAX_MEMORY);
    arena_init_metered(&made->projected, 0);
    bool ok = documents_check_path(path, err) && compile(made, spec, err) &&
              collections_open(registry, path->project, path->branch, path->collection, read, &made->target, err);
    if (ok) {
        const struct tree *documents = made->target.documents;
        int direction = made->sort ? sort_id_direction(made->sort) : 0;
        bool in_memory = made->sort && direction == 0 && sort_key_count(made->sort) > 0;
        made->base.lsn = made->target.lsn;
        made->base.work.order = in_memory ? FIND_SORTED : direction ? FIND_ORDERED_BY_ID : FIND_AS_WALKED;
        made->skip = spec->skip;
        made->left = spec->limit ? spec->limit : UINT64_MAX;
        documents_note_access(&made->base.work, documents, made->filter);
        document_walk_begin(&made->walk, documents, made->filter, direction < 0, read->caller);
        ok = !in_memory || sort_matches(made, spec, err);
    }
    if (!ok) {
        find_close(&made->base);
        return false;
    }
    *find = &made->base;
    return true;
}

/* How many are left of n. */
static uint64_t within(const struct find_spec *spec, uint64_t n)
{
    uint64_t left = n > spec->skip ? n - spec->skip : 0;
    return spec->limit && left > spec->limit ? spec->limit : left;
}

static bool count_matches(const struct target *target, const struct filter *filter, const struct find_spec *spec, struct caller caller,
                          uint64_t *count, struct error *err)
{
    static const uint8_t everything[] = { 5, 0, 0, 0, 0 };
    struct document_walk walk;
    struct tree_item item;
    bool found = true;
    uint64_t n = 0, enough = spec->limit && spec->limit <= UINT64_MAX - spec->skip ? spec->skip + spec->limit : UINT64_MAX;
    if (!spec->filter.len || bytes_equal(spec->filter, bytes_of(everything, sizeof everything))) {
        *count = within(spec, target->documents ? tree_count(target->documents) : 0);
        return true;
    }
    document_walk_begin(&walk, target->documents, filter, false, caller);
    while (found && n < enough) {
        if (!document_walk_next(&walk, &item, &found, err))
            return false;
        n += found;
    }
    *count = within(spec, n);
    return true;
}

bool documents_count(struct registry *registry, const struct collection_path *path, const struct find_spec *spec,
                     const struct read_options *read, uint64_t *count, uint64_t *lsn, struct error *err)
{
    struct query_context context = { 0 };
    struct filter *filter = NULL;
    struct target target = { 0 };
    bool ok = documents_check_path(path, err) && query_context_init(&context, &spec->options, err) &&
              query_context_filter(&context, spec->filter, &filter, err) &&
              collections_open(registry, path->project, path->branch, path->collection, read, &target, err) &&
              count_matches(&target, filter, spec, read->caller, count, err);
    if (ok)
        *lsn = target.lsn;
    target_destroy(&target);
    filter_free(filter);
    query_context_destroy(&context);
    return ok;
}

bool documents_estimate(struct registry *registry, const struct collection_path *path, const struct read_options *read, uint64_t *count,
                        uint64_t *lsn, struct error *err)
{
    const struct find_spec all = { .limit = 0 };
    return documents_count(registry, path, &all, read, count, lsn, err);
}

bool documents_check_distinct(const struct distinct_spec *spec, struct error *err)
{
    if (spec->options.let.len)
        return query_error(err, 40415, "distinct takes no variables: 'let' is an unknown field");
    if (!spec->field || !spec->field[0])
        return query_error(err, 40414, "distinct: the field is missing");
    return utf8_valid(spec->field, strlen(spec->field)) || query_error(err, MONGO_BAD_VALUE, "distinct: the field is no UTF-8 text");
}

bool documents_distinct(struct registry *registry, const struct collection_path *path, const struct distinct_spec *spec,
                        const struct read_options *read, struct buffer *values, uint64_t *lsn, struct error *err)
{
    struct query_context context = { 0 };
    struct filter *filter = NULL;
    struct target target = { 0 };
    struct distinct *distinct = distinct_new(spec->field);
    struct document_walk walk;
    struct tree_item item;
    bool found = true;
    bool ok = documents_check_path(path, err) && documents_check_distinct(spec, err) && query_context_init(&context, &spec->options, err) &&
              query_context_filter(&context, spec->filter, &filter, err) &&
              collections_open(registry, path->project, path->branch, path->collection, read, &target, err);
    if (ok)
        document_walk_begin(&walk, target.documents, filter, false, read->caller);
    while (ok && found) {
        ok = document_walk_next(&walk, &item, &found, err);
        ok = ok && (!found || distinct_add(distinct, item.document, err));
    }
    ok = ok && distinct_write(distinct, values, err);
    if (ok)
        *lsn = target.lsn;
    distinct_free(distinct);
    target_destroy(&target);
    filter_free(filter);
    query_context_destroy(&context);
    return ok;
}
