/* The fields of a BSON document, read in place.
 *
 * For documents that have passed bson_check. In any other the walk ends early; it never reads out of
 * bounds.
 *
 * Ownership  an element points into its document.
 */
#ifndef ARGON_BSON_ELEMENT_H
#define ARGON_BSON_ELEMENT_H

#include <bson/bson.h>
#include <stdbool.h>
#include <stdint.h>

#include "common/base/bytes.h"

struct element {
    uint8_t type;     /* bson_type_t; minKey is 0xFF */
    const char *name; /* ends in a NUL */
    uint32_t name_len;
    struct bytes value; /* the bytes behind the name, as stored */
};

struct element_reader {
    const uint8_t *at;
    const uint8_t *end; /* the document's last byte, its terminator */
};

void element_reader_init(struct element_reader *reader, struct bytes document);
bool element_next(struct element_reader *reader, struct element *out);
/* The first field of that name. */
bool element_find(struct bytes document, const char *name, size_t name_len, struct element *out);
struct element element_of_iter(const bson_iter_t *iter);
/* The whole field: type, name, value. */
struct bytes element_bytes(const struct element *element);

/* How long a value of that type is, from its own length fields. False for an unknown type and for a value
 * that does not fit in what is available. Contents are bson_check's business. */
bool element_value_size(uint8_t type, const uint8_t *value, size_t available, size_t *size);

/* MongoDB's name of a type: "int", "binData". */
const char *element_type_name(uint8_t type);

static inline bool element_is_number(const struct element *e)
{
    return e->type == BSON_TYPE_INT32 || e->type == BSON_TYPE_INT64 || e->type == BSON_TYPE_DOUBLE || e->type == BSON_TYPE_DECIMAL128;
}

static inline bool element_is_named(const struct element *e, const char *name, size_t len)
{
    return e->name_len == len && memcmp(e->name, name, len) == 0;
}

static inline bool element_name_is_operator(const struct element *e)
{
    return e->name[0] == '$';
}

static inline int32_t element_int32(const struct element *e)
{
    return (int32_t)get_u32(e->value.data);
}

/* int64, date, timestamp */
static inline int64_t element_int64(const struct element *e)
{
    return (int64_t)get_u64(e->value.data);
}

static inline bool element_is_integer(const struct element *e)
{
    return e->type == BSON_TYPE_INT32 || e->type == BSON_TYPE_INT64;
}

static inline int64_t element_integer(const struct element *e)
{
    return e->type == BSON_TYPE_INT32 ? element_int32(e) : element_int64(e);
}

static inline double element_double(const struct element *e)
{
    uint64_t bits = get_u64(e->value.data);
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

/* The data of binary; the old subtype 2 counts them once more. */
static inline struct bytes element_binary(const struct element *e)
{
    size_t before = e->value.data[4] == BSON_SUBTYPE_BINARY_DEPRECATED && e->value.len >= 9 ? 9 : 5;
    return bytes_of(e->value.data + before, e->value.len - before);
}

/* string, symbol, code: the text, without length and NUL */
static inline struct bytes element_string(const struct element *e)
{
    return bytes_of(e->value.data + 4, e->value.len - 5);
}

#endif
