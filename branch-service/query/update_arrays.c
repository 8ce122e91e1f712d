/* The operators on whole arrays but $push: $addToSet, $pop, $pull, $pullAll.
 *
 * Elements that stay in front of the first change are copied as they stand; those behind it get new names. An
 * array that stays as it is keeps its bytes.
 */
#include <stdlib.h>

#include "branch-service/query/filter.h"
#include "branch-service/query/query_error.h"
#include "branch-service/query/update_ops.h"
#include "common/base/memory.h"
#include "common/bson/value_compare.h"

static bool refuse_other_types(const char *op, const struct element *old, int code, struct error *err)
{
    return query_error(err, code, "%s needs an array, but the field is of type %s", op, element_type_name(old->type));
}

/* ---- sets of values ------------------------------------------------------------------------------------ */

/* Different values, in the order in which they first came, and sorted: so that a long set and a long array take
 * no more than a sort does. */
struct value_set {
    size_t n;
    struct element *values;
    uint32_t *sorted;
};

static int compare_ranks(const void *x, const void *y, void *ctx)
{
    const struct element *values = ctx;
    uint32_t a = *(const uint32_t *)x, b = *(const uint32_t *)y;
    int order = value_compare_elements(&values[a], &values[b]);
    return order ? order : (a > b) - (a < b);
}

/* The n values of `all`, some of which may be equal, in the set's memory. */
static void make_different(struct value_set *set, uint32_t *place)
{
    qsort_r(set->sorted, set->n, sizeof *set->sorted, compare_ranks, set->values);
    for (size_t i = 0; i < set->n; i++)
        place[i] = 1;
    for (size_t i = 1; i < set->n; i++) {
        if (value_compare_elements(&set->values[set->sorted[i - 1]], &set->values[set->sorted[i]]) == 0)
            place[set->sorted[i]] = 0;
    }
    size_t n_sorted = 0, n = 0;
    for (size_t i = 0; i < set->n; i++) {
        if (place[set->sorted[i]])
            set->sorted[n_sorted++] = set->sorted[i];
    }
    for (size_t i = 0; i < set->n; i++) {
        if (!place[i])
            continue;
        set->values[n] = set->values[i];
        place[i] = (uint32_t)n++;
    }
    for (size_t i = 0; i < n; i++)
        set->sorted[i] = place[set->sorted[i]];
    set->n = n;
}

/* Of the elements of an array, or (array false) of one value. */
static const struct value_set *compile_set(struct arena *arena, const struct element *from, bool array, struct error *err)
{
    struct element_reader reader;
    struct element e;
    size_t n = 0;
    if (array) {
        element_reader_init(&reader, from->value);
        while (element_next(&reader, &e))
            n++;
    } else {
        n = 1;
    }
    struct value_set *set = arena_alloc(arena, sizeof *set);
    struct element *values = arena_alloc(arena, n * sizeof *values);
    uint32_t *sorted = arena_alloc(arena, n * sizeof *sorted), *place = arena_alloc(arena, n * sizeof *place);
    if (!set || !values || !sorted || !place) {
        error_out_of_memory(err);
        return NULL;
    }
    *set = (struct value_set) { .n = n, .values = values, .sorted = sorted };
    element_reader_init(&reader, array ? from->value : bytes_of(NULL, 0));
    for (size_t i = 0; i < n; i++) {
        sorted[i] = (uint32_t)i;
        if (!array)
            values[i] = *from;
        else if (!element_next(&reader, &values[i]))
            break;
    }
    make_different(set, place);
    return set;
}

/* False: it is not in the set. */
static bool find_value(const struct value_set *set, const struct element *value, uint32_t *place)
{
    size_t low = 0, high = set->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = value_compare_elements(&set->values[set->sorted[middle]], value);
        if (order == 0) {
            *place = set->sorted[middle];
            return true;
        }
        if (order < 0)
            low = middle + 1;
        else
            high = middle;
    }
    return false;
}

/* ---- $addToSet ----------------------------------------------------------------------------------------- */

bool update_add_to_set_compile(struct update_compiler *compiler, struct update_action *action, struct error *err)
{
    struct element_reader reader;
    struct element each, more;
    bool has_each = false;
    if (action->argument.type == BSON_TYPE_DOCUMENT) {
        element_reader_init(&reader, action->argument.value);
        has_each = element_next(&reader, &each) && element_is_named(&each, "$each", 5);
        if (has_each && each.type != BSON_TYPE_ARRAY)
            return query_error(err, MONGO_TYPE_MISMATCH, "the argument to $each in $addToSet must be an array but it was of type %s",
                               element_type_name(each.type));
        if (has_each && element_next(&reader, &more))
            return query_error(err, MONGO_BAD_VALUE, "found unexpected fields after $each in $addToSet");
    }
    action->compiled = compile_set(compiler->arena, has_each ? &each : &action->argument, has_each, err);
    return action->compiled != NULL;
}

static void append(struct builder *out, size_t index, const struct element *value)
{
    builder_index(out, (uint32_t)index);
    builder_value(out, value->type, value->value);
}

/* What an array holds, without the length in front and the NUL behind. */
static struct bytes contents(const struct element *array)
{
    return bytes_of(array->value.data + 4, array->value.len - 5);
}

bool update_add_to_set_apply(const struct update_action *action, struct update_slot *slot, struct error *err)
{
    const struct value_set *set = action->compiled;
    const struct element *old = slot->old;
    size_t length = 0, n_present = 0;
    if (old && old->type != BSON_TYPE_ARRAY)
        return refuse_other_types("$addToSet", old, MONGO_BAD_VALUE, err);
    uint8_t few[64], *present = set->n <= sizeof few ? few : mem_try_alloc(set->n);
    if (!present)
        return error_out_of_memory(err);
    memset(present, 0, set->n);
    if (old) {
        struct element_reader reader;
        struct element e;
        uint32_t place;
        element_reader_init(&reader, old->value);
        for (; element_next(&reader, &e); length++) {
            if (n_present < set->n && find_value(set, &e, &place) && !present[place]) {
                present[place] = 1;
                n_present++;
            }
        }
    }
    if (old && n_present == set->n) {
        update_slot_keep(slot);
    } else {
        update_slot_begin_array(slot);
        if (old)
            builder_raw(slot->out, contents(old).data, contents(old).len);
        for (size_t i = 0; i < set->n; i++) {
            if (!present[i])
                append(slot->out, length++, &set->values[i]);
        }
        builder_end(slot->out);
    }
    if (present != few)
        free(present);
    return true;
}

/* ---- taking away --------------------------------------------------------------------------------------- */

/* Goes through an array from which elements are taken away. */
struct culling {
    struct update_slot *slot;
    struct element_reader reader;
    size_t kept;
    bool changed;
};

static void culling_begin(struct culling *culling, struct update_slot *slot)
{
    *culling = (struct culling) { .slot = slot };
    element_reader_init(&culling->reader, slot->old->value);
}

/* For every element in turn. */
static void culling_decide(struct culling *culling, const struct element *e, bool removed)
{
    if (removed && !culling->changed) {
        struct bytes all = contents(culling->slot->old);
        update_slot_begin_array(culling->slot);
        builder_raw(culling->slot->out, all.data, (size_t)(element_bytes(e).data - all.data));
        culling->changed = true;
    } else if (!removed && culling->changed) {
        append(culling->slot->out, culling->kept, e);
    }
    culling->kept += !removed;
}

static void culling_end(struct culling *culling)
{
    if (culling->changed)
        builder_end(culling->slot->out);
    else
        update_slot_keep(culling->slot);
}

/* 1 takes away the last, -1 the first. */
static const char last = 1, first = -1;

bool update_pop_compile(struct update_compiler *compiler, struct update_action *action, struct error *err)
{
    (void)compiler;
    int64_t end;
    if (!update_whole_number(&action->argument, &end))
        return query_error(err, MONGO_FAILED_TO_PARSE, "$pop expects 1 or -1, not a %s", element_type_name(action->argument.type));
    if (end != 1 && end != -1)
        return query_error(err, MONGO_FAILED_TO_PARSE, "$pop expects 1 or -1, found: %lld", (long long)end);
    action->compiled = end == 1 ? &last : &first;
    return true;
}

bool update_pop_apply(const struct update_action *action, struct update_slot *slot, struct error *err)
{
    struct culling culling;
    struct element e;
    if (slot->old->type != BSON_TYPE_ARRAY)
        return refuse_other_types("$pop", slot->old, MONGO_TYPE_MISMATCH, err);
    culling_begin(&culling, slot);
    for (bool is_first = true; element_next(&culling.reader, &e); is_first = false) {
        bool is_last = culling.reader.at == culling.reader.end;
        culling_decide(&culling, &e, action->compiled == &last ? is_last : is_first);
    }
    culling_end(&culling);
    return true;
}

bool update_pull_all_compile(struct update_compiler *compiler, struct update_action *action, struct error *err)
{
    if (action->argument.type != BSON_TYPE_ARRAY)
        return query_error(err, MONGO_BAD_VALUE, "$pullAll requires an array but was given a %s", element_type_name(action->argument.type));
    action->compiled = compile_set(compiler->arena, &action->argument, true, err);
    return action->compiled != NULL;
}

bool update_pull_all_apply(const struct update_action *action, struct update_slot *slot, struct error *err)
{
    struct culling culling;
    struct element e;
    uint32_t place;
    if (slot->old->type != BSON_TYPE_ARRAY)
        return refuse_other_types("$pullAll", slot->old, MONGO_BAD_VALUE, err);
    culling_begin(&culling, slot);
    while (element_next(&culling.reader, &e))
        culling_decide(&culling, &e, find_value(action->compiled, &e, &place));
    culling_end(&culling);
    return true;
}

/* ---- $pull --------------------------------------------------------------------------------------------- */

struct pull {
    enum {
        PULL_EQUAL,     /* the argument itself */
        PULL_DOCUMENTS, /* {b: 1}: documents that a filter matches */
        PULL_VALUES,    /* {$gt: 1}, a regular expression: what a filter on a value matches */
    } by;
    const struct filter *filter;
};

static const char value_name[] = "value"; /* of what PULL_VALUES is asked about */

/* Operators that stand in a filter for themselves and not on a path. */
static bool is_for_documents(const struct element *e)
{
    static const char *const names[] = { "$and",  "$or",         "$nor",     "$not",        "$expr",       "$where",
                                         "$text", "$jsonSchema", "$comment", "$alwaysTrue", "$alwaysFalse" };
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (element_is_named(e, names[i], strlen(names[i])))
            return true;
    }
    return !element_name_is_operator(e) || element_is_named(e, "$ref", 4) || element_is_named(e, "$id", 3) || element_is_named(e, "$db", 3);
}

bool update_pull_compile(struct update_compiler *compiler, struct update_action *action, struct error *err)
{
    const struct element *condition = &action->argument;
    struct pull *pull = arena_zalloc(compiler->arena, sizeof *pull);
    struct element_reader reader;
    struct element start;
    if (!pull)
        return error_out_of_memory(err);
    action->compiled = pull;
    if (condition->type != BSON_TYPE_DOCUMENT && condition->type != BSON_TYPE_REGEX)
        return true; /* PULL_EQUAL */
    element_reader_init(&reader, condition->value);
    if (condition->type == BSON_TYPE_DOCUMENT && (!element_next(&reader, &start) || is_for_documents(&start))) {
        pull->by = PULL_DOCUMENTS;
        return update_compile_filter(compiler, condition->value, &pull->filter, err);
    }
    struct builder builder;
    struct bytes spec;
    pull->by = PULL_VALUES;
    builder_init(&builder);
    builder_name(&builder, value_name, strlen(value_name));
    builder_value(&builder, condition->type, condition->value);
    bool ok = builder_finish(&builder, &spec, err) && update_compile_filter(compiler, spec, &pull->filter, err);
    builder_destroy(&builder);
    return ok;
}

bool update_pull_apply(const struct update_action *action, struct update_slot *slot, struct error *err)
{
    const struct pull *pull = action->compiled;
    struct culling culling;
    struct buffer scratch = { 0 };
    struct element e;
    bool ok = true;
    if (slot->old->type != BSON_TYPE_ARRAY)
        return refuse_other_types("$pull", slot->old, MONGO_BAD_VALUE, err);
    culling_begin(&culling, slot);
    while (ok && element_next(&culling.reader, &e)) {
        bool removed = false;
        if (pull->by == PULL_EQUAL)
            removed = value_compare_elements(&e, &action->argument) == 0;
        else if (pull->by == PULL_VALUES)
            ok = update_matches_value(pull->filter, value_name, &e, &scratch, &removed, err);
        else if (e.type == BSON_TYPE_DOCUMENT)
            ok = filter_matches(pull->filter, e.value, &removed, err);
        if (ok)
            culling_decide(&culling, &e, removed);
    }
    if (ok)
        culling_end(&culling);
    buffer_destroy(&scratch);
    return ok;
}
