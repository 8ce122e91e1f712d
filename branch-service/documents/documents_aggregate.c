/* Aggregations on a branch: a pipeline over the views of one LSN. */
#include <stdlib.h>

#include "branch-service/catalog/catalog.h"
#include "branch-service/catalog/names.h"
#include "branch-service/documents/document_walk.h"
#include "branch-service/documents/documents_internal.h"
#include "branch-service/query/pipeline.h"
#include "branch-service/query/query_error.h"
#include "common/base/memory.h"

/* Another collection that the pipeline has opened. */
struct beside {
    struct beside *next;
    struct tree *documents; /* NULL: there is no such collection */
    size_t name_len;
    char name[];
};

struct aggregation {
    struct find base; /* first */
    struct project *project;
    struct target target;
    struct caller caller;
    int64_t deadline;
    struct query_context context;
    struct pipeline *pipeline;
    struct pipeline_environment environment;
    struct pipeline_run *run;
    struct beside *beside;
    struct arena handed_out; /* since the last settle */
    bool settled, ended;
};

/* ---- where documents come from ---------------------------------------------------------------------- */

struct source {
    struct document_walk walk;
    uint64_t *examined; /* NULL: nobody counts */
};

static bool next_of_source(void *ctx, struct bytes *document, bool *found, struct error *err)
{
    struct source *source = ctx;
    struct tree_item item;
    if (!document_walk_next(&source->walk, &item, found, err))
        return false;
    if (source->examined)
        *source->examined = source->walk.examined;
    if (*found)
        *document = item.document;
    return true;
}

/* The pipeline filters by itself: of the filter only the bounds on _id are used. */
static struct document_iterator open_source(const struct aggregation *aggregation, const struct tree *documents,
                                            const struct filter *filter, int id_direction, uint64_t *examined)
{
    struct source *source = mem_zalloc(sizeof *source);
    document_walk_begin(&source->walk, documents, filter, id_direction < 0, aggregation->caller);
    source->walk.filter = NULL;
    source->examined = examined;
    return (struct document_iterator) { next_of_source, free, source, id_direction };
}

/* The branch by its id, not by its name: that may have come to mean another one. */
static bool open_view(struct aggregation *aggregation, const char *name, struct tree **documents, struct error *err)
{
    struct arena arena;
    struct bytes key;
    struct tree_item item;
    struct collection_record record;
    *documents = NULL;
    arena_init(&arena, 0);
    bool ok = catalog_key(name, &arena, &key, err);
    if (ok && aggregation->target.collections && tree_get(aggregation->target.collections, key, &item))
        ok = catalog_decode_collection(item.document, &record, err) &&
             project_view(aggregation->project, aggregation->target.branch_id, record.id, aggregation->target.lsn, aggregation->deadline,
                          documents, err);
    arena_destroy(&arena);
    return ok;
}

static bool open_beside(void *ctx, struct bytes name, const struct filter *filter, struct document_iterator *iterator, struct error *err)
{
    struct aggregation *aggregation = ctx;
    struct beside *beside = aggregation->beside;
    while (beside && !bytes_equal(bytes_of(beside->name, beside->name_len), name))
        beside = beside->next;
    if (!beside) {
        beside = mem_zalloc(sizeof *beside + name.len + 1);
        memcpy(beside->name, name.data, name.len);
        beside->name_len = name.len;
        if (!name_check_collection(beside->name, err) || !open_view(aggregation, beside->name, &beside->documents, err)) {
            free(beside);
            return false;
        }
        beside->next = aggregation->beside;
        aggregation->beside = beside;
    }
    *iterator = open_source(aggregation, beside->documents, filter, 1, NULL);
    return true;
}

static bool goes_on(void *ctx, struct error *err)
{
    return caller_waits(&((struct aggregation *)ctx)->caller, err);
}

/* ---- what comes out --------------------------------------------------------------------------------- */

static bool next_document(struct find *base, struct bytes *document, struct error *err)
{
    struct aggregation *aggregation = (struct aggregation *)base;
    struct bytes next;
    bool found;
    *document = (struct bytes) { 0 };
    if (aggregation->settled) /* they have been sent */
        arena_clear(&aggregation->handed_out);
    aggregation->settled = false;
    if (aggregation->ended)
        return true;
    if (!pipeline_next(aggregation->run, &next, &found, err))
        return query_wrap(err, "pipeline");
    aggregation->ended = !found;
    if (!found)
        return true;
    *document = bytes_of(arena_copy(&aggregation->handed_out, next.data, next.len), next.len);
    return document->data || error_out_of_memory(err);
}

static bool settle(struct find *base, struct error *err)
{
    (void)err;
    ((struct aggregation *)base)->settled = true;
    return true;
}

static void close_aggregation(struct find *base)
{
    struct aggregation *aggregation = (struct aggregation *)base;
    pipeline_stop(aggregation->run);
    pipeline_free(aggregation->pipeline);
    while (aggregation->beside) {
        struct beside *next = aggregation->beside->next;
        tree_unref(aggregation->beside->documents);
        free(aggregation->beside);
        aggregation->beside = next;
    }
    target_destroy(&aggregation->target);
    arena_destroy(&aggregation->handed_out);
    query_context_destroy(&aggregation->context);
    free(aggregation);
}

static const struct find_functions functions = { .next = next_document, .settle = settle, .close = close_aggregation };

/* ---- beginning --------------------------------------------------------------------------------------- */

size_t documents_pipeline_sorts(struct bytes pipeline)
{
    struct element_reader reader;
    struct element stage;
    size_t n = 0;
    element_reader_init(&reader, pipeline);
    while (element_next(&reader, &stage))
        n += element_find(stage.value, "$sort", 5, &stage);
    return n;
}

bool documents_compile_pipeline(const struct aggregate_spec *spec, struct query_context *context, struct pipeline **pipeline,
                                struct error *err)
{
    if (!query_context_init(context, &spec->options, err))
        return false;
    if (pipeline_compile(spec->pipeline, context->variables.scope, pipeline, err))
        return true;
    query_context_destroy(context);
    *context = (struct query_context) { 0 };
    return query_wrap(err, "pipeline");
}

static bool start(struct aggregation *aggregation, struct bytes stages, struct error *err)
{
    const struct filter *filter = pipeline_first_match(aggregation->pipeline);
    const int direction = pipeline_id_direction(aggregation->pipeline);
    const size_t sorts = documents_pipeline_sorts(stages);
    aggregation->base.lsn = aggregation->target.lsn;
    documents_note_access(&aggregation->base.work, aggregation->target.documents, filter);
    aggregation->base.work.order = sorts > (direction ? 1 : 0) ? FIND_SORTED : direction ? FIND_ORDERED_BY_ID : FIND_AS_WALKED;
    aggregation->environment = (struct pipeline_environment) {
        .open = open_beside,
        .goes_on = goes_on,
        .ctx = aggregation,
        .variables = aggregation->context.variables,
        .now = aggregation->context.now,
        .memory_bytes = PIPELINE_MEMORY_BYTES,
    };
    struct document_iterator source =
        open_source(aggregation, aggregation->target.documents, filter, direction ? direction : 1, &aggregation->base.work.examined);
    return pipeline_start(aggregation->pipeline, source, &aggregation->environment, &aggregation->run, err) || query_wrap(err, "pipeline");
}

bool documents_aggregate(struct registry *registry, const struct collection_path *path, const struct aggregate_spec *spec,
                         const struct read_options *read, struct find **find, struct error *err)
{
    struct aggregation *made = mem_zalloc(sizeof *made);
    made->base.functions = &functions;
    made->caller = read->caller;
    made->deadline = read->deadline;
    arena_init_metered(&made->handed_out, 0);
    bool ok = documents_check_path(path, err) && documents_compile_pipeline(spec, &made->context, &made->pipeline, err) &&
              collections_open(registry, path->project, path->branch, path->collection, read, &made->target, err) &&
              registry_find_known(registry, path->project, read->deadline, &made->project, err) && start(made, spec->pipeline, err);
    if (!ok) {
        find_close(&made->base);
        return false;
    }
    *find = &made->base;
    return true;
}
