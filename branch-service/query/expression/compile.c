/* From a spec to nodes. */
#include <stdlib.h>

#include "branch-service/query/expression/internal.h"
#include "branch-service/query/name_index.h"
#include "common/bson/utf8.h"

static const struct expression_ops *const tables[] = {
    &ops_logic,   &ops_arithmetic, &ops_math, &ops_string,     &ops_string_search, &ops_array,      &ops_set,   &ops_iterate,    &ops_type,
    &ops_convert, &ops_object,     &ops_date, &ops_date_parts, &ops_date_text,     &ops_accumulate, &ops_regex, &ops_percentile,
};

static const struct expression_op *find_op(const struct element *name)
{
    for (size_t t = 0; t < ARRAY_LEN(tables); t++) {
        for (size_t i = 0; i < tables[t]->n; i++) {
            const struct expression_op *op = &tables[t]->ops[i];
            if (element_is_named(name, op->name, strlen(op->name)))
                return op;
        }
    }
    return NULL;
}

/* What MongoDB has, and is not here: it needs JavaScript, text search or hashed indexes. */
static bool is_refused(const struct element *name)
{
    static const char *const names[] = { "$function", "$meta", "$toHashedIndexKey" };
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (element_is_named(name, names[i], strlen(names[i])))
            return true;
    }
    return false;
}

const char *expression_operator_name(size_t index)
{
    for (size_t t = 0; t < ARRAY_LEN(tables); index -= tables[t++]->n) {
        if (index < tables[t]->n)
            return tables[t]->ops[index].name;
    }
    return NULL;
}

static struct expression *new_node(struct compiler *c, evaluate_fn *how)
{
    struct expression *node = arena_zalloc(c->arena, sizeof *node);
    if (!node)
        error_out_of_memory(c->err);
    else
        node->evaluate = how;
    return node;
}

static bool evaluate_constant(struct run *run, const struct expression *e, struct element *out)
{
    (void)run;
    *out = e->constant;
    return true;
}

bool compile_literal(struct compiler *c, const struct element *spec, struct expression *node)
{
    (void)c;
    node->constant = *spec;
    node->evaluate = evaluate_constant;
    return true;
}

const struct element *expression_constant(const struct expression *e)
{
    return e->evaluate == evaluate_constant ? &e->constant : NULL;
}

bool expression_is_no_array(const struct expression *e, bool null_is_fine)
{
    const struct element *value = expression_constant(e);
    return value && value->type != BSON_TYPE_ARRAY && !(null_is_fine && is_nullish(value));
}

static const struct expression *constant(struct compiler *c, const struct element *value)
{
    struct expression *node = new_node(c, evaluate_constant);
    if (node)
        node->constant = *value;
    return node;
}

static bool evaluate_root(struct run *run, const struct expression *e, struct element *out)
{
    struct element root = { .type = BSON_TYPE_DOCUMENT, .name = "", .value = run->document };
    return walk_path(run, &e->path, 0, &root, out);
}

static bool evaluate_variable(struct run *run, const struct expression *e, struct element *out)
{
    const struct expression_binding *binding = run->bindings;
    for (size_t i = 0; i < e->depth; i++)
        binding = binding->outer;
    if (!values_go_on(run, e->depth * sizeof *binding))
        return false;
    return walk_path(run, &e->path, 0, &binding->value, out);
}

static bool evaluate_now(struct run *run, const struct expression *e, struct element *out)
{
    struct element now;
    return make_date(run, run->now, &now) && walk_path(run, &e->path, 0, &now, out);
}

static bool evaluate_remove(struct run *run, const struct expression *e, struct element *out)
{
    (void)run;
    (void)e;
    return make_missing(out);
}

static bool evaluate_array(struct run *run, const struct expression *e, struct element *out)
{
    struct list list = { 0 };
    for (size_t i = 0; i < e->n; i++) {
        struct element value;
        if (!evaluate(run, e->args[i], &value) || !list_add(run, &list, &value))
            return false;
    }
    return make_array(run, &list, out);
}

static bool evaluate_document(struct run *run, const struct expression *e, struct element *out)
{
    struct list list = { 0 };
    for (size_t i = 0; i < e->n; i++) {
        struct element value;
        if (!evaluate(run, e->args[i], &value) || !list_add_named(run, &list, e->names[i], strlen(e->names[i]), &value))
            return false;
    }
    return make_document(run, &list, out);
}

bool expression_is_path(const struct expression *e)
{
    return !e->op && e->evaluate != evaluate_constant && e->evaluate != evaluate_document && e->evaluate != evaluate_array;
}

unsigned expression_reads(const struct expression *e)
{
    unsigned reads = 0;
    if (!e)
        return 0;
    if (e->evaluate == evaluate_root)
        reads = READS_DOCUMENT;
    else if (e->evaluate == evaluate_variable || e->evaluate == evaluate_now)
        reads = READS_VARIABLES;
    else if (e->op && e->op->by_chance)
        reads = READS_CHANCE;
    for (size_t i = 0; i < e->n; i++)
        reads |= expression_reads(e->args[i]);
    return reads;
}

bool expression_is_random(const struct expression *e)
{
    return expression_reads(e) & READS_CHANCE;
}

bool evaluate_optional(struct run *run, const struct expression *e, struct element *out)
{
    return e ? evaluate(run, e, out) : make_missing(out);
}

/* How most operators evaluate. */
static bool evaluate_op(struct run *run, const struct expression *e, struct element *out)
{
    struct element few[8], *args = few;
    if (e->n > ARRAY_LEN(few) && !(args = run_alloc(run, e->n * sizeof *args)))
        return false;
    for (size_t i = 0; i < e->n; i++) {
        /* an operator goes through its arguments about once */
        if (!evaluate_optional(run, e->args[i], &args[i]) || !values_go_on(run, args[i].value.len))
            return false;
    }
    return e->op->apply(run, e, args, out);
}

/* ---- fields, variables ---- */

/* The components of a path behind a name; text may be empty. */
static bool compile_path(struct compiler *c, const char *text, size_t len, struct path *path)
{
    return len == 0 || field_path_parse(text, len, c->arena, path, c->err);
}

static const struct expression_scope *find_variable(const struct compiler *c, const char *name, size_t len, size_t *depth)
{
    *depth = 0;
    for (const struct expression_scope *s = c->scope; s; s = s->outer, ++*depth) {
        if (bytes_equal(bytes_of(name, len), bytes_of(s->name, s->len)))
            return s;
    }
    return NULL;
}

static bool is_name_character(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_' || (c & 0x80);
}

static bool check_name(struct compiler *c, const char *name, size_t len, bool defined_by_user)
{
    const char *what = defined_by_user ? "user variable name" : "variable name";
    if (len == 0)
        return query_error(c->err, MONGO_FAILED_TO_PARSE, "empty variable names are not allowed");
    if (defined_by_user && len == 7 && memcmp(name, "CURRENT", 7) == 0)
        return true;
    bool good = (name[0] >= 'a' && name[0] <= 'z') || (name[0] & 0x80) || (!defined_by_user && name[0] >= 'A' && name[0] <= 'Z');
    if (!good)
        return query_error(c->err, MONGO_FAILED_TO_PARSE, "'%.*s' starts with an invalid character for a %s", utf8_fit(name, len, 80), name,
                           what);
    for (size_t i = 1; i < len; i++) {
        if (!is_name_character(name[i]))
            return query_error(c->err, MONGO_FAILED_TO_PARSE, "'%.*s' contains an invalid character for a %s", utf8_fit(name, len, 80),
                               name, what);
    }
    return true;
}

bool check_variable_name(struct compiler *c, const char *name, size_t len)
{
    return check_name(c, name, len, true);
}

bool expression_check_variable_name(const char *name, size_t len, struct error *err)
{
    struct compiler c = { .err = err };
    return check_name(&c, name, len, true);
}

static const struct expression *compile_variable(struct compiler *c, const char *text, size_t len)
{
    const char *dot = memchr(text, '.', len);
    size_t name_len = dot ? (size_t)(dot - text) : len, depth;
    if (!check_name(c, text, name_len, false))
        return NULL;
    static const struct {
        const char *name;
        evaluate_fn *how;
    } system[] = { { "ROOT", evaluate_root }, { "CURRENT", evaluate_root }, { "NOW", evaluate_now }, { "REMOVE", evaluate_remove } };
    struct expression *node = new_node(c, NULL);
    if (!node)
        return NULL;
    bool is_defined = find_variable(c, text, name_len, &depth);
    if (!caller_still_waits(1 + depth / 8, c->err))
        return NULL;
    if (is_defined) {
        node->evaluate = evaluate_variable;
        node->depth = depth;
    }
    for (size_t i = 0; !node->evaluate && i < ARRAY_LEN(system); i++) {
        if (bytes_equal(bytes_of(text, name_len), bytes_of_string(system[i].name)))
            node->evaluate = system[i].how;
    }
    if (!node->evaluate) {
        query_error(c->err, 17276, "Use of undefined variable: %.*s", utf8_fit(text, name_len, 80), text);
        return NULL;
    }
    if (dot && name_len + 1 == len) {
        query_error(c->err, 40353, "FieldPath must not end with a '.'");
        return NULL;
    }
    return !dot || compile_path(c, dot + 1, len - name_len - 1, &node->path) ? node : NULL;
}

static const struct expression *compile_string(struct compiler *c, const struct element *spec)
{
    struct bytes text = element_string(spec);
    const char *s = (const char *)text.data;
    if (text.len == 0 || s[0] != '$')
        return constant(c, spec);
    if (text.len == 1) {
        query_error(c->err, 16872, "'$' by itself is not a valid FieldPath");
        return NULL;
    }
    if (s[1] == '$')
        return compile_variable(c, s + 2, text.len - 2);
    struct expression *node = new_node(c, evaluate_root);
    if (!node || !compile_path(c, s + 1, text.len - 1, &node->path))
        return NULL;
    if (find_variable(c, "CURRENT", 7, &node->depth))
        node->evaluate = evaluate_variable;
    return caller_still_waits(1 + node->depth / 8, c->err) ? node : NULL;
}

/* ---- arguments ---- */

bool compile_args_alloc(struct compiler *c, size_t n, struct expression *node)
{
    node->n = n;
    node->args = arena_zalloc(c->arena, (n ? n : 1) * sizeof(const struct expression *));
    return node->args || error_out_of_memory(c->err);
}

bool compile_arguments(struct compiler *c, const struct element *spec, struct expression *node)
{
    if (spec->type != BSON_TYPE_ARRAY)
        return compile_args_alloc(c, 1, node) && (node->args[0] = compile_operand(c, spec)) != NULL;
    struct element_reader reader;
    struct element e;
    if (!compile_args_alloc(c, count_elements(spec), node))
        return false;
    element_reader_init(&reader, spec->value);
    for (size_t i = 0; element_next(&reader, &e); i++) {
        if (!(node->args[i] = compile_operand(c, &e)))
            return false;
    }
    return true;
}

static bool check_count(struct compiler *c, const struct expression_op *op, size_t n)
{
    if ((int)n >= op->min && (int)n <= op->max)
        return true;
    if (op->min == op->max)
        return query_error(c->err, op->wrong_count ? op->wrong_count : 16020,
                           "Expression %s takes exactly %d arguments. %zu were passed in.", op->name, op->min, n);
    if (op->max == MANY)
        return query_error(c->err, op->wrong_count ? op->wrong_count : 28667, "%s needs at least %d arguments, had: %zu", op->name, op->min,
                           n);
    return query_error(c->err, 28667, "Expression %s takes at least %d arguments, and at most %d, but %zu were passed in.", op->name,
                       op->min, op->max, n);
}

/* The next name of "a!16880 b c!16882"; the list moves on. *missing: the error when it is not given; 0: it may miss. */
static bool next_field(const char **list, struct bytes *name, int *missing)
{
    while (**list == ' ')
        ++*list;
    size_t len = strcspn(*list, "! ");
    *name = bytes_of(*list, len);
    *list += len;
    *missing = **list == '!' ? (int)strtol(*list + 1, (char **)list, 10) : 0;
    return len > 0;
}

bool find_fields(struct compiler *c, const struct expression_op *op, const struct element *spec, struct element *found)
{
    struct element_reader reader;
    struct element e;
    struct bytes name;
    int missing;
    size_t n = 0;
    if (spec->type != BSON_TYPE_DOCUMENT)
        return query_error(c->err, op->not_document, "%s only supports an object as its argument", op->name);
    for (const char *list = op->fields; next_field(&list, &name, &missing); n++)
        found[n] = (struct element) { 0 };
    element_reader_init(&reader, spec->value);
    while (element_next(&reader, &e)) {
        const char *list = op->fields;
        size_t i = 0;
        while (next_field(&list, &name, &missing) && !bytes_equal(name, bytes_of(e.name, e.name_len)))
            i++;
        if (i == n)
            return query_error(c->err, op->unknown_field, "%s found an unknown argument: %.*s", op->name, utf8_fit(e.name, e.name_len, 80),
                               e.name);
        found[i] = e;
    }
    const char *list = op->fields;
    for (size_t i = 0; next_field(&list, &name, &missing); i++) {
        if (missing && found[i].type == 0)
            return query_error(c->err, missing, "Missing '%.*s' parameter to %s", (int)name.len, (const char *)name.data, op->name);
    }
    return true;
}

enum { MAX_FIELDS = 12 };

bool compile_fields(struct compiler *c, const struct element *spec, struct expression *node)
{
    struct element found[MAX_FIELDS];
    size_t n = 1;
    for (const char *at = node->op->fields; *at; at++)
        n += *at == ' ';
    if (!find_fields(c, node->op, spec, found) || !compile_args_alloc(c, n, node))
        return false;
    for (size_t i = 0; i < n; i++) {
        if (found[i].type != 0 && !(node->args[i] = compile_operand(c, &found[i])))
            return false;
    }
    return true;
}

const struct expression *compile_inside(struct compiler *c, const struct expression_scope *scope, const struct element *spec)
{
    const struct expression_scope *outer = c->scope;
    c->scope = scope;
    const struct expression *node = compile_operand(c, spec);
    c->scope = outer;
    return node;
}

/* ---- documents ---- */

const struct expression *compile_op(struct compiler *c, const struct element *spec)
{
    struct expression *node = new_node(c, evaluate_op);
    if (!node)
        return NULL;
    node->op = find_op(spec);
    if (!node->op && is_refused(spec)) {
        query_error(c->err, MONGO_COMMAND_NOT_SUPPORTED, "%s is not supported", spec->name);
        return NULL;
    }
    if (!node->op) {
        query_error(c->err, 168, "Unrecognized expression '%.*s'", utf8_fit(spec->name, spec->name_len, 80), spec->name);
        return NULL;
    }
    if (node->op->evaluate)
        node->evaluate = node->op->evaluate;
    if (node->op->compile)
        return node->op->compile(c, spec, node) ? node : NULL;
    if (node->op->fields)
        return compile_fields(c, spec, node) ? node : NULL;
    if (!compile_arguments(c, spec, node) || !check_count(c, node->op, node->n))
        return NULL;
    return !node->op->check || node->op->check(c, node) ? node : NULL;
}

bool expression_has_operator(const struct element *field)
{
    return find_op(field) || is_refused(field);
}

bool expression_check_field_name(const struct element *field, struct error *err)
{
    if (field->name_len == 0)
        return query_error(err, 15998, "FieldPath field names may not be empty strings");
    if (field_name_is_reserved(field->name, field->name_len))
        return query_error(err, 16410, "FieldPath field names may not start with '$': '%.*s'", utf8_fit(field->name, field->name_len, 80),
                           field->name);
    if (memchr(field->name, '.', field->name_len))
        return query_error(err, 16412, "FieldPath field names may not contain '.': '%.*s'", utf8_fit(field->name, field->name_len, 80),
                           field->name);
    return true;
}

static bool all_constant(const struct expression *node)
{
    for (size_t i = 0; i < node->n; i++) {
        if (!expression_constant(node->args[i]))
            return false;
    }
    return true;
}

/* No name may come twice. */
static bool check_once(struct compiler *c, struct name_index *names, struct arena *arena, const struct element *field)
{
    size_t at;
    if (name_index_find(names, field->name, field->name_len, &at))
        return query_error(c->err, 16406, "duplicate field name specified in object literal: '%.*s'",
                           utf8_fit(field->name, field->name_len, 80), field->name);
    return name_index_add(names, arena, field->name, field->name_len) || error_out_of_memory(c->err);
}

/* node has room for them. */
static bool compile_values(struct compiler *c, const struct element *spec, struct expression *node)
{
    struct arena arena;
    struct name_index names = { 0 };
    struct element_reader reader;
    struct element e;
    bool ok = true;
    arena_init_metered(&arena, MAX_COMPILED_BYTES);
    element_reader_init(&reader, spec->value);
    for (size_t i = 0; ok && element_next(&reader, &e); i++) {
        ok = expression_check_field_name(&e, c->err) && check_once(c, &names, &arena, &e) && (node->args[i] = compile_operand(c, &e));
        node->names[i] = e.name;
    }
    arena_destroy(&arena);
    return ok;
}

static const struct expression *compile_object(struct compiler *c, const struct element *spec)
{
    struct element_reader reader;
    struct element e;
    size_t n = count_elements(spec);
    element_reader_init(&reader, spec->value);
    if (element_next(&reader, &e) && element_name_is_operator(&e)) {
        if (n == 1)
            return compile_op(c, &e);
        query_error(c->err, 15983, "an object representing an expression must have exactly one field: '%.*s'",
                    utf8_fit(e.name, e.name_len, 80), e.name);
        return NULL;
    }
    struct expression *node = new_node(c, evaluate_document);
    if (!node || !compile_args_alloc(c, n, node))
        return NULL;
    node->names = arena_alloc(c->arena, (n ? n : 1) * sizeof *node->names);
    if (!node->names) {
        error_out_of_memory(c->err);
        return NULL;
    }
    if (!compile_values(c, spec, node))
        return NULL;
    /* a document of constants is in the spec as it is, unless an operator ($literal) made one of them */
    if (!all_constant(node))
        return node;
    struct run run = { .arena = c->arena, .err = c->err };
    struct element value;
    return evaluate_document(&run, node, &value) ? constant(c, &value) : NULL;
}

static const struct expression *compile_array(struct compiler *c, const struct element *spec)
{
    struct expression *node = new_node(c, evaluate_array);
    if (!node || !compile_arguments(c, spec, node))
        return NULL;
    if (!all_constant(node))
        return node;
    struct run run = { .arena = c->arena, .err = c->err };
    struct element value;
    return evaluate_array(&run, node, &value) ? constant(c, &value) : NULL;
}

const struct expression *compile_operand(struct compiler *c, const struct element *spec)
{
    if (c->depth >= EXPRESSION_MAX_NESTING) {
        query_error(c->err, 15, "an expression nests deeper than %d levels", EXPRESSION_MAX_NESTING);
        return NULL;
    }
    if (!caller_still_waits(1, c->err))
        return NULL;
    c->depth++;
    const struct expression *node = spec->type == BSON_TYPE_UTF8       ? compile_string(c, spec)
                                    : spec->type == BSON_TYPE_DOCUMENT ? compile_object(c, spec)
                                    : spec->type == BSON_TYPE_ARRAY    ? compile_array(c, spec)
                                                                       : constant(c, spec);
    c->depth--;
    return node;
}

bool expression_compile(const struct element *spec, const struct expression_scope *scope, struct arena *arena,
                        const struct expression **out, struct error *err)
{
    struct compiler c = { .arena = arena, .scope = scope, .err = err };
    const struct expression *node = compile_operand(&c, spec);
    if (node)
        *out = node;
    return node != NULL;
}
