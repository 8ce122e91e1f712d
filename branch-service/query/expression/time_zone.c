#include "branch-service/query/expression/time_zone.h"

#include <stdio.h>
#include <stdlib.h>

#include "common/base/error.h"
#include "common/bson/iso_date.h"

enum { MAX_NAME = 64, MAX_FILE = 64 * 1024, HEADER = 44, DAY = 86400 };

/* A day of the year on which a rule changes: the n-th (5: last) of a weekday in a month. */
struct change {
    int month, week, weekday;
    int32_t second; /* of local time on that day; can be negative or beyond it */
};

struct time_zone {
    size_t n;
    const uint8_t *times;   /* of changes, big-endian int64, rising */
    const uint8_t *indexes; /* into types */
    const uint8_t *types;   /* of 6 bytes: offset, big-endian int32, and two more */
    int32_t standard;       /* offset before the first and, by itself or with summer time, behind the last */
    int32_t first;
    bool has_summer;
    int32_t summer;
    struct change begin, end;
};

const struct time_zone time_zone_utc = { 0 };

static uint32_t big_u32(const uint8_t *at)
{
    return (uint32_t)at[0] << 24 | (uint32_t)at[1] << 16 | (uint32_t)at[2] << 8 | at[3];
}

static int64_t big_i64(const uint8_t *at)
{
    return (int64_t)((uint64_t)big_u32(at) << 32 | big_u32(at + 4));
}

/* ---- the rule behind the table: POSIX TZ, "CET-1CEST,M3.5.0,M10.5.0/3" ---- */

static bool skip_name(const char **at)
{
    const char *begin = *at;
    if (**at == '<') {
        const char *end = strchr(*at, '>');
        if (!end)
            return false;
        *at = end + 1;
        return true;
    }
    while ((**at >= 'a' && **at <= 'z') || (**at >= 'A' && **at <= 'Z'))
        ++*at;
    return *at > begin;
}

/* "[+-]h[h[h]][:mm[:ss]]" in seconds */
static bool read_time(const char **at, int32_t *seconds)
{
    int sign = 1, scale = 3600;
    *seconds = 0;
    if (**at == '+' || **at == '-')
        sign = *(*at)++ == '-' ? -1 : 1;
    if (**at < '0' || **at > '9')
        return false;
    for (int part = 0; part < 3; part++, scale /= 60) {
        long value = strtol(*at, (char **)at, 10);
        if (value < 0 || value > 200)
            return false;
        *seconds += (int32_t)value * scale;
        if (**at != ':')
            break;
        ++*at;
    }
    *seconds *= sign;
    return true;
}

static bool read_change(const char **at, struct change *change)
{
    int taken = 0;
    if (sscanf(*at, ",M%2d.%1d.%1d%n", &change->month, &change->week, &change->weekday, &taken) != 3 || taken == 0)
        return false;
    *at += taken;
    change->second = 2 * 3600;
    if (**at != '/')
        return change->month >= 1 && change->month <= 12;
    ++*at;
    return read_time(at, &change->second) && change->month >= 1 && change->month <= 12;
}

static bool read_rule(const char *at, struct time_zone *zone)
{
    if (!skip_name(&at) || !read_time(&at, &zone->standard))
        return false;
    zone->standard = -zone->standard;
    if (!*at)
        return true;
    if (!skip_name(&at))
        return false;
    zone->has_summer = true;
    zone->summer = zone->standard + 3600;
    if (*at != ',') {
        if (!read_time(&at, &zone->summer))
            return false;
        zone->summer = -zone->summer;
    }
    return read_change(&at, &zone->begin) && read_change(&at, &zone->end);
}

/* Seconds since the epoch, in local time. */
static int64_t time_of_change(const struct change *change, int64_t year)
{
    static const int lengths[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
    int64_t first = iso_date_days(year, change->month, 1);
    int weekday = (int)(((first + 4) % 7 + 7) % 7), day = (change->weekday - weekday + 7) % 7 + 7 * (change->week - 1);
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    while (day >= lengths[change->month - 1] + (change->month == 2 && leap))
        day -= 7;
    return (first + day) * DAY + change->second;
}

static int32_t offset_by_rule(const struct time_zone *zone, int64_t seconds)
{
    int64_t year, days = (seconds + zone->standard) / DAY;
    int month, day;
    if (!zone->has_summer)
        return zone->standard;
    iso_date_civil(days - ((seconds + zone->standard) % DAY < 0), &year, &month, &day);
    int64_t begin = time_of_change(&zone->begin, year) - zone->standard, end = time_of_change(&zone->end, year) - zone->summer;
    bool summer = begin < end ? seconds >= begin && seconds < end : !(seconds >= end && seconds < begin);
    return summer ? zone->summer : zone->standard;
}

/* ---- the table: RFC 8536 ---- */

struct counts {
    uint32_t utc, standard, leap, times, types, characters;
};

static bool read_header(const uint8_t *data, size_t len, struct counts *c)
{
    if (len < HEADER || memcmp(data, "TZif", 4) != 0)
        return false;
    *c = (struct counts) { big_u32(data + 20), big_u32(data + 24), big_u32(data + 28),
                           big_u32(data + 32), big_u32(data + 36), big_u32(data + 40) };
    return c->times < 10000 && c->types > 0 && c->types <= 256 && c->characters < 10000 && c->leap < 1000 && c->utc <= 256 &&
           c->standard <= 256;
}

static size_t body_size(const struct counts *c, size_t time)
{
    return c->times * (time + 1) + c->types * 6 + c->characters + c->leap * (time + 4) + c->standard + c->utc;
}

static bool read_zone(const char *data, size_t len, struct time_zone *zone)
{
    const uint8_t *at = (const uint8_t *)data;
    struct counts c;
    if (!read_header(at, len, &c) || at[4] < '2')
        return false;
    size_t skip = HEADER + body_size(&c, 4); /* the same with 32 bits */
    if (skip > len || !read_header(at + skip, len - skip, &c) || body_size(&c, 8) + HEADER > len - skip)
        return false;
    at += skip + HEADER;
    zone->n = c.times;
    zone->times = at;
    zone->indexes = at + 8 * c.times;
    zone->types = zone->indexes + c.times;
    for (size_t i = 0; i < zone->n; i++) {
        if (zone->indexes[i] >= c.types)
            return false;
    }
    zone->first = (int32_t)big_u32(zone->types);
    const char *rule = (const char *)at + body_size(&c, 8);
    char text[128];
    size_t left = (size_t)(data + len - rule);
    if (left < 2 || *rule != '\n')
        return false;
    const char *end = memchr(rule + 1, '\n', left - 1);
    if (!end || end - rule - 1 >= (ptrdiff_t)sizeof text)
        return false;
    memcpy(text, rule + 1, (size_t)(end - rule - 1));
    text[end - rule - 1] = '\0';
    if (read_rule(text, zone))
        return true;
    zone->has_summer = false; /* no rule, or one of a kind that no zone has today: the last offset stays */
    zone->standard = zone->n ? (int32_t)big_u32(zone->types + 6 * zone->indexes[zone->n - 1]) : zone->first;
    return true;
}

/* Letters, digits, "_+-/"; never a way out of the folder. */
static bool is_zone_name(struct bytes name)
{
    static const char *const none[] = { "posix/", "right/", "posixrules", "localtime" }; /* in the folder, but no names */
    if (name.len == 0 || name.len > MAX_NAME || name.data[0] == '/')
        return false;
    for (size_t i = 0; i < ARRAY_LEN(none); i++) {
        if (name.len >= strlen(none[i]) && memcmp(name.data, none[i], strlen(none[i])) == 0)
            return false;
    }
    for (size_t i = 0; i < name.len; i++) {
        uint8_t c = name.data[i];
        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || (c && strchr("_+-/", c))))
            return false;
    }
    return true;
}

static const struct time_zone *load_zone(struct bytes name, struct arena *arena)
{
    char path[MAX_NAME + 32], data[MAX_FILE];
    if (!is_zone_name(name))
        return NULL;
    snprintf(path, sizeof path, "/usr/share/zoneinfo/%.*s", (int)name.len, (const char *)name.data);
    FILE *file = fopen(path, "re");
    if (!file)
        return NULL;
    size_t len = fread(data, 1, sizeof data, file);
    fclose(file);
    struct time_zone *zone = arena_zalloc(arena, sizeof *zone);
    char *copy = arena_copy(arena, data, len);
    return zone && copy && read_zone(copy, len, zone) ? zone : NULL;
}

/* "+hh", "+hhmm", "+hh:mm" */
static bool read_offset(struct bytes name, int32_t *seconds)
{
    char digits[5];
    size_t n = 0;
    if (name.len < 3 || (name.data[0] != '+' && name.data[0] != '-'))
        return false;
    for (size_t i = 1; i < name.len; i++) {
        uint8_t c = name.data[i];
        if (c == ':' && i == 3 && name.len == 6)
            continue;
        if (c < '0' || c > '9' || n == 4)
            return false;
        digits[n++] = (char)c;
    }
    if (n != 2 && n != 4)
        return false;
    digits[n] = '\0';
    int value = atoi(digits), hours = n == 2 ? value : value / 100, minutes = n == 2 ? 0 : value % 100;
    *seconds = (hours * 3600 + minutes * 60) * (name.data[0] == '-' ? -1 : 1);
    return true;
}

const struct time_zone *time_zone_find(struct bytes name, struct arena *arena)
{
    int32_t offset;
    if (bytes_equal(name, bytes_of_string("UTC")))
        return &time_zone_utc;
    if (!read_offset(name, &offset))
        return load_zone(name, arena);
    if (offset == 0)
        return &time_zone_utc;
    struct time_zone *zone = arena_zalloc(arena, sizeof *zone);
    if (zone)
        zone->standard = offset;
    return zone;
}

static int64_t floor_seconds(int64_t millis)
{
    return millis / 1000 - (millis % 1000 < 0);
}

int32_t time_zone_offset(const struct time_zone *zone, int64_t utc_millis)
{
    int64_t seconds = floor_seconds(utc_millis);
    size_t low = 0, high = zone->n; /* the first change behind it */
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (big_i64(zone->times + 8 * middle) <= seconds)
            low = middle + 1;
        else
            high = middle;
    }
    if (low == zone->n)
        return offset_by_rule(zone, seconds);
    return low == 0 ? zone->first : (int32_t)big_u32(zone->types + 6 * zone->indexes[low - 1]);
}

int64_t time_zone_to_utc(const struct time_zone *zone, int64_t local)
{
    const int64_t day = DAY * INT64_C(1000);
    int64_t before = 1000 * (int64_t)time_zone_offset(zone, local - day), after = 1000 * (int64_t)time_zone_offset(zone, local + day);
    if (before == after || 1000 * (int64_t)time_zone_offset(zone, local - before) == before ||
        1000 * (int64_t)time_zone_offset(zone, local - after) != after)
        return local - before;
    return local - after;
}
