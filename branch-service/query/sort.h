/* Sorting documents as MongoDB 7.0 does: by several dotted paths, each up or down, values of all types in their order.
 * A path that reaches several values in an array counts with the least of them, downwards with the greatest; paths into
 * the same array count element by element, and paths into two different arrays of a document cannot be sorted by.
 *
 * Ownership  a compiled sort copies what it needs; a sorter copies documents.
 * Threads    a compiled sort is immutable; a sorter is one thread's.
 * Errors     those of query_error.h; 292 when a sorter is at its memory limit.
 */
#ifndef ARGON_BRANCH_QUERY_SORT_H
#define ARGON_BRANCH_QUERY_SORT_H

#include "common/base/bytes.h"
#include "common/base/error.h"
#include "common/bson/element.h"

enum { MAX_SORT_KEYS = 32, SORT_MEMORY_BYTES = 100 * 1024 * 1024 };

struct sort;

/* {} keeps documents in the order in which they come. */
CHECKED bool sort_compile(struct bytes spec, struct sort **sort, struct error *err);
void sort_free(struct sort *sort); /* NULL is fine */

/* What a document is sorted by, pointing into it. */
struct sort_key {
    struct element values[MAX_SORT_KEYS];
};
CHECKED bool sort_key_of(const struct sort *sort, struct bytes document, struct sort_key *key, struct error *err);
int sort_compare(const struct sort *sort, const struct sort_key *a, const struct sort_key *b);
size_t sort_key_count(const struct sort *sort);
int sort_key_direction(const struct sort *sort, size_t key); /* 1 or -1 */
/* 1 or -1: it is by _id alone, upwards or downwards; 0: by something else. */
int sort_id_direction(const struct sort *sort);

struct sorter;

/* limit: only the first so many are wanted, and no more are kept; 0: all. The sort is borrowed. */
struct sorter *sorter_new(const struct sort *sort, size_t limit, size_t memory_bytes);
void sorter_free(struct sorter *sorter); /* NULL is fine */
CHECKED bool sorter_add(struct sorter *sorter, struct bytes document, struct error *err);
/* After the last one has been added: the next in order, equal ones in the order in which they came. False: that was all.
 * Valid until the sorter is freed. */
bool sorter_next(struct sorter *sorter, struct bytes *document);

#endif
