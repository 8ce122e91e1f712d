/* Which requests were committed lately: a space for each project, one memory budget for all.
 *
 * A request is remembered by its last committed step: 32 bytes, its id and hash as hashes. Whoever needs the record
 * itself reads the frame that ends at `lsn`, and compares id and hash exactly. Of requests whose last step lies at or
 * below the horizon nothing is known.
 *
 * Threads    one at a time; concurrent finds are fine.
 */
#ifndef ARGON_WAL_REQUEST_WINDOW_H
#define ARGON_WAL_REQUEST_WINDOW_H

#include "wal-service/recent_map.h"
#include "wal-service/store/frame.h"

/* What the mark of a request has room for. */
#define MAX_REQUEST_STEP ((UINT32_C(1) << 31) - 1)

struct request_window {
    struct recent_pool pool;
    uint64_t seed;
};

struct request_space {
    struct recent_map map;
    uint64_t seed;
};

struct request_mark {
    uint64_t id[2];
    uint64_t lsn;   /* where the frame of the last committed step ends */
    uint32_t check; /* of the request's hash */
    uint32_t step : 31;
    uint32_t last : 1;
};

/* The seed keeps clients from making ids that collide; never stored. */
void request_window_init(struct request_window *window, size_t budget_bytes, uint64_t seed);

/* bounded false: for the requests of a group that is being formed. */
void request_space_init(struct request_space *space, struct request_window *window, bool bounded);
void request_space_destroy(struct request_space *space);

static inline uint64_t request_space_horizon(const struct request_space *space)
{
    return space->map.horizon;
}

/* NULL: not known. Valid until something is added to the window. */
const struct request_mark *request_space_find(const struct request_space *space, struct bytes id);
bool request_mark_has_hash(const struct request_space *space, const struct request_mark *mark, struct bytes hash);
/* In LSN order; a later step replaces an earlier one. */
void request_space_add(struct request_space *space, const struct request_step *step, uint64_t lsn);
/* Moves all requests of `from` over; it is empty then. */
void request_space_absorb(struct request_space *space, struct request_space *from);

#endif
