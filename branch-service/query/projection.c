/* Compiling projections. */
#include "branch-service/query/projection.h"

#include <stdlib.h>

#include "branch-service/query/projection_internal.h"
#include "branch-service/query/query_error.h"
#include "branch-service/query/value_type.h"
#include "common/base/caller.h"
#include "common/base/memory.h"
#include "common/bson/builder.h"
#include "common/bson/number.h"
#include "common/bson/utf8.h"

struct parser {
    struct projection *projection;
    enum projection_kind kind;
    const struct expression_scope *scope;
    struct error *err;
    bool typed; /* inclusion or exclusion is decided */
    bool has_elem_match, has_slice;
    unsigned depth;
};

static bool no_memory(struct parser *p)
{
    return error_out_of_memory(p->err);
}

static struct projection_field *find_field(const struct projection_node *node, const struct path_component *name)
{
    size_t i;
    return name_index_find(&node->names, name->name, name->len, &i) ? node->fields[i] : NULL;
}

static struct projection_field *add_field(struct parser *p, struct projection_node *node, const struct path_component *name)
{
    struct arena *arena = &p->projection->arena;
    struct projection_field *field = arena_zalloc(arena, sizeof *field);
    size_t n = node_size(node);
    if (n == node->room) {
        size_t room = n ? 2 * n : 4;
        struct projection_field **fields = arena_alloc(arena, room * sizeof *fields);
        if (fields && n)
            memcpy(fields, node->fields, n * sizeof *fields);
        if (fields) {
            node->fields = fields;
            node->room = room;
        }
    }
    if (!field || n == node->room || !name_index_add(&node->names, arena, name->name, name->len)) {
        no_memory(p);
        return NULL;
    }
    field->name = name->name;
    field->len = name->len;
    node->fields[n] = field;
    return field;
}

/* The field at the path, with the nodes on the way. NULL: it collides with another, or there is no memory. */
static struct projection_field *place_field(struct parser *p, const struct path *path, bool computes)
{
    struct projection_node *node = &p->projection->root;
    for (size_t i = 0;; i++) {
        struct projection_field *field = find_field(node, &path->components[i]);
        bool last = i + 1 == path->n;
        node->computes |= computes;
        if (field && (last || field->action != FIELD_CHILD)) {
            if (p->kind == PROJECTION_ADD_FIELDS)
                query_error(p->err, 40176, "specification contains two conflicting paths, at '%s'", path->text);
            else if (last)
                query_error(p->err, 31250, "Path collision at %s", path->text);
            else
                query_error(p->err, 31249, "Path collision at %s", path->text);
            return NULL;
        }
        if (!field && !(field = add_field(p, node, &path->components[i])))
            return NULL;
        if (last)
            return field;
        if (!field->child) {
            field->action = FIELD_CHILD;
            field->child = arena_zalloc(&p->projection->arena, sizeof *field->child);
            if (!field->child) {
                no_memory(p);
                return NULL;
            }
        }
        node = field->child;
    }
}

/* The first field decides; _id by itself does not. */
static bool set_type(struct parser *p, const struct path *path, bool inclusion, bool computed, bool literal)
{
    if (!p->typed) {
        p->typed = true;
        p->projection->inclusion = inclusion;
    }
    if (p->projection->inclusion == inclusion)
        return true;
    if (computed)
        return query_error(p->err, literal ? 31310 : 31252, "Cannot use an expression %s in an exclusion projection", path->text);
    return inclusion ? query_error(p->err, 31253, "Cannot do inclusion on field %s in exclusion projection", path->text)
                     : query_error(p->err, 31254, "Cannot do exclusion on field %s in inclusion projection", path->text);
}

static bool is_id(const struct path *path)
{
    return strcmp(path->text, "_id") == 0;
}

static bool keep_or_drop(struct parser *p, const struct path *path, bool keep)
{
    struct projection_field *field = place_field(p, path, false);
    if (!field)
        return false;
    field->action = keep ? FIELD_INCLUDE : FIELD_EXCLUDE;
    return is_id(path) || set_type(p, path, keep, false, false);
}

/* A spec's value, be it a constant, a path or an expression. */
static bool compute(struct parser *p, const struct path *path, const struct element *spec)
{
    struct projection_field *field = place_field(p, path, true);
    if (!field)
        return false;
    field->action = FIELD_COMPUTE;
    if (!expression_compile(spec, p->scope, &p->projection->arena, &field->expression, p->err))
        return query_wrap(p->err, "projection of '%s'", path->text);
    return p->kind == PROJECTION_ADD_FIELDS || set_type(p, path, true, true, spec->type != BSON_TYPE_DOCUMENT);
}

/* ---- operators of queries ---- */

static bool slice_number(struct parser *p, const struct element *e, int32_t *out)
{
    int64_t whole;
    bool exact;
    if (!element_is_number(e))
        return query_error(p->err, 28724, "$slice only supports numbers and [skip, limit] arrays");
    if (!number_truncate(e, &whole, &exact))
        whole = 0;
    *out = whole > INT32_MAX ? INT32_MAX : whole < -INT32_MAX ? -INT32_MAX : (int32_t)whole;
    return true;
}

/* {$slice: n} or {$slice: [skip, limit]}; an array that begins with no number is the expression. */
static bool add_slice(struct parser *p, const struct path *path, const struct element *whole, const struct element *spec)
{
    struct element_reader reader;
    struct element first, second, third;
    int32_t skip = 0, limit = 0;
    if (spec->type == BSON_TYPE_ARRAY) {
        element_reader_init(&reader, spec->value);
        if (!element_next(&reader, &first) || !element_next(&reader, &second))
            return query_error(p->err, 28667, "$slice needs two or three arguments in an array");
        if (!element_is_number(&first) || element_next(&reader, &third))
            return compute(p, path, whole);
        if (!slice_number(p, &first, &skip) || !slice_number(p, &second, &limit))
            return false;
        if (limit <= 0)
            return query_error(p->err, 28724, "the limit of $slice must be positive");
    } else if (!element_is_number(spec)) {
        return query_error(p->err, 28667, "$slice only supports numbers and [skip, limit] arrays");
    } else if (!slice_number(p, spec, &skip)) {
        return false;
    }
    struct projection_field *field = place_field(p, path, false);
    if (!field)
        return false;
    p->has_slice = true;
    field->action = FIELD_SLICE;
    field->skip = skip;
    field->limit = limit;
    return true;
}

static bool add_elem_match(struct parser *p, const struct path *path, const struct element *spec)
{
    struct builder builder;
    struct bytes filter;
    if (spec->type != BSON_TYPE_DOCUMENT)
        return query_error(p->err, 31274, "elemMatch: Invalid argument, object required, but got %s", element_type_name(spec->type));
    if (p->projection->has_positional)
        return query_error(p->err, 31255, "Cannot specify positional operator and $elemMatch");
    if (path->n != 1)
        return query_error(p->err, 31275, "Cannot use $elemMatch projection on a nested field");
    struct projection_field *field = place_field(p, path, true);
    if (!field)
        return false;
    field->action = FIELD_ELEM_MATCH;
    p->has_elem_match = true;
    builder_init(&builder);
    builder_name(&builder, path->text, strlen(path->text));
    builder_begin(&builder, BSON_TYPE_DOCUMENT);
    builder_copy(&builder, spec);
    builder_end(&builder);
    bool ok = builder_finish(&builder, &filter, p->err) && filter_compile(filter, &field->elements, p->err);
    builder_destroy(&builder);
    if (ok && !arena_charge(&p->projection->arena, filter_memory(field->elements)))
        return error_set(p->err, ERROR_RESOURCE_EXHAUSTED, "no memory for a projection with so many $elemMatch");
    return ok;
}

/* ---- fields ---- */

static bool is_positional(const char *name, size_t len)
{
    return len >= 2 && memcmp(name + len - 2, ".$", 2) == 0;
}

static bool not_alone(struct parser *p, const struct element *operator)
{
    return query_error(p->err, 40181, "an expression specification must contain exactly one field, the name of the expression: '%.*s'",
                       utf8_fit(operator->name, operator->name_len, 80), operator->name);
}

/* What $addFields has in a document: names and no paths. */
static bool check_inner_name(struct parser *p, const struct element *e)
{
    if (e->name_len > 0 && e->name[0] == '$')
        return not_alone(p, e);
    if (memchr(e->name, '.', e->name_len))
        return query_error(p->err, 40183, "cannot use dotted field name '%.*s' in a sub object", utf8_fit(e->name, e->name_len, 80),
                           e->name);
    return true;
}

/* A dollar in a path is the positional one of a query, at its end; in $addFields it is just wrong. */
static bool check_dollars(struct parser *p, const char *name, size_t len)
{
    if (p->kind == PROJECTION_PROJECT && is_positional(name, len))
        return query_error(p->err, 31324, "Cannot use positional projection in aggregation projection");
    if (p->kind != PROJECTION_ADD_FIELDS && memmem(name, len, ".$.", 3))
        return query_error(p->err, 31394, "positional projection may only be used at the end of a path: %.*s", utf8_fit(name, len, 80),
                           name);
    return true;
}

/* "path.$", of which the path is given */
static bool add_positional(struct parser *p, const char *text, size_t len, const struct element *spec)
{
    struct projection *projection = p->projection;
    struct path *path = &projection->positional;
    if (spec->type == BSON_TYPE_DOCUMENT)
        return query_error(p->err, 31271, "positional projection cannot be used with an expression or sub object");
    if (!element_is_number(spec) && spec->type != BSON_TYPE_BOOL)
        return query_error(p->err, 31308, "positional projection cannot be used with a literal");
    if (!value_is_true(spec))
        return query_error(p->err, 31395, "positional projection cannot be used with exclusion");
    if (projection->has_positional)
        return query_error(p->err, 31276, "Cannot specify more than one positional projection per query");
    if (p->has_elem_match)
        return query_error(p->err, 31256, "Cannot specify positional operator and $elemMatch");
    if (len == 0)
        return query_error(p->err, 5392900, "Projection on field .$ is invalid");
    if (text[len - 1] == '.')
        return query_error(p->err, 15998, "FieldPath field names may not be empty strings");
    if (!field_path_parse(text, len, &projection->arena, path, p->err))
        return false;
    projection->has_positional = true;
    return keep_or_drop(p, path, true);
}

static bool add_fields(struct parser *p, const char *prefix, struct bytes spec);

static bool add_value(struct parser *p, const struct path *path, const struct element *spec)
{
    struct element_reader reader;
    struct element first;
    bool is_flag = element_is_number(spec) || spec->type == BSON_TYPE_BOOL;
    if (p->kind != PROJECTION_ADD_FIELDS && is_flag)
        return keep_or_drop(p, path, value_is_true(spec));
    if (spec->type != BSON_TYPE_DOCUMENT)
        return compute(p, path, spec);
    element_reader_init(&reader, spec->value);
    if (!element_next(&reader, &first))
        return p->kind == PROJECTION_ADD_FIELDS
                   ? compute(p, path, spec)
                   : query_error(p->err, 51270, "An empty sub-projection is not a valid value. Found empty object at path %s", path->text);
    bool alone = !element_next(&reader, &(struct element) { 0 });
    if (!element_name_is_operator(&first) || (p->kind != PROJECTION_ADD_FIELDS && !alone))
        return add_fields(p, path->text, spec->value);
    if (!alone)
        return not_alone(p, &first);
    if (p->kind == PROJECTION_FIND && element_is_named(&first, "$slice", 6))
        return add_slice(p, path, spec, &first);
    if (p->kind == PROJECTION_FIND && element_is_named(&first, "$elemMatch", 10))
        return add_elem_match(p, path, &first);
    if (element_is_named(&first, "$meta", 5))
        return query_error(p->err, MONGO_COMMAND_NOT_SUPPORTED, "$meta is not supported");
    if (p->kind != PROJECTION_ADD_FIELDS && !expression_has_operator(&first) && !element_is_named(&first, "$elemMatch", 10))
        return query_error(p->err, 31325, "Unknown expression %.*s", utf8_fit(first.name, first.name_len, 80), first.name);
    return compute(p, path, spec);
}

static bool add_one(struct parser *p, const char *prefix, const struct element *e)
{
    struct arena *arena = &p->projection->arena;
    size_t before = prefix ? strlen(prefix) + 1 : 0;
    struct path path;
    if (!check_dollars(p, e->name, e->name_len) || (prefix && p->kind == PROJECTION_ADD_FIELDS && !check_inner_name(p, e)))
        return false;
    char *text = arena_alloc(arena, before + e->name_len + 1);
    if (!text)
        return no_memory(p);
    if (prefix) {
        memcpy(text, prefix, before - 1);
        text[before - 1] = '.';
    }
    memcpy(text + before, e->name, e->name_len + 1);
    if (p->kind == PROJECTION_FIND && is_positional(e->name, e->name_len))
        return add_positional(p, text, before + e->name_len - 2, e);
    return field_path_parse(text, before + e->name_len, arena, &path, p->err) && add_value(p, &path, e);
}

/* Depth: of the spec, which has passed bson_check. */
static bool add_fields(struct parser *p, const char *prefix, struct bytes spec)
{
    struct element_reader reader;
    struct element e;
    element_reader_init(&reader, spec);
    while (element_next(&reader, &e)) {
        if (!caller_still_waits(1, p->err) || !add_one(p, prefix, &e))
            return false;
    }
    return true;
}

/* Of a spec with nothing but _id, $slice and $elemMatch; and an _id that is not named. */
static bool decide(struct parser *p)
{
    static const char id[] = "_id";
    struct path_component name;
    struct projection *projection = p->projection;
    if (p->kind == PROJECTION_ADD_FIELDS)
        return true;
    path_component_init(&name, id, 3);
    struct projection_field *field = find_field(&projection->root, &name);
    if (!p->typed)
        projection->inclusion = (p->has_elem_match && !p->has_slice) || (field && field->action == FIELD_INCLUDE);
    if (projection->inclusion && !field) {
        if (!(field = add_field(p, &projection->root, &name)))
            return false;
        field->action = FIELD_INCLUDE;
    }
    return true;
}

static struct projection *new_projection(struct bytes spec, struct bytes *copy)
{
    struct projection *projection = mem_zalloc(sizeof *projection);
    arena_init_metered(&projection->arena, MAX_COMPILED_BYTES);
    const uint8_t *data = arena_copy(&projection->arena, spec.data, spec.len);
    if (!data) {
        projection_free(projection);
        return NULL;
    }
    *copy = bytes_of(data, spec.len);
    return projection;
}

bool projection_compile(struct bytes spec, enum projection_kind kind, const struct expression_scope *scope, struct projection **out,
                        struct error *err)
{
    struct projection *projection = new_projection(spec, &spec);
    struct parser p = { .projection = projection, .kind = kind, .scope = scope, .err = err };
    if (!projection)
        return no_memory(&p);
    bool ok = add_fields(&p, NULL, spec) && decide(&p);
    if (ok && node_size(&projection->root) == 0 && kind == PROJECTION_PROJECT)
        ok = query_error(err, 51272, "Invalid $project: projection specification must have at least one field");
    if (ok && node_size(&projection->root) == 0 && kind == PROJECTION_ADD_FIELDS)
        ok = query_error(err, 40177, "Invalid $addFields: specification must have at least one field");
    if (ok)
        *out = projection;
    else
        projection_free(projection);
    return ok;
}

static bool unset_one(struct parser *p, const struct element *e)
{
    struct path path;
    if (e->type != BSON_TYPE_UTF8)
        return query_error(p->err, 31120, "$unset specification must be a string or an array containing only string values");
    struct bytes text = element_string(e);
    return check_dollars(p, (const char *)text.data, text.len) &&
           field_path_parse((const char *)text.data, text.len, &p->projection->arena, &path, p->err) && keep_or_drop(p, &path, false);
}

bool projection_compile_unset(const struct element *spec, struct projection **out, struct error *err)
{
    struct element_reader reader;
    struct element e, copy = *spec;
    struct projection *projection = new_projection(spec->value, &copy.value);
    struct parser p = { .projection = projection, .kind = PROJECTION_PROJECT, .err = err };
    bool ok = true;
    size_t n = 0;
    if (!projection)
        return no_memory(&p);
    if (spec->type == BSON_TYPE_UTF8) {
        ok = unset_one(&p, &copy);
    } else if (spec->type == BSON_TYPE_ARRAY) {
        element_reader_init(&reader, copy.value);
        for (; ok && element_next(&reader, &e); n++)
            ok = unset_one(&p, &e);
        if (ok && n == 0)
            ok = query_error(err, 31119, "$unset specification must be a string or an array with at least one field");
    } else {
        ok = query_error(err, 31002, "$unset specification must be a string or an array");
    }
    if (ok)
        *out = projection;
    else
        projection_free(projection);
    return ok;
}

void projection_free(struct projection *projection)
{
    if (!projection)
        return;
    for (size_t i = 0; i < node_size(&projection->root); i++)
        filter_free(projection->root.fields[i]->elements);
    arena_destroy(&projection->arena);
    free(projection);
}
