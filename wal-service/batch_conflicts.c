#include "wal-service/batch_conflicts.h"

#include <assert.h>
#include <inttypes.h>

#include "wal-service/run_codec.h"

enum { AHEAD = 16 }; /* keys whose place in the window is fetched while others are checked */

/* Names the i-th touched document, for i rising from call to call. */
struct touched_cursor {
    const struct append_batch *batch;
    size_t run, next;
    struct run_reader reader;
    bool open;
};

static struct batch_key touched_key(struct touched_cursor *cursor, size_t i)
{
    struct run_entry entry = { 0 };
    for (;;) {
        const struct frame_run *run = &cursor->batch->runs[cursor->run];
        bool read = cursor->open || run_reader_init(&cursor->reader, run->encoded, NULL);
        cursor->open = true;
        while (read && run_reader_more(&cursor->reader)) {
            read = run_reader_next(&cursor->reader, &entry, NULL);
            if (read && cursor->next++ == i)
                return (struct batch_key) { run->branch_id, run->collection, entry.document_id };
        }
        assert(read && "a batch's runs are encoded by this service");
        cursor->run++;
        cursor->open = false;
    }
}

size_t batch_find_conflicts(struct append_batch *batch, const struct conflict_space *space)
{
    struct append_result *result = &batch->result;
    struct touched_cursor cursor = { .batch = batch };
    size_t n = 0, n_touched = batch->unconditional ? 0 : batch->entries;
    for (size_t i = 0; i < n_touched + batch->n_reads; i++) {
        bool touched = i < n_touched;
        if (i + AHEAD < n_touched)
            conflict_space_prefetch(space, batch->touched[i + AHEAD]);
        uint64_t lsn = conflict_space_written(space, touched ? batch->touched[i] : batch->read_hashes[i - n_touched]);
        if (lsn <= batch->read_lsn)
            continue;
        if (n++ == 0) {
            result->n_conflicts = 0;
            result->conflicts = arena_alloc(batch->arena, MAX_CONFLICTS_NAMED * sizeof *result->conflicts);
        }
        if (result->conflicts && result->n_conflicts < MAX_CONFLICTS_NAMED)
            result->conflicts[result->n_conflicts++] = (struct append_conflict) {
                .key = touched ? touched_key(&cursor, i) : batch->read_keys[i - n_touched],
                .written_lsn = lsn,
            };
    }
    if (n)
        error_set(&result->error, ERROR_ABORTED, "%zu keys were written after LSN %" PRIu64, n, batch->read_lsn);
    return n;
}
