/* Applying projections. Kept fields stand in the document's order, computed ones that it does not have behind them in
 * the spec's. */
#include "branch-service/query/expression/internal.h"
#include "branch-service/query/projection_internal.h"
#include "common/base/caller.h"
#include "common/base/limits.h"

struct apply {
    const struct projection *projection;
    const struct evaluation *evaluation;
    struct run run; /* for making values */
};

static bool slice_value(struct apply *a, const struct projection_field *field, const struct element *value, struct element *out)
{
    struct list list;
    *out = *value;
    if (value->type != BSON_TYPE_ARRAY)
        return true;
    if (!list_of(&a->run, value, &list))
        return false;
    int64_t size = (int64_t)list.n, begin = 0, end = size;
    if (field->limit) {
        begin = field->skip >= 0 ? field->skip : size + field->skip;
        begin = begin < 0 ? 0 : begin;
        end = begin + field->limit;
    } else if (field->skip >= 0) {
        end = field->skip;
    } else {
        begin = size + field->skip;
    }
    struct list part = list_part(&list, begin, end);
    return make_array(&a->run, &part, out);
}

/* The first element that matches, in an array of its own. */
static bool match_element(struct apply *a, const struct projection_field *field, struct element *out)
{
    struct element array, item;
    struct element_reader reader;
    struct bytes document = a->evaluation->document;
    struct list list = { 0 };
    int64_t index;
    bool matches;
    make_missing(out);
    if (!element_find(document, field->name, field->len, &array) || array.type != BSON_TYPE_ARRAY)
        return true;
    if (!filter_matches(field->elements, document, &matches, a->run.err))
        return false;
    if (!matches || !filter_match_position(field->elements, document, &index))
        return true;
    element_reader_init(&reader, array.value);
    while (element_next(&reader, &item) && index > 0)
        index--;
    return list_add(&a->run, &list, &item) && make_array(&a->run, &list, out);
}

/* Where the document has a field that the projection names. */
enum { NOT_THERE, DROPPED, PLACES }; /* else PLACES and its place in the list */

/* At its place, or behind all. */
static bool put_field(struct apply *a, struct list *list, size_t place, const struct projection_field *field, const struct element *value)
{
    if (place < PLACES)
        return list_add_named(&a->run, list, field->name, field->len, value);
    struct element *named = &list->items[place - PLACES];
    *named = *value;
    named->name = field->name;
    named->name_len = field->len;
    return true;
}

static bool apply_value(struct apply *a, const struct projection_node *node, const struct element *value, struct element *out);

/* Depth: of the projection, and of the document within arrays. */
static bool apply_document(struct apply *a, const struct projection_node *node, const struct element *document, struct element *out)
{
    struct element_reader reader;
    struct element e, value;
    struct list list = { 0 };
    size_t few[FEW_NAMES], *places = few, n = node_size(node), i;
    if (node->computes && n > FEW_NAMES && !(places = run_alloc(&a->run, n * sizeof *places)))
        return false;
    for (i = 0; node->computes && i < n; i++)
        places[i] = NOT_THERE;
    element_reader_init(&reader, document->value);
    while (element_next(&reader, &e)) {
        const struct projection_field *field = name_index_find(&node->names, e.name, e.name_len, &i) ? node->fields[i] : NULL;
        bool keep = field ? field->action == FIELD_INCLUDE : !a->projection->inclusion;
        value = e;
        if (field && field->action == FIELD_SLICE) {
            if (!slice_value(a, field, &e, &value))
                return false;
            keep = true;
        } else if (field && field->action == FIELD_CHILD) {
            if (!apply_value(a, field->child, &e, &value))
                return false;
            keep = !value_is_missing(&value);
        } else if (field && (field->action == FIELD_COMPUTE || field->action == FIELD_ELEM_MATCH)) {
            keep = !a->projection->inclusion; /* to be replaced where it stands */
        }
        if (field && node->computes && places[i] < PLACES) /* the first that stays */
            places[i] = keep ? PLACES + list.n : DROPPED;
        if (keep && !list_add_named(&a->run, &list, e.name, e.name_len, &value))
            return false;
        if (!caller_still_waits(1, a->run.err))
            return false;
    }
    for (i = 0; node->computes && i < n; i++) {
        const struct projection_field *f = node->fields[i];
        struct element nothing;
        if (f->action == FIELD_COMPUTE) {
            if (!expression_evaluate(f->expression, a->evaluation, &value, a->run.err))
                return false;
        } else if (f->action == FIELD_ELEM_MATCH) {
            if (!match_element(a, f, &value))
                return false;
        } else if (f->action == FIELD_CHILD && f->child->computes && places[i] == NOT_THERE) {
            if (!make_missing(&nothing) || !apply_value(a, f->child, &nothing, &value))
                return false;
        } else {
            continue;
        }
        if (!put_field(a, &list, places[i], f, &value))
            return false;
    }
    return make_document(&a->run, &list, out);
}

static bool apply_array(struct apply *a, const struct projection_node *node, const struct element *array, struct element *out)
{
    struct element_reader reader;
    struct element e, value;
    struct list list = { 0 };
    element_reader_init(&reader, array->value);
    while (element_next(&reader, &e)) {
        if (!apply_value(a, node, &e, &value) || (!value_is_missing(&value) && !list_add(&a->run, &list, &value)))
            return false;
    }
    return make_array(&a->run, &list, out);
}

/* What is no document has no fields to keep; computed ones make it one. */
static bool apply_value(struct apply *a, const struct projection_node *node, const struct element *value, struct element *out)
{
    static const uint8_t nothing[] = { 5, 0, 0, 0, 0 };
    struct element empty = { .type = BSON_TYPE_DOCUMENT, .name = "", .value = bytes_of(nothing, sizeof nothing) };
    if (value->type == BSON_TYPE_DOCUMENT)
        return apply_document(a, node, value, out);
    if (value->type == BSON_TYPE_ARRAY)
        return apply_array(a, node, value, out);
    if (node->computes)
        return apply_document(a, node, &empty, out);
    *out = *value;
    return !a->projection->inclusion || make_missing(out);
}

/* The first array on the path becomes one of its element that the filter matched. */
static bool apply_positional(struct apply *a, const struct filter *filter, size_t depth, const struct element *value, struct element *out)
{
    const struct path *path = &a->projection->positional;
    struct element_reader reader;
    struct element e;
    struct list list = { 0 };
    *out = *value;
    if (value->type == BSON_TYPE_ARRAY) {
        int64_t index;
        if (!filter || !filter_match_position(filter, a->evaluation->document, &index))
            return fail(&a->run, 51246, "positional operator '.$' couldn't find a matching element in the array");
        element_reader_init(&reader, value->value);
        do {
            if (!element_next(&reader, &e))
                return fail(&a->run, 51247, "positional operator '.$' element mismatch");
        } while (index-- > 0);
        return list_add(&a->run, &list, &e) && make_array(&a->run, &list, out);
    }
    if (value->type != BSON_TYPE_DOCUMENT || depth == path->n)
        return true;
    element_reader_init(&reader, value->value);
    while (element_next(&reader, &e)) {
        struct element kept = e;
        if (element_is_named(&e, path->components[depth].name, path->components[depth].len) &&
            !apply_positional(a, filter, depth + 1, &e, &kept))
            return false;
        if (!list_add_named(&a->run, &list, e.name, e.name_len, &kept))
            return false;
    }
    return make_document(&a->run, &list, out);
}

bool projection_is_positional(const struct projection *projection)
{
    return projection->has_positional;
}

static bool node_is_random(const struct projection_node *node)
{
    bool random = false;
    for (size_t i = 0; i < node_size(node) && !random; i++) {
        const struct projection_field *f = node->fields[i];
        random = f->action == FIELD_CHILD ? node_is_random(f->child) : f->action == FIELD_COMPUTE && expression_is_random(f->expression);
    }
    return random;
}

bool projection_is_random(const struct projection *projection)
{
    return node_is_random(&projection->root);
}

bool projection_apply(const struct projection *projection, const struct evaluation *evaluation, const struct filter *filter,
                      struct bytes *result, struct error *err)
{
    struct apply a = {
        .projection = projection,
        .evaluation = evaluation,
        .run = { .arena = evaluation->arena, .err = err },
    };
    struct element document = { .type = BSON_TYPE_DOCUMENT, .name = "", .value = evaluation->document }, out;
    if (!apply_document(&a, &projection->root, &document, &out))
        return false;
    if (projection->has_positional) {
        struct element chosen;
        if (!apply_positional(&a, filter, 0, &out, &chosen))
            return false;
        out = chosen;
    }
    if (out.value.len > MAX_DOCUMENT_BYTES)
        return query_error(err, MONGO_BSON_OBJECT_TOO_LARGE, "a projection makes a document of %zu bytes", out.value.len);
    *result = out.value;
    return true;
}
