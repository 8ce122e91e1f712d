/* Reads a segment log at start: what is in it, and where the next segment continues it.
 *
 * Reads only; it is segment_store_open that then begins a new segment. So a start that is killed anywhere
 * leaves a log that reads the same.
 *
 * Errors     DATA_LOSS names file and byte. UNAVAILABLE: a read failed. RESOURCE_EXHAUSTED: no memory for a
 *            group.
 */
#ifndef ARGON_WAL_STORE_SEGMENT_RECOVERY_H
#define ARGON_WAL_STORE_SEGMENT_RECOVERY_H

#include "wal-service/store/log_index.h"
#include "wal-service/store/log_store.h"
#include "wal-service/store/segment_file.h"
#include "wal-service/store/segment_reader.h"

/* A segment that nothing is written to any more. */
struct sealed_segment {
    struct segment_end end;
    uint64_t bytes; /* that its file takes */
    uint64_t footer_bytes;
    bool has_footer; /* or needs none */
    bool packed;
    bool empty; /* no batch: a start that wrote nothing. No footer, and nothing to compress */
};

/* The log as it was found. */
struct log_tail {
    struct segment_header last; /* id 0: the log is empty */
    uint64_t end;               /* byte in the last segment behind the last group that is vouched for */
    uint32_t checksum;          /* of that group's header */
    uint64_t sequence;          /* of the group after it */
    struct buffer carried;      /* payload of the group after it, which the next segment must repeat; may be empty */
};

struct recovery_request {
    struct disk *disk;
    int directory;
    const uint64_t *ids; /* of the segments, rising */
    size_t n_ids;
    struct log_index *index;
    struct sealed_segment *sealed; /* room for all but the last */
    frame_visit_fn *visit;         /* may be NULL */
    void *ctx;
};

/* Does the segment that the reader has open continue the one before (NULL: there is none)? DATA_LOSS. */
CHECKED bool segment_check_link(const struct segment_reader *reader, const struct segment_header *before,
                                const struct segment_header *header, struct error *err);

/* Fills the index, and tells of the sealed segments; a footer that says what its segment says is mapped into the
 * index, any other is as if it were not there. Frames that will be carried over are indexed where
 * the next segment will hold them. On success the caller destroys tail->carried. */
CHECKED bool segment_log_recover(const struct recovery_request *request, struct segment_recovery *report, struct log_tail *tail,
                                 struct error *err);

#endif
