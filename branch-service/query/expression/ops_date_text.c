/* Dates and text: $dateToString, $dateFromString. */
#include <ctype.h>
#include <stdio.h>
#include <strings.h>

#include "branch-service/query/expression/date.h"

static const char *const month_names[] = { "January", "February", "March",     "April",   "May",      "June",
                                           "July",    "August",   "September", "October", "November", "December" };
static const char known[] = "dGHjLmMSwuUVYzZbB%";

static bool check_format(struct run *run, struct bytes format, const char *allowed)
{
    for (size_t i = 0; i < format.len; i++) {
        if (format.data[i] != '%')
            continue;
        if (++i == format.len)
            return fail(run, 18535, "Unmatched '%%' at end of format string");
        if (!format.data[i] || !strchr(allowed, format.data[i]))
            return fail(run, 18536, "Invalid format character '%%%c' in format string", format.data[i]);
    }
    return true;
}

static bool format_one(struct run *run, char what, const struct date_parts *p, int32_t offset, char out[32])
{
    char sign = offset < 0 ? '-' : '+';
    int minutes = (offset < 0 ? -offset : offset) / 60;
    int64_t year = what == 'G' ? p->iso_year : p->year;
    switch (what) {
    case 'd':
        snprintf(out, 32, "%02d", p->day);
        break;
    case 'H':
        snprintf(out, 32, "%02d", p->hour);
        break;
    case 'j':
        snprintf(out, 32, "%03d", p->day_of_year);
        break;
    case 'L':
        snprintf(out, 32, "%03d", p->millisecond);
        break;
    case 'm':
        snprintf(out, 32, "%02d", p->month);
        break;
    case 'M':
        snprintf(out, 32, "%02d", p->minute);
        break;
    case 'S':
        snprintf(out, 32, "%02d", p->second);
        break;
    case 'w':
        snprintf(out, 32, "%d", p->weekday + 1);
        break;
    case 'u':
        snprintf(out, 32, "%d", (p->weekday + 6) % 7 + 1);
        break;
    case 'U':
        snprintf(out, 32, "%02d", (p->day_of_year + 6 - p->weekday) / 7);
        break;
    case 'V':
        snprintf(out, 32, "%02d", p->iso_week);
        break;
    case 'G':
    case 'Y':
        if (year < 0 || year > 9999)
            return fail(run, 18537, "Could not convert date to string: date component was outside the supported range of 0-9999: %lld",
                        (long long)year);
        snprintf(out, 32, "%04d", (int)year);
        break;
    case 'z':
        snprintf(out, 32, "%c%02d%02d", sign, minutes / 60, minutes % 60);
        break;
    case 'Z':
        snprintf(out, 32, "%d", sign == '-' ? -minutes : minutes);
        break;
    case 'b':
        snprintf(out, 32, "%.3s", month_names[p->month - 1]);
        break;
    case 'B':
        snprintf(out, 32, "%s", month_names[p->month - 1]);
        break;
    default:
        snprintf(out, 32, "%%");
        break;
    }
    return true;
}

bool date_format(struct run *run, struct bytes format, int64_t millis, const struct time_zone *zone, struct element *out)
{
    struct date_parts parts;
    char piece[32];
    if (!check_format(run, format, known))
        return false;
    int32_t offset = time_zone_offset(zone, millis);
    date_take_apart(millis + 1000 * (int64_t)offset, &parts);
    char *text = run_alloc(run, format.len * 16 + 1); /* no piece is longer than 9 */
    size_t len = 0;
    if (!text)
        return false;
    for (size_t i = 0; i < format.len; i++) {
        if (format.data[i] != '%') {
            text[len++] = (char)format.data[i];
            continue;
        }
        if (!format_one(run, (char)format.data[++i], &parts, offset, piece))
            return false;
        size_t n = strlen(piece);
        memcpy(text + len, piece, n);
        len += n;
    }
    return make_string(run, bytes_of(text, len), out);
}

/* ---- reading ---- */

static bool take(struct bytes *text, char c)
{
    if (text->len == 0 || text->data[0] != (uint8_t)c)
        return false;
    *text = bytes_of(text->data + 1, text->len - 1);
    return true;
}

/* From min to max digits. */
static bool take_digits(struct bytes *text, size_t min, size_t max, int64_t *value)
{
    size_t n = 0;
    *value = 0;
    while (n < max && n < text->len && text->data[n] >= '0' && text->data[n] <= '9')
        *value = *value * 10 + (text->data[n++] - '0');
    *text = bytes_of(text->data + n, text->len - n);
    return n >= min;
}

/* The usual abbreviations of zones, and the letters of military ones: A is an hour east, Z is UTC, N an hour west. */
static bool take_zone_name(struct bytes *text, int32_t *seconds)
{
    static const struct {
        const char *name;
        int hours;
    } zones[] = { { "UTC", 0 },  { "GMT", 0 },  { "WET", 0 },  { "WEST", 1 }, { "BST", 1 },  { "CET", 1 },
                  { "CEST", 2 }, { "EET", 2 },  { "EEST", 3 }, { "MSK", 3 },  { "EST", -5 }, { "EDT", -4 },
                  { "CST", -6 }, { "CDT", -5 }, { "MST", -7 }, { "MDT", -6 }, { "PST", -8 }, { "PDT", -7 } };
    size_t len = 0;
    while (len < text->len && isalpha(text->data[len]))
        len++;
    struct bytes name = bytes_of(text->data, len);
    *text = bytes_of(text->data + len, text->len - len);
    for (size_t i = 0; i < ARRAY_LEN(zones); i++) {
        if (len == strlen(zones[i].name) && strncasecmp((const char *)name.data, zones[i].name, len) == 0) {
            *seconds = zones[i].hours * 3600;
            return true;
        }
    }
    int letter = len == 1 ? toupper(name.data[0]) : 'J';
    *seconds = 3600 * (letter < 'J' ? letter - 'A' + 1 : letter < 'N' ? letter - 'A' : letter < 'Z' ? 'M' - letter : 0);
    return letter != 'J';
}

/* "Z", "EST", "+hh", "+hhmm", "+hh:mm", "GMT+hh:mm"; what is there. */
static bool take_offset(struct bytes *text, bool *found, int32_t *seconds)
{
    int64_t hours, minutes = 0;
    bool greenwich =
        text->len >= 3 && (strncasecmp((const char *)text->data, "GMT", 3) == 0 || strncasecmp((const char *)text->data, "UTC", 3) == 0);
    *found = true;
    *seconds = 0;
    if (text->len && isalpha(text->data[0])) {
        if (!take_zone_name(text, seconds))
            return false;
        if (!greenwich || text->len == 0 || (text->data[0] != '+' && text->data[0] != '-'))
            return true;
    }
    int sign = take(text, '+') ? 1 : take(text, '-') ? -1 : 0;
    *found = sign != 0;
    if (!*found)
        return true;
    if (!take_digits(text, 2, 2, &hours))
        return false;
    if ((take(text, ':') || text->len > 0) && !take_digits(text, 2, 2, &minutes))
        return false;
    *seconds = sign * (int32_t)(hours * 3600 + minutes * 60);
    return true;
}

/* Milliseconds of up to nine digits behind a point. */
static bool take_fraction(struct bytes *text, int64_t *millis)
{
    int64_t digit, scale = 100;
    int n = 0;
    *millis = 0;
    for (; n < 9 && take_digits(text, 1, 1, &digit); n++, scale /= 10)
        *millis += digit * scale;
    return n > 0;
}

static const char out_of_range[] = "no such day or time";

static const char *put_checked(const int64_t v[7], int32_t offset, bool has_offset, const struct time_zone *zone, int64_t *millis)
{
    if (v[1] < 1 || v[1] > 12 || v[2] < 1 || v[2] > days_of_month(v[0], (int)v[1]) || v[3] > 23 || v[4] > 59 || v[5] > 59)
        return out_of_range;
    int64_t local = date_put_together(v[0], v[1], v[2], v[3], v[4], v[5], v[6]);
    *millis = has_offset ? local - 1000 * (int64_t)offset : time_zone_to_utc(zone, local);
    return NULL;
}

const char *date_parse(struct bytes text, const struct time_zone *zone, bool zone_given, int64_t *millis)
{
    static const char wrong[] = "it is no date in ISO 8601";
    int64_t v[7] = { 0 }; /* year, month, day, hour, minute, second, millisecond */
    int32_t offset = 0;
    bool has_offset = false;
    if (!take_digits(&text, 4, 4, &v[0]) || !take(&text, '-') || !take_digits(&text, 1, 2, &v[1]) || !take(&text, '-') ||
        !take_digits(&text, 1, 2, &v[2]))
        return wrong;
    if (take(&text, 'T') || take(&text, 't') || take(&text, ' ')) {
        if (!take_digits(&text, 1, 2, &v[3]) || !take(&text, ':') || !take_digits(&text, 2, 2, &v[4]))
            return wrong;
        if ((take(&text, ':') || take(&text, '.')) &&
            (!take_digits(&text, 2, 2, &v[5]) || (take(&text, '.') && !take_fraction(&text, &v[6]))))
            return wrong;
        (void)take(&text, ' ');
        if (!take_offset(&text, &has_offset, &offset))
            return wrong;
    }
    if (text.len)
        return wrong;
    if (has_offset && zone_given)
        return "you cannot pass in a date/time string with time zone information together with a timezone argument";
    return put_checked(v, offset, has_offset, zone, millis);
}

static bool take_month_name(struct bytes *text, bool full, int64_t *month)
{
    for (int i = 0; i < 12; i++) {
        size_t len = full ? strlen(month_names[i]) : 3;
        if (text->len >= len && strncasecmp((const char *)text->data, month_names[i], len) == 0) {
            *text = bytes_of(text->data + len, text->len - len);
            *month = i + 1;
            return true;
        }
    }
    return false;
}

/* What each character of a format stands for. */
static const char *parse_with_format(struct bytes text, struct bytes format, const struct time_zone *zone, bool zone_given, int64_t *millis)
{
    static const char wrong[] = "it does not match the format";
    int64_t v[7] = { 0 }, iso_year = -1, iso_week = 1, iso_day = 1, day_of_year = -1, minutes;
    int32_t offset = 0;
    bool has_offset = false, has_year = false, has_month = false, has_day = false, ok = true;
    for (size_t i = 0; i < format.len && ok; i++) {
        if (format.data[i] != '%') {
            ok = take(&text, (char)format.data[i]);
            continue;
        }
        switch (format.data[++i]) {
        case 'Y':
            ok = has_year = take_digits(&text, 4, 4, &v[0]);
            break;
        case 'm':
            ok = has_month = take_digits(&text, 1, 2, &v[1]);
            break;
        case 'b':
        case 'B':
            ok = has_month = take_month_name(&text, format.data[i] == 'B', &v[1]);
            break;
        case 'd':
            ok = has_day = take_digits(&text, 1, 2, &v[2]);
            break;
        case 'H':
            ok = take_digits(&text, 1, 2, &v[3]);
            break;
        case 'M':
            ok = take_digits(&text, 1, 2, &v[4]);
            break;
        case 'S':
            ok = take_digits(&text, 1, 2, &v[5]);
            break;
        case 'L':
            ok = take_fraction(&text, &v[6]);
            break;
        case 'j':
            ok = take_digits(&text, 1, 3, &day_of_year);
            break;
        case 'G':
            ok = take_digits(&text, 1, 4, &iso_year);
            break;
        case 'V':
            ok = take_digits(&text, 1, 2, &iso_week);
            break;
        case 'u':
            ok = take_digits(&text, 1, 1, &iso_day);
            break;
        case 'z':
            ok = take_offset(&text, &has_offset, &offset) && has_offset;
            break;
        case 'Z': {
            int sign = take(&text, '-') ? -1 : take(&text, '+') ? 1 : 0;
            ok = has_offset = sign != 0 && take_digits(&text, 1, 3, &minutes);
            offset = ok ? sign * (int32_t)minutes * 60 : 0;
            break;
        }
        default:
            ok = take(&text, '%');
            break;
        }
    }
    if (!ok || text.len)
        return wrong;
    if (has_offset && zone_given)
        return "you cannot pass in a date/time string with time zone information together with a timezone argument";
    if (iso_year >= 0) {
        struct date_parts jan4;
        if (has_year || has_month || has_day || iso_week < 1 || iso_week > 53 || iso_day < 1 || iso_day > 7)
            return out_of_range;
        date_take_apart(date_put_together(iso_year, 1, 4, 0, 0, 0, 0), &jan4);
        int64_t day = 4 - (jan4.weekday + 6) % 7 + 7 * (iso_week - 1) + iso_day - 1;
        int64_t local = date_put_together(iso_year, 1, day, v[3], v[4], v[5], v[6]);
        *millis = has_offset ? local - 1000 * (int64_t)offset : time_zone_to_utc(zone, local);
        return NULL;
    }
    if (day_of_year > 0 && has_year) {
        int64_t local = date_put_together(v[0], 1, day_of_year, v[3], v[4], v[5], v[6]);
        if (day_of_year > 365 + (days_of_month(v[0], 2) == 29))
            return out_of_range;
        *millis = has_offset ? local - 1000 * (int64_t)offset : time_zone_to_utc(zone, local);
        return NULL;
    }
    if (!has_year || !has_month || !has_day)
        return "an incomplete date/time string has been found, with elements missing";
    return put_checked(v, offset, has_offset, zone, millis);
}

/* ---- the operators ---- */

static bool compile_with_zone(struct compiler *c, const struct element *spec, struct expression *node)
{
    return compile_fields(c, spec, node) && compile_zone(c, node, 2);
}

enum { DATE, FORMAT, ZONE, ON_NULL, ON_ERROR };

static bool evaluate_to_string(struct run *run, const struct expression *e, struct element *out)
{
    const struct time_zone *zone = &time_zone_utc;
    struct element date, format, name;
    int64_t millis;
    if (!evaluate(run, e->args[DATE], &date) || !evaluate_optional(run, e->args[FORMAT], &format) ||
        !evaluate_optional(run, e->args[ZONE], &name))
        return false;
    if (e->args[FORMAT] && !is_nullish(&format)) {
        if (!is_string(&format))
            return fail(run, 18533, "$dateToString requires that 'format' be a string, found: %s", element_type_name(format.type));
        if (!check_format(run, element_string(&format), known))
            return false;
    }
    if (e->args[ZONE] && !is_nullish(&name) && !zone_argument(run, e, &name, &zone))
        return false;
    if (is_nullish(&date))
        return e->args[ON_NULL] ? evaluate(run, e->args[ON_NULL], out) : make_null(out);
    if ((e->args[ZONE] && is_nullish(&name)) || (e->args[FORMAT] && is_nullish(&format)))
        return make_null(out);
    if (!date_argument(run, &date, &millis))
        return false;
    const char *usual = "%Y-%m-%dT%H:%M:%S.%LZ";
    return date_format(run, e->args[FORMAT] ? element_string(&format) : bytes_of_string(usual), millis, zone, out);
}

static bool evaluate_from_string(struct run *run, const struct expression *e, struct element *out)
{
    const struct time_zone *zone = &time_zone_utc;
    struct element text, format, name;
    int64_t millis;
    if (!evaluate(run, e->args[DATE], &text) || !evaluate_optional(run, e->args[FORMAT], &format) ||
        !evaluate_optional(run, e->args[ZONE], &name))
        return false;
    if (e->args[FORMAT] && !is_nullish(&format)) {
        if (!is_string(&format))
            return fail(run, 40684, "$dateFromString requires that 'format' be a string, found: %s", element_type_name(format.type));
        if (!check_format(run, element_string(&format), "dGHjLmMSuVYzZbB%"))
            return false;
    }
    if (e->args[ZONE] && !is_nullish(&name) && !zone_argument(run, e, &name, &zone))
        return false;
    bool zone_given = zone != &time_zone_utc; /* UTC goes together with any other in the text */
    if (is_nullish(&text))
        return e->args[ON_NULL] ? evaluate(run, e->args[ON_NULL], out) : make_null(out);
    const char *problem = "it is no string";
    if (is_string(&text)) {
        if ((e->args[ZONE] && is_nullish(&name)) || (e->args[FORMAT] && is_nullish(&format)))
            return make_null(out);
        problem = e->args[FORMAT] ? parse_with_format(element_string(&text), element_string(&format), zone, zone_given, &millis)
                                  : date_parse(element_string(&text), zone, zone_given, &millis);
        if (!problem)
            return make_date(run, millis, out);
    }
    if (e->args[ON_ERROR])
        return evaluate(run, e->args[ON_ERROR], out);
    return fail(run, MONGO_CONVERSION_FAILURE, "$dateFromString cannot read the date: %s", problem);
}

static const struct expression_op ops[] = {
    { "$dateToString", .evaluate = evaluate_to_string, .compile = compile_with_zone, .fields = "date!18628 format timezone onNull",
      .not_document = 18629, .unknown_field = 18534 },
    { "$dateFromString", .evaluate = evaluate_from_string, .compile = compile_with_zone,
      .fields = "dateString!40542 format timezone onNull onError", .not_document = 40540, .unknown_field = 40541 },
};

const struct expression_ops ops_date_text = { ops, ARRAY_LEN(ops) };
