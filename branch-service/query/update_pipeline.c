#include "branch-service/query/update_pipeline.h"

#include "branch-service/query/projection.h"
#include "branch-service/query/query_error.h"
#include "common/bson/utf8.h"

enum { SHOWN = 80 };

/* MongoDB's codes that have no name. */
enum {
    NEW_ROOT_IS_NO_DOCUMENT = 40228,
    REPLACE_ROOT_IS_NO_DOCUMENT = 40229,
    UNKNOWN_OPTION_OF_REPLACE_ROOT = 40415,
    NO_NEW_ROOT = 40414,
    STAGE_OF_MANY_FIELDS = 40323,
    UNKNOWN_STAGE = 40324,
};

/* One of the two. */
struct stage {
    struct projection *projection;
    const struct expression *new_root;
};

struct update_pipeline {
    size_t n;
    struct stage *stages;
    const struct expression_binding *bindings;
    int64_t now;
};

struct stage_compiler {
    const struct expression_scope *scope;
    struct arena *arena;
};

static bool add_fields(const struct stage_compiler *compiler, const struct element *spec, struct stage *stage, struct error *err)
{
    enum { NO_DOCUMENT = 40272 };
    if (spec->type != BSON_TYPE_DOCUMENT)
        return query_error(err, NO_DOCUMENT, "%s specification stage must be an object, got %s", spec->name, element_type_name(spec->type));
    return projection_compile(spec->value, PROJECTION_ADD_FIELDS, compiler->scope, &stage->projection, err);
}

static bool project(const struct stage_compiler *compiler, const struct element *spec, struct stage *stage, struct error *err)
{
    enum { NO_DOCUMENT = 15969 };
    if (spec->type != BSON_TYPE_DOCUMENT)
        return query_error(err, NO_DOCUMENT, "$project specification must be an object, got %s", element_type_name(spec->type));
    return projection_compile(spec->value, PROJECTION_PROJECT, compiler->scope, &stage->projection, err);
}

static bool unset(const struct stage_compiler *compiler, const struct element *spec, struct stage *stage, struct error *err)
{
    (void)compiler;
    return projection_compile_unset(spec, &stage->projection, err);
}

static bool replace_with(const struct stage_compiler *compiler, const struct element *spec, struct stage *stage, struct error *err)
{
    return expression_compile(spec, compiler->scope, compiler->arena, &stage->new_root, err);
}

static bool replace_root(const struct stage_compiler *compiler, const struct element *spec, struct stage *stage, struct error *err)
{
    struct element_reader reader;
    struct element option, new_root = { .name = NULL };
    if (spec->type != BSON_TYPE_DOCUMENT)
        return query_error(err, REPLACE_ROOT_IS_NO_DOCUMENT, "expected an object as specification for $replaceRoot stage, got %s",
                           element_type_name(spec->type));
    element_reader_init(&reader, spec->value);
    while (element_next(&reader, &option)) {
        if (!element_is_named(&option, "newRoot", 7))
            return query_error(err, UNKNOWN_OPTION_OF_REPLACE_ROOT,
                               "unrecognized option to $replaceRoot stage: %.*s, only valid option is 'newRoot'",
                               utf8_fit(option.name, option.name_len, SHOWN), option.name);
        new_root = option;
    }
    if (!new_root.name)
        return query_error(err, NO_NEW_ROOT, "no newRoot specified for the $replaceRoot stage");
    return replace_with(compiler, &new_root, stage, err);
}

static const struct {
    const char *name;
    bool (*compile)(const struct stage_compiler *compiler, const struct element *spec, struct stage *stage, struct error *err);
} stages[] = {
    { "$set", add_fields },  { "$addFields", add_fields },     { "$unset", unset },
    { "$project", project }, { "$replaceRoot", replace_root }, { "$replaceWith", replace_with },
};

/* Stages of aggregation that an update cannot have. */
static const char *const other_stages[] = {
    "$bucket",  "$bucketAuto",  "$changeStream", "$collStats",       "$count", "$densify", "$documents",   "$facet",     "$fill",
    "$geoNear", "$graphLookup", "$group",        "$indexStats",      "$limit", "$lookup",  "$match",       "$merge",     "$out",
    "$redact",  "$sample",      "$search",       "$setWindowFields", "$skip",  "$sort",    "$sortByCount", "$unionWith", "$unwind",
};

static bool compile_stage(const struct stage_compiler *compiler, const struct element *e, struct stage *stage, struct error *err)
{
    struct element_reader reader;
    struct element spec, more;
    if (e->type != BSON_TYPE_DOCUMENT)
        return query_error(err, MONGO_TYPE_MISMATCH, "each element of the pipeline must be an object, not a %s",
                           element_type_name(e->type));
    element_reader_init(&reader, e->value);
    if (!element_next(&reader, &spec) || element_next(&reader, &more))
        return query_error(err, STAGE_OF_MANY_FIELDS, "a pipeline stage specification object must contain exactly one field");
    for (size_t i = 0; i < ARRAY_LEN(stages); i++) {
        if (element_is_named(&spec, stages[i].name, strlen(stages[i].name)))
            return stages[i].compile(compiler, &spec, stage, err);
    }
    for (size_t i = 0; i < ARRAY_LEN(other_stages); i++) {
        if (element_is_named(&spec, other_stages[i], strlen(other_stages[i])))
            return query_error(err, MONGO_INVALID_OPTIONS, "%s is not allowed to be used within an update", other_stages[i]);
    }
    return query_error(err, UNKNOWN_STAGE, "unrecognized pipeline stage name: '%.*s'", utf8_fit(spec.name, spec.name_len, SHOWN),
                       spec.name);
}

bool update_pipeline_compile(struct bytes array, const struct expression_variables *let, int64_t now, struct arena *arena,
                             struct update_pipeline **out, struct error *err)
{
    enum { MAX_STAGES = 1000 }; /* as MongoDB's */
    const struct stage_compiler compiler = { .scope = let ? let->scope : NULL, .arena = arena };
    struct update_pipeline *pipeline = arena_zalloc(arena, sizeof *pipeline);
    struct element_reader reader;
    struct element e;
    size_t n = 0;
    element_reader_init(&reader, array);
    while (element_next(&reader, &e))
        n++;
    if (n > MAX_STAGES)
        return query_error(err, MONGO_FAILED_TO_PARSE, "the pipeline has %zu stages: %d are the limit", n, MAX_STAGES);
    if (!pipeline || !(pipeline->stages = arena_zalloc(arena, n * sizeof *pipeline->stages)))
        return error_out_of_memory(err);
    pipeline->now = now;
    pipeline->bindings = let ? let->bindings : NULL;
    element_reader_init(&reader, array);
    while (element_next(&reader, &e)) {
        if (!compile_stage(&compiler, &e, &pipeline->stages[pipeline->n], err)) {
            update_pipeline_free(pipeline);
            return query_wrap(err, "stage %zu", pipeline->n);
        }
        pipeline->n++;
    }
    *out = pipeline;
    return true;
}

void update_pipeline_free(struct update_pipeline *pipeline)
{
    for (size_t i = 0; pipeline && i < pipeline->n; i++)
        projection_free(pipeline->stages[i].projection);
}

static bool apply_stage(const struct stage *stage, const struct evaluation *evaluation, struct bytes *result, struct error *err)
{
    struct element value;
    if (stage->projection)
        return projection_apply(stage->projection, evaluation, NULL, result, err);
    if (!expression_evaluate(stage->new_root, evaluation, &value, err))
        return false;
    if (value.type != BSON_TYPE_DOCUMENT)
        return query_error(err, NEW_ROOT_IS_NO_DOCUMENT, "'newRoot' expression must evaluate to an object, but the result is %s",
                           value_is_missing(&value) ? "missing" : element_type_name(value.type));
    *result = value.value;
    return true;
}

bool update_pipeline_apply(const struct update_pipeline *pipeline, struct bytes document, struct arena *arena, struct bytes *result,
                           struct error *err)
{
    struct evaluation evaluation = { .arena = arena, .document = document, .bindings = pipeline->bindings, .now = pipeline->now };
    for (size_t i = 0; i < pipeline->n; i++) {
        struct bytes next;
        if (!apply_stage(&pipeline->stages[i], &evaluation, &next, err))
            return query_wrap(err, "stage %zu", i);
        evaluation.document = next;
    }
    *result = evaluation.document;
    return true;
}
