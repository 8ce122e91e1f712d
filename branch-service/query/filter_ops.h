/* The operators that a filter can put on a path, one row each. $not, $all, $elemMatch and $options, which are
 * made of others, are filter_compile.c's.
 */
#ifndef ARGON_BRANCH_QUERY_FILTER_OPS_H
#define ARGON_BRANCH_QUERY_FILTER_OPS_H

#include "branch-service/query/filter_node.h"

struct filter_op {
    const char *name;
    /* Checks the operand (node->operand, whose neighbours are in `among`) and makes of it what matching needs. */
    bool (*prepare)(struct filter *filter, struct filter_node *node, struct bytes among, struct error *err);
    /* Of one value that the path reached. A document matches when one value does, */
    value_matches_fn *matches;
    bool negated; /* or when none does */
};

/* NULL: there is no such operator. */
const struct filter_op *filter_op_find(const char *name, size_t len);
/* All operators that filters have, wherever their table is; NULL behind the last. */
const char *filter_operator_name(size_t i);
const char *filter_op_name(size_t i); /* of this table */

/* Where a predicate stands among those of other operators when MongoDB brings the conditions of a filter in order. */
size_t filter_node_rank(const struct filter_node *node);
/* Is it an equality, or a regular expression for strings? MongoDB makes one $in of those on one path in an $or. */
bool filter_node_is_equality(const struct filter_node *node);

/* {a: v} and {a: /regex/}, which are written without an operator. */
extern const struct filter_op filter_equality, filter_regex_value;

/* $in and $nin, for those who look for _ids. */
struct value_list {
    size_t n;
    struct element *values; /* rising, each once */
    bool has_null;
    size_t n_regexes;
    struct regex **regexes;
};

enum value_order { ORDER_LESS, ORDER_LESS_EQUAL, ORDER_EQUAL, ORDER_GREATER, ORDER_GREATER_EQUAL };
value_matches_fn match_equal, match_less, match_less_equal, match_greater, match_greater_equal, match_list;
/* $bits..., in filter_bits.c. */
bool prepare_bits(struct filter *filter, struct filter_node *node, struct bytes among, struct error *err);
value_matches_fn match_bits_all_set, match_bits_any_set, match_bits_all_clear, match_bits_any_clear;
/* In filter_geo.c. */
bool prepare_geo_within(struct filter *filter, struct filter_node *node, struct bytes among, struct error *err);
value_matches_fn match_geo_within;

#endif
