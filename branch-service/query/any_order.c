#include "branch-service/query/any_order.h"

#include <stdlib.h>

#include "branch-service/query/value_type.h"
#include "common/base/arena.h"
#include "common/base/caller.h"
#include "common/bson/key_encoding.h"
#include "common/bson/number.h"

static size_t count_fields(struct bytes document)
{
    struct element_reader reader;
    struct element e;
    size_t n = 0;
    element_reader_init(&reader, document);
    while (element_next(&reader, &e))
        n++;
    return n;
}

/* Recursion here is bounded by MAX_NESTING. */
static bool equal_documents(struct bytes a, struct bytes b, bool *equal, struct error *err)
{
    struct element_reader reader;
    struct element e, other;
    *equal = count_fields(a) == count_fields(b);
    element_reader_init(&reader, a);
    while (*equal && element_next(&reader, &e)) {
        if (!caller_still_waits(caller_steps_of(b.len), err))
            return false;
        *equal = element_find(b, e.name, e.name_len, &other);
        if (*equal && !equal_in_any_order(&e, &other, equal, err))
            return false;
    }
    return true;
}

static bool equal_arrays(struct bytes a, struct bytes b, bool *equal, struct error *err)
{
    struct element_reader ra, rb;
    struct element ea, eb;
    element_reader_init(&ra, a);
    element_reader_init(&rb, b);
    for (;;) {
        bool more_a = element_next(&ra, &ea), more_b = element_next(&rb, &eb);
        *equal = more_a == more_b;
        if (!more_a || !more_b)
            return true;
        if (!equal_in_any_order(&ea, &eb, equal, err))
            return false;
        if (!*equal)
            return true;
    }
}

bool equal_in_any_order(const struct element *a, const struct element *b, bool *equal, struct error *err)
{
    if (!caller_still_waits(1, err))
        return false;
    if (a->type == BSON_TYPE_DOCUMENT && b->type == BSON_TYPE_DOCUMENT)
        return equal_documents(a->value, b->value, equal, err);
    if (a->type == BSON_TYPE_ARRAY && b->type == BSON_TYPE_ARRAY)
        return equal_arrays(a->value, b->value, equal, err);
    *equal = value_compare_elements(a, b) == 0;
    return true;
}

/* Equal values have equal hashes; those of a document's fields are added up. */
static uint64_t hash_bytes(uint64_t hash, struct bytes bytes)
{
    for (size_t i = 0; i < bytes.len; i++)
        hash = (hash ^ bytes.data[i]) * 0x100000001b3;
    return hash;
}

static uint64_t mix(uint64_t hash)
{
    hash = (hash ^ hash >> 32) * 0x9e3779b97f4a7c15;
    return hash ^ hash >> 29;
}

static uint64_t hash_value(const struct element *e)
{
    uint64_t hash = mix((uint64_t)value_rank(e) + 1);
    struct element_reader reader;
    struct element inner;
    switch (e->type) {
    case BSON_TYPE_DOCUMENT:
        element_reader_init(&reader, e->value);
        while (element_next(&reader, &inner))
            hash += mix(hash_bytes(hash_value(&inner), bytes_of(inner.name, inner.name_len)));
        return hash;
    case BSON_TYPE_ARRAY:
        element_reader_init(&reader, e->value);
        while (element_next(&reader, &inner))
            hash = mix(hash * 31 + hash_value(&inner));
        return hash;
    case BSON_TYPE_INT32:
    case BSON_TYPE_INT64:
    case BSON_TYPE_DOUBLE:
    case BSON_TYPE_DECIMAL128: {
        struct number number;
        number_of_element(e, &number);
        uint8_t head[8];
        put_u32(head, (uint32_t)number.class);
        put_u32(head + 4, (uint32_t)number.exponent);
        return hash_bytes(hash_bytes(hash, bytes_of(head, sizeof head)), bytes_of(number.digits, (size_t)number.n_digits));
    }
    case BSON_TYPE_UTF8:
    case BSON_TYPE_SYMBOL:
        return hash_bytes(hash, element_string(e));
    default:
        return hash_bytes(hash, e->value);
    }
}

struct hashed {
    uint64_t hash;
    struct element value;
};

static int order_hashed(const void *a, const void *b)
{
    const struct hashed *x = a, *y = b;
    return (x->hash > y->hash) - (x->hash < y->hash);
}

bool all_different(struct bytes array, bool *different, struct error *err)
{
    enum { SHORT = 32 };
    struct arena arena;
    struct hashed few[SHORT], *values = few;
    struct element_reader reader;
    size_t n = count_fields(array), i = 0;
    arena_init_metered(&arena, 0);
    if (n > SHORT && !(values = arena_alloc(&arena, n * sizeof *values)))
        return error_out_of_memory(err);
    element_reader_init(&reader, array);
    for (; i < n && element_next(&reader, &values[i].value); i++)
        values[i].hash = hash_value(&values[i].value);
    qsort(values, n, sizeof *values, order_hashed);
    bool ok = true, equal = false;
    for (i = 0; ok && !equal && i < n; i++) {
        for (size_t j = i + 1; ok && !equal && j < n && values[i].hash == values[j].hash; j++)
            ok = equal_in_any_order(&values[i].value, &values[j].value, &equal, err);
    }
    *different = !equal;
    arena_destroy(&arena);
    return ok;
}
