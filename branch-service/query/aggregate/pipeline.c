/* Pipelines: compiling, and pulling documents through. */
#include <stdlib.h>

#include "branch-service/query/aggregate/stage.h"
#include "common/base/limits.h"
#include "common/base/memory.h"
#include "common/bson/utf8.h"

static const struct stage_ops *const tables[] = {
    &stages_simple, &stages_group, &stages_bucket_auto, &stages_join, &stages_graph, &stages_gather, &stages_redact, &stages_windows,
};

const char *pipeline_stage_name(size_t index)
{
    for (size_t t = 0; t < ARRAY_LEN(tables); index -= tables[t++]->n) {
        if (index < tables[t]->n)
            return tables[t]->ops[index].name;
    }
    return NULL;
}

static const struct stage_op *find_stage(const struct element *name)
{
    for (size_t t = 0; t < ARRAY_LEN(tables); t++) {
        for (size_t i = 0; i < tables[t]->n; i++) {
            if (element_is_named(name, tables[t]->ops[i].name, strlen(tables[t]->ops[i].name)))
                return &tables[t]->ops[i];
        }
    }
    return NULL;
}

/* What MongoDB has, and is not here: it writes, or asks of servers, of indexes and of streams that there are none of. */
static bool is_refused(const struct element *name)
{
    static const char *const names[] = {
        "$changeStream",
        "$changeStreamSplitLargeEvent",
        "$collStats",
        "$currentOp",
        "$densify",
        "$documents",
        "$fill",
        "$geoNear",
        "$indexStats",
        "$listLocalSessions",
        "$listSampledQueries",
        "$listSearchIndexes",
        "$listSessions",
        "$merge",
        "$out",
        "$planCacheStats",
        "$search",
        "$searchMeta",
        "$shardedDataDistribution",
        "$vectorSearch",
    };
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (element_is_named(name, names[i], strlen(names[i])))
            return true;
    }
    return false;
}

void *spec_alloc(struct pipeline *pipeline, size_t size, struct error *err)
{
    void *p = arena_zalloc(&pipeline->arena, size);
    if (!p)
        error_out_of_memory(err);
    return p;
}

bool add_stage(struct pipeline *pipeline, const struct element *spec, struct error *err)
{
    struct element_reader reader;
    struct element e;
    if (spec->type != BSON_TYPE_DOCUMENT)
        return query_error(err, MONGO_TYPE_MISMATCH, "Each element of the 'pipeline' array must be an object");
    element_reader_init(&reader, spec->value);
    if (!element_next(&reader, &e) || element_next(&reader, &(struct element) { 0 }))
        return query_error(err, 40323, "A pipeline stage specification object must contain exactly one field.");
    const struct stage_op *op = find_stage(&e);
    if (!op && is_refused(&e))
        return query_error(err, MONGO_COMMAND_NOT_SUPPORTED, "the stage %s is not supported", e.name);
    if (!op)
        return query_error(err, 40324, "Unrecognized pipeline stage name: '%.*s'", utf8_fit(e.name, e.name_len, 80), e.name);
    if (pipeline->n++ == MAX_PIPELINE_STAGES)
        return query_error(err, 7749501, "Pipeline length must be no longer than %d stages", MAX_PIPELINE_STAGES);
    struct stage *stage = spec_alloc(pipeline, sizeof *stage, err);
    if (!stage)
        return false;
    stage->op = op;
    *pipeline->last = stage;
    pipeline->last = &stage->next;
    if (!op->compile(pipeline, &e, stage, err))
        return query_wrap(err, "%s", op->name);
    return true;
}

static bool compile(struct bytes stages, const struct expression_scope *scope, unsigned depth, struct pipeline **out, struct error *err)
{
    struct pipeline *pipeline = mem_zalloc(sizeof *pipeline);
    struct element_reader reader;
    struct element e;
    arena_init_metered(&pipeline->arena, MAX_COMPILED_BYTES);
    pipeline->scope = scope;
    pipeline->last = &pipeline->first;
    pipeline->depth = depth;
    bool ok = depth <= MAX_PIPELINE_NESTING || query_error(err, 7749501, "pipelines nest deeper than %d levels", MAX_PIPELINE_NESTING);
    const uint8_t *copy = ok ? arena_copy(&pipeline->arena, stages.data, stages.len) : NULL;
    if (ok && !copy)
        ok = error_out_of_memory(err);
    element_reader_init(&reader, bytes_of(copy, copy ? stages.len : 0));
    while (ok && element_next(&reader, &e))
        ok = add_stage(pipeline, &e, err);
    if (ok)
        *out = pipeline;
    else
        pipeline_free(pipeline);
    return ok;
}

bool pipeline_compile(struct bytes stages, const struct expression_scope *scope, struct pipeline **pipeline, struct error *err)
{
    return compile(stages, scope, 0, pipeline, err);
}

bool compile_inner(const struct pipeline *outer, struct bytes stages, const struct expression_scope *scope, struct pipeline **pipeline,
                   struct error *err)
{
    return compile(stages, scope, outer->depth + 1, pipeline, err);
}

void pipeline_free(struct pipeline *pipeline)
{
    if (!pipeline)
        return;
    for (struct stage *stage = pipeline->first; stage; stage = stage->next) {
        if (stage->op->destroy && stage->spec)
            stage->op->destroy(stage);
    }
    arena_destroy(&pipeline->arena);
    free(pipeline);
}

/* ---- running ---- */

/* Between two questions whether the run goes on. */
enum { HANDED_ON_BETWEEN = 1024 * 1024, DOCUMENT_COUNTS_AS = 64 * 1024 };

static bool goes_on(struct pipeline_run *run, size_t handed_on, struct error *err)
{
    const struct pipeline_environment *environment = run->environment;
    run->handed_on += handed_on + DOCUMENT_COUNTS_AS;
    if (run->handed_on < HANDED_ON_BETWEEN || !environment->goes_on)
        return true;
    run->handed_on = 0;
    return environment->goes_on(environment->ctx, err);
}

bool run_goes_on(struct stage_run *run, struct error *err)
{
    return goes_on(run->owner, 0, err);
}

bool upstream_next(struct stage_run *run, struct bytes *document, bool *found, struct error *err)
{
    struct document_iterator *source = &run->owner->source;
    bool ok = run->upstream ? run->upstream->stage->op->next(run->upstream, document, found, err)
                            : source->next(source->ctx, document, found, err);
    return ok && goes_on(run->owner, *found ? document->len : 0, err);
}

struct evaluation stage_evaluation(struct stage_run *run, struct bytes document)
{
    const struct pipeline_environment *environment = run->owner->environment;
    return (struct evaluation) {
        .arena = &run->arena, .document = document, .bindings = environment->variables.bindings, .now = environment->now
    };
}

struct run stage_values(struct stage_run *run, struct error *err)
{
    return (struct run) { .arena = &run->arena, .err = err };
}

bool fail_gathering(const char *stage, struct error *err)
{
    return !meter_refused(err) && query_error(err, MONGO_QUERY_EXCEEDED_MEMORY_LIMIT, "Exceeded memory limit for %s", stage);
}

bool pipeline_start(const struct pipeline *pipeline, struct document_iterator source, const struct pipeline_environment *environment,
                    struct pipeline_run **out, struct error *err)
{
    struct pipeline_run *run = mem_zalloc(sizeof *run);
    run->pipeline = pipeline;
    run->environment = environment;
    run->source = source;
    run->stages = mem_zalloc((pipeline->n + 1) * sizeof *run->stages);
    size_t i = 0;
    for (const struct stage *stage = pipeline->first; stage; stage = stage->next, i++) {
        struct stage_run *s = &run->stages[i];
        *s = (struct stage_run) { .stage = stage, .upstream = i ? s - 1 : NULL, .owner = run };
        arena_init_metered(&s->arena, environment->memory_bytes);
        if (stage->op->start && !stage->op->start(s, err)) {
            pipeline_stop(run);
            return false;
        }
    }
    *out = run;
    return true;
}

bool pipeline_next(struct pipeline_run *run, struct bytes *document, bool *found, struct error *err)
{
    struct stage_run behind = { .upstream = run->pipeline->n ? &run->stages[run->pipeline->n - 1] : NULL, .owner = run };
    if (!upstream_next(&behind, document, found, err))
        return false;
    if (*found && document->len > MAX_DOCUMENT_BYTES)
        return query_error(err, MONGO_BSON_OBJECT_TOO_LARGE, "a pipeline makes a document of %zu bytes", document->len);
    return true;
}

void pipeline_stop(struct pipeline_run *run)
{
    if (!run)
        return;
    for (size_t i = 0; i < run->pipeline->n; i++) {
        struct stage_run *s = &run->stages[i];
        if (!s->stage)
            break;
        if (s->stage->op->stop)
            s->stage->op->stop(s);
        arena_destroy(&s->arena);
    }
    if (run->source.close)
        run->source.close(run->source.ctx);
    free(run->stages);
    free(run);
}

/* ---- nested fields ---- */

void nested_value(struct bytes document, const struct path *path, struct element *out)
{
    struct element at = { .type = BSON_TYPE_DOCUMENT, .value = document };
    for (size_t i = 0; i < path->n; i++) {
        if (at.type != BSON_TYPE_DOCUMENT || !element_find(at.value, path->components[i].name, path->components[i].len, &at)) {
            make_missing(out);
            return;
        }
    }
    *out = at;
}

static bool replace_nested(struct run *run, struct bytes document, const struct path *path, size_t depth, const struct element *value,
                           struct element *out)
{
    static const uint8_t nothing[] = { 5, 0, 0, 0, 0 };
    const struct path_component *name = &path->components[depth];
    bool last = depth + 1 == path->n, placed = false;
    struct element_reader reader;
    struct element e, inner;
    struct list list = { 0 };
    element_reader_init(&reader, document);
    while (element_next(&reader, &e)) {
        inner = e;
        if (element_is_named(&e, name->name, name->len)) {
            placed = true;
            if (last)
                inner = *value;
            else if (!replace_nested(run, e.type == BSON_TYPE_DOCUMENT ? e.value : bytes_of(nothing, sizeof nothing), path, depth + 1,
                                     value, &inner))
                return false;
        }
        if (!list_add_named(run, &list, e.name, e.name_len, &inner))
            return false;
    }
    if (!placed && !value_is_missing(value)) {
        inner = *value;
        if (!last && !replace_nested(run, bytes_of(nothing, sizeof nothing), path, depth + 1, value, &inner))
            return false;
        if (!list_add_named(run, &list, name->name, name->len, &inner))
            return false;
    }
    return make_document(run, &list, out);
}

bool with_nested(struct run *run, struct bytes document, const struct path *path, const struct element *value, struct bytes *out)
{
    struct element result;
    if (!replace_nested(run, document, path, 0, value, &result))
        return false;
    *out = result.value;
    return true;
}
