#include "branch-service/query/filter.h"

#include <stdlib.h>

#include "branch-service/query/filter_ops.h"
#include "branch-service/query/path.h"
#include "common/base/memory.h"
#include "common/bson/key_encoding.h"
#include "common/bson/utf8.h"

/* One operator on one path. */
struct predicate {
    const struct filter_op *op;
    struct path path;
    struct element operand; /* in the filter's copy of the spec */
    struct predicate *next;
};

struct filter {
    struct arena arena;
    struct predicate *predicates; /* all of them have to match; in the order of the spec */
    struct predicate **last;
    struct buffer single_id; /* empty: any _id */
};

/* {$ref: ..., $id: ...} is a value, although it begins with a dollar. */
static bool is_dbref(struct bytes document)
{
    struct element field;
    return element_find(document, "$ref", 4, &field) && element_find(document, "$id", 3, &field);
}

static bool is_operator_document(const struct element *value)
{
    struct element_reader reader;
    struct element first;
    if (value->type != BSON_TYPE_DOCUMENT)
        return false;
    element_reader_init(&reader, value->value);
    return element_next(&reader, &first) && element_name_is_operator(&first) && !is_dbref(value->value);
}

static bool add_predicate(struct filter *filter, const struct element *field, const struct filter_op *op, const struct element *operand,
                          struct error *err)
{
    struct predicate *predicate = arena_alloc(&filter->arena, sizeof *predicate);
    if (!predicate)
        return error_set(err, ERROR_RESOURCE_EXHAUSTED, "no memory for a filter");
    *predicate = (struct predicate) { .op = op, .operand = *operand };
    if (!op->check(operand, err))
        return error_wrap(err, "filter on '%.*s'", utf8_fit(field->name, field->name_len, 80), field->name);
    if (!path_parse(field->name, field->name_len, &filter->arena, &predicate->path, err))
        return false;
    *filter->last = predicate;
    filter->last = &predicate->next;
    return true;
}

/* What looks like a field beside operators is an operator that does not exist. */
static bool refuse_operator(const struct element *op, struct error *err)
{
    int shown = utf8_fit(op->name, op->name_len, 80);
    if (element_name_is_operator(op))
        return error_set(err, ERROR_INVALID_ARGUMENT, "the filter operator '%.*s' is not supported", shown, op->name);
    return error_set(err, ERROR_INVALID_ARGUMENT, "unknown operator '%.*s': a field among operators", shown, op->name);
}

static bool add_field(struct filter *filter, const struct element *field, struct error *err)
{
    if (element_name_is_operator(field))
        return refuse_operator(field, err);
    if (field->type == BSON_TYPE_REGEX)
        return error_set(err, ERROR_INVALID_ARGUMENT, "filter on '%.*s': regular expressions are not supported yet",
                         utf8_fit(field->name, field->name_len, 80), field->name);
    if (!is_operator_document(field))
        return add_predicate(filter, field, filter_op_find("$eq", 3), field, err);
    struct element_reader reader;
    struct element e;
    element_reader_init(&reader, field->value);
    while (element_next(&reader, &e)) {
        const struct filter_op *op = filter_op_find(e.name, e.name_len);
        if (!op)
            return refuse_operator(&e, err);
        if (!add_predicate(filter, field, op, &e, err))
            return false;
    }
    return true;
}

/* An _id that no document can have (an array, one that is too long) narrows nothing down: matching finds that
 * out. null does: a stored document always has an _id, so that none matches it by lacking one. */
static bool find_single_id(struct filter *filter, struct error *err)
{
    for (const struct predicate *p = filter->predicates; p && filter->single_id.len == 0; p = p->next) {
        struct error reason;
        if (p->op->is_equality && strcmp(p->path.text, "_id") == 0 && !key_encode_element(&p->operand, &filter->single_id, &reason) &&
            reason.code != ERROR_INVALID_ARGUMENT) {
            *err = reason;
            return false;
        }
    }
    return true;
}

bool filter_compile(struct bytes spec, struct filter **out, struct error *err)
{
    struct filter *filter = mem_zalloc(sizeof *filter);
    arena_init(&filter->arena, 0);
    filter->last = &filter->predicates;
    if (spec.len > 0) {
        const uint8_t *copy = arena_copy(&filter->arena, spec.data, spec.len);
        if (!copy) {
            error_set(err, ERROR_RESOURCE_EXHAUSTED, "no memory for a filter of %zu bytes", spec.len);
            goto failed;
        }
        struct element_reader reader;
        struct element field;
        element_reader_init(&reader, bytes_of(copy, spec.len));
        while (element_next(&reader, &field)) {
            if (!add_field(filter, &field, err))
                goto failed;
        }
    }
    if (!find_single_id(filter, err))
        goto failed;
    *out = filter;
    return true;
failed:
    filter_free(filter);
    return false;
}

void filter_free(struct filter *filter)
{
    if (!filter)
        return;
    arena_destroy(&filter->arena);
    buffer_destroy(&filter->single_id);
    free(filter);
}

static bool visit_value(const struct element *value, void *ctx)
{
    const struct predicate *predicate = ctx;
    return predicate->op->matches(value, &predicate->operand);
}

bool filter_matches(const struct filter *filter, struct bytes document)
{
    for (struct predicate *p = filter->predicates; p; p = p->next) {
        if (!path_visit(&p->path, document, visit_value, p))
            return false;
    }
    return true;
}

bool filter_single_id(const struct filter *filter, struct bytes *key)
{
    if (filter->single_id.len == 0)
        return false;
    *key = buffer_bytes(&filter->single_id);
    return true;
}
