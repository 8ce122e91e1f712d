/* Questions about the types of values that several parts of the query language ask. */
#ifndef ARGON_BRANCH_QUERY_VALUE_TYPE_H
#define ARGON_BRANCH_QUERY_VALUE_TYPE_H

#include "common/base/error.h"
#include "common/bson/element.h"
#include "common/bson/value_compare.h"

/* A document whose first name begins with a dollar, unless it is a DBRef, which is a value. */
bool is_operator_document(const struct element *value);
/* A DBRef; an incomplete one has any of its fields. */
bool is_dbref(struct bytes document, bool incomplete);

/* What counts as true for $exists and the like: all but false, null, undefined and numbers that are 0. */
bool value_is_true(const struct element *value);

static inline int value_rank(const struct element *value)
{
    return value_type_rank(value->type == (uint8_t)BSON_TYPE_MINKEY ? BSON_TYPE_MINKEY : (bson_type_t)value->type);
}

/* BSON types as bits. */
typedef uint32_t type_set;

static inline type_set type_bit(uint8_t type)
{
    return type == (uint8_t)BSON_TYPE_MINKEY ? (type_set)1 << 30
           : type == BSON_TYPE_MAXKEY        ? (type_set)1 << 31
                                             : (type_set)1 << (type & 31);
}

enum { NUMBER_TYPES = 1 << BSON_TYPE_INT32 | 1 << BSON_TYPE_INT64 | 1 << BSON_TYPE_DOUBLE | 1 << BSON_TYPE_DECIMAL128 };

/* The types of MongoDB's name for one or for all numbers; 0: there is no such name. */
type_set type_by_alias(struct bytes name);

/* A type by name or number, or an array of them. */
CHECKED bool type_set_read(const struct element *types, const char *operator_name, type_set *set, struct error *err);

#endif
