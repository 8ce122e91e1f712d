/* Strings in strings: $split, $indexOfBytes, $indexOfCP, $replaceOne, $replaceAll. */
#include "branch-service/query/expression/internal.h"
#include "branch-service/query/expression/text.h"

/* Where it is found from `at` on; false: nowhere. */
static bool find_text(struct bytes text, struct bytes wanted, size_t at, size_t *found)
{
    if (at > text.len)
        return false;
    if (wanted.len == 0) {
        *found = at;
        return true;
    }
    const uint8_t *hit = memmem(text.data + at, text.len - at, wanted.data, wanted.len);
    if (hit)
        *found = (size_t)(hit - text.data);
    return hit != NULL;
}

static bool apply_split(struct run *run, const struct expression *e, const struct element *args, struct element *out)
{
    struct list list = { 0 };
    struct element part;
    (void)e;
    if (is_nullish(&args[0]) || is_nullish(&args[1]))
        return make_null(out);
    if (!is_string(&args[0]))
        return fail(run, 40085, "$split requires an expression that evaluates to a string as a first argument, found: %s",
                    element_type_name(args[0].type));
    if (!is_string(&args[1]))
        return fail(run, 40086, "$split requires an expression that evaluates to a string as a second argument, found: %s",
                    element_type_name(args[1].type));
    struct bytes text = element_string(&args[0]), separator = element_string(&args[1]);
    if (separator.len == 0)
        return fail(run, 40087, "$split requires a non-empty separator");
    size_t at = 0, found;
    while (find_text(text, separator, at, &found)) {
        if (!make_string(run, bytes_of(text.data + at, found - at), &part) || !list_add(run, &list, &part))
            return false;
        at = found + separator.len;
    }
    return make_string(run, bytes_of(text.data + at, text.len - at), &part) && list_add(run, &list, &part) && make_array(run, &list, out);
}

bool index_argument(struct run *run, const struct expression *e, const struct element *arg, const char *what, int32_t *index)
{
    if (!exact_int32(arg, index))
        return fail(run, 40096, "%s requires an integral %s index, found a value of type: %s", e->op->name, what,
                    element_type_name(arg->type));
    return *index >= 0 || fail(run, 40097, "%s requires a nonnegative %s index, found: %d", e->op->name, what, *index);
}

static int32_t index_of_character(struct bytes text, struct bytes wanted, size_t begin, size_t end, int32_t from)
{
    size_t found;
    if (text.len == 0 && wanted.len == 0)
        return 0;
    if (!find_text(text, wanted, begin, &found) || found >= end)
        return -1;
    return from + (int32_t)count_characters(bytes_of(text.data + begin, found - begin));
}

/* variant: indexes are of characters */
static bool apply_index_of(struct run *run, const struct expression *e, const struct element *args, struct element *out)
{
    bool characters = e->op->variant;
    int32_t from = 0, to = INT32_MAX;
    if (is_nullish(&args[0]))
        return make_null(out);
    if (!is_string(&args[0]))
        return fail(run, characters ? 40093 : 40091, "%s requires a string as the first argument, found: %s", e->op->name,
                    element_type_name(args[0].type));
    if (!is_string(&args[1]))
        return fail(run, characters ? 40094 : 40092, "%s requires a string as the second argument, found: %s", e->op->name,
                    element_type_name(args[1].type));
    if ((e->n > 2 && !index_argument(run, e, &args[2], "starting", &from)) ||
        (e->n > 3 && !index_argument(run, e, &args[3], "ending", &to)))
        return false;
    struct bytes text = element_string(&args[0]), wanted = element_string(&args[1]);
    size_t length = characters ? count_characters(text) : text.len, found;
    if ((size_t)from > length || to < from)
        return make_int32(run, -1, out);
    size_t begin = characters ? skip_characters(text, 0, (size_t)from) : (size_t)from;
    size_t end = characters ? skip_characters(text, 0, (size_t)to) : (size_t)to < text.len ? (size_t)to : text.len;
    if (characters) /* what begins in front of the end may go beyond it; nothing begins at it, but in an empty string */
        return make_int32(run, index_of_character(text, wanted, begin, end, from), out);
    if (!find_text(bytes_of(text.data, end), wanted, begin, &found))
        return make_int32(run, -1, out);
    return make_int32(run, (int32_t)found, out);
}

enum { INPUT, FIND, REPLACEMENT };

/* variant: all of them */
static bool apply_replace(struct run *run, const struct expression *e, const struct element *args, struct element *out)
{
    static const char *const names[] = { "input", "find", "replacement" };
    bool null = false;
    for (int i = 0; i < 3; i++) {
        if (!is_nullish(&args[i]) && !is_string(&args[i]))
            return fail(run, 51746 - i, "%s requires that '%s' be a string, found: %s", e->op->name, names[i],
                        element_type_name(args[i].type));
        null |= is_nullish(&args[i]);
    }
    if (null)
        return make_null(out);
    struct bytes text = element_string(&args[INPUT]), wanted = element_string(&args[FIND]), by = element_string(&args[REPLACEMENT]);
    size_t n = 0, at = 0, found;
    while ((n == 0 || e->op->variant) && find_text(text, wanted, at, &found)) {
        n++;
        at = found + (wanted.len ? wanted.len : 1); /* nothing is found in front of each byte, and at the end */
    }
    size_t len = text.len - n * wanted.len + n * by.len, written = 0;
    if (len > EXPRESSION_MAX_VALUE)
        return fail_memory(run);
    uint8_t *copy = run_alloc(run, len + 1);
    if (!copy)
        return false;
    for (at = 0; n > 0 && find_text(text, wanted, at, &found); n--) {
        memcpy(copy + written, text.data + at, found - at);
        written += found - at;
        memcpy(copy + written, by.data, by.len);
        written += by.len;
        at = found + wanted.len;
        if (wanted.len == 0 && at < text.len)
            copy[written++] = text.data[at++];
    }
    memcpy(copy + written, text.data + at, text.len - at);
    return make_string(run, bytes_of(copy, len), out);
}

#define REPLACE_FIELDS .fields = "input!51749 find!51748 replacement!51747", .not_document = 51751, .unknown_field = 51750

static const struct expression_op ops[] = {
    { "$split", 2, 2, .apply = apply_split },
    { "$indexOfBytes", 2, 4, .apply = apply_index_of, .variant = false },
    { "$indexOfCP", 2, 4, .apply = apply_index_of, .variant = true },
    { "$replaceOne", .apply = apply_replace, .variant = false, REPLACE_FIELDS },
    { "$replaceAll", .apply = apply_replace, .variant = true, REPLACE_FIELDS },
};

const struct expression_ops ops_string_search = { ops, ARRAY_LEN(ops) };
