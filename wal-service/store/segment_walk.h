/* Steps through the groups of a segment in order: for recovery and for verification.
 *
 * Errors     as of segment_reader; a header that is valid but in the wrong place is DATA_LOSS at once, for no
 *            interrupted write leaves one.
 */
#ifndef ARGON_WAL_STORE_SEGMENT_WALK_H
#define ARGON_WAL_STORE_SEGMENT_WALK_H

#include "wal-service/store/group.h"
#include "wal-service/store/segment_reader.h"

struct segment_walk {
    struct segment_reader *reader; /* has the segment open */
    struct segment_header segment;
    uint64_t end;      /* groups end here at the latest */
    uint64_t offset;   /* of the next group */
    uint64_t sequence; /* that it must have */
    uint32_t checksum; /* of the header before it */
};

void segment_walk_init(struct segment_walk *walk, struct segment_reader *reader, const struct segment_header *segment, uint64_t end);

enum group_state {
    GROUP_WHOLE,
    GROUP_WITHOUT_HEADER,
    GROUP_WITHOUT_PAYLOAD, /* the header vouches for the group before; the payload's checksum does not match */
    GROUP_NONE,            /* no room for another one */
};

struct walked_group {
    uint64_t offset;
    struct group_header header;
    struct bytes payload; /* valid until the next call */
    bool carried;         /* from the segment before, by recovery: synced with this segment's header */
};

/* The group at walk->offset. Only a whole one is passed. */
CHECKED bool segment_walk_next(struct segment_walk *walk, enum group_state *state, struct walked_group *group, struct error *err);

/* From a bad group at walk->offset to the end of the last segment: is there a header that proves the group to have
 * been synced? Then it is DATA_LOSS. If not, *garbage is how far the interrupted write reached. */
CHECKED bool segment_walk_search_rest(struct segment_walk *walk, uint64_t *garbage, struct error *err);

#endif
