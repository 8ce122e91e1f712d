/* What a filter compiles to: nodes in one array, each in front of its children.
 *
 *   - AND, OR, NOR and what asks the whole document (a schema, an expression) look at a document;
 *   - a predicate looks at the values that its path reaches, and holds when one of them fulfils it. Negated
 *     ones hold when none does: {a: {$ne: 1}} is true of [1, 2] for neither element alone;
 *   - $elemMatch is a predicate with children: of the elements of an array. Their predicates have no path when
 *     they are about the element itself.
 *
 * Threads    nodes are immutable; what changes during a match is in struct match.
 */
#ifndef ARGON_BRANCH_QUERY_FILTER_NODE_H
#define ARGON_BRANCH_QUERY_FILTER_NODE_H

#include "branch-service/query/filter.h"
#include "branch-service/query/path.h"
#include "common/base/caller.h"

enum filter_node_kind {
    NODE_AND,
    NODE_OR,
    NODE_NOR,     /* $not, too: with one child */
    NODE_NOTHING, /* matches no document */
    NODE_SCHEMA,
    NODE_EXPRESSION,
    NODE_PREDICATE,
    NODE_ELEMENT_VALUE,    /* $elemMatch whose children look at the element */
    NODE_ELEMENT_DOCUMENT, /* ... at fields of the element */
};

struct match;
struct filter_node;

/* value is NULL for missing. A failure goes through match_fail. */
typedef bool value_matches_fn(struct match *match, const struct filter_node *node, const struct element *value);

struct filter_node {
    enum filter_node_kind kind;
    bool negated;
    uint32_t end; /* the index behind the last descendant */
    struct path path;
    value_matches_fn *matches;
    struct element operand; /* as in the filter's copy of the spec */
    const void *prepared;   /* what the operator made of it */
};

struct filter {
    struct arena arena;
    const struct filter_node *nodes; /* the first is an AND of all */
    uint32_t n_nodes;
    struct regex *regexes; /* to be freed */
    struct filter_options options;
    struct bytes single_id; /* empty: any _id */
    bool has_id_ranges;     /* else any _id */
    const struct id_range *id_ranges;
    size_t n_id_ranges;
};

/* One match. */
struct match {
    const struct filter *filter;
    struct error *err;
    bool failed; /* the result says nothing, err says why */
};

/* True, which ends every walk. */
bool match_fail(struct match *match);

/* Before something that reads so many bytes. False, of the match as well: nobody waits for it any more. */
static inline bool match_goes_on(struct match *match, size_t bytes)
{
    return caller_still_waits(caller_steps_of(bytes), match->err) || !match_fail(match);
}

bool node_matches_document(struct match *match, const struct filter_node *node, struct bytes document);
/* Without its path: a predicate of this very value. */
bool node_matches_value(struct match *match, const struct filter_node *node, const struct element *value);

/* The children of a node: for (child = node + 1; child < node_end(filter, node); child = node_end(filter, child)) */
static inline const struct filter_node *node_end(const struct filter *filter, const struct filter_node *node)
{
    return filter->nodes + node->end;
}

/* Finds out which _ids can match. */
CHECKED bool filter_find_ids(struct filter *filter, struct error *err);

#endif
