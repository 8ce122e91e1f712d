/* A projection from inside: a tree of fields. */
#ifndef ARGON_BRANCH_QUERY_PROJECTION_INTERNAL_H
#define ARGON_BRANCH_QUERY_PROJECTION_INTERNAL_H

#include "branch-service/query/name_index.h"
#include "branch-service/query/path.h"
#include "branch-service/query/projection.h"

enum field_action { FIELD_INCLUDE, FIELD_EXCLUDE, FIELD_COMPUTE, FIELD_SLICE, FIELD_ELEM_MATCH, FIELD_CHILD };

struct projection_field {
    const char *name;
    uint32_t len;
    enum field_action action;
    struct projection_node *child;
    const struct expression *expression;
    int32_t skip, limit;     /* slice; skip alone where limit is 0: so many from the start or the end */
    struct filter *elements; /* $elemMatch: {name: {$elemMatch: ...}} */
};

struct projection_node {
    struct name_index names;
    struct projection_field **fields; /* in the spec's order, which is that of names */
    size_t room;
    bool computes; /* it or a child has a computed field */
};

static inline size_t node_size(const struct projection_node *node)
{
    return node->names.n;
}

struct projection {
    struct arena arena;
    struct projection_node root;
    bool inclusion; /* what is not named is dropped */
    bool has_positional;
    struct path positional; /* of "path.$", without the dollar */
};

#endif
