/* Calculations with dates: $dateAdd, $dateSubtract, $dateDiff, $dateTrunc. Days and what is longer are counted in
 * local time, what is shorter in real time. */
#include "branch-service/query/expression/date.h"

static bool compile_with_zone(struct compiler *c, const struct element *spec, struct expression *node)
{
    return compile_fields(c, spec, node) && compile_zone(c, node, 3);
}

/* Milliseconds; 0 for months and longer. */
static int64_t length_of(enum time_unit unit)
{
    static const int64_t lengths[] = { 1, 1000, 60000, 3600000, MILLIS_PER_DAY, 7 * MILLIS_PER_DAY, 0, 0, 0 };
    return lengths[unit];
}

static int months_of(enum time_unit unit)
{
    return unit == UNIT_MONTH ? 1 : unit == UNIT_QUARTER ? 3 : 12;
}

static int64_t add_months(int64_t local, int64_t months)
{
    struct date_parts p;
    date_take_apart(local, &p);
    int64_t month = p.year * 12 + p.month - 1 + months, year = floor_divide(month, 12);
    int month_of_year = (int)(month - year * 12) + 1, last = days_of_month(year, month_of_year);
    return date_put_together(year, month_of_year, p.day < last ? p.day : last, p.hour, p.minute, p.second, p.millisecond);
}

static bool any_nullish(const struct expression *e, const struct element *args)
{
    for (size_t i = 0; i < e->n; i++) {
        if (e->args[i] && is_nullish(&args[i]))
            return true;
    }
    return false;
}

enum { START, UNIT, AMOUNT, ZONE };

/* variant: 1 or -1 */
static bool apply_date_add(struct run *run, const struct expression *e, const struct element *args, struct element *out)
{
    const struct time_zone *zone = &time_zone_utc;
    enum time_unit unit;
    int64_t start, amount, offset = 0, result = 0;
    if (any_nullish(e, args))
        return make_null(out);
    if (!is_date_like(&args[START]))
        return fail(run, 5166403, "%s requires startDate to be convertible to a date, found %s", e->op->name,
                    element_type_name(args[START].type));
    if (!date_argument(run, &args[START], &start) || !unit_argument(run, e, &args[UNIT], &unit))
        return false;
    if (!exact_int64(&args[AMOUNT], &amount))
        return fail(run, 5166405, "%s expects integer amount of time units", e->op->name);
    if (e->args[ZONE] && !zone_argument(run, e, &args[ZONE], &zone))
        return false;
    bool overflow = __builtin_mul_overflow(amount, e->op->variant, &amount);
    if (unit >= UNIT_DAY)
        offset = 1000 * (int64_t)time_zone_offset(zone, start);
    if (unit >= UNIT_MONTH) {
        /* more months than that are beyond the milliseconds of 64 bits */
        overflow |=
            __builtin_mul_overflow(amount, months_of(unit), &amount) || amount > INT64_C(4000000000) || amount < -INT64_C(4000000000);
        if (!overflow)
            result = add_months(start + offset, amount);
    } else {
        overflow |= __builtin_mul_overflow(amount, length_of(unit), &amount) || __builtin_add_overflow(start + offset, amount, &result);
    }
    if (overflow || result > MAX_CALENDAR_MILLIS || result < -MAX_CALENDAR_MILLIS)
        return fail(run, 5166406, "%s overflowed", e->op->name);
    return make_date(run, unit >= UNIT_DAY ? time_zone_to_utc(zone, result) : result, out);
}

enum { DIFF_START, DIFF_END, DIFF_UNIT, DIFF_ZONE, DIFF_WEEKDAY };

/* How many units a local time is behind some fixed point; two local times differ by as many boundaries. */
static int64_t count_units(int64_t local, enum time_unit unit, int first_weekday)
{
    struct date_parts p;
    if (unit < UNIT_WEEK)
        return floor_divide(local, length_of(unit));
    if (unit == UNIT_WEEK) /* the epoch was a Thursday */
        return floor_divide(floor_divide(local, MILLIS_PER_DAY) + 4 - first_weekday, 7);
    date_take_apart(local, &p);
    return floor_divide(p.year * 12 + p.month - 1, months_of(unit));
}

static bool apply_date_diff(struct run *run, const struct expression *e, const struct element *args, struct element *out)
{
    const struct time_zone *zone = &time_zone_utc;
    enum time_unit unit;
    int64_t start, end;
    int weekday = 0;
    for (int i = DIFF_START; i <= DIFF_ZONE; i++) {
        if (e->args[i] && is_nullish(&args[i]))
            return make_null(out);
    }
    for (int i = DIFF_START; i <= DIFF_END; i++) {
        if (!is_date_like(&args[i]))
            return fail(run, 5166307, "$dateDiff requires '%s' to be a date, but got %s", i == DIFF_START ? "startDate" : "endDate",
                        element_type_name(args[i].type));
    }
    if (!date_argument(run, &args[DIFF_START], &start) || !date_argument(run, &args[DIFF_END], &end) ||
        !unit_argument(run, e, &args[DIFF_UNIT], &unit))
        return false;
    if (e->args[DIFF_WEEKDAY] && unit == UNIT_WEEK) {
        if (is_nullish(&args[DIFF_WEEKDAY]))
            return make_null(out);
        if (!weekday_argument(run, e, &args[DIFF_WEEKDAY], &weekday))
            return false;
    }
    if (e->args[DIFF_ZONE] && !zone_argument(run, e, &args[DIFF_ZONE], &zone))
        return false;
    int64_t start_offset = 1000 * (int64_t)time_zone_offset(zone, start), end_offset = 1000 * (int64_t)time_zone_offset(zone, end);
    int64_t difference = count_units(end + end_offset, unit, weekday) - count_units(start + start_offset, unit, weekday);
    if (unit < UNIT_DAY && start_offset != end_offset) /* a change in between is no time that went by */
        difference -= floor_divide(end_offset - start_offset, length_of(unit));
    return make_int64(run, difference, out);
}

enum { TRUNC_DATE, TRUNC_UNIT, TRUNC_BIN, TRUNC_ZONE, TRUNC_WEEKDAY };

/* Bins begin at 2000-01-01 local time; those of weeks at the first such weekday from there on. */
static int64_t truncate_date(int64_t date, enum time_unit unit, int64_t bin, const struct time_zone *zone, int weekday)
{
    const int64_t origin = date_put_together(2000, 1, 1, 0, 0, 0, 0);
    int64_t local = date + 1000 * (int64_t)time_zone_offset(zone, date);
    if (unit < UNIT_DAY) {
        int64_t begin = time_zone_to_utc(zone, origin), length = length_of(unit) * bin;
        return begin + floor_divide(date - begin, length) * length;
    }
    if (unit <= UNIT_WEEK) {
        int64_t begin = origin + (unit == UNIT_WEEK ? (weekday - 6 + 7) % 7 * MILLIS_PER_DAY : 0), length = length_of(unit) * bin;
        return time_zone_to_utc(zone, begin + floor_divide(local - begin, length) * length);
    }
    struct date_parts p;
    date_take_apart(local, &p);
    int64_t length = months_of(unit) * bin, months = floor_divide((p.year - 2000) * 12 + p.month - 1, length) * length;
    return time_zone_to_utc(zone, date_put_together(2000, 1 + months, 1, 0, 0, 0, 0));
}

static bool apply_date_trunc(struct run *run, const struct expression *e, const struct element *args, struct element *out)
{
    const struct time_zone *zone = &time_zone_utc;
    enum time_unit unit;
    int64_t date, bin = 1;
    int weekday = 0;
    for (int i = TRUNC_DATE; i <= TRUNC_ZONE; i++) {
        if (e->args[i] && is_nullish(&args[i]))
            return make_null(out);
    }
    if (!is_date_like(&args[TRUNC_DATE]))
        return fail(run, 5439012, "$dateTrunc requires 'date' to be a date, but got %s", element_type_name(args[TRUNC_DATE].type));
    if (!date_argument(run, &args[TRUNC_DATE], &date))
        return false;
    if (e->args[TRUNC_BIN] && !exact_int64(&args[TRUNC_BIN], &bin))
        return fail(run, 5439017, "$dateTrunc requires 'binSize' to be a 64-bit integer, but got %s",
                    element_type_name(args[TRUNC_BIN].type));
    if (bin <= 0)
        return fail(run, 5439018, "$dateTrunc requires 'binSize' to be greater than 0, but got %lld", (long long)bin);
    if (!unit_argument(run, e, &args[TRUNC_UNIT], &unit))
        return false;
    if (bin > INT64_C(100000000000)) /* and times a week's milliseconds it still fits in 64 bits */
        return fail(run, 5439006, "$dateTrunc: 'binSize' is too large");
    if (e->args[TRUNC_WEEKDAY] && unit == UNIT_WEEK) {
        if (is_nullish(&args[TRUNC_WEEKDAY]))
            return make_null(out);
        if (!weekday_argument(run, e, &args[TRUNC_WEEKDAY], &weekday))
            return false;
    }
    if (e->args[TRUNC_ZONE] && !zone_argument(run, e, &args[TRUNC_ZONE], &zone))
        return false;
    if (unit < UNIT_MONTH && length_of(unit) > INT64_MAX / 4 / bin)
        return fail(run, 5439006, "$dateTrunc: 'binSize' is too large");
    return make_date(run, truncate_date(date, unit, bin, zone, weekday), out);
}

static const struct expression_op ops[] = {
    { "$dateAdd", .apply = apply_date_add, .variant = 1, .compile = compile_with_zone,
      .fields = "startDate!5166402 unit!5166402 amount!5166402 timezone", .not_document = 5166400, .unknown_field = 5166401 },
    { "$dateSubtract", .apply = apply_date_add, .variant = -1, .compile = compile_with_zone,
      .fields = "startDate!5166402 unit!5166402 amount!5166402 timezone", .not_document = 5166400, .unknown_field = 5166401 },
    { "$dateDiff", .apply = apply_date_diff, .compile = compile_with_zone,
      .fields = "startDate!5166303 endDate!5166304 unit!5166305 timezone startOfWeek", .not_document = 5166301, .unknown_field = 5166302 },
    { "$dateTrunc", .apply = apply_date_trunc, .compile = compile_with_zone,
      .fields = "date!5439009 unit!5439010 binSize timezone startOfWeek", .not_document = 5439007, .unknown_field = 5439008 },
};

const struct expression_ops ops_date = { ops, ARRAY_LEN(ops) };
