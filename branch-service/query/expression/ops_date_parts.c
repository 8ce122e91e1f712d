/* What a date consists of: $year and its kin, $dateToParts, $dateFromParts. */
#include "branch-service/query/expression/date.h"

enum part {
    YEAR,
    MONTH,
    DAY_OF_MONTH,
    HOUR,
    MINUTE,
    SECOND,
    MILLISECOND,
    DAY_OF_WEEK,
    DAY_OF_YEAR,
    WEEK,
    ISO_WEEK,
    ISO_WEEK_YEAR,
    ISO_DAY_OF_WEEK
};

/* A date, [a date], or {date, timezone}. */
static bool compile_part(struct compiler *c, const struct element *spec, struct expression *node)
{
    struct element_reader reader;
    struct element first;
    struct element operand = *spec;
    if (spec->type == BSON_TYPE_DOCUMENT) {
        element_reader_init(&reader, spec->value);
        if (!element_next(&reader, &first) || !element_name_is_operator(&first))
            return compile_fields(c, spec, node) && compile_zone(c, node, 1);
    } else if (spec->type == BSON_TYPE_ARRAY) {
        if (count_elements(spec) != 1)
            return query_error(c->err, 40536, "%s accepts exactly one argument if given an array, but was given %zu", node->op->name,
                               count_elements(spec));
        element_reader_init(&reader, spec->value);
        (void)element_next(&reader, &operand); /* there is one */
    }
    return compile_args_alloc(c, 2, node) && (node->args[0] = compile_operand(c, &operand)) != NULL;
}

/* The local time of args[0] in the zone of args[1]. *null: one of them is nullish. */
static bool local_time(struct run *run, const struct expression *e, const struct element *args, bool *null, int64_t *local)
{
    const struct time_zone *zone = &time_zone_utc;
    *null = is_nullish(&args[0]);
    if (*null)
        return true;
    if (!date_argument(run, &args[0], local))
        return false;
    *null = e->args[1] && is_nullish(&args[1]);
    if (*null)
        return true;
    if (e->args[1] && !zone_argument(run, e, &args[1], &zone))
        return false;
    *local += 1000 * (int64_t)time_zone_offset(zone, *local);
    return true;
}

static bool apply_part(struct run *run, const struct expression *e, const struct element *args, struct element *out)
{
    struct date_parts p;
    int64_t local;
    bool null;
    if (!local_time(run, e, args, &null, &local))
        return false;
    if (null)
        return make_null(out);
    date_take_apart(local, &p);
    switch ((enum part)e->op->variant) {
    case YEAR:
        return make_int32(run, (int32_t)p.year, out);
    case MONTH:
        return make_int32(run, p.month, out);
    case DAY_OF_MONTH:
        return make_int32(run, p.day, out);
    case HOUR:
        return make_int32(run, p.hour, out);
    case MINUTE:
        return make_int32(run, p.minute, out);
    case SECOND:
        return make_int32(run, p.second, out);
    case MILLISECOND:
        return make_int32(run, p.millisecond, out);
    case DAY_OF_WEEK:
        return make_int32(run, p.weekday + 1, out);
    case DAY_OF_YEAR:
        return make_int32(run, p.day_of_year, out);
    case WEEK: /* those before the first Sunday are in week 0 */
        return make_int32(run, (p.day_of_year + 6 - p.weekday) / 7, out);
    case ISO_WEEK:
        return make_int32(run, p.iso_week, out);
    case ISO_WEEK_YEAR:
        return make_int64(run, p.iso_year, out);
    case ISO_DAY_OF_WEEK:
        return make_int32(run, (p.weekday + 6) % 7 + 1, out);
    }
    return false;
}

/* ---- $dateToParts ---- */

static bool compile_with_zone(struct compiler *c, const struct element *spec, struct expression *node)
{
    return compile_fields(c, spec, node) && compile_zone(c, node, (size_t)node->op->variant);
}

static bool add_number(struct run *run, struct list *list, const char *name, int64_t value, bool wide)
{
    struct element number;
    return (wide ? make_int64(run, value, &number) : make_int32(run, (int32_t)value, &number)) &&
           list_add_named(run, list, name, strlen(name), &number);
}

static bool apply_to_parts(struct run *run, const struct expression *e, const struct element *args, struct element *out)
{
    struct date_parts p;
    struct list list = { 0 };
    int64_t local;
    bool null;
    const struct time_zone *zone; /* is looked for first, whatever the date is */
    if (e->args[1] && is_nullish(&args[1]))
        return make_null(out);
    if (e->args[1] && !zone_argument(run, e, &args[1], &zone))
        return false;
    if (e->args[2] && is_nullish(&args[2]))
        return make_null(out);
    if (e->args[2] && args[2].type != BSON_TYPE_BOOL)
        return fail(run, 40521, "iso8601 must evaluate to a bool, found %s", element_type_name(args[2].type));
    if (!local_time(run, e, args, &null, &local))
        return false;
    if (null)
        return make_null(out);
    bool iso = e->args[2] && *args[2].value.data;
    date_take_apart(local, &p);
    return add_number(run, &list, iso ? "isoWeekYear" : "year", iso ? p.iso_year : p.year, false) &&
           add_number(run, &list, iso ? "isoWeek" : "month", iso ? p.iso_week : p.month, false) &&
           add_number(run, &list, iso ? "isoDayOfWeek" : "day", iso ? (p.weekday + 6) % 7 + 1 : p.day, false) &&
           add_number(run, &list, "hour", p.hour, false) && add_number(run, &list, "minute", p.minute, false) &&
           add_number(run, &list, "second", p.second, false) && add_number(run, &list, "millisecond", p.millisecond, false) &&
           make_document(run, &list, out);
}

/* ---- $dateFromParts ---- */

enum { F_YEAR, F_MONTH, F_DAY, F_HOUR, F_MINUTE, F_SECOND, F_MILLISECOND, F_ISO_YEAR, F_ISO_WEEK, F_ISO_DAY, F_ZONE };

static bool compile_from_parts(struct compiler *c, const struct element *spec, struct expression *node)
{
    if (!compile_fields(c, spec, node) || !compile_zone(c, node, F_ZONE))
        return false;
    bool iso = node->args[F_ISO_YEAR] || node->args[F_ISO_WEEK] || node->args[F_ISO_DAY];
    if (!node->args[F_YEAR] && !node->args[F_ISO_YEAR])
        return query_error(c->err, 40516, "$dateFromParts requires either 'year' or 'isoWeekYear' to be present");
    if (node->args[F_YEAR] && iso)
        return query_error(c->err, 40489, "$dateFromParts does not allow mixing natural dates with ISO dates");
    if (node->args[F_ISO_YEAR] && (node->args[F_MONTH] || node->args[F_DAY]))
        return query_error(c->err, 40525, "$dateFromParts does not allow mixing ISO dates with natural dates");
    return true;
}

/* The parts from first to last. *null: one of them is; those behind it are not looked at. */
static bool read_parts(struct run *run, const struct expression *e, const struct element *args, int first, int last, int64_t *v, bool *null)
{
    static const char *const names[] = { "year",   "month",       "day",         "hour",    "minute",
                                         "second", "millisecond", "isoWeekYear", "isoWeek", "isoDayOfWeek" };
    for (int i = first; i <= last && !*null; i++) {
        if (!e->args[i])
            continue;
        *null = is_nullish(&args[i]);
        if (*null)
            break;
        if (!exact_int64(&args[i], &v[i]))
            return fail(run, 40515, "'%s' must evaluate to an integer, found %s", names[i], element_type_name(args[i].type));
        bool bounded = i != F_YEAR && i != F_ISO_YEAR && i != F_SECOND && i != F_MILLISECOND;
        if (bounded && (v[i] < -32768 || v[i] > 32767))
            return fail(run, 31034, "'%s' must evaluate to a value in the range [-32768, 32767]; value %lld is not in range", names[i],
                        (long long)v[i]);
        if (!bounded && i != F_YEAR && i != F_ISO_YEAR && (v[i] > INT64_C(1) << 52 || v[i] < -(INT64_C(1) << 52)))
            return fail(run, MONGO_OVERFLOW, "'%s' is out of the calendar's range", names[i]);
    }
    return true;
}

static bool apply_from_parts(struct run *run, const struct expression *e, const struct element *args, struct element *out)
{
    int64_t v[F_ZONE] = { 1970, 1, 1, 0, 0, 0, 0, 1970, 1, 1 };
    const struct time_zone *zone = &time_zone_utc;
    bool null = false, iso = e->args[F_ISO_YEAR];
    /* in MongoDB's order: the time, the zone, the day */
    if (!read_parts(run, e, args, F_HOUR, F_MILLISECOND, v, &null))
        return false;
    null = null || (e->args[F_ZONE] && is_nullish(&args[F_ZONE]));
    if (!null && e->args[F_ZONE] && !zone_argument(run, e, &args[F_ZONE], &zone))
        return false;
    if (!read_parts(run, e, args, iso ? F_ISO_YEAR : F_YEAR, iso ? F_ISO_DAY : F_DAY, v, &null))
        return false;
    if (null)
        return make_null(out);
    int64_t year = v[iso ? F_ISO_YEAR : F_YEAR];
    if (year < 1 || year > 9999)
        return fail(run, iso ? 31095 : 40523, "'%s' must evaluate to an integer in the range 1 to 9999, found %lld",
                    iso ? "isoWeekYear" : "year", (long long)year);
    if (iso) {
        struct date_parts jan4;
        date_take_apart(date_put_together(year, 1, 4, 0, 0, 0, 0), &jan4); /* always in week 1 */
        v[F_DAY] = 4 - (jan4.weekday + 6) % 7 + 7 * (v[F_ISO_WEEK] - 1) + v[F_ISO_DAY] - 1;
    }
    int64_t local = date_put_together(year, v[F_MONTH], v[F_DAY], v[F_HOUR], v[F_MINUTE], v[F_SECOND], v[F_MILLISECOND]);
    return make_date(run, time_zone_to_utc(zone, local), out);
}

static bool apply_timestamp_part(struct run *run, const struct expression *e, const struct element *args, struct element *out)
{
    if (is_nullish(&args[0]))
        return make_null(out);
    if (args[0].type != BSON_TYPE_TIMESTAMP)
        return fail(run, e->op->variant ? 5687301 : 5687302, "Argument to %s must be a timestamp, but is %s", e->op->name,
                    element_type_name(args[0].type));
    uint64_t value = get_u64(args[0].value.data);
    return make_int64(run, (int64_t)(e->op->variant ? value >> 32 : value & UINT32_MAX), out);
}

#define PART(part) .apply = apply_part, .variant = part, .compile = compile_part, .fields = "date!40539 timezone", .unknown_field = 40535

static const struct expression_op ops[] = {
    { "$year", PART(YEAR) },
    { "$month", PART(MONTH) },
    { "$dayOfMonth", PART(DAY_OF_MONTH) },
    { "$hour", PART(HOUR) },
    { "$minute", PART(MINUTE) },
    { "$second", PART(SECOND) },
    { "$millisecond", PART(MILLISECOND) },
    { "$dayOfWeek", PART(DAY_OF_WEEK) },
    { "$dayOfYear", PART(DAY_OF_YEAR) },
    { "$week", PART(WEEK) },
    { "$isoWeek", PART(ISO_WEEK) },
    { "$isoWeekYear", PART(ISO_WEEK_YEAR) },
    { "$isoDayOfWeek", PART(ISO_DAY_OF_WEEK) },
    { "$dateToParts", .apply = apply_to_parts, .variant = 1, .compile = compile_with_zone, .fields = "date!40522 timezone iso8601",
      .not_document = 40524, .unknown_field = 40520 },
    { "$dateFromParts", .apply = apply_from_parts, .compile = compile_from_parts,
      .fields = "year month day hour minute second millisecond isoWeekYear isoWeek isoDayOfWeek timezone", .not_document = 40519,
      .unknown_field = 40518 },
    { "$tsSecond", 1, 1, .apply = apply_timestamp_part, .variant = true },
    { "$tsIncrement", 1, 1, .apply = apply_timestamp_part, .variant = false },
};

const struct expression_ops ops_date_parts = { ops, ARRAY_LEN(ops) };
