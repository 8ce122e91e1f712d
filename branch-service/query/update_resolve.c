#include "branch-service/query/update_resolve.h"

#include <stdio.h>

#include "branch-service/query/query_error.h"
#include "common/base/caller.h"
#include "common/bson/utf8.h"

bool update_is_positional(const struct path_component *c)
{
    return c->len == 1 && c->name[0] == '$';
}

static bool resolve_position(struct update_action *action, int64_t position, struct arena *arena, bool *moved, struct error *err)
{
    struct path *path = &action->path;
    size_t i = 0;
    while (i < path->n && !update_is_positional(&path->components[i]))
        i++;
    if (i == path->n)
        return true;
    if (position == NO_INDEX)
        return query_error(err, MONGO_BAD_VALUE, "update of '%.*s': the positional operator did not find the match needed from the query",
                           utf8_fit(path->text, strlen(path->text), 80), path->text);
    char text[24];
    snprintf(text, sizeof text, "%lld", (long long)position);
    struct path_component *components = arena_copy(arena, path->components, path->n * sizeof *components);
    char *name = arena_strdup(arena, text);
    if (!components || !name)
        return error_out_of_memory(err);
    path_component_init(&components[i], name, strlen(name));
    path->components = components;
    *moved = true;
    return true;
}

/* ---- $rename ------------------------------------------------------------------------------------------- */

static bool refuse_array(const char *which, const struct path *path, const struct element *array, struct error *err)
{
    return query_error(err, MONGO_BAD_VALUE, "the %s field of $rename cannot be an array element: '%.*s' has an array field called '%.*s'",
                       which, utf8_fit(path->text, strlen(path->text), 80), path->text, utf8_fit(array->name, array->name_len, 80),
                       array->name);
}

/* The element of an array by its place. */
static bool find_index(struct bytes array, int64_t index, struct element *found)
{
    struct element_reader reader;
    element_reader_init(&reader, array);
    for (int64_t i = 0; element_next(&reader, found); i++) {
        if (i == index)
            return true;
    }
    return false;
}

/* Walks as far as the document goes. *through: an array on the way, its name NULL when there is none. False: the
 * path cannot be (blocked is what is in the way). */
static bool walk(const struct path *path, struct bytes document, bool *found, struct element *at, struct element *through)
{
    *at = (struct element) { .type = BSON_TYPE_DOCUMENT, .value = document };
    *through = (struct element) { .name = NULL };
    for (size_t i = 0; i < path->n; i++) {
        const struct path_component *c = &path->components[i];
        struct element next;
        *found = false;
        if (at->type == BSON_TYPE_ARRAY) {
            if (c->index == NO_INDEX)
                return false;
            *through = *at;
            if (!find_index(at->value, c->index, &next))
                return true;
        } else if (at->type != BSON_TYPE_DOCUMENT) {
            return false;
        } else if (!element_find(at->value, c->name, c->len, &next)) {
            return true;
        }
        *at = next;
    }
    *found = true;
    return true;
}

/* *there = false: the source is not in the document, and nothing happens. */
static bool resolve_rename(struct update_action *action, struct bytes document, bool *there, struct error *err)
{
    const struct path *source = action->compiled;
    struct element value, at, through;
    bool found;
    if (!walk(source, document, there, &value, &through))
        return query_error(err, MONGO_PATH_NOT_VIABLE, "$rename cannot follow the path '%.*s' through an element of type %s",
                           utf8_fit(source->text, strlen(source->text), 80), source->text, element_type_name(value.type));
    if (!*there)
        return true;
    if (through.name)
        return refuse_array("source", source, &through, err);
    /* a target that cannot be is found out by the traversal */
    bool possible = walk(&action->path, document, &found, &at, &through);
    if (through.name)
        return refuse_array("destination", &action->path, &through, err);
    if (!possible && at.type == BSON_TYPE_ARRAY)
        return refuse_array("destination", &action->path, &at, err);
    action->argument.type = value.type;
    action->argument.value = value.value;
    return true;
}

bool update_actions_resolve(const struct update_action *actions, size_t n, struct bytes document, int64_t position, struct arena *arena,
                            struct update_action **resolved, size_t *n_resolved, struct error *err)
{
    struct update_action *copies = arena_alloc(arena, n * sizeof *copies);
    bool moved = false;
    size_t kept = 0;
    if (!copies)
        return error_out_of_memory(err);
    for (size_t i = 0; i < n; i++) {
        struct update_action *copy = &copies[kept];
        if (!caller_still_waits(actions[i].op == &update_rename_target ? caller_steps_of(2 * document.len) : 1, err))
            return false;
        bool there = true;
        *copy = actions[i];
        if (!resolve_position(copy, position, arena, &moved, err) ||
            (copy->op == &update_rename_target && !resolve_rename(copy, document, &there, err)))
            return false;
        kept += there;
    }
    *resolved = copies;
    *n_resolved = kept;
    return !moved || update_actions_sort(copies, kept, err);
}
