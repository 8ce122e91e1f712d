#include "branch-service/query/aggregate/value_hash.h"

#include <math.h>

#include "branch-service/query/expression/value.h"
#include "common/bson/value_compare.h"

static uint64_t mix(uint64_t hash, uint64_t value)
{
    hash = (hash ^ value) * UINT64_C(0x9E3779B97F4A7C15);
    return hash ^ hash >> 32;
}

static uint64_t mix_bytes(uint64_t hash, struct bytes bytes)
{
    size_t i = 0;
    for (; i + 8 <= bytes.len; i += 8)
        hash = mix(hash, get_u64(bytes.data + i));
    uint64_t rest = bytes.len;
    for (; i < bytes.len; i++)
        rest = rest << 8 | bytes.data[i];
    return mix(hash, rest);
}

/* Numbers that are equal have the same nearest double. */
static uint64_t mix_number(uint64_t hash, const struct element *e)
{
    double value = double_of(e);
    uint64_t bits;
    if (isnan(value))
        return mix(hash, UINT64_MAX);
    if (value == 0)
        value = 0; /* no sign */
    memcpy(&bits, &value, sizeof bits);
    return mix(hash, bits);
}

/* Depth: of the value. */
static uint64_t mix_value(uint64_t hash, const struct element *e)
{
    struct element_reader reader;
    struct element inner;
    hash = mix(hash, (uint64_t)value_type_rank(e->type == (uint8_t)BSON_TYPE_MINKEY ? BSON_TYPE_MINKEY : (bson_type_t)e->type));
    if (element_is_number(e))
        return mix_number(hash, e);
    if (e->type != BSON_TYPE_DOCUMENT && e->type != BSON_TYPE_ARRAY)
        return mix_bytes(hash, e->value);
    element_reader_init(&reader, e->value);
    while (element_next(&reader, &inner)) {
        if (e->type == BSON_TYPE_DOCUMENT)
            hash = mix_bytes(hash, bytes_of(inner.name, inner.name_len));
        hash = mix_value(hash, &inner);
    }
    return mix(hash, 1); /* the end */
}

uint64_t value_hash(const struct element *value)
{
    return mix_value(0, value);
}
