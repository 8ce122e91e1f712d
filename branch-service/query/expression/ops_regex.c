/* $regexMatch, $regexFind, $regexFindAll. All memory of PCRE2 is the arena's: a pattern that is constant is compiled once
 * into the expression's, one of the document's into that of the evaluation. Without machine code, which no arena holds. */
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "branch-service/query/expression/internal.h"
#include "branch-service/query/expression/text.h"
#include "branch-service/query/filter_regex.h"
#include "common/bson/utf8.h"

enum { INPUT, REGEX, OPTIONS };
enum { MATCH, FIND, FIND_ALL };

static void *take(size_t size, void *arena)
{
    return arena_alloc(arena, size);
}

static void leave(void *memory, void *arena)
{
    (void)memory;
    (void)arena;
}

/* What the arguments regex and options say. code NULL: there is no pattern, and nothing matches. */
static bool compile_pattern(struct run *run, const char *name, const struct element *regex, const struct element *options,
                            pcre2_code **code)
{
    struct bytes pattern, own = bytes_of("", 0), given = bytes_of("", 0);
    uint32_t flags = PCRE2_UTF | PCRE2_NEVER_BACKSLASH_C; /* \\C would leave a search within a character */
    PCRE2_SIZE offset;
    int error;
    *code = NULL;
    if (!is_nullish(regex) && !is_string(regex) && regex->type != BSON_TYPE_REGEX)
        return fail(run, 51105, "%s needs 'regex' to be of type string or regex, not %s", name, element_type_name(regex->type));
    if (!is_nullish(options) && !is_string(options))
        return fail(run, 51106, "%s needs 'options' to be of type string, not %s", name, element_type_name(options->type));
    if (is_string(options))
        given = element_string(options);
    if (is_string(regex)) {
        pattern = element_string(regex);
    } else if (regex->type == BSON_TYPE_REGEX) {
        pattern = bytes_of_string((const char *)regex->value.data);
        own = bytes_of_string((const char *)regex->value.data + pattern.len + 1);
        if (own.len && is_string(options))
            return fail(run, 51107, "%s found regex option(s) specified in both 'regex' and 'options' fields", name);
    }
    if (given.len && memchr(given.data, 0, given.len))
        return fail(run, 51110, "%s: regular expression options cannot contain an embedded null byte", name);
    if (!regex_read_options(own.len ? own : given, &flags, run->err))
        return false;
    if (is_nullish(regex))
        return true;
    if (pattern.len && memchr(pattern.data, 0, pattern.len))
        return fail(run, 51109, "%s: regular expression cannot contain an embedded null byte", name);
    if (pattern.len > MAX_REGEX_BYTES)
        return fail(run, 51111, "%s: a regular expression of %zu bytes is too long: %d are the limit", name, pattern.len, MAX_REGEX_BYTES);
    if (!caller_still_waits(REGEX_COMPILE_STEPS + pattern.len, run->err))
        return false;
    pcre2_general_context *memory = pcre2_general_context_create(take, leave, run->arena);
    pcre2_compile_context *context = memory ? pcre2_compile_context_create(memory) : NULL;
    if (!context)
        return fail_memory(run);
    *code = pcre2_compile(pattern.data, pattern.len, flags, &error, &offset, context);
    if (*code)
        return true;
    PCRE2_UCHAR reason[120] = "";
    pcre2_get_error_message(error, reason, sizeof reason);
    return fail(run, 51111, "%s: invalid regular expression: %s at offset %zu", name, (const char *)reason, offset);
}

/* Once for all documents where it can be. */
struct constant_pattern {
    pcre2_code *code;
};

static bool compile_regex(struct compiler *c, const struct element *spec, struct expression *node)
{
    struct element missing;
    struct run run = { .arena = c->arena, .err = c->err };
    make_missing(&missing);
    if (!compile_fields(c, spec, node))
        return false;
    const struct element *regex = node->args[REGEX] ? expression_constant(node->args[REGEX]) : &missing;
    const struct element *options = node->args[OPTIONS] ? expression_constant(node->args[OPTIONS]) : &missing;
    if (!regex || !options)
        return true;
    struct constant_pattern *pattern = run_alloc(&run, sizeof *pattern);
    node->compiled = pattern;
    return pattern && compile_pattern(&run, node->op->name, regex, options, &pattern->code);
}

/* A text that is searched from one match to the next. */
struct search {
    const pcre2_code *code;
    pcre2_match_data *data;
    pcre2_match_context *limits;
    struct bytes text;
    size_t from;
    size_t counted, characters; /* so many of these are in front of the former */
};

static bool start_search(struct run *run, const pcre2_code *code, struct bytes text, struct search *search)
{
    pcre2_general_context *memory = pcre2_general_context_create(take, leave, run->arena);
    *search = (struct search) { .code = code, .text = text };
    search->data = memory ? pcre2_match_data_create_from_pattern(code, memory) : NULL;
    search->limits = memory ? pcre2_match_context_create(memory) : NULL;
    if (!search->data || !search->limits)
        return fail_memory(run);
    pcre2_set_match_limit(search->limits, REGEX_MATCH_LIMIT);
    pcre2_set_heap_limit(search->limits, REGEX_HEAP_LIMIT_KIB);
    return true;
}

static bool next_match(struct run *run, const char *name, struct search *search, bool *found)
{
    if (!caller_still_waits(REGEX_MATCH_STEPS, run->err))
        return false;
    int result =
        pcre2_match(search->code, search->text.data, search->text.len, search->from, PCRE2_NO_UTF_CHECK, search->data, search->limits);
    *found = result >= 0;
    if (result >= 0 || result == PCRE2_ERROR_NOMATCH)
        return true;
    if (result == PCRE2_ERROR_NOMEMORY)
        return fail_memory(run);
    PCRE2_UCHAR reason[120] = "";
    pcre2_get_error_message(result, reason, sizeof reason);
    return fail(run, REGEX_MATCH_FAILED, "%s: matching was given up: %s", name, (const char *)reason);
}

static bool captures_of(struct run *run, const struct search *search, struct element *out)
{
    const PCRE2_SIZE *at = pcre2_get_ovector_pointer(search->data);
    struct list captures = { 0 };
    struct element capture;
    for (uint32_t i = 1; i < pcre2_get_ovector_count(search->data); i++) {
        bool took_part = at[2 * i] != PCRE2_UNSET;
        if (took_part ? !make_string(run, bytes_of(search->text.data + at[2 * i], at[2 * i + 1] - at[2 * i]), &capture)
                      : !make_null(&capture))
            return false;
        if (!list_add(run, &captures, &capture))
            return false;
    }
    return make_array(run, &captures, out);
}

/* {match, idx, captures}; and goes behind it. */
static bool take_match(struct run *run, struct search *search, struct element *out)
{
    const PCRE2_SIZE *at = pcre2_get_ovector_pointer(search->data);
    struct list fields = { 0 };
    struct element match, index, captures;
    size_t begin = at[0], end = at[1] < at[0] ? at[0] : at[1]; /* \K can end a match in front of its beginning */
    if (begin >= search->counted)
        search->characters += count_characters(bytes_of(search->text.data + search->counted, begin - search->counted));
    else
        search->characters = count_characters(bytes_of(search->text.data, begin));
    search->counted = begin;
    if (!make_string(run, bytes_of(search->text.data + begin, end - begin), &match) ||
        !make_int(run, (int64_t)search->characters, &index) || !captures_of(run, search, &captures))
        return false;
    size_t behind = end > begin ? end : skip_characters(search->text, end, 1);
    search->from = behind > search->from ? behind : skip_characters(search->text, search->from, 1);
    return list_add_named(run, &fields, "match", 5, &match) && list_add_named(run, &fields, "idx", 3, &index) &&
           list_add_named(run, &fields, "captures", 8, &captures) && make_document(run, &fields, out);
}

static bool find_all(struct run *run, const char *name, struct search *search, struct element *out)
{
    struct list matches = { 0 };
    struct element match;
    bool found;
    do {
        if (!next_round(run) || !next_match(run, name, search, &found))
            return false;
        if (found && (!take_match(run, search, &match) || !list_add(run, &matches, &match)))
            return false;
    } while (found && search->from < search->text.len);
    return make_array(run, &matches, out);
}

/* variant: what is asked */
static bool apply_regex(struct run *run, const struct expression *e, const struct element *args, struct element *out)
{
    const char *name = e->op->name;
    const struct constant_pattern *constant = e->compiled;
    pcre2_code *code = constant ? constant->code : NULL;
    struct list none = { 0 };
    struct search search;
    bool found = false;
    if (!is_nullish(&args[INPUT]) && !is_string(&args[INPUT]))
        return fail(run, 51104, "%s needs 'input' to be of type string, not %s", name, element_type_name(args[INPUT].type));
    if (!constant && !compile_pattern(run, name, &args[REGEX], &args[OPTIONS], &code))
        return false;
    if (code && is_string(&args[INPUT])) {
        struct bytes text = element_string(&args[INPUT]);
        if (!utf8_valid(text.data, text.len))
            return fail(run, REGEX_MATCH_FAILED, "%s: the input is not UTF-8", name);
        if (!start_search(run, code, text, &search))
            return false;
        if (e->op->variant == FIND_ALL)
            return find_all(run, name, &search, out);
        if (!next_match(run, name, &search, &found))
            return false;
    }
    if (e->op->variant == FIND_ALL)
        return make_array(run, &none, out);
    if (e->op->variant == MATCH)
        return make_bool(found, out);
    return found ? take_match(run, &search, out) : make_null(out);
}

#define REGEX_OPERATOR                                                                                                                     \
    .apply = apply_regex, .compile = compile_regex, .fields = "input!31022 regex!31023 options", .not_document = 51103,                    \
    .unknown_field = 31024

static const struct expression_op ops[] = {
    { "$regexMatch", .variant = MATCH, REGEX_OPERATOR },
    { "$regexFind", .variant = FIND, REGEX_OPERATOR },
    { "$regexFindAll", .variant = FIND_ALL, REGEX_OPERATOR },
};

const struct expression_ops ops_regex = { ops, ARRAY_LEN(ops) };
