/* $lookup and $unionWith: documents of other collections, which the surroundings open. */
#include <stdlib.h>

#include "branch-service/query/aggregate/stage.h"
#include "branch-service/query/expression/internal.h"
#include "branch-service/query/filter.h"
#include "common/base/memory.h"
#include "common/bson/builder.h"
#include "common/bson/utf8.h"

bool open_collection(struct stage_run *run, struct bytes name, const struct filter *filter, struct document_iterator *iterator,
                     struct error *err)
{
    const struct pipeline_environment *environment = run->owner->environment;
    if (!environment->open)
        return query_error(err, MONGO_COMMAND_NOT_SUPPORTED, "%s is not possible here: there are no other collections",
                           run->stage->op->name);
    return environment->open(environment->ctx, name, filter, iterator, err);
}

/* ---- $lookup ---- */

struct lookup_spec {
    struct bytes from;
    struct path as, local, foreign;
    bool by_field; /* local and foreign are given */
    size_t n_let;
    const struct expression **let; /* in their order; the last is the innermost variable */
    struct pipeline *pipeline;     /* may be NULL */
};

bool read_field_path(struct pipeline *pipeline, const struct element *e, int not_string, struct path *path, struct error *err)
{
    if (e->type != BSON_TYPE_UTF8)
        return query_error(err, not_string, "the argument '%s' must be a string, is type %s", e->name, element_type_name(e->type));
    struct bytes text = element_string(e);
    return field_path_parse((const char *)text.data, text.len, &pipeline->arena, path, err);
}

static bool compile_let(struct pipeline *pipeline, const struct element *let, struct lookup_spec *lookup,
                        const struct expression_scope **scope, struct error *err)
{
    struct element_reader reader;
    struct element e;
    if (let->type != BSON_TYPE_DOCUMENT)
        return query_error(err, MONGO_FAILED_TO_PARSE, "$lookup argument 'let' must be an object, is type %s",
                           element_type_name(let->type));
    lookup->n_let = count_elements(let);
    struct expression_scope *scopes = spec_alloc(pipeline, (lookup->n_let + 1) * sizeof *scopes, err);
    lookup->let = spec_alloc(pipeline, (lookup->n_let + 1) * sizeof *lookup->let, err);
    if (!scopes || !lookup->let)
        return false;
    element_reader_init(&reader, let->value);
    for (size_t i = 0; element_next(&reader, &e); i++) {
        if (!expression_check_variable_name(e.name, e.name_len, err) ||
            !expression_compile(&e, pipeline->scope, &pipeline->arena, &lookup->let[i], err))
            return false;
        scopes[i] = (struct expression_scope) { e.name, e.name_len, *scope };
        *scope = &scopes[i];
    }
    return true;
}

static bool compile_lookup(struct pipeline *pipeline, const struct element *spec, struct stage *stage, struct error *err)
{
    struct lookup_spec *lookup = spec_alloc(pipeline, sizeof *lookup, err);
    const struct expression_scope *scope = pipeline->scope;
    struct element_reader reader;
    struct element e, inner = { 0 }, let = { 0 };
    if (!lookup)
        return false;
    stage->spec = lookup;
    if (spec->type != BSON_TYPE_DOCUMENT)
        return query_error(err, MONGO_FAILED_TO_PARSE, "the $lookup specification must be an object, but found %s",
                           element_type_name(spec->type));
    element_reader_init(&reader, spec->value);
    while (element_next(&reader, &e)) {
        struct path *path = element_is_named(&e, "as", 2)              ? &lookup->as
                            : element_is_named(&e, "localField", 10)   ? &lookup->local
                            : element_is_named(&e, "foreignField", 12) ? &lookup->foreign
                                                                       : NULL;
        if (path) {
            if (!read_field_path(pipeline, &e, MONGO_FAILED_TO_PARSE, path, err))
                return false;
        } else if (element_is_named(&e, "from", 4)) {
            if (e.type != BSON_TYPE_UTF8)
                return query_error(err, MONGO_FAILED_TO_PARSE, "$lookup argument 'from' must be a string, is type %s",
                                   element_type_name(e.type));
            lookup->from = element_string(&e);
        } else if (element_is_named(&e, "pipeline", 8)) {
            inner = e;
        } else if (element_is_named(&e, "let", 3)) {
            let = e;
        } else {
            return query_error(err, MONGO_FAILED_TO_PARSE, "unknown argument to $lookup: %.*s", utf8_fit(e.name, e.name_len, 80), e.name);
        }
    }
    lookup->by_field = lookup->local.n && lookup->foreign.n;
    lookup->local.whole_arrays = true;
    if (!lookup->from.data)
        return query_error(err, MONGO_FAILED_TO_PARSE, "must specify 'from' field for a $lookup");
    if (!lookup->as.n)
        return query_error(err, MONGO_FAILED_TO_PARSE, "must specify 'as' field for a $lookup");
    if (!lookup->by_field && (lookup->local.n || lookup->foreign.n || !inner.type))
        return query_error(err, MONGO_FAILED_TO_PARSE,
                           "$lookup requires both or neither of 'localField' and 'foreignField' to be specified");
    if (let.type && !inner.type)
        return query_error(err, MONGO_FAILED_TO_PARSE, "$lookup with a 'let' argument must also specify 'pipeline'");
    if (inner.type && inner.type != BSON_TYPE_ARRAY)
        return query_error(err, MONGO_TYPE_MISMATCH, "'pipeline' option must be specified as an array");
    if (let.type && !compile_let(pipeline, &let, lookup, &scope, err))
        return false;
    return !inner.type || compile_inner(pipeline, inner.value, scope, &lookup->pipeline, err);
}

static void destroy_lookup(struct stage *stage)
{
    pipeline_free(((struct lookup_spec *)stage->spec)->pipeline);
}

/* A collection, narrowed down to what the local field finds. */
struct foreign {
    struct document_iterator documents;
    struct filter *filter; /* NULL: all */
};

static bool next_foreign(void *ctx, struct bytes *document, bool *found, struct error *err)
{
    struct foreign *foreign = ctx;
    bool matches = false;
    while (!matches) {
        if (!foreign->documents.next(foreign->documents.ctx, document, found, err))
            return false;
        matches = !*found || !foreign->filter;
        if (!matches && !filter_matches(foreign->filter, *document, &matches, err))
            return false;
    }
    return true;
}

static void close_foreign(void *ctx)
{
    struct foreign *foreign = ctx;
    if (foreign->documents.close)
        foreign->documents.close(foreign->documents.ctx);
    filter_free(foreign->filter);
    free(foreign);
}

/* {$or: [{foreign: {$eq: value}}, ...]}; $in would take regular expressions for patterns. */
struct equalities {
    struct builder *builder;
    const char *field;
    uint32_t n;
};

static void add_equality(struct equalities *equalities, const struct element *value)
{
    struct builder *builder = equalities->builder;
    builder_index(builder, equalities->n++);
    builder_begin(builder, BSON_TYPE_DOCUMENT);
    builder_name(builder, equalities->field, strlen(equalities->field));
    builder_begin(builder, BSON_TYPE_DOCUMENT);
    builder_name(builder, "$eq", 3);
    if (is_nullish(value))
        builder_value(builder, BSON_TYPE_NULL, bytes_of(NULL, 0));
    else
        builder_value(builder, value->type, value->value);
    builder_end(builder);
    builder_end(builder);
}

/* Of an array at the end of the path, its elements. */
static bool add_local(const struct element *value, void *ctx)
{
    struct element_reader reader;
    struct element e;
    if (value && value->type == BSON_TYPE_ARRAY) {
        element_reader_init(&reader, value->value);
        while (element_next(&reader, &e))
            add_equality(ctx, &e);
    } else if (value) {
        add_equality(ctx, value);
    }
    return false;
}

/* For all that the local path reaches, whatever the arrays on the way; for null where that is nothing. */
static bool filter_of_local(const struct lookup_spec *lookup, struct bytes document, struct filter **filter, struct error *err)
{
    static const struct element null_value = { .type = BSON_TYPE_NULL, .name = "" };
    struct builder builder;
    struct equalities equalities = { .builder = &builder, .field = lookup->foreign.text };
    struct bytes spec;
    builder_init(&builder);
    builder_name(&builder, "$or", 3);
    builder_begin(&builder, BSON_TYPE_ARRAY);
    path_visit(&lookup->local, document, add_local, &equalities);
    if (equalities.n == 0)
        add_equality(&equalities, &null_value);
    builder_end(&builder);
    bool ok = builder_finish(&builder, &spec, err) && filter_compile(spec, filter, err);
    builder_destroy(&builder);
    return ok;
}

static bool open_foreign(struct stage_run *run, struct bytes document, struct document_iterator *source, struct error *err)
{
    const struct lookup_spec *lookup = run->stage->spec;
    struct foreign *foreign = mem_zalloc(sizeof *foreign);
    bool ok = !lookup->by_field || filter_of_local(lookup, document, &foreign->filter, err);
    const struct filter *filter = lookup->by_field ? foreign->filter : pipeline_first_match(lookup->pipeline);
    ok = ok && open_collection(run, lookup->from, filter, &foreign->documents, err);
    if (!ok) {
        filter_free(foreign->filter);
        free(foreign);
        return false;
    }
    *source = (struct document_iterator) { next_foreign, close_foreign, foreign, foreign->documents.id_direction };
    return true;
}

static bool gather(struct run *values, struct document_iterator *source, struct pipeline_run *inner, struct list *results)
{
    struct bytes document;
    bool found;
    for (;;) {
        if (!(inner ? pipeline_next(inner, &document, &found, values->err) : source->next(source->ctx, &document, &found, values->err)))
            return false;
        if (!found)
            return true;
        uint8_t *copy = arena_copy(values->arena, document.data, document.len);
        struct element e = { .type = BSON_TYPE_DOCUMENT, .name = "", .value = bytes_of(copy, document.len) };
        if (!copy)
            return fail_gathering("$lookup", values->err);
        if (!list_add(values, results, &e))
            return false;
    }
}

static bool next_lookup(struct stage_run *run, struct bytes *document, bool *found, struct error *err)
{
    const struct lookup_spec *lookup = run->stage->spec;
    struct pipeline_environment environment = *run->owner->environment;
    struct document_iterator source;
    struct pipeline_run *inner = NULL;
    struct list results = { 0 };
    struct element array;
    if (!upstream_next(run, document, found, err))
        return false;
    if (!*found)
        return true;
    arena_clear(&run->arena);
    struct evaluation evaluation = stage_evaluation(run, *document);
    struct run values = stage_values(run, err);
    struct expression_binding *bindings = run_alloc(&values, (lookup->n_let + 1) * sizeof *bindings);
    if (!bindings)
        return false;
    for (size_t i = 0; i < lookup->n_let; i++) {
        if (!expression_evaluate(lookup->let[i], &evaluation, &bindings[i].value, err))
            return false;
        bindings[i].outer = environment.variables.bindings;
        environment.variables.bindings = &bindings[i];
    }
    if (!open_foreign(run, *document, &source, err))
        return false;
    if (lookup->pipeline) {
        environment.variables.scope = lookup->pipeline->scope;
        if (!pipeline_start(lookup->pipeline, source, &environment, &inner, err))
            return false;
    }
    bool ok = gather(&values, &source, inner, &results);
    if (inner)
        pipeline_stop(inner);
    else
        source.close(source.ctx);
    return ok && make_array(&values, &results, &array) && with_nested(&values, *document, &lookup->as, &array, document);
}

/* ---- $unionWith ---- */

struct union_spec {
    struct bytes collection;
    struct pipeline *pipeline; /* may have no stages */
};

static bool compile_union(struct pipeline *pipeline, const struct element *spec, struct stage *stage, struct error *err)
{
    static const uint8_t no_stages[] = { 5, 0, 0, 0, 0 };
    struct union_spec *with = spec_alloc(pipeline, sizeof *with, err);
    struct bytes stages = bytes_of(no_stages, sizeof no_stages);
    struct element_reader reader;
    struct element e;
    if (!with)
        return false;
    stage->spec = with;
    if (spec->type == BSON_TYPE_UTF8) {
        with->collection = element_string(spec);
    } else if (spec->type == BSON_TYPE_DOCUMENT) {
        element_reader_init(&reader, spec->value);
        while (element_next(&reader, &e)) {
            bool is_coll = element_is_named(&e, "coll", 4);
            if (!is_coll && !element_is_named(&e, "pipeline", 8))
                return query_error(err, 40415, "$unionWith does not understand '%.*s'", utf8_fit(e.name, e.name_len, 80), e.name);
            if (e.type != (is_coll ? BSON_TYPE_UTF8 : BSON_TYPE_ARRAY))
                return query_error(err, MONGO_TYPE_MISMATCH, "'%s' of $unionWith is of type %s", e.name, element_type_name(e.type));
            if (is_coll)
                with->collection = element_string(&e);
            else
                stages = e.value;
        }
    }
    if (!with->collection.len)
        return query_error(err, MONGO_FAILED_TO_PARSE,
                           "the $unionWith stage specification must be an object or string that names a collection");
    return compile_inner(pipeline, stages, pipeline->scope, &with->pipeline, err);
}

static void destroy_union(struct stage *stage)
{
    pipeline_free(((struct union_spec *)stage->spec)->pipeline);
}

static bool next_union(struct stage_run *run, struct bytes *document, bool *found, struct error *err)
{
    const struct union_spec *with = run->stage->spec;
    struct document_iterator source;
    struct pipeline_run *other;
    if (!run->state) {
        if (!upstream_next(run, document, found, err))
            return false;
        if (*found)
            return true;
        if (!open_collection(run, with->collection, pipeline_first_match(with->pipeline), &source, err) ||
            !pipeline_start(with->pipeline, source, run->owner->environment, &other, err))
            return false;
        run->state = other;
    }
    return pipeline_next(run->state, document, found, err);
}

static void stop_union(struct stage_run *run)
{
    pipeline_stop(run->state);
}

static const struct stage_op ops[] = {
    { "$lookup", compile_lookup, destroy_lookup, NULL, next_lookup, NULL },
    { "$unionWith", compile_union, destroy_union, NULL, next_union, stop_union },
};

const struct stage_ops stages_join = { ops, ARRAY_LEN(ops) };
