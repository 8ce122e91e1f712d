/* $graphLookup: from a value to the documents that have it, from these to others, level by level. A level is one pass over
 * the other collection. */
#include "branch-service/query/aggregate/stage.h"
#include "branch-service/query/aggregate/value_hash.h"
#include "branch-service/query/filter.h"
#include "common/bson/builder.h"
#include "common/bson/utf8.h"
#include "common/bson/value_compare.h"

enum { NO_DEPTH_LIMIT = -1 };

struct graph_spec {
    struct bytes from, restriction; /* restriction: may be empty */
    struct path as, connect_from, connect_to, depth;
    const struct expression *start;
    int64_t max_depth;
};

/* ---- compiling ---- */

static bool read_max_depth(const struct element *e, struct graph_spec *graph, struct error *err)
{
    if (!element_is_number(e))
        return query_error(err, 40100, "maxDepth requires numeric argument, found type: %s", element_type_name(e->type));
    if (double_of(e) < 0)
        return query_error(err, 40101, "maxDepth requires a nonnegative argument");
    return exact_int64(e, &graph->max_depth) || query_error(err, 40102, "maxDepth could not be represented as a long long");
}

static bool read_restriction(struct pipeline *pipeline, const struct element *e, struct graph_spec *graph, struct error *err)
{
    struct expression_variables variables = { .scope = pipeline->scope };
    struct filter_options options = { .let = &variables };
    struct filter *filter;
    if (e->type != BSON_TYPE_DOCUMENT)
        return query_error(err, 40185, "restrictSearchWithMatch must be an object");
    graph->restriction = e->value;
    if (!filter_compile_with(e->value, &options, &filter, err)) /* for its errors; it is compiled again with the values */
        return false;
    filter_free(filter);
    return true;
}

static bool read_argument(struct pipeline *pipeline, const struct element *e, struct graph_spec *graph, struct error *err)
{
    const struct {
        const char *name;
        struct path *path;
    } paths[] = {
        { "as", &graph->as },
        { "connectFromField", &graph->connect_from },
        { "connectToField", &graph->connect_to },
        { "depthField", &graph->depth },
    };
    for (size_t i = 0; i < ARRAY_LEN(paths); i++) {
        if (element_is_named(e, paths[i].name, strlen(paths[i].name)))
            return read_field_path(pipeline, e, 40103, paths[i].path, err);
    }
    if (element_is_named(e, "startWith", 9))
        return expression_compile(e, pipeline->scope, &pipeline->arena, &graph->start, err);
    if (element_is_named(e, "maxDepth", 8))
        return read_max_depth(e, graph, err);
    if (element_is_named(e, "restrictSearchWithMatch", 23))
        return read_restriction(pipeline, e, graph, err);
    if (!element_is_named(e, "from", 4))
        return query_error(err, 40104, "Unknown argument to $graphLookup: %.*s", utf8_fit(e->name, e->name_len, 80), e->name);
    if (e->type != BSON_TYPE_UTF8)
        return query_error(err, MONGO_FAILED_TO_PARSE, "the argument 'from' must be a string, is type %s", element_type_name(e->type));
    graph->from = element_string(e);
    return graph->from.len || query_error(err, 73, "Invalid $graphLookup 'from' namespace");
}

static bool compile_graph_lookup(struct pipeline *pipeline, const struct element *spec, struct stage *stage, struct error *err)
{
    struct graph_spec *graph = spec_alloc(pipeline, sizeof *graph, err);
    struct element_reader reader;
    struct element e;
    if (!graph)
        return false;
    stage->spec = graph;
    graph->max_depth = NO_DEPTH_LIMIT;
    if (spec->type != BSON_TYPE_DOCUMENT)
        return query_error(err, MONGO_FAILED_TO_PARSE, "the $graphLookup stage specification must be an object, but found %s",
                           element_type_name(spec->type));
    element_reader_init(&reader, spec->value);
    while (element_next(&reader, &e)) {
        if (!read_argument(pipeline, &e, graph, err))
            return false;
    }
    graph->connect_from.whole_arrays = true;
    if (!graph->from.len)
        return query_error(err, MONGO_FAILED_TO_PARSE, "missing 'from' option to $graphLookup stage specification");
    return (graph->as.n && graph->start && graph->connect_from.n && graph->connect_to.n) ||
           query_error(err, 40105,
                       "$graphLookup requires 'from', 'as', 'startWith', 'connectFromField', and 'connectToField' to be specified");
}

/* ---- searching ---- */

/* Values that were seen, copied. */
struct value_set {
    struct element *slots; /* open addressing; type 0 is free */
    size_t n, n_slots;
};

static struct element *find_value(const struct value_set *set, const struct element *value)
{
    size_t at = value_hash(value) & (set->n_slots - 1);
    while (set->slots[at].type && value_compare_elements(&set->slots[at], value) != 0)
        at = (at + 1) & (set->n_slots - 1);
    return &set->slots[at];
}

static bool grow(struct run *values, struct value_set *set)
{
    struct value_set larger = { .n = set->n, .n_slots = set->n_slots ? 2 * set->n_slots : 32 };
    larger.slots = run_alloc(values, larger.n_slots * sizeof *larger.slots);
    if (!larger.slots)
        return false;
    memset(larger.slots, 0, larger.n_slots * sizeof *larger.slots);
    for (size_t i = 0; i < set->n_slots; i++) {
        if (set->slots[i].type)
            *find_value(&larger, &set->slots[i]) = set->slots[i];
    }
    *set = larger;
    return true;
}

/* *kept: the set's own, NULL when the value was there. */
static bool add_value(struct run *values, struct value_set *set, const struct element *value, const struct element **kept)
{
    *kept = NULL;
    if (set->n >= set->n_slots / 2 && !grow(values, set))
        return false;
    struct element *slot = find_value(set, value);
    if (slot->type)
        return true;
    uint8_t *copy = run_alloc(values, value->value.len + 1);
    if (!copy)
        return false;
    if (value->value.len)
        memcpy(copy, value->value.data, value->value.len);
    *slot = (struct element) { .type = value->type, .name = "", .value = bytes_of(copy, value->value.len) };
    set->n++;
    *kept = slot;
    return true;
}

struct graph_search {
    const struct graph_spec *spec;
    struct run values;
    struct value_set asked, found; /* values that were looked for; _ids */
    struct list frontier;          /* what to look for next; its values are those of `asked` */
    struct list results;
    bool failed;
};

static bool look_for(struct graph_search *search, const struct element *value)
{
    const struct element *kept;
    return add_value(&search->values, &search->asked, value, &kept) && (!kept || list_add(&search->values, &search->frontier, kept));
}

/* Of an array, its elements. True: it failed, and the walk ends. */
static bool look_for_all(const struct element *value, void *ctx)
{
    struct graph_search *search = ctx;
    struct element_reader reader;
    struct element e;
    if (!value || value_is_missing(value))
        return false;
    if (value->type != BSON_TYPE_ARRAY) {
        search->failed = !look_for(search, value);
        return search->failed;
    }
    element_reader_init(&reader, value->value);
    while (!search->failed && element_next(&reader, &e))
        search->failed = !look_for(search, &e);
    return search->failed;
}

/* {$and: [{to: {$in: frontier, $exists: true}}, restriction]}: null finds what is null, not what is missing. */
static bool filter_of_frontier(struct graph_search *search, const struct pipeline_environment *environment, struct filter **filter)
{
    static const uint8_t yes = 1;
    const struct graph_spec *spec = search->spec;
    struct filter_options options = { .let = &environment->variables, .now = environment->now };
    struct builder builder;
    struct bytes document;
    builder_init(&builder);
    builder_name(&builder, "$and", 4);
    builder_begin(&builder, BSON_TYPE_ARRAY);
    builder_index(&builder, 0);
    builder_begin(&builder, BSON_TYPE_DOCUMENT);
    builder_name(&builder, spec->connect_to.text, strlen(spec->connect_to.text));
    builder_begin(&builder, BSON_TYPE_DOCUMENT);
    builder_name(&builder, "$in", 3);
    builder_begin(&builder, BSON_TYPE_ARRAY);
    for (size_t i = 0; i < search->frontier.n; i++) {
        builder_index(&builder, (uint32_t)i);
        builder_value(&builder, search->frontier.items[i].type, search->frontier.items[i].value);
    }
    builder_end(&builder);
    builder_name(&builder, "$exists", 7);
    builder_value(&builder, BSON_TYPE_BOOL, bytes_of(&yes, 1));
    builder_end(&builder);
    builder_end(&builder);
    if (spec->restriction.len) {
        builder_index(&builder, 1);
        builder_value(&builder, BSON_TYPE_DOCUMENT, spec->restriction);
    }
    builder_end(&builder);
    bool ok =
        builder_finish(&builder, &document, search->values.err) && filter_compile_with(document, &options, filter, search->values.err);
    builder_destroy(&builder);
    return ok;
}

static bool take_document(struct graph_search *search, struct bytes document, int64_t depth)
{
    const struct graph_spec *spec = search->spec;
    struct run *values = &search->values;
    struct element id, level;
    const struct element *is_new;
    if (!element_find(document, "_id", 3, &id))
        make_null(&id);
    if (!add_value(values, &search->found, &id, &is_new))
        return false;
    if (!is_new)
        return true;
    uint8_t *copy = run_alloc(values, document.len);
    if (!copy)
        return false;
    memcpy(copy, document.data, document.len);
    struct element result = { .type = BSON_TYPE_DOCUMENT, .name = "", .value = bytes_of(copy, document.len) };
    if (depth != spec->max_depth)
        path_visit(&spec->connect_from, result.value, look_for_all, search);
    if (spec->depth.n && (!make_int64(values, depth, &level) || !with_nested(values, result.value, &spec->depth, &level, &result.value)))
        return false;
    return !search->failed && list_add(values, &search->results, &result);
}

/* One pass over the other collection. */
static bool search_level(struct stage_run *run, struct graph_search *search, int64_t depth)
{
    struct error *err = search->values.err;
    struct document_iterator documents;
    struct filter *filter;
    struct bytes document;
    bool ok, found, matches;
    if (!filter_of_frontier(search, run->owner->environment, &filter))
        return false;
    ok = open_collection(run, search->spec->from, filter, &documents, err);
    if (!ok) {
        filter_free(filter);
        return false;
    }
    search->frontier.n = 0;
    while ((ok = documents.next(documents.ctx, &document, &found, err)) && found) {
        ok = run_goes_on(run, err) && filter_matches(filter, document, &matches, err) &&
             (!matches || take_document(search, document, depth));
        if (!ok)
            break;
    }
    if (documents.close)
        documents.close(documents.ctx);
    filter_free(filter);
    return ok;
}

static bool next_graph_lookup(struct stage_run *run, struct bytes *document, bool *found, struct error *err)
{
    const struct graph_spec *spec = run->stage->spec;
    struct element start, array;
    if (!upstream_next(run, document, found, err))
        return false;
    if (!*found)
        return true;
    arena_clear(&run->arena);
    struct graph_search search = { .spec = spec, .values = stage_values(run, err) };
    struct evaluation evaluation = stage_evaluation(run, *document);
    if (!expression_evaluate(spec->start, &evaluation, &start, err) || look_for_all(&start, &search))
        return false;
    for (int64_t depth = 0; search.frontier.n; depth++) {
        if (!search_level(run, &search, depth))
            return false;
    }
    return make_array(&search.values, &search.results, &array) && with_nested(&search.values, *document, &spec->as, &array, document);
}

static const struct stage_op ops[] = {
    { "$graphLookup", compile_graph_lookup, NULL, NULL, next_graph_lookup, NULL },
};

const struct stage_ops stages_graph = { ops, ARRAY_LEN(ops) };
