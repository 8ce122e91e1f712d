/* What makes a document one that can be stored: names and _id. */
#ifndef ARGON_BRANCH_QUERY_DOCUMENT_H
#define ARGON_BRANCH_QUERY_DOCUMENT_H

#include "common/base/error.h"
#include "common/bson/builder.h"

/* Finds the _id (id->name is NULL when there is none) and refuses what MongoDB does not store: names that begin with a
 * dollar anywhere in _id, except those of a DBRef; a second _id; an _id that is an array, a regular expression or undefined. */
CHECKED bool document_check_storable(struct bytes document, struct element *id, struct error *err);

/* What MongoDB inserts, but puts in no document's place: such names at the top level. */
CHECKED bool document_check_in_place(struct bytes document, struct error *err);

/* Writes the fields, the _id, which may be another document's, first. id may be NULL: none. */
void document_write(struct builder *out, const struct element *id, struct bytes document);

#endif
