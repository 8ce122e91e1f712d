/* A point in the past as people write it: an LSN or a time. */
#ifndef ARGON_CLI_WHEN_H
#define ARGON_CLI_WHEN_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/error.h"

#define WHEN_HELP "RFC 3339, as 2026-11-24T08:40:00Z, or 10m ago"

/* Microseconds since the epoch, later than it. RFC 3339 with an offset ("2026-11-24T08:40:00.25+01:00"; a blank for
 * the T, no seconds, a date alone in UTC are fine; what is finer than a microsecond is cut off), or back from `now`:
 * "10m ago", "-10m". INVALID_ARGUMENT. */
CHECKED bool when_parse(const char *text, uint64_t now, uint64_t *micros, struct error *err);

/* The values of --at-lsn (0: not given) and --at-time ("": not given), of which one at most can be. *time is 0 when
 * it was not given. */
CHECKED bool when_choose(uint64_t at_lsn, const char *at_time, uint64_t *time, struct error *err);

#endif
