#include "cli/when.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "common/base/clock.h"
#include "common/base/config.h"
#include "common/bson/iso_date.h"

static bool no_time(const char *text, const char *reason, struct error *err)
{
    return error_set(err, ERROR_INVALID_ARGUMENT, "'%s' is no time: %s", text, reason);
}

/* "10m ago" and "-10m" -> the text of the duration; false when it is neither. */
static bool find_duration(const char *text, char *duration, size_t size)
{
    static const char ago[] = " ago";
    size_t len = strlen(text), tail = sizeof ago - 1;
    if (text[0] == '-' && len > 1 && len <= size) {
        memcpy(duration, text + 1, len);
        return true;
    }
    if (len <= tail || strcmp(text + len - tail, ago) != 0 || len - tail >= size)
        return false;
    memcpy(duration, text, len - tail);
    duration[len - tail] = '\0';
    return true;
}

/* Digits at `at`; how many. */
static size_t count_digits(const char *at)
{
    size_t n = 0;
    while (isdigit((unsigned char)at[n]))
        n++;
    return n;
}

/* Does the text go on with this, where 0 stands for a digit? */
static bool matches(const char *text, const char *pattern)
{
    for (; *pattern; text++, pattern++)
        if (*pattern == '0' ? !isdigit((unsigned char)*text) : *text != *pattern)
            return false;
    return true;
}

/* Brings what people write into the one form that iso_date_parse knows, without the fraction, which goes into
 * *micros. NULL, or what is wrong. */
static const char *normalise(const char *text, char out[ISO_DATE_SIZE], uint64_t *micros)
{
    static const char *const wrong = "expected something like 2026-11-24T08:40:00Z, 2026-11-24 or 10m ago";
    *micros = 0;
    if (!matches(text, "0000-00-00"))
        return wrong;
    const char *at = text + 10;
    char clock[16] = "00:00:00";
    if (*at == '\0') {
        snprintf(out, ISO_DATE_SIZE, "%.10sT%sZ", text, clock);
        return NULL;
    }
    if ((*at != 'T' && *at != 't' && *at != ' ') || !matches(at + 1, "00:00"))
        return wrong;
    memcpy(clock, at + 1, 5);
    at += 6;
    if (matches(at, ":00")) {
        memcpy(clock + 5, at, 3);
        at += 3;
    }
    if (*at == '.' || *at == ',') {
        size_t n = count_digits(at + 1);
        if (n == 0)
            return wrong;
        for (size_t i = 0; i < 6; i++)
            *micros = *micros * 10 + (i < n ? (uint64_t)(at[1 + i] - '0') : 0);
        at += 1 + n;
    }
    if (*at == '\0')
        return "an offset is missing: Z for UTC, or one like +01:00";
    if (strlen(at) > 6)
        return wrong;
    snprintf(out, ISO_DATE_SIZE, "%.10sT%s%s", text, clock, *at == 'z' ? "Z" : at);
    return NULL;
}

bool when_parse(const char *text, uint64_t now, uint64_t *micros, struct error *err)
{
    char buffer[ISO_DATE_SIZE];
    uint64_t fraction;
    if (find_duration(text, buffer, sizeof buffer)) {
        uint64_t back;
        if (!config_parse_duration(buffer, &back, err))
            return error_wrap(err, "'%s' is no time", text);
        if (back >= now)
            return no_time(text, "that is before 1970", err);
        *micros = now - back;
        return true;
    }
    const char *problem = normalise(text, buffer, &fraction);
    int64_t millis = 0;
    if (!problem)
        problem = iso_date_parse(bytes_of_string(buffer), &millis);
    if (!problem && (millis < 0 || (millis == 0 && fraction == 0)))
        problem = "that is before 1970";
    if (problem)
        return no_time(text, problem, err);
    *micros = (uint64_t)millis * 1000 + fraction;
    return true;
}

bool when_choose(uint64_t at_lsn, const char *at_time, uint64_t *time, struct error *err)
{
    *time = 0;
    if (!at_time[0])
        return true;
    if (at_lsn)
        return error_set(err, ERROR_INVALID_ARGUMENT, "--at-lsn and --at-time exclude each other");
    return when_parse(at_time, clock_wall_micros(), time, err) || error_wrap(err, "option --at-time");
}
