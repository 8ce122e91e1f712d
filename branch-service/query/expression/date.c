#include "branch-service/query/expression/date.h"

#include "common/bson/iso_date.h"
#include "common/bson/utf8.h"

static int weekday_of(int64_t days)
{
    return (int)(((days + 4) % 7 + 7) % 7);
}

void date_take_apart(int64_t local, struct date_parts *p)
{
    int64_t days = floor_divide(local, MILLIS_PER_DAY), rest = local - days * MILLIS_PER_DAY;
    iso_date_civil(days, &p->year, &p->month, &p->day);
    p->hour = (int)(rest / 3600000);
    p->minute = (int)(rest / 60000 % 60);
    p->second = (int)(rest / 1000 % 60);
    p->millisecond = (int)(rest % 1000);
    p->weekday = weekday_of(days);
    p->day_of_year = (int)(days - iso_date_days(p->year, 1, 1)) + 1;
    /* a week belongs to the year of its Thursday */
    int64_t thursday = days - (p->weekday + 6) % 7 + 3;
    int month, day;
    iso_date_civil(thursday, &p->iso_year, &month, &day);
    p->iso_week = (int)(thursday - iso_date_days(p->iso_year, 1, 1)) / 7 + 1;
}

int64_t date_put_together(int64_t year, int64_t month, int64_t day, int64_t hour, int64_t minute, int64_t second, int64_t millisecond)
{
    year += floor_divide(month - 1, 12);
    month -= 12 * floor_divide(month - 1, 12);
    int64_t days = iso_date_days(year, (int)month, 1) + day - 1;
    return days * MILLIS_PER_DAY + hour * 3600000 + minute * 60000 + second * 1000 + millisecond;
}

int days_of_month(int64_t year, int month)
{
    static const int lengths[] = { 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31 };
    bool leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    return lengths[month - 1] + (month == 2 && leap);
}

/* ---- arguments ---- */

bool is_date_like(const struct element *e)
{
    return e->type == BSON_TYPE_DATE_TIME || e->type == BSON_TYPE_TIMESTAMP || e->type == BSON_TYPE_OID;
}

int64_t millis_of(const struct element *e)
{
    if (e->type == BSON_TYPE_DATE_TIME)
        return element_int64(e);
    if (e->type == BSON_TYPE_TIMESTAMP)
        return (int64_t)(get_u64(e->value.data) >> 32) * 1000;
    const uint8_t *id = e->value.data; /* whose seconds are signed in MongoDB: from 2038 on they are before 1970 */
    return (int64_t)(int32_t)((uint32_t)id[0] << 24 | (uint32_t)id[1] << 16 | (uint32_t)id[2] << 8 | id[3]) * 1000;
}

bool date_argument(struct run *run, const struct element *e, int64_t *millis)
{
    if (!is_date_like(e))
        return fail(run, 16006, "can't convert from BSON type %s to Date", element_type_name(e->type));
    *millis = millis_of(e);
    /* beyond, the calendar's numbers would overflow */
    if (*millis > MAX_CALENDAR_MILLIS || *millis < -MAX_CALENDAR_MILLIS)
        return fail(run, MONGO_OVERFLOW, "a date is out of the calendar's range");
    return true;
}

bool compile_zone(struct compiler *c, struct expression *node, size_t argument)
{
    const struct element *name = node->args[argument] ? expression_constant(node->args[argument]) : NULL;
    if (name && is_string(name))
        node->compiled = time_zone_find(element_string(name), c->arena); /* NULL: evaluation says that it is none */
    return true;
}

bool zone_argument(struct run *run, const struct expression *e, const struct element *value, const struct time_zone **zone)
{
    if (e->compiled) {
        *zone = e->compiled;
        return true;
    }
    if (!is_string(value))
        return fail(run, 40517, "%s: timezone must evaluate to a string, found %s", e->op->name, element_type_name(value->type));
    struct bytes name = element_string(value);
    *zone = time_zone_find(name, run->arena);
    return *zone || fail(run, 40485, "unrecognized time zone identifier: \"%.*s\"", utf8_fit((const char *)name.data, name.len, 60),
                         (const char *)name.data);
}

static bool find_word(const char *const *words, size_t n, struct bytes text, int *index)
{
    for (size_t i = 0; i < n; i++) {
        if (bytes_equal(text, bytes_of_string(words[i]))) {
            *index = (int)i;
            return true;
        }
    }
    return false;
}

bool unit_argument(struct run *run, const struct expression *e, const struct element *value, enum time_unit *unit)
{
    static const char *const units[] = { "millisecond", "second", "minute", "hour", "day", "week", "month", "quarter", "year" };
    int index;
    bool adds = strcmp(e->op->name, "$dateAdd") == 0 || strcmp(e->op->name, "$dateSubtract") == 0;
    if (!is_string(value))
        return fail(run, adds ? 5166404 : 5439013, "%s requires 'unit' to be a string, but got %s", e->op->name,
                    element_type_name(value->type));
    if (!find_word(units, ARRAY_LEN(units), element_string(value), &index))
        return fail(run, adds ? MONGO_FAILED_TO_PARSE : 5439014, "%s parameter 'unit' value cannot be recognized as a time unit: %.60s",
                    e->op->name, (const char *)element_string(value).data);
    *unit = (enum time_unit)index;
    return true;
}

bool weekday_argument(struct run *run, const struct expression *e, const struct element *value, int *weekday)
{
    static const char *const names[] = { "sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday",
                                         "sun",    "mon",    "tue",     "wed",       "thu",      "fri",    "sat" };
    char lower[16];
    if (!is_string(value))
        return fail(run, 5439015, "%s requires 'startOfWeek' to be a string, but got %s", e->op->name, element_type_name(value->type));
    struct bytes text = element_string(value);
    size_t len = text.len < sizeof lower ? text.len : sizeof lower;
    for (size_t i = 0; i < len; i++)
        lower[i] = (char)(text.data[i] | 0x20);
    if (!find_word(names, ARRAY_LEN(names), bytes_of(lower, len), weekday))
        return fail(run, 5439016, "%s parameter 'startOfWeek' value cannot be recognized as a day of a week", e->op->name);
    *weekday %= 7;
    return true;
}
