#include <stdlib.h>

#include "branch-service/catalog/names.h"
#include "branch-service/collection/traditional_internal.h"
#include "branch-service/documents/documents_internal.h"
#include "branch-service/mongo/mongo_explain.h"
#include "branch-service/query/pipeline.h"
#include "common/base/clock.h"
#include "common/base/memory.h"
#include "common/bson/bson_check.h"

enum { STEP_MICROS = 30 * MICROS_PER_SECOND, EMPTY_DOCUMENT = 5 };

/* skip and limit are 64 bits without a sign to callers, with one to MongoDB. */
static int64_t bounded(uint64_t n)
{
    return n > INT64_MAX ? INT64_MAX : (int64_t)n;
}

struct bytes traditional_filter(struct bytes filter)
{
    static const uint8_t everything[] = { 5, 0, 0, 0, 0 };
    return filter.len ? filter : bytes_of(everything, sizeof everything);
}

bool traditional_begin_read(struct traditional *operation, struct registry *registry, const char *project, const char *branch,
                            const char *collection, const struct read_options *read, const char **name, struct error *err)
{
    const struct {
        bool set;
        const char *name;
    } options[] = { { read->as_of_lsn > 0, "as_of_lsn" },
                    { read->as_of_time > 0, "as_of_time" },
                    { read->min_lsn > 0, "min_lsn" },
                    { read->stale_ok, "stale_ok" } };
    if (!name_check("branch", branch, err) || (collection && !name_check_collection(collection, err)) ||
        !traditional_begin(operation, registry, project, branch, read->deadline, err))
        return false;
    bool ok = true;
    for (size_t i = 0; ok && i < ARRAY_LEN(options); i++)
        ok = !options[i].set || traditional_refuse_option(branch, options[i].name, err);
    if (ok && collection) {
        *name = traditional_collection_name(operation, collection, err);
        ok = *name != NULL;
    }
    if (!ok)
        traditional_end(operation);
    return ok;
}

struct traditional_find {
    struct find base; /* first */
    struct traditional operation;
    struct mongo_cursor *cursor;
    /* What was handed out since the last settle: MongoDB's own is gone with the next document. */
    struct arena documents;
    bool settled;
    bool ended; /* MongoDB's cursor is not asked again */
};

/* A reader may take his time; each step has some of its own. */
static void grant_time(struct traditional *operation)
{
    int64_t least = clock_monotonic_micros() + STEP_MICROS;
    if (operation->deadline < least)
        operation->deadline = least;
}

static bool next_document(struct find *base, struct bytes *document, struct error *err)
{
    struct traditional_find *find = (struct traditional_find *)base;
    struct bytes found;
    *document = (struct bytes) { 0 };
    if (find->settled) { /* they have been sent */
        arena_destroy(&find->documents);
        arena_init(&find->documents, 0);
        find->settled = false;
    }
    if (find->ended)
        return true;
    grant_time(&find->operation);
    switch (mongo_cursor_next(find->cursor, find->operation.deadline, &found, err)) {
    case MONGO_NEXT_FAILED:
        return traditional_settle(&find->operation, false, err);
    case MONGO_NEXT_END:
        find->ended = true;
        return true;
    case MONGO_NEXT_DOCUMENT:
        break;
    }
    *document = bytes_of(arena_copy(&find->documents, found.data, found.len), found.len);
    return document->data || error_out_of_memory(err);
}

static bool settle(struct find *base, struct error *err)
{
    struct traditional_find *find = (struct traditional_find *)base;
    find->settled = true;
    grant_time(&find->operation);
    return traditional_settle(&find->operation, true, err);
}

static void close_find(struct find *base)
{
    struct traditional_find *find = (struct traditional_find *)base;
    mongo_cursor_close(find->cursor);
    traditional_end(&find->operation);
    arena_destroy(&find->documents);
    free(find);
}

static const struct find_functions functions = { .next = next_document, .settle = settle, .close = close_find };

/* Of a cursor that MongoDB has not been asked for yet. NULL: there is no such branch. */
static struct traditional_find *begin_find(struct registry *registry, const struct collection_path *path, const struct read_options *read,
                                           const char **name, struct error *err)
{
    struct traditional_find *made = mem_zalloc(sizeof *made);
    if (!traditional_begin_read(&made->operation, registry, path->project, path->branch, path->collection, read, name, err)) {
        free(made);
        return NULL;
    }
    made->base.functions = &functions;
    arena_init(&made->documents, 0);
    return made;
}

static bool end_begin(struct traditional_find *made, bool ok, struct find **find)
{
    if (ok)
        *find = &made->base;
    else
        close_find(&made->base);
    return ok;
}

/* In the words of a WAL branch. */
static bool fill_work(struct traditional_find *find, const struct mongo_plan *plan, bool ordered, struct error *err)
{
    static const enum find_access accesses[] = {
        [MONGO_ACCESS_NOTHING] = FIND_NOTHING, [MONGO_ACCESS_ID] = FIND_BY_ID,     [MONGO_ACCESS_ID_RANGES] = FIND_BY_ID_RANGES,
        [MONGO_ACCESS_INDEX] = FIND_BY_INDEX,  [MONGO_ACCESS_SCAN] = FIND_BY_SCAN,
    };
    struct find_work *work = &find->base.work;
    *work = (struct find_work) { .access = accesses[plan->access], .n_ranges = plan->ranges, .examined = plan->examined };
    if (plan->sorts)
        work->order = FIND_SORTED;
    else if (ordered && work->access != FIND_NOTHING)
        work->order = work->access == FIND_BY_INDEX ? FIND_ORDERED_BY_INDEX : FIND_ORDERED_BY_ID;
    if (!plan->indexes[0])
        return true;
    work->indexes = arena_strdup(&find->operation.arena, plan->indexes);
    return work->indexes || error_out_of_memory(err);
}

/* True, too, when nobody asked for it. */
static bool explain_find(struct traditional_find *find, const struct find_spec *spec, const char *name, const struct mongo_find *asked,
                         int64_t deadline, struct error *err)
{
    struct mongo_plan plan;
    return !spec->explained ||
           (mongo_explain_find(find->operation.mongo, find->operation.record.database, name, asked, deadline, &plan, err) &&
            fill_work(find, &plan, spec->sort.len > EMPTY_DOCUMENT, err));
}

static bool explain_aggregate(struct traditional_find *find, const struct aggregate_spec *spec, const char *name, struct bytes stages,
                              struct bytes options, int64_t deadline, struct error *err)
{
    struct mongo_plan plan;
    return !spec->explained ||
           (mongo_explain_aggregate(find->operation.mongo, find->operation.record.database, name, stages, options, deadline, &plan, err) &&
            fill_work(find, &plan, documents_pipeline_sorts(spec->pipeline) > 0, err));
}

bool traditional_find(struct registry *registry, const struct collection_path *path, const struct find_spec *spec,
                      const struct read_options *read, struct find **find, struct error *err)
{
    const char *name;
    struct traditional_find *made = begin_find(registry, path, read, &name, err);
    if (!made)
        return false;
    bool sorted = spec->sort.len > EMPTY_DOCUMENT;
    struct mongo_find asked = {
        .filter = traditional_filter(spec->filter), .skip = bounded(spec->skip), .limit = bounded(spec->limit), .id_order = sorted ? 0 : 1
    };
    bool ok = (!spec->filter.len || bson_check(spec->filter, err)) &&
              traditional_options(&spec->options, false, sorted ? spec->sort : bytes_of(NULL, 0), spec->projection, &made->operation.arena,
                                  &asked.options, err) &&
              explain_find(made, spec, name, &asked, read->deadline, err) &&
              mongo_find(made->operation.mongo, made->operation.record.database, name, &asked, read->deadline, &made->cursor, err);
    return end_begin(made, ok, find);
}

bool traditional_aggregate(struct registry *registry, const struct collection_path *path, const struct aggregate_spec *spec,
                           const struct read_options *read, struct find **find, struct error *err)
{
    const char *name;
    struct bytes stages, options;
    struct query_context context;
    struct pipeline *pipeline;
    struct traditional_find *made = begin_find(registry, path, read, &name, err);
    if (!made)
        return false;
    bool ok = documents_compile_pipeline(spec, &context, &pipeline, err);
    if (ok) {
        pipeline_free(pipeline);
        query_context_destroy(&context);
    }
    ok = ok && traditional_pipeline(&made->operation, spec->pipeline, &stages, err) &&
         traditional_options(&spec->options, false, bytes_of(NULL, 0), bytes_of(NULL, 0), &made->operation.arena, &options, err) &&
         explain_aggregate(made, spec, name, stages, options, read->deadline, err) &&
         mongo_aggregate(made->operation.mongo, made->operation.record.database, name, stages, options, read->deadline, &made->cursor, err);
    return end_begin(made, ok, find);
}

bool traditional_count(struct registry *registry, const struct collection_path *path, const struct find_spec *spec,
                       const struct read_options *read, uint64_t *count, uint64_t *lsn, struct error *err)
{
    struct traditional operation;
    struct bytes options;
    const char *name;
    int64_t all;
    if (!traditional_begin_read(&operation, registry, path->project, path->branch, path->collection, read, &name, err))
        return false;
    bool ok =
        (spec->filter.len == 0 || bson_check(spec->filter, err)) &&
        traditional_options(&spec->options, false, bytes_of(NULL, 0), bytes_of(NULL, 0), &operation.arena, &options, err) &&
        mongo_count(operation.mongo, operation.record.database, name, traditional_filter(spec->filter), options, read->deadline, &all, err);
    ok = traditional_settle(&operation, ok, err);
    traditional_end(&operation);
    if (!ok)
        return false;
    uint64_t left = (uint64_t)all > spec->skip ? (uint64_t)all - spec->skip : 0;
    *count = spec->limit && left > spec->limit ? spec->limit : left;
    *lsn = 0;
    return true;
}

bool traditional_estimate(struct registry *registry, const struct collection_path *path, const struct read_options *read, uint64_t *count,
                          uint64_t *lsn, struct error *err)
{
    struct traditional operation;
    const char *name;
    int64_t all;
    if (!traditional_begin_read(&operation, registry, path->project, path->branch, path->collection, read, &name, err))
        return false;
    bool ok = mongo_estimated_count(operation.mongo, operation.record.database, name, read->deadline, &all, err);
    ok = traditional_settle(&operation, ok, err);
    traditional_end(&operation);
    if (ok) {
        *count = (uint64_t)all;
        *lsn = 0;
    }
    return ok;
}

bool traditional_distinct(struct registry *registry, const struct collection_path *path, const struct distinct_spec *spec,
                          const struct read_options *read, struct buffer *values, uint64_t *lsn, struct error *err)
{
    struct traditional operation;
    struct bytes options;
    const char *name;
    if (!traditional_begin_read(&operation, registry, path->project, path->branch, path->collection, read, &name, err))
        return false;
    bool ok = (spec->filter.len == 0 || bson_check(spec->filter, err)) && documents_check_distinct(spec, err) &&
              traditional_options(&spec->options, true, bytes_of(NULL, 0), bytes_of(NULL, 0), &operation.arena, &options, err) &&
              mongo_distinct(operation.mongo, operation.record.database, name, spec->field, traditional_filter(spec->filter), options,
                             read->deadline, values, err);
    ok = traditional_settle(&operation, ok, err);
    traditional_end(&operation);
    if (ok)
        *lsn = 0;
    return ok;
}
