#include "wal-service/store/segment_walk.h"

#include "common/base/crc32c.h"

enum { READ_AHEAD_BYTES = 1 << 20 };

void segment_walk_init(struct segment_walk *walk, struct segment_reader *reader, const struct segment_header *segment, uint64_t end)
{
    *walk = (struct segment_walk) {
        .reader = reader,
        .segment = *segment,
        .end = end,
        .offset = SEGMENT_HEADER_BYTES,
        .sequence = segment->first_sequence,
        .checksum = segment->predecessor_checksum,
    };
}

bool segment_walk_next(struct segment_walk *walk, enum group_state *state, struct walked_group *group, struct error *err)
{
    const uint8_t *data;
    struct group_header *header = &group->header;
    uint64_t offset = walk->offset;
    if (offset + GROUP_HEADER_BYTES > walk->end) {
        *state = GROUP_NONE;
        return true;
    }
    if (!segment_reader_at(walk->reader, offset, GROUP_HEADER_BYTES, READ_AHEAD_BYTES, &data, err))
        return false;
    group->offset = offset;
    group->carried = walk->segment.carried && walk->sequence == walk->segment.first_sequence;
    if (!group_header_decode(data, walk->segment.id, walk->segment.salt, header)) {
        *state = GROUP_WITHOUT_HEADER;
        return true;
    }
    if (header->sequence != walk->sequence || header->previous_checksum != walk->checksum)
        return segment_reader_damaged(walk->reader, offset, "a group that does not follow the one before it", err);
    if (header->payload_length > walk->end - offset - GROUP_HEADER_BYTES || header->payload_length % GROUP_ALIGNMENT != 0)
        return segment_reader_damaged(walk->reader, offset, "a group that passes the end of its segment", err);
    if (!segment_reader_at(walk->reader, offset, GROUP_HEADER_BYTES + header->payload_length, READ_AHEAD_BYTES, &data, err))
        return false;
    group->payload = bytes_of(data + GROUP_HEADER_BYTES, header->payload_length);
    if (crc32c(0, group->payload.data, group->payload.len) != header->payload_checksum) {
        *state = GROUP_WITHOUT_PAYLOAD;
        return true;
    }
    *state = GROUP_WHOLE;
    walk->offset += GROUP_HEADER_BYTES + group->payload.len;
    walk->checksum = header->checksum;
    walk->sequence++;
    return true;
}

bool segment_walk_search_rest(struct segment_walk *walk, uint64_t *garbage, struct error *err)
{
    const struct segment_header *segment = &walk->segment;
    uint64_t bad = walk->offset, end_of_garbage = bad;
    for (uint64_t at = bad; at < segment->length; at += GROUP_ALIGNMENT) {
        size_t len = segment->length - at < GROUP_HEADER_BYTES ? (size_t)(segment->length - at) : GROUP_HEADER_BYTES;
        const uint8_t *data;
        struct group_header header;
        if (!segment_reader_at(walk->reader, at, len, READ_AHEAD_BYTES, &data, err))
            return false;
        if (get_u64(data) == 0)
            continue;
        for (uint64_t i = 0; i < GROUP_ALIGNMENT; i++)
            if (data[i] != 0)
                end_of_garbage = at + i + 1;
        if (at > bad && len == GROUP_HEADER_BYTES && group_header_decode(data, segment->id, segment->salt, &header) &&
            header.sequence >= walk->sequence)
            return segment_reader_damaged(walk->reader, bad, "a bad group, and a later one behind it", err);
    }
    *garbage = end_of_garbage - bad;
    return true;
}
