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

#include "common/base/memory.h"
#include "wal-service/store/segment_walk.h"

struct recovery {
    const struct recovery_request *request;
    struct segment_recovery report;
    struct log_tail tail;
    struct segment_reader reader;
    struct frame_scratch scratch;
    struct buffer footer;         /* as it must be */
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

bool segment_check_link(const struct segment_reader *reader, const struct segment_header *before, const struct segment_header *header,
                        struct error *err)
{
    if (!before) {
        if (header->predecessor != 0 || header->predecessor_end != 0 || header->first_sequence != 1)
            return segment_reader_damaged(reader, 64, "the segment before it is missing", err);
        return true;
    }
    if (header->predecessor != before->id)
        return segment_reader_damaged(reader, 64, "it does not continue the segment before it", err);
    if (header->predecessor_end < SEGMENT_HEADER_BYTES || header->predecessor_end > before->length ||
        header->predecessor_end % GROUP_ALIGNMENT != 0)
        return segment_reader_damaged(reader, 72, "the header has an impossible end of the segment before it", err);
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
            !segment_check_link(&recovery->reader, i ? &headers[i - 1] : NULL, &headers[i], err))
            return false;
    }
    if (recovery->reader.packed) {
        char name[SEGMENT_NAME_SIZE];
        segment_name_format(recovery->reader.id + 1, name);
        return error_set(err, ERROR_DATA_LOSS, "%s is missing: the one before it is compressed", name);
    }
    return true;
}

/* ---- groups --------------------------------------------------------------------------------------- */

/* Indexes and shows the frames of a whole group. They were read at `source` of the open segment and will be
 * found at `place` of the segment that the index has begun: the same, unless the group is carried over. */
static bool take_group(struct recovery *recovery, struct bytes payload, uint64_t source, uint64_t place, uint32_t incarnation,
                       struct error *err)
{
    const struct recovery_request *request = recovery->request;
    while (payload.len > 0) {
        struct frame frame;
        size_t size;
        if (!frame_decode(payload, &frame, &size, &recovery->scratch, err))
            return segment_reader_wrap(&recovery->reader, source, err);
        if (!log_index_claim(request->index, &frame, 1))
            return segment_reader_damaged(&recovery->reader, source, "a batch that does not follow the last one of its project", err);
        log_index_publish(request->index, &frame, 1, (uint32_t)place, incarnation);
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

/* ---- segments ------------------------------------------------------------------------------------- */

static bool read_sealed_segment(struct recovery *recovery, const struct segment_header *segment, const struct segment_header *successor,
                                struct error *err)
{
    struct segment_reader *reader = &recovery->reader;
    struct segment_walk walk;
    struct walked_group group;
    enum group_state state;
    segment_walk_init(&walk, reader, segment, successor->predecessor_end);
    for (;;) {
        if (!segment_walk_next(&walk, &state, &group, err))
            return false;
        if (state == GROUP_NONE)
            break;
        if (state != GROUP_WHOLE)
            return segment_reader_damaged(reader, walk.offset, "a bad group, and a later segment after it", err);
        uint64_t frames_at = group.offset + GROUP_HEADER_BYTES;
        if (!take_group(recovery, group.payload, frames_at, frames_at,
                        group.carried ? recovery->earlier_incarnation : recovery->incarnation, err))
            return false;
        recovery->report.groups += group.payload.len > 0;
    }
    if (walk.offset != walk.end || walk.checksum != successor->predecessor_checksum || walk.sequence != successor->first_sequence)
        return segment_reader_damaged(reader, walk.offset, "it does not end as the next segment says", err);
    return true;
}

/* Does the footer say what the segment says? Then it takes the place of what was gathered in memory. */
static bool check_footer(struct recovery *recovery, struct sealed_segment *sealed, struct error *err)
{
    const struct recovery_request *request = recovery->request;
    struct segment_recovery *report = &recovery->report;
    uint32_t id = (uint32_t)sealed->end.id;
    struct segment_footer *footer;
    struct error failure = { 0 };
    uint64_t entries;
    const struct batch_table *table = log_index_sealed_table(request->index, id, &entries);
    if (batch_table_projects(table) == 0) {
        sealed->empty = sealed->has_footer = true;
        log_index_take_footer(request->index, id, NULL);
        return true;
    }
    bool found = segment_footer_open(request->disk, request->directory, id, &footer, &failure);
    if (!found && failure.code == ERROR_NOT_FOUND) {
        report->footers_missing++;
        return true;
    }
    segment_footer_encode(&sealed->end, table, entries, &recovery->footer);
    if (recovery->footer.failed) {
        if (found)
            segment_footer_close(footer);
        return error_set(err, ERROR_RESOURCE_EXHAUSTED, "no memory to check the footer of segment %u", id);
    }
    if (found && bytes_equal(buffer_bytes(&recovery->footer), segment_footer_bytes(footer))) {
        sealed->footer_bytes = recovery->footer.len;
        sealed->has_footer = true;
        log_index_take_footer(request->index, id, footer);
        return true;
    }
    if (found)
        segment_footer_close(footer);
    report->footers_bad++;
    segment_footer_name_format(id, report->bad_footer);
    return true;
}

static bool take_held(struct recovery *recovery, struct held_group *held, uint64_t place, struct error *err)
{
    if (!held->present)
        return true;
    held->present = false;
    recovery->report.groups += held->payload.len > 0;
    return take_group(recovery, buffer_bytes(&held->payload), held->offset + GROUP_HEADER_BYTES, place, recovery->incarnation, err);
}

static bool hold(struct held_group *held, const struct walked_group *group, struct error *err)
{
    held->present = true;
    held->offset = group->offset;
    held->sequence = group->header.sequence;
    held->previous_checksum = group->header.previous_checksum;
    buffer_clear(&held->payload);
    buffer_append(&held->payload, group->payload.data, group->payload.len);
    if (held->payload.failed)
        return error_set(err, ERROR_RESOURCE_EXHAUSTED, "no memory for a group of %zu bytes", group->payload.len);
    return true;
}

/* A bad group in the last segment: damage, or where the log ends. */
static bool end_at_bad_group(struct recovery *recovery, struct segment_walk *walk, const struct walked_group *group, struct error *err)
{
    if (group->carried)
        return segment_reader_damaged(&recovery->reader, group->offset, "a bad group that was synced with its segment", err);
    uint64_t garbage = 0;
    if (!segment_walk_search_rest(walk, &garbage, err))
        return false;
    recovery->report.dropped_bytes = garbage;
    if (garbage > 0)
        segment_name_format(walk->segment.id, recovery->report.dropped_file);
    return true;
}

static bool read_last_segment(struct recovery *recovery, const struct segment_header *segment, struct held_group *held, struct error *err)
{
    struct log_tail *tail = &recovery->tail;
    struct segment_walk walk;
    struct walked_group group;
    enum group_state state;
    segment_walk_init(&walk, &recovery->reader, segment, segment->length);
    do {
        if (!segment_walk_next(&walk, &state, &group, err))
            return false;
        if (state == GROUP_NONE)
            break;
        /* its header alone vouches for the group before */
        if (state != GROUP_WITHOUT_HEADER && !take_held(recovery, held, held->offset + GROUP_HEADER_BYTES, err))
            return false;
        if (state != GROUP_WHOLE) {
            if (!end_at_bad_group(recovery, &walk, &group, err))
                return false;
        } else if (group.carried) {
            /* the segment's own header vouches for it */
            uint64_t frames_at = group.offset + GROUP_HEADER_BYTES;
            recovery->report.groups++;
            if (!take_group(recovery, group.payload, frames_at, frames_at, recovery->earlier_incarnation, err))
                return false;
        } else if (!hold(held, &group, err)) {
            return false;
        }
    } while (state == GROUP_WHOLE);
    tail->last = *segment;
    if (!held->present) {
        tail->end = walk.offset;
        tail->checksum = walk.checksum;
        tail->sequence = walk.sequence;
        return true;
    }
    tail->end = held->offset;
    tail->checksum = held->previous_checksum;
    tail->sequence = held->sequence;
    log_index_begin_segment(recovery->request->index, (uint32_t)segment->id + 1);
    if (!take_held(recovery, held, SEGMENT_HEADER_BYTES + GROUP_HEADER_BYTES, err))
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
        log_index_begin_segment(request->index, (uint32_t)segment->id);
        if (!segment_reader_open(&recovery->reader, segment->id, err))
            return false;
        if (i + 1 == request->n_ids)
            return read_last_segment(recovery, segment, held, err);
        const struct segment_header *successor = &headers[i + 1];
        if (!read_sealed_segment(recovery, segment, successor, err))
            return false;
        struct sealed_segment *sealed = &request->sealed[i];
        *sealed = (struct sealed_segment) {
            .end = { segment->id, successor->predecessor_end, successor->predecessor_checksum },
            .bytes = recovery->reader.packed ? recovery->reader.pack.bytes : successor->predecessor_end,
            .packed = recovery->reader.packed,
        };
        log_index_begin_segment(request->index, (uint32_t)successor->id);
        if (!check_footer(recovery, sealed, err))
            return false;
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
    buffer_destroy(&recovery.footer);
    buffer_destroy(&held.payload);
    free(headers);
    return ok;
}
