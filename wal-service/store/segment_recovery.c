/* Recovery of a segment log.
 *
 * What it may rely on:
 *  1. A segment under its final name was synced as a whole before it got that name (segment_file.h). So a bad
 *     header, a short file and a hole in the chain are damage.
 *  2. A group is written after its predecessor was synced, and a segment's header after the last group of the
 *     one before. So a valid header vouches for every group with a lower sequence.
 *  3. A header of this segment cannot be imitated: its salt is secret.
 *
 * Hence in a segment that has a successor every group up to the byte that the successor names must be whole.
 * In the last segment a bad group is damage if a valid header stands anywhere behind it, or if its own
 * segment's header vouches for it (it was carried over); otherwise it is the write that the crash interrupted,
 * was never acknowledged, and ends the log.
 *
 * The last whole group of the last segment, when nothing vouches for it, may be in the page cache only: after a
 * failed sync the kernel forgets that the pages were not written. It is held back here and carried over, that
 * is, written again in the next segment and synced, before anybody sees it.
 */
#include "wal-service/store/segment_recovery.h"

#include <stdlib.h>

#include "common/base/crc32c.h"
#include "common/base/memory.h"
#include "wal-service/store/group.h"
#include "wal-service/store/segment_reader.h"

enum { READ_AHEAD_BYTES = 1 << 20 };

struct recovery {
    const struct recovery_request *request;
    struct segment_recovery report;
    struct log_tail tail;
    struct segment_reader reader;
    struct frame_scratch scratch;
    uint32_t incarnation;         /* of the segment in hand */
    uint32_t earlier_incarnation; /* of the segment before: what was carried over belongs to it */
    bool showing;                 /* the visitor wants more */
};

/* A group that was found whole and is not yet known to be on disk. */
struct held_group {
    bool present;
    uint64_t offset, sequence;
    uint32_t previous_checksum;
    struct buffer payload;
};

/* ---- the chain of segments ------------------------------------------------------------------------ */

static bool check_link(const struct segment_header *before, const struct segment_header *header, struct error *err)
{
    if (!before) {
        if (header->predecessor != 0 || header->predecessor_end != 0 || header->first_sequence != 1)
            return segment_damaged(header->id, 64, "the segment before it is missing", err);
        return true;
    }
    if (header->predecessor != before->id)
        return segment_damaged(header->id, 64, "it does not continue the segment before it", err);
    if (header->predecessor_end < SEGMENT_HEADER_BYTES || header->predecessor_end > before->length ||
        header->predecessor_end % GROUP_ALIGNMENT != 0)
        return segment_damaged(header->id, 72, "the header has an impossible end of the segment before it", err);
    return true;
}

/* All headers, each of them checked and linked to the one before. */
static bool read_chain(struct recovery *recovery, struct segment_header *headers, struct error *err)
{
    const struct recovery_request *request = recovery->request;
    for (size_t i = 0; i < request->n_ids; i++) {
        uint64_t id = request->ids[i];
        if (i > 0 && id != request->ids[i - 1] + 1) {
            char name[SEGMENT_NAME_SIZE];
            segment_name_format(request->ids[i - 1] + 1, name);
            return error_set(err, ERROR_DATA_LOSS, "%s is missing", name);
        }
        if (!segment_reader_open(&recovery->reader, id, err) || !segment_reader_header(&recovery->reader, &headers[i], err) ||
            !check_link(i ? &headers[i - 1] : NULL, &headers[i], err))
            return false;
    }
    return true;
}

/* ---- groups --------------------------------------------------------------------------------------- */

/* Indexes and shows the frames of a whole group. They were read at `source` of the open segment and will be
 * found at `place` of segment `segment`: the same, unless the group is carried over. */
static bool take_group(struct recovery *recovery, struct bytes payload, uint64_t source, uint64_t segment, uint64_t place,
                       uint32_t incarnation, struct error *err)
{
    const struct recovery_request *request = recovery->request;
    while (payload.len > 0) {
        struct frame frame;
        size_t size;
        if (!frame_decode(payload, &frame, &size, &recovery->scratch, err)) {
            char name[SEGMENT_NAME_SIZE];
            segment_name_format(recovery->reader.id, name);
            return error_wrap(err, "%s, byte %llu", name, (unsigned long long)source);
        }
        if (!log_index_claim(request->index, &frame, 1))
            return segment_damaged(recovery->reader.id, source, "a batch that does not follow the last one of its project", err);
        log_index_publish(request->index, &frame, 1, (uint32_t)segment, (uint32_t)place, incarnation);
        recovery->report.frames++;
        recovery->report.entries += frame.entries;
        if (recovery->showing && request->visit) {
            struct error failure = { 0 };
            recovery->showing = request->visit(request->ctx, &frame, &failure);
            if (failure.code != ERROR_OK) {
                if (err)
                    *err = failure;
                return false;
            }
        }
        payload = bytes_of(payload.data + size, payload.len - size);
        source += size;
        place += size;
    }
    return true;
}

enum group_state { GROUP_WHOLE, GROUP_WITHOUT_HEADER, GROUP_WITHOUT_PAYLOAD };

/* A group as it stands at an offset. A header that is valid but in the wrong place is damage at once: no
 * interrupted write leaves one. */
static bool read_group(struct recovery *recovery, const struct segment_header *segment, uint64_t offset, uint64_t end, uint64_t sequence,
                       uint32_t previous_checksum, enum group_state *state, struct group_header *header, struct bytes *payload,
                       struct error *err)
{
    const uint8_t *data;
    if (!segment_reader_at(&recovery->reader, offset, GROUP_HEADER_BYTES, READ_AHEAD_BYTES, &data, err))
        return false;
    if (!group_header_decode(data, segment->id, segment->salt, header)) {
        *state = GROUP_WITHOUT_HEADER;
        return true;
    }
    if (header->sequence != sequence || header->previous_checksum != previous_checksum)
        return segment_damaged(segment->id, offset, "a group that does not follow the one before it", err);
    if (header->payload_length > end - offset - GROUP_HEADER_BYTES || header->payload_length % GROUP_ALIGNMENT != 0)
        return segment_damaged(segment->id, offset, "a group that passes the end of its segment", err);
    if (!segment_reader_at(&recovery->reader, offset, GROUP_HEADER_BYTES + header->payload_length, READ_AHEAD_BYTES, &data, err))
        return false;
    *payload = bytes_of(data + GROUP_HEADER_BYTES, header->payload_length);
    *state = crc32c(0, payload->data, payload->len) == header->payload_checksum ? GROUP_WHOLE : GROUP_WITHOUT_PAYLOAD;
    return true;
}

/* From a bad group to the end of the last segment: is there a header that proves the group to have been
 * synced? If not, *garbage is how far the interrupted write reached. */
static bool search_rest(struct recovery *recovery, const struct segment_header *segment, uint64_t bad, uint64_t sequence, uint64_t *garbage,
                        struct error *err)
{
    uint64_t end_of_garbage = bad;
    for (uint64_t at = bad; at < segment->length; at += GROUP_ALIGNMENT) {
        size_t len = segment->length - at < GROUP_HEADER_BYTES ? (size_t)(segment->length - at) : GROUP_HEADER_BYTES;
        const uint8_t *data;
        struct group_header header;
        if (!segment_reader_at(&recovery->reader, at, len, READ_AHEAD_BYTES, &data, err))
            return false;
        if (get_u64(data) == 0)
            continue;
        for (uint64_t i = 0; i < GROUP_ALIGNMENT; i++)
            if (data[i] != 0)
                end_of_garbage = at + i + 1;
        if (at > bad && len == GROUP_HEADER_BYTES && group_header_decode(data, segment->id, segment->salt, &header) &&
            header.sequence >= sequence)
            return segment_damaged(segment->id, bad, "a bad group, and a later one behind it", err);
    }
    *garbage = end_of_garbage - bad;
    return true;
}

/* ---- segments ------------------------------------------------------------------------------------- */

static bool read_sealed_segment(struct recovery *recovery, const struct segment_header *segment, const struct segment_header *successor,
                                struct error *err)
{
    uint64_t offset = SEGMENT_HEADER_BYTES, sequence = segment->first_sequence, end = successor->predecessor_end;
    uint32_t checksum = segment->predecessor_checksum;
    while (offset + GROUP_HEADER_BYTES <= end) {
        enum group_state state;
        struct group_header header;
        struct bytes payload;
        if (!read_group(recovery, segment, offset, end, sequence, checksum, &state, &header, &payload, err))
            return false;
        if (state != GROUP_WHOLE)
            return segment_damaged(segment->id, offset, "a bad group, and a later segment after it", err);
        bool carried = segment->carried && sequence == segment->first_sequence;
        if (!take_group(recovery, payload, offset + GROUP_HEADER_BYTES, segment->id, offset + GROUP_HEADER_BYTES,
                        carried ? recovery->earlier_incarnation : recovery->incarnation, err))
            return false;
        recovery->report.groups += payload.len > 0;
        offset += GROUP_HEADER_BYTES + payload.len;
        checksum = header.checksum;
        sequence++;
    }
    if (offset != end || checksum != successor->predecessor_checksum || sequence != successor->first_sequence)
        return segment_damaged(segment->id, offset, "it does not end as the next segment says", err);
    return true;
}

static bool take_held(struct recovery *recovery, struct held_group *held, uint64_t segment, uint64_t place, struct error *err)
{
    if (!held->present)
        return true;
    held->present = false;
    recovery->report.groups += held->payload.len > 0;
    return take_group(recovery, buffer_bytes(&held->payload), held->offset + GROUP_HEADER_BYTES, segment, place, recovery->incarnation,
                      err);
}

static bool hold(struct held_group *held, uint64_t offset, uint64_t sequence, uint32_t previous_checksum, struct bytes payload,
                 struct error *err)
{
    held->present = true;
    held->offset = offset;
    held->sequence = sequence;
    held->previous_checksum = previous_checksum;
    buffer_clear(&held->payload);
    buffer_append(&held->payload, payload.data, payload.len);
    if (held->payload.failed)
        return error_set(err, ERROR_RESOURCE_EXHAUSTED, "no memory for a group of %zu bytes", payload.len);
    return true;
}

/* A bad group in the last segment: damage, or where the log ends. */
static bool end_at_bad_group(struct recovery *recovery, const struct segment_header *segment, uint64_t offset, uint64_t sequence,
                             struct error *err)
{
    if (segment->carried && sequence == segment->first_sequence)
        return segment_damaged(segment->id, offset, "a bad group that was synced with its segment", err);
    uint64_t garbage = 0;
    if (!search_rest(recovery, segment, offset, sequence, &garbage, err))
        return false;
    recovery->report.dropped_bytes = garbage;
    if (garbage > 0)
        segment_name_format(segment->id, recovery->report.dropped_file);
    return true;
}

static bool read_last_segment(struct recovery *recovery, const struct segment_header *segment, struct held_group *held, struct error *err)
{
    struct log_tail *tail = &recovery->tail;
    uint64_t offset = SEGMENT_HEADER_BYTES, sequence = segment->first_sequence;
    uint32_t checksum = segment->predecessor_checksum;
    while (offset + GROUP_HEADER_BYTES <= segment->length) {
        enum group_state state;
        struct group_header header;
        struct bytes payload;
        if (!read_group(recovery, segment, offset, segment->length, sequence, checksum, &state, &header, &payload, err))
            return false;
        /* its header alone vouches for the group before */
        if (state != GROUP_WITHOUT_HEADER && !take_held(recovery, held, segment->id, held->offset + GROUP_HEADER_BYTES, err))
            return false;
        if (state != GROUP_WHOLE) {
            if (!end_at_bad_group(recovery, segment, offset, sequence, err))
                return false;
            break;
        }
        if (segment->carried && sequence == segment->first_sequence) {
            /* the segment's own header vouches for it */
            recovery->report.groups++;
            if (!take_group(recovery, payload, offset + GROUP_HEADER_BYTES, segment->id, offset + GROUP_HEADER_BYTES,
                            recovery->earlier_incarnation, err))
                return false;
        } else if (!hold(held, offset, sequence, checksum, payload, err)) {
            return false;
        }
        offset += GROUP_HEADER_BYTES + payload.len;
        checksum = header.checksum;
        sequence++;
    }
    tail->last = *segment;
    if (!held->present) {
        tail->end = offset;
        tail->checksum = checksum;
        tail->sequence = sequence;
        return true;
    }
    tail->end = held->offset;
    tail->checksum = held->previous_checksum;
    tail->sequence = held->sequence;
    if (!take_held(recovery, held, segment->id + 1, SEGMENT_HEADER_BYTES + GROUP_HEADER_BYTES, err))
        return false;
    /* an empty group says nothing that the next segment's header does not say: its carried payload is empty */
    tail->carried = held->payload;
    held->payload = (struct buffer) { 0 };
    return true;
}

static bool read_segments(struct recovery *recovery, const struct segment_header *headers, struct held_group *held, struct error *err)
{
    const struct recovery_request *request = recovery->request;
    for (size_t i = 0; i < request->n_ids; i++) {
        const struct segment_header *segment = &headers[i];
        recovery->earlier_incarnation = recovery->incarnation;
        recovery->incarnation = log_index_begin_incarnation(request->index, segment->incarnation);
        recovery->report.segments++;
        if (!segment_reader_open(&recovery->reader, segment->id, err))
            return false;
        if (i + 1 == request->n_ids)
            return read_last_segment(recovery, segment, held, err);
        if (!read_sealed_segment(recovery, segment, &headers[i + 1], err))
            return false;
        recovery->tail.disk_bytes += headers[i + 1].predecessor_end;
    }
    return true;
}

bool segment_log_recover(const struct recovery_request *request, struct segment_recovery *report, struct log_tail *tail, struct error *err)
{
    struct recovery recovery = { .request = request, .showing = true, .tail = { .sequence = 1 } };
    struct segment_header *headers = mem_zalloc(request->n_ids * sizeof headers[0]);
    struct held_group held = { 0 };
    bool ok = false;
    segment_reader_init(&recovery.reader, request->disk, request->directory);
    if (!read_chain(&recovery, headers, err) || !read_segments(&recovery, headers, &held, err))
        goto out;
    *report = recovery.report;
    *tail = recovery.tail;
    recovery.tail.carried = (struct buffer) { 0 };
    ok = true;
out:
    buffer_destroy(&recovery.tail.carried);
    segment_reader_destroy(&recovery.reader);
    frame_scratch_destroy(&recovery.scratch);
    buffer_destroy(&held.payload);
    free(headers);
    return ok;
}
