#include <stdlib.h>

#include "branch-service/query/expression.h"
#include "branch-service/query/filter_ops.h"
#include "branch-service/query/filter_regex.h"
#include "branch-service/query/json_schema.h"
#include "branch-service/query/query_error.h"
#include "branch-service/query/value_type.h"
#include "common/base/caller.h"
#include "common/base/clock.h"
#include "common/base/memory.h"
#include "common/bson/number.h"
#include "common/bson/utf8.h"

struct compiler {
    struct filter *filter;
    struct filter_node *nodes; /* growing */
    size_t n, capacity;
    unsigned below_elem_match;
};

/* A field of a spec. The name is NULL for the conditions of $elemMatch on the element itself. */
struct target {
    const char *name;
    size_t len;
};

/* --- Nodes. Their addresses change as they become more: they go by index. --- */

static bool add_node(struct compiler *c, enum filter_node_kind kind, size_t *index, struct error *err)
{
    if (!caller_still_waits(1, err))
        return false;
    if (c->n == c->capacity) {
        size_t more = c->capacity ? 2 * c->capacity : 8;
        struct filter_node *grown = NULL;
        if (more * sizeof *grown <= MAX_COMPILED_BYTES && meter_hold(&c->filter->arena.share, (more - c->capacity) * sizeof *grown))
            grown = realloc(c->nodes, more * sizeof *grown);
        if (!grown)
            return !meter_refused(err) &&
                   error_set(err, ERROR_RESOURCE_EXHAUSTED, "no memory for a filter of more than %zu conditions", c->n);
        c->nodes = grown;
        c->capacity = more;
    }
    *index = c->n++;
    c->nodes[*index] = (struct filter_node) { .kind = kind, .end = (uint32_t)c->n };
    return true;
}

/* All that was added since is below it. */
static void end_node(struct compiler *c, size_t index)
{
    c->nodes[index].end = (uint32_t)c->n;
}

static bool set_path(struct compiler *c, struct target target, size_t index, struct error *err)
{
    return !target.name || path_parse(target.name, target.len, &c->filter->arena, &c->nodes[index].path, err);
}

static bool wrap_target(struct target target, struct error *err)
{
    return target.name ? query_wrap(err, "filter on '%.*s'", utf8_fit(target.name, target.len, 80), target.name) : false;
}

static bool refuse_operand(struct target target, const char *message, struct error *err)
{
    (void)query_error(err, MONGO_BAD_VALUE, "%s", message);
    return wrap_target(target, err);
}

static bool add_predicate(struct compiler *c, struct target target, const struct filter_op *op, const struct element *operand,
                          struct bytes among, struct error *err)
{
    size_t index;
    if (!add_node(c, NODE_PREDICATE, &index, err) || !set_path(c, target, index, err))
        return false;
    struct filter_node *node = &c->nodes[index];
    node->operand = *operand;
    node->matches = op->matches;
    node->negated = op->negated;
    return op->prepare(c->filter, node, among, err) || wrap_target(target, err);
}

/* What recurses here descends a level of the spec with every call: bounded by MAX_NESTING. */
static bool add_fields(struct compiler *c, struct bytes spec, struct error *err);
static bool add_operators(struct compiler *c, struct target target, struct bytes operators, struct error *err);

/* --- Operators on a path that are made of others --- */

static bool add_not(struct compiler *c, struct target target, const struct element *e, struct bytes among, struct error *err)
{
    size_t not, all;
    struct element_reader reader;
    struct element first;
    if (!add_node(c, NODE_NOR, &not, err) || !add_node(c, NODE_AND, &all, err))
        return false;
    if (e->type == BSON_TYPE_REGEX) {
        if (!add_predicate(c, target, &filter_regex_value, e, among, err))
            return false;
    } else if (e->type != BSON_TYPE_DOCUMENT) {
        return refuse_operand(target, "$not needs a regular expression or a document", err);
    } else {
        element_reader_init(&reader, e->value);
        if (!element_next(&reader, &first)) {
            return refuse_operand(target, "$not cannot be empty", err);
        }
        if (!add_operators(c, target, e->value, err))
            return false;
    }
    end_node(c, all);
    end_node(c, not );
    return true;
}

static bool is_tree_operator(const struct element *e);

/* Its conditions are about the element when the first is an operator on values. */
static bool is_about_elements(const struct element *e)
{
    struct element_reader reader;
    struct element first;
    element_reader_init(&reader, e->value);
    return element_next(&reader, &first) && element_name_is_operator(&first) && !is_dbref(e->value, true) && !is_tree_operator(&first);
}

static bool add_elem_match(struct compiler *c, struct target target, const struct element *e, struct bytes among, struct error *err)
{
    (void)among;
    size_t index;
    if (e->type != BSON_TYPE_DOCUMENT) {
        return refuse_operand(target, "$elemMatch needs an object", err);
    }
    bool about_elements = is_about_elements(e);
    if (!add_node(c, about_elements ? NODE_ELEMENT_VALUE : NODE_ELEMENT_DOCUMENT, &index, err) || !set_path(c, target, index, err))
        return false;
    c->nodes[index].path.whole_arrays = true;
    c->below_elem_match++;
    bool ok = about_elements ? add_operators(c, (struct target) { 0 }, e->value, err) : add_fields(c, e->value, err);
    c->below_elem_match--;
    end_node(c, index);
    return ok || (about_elements && wrap_target(target, err));
}

static bool first_is_elem_match(const struct element *e, struct element *first)
{
    struct element_reader reader;
    if (e->type != BSON_TYPE_DOCUMENT)
        return false;
    element_reader_init(&reader, e->value);
    return element_next(&reader, first) && element_is_named(first, "$elemMatch", 10);
}

static bool is_value_operator(const struct element *e);

static bool add_all_member(struct compiler *c, struct target target, const struct element *e, bool of_elem_match, struct error *err)
{
    struct element_reader reader;
    struct element first;
    bool is_elem_match = first_is_elem_match(e, &first);
    if (of_elem_match && !is_elem_match) {
        return refuse_operand(target, "$all/$elemMatch has to be consistent", err);
    }
    if (of_elem_match)
        return add_elem_match(c, target, &first, e->value, err);
    if (e->type == BSON_TYPE_REGEX)
        return add_predicate(c, target, &filter_regex_value, e, bytes_of(NULL, 0), err);
    if (e->type == BSON_TYPE_DOCUMENT) {
        element_reader_init(&reader, e->value);
        if (element_next(&reader, &first) && is_value_operator(&first) && !element_is_named(&first, "$not", 4)) {
            return refuse_operand(target, "no $ expressions in $all", err);
        }
    }
    return add_predicate(c, target, &filter_equality, e, bytes_of(NULL, 0), err);
}

/* All of them, each by an element of its own choice; $all: [] matches nothing, as OR of nothing does. */
static bool add_all(struct compiler *c, struct target target, const struct element *e, struct bytes among, struct error *err)
{
    (void)among;
    size_t index;
    struct element_reader reader;
    struct element member, first;
    if (e->type != BSON_TYPE_ARRAY) {
        return refuse_operand(target, "$all needs an array", err);
    }
    element_reader_init(&reader, e->value);
    bool empty = !element_next(&reader, &member), of_elem_match = !empty && first_is_elem_match(&member, &first);
    if (!add_node(c, empty ? NODE_NOTHING : NODE_AND, &index, err))
        return false;
    element_reader_init(&reader, e->value);
    while (element_next(&reader, &member)) {
        if (!add_all_member(c, target, &member, of_elem_match, err))
            return false;
    }
    end_node(c, index);
    return true;
}

/* $regex reads them. */
static bool add_options(struct compiler *c, struct target target, const struct element *e, struct bytes among, struct error *err)
{
    (void)c;
    (void)e;
    struct element regex;
    if (element_find(among, "$regex", 6, &regex))
        return true;
    return refuse_operand(target, "$options needs a $regex", err);
}

static const struct composite_op {
    const char *name;
    bool (*add)(struct compiler *c, struct target target, const struct element *e, struct bytes among, struct error *err);
} composite_ops[] = {
    { "$not", add_not },
    { "$elemMatch", add_elem_match },
    { "$all", add_all },
    { "$options", add_options },
};

/* --- Operators in the place of a field --- */

static bool add_tree(struct compiler *c, const struct element *e, enum filter_node_kind kind, struct error *err)
{
    size_t index, entry;
    struct element_reader reader;
    struct element inner;
    if (e->type != BSON_TYPE_ARRAY)
        return query_error(err, MONGO_BAD_VALUE, "%s argument must be an array", e->name);
    if (!add_node(c, kind, &index, err))
        return false;
    element_reader_init(&reader, e->value);
    while (element_next(&reader, &inner)) {
        if (inner.type != BSON_TYPE_DOCUMENT)
            return query_error(err, MONGO_BAD_VALUE, "%s argument's entries must be objects", e->name);
        if (!add_node(c, NODE_AND, &entry, err) || !add_fields(c, inner.value, err))
            return false;
        end_node(c, entry);
    }
    end_node(c, index);
    if (c->n == index + 1)
        return query_error(err, MONGO_BAD_VALUE, "%s argument must be a non-empty array", e->name);
    return true;
}

static bool add_and(struct compiler *c, const struct element *e, struct error *err)
{
    return add_tree(c, e, NODE_AND, err);
}

static bool add_or(struct compiler *c, const struct element *e, struct error *err)
{
    return add_tree(c, e, NODE_OR, err);
}

static bool add_nor(struct compiler *c, const struct element *e, struct error *err)
{
    return add_tree(c, e, NODE_NOR, err);
}

/* Both have 1 as their operand. */
static bool add_always(struct compiler *c, const struct element *e, enum filter_node_kind kind, struct error *err)
{
    size_t index;
    int64_t one;
    bool exact;
    if (!element_is_number(e) || !number_truncate(e, &one, &exact) || !exact || one != 1)
        return query_error(err, MONGO_FAILED_TO_PARSE, "%s must be an integer value of 1", e->name);
    return add_node(c, kind, &index, err);
}

static bool add_always_true(struct compiler *c, const struct element *e, struct error *err)
{
    return add_always(c, e, NODE_AND, err);
}

static bool add_always_false(struct compiler *c, const struct element *e, struct error *err)
{
    return add_always(c, e, NODE_NOTHING, err);
}

static bool add_json_schema(struct compiler *c, const struct element *e, struct error *err)
{
    size_t index;
    const struct schema *schema;
    if (!add_node(c, NODE_SCHEMA, &index, err) || !schema_compile(&c->filter->arena, e, &c->filter->regexes, &schema, err))
        return false;
    c->nodes[index].prepared = schema;
    return true;
}

static bool add_expr(struct compiler *c, const struct element *e, struct error *err)
{
    size_t index;
    const struct expression *expression;
    const struct expression_variables *let = c->filter->options.let;
    if (c->below_elem_match)
        return query_error(err, MONGO_BAD_VALUE, "$expr can only be applied to the top-level document");
    if (!expression_compile(e, let ? let->scope : NULL, &c->filter->arena, &expression, err))
        return query_wrap(err, "$expr");
    if (expression_is_random(expression))
        return query_error(err, MONGO_COMMAND_NOT_SUPPORTED, "$expr: $rand is not supported in a filter");
    if (!add_node(c, NODE_EXPRESSION, &index, err))
        return false;
    c->nodes[index].prepared = expression;
    return true;
}

static bool add_comment(struct compiler *c, const struct element *e, struct error *err)
{
    (void)c;
    (void)e;
    (void)err;
    return true;
}

static bool add_dbref_field(struct compiler *c, const struct element *e, struct error *err)
{
    return add_predicate(c, (struct target) { e->name, e->name_len }, &filter_equality, e, bytes_of(NULL, 0), err);
}

static const struct tree_op {
    const char *name;
    bool (*add)(struct compiler *c, const struct element *e, struct error *err);
} tree_ops[] = {
    { "$and", add_and },
    { "$or", add_or },
    { "$nor", add_nor },
    { "$expr", add_expr },
    { "$jsonSchema", add_json_schema },
    { "$comment", add_comment },
    { "$alwaysTrue", add_always_true },
    { "$alwaysFalse", add_always_false },
    /* fields of a DBRef within $elemMatch */
    { "$ref", add_dbref_field },
    { "$id", add_dbref_field },
    { "$db", add_dbref_field },
};

/* Those that MongoDB has and we have not: they need code that runs on the server, an index of a kind of its own, or
 * would match something else each time. */
static const char *const refused_fields[] = { "$where", "$text", "$sampleRate", "$rand" };
static const char *const refused_ops[] = {
    "$geoIntersects", "$within", "$near", "$nearSphere", "$geoNear", "$maxDistance", "$minDistance"
};

static const struct tree_op *find_tree_op(const struct element *e)
{
    for (size_t i = 0; i < ARRAY_LEN(tree_ops); i++) {
        if (element_is_named(e, tree_ops[i].name, strlen(tree_ops[i].name)))
            return &tree_ops[i];
    }
    return NULL;
}

static bool is_one_of(const struct element *e, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (element_is_named(e, names[i], strlen(names[i])))
            return true;
    }
    return false;
}

static bool is_tree_operator(const struct element *e)
{
    return find_tree_op(e) || is_one_of(e, refused_fields, ARRAY_LEN(refused_fields));
}

static const struct composite_op *find_composite_op(const struct element *e)
{
    for (size_t i = 0; i < ARRAY_LEN(composite_ops); i++) {
        if (element_is_named(e, composite_ops[i].name, strlen(composite_ops[i].name)))
            return &composite_ops[i];
    }
    return NULL;
}

static bool is_value_operator(const struct element *e)
{
    return find_composite_op(e) || filter_op_find(e->name, e->name_len) || is_one_of(e, refused_ops, ARRAY_LEN(refused_ops));
}

const char *filter_operator_name(size_t i)
{
    if (i < ARRAY_LEN(composite_ops))
        return composite_ops[i].name;
    i -= ARRAY_LEN(composite_ops);
    if (i < ARRAY_LEN(tree_ops))
        return tree_ops[i].name;
    return filter_op_name(i - ARRAY_LEN(tree_ops));
}

/* --- Specs --- */

static bool refuse(const struct element *op, const char *kind, bool known, struct error *err)
{
    int shown = utf8_fit(op->name, op->name_len, 80);
    if (known)
        return query_error(err, MONGO_COMMAND_NOT_SUPPORTED, "the filter operator '%.*s' is not supported", shown, op->name);
    return query_error(err, MONGO_BAD_VALUE, "unknown %s '%.*s'", kind, shown, op->name);
}

static bool add_operators(struct compiler *c, struct target target, struct bytes operators, struct error *err)
{
    struct element_reader reader;
    struct element e;
    element_reader_init(&reader, operators);
    while (element_next(&reader, &e)) {
        const struct filter_op *op = filter_op_find(e.name, e.name_len);
        const struct composite_op *composite = op ? NULL : find_composite_op(&e);
        if (!op && !composite) {
            (void)refuse(&e, "operator", is_one_of(&e, refused_ops, ARRAY_LEN(refused_ops)), err);
            return wrap_target(target, err);
        }
        if (op ? !add_predicate(c, target, op, &e, operators, err) : !composite->add(c, target, &e, operators, err))
            return false;
    }
    return true;
}

static bool add_fields(struct compiler *c, struct bytes spec, struct error *err)
{
    struct element_reader reader;
    struct element e;
    element_reader_init(&reader, spec);
    while (element_next(&reader, &e)) {
        struct target target = { e.name, e.name_len };
        bool ok;
        if (element_name_is_operator(&e)) {
            const struct tree_op *op = find_tree_op(&e);
            ok = op ? op->add(c, &e, err) : refuse(&e, "top level operator", is_one_of(&e, refused_fields, ARRAY_LEN(refused_fields)), err);
        } else if (is_operator_document(&e)) {
            ok = add_operators(c, target, e.value, err);
        } else {
            ok = add_predicate(c, target, e.type == BSON_TYPE_REGEX ? &filter_regex_value : &filter_equality, &e, bytes_of(NULL, 0), err);
        }
        if (!ok)
            return false;
    }
    return true;
}

static bool compile(struct compiler *c, struct bytes spec, struct error *err)
{
    struct filter *filter = c->filter;
    size_t root;
    if (!add_node(c, NODE_AND, &root, err))
        return false;
    if (spec.len > 0) {
        const uint8_t *copy = arena_copy(&filter->arena, spec.data, spec.len);
        if (!copy)
            return error_out_of_memory(err);
        if (!add_fields(c, bytes_of(copy, spec.len), err))
            return false;
        end_node(c, root);
    }
    filter->nodes = arena_copy(&filter->arena, c->nodes, c->n * sizeof *c->nodes);
    if (!filter->nodes)
        return error_out_of_memory(err);
    return filter_find_ids(filter, err);
}

bool filter_compile(struct bytes spec, struct filter **out, struct error *err)
{
    struct filter_options options = { .now = (int64_t)(clock_wall_micros() / 1000) };
    return filter_compile_with(spec, &options, out, err);
}

bool filter_compile_with(struct bytes spec, const struct filter_options *options, struct filter **out, struct error *err)
{
    struct compiler c = { .filter = mem_zalloc(sizeof *c.filter) };
    c.filter->options = *options;
    arena_init_metered(&c.filter->arena, MAX_COMPILED_BYTES);
    bool ok = compile(&c, spec, err);
    free(c.nodes);
    if (ok)
        *out = c.filter;
    else
        filter_free(c.filter);
    return ok;
}

size_t filter_memory(const struct filter *filter)
{
    return sizeof *filter + filter->arena.total;
}

void filter_free(struct filter *filter)
{
    if (!filter)
        return;
    regex_free_chain(filter->regexes);
    arena_destroy(&filter->arena);
    free(filter);
}
