/* The index of one segment while it grows: for each project in it, its batches, and which of them hold runs of
 * a branch, and of a collection on a branch.
 *
 * 24 bytes a batch, 8 a run. When the segment is sealed, the same goes into its footer (segment_footer.h) and
 * this is freed.
 *
 * Ownership  copies what it keeps.
 * Threads    under the lock of the index that owns it; read by any thread, without a lock, once nothing is added
 *            any more.
 */
#ifndef ARGON_WAL_STORE_BATCH_TABLE_H
#define ARGON_WAL_STORE_BATCH_TABLE_H

#include "wal-service/store/batch_view.h"

struct batch_table;

struct batch_table *batch_table_new(void);
void batch_table_free(struct batch_table *table); /* NULL is fine */

/* Projects are numbered in the order in which they come. */
uint32_t batch_table_add_project(struct batch_table *table, struct bytes id);

/* The frame stands at offset, and follows the last one of its project. */
void batch_table_add(struct batch_table *table, uint32_t project, const struct frame *frame, uint32_t offset, uint32_t length);

void batch_table_view(const struct batch_table *table, uint32_t project, struct batch_view *view);

/* The batches of a branch, or of a collection on it (NULL: of any). False: there are none. */
bool batch_table_find(const struct batch_table *table, uint32_t project, struct bytes branch_id, const struct bytes *collection,
                      struct batch_list *list);

size_t batch_table_memory(const struct batch_table *table);

/* ---- for the footer -------------------------------------------------------------------------------- */

uint32_t batch_table_projects(const struct batch_table *table);
struct bytes batch_table_project_id(const struct batch_table *table, uint32_t project);

struct batch_posting {
    uint32_t project;
    bool any_collection;
    struct bytes branch_id, collection;
    struct batch_list batches;
};

/* All of them, by project, branch id, and then "any collection" before the collections in order. The caller
 * frees the array; what it points to is the table's. */
struct batch_posting *batch_table_postings(const struct batch_table *table, uint32_t *n);

#endif
