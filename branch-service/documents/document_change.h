/* One change of documents, compiled: which it is for, and what becomes of them.
 *
 * Ownership  borrows its spec and is left where it was compiled: parts of it point at each other.
 * Threads    immutable once it is compiled.
 * Errors     INVALID_ARGUMENT of the spec; from the functions below also what depends on the documents.
 */
#ifndef ARGON_BRANCH_DOCUMENTS_DOCUMENT_CHANGE_H
#define ARGON_BRANCH_DOCUMENTS_DOCUMENT_CHANGE_H

#include <bson/bson.h>

#include "branch-service/documents/documents.h"
#include "branch-service/query/sort.h"
#include "branch-service/query/update.h"
#include "branch-service/view/tree.h"
#include "common/base/caller.h"

struct document_change {
    struct query_context context;
    struct filter *filter;
    struct update *update; /* NULL: they are deleted */
    struct sort *sort;     /* NULL: in _id order */
    struct bytes filter_spec;
    bool upsert;
    enum documents_scope scope;
};

/* Also after a failure: document_change_destroy. */
CHECKED bool document_change_compile_update(struct document_change *change, const struct update_spec *spec, struct error *err);
CHECKED bool document_change_compile_delete(struct document_change *change, const struct delete_spec *spec, struct error *err);
void document_change_destroy(struct document_change *change);

/* The one document that a change of DOCUMENTS_ONE is for. tree NULL: there are none. */
CHECKED bool document_change_find(const struct document_change *change, const struct tree *documents, struct caller caller,
                                  struct tree_item *item, bool *found, struct error *err);

/* The document that an upsert inserts where none matches. ALREADY_EXISTS: one that does not match has its _id. */
CHECKED bool document_change_insert(const struct document_change *change, const char *collection, const struct tree *documents,
                                    struct arena *arena, struct tree_item *item, struct error *err);

/* Whether nothing but the document with this key can match: one who writes that meets in the log whoever made a match. */
bool document_change_names(const struct document_change *change, struct bytes key);

#endif
