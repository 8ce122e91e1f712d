/* Dates as Extended JSON writes them: ISO 8601 in the profile of RFC 3339, milliseconds since the epoch. */
#ifndef ARGON_BSON_ISO_DATE_H
#define ARGON_BSON_ISO_DATE_H

#include <stdbool.h>
#include <stdint.h>

#include "common/base/bytes.h"

enum { ISO_DATE_SIZE = 32 };

/* The years 1970 to 9999: there Extended JSON writes the date as text. */
bool iso_date_has_text(int64_t millis);
/* "2012-12-24T12:15:30.501Z"; the fraction is left out when it is 0. */
void iso_date_format(int64_t millis, char out[ISO_DATE_SIZE]);
/* Years 0000 to 9999; "Z", "+01:00" or "+0100"; a fraction of up to nine digits, of which those behind the
 * third must be 0: a date holds milliseconds. NULL, or what is wrong. */
const char *iso_date_parse(struct bytes text, int64_t *millis);

/* Days since the epoch in the proleptic Gregorian calendar, and back. */
int64_t iso_date_days(int64_t year, int month, int day);
void iso_date_civil(int64_t days, int64_t *year, int *month, int *day);

#endif
