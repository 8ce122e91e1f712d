#include "common/bson/iso_date.h"

#include <stdio.h>

enum { SECOND = 1000, MINUTE = 60 * SECOND, HOUR = 60 * MINUTE, DAY = 24 * HOUR };

/* 10000-01-01T00:00:00Z */
static const int64_t year_10000 = INT64_C(253402300800000);

/* Years begin in March here, which puts the leap day at the end of one. */
int64_t iso_date_days(int64_t year, int month, int day)
{
    int64_t y = month <= 2 ? year - 1 : year;
    int64_t era = (y >= 0 ? y : y - 399) / 400;
    int64_t year_of_era = y - era * 400;
    int64_t day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * 146097 + day_of_era - 719468;
}

void iso_date_civil(int64_t days, int64_t *year, int *month, int *day)
{
    int64_t z = days + 719468;
    int64_t era = (z >= 0 ? z : z - 146096) / 146097;
    int64_t day_of_era = z - era * 146097;
    int64_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t m = (5 * day_of_year + 2) / 153;
    *day = (int)(day_of_year - (153 * m + 2) / 5 + 1);
    *month = (int)(m < 10 ? m + 3 : m - 9);
    *year = year_of_era + era * 400 + (*month <= 2);
}

bool iso_date_has_text(int64_t millis)
{
    return millis >= 0 && millis < year_10000;
}

void iso_date_format(int64_t millis, char out[ISO_DATE_SIZE])
{
    int64_t year;
    int month, day;
    iso_date_civil(millis / DAY, &year, &month, &day);
    int rest = (int)(millis % DAY);
    char fraction[8] = "";
    if (rest % SECOND)
        snprintf(fraction, sizeof fraction, ".%03d", rest % SECOND);
    snprintf(out, ISO_DATE_SIZE, "%04d-%02d-%02dT%02d:%02d:%02d%sZ", (int)year, month, day, rest / HOUR, rest % HOUR / MINUTE,
             rest % MINUTE / SECOND, fraction);
}

/* n digits at the beginning of text, which moves on behind them. */
static bool take_digits(struct bytes *text, size_t n, int *value)
{
    if (text->len < n)
        return false;
    *value = 0;
    for (size_t i = 0; i < n; i++) {
        if (text->data[i] < '0' || text->data[i] > '9')
            return false;
        *value = *value * 10 + (text->data[i] - '0');
    }
    *text = bytes_of(text->data + n, text->len - n);
    return true;
}

static bool take(struct bytes *text, char c)
{
    if (text->len == 0 || text->data[0] != (uint8_t)c)
        return false;
    *text = bytes_of(text->data + 1, text->len - 1);
    return true;
}

static bool take_offset(struct bytes *text, int *minutes)
{
    *minutes = 0;
    if (take(text, 'Z'))
        return true;
    int sign = take(text, '+') ? 1 : take(text, '-') ? -1 : 0;
    int hour, minute;
    if (sign == 0 || !take_digits(text, 2, &hour))
        return false;
    (void)take(text, ':');
    if (!take_digits(text, 2, &minute) || hour > 23 || minute > 59)
        return false;
    *minutes = sign * (hour * 60 + minute);
    return true;
}

const char *iso_date_parse(struct bytes text, int64_t *millis)
{
    static const char *const wrong = "expected a date like 2012-12-24T12:15:30.501Z";
    static const int month_days[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
    int year, month, day, hour, minute, second, offset, fraction = 0;
    if (!take_digits(&text, 4, &year) || !take(&text, '-') || !take_digits(&text, 2, &month) || !take(&text, '-') ||
        !take_digits(&text, 2, &day) || !take(&text, 'T') || !take_digits(&text, 2, &hour) || !take(&text, ':') ||
        !take_digits(&text, 2, &minute) || !take(&text, ':') || !take_digits(&text, 2, &second))
        return wrong;
    if (take(&text, '.')) {
        int digit, scale = 100, n = 0;
        for (; take_digits(&text, 1, &digit); n++, scale /= 10) {
            if (scale == 0 && digit != 0)
                return "a date holds milliseconds, nothing finer";
            fraction += scale * digit;
        }
        if (n == 0 || n > 9)
            return wrong;
    }
    if (!take_offset(&text, &offset) || text.len != 0)
        return wrong;
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    if (month < 1 || month > 12 || day < 1 || day > month_days[month - 1] + (month == 2 && leap) || hour > 23 || minute > 59 || second > 59)
        return "no such day or time";
    *millis = iso_date_days(year, month, day) * DAY + (int64_t)hour * HOUR + (int64_t)minute * MINUTE + (int64_t)second * SECOND +
              fraction - (int64_t)offset * MINUTE;
    return NULL;
}
