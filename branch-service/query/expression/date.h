/* Dates taken apart, and what the operators on dates share. */
#ifndef ARGON_BRANCH_QUERY_EXPRESSION_DATE_H
#define ARGON_BRANCH_QUERY_EXPRESSION_DATE_H

#include "branch-service/query/expression/internal.h"
#include "branch-service/query/expression/time_zone.h"

#define MILLIS_PER_DAY INT64_C(86400000)
/* Dates that are nearer to the ends of 64 bits are refused: local times and ends of years stay within them. */
#define MAX_CALENDAR_MILLIS (INT64_MAX - 800 * MILLIS_PER_DAY)

struct date_parts {
    int64_t year;
    int month, day, hour, minute, second, millisecond;
    int weekday;     /* 0: Sunday */
    int day_of_year; /* from 1 */
    int64_t iso_year;
    int iso_week;
};

enum time_unit { UNIT_MILLISECOND, UNIT_SECOND, UNIT_MINUTE, UNIT_HOUR, UNIT_DAY, UNIT_WEEK, UNIT_MONTH, UNIT_QUARTER, UNIT_YEAR };

static inline int64_t floor_divide(int64_t a, int64_t b)
{
    return a / b - (a % b != 0 && (a % b < 0) != (b < 0));
}

void date_take_apart(int64_t local_millis, struct date_parts *parts);
/* Months beyond 12 and days beyond a month's carry over. */
int64_t date_put_together(int64_t year, int64_t month, int64_t day, int64_t hour, int64_t minute, int64_t second, int64_t millisecond);
int days_of_month(int64_t year, int month);

bool is_date_like(const struct element *value); /* a date, timestamp or ObjectId */
int64_t millis_of(const struct element *date_like);
/* Error 16006 for other types. */
bool date_argument(struct run *run, const struct element *value, int64_t *millis);
/* Of a value that is not nullish. Compiled: the zone of a constant, see compile_zone. */
bool zone_argument(struct run *run, const struct expression *e, const struct element *value, const struct time_zone **zone);
/* Finds the zone that a constant argument names once for all; node->compiled. */
bool compile_zone(struct compiler *compiler, struct expression *node, size_t argument);
bool unit_argument(struct run *run, const struct expression *e, const struct element *value, enum time_unit *unit);
/* 0: Sunday. */
bool weekday_argument(struct run *run, const struct expression *e, const struct element *value, int *weekday);

/* ISO 8601, with a space in place of the T, and what may miss missing: a day alone, seconds, fraction, zone. NULL,
 * or what is wrong. */
const char *date_parse(struct bytes text, const struct time_zone *zone, bool zone_given, int64_t *millis);
bool date_format(struct run *run, struct bytes format, int64_t millis, const struct time_zone *zone, struct element *out);

#endif
