#include "branch-service/query/aggregate/value_hash.h"

#include <math.h>

#include "branch-service/query/expression/value.h"
#include "branch-service/query/hash.h"
#include "common/bson/value_compare.h"

/* Numbers that are equal have the same nearest double. */
static uint64_t mix_number(uint64_t hash, const struct element *e)
{
    double value = double_of(e);
    uint64_t bits;
    if (isnan(value))
        return hash_mix(hash, UINT64_MAX);
    if (value == 0)
        value = 0; /* no sign */
    memcpy(&bits, &value, sizeof bits);
    return hash_mix(hash, bits);
}

/* Depth: of the value. */
static uint64_t mix_value(uint64_t hash, const struct element *e)
{
    struct element_reader reader;
    struct element inner;
    hash = hash_mix(hash, (uint64_t)value_type_rank(e->type == (uint8_t)BSON_TYPE_MINKEY ? BSON_TYPE_MINKEY : (bson_type_t)e->type));
    if (element_is_number(e))
        return mix_number(hash, e);
    if (e->type != BSON_TYPE_DOCUMENT && e->type != BSON_TYPE_ARRAY)
        return hash_mix_bytes(hash, e->value);
    element_reader_init(&reader, e->value);
    while (element_next(&reader, &inner)) {
        if (e->type == BSON_TYPE_DOCUMENT)
            hash = hash_mix_bytes(hash, bytes_of(inner.name, inner.name_len));
        hash = mix_value(hash, &inner);
    }
    return hash_mix(hash, 1); /* the end */
}

uint64_t value_hash(const struct element *value)
{
    return mix_value(hash_seed, value);
}
