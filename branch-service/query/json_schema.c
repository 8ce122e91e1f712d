#include "branch-service/query/json_schema.h"

#include "branch-service/query/any_order.h"
#include "branch-service/query/filter_regex.h"
#include "branch-service/query/query_error.h"
#include "common/base/caller.h"
#include "common/bson/number.h"
#include "common/bson/utf8.h"

struct compiler {
    struct arena *arena;
    struct regex **regexes;
    struct error *err;
};

static bool refuse(struct compiler *c, int code, const struct element *e, const char *what)
{
    return query_error(c->err, code, "$jsonSchema keyword '%.*s' %s", utf8_fit(e->name, e->name_len, 60), e->name, what);
}

static bool no_memory(struct compiler *c)
{
    return error_out_of_memory(c->err);
}

/* Recursion descends a level of the spec: bounded by MAX_NESTING. */
static bool compile_schema(struct compiler *c, struct bytes spec, const struct schema **out);

static bool read_schema(struct compiler *c, const struct element *e, const struct element *keyword, const struct schema **out)
{
    if (e->type != BSON_TYPE_DOCUMENT)
        return refuse(c, MONGO_TYPE_MISMATCH, keyword, e == keyword ? "must be an object" : "must hold objects");
    return compile_schema(c, e->value, out);
}

/* --- Of every type --- */

static type_set type_by_json_name(struct bytes name)
{
    static const struct {
        const char *name;
        type_set types;
    } names[] = {
        { "array", 1 << BSON_TYPE_ARRAY }, { "boolean", 1 << BSON_TYPE_BOOL },    { "null", 1 << BSON_TYPE_NULL },
        { "number", NUMBER_TYPES },        { "object", 1 << BSON_TYPE_DOCUMENT }, { "string", 1 << BSON_TYPE_UTF8 },
    };
    for (size_t i = 0; i < ARRAY_LEN(names); i++) {
        if (bytes_equal(name, bytes_of_string(names[i].name)))
            return names[i].types;
    }
    return 0;
}

static bool add_type(struct compiler *c, struct schema *s, const struct element *keyword, const struct element *e, bool bson)
{
    if (e->type != BSON_TYPE_UTF8)
        return refuse(c, MONGO_TYPE_MISMATCH, keyword, "must be a string or an array of strings");
    struct bytes name = element_string(e);
    type_set types = bson ? type_by_alias(name) : type_by_json_name(name);
    if (!types && !bson && bytes_equal(name, bytes_of_string("integer")))
        return refuse(c, MONGO_FAILED_TO_PARSE, keyword, "'integer' is not supported: use bsonType 'int' or 'long'");
    if (!types)
        return query_error(c->err, MONGO_BAD_VALUE, "$jsonSchema: unknown type name alias '%.*s'",
                           utf8_fit((const char *)name.data, name.len, 60), (const char *)name.data);
    s->types |= types;
    return true;
}

static bool read_types(struct compiler *c, struct schema *s, const struct element *e, bool bson)
{
    struct element_reader reader;
    struct element type;
    if (s->types)
        return refuse(c, MONGO_FAILED_TO_PARSE, e, "cannot stand beside another one for types");
    if (e->type != BSON_TYPE_ARRAY)
        return add_type(c, s, e, e, bson);
    bool unique;
    if (!all_different(e->value, &unique, c->err))
        return false;
    if (!unique)
        return refuse(c, MONGO_FAILED_TO_PARSE, e, "has a duplicate value");
    element_reader_init(&reader, e->value);
    while (element_next(&reader, &type)) {
        if (!add_type(c, s, e, &type, bson))
            return false;
    }
    return s->types || refuse(c, MONGO_FAILED_TO_PARSE, e, "must name at least one type");
}

static bool read_type(struct compiler *c, struct schema *s, const struct element *e)
{
    return read_types(c, s, e, false);
}

static bool read_bson_type(struct compiler *c, struct schema *s, const struct element *e)
{
    return read_types(c, s, e, true);
}

static bool read_enum(struct compiler *c, struct schema *s, const struct element *e)
{
    if (e->type != BSON_TYPE_ARRAY)
        return refuse(c, MONGO_TYPE_MISMATCH, e, "must be an array");
    bool unique;
    if (!all_different(e->value, &unique, c->err))
        return false;
    if (e->value.len == 5)
        return refuse(c, MONGO_FAILED_TO_PARSE, e, "cannot be an empty array");
    if (!unique)
        return refuse(c, MONGO_FAILED_TO_PARSE, e, "has duplicate values");
    s->enumeration = *e;
    return true;
}

static bool read_schemas(struct compiler *c, const struct element *e, struct schema_list *list)
{
    struct element_reader reader;
    struct element inner;
    size_t n = 0;
    if (e->type != BSON_TYPE_ARRAY)
        return refuse(c, MONGO_TYPE_MISMATCH, e, "must be an array");
    element_reader_init(&reader, e->value);
    while (element_next(&reader, &inner))
        n++;
    list->schemas = arena_alloc(c->arena, n * sizeof *list->schemas);
    if (!list->schemas)
        return no_memory(c);
    element_reader_init(&reader, e->value);
    while (element_next(&reader, &inner)) {
        if (!read_schema(c, &inner, e, &list->schemas[list->n++]))
            return false;
    }
    return true;
}

static bool read_alternatives(struct compiler *c, const struct element *e, struct schema_list *list)
{
    return read_schemas(c, e, list) && (list->n > 0 || refuse(c, MONGO_FAILED_TO_PARSE, e, "must be a non-empty array"));
}

static bool read_all_of(struct compiler *c, struct schema *s, const struct element *e)
{
    return read_alternatives(c, e, &s->all_of);
}

static bool read_any_of(struct compiler *c, struct schema *s, const struct element *e)
{
    return read_alternatives(c, e, &s->any_of);
}

static bool read_one_of(struct compiler *c, struct schema *s, const struct element *e)
{
    return read_alternatives(c, e, &s->one_of);
}

static bool read_not(struct compiler *c, struct schema *s, const struct element *e)
{
    return read_schema(c, e, e, &s->not_this);
}

static bool read_text(struct compiler *c, struct schema *s, const struct element *e)
{
    (void)s;
    return e->type == BSON_TYPE_UTF8 || refuse(c, MONGO_TYPE_MISMATCH, e, "must be a string");
}

static bool read_bool(struct compiler *c, const struct element *e, bool *value)
{
    if (e->type != BSON_TYPE_BOOL)
        return refuse(c, MONGO_TYPE_MISMATCH, e, "must be a boolean");
    *value = *e->value.data != 0;
    return true;
}

static bool read_count(struct compiler *c, const struct element *e, int64_t *count)
{
    bool exact;
    if (!element_is_number(e) || !number_truncate(e, count, &exact) || !exact || *count < 0)
        return refuse(c, MONGO_FAILED_TO_PARSE, e, "must be a whole number that is not negative");
    return true;
}

/* --- Of numbers --- */

static bool read_number(struct compiler *c, const struct element *e, struct element *number)
{
    *number = *e;
    return element_is_number(e) || refuse(c, MONGO_TYPE_MISMATCH, e, "must be a number");
}

static bool read_minimum(struct compiler *c, struct schema *s, const struct element *e)
{
    return read_number(c, e, &s->minimum);
}

static bool read_maximum(struct compiler *c, struct schema *s, const struct element *e)
{
    return read_number(c, e, &s->maximum);
}

static bool read_exclusive_minimum(struct compiler *c, struct schema *s, const struct element *e)
{
    s->has_exclusive_minimum = true;
    return read_bool(c, e, &s->exclusive_minimum);
}

static bool read_exclusive_maximum(struct compiler *c, struct schema *s, const struct element *e)
{
    s->has_exclusive_maximum = true;
    return read_bool(c, e, &s->exclusive_maximum);
}

static bool read_multiple_of(struct compiler *c, struct schema *s, const struct element *e)
{
    struct element number;
    if (!read_number(c, e, &number))
        return false;
    s->multiple_of = decimal_of_number(&number);
    s->has_multiple_of = true;
    if (s->multiple_of.class == DECIMAL128_NAN)
        return refuse(c, MONGO_BAD_VALUE, e, "cannot be NaN");
    if (s->multiple_of.negative || (s->multiple_of.class == DECIMAL128_FINITE && s->multiple_of.coefficient == 0))
        return refuse(c, MONGO_FAILED_TO_PARSE, e, "must have a positive value");
    return s->multiple_of.class == DECIMAL128_FINITE || refuse(c, MONGO_BAD_VALUE, e, "cannot be infinite");
}

/* --- Of strings --- */

static bool read_min_length(struct compiler *c, struct schema *s, const struct element *e)
{
    return read_count(c, e, &s->min_length);
}

static bool read_max_length(struct compiler *c, struct schema *s, const struct element *e)
{
    return read_count(c, e, &s->max_length);
}

static bool read_pattern(struct compiler *c, struct schema *s, const struct element *e)
{
    return read_text(c, s, e) && (regex_compile(c->arena, element_string(e), bytes_of("", 0), c->regexes, &s->pattern, c->err) ||
                                  query_wrap(c->err, "$jsonSchema keyword 'pattern'"));
}

/* --- Of arrays --- */

static bool read_min_items(struct compiler *c, struct schema *s, const struct element *e)
{
    return read_count(c, e, &s->min_items);
}

static bool read_max_items(struct compiler *c, struct schema *s, const struct element *e)
{
    return read_count(c, e, &s->max_items);
}

static bool read_unique_items(struct compiler *c, struct schema *s, const struct element *e)
{
    return read_bool(c, e, &s->unique_items);
}

static bool read_items(struct compiler *c, struct schema *s, const struct element *e)
{
    s->has_items_list = e->type == BSON_TYPE_ARRAY;
    if (s->has_items_list)
        return read_schemas(c, e, &s->items_list);
    if (e->type != BSON_TYPE_DOCUMENT)
        return refuse(c, MONGO_TYPE_MISMATCH, e, "must be an array or an object");
    return read_schema(c, e, e, &s->items);
}

static bool read_rest(struct compiler *c, const struct element *e, struct schema_rest *rest)
{
    if (e->type == BSON_TYPE_BOOL) {
        rest->forbidden = *e->value.data == 0;
        return true;
    }
    if (e->type != BSON_TYPE_DOCUMENT)
        return refuse(c, MONGO_TYPE_MISMATCH, e, "must be an object or a boolean");
    return read_schema(c, e, e, &rest->schema);
}

static bool read_additional_items(struct compiler *c, struct schema *s, const struct element *e)
{
    return read_rest(c, e, &s->more_items);
}

/* --- Of objects --- */

static bool read_min_properties(struct compiler *c, struct schema *s, const struct element *e)
{
    return read_count(c, e, &s->min_properties);
}

static bool read_max_properties(struct compiler *c, struct schema *s, const struct element *e)
{
    return read_count(c, e, &s->max_properties);
}

/* Names, each once. */
static bool read_names(struct compiler *c, const struct element *array, const struct element *keyword, struct schema_name_list *list)
{
    struct element_reader reader;
    struct element e;
    size_t n = 0;
    bool unique;
    if (array->type != BSON_TYPE_ARRAY)
        return refuse(c, MONGO_TYPE_MISMATCH, keyword, array == keyword ? "must be an array" : "must hold objects or arrays");
    element_reader_init(&reader, array->value);
    for (; element_next(&reader, &e); n++) {
        if (e.type != BSON_TYPE_UTF8)
            return refuse(c, MONGO_TYPE_MISMATCH, keyword, "must name fields by strings");
    }
    if (n == 0)
        return refuse(c, MONGO_FAILED_TO_PARSE, keyword, "cannot have an empty array of names");
    list->names = arena_alloc(c->arena, n * sizeof *list->names);
    if (!list->names)
        return no_memory(c);
    if (!all_different(array->value, &unique, c->err))
        return false;
    if (!unique)
        return refuse(c, MONGO_FAILED_TO_PARSE, keyword, "has a duplicate name");
    element_reader_init(&reader, array->value);
    while (element_next(&reader, &e))
        list->names[list->n++] = element_string(&e);
    return true;
}

static bool read_required(struct compiler *c, struct schema *s, const struct element *e)
{
    return read_names(c, e, e, &s->required);
}

/* One for each field of the keyword's object, in their order. */
static bool read_properties_of(struct compiler *c, const struct element *keyword, struct schema_property **first,
                               bool (*read)(struct compiler *c, const struct element *e, const struct element *keyword,
                                            struct schema_property *property))
{
    struct element_reader reader;
    struct element e;
    if (keyword->type != BSON_TYPE_DOCUMENT)
        return refuse(c, MONGO_TYPE_MISMATCH, keyword, "must be an object");
    element_reader_init(&reader, keyword->value);
    while (element_next(&reader, &e)) {
        struct schema_property *property = arena_zalloc(c->arena, sizeof *property);
        if (!property)
            return no_memory(c);
        property->name = bytes_of(e.name, e.name_len);
        if (!read(c, &e, keyword, property))
            return false;
        *first = property;
        first = &property->next;
    }
    return true;
}

static bool read_property(struct compiler *c, const struct element *e, const struct element *keyword, struct schema_property *property)
{
    return read_schema(c, e, keyword, &property->schema);
}

static bool read_pattern_property(struct compiler *c, const struct element *e, const struct element *keyword,
                                  struct schema_property *property)
{
    if (!read_schema(c, e, keyword, &property->schema))
        return false;
    if (regex_compile(c->arena, property->name, bytes_of("", 0), c->regexes, &property->pattern, c->err))
        return true;
    if (query_error_code(c->err) == REGEX_INVALID)
        return query_error(c->err, MONGO_BAD_VALUE, "$jsonSchema keyword 'patternProperties': '%.*s' is no regular expression",
                           utf8_fit(e->name, e->name_len, 60), e->name);
    return query_wrap(c->err, "$jsonSchema keyword 'patternProperties'");
}

static bool read_dependency(struct compiler *c, const struct element *e, const struct element *keyword, struct schema_property *property)
{
    return e->type == BSON_TYPE_DOCUMENT ? read_schema(c, e, keyword, &property->schema) : read_names(c, e, keyword, &property->names);
}

static bool read_properties(struct compiler *c, struct schema *s, const struct element *e)
{
    return read_properties_of(c, e, &s->properties, read_property);
}

static bool read_pattern_properties(struct compiler *c, struct schema *s, const struct element *e)
{
    return read_properties_of(c, e, &s->pattern_properties, read_pattern_property);
}

static bool read_dependencies(struct compiler *c, struct schema *s, const struct element *e)
{
    return read_properties_of(c, e, &s->dependencies, read_dependency);
}

static bool read_additional_properties(struct compiler *c, struct schema *s, const struct element *e)
{
    return read_rest(c, e, &s->more_properties);
}

static bool read_unsupported(struct compiler *c, struct schema *s, const struct element *e)
{
    (void)s;
    return refuse(c, MONGO_FAILED_TO_PARSE, e, "is not supported");
}

static const struct keyword {
    const char *name;
    bool (*read)(struct compiler *c, struct schema *s, const struct element *e);
} keywords[] = {
    { "type", read_type },
    { "bsonType", read_bson_type },
    { "enum", read_enum },
    { "allOf", read_all_of },
    { "anyOf", read_any_of },
    { "oneOf", read_one_of },
    { "not", read_not },
    { "title", read_text },
    { "description", read_text },
    { "minimum", read_minimum },
    { "maximum", read_maximum },
    { "exclusiveMinimum", read_exclusive_minimum },
    { "exclusiveMaximum", read_exclusive_maximum },
    { "multipleOf", read_multiple_of },
    { "minLength", read_min_length },
    { "maxLength", read_max_length },
    { "pattern", read_pattern },
    { "items", read_items },
    { "additionalItems", read_additional_items },
    { "minItems", read_min_items },
    { "maxItems", read_max_items },
    { "uniqueItems", read_unique_items },
    { "properties", read_properties },
    { "patternProperties", read_pattern_properties },
    { "additionalProperties", read_additional_properties },
    { "required", read_required },
    { "dependencies", read_dependencies },
    { "minProperties", read_min_properties },
    { "maxProperties", read_max_properties },
    /* MongoDB has none of these either, or needs keys for them */
    { "$ref", read_unsupported },
    { "$schema", read_unsupported },
    { "default", read_unsupported },
    { "definitions", read_unsupported },
    { "format", read_unsupported },
    { "id", read_unsupported },
    { "encrypt", read_unsupported },
    { "encryptMetadata", read_unsupported },
};

static const struct keyword *find_keyword(const struct element *e)
{
    for (size_t i = 0; i < ARRAY_LEN(keywords); i++) {
        if (element_is_named(e, keywords[i].name, strlen(keywords[i].name)))
            return &keywords[i];
    }
    return NULL;
}

static bool compile_schema(struct compiler *c, struct bytes spec, const struct schema **out)
{
    struct element_reader reader;
    struct element e;
    if (!caller_still_waits(1, c->err))
        return false;
    struct schema *s = arena_zalloc(c->arena, sizeof *s);
    if (!s)
        return no_memory(c);
    s->min_length = s->max_length = s->min_items = s->max_items = s->min_properties = s->max_properties = NO_LIMIT;
    element_reader_init(&reader, spec);
    while (element_next(&reader, &e)) {
        const struct keyword *keyword = find_keyword(&e);
        if (!keyword)
            return query_error(c->err, MONGO_FAILED_TO_PARSE, "unknown $jsonSchema keyword '%.*s'", utf8_fit(e.name, e.name_len, 60),
                               e.name);
        if (!keyword->read(c, s, &e))
            return false;
    }
    if (s->has_exclusive_minimum && !s->minimum.name)
        return query_error(c->err, MONGO_FAILED_TO_PARSE, "$jsonSchema keyword 'minimum' must be there beside 'exclusiveMinimum'");
    if (s->has_exclusive_maximum && !s->maximum.name)
        return query_error(c->err, MONGO_FAILED_TO_PARSE, "$jsonSchema keyword 'maximum' must be there beside 'exclusiveMaximum'");
    *out = s;
    return true;
}

bool schema_compile(struct arena *arena, const struct element *operand, struct regex **regexes, const struct schema **schema,
                    struct error *err)
{
    struct compiler c = { .arena = arena, .regexes = regexes, .err = err };
    if (operand->type != BSON_TYPE_DOCUMENT)
        return query_error(err, MONGO_TYPE_MISMATCH, "$jsonSchema must be an object");
    return compile_schema(&c, operand->value, schema);
}
