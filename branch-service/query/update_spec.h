/* Compiles the operators of an update and its array filters. */
#ifndef ARGON_BRANCH_QUERY_UPDATE_SPEC_H
#define ARGON_BRANCH_QUERY_UPDATE_SPEC_H

#include "branch-service/query/update_tree.h"

struct update_spec {
    /* in path order; without those for inserts only, and all of them */
    struct update_action *actions, *insert_actions;
    size_t n_actions, n_insert_actions;
    struct array_filters filters;
    const char *dollar;       /* a path with a dollar in front, which no document that is there gets; or NULL */
    bool depends_on_document; /* update_actions_resolve comes first */
    bool can_nest;            /* a result can be too deep without the builder's seeing it */
};

/* Both documents live as long as the compiler's arena. array_filters: data NULL when there are none. */
CHECKED bool update_spec_compile(struct bytes operators, struct bytes array_filters, struct update_compiler *compiler,
                                 struct update_spec *spec, struct error *err);

/* Of a change of a document that is there. */
CHECKED bool update_spec_check_in_place(const struct update_spec *spec, struct error *err);

#endif
