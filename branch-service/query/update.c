#include "branch-service/query/update.h"

#include <stdlib.h>

#include "branch-service/query/document.h"
#include "branch-service/query/update_tree.h"
#include "common/base/memory.h"
#include "common/bson/bson_check.h"
#include "common/bson/utf8.h"
#include "common/bson/value_compare.h"

struct update {
    struct arena arena;
    enum update_kind kind;
    struct bytes spec; /* our copy */

    /* UPDATE_OPERATORS, in path order */
    struct update_action *actions;
    size_t n_actions;
    bool can_nest; /* an argument has fields inside, so that a result can be too deep */

    /* UPDATE_REPLACEMENT */
    struct element id; /* name NULL: the old document's _id is kept */
};

/* Is a component a placeholder for array elements: "$", "$[]", "$[name]"? */
static bool is_positional(const struct path_component *c)
{
    return (c->len == 1 && c->name[0] == '$') || (c->len >= 3 && c->name[0] == '$' && c->name[1] == '[' && c->name[c->len - 1] == ']');
}

static bool check_path(const struct path *path, const struct update_op *op, struct error *err)
{
    int shown = utf8_fit(path->text, strlen(path->text), 80);
    if (path->n == 1 && path->components[0].len == 0)
        return error_set(err, ERROR_INVALID_ARGUMENT, "an empty update path is not valid");
    for (size_t i = 0; i < path->n; i++) {
        const struct path_component *component = &path->components[i];
        if (component->len == 0)
            return error_set(err, ERROR_INVALID_ARGUMENT, "the update path '%.*s' contains an empty field name, which is not allowed",
                             shown, path->text);
        if (is_positional(component))
            return error_set(err, ERROR_INVALID_ARGUMENT, "the positional operator '%.*s' in the path '%.*s' is not supported",
                             utf8_fit(component->name, component->len, 80), component->name, shown, path->text);
    }
    /* deeper ones may be stored; and what cannot be there can be taken away */
    if (op->missing == UPDATE_CREATES && path->text[0] == '$')
        return error_set(err, ERROR_INVALID_ARGUMENT, "the dollar ($) prefixed field '%.*s' in '%.*s' is not valid for storage",
                         utf8_fit(path->components[0].name, path->components[0].len, 80), path->components[0].name, shown, path->text);
    return true;
}

static bool add_action(struct update *update, const struct update_op *op, const struct element *argument, struct error *err)
{
    struct update_action *action = &update->actions[update->n_actions];
    *action = (struct update_action) { .op = op, .argument = *argument };
    if (!path_parse(argument->name, argument->name_len, &update->arena, &action->path, err) || !check_path(&action->path, op, err))
        return false;
    if (!op->check(argument, err))
        return error_wrap(err, "%s of '%.*s'", op->name, utf8_fit(argument->name, argument->name_len, 80), argument->name);
    if (argument->type == BSON_TYPE_DOCUMENT || argument->type == BSON_TYPE_ARRAY || argument->type == BSON_TYPE_CODEWSCOPE)
        update->can_nest = true;
    update->n_actions++;
    return true;
}

static bool check_modifier(const struct element *modifier, struct error *err)
{
    int shown = utf8_fit(modifier->name, modifier->name_len, 80);
    if (!element_name_is_operator(modifier))
        return error_set(err, ERROR_INVALID_ARGUMENT,
                         "unknown modifier: '%.*s'. The update operation document must contain atomic operators only", shown,
                         modifier->name);
    if (!update_op_find(modifier->name, modifier->name_len))
        return error_set(err, ERROR_INVALID_ARGUMENT, "the update operator '%.*s' is not supported", shown, modifier->name);
    if (modifier->type != BSON_TYPE_DOCUMENT)
        return error_set(err, ERROR_INVALID_ARGUMENT, "modifiers operate on fields, but %.*s has a value of type %s", shown, modifier->name,
                         element_type_name(modifier->type));
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

static bool compile_operators(struct update *update, struct error *err)
{
    struct element_reader modifiers;
    struct element modifier;
    size_t n = 0;
    element_reader_init(&modifiers, update->spec);
    while (element_next(&modifiers, &modifier)) {
        if (!check_modifier(&modifier, err))
            return false;
        n += count_fields(modifier.value);
    }
    update->actions = arena_alloc(&update->arena, n * sizeof *update->actions);
    if (!update->actions)
        return error_set(err, ERROR_RESOURCE_EXHAUSTED, "no memory for an update of %zu paths", n);
    element_reader_init(&modifiers, update->spec);
    while (element_next(&modifiers, &modifier)) {
        const struct update_op *op = update_op_find(modifier.name, modifier.name_len);
        struct element_reader arguments;
        struct element argument;
        element_reader_init(&arguments, modifier.value);
        while (element_next(&arguments, &argument)) {
            if (!add_action(update, op, &argument, err))
                return false;
        }
    }
    return update_actions_sort(update->actions, update->n_actions, err);
}

bool update_compile(struct bytes spec, struct update **out, struct error *err)
{
    struct update *update = mem_zalloc(sizeof *update);
    struct element_reader reader;
    struct element first;
    arena_init(&update->arena, 0);
    const uint8_t *copy = arena_copy(&update->arena, spec.data, spec.len);
    if (!copy) {
        error_set(err, ERROR_RESOURCE_EXHAUSTED, "no memory for an update of %zu bytes", spec.len);
        goto failed;
    }
    update->spec = bytes_of(copy, spec.len);
    /* as in MongoDB the first field decides */
    element_reader_init(&reader, update->spec);
    update->kind = element_next(&reader, &first) && element_name_is_operator(&first) ? UPDATE_OPERATORS : UPDATE_REPLACEMENT;
    if (update->kind == UPDATE_OPERATORS ? !compile_operators(update, err) : !document_check_storable(update->spec, &update->id, err))
        goto failed;
    *out = update;
    return true;
failed:
    update_free(update);
    return false;
}

void update_free(struct update *update)
{
    if (!update)
        return;
    arena_destroy(&update->arena);
    free(update);
}

enum update_kind update_kind(const struct update *update)
{
    return update->kind;
}

/* Operators may write an _id only if nothing comes of it. */
static bool check_id_is_kept(struct bytes before, struct bytes after, struct error *err)
{
    struct element old, new;
    if (!element_find(before, "_id", 3, &old))
        return true;
    if (element_find(after, "_id", 3, &new) && bytes_equal(element_bytes(&old), element_bytes(&new)))
        return true;
    return error_set(err, ERROR_INVALID_ARGUMENT, "the update would modify the immutable field '_id'");
}

static bool write_replacement(const struct update *update, struct bytes document, struct builder *out, struct error *err)
{
    struct element old;
    bool has_old = element_find(document, "_id", 3, &old);
    const struct element *id = update->id.name ? &update->id : has_old ? &old : NULL;
    if (has_old && value_compare_elements(&old, id) != 0)
        return error_set(err, ERROR_INVALID_ARGUMENT,
                         "after applying the update, the immutable field '_id' was found to have been altered");
    document_write(out, id, update->spec);
    return true;
}

bool update_apply(const struct update *update, struct bytes document, bson_t *out, bool *changed, struct error *err)
{
    struct builder builder;
    struct bytes result;
    bool ok = false;
    builder_init(&builder);
    if (update->kind == UPDATE_OPERATORS ? !update_actions_apply(update->actions, update->n_actions, document, &builder, err)
                                         : !write_replacement(update, document, &builder, err))
        goto out;
    if (!builder_finish(&builder, &result, err))
        goto out;
    bool differs = !bytes_equal(result, document);
    if (differs) {
        if (update->kind == UPDATE_OPERATORS && !check_id_is_kept(document, result, err))
            goto out;
        if (update->can_nest && !bson_check(result, err)) {
            error_wrap(err, "the updated document");
            goto out;
        }
        if (!bson_copy_bytes(result, out, err))
            goto out;
    }
    *changed = differs;
    ok = true;
out:
    builder_destroy(&builder);
    return ok;
}
