#include "wal-service/log_reader.h"

static bool is_wanted(const struct log_range *range, const struct frame_run *run)
{
    return (!range->branch_id || bytes_equal(*range->branch_id, run->branch_id)) &&
           (!range->collection || bytes_equal(*range->collection, run->collection));
}

static bool add_frame(void *ctx, const struct frame *frame, struct error *err)
{
    struct log_reader *reader = ctx;
    struct buffer *runs = &reader->runs;
    size_t bytes = 0;
    for (size_t i = 0; i < frame->n_runs; i++)
        bytes += is_wanted(&reader->range, &frame->runs[i]) ? frame->runs[i].encoded.len : 0;
    /* a large batch goes alone: behind others it could pass the limit of a message */
    reader->full = runs->len && runs->len + bytes > 2 * LOG_READER_BYTES;
    if (reader->full)
        return false;
    if (runs->len + bytes > runs->capacity / 2 && runs->len > LOG_READER_BYTES / 8) /* much is coming: no more doubling */
        (void)buffer_reserve(runs, (runs->len < LOG_READER_BYTES ? LOG_READER_BYTES - runs->len : 0) + bytes);
    for (size_t i = 0; i < frame->n_runs; i++)
        if (is_wanted(&reader->range, &frame->runs[i]))
            buffer_append(runs, frame->runs[i].encoded.data, frame->runs[i].encoded.len);
    if (runs->failed)
        return error_set(err, ERROR_RESOURCE_EXHAUSTED, "no memory for a batch of the log");
    reader->last_lsn = frame_last_lsn(frame);
    reader->full = runs->len >= LOG_READER_BYTES || (reader->stop && reader->stop(reader->ctx));
    return !reader->full;
}

bool log_reader_step(struct log_reader *reader, uint64_t through, struct error *err)
{
    log_reader_clear(reader);
    if (reader->range.after >= through)
        return true;
    reader->full = false;
    reader->last_lsn = reader->range.after;
    reader->range.through = through;
    if (!log_store_scan(reader->store, &reader->range, add_frame, reader, err))
        return false;
    reader->range.after = reader->full ? reader->last_lsn : through;
    return true;
}

void log_reader_clear(struct log_reader *reader)
{
    buffer_destroy(&reader->runs);
}
