/* Documents. */
#include "branch-service/query/expression/internal.h"
#include "branch-service/query/name_index.h"

/* A field that is there keeps its place. names: those of the list, in its order. */
static bool set_field(struct run *run, struct list *list, struct name_index *names, const char *name, size_t len,
                      const struct element *value)
{
    size_t at;
    if (!name_index_find(names, name, len, &at))
        return (name_index_add(names, run->arena, name, len) || fail_memory(run)) && list_add_named(run, list, name, len, value);
    struct element *old = &list->items[at];
    const char *kept = old->name;
    *old = *value;
    old->name = kept;
    old->name_len = (uint32_t)len;
    return true;
}

static bool apply_merge_objects(struct run *run, const struct expression *e, const struct element *args, struct element *out)
{
    struct list list = { 0 };
    struct name_index names = { 0 };
    struct list objects = { .items = (struct element *)args, .n = e->n };
    struct element_reader reader;
    struct element field;
    if (e->n == 1 && args[0].type == BSON_TYPE_ARRAY && !list_of(run, &args[0], &objects)) /* then those in the array */
        return false;
    for (size_t i = 0; i < objects.n; i++) {
        const struct element *object = &objects.items[i];
        if (is_nullish(object))
            continue;
        if (object->type != BSON_TYPE_DOCUMENT)
            return fail(run, 40400, "$mergeObjects requires object inputs, but input is of type %s", element_type_name(object->type));
        element_reader_init(&reader, object->value);
        while (element_next(&reader, &field)) {
            if (!set_field(run, &list, &names, field.name, field.name_len, &field))
                return false;
        }
    }
    return make_document(run, &list, out);
}

enum { FIELD, INPUT, VALUE };

/* The name of a field is a constant string. */
static bool check_constant_name(struct compiler *c, const struct expression *node, int is_path, int not_constant, int no_string)
{
    const struct element *name = expression_constant(node->args[FIELD]);
    if (expression_is_path(node->args[FIELD]))
        return query_error(c->err, is_path, "%s: 'field' is a field path reference, which is not allowed; is {$literal: '$...'} meant?",
                           node->op->name);
    if (!name)
        return query_error(c->err, not_constant, "%s requires 'field' to evaluate to a constant, but got a non-constant argument",
                           node->op->name);
    return is_string(name) || query_error(c->err, no_string, "%s requires 'field' to evaluate to type String, but got %s", node->op->name,
                                          element_type_name(name->type));
}

/* {$getField: {field, input}}, or {$getField: name} of the current document. */
static bool compile_get_field(struct compiler *c, const struct element *spec, struct expression *node)
{
    static const uint8_t current[] = "\x0a\0\0\0$$CURRENT";
    struct element input = { .type = BSON_TYPE_UTF8, .name = "", .value = bytes_of(current, 4 + sizeof "$$CURRENT") };
    struct element_reader reader;
    struct element first;
    bool named = spec->type == BSON_TYPE_DOCUMENT;
    if (named) {
        element_reader_init(&reader, spec->value);
        named = !element_next(&reader, &first) || !element_name_is_operator(&first);
    }
    if (named) {
        if (!compile_fields(c, spec, node))
            return false;
    } else if (!compile_args_alloc(c, 2, node) || !(node->args[FIELD] = compile_operand(c, spec)) ||
               !(node->args[INPUT] = compile_operand(c, &input))) {
        return false;
    }
    return check_constant_name(c, node, 5654600, 5654601, 5654602);
}

static bool apply_get_field(struct run *run, const struct expression *e, const struct element *args, struct element *out)
{
    struct bytes name = element_string(&args[FIELD]);
    (void)e;
    (void)run;
    if (args[INPUT].type == BSON_TYPE_NULL || args[INPUT].type == BSON_TYPE_UNDEFINED)
        return make_null(out);
    if (args[INPUT].type != BSON_TYPE_DOCUMENT || !element_find(args[INPUT].value, (const char *)name.data, name.len, out))
        return make_missing(out);
    return true;
}

static bool compile_set_field(struct compiler *c, const struct element *spec, struct expression *node)
{
    if (!compile_fields(c, spec, node))
        return false;
    if (!node->args[INPUT]) /* misses last of all */
        return query_error(c->err, 4161109, "Missing 'input' parameter to %s", node->op->name);
    return check_constant_name(c, node, 4161108, 4161106, 4161107);
}

/* variant: it is $unsetField */
static bool apply_set_field(struct run *run, const struct expression *e, const struct element *args, struct element *out)
{
    struct list list;
    struct element missing, value = { 0 };
    struct bytes name = element_string(&args[FIELD]);
    if (is_nullish(&args[INPUT]))
        return make_null(out);
    if (args[INPUT].type != BSON_TYPE_DOCUMENT)
        return fail(run, 4161105, "%s requires 'input' to evaluate to type Object, found: %s", e->op->name,
                    element_type_name(args[INPUT].type));
    if (memchr(name.data, 0, name.len))
        return fail(run, 16411, "%s: a field's name has no NUL in it", e->op->name);
    make_missing(&missing);
    value = e->op->variant ? missing : args[VALUE];
    if (!list_of(run, &args[INPUT], &list))
        return false;
    size_t at = 0;
    while (at < list.n && !element_is_named(&list.items[at], (const char *)name.data, name.len))
        at++;
    if (at == list.n && !list_add(run, &list, &value))
        return false;
    list.items[at] = value;
    list.items[at].name = (const char *)name.data;
    list.items[at].name_len = (uint32_t)name.len;
    return make_document(run, &list, out);
}

/* ---- arrays of names and values ---- */

static bool apply_object_to_array(struct run *run, const struct expression *e, const struct element *args, struct element *out)
{
    struct list list = { 0 };
    struct element_reader reader;
    struct element field;
    (void)e;
    if (is_nullish(&args[0]))
        return make_null(out);
    if (args[0].type != BSON_TYPE_DOCUMENT)
        return fail(run, 40390, "$objectToArray requires a document input, found: %s", element_type_name(args[0].type));
    element_reader_init(&reader, args[0].value);
    while (element_next(&reader, &field)) {
        struct list pair = { 0 };
        struct element name, entry;
        if (!make_string(run, bytes_of(field.name, field.name_len), &name) || !list_add_named(run, &pair, "k", 1, &name) ||
            !list_add_named(run, &pair, "v", 1, &field) || !make_document(run, &pair, &entry) || !list_add(run, &list, &entry))
            return false;
    }
    return make_array(run, &list, out);
}

/* An element {k, v}. */
static bool read_object_pair(struct run *run, const struct element *entry, struct element *name, struct element *value)
{
    if (entry->type != BSON_TYPE_DOCUMENT)
        return fail(run, 40391, "$arrayToObject requires a consistent input format. Expected objects, found: %s",
                    element_type_name(entry->type));
    if (count_elements(entry) != 2)
        return fail(run, 40392, "$arrayToObject requires an object keys of 'k' and 'v'. Found incorrect number of keys: %zu",
                    count_elements(entry));
    if (!element_find(entry->value, "k", 1, name) || !element_find(entry->value, "v", 1, value))
        return fail(run, 40393, "$arrayToObject requires an object with keys 'k' and 'v'. Missing either or both keys");
    return is_string(name) || fail(run, 40394, "$arrayToObject requires 'k' to be a string, found: %s", element_type_name(name->type));
}

/* An element [name, value]. */
static bool read_array_pair(struct run *run, const struct element *entry, struct element *name, struct element *value)
{
    struct element_reader reader;
    if (entry->type != BSON_TYPE_ARRAY)
        return fail(run, 40396, "$arrayToObject requires a consistent input format. Expected arrays, found: %s",
                    element_type_name(entry->type));
    if (count_elements(entry) != 2)
        return fail(run, 40397, "$arrayToObject requires an array of size 2 arrays, found array of size: %zu", count_elements(entry));
    element_reader_init(&reader, entry->value);
    (void)(element_next(&reader, name) && element_next(&reader, value)); /* there are two */
    return is_string(name) ||
           fail(run, 40395, "$arrayToObject requires an array of key-value pairs, where the key must be of type string, found: %s",
                element_type_name(name->type));
}

static bool apply_array_to_object(struct run *run, const struct expression *e, const struct element *args, struct element *out)
{
    struct list list = { 0 };
    struct name_index names = { 0 };
    struct element_reader reader;
    struct element entry, name, value;
    bool objects = false;
    (void)e;
    if (is_nullish(&args[0]))
        return make_null(out);
    if (args[0].type != BSON_TYPE_ARRAY)
        return fail(run, 40386, "$arrayToObject requires an array input, found: %s", element_type_name(args[0].type));
    element_reader_init(&reader, args[0].value);
    for (size_t i = 0; element_next(&reader, &entry); i++) {
        if (i == 0) {
            objects = entry.type == BSON_TYPE_DOCUMENT;
            if (!objects && entry.type != BSON_TYPE_ARRAY)
                return fail(run, 40398, "Unrecognised input type format for $arrayToObject: %s", element_type_name(entry.type));
        }
        if (!(objects ? read_object_pair : read_array_pair)(run, &entry, &name, &value))
            return false;
        struct bytes text = element_string(&name);
        if (memchr(text.data, 0, text.len))
            return fail(run, objects ? 4940401 : 4940400, "Key field cannot contain an embedded null byte");
        if (!set_field(run, &list, &names, (const char *)text.data, text.len, &value))
            return false;
    }
    return make_document(run, &list, out);
}

static const struct expression_op ops[] = {
    { "$mergeObjects", 0, MANY, .apply = apply_merge_objects },
    { "$getField", .apply = apply_get_field, .compile = compile_get_field, .fields = "field!3041702 input!3041703",
      .unknown_field = 3041701 },
    { "$setField", .apply = apply_set_field, .compile = compile_set_field, .fields = "field!4161102 input value!4161103",
      .not_document = 4161100, .unknown_field = 4161101 },
    { "$unsetField", .apply = apply_set_field, .compile = compile_set_field, .fields = "field!4161102 input", .not_document = 4161100,
      .unknown_field = 4161101, .variant = true },
    { "$objectToArray", 1, 1, .apply = apply_object_to_array },
    { "$arrayToObject", 1, 1, .apply = apply_array_to_object },
};

const struct expression_ops ops_object = { ops, ARRAY_LEN(ops) };
