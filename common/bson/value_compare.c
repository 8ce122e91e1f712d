#include "common/bson/value_compare.h"

#include "common/bson/number.h"

int value_type_rank(bson_type_t type)
{
    /* the numbers are MongoDB's, so that its documentation can be read beside this */
    switch (type) {
    case BSON_TYPE_MINKEY:
        return -1;
    case BSON_TYPE_EOD:
    case BSON_TYPE_UNDEFINED:
        return 0;
    case BSON_TYPE_NULL:
        return 5;
    case BSON_TYPE_INT32:
    case BSON_TYPE_INT64:
    case BSON_TYPE_DOUBLE:
    case BSON_TYPE_DECIMAL128:
        return 10;
    case BSON_TYPE_UTF8:
    case BSON_TYPE_SYMBOL:
        return 15;
    case BSON_TYPE_DOCUMENT:
        return 20;
    case BSON_TYPE_ARRAY:
        return 25;
    case BSON_TYPE_BINARY:
        return 30;
    case BSON_TYPE_OID:
        return 35;
    case BSON_TYPE_BOOL:
        return 40;
    case BSON_TYPE_DATE_TIME:
        return 45;
    case BSON_TYPE_TIMESTAMP:
        return 47;
    case BSON_TYPE_REGEX:
        return 50;
    case BSON_TYPE_DBPOINTER:
        return 55;
    case BSON_TYPE_CODE:
        return 60;
    case BSON_TYPE_CODEWSCOPE:
        return 65;
    case BSON_TYPE_MAXKEY:
    default:
        return 127;
    }
}

static bson_type_t type_of(const struct element *e)
{
    return e->type == (uint8_t)BSON_TYPE_MINKEY ? BSON_TYPE_MINKEY : (bson_type_t)e->type;
}

/* Recursion is bounded by MAX_NESTING, which stored documents and filters obey. */
static int compare_documents(struct bytes a, struct bytes b, bool with_names)
{
    struct element_reader ra, rb;
    struct element ea, eb;
    element_reader_init(&ra, a);
    element_reader_init(&rb, b);
    for (;;) {
        bool more_a = element_next(&ra, &ea), more_b = element_next(&rb, &eb);
        if (!more_a || !more_b)
            return more_a - more_b;
        int order = value_type_rank(type_of(&ea)) - value_type_rank(type_of(&eb));
        if (order == 0 && with_names)
            order = bytes_compare(bytes_of(ea.name, ea.name_len), bytes_of(eb.name, eb.name_len));
        if (order == 0)
            order = value_compare_elements(&ea, &eb);
        if (order != 0)
            return order;
    }
}

/* Length first, then bytes: how MongoDB orders binary (whose subtype stands before the data) and DBPointers. */
static int compare_sized(struct bytes a, struct bytes b)
{
    if (a.len != b.len)
        return a.len < b.len ? -1 : 1;
    return bytes_compare(a, b);
}

static int compare_code_with_scope(const struct element *a, const struct element *b)
{
    size_t code_a = get_u32(a->value.data + 4), code_b = get_u32(b->value.data + 4);
    int order = bytes_compare(bytes_of(a->value.data + 8, code_a - 1), bytes_of(b->value.data + 8, code_b - 1));
    if (order != 0)
        return order;
    return compare_documents(bytes_of(a->value.data + 8 + code_a, a->value.len - 8 - code_a),
                             bytes_of(b->value.data + 8 + code_b, b->value.len - 8 - code_b), true);
}

int value_compare_elements(const struct element *a, const struct element *b)
{
    int rank = value_type_rank(type_of(a));
    int order = rank - value_type_rank(type_of(b));
    if (order != 0)
        return order;
    switch (a->type) {
    case BSON_TYPE_INT32:
    case BSON_TYPE_INT64:
    case BSON_TYPE_DOUBLE:
    case BSON_TYPE_DECIMAL128:
        return number_compare_elements(a, b);
    case BSON_TYPE_UTF8:
    case BSON_TYPE_SYMBOL:
    case BSON_TYPE_CODE:
        return bytes_compare(element_string(a), element_string(b));
    case BSON_TYPE_DOCUMENT:
        return compare_documents(a->value, b->value, true);
    case BSON_TYPE_ARRAY:
        return compare_documents(a->value, b->value, false);
    case BSON_TYPE_BINARY:
        return compare_sized(bytes_of(a->value.data + 4, a->value.len - 4), bytes_of(b->value.data + 4, b->value.len - 4));
    case BSON_TYPE_DBPOINTER:
        return compare_sized(a->value, b->value);
    case BSON_TYPE_DATE_TIME: {
        int64_t x = element_int64(a), y = element_int64(b);
        return (x > y) - (x < y);
    }
    case BSON_TYPE_TIMESTAMP: {
        uint64_t x = get_u64(a->value.data), y = get_u64(b->value.data);
        return (x > y) - (x < y);
    }
    case BSON_TYPE_CODEWSCOPE:
        return compare_code_with_scope(a, b);
    default:
        /* ObjectId and bool; a regex is two C strings, whose NULs make the order of their bytes that of
         * (pattern, options); the rest have one value */
        return bytes_compare(a->value, b->value);
    }
}

int value_compare(const bson_iter_t *a, const bson_iter_t *b)
{
    struct element x = element_of_iter(a), y = element_of_iter(b);
    return value_compare_elements(&x, &y);
}

int value_compare_numbers(const bson_iter_t *a, const bson_iter_t *b)
{
    struct element x = element_of_iter(a), y = element_of_iter(b);
    return number_compare_elements(&x, &y);
}

int value_compare_items(const void *a, const void *b)
{
    return value_compare_elements(a, b);
}
