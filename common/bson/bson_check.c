#include "common/bson/bson_check.h"

#include <stdio.h>

#include "common/base/limits.h"
#include "common/bson/element.h"
#include "common/bson/utf8.h"

/* One open document or array. Nothing here recurses: depth comes from the client. */
struct frame {
    const uint8_t *end; /* its terminator */
    const char *name;   /* of the field that holds it; NULL for the top document */
    uint32_t name_len;
};

struct check {
    const uint8_t *start; /* of the whole document */
    struct frame frames[MAX_NESTING];
    unsigned depth; /* frames in use */
};

/* "'a.b.c' at byte 12": names that are no valid UTF-8 are shown as "?", for the message must be text. */
static bool refuse(const struct check *check, const struct element *field, const uint8_t *at, const char *what, struct error *err)
{
    char path[128];
    size_t used = 0;
    for (unsigned i = 1; i <= check->depth; i++) {
        const char *name;
        size_t len;
        if (i < check->depth) {
            name = check->frames[i].name;
            len = check->frames[i].name_len;
        } else if (field) {
            name = field->name;
            len = field->name_len;
        } else {
            break;
        }
        if (!utf8_valid(name, len)) {
            name = "?";
            len = 1;
        }
        size_t room = sizeof path - used - 5; /* a dot before, "..." behind and the NUL */
        if (i > 1)
            path[used++] = '.';
        int fits = utf8_fit(name, len, room - (i > 1));
        memcpy(path + used, name, (size_t)fits);
        used += (size_t)fits;
        if ((size_t)fits < len || sizeof path - used < 8) {
            memcpy(path + used, "...", 3);
            used += 3;
            break;
        }
    }
    path[used] = '\0';
    if (used == 0)
        return error_set(err, ERROR_INVALID_ARGUMENT, "invalid BSON at byte %zu: %s", (size_t)(at - check->start), what);
    return error_set(err, ERROR_INVALID_ARGUMENT, "invalid BSON in '%s' at byte %zu: %s", path, (size_t)(at - check->start), what);
}

static const char *check_string(const uint8_t *value, size_t size)
{
    if (value[size - 1] != 0)
        return "a string without its end";
    return utf8_valid(value + 4, size - 5) ? NULL : "a string that is not UTF-8";
}

/* What is wrong with a value whose length is known to fit, NULL when nothing is. *scope: where a document
 * begins that has to be checked as well (that of code with scope). */
static const char *check_value(uint8_t type, const uint8_t *value, size_t size, const uint8_t **scope)
{
    switch (type) {
    case BSON_TYPE_UTF8:
    case BSON_TYPE_CODE:
    case BSON_TYPE_SYMBOL:
        return check_string(value, size);
    case BSON_TYPE_DBPOINTER:
        return check_string(value, size - 12);
    case BSON_TYPE_BOOL:
        return *value <= 1 ? NULL : "a bool that is neither 0 nor 1";
    case BSON_TYPE_BINARY:
        /* the old generic subtype has a second length inside */
        if (value[4] == BSON_SUBTYPE_BINARY_DEPRECATED && (size < 9 || get_u32(value + 5) != size - 9))
            return "binary of subtype 2 with a wrong inner length";
        return NULL;
    case BSON_TYPE_REGEX: {
        size_t pattern = strlen((const char *)value);
        return utf8_valid(value, pattern) && utf8_valid(value + pattern + 1, size - pattern - 2) ? NULL
                                                                                                 : "a regular expression that is not UTF-8";
    }
    case BSON_TYPE_CODEWSCOPE: {
        size_t code;
        if (!element_value_size(BSON_TYPE_CODE, value + 4, size - 4 - 5, &code))
            return "code with scope of a wrong length";
        *scope = value + 4 + code;
        return check_string(value + 4, code);
    }
    default:
        return NULL;
    }
}

/* Enters a document that has to fill [at, end) exactly. */
static bool enter(struct check *check, const uint8_t *at, const uint8_t *end, const struct element *field, struct error *err)
{
    if (check->depth == MAX_NESTING)
        return error_set(err, ERROR_INVALID_ARGUMENT, "invalid BSON at byte %zu: documents and arrays are nested deeper than %d levels",
                         (size_t)(at - check->start), MAX_NESTING);
    if (end - at < 5 || get_u32(at) != (size_t)(end - at) || end[-1] != 0)
        return refuse(check, field, at, "a document of a wrong length", err);
    check->frames[check->depth++] = (struct frame) {
        .end = end - 1,
        .name = field ? field->name : NULL,
        .name_len = field ? field->name_len : 0,
    };
    return true;
}

bool bson_check(struct bytes document, struct error *err)
{
    struct check check = { .start = document.data };
    if (document.len > MAX_DOCUMENT_BYTES)
        return error_set(err, ERROR_INVALID_ARGUMENT, "a document of %zu bytes is over the limit of %d", document.len, MAX_DOCUMENT_BYTES);
    if (document.len < 5)
        return error_set(err, ERROR_INVALID_ARGUMENT, "invalid BSON: %zu bytes are no document", document.len);
    if (!enter(&check, document.data, document.data + document.len, NULL, err))
        return false;

    const uint8_t *at = document.data + 4;
    while (check.depth > 0) {
        const uint8_t *end = check.frames[check.depth - 1].end;
        if (at == end) {
            at++;
            check.depth--;
            continue;
        }
        const uint8_t *start = at;
        if (*at == 0)
            return refuse(&check, NULL, start, "a document that ends before its length says", err);
        struct element field = { .type = *at, .name = (const char *)at + 1 };
        at++;
        const uint8_t *nul = memchr(at, 0, (size_t)(end - at));
        if (!nul)
            return refuse(&check, NULL, start, "a field name without its end", err);
        field.name_len = (uint32_t)(nul - at);
        if (!utf8_valid(field.name, field.name_len))
            return refuse(&check, &field, start, "a field name that is not UTF-8", err);
        at = nul + 1;
        size_t size;
        if (!element_value_size(field.type, at, (size_t)(end - at), &size)) {
            bool known = strcmp(element_type_name(field.type), "unknown") != 0 && field.type != BSON_TYPE_EOD;
            return refuse(&check, &field, start, known ? "a value of a wrong length" : "an unknown type", err);
        }
        const uint8_t *inner = field.type == BSON_TYPE_DOCUMENT || field.type == BSON_TYPE_ARRAY ? at : NULL;
        const char *wrong = check_value(field.type, at, size, &inner);
        if (wrong)
            return refuse(&check, &field, start, wrong, err);
        if (inner && !enter(&check, inner, at + size, &field, err))
            return false;
        at = inner ? inner + 4 : at + size;
    }
    return true;
}
