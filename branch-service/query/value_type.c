#include "branch-service/query/value_type.h"

#include "branch-service/query/query_error.h"
#include "common/bson/number.h"
#include "common/bson/utf8.h"

bool is_dbref(struct bytes document, bool incomplete)
{
    struct element e;
    bool ref = element_find(document, "$ref", 4, &e), id = element_find(document, "$id", 3, &e);
    return incomplete ? ref || id || element_find(document, "$db", 3, &e) : ref && id;
}

bool is_operator_document(const struct element *value)
{
    struct element_reader reader;
    struct element first;
    if (value->type != BSON_TYPE_DOCUMENT)
        return false;
    element_reader_init(&reader, value->value);
    return element_next(&reader, &first) && element_name_is_operator(&first) && !is_dbref(value->value, false);
}

bool value_is_true(const struct element *value)
{
    switch (value->type) {
    case BSON_TYPE_BOOL:
        return *value->value.data != 0;
    case BSON_TYPE_EOD: /* missing */
    case BSON_TYPE_NULL:
    case BSON_TYPE_UNDEFINED:
        return false;
    case BSON_TYPE_INT32:
    case BSON_TYPE_INT64:
        return element_integer(value) != 0;
    case BSON_TYPE_DOUBLE:
        return element_double(value) != 0; /* NaN is not 0 */
    case BSON_TYPE_DECIMAL128: {
        struct decimal128 decimal = decimal128_load(value->value.data);
        return decimal.class != DECIMAL128_FINITE || decimal.coefficient != 0;
    }
    default:
        return true;
    }
}

type_set type_by_alias(struct bytes name)
{
    if (bytes_equal(name, bytes_of_string("number")))
        return NUMBER_TYPES;
    static const uint8_t ends[] = { (uint8_t)BSON_TYPE_MINKEY, BSON_TYPE_MAXKEY };
    for (size_t i = 0; i < ARRAY_LEN(ends); i++) {
        if (bytes_equal(name, bytes_of_string(element_type_name(ends[i]))))
            return type_bit(ends[i]);
    }
    for (uint8_t type = BSON_TYPE_DOUBLE; type <= BSON_TYPE_DECIMAL128; type++) {
        if (bytes_equal(name, bytes_of_string(element_type_name(type))))
            return type_bit(type);
    }
    return 0;
}

static bool read_one(const struct element *e, const char *operator_name, type_set *set, struct error *err)
{
    if (e->type == BSON_TYPE_UTF8) {
        struct bytes name = element_string(e);
        type_set types = type_by_alias(name);
        if (!types)
            return query_error(err, MONGO_BAD_VALUE, "%s: unknown type name alias '%.*s'", operator_name,
                               utf8_fit((const char *)name.data, name.len, 60), (const char *)name.data);
        *set |= types;
        return true;
    }
    if (!element_is_number(e))
        return query_error(err, MONGO_TYPE_MISMATCH, "%s: a type must be a number or a string, not a value of type %s", operator_name,
                           element_type_name(e->type));
    int64_t number = 0;
    bool exact;
    bool known = number_truncate(e, &number, &exact) && exact &&
                 (number == -1 || number == BSON_TYPE_MAXKEY || (number >= BSON_TYPE_DOUBLE && number <= BSON_TYPE_DECIMAL128));
    if (!known)
        return query_error(err, MONGO_BAD_VALUE, "%s: invalid numerical type code", operator_name);
    *set |= type_bit((uint8_t)number);
    return true;
}

bool type_set_read(const struct element *types, const char *operator_name, type_set *set, struct error *err)
{
    struct element_reader reader;
    struct element e;
    *set = 0;
    if (types->type != BSON_TYPE_ARRAY)
        return read_one(types, operator_name, set, err);
    element_reader_init(&reader, types->value);
    while (element_next(&reader, &e)) {
        if (!read_one(&e, operator_name, set, err))
            return false;
    }
    return true;
}
