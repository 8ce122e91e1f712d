/* $bitsAllSet and its kin: of the bits of a whole number, whose sign goes on for ever, or of binary data, which
 * ends in zeros for ever. */
#include "branch-service/query/filter_ops.h"
#include "branch-service/query/query_error.h"
#include "common/bson/number.h"

struct bits {
    uint64_t mask; /* for numbers: bit 63, the sign, stands for all beyond */
    /* for binary data */
    size_t n;            /* how many bits are asked */
    uint32_t *positions; /* which, in a list; NULL: */
    struct bytes bytes;  /* those set in here */
};

static bool read_position(const struct element *e, const char *name, uint32_t *position, struct error *err)
{
    int64_t value;
    bool exact;
    if (!element_is_number(e) || !number_truncate(e, &value, &exact) || !exact || value > INT32_MAX || value < INT32_MIN)
        return query_error(err, MONGO_BAD_VALUE, "%s: bit positions must be whole numbers of 32 bits", name);
    if (value < 0)
        return query_error(err, MONGO_BAD_VALUE, "%s: bit positions must be >= 0 but got %lld", name, (long long)value);
    *position = (uint32_t)value;
    return true;
}

static size_t count_elements(struct bytes array)
{
    struct element_reader reader;
    struct element e;
    size_t n = 0;
    element_reader_init(&reader, array);
    while (element_next(&reader, &e))
        n++;
    return n;
}

static bool prepare_positions(struct filter *filter, const struct element *operand, struct bits *bits, struct error *err)
{
    struct element_reader reader;
    struct element e;
    bits->positions = arena_alloc(&filter->arena, count_elements(operand->value) * sizeof *bits->positions);
    if (!bits->positions)
        return error_out_of_memory(err);
    element_reader_init(&reader, operand->value);
    while (element_next(&reader, &e)) {
        uint32_t *position = &bits->positions[bits->n++];
        if (!read_position(&e, operand->name, position, err))
            return false;
        bits->mask |= (uint64_t)1 << (*position < 63 ? *position : 63);
    }
    return true;
}

static bool prepare_mask(struct filter *filter, const struct element *operand, struct bits *bits, struct error *err)
{
    if (operand->type == BSON_TYPE_BINARY) {
        bits->bytes = element_binary(operand);
    } else {
        int64_t value;
        bool exact;
        if (!element_is_number(operand))
            return query_error(err, MONGO_BAD_VALUE, "%s takes an array, a number, or binary data, not a value of type %s", operand->name,
                               element_type_name(operand->type));
        if (!number_truncate(operand, &value, &exact) || !exact || value < 0)
            return query_error(err, MONGO_FAILED_TO_PARSE, "%s: expected a whole number of 64 bits that is not negative", operand->name);
        uint8_t *bytes = arena_alloc(&filter->arena, 8);
        if (!bytes)
            return error_out_of_memory(err);
        put_u64(bytes, (uint64_t)value);
        bits->bytes = bytes_of(bytes, 8);
    }
    for (size_t i = 0; i < bits->bytes.len; i++) {
        uint8_t byte = bits->bytes.data[i];
        bits->n += (size_t)__builtin_popcount(byte);
        if (i < 8)
            bits->mask |= (uint64_t)byte << 8 * i;
        else if (byte)
            bits->mask |= (uint64_t)1 << 63;
    }
    return true;
}

bool prepare_bits(struct filter *filter, struct filter_node *node, struct bytes among, struct error *err)
{
    (void)among;
    struct bits *bits = arena_zalloc(&filter->arena, sizeof *bits);
    if (!bits)
        return error_out_of_memory(err);
    node->prepared = bits;
    return node->operand.type == BSON_TYPE_ARRAY ? prepare_positions(filter, &node->operand, bits, err)
                                                 : prepare_mask(filter, &node->operand, bits, err);
}

static size_t count_in_binary(const struct bits *bits, struct bytes data)
{
    size_t set = 0;
    if (!bits->positions) {
        for (size_t i = 0; i < bits->bytes.len && i < data.len; i++)
            set += (size_t)__builtin_popcount(bits->bytes.data[i] & data.data[i]);
        return set;
    }
    for (size_t i = 0; i < bits->n; i++) {
        uint32_t at = bits->positions[i];
        set += at / 8 < data.len && (data.data[at / 8] >> at % 8 & 1);
    }
    return set;
}

/* How many of n bits are set. False: the value has no bits. */
static bool count_set(const struct bits *bits, const struct element *value, size_t *set, size_t *n)
{
    int64_t number;
    bool exact;
    if (value && value->type == BSON_TYPE_BINARY) {
        *n = bits->n;
        *set = count_in_binary(bits, element_binary(value));
        return true;
    }
    if (!value || !element_is_number(value) || !number_truncate(value, &number, &exact) || !exact)
        return false;
    *n = (size_t)__builtin_popcountll(bits->mask);
    *set = (size_t)__builtin_popcountll(bits->mask & (uint64_t)number);
    return true;
}

bool match_bits_all_set(struct match *match, const struct filter_node *node, const struct element *value)
{
    (void)match;
    size_t set, n;
    return count_set(node->prepared, value, &set, &n) && set == n;
}

bool match_bits_any_set(struct match *match, const struct filter_node *node, const struct element *value)
{
    (void)match;
    size_t set, n;
    return count_set(node->prepared, value, &set, &n) && set > 0;
}

bool match_bits_all_clear(struct match *match, const struct filter_node *node, const struct element *value)
{
    (void)match;
    size_t set, n;
    return count_set(node->prepared, value, &set, &n) && set == 0;
}

bool match_bits_any_clear(struct match *match, const struct filter_node *node, const struct element *value)
{
    (void)match;
    size_t set, n;
    return count_set(node->prepared, value, &set, &n) && set < n;
}
