#include "wal-service/store/segment_scan.h"

#include <stdlib.h>

#include "common/base/memory.h"
#include "wal-service/store/segment_reader.h"

enum {
    FRAMES_A_PIECE = 256,         /* so many places are copied out of the index at a time */
    LARGEST_READ_BYTES = 1 << 20, /* of frames that are read together */
    LARGEST_GAP_BYTES = 16 << 10, /* reading on over so much costs less than another read */
};

struct segment_scan {
    struct segment_reader reader;
    struct frame_scratch scratch;
    const struct log_range *range;
    frame_visit_fn *visit;
    void *ctx;
};

/* How far it pays to read when the first of these frames has to be read. */
static size_t read_ahead(const struct indexed_frame *frames, size_t n)
{
    const struct frame_place *first = &frames[0].place;
    uint64_t end = (uint64_t)first->offset + first->length;
    for (size_t i = 1; i < n; i++) {
        const struct frame_place *place = &frames[i].place;
        uint64_t next_end = (uint64_t)place->offset + place->length;
        if (place->segment != first->segment || place->offset > end + LARGEST_GAP_BYTES || next_end - first->offset > LARGEST_READ_BYTES)
            break;
        end = next_end;
    }
    return (size_t)(end - first->offset);
}

/* Shows the first of the frames. False with *failure untouched: the visitor wants no more. */
static bool show_frame(struct segment_scan *scan, const struct indexed_frame *frames, size_t n, struct error *failure)
{
    const struct frame_place *place = &frames[0].place;
    const uint8_t *data;
    struct frame frame;
    size_t size;
    if (!segment_reader_open(&scan->reader, place->segment, failure))
        return false;
    size_t ahead = segment_reader_holds(&scan->reader, place->offset, place->length) ? 0 : read_ahead(frames, n);
    if (!segment_reader_at(&scan->reader, place->offset, place->length, ahead, &data, failure))
        return false;
    if (!frame_decode(bytes_of(data, place->length), &frame, &size, &scan->scratch, failure))
        return segment_reader_wrap(&scan->reader, place->offset, failure);
    if (frame.first_lsn != frames[0].first_lsn || frame_last_lsn(&frame) != frames[0].last_lsn ||
        !bytes_equal(frame.project, scan->range->project))
        return segment_reader_damaged(&scan->reader, place->offset, "another batch than the one written here", failure);
    return !log_range_matches(scan->range, &frame) || scan->visit(scan->ctx, &frame, failure);
}

bool segment_scan(struct disk *disk, int directory, struct log_index *index, const struct log_range *range, frame_visit_fn *visit,
                  void *ctx, struct error *err)
{
    struct log_head head;
    log_index_head(index, range->project, &head);
    struct log_range left = *range;
    if (left.through > head.lsn)
        left.through = head.lsn;
    struct segment_scan scan = { .range = range, .visit = visit, .ctx = ctx };
    segment_reader_init(&scan.reader, disk, directory);
    struct indexed_frame *piece = mem_alloc(FRAMES_A_PIECE * sizeof piece[0]);
    struct error failure = { 0 };
    bool going = true;
    size_t n;
    uint64_t next = 0; /* first LSN of the next batch; 0: not known */
    while (going && (n = log_index_collect(index, &left, piece, FRAMES_A_PIECE)) > 0) {
        for (size_t i = 0; i < n && going; i++) {
            going = show_frame(&scan, piece + i, n - i, &failure);
            /* without a branch in the range every batch is there: whatever became of the index, none is left out */
            if (going && !range->branch_id && next != 0 && piece[i].first_lsn != next)
                going = error_set(&failure, ERROR_DATA_LOSS, "the index has no batch at LSN %llu", (unsigned long long)next);
            next = piece[i].last_lsn + 1;
        }
        left.after = piece[n - 1].last_lsn;
    }
    free(piece);
    frame_scratch_destroy(&scan.scratch);
    segment_reader_destroy(&scan.reader);
    if (failure.code != ERROR_OK && err)
        *err = failure;
    return failure.code == ERROR_OK;
}
