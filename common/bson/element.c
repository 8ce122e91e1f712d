#include "common/bson/element.h"

void element_reader_init(struct element_reader *reader, struct bytes document)
{
    if (document.len < 5) {
        *reader = (struct element_reader) { 0 };
        return;
    }
    reader->at = document.data + 4;
    reader->end = document.data + document.len - 1;
}

bool element_next(struct element_reader *reader, struct element *out)
{
    if (reader->at >= reader->end || *reader->at == 0)
        return false;
    uint8_t type = *reader->at;
    const uint8_t *name = reader->at + 1;
    const uint8_t *nul = memchr(name, 0, (size_t)(reader->end - name));
    size_t size;
    if (!nul || !element_value_size(type, nul + 1, (size_t)(reader->end - nul - 1), &size)) {
        reader->at = reader->end;
        return false;
    }
    out->type = type;
    out->name = (const char *)name;
    out->name_len = (uint32_t)(nul - name);
    out->value = bytes_of(nul + 1, size);
    reader->at = nul + 1 + size;
    return true;
}

bool element_find(struct bytes document, const char *name, size_t name_len, struct element *out)
{
    struct element_reader reader;
    struct element e;
    element_reader_init(&reader, document);
    while (element_next(&reader, &e)) {
        if (element_is_named(&e, name, name_len)) {
            *out = e;
            return true;
        }
    }
    return false;
}

struct element element_of_iter(const bson_iter_t *iter)
{
    const char *name = bson_iter_key_unsafe(iter);
    uint32_t name_len = (uint32_t)strlen(name);
    const uint8_t *value = (const uint8_t *)name + name_len + 1;
    return (struct element) {
        .type = iter->raw[iter->type],
        .name = name,
        .name_len = name_len,
        .value = bytes_of(value, (size_t)(iter->raw + iter->next_off - value)),
    };
}

struct bytes element_bytes(const struct element *e)
{
    const uint8_t *start = (const uint8_t *)e->name - 1;
    return bytes_of(start, (size_t)(e->value.data + e->value.len - start));
}

/* A 32-bit length field that counts `counted` bytes more than what follows it, as a length from the value's
 * first byte; false when it is negative, too small or does not fit. */
static bool prefixed_size(const uint8_t *value, size_t available, size_t before, size_t smallest, size_t *size)
{
    if (available < 4)
        return false;
    uint32_t len = get_u32(value);
    if (len > INT32_MAX || len < smallest || len > available || before > available - len)
        return false;
    *size = before + len;
    return true;
}

static bool cstring_size(const uint8_t *value, size_t available, size_t *size)
{
    const uint8_t *nul = available ? memchr(value, 0, available) : NULL;
    if (!nul)
        return false;
    *size = (size_t)(nul - value) + 1;
    return true;
}

bool element_value_size(uint8_t type, const uint8_t *value, size_t available, size_t *size)
{
    size_t fixed;
    switch (type) {
    case BSON_TYPE_UNDEFINED:
    case BSON_TYPE_NULL:
    case (uint8_t)BSON_TYPE_MINKEY:
    case BSON_TYPE_MAXKEY:
        fixed = 0;
        break;
    case BSON_TYPE_BOOL:
        fixed = 1;
        break;
    case BSON_TYPE_INT32:
        fixed = 4;
        break;
    case BSON_TYPE_DOUBLE:
    case BSON_TYPE_DATE_TIME:
    case BSON_TYPE_TIMESTAMP:
    case BSON_TYPE_INT64:
        fixed = 8;
        break;
    case BSON_TYPE_OID:
        fixed = 12;
        break;
    case BSON_TYPE_DECIMAL128:
        fixed = 16;
        break;
    case BSON_TYPE_UTF8:
    case BSON_TYPE_CODE:
    case BSON_TYPE_SYMBOL:
        return prefixed_size(value, available, 4, 1, size);
    case BSON_TYPE_DOCUMENT:
    case BSON_TYPE_ARRAY:
        return prefixed_size(value, available, 0, 5, size);
    case BSON_TYPE_CODEWSCOPE:
        return prefixed_size(value, available, 0, 4 + 5 + 5, size);
    case BSON_TYPE_BINARY:
        return prefixed_size(value, available, 5, 0, size);
    case BSON_TYPE_DBPOINTER:
        return prefixed_size(value, available, 4 + 12, 1, size);
    case BSON_TYPE_REGEX: {
        size_t pattern, options;
        if (!cstring_size(value, available, &pattern) || !cstring_size(value + pattern, available - pattern, &options))
            return false;
        *size = pattern + options;
        return true;
    }
    default:
        return false;
    }
    if (fixed > available)
        return false;
    *size = fixed;
    return true;
}

const char *element_type_name(uint8_t type)
{
    static const char *const names[] = {
        "missing", "double",    "string", "object",  "array",     "binData",    "undefined", "objectId",
        "bool",    "date",      "null",   "regex",   "dbPointer", "javascript", "symbol",    "javascriptWithScope",
        "int",     "timestamp", "long",   "decimal",
    };
    if (type == (uint8_t)BSON_TYPE_MINKEY)
        return "minKey";
    if (type == BSON_TYPE_MAXKEY)
        return "maxKey";
    return type < sizeof names / sizeof names[0] ? names[type] : "unknown";
}
