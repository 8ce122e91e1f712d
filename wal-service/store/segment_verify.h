/* Checks a segment log from end to end without changing anything in its directory.
 *
 * Every segment header and how it continues the one before, every group, every frame, the order of LSNs, every block
 * of the compressed segments, and that each footer says what its segment says. Goes on behind damage: what is
 * wrong with one segment does not hide the others.
 *
 * Errors     of segment_log_verify itself: FAILED_PRECONDITION: a process has the log open. UNAVAILABLE, NOT_FOUND: the
 *            directory cannot be read. Damage is no error: it is what this tells.
 */
#ifndef ARGON_WAL_STORE_SEGMENT_VERIFY_H
#define ARGON_WAL_STORE_SEGMENT_VERIFY_H

#include <stdint.h>

#include "common/base/error.h"

enum segment_state {
    SEGMENT_ACTIVE,     /* the newest: the next start continues behind it */
    SEGMENT_SEALED,     /* has a successor */
    SEGMENT_COMPRESSED, /* sealed, and packed */
    SEGMENT_MISSING,
};

const char *segment_state_name(enum segment_state state);

struct segment_verdict {
    uint64_t id;
    char name[32]; /* of the file that was read */
    enum segment_state state;
    uint64_t bytes; /* up to its end, unpacked */
    uint64_t groups, frames, entries;
    struct error damage;       /* of the segment; code OK: none. The message names file and byte */
    struct error other_damage; /* of its footer, or of a compressed file that is not needed yet: a start makes these again */
    bool footer_missing;       /* of a sealed segment with batches; a start makes it */
    uint64_t torn_bytes;       /* of a write that a crash interrupted: never acknowledged, dropped by the next start */
};

struct verify_summary {
    uint64_t segments, damaged, groups, frames, entries; /* damaged: with either kind of damage */
};

typedef void verify_visit_fn(void *ctx, const struct segment_verdict *verdict);

CHECKED bool segment_log_verify(const char *directory, verify_visit_fn *visit, void *ctx, struct verify_summary *summary,
                                struct error *err);

#endif
