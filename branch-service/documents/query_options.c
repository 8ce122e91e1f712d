#include "branch-service/documents/query_options.h"

#include "branch-service/query/query_error.h"
#include "common/base/clock.h"
#include "common/bson/bson_check.h"
#include "common/bson/utf8.h"

static bool check_collation(struct bytes collation, struct error *err)
{
    struct element_reader reader;
    struct element e;
    if (collation.len == 0)
        return true;
    if (!bson_check(collation, err))
        return error_wrap(err, "collation");
    element_reader_init(&reader, collation);
    while (element_next(&reader, &e)) {
        if (!element_is_named(&e, "locale", 6))
            return query_error(err, MONGO_COMMAND_NOT_SUPPORTED, "collation '%.*s' is not supported, only {\"locale\": \"simple\"} is",
                               utf8_fit(e.name, e.name_len, 80), e.name);
        if (e.type != BSON_TYPE_UTF8)
            return query_error(err, MONGO_TYPE_MISMATCH, "collation: locale is of type %s, not string", element_type_name(e.type));
        struct bytes locale = element_string(&e);
        if (!bytes_equal(locale, bytes_of_string("simple")))
            return query_error(err, MONGO_COMMAND_NOT_SUPPORTED, "collation with locale '%.*s' is not supported, only 'simple' is",
                               utf8_fit((const char *)locale.data, locale.len, 80), locale.data);
    }
    return true;
}

bool query_options_check(const struct query_options *options, struct error *err)
{
    if (options->hint && options->hint[0] && options->hint_keys.len)
        return query_error(err, MONGO_BAD_VALUE, "hint and hint_keys are both set");
    if (options->hint_keys.len && !bson_check(options->hint_keys, err))
        return error_wrap(err, "hint_keys");
    if (options->let.len && !bson_check(options->let, err))
        return error_wrap(err, "let");
    return check_collation(options->collation, err);
}

bool query_context_init(struct query_context *context, const struct query_options *options, struct error *err)
{
    struct query_context made = { .now = clock_wall_micros() / 1000 };
    if (!query_options_check(options, err))
        return false;
    arena_init_metered(&made.arena, EXPRESSION_MAX_MEMORY);
    if (options->let.len && !expression_let(options->let, NULL, made.now, &made.arena, &made.variables, err)) {
        arena_destroy(&made.arena);
        return query_wrap(err, "let");
    }
    *context = made;
    return true;
}

void query_context_destroy(struct query_context *context)
{
    arena_destroy(&context->arena);
}

bool query_context_filter(const struct query_context *context, struct bytes spec, struct filter **filter, struct error *err)
{
    const struct filter_options options = { .let = &context->variables, .now = context->now };
    return (spec.len == 0 || bson_check(spec, err)) && filter_compile_with(spec, &options, filter, err);
}
