/* What is where in the log: shared by the stores.
 *
 * In memory stay, for each project, its head, the last LSN of each branch, the head at the end of each incarnation
 * that wrote to it, and 24 bytes for each segment that it has batches in. What batches a segment holds is in its
 * batch table while it is new and in its mapped footer later, so memory grows with projects and branches and not
 * with the length of the log.
 *
 * Tables are read under the lock. Footers are read without it: a page of one may have to come from the disk, and
 * the commit thread must not wait for that. They never change and stay until the index is destroyed.
 *
 * Ownership  copies what it keeps.
 * Threads    claim, publish, begin_incarnation, begin_segment: one thread. Everything else: any thread, also
 *            beside those.
 */
#ifndef ARGON_WAL_STORE_LOG_INDEX_H
#define ARGON_WAL_STORE_LOG_INDEX_H

#include "common/base/sync.h"
#include "wal-service/store/batch_table.h"
#include "wal-service/store/log_store.h"
#include "wal-service/store/segment_footer.h"

struct log_index {
    struct mutex lock; /* rank 45; covers everything below */
    struct project_index *projects;
    struct branch_head *branches;
    struct index_segment *segments; /* rising ids; the last grows */
    uint32_t n_segments, segments_capacity;
    uint8_t (*incarnations)[INCARNATION_BYTES];
    uint32_t n_incarnations, incarnations_capacity;
    uint32_t next_project;
    uint64_t claims;
    uint64_t n_projects; /* with at least one batch */
    uint64_t entries;
    uint64_t memory;
};

void log_index_init(struct log_index *index);
void log_index_destroy(struct log_index *index);

/* Batches go to this segment from here on; nothing is added to the one before any more. Nothing happens if it
 * is the current one. */
void log_index_begin_segment(struct log_index *index, uint32_t id);

/* The table of a segment before the current one, and the entries in it. NULL: it has a footer already. */
const struct batch_table *log_index_sealed_table(struct log_index *index, uint32_t id, uint64_t *entries);

/* The footer takes the table's place; the index owns it from now on. NULL: the table is empty. */
void log_index_take_footer(struct log_index *index, uint32_t id, struct segment_footer *footer);

/* From here on batches belong to this incarnation, until the next one begins. Returns its number; the current
 * one's if it is the same again. */
uint32_t log_index_begin_incarnation(struct log_index *index, const uint8_t incarnation[INCARNATION_BYTES]);

/* Does each frame stand right behind the head of its project, or behind the frame before it? */
bool log_index_claim(struct log_index *index, const struct frame *frames, size_t n);

/* Makes frames visible, all at once. They were claimed, and stand one after another from
 * offset of the current segment on. */
void log_index_publish(struct log_index *index, const struct frame *frames, size_t n, uint32_t offset, uint32_t incarnation);

/* As the operations of log_store with these names. */
void log_index_head(struct log_index *index, struct bytes project, struct log_head *head);
uint64_t log_index_branch_head(struct log_index *index, struct bytes project, struct bytes branch_id);
void log_index_find_time(struct log_index *index, struct bytes project, uint64_t micros, struct log_head *found);
CHECKED bool log_index_list_branches(struct log_index *index, struct bytes project, struct bytes after, size_t max, struct arena *arena,
                                     struct log_branch *branches, size_t *n, struct error *err);
uint64_t log_index_batch_end(struct log_index *index, struct bytes project, uint64_t lsn);
void log_index_incarnation(struct log_index *index, uint8_t out[INCARNATION_BYTES]);
uint64_t log_index_known_through(struct log_index *index, struct bytes project, const uint8_t incarnation[INCARNATION_BYTES]);

/* Fills in projects, entries and memory_bytes. */
void log_index_stats(struct log_index *index, struct log_store_stats *stats);

/* The first frames of the range in LSN order, at most max; returns how many. A range with a collection but no
 * branch yields every frame: the caller filters with log_range_matches. */
size_t log_index_collect(struct log_index *index, const struct log_range *range, struct indexed_frame *out, size_t max);

/* Has the frame a run that the range asks for? */
bool log_range_matches(const struct log_range *range, const struct frame *frame);

#endif
