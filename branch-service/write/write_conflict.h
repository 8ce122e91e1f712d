/* Telling people and programs which keys other writers were faster with. */
#ifndef ARGON_BRANCH_WRITE_WRITE_CONFLICT_H
#define ARGON_BRANCH_WRITE_WRITE_CONFLICT_H

#include "branch-service/write/write.h"

/* Gives err the reason WRITE_CONFLICT and each key as collection/{"_id":...}, as far as there is room. */
void write_name_conflicts(const struct write_plan *plan, const struct log_key *conflicts, size_t n, struct error *err);

/* Appends a document's _id as relaxed JSON, like {"_id":1}; nothing when it has none. */
void write_format_id(struct bytes document, struct buffer *out);

/* Adds the key of one document: its _id as relaxed JSON behind the collection's name. */
void write_name_document(const char *collection, struct bytes document, struct error *err);

#endif
