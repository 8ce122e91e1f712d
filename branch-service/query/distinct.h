/* The different values of a field, each once, as MongoDB 7.0's distinct has them: of an array at the end of the path its
 * elements, of numbers of different types that are equal the first.
 *
 * Ownership  documents are borrowed until distinct_free.
 * Threads    one at a time.
 * Errors     those of query_error.h: 17217 when the values are more than a document takes.
 */
#ifndef ARGON_BRANCH_QUERY_DISTINCT_H
#define ARGON_BRANCH_QUERY_DISTINCT_H

#include "common/base/bytes.h"
#include "common/base/error.h"

struct distinct;

/* The path is borrowed until distinct_free. */
struct distinct *distinct_new(const char *path);
void distinct_free(struct distinct *distinct); /* NULL is fine */
CHECKED bool distinct_add(struct distinct *distinct, struct bytes document, struct error *err);
/* {"values": [...]}, sorted; appended. Nothing can be added afterwards. */
CHECKED bool distinct_write(struct distinct *distinct, struct buffer *out, struct error *err);

#endif
