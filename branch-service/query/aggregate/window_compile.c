#include "branch-service/query/aggregate/window.h"

#include <math.h>

#include "branch-service/query/expression/internal.h"
#include "common/bson/builder.h"
#include "common/bson/utf8.h"

/* What there is of window functions besides these is refused by name. */
static const struct {
    const char *name;
    enum window_function function;
} functions[] = {
    { "$rank", WINDOW_RANK }, { "$denseRank", WINDOW_DENSE_RANK }, { "$documentNumber", WINDOW_NUMBER }, { "$shift", WINDOW_SHIFT },
    { "$locf", WINDOW_LOCF },
};

static bool is_one_of(const struct element *name, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (element_is_named(name, names[i], strlen(names[i])))
            return true;
    }
    return false;
}

/* Evaluated when it is compiled. */
static bool read_constant(struct pipeline *pipeline, const struct element *spec, const char *what, struct element *out, struct error *err)
{
    struct compiler compiler = { .arena = &pipeline->arena, .scope = pipeline->scope, .err = err };
    struct run run = { .arena = &pipeline->arena, .err = err };
    const struct expression *expression = compile_operand(&compiler, spec);
    if (!expression)
        return false;
    if (expression_reads(expression))
        return query_error(err, MONGO_FAILED_TO_PARSE, "%s must be constant", what);
    return evaluate(&run, expression, out);
}

/* ---- bounds ---- */

static bool is_text(const struct element *e, const char *text)
{
    return e->type == BSON_TYPE_UTF8 && bytes_equal(element_string(e), bytes_of_string(text));
}

static bool is_unit(const struct element *e)
{
    static const char *const units[] = { "year", "quarter", "month", "week", "day", "hour", "minute", "second", "millisecond" };
    for (size_t i = 0; i < ARRAY_LEN(units); i++) {
        if (is_text(e, units[i]))
            return true;
    }
    return false;
}

/* {$add: ["$key", offset]}, or {$dateAdd: {startDate: "$key", unit, amount: offset}} */
static bool compile_range_end(struct pipeline *pipeline, struct bytes key, const struct element *unit, const struct element *offset,
                              const struct expression **out, struct error *err)
{
    struct builder builder;
    struct element field, whole;
    struct buffer name = { 0 };
    struct bytes document;
    struct run run = { .arena = &pipeline->arena, .err = err };
    buffer_append(&name, "$", 1);
    buffer_append(&name, key.data, key.len);
    bool ok = !name.failed && make_string(&run, buffer_bytes(&name), &field);
    buffer_destroy(&name);
    if (!ok)
        return false;
    builder_init(&builder);
    if (unit->type) {
        builder_name(&builder, "$dateAdd", 8);
        builder_begin(&builder, BSON_TYPE_DOCUMENT);
        builder_name(&builder, "startDate", 9);
        builder_value(&builder, field.type, field.value);
        builder_name(&builder, "unit", 4);
        builder_value(&builder, unit->type, unit->value);
        builder_name(&builder, "amount", 6);
        builder_value(&builder, offset->type, offset->value);
    } else {
        builder_name(&builder, "$add", 4);
        builder_begin(&builder, BSON_TYPE_ARRAY);
        builder_index(&builder, 0);
        builder_value(&builder, field.type, field.value);
        builder_index(&builder, 1);
        builder_value(&builder, offset->type, offset->value);
    }
    builder_end(&builder);
    ok = builder_finish(&builder, &document, err);
    const uint8_t *copy = ok ? arena_copy(&pipeline->arena, document.data, document.len) : NULL;
    builder_destroy(&builder);
    if (!copy)
        return ok ? error_out_of_memory(err) : false;
    whole = (struct element) { .type = BSON_TYPE_DOCUMENT, .name = "", .value = bytes_of(copy, document.len) };
    return expression_compile(&whole, NULL, &pipeline->arena, out, err);
}

/* order: where the bound is, for comparing it with the other one. */
static bool read_bound(struct pipeline *pipeline, const struct windows_spec *spec, const struct window *window, const struct element *unit,
                       const struct element *e, struct window_bound *bound, double *order, struct error *err)
{
    struct element offset;
    *order = 0;
    if (is_text(e, "unbounded"))
        return true;
    bound->kind = is_text(e, "current") ? BOUND_CURRENT : BOUND_OFFSET;
    if (bound->kind == BOUND_CURRENT)
        return true;
    if (!read_constant(pipeline, e, "a bound of a window", &offset, err))
        return false;
    if (!element_is_number(&offset))
        return query_error(err, MONGO_FAILED_TO_PARSE, "a bound of a window must be 'unbounded', 'current' or a number");
    *order = double_of(&offset);
    if (window->by_range && !unit->type)
        return compile_range_end(pipeline, spec->sort_field, unit, &offset, &bound->value, err);
    if (!exact_int64(&offset, &bound->documents) || bound->documents > INT32_MAX || bound->documents < INT32_MIN)
        return query_error(err, MONGO_FAILED_TO_PARSE, "a bound of a window of documents or time must be an integer");
    return !window->by_range || compile_range_end(pipeline, spec->sort_field, unit, &offset, &bound->value, err);
}

static bool read_bounds(struct pipeline *pipeline, const struct windows_spec *spec, const struct element *e, const struct element *unit,
                        struct window *window, struct error *err)
{
    struct element_reader reader;
    struct element lower, upper;
    double from, to;
    if (e->type != BSON_TYPE_ARRAY || count_elements(e) != 2)
        return query_error(err, MONGO_FAILED_TO_PARSE, "Window bounds must be a 2-element array");
    element_reader_init(&reader, e->value);
    if (!element_next(&reader, &lower) || !element_next(&reader, &upper))
        return false;
    if (window->by_range && (!spec->sort || !spec->sort_field.len || !spec->ascending))
        return query_error(err, 5339902, "Range-based bounds require sortBy a single field, ascending");
    if (!read_bound(pipeline, spec, window, unit, &lower, &window->lower, &from, err) ||
        !read_bound(pipeline, spec, window, unit, &upper, &window->upper, &to, err))
        return false;
    bool bounded = window->lower.kind != BOUND_NONE || window->upper.kind != BOUND_NONE;
    if (!window->by_range && bounded && !spec->sort)
        return query_error(err, 5339901, "Document-based bounds require a sortBy");
    if (window->lower.kind != BOUND_NONE && window->upper.kind != BOUND_NONE && from > to)
        return query_error(err, 5339900, "Lower bound must not exceed upper bound");
    return true;
}

static bool read_window(struct pipeline *pipeline, const struct windows_spec *spec, const struct element *e, struct window *window,
                        struct error *err)
{
    struct element_reader reader;
    struct element option, bounds = { 0 }, unit = { 0 };
    if (e->type != BSON_TYPE_DOCUMENT)
        return query_error(err, MONGO_FAILED_TO_PARSE, "'window' field must be an object");
    element_reader_init(&reader, e->value);
    while (element_next(&reader, &option)) {
        bool documents = element_is_named(&option, "documents", 9), range = element_is_named(&option, "range", 5);
        if ((documents || range) && !bounds.type) {
            bounds = option;
            window->by_range = range;
        } else if (element_is_named(&option, "unit", 4)) {
            unit = option;
        } else {
            return query_error(err, MONGO_FAILED_TO_PARSE, "'window' has either 'documents' or 'range', with a 'unit': '%.*s'",
                               utf8_fit(option.name, option.name_len, 80), option.name);
        }
    }
    if (unit.type && !window->by_range)
        return query_error(err, MONGO_FAILED_TO_PARSE, "a 'unit' is that of a 'range'");
    if (unit.type && !is_unit(&unit))
        return query_error(err, MONGO_FAILED_TO_PARSE, "'unit' must be one of time, from 'year' to 'millisecond'");
    window->has_unit = unit.type != 0;
    return !bounds.type || read_bounds(pipeline, spec, &bounds, &unit, window, err);
}

/* ---- functions ---- */

static bool read_shift(struct pipeline *pipeline, const struct element *spec, struct window_output *output, struct error *err)
{
    enum { OUTPUT, BY, DEFAULT };
    static const struct expression_op fields = {
        .name = "$shift", .fields = "output!9 by!9 default", .not_document = MONGO_FAILED_TO_PARSE, .unknown_field = MONGO_FAILED_TO_PARSE
    };
    struct compiler compiler = { .arena = &pipeline->arena, .scope = pipeline->scope, .err = err };
    struct element found[3];
    if (!find_fields(&compiler, &fields, spec, found))
        return false;
    if (!exact_int32(&found[BY], &output->by))
        return query_error(err, MONGO_FAILED_TO_PARSE, "'$shift:by' field must be an integer");
    output->input = compile_operand(&compiler, &found[OUTPUT]);
    if (!output->input || !found[DEFAULT].type)
        return output->input != NULL;
    output->otherwise = compile_operand(&compiler, &found[DEFAULT]);
    if (!output->otherwise)
        return false;
    return !(expression_reads(output->otherwise) & READS_DOCUMENT) ||
           query_error(err, MONGO_FAILED_TO_PARSE, "'$shift:default' expression must yield a constant value");
}

static bool read_function(struct pipeline *pipeline, const struct windows_spec *spec, const struct element *e, const struct element *window,
                          struct window_output *output, struct error *err)
{
    bool ranks = output->function == WINDOW_RANK || output->function == WINDOW_DENSE_RANK || output->function == WINDOW_NUMBER;
    if (window->type)
        return query_error(err, ranks ? 5371601 : MONGO_FAILED_TO_PARSE, "%s does not accept a 'window' field", e->name);
    if (ranks && (!spec->sort || !spec->sort_field.len))
        return query_error(err, 5371602, "%s must be specified with a top level sortBy expression with exactly one element", e->name);
    if (ranks)
        return (e->type == BSON_TYPE_DOCUMENT && count_elements(e) == 0) ||
               query_error(err, 5371603, "%s takes no arguments, i.e. %s:{}", e->name, e->name);
    if (output->function == WINDOW_SHIFT)
        return spec->sort ? read_shift(pipeline, e, output, err) : query_error(err, MONGO_FAILED_TO_PARSE, "'$shift' requires a sortBy");
    return expression_compile(e, pipeline->scope, &pipeline->arena, &output->input, err);
}

/* {path: {$function: argument, window: bounds}} */
static bool read_output(struct pipeline *pipeline, const struct windows_spec *spec, const struct element *field,
                        struct window_output *output, struct error *err)
{
    static const char *const refused[] = {
        "$linearFill", "$expMovingAvg", "$derivative", "$integral", "$covariancePop", "$covarianceSamp"
    };
    static const char *const no_windows[] = { "$mergeObjects", "$accumulator" };
    struct element_reader reader;
    struct element e, function = { 0 }, window = { 0 };
    if (field->type != BSON_TYPE_DOCUMENT)
        return query_error(err, MONGO_FAILED_TO_PARSE, "The field '%.*s' must be an object", utf8_fit(field->name, field->name_len, 80),
                           field->name);
    element_reader_init(&reader, field->value);
    while (element_next(&reader, &e)) {
        if (element_is_named(&e, "window", 6))
            window = e;
        else if (!element_name_is_operator(&e) || function.type)
            return query_error(err, MONGO_FAILED_TO_PARSE, "Expected a $-prefixed window function, '%.*s'",
                               utf8_fit(e.name, e.name_len, 80), e.name);
        else
            function = e;
    }
    if (!function.type)
        return query_error(err, MONGO_FAILED_TO_PARSE, "Expected a $-prefixed window function");
    for (size_t i = 0; i < ARRAY_LEN(functions); i++) {
        if (element_is_named(&function, functions[i].name, strlen(functions[i].name))) {
            output->function = functions[i].function;
            return read_function(pipeline, spec, &function, &window, output, err);
        }
    }
    if (is_one_of(&function, refused, ARRAY_LEN(refused)))
        return query_error(err, MONGO_COMMAND_NOT_SUPPORTED, "the window function %s is not supported", function.name);
    if (is_one_of(&function, no_windows, ARRAY_LEN(no_windows)) || !is_accumulator(&function))
        return query_error(err, MONGO_FAILED_TO_PARSE, "Unrecognized window function, %.*s", utf8_fit(function.name, function.name_len, 80),
                           function.name);
    if (!compile_accumulator_op(pipeline, &function, "", &output->accumulator, err))
        return false;
    if (expression_reads(output->accumulator->n) & READS_DOCUMENT)
        return query_error(err, MONGO_FAILED_TO_PARSE, "%s: 'n' must be constant in a window", function.name);
    return !window.type || read_window(pipeline, spec, &window, &output->window, err);
}

static bool paths_conflict(const struct path *a, const struct path *b)
{
    size_t n = a->n < b->n ? a->n : b->n;
    for (size_t i = 0; i < n; i++) {
        if (!bytes_equal(bytes_of(a->components[i].name, a->components[i].len), bytes_of(b->components[i].name, b->components[i].len)))
            return false;
    }
    return true;
}

static bool read_outputs(struct pipeline *pipeline, const struct element *e, struct windows_spec *spec, struct error *err)
{
    struct element_reader reader;
    struct element field;
    spec->outputs = spec_alloc(pipeline, (count_elements(e) + 1) * sizeof *spec->outputs, err);
    if (!spec->outputs)
        return false;
    element_reader_init(&reader, e->value);
    while (element_next(&reader, &field)) {
        struct window_output *output = &spec->outputs[spec->n_outputs++];
        if (!field_path_parse(field.name, field.name_len, &pipeline->arena, &output->path, err))
            return false;
        for (size_t i = 0; i + 1 < spec->n_outputs; i++) {
            if (paths_conflict(&spec->outputs[i].path, &output->path))
                return query_error(err, 6307900, "specification contains two conflicting paths: '%s' and '%s'", spec->outputs[i].path.text,
                                   output->path.text);
        }
        if (!read_output(pipeline, spec, &field, output, err))
            return false;
    }
    return true;
}

static bool read_sort(const struct element *e, struct windows_spec *spec, struct error *err)
{
    struct element_reader reader;
    struct element key;
    if (e->type != BSON_TYPE_DOCUMENT)
        return query_error(err, MONGO_TYPE_MISMATCH, "the 'sortBy' must be an object, not %s", element_type_name(e->type));
    if (count_elements(e) == 0)
        return true;
    if (!sort_compile(e->value, &spec->sort, err))
        return false;
    spec->ascending = sort_key_direction(spec->sort, 0) > 0;
    element_reader_init(&reader, e->value);
    if (sort_key_count(spec->sort) == 1 && element_next(&reader, &key))
        spec->sort_field = bytes_of(key.name, key.name_len);
    return true;
}

bool compile_windows(struct pipeline *pipeline, const struct element *e, struct stage *stage, struct error *err)
{
    enum { PARTITION, SORT, OUTPUT };
    static const struct expression_op fields = { .name = "$setWindowFields",
                                                 .fields = "partitionBy sortBy output!40414",
                                                 .not_document = MONGO_FAILED_TO_PARSE,
                                                 .unknown_field = 40415 };
    struct compiler compiler = { .arena = &pipeline->arena, .scope = pipeline->scope, .err = err };
    struct windows_spec *spec = spec_alloc(pipeline, sizeof *spec, err);
    struct element found[3];
    if (!spec)
        return false;
    stage->spec = spec;
    if (!find_fields(&compiler, &fields, e, found))
        return false;
    if (found[SORT].type && !read_sort(&found[SORT], spec, err))
        return false;
    if (found[OUTPUT].type != BSON_TYPE_DOCUMENT)
        return query_error(err, MONGO_TYPE_MISMATCH, "the 'output' must be an object, not %s", element_type_name(found[OUTPUT].type));
    if (found[PARTITION].type && !(spec->partition = compile_operand(&compiler, &found[PARTITION])))
        return false;
    return read_outputs(pipeline, &found[OUTPUT], spec, err);
}

void destroy_windows(struct stage *stage)
{
    struct windows_spec *spec = stage->spec;
    for (size_t i = 0; i < spec->n_outputs; i++)
        destroy_accumulators(spec->outputs[i].accumulator);
    sort_free(spec->sort);
}
