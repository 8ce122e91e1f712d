/* Strings: parts, lengths, case, white space. Indexes count bytes, or code points where the name ends in CP. */
#include "branch-service/query/expression/internal.h"
#include "branch-service/query/expression/text.h"

static bool apply_concat(struct run *run, const struct expression *e, const struct element *args, struct element *out)
{
    size_t len = 0, at = 0;
    for (size_t i = 0; i < e->n; i++) {
        if (is_nullish(&args[i]))
            return make_null(out);
        if (!is_string(&args[i]))
            return fail(run, 16702, "$concat only supports strings, not %s", element_type_name(args[i].type));
        len += element_string(&args[i]).len;
    }
    if (len > EXPRESSION_MAX_VALUE)
        return fail_memory(run);
    char *text = run_alloc(run, len + 1);
    if (!text)
        return false;
    for (size_t i = 0; i < e->n; i++) {
        struct bytes part = element_string(&args[i]);
        memcpy(text + at, part.data, part.len);
        at += part.len;
    }
    return make_string(run, bytes_of(text, len), out);
}

static bool apply_substr_bytes(struct run *run, const struct expression *e, const struct element *args, struct element *out)
{
    struct bytes text;
    if (!text_of_value(run, &args[0], &text))
        return false;
    int64_t from, len;
    if (!element_is_number(&args[1]))
        return fail(run, 16034, "%s: starting index must be a numeric type (is BSON type %s)", e->op->name,
                    element_type_name(args[1].type));
    if (!element_is_number(&args[2]))
        return fail(run, 16035, "%s: length must be a numeric type (is BSON type %s)", e->op->name, element_type_name(args[2].type));
    if (!long_of(run, &args[1], &from))
        return false;
    if (from < 0)
        return fail(run, 50752, "%s: starting index must be non-negative (got: %lld)", e->op->name, (long long)from);
    if (!long_of(run, &args[2], &len))
        return false;
    if ((uint64_t)from >= text.len)
        return make_text(run, "", out);
    size_t left = text.len - (size_t)from, taken = len < 0 || (uint64_t)len > left ? left : (size_t)len;
    if (is_continuation(text.data[from]))
        return fail(run, 28656, "%s: Invalid range, starting index is a UTF-8 continuation byte", e->op->name);
    if (taken < left && is_continuation(text.data[(size_t)from + taken]))
        return fail(run, 28657, "%s: Invalid range, ending index is in the middle of a UTF-8 character", e->op->name);
    return make_string(run, bytes_of(text.data + from, taken), out);
}

static bool apply_substr_cp(struct run *run, const struct expression *e, const struct element *args, struct element *out)
{
    struct bytes text;
    int32_t from, len;
    (void)e;
    if (!text_of_value(run, &args[0], &text))
        return false;
    if (!element_is_number(&args[1]))
        return fail(run, 34450, "$substrCP: starting index must be a numeric type (is BSON type %s)", element_type_name(args[1].type));
    if (!exact_int32(&args[1], &from))
        return fail(run, 34451, "$substrCP: starting index cannot be represented as a 32-bit integral value");
    if (!element_is_number(&args[2]))
        return fail(run, 34452, "$substrCP: length must be a numeric type (is BSON type %s)", element_type_name(args[2].type));
    if (!exact_int32(&args[2], &len))
        return fail(run, 34453, "$substrCP: length cannot be represented as a 32-bit integral value");
    if (len < 0)
        return fail(run, 34454, "$substrCP: length must be a nonnegative integer");
    if (from < 0)
        return fail(run, 34455, "$substrCP: the starting index must be a nonnegative integer");
    size_t begin = skip_characters(text, 0, (size_t)from), end = skip_characters(text, begin, (size_t)len);
    return make_string(run, bytes_of(text.data + begin, end - begin), out);
}

static bool apply_str_len_bytes(struct run *run, const struct expression *e, const struct element *args, struct element *out)
{
    (void)e;
    if (!is_string(&args[0]))
        return fail(run, 34473, "$strLenBytes requires a string argument, found: %s", element_type_name(args[0].type));
    return make_int32(run, (int32_t)element_string(&args[0]).len, out);
}

static bool apply_str_len_cp(struct run *run, const struct expression *e, const struct element *args, struct element *out)
{
    (void)e;
    if (!is_string(&args[0]))
        return fail(run, 34471, "$strLenCP requires a string argument, found: %s", element_type_name(args[0].type));
    struct bytes text = element_string(&args[0]);
    return make_int32(run, (int32_t)count_characters(text), out);
}

/* Of ASCII letters only, as in MongoDB. */
static uint8_t upper(uint8_t c)
{
    return c >= 'a' && c <= 'z' ? (uint8_t)(c - 'a' + 'A') : c;
}

static uint8_t lower(uint8_t c)
{
    return c >= 'A' && c <= 'Z' ? (uint8_t)(c - 'A' + 'a') : c;
}

static bool apply_case(struct run *run, const struct expression *e, const struct element *args, struct element *out)
{
    struct bytes text;
    if (!text_of_value(run, &args[0], &text))
        return false;
    uint8_t *copy = run_alloc(run, text.len + 1);
    if (!copy)
        return false;
    for (size_t i = 0; i < text.len; i++)
        copy[i] = e->op->variant ? upper(text.data[i]) : lower(text.data[i]);
    return make_string(run, bytes_of(copy, text.len), out);
}

static bool apply_strcasecmp(struct run *run, const struct expression *e, const struct element *args, struct element *out)
{
    struct bytes a, b;
    (void)e;
    if (!text_of_value(run, &args[0], &a) || !text_of_value(run, &args[1], &b))
        return false;
    for (size_t i = 0; i < a.len && i < b.len; i++) {
        if (upper(a.data[i]) != upper(b.data[i]))
            return make_int32(run, upper(a.data[i]) < upper(b.data[i]) ? -1 : 1, out);
    }
    return make_int32(run, (a.len > b.len) - (a.len < b.len), out);
}

/* ---- $trim, $ltrim, $rtrim ---- */

enum { LEFT = 1, RIGHT = 2 };

static const char white_space[] =
    "\0 \t\n\v\f\r\xC2\xA0\xE1\x9A\x80\xE2\x80\x80\xE2\x80\x81\xE2\x80\x82\xE2\x80\x83\xE2\x80\x84\xE2\x80\x85"
    "\xE2\x80\x86\xE2\x80\x87\xE2\x80\x88\xE2\x80\x89\xE2\x80\x8A";

static bool has_character(struct run *run, struct bytes set, struct bytes character, bool *has)
{
    *has = false;
    if (!values_go_on(run, set.len))
        return false;
    for (size_t at = 0; at < set.len; at += character_size(set, at)) {
        *has = bytes_equal(bytes_of(set.data + at, character_size(set, at)), character);
        if (*has)
            break;
    }
    return true;
}

static bool apply_trim(struct run *run, const struct expression *e, const struct element *args, struct element *out)
{
    if (is_nullish(&args[0]))
        return make_null(out);
    if (!is_string(&args[0]))
        return fail(run, 50699, "%s requires its input to be a string, got a %s", e->op->name, element_type_name(args[0].type));
    if (e->args[1] && is_nullish(&args[1]))
        return make_null(out);
    if (e->args[1] && !is_string(&args[1]))
        return fail(run, 50700, "%s requires 'chars' to be a string, got a %s", e->op->name, element_type_name(args[1].type));
    struct bytes text = element_string(&args[0]);
    struct bytes set = e->args[1] ? element_string(&args[1]) : bytes_of(white_space, sizeof white_space - 1);
    size_t begin = 0, end = text.len;
    while (e->op->variant & LEFT && begin < end) {
        size_t size = character_size(text, begin);
        bool has;
        if (!has_character(run, set, bytes_of(text.data + begin, size), &has))
            return false;
        if (!has)
            break;
        begin += size;
    }
    while (e->op->variant & RIGHT && begin < end) {
        size_t last = end - 1;
        while (last > begin && is_continuation(text.data[last]))
            last--;
        bool has;
        if (!has_character(run, set, bytes_of(text.data + last, end - last), &has))
            return false;
        if (!has)
            break;
        end = last;
    }
    return make_string(run, bytes_of(text.data + begin, end - begin), out);
}

#define TRIM_FIELDS .fields = "input!50695 chars", .not_document = 50696, .unknown_field = 50694

static const struct expression_op ops[] = {
    { "$concat", 0, MANY, .apply = apply_concat },
    { "$substr", 3, 3, .apply = apply_substr_bytes },
    { "$substrBytes", 3, 3, .apply = apply_substr_bytes },
    { "$substrCP", 3, 3, .apply = apply_substr_cp },
    { "$strLenBytes", 1, 1, .apply = apply_str_len_bytes },
    { "$strLenCP", 1, 1, .apply = apply_str_len_cp },
    { "$toUpper", 1, 1, .apply = apply_case, .variant = true },
    { "$toLower", 1, 1, .apply = apply_case, .variant = false },
    { "$strcasecmp", 2, 2, .apply = apply_strcasecmp },
    { "$trim", .apply = apply_trim, .variant = LEFT | RIGHT, TRIM_FIELDS },
    { "$ltrim", .apply = apply_trim, .variant = LEFT, TRIM_FIELDS },
    { "$rtrim", .apply = apply_trim, .variant = RIGHT, TRIM_FIELDS },
};

const struct expression_ops ops_string = { ops, ARRAY_LEN(ops) };
