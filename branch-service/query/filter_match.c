#include "branch-service/query/expression.h"
#include "branch-service/query/filter_node.h"
#include "branch-service/query/filter_ops.h"
#include "branch-service/query/json_schema.h"
#include "branch-service/query/query_error.h"

enum { MAX_MATCH_MEMORY = 128 * 1024 * 1024 };

/* What a predicate asks of the values on its path. */
struct visit {
    struct match *match;
    const struct filter_node *node;
    int64_t element; /* of an array, that $elemMatch found; NO_INDEX else */
};

bool match_fail(struct match *match)
{
    match->failed = true;
    return true;
}

static bool all_children(struct match *match, const struct filter_node *node, struct bytes document)
{
    const struct filter_node *end = node_end(match->filter, node);
    for (const struct filter_node *child = node + 1; child < end; child = node_end(match->filter, child)) {
        if (!node_matches_document(match, child, document) || match->failed)
            return false;
    }
    return true;
}

static bool any_child(struct match *match, const struct filter_node *node, struct bytes document)
{
    const struct filter_node *end = node_end(match->filter, node);
    for (const struct filter_node *child = node + 1; child < end; child = node_end(match->filter, child)) {
        if (node_matches_document(match, child, document) || match->failed)
            return true;
    }
    return false;
}

/* The same of one value, without paths. */
static bool all_children_of_value(struct match *match, const struct filter_node *node, const struct element *value)
{
    const struct filter_node *end = node_end(match->filter, node);
    for (const struct filter_node *child = node + 1; child < end; child = node_end(match->filter, child)) {
        if (!node_matches_value(match, child, value) || match->failed)
            return false;
    }
    return true;
}

static int64_t find_element(struct match *match, const struct filter_node *node, const struct element *array)
{
    struct element_reader reader;
    struct element e;
    if (!array || array->type != BSON_TYPE_ARRAY)
        return NO_INDEX;
    element_reader_init(&reader, array->value);
    for (int64_t i = 0; !match->failed && element_next(&reader, &e) && match_goes_on(match, 0); i++) {
        /* an array is a document whose fields are its indexes */
        bool matches = node->kind == NODE_ELEMENT_VALUE
                           ? all_children_of_value(match, node, &e)
                           : (e.type == BSON_TYPE_DOCUMENT || e.type == BSON_TYPE_ARRAY) && all_children(match, node, e.value);
        if (matches)
            return i;
    }
    return NO_INDEX;
}

bool node_matches_value(struct match *match, const struct filter_node *node, const struct element *value)
{
    if (!match_goes_on(match, value->value.len))
        return false;
    switch (node->kind) {
    case NODE_PREDICATE:
        return node->matches(match, node, value) != node->negated;
    case NODE_ELEMENT_VALUE:
    case NODE_ELEMENT_DOCUMENT:
        return find_element(match, node, value) != NO_INDEX;
    case NODE_NOR: /* of one child: $not */
        return !all_children_of_value(match, node, value);
    case NODE_NOTHING:
        return false;
    default: /* AND; what looks at documents does not stand here */
        return all_children_of_value(match, node, value);
    }
}

static bool visit_predicate(const struct element *value, void *ctx)
{
    const struct visit *visit = ctx;
    if (value && !match_goes_on(visit->match, value->value.len))
        return true;
    return visit->node->matches(visit->match, visit->node, value);
}

static bool visit_elements(const struct element *value, void *ctx)
{
    struct visit *visit = ctx;
    visit->element = find_element(visit->match, visit->node, value);
    return visit->element != NO_INDEX || visit->match->failed;
}

static bool expression_holds(struct match *match, const struct filter_node *node, struct bytes document)
{
    const struct filter_options *options = &match->filter->options;
    struct arena arena;
    struct evaluation evaluation = {
        .arena = &arena,
        .document = document,
        .bindings = options->let ? options->let->bindings : NULL,
        .now = options->now,
    };
    bool result = false;
    arena_init_metered(&arena, MAX_MATCH_MEMORY);
    bool ok = expression_is_true(node->prepared, &evaluation, &result, match->err);
    arena_destroy(&arena);
    if (!ok) {
        (void)query_wrap(match->err, "$expr");
        return match_fail(match);
    }
    return result;
}

bool node_matches_document(struct match *match, const struct filter_node *node, struct bytes document)
{
    struct visit visit = { .match = match, .node = node };
    if (!match_goes_on(match, document.len))
        return false;
    switch (node->kind) {
    case NODE_OR:
        return any_child(match, node, document);
    case NODE_NOR:
        return !any_child(match, node, document);
    case NODE_NOTHING:
        return false;
    case NODE_SCHEMA:
        return schema_matches(match, node->prepared, document);
    case NODE_EXPRESSION:
        return expression_holds(match, node, document);
    case NODE_PREDICATE:
        return path_visit(&node->path, document, visit_predicate, &visit) != node->negated;
    case NODE_ELEMENT_VALUE:
    case NODE_ELEMENT_DOCUMENT:
        return path_visit(&node->path, document, visit_elements, &visit);
    default:
        return all_children(match, node, document);
    }
}

bool filter_matches(const struct filter *filter, struct bytes document, bool *matches, struct error *err)
{
    struct match match = { .filter = filter, .err = err };
    bool result = all_children(&match, filter->nodes, document);
    if (match.failed)
        return false;
    *matches = result;
    return true;
}

/* ---- which element of an array it was ---------------------------------------------------------------- */

/* MongoDB asks conditions in an order of its own, whatever theirs in the filter: by operator and then by path. The last
 * that comes through an array has its say. */
struct position {
    int64_t index; /* NO_INDEX: none yet */
    size_t rank;
    const char *path;
};

enum { RANK_ELEMENT_DOCUMENT, RANK_ELEMENT_VALUE, RANK_PREDICATES };

static size_t rank_of(const struct filter_node *node)
{
    return node->kind == NODE_ELEMENT_DOCUMENT ? RANK_ELEMENT_DOCUMENT
           : node->kind == NODE_ELEMENT_VALUE  ? RANK_ELEMENT_VALUE
                                               : RANK_PREDICATES + filter_node_rank(node);
}

static void find_on_path(struct visit *visit, const struct path *path, size_t rank, struct bytes document, path_visit_fn *how,
                         struct position *last)
{
    int64_t outer = NO_INDEX;
    visit->element = NO_INDEX;
    (void)path_visit_position(path, document, how, visit, &outer);
    int64_t index = outer != NO_INDEX ? outer : visit->element;
    if (index == NO_INDEX || (last->index != NO_INDEX && (rank < last->rank || (rank == last->rank && strcmp(path->text, last->path) < 0))))
        return;
    *last = (struct position) { .index = index, .rank = rank, .path = path->text };
}

/* What all or one of one comes to. */
static const struct filter_node *simplify(const struct filter *filter, const struct filter_node *node)
{
    while ((node->kind == NODE_AND || node->kind == NODE_OR) && node + 1 < node_end(filter, node) &&
           node_end(filter, node + 1) == node_end(filter, node))
        node++;
    return node;
}

/* As of an $in: one of the conditions holds for the value. */
static bool visit_any_child(const struct element *value, void *ctx)
{
    const struct visit *visit = ctx;
    const struct filter *filter = visit->match->filter;
    const struct filter_node *end = node_end(filter, visit->node);
    for (const struct filter_node *child = visit->node + 1; child < end; child = node_end(filter, child)) {
        struct visit one = { .match = visit->match, .node = simplify(filter, child) };
        if (visit_predicate(value, &one))
            return true;
    }
    return false;
}

/* Of an $or: the path that all of its conditions are equalities of; or NULL. */
static const struct path *path_of_list(const struct filter *filter, const struct filter_node *node)
{
    const struct filter_node *end = node_end(filter, node);
    const struct path *path = NULL;
    for (const struct filter_node *child = node + 1; child < end; child = node_end(filter, child)) {
        const struct filter_node *condition = simplify(filter, child);
        if (!filter_node_is_equality(condition) || (path && strcmp(condition->path.text, path->text) != 0))
            return NULL;
        path = &condition->path;
    }
    return path;
}

static void find_position(struct match *match, const struct filter_node *node, struct bytes document, struct position *last)
{
    static const struct value_list two = { .n = 2 };
    static const struct filter_node list = { .kind = NODE_PREDICATE, .matches = match_list, .prepared = &two };
    node = simplify(match->filter, node);
    struct visit visit = { .match = match, .node = node };
    const struct filter_node *end = node_end(match->filter, node);
    const struct path *path;
    switch (node->kind) {
    case NODE_OR:
        if ((path = path_of_list(match->filter, node)))
            find_on_path(&visit, path, rank_of(&list), document, visit_any_child, last);
        return;
    case NODE_AND:
        for (const struct filter_node *child = node + 1; child < end && !match->failed && match_goes_on(match, document.len);
             child = node_end(match->filter, child))
            find_position(match, child, document, last);
        return;
    case NODE_PREDICATE:
        if (!node->negated)
            find_on_path(&visit, &node->path, rank_of(node), document, visit_predicate, last);
        return;
    case NODE_ELEMENT_VALUE:
    case NODE_ELEMENT_DOCUMENT:
        find_on_path(&visit, &node->path, rank_of(node), document, visit_elements, last);
        return;
    default:
        return;
    }
}

bool filter_match_position(const struct filter *filter, struct bytes document, int64_t *array_index)
{
    struct error unsaid; /* it has matched: what fails now failed then */
    struct match match = { .filter = filter, .err = &unsaid };
    struct position last = { .index = NO_INDEX };
    find_position(&match, filter->nodes, document, &last);
    if (match.failed || last.index == NO_INDEX)
        return false;
    *array_index = last.index;
    return true;
}
