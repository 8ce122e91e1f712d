/* The stored form of a batch. All integers are little-endian.
 *
 *     at  bytes  what
 *      0      4  CRC32C of everything from byte 4 to the end of the frame
 *      4      4  size of the whole frame, a multiple of 8
 *      8      8  first_lsn
 *     16      8  timestamp
 *     24      4  entries, of all runs
 *     28      4  number of runs
 *     32      4  number of write keys
 *     36      4  step number of the request
 *     40      2  length of last_document_id
 *     42      2  length of the answer
 *     44      1  length of the project id
 *     45      1  length of the request id; 0: the batch belongs to no request
 *     46      1  length of the request hash
 *     47      1  flags: 1 = last step of its request
 *     48         write keys, 8 bytes each
 *                project id, request id, request hash, last_document_id, answer
 *                the runs, each:
 *                    4  length of the encoded run
 *                    4  entries
 *                    2  length of the branch id
 *                    2  length of the collection
 *                       branch id, collection, encoded run
 *                zeros up to a multiple of 8
 *
 * Valid when the checksum matches, every length stays inside the frame, the entries of the runs add up,
 * and the padding is zero. The strings of a run stand before its encoded form, although that contains them
 * too: who filters a range need not know protobuf.
 */
#include "wal-service/store/frame.h"

#include <assert.h>
#include <stdlib.h>

#include "common/base/crc32c.h"

enum {
    FRAME_HEADER_BYTES = 48,
    RUN_HEADER_BYTES = 12,
    FLAG_LAST_STEP = 1,
    STAMP_LSN_TAG = 5 << 3 | 1, /* protobuf field 5, wire type fixed64 */
    STAMP_TIMESTAMP_TAG = 6 << 3 | 1,
};

/* Far above every batch that the service lets in; keeps sums of lengths away from overflow. */
static const size_t MAX_FRAME_BYTES = (size_t)1 << 30;

static size_t padded(size_t size)
{
    return (size + 7) & ~(size_t)7;
}

size_t frame_encoded_size(const struct frame *frame)
{
    const struct request_step *request = &frame->request;
    size_t size = FRAME_HEADER_BYTES + 8 * frame->n_write_keys + frame->project.len + request->id.len + request->hash.len +
                  request->last_document_id.len + request->answer.len;
    for (size_t i = 0; i < frame->n_runs; i++) {
        const struct frame_run *run = &frame->runs[i];
        size += RUN_HEADER_BYTES + run->branch_id.len + run->collection.len + run->encoded.len;
    }
    return padded(size);
}

bool frame_check(const struct frame *frame, struct error *err)
{
    const struct request_step *request = &frame->request;
    if (frame->project.len == 0 || frame->project.len > MAX_PROJECT_ID_BYTES)
        return error_set(err, ERROR_INVALID_ARGUMENT, "a project id has 1 to %d bytes, not %zu", MAX_PROJECT_ID_BYTES, frame->project.len);
    if (request->id.len > UINT8_MAX || request->hash.len > UINT8_MAX || request->last_document_id.len > UINT16_MAX ||
        request->answer.len > UINT16_MAX)
        return error_set(err, ERROR_INVALID_ARGUMENT, "a field of the request step is too long to be stored");
    if (frame->first_lsn == 0 || frame->entries == 0)
        return error_set(err, ERROR_INVALID_ARGUMENT, "a batch has at least one entry, at an LSN above 0");
    uint64_t entries = 0;
    for (size_t i = 0; i < frame->n_runs; i++) {
        const struct frame_run *run = &frame->runs[i];
        if (run->branch_id.len > MAX_BRANCH_ID_BYTES || run->collection.len > MAX_COLLECTION_ID_BYTES)
            return error_set(err, ERROR_INVALID_ARGUMENT, "the branch id or collection of run %zu is too long", i);
        if (run->entries == 0 || run->encoded.len < RUN_STAMP_BYTES || run->encoded.len > MAX_FRAME_BYTES)
            return error_set(err, ERROR_INVALID_ARGUMENT, "run %zu is empty, too long or has no room for its stamp", i);
        entries += run->entries;
    }
    if (entries != frame->entries)
        return error_set(err, ERROR_INVALID_ARGUMENT, "the runs have %llu entries, the batch says %u", (unsigned long long)entries,
                         frame->entries);
    if (frame->n_write_keys > MAX_FRAME_BYTES / 8 || frame->n_runs > MAX_FRAME_BYTES / RUN_HEADER_BYTES ||
        frame_encoded_size(frame) > MAX_FRAME_BYTES)
        return error_set(err, ERROR_INVALID_ARGUMENT, "the batch is larger than a frame can be");
    return true;
}

void frame_encode(const struct frame *frame, struct buffer *out)
{
    assert(frame_check(frame, NULL));
    const struct request_step *request = &frame->request;
    size_t size = frame_encoded_size(frame);
    size_t start = out->len;
    if (!buffer_reserve(out, size))
        return;

    uint8_t *header = buffer_append_zeros(out, FRAME_HEADER_BYTES);
    put_u32(header + 4, (uint32_t)size);
    put_u64(header + 8, frame->first_lsn);
    put_u64(header + 16, frame->timestamp);
    put_u32(header + 24, frame->entries);
    put_u32(header + 28, (uint32_t)frame->n_runs);
    put_u32(header + 32, (uint32_t)frame->n_write_keys);
    put_u32(header + 36, request->step);
    put_u16(header + 40, (uint16_t)request->last_document_id.len);
    put_u16(header + 42, (uint16_t)request->answer.len);
    header[44] = (uint8_t)frame->project.len;
    header[45] = (uint8_t)request->id.len;
    header[46] = (uint8_t)request->hash.len;
    header[47] = request->last ? FLAG_LAST_STEP : 0;

    for (size_t i = 0; i < frame->n_write_keys; i++)
        put_u64(buffer_append_zeros(out, 8), frame->write_keys[i]);
    buffer_append(out, frame->project.data, frame->project.len);
    buffer_append(out, request->id.data, request->id.len);
    buffer_append(out, request->hash.data, request->hash.len);
    buffer_append(out, request->last_document_id.data, request->last_document_id.len);
    buffer_append(out, request->answer.data, request->answer.len);
    for (size_t i = 0; i < frame->n_runs; i++) {
        const struct frame_run *run = &frame->runs[i];
        uint8_t *at = buffer_append_zeros(out, RUN_HEADER_BYTES);
        put_u32(at, (uint32_t)run->encoded.len);
        put_u32(at + 4, run->entries);
        put_u16(at + 8, (uint16_t)run->branch_id.len);
        put_u16(at + 10, (uint16_t)run->collection.len);
        buffer_append(out, run->branch_id.data, run->branch_id.len);
        buffer_append(out, run->collection.data, run->collection.len);
        buffer_append(out, run->encoded.data, run->encoded.len);
    }
    buffer_append_zeros(out, start + size - out->len);
    put_u32(out->data + start, crc32c(0, out->data + start + 4, size - 4));
}

static bool malformed(struct error *err, const char *what)
{
    return error_set(err, ERROR_DATA_LOSS, "bad frame: %s", what);
}

/* Takes len bytes from the front of *rest. */
static bool take(struct bytes *rest, size_t len, struct bytes *out)
{
    if (len > rest->len)
        return false;
    *out = bytes_of(rest->data, len);
    *rest = bytes_of(rest->data + len, rest->len - len);
    return true;
}

static bool grow(void **array, size_t *capacity, size_t n, size_t size)
{
    if (n <= *capacity)
        return true;
    void *larger = realloc(*array, n * size);
    if (!larger)
        return false;
    *array = larger;
    *capacity = n;
    return true;
}

/* Clients size these: the system may refuse. */
static bool scratch_reserve(struct frame_scratch *scratch, size_t runs, size_t keys, struct error *err)
{
    void *run_array = scratch->runs, *key_array = scratch->keys;
    bool ok = grow(&run_array, &scratch->runs_capacity, runs, sizeof scratch->runs[0]) &&
              grow(&key_array, &scratch->keys_capacity, keys, sizeof scratch->keys[0]);
    scratch->runs = run_array;
    scratch->keys = key_array;
    return ok || error_set(err, ERROR_RESOURCE_EXHAUSTED, "no memory for a batch of %zu runs and %zu keys", runs, keys);
}

static bool decode_runs(struct bytes *rest, const struct frame *frame, struct frame_run *runs, struct error *err)
{
    uint64_t entries = 0;
    for (size_t i = 0; i < frame->n_runs; i++) {
        struct bytes header;
        if (!take(rest, RUN_HEADER_BYTES, &header))
            return malformed(err, "a run passes the end of its frame");
        size_t encoded_len = get_u32(header.data);
        runs[i].entries = get_u32(header.data + 4);
        size_t branch_len = get_u16(header.data + 8), collection_len = get_u16(header.data + 10);
        if (!take(rest, branch_len, &runs[i].branch_id) || !take(rest, collection_len, &runs[i].collection) ||
            !take(rest, encoded_len, &runs[i].encoded))
            return malformed(err, "a run passes the end of its frame");
        entries += runs[i].entries;
    }
    if (entries != frame->entries)
        return malformed(err, "the entries of its runs do not add up");
    return true;
}

bool frame_decode(struct bytes in, struct frame *frame, size_t *size, struct frame_scratch *scratch, struct error *err)
{
    if (in.len < FRAME_HEADER_BYTES)
        return malformed(err, "shorter than its header");
    const uint8_t *header = in.data;
    size_t total = get_u32(header + 4);
    if (total < FRAME_HEADER_BYTES || total % 8 != 0 || total > in.len)
        return malformed(err, "impossible size");
    if (crc32c(0, header + 4, total - 4) != get_u32(header))
        return malformed(err, "checksum mismatch");

    struct frame found = {
        .first_lsn = get_u64(header + 8),
        .timestamp = get_u64(header + 16),
        .entries = get_u32(header + 24),
        .n_runs = get_u32(header + 28),
        .n_write_keys = get_u32(header + 32),
        .request = { .step = get_u32(header + 36), .last = header[47] & FLAG_LAST_STEP },
    };
    struct bytes rest = bytes_of(in.data + FRAME_HEADER_BYTES, total - FRAME_HEADER_BYTES), keys;
    /* before the scratch is sized: a count that cannot be true must not become an allocation */
    if (found.n_runs > rest.len / RUN_HEADER_BYTES || !take(&rest, 8 * found.n_write_keys, &keys))
        return malformed(err, "more runs or keys than fit in it");
    if (!scratch_reserve(scratch, found.n_runs, found.n_write_keys, err))
        return false;
    for (size_t i = 0; i < found.n_write_keys; i++)
        scratch->keys[i] = get_u64(keys.data + 8 * i);
    if (!take(&rest, header[44], &found.project) || !take(&rest, header[45], &found.request.id) ||
        !take(&rest, header[46], &found.request.hash) || !take(&rest, get_u16(header + 40), &found.request.last_document_id) ||
        !take(&rest, get_u16(header + 42), &found.request.answer))
        return malformed(err, "a field passes its end");
    if (!decode_runs(&rest, &found, scratch->runs, err))
        return false;
    for (size_t i = 0; i < rest.len; i++)
        if (rest.data[i] != 0)
            return malformed(err, "bytes after its last run");
    if (rest.len >= 8 || (header[47] & ~FLAG_LAST_STEP) != 0)
        return malformed(err, "unknown flags or trailing bytes");
    found.runs = scratch->runs;
    found.write_keys = scratch->keys;
    if (!frame_check(&found, err)) {
        if (err)
            err->code = ERROR_DATA_LOSS;
        return error_wrap(err, "bad frame");
    }
    *frame = found;
    *size = total;
    return true;
}

void frame_scratch_destroy(struct frame_scratch *scratch)
{
    if (!scratch)
        return;
    free(scratch->runs);
    free(scratch->keys);
    *scratch = (struct frame_scratch) { 0 };
}

void frame_stamp_run(uint8_t *encoded, size_t len, uint64_t first_lsn, uint64_t timestamp)
{
    assert(len >= RUN_STAMP_BYTES);
    uint8_t *stamp = encoded + len - RUN_STAMP_BYTES;
    stamp[0] = STAMP_LSN_TAG;
    put_u64(stamp + 1, first_lsn);
    stamp[9] = STAMP_TIMESTAMP_TAG;
    put_u64(stamp + 10, timestamp);
}
