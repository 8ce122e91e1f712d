/* Hashes under which equal values meet, whatever their types: 1, 1.0 and NumberDecimal("1.0"). */
#ifndef ARGON_BRANCH_QUERY_AGGREGATE_VALUE_HASH_H
#define ARGON_BRANCH_QUERY_AGGREGATE_VALUE_HASH_H

#include "common/bson/element.h"

uint64_t value_hash(const struct element *value);

#endif
