/* MongoDB's total order of BSON values: by canonical type first (MinKey, null, numbers, strings and symbols,
 * objects, arrays, binary, ObjectId, bool, date, timestamp, regex, code, MaxKey), then by value. Numbers of
 * all four types compare by exact value; NaN is less than every number and equal to NaN; -0 equals 0.
 * https://www.mongodb.com/docs/manual/reference/bson-type-comparison-order/
 */
#ifndef ARGON_BSON_VALUE_COMPARE_H
#define ARGON_BSON_VALUE_COMPARE_H

#include <bson/bson.h>
#include <stdbool.h>

#include "common/bson/element.h"

/* < 0, 0, > 0. Embedded documents compare field by field in order: type, name, value. */
int value_compare(const bson_iter_t *a, const bson_iter_t *b);
/* Rank of the canonical type: equal ranks are comparable with each other. */
int value_type_rank(bson_type_t type);
/* -1, 0, 1 for numbers of any of the four types; NaN as above. */
int value_compare_numbers(const bson_iter_t *a, const bson_iter_t *b);

/* The same for elements. The elements' own names take no part. */
int value_compare_elements(const struct element *a, const struct element *b);
/* Of arrays of struct element, for qsort and bsearch. */
int value_compare_items(const void *a, const void *b);

#endif
