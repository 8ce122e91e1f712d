#include "branch-service/query/update_spec.h"

#include "branch-service/query/query_error.h"
#include "branch-service/query/update_resolve.h"
#include "common/base/caller.h"
#include "common/base/limits.h"
#include "common/bson/utf8.h"

enum { SHOWN = 80 };

/* ---- paths --------------------------------------------------------------------------------------------- */

static bool check_names(const struct path *path, struct error *err)
{
    if (path->n == 1 && path->components[0].len == 0)
        return query_error(err, MONGO_EMPTY_FIELD_NAME, "an empty update path is not valid");
    for (size_t i = 0; i < path->n; i++) {
        if (path->components[i].len == 0)
            return query_error(err, MONGO_EMPTY_FIELD_NAME, "the update path '%.*s' contains an empty field name, which is not allowed",
                               utf8_fit(path->text, strlen(path->text), SHOWN), path->text);
    }
    return true;
}

static bool refuse_first(const struct path *path, struct error *err)
{
    const struct path_component *first = &path->components[0];
    return query_error(err, MONGO_BAD_VALUE, "'%.*s' cannot be in the first position in path '%.*s'",
                       utf8_fit(first->name, first->len, SHOWN), first->name, utf8_fit(path->text, strlen(path->text), SHOWN), path->text);
}

/* "$" */
static bool check_positional(const struct path *path, bool *positional, struct error *err)
{
    *positional = false;
    for (size_t i = 0; i < path->n; i++) {
        if (!update_is_positional(&path->components[i]))
            continue;
        if (i == 0)
            return refuse_first(path, err);
        if (*positional)
            return query_error(err, MONGO_BAD_VALUE, "too many positional ('$') elements in path '%.*s'",
                               utf8_fit(path->text, strlen(path->text), SHOWN), path->text);
        *positional = true;
    }
    return true;
}

/* "$[]" and "$[name]". *elements_depth as in struct update_action. */
static bool check_elements(const struct path *path, const struct array_filters *filters, size_t *elements_depth, struct error *err)
{
    *elements_depth = 0;
    for (size_t i = 0; i < path->n; i++) {
        const struct path_component *c = &path->components[i];
        if (!update_names_elements(c))
            continue;
        if (i == 0)
            return refuse_first(path, err);
        *elements_depth = i + 1;
        struct array_filter *filter = array_filters_find(filters, c);
        if (filter)
            filter->used = true;
        else if (c->len > 3)
            return query_error(err, MONGO_BAD_VALUE, "no array filter found for identifier '%.*s' in path '%.*s'",
                               utf8_fit(c->name + 2, c->len - 3, SHOWN), c->name + 2, utf8_fit(path->text, strlen(path->text), SHOWN),
                               path->text);
    }
    return true;
}

/* Deeper ones may be stored, and all of them in a new document; and what cannot be there can be taken away. */
static void note_dollar(struct update_spec *spec, const struct update_action *action)
{
    if (action->path.text[0] == '$' && action->op->missing == UPDATE_CREATES && !action->op->on_insert_only && !spec->dollar)
        spec->dollar = action->path.text;
}

bool update_spec_check_in_place(const struct update_spec *spec, struct error *err)
{
    if (!spec->dollar)
        return true;
    struct bytes name = bytes_of(spec->dollar, strcspn(spec->dollar, "."));
    bool dbref = bytes_equal(name, bytes_of("$id", 3)) || bytes_equal(name, bytes_of("$ref", 4)) || bytes_equal(name, bytes_of("$db", 3));
    return query_error(err, dbref ? MONGO_INVALID_DBREF : MONGO_DOLLAR_PREFIXED_FIELD_NAME,
                       "the dollar ($) prefixed field '%.*s' in '%.*s' is not valid for storage", utf8_fit(spec->dollar, name.len, SHOWN),
                       spec->dollar, utf8_fit(spec->dollar, strlen(spec->dollar), SHOWN), spec->dollar);
}

/* How many levels of documents and arrays a value has; recursion is bounded by MAX_NESTING. */
static size_t levels_of(const struct element *value)
{
    struct element_reader reader;
    struct element inner;
    size_t deepest = 0;
    if (value->type == BSON_TYPE_CODEWSCOPE)
        return MAX_NESTING; /* not worth a look */
    if (value->type != BSON_TYPE_DOCUMENT && value->type != BSON_TYPE_ARRAY)
        return 0;
    element_reader_init(&reader, value->value);
    while (element_next(&reader, &inner)) {
        size_t levels = levels_of(&inner);
        deepest = levels > deepest ? levels : deepest;
    }
    return deepest + 1;
}

/* ---- actions ------------------------------------------------------------------------------------------- */

static bool add_action(struct update_spec *spec, const struct update_op *op, const struct element *argument, struct bytes path,
                       struct update_compiler *compiler, struct error *err)
{
    struct update_action *action = &spec->insert_actions[spec->n_insert_actions];
    bool positional;
    if (!caller_still_waits(1, err))
        return false;
    *action = (struct update_action) { .op = op, .argument = *argument };
    if (!path_parse((const char *)path.data, path.len, compiler->arena, &action->path, err) || !check_names(&action->path, err) ||
        !check_positional(&action->path, &positional, err))
        return false;
    note_dollar(spec, action);
    if (!op->compile(compiler, action, err))
        return query_wrap(err, "%s of '%.*s'", op->name, utf8_fit(argument->name, argument->name_len, SHOWN), argument->name);
    if (!check_elements(&action->path, &spec->filters, &action->elements_depth, err))
        return false;
    spec->depends_on_document |= positional;
    spec->can_nest |= action->path.n + levels_of(argument) > MAX_NESTING;
    spec->n_insert_actions++;
    return true;
}

static bool refuse_rename(const struct element *argument, const char *why, struct error *err)
{
    return query_error(err, MONGO_BAD_VALUE, "$rename of '%.*s': %s", utf8_fit(argument->name, argument->name_len, SHOWN), argument->name,
                       why);
}

static bool is_dynamic(const struct path *path)
{
    for (size_t i = 0; i < path->n; i++) {
        if (update_is_positional(&path->components[i]) || update_names_elements(&path->components[i]))
            return true;
    }
    return false;
}

static bool begins_with(const struct path *longer, const struct path *shorter)
{
    for (size_t i = 0; i < shorter->n; i++) {
        if (i == longer->n || path_component_compare(&longer->components[i], &shorter->components[i]) != 0)
            return false;
    }
    return true;
}

/* Two actions: the source is taken away, the target set. */
static bool add_rename(struct update_spec *spec, const struct update_op *op, const struct element *argument,
                       struct update_compiler *compiler, struct error *err)
{
    struct path source, target;
    if (argument->type != BSON_TYPE_UTF8)
        return refuse_rename(argument, "the 'to' field must be a string", err);
    struct bytes to = element_string(argument);
    if (memchr(to.data, 0, to.len))
        return refuse_rename(argument, "the 'to' field cannot contain an embedded null byte", err);
    if (!path_parse(argument->name, argument->name_len, compiler->arena, &source, err) || !check_names(&source, err) ||
        !path_parse((const char *)to.data, to.len, compiler->arena, &target, err) || !check_names(&target, err))
        return false;
    if (begins_with(&source, &target) || begins_with(&target, &source))
        return refuse_rename(argument, "source and target must differ and not be on the same path", err);
    if (is_dynamic(&source))
        return refuse_rename(argument, "the source field may not be dynamic", err);
    if (is_dynamic(&target))
        return refuse_rename(argument, "the destination field may not be dynamic", err);
    struct path *kept = arena_copy(compiler->arena, &source, sizeof source);
    if (!kept)
        return error_out_of_memory(err);
    if (!add_action(spec, op, argument, bytes_of(argument->name, argument->name_len), compiler, err) ||
        !add_action(spec, &update_rename_target, argument, to, compiler, err))
        return false;
    spec->insert_actions[spec->n_insert_actions - 1].compiled = kept;
    spec->depends_on_document = true;
    spec->can_nest |= target.n > source.n;
    return true;
}

static bool check_modifier(const struct element *modifier, struct error *err)
{
    int shown = utf8_fit(modifier->name, modifier->name_len, SHOWN);
    if (!element_name_is_operator(modifier))
        return query_error(err, MONGO_FAILED_TO_PARSE,
                           "unknown modifier: '%.*s'. The update operation document must contain atomic operators only", shown,
                           modifier->name);
    if (!update_op_find(modifier->name, modifier->name_len))
        return query_error(err, MONGO_FAILED_TO_PARSE, "unknown modifier: the update operator '%.*s' is not supported", shown,
                           modifier->name);
    if (modifier->type != BSON_TYPE_DOCUMENT)
        return query_error(err, MONGO_FAILED_TO_PARSE, "modifiers operate on fields, but %.*s has a value of type %s", shown,
                           modifier->name, element_type_name(modifier->type));
    return true;
}

static size_t count_fields(struct bytes document)
{
    struct element_reader reader;
    struct element field;
    size_t n = 0;
    element_reader_init(&reader, document);
    while (element_next(&reader, &field))
        n++;
    return n;
}

static bool add_modifier(struct update_spec *spec, const struct element *modifier, struct update_compiler *compiler, struct error *err)
{
    struct element_reader arguments;
    struct element argument;
    if (!check_modifier(modifier, err))
        return false;
    const struct update_op *op = update_op_find(modifier->name, modifier->name_len);
    element_reader_init(&arguments, modifier->value);
    while (element_next(&arguments, &argument)) {
        if (strcmp(op->name, "$rename") == 0 ? !add_rename(spec, op, &argument, compiler, err)
                                             : !add_action(spec, op, &argument, bytes_of(argument.name, argument.name_len), compiler, err))
            return false;
    }
    return true;
}

static bool compile_modifiers(struct bytes operators, struct update_compiler *compiler, struct update_spec *spec, struct error *err)
{
    struct element_reader modifiers;
    struct element modifier;
    struct error conflict;
    size_t n = 0;
    element_reader_init(&modifiers, operators);
    while (element_next(&modifiers, &modifier)) {
        if (modifier.type == BSON_TYPE_DOCUMENT)
            n += 2 * count_fields(modifier.value); /* $rename makes two of one */
    }
    spec->insert_actions = arena_alloc(compiler->arena, n * sizeof *spec->insert_actions);
    if (!spec->insert_actions)
        return error_out_of_memory(err);
    element_reader_init(&modifiers, operators);
    while (element_next(&modifiers, &modifier)) {
        if (add_modifier(spec, &modifier, compiler, err))
            continue;
        /* what comes first in the spec is what is said */
        if (!update_actions_sort(spec->insert_actions, spec->n_insert_actions, &conflict))
            *err = conflict;
        return false;
    }
    return update_actions_sort(spec->insert_actions, spec->n_insert_actions, err);
}

/* $setOnInsert's stay out of the way of documents that are there. */
static bool choose_actions(struct update_compiler *compiler, struct update_spec *spec, struct error *err)
{
    size_t n = spec->n_insert_actions;
    spec->actions = spec->insert_actions;
    spec->n_actions = n;
    for (size_t i = 0; i < n; i++)
        spec->n_actions -= spec->insert_actions[i].op->on_insert_only;
    if (spec->n_actions == n)
        return true;
    spec->actions = arena_alloc(compiler->arena, n * sizeof *spec->actions);
    if (!spec->actions)
        return error_out_of_memory(err);
    spec->n_actions = 0;
    for (size_t i = 0; i < n; i++) {
        if (!spec->insert_actions[i].op->on_insert_only)
            spec->actions[spec->n_actions++] = spec->insert_actions[i];
    }
    return true;
}

/* ---- array filters ------------------------------------------------------------------------------------- */

/* The one name that all paths of an array filter begin with; len 0: none so far. */
static bool find_identifier(struct bytes filter, struct bytes *name, struct error *err)
{
    struct element_reader fields, parts;
    struct element field, part;
    element_reader_init(&fields, filter);
    while (element_next(&fields, &field)) {
        if (element_name_is_operator(&field)) {
            element_reader_init(&parts, field.type == BSON_TYPE_ARRAY ? field.value : bytes_of(NULL, 0));
            while (element_next(&parts, &part)) { /* of $and, $or, $nor */
                if (part.type == BSON_TYPE_DOCUMENT && !find_identifier(part.value, name, err))
                    return false;
            }
            continue;
        }
        const char *dot = memchr(field.name, '.', field.name_len);
        struct bytes found = bytes_of(field.name, dot ? (size_t)(dot - field.name) : field.name_len);
        if (name->data && !bytes_equal(*name, found))
            return query_error(err, MONGO_FAILED_TO_PARSE, "expected a single top-level field name, found '%.*s' and '%.*s'",
                               utf8_fit((const char *)name->data, name->len, SHOWN), (const char *)name->data,
                               utf8_fit((const char *)found.data, found.len, SHOWN), (const char *)found.data);
        *name = found;
    }
    return true;
}

static bool is_identifier(struct bytes name)
{
    bool ok = name.len > 0 && name.data[0] >= 'a' && name.data[0] <= 'z';
    for (size_t i = 0; i < name.len && ok; i++) {
        uint8_t c = name.data[i];
        ok = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    }
    return ok;
}

static bool add_array_filter(const struct element *e, struct update_compiler *compiler, struct array_filters *filters, struct error *err)
{
    struct array_filter *added = &filters->filters[filters->n];
    struct bytes name = { 0 };
    *added = (struct array_filter) { 0 };
    if (e->type != BSON_TYPE_DOCUMENT)
        return query_error(err, MONGO_TYPE_MISMATCH, "each array filter must be an object, found a %s", element_type_name(e->type));
    if (!update_compile_filter(compiler, e->value, &added->filter, err) || !find_identifier(e->value, &name, err))
        return query_wrap(err, "array filter %zu", filters->n);
    if (!name.data)
        return query_error(err, MONGO_FAILED_TO_PARSE, "cannot use an expression without a top-level field name in arrayFilters");
    int shown = utf8_fit((const char *)name.data, name.len, SHOWN);
    if (!is_identifier(name))
        return query_error(err, MONGO_BAD_VALUE,
                           "the top-level field name of an array filter must be an alphanumeric string beginning with a lowercase letter, "
                           "found '%.*s'",
                           shown, (const char *)name.data);
    for (size_t i = 0; i < filters->n; i++) {
        if (bytes_equal(name, bytes_of_string(filters->filters[i].name)))
            return query_error(err, MONGO_FAILED_TO_PARSE, "found multiple array filters with the same top-level field name '%.*s'", shown,
                               (const char *)name.data);
    }
    added->name = arena_strndup(compiler->arena, (const char *)name.data, name.len);
    if (!added->name)
        return error_out_of_memory(err);
    filters->n++;
    return true;
}

static bool compile_array_filters(struct bytes array, struct update_compiler *compiler, struct array_filters *filters, struct error *err)
{
    struct element_reader reader;
    struct element e;
    enum { MAX_ARRAY_FILTERS = 100 }; /* each is asked about each element */
    size_t n = array.data ? count_fields(array) : 0;
    if (n > MAX_ARRAY_FILTERS)
        return query_error(err, MONGO_BAD_VALUE, "more than %d array filters", MAX_ARRAY_FILTERS);
    filters->filters = arena_alloc(compiler->arena, n * sizeof *filters->filters);
    if (!filters->filters)
        return error_out_of_memory(err);
    if (n == 0)
        return true;
    element_reader_init(&reader, array);
    while (element_next(&reader, &e)) {
        if (!add_array_filter(&e, compiler, filters, err))
            return false;
    }
    return true;
}

bool update_spec_compile(struct bytes operators, struct bytes array_filters, struct update_compiler *compiler, struct update_spec *spec,
                         struct error *err)
{
    if (!compile_array_filters(array_filters, compiler, &spec->filters, err) || !compile_modifiers(operators, compiler, spec, err))
        return false;
    for (size_t i = 0; i < spec->filters.n; i++) {
        if (!spec->filters.filters[i].used)
            return query_error(err, MONGO_FAILED_TO_PARSE, "the array filter for identifier '%s' was not used in the update",
                               spec->filters.filters[i].name);
    }
    return choose_actions(compiler, spec, err);
}
