/* Time zones: offsets ("+05:30", "+0530", "+05"), and names of the system's tz database (/usr/share/zoneinfo, of
 * the names in it those with the letters in this case), read when they are asked for.
 *
 * A zone that is in the database has its rules for all times: where its table ends, the rule that stands behind
 * it goes on.
 *
 * Ownership  a zone lives in its arena.
 * Threads    a zone is immutable.
 */
#ifndef ARGON_BRANCH_QUERY_EXPRESSION_TIME_ZONE_H
#define ARGON_BRANCH_QUERY_EXPRESSION_TIME_ZONE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/arena.h"
#include "common/base/bytes.h"

struct time_zone;

extern const struct time_zone time_zone_utc;

/* NULL: there is none of that name. */
const struct time_zone *time_zone_find(struct bytes name, struct arena *arena);
/* Seconds east of UTC. */
int32_t time_zone_offset(const struct time_zone *zone, int64_t utc_millis);
/* A local time that a change skips is taken as the time before the change; of two that are one, the first. */
int64_t time_zone_to_utc(const struct time_zone *zone, int64_t local_millis);

#endif
