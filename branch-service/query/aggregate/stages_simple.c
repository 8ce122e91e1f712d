/* Stages that hand on one document after the other. */
#include "branch-service/query/aggregate/stage.h"
#include "branch-service/query/filter.h"
#include "branch-service/query/projection.h"
#include "common/bson/utf8.h"

/* ---- $match ---- */

/* Its $expr can use variables whose values are known when the pipeline runs: then it is compiled again. */
struct match_spec {
    struct bytes filter;
    struct filter *compiled;
};

static bool compile_match(struct pipeline *pipeline, const struct element *spec, struct stage *stage, struct error *err)
{
    struct expression_variables variables = { .scope = pipeline->scope };
    struct filter_options options = { .let = &variables };
    struct match_spec *match = spec_alloc(pipeline, sizeof *match, err);
    if (!match)
        return false;
    stage->spec = match;
    if (spec->type != BSON_TYPE_DOCUMENT)
        return query_error(err, 15959, "the match filter must be an expression in an object");
    match->filter = spec->value;
    return filter_compile_with(spec->value, &options, &match->compiled, err);
}

static void destroy_match(struct stage *stage)
{
    filter_free(((struct match_spec *)stage->spec)->compiled);
}

static bool start_match(struct stage_run *run, struct error *err)
{
    const struct match_spec *match = run->stage->spec;
    const struct pipeline_environment *environment = run->owner->environment;
    struct filter_options options = { .let = &environment->variables, .now = environment->now };
    struct filter *filter;
    if (!filter_compile_with(match->filter, &options, &filter, err))
        return false;
    run->state = filter;
    return true;
}

static void stop_match(struct stage_run *run)
{
    filter_free(run->state);
}

static bool next_match(struct stage_run *run, struct bytes *document, bool *found, struct error *err)
{
    bool matches = false;
    while (!matches) {
        if (!upstream_next(run, document, found, err))
            return false;
        if (!*found)
            return true;
        if (!filter_matches(run->state, *document, &matches, err))
            return false;
    }
    return true;
}

const struct filter *pipeline_first_match(const struct pipeline *pipeline)
{
    const struct stage *first = pipeline->first;
    return first && first->op->next == next_match ? ((const struct match_spec *)first->spec)->compiled : NULL;
}

/* ---- $project, $addFields, $unset ---- */

static bool compile_projection(struct pipeline *pipeline, const struct element *spec, enum projection_kind kind, int not_document,
                               struct stage *stage, struct error *err)
{
    struct projection *projection;
    if (spec->type != BSON_TYPE_DOCUMENT)
        return query_error(err, not_document, "specification must be an object");
    if (!projection_compile(spec->value, kind, pipeline->scope, &projection, err))
        return false;
    stage->spec = projection;
    return true;
}

static bool compile_project(struct pipeline *pipeline, const struct element *spec, struct stage *stage, struct error *err)
{
    return compile_projection(pipeline, spec, PROJECTION_PROJECT, 15969, stage, err);
}

static bool compile_add_fields(struct pipeline *pipeline, const struct element *spec, struct stage *stage, struct error *err)
{
    return compile_projection(pipeline, spec, PROJECTION_ADD_FIELDS, 40272, stage, err);
}

static bool compile_unset(struct pipeline *pipeline, const struct element *spec, struct stage *stage, struct error *err)
{
    struct projection *projection;
    (void)pipeline;
    if (!projection_compile_unset(spec, &projection, err))
        return false;
    stage->spec = projection;
    return true;
}

static void destroy_projection(struct stage *stage)
{
    projection_free(stage->spec);
}

static bool next_projection(struct stage_run *run, struct bytes *document, bool *found, struct error *err)
{
    if (!upstream_next(run, document, found, err))
        return false;
    if (!*found)
        return true;
    arena_clear(&run->arena);
    struct evaluation evaluation = stage_evaluation(run, *document);
    return projection_apply(run->stage->spec, &evaluation, NULL, document, err);
}

/* ---- $replaceRoot, $replaceWith ---- */

static bool compile_expression(struct pipeline *pipeline, const struct element *spec, struct stage *stage, struct error *err)
{
    const struct expression *expression;
    if (!expression_compile(spec, pipeline->scope, &pipeline->arena, &expression, err))
        return false;
    stage->spec = (void *)expression;
    return true;
}

static bool compile_replace_root(struct pipeline *pipeline, const struct element *spec, struct stage *stage, struct error *err)
{
    struct element_reader reader;
    struct element e, root = { 0 };
    if (spec->type != BSON_TYPE_DOCUMENT)
        return query_error(err, 40229, "expected an object as specification for $replaceRoot stage, got %s", element_type_name(spec->type));
    element_reader_init(&reader, spec->value);
    while (element_next(&reader, &e)) {
        if (!element_is_named(&e, "newRoot", 7))
            return query_error(err, 40415, "unrecognized option to $replaceRoot stage: %.*s", utf8_fit(e.name, e.name_len, 80), e.name);
        root = e;
    }
    if (root.type == 0)
        return query_error(err, 40414, "no newRoot specified for the $replaceRoot stage");
    return compile_expression(pipeline, &root, stage, err);
}

static bool next_replace_root(struct stage_run *run, struct bytes *document, bool *found, struct error *err)
{
    struct element root;
    if (!upstream_next(run, document, found, err))
        return false;
    if (!*found)
        return true;
    arena_clear(&run->arena);
    struct evaluation evaluation = stage_evaluation(run, *document);
    if (!expression_evaluate(run->stage->spec, &evaluation, &root, err))
        return false;
    if (root.type != BSON_TYPE_DOCUMENT)
        return query_error(err, 40228, "'%s' expression must evaluate to an object, but resulting value was of type: %s",
                           run->stage->op->name, element_type_name(root.type));
    *document = root.value;
    return true;
}

/* ---- $limit, $skip ---- */

static bool compile_count(struct pipeline *pipeline, const struct element *spec, int64_t least, int not_number, int too_small,
                          struct stage *stage, struct error *err)
{
    int64_t *n = spec_alloc(pipeline, sizeof *n, err);
    if (!n)
        return false;
    if (!exact_int64(spec, n) || *n < 0)
        return query_error(err, not_number, "invalid argument: expected a non-negative whole number");
    if (*n < least)
        return query_error(err, too_small, "the limit must be positive");
    stage->spec = n;
    return true;
}

static bool compile_limit(struct pipeline *pipeline, const struct element *spec, struct stage *stage, struct error *err)
{
    return compile_count(pipeline, spec, 1, 5107201, 15958, stage, err);
}

static bool compile_skip(struct pipeline *pipeline, const struct element *spec, struct stage *stage, struct error *err)
{
    return compile_count(pipeline, spec, 0, 5107200, 5107200, stage, err);
}

static bool start_count(struct stage_run *run, struct error *err)
{
    int64_t *left = arena_copy(&run->arena, run->stage->spec, sizeof *left);
    run->state = left;
    return left || error_out_of_memory(err);
}

static bool next_limit(struct stage_run *run, struct bytes *document, bool *found, struct error *err)
{
    int64_t *left = run->state;
    *found = false;
    return *left == 0 || (--*left, upstream_next(run, document, found, err));
}

static bool next_skip(struct stage_run *run, struct bytes *document, bool *found, struct error *err)
{
    int64_t *left = run->state;
    for (; *left > 0; --*left) {
        if (!upstream_next(run, document, found, err))
            return false;
        if (!*found)
            return true;
    }
    return upstream_next(run, document, found, err);
}

/* ---- $unwind ---- */

struct unwind_spec {
    struct path path, index;
    bool has_index, preserve;
};

/* The document that is being unwound is copied: the one in front may not survive. */
struct unwind_state {
    struct arena arena;
    struct arena handed_on; /* the document of one element */
    struct bytes document;
    struct element_reader elements;
    int64_t position;
    bool active;
};

static bool read_unwind_path(struct pipeline *pipeline, const struct element *spec, struct path *path, struct error *err)
{
    if (spec->type != BSON_TYPE_UTF8)
        return query_error(err, 28808, "expected a string as the path for $unwind stage, got %s", element_type_name(spec->type));
    struct bytes text = element_string(spec);
    if (text.len == 0)
        return query_error(err, 28812, "no path specified to $unwind stage");
    if (text.data[0] != '$')
        return query_error(err, 28818, "path option to $unwind stage should be prefixed with a '$'");
    return field_path_parse((const char *)text.data + 1, text.len - 1, &pipeline->arena, path, err);
}

static bool compile_unwind(struct pipeline *pipeline, const struct element *spec, struct stage *stage, struct error *err)
{
    struct unwind_spec *unwind = spec_alloc(pipeline, sizeof *unwind, err);
    struct element_reader reader;
    struct element e;
    if (!unwind)
        return false;
    stage->spec = unwind;
    if (spec->type == BSON_TYPE_UTF8)
        return read_unwind_path(pipeline, spec, &unwind->path, err);
    if (spec->type != BSON_TYPE_DOCUMENT)
        return query_error(err, 15981, "expected either a string or an object as specification for $unwind stage, got %s",
                           element_type_name(spec->type));
    element_reader_init(&reader, spec->value);
    while (element_next(&reader, &e)) {
        if (element_is_named(&e, "path", 4)) {
            if (!read_unwind_path(pipeline, &e, &unwind->path, err))
                return false;
        } else if (element_is_named(&e, "preserveNullAndEmptyArrays", 26)) {
            if (e.type != BSON_TYPE_BOOL)
                return query_error(err, 28809, "expected a boolean for the preserveNullAndEmptyArrays option to $unwind stage, got %s",
                                   element_type_name(e.type));
            unwind->preserve = *e.value.data;
        } else if (element_is_named(&e, "includeArrayIndex", 17)) {
            if (e.type != BSON_TYPE_UTF8 || element_string(&e).len == 0)
                return query_error(err, 28810, "expected a non-empty string for the includeArrayIndex option to $unwind stage");
            struct bytes text = element_string(&e);
            if (text.data[0] == '$')
                return query_error(err, 28822, "includeArrayIndex option to $unwind stage should not be prefixed with a '$'");
            if (!field_path_parse((const char *)text.data, text.len, &pipeline->arena, &unwind->index, err))
                return false;
            unwind->has_index = true;
        } else {
            return query_error(err, 28811, "unrecognized option to $unwind stage: %.*s", utf8_fit(e.name, e.name_len, 80), e.name);
        }
    }
    return unwind->path.n || query_error(err, 28812, "no path specified to $unwind stage");
}

static bool start_unwind(struct stage_run *run, struct error *err)
{
    struct unwind_state *state = arena_zalloc(&run->arena, sizeof *state);
    if (!state)
        return error_out_of_memory(err);
    arena_init_metered(&state->arena, run->owner->environment->memory_bytes);
    arena_init_metered(&state->handed_on, run->owner->environment->memory_bytes);
    run->state = state;
    return true;
}

static void stop_unwind(struct stage_run *run)
{
    struct unwind_state *state = run->state;
    if (!state)
        return;
    arena_destroy(&state->arena);
    arena_destroy(&state->handed_on);
}

/* The document with the value in place of the array, and its position. */
static bool put_unwound(struct stage_run *run, struct run *values, const struct element *value, bool is_element, int64_t position,
                        struct bytes *document, struct error *err)
{
    const struct unwind_spec *unwind = run->stage->spec;
    struct element index;
    (void)err;
    if (is_element && !with_nested(values, *document, &unwind->path, value, document))
        return false;
    if (!unwind->has_index)
        return true;
    if (!(position >= 0 ? make_int64(values, position, &index) : make_null(&index)))
        return false;
    return with_nested(values, *document, &unwind->index, &index, document);
}

static bool next_unwind(struct stage_run *run, struct bytes *document, bool *found, struct error *err)
{
    const struct unwind_spec *unwind = run->stage->spec;
    struct unwind_state *state = run->state;
    struct run values = { .arena = &state->handed_on, .err = err };
    struct element item, array;
    arena_clear(&state->handed_on);
    for (;;) {
        if (state->active && element_next(&state->elements, &item)) {
            *document = state->document;
            *found = true;
            return put_unwound(run, &values, &item, true, state->position++, document, err);
        }
        state->active = false;
        if (!upstream_next(run, document, found, err))
            return false;
        if (!*found)
            return true;
        arena_clear(&state->arena);
        nested_value(*document, &unwind->path, &array);
        bool empty = is_nullish(&array) || (array.type == BSON_TYPE_ARRAY && count_elements(&array) == 0);
        if (empty && !unwind->preserve)
            continue;
        if (empty || array.type != BSON_TYPE_ARRAY) {
            struct element removed;
            make_missing(&removed);
            bool was_array = array.type == BSON_TYPE_ARRAY;
            return put_unwound(run, &values, &removed, was_array, -1, document, err);
        }
        const uint8_t *copy = arena_copy(&state->arena, document->data, document->len);
        if (!copy)
            return fail_gathering("$unwind", err);
        state->document = bytes_of(copy, document->len);
        nested_value(state->document, &unwind->path, &array);
        element_reader_init(&state->elements, array.value);
        state->position = 0;
        state->active = true;
    }
}

static const struct stage_op ops[] = {
    { "$match", compile_match, destroy_match, start_match, next_match, stop_match },
    { "$project", compile_project, destroy_projection, NULL, next_projection, NULL },
    { "$addFields", compile_add_fields, destroy_projection, NULL, next_projection, NULL },
    { "$set", compile_add_fields, destroy_projection, NULL, next_projection, NULL },
    { "$unset", compile_unset, destroy_projection, NULL, next_projection, NULL },
    { "$replaceRoot", compile_replace_root, NULL, NULL, next_replace_root, NULL },
    { "$replaceWith", compile_expression, NULL, NULL, next_replace_root, NULL },
    { "$limit", compile_limit, NULL, start_count, next_limit, NULL },
    { "$skip", compile_skip, NULL, start_count, next_skip, NULL },
    { "$unwind", compile_unwind, NULL, start_unwind, next_unwind, stop_unwind },
};

const struct stage_ops stages_simple = { ops, ARRAY_LEN(ops) };
